"""Windows of a map: where they lie, edges, no-data, both streams."""

import numpy as np
import pytest
from geodata import Bright, Coded, coded_scene, gray_rgb, layout, read, write_s2

from lczlib.city import map_scene
from lczlib.city.windows import CHUNK, MapOptions, open_job


@pytest.mark.parametrize(("size", "step", "pixels"), [(250, 100, 25), (348, 100, 35), (344, 100, 34), (100, 160, 6)])
def test_every_pixel_has_a_whole_window_that_contains_it(tmp_path, size, step, pixels):
    s2 = write_s2(tmp_path / "s2.tif", np.full((size, 40, 10), 0.2, np.float32))
    job, _ = open_job(s2, None, Coded(), None, MapOptions(step=step))
    assert job.shape[0] == pixels
    starts, own = job.windows(0, slice(0, pixels))
    assert starts.min() >= 0
    assert starts.max() + 32 <= size
    centers = (np.arange(pixels) + 0.5) * step / 10
    assert ((starts < centers) & (centers < starts + 32)).all()
    assert (own.sum(axis=1) >= min(step / 10, 32) // 2).all()
    inner = (centers >= 16) & (centers <= size - 16)
    assert (np.abs(starts + 16 - centers)[inner] <= 0.5).all()


@pytest.mark.parametrize("step", [10, 20, 30, 50, 100])
def test_windows_of_neighbours_lie_one_step_apart(tmp_path, step):
    s2 = write_s2(tmp_path / "s2.tif", np.full((120, 40, 10), 0.2, np.float32))
    job, _ = open_job(s2, None, Coded(), None, MapOptions(step=step))
    starts, _ = job.windows(0, slice(0, job.shape[0]))
    inner = starts[(starts > 0) & (starts < 120 - 32)]
    assert set(np.diff(inner)) == {step // 10}


def test_chunks_cover_the_map_once(tmp_path):
    s2 = write_s2(tmp_path / "s2.tif", coded_scene(layout(40, 23)))
    job, _ = open_job(s2, None, Coded(), None, MapOptions())
    seen = np.zeros(job.shape, int)
    for rows, cols in job.chunks():
        seen[rows, cols] += 1
        assert max(rows.stop - rows.start, cols.stop - cols.start) <= CHUNK["s2"]
    assert (seen == 1).all()


def test_at_the_edge_the_window_moves_inwards(tmp_path):
    labels = np.ones((12, 12), np.uint8)
    labels[:, 6:] = 17
    result = map_scene(tmp_path / "m.tif", write_s2(tmp_path / "s2.tif", coded_scene(labels)), predict_s2=Coded(0.8))
    np.testing.assert_array_equal(read(result.path), labels)
    assert (read(result.path, 3) == 80).all()
    rim = np.full((10, 10), 6, np.uint8)
    rim[0] = rim[-1] = 2  # the outermost pixels have the windows of their neighbours
    result = map_scene(tmp_path / "rim.tif", write_s2(tmp_path / "s2.tif", coded_scene(rim)), predict_s2=Coded())
    assert (read(result.path) == 6).all()


def test_no_data_is_kept_and_its_neighbours_are_mapped(tmp_path):
    labels = np.full((16, 16), 6, np.uint8)
    labels[5:9, 4:12] = 0
    result = map_scene(tmp_path / "m.tif", write_s2(tmp_path / "s2.tif", coded_scene(labels)), predict_s2=Coded())
    for band in (1, 2):
        np.testing.assert_array_equal(read(result.path, band), labels)
    np.testing.assert_array_equal(read(result.path, 3) > 0, labels > 0)


def test_a_lost_line_of_pixels_does_not_tear_a_hole(tmp_path):
    image = coded_scene(np.full((10, 10), 6, np.uint8)).copy()
    image[50, 20:60] = np.nan
    result = map_scene(tmp_path / "m.tif", write_s2(tmp_path / "s2.tif", image), predict_s2=Coded())
    assert (read(result.path) == 6).all()


def test_a_pixel_without_data_of_its_own_stays_empty(tmp_path):
    image = coded_scene(np.full((10, 10), 6, np.uint8)).copy()
    image[43:50, 40:50] = np.nan  # 70 % of one pixel's ground
    image[43:46, 60:70] = np.nan  # 30 % of another's
    result = map_scene(tmp_path / "m.tif", write_s2(tmp_path / "s2.tif", image), predict_s2=Coded())
    expected = np.full((10, 10), 6)
    expected[4, 4] = 0
    np.testing.assert_array_equal(read(result.path), expected)


def test_alpha_weighs_the_streams_and_one_image_is_enough(tmp_path):
    s2 = write_s2(tmp_path / "s2.tif", coded_scene(np.full((7, 7), 6, np.uint8)))
    rgb = gray_rgb(tmp_path / "rgb.tif", 240, side=700)
    winners = {}
    for alpha in (0.1, 0.9):
        result = map_scene(tmp_path / f"{alpha}.tif", s2, rgb, Coded(), Bright(), alpha=alpha)
        winners[alpha] = int(read(result.path)[3, 3])
    assert winners == {0.1: 2, 0.9: 6}
    alone = map_scene(tmp_path / "ge.tif", rgb=rgb, predict_ge=Bright())
    assert (read(alone.path) == 2).all()
    assert read(alone.path).shape == (7, 7)


def test_where_the_rgb_image_ends_the_fused_map_ends(tmp_path):
    s2 = write_s2(tmp_path / "s2.tif", coded_scene(np.full((11, 11), 6, np.uint8)))
    rgb = gray_rgb(tmp_path / "rgb.tif", 240, side=600)
    fused = read(map_scene(tmp_path / "m.tif", s2, rgb, Coded(), Bright(), alpha=0.9).path)
    assert (fused[:4, :4] == 6).all()
    assert (fused[9:] == 0).all()
