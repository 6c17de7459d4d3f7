"""Figures of the two streams: how they train, what a graph is made of, their networks on examples done by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from lczlib.data.layout import BANDS
from lczlib.figures.base import STREAM_COLORS, STREAM_NAMES, TWO_COLUMNS
from lczlib.figures.primitives import GREY, INK, bare, draw_graph, paint_masks, pictures
from lczlib.metrics import Interval
from lczlib.zones import K


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
        axes[1].axhspan(test.low, test.high, color=INK, alpha=0.12, linewidth=0)
        axes[1].axhline(test.value, color=INK, linewidth=1)
        where = {"transform": axes[1].get_yaxis_transform(), "ha": "right", "va": "bottom", "fontsize": 7}
        axes[1].text(0.98, test.value, f"test {test.value:.2f}", **where)
    top = history["val_accuracy"][best]
    axes[1].annotate(f"{top:.2f}", (epochs[best], top), xytext=(0, 5), textcoords="offset points", ha="center")
    axes[1].set_title("Accuracy")
    if published:
        _curves(axes[2], pd.DataFrame(published), "accuracy", "#555555")
        axes[2].set_title("Published run (real pairs)")
    for axis in axes[1:]:
        axis.set_ylim(0, 1)
        axis.axhline(1 / K, color=GREY, linewidth=0.8, linestyle=":")
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
        images: (320, 320, 3) uint8 each. masks: (n, 320, 320) bool each. x: (n, >= 5) node features each.
        titles: one each.
    """
    white = [np.full_like(image, 255) for image in images]
    rows = {"RGB patch": images, "instance masks": list(map(paint_masks, images, masks)), "graph": white}
    fig = pictures(rows, titles)
    for axis, image, found, nodes in zip(fig.axes[-len(images) :], images, masks, x, strict=True):
        draw_graph(axis, nodes[:, 3:5] * image.shape[1::-1], nodes[:, :3], size=4 + 200 * found.mean((1, 2)))
    return fig


def kernel_over_bands(patch: np.ndarray, kernel: np.ndarray, response: np.ndarray, band: int = 5) -> Figure:
    """A kernel of three bands on its way along the spectrum of one pixel.

    Args:
        patch: (32, 32, 10) reflectance. kernel: (3,) weights along the bands.
        response: (10,) the kernel's answer at the middle pixel. band: where the kernel is drawn, 1..8.
    """
    fig = plt.figure(figsize=(TWO_COLUMNS, 2.7))
    color, middle, places = STREAM_COLORS["s2"], len(patch) // 2, np.arange(len(BANDS))
    grid = fig.add_gridspec(2, len(BANDS), height_ratios=(1, 2.2))
    for b, name in enumerate(BANDS):
        ax = fig.add_subplot(grid[0, b], title=name)
        ax.imshow(patch[..., b], cmap="gray", vmin=0)
        bare(ax)
        if abs(b - band) <= 1:
            ax.add_patch(Rectangle((middle - 4.5, middle - 4.5), 9, 9, fill=False, ec=color, lw=1.6))
    values = patch[middle, middle]
    spectrum = fig.add_subplot(grid[1, :5], title="Spectrum of the middle pixel", ylabel="reflectance")
    spectrum.plot(places, values, "o-", color="#777777")
    for place, weight in zip(range(band - 1, band + 2), kernel, strict=True):
        spectrum.plot(place, values[place], "o", color=color, markersize=6)
        spectrum.annotate(f"{weight:+g}", (place, values[place]), xytext=(-4, 7), textcoords="offset points")
    spectrum.set_ylim(0, values.max() * 1.35)
    answer = fig.add_subplot(grid[1, 5:], title=f"Answer: {response[band]:+.2f} at {BANDS[band]}")
    answer.bar(places, response, color=[color if b == band else "#BBBBBB" for b in places])
    for ax in (spectrum, answer):
        ax.set_xticks(places, BANDS, rotation=90)
    fig.suptitle(f"A kernel along the bands finds the slope of the spectrum: steepest at {BANDS[band]}")
    return fig
