"""One loop for both streams: learns, resumes to the bit, keeps the best, is found again, leaves no trace."""

import json
import shutil
import threading
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from lczlib import training
from lczlib.data.splits import Split
from lczlib.errors import InputError
from lczlib.graphs import GraphSet
from lczlib.models import load_stream
from lczlib.models.inference import load_model, make_model, predict, reestimate_batch_norm
from lczlib.runs import file_lock, find_run, write_json
from lczlib.training import Recipe, train_stream

S2 = Recipe.of("published", "s2", epochs=4, batch_size=16, width=4, batch_norm_momentum=0.8, thin_training=True)
GE = Recipe.of("published", "ge", epochs=5, batch_size=16)
ZONES = (1, 2, 11, 17)


def world(n: int = 96, seed: int = 0):
    """Pairs of four zones whose colours differ: patches, graphs, index, split."""
    rng = np.random.default_rng(seed)
    labels = np.array(ZONES)[np.arange(n) % len(ZONES)]
    spectra = np.linspace(0.1, 0.5, 18)[labels][:, None] + 0.1 * np.sin(labels[:, None] + np.arange(10))
    s2 = (spectra[:, None, None] + rng.normal(0, 0.05, (n, 32, 32, 10))).astype(np.float32)
    nodes = rng.integers(1, 12, n)
    x = rng.random((n, 50, 5), dtype=np.float32)
    x[..., :3] = x[..., :3] * 0.2 + labels[:, None, None] / 20
    x *= np.arange(50)[None, :, None] < nodes[:, None, None]
    ids = np.arange(n) + 1000
    index = pd.DataFrame({"id": ids, "label": labels, "city": "synthetic-1", "polygon": "p"})
    split = Split(ids[: n // 2], ids[n // 2 : 3 * n // 4], ids[3 * n // 4 :], "sample_pool")
    return s2, GraphSet(ids, x, nodes), index, split


def train(stream: str, folder, recipe=None, seed: int = 0, **changes):
    s2, graphs, index, split = world()
    recipe = replace(recipe or {"s2": S2, "ge": GE}[stream], **changes)
    name, inputs = {"s2": ("resnet3d11", s2), "ge": ("gcn", graphs)}[stream]
    return train_stream(stream, name, inputs, index, split, recipe, seed, folder)


def same_weights(a, b) -> bool:
    states = a.model.state_dict(), b.model.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_training_that_another_process_does_is_waited_for_not_repeated(tmp_path):
    first = train("ge", tmp_path / "a")
    first.history.assign(lr=7.0).to_csv(first.run.path / "history.csv", index=False)  # how to know it again
    started, said = threading.Event(), []

    def second():
        started.set()
        said.append(train("ge", tmp_path / "b"))

    waiting = threading.Thread(target=second)
    elsewhere = tmp_path / "b" / "runs" / first.run.path.name
    with file_lock(elsewhere / "training"):
        waiting.start()
        started.wait()
        time.sleep(0.5)
        assert not (elsewhere / "checkpoint.pt").exists()
        shutil.copytree(first.run.path, elsewhere, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
    waiting.join()
    assert (said[0].history["lr"] == 7.0).all()


@pytest.mark.parametrize("stream", ["s2", "ge"])
def test_learns_and_predicts_every_pair_of_the_split(stream, tmp_path):
    result = train(stream, tmp_path, epochs=8)
    assert list(result.history.columns) == list(training.HISTORY)
    assert result.history["loss"].iloc[-1] < 0.8 * result.history["loss"].iloc[0]
    assert result.history["val_accuracy"].max() > 0.6
    predictions = result.predictions
    assert (predictions.frame["split"].value_counts()[["train", "validation", "test"]] == [48, 24, 24]).all()
    validation = predictions.select(split="validation")
    best = (validation.predicted == validation.labels).mean()
    assert best == pytest.approx(result.history["val_accuracy"].max(), abs=1 / 24 + 1e-9)


class Killed(Exception):
    pass


@pytest.mark.parametrize(("stream", "epoch"), [("s2", 1), ("s2", 4), ("ge", 1), ("ge", 2), ("ge", 3), ("ge", 5)])
def test_killed_after_any_epoch_it_ends_with_the_same_weights(stream, epoch, tmp_path, monkeypatch):
    whole = train(stream, tmp_path / "whole")
    save = training._Training._save

    def save_and_die(self):
        save(self)
        if len(self.history) == epoch:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(training._Training, "_save", save_and_die)
        with pytest.raises(Killed):
            train(stream, tmp_path / "cut")
    assert not list((tmp_path / "cut" / "runs").glob("*/run.json"))
    torch.rand(11)  # whatever was drawn in between does not matter
    resumed = train(stream, tmp_path / "cut")
    assert same_weights(whole, resumed)
    pd.testing.assert_frame_equal(whole.history, resumed.history)
    np.testing.assert_array_equal(whole.predictions.p, resumed.predictions.p)


def test_finished_training_is_found_again_and_changes_are_not(tmp_path, monkeypatch):
    first = train("ge", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(training._Training, "__init__", lambda *a, **k: pytest.fail("trained again"))
        again = train("ge", tmp_path)
    assert same_weights(first, again)
    np.testing.assert_array_equal(first.predictions.p, again.predictions.p)
    assert train("ge", tmp_path, seed=1).run.path != first.run.path
    assert train("ge", tmp_path, learning_rate=0.02).run.path != first.run.path
    _s2, graphs, index, split = world()
    graphs.x[3, 0, 0] += 0.01
    assert train_stream("ge", "gcn", graphs, index, split, GE, 0, tmp_path).run.path != first.run.path


def test_graphs_are_joined_by_id(tmp_path):
    _s2, graphs, index, split = world()
    order = np.random.default_rng(0).permutation(len(graphs))
    mixed = train_stream("ge", "gcn", graphs[order], index, split, GE, 0, tmp_path / "a")
    assert same_weights(mixed, train("ge", tmp_path / "b"))
    with pytest.raises(ValueError, match="no graph for pair 1005"):
        train_stream("ge", "gcn", graphs[np.delete(np.arange(96), 5)], index, split, GE, 0, tmp_path)


def test_faults_of_the_caller_are_named(tmp_path):
    s2, _graphs, index, split = world()
    with pytest.raises(ValueError, match="95 patches for 96 rows"):
        train_stream("s2", "resnet3d11", s2[1:], index, split, S2, 0, tmp_path)
    with pytest.raises(ValueError, match="no pair to train on"):
        train_stream("s2", "resnet3d11", s2, index, Split(*np.array([[1], [2], [3]]), "x"), S2, 0, tmp_path)
    with pytest.raises(ValueError, match="stream"):
        train_stream("s2", "resnet3d11", s2, index, split, GE, 0, tmp_path)
    with pytest.raises(ValueError, match="unknown network"):
        train_stream("s2", "resnet1001", s2, index, split, S2, 0, tmp_path)
    with pytest.raises(ValueError, match=r"no finished run there, run\.json is missing"):
        load_model(tmp_path / "nowhere")


def test_damaged_checkpoint_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(training._Training, "_write", lambda *a: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        train("ge", tmp_path)
    (checkpoint,) = tmp_path.glob("runs/*/checkpoint.pt")
    checkpoint.write_bytes(checkpoint.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"checkpoint\.pt: damaged"):
        train("ge", tmp_path)
    for other in ({}, [1], {"model": {}}):
        torch.save(other, checkpoint)
        with pytest.raises(InputError, match=r"checkpoint\.pt: damaged .*; delete it and run again"):
            train("ge", tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "predictions.npz", "history.csv", "run.json"])
@pytest.mark.parametrize("content", ["cut short", "empty", "gone"])
def test_the_remedy_for_a_damaged_run_works(tmp_path, name, content):
    first = train("ge", tmp_path, epochs=2)
    path = first.run.path / name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content == "cut short" else b"")
    if content == "gone":
        path.unlink()
    if (content, name) != ("gone", "run.json"):  # which would be another training that is not finished
        with pytest.raises(InputError, match=r"ge-gcn-\w+: the run is damaged .*; delete that folder and train again"):
            train("ge", tmp_path, epochs=2)
        shutil.rmtree(first.run.path)
    assert same_weights(first, train("ge", tmp_path, epochs=2))


@pytest.mark.parametrize(
    "change", [{"features": 5}, {"features": "10"}, {"stream": ["s2"]}, {"stream": "rgb"}, {"model": 5}, {"recipe": []}]
)
def test_a_run_that_is_no_stream_is_named(tmp_path, change):
    run = train("s2", tmp_path, epochs=1).run
    noted = json.loads((run.path / "run.json").read_text())
    write_json(run.path / "run.json", {"params": noted["params"] | change})
    with pytest.raises(InputError, match=r"run\.json .*; (delete that folder|give a run)"):
        load_stream(run.path)


def test_patience_stops_and_the_best_is_kept(tmp_path):
    result = train("ge", tmp_path, epochs=40, patience=2, learning_rate=0.2)
    losses = result.history["val_loss"].to_numpy()
    assert len(losses) < 40
    assert losses[-2:].min() >= losses[:-2].min()


def test_without_validation_the_last_weights_are_kept(tmp_path):
    _s2, graphs, index, split = world()
    split = Split(split.train, np.array([], np.int64), split.test, "sample_pool")
    result = train_stream("ge", "gcn", graphs, index, split, GE, 0, tmp_path)
    assert len(result.history) == GE.epochs
    assert result.history["val_loss"].isna().all()


def test_precise_batch_norm_changes_statistics_only(tmp_path):
    plain, precise = train("s2", tmp_path), train("s2", tmp_path, precise_batch_norm=True)
    assert not same_weights(plain, precise)
    for name, value in plain.model.named_parameters():
        assert torch.equal(value, dict(precise.model.named_parameters())[name])
    s2, _graphs, index, split = world()
    expected = reestimate_batch_norm(plain.model, s2[index["id"].isin(split.train)])
    np.testing.assert_allclose(precise.predictions.p, predict(expected, s2), atol=1e-5)
    assert np.allclose(plain.predictions.p, predict(plain.model, s2), atol=1e-5)


def test_bf16_is_a_switch(tmp_path):
    low = train("s2", tmp_path, precision="bf16", epochs=2)
    full = train("s2", tmp_path, epochs=2)
    assert low.history["loss"].iloc[-1] == pytest.approx(full.history["loss"].iloc[-1], rel=0.1)
    assert low.history["loss"].iloc[-1] != full.history["loss"].iloc[-1]


def test_predict_is_the_network_itself():
    s2, graphs, _index, _split = world(20)
    torch.manual_seed(0)
    model = make_model("resnet3d11", S2, 10).eval()
    with torch.no_grad():
        expected = model(torch.from_numpy(s2).permute(0, 3, 1, 2)).softmax(1).numpy()
    p = predict(model, s2, batch_size=7)
    assert p.dtype == np.float64
    np.testing.assert_allclose(p, expected, atol=1e-6)
    np.testing.assert_allclose(predict(model, s2, precision="bf16"), expected, atol=0.02)
    gcn = make_model("gcn", GE, 5)
    np.testing.assert_allclose(predict(gcn, graphs).sum(1), 1)


def test_graphs_are_mirrored_turned_and_brightened():
    x = torch.tensor([[[0.2, 0.4, 0.6, 0.1, 0.3], [0.9, 0.5, 0.1, 0.5, 0.5], [0, 0, 0, 0, 0]]])
    nodes, yes, no = torch.tensor([2]), torch.tensor([True]), torch.tensor([False])
    same, _ = training.augment_graphs(x, nodes, torch.tensor([[False, False]]), no)
    assert torch.equal(same, x)
    mirrored, _ = training.augment_graphs(x, nodes, torch.tensor([[True, False]]), no)
    assert torch.allclose(mirrored[0, :, 3:], torch.tensor([[0.9, 0.3], [0.5, 0.5], [0, 0]]))
    turned, _ = training.augment_graphs(x, nodes, torch.tensor([[False, True]]), yes)
    assert torch.allclose(turned[0, :, 3:], torch.tensor([[0.7, 0.1], [0.5, 0.5], [0, 0]]))
    assert torch.equal(turned[..., :3], x[..., :3])
    bright, _ = training.brighten(x, nodes, torch.log(torch.tensor([2.0])))
    assert torch.allclose(bright[0, 0], torch.tensor([0.4, 0.8, 1.0, 0.1, 0.3]))
    assert torch.equal(bright[0, 2], x[0, 2])


def test_light_is_for_graphs_only():
    with pytest.raises(ValueError, match="light"):
        training.Recipe.of("published", "s2", light=0.1)


def test_augmentation_turns_and_flips_about_the_centre():
    x = torch.rand(4, 3, 32, 32)
    none, right = torch.zeros(4), torch.full((4,), torch.pi / 2)
    off = torch.zeros(4, 2, dtype=torch.bool)
    horizontal, vertical = (torch.tensor([flip] * 4) for flip in ([True, False], [False, True]))
    assert torch.allclose(training.augment_patches(x, off, none), x, atol=1e-5)
    assert torch.allclose(training.augment_patches(x, horizontal, none), x.flip(3), atol=1e-4)
    assert torch.allclose(training.augment_patches(x, vertical, none), x.flip(2), atol=1e-4)
    assert torch.allclose(training.augment_patches(x, off, right), x.rot90(1, (2, 3)), atol=1e-4)
    tilted = training.augment_patches(x, off, none + 0.5)
    assert torch.isfinite(tilted).all()
    assert tilted.min() >= x.min()
    assert tilted.max() <= x.max()


def test_published_recipes_are_the_papers():
    s2, ge = Recipe.of("published", "s2"), Recipe.of("published", "ge")
    assert (s2.epochs, s2.batch_size, s2.patience, s2.width, s2.augment) == (100, 64, 15, 64, True)
    assert [s2.learning_rate_at(e) for e in (0, 4, 5, 10)] == [0.002, 0.002, 0.001, 0.0005]
    assert (ge.epochs, ge.batch_size, ge.patience, ge.width, ge.augment, ge.loss) == (100, 32, 20, 32, False, "sum")
    assert ge.learning_rate_at(99) == 0.01
    assert s2.departures() == ge.departures() == {}
    assert Recipe.of("published", "s2", epochs=3).departures() == {
        "epochs": {"meaning": "epochs at most", "here": 3, "paper": 100}
    }
    assert Recipe.of("demo", "s2", width=8).departures()["width"]["here"] == 8


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "int4"},
        {"epochs": 0},
        {"loss": "median"},
        {"batch_size": -1},
        {"width": 0},
        {"learning_rate": np.nan},
    ],
)
def test_impossible_recipes_are_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        Recipe.of("published", "s2", **changes)
    with pytest.raises(ValueError, match="s2 or ge"):
        Recipe.of("published", "rgb")


def test_nadam_takes_kerass_steps():
    """Nadam as Keras documents it, written out, on a quadratic bowl."""
    bowl = nn.Linear(1, 1, dtype=torch.float64)  # two tensors
    bowl.load_state_dict({"weight": torch.tensor([[3.0]]), "bias": torch.tensor([-2.0])})
    optimizer = training.Nadam(bowl, 0.01)
    v, m, s, product = np.array([3.0, -2.0]), 0.0, 0.0, 1.0
    for t in range(1, 31):
        optimizer.zero_grad()
        (bowl.weight.square().sum() + bowl.bias.square().sum()).backward()
        optimizer.step()
        g = 2 * v
        now, following = (0.9 * (1 - 0.5 * 0.96**step) for step in (t, t + 1))
        product *= now
        m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g**2
        m_hat = following * m / (1 - product * following) + (1 - now) * g / (1 - product)
        v = v - 0.01 * m_hat / (np.sqrt(s / (1 - 0.999**t)) + 1e-7)
    np.testing.assert_allclose([bowl.weight.item(), bowl.bias.item()], v, atol=1e-9)


def test_a_loss_that_is_not_finite_stops_it_and_the_last_good_state_is_kept(tmp_path):
    s2, _graphs, index, split = world()
    good = train_stream("s2", "resnet3d11", s2, index, split, replace(S2, epochs=1), 0, tmp_path / "good")
    fail = replace(S2, epochs=30, learning_rate=1e30)
    with pytest.raises(ValueError, match=r"^s2-resnet3d11-.*: the loss of epoch \d, training batch \d is not finite"):
        train_stream("s2", "resnet3d11", s2, index, split, fail, 0, tmp_path)
    broken = s2.copy()
    broken[index["id"].isin(split.validation).argmax(), 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"epoch 1, validation batch 1 is not finite.*check the inputs"):
        train_stream("s2", "resnet3d11", broken, index, split, S2, 0, tmp_path)
    assert good.run.done


def test_a_loss_that_breaks_late_leaves_the_checkpoint_of_the_epoch_before(tmp_path, monkeypatch):
    rate = Recipe.learning_rate_at
    monkeypatch.setattr(Recipe, "learning_rate_at", lambda self, epoch: rate(self, epoch) if epoch < 2 else np.nan)
    with pytest.raises(ValueError, match=r"epoch 3, .* \(the state after epoch 2 is kept\)"):
        train("ge", tmp_path)
    (checkpoint,) = tmp_path.glob("runs/*/checkpoint.pt")
    state = torch.load(checkpoint, weights_only=True)
    assert len(state["history"]) == 2
    assert all(value.isfinite().all() for value in state["model"].values())
    monkeypatch.undo()
    resumed = train("ge", tmp_path)
    assert same_weights(resumed, train("ge", tmp_path / "whole"))


def test_the_generators_threads_and_seeds_of_the_caller_are_left_alone(tmp_path):
    before = torch.get_num_threads()
    states = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    train("ge", tmp_path, epochs=1)
    assert torch.equal(states[0], torch.random.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert torch.get_num_threads() == before


def test_a_published_run_is_found_by_its_name_and_is_a_function_of_patches(tmp_path):
    s2, _graphs, index, _split = world()
    with pytest.raises(ValueError, match=r"s2_sample_pool_0: no run of that name; run notebook 02_train_sentinel2"):
        find_run(tmp_path, "s2_sample_pool_0")
    train("s2", tmp_path, epochs=1, seed=1).run.publish("s2_sample_pool_0", data="own city")
    result = train("s2", tmp_path, epochs=2)
    result.run.publish("s2_sample_pool_0", data="synthetic")
    summary = json.loads((result.run.path / "run.json").read_text())["summary"]
    assert summary["threads"] == torch.get_num_threads()  # another number trains another network
    assert find_run(tmp_path, "s2_sample_pool_0") == result.run.path
    stream = load_stream(tmp_path / "runs" / "s2_sample_pool_0")
    assert (stream.stream, stream.trained_on) == ("s2", "synthetic pairs")
    assert stream.folder == result.run.path
    rows = result.predictions.frame["id"].to_numpy() - index["id"].iloc[0]
    np.testing.assert_allclose(stream(s2[rows]), result.predictions.p, atol=1e-6)
    with pytest.raises(ValueError, match=r"nowhere: no finished run there, run\.json is missing; make one with"):
        load_stream(tmp_path / "nowhere")


def test_a_run_that_was_made_again_answers_with_its_new_weights(tmp_path):
    s2, run = world()[0][:2], train("s2", tmp_path, epochs=1).run.path
    before = load_stream(run)(s2)
    shutil.copy(train("s2", tmp_path, epochs=1, seed=1).run.path / "model.safetensors", run)
    assert np.abs(load_stream(run)(s2) - before).max() > 1e-3


def test_a_graph_run_makes_the_masks_it_was_trained_on(tmp_path):
    from lczlib.sam import MaskSettings

    result = train("ge", tmp_path, epochs=1)
    settings = MaskSettings.named("smoke")
    result.run.publish("ge_sample_pool_0", data="synthetic", sam="nano", masks="smoke", settings=vars(settings))
    stream = load_stream(find_run(tmp_path, "ge_sample_pool_0"))
    assert stream.masks == ("nano", settings)
    image = np.random.default_rng(0).integers(0, 255, (1, 320, 320, 3), np.uint8)
    np.testing.assert_allclose(stream(image).sum(1), 1)
