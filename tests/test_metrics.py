"""Measures against hand-worked values and scikit-learn; intervals against their meaning."""

import numpy as np
import pytest
from sklearn import metrics as sk

from lczlib import metrics as m


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
    assert m.ece(labels, p) == pytest.approx(0.05)
    assert m.calibration(labels, p)["nll"] == pytest.approx(-(3 * np.log(0.8) + np.log(0.0125)) / 4)
    right = 0.2**2 + 16 * 0.0125**2
    wrong = 0.8**2 + (1 - 0.0125) ** 2 + 15 * 0.0125**2
    assert m.brier(labels, p) == pytest.approx((3 * right + wrong) / 4)
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


def test_independent_differences_add_as_squares():
    d = m.independent_difference(m.Interval(0.8, 0.77, 0.84), m.Interval(0.6, 0.52, 0.64))
    assert d.value == pytest.approx(0.2)
    assert d.low == pytest.approx(0.2 - 0.05)
    assert d.high == pytest.approx(0.2 + np.hypot(0.04, 0.08))
