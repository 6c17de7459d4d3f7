"""Remedies on shifts that were made on purpose, so that what they must undo is known."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from lczlib import remedies as r
from lczlib import transfer as t
from lczlib.data.splits import make_split, split_of_cities
from lczlib.graphs import GraphSet
from lczlib.models import InstanceGCN
from lczlib.models.inference import predict, reestimate_batch_norm
from lczlib.predictions import Predictions
from lczlib.recipe import Recipe
from lczlib.training import train_stream


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


RECIPE = Recipe.of(
    "demo",
    "s2",
    epochs=8,
    width=4,
    batch_size=8,
    batch_norm_momentum=0.8,
    halve_every=0,
    augment=False,
    precision="fp32",
    learning_rate=0.01,
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    x, index = world()
    graphs = GraphSet(index["id"].to_numpy(), np.repeat(x.mean((1, 2))[:, None, :5], 4, 1), np.full(len(x), 4))
    recipes = {"s2": RECIPE, "ge": Recipe.of("demo", "ge", epochs=3)}
    return t.Study(index, {"s2": x, "ge": graphs}, recipes, (0, 1), 3, tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def crossed(study):
    return study.crossed()


def test_folds_leave_every_city_out_once_and_test_every_pair_twice():
    _, index = world(cities=6)
    city = index.set_index("id")["city"]
    folds = t.city_folds(index, 3)
    assert sorted(c for fold in folds for c in fold) == sorted(index["city"].unique())
    assert {len(fold) for fold in folds} == {2}
    for fold, split in folds.items():
        assert not set(fold) & set(city[np.r_[split.train, split.validation]])
        assert set(index.loc[index["city"].isin(fold), "id"]) <= set(split.test)
    tested = np.concatenate([split.test for split in folds.values()])
    assert (np.bincount(tested) == 2).all()


def test_every_pair_is_predicted_with_its_city_seen_and_unseen(study, crossed):
    found, seeds = crossed
    assert list(found) == ["s2", "ge", "fused"]
    assert seeds.tolist() == [0] * 72 + [1] * 72
    results = study.results("s2", 0)
    for fold, result in results.items():
        own = result.predictions.select(split="test", city=fold[0])
        mine = found["s2"]["unseen"].p[:72][(study.index["city"] == fold[0]).to_numpy()]
        np.testing.assert_allclose(mine, own.p, atol=1e-6)
    for part in ("seen", "unseen"):
        assert found["s2"][part].labels.tolist() == study.index["label"].tolist() * 2
    assert not np.allclose(found["s2"]["seen"].p, found["s2"]["unseen"].p)


def test_named_predictions_are_read_instead_of_trained(study, crossed, tmp_path, monkeypatch):
    monkeypatch.setattr(t, "train_many", None)  # calling it would raise
    again, _ = study.crossed()
    np.testing.assert_array_equal(again["ge"]["seen"].p, crossed[0]["ge"]["seen"].p)
    with pytest.raises(TypeError):
        t.Study(study.index, study.inputs, study.recipes, (0,), 3, tmp_path).crossed()


def test_a_random_split_is_compared_on_the_same_pairs(study, crossed):
    random, apart, seeds = study.random_split()
    for stream in ("s2", "ge"):
        assert random[stream].labels.tolist() == apart[stream].labels.tolist()
        assert len(seeds) == len(random[stream])
    smallest = min(len(s.train) for s in t.city_folds(study.index, 3, 0).values())
    assert (Predictions.load(study.path("random", "s2", 0)).frame["split"] == "train").sum() == smallest


def test_further_seeds_repeat_a_published_recipe(study):
    pairs = SimpleNamespace(data_dir=Path("nowhere"), index=study.index)
    split = make_split(study.index, "polygon_pool", 0)
    result = train_stream(**study.job("ge", 0, split))
    result.run.publish("ge_polygon_pool_0")
    t.train_seeds(study.work_dir, "again_polygon_pool", "ge_polygon_pool_0", study.inputs["ge"], pairs, (0, 1))
    first, second = (
        Predictions.load(Path(study.work_dir, "predictions", f"again_polygon_pool_{k}.npz")) for k in (0, 1)
    )
    np.testing.assert_allclose(first.p, result.predictions.p, atol=1e-6)
    assert first.frame["split"].tolist() != second.frame["split"].tolist()


def test_alpha_of_a_city_is_chosen_in_the_others():
    _, index = world()
    right = np.full((len(index), 17), 0.01)
    right[np.arange(len(index)), index["label"] - 1] = 0.84
    wrong = np.roll(right, 1, axis=1)
    here = (index["city"] == "city-0").to_numpy()
    s2 = Predictions(index.assign(split="test"), np.where(here[:, None], right, wrong))
    ge = Predictions(index.assign(split="test"), np.where(here[:, None], wrong, right))
    fused = t.fuse_elsewhere(s2, ge)  # GE is right everywhere but in city-0, so city-0 gets GE's weight and is wrong
    assert (fused.predicted == fused.labels)[here].mean() == 0


def predictions(index, wrong):
    p = np.full((len(index), 17), 0.01)
    p[np.arange(len(index)), index["label"] - 1] = 0.84
    p[wrong] = np.roll(p[wrong], 1, axis=1)
    return Predictions(index.assign(split="test"), p)


def test_drop_by_hand_is_positive_for_a_loss():
    """72 pairs: with their city seen 6 are wrong, unseen the 24 of city-0: a drop of a quarter."""
    _, index = world()
    in_first = np.flatnonzero(index["city"] == "city-0")
    crossed = {"seen": predictions(index, in_first[:6]), "unseen": predictions(index, in_first)}
    d = t.accuracy_drop(crossed, draws=200)
    assert (d["seen"].value, d["unseen"].value) == pytest.approx((66 / 72, 48 / 72))
    assert d["drop"].value == pytest.approx(0.25)
    assert d["by_city"]["city-0"] == pytest.approx({"seen": 0.75, "unseen": 0.0, "drop": 0.75, "n": 24})
    assert d["by_city"]["city-1"]["drop"] == 0


def test_gain_of_remedies_by_hand():
    _, index = world()
    bad = np.flatnonzero(index["id"] % 2 == 0)  # half of each city
    remedies = {"none": bad, "half": bad[::2], "harm": slice(None)}
    remedies = {name: predictions(index, wrong) for name, wrong in remedies.items()}
    out = t.score_remedies(remedies, draws=50)
    assert [out[name]["gain"].value for name in remedies] == pytest.approx([0, 0.25, -0.5])
    assert out["half"]["oa"].value == pytest.approx(0.75)


@pytest.mark.parametrize("align", [r.align_moments, r.align_coral])
def test_alignment_undoes_gain_and_offset(align):
    x, _ = world()
    shifted = (x * np.linspace(0.7, 1.4, 10) + 0.05).astype(np.float32)
    back = align(shifted, x)
    assert back.shape == x.shape
    assert back.dtype == np.float32
    assert np.abs(back - x).mean() < 0.15 * np.abs(shifted - x).mean()
    assert np.abs(back.mean((0, 1, 2)) - x.mean((0, 1, 2))).max() < 2e-3


def test_coral_undoes_mixed_bands_and_equals_an_eigendecomposition():
    x, _ = world()
    mixed = x @ (np.eye(10) + 0.3 * np.random.default_rng(1).normal(size=(10, 10)))
    found = r.align_coral(mixed, x)
    a, b = found.reshape(-1, 10), x.reshape(-1, 10)
    np.testing.assert_allclose(np.cov(a.T), np.cov(b.T), atol=1e-3)

    def power(c, exponent):
        values, vectors = np.linalg.eigh(c + 1e-7 * np.trace(c) / len(c) * np.eye(len(c)))
        return (vectors * values**exponent) @ vectors.T

    m, s = mixed.reshape(-1, 10).astype(float), b.astype(float)
    by_hand = (m - m.mean(0)) @ power(np.cov(m.T), -0.5) @ power(np.cov(s.T), 0.5) + s.mean(0)
    np.testing.assert_allclose(a, by_hand, atol=1e-6)


def test_nodes_are_aligned_and_padding_stays():
    rng = np.random.default_rng(0)
    nodes = rng.integers(1, 6, 30)
    x = rng.random((30, 5, 5)).astype(np.float32) * (np.arange(5) < nodes[:, None])[..., None]
    source = GraphSet(np.arange(30), x, nodes)
    shifted = GraphSet(np.arange(30), (x * np.float32(0.6)), nodes)
    back = r.align(shifted, source, r.align_moments)
    np.testing.assert_allclose(back.x[back.valid, :3], source.x[source.valid, :3], atol=1e-5)
    assert np.array_equal(back.x[..., 3:], shifted.x[..., 3:])
    assert (back.x[np.arange(5) >= nodes[:, None]] == 0).all()
    assert np.array_equal(shifted.x, x * np.float32(0.6))  # the input is not changed


def test_shift_by_hand_and_by_city():
    source = np.array([[0.15, 1.0], [0.25, 3.0]])  # mean 0.20, spread 0.05; mean 2, spread 1
    np.testing.assert_allclose(t.standardised_shift(np.array([[0.26, 2.0]]), source), [1.2, 0], atol=1e-6)
    x, index = world()
    x[(index["city"] == "city-2").to_numpy()] += 0.3
    graphs = GraphSet(index["id"].to_numpy(), np.random.default_rng(0).random((len(x), 4, 5)), np.full(len(x), 4))
    table = t.domain_shift(SimpleNamespace(s2=x, cities=index["city"].to_numpy(str)), graphs)
    assert table["spectra"].idxmax() == "city-2"
    assert table["node colours"].max() < 0.3
    assert table["pairs"].tolist() == [24, 24, 24]
    assert t.correlation([1, 2, 3, 4], [2, 4, 6, 8.1]).low > 0.9


def test_every_remedy_gives_probabilities_in_the_order_of_the_predictions(study, crossed):
    adapted = {s: r.adapt_cities(study, s) for s in ("s2", "ge")}
    assert list(adapted["s2"]) == ["none", "batch-norm", "moments", "CORAL"]
    assert list(adapted["ge"]) == ["none", "moments", "CORAL"]
    for stream, of_stream in adapted.items():
        unseen = crossed[0][stream]["unseen"]
        np.testing.assert_allclose(of_stream["none"].p, unseen.p, atol=1e-5)
        assert all(p.labels.tolist() == unseen.labels.tolist() for p in of_stream.values())


def test_remedies_bring_back_a_shifted_city(study):
    x, index = study.inputs["s2"], study.index
    labels, model = index["label"].to_numpy(), study.blind_models("s2", 0)["city-2"]
    rows = np.flatnonzero(index["city"] == "city-2")
    mean = [x[labels == z].mean((0, 1, 2)) for z in (1, 2)]
    far = x[rows] + mean[1] - mean[0]  # zone 1 looks as zone 2 did

    def oa(m, inputs):
        return (predict(m, inputs).argmax(1) + 1 == labels[rows]).mean()

    p = r.adapt(model, far, x[index["city"] != "city-2"])
    assert (p["moments"].argmax(1) + 1 == labels[rows]).mean() > oa(model, far)
    assert oa(r.fine_tune(model, far, labels[rows], epochs=8, learning_rate=3e-3), far) > oa(model, far)


def test_fine_tune_freezes_statistics_repeats_and_takes_graphs(study):
    x, labels = study.inputs["s2"], study.index["label"].to_numpy()
    model = study.blind_models("s2", 0)["city-1"]
    a, b = (r.fine_tune(model, x[:20], labels[:20], epochs=1, seed=3) for _ in range(2))
    assert torch.equal(a.stem[1].running_mean, model.stem[1].running_mean)
    assert not torch.equal(a.head.weight, model.head.weight)
    assert torch.equal(a.head.weight, b.head.weight)
    tuned = r.fine_tune(InstanceGCN(), study.inputs["ge"], labels, epochs=1)
    assert predict(tuned, study.inputs["ge"]).shape == (72, 17)


def test_a_few_labels_never_share_a_polygon_with_the_tested(study):
    city = study.index[study.index["city"] == "city-1"]
    tests = []
    for k in (1, 3, 20):
        label, test = r.labelled_share(city, k)
        tests.append(test)
        frame = city.reset_index(drop=True)
        assert not set(frame.loc[label, "polygon"]) & set(frame.loc[test, "polygon"])
        assert frame.loc[label, "label"].value_counts().max() <= min(k, 4)
        assert set(frame.loc[test, "label"]) == {1, 2, 3, 4}
    assert all(np.array_equal(tests[0], other) for other in tests)
    model, x = study.blind_models("s2", 0)["city-1"], study.inputs["s2"][city.index]
    none, some = (r.few_labels(model, x, city, k, epochs=1) for k in (0, 2))
    assert none.frame["id"].tolist() == some.frame["id"].tolist() == city["id"].iloc[tests[0]].tolist()
    np.testing.assert_allclose(none.p, predict(model, x[tests[0]]), atol=1e-6)
    assert not np.allclose(none.p, some.p)
    lone = city.assign(polygon=city["label"].astype(str))  # one polygon of each zone: nothing to lend, nothing to test
    assert len(r.few_labels(model, x, lone, 2)) == 0


def test_more_cities_are_as_many_pairs_of_another_city_each_seed(study):
    _, index = world(cities=4, per_zone=12)
    sizes = {}
    for cities in (["city-1"], ["city-1", "city-2", "city-3"]):
        split = split_of_cities(index, "city-0", cities, 5)
        city = index.set_index("id")["city"]
        assert set(city[split.test]) == {"city-0"}
        assert len(split.test) == 48
        assert set(city[np.concatenate([split.train, split.validation])]) == set(cities)
        sizes[len(cities)] = len(split.train)
    assert 0.75 < sizes[3] / sizes[1] < 1.34
    tested = study.more_cities([1, 2])
    assert {n: set(p.frame["city"]) for n, p in tested.items()} == {n: {"city-0", "city-1"} for n in (1, 2)}
    assert all(len(p) == 48 for p in tested.values()), "seed 0 leaves out city-0, seed 1 city-1"


def test_gains_are_of_every_remedy(study):
    found = r.gains(study, 2, 1, [1, 2], draws=20)
    assert list(found) == ["batch-norm", "moments", "CORAL", "2 labels a zone", "2 cities for 1"]
    unseen, adapted = study.crossed()[0]["s2"]["unseen"], r.adapt_cities(study, "s2")["CORAL"]
    right = [(p.predicted == p.labels).mean() for p in (adapted, unseen)]
    assert found["CORAL"].value == pytest.approx(right[0] - right[1])


def test_a_remedy_is_chosen_without_the_citys_labels():
    """The first shines in city-0 only, which must not choose it for city-0."""
    _, index = world()
    elsewhere = np.flatnonzero(index["city"] != "city-0")
    shines, even = predictions(index, elsewhere), predictions(index, np.flatnonzero(index["id"] % 5 < 3))
    chosen, names = t.choose_elsewhere({"shines": shines, "even": even})
    assert names == {"city-0": "even", "city-1": "shines", "city-2": "shines"}
    here = (index["city"] == "city-0").to_numpy()
    np.testing.assert_array_equal(chosen.p[here], even.p[here])
    np.testing.assert_array_equal(chosen.p[~here], shines.p[~here])


def test_batch_norm_statistics_become_the_targets(study):
    x, model = study.inputs["s2"], study.blind_models("s2", 0)["city-0"]
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
