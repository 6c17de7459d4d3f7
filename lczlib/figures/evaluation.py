"""Figures of the evaluation: alpha, confusion, gain per zone, measures, reliability, designs and what they cost."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from lczlib.figures.base import ONE_COLUMN, STREAM_COLORS, STREAM_NAMES, TWO_COLUMNS
from lczlib.figures.primitives import GREY, INK, headline, intervals, percent, side_by_side, zone_axis
from lczlib.fusion import PUBLISHED_ALPHA
from lczlib.metrics import Interval
from lczlib.zones import CODES, K


def alpha_curve(
    curves: Mapping[str, pd.DataFrame], chosen: float, title: str, published: Mapping | None = None
) -> Figure:
    """Accuracy along alpha on validation and test; the single streams are the two ends.

    Args:
        curves: "validation" and "test" to `fusion.sweep`'s table. chosen: alpha chosen on validation.
        published: {"alpha", "oa"} of the paper's curve where it is known.
    """
    fig, ax = plt.subplots(figsize=(ONE_COLUMN * 1.4, 3.0))
    v, t = curves["validation"], curves["test"]
    ax.fill_between(t["alpha"], t["low"], t["high"], color=INK, alpha=0.13, lw=0)
    ax.plot(t["alpha"], t["value"], color=INK, label=f"test, {t['n'][0]} pairs, 95 % interval")
    ax.plot(v["alpha"], v["value"], color=GREY, ls="--", lw=1, label=f"validation, {v['n'][0]} pairs")
    if published:
        ax.plot(published["alpha"], published["oa"], "-.", color="#555555", lw=1, label="the paper")
    for stream, row in (("ge", t.iloc[0]), ("s2", t.iloc[-1])):
        style = {"ms": 5, "zorder": 5, "clip_on": False, "label": f"{STREAM_NAMES[stream]} alone"}
        intervals(ax, [row[["value", "low", "high"]]], [row["alpha"]], STREAM_COLORS[stream], True, **style)
    for x, text, style in ((PUBLISHED_ALPHA, "published", ":"), (chosen, "chosen", "-")):
        ax.axvline(x, color=GREY, lw=0.9, ls=style, zorder=0, label=rf"{text} $\alpha$ = {x:.2f}")
    ax.set(xlabel=r"$\alpha$, weight of the Sentinel-2 stream", ylabel="overall accuracy", xlim=(-0.02, 1.02))
    percent(ax)
    ax.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=2)
    return headline(fig, title)


def alpha_by_group(zones: pd.DataFrame, cities: pd.DataFrame, title: str, least: int = 50) -> Figure:
    """Left: F1 of each zone along alpha, against alpha = 0.5; right: accuracy in each city that has `least` pairs.

    Args:
        zones, cities: of `fusion.sweep(by=...)`.
    """
    enough = cities[cities["n"] >= least]
    size = (TWO_COLUMNS if len(enough) else ONE_COLUMN * 1.4, 3.6)
    fig, axes = plt.subplots(1, 1 + bool(len(enough)), figsize=size, squeeze=False)
    f1 = zones.pivot(index="zone", columns="alpha", values="value")
    delta = f1.sub(f1[min(f1, key=lambda a: abs(a - 0.5))], axis=0)
    span = float(np.nanmax(np.abs(delta))) or 1.0
    left = axes[0, 0]
    image = left.imshow(delta, aspect="auto", cmap="PuOr", vmin=-span, vmax=span, extent=(0, 1, K - 0.5, -0.5))
    zone_axis(left, "y")
    left.set(xlabel=r"$\alpha$", title=r"F1 of each zone against $\alpha=0.5$")
    fig.colorbar(image, ax=left, shrink=0.8)
    for k, (city, rows) in enumerate(enough.groupby("city")):
        name = f"{city} ({rows['n'].iloc[0]})"
        axes[0, 1].plot(rows["alpha"], rows["value"], lw=1, color=plt.cm.Dark2(k % 8), label=name)
    if len(enough):
        axes[0, 1].set(xlabel=r"$\alpha$", ylabel="accuracy", title="in each city (test pairs)")
        axes[0, 1].legend(fontsize=7, ncols=2)
        percent(axes[0, 1])
    return headline(fig, title)


def _matrix(ax: Axes, values: np.ndarray, numbers: np.ndarray, **style) -> None:
    """A table of 17 zones with its numbers printed, built zones parted from land cover types."""
    sns.heatmap(values, annot=numbers, fmt="", ax=ax, cbar=False, annot_kws={"size": 7}, **style)
    for axis in "xy":
        zone_axis(ax, axis, 0.5)
    ax.axhline(10, color="#666666", lw=0.7)
    ax.axvline(10, color="#666666", lw=0.7)
    ax.set(xlabel="predicted", ylabel="reference")


def confusion_matrices(matrices: Mapping[str, np.ndarray], title: str, published: Mapping | None = None) -> Figure:
    """Counts of both streams and the fusion, shaded by the share of the row, and what the fusion changes.

    Args:
        matrices: "s2", "ge", "fused" to counts (17, 17), rows = reference.
        published: the paper's matrices by the same names, where they are known; each in a panel of its own.
    """
    panels = [(stream, STREAM_NAMES[stream], cm) for stream, cm in matrices.items()]
    panels += [(stream, f"{STREAM_NAMES[stream]}, published", cm) for stream, cm in (published or {}).items()]
    lines = -(-(len(panels) + 1) // 2)
    fig, axes = plt.subplots(lines, 2, figsize=(TWO_COLUMNS, 3.7 * lines))
    places = [*axes.flat[:3], *axes.flat[4:]]
    for ax, (stream, name, cm) in zip(places, panels):
        cm = np.asarray(cm)
        numbers = np.where(cm > 0, np.char.mod("%.3g", cm), "")
        _matrix(ax, cm / np.maximum(cm.sum(1, keepdims=True), 1e-9), numbers, cmap="Blues", vmin=0, vmax=1)
        ax.set_title(f"{name}: {np.trace(cm) / cm.sum():.1%} right", color=STREAM_COLORS[stream])
    for ax in places[len(panels) :]:
        ax.remove()
    change = matrices["fused"] - matrices["s2"]
    span = np.abs(change).max() or 1
    signed = np.where(change != 0, np.char.mod("%+d", change), "")
    _matrix(axes[1, 1], change, signed, cmap="PuOr", vmin=-span, vmax=span)
    axes[1, 1].set_title("fused minus Sentinel-2")
    return headline(fig, title)


def average_matrices(matrices: Mapping[str, np.ndarray], names: Mapping[str, str], title: str) -> Figure:
    """Matrices (17, 17) of any number of methods: per cent of each row, whose number of pairs stands at the right."""
    lines = -(-len(matrices) // 2)
    fig, axes = plt.subplots(lines, 2, figsize=(TWO_COLUMNS, 3.7 * lines), squeeze=False)
    for ax in axes.flat[len(matrices) :]:
        ax.remove()
    for ax, (name, cm) in zip(axes.flat, matrices.items()):
        n, cm = np.sum(cm, 1), np.asarray(cm)
        share = 100 * cm / np.maximum(n, 1e-9)[:, None]
        _matrix(ax, share, np.where(share >= 0.5, np.char.mod("%.0f", share), ""), cmap="Blues", vmin=0, vmax=100)
        ax.set_title(names[name], color=STREAM_COLORS[name])
        right = ax.secondary_yaxis("right", transform=None)
        right.set_yticks(np.arange(K) + 0.5, [f"{v:.1f}" if v else "" for v in n])
        right.tick_params(length=0)
    return headline(fig, title)


def resample_boxes(
    methods: Mapping[str, Mapping], measures: Sequence[str], names: Mapping[str, str], title: str
) -> Figure:
    """Above: measures of each method, a box over the resamples; below: F1 of each zone.

    Args:
        methods: {method: {measure: {"resamples": values}, "f1": {code: values}}}. names: of the methods.
    """
    fig, (top, low) = plt.subplots(2, 1, figsize=(TWO_COLUMNS, 5.4))
    rim = [patheffects.withStroke(linewidth=2.4, foreground=INK)]  # a box may be so flat that nothing else is drawn
    median = {"color": "white", "linewidth": 1.1, "path_effects": rim}
    style = {"medianprops": median, "flierprops": {"markersize": 1.5}, "widths": 0.72 / len(methods)}
    style |= {"patch_artist": True, "manage_ticks": False}
    for k, (name, found) in enumerate(methods.items()):
        shift, color = 0.8 * ((k + 0.5) / len(methods) - 0.5), {"facecolor": STREAM_COLORS[name], "linewidth": 0.6}
        zones = {CODES.index(code): np.asarray(values, float) for code, values in found["f1"].items()}
        rows = [np.asarray(found[m]["resamples"], float) for m in measures]
        for ax, place, values in ((top, range(len(rows)), rows), (low, zones, zones.values())):
            known = [one[np.isfinite(one)] for one in values]
            ax.boxplot(known, positions=np.array(list(place)) + shift, boxprops=color, **style)
        top.bar(np.nan, np.nan, label=names[name], color=STREAM_COLORS[name])
    zone_axis(low)
    top.set(xticks=range(len(measures)), xticklabels=measures, ylim=(None, 1.03), xlim=(-0.5, len(measures) - 0.5))
    low.set(ylabel="F1 of each zone", ylim=(-0.03, 1.03), xlim=(-0.5, K - 0.5))
    percent(top)
    for ax in (top, low):
        ax.grid(axis="y")
        for line in np.arange(0.5, ax.get_xlim()[1]):
            ax.axvline(line, color="#dddddd", lw=0.5)
    top.legend(ncols=4, loc="lower right", bbox_to_anchor=(1, 1))
    return headline(fig, title)


def zone_gain(f1: Mapping[str, Sequence[float]], gains: Sequence[Interval], title: str) -> Figure:
    """Above: F1 of each of the 17 zones for both streams and the fusion; below: fused minus Sentinel-2, paired."""
    fig, (top, low) = plt.subplots(2, 1, figsize=(TWO_COLUMNS, 3.8), sharex=True)
    side_by_side(top, {stream: [Interval(v, np.nan, np.nan) for v in values] for stream, values in f1.items()})
    top.set(ylabel="F1", ylim=(-0.03, 1.03))
    intervals(low, gains, np.arange(K), INK, True)
    low.axhline(0, color=GREY, lw=0.8)
    low.set(ylabel="fused minus Sentinel-2", xlim=(-0.6, K - 0.4))
    for ax in (top, low):
        ax.grid(axis="y")
        ax.axvline(9.5, color="#bbbbbb", lw=0.6)
    zone_axis(low)
    return headline(fig, title)


def measures(values: Mapping[str, Mapping[str, Interval]], gains: Mapping[str, Interval], title: str) -> Figure:
    """Several measures for both streams and the fusion with intervals; beside them fused minus Sentinel-2, paired."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(TWO_COLUMNS, 0.25 * len(gains) + 1.1), sharey=True)
    y = np.arange(len(gains))
    side_by_side(left, {stream: list(rows.values()) for stream, rows in values.items()}, vertical=False)
    intervals(right, list(gains.values()), y, INK)
    right.axvline(0, color=GREY, lw=0.8)
    left.set(yticks=y, yticklabels=list(gains), xlabel="value", ylim=(len(y) - 0.5, -0.5))
    right.set(xlabel="fused minus Sentinel-2, paired")
    for ax in (left, right):
        ax.grid(axis="x")
    return headline(fig, title)


def reliability_diagrams(panels: Mapping[str, Mapping], scores: Mapping[str, Mapping], title: str) -> Figure:
    """Accuracy against confidence with intervals, one panel a stream; the bars below show where the pairs are.

    For each stream `panels` holds what `metrics.reliability` gives, `scores` what `metrics.calibration` gives.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(TWO_COLUMNS, 2.6), sharey=True)
    for ax, (stream, r) in zip(axes, panels.items(), strict=True):
        table = pd.DataFrame(r)
        middle = (table.index + 0.5) / len(table)
        ax.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls=":")
        ax.bar(middle, 0.25 * table["n"] / table["n"].max(), 0.9 / len(table), color="#dddddd")
        rows = table[table["n"] >= 5]
        intervals(ax, rows[["accuracy", "low", "high"]].to_numpy(), rows["confidence"], STREAM_COLORS[stream], True)
        ax.set(title=f"{STREAM_NAMES[stream]}: ECE {scores[stream]['ece']:.3f}", xlabel="confidence")
        ax.set(xlim=(0, 1), ylim=(0, 1), xticks=[0, 0.5, 1])
    axes[0].set_ylabel("accuracy")
    return headline(fig, title)


def differences(
    answers: Mapping[str, Mapping[str, Mapping]], title: str, reference: str = "that of the paper's design"
) -> Figure:
    """A panel for each question (`designs.compare` answers it): accuracy minus `reference`, the first row's, in points.

    A row is a design: small dots are seeds, the bar is the 95 % interval of the paired difference.
    """
    lines = [len(rows) for rows in answers.values()]
    size = (TWO_COLUMNS, 0.6 + 0.3 * len(lines) + 0.19 * sum(lines))
    fig, axes = plt.subplots(len(lines), 1, figsize=size, height_ratios=lines, sharex=True, squeeze=False)
    for ax, (question, rows) in zip(axes.flat, answers.items()):
        for y, row in enumerate(rows.values()):
            if "difference" in row:
                ax.plot(100 * np.array(list(row["per_seed"].values())), [y] * row["seeds"], ".", color=GREY, ms=3)
                points = Interval(*(100 * v for v in row["difference"]))
                color = INK if points.excludes_zero else GREY
                intervals(ax, [points], [y], color, fmt="|", ms=9, elinewidth=1.6, capsize=0)
        ax.axvline(0, color=INK, lw=0.8)
        ax.set_yticks(range(len(rows)), [f"{label}  {100 * row['oa']:.0f} %" for label, row in rows.items()])
        ax.get_yticklabels()[0].set_fontweight("bold")
        ax.set(ylim=(len(rows) - 0.5, -0.5), title=question)
        ax.grid(axis="x")
    axes[-1, 0].set_xlabel(f"accuracy minus {reference} (points)")
    return headline(fig, title)


def costs(table: pd.DataFrame, title: str) -> Figure:
    """Multiply-adds of one pair, a dot for each part of the method and its rivals, on one logarithmic axis.

    Columns of `table`: name, stream ("s2", "ge" or "" for the masks), multiply_adds.
    """
    fig, ax = plt.subplots(figsize=(TWO_COLUMNS, 0.6 + 0.17 * len(table)))
    amount = EngFormatter(places=1)
    for y, row in enumerate(table.itertuples()):
        ax.plot(row.multiply_adds, y, "o", color=STREAM_COLORS.get(row.stream, GREY))
        ax.text(row.multiply_adds, y, f"   {amount(row.multiply_adds)}", va="center", fontsize=7)
    ax.set_yticks(range(len(table)), table["name"])
    ax.set(xscale="log", xlabel="multiply-adds of one pair", title=title, ylim=(len(table) - 0.5, -0.5))
    ax.margins(x=0.12)
    ax.grid()
    return fig
