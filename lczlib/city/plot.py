"""LCZ maps: zones in their colours with the code printed, scale bar in m, area per zone."""

from pathlib import Path

import geopandas as gpd
import matplotlib.pyplot as plt
import numpy as np
from affine import Affine
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy import ndimage

from lczlib.city.zone_raster import ZoneRaster
from lczlib.figures.base import TWO_COLUMNS
from lczlib.figures.primitives import bare, natural_color, scale_bar, zone_ink
from lczlib.zones import COLORS, ZONES, K

ZONE_COLORS = ListedColormap(COLORS)


def plot_map(path: str | Path, polygons: gpd.GeoDataFrame | None = None, title: str = "", note: str = "") -> Figure:
    """The zones of an LCZ raster (filtered where it has such), a legend with the area of each, and a scale bar.

    Args:
        polygons: drawn on top with their codes (label 1..17, geometry); any CRS.
        note: printed below, such as what the model was trained on.
    """
    zones = ZoneRaster(path)
    labels = zones.read(longest=1600)
    thin = zones.data.width / labels.shape[1]
    figure, (left, right) = plt.subplots(1, 2, figsize=(TWO_COLUMNS, 3.9), width_ratios=(1.45, 1))
    draw_zones(left, labels, zones.source.pixel * thin, title)
    if polygons is not None:
        a, b, x, d, e, y, *_ = ~(zones.source.transform @ Affine.scale(thin) @ Affine.translation(0.5, 0.5))
        shapes = polygons.to_crs(zones.source.crs).affine_transform([a, b, d, e, x, y])
        box = {"facecolor": "white", "edgecolor": "black", "linewidth": 0.4, "pad": 1.2}
        for label, shape in zip(polygons["label"], shapes, strict=True):
            left.plot(*shape.exterior.xy, color="white", linewidth=2.2)
            left.plot(*shape.exterior.xy, color="black", linewidth=1)
            place = shape.representative_point().coords[0]
            left.text(*place, ZONES[label - 1].code, size=7, ha="center", va="center", bbox=box, clip_on=True)
    draw_areas(right, zones.areas())
    if note:
        figure.text(0.005, 0.005, note, fontsize=7, color="#777777", style="italic")
    return figure


def draw_zones(axes: Axes, labels: np.ndarray, pixel: float, title: str = "") -> None:
    """Labels (H, W) 1..17 as a picture, no data hatched; `pixel` in m."""
    height, width = labels.shape
    void = {"fill": False, "hatch": "////", "edgecolor": "#cccccc", "linewidth": 0, "zorder": 0}
    axes.add_patch(Rectangle((-0.5, -0.5), width, height, **void))
    shown = np.ma.masked_equal(labels, 0).astype(int) - 1
    axes.imshow(shown, cmap=ZONE_COLORS, vmin=-0.5, vmax=K - 0.5, interpolation="nearest")
    _print_codes(axes, labels)
    _frame(axes, title)
    scale_bar(axes, pixel, y=-0.035)
    axes.text(1, -0.035, "N \N{UPWARDS ARROW}", va="center", ha="right", fontsize=7, transform=axes.transAxes)


def _print_codes(axes: Axes, labels: np.ndarray, least: float = 0.015) -> None:
    """The code in the middle of each zone's largest patch, where that covers the share `least` of the picture."""
    for zone in ZONES:
        patches, count = ndimage.label(np.pad(labels == zone.label, 1))
        sizes = np.bincount(patches.ravel(), minlength=count + 1)[1:]
        if count and sizes.max() >= least * labels.size:
            depth = ndimage.distance_transform_edt(patches == sizes.argmax() + 1)
            row, col = np.unravel_index(depth.argmax(), depth.shape)
            axes.text(col - 1, row - 1, zone.code, color=zone_ink(zone.label), fontsize=7, ha="center", va="center")


def _frame(axes: Axes, title: str) -> None:
    bare(axes)
    axes.set_title(title)
    axes.spines[:].set_visible(True)


def draw_areas(axes: Axes, km2: np.ndarray) -> None:
    """Legend and area at once: one bar per zone in its colour, code and name beside it. `km2`: (17,)."""
    axes.barh(range(K), km2, color=COLORS, edgecolor="#444444", linewidth=0.4)
    axes.set_yticks(range(K), [f"{zone.code}  {zone.name}" for zone in ZONES])
    axes.tick_params(axis="y", length=0)
    for row, area in enumerate(km2):
        axes.text(area + km2.max() * 0.02, row, f"{area:.2f}" if area else "-", va="center", fontsize=7)
        axes.add_patch(Rectangle((-0.05, row - 0.4), 0.03, 0.8, transform=axes.get_yaxis_transform(), clip_on=False,
                                 facecolor=COLORS[row], edgecolor="#444444", linewidth=0.4))  # fmt: skip
    axes.tick_params(axis="y", pad=13)
    axes.set(xlabel="area (km\N{SUPERSCRIPT TWO})", ylim=(K - 0.5, -0.5), xlim=(0, km2.max() * 1.15))
    axes.set_title("Zones and their area")


AGREE, DIFFER = "#d9d9d9", "#7b3294"  # colours of no stream and of no zone


def plot_against_truth(
    s2: np.ndarray, maps: dict[str, tuple[np.ndarray, float]], differ: dict[str, tuple[np.ndarray, np.ndarray]]
) -> Figure:
    """Sentinel-2, maps of the same ground with the truth first, and where maps differ from the truth.

    Args:
        s2: (H, W, 10) reflectance at 10 m.
        maps: title -> labels (h, w) 1..17, 0 = no data, and the size of their pixels in m.
        differ: title -> labels of the truth and of a map.
    """
    columns = (2 + len(maps) + len(differ)) // 2
    figure = plt.figure(figsize=(TWO_COLUMNS, 1.05 + 3.6 * 4 / columns), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 0.17))
    panels = iter(above.subplots(2, columns, squeeze=False).ravel())
    first = next(panels)
    first.imshow(natural_color(s2))
    _frame(first, "Sentinel-2, B4-B3-B2")
    for title, (labels, pixel) in maps.items():
        draw_zones(next(panels), labels, pixel, title)
    for title, (truth, mapped) in differ.items():
        axes, known = next(panels), (truth > 0) & (mapped > 0)
        shown = np.ma.masked_where(~known, truth != mapped)
        axes.imshow(shown, cmap=ListedColormap([AGREE, DIFFER]), vmin=0, vmax=1, interpolation="nearest")
        _frame(axes, title)
    for axes in panels:
        axes.axis("off")
    _zone_legend(below, [labels for labels, _ in maps.values()])
    return figure


def _zone_legend(figure: Figure, maps: list[np.ndarray]) -> None:
    """Zones of the maps (those absent from the first, the truth, say so) and the colours of agreement."""
    style = {"edgecolor": "#444444", "linewidth": 0.4}
    present = [zone for zone in ZONES if any((labels == zone.label).any() for labels in maps)]
    handles = [Rectangle((0, 0), 1, 1, facecolor=zone.color, **style) for zone in present]
    absent = [" (mapped, not there)" * (not (maps[0] == zone.label).any()) for zone in present]
    names = [f"{zone.code} {zone.name}{note}" for zone, note in zip(present, absent, strict=True)]
    handles += [Rectangle((0, 0), 1, 1, facecolor=color, **style) for color in (AGREE, DIFFER)]
    figure.legend(handles, [*names, "agrees", "differs"], loc="center", ncols=4, fontsize=7, handlelength=1,
                  columnspacing=1, frameon=False)  # fmt: skip
