"""What several figures draw, each in one way: Sentinel-2 as a picture, instance masks, a graph, scale bars, zones."""

from __future__ import annotations

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import hsv_to_rgb, to_rgb
from matplotlib.ticker import NullLocator

from lczlib.zones import CODES, COLORS, K

WHITE, GAMMA = 0.4, 1.8
STRETCH = f"B4-B3-B2, reflectance 0 to {WHITE}, gamma {GAMMA}"  # of `natural_color`, for captions
_OUTLINE = [patheffects.withStroke(linewidth=1.6, foreground="#222222")]


def natural_color(s2: np.ndarray) -> np.ndarray:
    """Sentinel-2 reflectance (..., 10) as a picture (..., 3) 0..1, stretched as `STRETCH` says; NaN is white."""
    picture = np.clip(np.asarray(s2)[..., [2, 1, 0]] / WHITE, 0, 1) ** (1 / GAMMA)
    return np.nan_to_num(picture, nan=1.0)


def mask_colors(count: int) -> np.ndarray:
    """Fixed colours (count, 3) of instance masks in their order: hues a golden angle apart, so neighbours differ."""
    k = np.arange(count)
    return hsv_to_rgb(np.column_stack([k * 0.381966 % 1, np.full(count, 0.75), np.where(k % 2, 0.95, 0.8)]))


def paint_masks(image: np.ndarray, masks: np.ndarray, strength: float = 0.55) -> np.ndarray:
    """An RGB image with its masks in `mask_colors` and their rims darker, the last on top.

    Args:
        image: (H, W, 3) uint8. masks: (n, H, W) bool, largest first. strength: 0 (image only) to 1 (colours only).

    Returns:
        (H, W, 3) 0..1.
    """
    image = np.asarray(image) / 255
    shown = image.copy()
    for mask, color in zip(masks, mask_colors(len(masks)), strict=True):
        inner = np.array(mask, bool)
        inner[1:-1, 1:-1] &= mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
        shown[mask] = 0.6 * color
        shown[inner] = (1 - strength) * image[inner] + strength * color
    return shown


def draw_graph(ax: Axes, xy: np.ndarray, colors: np.ndarray | str = "white", size: float | np.ndarray = 16) -> None:
    """A complete graph: a thin line between every two nodes, the nodes on top.

    Args:
        xy: (n, 2) positions in the coordinates of `ax`. colors: (n, 3) 0..1 or one colour. size: points^2, one or (n,).
    """
    first, second = np.triu_indices(len(xy), 1)
    lines = np.stack([xy[first], xy[second]], 1)
    ax.add_collection(LineCollection(lines, colors="#444444", linewidths=0.15, alpha=0.5, zorder=2), autolim=False)
    colors = colors if isinstance(colors, str) else np.clip(colors, 0, 1)
    ax.scatter(xy[:, 0], xy[:, 1], c=colors, s=size, edgecolors="black", linewidths=0.5, zorder=3)


def bare(ax: Axes) -> None:
    """An axis without ticks, for a picture."""
    ax.xaxis.set_major_locator(NullLocator())
    ax.yaxis.set_major_locator(NullLocator())


def scale_bar(ax: Axes, pixel: float = 1.0, metres: float | None = None, y: float = 0.06) -> None:
    """A bar of a round length with its length beside it, at the lower left of a picture.

    Args:
        pixel: metres of one unit of the x axis. metres: length; None: a round one, about a third of the width.
        y: height in the axes, 0..1; below 0 the bar stands under the picture, in dark ink.
    """
    left, right = ax.get_xlim()
    width = (right - left) * pixel
    if metres is None:
        step = 10 ** np.floor(np.log10(width / 3))
        metres = max(factor * step for factor in (1, 2, 5) if factor * step <= width / 3)
    start = left + (0.05 * (right - left) if y > 0 else 0)
    end, effects = start + metres / pixel, _OUTLINE if y > 0 else None
    style = {"color": "white" if y > 0 else "#222222", "transform": ax.get_xaxis_transform(), "clip_on": False}
    ax.plot([start, end], [y, y], linewidth=2, solid_capstyle="butt", path_effects=effects, scalex=False, **style)
    text = f" {metres:g} m" if metres < 1000 else f" {metres / 1000:g} km"
    ax.text(end, y, text, va="center", fontsize=7, path_effects=effects, **style)


def zone_ink(label: int) -> str:
    """The ink that is readable on the colour of a zone (label 1..17): "white" or "#111111"."""
    return "white" if np.dot(to_rgb(COLORS[label - 1]), (0.299, 0.587, 0.114)) < 0.45 else "#111111"


def zone_axis(ax: Axes, axis: str = "x", start: float = 0) -> None:
    """The 17 zones as ticks at `start`, `start` + 1, ..., each code printed on its colour."""
    ax.set(**{f"{axis}ticks": np.arange(K) + start, f"{axis}ticklabels": CODES})
    ax.tick_params(axis=axis, length=0, pad=4)
    for label, tick in enumerate(getattr(ax, f"get_{axis}ticklabels")(), start=1):
        tick.set(fontsize=7, color=zone_ink(label), fontweight="bold")
        tick.set_bbox({"facecolor": COLORS[label - 1], "edgecolor": "#666666", "linewidth": 0.3, "pad": 1.2})
