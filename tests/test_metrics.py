"""Measures against hand-worked values and scikit-learn; intervals against their meaning."""

import numpy as np
import pytest
from sklearn import metrics as sk

from lczlib import metrics as m
from lczlib.errors import InputError


@pytest.fixture
def sample():
    rng = np.random.default_rng(1)
    labels = rng.integers(1, 16, 600)  # zones 16 and 17 never occur in the reference
    predicted = np.where(rng.random(600) < 0.6, labels, rng.integers(1, 17, 600))
    return labels, predicted


def test_confusion_by_hand():
    cm = m.confusion([1, 1, 2, 17], [1, 2, 2, 17])
    assert cm.shape == (17, 17)
    assert cm[0, 0] == cm[0, 1] == cm[1, 1] == cm[16, 16] == 1
    assert cm.sum() == 4


def test_measures_by_hand():
    """Reference 1 1 2 11 15 17, predicted 1 2 2 12 17 17: every number worked out on paper."""
    s = m.scores([1, 1, 2, 11, 15, 17], [1, 2, 2, 12, 17, 17])
    assert s["oa"] == pytest.approx(3 / 6)
    assert s["oa_built"] == pytest.approx(2 / 3)
    assert s["oa_natural"] == pytest.approx(1 / 3)
    assert s["oa_u"] == pytest.approx(2 / 3)
    assert s["oa_bu"] == 1.0  # the pair of LCZ E is left out, the rest never crosses built | natural
    assert s["oa_w"] == pytest.approx((3 + 11 / 12 + 11 / 12 + 9 / 12) / 6)
    chance = (2 * 1 + 1 * 2 + 1 * 2) / 36  # zones 1, 2 and 17; the others have an empty row or column
    assert s["kappa"] == pytest.approx((0.5 - chance) / (1 - chance))
    assert s["f1"][1] == pytest.approx(2 / 3)
    assert s["f1"][11] == s["f1"][12] == s["f1"][15] == 0.0
    assert np.isnan(s["f1"][3])
    assert s["f1_macro"] == pytest.approx((2 / 3 * 3 + 0 * 3) / 6)
    assert s["producers"][1] == 0.5
    assert s["users"][1] == 1.0
    assert np.isnan(s["users"][15])
    assert s["producers"][15] == 0.0


def three_by_three():
    """Reference in rows: LCZ 2: 6 2 0, LCZ 3: 1 5 2, LCZ A: 0 1 3; the matrix of notebook 05."""
    counts = {(2, 2): 6, (2, 3): 2, (3, 2): 1, (3, 3): 5, (3, 11): 2, (11, 3): 1, (11, 11): 3}
    return np.array([pair for pair, n in counts.items() for _ in range(n)]).T


def test_three_by_three_by_hand():
    s = m.scores(*three_by_three())
    assert s["n"] == 20
    assert s["oa"] == pytest.approx(14 / 20)
    assert s["oa_built"] == pytest.approx(11 / 16)
    assert s["oa_natural"] == pytest.approx(3 / 4)
    assert s["oa_u"] == pytest.approx(11 / 14)
    assert s["oa_bu"] == pytest.approx(17 / 20)
    chance = (8 * 7 + 8 * 8 + 4 * 5) / 400
    assert s["kappa"] == pytest.approx((0.7 - chance) / (1 - chance))
    assert s["oa_w"] == pytest.approx((14 + 3 * 11 / 12 + 3 * 6 / 12) / 20)  # 2 and 3: 11/12; 3 and A: 6/12
    f1 = [12 / 15, 10 / 16, 6 / 9]
    assert [s["f1"][z] for z in (2, 3, 11)] == pytest.approx(f1)
    assert s["f1_macro"] == pytest.approx(np.mean(f1))
    assert s["f1_weighted"] == pytest.approx((8 * f1[0] + 8 * f1[1] + 4 * f1[2]) / 20)
    assert (s["producers"][3], s["users"][3]) == pytest.approx((5 / 8, 5 / 8))
    assert (s["producers"][11], s["users"][11]) == pytest.approx((3 / 4, 3 / 5))
    assert np.isnan(s["f1"][1])
    assert list(s["users"]) == list(range(1, 18))


def test_the_worst_confusions_come_first():
    cm = m.confusion(*three_by_three())
    assert m.worst_confusions(cm, 3) == [("2", "3", 2), ("3", "A", 2), ("3", "2", 1)]
    assert len(m.worst_confusions(cm, 9)) == 4  # pairs that are right are no confusion
    assert m.worst_confusions(np.diag(np.arange(17)), 3) == []


def test_built_taken_for_natural():
    s = m.scores([1, 11, 1, 15], [11, 1, 15, 1])
    assert s["oa_bu"] == 0.0
    assert np.isnan(s["oa_u"]) or s["oa_u"] == 0.0


def test_equal_to_scikit_learn(sample):
    t, p = sample
    s = m.scores(t, p)
    assert np.array_equal(m.confusion(t, p), sk.confusion_matrix(t, p, labels=range(1, 18)))
    assert s["oa"] == pytest.approx(sk.accuracy_score(t, p))
    assert s["kappa"] == pytest.approx(sk.cohen_kappa_score(t, p))
    assert s["f1_weighted"] == pytest.approx(sk.f1_score(t, p, average="weighted"))
    assert s["f1_macro"] == pytest.approx(sk.f1_score(t, p, average="macro"))
    each = sk.f1_score(t, p, labels=range(1, 18), average=None, zero_division=np.nan)
    np.testing.assert_allclose(list(s["f1"].values()), each)
    recall = sk.recall_score(t, p, labels=range(1, 18), average=None, zero_division=np.nan)
    precision = sk.precision_score(t, p, labels=range(1, 18), average=None, zero_division=np.nan)
    np.testing.assert_allclose(list(s["producers"].values()), recall)
    np.testing.assert_allclose(list(s["users"].values()), precision)


def test_seventeen_zones_whatever_occurs():
    s = m.scores([3], [3], np.eye(17)[[2]])
    assert list(s["f1"]) == list(range(1, 18))
    assert s["oa"] == s["f1_macro"] == 1.0
    assert np.isnan(s["oa_natural"])
    assert np.isnan(s["kappa"])  # one zone only: chance agreement is 1
    assert s["nll"] == s["brier"] == s["ece"] == 0.0


def test_nothing_to_measure_gives_nan():
    s = m.scores([], [], np.zeros((0, 17)))
    assert s["n"] == 0
    assert np.isnan(s["oa"])
    assert np.isnan(s["nll"])


@pytest.mark.parametrize("bad", [0, 18, 101])
def test_foreign_codes_are_refused(bad):
    with pytest.raises(ValueError, match=r"1\.\.17"):
        m.scores([1, bad], [1, 1])


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="3 predictions"):
        m.scores([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="shape"):
        m.calibration([1, 2], np.ones((2, 16)) / 16)


def test_calibration_by_hand():
    p = np.full((4, 17), 0.2 / 16)
    p[:, 0] = 0.8  # always says zone 1 with 0.8; right three times of four
    labels = [1, 1, 1, 2]
    assert m.calibration(labels, p)["ece"] == pytest.approx(0.05)
    assert m.calibration(labels, p)["nll"] == pytest.approx(-(3 * np.log(0.8) + np.log(0.0125)) / 4)
    right = 0.2**2 + 16 * 0.0125**2
    wrong = 0.8**2 + (1 - 0.0125) ** 2 + 15 * 0.0125**2
    assert m.calibration(labels, p)["brier"] == pytest.approx((3 * right + wrong) / 4)
    assert sk.log_loss([0, 0, 0, 1], p, labels=range(17)) == pytest.approx(m.calibration(labels, p)["nll"])
    r = m.reliability(labels, p, bins=10)
    assert r["n"].sum() == 4
    assert r["accuracy"][7] == 0.75


def test_interval_covers_the_truth():
    """Groups of 3 alike pairs: in 100 repetitions the interval holds the true 0.7 about 95 times."""
    rng = np.random.default_rng(0)
    hit = 0
    for i in range(100):
        right = np.repeat(rng.random(60) < 0.7, 3)
        labels = np.repeat(rng.integers(1, 18, 60), 3)
        predicted = np.where(right, labels, labels % 17 + 1)
        ci = m.bootstrap(labels, predicted, np.repeat(np.arange(60), 3), draws=300, seed=i)
        hit += ci.low <= 0.7 <= ci.high
    assert 88 <= hit <= 100


def test_no_pair_to_measure_is_one_line():
    none = np.array([], int)
    for measure in (m.bootstrap, m.bootstrap_mean, m.bootstrap_ratio):
        with pytest.raises(InputError, match=r"no pair to measure; .*: take more pairs"):
            measure(*[none] * (2 if measure == m.bootstrap_mean else 3))


def test_groups_widen_the_interval(sample):
    labels = np.repeat(np.arange(1, 18), 30)
    right = np.repeat(np.random.default_rng(0).random(51) < 0.5, 10)
    predicted = np.where(right, labels, labels % 17 + 1)
    alone = m.bootstrap(labels, predicted, np.full(510, ""), draws=400)
    grouped = m.bootstrap(labels, predicted, np.repeat(np.arange(51), 10), draws=400)
    assert grouped.value == alone.value
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_paired_difference_is_tighter_than_two_intervals(sample):
    t, a = sample
    b = a.copy()
    b[:30] = t[:30]  # b is a with at most thirty mends
    groups = np.arange(t.size) // 3
    d = m.bootstrap_difference(t, b, a, groups, draws=400)
    ci = m.bootstrap(t, a, groups, draws=400)
    assert d.value == pytest.approx(m.scores(t, b)["oa"] - m.scores(t, a)["oa"])
    assert d.excludes_zero
    assert d.high - d.low < ci.high - ci.low
    same = m.bootstrap_difference(t, a, a, groups, measure="kappa", draws=50)
    assert same == (0.0, 0.0, 0.0)
    assert not same.excludes_zero


def test_per_zone_differences(sample):
    t, a = sample
    b = np.where(t == 7, t, a)  # b mends zone 7
    found = m.bootstrap_difference(t, b, a, np.arange(t.size) // 3, m.f1, draws=200)
    assert len(found) == 17
    assert found[6].excludes_zero
    assert found[6].value == pytest.approx(m.scores(t, b)["f1"][7] - m.scores(t, a)["f1"][7])
    one = m.bootstrap_difference(t, b, a, np.arange(t.size) // 3, lambda cm: m.f1(cm)[..., 6], draws=200)
    assert found[6] == pytest.approx(one)
    assert all(np.isnan(v) for v in found[16])  # zone 17 occurs nowhere


def test_seeds_are_crossed_with_groups():
    """Truth 0.6 + seed effect + polygon effect: 95 % of the intervals hold 0.6; without seeds they hold it rarely."""
    rng, hit, naive = np.random.default_rng(0), 0, 0
    for i in range(100):
        seed_effect, polygon_effect = rng.normal(0, 0.06, 10), rng.normal(0, 0.1, 40)
        p = np.clip(0.6 + seed_effect[:, None] + polygon_effect, 0, 1).repeat(3, 1)
        right = (rng.random(p.shape) < p).astype(float).ravel()
        seeds, groups = np.repeat(np.arange(10), 120), np.tile(np.repeat(np.arange(40), 3), 10)
        crossed = m.bootstrap_mean(right, groups, 300, i, seeds)
        alone = m.bootstrap_mean(right, groups, 300, i)
        hit += crossed.low <= 0.6 <= crossed.high
        naive += alone.low <= 0.6 <= alone.high
        assert crossed.value == pytest.approx(right.mean())
    assert hit >= 88
    assert naive < hit


def test_one_seed_changes_nothing(sample):
    t, p = sample
    groups = np.arange(t.size) // 3
    assert m.bootstrap(t, p, groups, draws=100, seeds=np.zeros(t.size)) == m.bootstrap(t, p, groups, draws=100)


def test_seeds_compared():
    t = np.tile(np.arange(1, 11), 3)
    a, seeds = t.copy(), np.repeat([0, 1, 2], 10)
    b = np.where(np.arange(30) < 20, t % 17 + 1, t)  # with two seeds b is all wrong, with the third as good
    out = m.compare_seeds(t, a, b, np.tile(np.arange(10), 3), seeds, draws=200)
    assert out["per_seed"] == {"0": 1.0, "1": 1.0, "2": 0.0}
    assert (out["agree"], out["seeds"]) == (2, 3)
    assert out["difference"].value == pytest.approx(2 / 3)
    assert out["difference"].low == 0.0


def test_ratio_over_groups():
    r = m.bootstrap_ratio([1, 1, 0, 0], [2, 2, 1, 1], ["a", "a", "b", "b"], draws=200)
    assert r == (pytest.approx(1 / 3), 0.0, 0.5)
    assert np.isnan(m.bootstrap_ratio([1.0], [0.0], ["a"]).value)


def test_reliability_has_intervals():
    rng = np.random.default_rng(3)
    labels = rng.integers(1, 18, 600)
    p = np.full((600, 17), 0.2 / 16)
    p[np.arange(600), np.where(rng.random(600) < 0.8, labels, labels % 17 + 1) - 1] = 0.8
    r = m.reliability(labels, p, 10, np.arange(600) // 2, draws=200)
    assert r["low"][7] < r["accuracy"][7] < r["high"][7]
    assert np.isnan(r["low"][0])


def test_every_measure_can_be_bootstrapped(sample):
    t, p = sample
    for name, measure in m.MEASURES.items():
        ci = m.bootstrap(t, p, np.arange(t.size) // 3, name, draws=100)
        assert ci.low <= ci.value <= ci.high, name
        assert ci.value == pytest.approx(measure(m.confusion(t, p)))


def test_one_group_has_no_interval(sample):
    t, p = sample
    ci = m.bootstrap(t, p, np.zeros(t.size), draws=20)
    assert np.isfinite(ci.value)
    assert np.isnan(ci.low)


def test_mean_over_groups():
    ci = m.bootstrap_mean([0.0, 0.0, 1.0, 1.0], ["a", "a", "b", "b"], draws=200)
    assert ci == (0.5, 0.0, 1.0)
