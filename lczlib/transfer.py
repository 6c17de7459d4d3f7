"""A city nobody trained on: how far accuracy drops, what differs there, and how much a remedy gives back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lczlib import fusion, metrics
from lczlib.data.splits import crossed_splits
from lczlib.graphs import GraphSet
from lczlib.models.inference import Inputs
from lczlib.predictions import Predictions, join
from lczlib.recipe import Recipe
from lczlib.training import Result, train_many

LEAST_DROP = 0.01  # mean over the cities; nothing can sensibly be a share of a smaller drop


def leave_one_city_out(
    stream: str, model_name: str, inputs: Inputs, index: pd.DataFrame, recipe: Recipe, seed: int, work_dir, workers=1
) -> dict[str, Result]:
    """One training for each city, with that city and a share of the others' polygons as its test part
    (`crossed_splits`); found again when done before.

    Args:
        stream, model_name, inputs, index, recipe, seed, work_dir: of `train_stream`. workers: trainings at a time.

    Returns:
        {city held out: Result}.
    """
    job = {"stream": stream, "model_name": model_name, "inputs": inputs, "index": index, "recipe": recipe, "seed": seed}
    splits = crossed_splits(index, seed)
    jobs = [job | {"split": split, "work_dir": work_dir} for split in splits.values()]
    return dict(zip(splits, train_many(jobs, workers), strict=True))


def tested(s2: dict[str, Result], ge: dict[str, Result], alphas: dict[str, float]) -> dict[str, dict[str, Predictions]]:
    """What each model says of its test part: stream ("s2", "ge", "fused") -> city held out -> Predictions."""
    said = {city: _with_fusion(s2[city], ge[city], alpha) for city, alpha in alphas.items()}
    return {stream: {city: p[stream] for city, p in said.items()} for stream in ("s2", "ge", "fused")}


def held_out(said: dict[str, Predictions]) -> Predictions:
    """Of every pair what the model says that never saw its city; `said` of one stream of `tested`."""
    return _together([p.select(city=city) for city, p in said.items()])


def in_city(said: dict[str, Predictions]) -> Predictions:
    """Of every pair what the model says that saw other polygons of its city."""
    return _together(list(_seen(said).values()))


def accuracy_at_home(said: dict[str, Predictions]) -> dict[str, float]:
    """Accuracy of each model on unseen polygons of the cities it saw: {city held out: accuracy}."""
    return {city: float((p.predicted == p.labels).mean()) for city, p in _seen(said).items()}


def _seen(said: dict[str, Predictions]) -> dict[str, Predictions]:
    away = {city: (p.frame["city"] != city).to_numpy() for city, p in said.items()}
    return {city: Predictions(p.frame[away[city]], p.p[away[city]]) for city, p in said.items()}


def _together(parts: list[Predictions]) -> Predictions:
    return Predictions(pd.concat([p.frame for p in parts], ignore_index=True), np.concatenate([p.p for p in parts]))


def validation_alpha(s2: Result, ge: Result) -> float:
    """Alpha chosen on the validation pairs of two trainings."""
    v, w = join(*(r.predictions.select(split="validation") for r in (s2, ge)))
    return fusion.best_alpha(v.p, w.p, v.labels)


def fused(results: dict[str, Result]) -> dict[str, Predictions]:
    """Test predictions of both streams and of their fusion, alpha chosen on validation: {"s2", "ge", "fused"}."""
    s2, ge = results["s2"], results["ge"]
    return _with_fusion(s2, ge, validation_alpha(s2, ge))


def _with_fusion(s2: Result, ge: Result, alpha: float) -> dict[str, Predictions]:
    a, b = join(*(r.predictions.select(split="test") for r in (s2, ge)))
    return {"s2": a, "ge": b, "fused": Predictions(a.frame, fusion.fuse(a.p, b.p, alpha))}


def drop(inside: Predictions, outside: Predictions, groups: str = "city", draws: int = 1000, seed: int = 0) -> dict:
    """Accuracy with the city seen and held out, on the same pairs.

    Args:
        inside: of `in_city`, or of any model that saw other polygons of each city; its test part counts.
        outside: of `held_out`; rows for the same pairs are looked up. groups: column to resample, "city" or "polygon".

    Returns:
        {"in", "out", "drop": Interval (in - out, paired); "in_city", "out_city" {city: accuracy}; "n"}.
    """
    inside, cities = inside.select(split="test"), np.unique(outside.frame["city"])
    outside = outside.look_up(inside.frame["id"])
    t, g = inside.labels, inside.frame[groups]
    a, b = inside.predicted, outside.predicted
    city = inside.frame["city"].to_numpy(str)
    return {
        "in": metrics.bootstrap(t, a, g, draws=draws, seed=seed),
        "out": metrics.bootstrap(t, b, g, draws=draws, seed=seed),
        "drop": metrics.bootstrap_difference(t, a, b, g, draws=draws, seed=seed),
        "in_city": {c: _share(a == t, city == c) for c in cities},
        "out_city": {c: _share(b == t, city == c) for c in cities},
        "n": len(t),
    }


def _share(right: np.ndarray, where: np.ndarray) -> float:
    """Share of right answers in a city; NaN for a city without a test pair, as in small data sets."""
    return float(right[where].mean()) if where.any() else float("nan")


def recovered(inside, outside, remedy, draws: int = 1000, seed: int = 0) -> metrics.Interval:
    """Share of the drop that a remedy gives back, (remedy - outside) / (inside - outside), interval over cities.

    Args:
        inside, outside, remedy: (C,) accuracy of each city's model on cities it saw, on the city held out, and there
            with the remedy.

    Returns:
        NaN throughout where the cities lose less than `LEAST_DROP` on average.
    """
    i, o, r = (np.asarray(v, float) for v in (inside, outside, remedy))
    _, counts = metrics.resample(np.arange(len(i)), draws, seed)
    gain, lost = counts @ (r - o), counts @ (i - o)
    least, total = LEAST_DROP * len(i), (i - o).sum()
    if total <= least:
        return metrics.Interval(np.nan, np.nan, np.nan)
    share = np.divide(gain, lost, out=np.full(draws, np.nan), where=lost > least)
    low, high = np.nanquantile(share, [0.025, 0.975])
    return metrics.Interval(float((r - o).sum() / total), float(low), float(high))


# --- what differs ---------------------------------------------------------------------------------------------------


def shift(target: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Difference of means in units of the source's spread, per feature: (n, F) and (m, F) -> (F,)."""
    return np.abs(target.mean(0) - source.mean(0)) / (source.std(0) + 1e-9)


def node_colors(graphs: GraphSet) -> np.ndarray:
    """Red, green, blue 0..1 of all nodes of all graphs, (sum of nodes, 3)."""
    valid = np.arange(graphs.x.shape[1]) < graphs.nodes[:, None]
    return graphs.x[..., :3][valid]


def skewed(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """Rows of a subset with uneven zone frequencies, ~ 1 / rank in a random order of zones."""
    rng = np.random.default_rng(seed)
    present = rng.permutation(np.unique(labels))
    rows = [rng.permutation(np.flatnonzero(labels == z)) for z in present]
    return np.sort(np.concatenate([r[: max(1, round(len(r) / rank))] for rank, r in enumerate(rows, start=1)]))


def labelled_share(index: pd.DataFrame, per_zone: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of one city to label and rows to test on (one polygon of each zone), never of the same polygon.

    Args:
        index: rows of one city. per_zone: pairs to label in each zone, at most those outside the test polygon.

    Returns:
        (rows to label, rows to test on); the latter are the same for every `per_zone`.
    """
    rng = np.random.default_rng(seed)
    label, test = [np.empty(0, int)], [np.empty(0, int)]
    for _, part in index.reset_index(drop=True).groupby("label"):
        rows = part.groupby("polygon").groups
        *lent, tested = (rows[name] for name in rng.permutation(sorted(rows)))
        if lent:
            label.append(np.concatenate(lent)[:per_zone])
            test.append(tested)
    return np.sort(np.concatenate(label)), np.sort(np.concatenate(test))


def chosen_elsewhere(hits: dict[str, np.ndarray], cities: Sequence[str]) -> dict[str, str]:
    """For each city the remedy that helped most in the *other* cities: a choice without a label of that city.

    Args:
        hits: remedy -> (N,) right or wrong. cities: (N,).
    """
    cities = np.asarray(cities)
    return {str(c): max(hits, key=lambda name: np.mean(hits[name][cities != c])) for c in np.unique(cities)}
