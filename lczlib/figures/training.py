"""Figures of the two streams: how they train, what a graph is made of, what each design choice changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lczlib.figures.base import STREAM_COLORS, STREAM_NAMES, TWO_COLUMNS
from lczlib.figures.primitives import draw_graph, paint_masks, scale_bar
from lczlib.metrics import Interval
from lczlib.zones import K

__all__ = ["graph_of_instances", "training_curves"]


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
