"""Accuracy, agreement, calibration and their intervals; zones are labels 1..17 and always all 17 of them.

A confusion matrix is (17, 17) int64, rows = reference, in the order 1-10, A-G. The measures take stacks of them
(..., 17, 17), one for each bootstrap draw, which scikit-learn's (equal, see the tests) do not.

Every interval resamples *groups* (polygons; cities in transfer), whose pairs resemble each other. Several trainings of
the same pairs are crossed with the groups: each draw takes groups and, independently, seeds with replacement (the
pigeonhole bootstrap, Owen 2007).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from lczlib.errors import InputError
from lczlib.zones import CODES, SIMILARITY, K, to_index


def confusion(labels, predictions) -> np.ndarray:
    """Confusion matrix (17, 17) of labels 1..17, rows = reference; InputError for other codes or lengths."""
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


def _share(weights: np.ndarray, counted: np.ndarray | float = 1.0) -> Callable[[np.ndarray], float]:
    """A measure of (..., 17, 17): the sum of the pairs times `weights` over the sum of the pairs, where `counted`."""

    def measure(cm: np.ndarray) -> float:
        part = cm * counted
        return _ratio((part * weights).sum((-2, -1)), part.sum((-2, -1)))

    return measure


_BUILT, _LCZ_E = np.arange(K) < 10, np.arange(K) == 14
oa = _share(np.eye(K))  # overall accuracy
oa_built = _share(np.eye(K), _BUILT[:, None])  # of the reference rows 1-10 (paper)
oa_natural = _share(np.eye(K), ~_BUILT[:, None])  # of the reference rows A-G (paper)
oa_u = _share(np.eye(K), np.outer(_BUILT, _BUILT))  # in the 10 x 10 built block (LCZ Generator)
oa_bu = _share(_BUILT[:, None] == _BUILT, np.outer(~_LCZ_E, ~_LCZ_E))  # built against natural, no LCZ E (LCZ Generator)
oa_w = _share(SIMILARITY)  # weighted by the similarity of zones: 2 taken for 1 counts 11/12 (Bechtel et al. 2017)


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


MEASURES: dict[str, Callable] = {"oa": oa, "oa_built": oa_built, "oa_natural": oa_natural, "oa_u": oa_u}
MEASURES |= {"oa_bu": oa_bu, "oa_w": oa_w, "kappa": kappa, "f1_weighted": f1_weighted, "f1_macro": f1_macro}


def scores(labels, predictions, probabilities=None) -> dict:
    """Every measure at once.

    Args:
        labels, predictions: (N,) 1..17. probabilities: (N, 17), for the measures of `calibration`.

    Returns:
        {"n", the names of `MEASURES`, "f1" / "producers" / "users": {1..17: value}} and what `calibration` gives; NaN
        where there is no pair to measure.
    """
    cm = confusion(labels, predictions)
    out = {"n": int(cm.sum())} | {name: float(m(cm)) for name, m in MEASURES.items()}
    for m in (f1, producers, users):
        out[m.__name__] = dict(zip(range(1, K + 1), m(cm).tolist(), strict=True))
    if probabilities is not None:
        out |= calibration(labels, probabilities)
    return out


def losses(labels, p) -> np.ndarray:
    """Negative log-likelihood of each pair (N,), in nats; probabilities below 1e-12 count as 1e-12."""
    t, p = to_index(labels), np.asarray(p, float)
    if p.shape != (t.size, K):
        raise InputError(f"probabilities: shape {p.shape} for {t.size} labels; pass ({t.size}, {K})")
    return -np.log(np.clip(p[np.arange(t.size), t], 1e-12, None))


def reliability(labels, p, bins: int = 10, groups=None, draws: int = 1000, seed: int = 0) -> dict[str, np.ndarray]:
    """Confidence (largest probability) against accuracy in equal-width bins.

    Returns:
        {"confidence", "accuracy", its interval "low", "high" (NaN without `groups`), "n"}, (bins,) each.
    """
    t, p = to_index(labels), np.asarray(p, float)
    values = np.zeros((t.size, 3, bins))  # what each pair adds to its bin: pairs, confidence, hits
    place = np.clip(np.ceil(p.max(1) * bins).astype(int) - 1, 0, bins - 1)
    values[np.arange(t.size), :, place] = np.stack([np.ones(t.size), p.max(1), p.argmax(1) == t], 1)
    n, confidence, hits = values.sum(0)
    out = {"confidence": _ratio(confidence, n), "accuracy": _ratio(hits, n), "n": n.astype(int)}
    low, high = np.full((2, bins), np.nan)
    if groups is not None:
        flat = values.reshape(t.size, 3 * bins)
        found = bootstrap_statistic(lambda s: _ratio(s[..., 2 * bins :], s[..., :bins]), flat, groups, draws, seed)
        _, low, high = np.array(found).T
    return out | {"low": low, "high": high}


def calibration(labels, p) -> dict[str, float]:
    """{"ece", "nll", "brier"} of probabilities (N, 17).

    Expected calibration error over 15 bins (Guo et al. 2017), mean negative log-likelihood, and mean squared distance
    to the one-hot reference, summed over zones: 0 (perfect) .. 2.
    """
    nll, p = losses(labels, p), np.asarray(p, float)
    if not nll.size:
        return dict.fromkeys(("ece", "nll", "brier"), float("nan"))
    r = reliability(labels, p, 15)
    gap = np.nansum(r["n"] * np.abs(r["accuracy"] - r["confidence"]))
    squared = ((p - np.eye(K)[to_index(labels)]) ** 2).sum(1)
    return {"ece": float(gap / nll.size), "nll": float(nll.mean()), "brier": float(squared.mean())}


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
    """Group number of each pair (N,), and how often each bootstrap draw holds each group (draws, G).

    An empty name in `groups` (N,) makes the pair a group of its own. Raises InputError where there is no pair.
    """
    g = np.asarray(groups).astype(str)
    if not g.size:
        raise InputError("no pair to measure; a split of few polygons leaves none to test: take more pairs")
    g = np.where(g == "", [f"pair {i}" for i in range(g.size)], g)
    names, member = np.unique(g, return_inverse=True)
    return member, np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)


def bootstrap_statistic(
    statistic: Callable[[np.ndarray], np.ndarray], values, groups, draws: int = 1000, seed: int = 0, seeds=None
) -> "Interval | list[Interval]":
    """Any function of sums over the pairs, with its 95 % interval over groups, crossed with seeds.

    Args:
        statistic: sums (..., C) -> (...) or (..., Z). values: (N, C) what each pair adds to the sums.
        groups: (N,) polygon or city of each pair. draws, seed: resamples and their seed.
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
    known = np.isfinite(many).any(0) & (shape[1] > 1)
    ends = np.where(known, np.nanquantile(np.where(known, many, 0), [0.025, 0.975], axis=0), np.nan)
    found = [Interval(*map(float, row)) for row in zip(value.ravel(), ends[0].ravel(), ends[1].ravel())]
    return found if value.ndim else found[0]


def _one_hot(labels, *predictions) -> np.ndarray:
    """(N, P * 17 * 17): each pair's own confusion matrix of each prediction, flat."""
    t = to_index(labels)
    values = np.zeros((t.size, len(predictions), K * K), np.float32)
    for k, p in enumerate(predictions):
        values[np.arange(t.size), k, t * K + to_index(p)] = 1
    return values.reshape(t.size, len(predictions) * K * K)


def bootstrap(labels, predictions, groups, measure="oa", draws: int = 1000, seed: int = 0, seeds=None) -> Interval:
    """A measure of the confusion matrix with its interval over groups.

    Args:
        measure: a name of `MEASURES`, or a function of (..., 17, 17) matrices; one that gives a value for each zone
            (`f1`, `producers`, `users`) gives a list of 17 intervals. The others: of `bootstrap_statistic`.
    """
    m, values = MEASURES.get(measure, measure), _one_hot(labels, predictions)
    return bootstrap_statistic(lambda s: m(s.reshape(*s.shape[:-1], K, K)), values, groups, draws, seed, seeds)


def bootstrap_difference(labels, a, b, groups, measure="oa", draws: int = 1000, seed: int = 0, seeds=None) -> Interval:
    """Paired: measure(a) - measure(b), both predictions (N,) 1..17 of the same pairs in the same resamples."""
    m = MEASURES.get(measure, measure)

    def difference(sums: np.ndarray) -> np.ndarray:
        of_a, of_b = np.moveaxis(sums.reshape(*sums.shape[:-1], 2, K, K), -3, 0)
        return m(of_a) - m(of_b)

    return bootstrap_statistic(difference, _one_hot(labels, a, b), groups, draws, seed, seeds)


def compare_seeds(labels, a, b, groups, seeds, draws: int = 1000, seed: int = 0) -> dict:
    """Accuracy of two designs trained with the same seeds on the same pairs, row by row.

    Returns:
        {"difference": Interval of a - b, groups crossed with seeds; "per_seed": {seed: difference}; "agree": how many
        seeds have the sign of the whole; "seeds": how many there are}.
    """
    labels, a, b, seeds = (np.asarray(v) for v in (labels, a, b, seeds))
    gained = (a == labels).astype(int) - (b == labels)
    each = {str(s): float(gained[seeds == s].mean()) for s in np.unique(seeds)}
    found = bootstrap_mean(gained, groups, draws, seed, seeds)
    agree = sum(np.sign(v) == np.sign(found.value) for v in each.values())
    return {"difference": found, "per_seed": each, "agree": int(agree), "seeds": len(each)}


def bootstrap_ratio(numerator, denominator, groups, draws: int = 1000, seed: int = 0, seeds=None) -> Interval:
    """Sum of per-pair values over the sum of others, both (N,); NaN where the denominator sums to 0."""
    values = np.stack([np.asarray(numerator, float), np.asarray(denominator, float)], 1)
    return bootstrap_statistic(lambda s: _ratio(s[..., 0], s[..., 1]), values, groups, draws, seed, seeds)


def bootstrap_mean(values, groups, draws: int = 1000, seed: int = 0, seeds=None) -> Interval:
    """Mean of per-pair values (N,) (losses, hits, differences of them) with its interval over groups."""
    return bootstrap_ratio(values, np.ones(len(values)), groups, draws, seed, seeds)
