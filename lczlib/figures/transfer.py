"""Figures of transfer: cities seen and unseen, what differs there, accuracy along the shift. Each returns a Figure."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lczlib.figures.base import STREAM_COLORS, STREAM_NAMES, TWO_COLUMNS
from lczlib.figures.primitives import GREY, headline, intervals, percent
from lczlib.metrics import Interval


def drops(rows: Mapping[str, Mapping], title: str, published: Mapping[str, float] | None = None) -> Figure:
    """Accuracy with the city seen and unseen: left each stream, right each city.

    Args:
        rows: {stream: `transfer.accuracy_drop`}.
        published: {"oa_inside", "oa_outside"} of the paper, where they are known: a column of their own.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(TWO_COLUMNS, 2.9), width_ratios=(1, 1.9), sharey=True)
    columns = [(STREAM_NAMES[stream], STREAM_COLORS[stream], row) for stream, row in rows.items()]
    if published:
        inside, outside = (Interval(published[part], np.nan, np.nan) for part in ("oa_inside", "oa_outside"))
        drop = Interval(inside.value - outside.value, np.nan, np.nan)
        columns.append(("the paper", GREY, {"seen": inside, "unseen": outside, "drop": drop}))
    for k, (_, color, row) in enumerate(columns):
        for part, shift, fill in (("seen", -0.17, color), ("unseen", 0.17, "white")):
            intervals(left, [row[part]], [k + shift], color, True, mfc=fill, ms=5)
        text = f"drop\n{100 * row['drop'].value:+.1f}"
        left.text(k, 0.99, text, ha="center", va="top", fontsize=7, transform=left.get_xaxis_transform())
    for k, (stream, row) in enumerate(rows.items()):
        by_city = pd.DataFrame(row["by_city"])
        x, color = np.arange(by_city.shape[1]) + 0.24 * (k - 1), STREAM_COLORS[stream]
        right.plot(x, by_city.loc["seen"], "o", color=color, ms=3.5)
        right.plot(x, by_city.loc["unseen"], "o", color=color, mfc="white", ms=3.5, zorder=3)
        right.vlines(x, by_city.loc["unseen"], by_city.loc["seen"], color=color, lw=1)
    left.set(xticks=range(len(columns)), xticklabels=[name for name, *_ in columns], ylabel="overall accuracy")
    left.set_title("all cities, 95 % interval")
    left.margins(y=0.3)
    right.set(xticks=range(by_city.shape[1]), xticklabels=[c.rsplit("-", 1)[-1] for c in by_city], xlabel="city")
    right.set_title("each city; filled: seen, open: unseen")
    for ax in (left, right):
        percent(ax)
        ax.grid(axis="y")
    return headline(fig, title)


def shift_against_drop(table: pd.DataFrame, titles: Mapping[str, str], title: str) -> Figure:
    """Each city's distance to the others against what it loses when unseen; `titles` are those of the panels.

    `table` has the index city and the columns "spectra", "node colours", "drop s2", "drop ge".
    """
    fig, axes = plt.subplots(1, 2, figsize=(TWO_COLUMNS, 2.6), sharey=True)
    for ax, (column, stream) in zip(axes, (("spectra", "s2"), ("node colours", "ge"))):
        ax.axhline(0, color=GREY, lw=0.8)
        ax.plot(table[column], table[f"drop {stream}"], "o", color=STREAM_COLORS[stream], ms=4)
        for city, x, y in table[[column, f"drop {stream}"]].itertuples():
            ax.annotate(city.rsplit("-", 1)[-1], (x, y), xytext=(4, 3), textcoords="offset points", fontsize=7)
        ax.set(xlabel=f"shift of {column} (spreads)", title=titles[column])
        percent(ax)
    axes[0].set_ylabel("drop, positive = loss")
    return headline(fig, title)


def along_shift(
    drop: Mapping[str, Mapping[float, Interval]], gain: Mapping[str, Mapping[float, Interval]], title: str
) -> Figure:
    """Left: drop {stream: {shift: Interval}} along the shift; right: gain of each remedy of Sentinel-2 along it."""
    fig, axes = plt.subplots(1, 2, figsize=(TWO_COLUMNS, 2.8), sharey=True)
    for ax, lines, name in ((axes[0], drop, "drop, positive = loss"), (axes[1], gain, "gain of a remedy")):
        for k, (key, rows) in enumerate(lines.items()):
            x, color = np.array(list(rows), float) + 0.04 * (k - 1), STREAM_COLORS.get(key, plt.cm.Dark2(k))
            intervals(ax, list(rows.values()), x, color, True, fmt="o-", lw=1, label=STREAM_NAMES.get(key, key))
        ax.axhline(0, color=GREY, lw=0.8)
        ax.set(xlabel="shift between the synthetic cities", ylabel=name)
        ax.legend(fontsize=7)
        percent(ax)
    return headline(fig, title)
