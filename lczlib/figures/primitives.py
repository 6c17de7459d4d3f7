"""What several figures draw, each in one way: pictures, instance masks, graphs, scale bars, zones, intervals."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import patheffects
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import hsv_to_rgb, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from lczlib.figures.base import ONE_COLUMN, STREAM_COLORS, STREAM_NAMES, TWO_COLUMNS
from lczlib.metrics import Interval
from lczlib.zones import CODES, COLORS, K

WHITE, GAMMA = 0.4, 1.8
STRETCH = f"B4-B3-B2, reflectance 0 to {WHITE}, gamma {GAMMA}"  # of `natural_color`, for captions
GREY, INK = "#888888", "#2B2B2B"
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
    """An RGB image with its masks in `mask_colors` and their rims darker, the last on top: (H, W, 3) 0..1.

    Args:
        image: (H, W, 3) uint8. masks: (n, H, W) bool, largest first. strength: 0 (image only) to 1 (colours only).
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
    """A complete graph at `xy` (n, 2): a thin line between every two nodes, the nodes on top.

    `colors` is (n, 3) 0..1 or one colour, `size` in square points one or (n,).
    """
    first, second = np.triu_indices(len(xy), 1)
    lines = np.stack([xy[first], xy[second]], 1)
    ax.add_collection(LineCollection(lines, colors="#444444", linewidths=0.15, alpha=0.5, zorder=2), autolim=False)
    colors = colors if isinstance(colors, str) else np.clip(colors, 0, 1)
    ax.scatter(xy[:, 0], xy[:, 1], c=colors, s=size, edgecolors="black", linewidths=0.5, zorder=3)


def bare(ax: Axes) -> None:
    """An axis without ticks, for a picture."""
    ax.set(xticks=[], yticks=[])


def picture(ax: Axes, image: np.ndarray, title: str = "", **style) -> None:
    """RGB (H, W, 3) of 1 m or Sentinel-2 (H, W, 10) of 10 m on an axis in metres, with a title of normal weight."""
    sentinel2 = image.shape[-1] == 10
    height, width = np.multiply(image.shape[:2], 10 if sentinel2 else 1)
    ax.imshow(natural_color(image) if sentinel2 else image, extent=(0, width, height, 0), **style)
    ax.set_title(title, fontsize=7, fontweight="normal")
    bare(ax)


def pictures(
    rows: Mapping[str, Sequence[np.ndarray]], titles: Sequence[str], title: str = "", width: float = TWO_COLUMNS
) -> Figure:
    """Pictures in rows (as `picture` takes them), each row with its name, each column with its title."""
    n = len(titles)
    height = len(rows) * width / n + 0.3 + 0.5 * bool(title)
    fig, axes = plt.subplots(len(rows), n, figsize=(width, height), squeeze=False)
    for k, (name, images) in enumerate(rows.items()):
        axes[k, 0].set_ylabel(name)
        for ax, image, text in zip(axes[k], images, titles, strict=True):
            picture(ax, image, "" if k else text)
    scale_bar(axes[0, 0])
    return headline(fig, title)


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


def headline(fig: Figure, title: str) -> Figure:
    """The figure with its message above it, in lines that fit its width."""
    lines = (textwrap.fill(line, int(13.5 * fig.get_figwidth())) for line in title.splitlines())
    fig.suptitle("\n".join(lines))
    return fig


def percent(ax: Axes) -> None:
    """Shares 0..1 printed as percent on the y axis, at six places at most so that the numbers do not meet."""
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.yaxis.set_major_locator(MaxNLocator(6))


def intervals(ax: Axes, rows: Sequence[Interval], at, color, vertical: bool = False, **style) -> None:
    """Points with 95 % intervals at the places `at`; an interval that does not exist is left out."""
    r = np.array([tuple(i) for i in rows], float).reshape(-1, 3)
    spread = np.nan_to_num(np.abs(r[:, 1:].T - r[:, 0]))
    where = {"x": at, "y": r[:, 0], "yerr": spread} if vertical else {"x": r[:, 0], "y": at, "xerr": spread}
    ax.errorbar(**where, color=color, **{"fmt": "o", "ms": 3.5, "elinewidth": 0.9, "capsize": 1.5} | style)


def side_by_side(
    ax: Axes, rows: Mapping[str, Sequence[Interval]], vertical: bool = True, names: Mapping[str, str] = STREAM_NAMES
) -> None:
    """`intervals` of several streams at 0, 1, ..., beside each other in their colours, with a legend above."""
    for k, (stream, values) in enumerate(rows.items()):
        at = np.arange(len(values)) + 0.22 * (k - (len(rows) - 1) / 2)
        intervals(ax, values, at, STREAM_COLORS[stream], vertical, label=names[stream], fmt="soD"[k])
    ax.legend(ncols=4, loc="lower right", bbox_to_anchor=(1, 1))


def rows_of_intervals(
    panels: Mapping[str, Mapping[str, Interval]],
    title: str,
    xlabel: str,
    colors: Mapping[str, str] | None = None,
    zero: bool = True,
) -> Figure:
    """Rows of intervals by name: `panels` {panel: {row: Interval}}; `colors` of panels; `zero`: a line at 0."""
    most, alike = max(map(len, panels.values())), len({tuple(rows) for rows in panels.values()}) == 1
    size = (TWO_COLUMNS if len(panels) > 1 else ONE_COLUMN * 1.4, 0.22 * most + 0.95)
    fig, axes = plt.subplots(1, len(panels), figsize=size, squeeze=False, sharey=alike)
    for ax, (name, rows) in zip(axes[0], panels.items(), strict=True):
        intervals(ax, list(rows.values()), np.arange(len(rows)), (colors or {}).get(name, INK))
        ax.set(yticks=range(len(rows)), yticklabels=list(rows), ylim=(len(rows) - 0.5, -0.5), xlabel=xlabel, title=name)
        if zero:
            ax.axvline(0, color=GREY, lw=0.8)
        ax.xaxis.set_major_locator(MaxNLocator(5 if len(panels) < 3 else 3))
        ax.grid(axis="x")
    return headline(fig, title)
