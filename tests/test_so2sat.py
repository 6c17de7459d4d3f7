"""So2Sat LCZ42 read in place, on generated files of the published layout."""

import os
import pickle
import resource
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from lczlib.__main__ import main
from lczlib.data import check, open_pairs, split_pairs
from lczlib.data.pairs import digest
from lczlib.data.so2sat import Patches
from lczlib.errors import InputError

WATER = np.full(10, 0.03)
TREES, TOWN = (
    np.array([0.03, 0.05, 0.03, 0.09, 0.22, 0.28, 0.30, 0.32, 0.17, 0.08]),
    np.array([0.11, 0.12, 0.13, 0.14, 0.16, 0.17, 0.18, 0.19, 0.21, 0.19]),
)


def write(path: Path, count: int = 34, seed: int = 0, **options) -> np.ndarray:
    """A file of `count` patches, zones in turn, as published unless `options` (of h5py) say otherwise; its sen2."""
    rng, zones = np.random.default_rng(seed), np.arange(count) % 17
    spectra = np.array([*TOWN + np.arange(16)[:, None] / 100, WATER])
    spectra[10] = TREES
    sen2 = spectra[zones][:, None, None] * rng.uniform(0.7, 1.3, (count, 32, 32, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("sen1", data=rng.normal(size=(count, 32, 32, 8)))
        file.create_dataset("sen2", data=sen2, **options)
        file.create_dataset("label", data=np.eye(17)[zones])
    return sen2


def change(path: Path, name: str, values: np.ndarray) -> Path:
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = values
    return path


@pytest.fixture
def one_file(tmp_path) -> tuple[Path, np.ndarray]:
    return tmp_path / "training.h5", write(tmp_path / "training.h5")


@pytest.fixture
def published(tmp_path) -> Path:
    for seed, (name, count) in enumerate({"training": 68, "validation": 17, "testing": 34}.items()):
        write(tmp_path / f"{name}.h5", count, seed)
    return tmp_path


def test_pairs_come_as_published(one_file):
    path, sen2 = one_file
    pairs = open_pairs(path)
    assert (pairs.kind, len(pairs), pairs.has_rgb, pairs.has_graphs) == ("So2Sat LCZ42", 34, False, False)
    assert pairs.labels.tolist() == [*range(1, 18)] * 2
    assert set(pairs.cities) == set(pairs.polygons) == {""}
    assert (pairs.s2.shape, pairs.s2.dtype) == ((34, 32, 32, 10), np.float32)
    np.testing.assert_array_equal(pairs.s2, sen2.astype(np.float32))
    with pytest.raises(FileNotFoundError, match="google_img_320"):
        _ = pairs.rgb


def write_places(path: Path, coord: np.ndarray, **more) -> None:
    """The file of places beside `path`, as published: x, y, rows and columns, UTM zone, six numbers of a world file."""
    with h5py.File(path.with_name(f"{path.stem}_geo.h5"), "w") as file:
        file["coord"] = np.concatenate([coord, np.zeros((len(coord), 4))], 1)
        file["epsg"], file["tfw"] = np.full((len(coord), 1), 32650.0), np.zeros((len(coord), 6))
        for name, values in more.items():
            file[name] = values


def test_neighbours_by_the_fourth_version_stay_together(one_file):
    path, _ = one_file
    x = 400_000 + 2500.0 * np.arange(34)
    write_places(path, np.stack([x, np.full(34, 2_500_100.0)], 1), city=np.array([b"hongkong"] * 17 + [b"tokyo"] * 17))
    pairs = open_pairs(path)
    assert pairs.polygons[:4].tolist() == ["EPSG:32650 80 500", "EPSG:32650 80 500", *["EPSG:32650 81 500"] * 2]
    assert (pairs.cities[0], pairs.cities[-1]) == ("hongkong", "tokyo")
    split = split_pairs(pairs, "polygon_pool")
    assert not set(pairs.polygons[np.isin(pairs.ids, split.train)]) & set(
        pairs.polygons[np.isin(pairs.ids, split.test)]
    )
    write_places(path, np.zeros((33, 2)))
    with pytest.raises(InputError, match=r"training_geo\.h5: places are unreadable \(33 places for 34 patches\)"):
        open_pairs(path)


def test_patches_are_taken_as_of_an_array(one_file):
    path, sen2 = one_file
    s2, expected = open_pairs(path).s2, sen2.astype(np.float32)
    mask = np.arange(34) % 3 == 0
    for key in (5, -1, np.int64(3), slice(4, 20, 3), [7, 2, 2], mask, (slice(None), 16, 16, 6), (4, 0), (..., 3)):
        np.testing.assert_array_equal(s2[key], expected[key])
    np.testing.assert_array_equal(s2.take(np.array([9, 1]))[1:], expected[[1]])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(s2))[3], expected[3])
    with pytest.raises(IndexError):
        s2[34]


def test_a_subset_reads_its_own_rows(one_file):
    path, sen2 = one_file
    some = open_pairs(path).subset([30, 2])
    assert isinstance(some.s2, Patches)
    np.testing.assert_array_equal(some.s2, sen2[[2, 30]].astype(np.float32))


@pytest.mark.parametrize("options", [{"chunks": (5, 32, 32, 10)}, {"compression": "gzip"}])
def test_a_repacked_file_is_read_too_and_noted(tmp_path, options):
    sen2 = write(tmp_path / "training.h5", **options)
    with pytest.warns(UserWarning, match="chunked or compressed") as notes:
        s2 = open_pairs(tmp_path / "training.h5").s2
    assert len(notes) == 1
    np.testing.assert_array_equal(s2[[20, 3, 11, 3]], sen2[[20, 3, 11, 3]].astype(np.float32))


def test_the_published_split_is_used_whatever_the_strategy(published):
    for path in (published, published / "training.h5"):
        pairs = open_pairs(path)
        for strategy in ("sample_pool", "polygon_pool", "city"):
            split = split_pairs(pairs, strategy)
            assert [len(part) for part in (split.train, split.validation, split.test)] == [68, 17, 34]
    with h5py.File(published / "testing.h5") as file:
        np.testing.assert_array_equal(pairs.subset(split.test).s2, file["sen2"][:].astype(np.float32))


def test_without_validation_a_tenth_of_training_validates(published):
    (published / "validation.h5").unlink()
    write(published / "training.h5", 340)
    pairs = open_pairs(published)
    split = split_pairs(pairs, "polygon_pool")
    assert [len(part) for part in (split.train, split.validation, split.test)] == [306, 34, 34]
    assert np.bincount(pairs.subset(split.validation).labels).tolist() == [0, *[2] * 17]
    np.testing.assert_array_equal(split.validation, split_pairs(open_pairs(published), "city", seed=3).validation)


def test_other_files_and_folders_of_splits(published):
    assert len(open_pairs(published / "testing.h5")) == 34
    (published / "random").mkdir()
    for path in published.glob("*.h5"):
        path.rename(published / "random" / path.name)
    assert len(open_pairs(published / "random")) == 119
    with pytest.raises(InputError, match=r"give one of them, as .*random"):
        open_pairs(published)
    with pytest.raises(InputError, match=r"validation\.h5.*No such file"):
        open_pairs(published / "validation.h5")


def test_a_training_file_by_itself_is_split_with_a_warning(one_file):
    with pytest.warns(UserWarning, match="sample_pool"):
        assert split_pairs(open_pairs(one_file[0]), "polygon_pool").strategy == "sample_pool"


FAULTS = {
    "digital numbers": ("sen2", lambda v: v * 1e4, "divide digital numbers by 10000"),
    "standardised": ("sen2", lambda v: v - v.mean(), "not reflectance"),
    "not finite": ("sen2", lambda v: v * np.nan, "not reflectance"),
    "order of bands": ("sen2", lambda v: v[..., [6, 5, 4, 3, 2, 1, 0, 7, 8, 9]], "order"),
    "nine bands": ("sen2", lambda v: v[..., :9], r"sen2 is float64 \(34, 32, 32, 9\)"),
    "whole numbers": ("sen2", lambda v: v.astype(np.uint16), "sen2 is uint16"),
    "no patch": ("sen2", lambda v: v[:0], r"sen2 is float64 \(0,"),
    "two zones": ("label", lambda v: v + np.eye(17)[3], "not all one-hot"),
    "no zone": ("label", lambda v: v * 0, "not all one-hot"),
    "probabilities": ("label", lambda v: v * 0.9 + 0.1 / 17, "not all one-hot"),
    "numbers of zones": ("label", lambda v: v.argmax(1), r"label int64 \(34,\)"),
    "words": ("label", lambda v: v.astype("S3"), r"label \|S3"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_not_as_published_is_refused_in_one_line(one_file, name, capsys):
    path, (dataset, make, message) = one_file[0], FAULTS[name]
    with h5py.File(path) as file:
        values = file[dataset][:]
    change(path, dataset, make(values))
    with pytest.raises(InputError, match=message):
        open_pairs(path)
    assert main(["check", str(path)]) == 1
    printed = capsys.readouterr()
    assert (str(path) in printed.out, printed.err.count("\n")) == (True, 1)


def test_no_labels_and_no_hdf5(one_file):
    with h5py.File(one_file[0], "r+") as file:
        del file["label"]
    with pytest.raises(InputError, match=r"training\.h5: not a file of So2Sat LCZ42.*label"):
        open_pairs(one_file[0])
    one_file[0].write_text("<html>not found</html>")
    with pytest.raises(InputError, match="not a file of So2Sat"):
        open_pairs(one_file[0])


def test_check_reads_every_patch(one_file, capsys):
    path = one_file[0]
    assert main(["check", str(path)]) == 0
    assert "1 2, 2 2," in (printed := capsys.readouterr().out)
    assert "34 pairs (So2Sat LCZ42), no fault" in printed
    write(path, 150)
    with h5py.File(path, "r+") as file:  # where the few patches looked at on opening are not
        file["sen2"][3, 5, 5] = np.nan
        file["sen2"][7, :3] = 0
        file["sen2"][21] = file["sen2"][9]
    found = {fault.path.name: fault.fault for fault in check(path)}
    assert list(found) == ["training.h5[3]", "training.h5[7]", "training.h5[21]"]
    assert "not finite" in found["training.h5[3]"]
    assert "96 pixels look like no-data" in found["training.h5[7]"]
    assert found["training.h5[21]"] == "the same patch as training.h5[9] with another label"


def test_the_digest_is_of_content_not_of_place(one_file, tmp_path):
    path = one_file[0]
    s2 = open_pairs(path).s2
    there = shutil.copy(path, tmp_path / "moved.h5")
    assert digest(s2) == digest(open_pairs(there).s2)
    assert digest(s2) != digest(s2.take(np.arange(33)))
    with h5py.File(there, "r+") as file:
        file["label"][33] = np.eye(17)[0]
    assert digest(s2) != digest(open_pairs(there).s2)


@pytest.mark.filterwarnings("ignore:.*sample_pool")
def test_a_stream_is_trained_from_the_command_line(published, tmp_path, capsys):
    command = ["train", str(published / "training.h5"), "--stream", "s2", "--recipe", "demo"]
    command += ["--set", "epochs=1", "width=2", "--work", str(tmp_path / "work")]
    assert main(command) == 0
    run = Path(capsys.readouterr().out.split("run: ")[1].strip())
    with np.load(run / "predictions.npz") as stored:
        assert np.unique(stored["split"], return_counts=True)[1].tolist() == [34, 68, 17]
    assert main([*command[:1], str(published), *command[2:]]) == 0
    assert len(list((tmp_path / "work" / "runs").glob("s2-resnet3d11-*"))) == 1, "trained again"


@pytest.mark.skipif("LCZ_FULL_SO2SAT" not in os.environ, reason="a sparse file of 352,366 patches; LCZ_FULL_SO2SAT=1")
def test_memory_stays_flat_at_full_length(tmp_path):
    count, path = 352_366, tmp_path / "training.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("sen2", (count, 32, 32, 10), "f8")[-1] = TOWN
        file.create_dataset("label", data=np.eye(17)[np.arange(count) % 17])
    assert path.stat().st_size > 28e9 > 1e9 > path.stat().st_blocks * 512
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pairs = open_pairs(path)
    for rows in np.random.default_rng(0).permutation(count)[: 64 * 500].reshape(-1, 64):
        assert pairs.s2[rows].shape == (64, 32, 32, 10)
    assert pairs.s2[-1].mean() == pytest.approx(TOWN.mean(), rel=1e-6)
    assert len(digest(pairs.s2)) == 64
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 400, "megabytes"
