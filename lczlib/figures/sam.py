"""Figures of notebook 01: instance masks, the graph over the image, what settings do, where masks fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from lczlib.figures.base import ONE_COLUMN, TWO_COLUMNS
from lczlib.figures.primitives import bare, draw_graph, paint_masks, scale_bar, zone_axis
from lczlib.zones import COLORS


def masks_and_graph(image: np.ndarray, masks: np.ndarray, boxes: np.ndarray, features: np.ndarray) -> Figure:
    """Four panels: RGB patch, instance masks, the graph over the image, node features as a table of colours.

    Args:
        image: (H, W, 3) uint8. masks: (n, H, W) bool. boxes: (n, 4) XYWH px. features: (n, 5) of `node_features`.
    """
    fig, axes = plt.subplots(1, 4, figsize=(TWO_COLUMNS, 2.05), width_ratios=(1, 1, 1, 0.55))
    axes[0].imshow(image)
    axes[1].imshow(paint_masks(image, masks))
    axes[2].imshow(image, alpha=0.35)
    draw_graph(axes[2], boxes[:, :2] + boxes[:, 2:] / 2, features[:, :3])
    axes[3].imshow(features, aspect="auto", cmap="cividis", vmin=0, vmax=1, interpolation="nearest")
    axes[3].set_xticks(range(5), ["R", "G", "B", "x", "y"])
    axes[3].set_ylabel("node")
    titles = ("RGB patch", f"{len(masks)} instance masks", "graph: every node to every other", "node features x")
    for ax, title in zip(axes, titles):
        ax.set_title(title, fontsize=7)
    for ax in axes[:3]:
        bare(ax)
    scale_bar(axes[0])
    return fig


def settings_effect(rows: Sequence[Mapping[str, object]], seconds: Sequence[float]) -> Figure:
    """Bars for each setting: masks an image (nodes), share of instances found, relative processor time.

    Args:
        rows: one mapping each with `name`, `masks`, `found`, `mask_iou`.
        seconds: processor time of each, any unit; shown relative to the first.
    """
    fig, axes = plt.subplots(1, 3, figsize=(TWO_COLUMNS, 0.5 + 0.24 * len(rows)), sharey=True)
    at = np.arange(len(rows))[::-1]
    relative = np.asarray(seconds) / seconds[0]
    axes[0].barh(at, [row["masks"] for row in rows], color="#7A9E9F")
    axes[1].barh(at + 0.2, [row["found"] for row in rows], height=0.36, color="#0072B2", label="instances found")
    axes[1].barh(at - 0.2, [row["mask_iou"] for row in rows], height=0.36, color="#DE8A0A", label="mean best IoU")
    axes[2].barh(at, relative, color="#999999")
    axes[0].set_yticks(at, [str(row["name"]) for row in rows])
    labels = ("nodes an image", "share", "processor time (first row = 1)")
    for ax, label in zip(axes, labels):
        ax.set_xlabel(label)
    axes[1].set_xlim(0, 1)
    axes[1].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=2, fontsize=6)
    return fig


def gallery(
    images: Sequence[np.ndarray], found: Sequence[np.ndarray], true: Sequence[np.ndarray], titles: Sequence[str]
) -> Figure:
    """One column an image: the patch, the masks found, the true instances."""
    fig, axes = plt.subplots(3, len(images), figsize=(TWO_COLUMNS, 0.2 + 3 * TWO_COLUMNS / len(images)), squeeze=False)
    for column, (image, masks, truth, title) in enumerate(zip(images, found, true, titles)):
        axes[0, column].imshow(image)
        axes[1, column].imshow(paint_masks(image, masks))
        axes[2, column].imshow(paint_masks(image, truth))
        axes[0, column].set_title(title, fontsize=6.5)
    for row, name in enumerate(("RGB patch", "masks found", "true instances")):
        axes[row, 0].set_ylabel(name)
        for ax in axes[row]:
            bare(ax)
    return fig


def pictures(panels: Sequence[tuple[str, np.ndarray]]) -> Figure:
    """Pictures side by side, each with its title."""
    fig, axes = plt.subplots(1, len(panels), figsize=(TWO_COLUMNS, 0.3 + TWO_COLUMNS / len(panels)), squeeze=False)
    for ax, (title, picture) in zip(axes[0], panels):
        ax.imshow(picture)
        ax.set_title(title, fontsize=7)
        bare(ax)
    return fig


def nodes_by_zone(labels: np.ndarray, counts: np.ndarray) -> Figure:
    """Nodes a graph for each zone: median and quartiles, in the order 1-10, A-G."""
    fig, ax = plt.subplots(figsize=(ONE_COLUMN, 2.0))
    groups = [counts[labels == label] if (labels == label).any() else np.zeros(1) for label in range(1, 18)]
    boxes = ax.boxplot(
        groups, positions=range(17), patch_artist=True, showfliers=False, medianprops={"color": "white", "lw": 1}
    )
    for box, color in zip(boxes["boxes"], COLORS):
        box.set_facecolor(color)
    zone_axis(ax)
    ax.set_xlabel("zone")
    ax.set_ylabel("nodes a graph")
    ax.set_ylim(0)
    return fig
