"""Figures of transfer: splits, cities held out, why accuracy drops, what helps. Each returns a Figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lczlib.figures.base import ONE_COLUMN, STREAM_COLORS, STREAM_NAMES, TWO_COLUMNS
from lczlib.figures.evaluation import ACCENT, GREY, intervals, percent
from lczlib.figures.primitives import bare, natural_color, scale_bar
from lczlib.metrics import Interval


def transfer(rows: Mapping[str, Mapping[str, tuple]], cities: Sequence[str]) -> Figure:
    """In-city against leave-one-city-out: left per stream with paired interval, right per city.

    Args:
        rows: stream to {"in": Interval, "out": Interval, "drop": Interval (in - out), "in_city", "out_city": (C,)}.
        cities: the C held-out cities.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(TWO_COLUMNS, 2.6), width_ratios=(1, 1.9))
    for k, stream in enumerate(rows):
        r, color = rows[stream], STREAM_COLORS[stream]
        for x, part, fill in ((k - 0.17, "in", color), (k + 0.17, "out", "white")):
            i = r[part]
            left.errorbar(x, i.value, [[i.value - i.low], [i.high - i.value]], fmt="o", color=color, mfc=fill, ms=5,
                          capsize=2, elinewidth=1)  # fmt: skip
        left.annotate("", (k + 0.17, r["out"].value), (k - 0.17, r["in"].value),
                      arrowprops={"arrowstyle": "-", "color": color, "lw": 0.6, "shrinkA": 4})  # fmt: skip
        left.text(k, min(r["in"].low, r["out"].low) - 0.015, f"{100 * r['drop'].value:+.1f}", ha="center", va="top",
                  fontsize=7, color=color)  # fmt: skip
        x = np.arange(len(cities)) + 0.24 * (k - 1)
        right.vlines(x, r["out_city"], r["in_city"], color=color, lw=1)
        right.plot(x, r["in_city"], "o", color=color, ms=3.5, label=STREAM_NAMES[stream])
        right.plot(x, r["out_city"], "o", mfc="white", mec=color, ms=3.5)
    left.set(
        xticks=range(len(rows)),
        xticklabels=[STREAM_NAMES[s] for s in rows],
        ylabel="overall accuracy",
        xlim=(-0.5, len(rows) - 0.5),
    )
    left.set_title("all cities; points of drop printed")
    left.margins(y=0.15)
    right.set(xticks=range(len(cities)), xticklabels=[c.replace("synthetic-", "") for c in cities])
    right.set_title("per city; filled: its other polygons were seen; open: held out")
    right.legend(ncols=3, loc="upper right", bbox_to_anchor=(1, -0.12), fontsize=6.5)
    for ax in (left, right):
        percent(ax)
        ax.grid(axis="y")
    return fig


def bars(
    groups: Mapping[str, Mapping[str, Interval]], xlabel: str, colors: Mapping[str, str] | None = None, zero=True
) -> Figure:
    """Named rows of values with intervals, one panel per group, on one scale.

    Args:
        groups: {panel title: {row name: Interval}}. colors: row name to colour.
    """
    most = max(map(len, groups.values()))
    width = TWO_COLUMNS if len(groups) > 1 else ONE_COLUMN
    fig, axes = plt.subplots(1, len(groups), figsize=(width, 0.22 * most + 0.75),
                             squeeze=False, sharex=True)  # fmt: skip
    for ax, (title, rows) in zip(axes[0], groups.items(), strict=True):
        for y, (name, i) in enumerate(rows.items()):
            intervals(ax, [i], [y], (colors or {}).get(name, STREAM_COLORS["fused"]))
        ax.set(
            yticks=range(len(rows)), yticklabels=list(rows), xlabel=xlabel, title=title, ylim=(len(rows) - 0.5, -0.5)
        )
        if zero:
            ax.axvline(0, color=ACCENT, lw=0.8)
        percent(ax, "x")
        ax.grid(axis="x")
    return fig


def splits(accuracy: Mapping[str, Mapping[str, Interval]]) -> Figure:
    """Accuracy of each stream under each split strategy, with intervals.

    Args:
        accuracy: {split: {stream: Interval}}, the flattering split first.
    """
    fig, ax = plt.subplots(figsize=(ONE_COLUMN, 2.1))
    streams = list(next(iter(accuracy.values())))
    for k, (name, row) in enumerate(accuracy.items()):
        for x, s in enumerate(streams):
            i = row[s]
            color, half = STREAM_COLORS[s], [[i.value - i.low], [i.high - i.value]]
            fill = [color, "white"][k % 2]
            ax.errorbar(x + 0.3 * k - 0.15, i.value, half, color=color, fmt="os"[k % 2], mfc=fill, ms=5, capsize=2)
            ax.text(x + 0.3 * k - 0.11, i.value, f" {100 * i.value:.0f}", va="center", fontsize=6.5)
        ax.plot([], [], "os"[k % 2], color=GREY, mfc=[GREY, "white"][k % 2], label=name)
    ax.set(xticks=range(len(streams)), xticklabels=[STREAM_NAMES[s] for s in streams], xlim=(-0.5, len(streams) - 0.4))
    ax.set_ylabel("overall accuracy")
    percent(ax)
    ax.grid(axis="y")
    ax.legend(ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
    return fig


def why(effects: Mapping, spectra: Mapping, lost_s2: Mapping, colours: Mapping, lost_ge: Mapping) -> Figure:
    """Left: what one habit of another city does to the probability of the true zone; right: shift against drop.

    Args:
        effects: of `factors.effects`. spectra, colours: {city: shift}. lost_s2, lost_ge: {city: drop in accuracy}.
    """
    fig, (left, middle, right) = plt.subplots(1, 3, figsize=(TWO_COLUMNS, 2.2), width_ratios=(1.3, 1, 1))
    names = [n for n in effects if n != "nothing"]
    intervals(left, [effects[n]["change_p"] for n in names], np.arange(len(names)), STREAM_COLORS["s2"])
    left.axvline(0, color=ACCENT, lw=0.8)
    left.set(yticks=range(len(names)), yticklabels=names, xlabel="change of the true zone's probability")
    left.set(title="one habit at a time, Sentinel-2", ylim=(len(names) - 0.5, -0.5))
    left.grid(axis="x")
    _scatter(middle, spectra, lost_s2, "s2", "shift of spectra")
    _scatter(right, colours, lost_ge, "ge", "shift of node colours")
    middle.set(ylabel="drop in accuracy, city by city")
    return fig


def _scatter(ax: Axes, shift: Mapping[str, float], lost: Mapping[str, float], stream: str, xlabel: str) -> None:
    x, y = np.array([shift[c] for c in shift]), np.array([lost[c] for c in shift])
    ax.axhline(0, color="#bbbbbb", lw=0.6)
    ax.plot(x, y, "o", color=STREAM_COLORS[stream], ms=8, alpha=0.85)
    for c, a, b in zip(shift, x, y, strict=True):
        ax.text(
            a,
            b,
            c.rsplit("-", 1)[-1][:3],
            ha="center",
            va="center_baseline",
            fontsize=5.5,
            color="white",
            fontweight="bold",
        )
    together = f", r = {np.corrcoef(x, y)[0, 1]:.2f}" if len(x) > 2 else ""
    ax.set(xlabel=f"{xlabel} (spreads)", title=f"{STREAM_NAMES[stream]}{together}")
    percent(ax)


def patches_row(patches: Sequence[np.ndarray], captions: Sequence[str]) -> Figure:
    """Sentinel-2 patches (32, 32, 10) side by side (`natural_color`)."""
    n = len(patches)
    fig, axes = plt.subplots(1, n, figsize=(TWO_COLUMNS, TWO_COLUMNS / n + 0.45), squeeze=False)
    for ax, patch, caption in zip(axes[0], patches, captions, strict=True):
        ax.imshow(natural_color(patch))
        ax.set_title(caption, fontsize=6, fontweight="normal")
        bare(ax)
        ax.spines[:].set_visible(False)
    scale_bar(axes[0, 0], pixel=10)
    return fig
