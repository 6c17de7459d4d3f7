"""Real Sentinel-2 windows for a model that has only ever seen synthetic ones.

Needs the folder of real samples that the environment variable `LCZ_REALDATA` names; nothing is trained on it.
"""

import os
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import rasterio

from lczlib import metrics
from lczlib.city.patches import cut_patches
from lczlib.city.rasters import Sentinel2
from lczlib.data import open_pairs

LAND_COVER = {1: 17, 2: 11, 4: 14, 9: 14, 6: 16}  # water G, trees A, crops and range D, bare F (labels 1..17)
PLACES = ("433D_629L_3_1", "637U_59R_1_3")
OFFSET_FLOOR = 900  # DN: no land surface is so bright in its darkest blue pixels; then the offset of 1000 is still in
SHARE, STEP = 0.8, 16  # least share of a natural window in one land cover; pixels between natural windows


def folder() -> Path | None:
    """The folder of real samples, None where there is none."""
    path = Path(os.environ.get("LCZ_REALDATA", ""))
    return path.resolve() if (path / "berlin").is_dir() and (path / "terramind").is_dir() else None


def windows(path: Path) -> tuple[np.ndarray, pd.DataFrame]:
    """All real windows with a zone, of the samples in `path`.

    Returns:
        x (n, 32, 32, 10) float32 reflectance; frame (n): part ("Berlin", "natural"), place, group, label 1..17.
        `group` names the polygon, or the 64 x 64 pixel block of a natural window: overlapping windows resemble
        each other and count as one in intervals.
    """
    with TemporaryDirectory() as out:
        cut_patches(path / "berlin/Berlin_S2_2024-10-24_sample.tif", path / "berlin/Berlin_labels.shp", out)
        pairs = open_pairs(out)
        frame = pd.DataFrame({"part": "Berlin", "place": "Berlin", "group": pairs.polygons, "label": pairs.labels})
        parts = [(np.array(pairs.s2), frame), *(_natural(path, place) for place in PLACES)]
    return np.concatenate([x for x, _ in parts]), pd.concat([f for _, f in parts], ignore_index=True)


def offset_of(path: Path) -> float:
    """-1000 where the offset of processing 04.00 is still in the file, else 0: by its darkest blue pixels."""
    scene = Sentinel2(path, check=False)
    blue = scene.data.read(scene.indexes[0])
    return -1000.0 if np.percentile(blue[blue != 0], 0.1) > OFFSET_FLOOR else 0.0


def _natural(path: Path, place: str) -> tuple[np.ndarray, pd.DataFrame]:
    file = path / f"terramind/S2L2A/{place}.tif"
    scene = Sentinel2(file, offset=offset_of(file), units="dn")
    with rasterio.open(path / f"terramind/LULC/{place}.tif") as data:
        cover = np.vectorize(LAND_COVER.get, otypes=[int])(data.read(1), 0)
    x, rows = [], []
    for row, col in product(range(0, scene.height - 31, STEP), range(0, scene.width - 31, STEP)):
        counts = np.bincount(cover[row : row + 32, col : col + 32].ravel(), minlength=18)
        label = int(counts[1:].argmax()) + 1
        if counts[label] >= SHARE * 1024:
            x.append(scene.read(row, col, 32, 32))
            rows.append(("natural", place, f"{place}/{label}/{row // 64}/{col // 64}", label))
    return np.array(x).reshape(-1, 32, 32, 10), pd.DataFrame(rows, columns=["part", "place", "group", "label"])


def accuracy(frame: pd.DataFrame, p: np.ndarray, draws: int = 500, seed: int = 0) -> dict:
    """Accuracy of probabilities p (n, 17) on each part of `windows`.

    Returns:
        {"natural": {"n", "oa", "oa_w", "oa_balanced" (mean over zones), "per_zone" {label: {..}}},
        "Berlin": the same and "two_against_five": accuracy when only zones 2 and 5 may be chosen}; intervals as
        [value, low, high] over groups.
    """
    out = {}
    for part, rows in frame.groupby("part").indices.items():
        t, y, g = frame["label"].to_numpy()[rows], p[rows].argmax(1) + 1, frame["group"].to_numpy(str)[rows]
        found = {"n": len(t)} | {m: list(metrics.bootstrap(t, y, g, m, draws, seed)) for m in ("oa", "oa_w")}
        matrices = {int(zone): metrics.confusion(t[t == zone], y[t == zone]) for zone in np.unique(t)}
        found["per_zone"] = {z: {"n": int(m.sum()), "oa": metrics.oa(m), "oa_w": metrics.oa_w(m)}
                             for z, m in matrices.items()}  # fmt: skip
        found["oa_balanced"] = float(np.mean([v["oa"] for v in found["per_zone"].values()]))
        if part == "Berlin":
            pick = np.where(p[rows][:, 1] >= p[rows][:, 4], 2, 5)
            found["two_against_five"] = list(metrics.bootstrap(t, pick, g, "oa", draws, seed))
            found["two_against_five_balanced"] = float(np.mean([(pick == t)[t == z].mean() for z in np.unique(t)]))
        out[part] = found
    return out
