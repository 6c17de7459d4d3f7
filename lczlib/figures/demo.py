"""Figures of the demo notebook: one pair through the whole method."""

from __future__ import annotations

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lczlib.figures.base import ONE_COLUMN, STREAM_COLORS, STREAM_NAMES, TWO_COLUMNS
from lczlib.figures.primitives import draw_graph, natural_color, paint_masks, scale_bar, zone_axis
from lczlib.fusion import fuse
from lczlib.zones import K, to_code


def one_pair(
    s2: np.ndarray,
    rgb: np.ndarray,
    masks: np.ndarray,
    boxes: np.ndarray,
    p_s2: np.ndarray,
    p_ge: np.ndarray,
    alpha: float,
    label: int,
) -> Figure:
    """Both patches, the graph over the RGB patch, and the probabilities of both streams and their sum.

    Args:
        s2: (32, 32, 10) reflectance. rgb: (320, 320, 3) uint8. masks: (n, 320, 320) bool. boxes: (n, 4) XYWH.
        p_s2, p_ge: (17,) probabilities. label: the reference, 1..17.
    """
    fig, axes = plt.subplots(1, 4, figsize=(TWO_COLUMNS, 2.1), width_ratios=(1, 1, 1, 1.5))
    axes[0].imshow(natural_color(s2))
    axes[1].imshow(rgb)
    axes[2].imshow(paint_masks(rgb, masks))
    draw_graph(axes[2], boxes[:, :2] + boxes[:, 2:] / 2)
    scale_bar(axes[1])
    titles = ("Sentinel-2, 10 m", "RGB, 1 m", f"{len(masks)} instances, the graph")
    for axis, title in zip(axes, titles, strict=False):
        axis.set(title=title, xticks=[], yticks=[])
    _bars(axes[3], p_s2, p_ge, alpha, label)
    return fig


def probabilities(p_s2: np.ndarray, p_ge: np.ndarray, alpha: float, label: int) -> Figure:
    """Probabilities (17,) of both streams and their weighted sum; the reference zone is marked."""
    fig, axis = plt.subplots(figsize=(ONE_COLUMN, 2.1))
    _bars(axis, p_s2, p_ge, alpha, label)
    plt.close(fig)
    return fig


def _bars(axis: Axes, p_s2: np.ndarray, p_ge: np.ndarray, alpha: float, label: int) -> None:
    place = np.arange(K)
    for shift, (name, p) in enumerate((("s2", p_s2), ("ge", p_ge), ("fused", fuse(p_s2, p_ge, alpha)))):
        axis.bar(place + (shift - 1) * 0.28, p, width=0.28, color=STREAM_COLORS[name], label=STREAM_NAMES[name])
    axis.axvspan(label - 1.5, label - 0.5, color="#dddddd", zorder=0)
    axis.set(title=f"reference LCZ {to_code(label)}, alpha {alpha:.2f}", ylabel="probability", ylim=(0, 1))
    zone_axis(axis)
    axis.legend()
