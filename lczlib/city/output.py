"""What a map is written as: GeoTIFFs that GIS, WRF's and the field's tools read right, each with names and colours."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import rasterio
import rasterio.shutil
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.windows import Window
from scipy.ndimage import gaussian_filter

from lczlib import __version__
from lczlib.city.legend import COLORMAP, write_kmz, write_legend
from lczlib.city.plot import plot_map
from lczlib.city.zone_raster import ZoneRaster, pixel_areas, row_windows
from lczlib.errors import InputError
from lczlib.figures.base import use_style, write_picture
from lczlib.runs import atomic_path
from lczlib.zones import CODES, ZONES, to_old_codes, to_wrf_codes

if TYPE_CHECKING:
    from lczlib.city.windows import MapJob

BAND_NAMES = ("lcz", "lczFilter", "probability")  # w2w looks for "lczFilter", the name that the LCZ Generator uses
# (radius, sigma) in m of each zone's Gaussian. Source: the filter of the global LCZ maps (Demuzere et al. 2022).
FILTER = dict.fromkeys(CODES, (300, 150)) | {
    "1": (200, 100), "8": (500, 250), "10": (500, 250), "G": (50, 25), **dict.fromkeys("ABCDF", (200, 75)),
}  # fmt: skip
ENDS = (".tif", ".png", ".kmz", ".html", "_classes.csv",
        "_filtered.tif", "_101-107.tif", "_epsg4326.tif", "_wrf.tif")  # of what a map is written as  # fmt: skip
STRIP = 4_000_000  # pixels filtered at once, at most
NO_REAL_CITY = "made by streams trained on synthetic data: they know no real city"


def check_target(out: str | Path, *read: str | Path | None) -> Path:
    """`out` as a path that a map can be written to. Raises InputError where it is no such name or a folder, or where
    the map or what lies beside it would replace one of the files that are `read`.
    """
    out = Path(out)
    if out.suffix.lower() not in (".tif", ".tiff"):
        raise InputError(f"{out}: the map is a GeoTIFF; name it .tif")
    if out.is_dir():
        raise InputError(f"{out}: is a folder; give the name of a file")
    refuse_to_replace([out, *(out.with_name(out.stem + end) for end in ENDS)], *read)
    return out


def refuse_to_replace(written: Sequence[str | Path | None], *read: str | Path | None) -> None:
    """Raise InputError where a file that is read is one of those written."""
    places = {Path(path).resolve() for path in written if path}
    for path in filter(None, read):
        if Path(path).resolve() in places:
            raise InputError(f"{path}: is read, and --out would replace it; give another --out")


def filter_zones(labels: np.ndarray, step: float) -> np.ndarray:
    """The per-zone Gaussian filter: each zone's indicator is smoothed with its own Gaussian, the largest wins.

    Args:
        labels: (H, W) uint8 1..17, 0 = no data (which stays 0). step: m, size of a pixel.
    """
    best, winner = np.zeros(labels.shape, np.float32), np.zeros_like(labels)
    for zone in ZONES:
        if (labels == zone.label).any():
            radius, sigma = FILTER[zone.code]
            where = (labels == zone.label).astype(np.float32)
            smooth = gaussian_filter(where, sigma / step, mode="constant", radius=int(radius // step))
            winner[smooth > best] = zone.label
            np.maximum(best, smooth, out=best)
    return np.where(labels > 0, winner, 0).astype(np.uint8)


def write_map(out: Path, job: "MapJob", found: np.ndarray, tags: dict[str, object], cog: bool = False) -> pd.DataFrame:
    """Write a map and what belongs beside it; returns the area of each zone (of the filtered band).

    `out`: bands lcz, lczFilter (1-17, 0 = no data), probability (per cent of the winner, 0 = no data).
    Beside it: `_filtered.tif` (one band), the legends of both (`legend.write_legend`), `_classes.csv`, `.png`.

    Args:
        found: (2, H, W) uint8 labels and probabilities. tags: provenance. cog: write cloud-optimised GeoTIFFs.
    """
    note = {"note": NO_REAL_CITY} if "synthetic" in str(tags.get("trained_on")) else {}
    tags = {"software": f"lczlib {__version__}", "step_m": job.step, "codes": "1-17"} | tags | note
    grid = {"height": job.shape[0], "width": job.shape[1], "crs": job.crs, "transform": job.transform}

    def fill(file: rasterio.io.DatasetWriter) -> None:
        file.descriptions = BAND_NAMES
        for band, filtered in _filtered(found[0], job.step):
            window = Window(0, band.start, job.shape[1], len(filtered))
            file.write(np.stack([found[0, band], filtered, found[1, band]]), window=window)

    write_raster(out, fill, grid | {"count": 3, "photometric": "minisblack"}, tags, cog)
    write_legend(out, bands={1: BAND_NAMES[0], 2: BAND_NAMES[1]}, shown=2)
    write_copy(out, "filtered", cog)
    areas = measure_areas(out)
    with atomic_path(out.with_name(f"{out.stem}_classes.csv")) as temporary:
        areas.assign(**note).to_csv(temporary, index=False)
    with plt.rc_context():
        use_style()
        write_picture(plot_map(out, note=note.get("note", "")), out.stem, out.parent, data="", pdf=False)
    return areas


def write_raster(
    path: Path, fill: Callable, grid: dict[str, object], tags: dict[str, object], cog: bool = False
) -> None:
    """Write a tiled uint8 GeoTIFF (0 = no data) that `fill` fills, with overviews by mode, or a COG of the same."""
    profile = {"driver": "GTiff", "dtype": "uint8", "nodata": 0, "tiled": True, "blockxsize": 256, "blockysize": 256,
               "compress": "deflate", "bigtiff": "if_safer"} | grid  # fmt: skip
    path.with_name(f"{path.name}.aux.xml").unlink(missing_ok=True)  # of an older map
    with atomic_path(path) as temporary:
        with rasterio.open(temporary, "w", **profile) as file:
            file.update_tags(**tags)
            fill(file)
        levels = [2**n for n in range(1, 12) if max(file.shape) >= 32 * 2**n]
        if cog:
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                options = {"driver": "COG", "compress": "DEFLATE", "overview_resampling": "MODE"}
                rasterio.shutil.copy(temporary, Path(folder) / "cog.tif", **options)
                (Path(folder) / "cog.tif").replace(temporary)
        elif levels:
            with rasterio.open(temporary, "r+") as file:
                file.build_overviews(levels, Resampling.mode)


def _filtered(labels: np.ndarray, step: float) -> Iterator[tuple[slice, np.ndarray]]:
    """The filtered map in strips of rows, each computed with enough rows around it."""
    margin = int(max(radius for radius, _ in FILTER.values()) // step)
    height = max(4 * margin, STRIP // labels.shape[1], 1)
    for first in range(0, len(labels), height):
        last, above = min(first + height, len(labels)), max(first - margin, 0)
        smooth = filter_zones(np.asarray(labels[above : last + margin]), step)
        yield slice(first, last), smooth[first - above : last - above]


RECODE = {"101-107": to_old_codes, "wrf": to_wrf_codes}  # notation of a copy -> its numbers


def write_copy(source: Path, name: str, cog: bool = False) -> Path:
    """One band of zones with colour table and legend: `source` with "_name" added to its stem.

    Args:
        source: a map of ours (its filtered zones are copied) or any LCZ raster.
        name: "filtered"; "101-107" and "wrf" recode the zones; "epsg4326" brings them there by nearest neighbour, on
            a grid as fine as it takes to keep each zone's area within 0.3 %.
    """
    target, recode = source.with_name(f"{source.stem}_{name}.tif"), RECODE.get(name, np.asarray)
    zones = ZoneRaster(source)
    palette = {int(recode(np.array(label))): color for label, color in COLORMAP.items()}

    def fill(file: rasterio.io.DatasetWriter) -> None:
        file.write_colormap(1, palette)  # before any pixel: GDAL cannot add it later
        file.set_band_description(1, "LCZ")
        for window in row_windows(view):
            file.write(recode(zones.read(window, view)), 1, window=window)

    tags = zones.data.tags() | {"band": zones.name, "codes": {"wrf": "WRF"}.get(name, "1-17")}
    tags.pop("AREA_OR_POINT", None)
    own = {name: getattr(zones.data, name) for name in ("crs", "transform", "width", "height")}  # turned or not
    place = _fine_grid(zones, CRS.from_epsg(4326)) if name == "epsg4326" else own
    with zones.view(**place) as view:
        grid = {name: getattr(view, name) for name in ("width", "height", "crs", "transform")}
        write_raster(target, fill, grid | {"count": 1, "photometric": "palette"}, tags, cog)
    write_legend(target, bands={1: "LCZ"}, shown=1, recode=recode)
    return target


def _fine_grid(zones: ZoneRaster, crs: CRS) -> dict[str, object]:
    """Grid of a copy in another CRS: pixels divided by 1, 2, 4, 8 or 16 until every zone keeps its area to 0.3 %."""
    here = zones.areas()
    for finer in (1, 2, 4, 8, 16):
        grid = zones.grid(crs, finer)
        with zones.view(**grid) as view:
            if (np.abs(zones.areas(view) - here) <= 0.003 * here).all():
                break
    return grid


def write_copies(
    map: str | Path, old_codes: bool = False, epsg4326: bool = False, *,
    wrf_codes: bool = False, kmz: bool = False, cog: bool = False,
) -> list[Path]:  # fmt: skip
    """Copies of a map beside it, each one band of (filtered) zones with legend and provenance.

    Args:
        map: of `map_scene`, or any LCZ raster. old_codes: `_101-107.tif`. epsg4326: `_epsg4326.tif`.
        wrf_codes: `_wrf.tif` in WRF's land-use numbers. kmz: `.kmz` for Google Earth. cog: cloud-optimised GeoTIFFs.
    """
    wanted = {"101-107": old_codes, "epsg4326": epsg4326, "wrf": wrf_codes}
    made = [write_copy(Path(map), name, cog) for name, asked in wanted.items() if asked]
    return made + ([write_kmz(ZoneRaster(map))] if kmz else [])


def measure_areas(path: str | Path) -> pd.DataFrame:
    """Area of each of the 17 zones of a map (filtered): label, code, name, color, pixels, km2."""
    zones = ZoneRaster(path)
    counts = zones.counts()
    pixels, km2 = counts.sum(0), pixel_areas(zones.data) @ counts
    rows = [(z.label, z.code, z.name, z.color, pixels[z.label - 1], km2[z.label - 1]) for z in ZONES]
    return pd.DataFrame(rows, columns=["label", "code", "name", "color", "pixels", "km2"])
