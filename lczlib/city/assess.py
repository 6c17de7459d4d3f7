"""The streams beside a random forest, on training areas that neither was trained on.

The random forest is the LCZ Generator's way: 25 times it is trained on about 70 % of the areas of each zone and tested
on the others. The streams are not trained again: their answers count only on areas that no run was trained on.

Source: Demuzere et al. 2021, doi 10.3389/fenvs.2021.637455 (resamples, measures); features and this design are ours.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from tqdm.auto import tqdm

from lczlib import metrics
from lczlib.compute import parallel, prepare_cpu
from lczlib.data import Pairs, open_pairs
from lczlib.data.layout import BANDS
from lczlib.data.splits import polygon_groups
from lczlib.errors import InputError
from lczlib.fusion import PUBLISHED_ALPHA, fuse, predicted
from lczlib.graphs import FEATURES, load_graphs
from lczlib.models import RunStream, load_streams
from lczlib.models.baselines import band_statistics, random_forest
from lczlib.models.inference import predict
from lczlib.predictions import Predictions
from lczlib.zones import CODES, K

TESTED = 0.3  # share of the areas of a zone that are tested in a resample
INDICES = {"NDVI": ("B8", "B4"), "NDWI": ("B3", "B8"), "MNDWI": ("B3", "B11"), "NDBI": ("B11", "B8")}
INDICES |= {"NDRE": ("B8A", "B5"), "SWIR": ("B11", "B12")}  # each (a - b) / (a + b)
APART, SAME = 1e-3, 1e-4  # probabilities of two pairs are told apart from, and of one pair agree to
CLEAR = 0.3  # more probability than its own zone has, by which another zone makes an area suspicious
MEASURES = ("OA", "OA_u", "OA_bu", "OA_w", "F1")


def forest_features(s2: np.ndarray) -> np.ndarray:
    """Mean, deviation, 10th and 90th percentile of ten bands and six indices: (N, 32, 32, 10) -> (N, 64) float32."""
    found = []
    for start in range(0, len(s2), 1024):
        some = np.asarray(s2[start : start + 1024], np.float32)
        band = {name: some[..., k] for k, name in enumerate(BANDS)}
        ratios = [(band[a] - band[b]) / np.maximum(band[a] + band[b], 1e-3) for a, b in INDICES.values()]
        found.append(band_statistics(np.concatenate([some, np.stack(ratios, -1).clip(-2, 2)], -1)))
    return np.concatenate(found)


def count_areas(pairs: Pairs) -> pd.Series:
    """Training areas of each zone: label -> number. InputError where areas are unnamed or too few."""
    if unnamed := int((pairs.polygons == "").sum()):
        fault = f"{unnamed} pairs name no polygon, and training areas are put aside whole"
        raise InputError(f"{pairs.data_dir}: {fault}; cut them with `python -m lczlib patches`")
    areas = pairs.index.groupby("label")[["city", "polygon"]].apply(lambda rows: len(rows.drop_duplicates()))
    if (areas > 1).sum() < 2:
        counts = ", ".join(f"LCZ {CODES[label - 1]} {n}" for label, n in areas.items())
        raise InputError(f"{pairs.data_dir}: too few training areas ({counts}); draw three or more of each zone")
    return areas


def resample_areas(index: pd.DataFrame, seen: np.ndarray, seed: int, count: int = 25) -> list[np.ndarray]:
    """The pairs (N,) bool put aside in each resample: 30 % of the areas of each zone; the others are trained on.

    Areas that a run has `seen` (N,) and others are drawn apart, of the others at least one. The only area of a zone is
    never put aside.
    """
    areas, parts = polygon_groups(index), []
    table = index.assign(area=areas, seen=seen).drop_duplicates("area")
    several = table.groupby("label").size() > 1
    for k in range(count):
        rng, names = np.random.default_rng([seed, k]), []
        for (label, was_seen), some in table.groupby(["label", "seen"])["area"]:
            number = max(round(TESTED * len(some)), 0 if was_seen else 1) if several[label] else 0
            names += rng.choice(np.sort(some.to_numpy(str)), number, replace=False).tolist()
        parts.append(areas.isin(names).to_numpy())
    return parts


def seen_in_training(stream: RunStream, pairs: Pairs, p: np.ndarray) -> np.ndarray:
    """Whether each pair (N,) lies in an area that the run was trained on, or chose its epoch with.

    Areas are known again by city and name, and, where they were named anew since, by their pairs: a pair for which the
    run gives the very probabilities `p` (N, 17) that it noted in training is that pair.

    Raises InputError where the run kept no record and may have been trained on such pairs.
    """
    record = stream.folder / "predictions.npz"
    if not record.exists():
        if stream.about.get("data") not in (None, pairs.kind):
            return np.zeros(len(pairs), bool)
        reason = f"nothing tells which {pairs.kind} pairs it was trained on"
        raise InputError(f"{stream.folder}: predictions.npz is missing, so {reason}; give a run that kept it")
    kept, areas = Predictions.load(record), polygon_groups(pairs.index)
    used = (kept.frame["split"] != "test").to_numpy()
    known = areas.isin(polygon_groups(kept.frame[used]))
    alone = cKDTree(kept.p).query(kept.p, k=2, p=np.inf)[0][:, 1] > APART
    if (alone & used).any():
        known |= cKDTree(kept.p[alone & used]).query(p, p=np.inf)[0] < SAME
    return areas.isin(areas[known]).to_numpy()


def answer_pairs(stream: RunStream, pairs: Pairs, workers: int = 1) -> np.ndarray:
    """Probabilities (N, 17) of all pairs; instance masks and graphs are made where the stream wants them."""
    if stream.stream == "s2":
        return predict(stream.model, pairs.s2)
    graphs = load_graphs(pairs, *stream.masks, workers, extra=stream.params["features"] > len(FEATURES))
    return predict(stream.model, graphs)


@dataclass(frozen=True)
class HeldOut:
    """What the forests answer for pairs put aside."""

    row: np.ndarray  # (M,) of the index
    draw: np.ndarray  # (M,) number of the resample
    p: np.ndarray  # (M, 17)
    areas: float  # that a forest was trained on, on average
    pairs: float


def hold_out(pairs: Pairs, parts: Sequence[np.ndarray], seed: int, workers: int, progress: bool) -> HeldOut:
    """Train a forest in each resample, on all pairs but those of its part (N,) bool, for which it answers."""
    features, areas = forest_features(pairs.s2), polygon_groups(pairs.index)
    jobs = (
        {"train": features[~part], "labels": pairs.labels[~part], "test": features[part], "seed": seed + k}
        for k, part in enumerate(parts)
    )
    pace = 1 if sys.stderr.isatty() else 30  # s
    answers = parallel(random_forest, jobs, workers)
    p = list(tqdm(answers, "random forests", len(parts), disable=not progress, mininterval=pace))
    draw, row = np.nonzero(parts)
    trained = [(areas[~part].nunique(), (~part).sum()) for part in parts]
    return HeldOut(row, draw, np.concatenate(p), *np.mean(trained, axis=0).tolist())


def assess(
    data: str | Path, runs: Sequence[str | Path] = (), seed: int = 0, count: int = 25, workers: int = 1,
    progress: bool = False,
) -> dict:  # fmt: skip
    """All numbers of the factsheet.

    Args:
        data: pairs whose index names their polygons, the training areas.
        runs: a trained run of stream "s2", of "ge" (RGB), or both; none: the forest alone.
        seed: of the resamples and the forests. count: resamples.

    Returns:
        {"data", "design", "runs", "notes", "everywhere" (the forest on all areas put aside), "suspicious" (of
        `suspicious_areas`), "methods", "differences" (of `compare_methods`)}.

    Raises what `count_areas`, `load_streams` and `seen_in_training` do.
    """
    pairs = open_pairs(data)
    labels, areas, of_zone = pairs.labels, polygon_groups(pairs.index), count_areas(pairs)
    notes = [f"LCZ {CODES[label - 1]} has one area: trained on, never tested." for label in of_zone.index[of_zone == 1]]
    prepare_cpu()
    streams = load_streams(runs)
    p = {name: answer_pairs(stream, pairs, workers) for name, stream in streams.items()}
    known = {name: seen_in_training(stream, pairs, p[name]) for name, stream in streams.items()}
    seen = np.any([np.zeros(len(pairs), bool), *known.values()], axis=0)
    if p and areas[~seen & (of_zone[labels] > 1).to_numpy()].nunique() < 2:
        p, seen = {}, np.zeros(len(pairs), bool)
        remedy = "train with --split polygon_pool, or give a run of other data"
        notes.append(f"The runs were trained on these areas, so no honest number of theirs exists here; {remedy}.")
    if len(p) == 2:
        p["fused"] = fuse(p["s2"], p["ge"])

    held = hold_out(pairs, resample_areas(pairs.index, seen, seed, count), seed, workers, progress)
    fair = held.row[~seen[held.row]]  # rows of the pairs that all methods are compared on
    compared = areas.where(areas.isin(areas[fair]))
    table = pd.DataFrame({"label": labels, "all": areas, "compared": compared}).groupby("label").nunique()
    notes += [f"LCZ {CODES[label - 1]}: the runs were trained on all its areas; not compared."
              for label, row in table.iterrows() if row["all"] > 1 and not row["compared"]]  # fmt: skip
    found = {"forest": predicted(held.p[~seen[held.row]])} | {name: predicted(q[fair]) for name, q in p.items()}
    everywhere = metrics.confusion(labels[held.row], predicted(held.p))
    return {
        "data": {"name": Path(data).resolve().name, "kind": pairs.kind, "pairs": len(pairs),
                 "cities": sorted(set(pairs.cities)),
                 "areas": {CODES[label - 1]: row.to_dict() for label, row in table.iterrows()}},
        "design": {"resamples": count, "seed": seed, "alpha": PUBLISHED_ALPHA, "areas": int(of_zone.sum()),
                   "areas_compared": compared.nunique(), "pairs_compared": len(np.unique(fair)),
                   "areas_trained": held.areas, "pairs_trained": held.pairs},
        "runs": [_about(stream, int(areas[known[name]].nunique())) for name, stream in streams.items()],
        "notes": notes,
        "everywhere": dict(zip(MEASURES, _measures(everywhere, everywhere.sum(1) > 0).tolist())),
        "suspicious": suspicious_areas(pairs.index, held, p, seen),
    } | compare_methods(labels[fair], found, areas.to_numpy(str)[fair], held.draw[~seen[held.row]], seed)  # fmt: skip


def _about(stream: RunStream, known: int) -> dict:
    """A run and what it was trained on; `weights` as the tags of a map name them; `known`: areas of these data."""
    record = stream.folder / "predictions.npz"
    trained = Predictions.load(record).select(split="train") if record.exists() else ()
    return {"run": stream.folder.name, "weights": " ".join(stream.key.split()[:3]), "trained_on": stream.trained_on,
            "pairs_trained": len(trained) or None, "areas_known": known}  # fmt: skip


def _measures(cm: np.ndarray, tested: np.ndarray) -> np.ndarray:
    """(..., 5) `MEASURES` of matrices (..., 17, 17); F1 is the mean over the zones `tested` (17,)."""
    f1 = metrics.f1(cm)[..., tested]
    with np.errstate(invalid="ignore"):
        f1 = np.nansum(f1, -1) / np.isfinite(f1).sum(-1)
    return np.stack([*(metrics.MEASURES[name.lower()](cm) for name in MEASURES[:-1]), f1], -1)


def compare_methods(labels: np.ndarray, found: dict, areas: np.ndarray, draw: np.ndarray, seed: int) -> dict:
    """Measures of each method and their paired differences, on the same pairs in the same resamples.

    Args:
        labels, areas, draw: (M,) of each pair tested in a resample, whose number is `draw`. found: (M,) of each method.

    Returns:
        "methods": {method: {measure: {"value", "low", "high", "resamples"}, "f1": {code: [of each resample]},
        "matrix": average counts (17, 17)}}, "differences": {"s2 - forest": {measure: Interval}}.
    """
    tested, methods, differences = np.bincount(labels - 1, minlength=K) > 0, {}, {}
    how = {"groups": areas, "measure": lambda cm: _measures(cm, tested), "seed": seed, "seeds": draw}
    for name, y in found.items():
        stack = np.stack([metrics.confusion(labels[draw == k], y[draw == k]) for k in np.unique(draw)])
        each, pooled = _measures(stack, tested), metrics.bootstrap(labels, y, **how)
        methods[name] = {m: i._asdict() | {"resamples": each[:, k]} for k, (m, i) in enumerate(zip(MEASURES, pooled))}
        methods[name]["f1"] = {CODES[k]: metrics.f1(stack)[:, k] for k in np.flatnonzero(tested)}
        methods[name]["matrix"] = stack.mean(0)
    for one, other in combinations(found, 2):
        gained = metrics.bootstrap_difference(labels, found[other], found[one], **how)
        differences[f"{other} - {one}"] = dict(zip(MEASURES, gained))
    return {"methods": methods, "differences": differences}


def suspicious_areas(index: pd.DataFrame, held: HeldOut, p: dict[str, np.ndarray], seen: np.ndarray) -> list[dict]:
    """Areas that look like another zone when put aside, those of which the forest is surest first.

    Args:
        p: probabilities (N, 17) by the streams. seen: (N,) whether a run was trained on the area of the pair.

    Returns:
        [{"city", "area", "label", "looks_like" (codes), "share" of answers that name another zone, "margin" of
        probability (`CLEAR` or more), "pairs", "streams": {name: code; None: trained on the area}}].
    """
    areas, out = polygon_groups(index).to_numpy(str), []
    for area in np.unique(areas[held.row]):
        rows, answers = np.flatnonzero(areas == area), held.p[areas[held.row] == area]
        first, mean = index.iloc[rows[0]], answers.mean(0)
        own = first["label"] - 1
        like = int(np.where(np.arange(K) == own, -1, mean).argmax())
        entry = {"city": first["city"], "area": first["polygon"], "label": CODES[own], "looks_like": CODES[like]}
        entry |= {"share": float((predicted(answers) != own + 1).mean()), "margin": float(mean[like] - mean[own])}
        says = {name: None if seen[rows].any() else CODES[q[rows].mean(0).argmax()] for name, q in p.items()}
        if entry["margin"] >= CLEAR:
            out.append(entry | {"pairs": len(rows), "streams": says})
    return sorted(out, key=lambda entry: -entry["margin"])
