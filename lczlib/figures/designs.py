"""Figures of notebook 07: what each design choice changes, and what each network costs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from lczlib.figures.base import STREAM_COLORS, TWO_COLUMNS

PAPER, OTHER = "#2B2B2B", "#777777"


def differences(answers: Mapping[str, Mapping[str, Mapping]], title: str) -> Figure:
    """A panel for each question, one x range for all: accuracy against the paper's design, in points.

    A row is a design: small dots are seeds, the bar is the 95 % interval of the paired difference.

    Args:
        answers: {question: what `lczlib.designs.compare` gives}.
    """
    columns = min(len(answers), 2)
    counts = [len(rows) for rows in answers.values()]
    lines = [max(counts[k : k + columns]) for k in range(0, len(counts), columns)]
    size = (TWO_COLUMNS, 0.4 + 0.55 * len(lines) + 0.2 * sum(lines))
    fig, axes = plt.subplots(len(lines), columns, figsize=size, height_ratios=lines, sharex=True, squeeze=False)
    for ax, (question, rows) in zip(axes.flat, answers.items()):
        _panel(ax, rows)
        ax.set_title(question)
        ax.tick_params(labelbottom=True)
    for ax in axes.flat[len(answers) :]:
        ax.remove()
    fig.supxlabel("accuracy minus that of the paper's design (points)", fontsize=8)
    fig.suptitle(title, fontsize=8, fontweight="bold")
    return fig


def _panel(ax: Axes, rows: Mapping[str, Mapping]) -> None:
    for y, row in enumerate(rows.values()):
        if "difference" in row:
            value, low, high = (100 * v for v in row["difference"])
            sure = row["difference"].excludes_zero
            ax.plot([low, high], [y, y], color=PAPER if sure else OTHER, linewidth=3, alpha=0.4, solid_capstyle="butt")
            ax.plot(100 * np.array(list(row["per_seed"].values())), [y] * row["seeds"], ".", color=OTHER, markersize=3)
            ax.plot(value, y, "|", color=PAPER if sure else OTHER, markersize=9, markeredgewidth=1.8)
    ax.axvline(0, color=PAPER, linewidth=0.8)
    ax.set_yticks(range(len(rows)), [f"{label}  {100 * row['oa']:.0f} %" for label, row in rows.items()], fontsize=7)
    ax.get_yticklabels()[0].set_fontweight("bold")
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(axis="x")


def costs(table: pd.DataFrame, title: str) -> Figure:
    """Multiply-adds of one pair, a dot for each part of the method and its rivals, on one logarithmic axis.

    Args:
        table: name, stream ("s2", "ge" or "" for the masks), multiply_adds.
    """
    fig, ax = plt.subplots(figsize=(TWO_COLUMNS, 0.6 + 0.17 * len(table)))
    amount = EngFormatter(places=1)
    for y, row in enumerate(table.itertuples()):
        ax.plot(row.multiply_adds, y, "o", color=STREAM_COLORS.get(row.stream, OTHER))
        ax.text(row.multiply_adds, y, f"   {amount(row.multiply_adds)}", va="center", fontsize=7)
    ax.set_yticks(range(len(table)), table["name"], fontsize=7)
    ax.set(xscale="log", xlabel="multiply-adds of one pair", title=title, ylim=(len(table) - 0.5, -0.5))
    ax.margins(x=0.12)
    ax.grid()
    return fig
