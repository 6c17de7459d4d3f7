"""LCZ maps: zones in their colours with the code printed, scale bar in m, area per zone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import matplotlib.pyplot as plt
import numpy as np
import rasterio
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy import ndimage

from lczlib.city.zone_raster import read_labels
from lczlib.figures.base import TWO_COLUMNS
from lczlib.figures.primitives import natural_color, scale_bar, zone_ink
from lczlib.zones import COLORS, ZONES, K

ZONE_COLORS = ListedColormap(COLORS)


def plot_map(
    path: str | Path,
    band: int = 2,
    km2: np.ndarray | None = None,
    polygons: gpd.GeoDataFrame | None = None,
    title: str = "",
    note: str = "",
) -> Figure:
    """A finished map (`mapping.map_scene`), its legend with the area of each zone, and a scale bar.

    Args:
        km2: (17,) area of each zone; None: of what is drawn.
        polygons: drawn on top with their codes (label 1..17, geometry); any CRS.
        note: printed below, such as what the model was trained on.
    """
    labels, pixel = read_labels(path, band)
    figure, (left, right) = plt.subplots(1, 2, figsize=(TWO_COLUMNS, 3.9), width_ratios=(1.45, 1))
    draw_zones(left, labels, pixel, title)
    if polygons is not None:
        with rasterio.open(path) as data:
            _draw_polygons(left, polygons.to_crs(data.crs), (data.transform.c, data.transform.f), pixel)
    drawn = np.bincount(labels.ravel(), minlength=K + 1)[1:] * pixel**2 / 1e6
    draw_areas(right, drawn if km2 is None else km2)
    if note:
        figure.text(0.005, 0.005, note, fontsize=6, color="#777777", style="italic")
    return figure


def draw_zones(axes: Axes, labels: np.ndarray, pixel: float, title: str = "", scale: bool = True) -> None:
    """Labels (H, W) 1..17 as a picture, no data hatched; `pixel` in m."""
    height, width = labels.shape
    axes.add_patch(
        Rectangle((-0.5, -0.5), width, height, fill=False, hatch="////", edgecolor="#cccccc", linewidth=0, zorder=0)
    )
    shown = np.ma.masked_equal(labels, 0).astype(int) - 1
    axes.imshow(shown, cmap=ZONE_COLORS, vmin=-0.5, vmax=K - 0.5, interpolation="nearest")
    _print_codes(axes, labels)
    _frame(axes, title)
    if scale:
        scale_bar(axes, pixel, y=-0.035)
        axes.text(width - 1, height * 1.035, "N \N{UPWARDS ARROW}", va="center", ha="right", fontsize=7)


def _print_codes(axes: Axes, labels: np.ndarray, least: float = 0.015) -> None:
    """The code in the middle of each zone's largest patch, where that covers the share `least` of the picture."""
    for zone in ZONES:
        patches, count = ndimage.label(np.pad(labels == zone.label, 1))
        sizes = np.bincount(patches.ravel(), minlength=count + 1)[1:]
        if count and sizes.max() >= least * labels.size:
            depth = ndimage.distance_transform_edt(patches == sizes.argmax() + 1)
            row, col = np.unravel_index(depth.argmax(), depth.shape)
            axes.text(col - 1, row - 1, zone.code, color=zone_ink(zone.label), fontsize=6, ha="center", va="center")


def draw_scene(axes: Axes, s2: np.ndarray, title: str = "") -> None:
    """Sentinel-2 (H, W, 10) reflectance as `natural_color`."""
    axes.imshow(natural_color(s2))
    _frame(axes, title)


def _frame(axes: Axes, title: str) -> None:
    axes.set(xticks=[], yticks=[])
    axes.set_title(title)
    for spine in axes.spines.values():
        spine.set_visible(True)


def _draw_polygons(axes: Axes, polygons: gpd.GeoDataFrame, corner: Sequence[float], pixel: float) -> None:
    for label, shape in zip(polygons["label"], polygons.geometry, strict=True):
        x, y = shape.exterior.xy
        x, y = (np.array(x) - corner[0]) / pixel - 0.5, (corner[1] - np.array(y)) / pixel - 0.5
        axes.plot(x, y, color="white", linewidth=2.2)
        axes.plot(x, y, color="black", linewidth=1)
        inside = shape.representative_point()
        place = (inside.x - corner[0]) / pixel, (corner[1] - inside.y) / pixel
        box = {"facecolor": "white", "edgecolor": "black", "linewidth": 0.4, "pad": 1.2}
        axes.text(*place, ZONES[label - 1].code, fontsize=6, ha="center", va="center", bbox=box, clip_on=True)


def draw_areas(axes: Axes, km2: np.ndarray) -> None:
    """Legend and area at once: one bar per zone in its colour, code and name beside it. `km2`: (17,)."""
    axes.barh(range(K), km2, color=COLORS, edgecolor="#444444", linewidth=0.4)
    axes.set_yticks(range(K), [f"{zone.code}  {zone.name}" for zone in ZONES])
    axes.tick_params(axis="y", length=0)
    for row, area in enumerate(km2):
        axes.text(area + km2.max() * 0.02, row, f"{area:.2f}" if area else "-", va="center", fontsize=6)
        axes.add_patch(Rectangle((-0.05, row - 0.4), 0.03, 0.8, transform=axes.get_yaxis_transform(), clip_on=False,
                                 facecolor=COLORS[row], edgecolor="#444444", linewidth=0.4))  # fmt: skip
    axes.tick_params(axis="y", pad=13)
    axes.set(xlabel="area (km\N{SUPERSCRIPT TWO})", ylim=(K - 0.5, -0.5), xlim=(0, km2.max() * 1.15))
    axes.set_title("Zones and their area")


def plot_against_truth(s2: np.ndarray, truth: np.ndarray, mapped: np.ndarray, pixel: float, oa: float) -> Figure:
    """Sentinel-2 beside the true zones, the mapped zones, and where the two agree.

    Args:
        s2: (H, W, 10) reflectance at 10 m. truth, mapped: (h, w) labels 1..17, 0 = no data, pixels of `pixel` m.
        oa: share of compared pixels that agree, printed.
    """
    figure, grid = plt.subplots(2, 4, figsize=(TWO_COLUMNS, 2.85), height_ratios=(1, 0.16))
    panels = grid[0]
    draw_scene(panels[0], s2, "Sentinel-2, B4-B3-B2")
    draw_zones(panels[1], truth, pixel, "True zones")
    draw_zones(panels[2], mapped, pixel, "Mapped zones", scale=False)
    both = (truth > 0) & (mapped > 0)
    agree = np.ma.masked_where(~both, truth == mapped)
    panels[3].imshow(agree, cmap=ListedColormap(["#d55e00", "#56b4e9"]), vmin=0, vmax=1)
    _frame(panels[3], f"Agreement (OA {oa:.2f})")
    present = [zone for zone in ZONES if (truth == zone.label).any() or (mapped == zone.label).any()]
    handles = [Rectangle((0, 0), 1, 1, facecolor=zone.color, edgecolor="#444444", linewidth=0.4) for zone in present]
    names = [f"{zone.code} {zone.name}" for zone in present]
    for axes in grid[1]:
        axes.remove()
    below = figure.add_subplot(grid[0, 0].get_gridspec()[1, :])
    below.axis("off")
    below.legend(handles, names, loc="upper center", ncols=6, fontsize=6, handlelength=1, columnspacing=1)
    return figure
