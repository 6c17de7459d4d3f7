"""Figures of notebook 01: prompts, instance masks, the graph over the image, what settings do, where masks fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lczlib.figures.base import ONE_COLUMN, TWO_COLUMNS
from lczlib.figures.primitives import bare, draw_graph, mask_colors, paint_masks, scale_bar, zone_axis
from lczlib.zones import COLORS

if TYPE_CHECKING:
    from lczlib.sam import MaskSettings


def prompts(image: np.ndarray, settings: MaskSettings) -> Figure:
    """Where SAM is asked: left the grid over the image (H, W, 3), right the crops with grids of their own."""
    from segment_anything.utils.amg import build_point_grid, generate_crop_boxes

    fig, axes = plt.subplots(1, 2, figsize=(ONE_COLUMN * 1.4, ONE_COLUMN * 0.78))
    boxes, layers = generate_crop_boxes(image.shape[:2], settings.crop_n_layers, 512 / 1500)
    for ax, layer, title in zip(axes, (0, 1), ("the image", f"{max(len(boxes) - 1, 0)} overlapping crops")):
        ax.imshow(image, alpha=0.75)
        chosen = [box for box, of in zip(boxes, layers) if of == layer]
        for (x0, y0, x1, y1), color in zip(chosen, mask_colors(len(chosen))):
            x, y = (build_point_grid(settings.points_in(layer)) * (x1 - x0, y1 - y0) + (x0, y0)).T
            ax.plot(x, y, "o", color=color, markersize=2.5, markeredgecolor="black", markeredgewidth=0.3)
            ax.add_patch(Rectangle((x0, y0), x1 - x0 - 1, y1 - y0 - 1, fill=False, edgecolor=color, linewidth=1.5))
        ax.set_title(f"{title}: {len(chosen) * settings.points_in(layer) ** 2} points")
        bare(ax)
    return fig


def masks_and_graph(image: np.ndarray, masks: np.ndarray, boxes: np.ndarray, features: np.ndarray) -> Figure:
    """Four panels: RGB patch, instance masks, the graph over the image, node features with their scale.

    Args:
        image: (H, W, 3) uint8. masks: (n, H, W) bool. boxes: (n, 4) XYWH px. features: (n, 5) of `node_features`.
    """
    fig, axes = plt.subplots(1, 4, figsize=(TWO_COLUMNS, 2.1), width_ratios=(1, 1, 1, 0.6))
    axes[0].imshow(image)
    axes[1].imshow(paint_masks(image, masks))
    axes[2].imshow(image, alpha=0.35)
    draw_graph(axes[2], boxes[:, :2] + boxes[:, 2:] / 2, features[:, :3])
    table = axes[3].imshow(features, aspect="auto", cmap="cividis", vmin=0, vmax=1, interpolation="nearest")
    axes[3].set(xticks=range(5), xticklabels=["R", "G", "B", "x", "y"], ylabel="node")
    fig.colorbar(table, ax=axes[3], label="0 to 1")
    for ax, title in zip(axes, ("RGB patch", f"{len(masks)} masks", "complete graph", "features")):
        ax.set_title(title)
    for ax in axes[:3]:
        bare(ax)
    scale_bar(axes[0])
    return fig


def settings_effect(rows: Sequence[Mapping[str, object]], title: str) -> Figure:
    """Bars for each setting: masks an image (nodes), instances found, how well masks fit, processor time.

    Args:
        rows: `name`, `masks`, `found`, `mask_iou`, `seconds` each; time is shown relative to the first.
    """
    fig, axes = plt.subplots(1, 4, figsize=(TWO_COLUMNS, 0.8 + 0.2 * len(rows)), sharey=True)
    labels = ("nodes an image", "instances found", "mean best IoU", "time (first row = 1)")
    for ax, name, label in zip(axes, ("masks", "found", "mask_iou", "seconds"), labels):
        values = np.array([row[name] for row in rows], float)
        ax.barh(range(len(rows)), values / values[0] if name == "seconds" else values, color="#7A9E9F")
        ax.set_xlabel(label)
    axes[0].set_yticks(range(len(rows)), [str(row["name"]) for row in rows])
    axes[0].invert_yaxis()
    fig.suptitle(title, fontsize=8, fontweight="bold")
    return fig


def gallery(rows: Mapping[str, Sequence[np.ndarray]], titles: Sequence[str], width: float = TWO_COLUMNS) -> Figure:
    """Pictures in rows, each row with its name, each column with its title; a scale bar in the first."""
    count = len(titles)
    fig, axes = plt.subplots(len(rows), count, figsize=(width, 0.3 + len(rows) * width / count), squeeze=False)
    for row, (name, pictures) in zip(axes, rows.items()):
        row[0].set_ylabel(name)
        for ax, picture in zip(row, pictures):
            ax.imshow(picture)
            bare(ax)
    for ax, title in zip(axes[0], titles):
        ax.set_title(title)
    scale_bar(axes[0, 0])
    return fig


def nodes_by_zone(labels: np.ndarray, counts: np.ndarray, title: str) -> Figure:
    """Nodes a graph for each zone: median and quartiles, in the order 1-10, A-G."""
    fig, ax = plt.subplots(figsize=(ONE_COLUMN * 1.3, 2.2))
    groups = [counts[labels == label] for label in range(1, 18)]
    line = {"color": "black", "linewidth": 1.2}
    boxes = ax.boxplot(groups, positions=range(17), patch_artist=True, showfliers=False, medianprops=line)
    for box, color in zip(boxes["boxes"], COLORS):
        box.set_facecolor(color)
    zone_axis(ax)
    ax.set(xlabel="zone", ylabel="nodes a graph", ylim=(0, None), title=title)
    return fig
