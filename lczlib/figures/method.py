"""The demo's pictures: one pair through the method, and what moved its answer."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lczlib.data import BANDS
from lczlib.figures.base import STREAM_COLORS, TWO_COLUMNS
from lczlib.figures.explorer import View
from lczlib.figures.primitives import draw_graph, paint_masks, picture, scale_bar
from lczlib.fusion import fuse
from lczlib.zones import CODES

_WIDTHS = (1, 0.16, 1, 0.16, 1, 0.16, 0.78, 0.16, 1.15, 0.16, 1.15)  # panels and the arrows between them


def one_pair(view: View, alpha: float) -> Figure:
    """Two rows, one per stream, from the patch to probabilities, and their weighted sum at the right."""
    fig = plt.figure(figsize=(TWO_COLUMNS, 3.1))
    grid = fig.add_gridspec(2, len(_WIDTHS), width_ratios=_WIDTHS)
    patches = fig.add_subplot(grid[0, 0]), fig.add_subplot(grid[1, 0])
    picture(patches[0], view.s2, "Sentinel-2, ten bands")
    picture(patches[1], view.rgb, "RGB, 1 m")
    for axis in patches:
        scale_bar(axis)
    picture(fig.add_subplot(grid[1, 2]), paint_masks(view.rgb, view.masks), f"{len(view.masks)} instance masks")
    graph = fig.add_subplot(grid[1, 4])
    picture(graph, np.full_like(view.rgb, 255), "complete graph")
    draw_graph(graph, view.nodes[:, 3:5] * len(view.rgb), view.nodes[:, :3])
    texts = {
        "s2": "3D ResNet11\n3 x 3 x 3 kernels over rows, columns and bands",
        "ge": "GCN\n3 layers,\nmean over\nnodes",
    }
    for stream, cell in (("s2", grid[0, 2:7]), ("ge", grid[1, 6])):
        axis = fig.add_subplot(cell)
        axis.axis("off")
        box = {"boxstyle": "round,pad=0.6", "facecolor": "white", "edgecolor": STREAM_COLORS[stream], "linewidth": 1.2}
        axis.text(0.5, 0.5, texts[stream], ha="center", va="center", fontsize=7, bbox=box)
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
