"""Agreement of a map with another LCZ map of the same place, or with labelled polygons; zones at points."""

import csv
import warnings
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
from rasterio.enums import Resampling
from rasterio.features import rasterize
from rasterio.vrt import WarpedVRT
from scipy.ndimage import uniform_filter

from lczlib.city.legend import write_legend
from lczlib.city.output import write_raster
from lczlib.city.source import transformer
from lczlib.city.zone_raster import ZoneRaster, row_windows
from lczlib.errors import InputError
from lczlib.metrics import confusion, scores
from lczlib.runs import write_json
from lczlib.zones import CODES, ZONES

AGREEMENT = ((1, "1", "differs", (178, 24, 43, 255)), (2, "2", "agrees", (77, 146, 33, 255)))
LON, LAT = ("lon", "longitude", "lng", "long"), ("lat", "latitude")


@dataclass(frozen=True)
class Comparison:
    """Agreement with another map, which is taken as the reference."""

    scores: dict  # by the names of `lczlib.metrics.scores`
    matrix: np.ndarray  # (17, 17), rows = the other map
    pixels: int  # compared
    bands: tuple[str, str]  # names of the bands compared, here and there
    agreement: Path  # of the raster: 1 differs, 2 agrees, 0 no data in either
    warnings: tuple[str, ...]  # what is doubtful about either map

    def __str__(self) -> str:
        s = self.scores
        head = f"{self.pixels} pixels compared (nearest neighbour; {self.bands[0]} here with {self.bands[1]} there)"
        head += "".join(f", {name} {s[name]:.3f}" for name in ("oa", "kappa", "oa_w"))
        shifted = self.matrix.diagonal(1)  # the other map's zone plus one is the zone here
        if (shifted > 0).sum() > 2 and shifted.sum() > 2 * self.matrix.trace() + 0.1 * self.pixels:
            oa = shifted.sum() / self.pixels
            head += f"\nwarning: the other map looks counted from 0: with 1 added to its zones oa is {oa:.3f}"
        counts = zip(ZONES, self.matrix.sum(1), self.matrix.sum(0), strict=True)
        rows = [f"LCZ {z.code}: {n} there, {m} here, F1 {s['f1'][z.label]:.3f}" for z, n, m in counts if n or m]
        return "\n".join([head, *(f"warning: {text}" for text in self.warnings), *rows, str(self.agreement)])


def compare_maps(here: str | Path, other: str | Path, band: int | None = None) -> Comparison:
    """Compare a map with another one on the first one's grid; writes `_agreement.tif` and `_agreement.json`.

    Like is compared with like: the filtered zones of both, or the unfiltered ones of both where the other map has no
    others. The other map is brought to this grid by nearest neighbour: zones are not averaged.

    Args:
        here, other: LCZ rasters of any notation, type and CRS. band: of the other map, see `ZoneRaster`.

    Raises:
        FileNotFoundError, InputError: unreadable, no CRS, no overlap, or a code that is no LCZ.
    """
    one, two = ZoneRaster(here), ZoneRaster(other, band)
    if two.filtered is False and one.filtered:
        one.use(next((n for n in one.zone_bands if n != one.band), one.band))
    grid = {name: getattr(one.data, name) for name in ("crs", "transform", "width", "height")}
    ground = grid | {"crs": one.source.crs, "transform": one.source.transform}  # across 180 degrees without a jump
    target, matrix = Path(here).with_name(f"{Path(here).stem}_agreement.tif"), np.zeros((17, 17), np.int64)

    def fill(file: rasterio.io.DatasetWriter) -> None:
        file.write_colormap(1, {0: (255, 255, 255, 0)} | {value: color for value, _, _, color in AGREEMENT})
        for window in row_windows(one.data):
            mine, theirs = one.read(window), two.read(window, warped)
            both = (mine > 0) & (theirs > 0)
            np.add(matrix, confusion(theirs[both], mine[both]), out=matrix)
            file.write(np.where(both, 1 + (mine == theirs), 0).astype(np.uint8), 1, window=window)
        if not matrix.sum():
            raise InputError(f"{other}: no pixel in common with {here}; give a map of the same place")

    tags = {"here": f"{here}, {one.name}", "other": f"{other}, {two.name}"}
    nodata = two.data.nodata if two.data.nodata is not None else 0
    place = {"src_crs": two.source.crs, "src_transform": two.source.transform}
    with WarpedVRT(two.data, **place, **ground, resampling=Resampling.nearest, nodata=nodata) as warped:
        write_raster(target, fill, grid | {"count": 1, "photometric": "palette"}, one.data.tags() | tags)
    write_legend(target, bands={1: "agreement"}, shown=1, entries=AGREEMENT)
    rows, cols = np.indices((17, 17)).reshape(2, -1) + 1
    measured = scores(rows.repeat(matrix.ravel()), cols.repeat(matrix.ravel()))
    warnings = tuple(
        f"{zones.path}: no data is {zones.data.nodata:g}, which is a zone too, left out here; gdal_edit.py -unsetnodata"
        for zones in (one, two) if zones.data.nodata in (*range(1, 18), *range(101, 108))
    )  # fmt: skip
    result = Comparison(measured, matrix, int(matrix.sum()), (one.name, two.name), target, warnings)
    facts = tags | {"resampling": "nearest", "pixels": result.pixels}
    write_json(target.with_suffix(".json"), facts | {"scores": result.scores, "confusion": matrix})
    return result


def zones_at(path: str | Path, stations: str | Path) -> pd.DataFrame:
    """Zone and probability of a map at points.

    Args:
        path: an LCZ raster. stations: CSV with columns lon, lat (degrees) or x, y (in the map's CRS).

    Returns:
        The table of the stations, as it is written, with lcz (code), lcz_name and, of a map of `map_scene`, the
        probability (0..1) of that zone; empty where a point lies outside of the map or on no data, the probability
        also where the filter put the zone in the place of another.

    Raises:
        FileNotFoundError, InputError: no such file or columns, no numbers, or no station on the map.
    """
    if not Path(stations).exists():
        raise FileNotFoundError(f"{stations}: no such file; give a CSV with columns lon, lat or x, y")
    how = {"sep": None, "engine": "python", "dtype": str, "keep_default_na": False, "index_col": False}
    try:
        with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):  # a line with more fields
            table = pd.read_csv(stations, encoding="utf-8-sig", **how)
    except (ValueError, csv.Error, pd.errors.ParserWarning):
        remedy = "give a CSV with columns lon, lat or x, y and as many fields in every line"
        raise InputError(f"{stations}: no table that can be read; {remedy}") from None
    if taken := [name for name in ("lcz", "lcz_name", "probability") if name in table]:
        raise InputError(f"{stations}: has a column {taken[0]} already; give it another name")
    zones = ZoneRaster(path)
    points, crs = _coordinates(table, stations)
    here = transformer(crs or zones.data.crs, zones.source.crs)  # which has no jump at 180 degrees
    x, y = np.array(here.transform(*points.tolist()))
    with np.errstate(invalid="ignore"):  # infinity: a point that has no place in this CRS
        col, row = (np.floor(i) for i in ~zones.source.transform @ (x, y))
    inside = (row >= 0) & (col >= 0) & (row < zones.data.height) & (col < zones.data.width)
    if not inside.any():
        raise InputError(f"{stations}: no station lies on {path}; check the columns, or give the map of this place")
    places = row[inside].astype(int), col[inside].astype(int)
    labels, found = np.zeros(len(table), int), table.copy()
    labels[inside] = zones.read()[places]
    found["lcz"] = [ZONES[label - 1].code if label else "" for label in labels]
    found["lcz_name"] = [ZONES[label - 1].name if label else "" for label in labels]
    if zones.probability_band:
        found["probability"] = np.nan
        found.loc[inside, "probability"] = zones.data.read(zones.probability_band)[places] / 100
        winners = np.zeros_like(labels)
        zones.use(zones.zone_bands[0])  # before the filter
        winners[inside] = zones.read()[places]
        found.loc[(labels == 0) | (labels != winners), "probability"] = np.nan
    return found


def _coordinates(table: pd.DataFrame, stations: str | Path) -> tuple[np.ndarray, str]:
    """(2, n) of the points of a table: longitude and latitude, and their CRS, or x and y, and "" (the map's)."""
    columns = {str(name).strip().lower(): name for name in table.columns}
    lon, lat = (next((columns[name] for name in names if name in columns), None) for names in (LON, LAT))
    names = [lon, lat] if lon and lat else [columns.get("x"), columns.get("y")]
    if None in names:
        listed = ", ".join(map(str, table.columns))
        raise InputError(f"{stations}: no columns lon, lat or x, y among {listed}; name them so")
    points = table[names].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    if np.isnan(points).any():
        line = int(np.isnan(points).any(axis=1).argmax()) + 2
        raise InputError(f"{stations}: line {line}: {names[0]}, {names[1]} are no numbers; mend that line")
    if names == [lon, lat]:
        if (np.abs(points) > (360, 90)).any():
            raise InputError(f"{stations}: {lon}, {lat} are no degrees; name columns in the map's CRS x and y")
        return points.T, "EPSG:4326"
    return points.T, ""


def majority(labels: np.ndarray, cell: int) -> tuple[np.ndarray, np.ndarray]:
    """The commonest zone of each cell x cell block of labels (H, W) 1..17, and its share 0..1; rests are cut off."""
    height, width = (length // cell for length in labels.shape)
    blocks = labels[: height * cell, : width * cell].reshape(height, cell, width, cell)
    counts = np.stack([(blocks == label).sum(axis=(1, 3)) for label in range(1, 18)], axis=-1)
    return (counts.argmax(-1) + 1).astype(np.uint8), counts.max(-1) / cell**2


def window_purity(labels: np.ndarray, cell: int, side: int = 32) -> np.ndarray:
    """Share 0..1 of the side x side window around each cell x cell block that has the block's commonest zone.

    Args:
        labels: (H, W) 1..17 at 10 m; windows at the edge are mirrored.
    """
    commonest, _ = majority(labels, cell)
    rows, cols = ((np.arange(length) * cell + cell // 2) for length in commonest.shape)
    purity = np.zeros(commonest.shape)
    for label in np.unique(commonest):
        share = uniform_filter((labels == label).astype(np.float32), side)[np.ix_(rows, cols)]
        purity[commonest == label] = share[commonest == label]
    return purity


def score_polygons(path: str | Path, polygons: gpd.GeoDataFrame, band: int | None = None) -> dict[str, object]:
    """Scores of a map inside labelled polygons (pixels whose centre lies in one): n (pixels), oa, oa_w, kappa.

    And `found`: for each zone of the polygons, the share of each zone mapped there.
    """
    zones = ZoneRaster(path, band)
    shapes = zip(polygons.to_crs(zones.source.crs).geometry, polygons["label"], strict=True)
    truth = rasterize(shapes, zones.data.shape, transform=zones.source.transform, dtype="uint8")
    mapped = np.where(truth > 0, zones.read(), 0)
    both = mapped > 0
    if not both.any():
        raise InputError(f"{path}: no polygon lies on this map; give polygons of the same place")
    cm = confusion(truth[both], mapped[both])
    found = {
        CODES[row]: {CODES[col]: float(cm[row, col] / cm[row].sum()) for col in np.flatnonzero(cm[row])}
        for row in np.flatnonzero(cm.sum(axis=1))
    }
    measured = scores(truth[both], mapped[both])
    return {name: measured[name] for name in ("n", "oa", "oa_w", "kappa")} | {"found": found}
