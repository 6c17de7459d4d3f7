"""Remedies on shifts that were made on purpose, so that what they must undo is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from lczlib import remedies as r
from lczlib import transfer as t
from lczlib.graphs import GraphSet
from lczlib.models import InstanceGCN, ResNet3D11
from lczlib.models.inference import predict, reestimate_batch_norm
from lczlib.predictions import Predictions
from lczlib.recipe import Recipe


def world(cities=3, zones=4, per_zone=6, seed=0):
    """Patches whose mean spectrum tells the zone, and their index; polygons of two pairs."""
    rng = np.random.default_rng(seed)
    rows = [(c, z, i) for c in range(cities) for z in range(1, zones + 1) for i in range(per_zone)]
    spectra = rng.random((17, 10)) * 0.3 + 0.05
    x = np.stack([spectra[z - 1] + 0.02 * rng.normal(size=(32, 32, 10)) for _, z, _ in rows]).astype(np.float32)
    index = pd.DataFrame(
        {
            "id": np.arange(len(rows)),
            "label": [z for _, z, _ in rows],
            "city": [f"city-{c}" for c, _, _ in rows],
            "polygon": [f"{c}/{z}/{i // 2}" for c, z, i in rows],
        }
    )
    return x, index


RECIPE = Recipe.demo(
    "s2",
    epochs=12,
    width=4,
    batch_size=8,
    batch_norm_momentum=0.8,
    halve_every=0,
    augment=False,
    precision="fp32",
    learning_rate=0.01,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    x, index = world()
    results = t.leave_one_city_out("s2", "resnet3d11", x, index, RECIPE, 0, tmp_path_factory.mktemp("work"))
    return x, index, results


def test_every_pair_is_tested_with_its_city_seen_and_unseen(trained):
    _, index, results = trained
    assert list(results) == ["city-0", "city-1", "city-2"]
    for city, result in results.items():
        frame = result.predictions.frame
        assert city not in set(frame.loc[frame["split"] != "test", "city"])
    said = t.tested(results, results, {"city-0": 1.0, "city-1": 0.0, "city-2": 0.5})
    assert list(said) == ["s2", "ge", "fused"]
    out, home = t.held_out(said["s2"]), t.in_city(said["s2"])
    assert sorted(out.frame["id"]) == sorted(home.frame["id"]) == index["id"].tolist()
    for city, accuracy in t.accuracy_at_home(said["s2"]).items():
        p = results[city].predictions.select(split="test")
        seen = (p.frame["city"] != city).to_numpy()
        assert accuracy == pytest.approx((p.predicted == p.labels)[seen].mean())
        own = results[city].predictions.select(split="test", city=city)
        np.testing.assert_allclose(out.select(city=city).p, own.p)


def test_alpha_of_each_model_is_used(trained):
    _, _, results = trained
    flat = {}
    for city, result in results.items():
        p = result.predictions
        flat[city] = replace(result, predictions=Predictions(p.frame, np.full_like(p.p, 1 / 17)))
    said = t.tested(results, flat, {"city-0": 1.0, "city-1": 0.0, "city-2": 0.5})
    first, second, third = said["fused"].values()
    np.testing.assert_allclose(first.p, results["city-0"].predictions.select(split="test").p)
    np.testing.assert_allclose(second.p, 1 / 17)
    np.testing.assert_allclose(third.p, results["city-2"].predictions.select(split="test").p / 2 + 0.5 / 17)


def test_drop_is_paired_on_the_same_pairs():
    _, index = world()
    p = np.full((len(index), 17), 0.01)
    p[np.arange(len(index)), index["label"] - 1] = 0.84
    inside = Predictions(index.assign(split=np.where(index["id"] % 2 == 0, "test", "train")), p)
    wrong = p.copy()
    wrong[: len(p) // 3] = np.roll(wrong[: len(p) // 3], 1, axis=1)  # city-0 all wrong
    shuffled = np.random.default_rng(0).permutation(len(index))
    outside = Predictions(index.assign(split="test").iloc[shuffled], wrong[shuffled])
    d = t.drop(inside, outside, draws=200)
    assert d["n"] == len(index) // 2
    assert d["in"].value == 1.0
    assert d["out"].value == pytest.approx(2 / 3)
    assert d["drop"].value == pytest.approx(1 / 3)
    assert d["out_city"] == {"city-0": 0.0, "city-1": 1.0, "city-2": 1.0}
    with pytest.raises(ValueError, match="no prediction"):
        inside.select(split="test").look_up([1])


def test_recovered_share_by_hand():
    inside, outside = np.full(8, 0.8), np.full(8, 0.6)
    assert t.recovered(inside, outside, inside) == pytest.approx((1, 1, 1))
    assert t.recovered(inside, outside, outside) == pytest.approx((0, 0, 0))
    share = t.recovered(inside, outside, np.where(np.arange(8) < 4, 0.8, 0.6), draws=200)
    assert share.value == pytest.approx(0.5)
    assert share.low < 0.5 < share.high
    assert np.isnan(t.recovered(outside, inside, inside, draws=10).value)  # no drop, no share of it


@pytest.mark.parametrize("align", [r.align_moments, r.align_histogram, r.align_coral])
def test_alignment_undoes_gain_and_offset(align):
    x, _ = world()
    shifted = (x * np.linspace(0.7, 1.4, 10) + 0.05).astype(np.float32)
    back = align(shifted, x)
    assert back.shape == x.shape
    assert back.dtype == np.float32
    assert np.abs(back - x).mean() < 0.15 * np.abs(shifted - x).mean()
    assert np.abs(back.mean((0, 1, 2)) - x.mean((0, 1, 2))).max() < 2e-3


def test_coral_undoes_mixed_bands():
    x, _ = world()
    mixed = x @ (np.eye(10) + 0.3 * np.random.default_rng(1).normal(size=(10, 10)))
    a, b = r.align_coral(mixed, x).reshape(-1, 10), x.reshape(-1, 10)
    np.testing.assert_allclose(np.cov(a.T), np.cov(b.T), atol=1e-3)


def test_nodes_are_aligned_and_padding_stays():
    rng = np.random.default_rng(0)
    nodes = rng.integers(1, 6, 30)
    x = rng.random((30, 5, 5)).astype(np.float32) * (np.arange(5) < nodes[:, None])[..., None]
    source = GraphSet(np.arange(30), x, nodes)
    shifted = GraphSet(np.arange(30), (x * np.float32(0.6)), nodes)
    back = r.align_nodes(shifted, source)
    np.testing.assert_allclose(t.node_colors(back), t.node_colors(source), atol=1e-5)
    assert np.array_equal(back.x[..., 3:], shifted.x[..., 3:])
    assert (back.x[np.arange(5) >= nodes[:, None]] == 0).all()
    assert np.array_equal(shifted.x, x * np.float32(0.6))  # the input is not changed


def test_shift_is_in_units_of_spread():
    a = np.random.default_rng(0).normal(size=(4000, 3))
    np.testing.assert_allclose(t.shift(a * [1, 1, 1] + [0, 1, 2], a), [0, 1, 2], atol=0.05)


def test_batch_norm_statistics_become_the_targets(trained):
    x, _, results = trained
    model = results["city-0"].model
    before = {k: v.clone() for k, v in model.state_dict().items()}
    far = x * 1.5 + 0.1
    adapted = reestimate_batch_norm(model, far, batch_size=len(far))
    stem = adapted.stem[0](torch.from_numpy(far.transpose(0, 3, 1, 2)).permute(0, 2, 3, 1).unsqueeze(1))
    np.testing.assert_allclose(adapted.stem[1].running_mean, stem.mean((0, 2, 3, 4)).detach(), rtol=1e-3, atol=1e-4)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])  # the model itself is untouched
    half = reestimate_batch_norm(model, far, share=0.5, batch_size=len(far))
    middle = (adapted.stem[1].running_mean + model.stem[1].running_mean) / 2
    np.testing.assert_allclose(half.stem[1].running_mean, middle, rtol=1e-4, atol=1e-5)
    same = reestimate_batch_norm(model, far, share=0.0)
    np.testing.assert_allclose(predict(same, x[:4]), predict(model, x[:4]), atol=1e-6)


def test_remedies_bring_back_a_shifted_city(trained):
    x, index, results = trained
    labels = index["label"].to_numpy()
    model = results["city-2"].model
    rows = np.flatnonzero(index["city"] == "city-2")
    source = x[index["city"] != "city-2"]
    mean = [x[labels == z].mean((0, 1, 2)) for z in (1, 2)]
    far = x[rows] + mean[1] - mean[0]  # zone 1 looks as zone 2 did

    def oa(m, inputs):
        return (predict(m, inputs).argmax(1) + 1 == labels[rows]).mean()

    plain = oa(model, far)
    assert oa(model, r.align_moments(far, source)) > plain
    assert oa(r.fine_tune(model, far, labels[rows], epochs=8, learning_rate=3e-3, precision="fp32"), far) > plain


def test_fine_tune_freezes_statistics_and_repeats(trained):
    x, index, results = trained
    model, labels = results["city-1"].model, index["label"].to_numpy()
    a, b = (r.fine_tune(model, x[:20], labels[:20], epochs=1, augment=r.jitter, seed=3) for _ in range(2))
    assert torch.equal(a.stem[1].running_mean, model.stem[1].running_mean)
    assert not torch.equal(a.head.weight, model.head.weight)
    assert torch.equal(a.head.weight, b.head.weight)
    free = r.fine_tune(model, x[:20], labels[:20], epochs=1, freeze_norm=False)
    assert not torch.equal(free.stem[1].running_mean, model.stem[1].running_mean)


def test_fine_tune_takes_graphs():
    rng = np.random.default_rng(0)
    graphs = GraphSet(np.arange(12), rng.random((12, 50, 5)).astype(np.float32), np.full(12, 9))
    model = InstanceGCN()
    tuned = r.fine_tune(model, graphs, rng.integers(1, 18, 12), epochs=1, precision="fp32")
    assert predict(tuned, graphs).shape == (12, 17)
    assert r.pseudo_labels(model, graphs, rounds=1, epochs=1, precision="fp32") is not model


def test_pseudo_labels_never_see_labels(trained):
    x, _, results = trained
    adapted = r.pseudo_labels(results["city-0"].model, x[:24], rounds=1, epochs=1, precision="fp32")
    assert isinstance(adapted, ResNet3D11)
    p = np.full((6, 17), 0.01)
    p[[0, 1, 2, 3], 4] = [0.9, 0.5, 0.8, 0.3]
    p[[4, 5], 6] = [0.4, 0.6]
    rows, zones = r.surest(p, 0.5)
    assert rows.tolist() == [0, 2, 5]
    assert zones.tolist() == [5, 5, 7]


def test_jitter_keeps_shape_and_moves_bands():
    x = torch.full((64, 10, 4, 4), 0.2)
    y = r.jitter(x, torch.Generator().manual_seed(0))
    assert y.shape == x.shape
    assert 0.15 < float(y.mean()) < 0.25
    assert float(y[:, 0].mean((1, 2)).std()) > 0.01


def test_labelled_pairs_never_share_a_polygon_with_the_tested():
    _, index = world()
    city = index[index["city"] == "city-1"].reset_index(drop=True)
    tests = []
    for k in (1, 3, 20):
        label, test = t.labelled_share(city, k)
        tests.append(test)
        assert not set(city.loc[label, "polygon"]) & set(city.loc[test, "polygon"])
        assert city.loc[label, "label"].value_counts().max() <= min(k, 4)
        assert set(city.loc[test, "label"]) == {1, 2, 3, 4}
    assert all(np.array_equal(tests[0], other) for other in tests)


def test_skewed_frequencies_keep_every_zone():
    labels = np.repeat(np.arange(1, 18), 20)
    rows = t.skewed(labels, seed=1)
    counts = np.bincount(labels[rows], minlength=18)[1:]
    assert counts.max() == 20
    assert counts.min() == 1
    assert len(np.unique(rows)) == len(rows)


def test_a_remedy_is_chosen_without_the_citys_labels():
    cities = np.repeat(["a", "b", "c"], 10)
    good_in_a = (cities == "a").astype(float)
    even = np.full(30, 0.4)
    names = t.chosen_elsewhere({"x": good_in_a, "y": even}, cities)
    assert names == {"a": "y", "b": "x", "c": "x"}  # x shines in a only, which must not choose it for a


def test_every_remedy_gives_probabilities_of_every_pair(trained):
    x, index, results = trained
    here = (index["city"] == "city-0").to_numpy()
    tune = {"epochs": 1, "precision": "fp32"}
    rng = np.random.default_rng(0)
    graphs = GraphSet(index["id"].to_numpy(), rng.random((72, 50, 5)).astype(np.float32), np.full(72, 9))
    of_ge = replace(results["city-0"], model=InstanceGCN())
    both = {"s2": {"city-0": results["city-0"]}, "ge": {"city-0": of_ge}}
    out = r.remedies_everywhere(both, _Pairs(x, index), graphs, {"s2": tune, "ge": tune}, tune_pairs=16)
    for of_city in (out["s2"]["city-0"], out["ge"]["city-0"]):
        assert next(iter(of_city)) == "nothing"
        for p in of_city.values():
            assert p.shape == (here.sum(), 17)
            np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(out["s2"]["city-0"]["nothing"], predict(results["city-0"].model, x[here]), atol=1e-6)


class _Pairs:
    def __init__(self, x, index):
        self.s2, self.index, self.labels = x, index, index["label"].to_numpy()
        self.cities, self.polygons = index["city"].to_numpy(str), index["polygon"].to_numpy(str)


def test_judge_counts_gain_and_recovered_drop():
    _, index = world()
    right = np.full((len(index), 17), 0.01)
    right[np.arange(len(index)), index["label"] - 1] = 0.84
    wrong = np.roll(right, 1, axis=1)
    cities = index["city"].to_numpy(str)
    cured = {c: {"nothing": wrong[cities == c], "cure": right[cities == c]} for c in np.unique(cities)}
    inside = dict.fromkeys(cured, 1.0)
    out = r.judge(cured, index, inside, draws=50)
    assert out["cure"]["gain"] == out["cure"]["recovered"] == (1, 1, 1)
    assert out["nothing"]["recovered"].value == 0
    assert set(out[r.CHOSEN]["names"].values()) == {"cure"}
    fused = r.fuse_chosen({"s2": cured, "ge": cured}, {"s2": out, "ge": out}, dict.fromkeys(cured, 0.5))
    assert r.judge(fused, index, inside, draws=20)["both streams"]["gain"].value == 1


def test_labels_and_uneven_zones_on_trained_models(trained):
    x, index, results = trained
    models = {c: v.model for c, v in results.items()}
    uneven = r.uneven_frequencies(models, _Pairs(x, index))
    assert set(uneven) == {"nothing", "batch-norm statistics", "batch-norm, half", "mean and spread"}
    few = r.few_labels(models, _Pairs(x, index), [2], {"epochs": 1, "precision": "fp32"}, draws=20)
    assert list(few) == ["0", "0, batch-norm", "2"]
    assert all(0 <= row["oa"].value <= 1 for row in few.values())
    lone = index.assign(polygon=index["city"] + index["label"].astype(str))
    assert r.few_labels(models, _Pairs(x, lone), [2], {}) == {}
