"""So2Sat LCZ42: its published HDF5 files, read in place.

`sen2` (N, 32, 32, 10) float64 reflectance in the order of `layout.BANDS`, `label` (N, 17) one-hot; `sen1` is not used.
The second version is three files, the third has such files in `random/`, `block/` and `culture_10/`, the fourth has
`training_geo.h5` and so on beside those of the second: where each patch lies.

Source: Zhu et al. 2020, doi 10.1109/MGRS.2020.2964708, and the description beside the files.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from lczlib.data.layout import INDEX_COLUMNS, S2_SHAPE
from lczlib.errors import InputError
from lczlib.zones import K

FILES = {"training.h5": "train", "validation.h5": "validation", "testing.h5": "test"}
ENDS = 1 << 16  # bytes of the beginning and the end of a file that tell it from others
TREES = 11  # zone A
BLOCK = 5000.0  # m; patches of one square are a group, which stays whole in splits and intervals (assumed)


@dataclass(frozen=True)
class _File:
    """One file: its patches are `count` blocks of `dtype` from byte `offset` on; None: chunks, which h5py reads."""

    path: Path
    count: int
    dtype: np.dtype
    offset: int | None

    def read(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """The patches of ascending rows, each (32, 32, 10)."""
        if self.offset is None:
            with h5py.File(self.path, "r") as file:
                yield from (file["sen2"][row] for row in rows)
            return
        patch = np.empty(S2_SHAPE, self.dtype)
        with self.path.open("rb", buffering=0) as file:
            for row in rows.tolist():
                file.seek(self.offset + row * patch.nbytes)
                if file.readinto(patch) != patch.nbytes:
                    raise OSError("it ends too early")
                yield patch


class Patches:
    """Sentinel-2 patches (N, 32, 32, 10) that stay in their files: `patches[rows]` reads float32 reflectance.

    Args:
        files: one after the other. rows: those wanted, counted over all files; None: all.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, files: tuple[_File, ...], rows: np.ndarray | None = None):
        self.files, self._starts = files, np.cumsum([0, *(file.count for file in files)])
        self._rows = np.arange(self._starts[-1]) if rows is None else rows
        self.shape = (len(self._rows), *S2_SHAPE)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key) -> np.ndarray:
        """As of an array: of a row, a slice, rows or a mask; in a tuple, what follows is taken of the patches read."""
        if isinstance(key, tuple):
            if key[0] is Ellipsis:
                return self[:][key]
            return self[key[0]][(*[slice(None)] * np.ndim(self._rows[key[0]]), *key[1:])]
        rows = self._rows[key]
        if np.ndim(rows) == 0:
            return self[[key]][0]
        patches = np.empty((len(rows), *S2_SHAPE), np.float32)
        order = np.argsort(rows, kind="stable")
        for file, start in zip(self.files, self._starts):
            here = order[slice(*np.searchsorted(rows[order], [start, start + file.count]))]
            try:
                for at, patch in zip(here, file.read(rows[here] - start)):
                    patches[at] = patch
            except (OSError, RuntimeError) as fault:
                raise InputError(f"{file.path}: patches are unreadable ({fault}); download it again") from None
        return patches

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    def take(self, rows: np.ndarray) -> Patches:
        """Some of the patches, still in their files."""
        return Patches(self.files, self._rows[rows])

    @property
    def digest(self) -> str:
        """Changes with the rows, and with size, number of patches and both ends of a file; not with its place."""
        content = hashlib.sha256(self._rows.tobytes())
        for file in self.files:
            whole = np.memmap(file.path, np.uint8, "r")
            content.update(f"{len(whole)} {file.count}".encode() + bytes(whole[:ENDS]) + bytes(whole[-ENDS:]))
        return content.hexdigest()


def find_files(path: str | Path) -> list[Path]:
    """The files of So2Sat LCZ42 in a folder, or an .h5 file, `training.h5` with those of its set; [] elsewhere."""
    path = Path(path)
    single = path.suffix == ".h5" and not path.is_dir()
    folder = path.parent if single else path
    found = [folder / name for name in FILES if (folder / name).is_file()]
    if single:
        return found if path.name == "training.h5" and path in found else [path]
    if (path / "index.csv").exists():
        return []
    if not found and (splits := sorted(path.glob("*/training.h5"))):
        raise InputError(f"{path}: holds {len(splits)} splits of So2Sat LCZ42; give one of them, as {splits[0].parent}")
    return found


def read_files(paths: list[Path]) -> tuple[pd.DataFrame, Patches]:
    """Index (id, label 1..17, city and polygon (`_places`), `part` where the files are a published split) and patches.

    Where `validation.h5` is missing, a tenth of each zone of the training validates.

    Raises InputError where a file is damaged, or its patches or labels are not as published.
    """
    files, labels = zip(*map(_open, paths))
    places = pd.concat([_places(file.path, file.count) for file in files], ignore_index=True)
    index = places.assign(label=np.concatenate(labels)).rename_axis("id").reset_index()[list(INDEX_COLUMNS)]
    names = [path.name for path in paths]
    if {"training.h5", "testing.h5"} <= set(names):
        index["part"] = np.repeat([FILES[name] for name in names], [len(one) for one in labels])
        if "validation.h5" not in names:
            training = index[index["part"] == "train"]
            index.loc[training.groupby("label").sample(frac=0.1, random_state=0).index, "part"] = "validation"
    return index, Patches(files)


def _open(path: Path) -> tuple[_File, np.ndarray]:
    try:
        with h5py.File(path, "r") as file:
            sen2, label = file["sen2"], file["label"]
            count, kinds = len(label), (sen2.dtype.kind, label.dtype.kind in "fiu")
            if (sen2.shape, label.shape, kinds) != ((count, *S2_SHAPE), (count, K), ("f", True)) or not count:
                raise InputError(f"sen2 is {sen2.dtype} {sen2.shape}, label {label.dtype} {label.shape}")
            rows = label[:]
            sound = ((rows == 0) | (rows == 1)).all(1) & (rows.sum(1) == 1)
            if not sound.all():
                raise InputError(f"labels are not all one-hot, patch {sound.argmin()} first")
            zones = rows.argmax(1) + 1
            found = _File(path, count, sen2.dtype, sen2.id.get_offset())
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, MemoryError) as fault:
        remedy = f"expected sen2 (N, 32, 32, {S2_SHAPE[-1]}) float and label (N, {K})"
        raise InputError(f"{path}: not a file of So2Sat LCZ42 ({fault}); {remedy}, download it again") from None
    if found.offset is None:
        warnings.warn(f"{path}: chunked or compressed; read by h5py, slower than as published", stacklevel=4)
    _check_reflectance(found, zones)
    return found, zones


def _places(path: Path, count: int) -> pd.DataFrame:
    """City (where it is named) and square of `BLOCK` m, as polygon, of each patch, by the file of places beside `path`.

    Source: `coord` (N, 6) begins with x and y in UTM, `epsg` (N, 1) names the zone: README of the fourth version.
    """
    geo = path.with_name(f"{path.stem}_geo.h5")
    if not geo.exists():
        return pd.DataFrame({"city": [""] * count, "polygon": ""})
    try:
        with h5py.File(geo, "r") as file:
            zone, (x, y) = np.ravel(file["epsg"]).astype(int), (np.asarray(file["coord"])[:, :2] // BLOCK).astype(int).T
            cities = np.ravel(file["city"].asstr()[:]) if "city" in file else [""] * count
        if {len(zone), len(x), len(cities)} != {count}:
            raise ValueError(f"{len(zone)} places for {count} patches")
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, MemoryError) as fault:
        raise InputError(f"{geo}: places are unreadable ({fault}); download it again, or remove it") from None
    return pd.DataFrame({"city": cities, "polygon": [f"EPSG:{z} {a} {b}" for z, a, b in zip(zone, x, y)]})


def _check_reflectance(file: _File, zones: np.ndarray) -> None:
    """Scale and order of bands of some patches: reflectance 0..2.8; trees are bright from 740 nm on, dark in red."""
    every, trees = np.arange(file.count), np.flatnonzero(zones == TREES)
    some, green = (Patches((file,))[rows[:: max(len(rows) // 64, 1)]] for rows in (every, trees))
    if not (some.min() >= -0.1 and some.max() <= 5):
        values = f"sen2 holds {some.min():.4g} to {some.max():.4g}, not reflectance of 0 to 2.8"
        raise InputError(f"{file.path}: {values}; divide digital numbers by 10000")
    bands = green.mean((0, 1, 2)) if len(green) else np.ones(S2_SHAPE[-1])
    if 1.2 * bands[4:8].min() < bands[[0, 1, 2, 9]].max():
        raise InputError(f"{file.path}: dense trees are darker in B6 to B8A than in another band; reorder the bands")
