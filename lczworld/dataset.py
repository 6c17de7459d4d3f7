"""A synthetic data set in the published layout: balanced over zones and cities, by several processes, resumable."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from lczlib.compute import parallel
from lczlib.data import Pairs, open_pairs
from lczlib.data.layout import read_index, read_truth, truth_path, write_index, write_npz, write_pair
from lczlib.errors import InputError
from lczlib.runs import make_if_missing, read_json, write_json
from lczlib.zones import CODES, K

from .cities import CITIES
from .scene import PAIRS_PER_POLYGON, generate_scene

KIND = "synthetic"
VERSION = 4  # raised whenever the same seed gives another picture
FRACTIONS = ("bsf", "isf", "psf", "svf", "mean_height")
_SEEDS = 100_000  # scene seeds of one data set seed


def plan(pairs: int, cities: int = 8, seed: int = 0) -> pd.DataFrame:
    """What each pair is: id, label, city, polygon, city_number, scene_seed. A longer plan begins with the shorter one.

    Polygons of PAIRS_PER_POLYGON pairs go round the zones, and each round shifts the city by one, so that every
    17 * `cities` polygons hold each zone once per city.
    """
    if not 1 <= cities <= len(CITIES) or pairs < 1:
        raise InputError(f"pairs {pairs}, cities {cities}: expected at least one pair and 1..{len(CITIES)} cities")
    ids = np.arange(pairs)
    polygon = ids // PAIRS_PER_POLYGON
    label, turn, number = polygon % K + 1, polygon // K, polygon // (K * cities)
    city = (polygon % K + turn) % cities
    names = [CITIES[c].name for c in city]
    polygons = [f"{name}/LCZ-{CODES[z - 1]}/{n + 1:02d}" for name, z, n in zip(names, label, number)]
    scene_seed = seed * _SEEDS + number * PAIRS_PER_POLYGON + ids % PAIRS_PER_POLYGON
    return pd.DataFrame({"id": ids, "label": label, "city": names, "polygon": polygons, "city_number": city,
                         "scene_seed": scene_seed})  # fmt: skip


def make_dataset(data_dir: str | Path, pairs: int = 1088, cities: int = 8, seed: int = 0, workers: int = 2,
                 progress: bool = True, shift: float = 1.0) -> Path:  # fmt: skip
    """Make (or go on making, or enlarge) a synthetic data set; pairs that are there already are kept.

    Args:
        data_dir: folder in the layout of `lczlib.data.layout`, with truth/.
        pairs: 1088 gives 8 pairs on average, from 2 or 3 polygons, per zone and city.
        cities: 1..8. seed: of the data set; seed and id determine a pair, not `workers`.
        shift: how far the cities are apart, 0..3, as for `generate_scene`.

    Raises:
        ValueError: the folder holds something else.
    """
    data_dir, facts = Path(data_dir), {"seed": seed, "cities": cities, "shift": float(shift), "version": VERSION}
    todo = plan(pairs, cities, seed)

    def make() -> None:
        write_json(data_dir / "dataset.json", {"kind": KIND, **facts, "pairs": 0})
        jobs = [{"data_dir": data_dir, "sample_id": row.id, "label": row.label, "city": row.city_number,
                 "seed": row.scene_seed, "shift": facts["shift"]} for row in todo.itertuples()
                if not truth_path(data_dir, row.id).exists()]  # fmt: skip
        made = parallel(_make_pair, jobs, workers if len(jobs) >= 8 else 1)
        for _ in tqdm(made, total=len(jobs), desc="synthetic pairs", unit="pair", disable=not progress):
            pass
        write_index(data_dir, todo, KIND, **facts, pairs=len(todo))

    make_if_missing(data_dir, lambda: _pairs_there(data_dir, facts) >= pairs, make)
    return data_dir


def open_or_make(data_dir: str | Path, pairs: int = 1088, seed: int = 0, workers: int = 2, cities: int = 8,
                 shift: float = 1.0) -> Pairs:  # fmt: skip
    """The pairs of `data_dir`; where nothing is there, the synthetic world is made first.

    A synthetic set of that seed, shift and so many cities that is unfinished or smaller than `pairs` is completed;
    any other data set is opened as it is.
    """
    data_dir = Path(data_dir)
    if data_dir.suffix == ".h5":  # of So2Sat
        return open_pairs(data_dir)
    note, empty = data_dir / "dataset.json", _empty(data_dir)
    found = read_json(note) if note.exists() else {}
    same = (found.get("seed"), found.get("cities"), found.get("shift")) == (seed, cities, shift)
    other = not same and (data_dir / "index.csv").exists()
    if empty or (found.get("kind") == KIND and not other):
        make_dataset(data_dir, pairs, cities, seed, workers, shift=shift)
    return open_pairs(data_dir)


def read_fractions(data_dir: str | Path, ids: Iterable[int]) -> pd.DataFrame:
    """Measured properties of synthetic pairs: columns id, bsf, isf, psf, svf (0..1), mean_height (m)."""
    found = ((int(i), read_truth(truth_path(data_dir, i), FRACTIONS)) for i in ids)
    rows = [{"id": i} | {name: float(value) for name, value in truth.items()} for i, truth in found]
    return pd.DataFrame(rows, columns=["id", *FRACTIONS])


def _pairs_there(data_dir: Path, facts: dict) -> int:
    """Number of pairs that a folder holds already. Raises InputError where it holds another data set."""
    note, empty = data_dir / "dataset.json", _empty(data_dir)
    if not note.exists():
        if not empty:
            raise InputError(f"{data_dir}: holds other files and no synthetic set; choose an empty folder")
        return 0
    found = read_json(note)
    other = "" if found.get("kind") == KIND else f"{found.get('kind')} data"
    if different := [f"{name} {found.get(name)}" for name, value in facts.items() if found.get(name) != value]:
        other = other or f"a synthetic set with {', '.join(different)}"
    if other:
        raise InputError(f"{data_dir}: holds {other}; choose another folder or remove this one")
    return int(found.get("pairs", 0)) if (data_dir / "index.csv").exists() and len(read_index(data_dir)) else 0


def _empty(folder: Path) -> bool:
    """Whether nothing but hidden files is there; asked before `dataset.json`, which another process may be writing."""
    return not folder.exists() or all(path.name.startswith(".") for path in folder.iterdir())


def _make_pair(data_dir: Path, sample_id: int, label: int, city: int, seed: int, shift: float) -> None:
    """Write one pair; its truth last, so that a truth file means a complete pair."""
    scene = generate_scene(label, city, seed, shift)
    write_pair(data_dir, sample_id, scene.s2, scene.rgb, label)
    numbers = {name: np.float32(value) for name, value in scene.fractions.items()}
    height = scene.height.round(1).astype(np.float16)
    write_npz(truth_path(data_dir, sample_id), instances=scene.instances, height=height, cover=scene.cover,
              zone=np.int64(label), seed=np.int64(seed), **numbers)  # fmt: skip
