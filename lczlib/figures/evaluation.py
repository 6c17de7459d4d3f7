"""Figures of the evaluation: alpha, confusion, gain per zone, measures, methods, calibration. Each returns a Figure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from skimage.transform import downscale_local_mean

from lczlib.figures.base import ONE_COLUMN, STREAM_COLORS, STREAM_NAMES, TWO_COLUMNS
from lczlib.figures.primitives import bare, natural_color, scale_bar, zone_axis
from lczlib.fusion import PUBLISHED_ALPHA, fuse
from lczlib.metrics import Interval
from lczlib.zones import CODES, SIMILARITY, K, to_index

GREY, INK = "#888888", "#2B2B2B"


def headline(fig: Figure, title: str) -> Figure:
    """The figure with its message above it, in lines that fit its width."""
    lines = (textwrap.fill(line, int(13.5 * fig.get_figwidth())) for line in title.splitlines())
    fig.suptitle("\n".join(lines))
    return fig


def percent(ax: Axes, axis: str = "y", digits: int = 0) -> None:
    """Shares 0..1 printed as percent on one axis, at six places at most so that the numbers do not meet."""
    one = getattr(ax, f"{axis}axis")
    one.set_major_formatter(PercentFormatter(1, decimals=digits))
    one.set_major_locator(MaxNLocator(6))


def intervals(ax: Axes, rows: Sequence[Interval], at, color, vertical: bool = False, **style) -> None:
    """Points with 95 % intervals at the places `at`; an interval that does not exist is left out."""
    r = np.array([tuple(i) for i in rows], float).reshape(-1, 3)
    spread = np.nan_to_num(np.abs(r[:, 1:].T - r[:, 0]))
    where = {"x": at, "y": r[:, 0], "yerr": spread} if vertical else {"x": r[:, 0], "y": at, "xerr": spread}
    style = {"fmt": "o", "ms": 3.5, "elinewidth": 0.9, "capsize": 1.5} | style
    ax.errorbar(**where, color=color, **style)


def rows_of_intervals(
    panels: Mapping[str, Mapping[str, Interval]],
    title: str,
    xlabels: Mapping[str, str],
    colors: Mapping = {},
    zero=True,
) -> Figure:
    """Named rows of values with intervals, one panel for each group.

    Args:
        panels: {panel: {row: Interval}}. title: the message. xlabels, colors: of a panel by its name.
        zero: draw a line at 0.
    """
    most = max(map(len, panels.values()))
    alike = len({tuple(rows) for rows in panels.values()}) == 1
    size = (TWO_COLUMNS if len(panels) > 1 else ONE_COLUMN * 1.4, 0.22 * most + 0.95)
    fig, axes = plt.subplots(1, len(panels), figsize=size, squeeze=False, sharey=alike)
    for ax, (name, rows) in zip(axes[0], panels.items(), strict=True):
        intervals(ax, list(rows.values()), np.arange(len(rows)), colors.get(name, INK))
        ax.set(
            yticks=range(len(rows)), yticklabels=list(rows), xlabel=xlabels[name], title=name if len(panels) > 1 else ""
        )
        ax.set_ylim(len(rows) - 0.5, -0.5)
        if zero:
            ax.axvline(0, color=GREY, lw=0.8)
        ax.xaxis.set_major_locator(MaxNLocator(5 if len(panels) < 3 else 3))
        ax.grid(axis="x")
    return headline(fig, title)


def methods(rows: Mapping[str, Mapping], title: str) -> Figure:
    """Ways of fusing against the first of them: accuracy and likelihood, paired.

    Args:
        rows: of `fusion.score_methods`, the reference first.
    """
    keys = {"accuracy": "difference", "loss (NLL), smaller is better": "nll_difference"}
    panels = {name: {n: row[key] for n, row in list(rows.items())[1:]} for name, key in keys.items()}
    return rows_of_intervals(panels, title, dict.fromkeys(keys, f"minus {next(iter(rows))}"))


def alpha_example(p_s2: np.ndarray, p_ge: np.ndarray, title: str) -> Figure:
    """Pairs with two zones each: the fused probability of the true zone along alpha; above one half it is chosen.

    Args:
        p_s2, p_ge: (n,) probability that each stream gives to the true zone.
    """
    fig, axes = plt.subplots(1, len(p_s2), figsize=(TWO_COLUMNS, 1.9), sharey=True)
    for k, (ax, a, b) in enumerate(zip(axes, p_s2, p_ge), start=1):
        at = fuse([[a]], [[b]], PUBLISHED_ALPHA)[0, 0]
        ax.plot([0, 1], [b, a], color=INK)
        ax.plot(0, b, "o", color=STREAM_COLORS["ge"], clip_on=False, label=f"GE {b:.2f}")
        ax.plot(1, a, "o", color=STREAM_COLORS["s2"], clip_on=False, label=f"S2 {a:.2f}")
        ax.plot(
            PUBLISHED_ALPHA,
            at,
            "D",
            color=INK,
            ms=4,
            label=f"{PUBLISHED_ALPHA} x {a:.2f} + {1 - PUBLISHED_ALPHA:.1f} x {b:.2f} = {at:.2f}",
        )
        ax.axhline(0.5, color=GREY, ls=":", lw=0.8)
        ax.set(xlim=(0, 1), ylim=(0, 1), xlabel=r"$\alpha$", title=f"pair {k}: {'right' if at > 0.5 else 'wrong'}")
        ax.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.32))
    axes[0].set_ylabel("fused p of true zone")
    return headline(fig, title)


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
        intervals(ax, [row[["value", "low", "high"]]], [row["alpha"]], STREAM_COLORS[stream], True, ms=5, zorder=5,
                  clip_on=False, label=f"{STREAM_NAMES[stream]} alone")  # fmt: skip
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
    image = axes[0, 0].imshow(delta, aspect="auto", cmap="PuOr", vmin=-span, vmax=span, extent=(0, 1, K - 0.5, -0.5))
    zone_axis(axes[0, 0], "y")
    axes[0, 0].set(xlabel=r"$\alpha$", title=r"F1 of each zone against $\alpha=0.5$")
    fig.colorbar(image, ax=axes[0, 0], shrink=0.8)
    for k, (city, rows) in enumerate(enough.groupby("city")):
        axes[0, 1].plot(
            rows["alpha"], rows["value"], lw=1, color=plt.cm.Dark2(k % 8), label=f"{city} ({rows['n'].iloc[0]})"
        )
    if len(enough):
        axes[0, 1].set(xlabel=r"$\alpha$", ylabel="accuracy", title="in each city (test pairs)")
        axes[0, 1].legend(fontsize=7, ncols=2)
        percent(axes[0, 1])
    return headline(fig, title)


def small_matrix(cm: np.ndarray, labels: Sequence[int], title: str) -> Figure:
    """A few zones: counts with their sums at the left, similarity weights at the right."""
    codes, i = [CODES[z - 1] for z in labels], to_index(labels)
    fig, axes = plt.subplots(1, 2, figsize=(TWO_COLUMNS, 2.2))
    shown = pd.DataFrame(cm, codes, codes)
    shown["all"] = shown.sum(axis=1)
    shown.loc["all"] = shown.sum(axis=0)
    style = {"cmap": "Greys", "cbar": False, "linewidths": 0.5, "vmin": 0, "square": True}
    sns.heatmap(shown, annot=True, fmt="d", ax=axes[0], **style, vmax=2 * cm.sum())
    sns.heatmap(
        SIMILARITY[np.ix_(i, i)],
        annot=True,
        fmt=".2f",
        ax=axes[1],
        **style,
        vmax=2,
        xticklabels=codes,
        yticklabels=codes,
    )
    axes[0].set(xlabel="predicted", ylabel="reference", title="pairs")
    axes[1].set(xlabel="predicted", ylabel="reference", title="similarity W")
    return headline(fig, title)


def confusion_matrices(matrices: Mapping[str, np.ndarray], title: str) -> Figure:
    """Counts of both streams and the fusion, shaded by the share of the row, and what the fusion changes.

    Args:
        matrices: "s2", "ge", "fused" to counts (17, 17), rows = reference.
    """
    fig, axes = plt.subplots(2, 2, figsize=(TWO_COLUMNS, 7.4))
    for ax, (stream, cm) in zip(axes.flat, matrices.items()):
        share = cm / np.maximum(cm.sum(1, keepdims=True), 1)
        counts = np.where(cm > 0, cm.astype(int).astype(str), "")
        sns.heatmap(share, annot=counts, fmt="", cmap="Blues", vmin=0, vmax=1, ax=ax, cbar=False, annot_kws={"size": 7})
        ax.set_title(f"{STREAM_NAMES[stream]}: {np.trace(cm) / cm.sum():.1%} right", color=STREAM_COLORS[stream])
    change = matrices["fused"] - matrices["s2"]
    signed = np.where(change != 0, np.char.mod("%+d", change), "")
    span = np.abs(change).max() or 1
    sns.heatmap(
        change,
        annot=signed,
        fmt="",
        cmap="PuOr",
        vmin=-span,
        vmax=span,
        ax=axes[1, 1],
        cbar=False,
        annot_kws={"size": 7},
    )
    axes[1, 1].set_title("fused minus Sentinel-2")
    for ax in axes.flat:
        for axis in "xy":
            zone_axis(ax, axis, 0.5)
        ax.axhline(10, color="#666666", lw=0.7)
        ax.axvline(10, color="#666666", lw=0.7)
        ax.set(xlabel="predicted", ylabel="reference")
    return headline(fig, title)


def zone_gain(f1: Mapping[str, Sequence[float]], gains: Sequence[Interval], title: str) -> Figure:
    """Above: F1 of each zone for both streams and the fusion; below: fused minus Sentinel-2, paired intervals.

    Args:
        f1: stream to (17,). gains: 17 intervals.
    """
    fig, (top, low) = plt.subplots(2, 1, figsize=(TWO_COLUMNS, 3.8), sharex=True)
    x = np.arange(K)
    for k, (stream, values) in enumerate(f1.items()):
        top.plot(x + 0.22 * (k - 1), values, "soD"[k], color=STREAM_COLORS[stream], ms=4, label=STREAM_NAMES[stream])
    top.set(ylabel="F1", ylim=(-0.03, 1.03))
    top.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    intervals(low, gains, x, INK, True)
    low.axhline(0, color=GREY, lw=0.8)
    low.set(ylabel="fused minus Sentinel-2", xlim=(-0.6, K - 0.4))
    for ax in (top, low):
        ax.grid(axis="y")
        ax.axvline(9.5, color="#bbbbbb", lw=0.6)
    zone_axis(low, "x")
    return headline(fig, title)


def measures(values: Mapping[str, Mapping[str, Interval]], gains: Mapping[str, Interval], title: str) -> Figure:
    """Several measures for both streams and the fusion with intervals; beside them fused minus Sentinel-2, paired.

    Args:
        values: {stream: {measure: Interval}}. gains: {measure: Interval}.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(TWO_COLUMNS, 0.25 * len(gains) + 1.1), sharey=True)
    y = np.arange(len(gains))
    for k, (stream, rows) in enumerate(values.items()):
        intervals(left, list(rows.values()), y + 0.22 * (k - 1), STREAM_COLORS[stream], label=STREAM_NAMES[stream])
    intervals(right, list(gains.values()), y, INK)
    right.axvline(0, color=GREY, lw=0.8)
    left.set(yticks=y, yticklabels=list(gains), xlabel="value", ylim=(len(y) - 0.5, -0.5))
    right.set(xlabel="fused minus Sentinel-2, paired")
    left.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    for ax in (left, right):
        ax.grid(axis="x")
    return headline(fig, title)


def reliability_diagrams(panels: Mapping[str, Mapping], colors: Mapping[str, str], title: str) -> Figure:
    """Accuracy against confidence with intervals, one panel each; the bars below show where the pairs are.

    Args:
        panels: {name: `metrics.reliability`'s result and "ece"}. colors: of the panels.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(TWO_COLUMNS, 2.4), sharey=True)
    for ax, (name, r) in zip(axes, panels.items(), strict=True):
        bins, keep = len(r["n"]), r["n"] >= 5
        ax.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls=":")
        ax.bar((np.arange(bins) + 0.5) / bins, 0.25 * r["n"] / r["n"].max(), 0.9 / bins, color="#dddddd")
        rows = np.stack([r["accuracy"], r["low"], r["high"]], 1)[keep]
        intervals(ax, rows, r["confidence"][keep], colors[name], True)
        ax.set(title=f"{name}\nECE {r['ece']:.3f}", xlim=(0, 1), ylim=(0, 1), xlabel="confidence", xticks=[0, 0.5, 1])
    axes[0].set_ylabel("accuracy")
    return headline(fig, title)


def picture_rows(rows: Sequence[Sequence[np.ndarray]], captions: Sequence[str], title: str) -> Figure:
    """Places side by side: RGB patches (H, W, 3) or Sentinel-2 patches (h, w, 10) of 320 m, one row for each kind.

    RGB is drawn at half its resolution, which keeps the files small.
    """
    n = len(captions)
    size = (TWO_COLUMNS, len(rows) * TWO_COLUMNS / n + 0.85)
    fig, axes = plt.subplots(len(rows), n, figsize=size, squeeze=False)
    for k, row in enumerate(rows):
        for ax, patch in zip(axes[k], row, strict=True):
            halved = downscale_local_mean(patch, (2, 2, 1)) / 255 if patch.shape[-1] == 3 else natural_color(patch)
            ax.imshow(halved, extent=(0, 320, 320, 0))
            bare(ax)
        scale_bar(axes[k, 0], 1, 100)
    for ax, caption in zip(axes[0], captions, strict=True):
        ax.set_title(caption, fontsize=7, fontweight="normal")
    return headline(fig, title)
