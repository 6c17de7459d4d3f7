"""Figures of notebook 07: what each design choice changes, and what each network costs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from lczlib.figures.base import STREAM_COLORS, TWO_COLUMNS
from lczlib.figures.primitives import GREY, INK, headline, intervals
from lczlib.metrics import Interval


def differences(answers: Mapping[str, Mapping[str, Mapping]], title: str) -> Figure:
    """A panel for each question, one x range for all: accuracy against the paper's design, in points.

    A row is a design: small dots are seeds, the bar is the 95 % interval of the paired difference.

    Args:
        answers: {question: what `lczlib.designs.compare` gives}.
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
    axes[-1, 0].set_xlabel("accuracy minus that of the paper's design (points)")
    return headline(fig, title)


def costs(table: pd.DataFrame, title: str) -> Figure:
    """Multiply-adds of one pair, a dot for each part of the method and its rivals, on one logarithmic axis.

    Args:
        table: name, stream ("s2", "ge" or "" for the masks), multiply_adds.
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
