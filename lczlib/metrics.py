"""Accuracy, agreement, calibration and their intervals; zones are labels 1..17 and always all 17 of them.

A confusion matrix here is (17, 17) int64: rows = reference, columns = predicted, in the order 1-10, A-G.
Every interval resamples *groups* (polygons; cities in transfer): pairs of one polygon resemble each other, and
resampling them one by one would make every interval too narrow.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lczlib.zones import SIMILARITY, K, to_index

_BU = np.array([0] * 10 + [1] * 4 + [-1] + [1] * 2)  # built, natural, and LCZ E, which counts as neither


def confusion(labels, predictions) -> np.ndarray:
    """Confusion matrix (17, 17) of labels 1..17, rows = reference; ValueError for other codes or lengths."""
    t, p = (to_index(np.ravel(v)) for v in (labels, predictions))
    if t.shape != p.shape:
        raise ValueError(f"labels: {t.size} against {p.size} predictions; pass one prediction per label")
    return np.bincount(t * K + p, minlength=K * K).reshape(K, K)


def _ratio(a, b):
    """a / b, NaN where b is 0; scalars stay scalars."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    r = np.divide(a, b, out=np.full(np.broadcast(a, b).shape, np.nan), where=b != 0)
    return r if r.ndim else float(r)


def oa(cm: np.ndarray) -> float:
    """Overall accuracy: trace / sum. Accepts (..., 17, 17)."""
    return _ratio(np.trace(cm, axis1=-2, axis2=-1), cm.sum((-2, -1)))


def oa_built(cm: np.ndarray) -> float:
    """Correct / all over the rows 1-10. Source: paper."""
    return oa_rows(cm, slice(0, 10))


def oa_natural(cm: np.ndarray) -> float:
    """Correct / all over the rows A-G. Source: paper."""
    return oa_rows(cm, slice(10, K))


def oa_rows(cm: np.ndarray, rows: slice) -> float:
    """Correct / all over some reference rows."""
    hit = np.diagonal(cm, axis1=-2, axis2=-1)[..., rows].sum(-1)
    return _ratio(hit, cm[..., rows, :].sum((-2, -1)))


def oa_u(cm: np.ndarray) -> float:
    """Trace / sum of the 10 x 10 built block. Source: LCZ Generator."""
    return oa(cm[..., :10, :10])


def oa_bu(cm: np.ndarray) -> float:
    """Built against natural only, pairs with LCZ E on either side left out. Source: LCZ Generator."""
    same = (_BU[:, None] == _BU) & (_BU >= 0)
    known = (_BU[:, None] >= 0) & (_BU >= 0)
    return _ratio((cm * same).sum((-2, -1)), (cm * known).sum((-2, -1)))


def oa_w(cm: np.ndarray) -> float:
    """Accuracy weighted by the similarity of zones (LCZ 2 taken for 1 counts 11/12). Source: Bechtel et al. 2017."""
    return _ratio((cm * SIMILARITY).sum((-2, -1)), cm.sum((-2, -1)))


def kappa(cm: np.ndarray) -> float:
    """Cohen's kappa; NaN when chance agreement is 1."""
    n = cm.sum((-2, -1))
    chance = _ratio((cm.sum(-1) * cm.sum(-2)).sum(-1), n.astype(float) ** 2)
    return _ratio(oa(cm) - chance, 1 - np.asarray(chance))


def f1(cm: np.ndarray) -> np.ndarray:
    """F1 per zone (..., 17); NaN for a zone absent from reference and prediction."""
    return np.asarray(_ratio(2 * np.diagonal(cm, axis1=-2, axis2=-1), cm.sum(-1) + cm.sum(-2)))


def producers(cm: np.ndarray) -> np.ndarray:
    """Producer's accuracy (recall) per zone (..., 17): of the reference, how much was found."""
    return np.asarray(_ratio(np.diagonal(cm, axis1=-2, axis2=-1), cm.sum(-1)))


def users(cm: np.ndarray) -> np.ndarray:
    """User's accuracy (precision) per zone (..., 17): of the map, how much is right."""
    return np.asarray(_ratio(np.diagonal(cm, axis1=-2, axis2=-1), cm.sum(-2)))


def f1_macro(cm: np.ndarray) -> float:
    """Mean of F1 over the zones that occur in reference or prediction."""
    f = f1(cm)
    return _ratio(np.nansum(f, -1), np.isfinite(f).sum(-1))


def f1_weighted(cm: np.ndarray) -> float:
    """Mean of F1 weighted by the reference count of each zone."""
    n = cm.sum(-1)
    return _ratio((np.nan_to_num(f1(cm)) * n).sum(-1), n.sum(-1))


MEASURES: dict[str, Callable] = {
    m.__name__: m for m in (oa, oa_built, oa_natural, oa_u, oa_bu, oa_w, kappa, f1_weighted, f1_macro)
}


def scores(labels, predictions, probabilities=None) -> dict:
    """Every measure at once.

    Args:
        labels: (N,) reference, 1..17.
        predictions: (N,) predicted, 1..17.
        probabilities: (N, 17) rows that sum to 1, for `ece`, `nll` and `brier`; optional.

    Returns:
        {"n", the names of `MEASURES`, "f1" / "producers" / "users": {1..17: value}} and the calibration measures.
        What has no pairs to be measured on is NaN.
    """
    cm = confusion(labels, predictions)
    out = {"n": int(cm.sum())} | {name: float(m(cm)) for name, m in MEASURES.items()}
    for m in (f1, producers, users):
        out[m.__name__] = dict(zip(range(1, K + 1), m(cm).tolist(), strict=True))
    if probabilities is not None:
        out |= calibration(labels, probabilities)
    return out


def _checked(labels, p) -> tuple[np.ndarray, np.ndarray]:
    t, p = to_index(labels), np.asarray(p, float)
    if p.shape != (t.size, K):
        raise ValueError(f"probabilities: shape {p.shape} for {t.size} labels; pass ({t.size}, {K})")
    return t, p


def losses(labels, p) -> np.ndarray:
    """Negative log-likelihood of each pair (N,), in nats; probabilities below 1e-12 count as 1e-12."""
    t, p = _checked(labels, p)
    return -np.log(np.clip(p[np.arange(t.size), t], 1e-12, None))


def brier(labels, p) -> float:
    """Mean squared distance to the one-hot reference, summed over zones: 0 (perfect) .. 2."""
    t, p = _checked(labels, p)
    return float(((p - np.eye(K)[t]) ** 2).sum(1).mean()) if t.size else float("nan")


def reliability(labels, p, bins: int = 10) -> dict[str, np.ndarray]:
    """Confidence (largest probability) against accuracy in `bins` equal-width bins.

    Returns:
        {"confidence", "accuracy" (bins,) NaN where empty, "n" (bins,)}.
    """
    t, p = _checked(labels, p)
    top = p.max(1)
    i = np.clip(np.ceil(top * bins).astype(int) - 1, 0, bins - 1)
    n = np.bincount(i, minlength=bins)
    hit = np.bincount(i, p.argmax(1) == t, bins)
    return {"confidence": _ratio(np.bincount(i, top, bins), n), "accuracy": _ratio(hit, n), "n": n}


def ece(labels, p, bins: int = 15) -> float:
    """Expected calibration error: mean |accuracy - confidence| over bins, weighted by counts (Guo et al. 2017)."""
    r = reliability(labels, p, bins)
    return _ratio(np.nansum(np.abs(r["accuracy"] - r["confidence"]) * r["n"]), r["n"].sum())


def calibration(labels, p) -> dict[str, float]:
    """{"ece", "nll", "brier"}."""
    nll = losses(labels, p)
    return {
        "ece": ece(labels, p),
        "nll": float(nll.mean()) if nll.size else float("nan"),
        "brier": brier(labels, p),
    }


class Interval(NamedTuple):
    """A value with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of 0."""
        return bool(self.low > 0 or self.high < 0)


def resample(groups, draws: int = 1000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Which groups each bootstrap draw holds.

    Args:
        groups: (N,) group of each pair; an empty name makes the pair a group of its own.

    Returns:
        member (N,) group number of each pair; counts (draws, G) how often each draw holds each group.
    """
    g = np.asarray(groups).astype(str)
    g = np.where(g == "", [f"pair {i}" for i in range(g.size)], g)
    names, member = np.unique(g, return_inverse=True)
    size = len(names)
    return member, np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), size=draws)


def _interval(value: float, draws: np.ndarray, groups: int, level: float) -> Interval:
    if groups < 2:
        return Interval(float(value), float("nan"), float("nan"))
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(low), float(high))


def _group_matrices(labels, predictions, member: np.ndarray) -> np.ndarray:
    """Confusion matrix of each group, (G, 17, 17)."""
    cms = np.zeros((member.max() + 1, K, K))
    np.add.at(cms, (member, np.asarray(labels, int) - 1, np.asarray(predictions, int) - 1), 1)
    return cms


def bootstrap(labels, predictions, groups, measure="oa", draws: int = 1000, seed: int = 0, level=0.95) -> Interval:
    """A measure of the confusion matrix with its interval over groups.

    Args:
        labels, predictions: (N,) 1..17.
        groups: (N,) polygon or city of each pair.
        measure: a name of `MEASURES`, or a function of (..., 17, 17) matrices.
        draws, seed: bootstrap resamples and their seed. level: of the interval.

    Returns:
        Interval; its ends are NaN when there is one group only.
    """
    m = MEASURES[measure] if isinstance(measure, str) else measure
    member, counts = resample(groups, draws, seed)
    cms = _group_matrices(labels, predictions, member)
    return _interval(m(cms.sum(0)), m(np.tensordot(counts, cms, 1)), len(cms), level)


def bootstrap_difference(labels, a, b, groups, measure="oa", draws: int = 1000, seed: int = 0, level=0.95) -> Interval:
    """Paired: measure(a) - measure(b), both predictions (N,) 1..17 of the same pairs in the same resamples."""
    m = MEASURES[measure] if isinstance(measure, str) else measure
    member, counts = resample(groups, draws, seed)
    x, y = (_group_matrices(labels, p, member) for p in (a, b))
    drawn = np.asarray(m(np.tensordot(counts, x, 1))) - m(np.tensordot(counts, y, 1))
    return _interval(m(x.sum(0)) - m(y.sum(0)), drawn, len(x), level)


def independent_difference(a: Interval, b: Interval) -> Interval:
    """a - b of two measurements on different pairs: the half widths of both sides add as squares."""
    low, high = np.hypot(a.value - a.low, b.high - b.value), np.hypot(a.high - a.value, b.value - b.low)
    return Interval(a.value - b.value, a.value - b.value - float(low), a.value - b.value + float(high))


def bootstrap_mean(values, groups, draws: int = 1000, seed: int = 0, level=0.95) -> Interval:
    """Mean of per-pair values (N,) (losses, hits, differences of them) with its interval over groups."""
    v = np.asarray(values, float)
    member, counts = resample(groups, draws, seed)
    total, n = np.bincount(member, v), np.bincount(member)
    return _interval(v.mean(), (counts @ total) / (counts @ n), len(n), level)
