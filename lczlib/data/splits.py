"""Splits of the pairs into train, validation and test, disjoint by construction and checked."""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lczlib.data import layout
from lczlib.errors import InputError

if TYPE_CHECKING:
    from lczlib.data.pairs import Pairs

Fold = tuple[str, ...]  # the cities that one training leaves out
STRATEGIES = ("sample_pool", "polygon_pool", "city")
PUBLISHED = {"sample_pool": "partition_random.npz", "polygon_pool": "partition_polygons_1125.npz"}
SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}  # the published random split: 13,355 / 1,920 / the rest


@dataclass(frozen=True)
class Split:
    """Ids of the pairs to train on, to choose with, and to report on; the three never overlap (InputError)."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    strategy: str

    def __post_init__(self) -> None:
        ids = np.concatenate([self.train, self.validation, self.test])
        values, counts = np.unique(ids, return_counts=True)
        if (counts > 1).any():
            fault = f"pair {values[counts > 1][0]} is in two parts of the split, or twice in one"
            raise InputError(f"{fault}; the parts must be disjoint")

    def of(self, ids: np.ndarray) -> np.ndarray:
        """Name of the part each id is in, "" for none."""
        names = np.full(len(ids), "", dtype="<U10")
        for part in SHARES:
            names[np.isin(ids, getattr(self, part))] = part
        return names


def make_split(index: pd.DataFrame, strategy: str, seed: int = 0, test_city: str | None = None) -> Split:
    """Split pairs 70 / 10 / 20 by one of the three strategies, zone by zone so that each part has all zones.

    Args:
        index: id, label, city, polygon (`Pairs.index`).
        strategy: `sample_pool` shuffles pairs; `polygon_pool` shuffles polygons, whose pairs stay together;
            `city` tests on `test_city` (the last by name when None) and splits the others by polygon (7 : 1).

    Raises InputError where strategy or city is unknown, or the index names no polygons or cities.
    """
    if strategy not in STRATEGIES:
        raise InputError(f"unknown split strategy {strategy!r}; expected one of {', '.join(STRATEGIES)}")
    needed = {"sample_pool": None, "polygon_pool": "polygon", "city": "city"}[strategy]
    if needed and (index[needed] == "").any():
        raise InputError(f"index.csv names no {needed} for some pairs; use sample_pool or a published split file")
    rng = np.random.default_rng(seed)
    if strategy == "city":
        cities = sorted(index["city"].unique())
        test_city = cities[-1] if test_city is None else test_city
        if test_city not in cities or len(cities) < 2:
            raise InputError(f"cannot test on city {test_city!r}; the index has {', '.join(cities)} (two are needed)")
        return _tested_on(index, index["city"] == test_city, rng)
    groups = index["id"].astype(str) if strategy == "sample_pool" else polygon_groups(index)
    return Split(**_deal(index, groups, SHARES, rng), strategy=strategy)


def split_pairs(pairs: Pairs, strategy: str, seed: int = 0) -> Split:
    """`make_split` of a data set, or what there is instead where its index names no polygons.

    That is the published split, whatever the seed: So2Sat's own, whatever the strategy, or that of LCZC-GES2; or else
    `sample_pool`, with a warning: it reports too much. `strategy` of what is returned says which it is.
    """
    if "part" in pairs.index:
        return Split(**{part: pairs.ids[pairs.index["part"] == part] for part in SHARES}, strategy="published")
    path = pairs.data_dir / layout.SPLIT_FOLDER / PUBLISHED.get(strategy, "")
    if (pairs.index["polygon"] != "").all() or strategy == "city":
        return make_split(pairs.index, strategy, seed)
    if path.is_file():
        split = read_published_split(path)
        parts = {part: np.intersect1d(getattr(split, part), pairs.ids) for part in SHARES}
        return replace(split, **parts)
    if strategy == "polygon_pool":
        missing = f"{pairs.data_dir}: its index names no polygons and no {path.name} is there"
        warnings.warn(f"{missing}: split by sample_pool, which reports more than a new polygon would get", stacklevel=2)
        strategy = "sample_pool"
    return make_split(pairs.index, strategy, seed)


def city_folds(index: pd.DataFrame, folds: int, seed: int = 0) -> dict[Fold, Split]:
    """Splits that leave cities out in turn, one for each fold of cities: all of them are tested on.

    Each also tests on some polygons of every other fold, so that every pair is tested exactly twice: by a training that
    never saw its city, and by one that saw other polygons of it. All train on nearly the same number of pairs: the two
    answers to a pair differ by nothing but the city.

    Args:
        index: id, label, city, polygon. folds: at least three; as many as cities leaves out one at a time.
    """
    cities, rng = sorted(index["city"].unique()), np.random.default_rng(seed)
    if min(folds, len(cities)) < 3:
        raise InputError(f"{len(cities)} cities in {folds} folds; leaving some out in turn needs three of each")
    fold_of = {city: tuple(cities[k::folds]) for k in range(folds) for city in cities[k::folds]}
    index = index.assign(city=["+".join(fold_of[city]) for city in index["city"]])
    polygons = polygon_groups(index)
    folds_by_name = {"+".join(fold): fold for fold in fold_of.values()}
    order = rng.permutation(sorted(folds_by_name))
    # Dealt zone by zone in a ring of folds, so that every split lacks as many polygons of each zone as any other: at
    # random, those that test a zone would be those that saw least of it.
    tester, start = pd.Series("", index.index), 0  # of each pair: the other fold whose split tests it
    for label in sorted(index["label"].unique()):
        here, most = index["label"] == label, 0
        for place, fold in enumerate(order):
            rows = here & (index["city"] == fold)
            names = rng.permutation(polygons[rows].unique())
            steps = 1 + (start + np.arange(len(names))) % (len(order) - 1)
            tester[rows] = polygons[rows].map(dict(zip(names, order[(place + steps) % len(order)])))
            most = max(most, len(names))
        start += most
    tested = {name: (index["city"] == name) | (tester == name) for name in sorted(folds_by_name)}
    return {folds_by_name[name]: _tested_on(index, rows, rng) for name, rows in tested.items()}


def _tested_on(index: pd.DataFrame, tested: pd.Series, rng: np.random.Generator) -> Split:
    """Test on the rows `tested`; the others by polygon, 7 : 1, to train on and to choose with."""
    rest = index[~tested]
    parts = _deal(rest, polygon_groups(rest), {"train": 7 / 8, "validation": 1 / 8}, rng)
    return Split(**parts, test=index.loc[tested, "id"].to_numpy(), strategy="city")


def split_of_cities(index: pd.DataFrame, test_city: str, cities: Sequence[str], seed: int = 0) -> Split:
    """Test on one city, train on others: about as many pairs as one of them has, however many they are."""
    rest, n = index[index["city"].isin(cities)], len(cities)
    shares = {"train": 7 / 8 / n, "validation": 1 / 8 / n, "left over": 1 - 1 / n}
    parts = _deal(rest, polygon_groups(rest), shares, np.random.default_rng(seed))
    return Split(parts["train"], parts["validation"], index.loc[index["city"] == test_city, "id"].to_numpy(), "city")


def polygon_groups(index: pd.DataFrame) -> pd.Series:
    """City and polygon of each pair, which stays with its group in splits and resamples; a pair of unknown polygon is a
    group of its own, which makes intervals too narrow where such pairs do come from one polygon.
    """
    return index["city"] + "\n" + index["polygon"].where(index["polygon"] != "", index["id"].astype(str))


def _deal(index: pd.DataFrame, groups: pd.Series, shares: dict[str, float], rng: np.random.Generator) -> dict:
    """Deal shuffled groups, zone by zone, to the part that lacks most of its own share; a group stays whole.

    scikit-learn's StratifiedGroupKFold deals into equal folds and would give other splits than those reported.
    """
    # of each group the most frequent label, the first of equals
    counts = index.groupby([groups.rename("group"), "label"]).size()
    counts = counts.sort_values(ascending=False, kind="stable").reset_index("label")
    home = counts.loc[~counts.index.duplicated(), "label"]
    sizes = groups.value_counts()
    parts = {}
    for label in sorted(home.unique()):
        names = np.sort(home.index[home == label].to_numpy(dtype=str))
        rng.shuffle(names)
        total, given = sizes[names].sum(), dict.fromkeys(shares, 0)
        for name in names:
            part = max(shares, key=lambda p: 1 - given[p] / (shares[p] * total) if shares[p] else -np.inf)
            parts[name] = part
            given[part] += sizes[name]
    part_of = groups.map(parts)
    return {part: index.loc[part_of == part, "id"].to_numpy() for part in shares}


class _ArraysOnly(pickle.Unpickler):
    """Reads arrays, numbers, strings, lists and dicts; refuses to look up anything else, so nothing is executed."""

    _ADMITTED = ("numpy._core.multiarray._reconstruct", "numpy._core.multiarray.scalar",
                 "numpy._core.numeric._frombuffer", "numpy.ndarray", "numpy.dtype")  # fmt: skip

    def find_class(self, module: str, name: str):
        if (module, name) == ("_codecs", "encode"):
            return self.encode_latin1
        new = module.replace("numpy.core.", "numpy._core.")
        if f"{new}.{name}" not in self._ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(new if hasattr(np, "_core") else new.replace("numpy._core.", "numpy.core."), name)

    def persistent_load(self, pid: object):
        raise pickle.UnpicklingError("it refers to things outside the file")

    @staticmethod
    def encode_latin1(text: str, encoding: str) -> bytes:
        """`_codecs.encode` for the one encoding that arrays of protocol 2 and below are stored in."""
        if encoding != "latin1":
            raise pickle.UnpicklingError(f"it asks for the encoding {encoding!r}")
        return text.encode("latin1")


def read_published_split(path: str | Path) -> Split:
    """Read `partition_*.npz` of LCZC-GES2 (a Python pickle despite its suffix) without executing it.

    Raises InputError where anything but arrays is in it, or parts are missing or overlap.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such split file; use sample_pool or fetch LCZC-GES2")
    try:
        content = _ArraysOnly(io.BytesIO(path.read_bytes())).load()
        parts = {part: np.asarray(content[part]) for part in SHARES}
        if any(ids.ndim != 1 or ids.dtype.kind not in "iu" for ids in parts.values()):
            raise InputError("its parts are not lists of pair numbers")
        return Split(**{part: ids.astype(np.int64) for part, ids in parts.items()}, strategy=path.stem)
    except Exception as fault:  # a damaged pickle can raise nearly anything; all of it means the same to the user
        remedy = "expected train, validation, test arrays"
        raise InputError(f"{path}: not a split of LCZC-GES2 ({fault}); {remedy}") from None
