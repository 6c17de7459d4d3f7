"""Pairs cut into a folder that holds something already: nothing there is lost, and a stopped call leaves no trace."""

import os

import pytest
from geodata import gray_rgb, reflectance, square, write_areas, write_s2

from lczlib.city import patches
from lczlib.city.patches import UNFINISHED, cut_patches
from lczlib.data import check, open_pairs
from lczlib.errors import InputError
from lczworld.dataset import make_dataset


@pytest.fixture
def cut(tmp_path):
    """Cuts pairs of two areas into `out`."""
    s2 = write_s2(tmp_path / "S2.tif", reflectance(100, 100))
    areas = write_areas(tmp_path / "areas.geojson", [("2", square(100, 100, 400)), ("D", square(550, 500, 400))])

    def run(**options):
        return cut_patches(s2, areas, tmp_path / "out", **({"spacing": 80} | options))

    return run


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("append", [False, True])
def test_patches_without_an_index_are_never_replaced(tmp_path, cut, append):
    cut()
    for name in ("index.csv", "dataset.json", "patches.json"):  # as the published data set is
        (tmp_path / "out" / name).unlink()
    before = contents(tmp_path / "out")
    with pytest.raises(InputError, match=r"sen2_img_patches: holds patches that no index.csv names .*; give"):
        cut(append=append)
    assert contents(tmp_path / "out") == before


def stop_after_pairs(monkeypatch):
    def write(folder, number, *pair):
        if number % 1000 == 2:
            raise KeyboardInterrupt
        whole(folder, number, *pair)

    whole = patches.write_pair
    monkeypatch.setattr(patches, "write_pair", write)


def stop_amid_the_move(monkeypatch):
    moved = []

    def replace(source, target):
        if UNFINISHED in str(source) and UNFINISHED not in str(target):
            moved.append(target)
            if len(moved) > 2:
                raise KeyboardInterrupt
        whole(source, target)

    whole = os.replace
    monkeypatch.setattr(os, "replace", replace)


@pytest.mark.parametrize("stop", [stop_after_pairs, stop_amid_the_move])
def test_a_stopped_call_leaves_nothing_to_one_with_other_options(tmp_path, cut, monkeypatch, stop):
    with monkeypatch.context() as patched:
        stop(patched)
        with pytest.raises(KeyboardInterrupt):
            cut(rgb=gray_rgb(tmp_path / "rgb.tif", 90))
    report = cut(spacing=200)
    assert check(tmp_path / "out") == []
    assert len(open_pairs(tmp_path / "out")) == report.pairs
    assert not open_pairs(tmp_path / "out").has_rgb


@pytest.mark.parametrize("stop", [stop_after_pairs, stop_amid_the_move])
def test_a_stopped_append_keeps_the_pairs_there(tmp_path, cut, monkeypatch, stop):
    cut(city="here", spacing=200)
    before = contents(tmp_path / "out")
    with monkeypatch.context() as patched:
        stop(patched)
        with pytest.raises(KeyboardInterrupt):
            cut(city="there", append=True)
    cut(city="elsewhere", spacing=200, append=True)
    after = contents(tmp_path / "out")
    assert all(after[path] == content for path, content in before.items() if path.suffix == ".npz")
    assert set(open_pairs(tmp_path / "out").cities) == {"here", "elsewhere"}
    assert not [fault for fault in check(tmp_path / "out") if "the same patch" not in fault.fault]


def test_a_polygon_is_never_added_under_a_name_that_is_there(tmp_path, cut):
    cut()  # of the city "S2", after the scene, which another city's scene is called too
    before = contents(tmp_path / "out")
    with pytest.raises(InputError, match=r"out: holds pairs of a polygon S2/LCZ-2/01 already; give another --city"):
        cut(append=True)
    assert contents(tmp_path / "out") == before
    assert cut(append=True, city="there").pairs


def test_pairs_of_a_city_are_never_added_to_synthetic_ones(tmp_path, cut):
    make_dataset(tmp_path / "out", 4, workers=1, progress=False)
    before = contents(tmp_path / "out")
    with pytest.raises(InputError, match=r"out: holds synthetic data, and .*; give another --out"):
        cut(append=True, rgb=gray_rgb(tmp_path / "rgb.tif", 90))
    assert contents(tmp_path / "out") == before
