"""Accuracy, agreement, calibration and their intervals; zones are labels 1..17 and always all 17 of them.

A confusion matrix here is (17, 17) int64: rows = reference, columns = predicted, in the order 1-10, A-G. The measures
take stacks of them (..., 17, 17), one for each bootstrap draw, which scikit-learn's (equal, see the tests) do not.

Every interval resamples *groups* (polygons; cities in transfer): pairs of one polygon resemble each other, and
resampling them one by one would make every interval too narrow. Several trainings of the same pairs are crossed with
the groups: each draw takes groups and, independently, seeds with replacement (the pigeonhole bootstrap, Owen 2007).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from lczlib.errors import InputError
from lczlib.zones import CODES, SIMILARITY, K, to_index

_BU = np.array([0] * 10 + [1] * 4 + [-1] + [1] * 2)  # built, natural, and LCZ E, which counts as neither


def confusion(labels, predictions) -> np.ndarray:
    """Confusion matrix (17, 17) of labels 1..17, rows = reference; ValueError for other codes or lengths."""
    t, p = (to_index(np.ravel(v)) for v in (labels, predictions))
    if t.shape != p.shape:
        raise InputError(f"labels: {t.size} against {p.size} predictions; pass one prediction per label")
    return np.bincount(t * K + p, minlength=K * K).reshape(K, K)


def worst_confusions(cm: np.ndarray, n: int = 3) -> list[tuple[str, str, int]]:
    """The `n` most frequent errors, most frequent first: (code of the reference, code predicted, pairs)."""
    wrong = cm * (1 - np.eye(K, dtype=int))
    order = np.argsort(-wrong, axis=None, kind="stable")[:n]
    rows, columns = np.unravel_index(order, wrong.shape)
    return [(CODES[i], CODES[j], int(wrong[i, j])) for i, j in zip(rows, columns) if wrong[i, j]]


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
        raise InputError(f"probabilities: shape {p.shape} for {t.size} labels; pass ({t.size}, {K})")
    return t, p


def losses(labels, p) -> np.ndarray:
    """Negative log-likelihood of each pair (N,), in nats; probabilities below 1e-12 count as 1e-12."""
    t, p = _checked(labels, p)
    return -np.log(np.clip(p[np.arange(t.size), t], 1e-12, None))


def brier(labels, p) -> float:
    """Mean squared distance to the one-hot reference, summed over zones: 0 (perfect) .. 2."""
    t, p = _checked(labels, p)
    return float(((p - np.eye(K)[t]) ** 2).sum(1).mean()) if t.size else float("nan")


def _bin_values(labels, p, bins: int) -> np.ndarray:
    """What each pair adds to its bin of confidence: pairs, confidence, hits; (N, 3 * bins)."""
    t, p = _checked(labels, p)
    top = p.max(1)
    values = np.zeros((t.size, 3, bins))
    i = np.clip(np.ceil(top * bins).astype(int) - 1, 0, bins - 1)
    values[np.arange(t.size), :, i] = np.stack([np.ones(t.size), top, p.argmax(1) == t], 1)
    return values.reshape(t.size, 3 * bins)


def reliability(labels, p, bins: int = 10, groups=None, draws: int = 1000, seed: int = 0) -> dict[str, np.ndarray]:
    """Confidence (largest probability) against accuracy in `bins` equal-width bins.

    Returns:
        {"confidence", "accuracy", "low", "high" (bins,), NaN where empty; "n" (bins,)}; the interval of the accuracy
        is NaN without `groups`.
    """
    values = _bin_values(labels, p, bins)
    n, confidence, hits = values.sum(0).reshape(3, bins)
    out = {"confidence": _ratio(confidence, n), "accuracy": _ratio(hits, n), "n": n.astype(int)}
    ends = np.full((2, bins), np.nan)
    if groups is not None:
        found = bootstrap_statistic(lambda s: _ratio(s[..., 2 * bins :], s[..., :bins]), values, groups, draws, seed)
        ends = np.array([i[1:] for i in found]).T
    return out | {"low": ends[0], "high": ends[1]}


def _ece_of_sums(sums: np.ndarray) -> np.ndarray:
    n, confidence, hits = np.split(sums, 3, axis=-1)
    return _ratio(np.abs(hits - confidence).sum(-1), n.sum(-1))


def ece(labels, p, bins: int = 15) -> float:
    """Expected calibration error: mean |accuracy - confidence| over bins, weighted by counts (Guo et al. 2017)."""
    return _ece_of_sums(_bin_values(labels, p, bins).sum(0))


def bootstrap_ece_difference(labels, p, q, groups, draws: int = 1000, seed: int = 0, seeds=None) -> "Interval":
    """Paired: ece(p) - ece(q), both probabilities (N, 17) of the same pairs."""
    values = np.hstack([_bin_values(labels, r, 15) for r in (p, q)])
    return bootstrap_statistic(lambda s: _ece_of_sums(s[..., :45]) - _ece_of_sums(s[..., 45:]), values, groups, draws,
                               seed, seeds)  # fmt: skip


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

    def text(self, scale: float = 100, digits: int = 1) -> str:
        """As a reader wants it, signed, in points of percent: "+2.7 [-0.4, +5.6]"."""
        value, low, high = (f"{scale * v:+.{digits}f}" for v in self)
        return f"{value} [{low}, {high}]"


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


def bootstrap_statistic(
    statistic: Callable[[np.ndarray], np.ndarray], values, groups, draws: int = 1000, seed: int = 0, seeds=None
) -> "Interval | list[Interval]":
    """Any function of sums over the pairs, with its 95 % interval over groups, crossed with seeds.

    Args:
        statistic: sums (..., C) -> (...) or (..., Z).
        values: (N, C) what each pair adds to the sums.
        groups: (N,) polygon or city of each pair.
        draws, seed: bootstrap resamples and their seed.
        seeds: (N,) training that each row comes from, where there are several; resampled too, independently.

    Returns:
        Interval, or one for each of the Z; ends are NaN where there is one group only.
    """
    member, counts = resample(groups, draws, seed)
    run, weights = resample(np.zeros(len(member)) if seeds is None else seeds, draws, seed + 1)
    shape = weights.shape[1], counts.shape[1]
    place = csr_matrix((np.ones(len(member)), (run * shape[1] + member, np.arange(len(member)))),
                       (shape[0] * shape[1], len(member)))  # fmt: skip
    cells = (place @ np.asarray(values, float)).reshape(*shape, -1)  # (seeds, groups, C)
    drawn = sum(weights[:, [s]] * (counts @ cells[s]) for s in range(shape[0]))
    value, many = np.asarray(statistic(cells.sum((0, 1)))), np.asarray(statistic(drawn))
    ends = _quantiles(many) if shape[1] > 1 else np.full((2, *value.shape), np.nan)
    found = [Interval(*map(float, row)) for row in zip(value.ravel(), ends[0].ravel(), ends[1].ravel())]
    return found if value.ndim else found[0]


def _quantiles(draws: np.ndarray) -> np.ndarray:
    """2.5 and 97.5 % of the draws that are numbers, along the first axis; NaN where none is."""
    known = np.isfinite(draws).any(0)
    low, high = np.nanquantile(np.where(known, draws, 0), [0.025, 0.975], axis=0)
    return np.where(known, [low, high], np.nan)


def _one_hot(labels, predictions) -> np.ndarray:
    """(N, 17 * 17): each pair's own confusion matrix, flat."""
    t, p = to_index(labels), to_index(predictions)
    values = np.zeros((t.size, K * K), np.float32)
    values[np.arange(t.size), t * K + p] = 1
    return values


def _of_matrix(measure: str | Callable) -> Callable[[np.ndarray], np.ndarray]:
    m = MEASURES[measure] if isinstance(measure, str) else measure
    return lambda sums: m(sums.reshape(*sums.shape[:-1], K, K))


def bootstrap(labels, predictions, groups, measure="oa", draws: int = 1000, seed: int = 0, seeds=None) -> Interval:
    """A measure of the confusion matrix with its interval over groups.

    Args:
        labels, predictions: (N,) 1..17.
        measure: a name of `MEASURES`, or a function of (..., 17, 17) matrices; one that gives a value for each zone
            (`f1`, `producers`, `users`) gives a list of 17 intervals.
        groups, draws, seed, seeds: of `bootstrap_statistic`.
    """
    return bootstrap_statistic(_of_matrix(measure), _one_hot(labels, predictions), groups, draws, seed, seeds)


def bootstrap_difference(labels, a, b, groups, measure="oa", draws: int = 1000, seed: int = 0, seeds=None) -> Interval:
    """Paired: measure(a) - measure(b), both predictions (N,) 1..17 of the same pairs in the same resamples."""
    m, values = _of_matrix(measure), np.hstack([_one_hot(labels, a), _one_hot(labels, b)])
    half = K * K
    return bootstrap_statistic(lambda s: m(s[..., :half]) - m(s[..., half:]), values, groups, draws, seed, seeds)


def compare_seeds(labels, a, b, groups, seeds, measure="oa", draws: int = 1000, seed: int = 0) -> dict:
    """Two designs trained with the same seeds on the same pairs, row by row.

    Returns:
        {"difference": Interval of measure(a) - measure(b), groups crossed with seeds; "per_seed": {seed: difference};
        "agree": how many seeds have the sign of the whole; "seeds": how many there are}.
    """
    rows = {s: np.asarray(seeds) == s for s in np.unique(seeds)}
    m = MEASURES[measure] if isinstance(measure, str) else measure
    labels, a, b = (np.asarray(v) for v in (labels, a, b))
    each = {str(s): float(m(confusion(labels[r], a[r])) - m(confusion(labels[r], b[r]))) for s, r in rows.items()}
    found = bootstrap_difference(labels, a, b, groups, m, draws, seed, seeds)
    agree = sum(np.sign(v) == np.sign(found.value) for v in each.values())
    return {"difference": found, "per_seed": each, "agree": int(agree), "seeds": len(each)}


def bootstrap_ratio(numerator, denominator, groups, draws: int = 1000, seed: int = 0, seeds=None) -> Interval:
    """Sum of per-pair values over the sum of others, both (N,); NaN where the denominator sums to 0."""
    values = np.stack([np.asarray(numerator, float), np.asarray(denominator, float)], 1)
    return bootstrap_statistic(lambda s: _ratio(s[..., 0], s[..., 1]), values, groups, draws, seed, seeds)


def bootstrap_mean(values, groups, draws: int = 1000, seed: int = 0, seeds=None) -> Interval:
    """Mean of per-pair values (N,) (losses, hits, differences of them) with its interval over groups."""
    return bootstrap_ratio(values, np.ones(len(values)), groups, draws, seed, seeds)
