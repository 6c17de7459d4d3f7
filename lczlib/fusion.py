"""Combining the streams: the paper's weighted sum, and ways that learn from validation pairs.

Every way but `fuse` takes lists of *streams*, probabilities (N, 17) of the same pairs in the same order (the
`predictions.join` of two `Predictions`), and works for two streams or more: `METHODS[name](validation, labels, test)`
fits on validation pairs and gives the probabilities (M, 17) of test pairs.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import softmax

from lczlib import metrics
from lczlib.errors import InputError
from lczlib.predictions import Predictions
from lczlib.zones import K, to_index

PUBLISHED_ALPHA = 0.6
ALPHAS = np.linspace(0, 1, 41)
TINY = 1e-9
Streams = Sequence[np.ndarray]


def fuse(p_s2, p_ge, alpha: float = PUBLISHED_ALPHA):
    """The paper's sum `alpha p_s2 + (1 - alpha) p_ge`.

    Args:
        p_s2, p_ge: (B, 17) probabilities of the two streams for the same pairs; arrays or tensors.
        alpha: weight of the S2 stream, 0..1; 1 gives Sentinel-2 alone.

    Raises InputError where shapes differ or alpha is outside 0..1.

    Source: docs/paper.md, "Fusion"; 0.6 is the published script's.
    """
    p_s2, p_ge = (p if hasattr(p, "shape") else np.asarray(p, float) for p in (p_s2, p_ge))
    if tuple(p_s2.shape) != tuple(p_ge.shape):
        shapes = f"{tuple(p_s2.shape)} and {tuple(p_ge.shape)}"
        raise InputError(f"streams: shapes {shapes}; join them by id with predictions.join")
    if not 0 <= float(alpha) <= 1:
        raise InputError(f"alpha: {alpha} is outside 0..1; it is the weight of the S2 stream")
    return alpha * p_s2 + (1 - alpha) * p_ge


def predicted(p: np.ndarray) -> np.ndarray:
    """Labels 1..17 of the most probable zones, (N,)."""
    return np.asarray(p).argmax(1) + 1


def pool(runs: Mapping[int, Predictions]) -> tuple[Predictions, np.ndarray]:
    """Predictions of several trainings below each other, and the seed of each row (N,).

    Ids are numbered anew; a pair keeps its polygon, or is one, so that groups are the same in every training.
    """
    frame = pd.concat([r.frame for r in runs.values()], ignore_index=True)
    frame["polygon"] = frame["polygon"].where(frame["polygon"] != "", frame["id"].astype(str))
    frame["id"] = np.arange(len(frame))
    seeds = np.repeat(list(runs), [len(r) for r in runs.values()])
    return Predictions(frame, np.concatenate([r.p for r in runs.values()])), seeds


def sweep(
    s2: Predictions, ge: Predictions, by: str | None = None, alphas=ALPHAS, draws: int = 500, seed: int = 0, seeds=None
) -> pd.DataFrame:
    """Accuracy along alpha with its 95 % interval over polygons.

    Args:
        s2, ge: of the same pairs (`predictions.join`). draws, seed, seeds: of `metrics.bootstrap_statistic`.
        by: None: overall accuracy; "city": in each city; "zone": F1 of each zone.

    Returns:
        Columns alpha, value, low, high, n (pairs), and zone (label 1..17) or city.
    """
    t, groups, city, rows = s2.labels, s2.groups, s2.frame["city"].to_numpy(str), []
    parts = {c: city == c for c in np.unique(city)} if by == "city" else {"": np.full(len(t), True)}
    for a, (name, part) in itertools.product(alphas, parts.items()):
        y, run = predicted(fuse(s2.p, ge.p, a)), None if seeds is None else seeds[part]
        measure = metrics.f1 if by == "zone" else "oa"
        found = metrics.bootstrap(t[part], y[part], groups[part], measure, draws, seed, run)
        if by == "zone":
            rows += [{"zone": z, "alpha": a, **i._asdict(), "n": int((t == z).sum())} for z, i in enumerate(found, 1)]
        else:
            rows.append(({"city": name} if by else {}) | {"alpha": a, **found._asdict(), "n": int(part.sum())})
    return pd.DataFrame(rows)


def complementarity(labels, s2, ge, fused, groups, draws: int = 1000, seed: int = 0, seeds=None) -> dict:
    """What one stream gets right and the other does not, and how much of that the fusion uses.

    Args:
        labels, s2, ge, fused: (N,) reference and predictions, 1..17. groups, draws, seed, seeds: of the intervals.

    Returns:
        {"both", "only_s2", "only_ge", "neither": {"share", "fused_right"}, "oracle": accuracy of whoever always picked
        a stream that is right, "headroom_used": (fused - s2) / (oracle - s2)}: Interval each.
    """
    a, b, f = (np.asarray(y) == np.asarray(labels) for y in (s2, ge, fused))
    how = groups, draws, seed, seeds
    out = {}
    for name, rows in {"both": a & b, "only_s2": a & ~b, "only_ge": ~a & b, "neither": ~a & ~b}.items():
        right = metrics.bootstrap_ratio(f & rows, rows, *how)
        out[name] = {"share": metrics.bootstrap_mean(rows, *how), "fused_right": right}
    gained, possible = f.astype(int) - a, (a | b).astype(int) - a
    used = metrics.bootstrap_ratio(gained, possible, *how)
    return out | {"oracle": metrics.bootstrap_mean(a | b, *how), "headroom_used": used}


def best_weights(streams: Streams, labels) -> np.ndarray:
    """Weights on the simplex: the mean of all whose accuracy is within a standard error of the highest.

    The accuracy of a few hundred pairs is a ragged function of the weights, and where exactly it peaks is mostly luck;
    the middle of its top is steadier (after the one-standard-error rule of Breiman et al. 1984).

    Args:
        streams: k lists of probabilities (N, 17). labels: (N,) 1..17.

    Returns:
        (k,) weights that sum to 1; for two streams the first is alpha.
    """
    k, t = len(streams), to_index(labels)
    step = 0.025 if k < 3 else 0.05  # of the grid of weights
    grid = np.indices((round(1 / step) + 1,) * k).reshape(k, -1).T
    grid = grid[grid.sum(1) == round(1 / step)] * step
    oa = np.array([(np.tensordot(w, np.stack(streams), 1).argmax(1) == t).mean() for w in grid])
    near = oa >= oa.max() - np.sqrt(oa.max() * (1 - oa.max()) / len(t))
    return grid[near].mean(0)


def best_alpha(p_s2, p_ge, labels) -> float:
    """Alpha chosen on validation pairs as `best_weights` chooses."""
    return float(best_weights([p_s2, p_ge], labels)[0])


def weighted_sum(validation: Streams, labels, test: Streams) -> np.ndarray:
    """The sum with the weights that are best on validation."""
    return np.tensordot(best_weights(validation, labels), np.stack(test), 1)


def zone_weights(streams: Streams, labels, shrink: float = 0.02) -> np.ndarray:
    """Weights (k, 17) of each stream for each zone, of largest likelihood, drawn towards one weight for all zones.

    The strength of that pull, `shrink`, is assumed; a zone has few validation pairs of its own.
    """

    def loss(v: np.ndarray) -> float:
        v = v.reshape(-1, K)
        p = _weighted_by_zone(streams, softmax(v, 0))
        return metrics.losses(labels, p).mean() + shrink * ((v - v.mean(1, keepdims=True)) ** 2).sum()

    start = np.repeat(np.log(best_weights(streams, labels) + 0.05), K)
    return softmax(minimize(loss, start, method="L-BFGS-B", options={"maxiter": 200}).x.reshape(-1, K), 0)


def _weighted_by_zone(streams: Streams, w: np.ndarray) -> np.ndarray:
    p = (w[:, None] * np.stack(streams)).sum(0)
    return p / p.sum(1, keepdims=True)


def per_zone_sum(validation: Streams, labels, test: Streams) -> np.ndarray:
    """One alpha for each zone, `zone_weights`."""
    return _weighted_by_zone(test, zone_weights(validation, labels))


def log_linear(validation: Streams, labels, test: Streams) -> np.ndarray:
    """Product of powers: softmax(sum of w_k log p_k), w_k >= 0 of largest likelihood (w_k = 1: independent streams)."""

    def product(w: np.ndarray, streams: Streams) -> np.ndarray:
        return softmax(np.tensordot(w, np.log(np.stack(streams) + TINY), 1), -1)

    def loss(w: np.ndarray) -> float:
        return metrics.losses(labels, product(w, validation)).mean()

    k = len(validation)
    found = minimize(loss, np.full(k, 1 / k), method="L-BFGS-B", bounds=[(0, 5)] * k, options={"maxiter": 200})
    return product(found.x, test)


def stacked(validation: Streams, labels, test: Streams, strength: float = 0.1) -> np.ndarray:
    """Logistic regression on the log probabilities of all streams; `strength` is scikit-learn's C (assumed).

    A zone without validation pairs keeps a probability of nearly 0.
    """
    from sklearn.linear_model import LogisticRegression

    x, new = (np.hstack([np.log(np.asarray(p) + 1e-4) for p in streams]) for streams in (validation, test))
    model = LogisticRegression(C=strength, max_iter=2000).fit(x, to_index(labels))
    p = np.full((len(new), K), TINY)
    p[:, model.classes_] += model.predict_proba(new)
    return p / p.sum(1, keepdims=True)


METHODS: dict[str, Callable[[Streams, np.ndarray, Streams], np.ndarray]] = {
    "sum, chosen alpha": weighted_sum,
    "alpha per zone": per_zone_sum,
    "log-linear": log_linear,
    "stacked regression": stacked,
}


def score_methods(
    ps: Mapping[str, np.ndarray], labels, groups, reference: str, draws: int = 1000, seed: int = 0, seeds=None
) -> dict[str, dict]:
    """Accuracy, likelihood and calibration of probabilities (N, 17) by name, against the one called `reference`.

    Returns:
        {name: {"oa", "difference" (of oa, paired), "nll", "nll_difference": Interval; "f1_macro", "oa_w", "ece",
        "brier"}}.
    """
    how = {"groups": groups, "draws": draws, "seed": seed, "seeds": seeds}
    base, loss, out = predicted(ps[reference]), metrics.losses(labels, ps[reference]), {}
    for name, p in ps.items():
        y, own = predicted(p), metrics.losses(labels, p)
        s = metrics.scores(labels, y, p)
        out[name] = {m: s[m] for m in ("f1_macro", "oa_w", "ece", "brier")} | {
            "oa": metrics.bootstrap(labels, y, **how),
            "difference": metrics.bootstrap_difference(labels, y, base, **how),
            "nll": metrics.bootstrap_mean(own, **how),
            "nll_difference": metrics.bootstrap_mean(own - loss, **how),
        }
    return out
