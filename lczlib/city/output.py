"""What a map is written as: GeoTIFFs that open right in QGIS and in WRF's tools, style, class table, figure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import rasterio
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window
from scipy.ndimage import correlate1d

from lczlib import __version__
from lczlib.runs import atomic_path
from lczlib.zones import CODES, ZONES, K, to_old_codes

if TYPE_CHECKING:
    from lczlib.city.map import Parts
    from lczlib.city.windows import Job

BAND_NAMES = ("lcz", "lcz_filtered", "probability")
# (radius, sigma) in m of each zone's Gaussian. Source: LCZ.md, the filter of the global LCZ maps.
FILTER = dict.fromkeys(CODES, (300, 150)) | {
    "1": (200, 100), "8": (500, 250), "10": (500, 250), "G": (50, 25), **dict.fromkeys("ABCDF", (200, 75)),
}  # fmt: skip
STRIP = 4_000_000  # pixels filtered at once, at most
COLORMAP = {0: (255, 255, 255, 0)} | {
    zone.label + extra: (*bytes.fromhex(zone.color[1:]), 255)
    for zone in ZONES
    for extra in ((0,) if zone.built else (0, 90))
}


def filter_zones(labels: np.ndarray, step: float) -> np.ndarray:
    """The per-zone Gaussian filter: each zone's indicator is smoothed with its own Gaussian, the largest wins.

    Args:
        labels: (H, W) uint8 1..17, 0 = no data (which stays 0). step: m, size of a pixel.
    """
    best, winner = np.zeros(labels.shape, np.float32), np.zeros_like(labels)
    for zone in ZONES:
        where = labels == zone.label
        if not where.any():
            continue
        kernel = gaussian(*FILTER[zone.code], step)
        smooth = where.astype(np.float32)
        for axis in (0, 1):
            smooth = correlate1d(smooth, kernel, axis=axis, mode="constant")
        winner[smooth > best] = zone.label
        np.maximum(best, smooth, out=best)
    return np.where(labels > 0, winner, 0).astype(np.uint8)


def gaussian(radius: float, sigma: float, step: float) -> np.ndarray:
    """Weights (2 n + 1,) of a Gaussian cut off at `radius`, summing to 1; all in m."""
    offsets = np.arange(-int(radius // step), int(radius // step) + 1) * step
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    return (weights / weights.sum()).astype(np.float32)


def write_map(out: Path, job: Job, parts: Parts, tags: dict[str, object]) -> pd.DataFrame:
    """Write the map and its companions; returns the area per zone (of the filtered band).

    `out`: bands lcz, lcz_filtered (1-17, 0 = no data), probability (percent of the winner, 0 = no data).
    Beside it: `_filtered.tif` (one band, colour table), a `.qml` style of both, `_classes.csv`, `.png`.
    """
    from lczlib.city.map import strips

    labels = np.lib.format.open_memmap(parts.folder / "lcz.npy", "w+", np.uint8, (job.height, job.width))
    with atomic_path(out) as temporary, rasterio.open(temporary, "w", count=3, **_profile(job)) as file:
        file.descriptions = BAND_NAMES
        file.update_tags(software=f"lczlib {__version__}", step_m=job.step, **tags)
        for band, p in strips(job, parts.p):
            known = np.isfinite(p[..., 0])
            p = np.nan_to_num(p)
            labels[band] = np.where(known, p.argmax(-1) + 1, 0)
            _write(file, 1, band, labels[band])
            _write(file, 3, band, np.where(known, np.rint(100 * p.max(-1)).clip(1, 100), 0).astype(np.uint8))
        for band, filtered in _filtered(labels, job.step):
            _write(file, 2, band, filtered)
    one = write_copy(out, out.with_name(f"{out.stem}_filtered.tif"))
    write_style(out, band=2)
    write_style(one, band=1)
    areas = measure_areas(out)
    with atomic_path(out.with_name(f"{out.stem}_classes.csv")) as temporary:
        areas.to_csv(temporary, index=False)
    _draw(out, areas, str(tags.get("trained_on", "")))
    return areas


def _profile(grid: Job | WarpedVRT) -> dict[str, object]:
    tiling = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "bigtiff": "if_safer"}
    place = {name: getattr(grid, name) for name in ("width", "height", "crs", "transform")}
    return {"driver": "GTiff", "dtype": "uint8", "nodata": 0} | place | tiling


def _write(file: rasterio.io.DatasetWriter, number: int, band: slice, values: np.ndarray) -> None:
    file.write(values, number, window=Window(0, band.start, values.shape[1], values.shape[0]))


def _filtered(labels: np.ndarray, step: float) -> Iterator[tuple[slice, np.ndarray]]:
    """The filtered map in strips of rows, each computed with enough rows around it."""
    margin = int(max(radius for radius, _ in FILTER.values()) // step)
    height = max(4 * margin, STRIP // labels.shape[1], 1)
    for first in range(0, len(labels), height):
        last, above = min(first + height, len(labels)), max(first - margin, 0)
        smooth = filter_zones(np.asarray(labels[above : last + margin]), step)
        yield slice(first, last), smooth[first - above : last - above]


def _windows(file: rasterio.DatasetReader) -> Iterator[Window]:
    for first in range(0, file.height, 256):
        yield Window(0, first, file.width, min(256, file.height - first))


def write_copy(source: Path, target: Path, old_codes: bool = False, crs: CRS | None = None) -> Path:
    """The filtered band alone with its colour table; in the notation 101-107 or (nearest neighbour) another CRS."""
    with (
        rasterio.open(source) as data,
        WarpedVRT(data, crs=crs or data.crs, resampling=Resampling.nearest) as view,
        atomic_path(target) as temporary,
        rasterio.open(temporary, "w", count=1, photometric="palette", **_profile(view)) as file,
    ):
        file.write_colormap(1, COLORMAP)  # before any pixel: GDAL cannot add it later
        file.set_band_description(1, "lcz_filtered")
        for window in _windows(view):
            values = view.read(2, window=window)
            file.write(to_old_codes(values) if old_codes else values, 1, window=window)
    return target


def copies(out: str | Path, old_codes: bool = False, epsg4326: bool = False) -> list[Path]:
    """The copies asked for: `_101-107.tif` and `_epsg4326.tif`, each one band (filtered) with colour table."""
    out, made = Path(out), []
    if old_codes:
        made.append(write_copy(out, out.with_name(f"{out.stem}_101-107.tif"), old_codes=True))
    if epsg4326:
        made.append(write_copy(out, out.with_name(f"{out.stem}_epsg4326.tif"), crs=CRS.from_epsg(4326)))
    return made


def measure_areas(path: Path, band: int = 2) -> pd.DataFrame:
    """Area per zone of a map in a metric CRS: label, code, name, color, pixels, km2 (all 17 zones)."""
    counts = np.zeros(K + 1, np.int64)
    with rasterio.open(path) as data:
        for window in _windows(data):
            counts += np.bincount(data.read(band, window=window).ravel(), minlength=K + 1)
        pixel = abs(data.transform.a * data.transform.e) / 1e6
    rows = [(z.label, z.code, z.name, z.color, int(counts[z.label]), counts[z.label] * pixel) for z in ZONES]
    return pd.DataFrame(rows, columns=["label", "code", "name", "color", "pixels", "km2"])


def write_style(path: Path, band: int) -> Path:
    """A QGIS style beside the raster, of the same name: QGIS takes it up by itself."""
    entries = "\n".join(
        f'        <paletteEntry value="{z.label}" color="{z.color.lower()}" alpha="255" label="LCZ {z.code} {z.name}"/>'
        for z in ZONES
    )
    text = f"""<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22.0" styleCategories="AllStyleCategories">
  <pipe>
    <rasterrenderer type="paletted" band="{band}" opacity="1" alphaBand="-1" nodataColor="">
      <rasterTransparency/>
      <colorPalette>
{entries}
      </colorPalette>
    </rasterrenderer>
    <brightnesscontrast brightness="0" contrast="0" gamma="1"/>
    <huesaturation saturation="0" grayscaleMode="0"/>
    <rasterresampler maxOversampling="2"/>
  </pipe>
  <blendMode>0</blendMode>
</qgis>
"""
    with atomic_path(path.with_suffix(".qml")) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path.with_suffix(".qml")


def _draw(out: Path, areas: pd.DataFrame, trained_on: str) -> None:
    import matplotlib.pyplot as plt

    from lczlib.city.plot import plot_map
    from lczlib.figures import use_style

    with plt.rc_context():
        use_style()
        note = "model trained on synthetic data" if trained_on == "synthetic" else ""
        figure = plot_map(out, km2=areas["km2"].to_numpy(), note=note)
        with atomic_path(out.with_suffix(".png")) as temporary:
            figure.savefig(temporary)
        plt.close(figure)
