"""`check` finds every fault of a data set, and says what to do about each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from lczlib.data.layout import (
    GRAPH_FOLDER,
    MAPS,
    RGB_FOLDER,
    RGB_SHAPE,
    S2_FOLDER,
    SPLIT_FOLDER,
    TRUTH_FOLDER,
    patch_ids,
    read_index,
    read_npz,
    read_rgb,
    read_s2,
    read_truth,
    rgb_path,
    s2_path,
    truth_path,
)
from lczlib.data.splits import read_published_split


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
    without a file, polygons in two zones; shipped graphs; split files, which are read and never executed.

    Raises:
        FileNotFoundError: no data there at all.
    """
    data_dir = Path(data_dir)
    try:
        index = read_index(data_dir)
    except ValueError as fault:
        if (data_dir / "index.csv").exists():
            return [_as_fault(data_dir / "index.csv", fault)]
        ids = patch_ids(data_dir / S2_FOLDER)  # some of the patches that stand for an index are damaged
        index = pd.DataFrame({"id": ids, "label": 0, "city": "", "polygon": ""})
    faults = list(_check_index(data_dir, index))
    kinds = [(read_s2, s2_path), *[(read_rgb, rgb_path)] * (data_dir / RGB_FOLDER).exists()]
    truth, seen = (data_dir / TRUTH_FOLDER).exists(), {}
    for sample_id, label, *polygon in index[["id", "label", "city", "polygon"]].itertuples(index=False):
        for read, path in kinds:
            faults += _check_patch(read, path(data_dir, sample_id), (label, *polygon), seen)
        faults += _check_truth(truth_path(data_dir, sample_id)) if truth else []
    return faults + list(_check_graphs(data_dir, index)) + list(_check_splits(data_dir, index))


def _as_fault(path: Path, error: Exception) -> Fault:
    text = str(error).removeprefix(f"{path}: ")
    fault, _, remedy = text.partition("; ")
    return Fault(path, fault, remedy or "copy or make it again")


def _check_index(data_dir: Path, index: pd.DataFrame) -> Iterator[Fault]:
    path = data_dir / "index.csv"
    for folder in (S2_FOLDER, RGB_FOLDER, TRUTH_FOLDER):
        for stray in sorted(set(patch_ids(data_dir / folder)) - set(index["id"])):
            yield Fault(data_dir / folder, f"pair {stray} has a file but no row in index.csv", "add the row")
    named = index[index["polygon"] != ""]
    zones_per_polygon = named.groupby(["city", "polygon"])["label"].nunique()
    for city, polygon in zones_per_polygon[zones_per_polygon > 1].index:
        yield Fault(path, f"polygon {polygon!r} of {city!r} has pairs of several zones", "one polygon, one zone")


def _check_patch(read, path: Path, place: tuple[int, str, str], seen: dict[bytes, tuple]) -> list[Fault]:
    """Faults of one patch; `place` is its label, city and polygon, `seen` those of the patches before, by content."""
    try:
        image, own_label = read(path)
    except (ValueError, FileNotFoundError) as error:
        return [_as_fault(path, error)]
    faults, label = [], place[0]
    if label and own_label != label:
        faults.append(Fault(path, f"label {own_label}, but {label} in the index", "make both the same"))
    if image.min() == image.max():
        return [*faults, Fault(path, f"every value is {image.min()}", "no-data? cut the patch elsewhere")]
    if empty := _empty_pixels(image):
        faults.append(Fault(path, f"{empty} pixels look like no-data (lowest value {image.min()})", "cut it elsewhere"))
    twin, *where = seen.setdefault(hashlib.sha256(image.tobytes()).digest(), (path.name, *place))
    if tuple(where) != place:
        claims = "label" if where[0] != label else "polygon"
        faults.append(Fault(path, f"the same patch as {twin} with another {claims}", "keep one of the two"))
    return faults


def _empty_pixels(image: np.ndarray) -> int:
    """Number of pixels that are no data: of reflectance those far out of range or 0 or less in all bands alike, of RGB
    those in black blocks of 17 m and more (single black pixels are shadow).
    """
    alike = (image == image[..., :1]).all(axis=-1)
    if image.dtype == np.uint8:
        black = (alike & (image[..., 0] == 0)).astype(np.uint8)
        return int(cv2.morphologyEx(black, cv2.MORPH_OPEN, np.ones((17, 17), np.uint8)).sum()) if black.any() else 0
    return int(((image < -0.5) | (image > 6.4)).any(axis=-1).sum() + (alike & (image[..., 0] <= 0)).sum())


def _check_truth(path: Path) -> list[Fault]:
    try:
        shapes = {name: array.shape for name, array in read_truth(path).items() if name in MAPS}
    except (ValueError, FileNotFoundError) as error:
        return [_as_fault(path, error)]
    wrong = [f"{name} is {shape}" for name, shape in shapes.items() if shape != RGB_SHAPE[:2]]
    return [Fault(path, ", ".join(wrong), f"expected {RGB_SHAPE[:2]}")] if wrong else []


def _check_graphs(data_dir: Path, index: pd.DataFrame) -> Iterator[Fault]:
    known = set(index["id"])
    for sample_id in patch_ids(data_dir / GRAPH_FOLDER):
        path = data_dir / GRAPH_FOLDER / f"graph_{sample_id}.npz"
        try:
            x, a = read_npz(path, "x", "a")
        except ValueError as error:
            yield _as_fault(path, error)
            continue
        if x.ndim != 2 or x.shape[1] != 5 or a.shape != (len(x), len(x)):
            yield Fault(path, f"x is {x.shape} and a is {a.shape}", "expected (n, 5) and (n, n)")
        if sample_id not in known:
            yield Fault(path, "graph of a pair that is not in the index", "remove it or add the pair")


def _check_splits(data_dir: Path, index: pd.DataFrame) -> Iterator[Fault]:
    for path in sorted((data_dir / SPLIT_FOLDER).glob("*.npz")):
        try:
            split = read_published_split(path)
        except ValueError as error:
            yield _as_fault(path, error)
            continue
        unknown = np.setdiff1d(np.concatenate([split.train, split.validation, split.test]), index["id"])
        if len(unknown):
            yield Fault(path, f"pair {unknown[0]} and {len(unknown) - 1} more are in no row", "use another split")
