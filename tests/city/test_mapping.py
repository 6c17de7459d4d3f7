"""LCZ maps: where each label lies, edges and no-data, resuming, Dask, what is written, comparing."""

import gc
import os
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import rasterio
from geodata import (
    LEFT,
    TOP,
    UTM33,
    Bright,
    Coded,
    coded_scene,
    reflectance,
    square,
    write_areas,
    write_s2,
    write_tif,
)
from rasterio.warp import transform

from lczlib.__main__ import main
from lczlib.city import map as mapping
from lczlib.city.compare import compare_maps, majority, score_polygons, window_purity
from lczlib.city.map import map_scene
from lczlib.city.output import COLORMAP, copies, filter_zones, gaussian
from lczlib.city.polygons import read_polygons
from lczlib.city.streams import RunStream, open_streams
from lczlib.city.windows import Axis
from lczlib.errors import InputError
from lczlib.runs import write_json
from lczlib.zones import ZONES, to_old_codes

REAL = Path(os.environ.get("LCZ_REALDATA", "no folder"))


def layout(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 18, (height, width)).astype(np.uint8)


def read(path, band=1):
    with rasterio.open(path) as data:
        return data.read(band)


@pytest.fixture
def blocky(tmp_path):
    """A scene of 25 x 31 blocks of 100 m whose zones are known, and the map made of it."""
    labels = layout(25, 31)
    s2 = write_s2(tmp_path / "s2.tif", coded_scene(labels))
    return labels, s2, map_scene(tmp_path / "lcz.tif", s2, predict_s2=Coded())


def test_every_label_lies_where_its_block_is(blocky):
    labels, _, result = blocky
    inner = (slice(2, -2), slice(2, -2))
    np.testing.assert_array_equal(read(result.path)[inner], labels[inner])
    np.testing.assert_array_equal(read(result.path, 3)[inner], 90)
    with rasterio.open(result.path) as data:
        assert (data.crs, data.shape) == (UTM33, (25, 31))
        assert data.transform[:6] == (100, 0, LEFT, 0, -100, TOP)


@pytest.mark.parametrize(
    ("length", "step", "pixels"), [(250, 10, 25), (348, 10, 35), (344, 10, 34), (100, 16, 6), (32, 10, 3)]
)
def test_windows_stay_inside_and_contain_their_pixel(length, step, pixels):
    axis = Axis(length, step)
    assert axis.pixels == pixels
    assert (axis.starts.min(), axis.starts.max()) >= (0, 0)
    assert axis.starts.max() + 32 <= length
    first = axis.starts[axis.own]
    assert ((first < axis.centers) & (axis.centers < first + 32)).all()
    weights = axis.weights(slice(None)).toarray()
    assert (weights.sum(axis=1) > 0).all()
    assert ((weights > 0) == (np.abs(axis.centers[:, None] - axis.starts - 16) < 16)).all()


def test_edges_are_blended_from_the_windows_that_contain_them(tmp_path):
    labels = np.ones((12, 12), np.uint8)
    labels[:, 6:] = 17
    result = map_scene(tmp_path / "m.tif", write_s2(tmp_path / "s2.tif", coded_scene(labels)), predict_s2=Coded(0.8))
    np.testing.assert_array_equal(read(result.path), labels)
    assert (read(result.path, 3)[:, :4] == 80).all()


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


class Interrupted(Coded):
    """Stops the process, as Ctrl-C does, at the third chunk."""

    def __init__(self, stop: int):
        super().__init__()
        self.stop, self.calls = stop, 0

    def __call__(self, patches):
        self.calls += 1
        if self.calls == self.stop:
            raise KeyboardInterrupt
        return super().__call__(patches)


def test_a_stopped_map_goes_on_and_ends_the_same(tmp_path):
    s2 = write_s2(tmp_path / "s2.tif", coded_scene(layout(40, 40)))
    whole = map_scene(tmp_path / "whole.tif", s2, predict_s2=Coded())
    with pytest.raises(KeyboardInterrupt):
        map_scene(tmp_path / "m.tif", s2, predict_s2=Interrupted(3))
    assert not (tmp_path / "m.tif").exists()
    again = Interrupted(99)
    result = map_scene(tmp_path / "m.tif", s2, predict_s2=again)
    assert (result.computed, again.calls, whole.computed) == (7, 7, 9)
    for band in (1, 2, 3):
        np.testing.assert_array_equal(read(result.path, band), read(whole.path, band))
    assert not list(tmp_path.glob("*.parts"))


def test_another_input_or_stream_does_not_continue_the_old_map(tmp_path):
    s2 = write_s2(tmp_path / "s2.tif", coded_scene(layout(40, 40)))
    with pytest.raises(KeyboardInterrupt):
        map_scene(tmp_path / "m.tif", s2, predict_s2=Interrupted(3))
    other = Interrupted(99)
    other.key = "another"
    assert map_scene(tmp_path / "m.tif", s2, predict_s2=other).computed == 9


def test_two_dask_workers_make_the_same_map(tmp_path):
    from distributed import LocalCluster

    s2 = write_s2(tmp_path / "s2.tif", coded_scene(layout(40, 40)))
    alone = map_scene(tmp_path / "alone.tif", s2, predict_s2=Coded())
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        shared = map_scene(tmp_path / "dask.tif", s2, predict_s2=Coded(), dask=cluster.scheduler_address)
    assert shared.computed == 9
    for band in (1, 2, 3):
        np.testing.assert_array_equal(read(shared.path, band), read(alone.path, band))


def test_memory_does_not_grow_with_the_scene(tmp_path):
    import tracemalloc

    def peak(side: int) -> int:
        s2 = write_s2(tmp_path / f"{side}.tif", coded_scene(layout(side, side)))
        tracemalloc.start()
        map_scene(tmp_path / f"map{side}.tif", s2, predict_s2=Coded())
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    small, large = peak(60), peak(120)
    assert large < 1.25 * small


def test_bands_names_types_colours_style_and_table(blocky, tmp_path):
    _, _, result = blocky
    with rasterio.open(result.path) as data:
        assert data.descriptions == ("lcz", "lcz_filtered", "probability")
        assert data.dtypes == ("uint8",) * 3
        assert data.nodata == 0
    with rasterio.open(tmp_path / "lcz_filtered.tif") as one:
        assert one.count == 1
        assert one.colormap(1)[11] == COLORMAP[11] == (0, 106, 0, 255)
        np.testing.assert_array_equal(one.read(1), read(result.path, 2))
    for name, band in (("lcz.qml", "2"), ("lcz_filtered.qml", "1")):
        style = ElementTree.parse(tmp_path / name).find("pipe/rasterrenderer")
        assert style.get("band") == band
        entries = [(int(e.get("value")), e.get("color").upper()) for e in style.iter("paletteEntry")]
        assert entries == [(zone.label, zone.color) for zone in ZONES]
    table = pd.read_csv(tmp_path / "lcz_classes.csv")
    assert table["km2"].sum() == pytest.approx(25 * 31 * 0.01)
    assert table["code"].astype(str).tolist() == [zone.code for zone in ZONES]
    assert (tmp_path / "lcz.png").stat().st_size > 10_000


def test_copies_in_old_codes_and_in_degrees(blocky, tmp_path):
    _, _, result = blocky
    old, degrees = copies(result.path, old_codes=True, epsg4326=True)
    np.testing.assert_array_equal(read(old), to_old_codes(read(result.path, 2)))
    with rasterio.open(old) as data:
        assert data.colormap(1)[107] == COLORMAP[17]
    (west, east), (south, north) = transform(UTM33, "EPSG:4326", [LEFT, LEFT + 3100], [TOP - 2500, TOP])
    with rasterio.open(degrees) as data:
        assert data.crs.to_epsg() == 4326
        assert data.bounds == pytest.approx((west, south, east, north), abs=0.001)
        assert data.colormap(1)[17] == COLORMAP[17]
        assert set(np.unique(data.read(1))) >= set(np.unique(read(result.path, 2)))


def test_filter_smooths_each_zone_with_its_own_gaussian():
    labels = np.full((31, 31), 11, np.uint8)
    labels[10, 10], labels[20, 20], labels[:4, :4] = 2, 17, 0
    filtered = filter_zones(labels, 100)
    assert filtered[10, 10] == 11  # a single pixel of compact midrise goes
    assert filtered[20, 20] == 17  # water has a radius of 50 m: every pixel stays
    assert (filtered[:4, :4] == 0).all()
    assert gaussian(200, 75, 100).tolist() == pytest.approx([0.0152, 0.2188, 0.5321, 0.2188, 0.0152], abs=1e-4)


def test_filtering_in_strips_equals_filtering_at_once(monkeypatch):
    from lczlib.city import output as mapping_output

    monkeypatch.setattr(mapping_output, "STRIP", 100)
    labels = layout(150, 40)
    strips = list(mapping_output._filtered(labels, 100))
    assert len(strips) > 5
    np.testing.assert_array_equal(np.concatenate([part for _, part in strips]), filter_zones(labels, 100))


def gray_rgb(path, brightness, side=1600, left=LEFT, top=TOP):
    return write_tif(path, np.full((3, side // 2, side // 2), brightness, np.uint8), left=left, top=top, pixel=2.0)


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


@pytest.fixture
def run(tmp_path):
    """A trained run of the Sentinel-2 stream, tiny."""
    from lczlib.data.splits import make_split
    from lczlib.training import Recipe, train_stream

    rng = np.random.default_rng(0)
    index = pd.DataFrame(
        {"id": range(34), "label": np.arange(34) % 17 + 1, "city": "x", "polygon": [str(i) for i in range(34)]}
    )
    patches = rng.random((34, 32, 32, 10), np.float32) * index["label"].to_numpy(np.float32)[:, None, None, None] / 17
    recipe = Recipe.demo("s2", epochs=1, width=2)
    split = make_split(index, "sample_pool", seed=0)
    return train_stream("s2", "resnet3d11", patches, index, split, recipe, 0, tmp_path).run.path


def test_a_trained_run_maps_a_scene_from_the_command_line(tmp_path, run, capsys):
    s2 = write_s2(tmp_path / "s2.tif", reflectance(80, 80), "uint16", dn=True)
    assert (
        main(["map", "--s2", str(s2), "--out", str(tmp_path / "m.tif"), "--run", str(run), "--old-codes", "--epsg4326"])
        == 0
    )
    mapped, probability = read(tmp_path / "m.tif"), read(tmp_path / "m.tif", 3)
    assert mapped.shape == (8, 8)
    assert (mapped > 0).all()
    assert (probability >= 100 // 17).all()
    assert (tmp_path / "m_101-107.tif").exists()
    assert "km2" in capsys.readouterr().out
    assert main(["map", "--out", str(tmp_path / "m.tif"), "--compare", str(tmp_path / "m_101-107.tif")]) == 0
    assert "oa 1.000" in capsys.readouterr().out
    assert main(["map", "--s2", str(s2), "--out", str(tmp_path / "m.tif")]) == 1  # nor is it lost
    assert "--run: a map needs a trained run" in capsys.readouterr().err
    np.testing.assert_array_equal(read(tmp_path / "m.tif", 3), probability)


def test_runs_that_do_not_serve_are_refused(tmp_path, run):
    with pytest.raises(FileNotFoundError, match=r"no run\.json; give the folder of a finished run"):
        open_streams([tmp_path], True, False)
    with pytest.raises(ValueError, match=r"--run: no run of stream ge among .*; give one"):
        open_streams([run], True, True)
    with pytest.raises(InputError, match=r"--run: a map needs a trained run .*python -m lczlib train"):
        open_streams([], True, False)
    stream, none = open_streams([run], True, False)
    assert isinstance(stream, RunStream)
    assert none is None


def test_the_rgb_stream_finds_its_instances_as_its_pairs_were_made(tmp_path):
    from lczlib.data.splits import make_split
    from lczlib.graphs import GraphSet
    from lczlib.sam import MaskSettings
    from lczlib.training import Recipe, train_stream

    index = pd.DataFrame({"id": range(34), "label": np.arange(34) % 17 + 1, "city": "x", "polygon": ""})
    x = np.random.default_rng(0).random((34, 50, 5), np.float32)
    graphs = GraphSet(index["id"].to_numpy(), x, np.full(34, 50, np.int64))
    recipe, split = Recipe.demo("ge", epochs=1, width=4), make_split(index, "sample_pool", seed=0)
    trained = train_stream("ge", "gcn", graphs, index, split, recipe, 0, tmp_path).run
    masks = tmp_path / "masks" / "0123"
    write_json(masks / "settings.json", {"sam": "nano", "settings": {"points_per_side": 4, "crop_n_layers": 0}})
    _, stream = open_streams([trained.path], False, True, str(masks))
    assert stream.settings == MaskSettings(points_per_side=4, crop_n_layers=0)
    p = stream(np.random.default_rng(1).integers(0, 255, (2, 320, 320, 3), dtype=np.uint8))
    assert p.shape == (2, 17)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)


def other_map(path, labels, **profile):
    return write_tif(path, labels[None], pixel=100.0, **profile)


@pytest.mark.parametrize(("recode", "profile"), [
    (lambda labels: labels, {}), (to_old_codes, {}), (lambda labels: labels.astype(np.int16), {"nodata": -9999}),
    (lambda labels: labels.astype(np.float32), {"nodata": float("nan")}),
    (lambda labels: labels.astype(np.float64), {}), (lambda labels: labels, {"untagged": 255}),
    (lambda labels: labels.astype(np.int16), {"untagged": -9999}),
])  # fmt: skip
def test_maps_agree_in_every_notation_and_type(blocky, tmp_path, recode, profile):
    _, _, result = blocky
    profile = dict(profile)
    theirs = recode(read(result.path, 2)).copy()
    theirs[0] = profile.pop("untagged", 0) or profile.get("nodata", 0)
    found = compare_maps(result.path, other_map(tmp_path / "o.tif", theirs, **profile))
    assert found.scores["oa"] == found.scores["kappa"] == found.scores["oa_w"] == 1
    assert found.pixels == 24 * 31
    agreement = read(found.agreement)
    assert (agreement[0] == 0).all()
    assert (agreement[1:] == 2).all()


def test_rows_are_the_other_map_and_disagreement_is_drawn(tmp_path):
    mine, theirs = np.full((10, 10), 2, np.uint8), np.full((10, 10), 2, np.uint8)
    theirs[:5] = 5
    found = compare_maps(other_map(tmp_path / "a.tif", mine), other_map(tmp_path / "b.tif", theirs))
    assert found.matrix[4, 1] == 50
    assert found.scores["oa"] == 0.5
    assert (read(found.agreement)[:5] == 1).all()
    assert "LCZ 5: 50 there, 0 here" in str(found)


def test_a_map_in_another_crs_is_compared_by_nearest_neighbour(tmp_path):
    labels = np.kron(layout(5, 6), np.ones((8, 8), np.uint8))
    mine = write_tif(tmp_path / "a.tif", np.stack([labels] * 3), pixel=100.0)
    found = compare_maps(mine, copies(mine, epsg4326=True)[0])
    assert found.scores["oa"] > 0.93
    assert found.pixels > 0.98 * labels.size


def test_majority_and_purity_tell_pure_places_from_transitions():
    zones = np.full((160, 160), 6, np.uint8)
    zones[:, 95:] = 17
    commonest, share = majority(zones, 10)
    assert (commonest[:, :9] == 6).all()
    assert (commonest[:, 10:] == 17).all()
    assert share[0, 9] == 0.5
    purity = window_purity(zones, 10)
    assert (purity[:, :7] == 1).all()
    assert (purity[:, 9] < 0.7).all()


def test_a_map_is_scored_inside_polygons(tmp_path):
    labels = np.full((10, 10), 2, np.uint8)
    labels[:, 5:] = 5
    path = write_tif(tmp_path / "m.tif", labels[None], pixel=100.0)
    areas = write_areas(tmp_path / "a.geojson", [("2", square(0, 0, 400)), ("5", square(300, 500, 400))])
    found = score_polygons(path, read_polygons(areas)[0], band=1)
    assert found["n"] == 32
    assert found["oa"] == pytest.approx(24 / 32)
    assert found["found"] == {"2": {"2": 1.0}, "5": {"2": 0.5, "5": 0.5}}
    far = write_areas(tmp_path / "far.geojson", [("2", square(9e4, 0, 400))])
    with pytest.raises(ValueError, match="no polygon lies on this map"):
        score_polygons(path, read_polygons(far)[0], band=1)


def test_maps_that_cannot_be_compared_say_why(tmp_path):
    mine = other_map(tmp_path / "a.tif", layout(9, 9))
    strange = layout(9, 9)
    strange[3, 3] = 55
    with pytest.raises(ValueError, match=r"b\.tif: values \[55\] are no Local Climate Zones; .*recode"):
        compare_maps(mine, other_map(tmp_path / "b.tif", strange))
    with pytest.raises(ValueError, match="no pixel in common"):
        compare_maps(mine, other_map(tmp_path / "c.tif", layout(9, 9), left=LEFT + 9e4))
    with pytest.raises(ValueError, match="no coordinate reference system"):
        compare_maps(mine, other_map(tmp_path / "d.tif", layout(9, 9), crs=None))
    with pytest.raises(ValueError, match=r"has 1 band\(s\), no number 4"):
        compare_maps(mine, mine, band=4)
    with pytest.raises(ValueError, match="no number 0"):
        compare_maps(mine, mine, band=0)


def small_scene(folder):
    return ["--s2", str(write_s2(folder / "s2.tif", reflectance(30, 60)))], "smaller than one window of 320 m"


def void_scene(folder):
    return ["--s2", str(write_s2(folder / "s2.tif", np.zeros((60, 60, 10), np.float32)))], "wholly no-data"


def cut_short(folder):
    whole = write_s2(folder / "whole.tif", reflectance(60, 60))
    (folder / "s2.tif").write_bytes(whole.read_bytes()[:90_000])
    return ["--s2", str(folder / "s2.tif")], "cut short or damaged"


def odd_step(folder):
    return ["--s2", str(write_s2(folder / "s2.tif", reflectance(60, 60))), "--step", "33"], "not a multiple of 10 m"


def long_step(folder):
    return [*odd_step(folder)[0][:2], "--step", "5000"], "larger than the scene"


def no_geotiff(folder):
    return [*odd_step(folder)[0][:2], "--out", str(folder / "m.png")], "name it .tif"


def odd_alpha(folder):
    rgb = gray_rgb(folder / "rgb.tif", 99)
    return [*odd_step(folder)[0][:2], "--rgb", str(rgb), "--alpha", "2"], "not between 0 and 1"


def nothing(folder):
    return [], "no image given"


def no_scheduler(folder):
    return [*odd_step(folder)[0][:2], "--dask", "tcp://127.0.0.1:9"], "no Dask scheduler there"


def elsewhere(folder):
    return [*odd_step(folder)[0][:2], "--rgb", str(gray_rgb(folder / "r.tif", 9, left=LEFT + 1e5))], "does not overlap"


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    "make",
    [small_scene, void_scene, cut_short, odd_step, long_step, no_geotiff, odd_alpha, nothing, no_scheduler, elsewhere],
)
def test_the_command_line_says_each_fault_in_one_line(tmp_path, make, monkeypatch, capsys):
    options, says = make(tmp_path)
    monkeypatch.setattr("lczlib.city.streams.open_streams", lambda *a: (Coded(), Bright()))
    assert main(["map", "--out", str(tmp_path / "m.tif"), *options]) == 1
    gc.collect()  # a Dask client that did not connect must not complain later either
    error = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in error if "chunk" not in line and line.strip()]) == 1
    error = error[-1]
    assert says in error
    assert "; " in error
    assert not (tmp_path / "m.tif").exists()


def test_the_picture_against_the_truth_has_four_panels(tmp_path):
    from lczlib.city.plot import plot_against_truth

    truth = layout(8, 9)
    figure = plot_against_truth(reflectance(80, 90), truth, np.where(truth == 3, 5, truth), 100, 0.9)
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 1, 1, 0]
    assert figure.axes[3].get_title(loc="left") or figure.axes[3].get_title()


@pytest.mark.skipif(not (REAL / "berlin").exists(), reason="no folder of real samples (LCZ_REALDATA)")
def test_berlin_real_scene_is_mapped_whole(tmp_path):
    result = map_scene(tmp_path / "b.tif", REAL / "berlin/Berlin_S2_2024-10-24_sample.tif", predict_s2=Coded())
    assert read(result.path).shape == (35, 35)
    assert (read(result.path) > 0).all()
    assert result.warnings == []
    assert mapping.ALPHA == 0.6
