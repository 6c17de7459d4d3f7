"""Combining the streams: the paper's weighted sum, and six other ways that are chosen on validation pairs.

Every way but `fuse` takes a list of *sources*, probabilities (N, 17) of the same pairs in the same order (the
`predictions.join` of the streams), and works for two streams or more. `METHODS[name](sources, labels)` fits on
validation and returns a function: sources -> (N, 17).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import softmax

from lczlib import metrics
from lczlib.zones import K, to_index

PUBLISHED_ALPHA = 0.6
ALPHAS = np.linspace(0, 1, 41)
TINY = 1e-9
Sources = Sequence[np.ndarray]
Fused = Callable[[Sources], np.ndarray]


def fuse(p_s2, p_ge, alpha: float = PUBLISHED_ALPHA):
    """The paper's sum `alpha p_s2 + (1 - alpha) p_ge`.

    Args:
        p_s2, p_ge: (B, 17) probabilities of the two streams for the same pairs; arrays or tensors.
        alpha: weight of the S2 stream, 0..1; 1 gives Sentinel-2 alone.

    Returns:
        (B, 17), rows sum to 1.

    Raises:
        ValueError: shapes that differ, or alpha outside 0..1.

    Source: PAPER.md, "Fusion"; 0.6 is the published script's.
    """
    p_s2, p_ge = (p if hasattr(p, "shape") else np.asarray(p, float) for p in (p_s2, p_ge))
    if tuple(p_s2.shape) != tuple(p_ge.shape):
        raise ValueError(
            f"streams: shapes {tuple(p_s2.shape)} and {tuple(p_ge.shape)}; join them by id with predictions.join"
        )
    if not 0 <= float(alpha) <= 1:
        raise ValueError(f"alpha: {alpha} is outside 0..1; it is the weight of the S2 stream")
    return alpha * p_s2 + (1 - alpha) * p_ge


def predicted(p: np.ndarray) -> np.ndarray:
    """Labels 1..17 of the most probable zones, (N,)."""
    return np.asarray(p).argmax(1) + 1


def sweep(p_s2, p_ge, labels, groups, alphas=ALPHAS, draws: int = 500, seed: int = 0) -> dict[str, np.ndarray]:
    """Overall accuracy along alpha with its 95 % interval over groups.

    Returns:
        {"alpha", "oa", "low", "high"}, each (A,).
    """
    rows = [metrics.bootstrap(labels, predicted(fuse(p_s2, p_ge, a)), groups, "oa", draws, seed) for a in alphas]
    return {"alpha": np.asarray(alphas), **dict(zip(("oa", "low", "high"), np.array(rows).T, strict=True))}


def best_weights(sources: Sources, labels, step: float = 0.025) -> np.ndarray:
    """Weights on the simplex: the mean of all whose accuracy is within a standard error of the highest.

    The accuracy of a few hundred pairs is a ragged function of the weights, and where exactly it peaks is mostly luck;
    the middle of its top is steadier (after the one-standard-error rule of Breiman et al. 1984).

    Args:
        sources: k lists of probabilities (N, 17). labels: (N,) 1..17.
        step: of the grid; coarser grids are used for many sources (at most 5,000 points).

    Returns:
        (k,) weights that sum to 1; for two streams the first is alpha.
    """
    stack = np.stack([np.asarray(p, float) for p in sources])
    grid = simplex(len(stack), step if len(stack) < 3 else max(step, 0.05))
    t = to_index(labels)
    oa = np.array([(np.tensordot(w, stack, 1).argmax(1) == t).mean() for w in grid])
    near = oa >= oa.max() - np.sqrt(oa.max() * (1 - oa.max()) / len(t))
    return grid[near].mean(0)


def simplex(k: int, step: float) -> np.ndarray:
    """All weight vectors (n, k) of multiples of `step` that sum to 1."""
    n = round(1 / step)
    cuts = np.array(list(itertools.combinations(range(n + k - 1), k - 1))).reshape(-1, k - 1)
    ends = np.full((len(cuts), 1), n + k - 1)
    return (np.diff(np.hstack([-np.ones_like(ends), cuts, ends]), axis=1) - 1) / n


def best_alpha(p_s2, p_ge, labels) -> float:
    """Alpha chosen on validation pairs as `best_weights` chooses."""
    return float(best_weights([p_s2, p_ge], labels)[0])


def tempered(p: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(log p / T): T > 1 flattens, T < 1 sharpens, the winner stays."""
    return softmax(np.log(np.asarray(p, float) + TINY) / temperature, -1)


def temperature(p: np.ndarray, labels) -> float:
    """The temperature that makes the likelihood of the labels largest (Guo et al. 2017)."""
    found = _minimise(lambda v: metrics.losses(labels, tempered(p, np.exp(v[0]))).mean(), [0.0], [(-3, 3)])
    return float(np.exp(found[0]))


def _minimise(loss: Callable, start, bounds=None) -> np.ndarray:
    return minimize(loss, np.asarray(start, float), method="L-BFGS-B", bounds=bounds, options={"maxiter": 200}).x


def published_sum(sources: Sources, labels) -> Fused:
    """Alpha 0.6 of the published script, nothing fitted; equal weights for other than two sources."""
    w = [PUBLISHED_ALPHA, 1 - PUBLISHED_ALPHA] if len(sources) == 2 else [1 / len(sources)] * len(sources)
    return lambda s: np.tensordot(w, np.stack(s), 1)


def weighted_sum(sources: Sources, labels) -> Fused:
    """The sum with the weights that are best on validation."""
    w = best_weights(sources, labels)
    return lambda s: np.tensordot(w, np.stack(s), 1)


def calibrated_sum(sources: Sources, labels) -> Fused:
    """Each source tempered to its own best likelihood, summed with the best weights, and the sum tempered again.

    The last step changes no winner; without it a sum of calibrated streams is timid, since they disagree.
    """
    t = [temperature(p, labels) for p in sources]

    def warm(s: Sources) -> list[np.ndarray]:
        return [tempered(p, x) for p, x in zip(s, t, strict=True)]

    total = weighted_sum(warm(sources), labels)
    last = temperature(total(warm(sources)), labels)
    return lambda s: tempered(total(warm(s)), last)


def zone_weights(sources: Sources, labels, shrink: float = 0.02) -> np.ndarray:
    """Weights (k, 17) of each source for each zone, of largest likelihood, drawn towards one weight for all zones.

    Args:
        shrink: strength of that pull (assumed; a zone has few validation pairs of its own).
    """
    stack, k = np.stack(sources), len(sources)

    def loss(v: np.ndarray) -> float:
        v = v.reshape(k, K)
        p = _pool(stack, softmax(v, 0))
        return metrics.losses(labels, p).mean() + shrink * ((v - v.mean(1, keepdims=True)) ** 2).sum()

    start = np.repeat(np.log(best_weights(sources, labels) + 0.05), K)
    return softmax(_minimise(loss, start).reshape(k, K), 0)


def _pool(stack: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Sum over sources of w (k, 17) times stack (k, N, 17), rows made to sum to 1."""
    p = (w[:, None] * stack).sum(0)
    return p / p.sum(1, keepdims=True)


def per_zone_sum(sources: Sources, labels) -> Fused:
    """One alpha for each zone, `zone_weights`."""
    w = zone_weights(sources, labels)
    return lambda s: _pool(np.stack(s), w)


def log_linear(sources: Sources, labels) -> Fused:
    """Product of powers: softmax(sum of w_k log p_k), w_k >= 0 of largest likelihood (w_k = 1: independent streams)."""
    logs = np.log(np.stack(sources) + TINY)
    w = _minimise(
        lambda v: metrics.losses(labels, softmax(np.tensordot(v, logs, 1), -1)).mean(),
        np.full(len(sources), 1 / len(sources)),
        [(0, 5)] * len(sources),
    )
    return lambda s: softmax(np.tensordot(w, np.log(np.stack(s) + TINY), 1), -1)


def stacked(sources: Sources, labels, strength: float = 0.1) -> Fused:
    """Multinomial logistic regression on the log probabilities of all sources.

    Args:
        strength: scikit-learn's C (assumed). A zone without validation pairs keeps a probability of nearly 0.
    """
    from sklearn.linear_model import LogisticRegression

    def features(s: Sources) -> np.ndarray:
        return np.hstack([np.log(np.asarray(p) + 1e-4) for p in s])

    model = LogisticRegression(C=strength, max_iter=500).fit(features(sources), to_index(labels))

    def fused(s: Sources) -> np.ndarray:
        p = np.full((len(s[0]), K), TINY)
        p[:, model.classes_] += model.predict_proba(features(s))
        return p / p.sum(1, keepdims=True)

    return fused


def entropy_weighted(sources: Sources, labels) -> Fused:
    """For each pair the surer source counts more: w_k ~ u_k exp(-beta H_k), H its entropy."""
    k = len(sources)

    def pooled(s: Sources, v: np.ndarray) -> np.ndarray:
        stack = np.stack(s)
        h = -(stack * np.log(stack + TINY)).sum(-1)  # (k, N)
        w = softmax(np.append(v[:-1], 0.0)[:, None] - v[-1] * h, 0)
        return np.einsum("kn,knz->nz", w, stack)

    bounds = [(-3, 3)] * (k - 1) + [(0, 10)]
    v = _minimise(lambda v: metrics.losses(labels, pooled(sources, v)).mean(), np.zeros(k), bounds)
    return lambda s: pooled(s, v)


METHODS: dict[str, Callable[[Sources, np.ndarray], Fused]] = {
    "sum, published 0.6": published_sum,
    "sum, best alpha": weighted_sum,
    "calibrated sum": calibrated_sum,
    "per-zone alpha": per_zone_sum,
    "log-linear": log_linear,
    "stacked regression": stacked,
    "entropy-weighted": entropy_weighted,
}


def compare(validation: Sources, labels, test: Sources, test_labels, groups, draws=1000, seed=0) -> dict[str, dict]:
    """Every method chosen on validation and reported on test.

    Args:
        validation, test: sources of the two parts. labels, test_labels: (N,) 1..17. groups: polygon of each test pair.

    Returns:
        {method: {"oa", "difference" (to the published sum, paired): Interval; "f1_macro", "oa_w", "ece", "nll",
        "brier"; "p" (N, 17)}}.
    """
    ps = {name: np.clip(fit(validation, labels)(test), 0, 1) for name, fit in METHODS.items()}
    return judged(ps, test_labels, groups, next(iter(ps)), draws, seed)


def judged(
    ps: dict[str, np.ndarray], labels, groups, reference: str, draws: int = 1000, seed: int = 0
) -> dict[str, dict]:
    """Rows as `compare` gives them, for any probabilities (N, 17) by name, against the one called `reference`."""
    base = predicted(ps[reference])
    out = {}
    for name, p in ps.items():
        y = predicted(p)
        s = metrics.scores(labels, y, p)
        out[name] = {m: s[m] for m in ("f1_macro", "oa_w", "ece", "nll", "brier")} | {
            "oa": metrics.bootstrap(labels, y, groups, "oa", draws, seed),
            "difference": metrics.bootstrap_difference(labels, y, base, groups, "oa", draws, seed),
            "p": p,
        }
    return out
