"""Figures of the two streams: how they train, what a graph is made of, what each design choice changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats

from lczlib.figures.base import ONE_COLUMN, STREAM_COLORS, STREAM_NAMES, TWO_COLUMNS
from lczlib.figures.primitives import draw_graph, paint_masks, scale_bar
from lczlib.metrics import Interval
from lczlib.zones import K

__all__ = ["by_network", "design_choices", "graph_of_instances", "interval", "network_costs", "training_curves"]


def training_curves(
    history: pd.DataFrame, stream: str, test: Interval | None = None, published: Mapping | None = None, title: str = ""
) -> Figure:
    """Loss and accuracy by epoch: training dashed, validation solid, the epoch whose weights were kept marked.

    Args:
        history: `train_stream(...).history`. stream: "s2" or "ge".
        test: accuracy of the kept weights on test pairs, drawn as a line with its interval.
        published: a training log (epoch from 0, accuracy, val_accuracy) drawn in a panel of its own.
        title: the message.
    """
    fig, axes = plt.subplots(1, 2 + bool(published), figsize=(TWO_COLUMNS, 2.5))
    best, epochs, color = history["val_accuracy"].idxmax(), history["epoch"] + 1, STREAM_COLORS[stream]
    for axis, name in zip(axes, ("loss", "accuracy")):
        _curves(axis, history, name, color)
        axis.plot(epochs[best], history[f"val_{name}"][best], "o", color="black", label="weights kept", zorder=5)
    axes[0].set(ylabel="cross-entropy", title=f"{STREAM_NAMES[stream]} stream: loss")
    axes[0].set_ylim(0, 1.05 * history[["loss", "val_loss"]].max().max())
    axes[0].legend()
    if test:
        axes[1].axhspan(test.low, test.high, color="#2B2B2B", alpha=0.12, linewidth=0)
        axes[1].axhline(test.value, color="#2B2B2B", linewidth=1)
        axes[1].text(0.98, test.value, f"test {test.value:.2f}", transform=axes[1].get_yaxis_transform(), ha="right",
                     va="bottom", fontsize=7)  # fmt: skip
    top = history["val_accuracy"][best]
    axes[1].annotate(f"{top:.2f}", (epochs[best], top), xytext=(0, 5), textcoords="offset points", ha="center")
    if published:
        _curves(axes[2], pd.DataFrame(published), "accuracy", "#555555")
        axes[2].set_title("Published run (real pairs)")
    axes[1].set_title("Accuracy")
    for axis in axes[1:]:
        axis.set_ylim(0, 1)
        axis.axhline(1 / K, color="#999999", linewidth=0.8, linestyle=":")
        axis.text(0.02, 1 / K, "chance", transform=axis.get_yaxis_transform(), va="bottom", fontsize=7, color="#666666")
    fig.suptitle(title)
    return fig


def _curves(axis: Axes, history: pd.DataFrame, name: str, color: str) -> None:
    epochs = history["epoch"] + 1
    axis.plot(epochs, history[name], "--", color=color, alpha=0.55, label="training")
    axis.plot(epochs, history[f"val_{name}"], color=color, label="validation")
    axis.set(xlabel="epoch", xlim=(0.5, epochs.iloc[-1] + 0.5))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(axis="y")


def graph_of_instances(images: Sequence[np.ndarray], masks: Sequence, x: Sequence, titles: Sequence[str]) -> Figure:
    """Each column one place: the patch, its instance masks, the graph (nodes in their mean colour, size by area).

    Args:
        images: (320, 320, 3) uint8 each.
        masks: (n, 320, 320) bool each.
        x: (n, >= 5) node features each.
        titles: one each.
    """
    fig, axes = plt.subplots(3, len(images), figsize=(TWO_COLUMNS, TWO_COLUMNS * 3 / len(images)), squeeze=False)
    for column, (image, found, nodes, title) in enumerate(zip(images, masks, x, titles, strict=True)):
        axes[0, column].imshow(image)
        axes[0, column].set_title(title)
        axes[1, column].imshow(paint_masks(image, found))
        xy = nodes[:, 3:5] * image.shape[1::-1]
        draw_graph(axes[2, column], xy, nodes[:, :3], size=4 + 200 * found.mean((1, 2)))
        axes[2, column].set_aspect("equal")
        for axis in axes[:, column]:
            axis.set(xticks=[], yticks=[], xlim=(0, image.shape[1]), ylim=(image.shape[0], 0))
    for axis, name in zip(axes[:, 0], ("RGB patch", "instance masks", "graph\n(area unseen)"), strict=True):
        axis.set_ylabel(name)
    scale_bar(axes[0, 0])
    return fig


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Student's interval of the mean over seeds; (nan, nan) for fewer than two."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return float("nan"), float("nan")
    half = stats.t.ppf(0.5 + level / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def design_choices(frame: pd.DataFrame, titles: dict[str, str], value: str = "oa", label: str = "test OA") -> Figure:
    """One panel for each question: a row for each design, seeds as points, the mean with its 95 % interval.

    Args:
        frame: question, design, seed, `value`, and `paper` (bool: the paper's design, drawn dark); rows in the order
            in which designs are to be shown.
        titles: {question: panel title}.
    """
    counts = [frame.loc[frame["question"] == q, "design"].nunique() for q in titles]
    columns = min(len(titles), 2)
    rows = -(-len(titles) // columns)
    heights = [max(counts[r * columns : (r + 1) * columns]) for r in range(rows)]
    size = (TWO_COLUMNS, 0.55 * rows + 0.19 * sum(heights))
    fig, axes = plt.subplots(rows, columns, figsize=size, height_ratios=heights, squeeze=False)
    for axis, (question, title) in zip(axes.flat, titles.items()):
        _design_panel(axis, frame[frame["question"] == question], value)
        axis.set(title=title, xlabel=label)
    for axis in axes.flat[len(titles) :]:
        axis.remove()
    return fig


def _design_panel(axis: Axes, rows: pd.DataFrame, value: str) -> None:
    designs = list(dict.fromkeys(rows["design"]))
    for place, design in enumerate(designs):
        some = rows[rows["design"] == design]
        color = "#2B2B2B" if some["paper"].iloc[0] else "#8A8A8A"
        low, high = interval(some[value])
        if np.isfinite(low):
            axis.plot([low, high], [place, place], color=color, linewidth=2.5, alpha=0.35, solid_capstyle="butt")
        axis.plot(some[value], np.full(len(some), place), "o", color=color, markersize=2.5, alpha=0.8)
        axis.plot(some[value].mean(), place, "|", color=color, markersize=10, markeredgewidth=1.8)
    axis.set_yticks(range(len(designs)), designs)
    axis.set_ylim(len(designs) - 0.5, -0.5)
    axis.grid(axis="x")
    for tick, design in zip(axis.get_yticklabels(), designs):
        if rows.loc[rows["design"] == design, "paper"].iloc[0]:
            tick.set_fontweight("bold")


def by_network(frame: pd.DataFrame, value: str = "oa", label: str = "test OA") -> Figure:
    """Segmentations as rows, one marker for each graph network: seeds small, means large with their 95 % interval.

    Args:
        frame: segmentation, network, seed, `value`.
    """
    places, networks = list(dict.fromkeys(frame["segmentation"])), list(dict.fromkeys(frame["network"]))
    fig, axis = plt.subplots(figsize=(ONE_COLUMN * 1.35, 0.7 + 0.42 * len(places)))
    for k, network in enumerate(networks):
        shift = 0.22 * (k - (len(networks) - 1) / 2)
        color, marker = plt.get_cmap("Dark2")(k), "osDv^"[k % 5]
        for place, segmentation in enumerate(places):
            rows = frame[(frame["segmentation"] == segmentation) & (frame["network"] == network)]
            low, high = interval(rows[value])
            if np.isfinite(low):
                axis.plot([low, high], [place + shift] * 2, color=color, linewidth=2, alpha=0.35)
            axis.plot(rows[value], [place + shift] * len(rows), marker, color=color, markersize=2, alpha=0.7)
            name = network if place == 0 else None
            axis.plot(rows[value].mean(), place + shift, marker, color=color, markersize=5, label=name)
    axis.set_yticks(range(len(places)), places)
    axis.set(xlabel=label, ylim=(len(places) - 0.5, -0.5))
    axis.grid(axis="x")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


def network_costs(table: pd.DataFrame) -> Figure:
    """Multiply-adds against parameters, both logarithmic, one labelled point for each network, a panel for each stream.

    Args:
        table: name, stream, parameters, multiply_adds.
    """
    streams = list(dict.fromkeys(table["stream"]))
    fig, axes = plt.subplots(1, len(streams), figsize=(TWO_COLUMNS, 2.5), squeeze=False)
    for axis, stream in zip(axes[0], streams, strict=True):
        rows = table[table["stream"] == stream].sort_values("parameters")
        axis.plot(rows["parameters"], rows["multiply_adds"], "o", color=STREAM_COLORS[stream])
        for k, row in enumerate(rows.itertuples()):
            place = {"xytext": (0, 6 if k % 2 else -11), "textcoords": "offset points", "ha": "center", "fontsize": 6}
            axis.annotate(row.name, (row.parameters, row.multiply_adds), **place)
        axis.set(xscale="log", yscale="log", xlabel="parameters", title=f"{STREAM_NAMES[stream]} networks")
        axis.grid()
        axis.margins(0.2)
    axes[0, 0].set_ylabel("multiply-adds for one pair")
    return fig
