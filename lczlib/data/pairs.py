"""`Pairs`: a data set opened for work, its patches memory-mapped from one packed file per kind."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from lczlib.data import layout, so2sat
from lczlib.errors import InputError
from lczlib.runs import atomic_path, make_if_missing, memmap_is_sound, new_memmap, read_json, write_json

_KINDS = {
    "s2": (layout.S2_FOLDER, layout.s2_path, layout.read_s2, layout.S2_SHAPE, np.float32),
    "rgb": (layout.RGB_FOLDER, layout.rgb_path, layout.read_rgb, layout.RGB_SHAPE, np.uint8),
}


def fingerprint(data_dir: str | Path, kind: str, ids: Iterable[int]) -> str:
    """Digest of names, sizes and modification times of the patches of one kind, and of the ids asked for."""
    files = layout.listing(Path(data_dir) / _KINDS[kind][0])
    return hashlib.sha256(np.asarray(list(ids), dtype=np.int64).tobytes() + files.encode()).hexdigest()


def pack(data_dir: str | Path, kind: str, ids: np.ndarray) -> np.memmap:
    """One memory-mapped file of all patches of a kind, made when missing or when the patches changed since.

    "s2" -> (N, 32, 32, 10) float32, "rgb" -> (N, 320, 320, 3) uint8; row i is pair ids[i]. Raises FileNotFoundError or
    InputError where a patch is missing or damaged. It is a cache: where it is damaged, it is made again.
    """
    folder, path_of, read, shape, dtype = _KINDS[kind]
    if not (Path(data_dir) / folder).exists():
        remedy = "download it with the data set, or use its shipped graphs"
        raise FileNotFoundError(f"{data_dir}: no {folder}/ there; {remedy}")
    target = Path(data_dir) / layout.PACK_FOLDER / f"{kind}.npy"
    stamp, note = fingerprint(data_dir, kind, ids), target.with_suffix(".json")

    def fresh() -> bool:
        try:
            noted = read_json(note)
        except (FileNotFoundError, InputError):
            return False
        sound = memmap_is_sound(target, dtype, (len(ids), *shape))
        return sound and noted.get("fingerprint") == stamp and "labels" in noted

    def write() -> None:
        write_json(note, {"fingerprint": None})  # the old pack is stale, whenever this stops
        labels = np.zeros(len(ids), np.int64)
        with atomic_path(target) as temporary:
            packed = new_memmap(temporary, dtype, (len(ids), *shape))
            for row, sample_id in enumerate(tqdm(ids, desc=f"packing {kind}", disable=len(ids) < 2000)):
                packed[row], labels[row] = read(path_of(data_dir, sample_id))
            packed.flush()
            digest = hashlib.sha256(packed).hexdigest()
        write_json(note, {"fingerprint": stamp, "labels": labels, "digest": digest})

    make_if_missing(target, fresh, write)
    return np.load(target, mmap_mode="r")


def digest(array: np.ndarray | so2sat.Patches) -> str:
    """SHA-256 of the values of an array; that of a whole packed file is read from its note, not computed again."""
    if isinstance(array, so2sat.Patches):
        return array.digest
    note = Path(array.filename or "").with_suffix(".json") if isinstance(array.base, mmap.mmap) else Path()
    noted = read_json(note).get("digest") if note.is_file() else None
    return noted or hashlib.sha256(np.ascontiguousarray(array)).hexdigest()


@dataclass(frozen=True)
class Pairs:
    """The pairs of one data set, or some of them.

    Attributes:
        data_dir: the folder, or a file of So2Sat. index: id, label (1..17), city, polygon (and part, where So2Sat's own
            split is there). kind: "synthetic", "LCZC-GES2", "own city", "So2Sat LCZ42".
        all_ids: ids of every pair of the folder, the rows of the packed files. patches: those of So2Sat.
    """

    data_dir: Path
    index: pd.DataFrame
    kind: str
    all_ids: np.ndarray
    patches: so2sat.Patches | None = None

    def __len__(self) -> int:
        return len(self.index)

    @property
    def ids(self) -> np.ndarray:
        """(N,) int64."""
        return self.index["id"].to_numpy()

    @property
    def labels(self) -> np.ndarray:
        """(N,) int64, 1..17."""
        return self.index["label"].to_numpy()

    @property
    def cities(self) -> np.ndarray:
        """(N,) str, "" where unknown."""
        return self.index["city"].to_numpy(dtype=str)

    @property
    def polygons(self) -> np.ndarray:
        """(N,) str, "" where unknown."""
        return self.index["polygon"].to_numpy(dtype=str)

    @property
    def has_rgb(self) -> bool:
        """Whether the high-resolution patches are there (the published set keeps them apart)."""
        return (self.data_dir / layout.RGB_FOLDER).exists()

    @property
    def has_graphs(self) -> bool:
        """Whether the graph stream can be used: of these patches, or by graphs shipped with the set."""
        return self.has_rgb or (self.data_dir / layout.GRAPH_FOLDER).exists()

    @cached_property
    def s2(self) -> np.ndarray | so2sat.Patches:
        """(N, 32, 32, 10) float32 reflectance; memory-mapped when this is the whole set; of So2Sat `Patches`."""
        return self._rows("s2") if self.patches is None else self.patches.take(self.ids)

    @cached_property
    def rgb(self) -> np.ndarray:
        """(N, 320, 320, 3) uint8; memory-mapped when this is the whole set."""
        return self._rows("rgb")

    def _rows(self, kind: str) -> np.ndarray:
        packed = pack(self.data_dir, kind, self.all_ids)
        return packed if len(self) == len(self.all_ids) else packed[np.searchsorted(self.all_ids, self.ids)]

    def truth(self, sample_id: int) -> dict[str, np.ndarray]:
        """Truth of one synthetic pair (`layout.read_truth`)."""
        return layout.read_truth(layout.truth_path(self.data_dir, sample_id))

    def subset(self, ids: Iterable[int]) -> Pairs:
        """The pairs with these ids, in ascending order; InputError on an unknown id."""
        wanted = np.unique(np.fromiter(ids, dtype=np.int64))
        unknown = np.setdiff1d(wanted, self.ids)
        if len(unknown):
            raise InputError(f"{self.data_dir}: no pair {unknown[0]}; ids are {self.ids.min()}..{self.ids.max()}")
        return replace(self, index=self.index[self.index["id"].isin(wanted)].reset_index(drop=True))


def open_pairs(data_dir: str | Path) -> Pairs:
    """Open a data set: synthetic, LCZC-GES2 as published, one's own city, or So2Sat LCZ42 (a folder or an .h5 file).

    The published LCZC-GES2 has no index: its patches and labels are packed at once, so that each file is read once.
    Raises what `layout.read_index` and `so2sat.read_files` do.
    """
    if files := so2sat.find_files(data_dir):
        index, patches = so2sat.read_files(files)
        return Pairs(Path(data_dir), index, "So2Sat LCZ42", index["id"].to_numpy(), patches)
    data_dir, note = Path(data_dir), Path(data_dir) / "dataset.json"
    kind = read_json(note).get("kind", "LCZC-GES2") if note.exists() else "LCZC-GES2"
    if (data_dir / "index.csv").exists() or not (ids := layout.patch_ids(data_dir / layout.S2_FOLDER)):
        index = layout.read_index(data_dir)
    else:
        pack(data_dir, "s2", np.array(ids))
        labels = read_json(data_dir / layout.PACK_FOLDER / "s2.json")["labels"]
        index = pd.DataFrame({"id": ids, "label": labels, "city": "", "polygon": ""})
    return Pairs(data_dir, index, kind, index["id"].to_numpy())
