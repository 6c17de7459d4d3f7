"""`Predictions`: what a stream says of each pair, the one meeting point of the streams, joined by id."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lczlib.data.layout import read_npz, write_npz
from lczlib.data.splits import polygon_groups
from lczlib.errors import InputError
from lczlib.runs import atomic_path
from lczlib.zones import K

COLUMNS = ("id", "split", "city", "polygon", "label")
KEYS = ["seed", "id", "label", "polygon"]


@dataclass(frozen=True)
class Predictions:
    """Probabilities of the 17 zones for a set of pairs.

    Attributes:
        frame: one row per pair: id, split (train, validation, test), city, polygon, label (1..17).
        p: (B, K) float64, rows sum to 1, column k is the zone with label k + 1.

    Raises InputError on repeated ids, a wrong shape, or rows that are no probabilities.
    """

    frame: pd.DataFrame
    p: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "frame", self.frame.loc[:, list(COLUMNS)].reset_index(drop=True))
        object.__setattr__(self, "p", np.asarray(self.p, dtype=np.float64))
        if self.p.shape != (len(self.frame), K):
            raise InputError(f"probabilities have shape {self.p.shape}; expected ({len(self.frame)}, {K})")
        if self.frame["id"].duplicated().any():
            raise InputError("a pair occurs twice in the predictions; ids must be unique")
        if len(self.p) and not (self.p.min() >= -1e-6 and np.abs(self.p.sum(axis=1) - 1).max() <= 1e-4):  # nor NaN
            raise InputError("rows of p must be probabilities (not negative, sum 1); apply softmax to logits first")

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def labels(self) -> np.ndarray:
        """Reference labels (B,), 1..17."""
        return self.frame["label"].to_numpy(dtype=np.int64)

    @property
    def predicted(self) -> np.ndarray:
        """Most probable labels (B,), 1..17."""
        return self.p.argmax(axis=1) + 1

    @property
    def groups(self) -> np.ndarray:
        """What intervals draw from (B,) str: `polygon_groups`."""
        return polygon_groups(self.frame).to_numpy(str)

    def select(self, **where: object) -> Predictions:
        """The rows where every named column equals its value: `select(split="test", city="synthetic-3")`."""
        keep = np.ones(len(self), dtype=bool)
        for column, value in where.items():
            keep &= (self.frame[column] == value).to_numpy()
        return Predictions(self.frame[keep], self.p[keep])

    def look_up(self, ids: np.ndarray | pd.Series) -> Predictions:
        """The rows of these ids, in their order; InputError when one is missing."""
        rows = pd.Index(self.frame["id"]).get_indexer(ids)
        if (rows < 0).any():
            raise InputError(f"pair {np.asarray(ids)[rows < 0][0]}: no prediction; predict every pair asked for")
        return Predictions(self.frame.iloc[rows], self.p[rows])

    def save(self, path: str | Path) -> Path:
        """Write to npz, without pickles, atomically; probabilities as float32."""
        columns = {name: self.frame[name].to_numpy(np.int64 if name in ("id", "label") else str) for name in COLUMNS}
        write_npz(Path(path), p=self.p.astype(np.float32), **columns)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Predictions:
        """Read what `save` wrote. Raises FileNotFoundError, naming the notebooks that write predictions; InputError."""
        if not Path(path).exists():
            raise FileNotFoundError(
                f"{path}: no predictions there; run notebooks 02 (Sentinel-2), 03 (graphs) and 06 (transfer) first"
            )
        *columns, p = read_npz(Path(path), *COLUMNS, "p")
        try:
            return cls(pd.DataFrame(dict(zip(COLUMNS, columns))), p)
        except ValueError as fault:
            raise InputError(f"{path}: holds no predictions ({fault}); make it again") from None


def join(first: Predictions, second: Predictions) -> tuple[Predictions, Predictions]:
    """Both predictions on their common ids, in the order of `first`.

    Raises InputError where they have none, or disagree about a pair's label or split.
    """
    common = first.frame[["id"]].merge(second.frame[["id"]], on="id")["id"].to_numpy()
    if not len(common):
        raise InputError("the two streams share no pair; were they trained on the same data?")
    pair = first.look_up(common), second.look_up(common)
    for column in ("label", "split"):
        differ = (pair[0].frame[column] != pair[1].frame[column]).to_numpy()
        if differ.any():
            raise InputError(f"the streams disagree on the {column} of pair {common[differ][0]}; use one split")
    return pair


def write_zones(path: str | Path, predicted: Mapping[str, pd.DataFrame]) -> None:
    """Write the zones that several methods predict as CSV (.csv.gz): a row for each seed and pair, a column for each.

    Args:
        predicted: {method: frame of seed, id, label, polygon (what intervals draw from), predicted}. A method may lack
            seeds that others have: its column is empty there.
    """
    columns = [frame.set_index(KEYS)["predicted"].rename(name) for name, frame in predicted.items()]
    table = pd.concat(columns, axis=1).astype("Int64").reset_index()
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(table.to_csv(index=False).encode(), mtime=0))


def read_zones(path: str | Path) -> dict[str, pd.DataFrame]:
    """What `write_zones` wrote."""
    table = pd.read_csv(path)
    parts = {name: table.loc[table[name].notna(), [*KEYS, name]] for name in table.columns.drop(KEYS)}
    return {name: part.rename(columns={name: "predicted"}).astype({"predicted": int}) for name, part in parts.items()}
