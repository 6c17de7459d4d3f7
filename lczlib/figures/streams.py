"""Figures of the two streams: where SAM is asked, instance masks, graphs, training; a pair on its way through both."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from lczlib.data import BANDS
from lczlib.figures.base import ONE_COLUMN, STREAM_COLORS, STREAM_NAMES, TWO_COLUMNS
from lczlib.figures.explorer import View
from lczlib.figures.primitives import GREY, INK, draw_graph, mask_colors, paint_masks, picture, pictures, scale_bar
from lczlib.fusion import fuse
from lczlib.metrics import Interval
from lczlib.sam import MaskSettings
from lczlib.zones import CODES, K


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

    Of each place: image (320, 320, 3) uint8, masks (n, 320, 320) bool, node features `x` (n, >= 5), title.
    """
    white = [np.full_like(image, 255) for image in images]
    rows = {"RGB patch": images, "instance masks": list(map(paint_masks, images, masks)), "graph": white}
    fig = pictures(rows, titles)
    for axis, image, found, nodes in zip(fig.axes[-len(images) :], images, masks, x, strict=True):
        draw_graph(axis, nodes[:, 3:5] * image.shape[1::-1], nodes[:, :3], size=4 + 200 * found.mean((1, 2)))
    return fig


def prompts(image: np.ndarray, settings: MaskSettings) -> Figure:
    """Where SAM is asked: left the grid over the image (H, W, 3), right the crops with grids of their own."""
    fig, axes = plt.subplots(1, 2, figsize=(ONE_COLUMN * 1.4, ONE_COLUMN * 0.78))
    whole, *crops = settings.crops(image.shape[:2])
    for ax, shown, title in zip(axes, ([whole], crops), ("the image", f"{len(crops)} overlapping crops")):
        ax.imshow(image, alpha=0.75)
        for ((x0, y0, x1, y1), grid), color in zip(shown, mask_colors(len(shown))):
            x, y = (grid * (x1 - x0, y1 - y0) + (x0, y0)).T
            ax.plot(x, y, "o", color=color, markersize=2.5, markeredgecolor="black", markeredgewidth=0.3)
            ax.add_patch(Rectangle((x0, y0), x1 - x0 - 1, y1 - y0 - 1, fill=False, edgecolor=color, linewidth=1.5))
        ax.set_title(f"{title}: {sum(len(grid) for _, grid in shown)} points")
        ax.set(xticks=[], yticks=[])
    return fig


def masks_and_graph(image: np.ndarray, masks: np.ndarray, boxes: np.ndarray, features: np.ndarray) -> Figure:
    """Four panels: RGB patch, instance masks, the graph over the image, node features with their scale.

    image (H, W, 3) uint8, masks (n, H, W) bool, boxes (n, 4) XYWH px, features (n, 5) of `node_features`.
    """
    fig, axes = plt.subplots(1, 4, figsize=(TWO_COLUMNS, 2.1), width_ratios=(1, 1, 1, 0.6))
    picture(axes[0], image, "RGB patch")
    picture(axes[1], paint_masks(image, masks), f"{len(masks)} masks")
    picture(axes[2], image, "complete graph", alpha=0.35)
    draw_graph(axes[2], boxes[:, :2] + boxes[:, 2:] / 2, features[:, :3])
    table = axes[3].imshow(features, aspect="auto", cmap="cividis", vmin=0, vmax=1)
    axes[3].set(xticks=range(5), xticklabels=["R", "G", "B", "x", "y"], ylabel="node", title="features")
    fig.colorbar(table, ax=axes[3], label="0 to 1")
    scale_bar(axes[0])
    return fig


def one_pair(view: View, alpha: float) -> Figure:
    """The demo's pair: a row for each stream, from the patch to probabilities, and their weighted sum at the right."""
    fig = plt.figure(figsize=(TWO_COLUMNS, 3.1))
    widths = (1, 0.16, 1, 0.16, 1, 0.16, 0.78, 0.16, 1.15, 0.16, 1.15)  # of panels and the arrows between them
    grid = fig.add_gridspec(2, len(widths), width_ratios=widths)
    patches = fig.add_subplot(grid[0, 0]), fig.add_subplot(grid[1, 0])
    picture(patches[0], view.s2, "Sentinel-2, ten bands")
    picture(patches[1], view.rgb, "RGB, 1 m")
    for axis in patches:
        scale_bar(axis)
    picture(fig.add_subplot(grid[1, 2]), paint_masks(view.rgb, view.masks), f"{len(view.masks)} instance masks")
    graph = fig.add_subplot(grid[1, 4])
    picture(graph, np.full_like(view.rgb, 255), "complete graph")
    draw_graph(graph, view.nodes[:, 3:5] * len(view.rgb), view.nodes[:, :3])
    volume, layers = "3D ResNet11\n3 x 3 x 3 kernels over rows, columns and bands", "GCN\n3 layers,\nmean over\nnodes"
    for stream, cell, text in (("s2", grid[0, 2:7], volume), ("ge", grid[1, 6], layers)):
        axis = fig.add_subplot(cell)
        axis.axis("off")
        box = {"boxstyle": "round,pad=0.6", "facecolor": "white", "edgecolor": STREAM_COLORS[stream], "linewidth": 1.2}
        axis.text(0.5, 0.5, text, ha="center", va="center", fontsize=7, bbox=box)
    fused = fuse(view.p_s2[None], view.p_ge[None], alpha)[0]
    _bars(fig.add_subplot(grid[0, 8]), view.p_s2, "p of Sentinel-2", "s2", view.label)
    _bars(fig.add_subplot(grid[1, 8]), view.p_ge, "p of RGB", "ge", view.label)
    _bars(fig.add_subplot(grid[:, 10]), fused, f"fused, alpha {alpha:g}", "fused", view.label)
    for cell in (grid[0, 1], grid[0, 7], *(grid[1, column] for column in (1, 3, 5, 7)), grid[:, 9]):
        axis = fig.add_subplot(cell)
        axis.axis("off")
        arrow = {"arrowstyle": "-|>", "color": "#444444", "linewidth": 0.8}
        axis.annotate("", (1.3, 0.5), (-0.3, 0.5), xycoords="axes fraction", annotation_clip=False, arrowprops=arrow)
    return fig


def _bars(axis: Axes, p: np.ndarray, title: str, stream: str, label: int) -> None:
    """The five most probable zones and the reference (bold), in the order of zones."""
    zones = np.unique(np.append(np.argsort(-p)[:5], label - 1))
    axis.barh(range(len(zones)), p[zones], color=STREAM_COLORS[stream], height=0.6)
    axis.set(ylim=(len(zones) - 0.4, -0.6), xlim=(0, 1), xticks=[0, 0.5, 1])
    axis.set_title(title, fontsize=7)
    axis.set_yticks(range(len(zones)), [f"LCZ {CODES[zone]}" for zone in zones])
    axis.get_yticklabels()[int(np.flatnonzero(zones == label - 1)[0])].set_fontweight("bold")


def attribution(bands: np.ndarray, view: View, nodes: np.ndarray) -> Figure:
    """Effect of each band (10,) and each node (n,) on the answer: bars, and circles over the RGB picture."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(TWO_COLUMNS, 2.4), width_ratios=(1.6, 1))
    left.bar(BANDS, bands, color=STREAM_COLORS["s2"])
    left.axhline(0, color="#444444", linewidth=0.6)
    left.set(ylabel="gradient x input", title="What moved Sentinel-2's answer")
    picture(right, view.rgb, alpha=0.5)
    size = 150 * np.abs(nodes) / max(np.abs(nodes).max(), 1e-9) + 4
    xy, colors = view.nodes[:, 3:5] * len(view.rgb), np.where(nodes > 0, "#b2182b", "#2166ac")
    right.scatter(*xy.T, s=size, c=colors, alpha=0.8, edgecolors="black", linewidths=0.4)
    right.set_title("What moved RGB's answer")
    return fig
