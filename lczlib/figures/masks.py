"""Figures of notebook 01: where SAM is asked; instance masks and the graph over the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lczlib.figures.base import ONE_COLUMN, TWO_COLUMNS
from lczlib.figures.primitives import bare, draw_graph, mask_colors, paint_masks, picture, scale_bar

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
    picture(axes[0], image, "RGB patch")
    picture(axes[1], paint_masks(image, masks), f"{len(masks)} masks")
    picture(axes[2], image, "complete graph", alpha=0.35)
    draw_graph(axes[2], boxes[:, :2] + boxes[:, 2:] / 2, features[:, :3])
    table = axes[3].imshow(features, aspect="auto", cmap="cividis", vmin=0, vmax=1)
    axes[3].set(xticks=range(5), xticklabels=["R", "G", "B", "x", "y"], ylabel="node", title="features")
    fig.colorbar(table, ax=axes[3], label="0 to 1")
    scale_bar(axes[0])
    return fig
