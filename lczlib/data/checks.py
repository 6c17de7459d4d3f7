"""`check` finds every fault of a data set, and says what to do about each."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from lczlib.data import layout, so2sat
from lczlib.data.splits import read_published_split
from lczlib.errors import InputError


@dataclass(frozen=True)
class Fault:
    """One fault of a data set: the file, what is wrong, what to do."""

    path: Path
    fault: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.fault}; {self.remedy}"


def check(data_dir: str | Path) -> list[Fault]:
    """Every fault of a data set, each with its file and remedy; [] when it is sound.

    Reads every patch: unreadable or damaged files, wrong shapes, types and value ranges, labels that differ between
    the two patches or from the index, no-data inside, one place in two zones or polygons, files without a row and rows
    without a file, polygons in two zones; shipped graphs; split files, which are read and never executed. Raises
    FileNotFoundError where there is no data at all.
    """
    data_dir = Path(data_dir)
    faults = _Faults()
    if files := so2sat.find_files(data_dir):
        _check_so2sat(faults, files)
        return faults
    index = pd.DataFrame({"id": layout.patch_ids(data_dir / layout.S2_FOLDER), "label": 0, "city": "", "polygon": ""})
    if (data_dir / "index.csv").exists() or not len(index):
        try:
            index = layout.read_index(data_dir)
        except InputError as fault:
            faults.note_error(data_dir / "index.csv", fault)
            return faults
    _check_index(faults, data_dir, index)
    seen: dict[bytes, tuple] = {}
    for sample_id, label, *place in index[list(layout.INDEX_COLUMNS)].itertuples(index=False):
        label = _check_patch(faults, layout.read_s2, layout.s2_path(data_dir, sample_id), (label, *place), seen)
        if (data_dir / layout.RGB_FOLDER).exists():
            _check_patch(faults, layout.read_rgb, layout.rgb_path(data_dir, sample_id), (label, *place), seen)
        if (data_dir / layout.TRUTH_FOLDER).exists():
            path, expected = layout.truth_path(data_dir, sample_id), layout.RGB_SHAPE[:2]
            with faults.reading(path):
                truth = layout.read_truth(path)
                if wrong := [f"{name} is {truth[name].shape}" for name in layout.MAPS if truth[name].shape != expected]:
                    faults.note(path, ", ".join(wrong), f"expected {expected}")
    _check_graphs_and_splits(faults, data_dir, index)
    return faults


class _Faults(list[Fault]):
    def note(self, path: Path, fault: str, remedy: str) -> None:
        self.append(Fault(path, fault, remedy))

    def note_error(self, path: Path, error: Exception) -> None:
        fault, _, remedy = str(error).removeprefix(f"{path}: ").partition("; ")
        self.note(path, fault, remedy or "copy or make it again")

    @contextmanager
    def reading(self, path: Path) -> Iterator[None]:
        """A file that cannot be read is a fault, which its error describes."""
        try:
            yield
        except (InputError, FileNotFoundError) as error:
            self.note_error(path, error)


def _check_so2sat(faults: _Faults, paths: list[Path]) -> None:
    """Every patch of the files of So2Sat LCZ42; a fault names it as `training.h5[17]`."""
    for path in paths:
        with faults.reading(path):
            (index, patches), seen = so2sat.read_files([path]), {}
            for row, label in enumerate(index["label"]):
                place, found = path.with_name(f"{path.name}[{row}]"), (patches[row], label)
                if np.isfinite(found[0]).all():
                    _check_patch(faults, lambda _, found=found: found, place, (label, "", ""), seen)
                else:
                    faults.note(place, "holds values that are not finite", "leave it out")


def _check_index(faults: _Faults, data_dir: Path, index: pd.DataFrame) -> None:
    for folder in (layout.S2_FOLDER, layout.RGB_FOLDER, layout.TRUTH_FOLDER):
        for stray in sorted(set(layout.patch_ids(data_dir / folder)) - set(index["id"])):
            faults.note(data_dir / folder, f"pair {stray} has a file but no row in index.csv", "add the row")
    zones = index[index["polygon"] != ""].groupby(["city", "polygon"])["label"].nunique()
    for city, polygon in zones[zones > 1].index:
        fault = f"polygon {polygon!r} of {city!r} has pairs of several zones"
        faults.note(data_dir / "index.csv", fault, "one polygon, one zone")


def _check_patch(faults: _Faults, read, path: Path, place: tuple[int, str, str], seen: dict[bytes, tuple]) -> int:
    """One patch; `place`: its label (0: as the patch says), city and polygon; `seen`: those of earlier patches.

    Returns the label.
    """
    label, *area = place
    with faults.reading(path):
        image, own_label = read(path)
        label, low = label or own_label, image.min()
        if own_label != label:
            faults.note(path, f"label {own_label}, but that of the pair is {label}", "make both the same")
        if low == image.max():
            faults.note(path, f"every value is {low}", "no-data? cut the patch elsewhere")
            return label
        if empty := _empty_pixels(image):
            faults.note(path, f"{empty} pixels look like no-data (lowest value {low})", "cut it elsewhere")
        twin, *where = seen.setdefault(hashlib.sha256(image.tobytes()).digest(), (path.name, label, *area))
        if where != [label, *area]:
            claims = "label" if where[0] != label else "polygon"
            faults.note(path, f"the same patch as {twin} with another {claims}", "keep one of the two")
    return label


def _empty_pixels(image: np.ndarray) -> int:
    """Number of pixels that are no data: of reflectance those far out of range or 0 or less in all bands alike, of RGB
    those in black blocks of 17 m and more (single black pixels are shadow).
    """
    alike = (image == image[..., :1]).all(axis=-1)
    if image.dtype == np.uint8:
        black = (alike & (image[..., 0] == 0)).astype(np.uint8)
        return int(cv2.morphologyEx(black, cv2.MORPH_OPEN, np.ones((17, 17), np.uint8)).sum()) if black.any() else 0
    return int(((image < -0.5) | (image > 6.4)).any(axis=-1).sum() + (alike & (image[..., 0] <= 0)).sum())


def _check_graphs_and_splits(faults: _Faults, data_dir: Path, index: pd.DataFrame) -> None:
    for sample_id in layout.patch_ids(data_dir / layout.GRAPH_FOLDER):
        path = data_dir / layout.GRAPH_FOLDER / f"graph_{sample_id}.npz"
        with faults.reading(path):
            x, a = layout.read_npz(path, "x", "a")
            if x.ndim != 2 or x.shape[1] != 5 or a.shape != (len(x), len(x)):
                faults.note(path, f"x is {x.shape} and a is {a.shape}", "expected (n, 5) and (n, n)")
            if not (index["id"] == sample_id).any():
                faults.note(path, "graph of a pair that is not in the index", "remove it or add the pair")
    splits = sorted((data_dir / layout.SPLIT_FOLDER).glob("*.*"))
    for path in (path for path in splits if path.suffix in (".npz", ".npy", ".pkl", ".pickle")):
        with faults.reading(path):
            split = read_published_split(path)
            unknown = np.setdiff1d(np.concatenate([split.train, split.validation, split.test]), index["id"])
            if len(unknown):
                fault = f"pair {unknown[0]} and {len(unknown) - 1} more are in no row"
                faults.note(path, fault, "use another split")
