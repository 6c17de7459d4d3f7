"""Fusion on streams whose knowledge is known because it was drawn."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax

from lczlib import fusion as f
from lczlib import metrics
from lczlib.predictions import Predictions, join

probabilities = partial(softmax, axis=-1)


def streams(n=600, seed=0, skill=(2.0, 1.5), sharpness=(1.0, 1.0)):
    """Two independent noisy streams of the same labels: p = softmax(sharpness (skill one-hot + noise))."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, 18, n)
    out = []
    for s, q in zip(skill, sharpness):
        logits = q * (s * np.eye(17)[labels - 1] + rng.normal(size=(n, 17)))
        out.append(probabilities(logits))
    return out, labels


def as_predictions(p, labels, city=("x", "y")):
    n = len(labels)
    frame = {"id": np.arange(n), "split": "test", "city": np.resize(city, n), "polygon": np.arange(n) // 3}
    return Predictions(pd.DataFrame(frame | {"label": labels}).astype({"polygon": str}), p)


def oa(p, labels):
    return float((p.argmax(1) + 1 == labels).mean())


def test_fuse_is_the_papers_sum():
    (a, b), _ = streams(20)
    np.testing.assert_allclose(f.fuse(a, b, 0.6), 0.6 * a + 0.4 * b)
    assert np.array_equal(f.fuse(a, b, 1.0), a)
    assert np.array_equal(f.fuse(a, b, 0.0), b)
    np.testing.assert_allclose(f.fuse(a, b, 0.3).sum(1), 1)
    assert f.fuse(a.tolist(), b.tolist(), 0.5).shape == (20, 17)
    tensor = f.fuse(torch.from_numpy(a), torch.from_numpy(b), 0.6)
    assert torch.is_tensor(tensor)
    np.testing.assert_allclose(tensor.numpy(), f.fuse(a, b, 0.6))


def test_fuse_refuses_what_does_not_fit():
    (a, b), _ = streams(20)
    with pytest.raises(ValueError, match="join"):
        f.fuse(a, b[:10], 0.5)
    for alpha in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="alpha"):
            f.fuse(a, b, alpha)


def test_three_pairs_by_hand():
    """The drawn example of notebook 04: the true zone wins above one half."""
    s2, ge = np.array([[0.75, 0.25], [0.40, 0.60], [0.45, 0.55]]), np.array([[0.20, 0.80], [0.90, 0.10], [0.48, 0.52]])
    np.testing.assert_allclose(f.fuse(s2, ge, 0.6)[:, 0], [0.53, 0.60, 0.462])
    assert f.fuse(s2, ge)[:, 0].tolist() == f.fuse(s2, ge, f.PUBLISHED_ALPHA)[:, 0].tolist()


def test_sweep_ends_are_the_single_streams():
    (a, b), labels = streams(300)
    s = f.sweep(as_predictions(a, labels), as_predictions(b, labels), draws=50)
    assert s["value"].iloc[0] == pytest.approx(oa(b, labels))
    assert s["value"].iloc[-1] == pytest.approx(oa(a, labels))
    assert (s["low"] <= s["value"]).all()
    assert (s["value"] <= s["high"]).all()
    assert s["value"].max() > max(s["value"].iloc[0], s["value"].iloc[-1])


def test_sweep_by_zone_and_city():
    (a, b), labels = streams(300)
    s2, ge = as_predictions(a, labels), as_predictions(b, labels)
    zones = f.sweep(s2, ge, "zone", [0.0, 0.6], draws=20)
    at = zones[(zones["zone"] == 5) & (zones["alpha"] == 0.6)].iloc[0]
    assert at["value"] == pytest.approx(metrics.scores(labels, f.predicted(f.fuse(a, b, 0.6)))["f1"][5])
    assert at["n"] == (labels == 5).sum()
    cities = f.sweep(s2, ge, "city", [1.0], draws=20).set_index("city")
    assert cities.loc["x", "value"] == pytest.approx(oa(a[::2], labels[::2]))
    assert cities["n"].sum() == 300


def test_pooled_seeds_keep_their_polygons():
    (a, b), labels = streams(60)
    both, seeds = f.pool({3: as_predictions(a, labels), 4: as_predictions(b, labels)})
    assert len(both) == 120
    assert seeds.tolist() == [3] * 60 + [4] * 60
    assert both.groups[:60].tolist() == both.groups[60:].tolist()
    np.testing.assert_array_equal(both.select().p[60:], b)
    crossed = f.sweep(both, both, alphas=[0.5], draws=50, seeds=seeds)
    assert crossed["n"].iloc[0] == 120
    lone = as_predictions(a, labels)
    lone.frame["polygon"] = ""
    again, _ = f.pool({0: lone, 1: lone})
    assert len(set(again.groups)) == 60  # a pair of unknown polygon is one group in every training


def test_complementarity_by_hand():
    """Ten pairs: both right 4, only S2 2, only GE 3, neither 1; the fusion gets 4, 1, 2 and 0 of them."""
    t = np.ones(10, int)
    s2 = np.array([1, 1, 1, 1, 1, 1, 2, 2, 2, 2])
    ge = np.array([1, 1, 1, 1, 2, 2, 1, 1, 1, 2])
    fused = np.array([1, 1, 1, 1, 1, 2, 1, 1, 2, 2])
    c = f.complementarity(t, s2, ge, fused, np.arange(10), draws=20)
    assert [c[k]["share"].value for k in ("both", "only_s2", "only_ge", "neither")] == pytest.approx(
        [0.4, 0.2, 0.3, 0.1]
    )
    assert [c[k]["fused_right"].value for k in ("both", "only_s2", "only_ge", "neither")] == pytest.approx(
        [1, 0.5, 2 / 3, 0]
    )
    assert c["oracle"].value == pytest.approx(0.9)
    assert c["headroom_used"].value == pytest.approx((0.7 - 0.6) / (0.9 - 0.6))


def test_streams_join_by_id_before_they_are_fused():
    (a, b), labels = streams(20)
    s2, ge = as_predictions(a, labels), as_predictions(b, labels)
    turned = Predictions(ge.frame.iloc[::-1], ge.p[::-1])
    np.testing.assert_array_equal(f.fuse(*(p.p for p in join(s2, turned))), f.fuse(a, b))


def test_weights_are_the_middle_of_the_top():
    labels = np.repeat(np.arange(1, 18), 20)
    p = np.full((len(labels), 17), 0.01)
    p[np.arange(len(labels)), labels - 1] = 0.84
    assert f.best_alpha(p, p, labels) == pytest.approx(0.5)  # any alpha is as good as any other
    other = np.roll(p, 1, axis=1)  # always wrong, as sure: right from just above one half on
    assert f.best_alpha(p, other, labels) == pytest.approx((0.5 + 1) / 2, abs=0.03)
    assert f.best_weights([p, p, p], labels) == pytest.approx([1 / 3] * 3)


def test_best_alpha_follows_the_better_stream():
    (a, b), labels = streams(800, skill=(3.0, 0.3))
    assert f.best_alpha(a, b, labels) > 0.6
    assert f.best_alpha(b, a, labels) < 0.4
    noise = probabilities(np.random.default_rng(1).normal(size=a.shape))
    w = f.best_weights([a, b, noise], labels)
    assert w.sum() == pytest.approx(1)
    assert w[0] == w.max()


@pytest.mark.parametrize("name", f.METHODS)
def test_methods_give_probabilities_and_gain(name):
    sources, labels = streams(900, seed=2, sharpness=(1.0, 3.0))
    new, truth = streams(900, seed=3, sharpness=(1.0, 3.0))
    p = f.METHODS[name](sources, labels, new)
    assert p.shape == (900, 17)
    assert p.min() >= 0
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-6)
    assert oa(p, truth) > max(oa(s, truth) for s in new)


@pytest.mark.parametrize("name", f.METHODS)
def test_methods_take_three_sources_and_missing_zones(name):
    (a, b), labels = streams(300, seed=4)
    keep = labels < 16  # zones 16 and 17 have no validation pair
    c = probabilities(np.random.default_rng(5).normal(size=a.shape))
    p = f.METHODS[name]([a[keep], b[keep], c[keep]], labels[keep], [a, b, c])
    assert p.shape == (300, 17)
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-6)


def test_the_right_method_wins_where_its_assumption_holds():
    """Independent streams: the product with exponents near 1 is Bayes' rule, and beats the sum in likelihood."""
    sources, labels = streams(2000, seed=6, skill=(1.5, 1.5))
    new, truth = streams(2000, seed=7, skill=(1.5, 1.5))
    product, total = f.log_linear(sources, labels, new), f.weighted_sum(sources, labels, new)
    assert metrics.losses(truth, product).mean() < metrics.losses(truth, total).mean()


def test_per_zone_weights_find_who_knows_what():
    """Stream a knows zones 1-8 only, stream b the others only."""
    rng = np.random.default_rng(8)
    labels = rng.integers(1, 18, 3000)
    hot = 3 * np.eye(17)[labels - 1]
    a = probabilities(hot * (labels < 9)[:, None] + rng.normal(size=(3000, 17)))
    b = probabilities(hot * (labels >= 9)[:, None] + rng.normal(size=(3000, 17)))
    w = f.zone_weights([a, b], labels)
    assert w[0, :8].mean() > w[0, 8:].mean() + 0.2


def test_methods_are_scored_with_paired_intervals():
    sources, labels = streams(300, seed=9)
    new, truth = streams(300, seed=10)
    ps = {"published": f.fuse(*new)} | {name: fit(sources, labels, new) for name, fit in f.METHODS.items()}
    first = next(iter(ps))
    out = f.score_methods(ps, truth, np.arange(300) // 3, first, draws=50)
    for name, row in out.items():
        assert row["oa"].low <= row["oa"].value <= row["oa"].high
        assert row["nll"].value == pytest.approx(metrics.calibration(truth, ps[name])["nll"])
        assert row["difference"].value == pytest.approx(row["oa"].value - out[first]["oa"].value)
    assert out[first]["difference"] == out[first]["nll_difference"] == (0, 0, 0)
