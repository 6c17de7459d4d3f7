"""The demo's pictures: one pair through the method, the hardest scenes, what moved an answer."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lczlib.data import BANDS
from lczlib.figures.base import STREAM_COLORS, TWO_COLUMNS
from lczlib.figures.explorer import View
from lczlib.figures.primitives import bare, draw_graph, natural_color, paint_masks, scale_bar
from lczlib.fusion import fuse
from lczlib.zones import CODES

_WIDTHS = (1, 0.16, 1, 0.16, 1, 0.16, 0.78, 0.16, 1.15, 0.16, 1.15)  # panels and the arrows between them


def one_pair(
    rgb: np.ndarray,
    s2: np.ndarray,
    masks: np.ndarray,
    nodes: np.ndarray,
    p_s2: np.ndarray,
    p_ge: np.ndarray,
    alpha: float,
    label: int,
) -> Figure:
    """Two rows, one per stream, from the patch to probabilities, and their weighted sum at the right.

    Args:
        rgb: (320, 320, 3) uint8. s2: (32, 32, 10) reflectance. masks: (n, 320, 320) bool. nodes: (n, 5) node features.
        p_s2, p_ge: (17,) probabilities. alpha: weight of Sentinel-2. label: the reference zone, 1..17.
    """
    fig = plt.figure(figsize=(TWO_COLUMNS, 3.1))
    grid = fig.add_gridspec(2, len(_WIDTHS), width_ratios=_WIDTHS)
    fused = fuse(p_s2[None], p_ge[None], alpha)[0]
    _picture(fig.add_subplot(grid[0, 0]), natural_color(s2), "Sentinel-2, ten bands", 10.0)
    _picture(fig.add_subplot(grid[1, 0]), rgb, "RGB, 1 m", 1.0)
    _picture(fig.add_subplot(grid[1, 2]), paint_masks(rgb, masks), f"{len(masks)} instance masks")
    graph = fig.add_subplot(grid[1, 4])
    _picture(graph, np.full_like(rgb, 255), "complete graph")
    draw_graph(graph, nodes[:, 3:5] * len(rgb), nodes[:, :3].clip(0, 1))
    _network(fig.add_subplot(grid[0, 2:7]), "3D ResNet11\n3 x 3 x 3 kernels over rows, columns and bands", "s2")
    _network(fig.add_subplot(grid[1, 6]), "GCN\n3 layers,\nmean over\nnodes", "ge")
    _bars(fig.add_subplot(grid[0, 8]), p_s2, "p of Sentinel-2", "s2", label)
    _bars(fig.add_subplot(grid[1, 8]), p_ge, "p of RGB", "ge", label)
    _bars(fig.add_subplot(grid[:, 10]), fused, f"fused, alpha {alpha:g}", "fused", label)
    for cell in (grid[0, 1], grid[0, 7], *(grid[1, column] for column in (1, 3, 5, 7)), grid[:, 9]):
        _arrow(fig.add_subplot(cell))
    return fig


def scenes(views: Sequence[View], alpha: float) -> Figure:
    """RGB pictures in a row, each with its reference and the answer at this alpha."""
    fig, axes = plt.subplots(1, len(views), figsize=(TWO_COLUMNS, 1.7), squeeze=False)
    for axis, view in zip(axes[0], views, strict=True):
        p = fuse(view.p_s2[None], view.p_ge[None], alpha)[0]
        _picture(axis, view.rgb, f"is {CODES[view.label - 1]}, p {p[view.label - 1]:.2f}\nanswer {CODES[p.argmax()]}")
    scale_bar(axes[0, 0], 1.0, 100)
    return fig


def attribution(bands: np.ndarray, view: View, nodes: np.ndarray) -> Figure:
    """Effect of each band (10,) and each node (n,) on the answer: bars, and circles over the RGB picture."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(TWO_COLUMNS, 2.4), width_ratios=(1.6, 1))
    left.bar(BANDS, bands, color=STREAM_COLORS["s2"])
    left.axhline(0, color="#444444", linewidth=0.6)
    left.set_ylabel("gradient x input")
    left.set_title("What moved Sentinel-2's answer")
    right.imshow(view.rgb, alpha=0.5)
    bare(right)
    size = 150 * np.abs(nodes) / max(np.abs(nodes).max(), 1e-9) + 4
    xy, colors = view.nodes[:, 3:5] * len(view.rgb), np.where(nodes > 0, "#b2182b", "#2166ac")
    right.scatter(*xy.T, s=size, c=colors, alpha=0.8, edgecolors="black", linewidths=0.4)
    right.set_title("What moved RGB's answer")
    return fig


def _picture(axis: Axes, picture: np.ndarray, title: str, pixel: float = 0) -> None:
    axis.imshow(picture)
    axis.set(xticks=[], yticks=[])
    axis.set_title(title, fontsize=7)
    if pixel:
        scale_bar(axis, pixel, 100)


def _network(axis: Axes, text: str, stream: str) -> None:
    axis.axis("off")
    box = {"boxstyle": "round,pad=0.6", "facecolor": "white", "edgecolor": STREAM_COLORS[stream], "linewidth": 1.2}
    axis.text(0.5, 0.5, text, ha="center", va="center", fontsize=7, bbox=box)


def _bars(axis: Axes, p: np.ndarray, title: str, stream: str, label: int) -> None:
    """The five most probable zones and the reference (bold), in the order of zones."""
    zones = np.unique(np.append(np.argsort(-p)[:5], label - 1))
    place = np.arange(len(zones))
    axis.barh(place, p[zones], color=STREAM_COLORS[stream], height=0.6)
    axis.set(ylim=(len(zones) - 0.4, -0.6), xlim=(0, 1), xticks=[0, 0.5, 1])
    axis.set_title(title, fontsize=7)
    axis.set_yticks(place, [f"LCZ {CODES[zone]}" for zone in zones])
    axis.get_yticklabels()[int(np.flatnonzero(zones == label - 1)[0])].set_fontweight("bold")


def _arrow(axis: Axes) -> None:
    axis.axis("off")
    arrow = {"arrowstyle": "-|>", "color": "#444444", "linewidth": 0.8}
    axis.annotate("", (1.3, 0.5), (-0.3, 0.5), xycoords="axes fraction", annotation_clip=False, arrowprops=arrow)
