"""Figures of transfer: cities seen and unseen, what differs there, accuracy along the shift. Each returns a Figure."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from lczlib.figures.base import STREAM_COLORS, STREAM_NAMES, TWO_COLUMNS
from lczlib.figures.evaluation import GREY, INK, headline, intervals, percent
from lczlib.metrics import Interval


def drops(rows: Mapping[str, Mapping], title: str) -> Figure:
    """Accuracy with the city seen and unseen: left each stream, right each city.

    Args:
        rows: {stream: `transfer.accuracy_drop`}.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(TWO_COLUMNS, 2.9), width_ratios=(1, 1.9), sharey=True)
    cities = list(next(iter(rows.values()))["by_city"])
    for k, (stream, row) in enumerate(rows.items()):
        color, x = STREAM_COLORS[stream], np.arange(len(cities)) + 0.24 * (k - 1)
        for place, part, fill in ((k - 0.17, "seen", color), (k + 0.17, "unseen", "white")):
            intervals(left, [row[part]], [place], color, True, mfc=fill, ms=5)
            right.plot(x, [row["by_city"][c][part] for c in cities], "o", color=color, mfc=fill, ms=3.5, zorder=3)
        right.vlines(x, *([row["by_city"][c][part] for c in cities] for part in ("seen", "unseen")), color=color, lw=1)
        text = f"drop {100 * row['drop'].value:+.1f}"
        left.text(k, 0.99, text, ha="center", va="top", fontsize=7, transform=left.get_xaxis_transform())
    left.set(xticks=range(len(rows)), xticklabels=[STREAM_NAMES[s] for s in rows], ylabel="overall accuracy")
    left.set_title("all cities, 95 % interval")
    left.margins(y=0.3)
    right.set(xticks=range(len(cities)), xticklabels=[c.rsplit("-", 1)[-1] for c in cities], xlabel="city")
    right.set_title("each city; filled: seen, open: unseen")
    for ax in (left, right):
        percent(ax)
        ax.grid(axis="y")
    return headline(fig, title)


def shift_example(target: float, source: float, spread: float, title: str) -> Figure:
    """Two distributions of one band, one spread: the shift is the distance of their means in spreads."""
    fig, ax = plt.subplots(figsize=(TWO_COLUMNS / 2, 1.8))
    x = np.linspace(min(source, target) - 3 * spread, max(source, target) + 3 * spread, 300)
    for mean, color, name in ((source, GREY, "known cities"), (target, INK, "new city")):
        ax.plot(x, stats.norm.pdf(x, mean, spread), color=color, label=f"{name}: mean {mean:.2f}")
        ax.axvline(mean, color=color, lw=0.8, ls=":")
    ax.set(xlabel="reflectance of one band", yticks=[])
    ax.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.35), ncols=2)
    return headline(fig, title)


def shift_against_drop(table: pd.DataFrame, titles: Mapping[str, str], title: str) -> Figure:
    """Each city's distance to the others against what it loses when unseen.

    Args:
        table: index city; columns "spectra", "node colours", "drop s2", "drop ge". titles: of the panels.
    """
    fig, axes = plt.subplots(1, 2, figsize=(TWO_COLUMNS, 2.6), sharey=True)
    for ax, (column, stream) in zip(axes, (("spectra", "s2"), ("node colours", "ge"))):
        ax.axhline(0, color=GREY, lw=0.8)
        ax.plot(table[column], table[f"drop {stream}"], "o", color=STREAM_COLORS[stream], ms=4)
        for city, row in table.iterrows():
            ax.annotate(city.rsplit("-", 1)[-1], (row[column], row[f"drop {stream}"]), xytext=(4, 3),
                        textcoords="offset points", fontsize=7)  # fmt: skip
        ax.set(xlabel=f"shift of {column} (spreads)", title=titles[column])
        percent(ax)
    axes[0].set_ylabel("drop, positive = loss")
    return headline(fig, title)


def along_shift(
    drop: Mapping[str, Mapping[float, Interval]], gain: Mapping[str, Mapping[float, Interval]], title
) -> Figure:
    """Left: drop of each stream along the strength of the shift; right: gain of each remedy along it.

    Args:
        drop: {stream: {shift: Interval}}. gain: {remedy: {shift: Interval}}, of the Sentinel-2 stream.
    """
    fig, axes = plt.subplots(1, 2, figsize=(TWO_COLUMNS, 2.8), sharey=True)
    for ax, lines, name in ((axes[0], drop, "drop, positive = loss"), (axes[1], gain, "gain of a remedy")):
        for k, (key, rows) in enumerate(lines.items()):
            color = STREAM_COLORS.get(key, plt.cm.Dark2(k))
            x = np.array(list(rows), float) + 0.04 * (k - 1)
            intervals(ax, list(rows.values()), x, color, True, fmt="o-", lw=1, label=STREAM_NAMES.get(key, key))
        ax.axhline(0, color=GREY, lw=0.8)
        ax.set(xlabel="shift between the synthetic cities", ylabel=name)
        ax.legend(fontsize=7)
        percent(ax)
    return headline(fig, title)
