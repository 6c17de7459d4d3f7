"""Saving (stamp, bytes, numbers) and the figures of the evaluation, on small made-up streams."""

import json

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from lczlib import fusion, metrics
from lczlib.figures import ONE_COLUMN, STREAM_COLORS, TWO_COLUMNS, save_figure, use_style
from lczlib.figures import evaluation as ev
from lczlib.figures import transfer as tr
from lczlib.metrics import Interval
from lczlib.zones import CODES

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _style():
    use_style()


@pytest.fixture(scope="module")
def streams():
    rng = np.random.default_rng(0)
    labels = rng.integers(1, 18, 170)
    p = {}
    for name, skill in (("s2", 3.0), ("ge", 2.0)):
        e = np.exp(skill * np.eye(17)[labels - 1] + rng.normal(size=(170, 17)))
        p[name] = e / e.sum(1, keepdims=True)
    return p | {"fused": fusion.fuse(p["s2"], p["ge"], 0.6)}, labels


def plain_figure():
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots(figsize=(ONE_COLUMN, 2))
    ax.plot([0, 1], [0, 1])
    return fig


def save(fig, folder, kind="synthetic", numbers=None, **more):
    return save_figure(fig, "99_test", numbers or {"x": 1.0}, figures_dir=folder, kind=kind, **more)


def test_three_files_of_one_stem(tmp_path):
    numbers = {"a": np.float32(0.123456789), "b": [np.int64(3)], "c": float("nan"), "d": {"e": np.arange(2)}}
    path = save(plain_figure(), tmp_path, numbers=numbers, parameters={"k": 1}, seed=7, question="why?")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["99_test.json", "99_test.pdf", "99_test.png"]
    note = json.loads(path.with_suffix(".json").read_text())
    assert note["numbers"] == {"a": 0.123457, "b": [3], "c": None, "d": {"e": [0, 1]}}
    assert (note["seed"], note["question"], note["data"], note["parameters"]) == (7, "why?", "synthetic", {"k": 1})
    assert set(note["tolerance"]) == {"abs", "rel"}


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    for run in ("one", "two"):
        save(plain_figure(), tmp_path / run)
    for suffix in ("png", "pdf", "json"):
        a, b = (tmp_path / run / f"99_test.{suffix}" for run in ("one", "two"))
        assert a.read_bytes() == b.read_bytes()
    assert b"CreationDate" not in (tmp_path / "one/99_test.pdf").read_bytes()


@pytest.mark.parametrize(("kind", "stamped"), [("synthetic", True), ("LCZC-GES2", False), ("own city", False)])
def test_synthetic_is_said_in_the_picture(tmp_path, kind, stamped):
    fig = plain_figure()
    save(fig, tmp_path, kind)
    assert any("synthetic" in text.get_text() for text in fig.texts) == stamped


def test_png_has_the_width_of_a_column(tmp_path):
    from PIL import Image

    assert Image.open(save(plain_figure(), tmp_path)).width == round(300 * ONE_COLUMN)


def evaluation_figures(p, labels):
    groups = np.arange(len(labels)) // 3
    curve = fusion.sweep(p["s2"], p["ge"], labels, groups, np.linspace(0, 1, 5), draws=20)
    cms = {s: metrics.confusion(labels, fusion.predicted(q)) for s, q in p.items()}
    table = fusion.compare([p["s2"], p["ge"]], labels, [p["s2"], p["ge"]], labels, groups, draws=20)
    some = Interval(0.1, 0.0, 0.2)
    measured = {s: dict.fromkeys(("oa", "kappa"), some) for s in p}
    panel = metrics.reliability(labels, p["s2"]) | {"ece": 0.1, "color": "black"}
    rows = {s: {"in": some, "out": some, "drop": some, "in_city": [0.8, 0.7], "out_city": [0.6, 0.5]} for s in p}
    effect = {n: {"change_p": some} for n in ("nothing", "sun", "haze")}
    shift = {"synthetic-1": 0.1, "synthetic-2": 0.3, "synthetic-3": 0.2}
    return {
        "alpha": ev.alpha_curve({"validation": curve, "test": curve}, 0.5),
        "details": ev.alpha_details(np.eye(17, 5), curve["alpha"], {"a": curve["oa"]}, {"b": curve["oa"]}),
        "confusion": ev.confusion_matrices(cms),
        "gain": ev.zone_gain({s: metrics.f1(c) for s, c in cms.items()}, [some] * 17),
        "measures": ev.measures(measured),
        "methods": ev.methods(table, "sum, published 0.6"),
        "reliability": ev.reliability_diagrams({"one": panel, "two": panel}),
        "pairs": ev.pairs_grid([np.zeros((320, 320, 3), np.uint8)] * 2, [np.zeros((32, 32, 10))] * 2, ["a", "b"]),
        "transfer": tr.transfer(rows, ["synthetic-1", "synthetic-2"]),
        "splits": tr.splits({"random": {"s2": some, "ge": some}, "polygon": {"s2": some, "ge": some}}),
        "why": tr.why(effect, shift, shift, shift, shift),
        "bars": tr.bars({"one": {"a": some, "b": some}, "two": {"a": some}}, "gain"),
        "row": tr.patches_row([np.zeros((32, 32, 10))] * 3, ["a", "b", "c"]),
    }


def test_every_figure_is_a_figure_of_a_column_width(streams):
    import matplotlib.pyplot as plt

    for name, fig in evaluation_figures(*streams).items():
        assert isinstance(fig, Figure), name
        assert fig.get_figwidth() in (ONE_COLUMN, TWO_COLUMNS), name
        fig.canvas.draw()
        plt.close(fig)


def test_the_alpha_curve_marks_ends_and_both_alphas(streams):
    p, labels = streams
    curve = fusion.sweep(p["s2"], p["ge"], labels, labels, np.linspace(0, 1, 5), draws=10)
    ax = ev.alpha_curve({"validation": curve, "test": curve}, 0.75).axes[0]
    texts = " ".join(t.get_text() for t in ax.texts)
    assert "published 0.6" in texts
    assert "0.75" in texts
    names = [t.get_text() for t in ax.get_legend().get_texts()]
    assert {"Sentinel-2 alone", "Google Earth alone"} <= set(names)


def test_confusion_is_row_normalised_with_n_and_all_codes(streams):
    p, labels = streams
    cm = metrics.confusion(labels, fusion.predicted(p["s2"]))
    ax = ev.confusion_matrices({"s2": cm}).axes[0]
    shown = ax.images[0].get_array()
    np.testing.assert_allclose(shown.sum(1)[cm.sum(1) > 0], 1)
    assert [t.get_text() for t in ax.get_xticklabels()] == list(CODES)
    beside = [t.get_text() for t in ax.texts if t.get_position()[0] > 16.5]
    assert beside == [str(n) for n in cm.sum(1)]


def test_each_stream_keeps_its_colour():
    assert len(set(STREAM_COLORS.values())) == 3
    assert set(STREAM_COLORS) == {"s2", "ge", "fused"}
