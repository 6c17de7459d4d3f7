"""Layout, packing and splits, on generated pairs in the published layout."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lczlib.data import check, make_split, open_pairs, read_published_split, split_pairs
from lczlib.data.layout import read_rgb, read_s2, rgb_path, s2_path, truth_path, write_index, write_npz, write_pair
from lczlib.data.splits import city_folds


@pytest.fixture
def data_dir(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    labels = [1, 2, 11, 17, 2]
    for i, label in enumerate(labels):
        rgb = rng.integers(0, 255, (320, 320, 3), dtype=np.uint8)
        write_pair(tmp_path, i, rng.random((32, 32, 10)), rgb, label)
    frame = pd.DataFrame({"id": range(5), "label": labels, "city": "x", "polygon": ["a", "b", "c", "d", "e"]})
    write_index(tmp_path, frame, kind="synthetic")
    return tmp_path


def test_pairs_come_back_as_written(data_dir):
    pairs = open_pairs(data_dir)
    assert (pairs.kind, len(pairs), pairs.has_rgb) == ("synthetic", 5, True)
    assert pairs.labels.tolist() == [1, 2, 11, 17, 2]
    assert pairs.s2.shape == (5, 32, 32, 10)
    assert pairs.s2.dtype == np.float32
    assert (pairs.rgb[3] == read_rgb(rgb_path(data_dir, 3))[0]).all()
    assert (pairs.subset([4, 1]).s2 == pairs.s2[[1, 4]]).all()
    with pytest.raises(ValueError, match="no pair 99"):
        pairs.subset([99])


def test_the_published_set_needs_no_index(data_dir):
    (data_dir / "index.csv").unlink()
    (data_dir / "dataset.json").unlink()
    pairs = open_pairs(data_dir)
    assert pairs.kind == "LCZC-GES2"
    assert pairs.labels.tolist() == [1, 2, 11, 17, 2]
    assert (pairs.s2[3] == read_s2(s2_path(data_dir, 3))[0]).all()
    assert set(pairs.cities) == {""}
    with pytest.raises(ValueError, match="names no polygon"):
        make_split(pairs.index, "polygon_pool")


def test_without_google_patches_the_message_says_what_to_do(data_dir):
    for path in (data_dir / "google_img_320").iterdir():
        path.unlink()
    (data_dir / "google_img_320").rmdir()
    pairs = open_pairs(data_dir)
    assert not pairs.has_rgb
    with pytest.raises(FileNotFoundError, match=r"google_img_320.*shipped graphs"):
        _ = pairs.rgb
    assert check(data_dir) == []


def test_a_stale_pack_is_noticed(data_dir):
    before = open_pairs(data_dir).s2[0].copy()
    write_pair(data_dir, 0, before + 1, None, 1)
    assert np.allclose(open_pairs(data_dir).s2[0], before + 1)


@pytest.mark.parametrize("name", ["s2.npy", "s2.json"])
@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"[]", "cut short"])
def test_a_damaged_pack_is_made_again(data_dir, name, content):
    before = np.array(open_pairs(data_dir).s2)
    path = data_dir / "packed" / name
    path.write_bytes(path.read_bytes()[:-50] if content == "cut short" else content)
    np.testing.assert_array_equal(open_pairs(data_dir).s2, before)


def test_google_patches_of_another_size_are_resized(tmp_path):
    path = rgb_path(tmp_path, 0)
    path.parent.mkdir()
    np.savez(path, image=np.full((300, 310, 3), 7, np.uint8), label=3)
    image, label = read_rgb(path)
    assert image.shape == (320, 320, 3)
    assert (image == 7).all()
    assert label == 3


def test_a_sound_set_has_no_fault(data_dir):
    assert check(data_dir) == []


def test_truth_and_patches_without_an_index_are_checked_too(data_dir):
    truth = {"cover": np.zeros((320, 320)), "height": np.zeros((320, 320)), "instances": np.ones((320, 320), int)}
    truth |= dict.fromkeys(("bsf", "isf", "psf", "svf", "mean_height", "zone", "seed"), 0.0)
    for i in range(5):
        write_npz(truth_path(data_dir, i), **truth | ({"cover": np.zeros((3, 3))} if i == 3 else {}))
    assert [fault.path.name for fault in check(data_dir)] == ["truth_3.npz"]
    truth_path(data_dir, 0).unlink()
    truth_path(data_dir, 1).write_bytes(b"PK broken")
    assert [fault.path.name for fault in check(data_dir)] == ["truth_0.npz", "truth_1.npz", "truth_3.npz"]
    (data_dir / "index.csv").unlink()
    for i in (2, 4):
        s2_path(data_dir, i).write_bytes(b"PK broken")
    faults = [fault.path.name for fault in check(data_dir)]
    assert {"sen2_image_2.npz", "sen2_image_4.npz"} <= set(faults)
    assert "index.csv" not in faults


def _break(data_dir: Path, how: str) -> str:
    """Break one thing; returns the name of the file that check must blame."""
    path, image = s2_path(data_dir, 2), np.random.default_rng(1).random((32, 32, 10))
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:200])
    elif how == "no zip":
        path.write_bytes(b"hello")
    elif how == "pickled":
        np.savez(path, image=np.array([{"a": 1}], dtype=object), label=11)
    elif how == "no label":
        np.savez(path, image=image)
    elif how == "shape":
        np.savez(path, image=image[:, :, :9], label=11)
    elif how == "not finite":
        image[0, 0, 0] = np.nan
        np.savez(path, image=image, label=11)
    elif how == "digital numbers":
        np.savez(path, image=image * 10000, label=11)
    elif how == "constant":
        np.savez(path, image=np.zeros((32, 32, 10)), label=11)
    elif how == "label":
        np.savez(path, image=image, label=18)
    elif how == "label of text":
        np.savez(path, image=image, label="2\n" * 99)
    elif how == "label without a number":
        np.savez(path, image=image, label=np.nan)
    elif how == "label between two":
        np.savez(path, image=image, label=11.5)
    elif how == "npy":
        with path.open("wb") as file:
            np.save(file, image)
    elif how == "header":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("image.npy", b"\x93NUMPY\x01\x00\x06\x00{'a'(\n")
            archive.writestr("label.npy", b"11")
    elif how == "compression":
        path.write_bytes(path.read_bytes().replace(b"PK\1\2\x14\3\x14\0\0\0\x08", b"PK\1\2\x14\3\x14\0\0\0\x09"))
    elif how == "encrypted":
        path.write_bytes(path.read_bytes().replace(b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1"))
    elif how == "other label":
        np.savez(path, image=image, label=12)
    elif how == "rgb type":
        path = rgb_path(data_dir, 2)
        np.savez(path, image=np.zeros((320, 320, 3)), label=11)
    elif how == "rgb missing":
        path = rgb_path(data_dir, 2)
        path.unlink()
    elif how == "stray":
        np.savez(s2_path(data_dir, 77), image=image, label=11)
        path = path.parent
    elif how == "polygon of two zones":
        path = data_dir / "index.csv"
        path.write_text(path.read_text().replace(",b\n", ",a\n"))
    elif how.startswith("row "):
        path = data_dir / "index.csv"
        path.write_text(path.read_text().replace("2,11,x,c\n", how.removeprefix("row ")))
    elif how == "index":
        path = data_dir / "index.csv"
        path.write_text("id,label\n0,1\n")
    return path.name


@pytest.mark.parametrize(
    "how",
    [
        "missing",
        "truncated",
        "no zip",
        "pickled",
        "no label",
        "shape",
        "not finite",
        "digital numbers",
        "constant",
        "label",
        "label of text",
        "label without a number",
        "label between two",
        "npy",
        "header",
        "compression",
        "encrypted",
        "other label",
        "rgb type",
        "rgb missing",
        "stray",
        "polygon of two zones",
        "index",
        "row 99999999999999999999,11,x,c\n",
        "row 18446744073709551615,11,x,c\n",
        "row 2,11.6,x,c\n",
        "row 2.5,11,x,c\n",
        "row 2,,x,c\n",
        "row inf,11,x,c\n",
    ],
)
def test_check_blames_the_file(data_dir, how):
    blamed = _break(data_dir, how)
    faults = check(data_dir)
    assert faults, how
    assert {fault.path.name for fault in faults} == {blamed}
    assert all(fault.fault and fault.remedy and "\n" not in str(fault) for fault in faults)


def test_no_data_at_all_says_how_to_make_some(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m lczworld synth"):
        open_pairs(tmp_path)


@st.composite
def indices(draw):
    polygons = draw(
        st.lists(st.tuples(st.integers(1, 17), st.integers(0, 3), st.integers(1, 5)), min_size=2, max_size=40)
    )
    rows = [(label, f"city {city}", f"p{n}") for n, (label, city, size) in enumerate(polygons) for _ in range(size)]
    return pd.DataFrame(rows, columns=["label", "city", "polygon"]).assign(id=lambda f: np.arange(len(f)) * 3 + 1)


@settings(max_examples=50, deadline=None)
@given(indices(), st.integers(0, 9), st.sampled_from(["sample_pool", "polygon_pool"]))
def test_splits_are_disjoint_complete_and_repeatable(index, seed, strategy):
    split = make_split(index, strategy, seed)
    everything = np.concatenate([split.train, split.validation, split.test])
    assert sorted(everything) == sorted(index["id"])
    again = make_split(index.sample(frac=1, random_state=1), strategy, seed)
    assert sorted(again.test) == sorted(split.test)
    if strategy == "polygon_pool":
        part = pd.Series(split.of(index["id"].to_numpy()))
        assert (part.groupby(index["polygon"].to_numpy()).nunique() == 1).all()


def test_shares_are_those_of_the_published_split():
    index = pd.DataFrame({"id": np.arange(1700), "label": np.arange(1700) % 17 + 1, "city": "", "polygon": ""})
    split = make_split(index, "sample_pool")
    assert [len(split.train), len(split.validation), len(split.test)] == [1190, 170, 340]


def test_a_city_is_held_out_whole():
    rows = [(f"c{c}", f"p{p}", p % 17 + 1) for c in range(3) for p in range(34)]
    index = pd.DataFrame(rows, columns=["city", "polygon", "label"]).assign(id=np.arange(102))
    split = make_split(index, "city", test_city="c1")
    assert set(index.set_index("id").loc[split.test, "city"]) == {"c1"}
    assert len(split.test) == 34
    assert len(split.validation) > 0
    with pytest.raises(ValueError, match="cannot test on city 'nowhere'"):
        make_split(index, "city", test_city="nowhere")


def test_city_folds_test_every_pair_with_its_city_seen_and_unseen():
    rows = [(z, f"c{c}", f"{z}/{p}") for c in range(4) for z in range(1, 18) for p in range(3) for _ in range(2)]
    index = pd.DataFrame(rows, columns=["label", "city", "polygon"]).rename_axis("id").reset_index()
    folds = city_folds(index, 4, seed=1)
    assert list(folds) == [("c0",), ("c1",), ("c2",), ("c3",)]
    splits = {city: split for (city,), split in folds.items()}
    place = (index["city"] + index["polygon"]).to_numpy()
    unseen = seen = np.zeros(len(index), int)
    for city, split in splits.items():
        part = split.of(index["id"].to_numpy())
        assert set(part) == {"train", "validation", "test"}
        assert not set(place[part == "test"]) & set(place[part != "test"])
        own = index["city"].to_numpy() == city
        assert (part[own] == "test").all()
        assert set(index["city"][(part == "test") & ~own]) == set(splits) - {city}
        unseen, seen = unseen + ((part == "test") & own), seen + ((part == "test") & ~own)
        rest = index[part != "test"].groupby("label")["polygon"].agg(lambda p: len(p) // 2)
        assert (rest == 3 * 3 - 3).all()  # of every zone three polygons fewer than the other cities have
    assert (unseen == 1).all()
    assert (seen == 1).all()
    sizes = [len(split.train) for split in splits.values()]
    assert max(sizes) - min(sizes) <= 6
    np.testing.assert_array_equal(city_folds(index, 4, seed=1)[("c2",)].test, splits["c2"].test)
    with pytest.raises(ValueError, match="needs three"):
        city_folds(index[index["city"] < "c2"], 4)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_published_splits_are_read(tmp_path, protocol):
    path = tmp_path / "partition_random.npz"
    parts = {"train": np.arange(5), "validation": [5, 6], "test": np.array([7, 8], dtype=np.int32)}
    path.write_bytes(pickle.dumps(parts, protocol=protocol))
    split = read_published_split(path)
    assert split.train.tolist() == [0, 1, 2, 3, 4]
    assert split.validation.tolist() == [5, 6]
    assert split.test.tolist() == [7, 8]


def test_pairs_without_polygons_are_split_as_published_or_by_sample(data_dir):
    pairs = open_pairs(data_dir)
    same = split_pairs(pairs, "polygon_pool", seed=1), make_split(pairs.index, "polygon_pool", seed=1)
    assert same[0].test.tolist() == same[1].test.tolist()
    (data_dir / "index.csv").unlink()
    pairs = open_pairs(data_dir)
    with pytest.warns(UserWarning, match=r"names no polygons.*sample_pool"):
        assert split_pairs(pairs, "polygon_pool").strategy == "sample_pool"
    path = data_dir / "patches_split" / "partition_polygons_1125.npz"
    path.parent.mkdir()
    path.write_bytes(pickle.dumps({"train": [0, 1, 7], "validation": [2], "test": [3, 4]}))
    split = split_pairs(pairs, "polygon_pool", seed=5)
    assert split.strategy == "partition_polygons_1125"
    assert (split.train.tolist(), split.test.tolist()) == ([0, 1], [3, 4])  # no pair 7 here
    assert split_pairs(pairs, "sample_pool").strategy == "sample_pool"
    assert split_pairs(pairs.subset([0, 3]), "polygon_pool").test.tolist() == [3]
    with pytest.raises(ValueError, match="names no city"):
        split_pairs(pairs, "city")


class _Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("content", ["evil", "overlap", "incomplete", "garbage"])
def test_split_files_are_never_executed_nor_half_read(tmp_path, content):
    path, victim = tmp_path / "partition.npz", tmp_path / "victim"
    made = {
        "evil": {"train": _Evil(victim), "validation": [1], "test": [2]},
        "overlap": {"train": [1], "validation": [1], "test": [2]},
        "incomplete": {"train": [1], "test": [2]},
    }
    path.write_bytes(pickle.dumps(made[content]) if content in made else b"\x80\x04garbage")
    with pytest.raises(ValueError, match="not a split of LCZC-GES2"):
        read_published_split(path)
    assert not victim.exists()


class _Touch:
    """A harmless stand-in for a hostile pickle: executed, it would leave a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_check_reads_splits_and_graphs_and_executes_nothing(data_dir, tmp_path):
    folder, marker = data_dir / "patches_split", tmp_path / "executed"
    folder.mkdir()
    parts = {"train": np.array([0, 1]), "validation": np.array([2]), "test": np.array([3, 99, 100])}
    (folder / "partition_random.npz").write_bytes(pickle.dumps(parts))
    (folder / "partition_hostile.npz").write_bytes(pickle.dumps(parts | {"x": _Touch(marker)}))
    (data_dir / "gg_nodes_refine").mkdir()
    write_npz(data_dir / "gg_nodes_refine" / "graph_0.npz", x=np.zeros((3, 5)), a=np.zeros((2, 2)))
    write_npz(data_dir / "gg_nodes_refine" / "graph_77.npz", x=np.zeros((3, 5)), a=np.zeros((3, 3)))
    faults = {str(fault.path.relative_to(data_dir)): fault.fault for fault in check(data_dir)}
    assert set(faults) == {
        "patches_split/partition_hostile.npz",
        "patches_split/partition_random.npz",
        "gg_nodes_refine/graph_0.npz",
        "gg_nodes_refine/graph_77.npz",
    }
    assert "asks for" in faults["patches_split/partition_hostile.npz"]
    assert faults["patches_split/partition_random.npz"].startswith("pair 99 and 1 more")
    assert not marker.exists()


class _Evaluated:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return eval, (f"open({str(self.path)!r}, 'w')",)


SOUND = {"train": [0, 1], "validation": [2], "test": [3, 4]}
SPLIT_FAULTS = {
    "an id of no pair": (SOUND | {"test": [3, 4, 5]}, "pair 5 and 0 more are in no row"),
    "negative ids": (SOUND | {"train": [-1, 0]}, "pair -1 and 0 more are in no row"),
    "ids of another set": ({part: np.array(ids) + 10**7 for part, ids in SOUND.items()}, "and 4 more are in no row"),
    "an id in two parts": (SOUND | {"test": [0, 4]}, "pair 0 is in two parts"),
    "an id twice in a part": (SOUND | {"train": [1, 1]}, "pair 1 is in two parts of the split, or twice in one"),
    "ids as text": (SOUND | {"train": ["0", "1"]}, "not lists of pair numbers"),
    "ids as floats": (SOUND | {"train": [0.0, 1.0]}, "not lists of pair numbers"),
    "masks": (SOUND | {"train": np.array([True, False])}, "not lists of pair numbers"),
    "a part is missing": ({"train": [0], "test": [1]}, "validation"),
    "no dictionary": ([[0, 1], [2], [3]], "not a split"),
    "hostile": (SOUND | {"note": _Touch}, "asks for"),
    "hostile, evaluated": (SOUND | {"note": [{"deep": (_Evaluated,)}]}, "asks for"),
    "hostile, in an array": (SOUND | {"test": (np.array, _Touch)}, "asks for"),
    "nothing": (b"", "not a split"),
    "a web page": (b"<!DOCTYPE html><html>404: Not Found</html>", "not a split"),
    "a pointer to a large file": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "not a split"),
}


def _armed(value: object, marker: Path) -> object:
    """The classes in a structure made into hostile values."""
    if isinstance(value, dict):
        return {key: _armed(one, marker) for key, one in value.items()}
    if isinstance(value, tuple):
        return np.array([_armed(one, marker) for one in value if one is not np.array], dtype=object)
    if isinstance(value, list):
        return [_armed(one, marker) for one in value]
    return value(marker) if isinstance(value, type) else value


@pytest.mark.parametrize("name", SPLIT_FAULTS)
@pytest.mark.parametrize("suffix", ["npz", "pickle"])
def test_check_names_every_faulty_split_file_and_executes_none(data_dir, tmp_path, name, suffix):
    content, says = SPLIT_FAULTS[name]
    marker, folder = tmp_path / "executed", data_dir / "patches_split"
    folder.mkdir()
    (folder / "partition_random.npz").write_bytes(pickle.dumps(SOUND))
    content = content if isinstance(content, bytes) else pickle.dumps(_armed(content, marker))
    (folder / f"partition_mine.{suffix}").write_bytes(content)
    (fault,) = check(data_dir)
    assert fault.path.name == f"partition_mine.{suffix}"
    assert says in fault.fault
    assert fault.remedy
    assert not marker.exists()


@pytest.mark.parametrize("mark", [-9999.0, -32768.0, float(np.finfo(np.float32).min), 0.0, -0.0999, 6.5535])
def test_check_finds_no_data_inside_pairs(data_dir, mark):
    image, label = read_s2(s2_path(data_dir, 1))
    image[:1, :3] = mark
    write_npz(s2_path(data_dir, 1), image=image, label=np.int64(label))
    faults = check(data_dir)
    assert [fault.path.name for fault in faults] == ["sen2_image_1.npz"]


def test_check_finds_black_blocks_but_not_shadows(data_dir):
    for sample_id, rows in ((0, slice(None, None, 20)), (1, slice(0, 40))):
        image, label = read_rgb(rgb_path(data_dir, sample_id))
        image[rows, :40] = 0
        write_npz(rgb_path(data_dir, sample_id), image=image, label=np.int64(label))
    assert [str(fault) for fault in check(data_dir) if "1600 pixels look like no-data" in str(fault)]
    assert {fault.path.name for fault in check(data_dir)} == {"gg_image_1.npz"}


def test_check_finds_one_place_with_two_labels_or_polygons(data_dir):
    image, _ = read_s2(s2_path(data_dir, 0))
    label = read_s2(s2_path(data_dir, 1))[1]
    write_npz(s2_path(data_dir, 1), image=image, label=np.int64(label))
    (fault,) = check(data_dir)
    assert "the same patch as sen2_image_0.npz with another" in fault.fault
