"""Maps: where each label lies, resuming, Dask, memory, a real scene."""

import logging
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import rasterio
from geodata import LEFT, TOP, UTM33, Coded, coded_scene, layout, read, write_s2

from lczlib.city import map_scene

REAL = Path(os.environ.get("LCZ_REALDATA", "no folder"))


def test_every_label_lies_where_its_block_is(blocky):
    labels, _, result = blocky
    inner = (slice(2, -2), slice(2, -2))
    np.testing.assert_array_equal(read(result.path)[inner], labels[inner])
    np.testing.assert_array_equal(read(result.path, 3)[inner], 90)
    with rasterio.open(result.path) as data:
        assert (data.crs, data.shape) == (UTM33, (25, 31))
        assert data.transform[:6] == (100, 0, LEFT, 0, -100, TOP)


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


@pytest.mark.parametrize("name", ["found", "done"])
@pytest.mark.parametrize("damage", ["cut short", "empty", "another shape"])
def test_a_stopped_map_whose_parts_are_damaged_is_made_anew(tmp_path, name, damage):
    s2 = write_s2(tmp_path / "s2.tif", coded_scene(layout(40, 40)))
    with pytest.raises(KeyboardInterrupt):
        map_scene(tmp_path / "m.tif", s2, predict_s2=Interrupted(3))
    (path,) = tmp_path.glob(f".m-*.parts/{name}.npy")
    if damage == "another shape":
        np.save(path, np.ones(1, np.uint8))
    else:
        path.write_bytes(path.read_bytes()[:-5] if damage == "cut short" else b"")
    assert map_scene(tmp_path / "m.tif", s2, predict_s2=Coded()).computed == 9


def test_another_input_or_stream_does_not_continue_the_old_map(tmp_path):
    s2 = write_s2(tmp_path / "s2.tif", coded_scene(layout(40, 40)))
    with pytest.raises(KeyboardInterrupt):
        map_scene(tmp_path / "m.tif", s2, predict_s2=Interrupted(3))
    other = Interrupted(99)
    other.key = "another"
    assert map_scene(tmp_path / "m.tif", s2, predict_s2=other).computed == 9


class Deadly(Coded):
    """Ends the process that computes, as the kernel does where memory runs out, the first time it is asked."""

    def __init__(self, mark: Path):
        super().__init__()
        self.mark = mark

    def __call__(self, patches):
        if not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(patches)


def test_a_dask_worker_killed_in_the_middle_changes_nothing_of_a_map(tmp_path):
    from distributed import LocalCluster

    s2 = write_s2(tmp_path / "s2.tif", coded_scene(layout(40, 40)))
    alone = map_scene(tmp_path / "alone.tif", s2, predict_s2=Coded())
    local = {"n_workers": 2, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
    with LocalCluster(**local, silence_logs=logging.CRITICAL) as cluster:
        stream = Deadly(tmp_path / "killed")
        shared = map_scene(tmp_path / "dask.tif", s2, predict_s2=stream, dask=cluster.scheduler_address)
    assert (tmp_path / "killed").exists()
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


@pytest.mark.skipif(not (REAL / "berlin").exists(), reason="no folder of real samples (LCZ_REALDATA)")
def test_berlin_real_scene_is_mapped_whole(tmp_path):
    result = map_scene(tmp_path / "b.tif", REAL / "berlin/Berlin_S2_2024-10-24_sample.tif", predict_s2=Coded())
    assert read(result.path).shape == (35, 35)
    assert (read(result.path) > 0).all()
    assert result.warnings == []
