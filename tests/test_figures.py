"""The figures of the evaluation, on small made-up streams."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lczlib import fusion, metrics
from lczlib.figures import STREAM_COLORS, TWO_COLUMNS, primitives, use_style
from lczlib.figures import evaluation as ev
from lczlib.figures import transfer as tr
from lczlib.metrics import Interval
from lczlib.predictions import Predictions
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


def as_predictions(p, labels):
    frame = {"id": np.arange(len(labels)), "split": "test", "city": "a", "polygon": "", "label": labels}
    return Predictions(pd.DataFrame(frame), p)


def evaluation_figures(p, labels):
    groups, some = np.arange(len(labels)) // 3, Interval(0.1, 0.0, 0.2)
    s2, ge = as_predictions(p["s2"], labels), as_predictions(p["ge"], labels)
    curve, zones, cities = (fusion.sweep(s2, ge, by, np.linspace(0, 1, 5), draws=20) for by in (None, "zone", "city"))
    cms = {s: metrics.confusion(labels, fusion.predicted(q)) for s, q in p.items()}
    panels = {s: metrics.reliability(labels, q, 5, groups, 20) for s, q in p.items()}
    scores = {s: metrics.calibration(labels, q) for s, q in p.items()}
    by_city = {c: {"seen": 0.8, "unseen": 0.6, "drop": 0.2, "n": 9} for c in ("synthetic-1", "synthetic-2")}
    drop = {s: {"seen": some, "unseen": some, "drop": some, "by_city": by_city} for s in p}
    table = pd.DataFrame(
        {"spectra": [0.1, 0.3], "node colours": [0.2, 0.1], "drop s2": [0.0, 0.1], "drop ge": [0.1, 0]}
    )
    named, at = {"oa": some, "kappa": some}, {0: some, 1: some}
    rgb, s2_patch = np.zeros((320, 320, 3), np.uint8), np.zeros((32, 32, 10))
    return {
        "alpha": ev.alpha_curve({"validation": curve, "test": curve}, 0.5, "t"),
        "published": ev.alpha_curve(
            {"validation": curve, "test": curve}, 0.5, "t", {"alpha": [0, 1], "oa": [0.5, 0.6]}
        ),
        "by group": ev.alpha_by_group(zones, cities, "t"),
        "confusion": ev.confusion_matrices(cms, "t"),
        "gain": ev.zone_gain({s: metrics.f1(c) for s, c in cms.items()}, [some] * 17, "t"),
        "measures": ev.measures(dict.fromkeys(p, named), named, "t"),
        "reliability": ev.reliability_diagrams(panels, scores, "t"),
        "pictures": primitives.pictures({"RGB": [rgb] * 2, "Sentinel-2": [s2_patch] * 2}, ["a", "b"], "t"),
        "one row": primitives.pictures({"": [s2_patch] * 3}, ["a", "b", "c"], "t"),
        "rows": primitives.rows_of_intervals({"one": named, "two": {"a": some}}, "t", "x"),
        "drops": tr.drops(drop, "t"),
        "why": tr.shift_against_drop(table.set_index(pd.Index(by_city)), {"spectra": "a", "node colours": "b"}, "t"),
        "along": tr.along_shift(dict.fromkeys(p, at), {"CORAL": at}, "t"),
    }


def test_every_figure_is_readable_at_a_column_width(streams):
    import matplotlib.pyplot as plt
    from matplotlib.text import Text

    for name, fig in evaluation_figures(*streams).items():
        assert isinstance(fig, Figure), name
        assert fig.get_figwidth() <= TWO_COLUMNS, name
        fig.canvas.draw()
        small = [t.get_text() for t in fig.findobj(Text) if t.get_text().strip() and t.get_fontsize() < 7]
        assert not small, (name, small)
        assert fig.get_suptitle() == "t", name
        plt.close(fig)


def test_the_alpha_curve_marks_ends_and_both_alphas(streams):
    p, labels = streams
    s2, ge = as_predictions(p["s2"], labels), as_predictions(p["ge"], labels)
    curve = fusion.sweep(s2, ge, alphas=np.linspace(0, 1, 5), draws=10)
    ax = ev.alpha_curve({"validation": curve, "test": curve}, 0.75, "t").axes[0]
    names = [t.get_text() for t in ax.get_legend().get_texts()]
    assert {"Sentinel-2 alone", "Google Earth alone", r"published $\alpha$ = 0.60", r"chosen $\alpha$ = 0.75"} <= set(
        names
    )


def test_confusion_shows_every_pair_as_a_count(streams):
    p, labels = streams
    cms = {s: metrics.confusion(labels, fusion.predicted(q)) for s, q in p.items()}
    axes = ev.confusion_matrices(cms, "t").axes
    for ax, cm in zip(axes, cms.values()):
        assert sum(int(t.get_text()) for t in ax.texts if t.get_text()) == cm.sum() == len(labels)
        assert [t.get_text() for t in ax.get_xticklabels()] == list(CODES)
    moved = [int(t.get_text()) for t in axes[3].texts if t.get_text()]
    assert sum(moved) == 0
    assert sum(abs(m) for m in moved) > 0


def test_the_papers_values_stand_beside_ours_where_they_are_known(streams):
    p, labels = streams
    cms = {s: metrics.confusion(labels, fusion.predicted(q)) for s, q in p.items()}
    shares = cms["ge"] / cms["ge"].sum(1, keepdims=True)  # the paper may give shares
    axes = ev.confusion_matrices(cms, "t", {"ge": shares, "fused": cms["fused"]}).axes
    titles = [ax.get_title(loc="left") for ax in axes]
    assert titles[3] == "fused minus Sentinel-2"
    assert [title.split(":")[0] for title in titles[4:]] == ["Google Earth, published", "fused, published"]
    some = Interval(0.1, 0.0, 0.2)
    row = {"seen": some, "unseen": some, "drop": some, "by_city": {"a": {"seen": 0.8, "unseen": 0.6}}}
    left = tr.drops({"s2": row}, "t", {"oa_inside": 0.75, "oa_outside": 0.5}).axes[0]
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["Sentinel-2", "the paper"]
    assert left.texts[-1].get_text() == "drop\n+25.0"


def test_each_stream_keeps_its_colour():
    assert len(set(STREAM_COLORS.values())) == len(STREAM_COLORS)
    assert set(STREAM_COLORS) == {"s2", "ge", "fused", "forest"}
