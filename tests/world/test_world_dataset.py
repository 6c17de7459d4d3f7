"""Synthetic data sets on disk, and towns: balanced, resumable, the same whoever makes them."""

import numpy as np
import pytest

from lczlib.data import check, open_pairs
from lczlib.data.layout import read_truth, truth_path
from lczworld import generate_city, generate_scene, make_dataset, open_or_make
from lczworld.dataset import plan


def test_plan_is_balanced_and_grows_at_its_end():
    full = plan(1632)
    assert (full.groupby(["label", "city"]).size() == 12).all()
    assert (full.groupby("polygon").size() == 3).all()
    assert (full.groupby("polygon")["label"].nunique() == 1).all()
    assert full.iloc[:136].equals(plan(136))
    small = plan(136)
    assert small["label"].nunique() == 17
    assert small["city"].nunique() == 8
    assert not set(plan(34, seed=1)["scene_seed"]) & set(full["scene_seed"])


def test_made_in_parts_or_by_several_it_is_the_same(tmp_path):
    one = make_dataset(tmp_path / "one", pairs=10, workers=1, progress=False)
    make_dataset(tmp_path / "two", pairs=4, workers=1, progress=False)
    truth_path(tmp_path / "two", 2).unlink()  # as if stopped in the middle
    (tmp_path / "two" / "index.csv").unlink()
    two = make_dataset(tmp_path / "two", pairs=10, workers=2, progress=False)
    assert check(one) == []
    assert check(two) == []
    first, second = open_pairs(one), open_pairs(two)
    np.testing.assert_array_equal(first.s2, second.s2)
    np.testing.assert_array_equal(first.rgb, second.rgb)
    assert first.index.equals(second.index)
    assert first.kind == "synthetic"
    truth = read_truth(truth_path(one, 4))
    scene = generate_scene(int(truth["zone"]), 1, int(truth["seed"]))
    np.testing.assert_array_equal(truth["instances"], scene.instances)
    assert float(truth["bsf"]) == pytest.approx(scene.fractions["bsf"])


def test_open_or_make_leaves_other_data_alone(tmp_path):
    pairs = open_or_make(tmp_path / "data", pairs=3)
    before = (tmp_path / "data" / "index.csv").stat().st_mtime_ns
    assert len(open_or_make(tmp_path / "data", pairs=2).ids) == len(pairs.ids) == 3
    assert (tmp_path / "data" / "index.csv").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="choose another folder"):
        make_dataset(tmp_path / "data", pairs=3, seed=1, progress=False)
    make_dataset(tmp_path / "other", pairs=2, cities=1, seed=4, progress=False)
    assert len(open_or_make(tmp_path / "other", pairs=3)) == 2  # somebody's own: as it is
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("not a data set")
    with pytest.raises(ValueError, match="choose an empty folder"):
        make_dataset(tmp_path / "mine", pairs=3, progress=False)


def test_a_town_has_patches_of_zones():
    town = generate_city(640, seed=1, city=4)
    assert town.rgb.shape == (640, 640, 3)
    assert town.s2.shape == (64, 64, 10)
    assert town.zones.shape == (64, 64)
    assert town.height.shape == (640, 640)
    assert len(np.unique(town.zones)) >= 2
    assert town.zones.min() >= 1
    assert town.zones.max() <= 17
    assert np.isfinite(town.s2).all()
    with pytest.raises(ValueError, match="multiple of 20"):
        generate_city(1001)
