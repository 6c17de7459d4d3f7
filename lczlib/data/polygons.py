"""Labelled polygons in: WUDAPT KML or KMZ, GeoJSON, shapefile, GeoPackage; codes in any notation.

What cannot be used is mended or named, never dropped in silence; a class name that is no zone stops the reading.
"""

from __future__ import annotations

import re
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
from shapely import get_parts, make_valid
from shapely.errors import GEOSException
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union

from lczlib.zones import CODES, NAMES, to_label

CLASS_COLUMNS = (
    "lcz",
    "lcz_code",
    "lcz_class",
    "zone",
    "class",
    "class_id",
    "label",
    "code",
    "name",
    "gridcode",
    "value",
)
LEAST_POLYGONS = 3  # of a zone; the LCZ Generator's rule


def read_polygons(path: str | Path, column: str | None = None, city: str = "") -> tuple[gpd.GeoDataFrame, list[str]]:
    """Training areas as one row per polygon.

    Args:
        path: .kml or .kmz with one Folder per class, or anything GDAL reads with a class column.
        column: the class column; None: the first known name (`CLASS_COLUMNS`) that is there.
        city: name for all polygons; a column "city" in the file wins.

    Returns:
        Frame with label (1..17), city, polygon (such as "Berlin/LCZ-A/03"), area_km2 (in UTM), geometry, in the
        file's CRS; and notes: what was mended, left out, or is too little.

    Raises:
        FileNotFoundError: no such file.
        ValueError: unreadable, without a CRS or polygons, or a class that is no zone.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; give polygons as .kml, .kmz, .geojson, .shp or .gpkg")
    frame = _read_kml(path) if path.suffix.lower() in (".kml", ".kmz") else _read_table(path, column)
    frame["label"] = [_zone(path, value) for value in frame.pop("value")]
    frame, notes = _mend(frame)
    if frame.empty:
        raise ValueError(
            f"{path}: no usable polygon in it ({'; '.join(notes) or 'it is empty'}); draw areas, not points"
        )
    frame["city"] = frame.get("city", city)
    frame["polygon"] = _polygon_names(frame)
    frame["area_km2"] = _in_utm(path, frame).area / 1e6
    few = [
        f"LCZ {CODES[label - 1]} ({n})"
        for label, n in frame["label"].value_counts().sort_index().items()
        if n < LEAST_POLYGONS
    ]
    if few:
        notes.append(
            f"fewer than {LEAST_POLYGONS} polygons of {', '.join(few)}: too few to split or to judge a zone by"
        )
    return frame[["label", "city", "polygon", "area_km2", "geometry"]], notes


def _in_utm(path: Path, frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    try:
        return frame.to_crs(frame.estimate_utm_crs())
    except (RuntimeError, ValueError):  # pyproj's errors are RuntimeErrors
        raise ValueError(f"{path}: its CRS cannot be transformed ({frame.crs.name}); assign the true one") from None


def _zone(path: Path, value: object) -> int:
    """Label of a class in any notation, zone names ("Dense trees", "LCZ A - Dense trees") included."""
    text = str(value).strip()
    for name, label in zip(NAMES, range(1, 18), strict=True):
        if text.lower().endswith(name.lower()):
            return label
    try:
        return to_label(re.split(r"\s*[:(]|\s-\s", text)[0])
    except ValueError:
        known = "use 1-17, 101-107, or 1-10 and A-G"
        raise ValueError(f"{path}: class {text!r} is no Local Climate Zone; {known}") from None


def _is_zone(text: object) -> bool:
    try:
        return bool(_zone(Path(), text))
    except ValueError:
        return False


def _read(path: Path, layer: str | None = None) -> gpd.GeoDataFrame:
    try:
        frame = pyogrio.read_dataframe(path, layer=layer, force_2d=True, on_invalid="warn")
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, GEOSException, ValueError) as fault:
        raise ValueError(f"{path}: not readable as polygons ({str(fault)[:80]}); export it again") from None
    if not isinstance(frame, gpd.GeoDataFrame):
        raise ValueError(f"{path}: no geometry in it; give a file of polygons")
    if frame.crs is None:
        raise ValueError(f"{path}: no coordinate reference system; a shapefile needs its .prj beside it")
    return frame


def _read_table(path: Path, column: str | None) -> gpd.GeoDataFrame:
    frame = _read(path)
    lower = {name.lower(): name for name in frame.columns if name != frame.geometry.name}
    chosen = next((lower[name] for name in CLASS_COLUMNS if name in lower), None)
    chosen = lower.get(column.lower()) if column else chosen
    if chosen is None:
        names = ", ".join(lower.values()) or "none"
        raise ValueError(f"{path}: no class column among {names}; name it with --class-column")
    kept = {"value": frame[chosen]} | ({"city": frame[lower["city"]].astype(str)} if "city" in lower else {})
    return gpd.GeoDataFrame(kept, geometry=frame.geometry.values, crs=frame.crs)


def _read_kml(path: Path) -> gpd.GeoDataFrame:
    """Every Folder is a layer; its name is the zone. Where no Folder is one, the placemarks' names are."""
    try:
        folders = pyogrio.list_layers(path)[:, 0]
    except pyogrio.errors.DataSourceError:
        raise ValueError(f"{path}: not readable as KML; export it again") from None
    parts, by_folder = [], any(_is_zone(folder) for folder in folders)
    for folder in folders:
        frame = _read(path, folder)
        values = [folder if by_folder or not _is_zone(name) else name for name in frame["Name"]]
        parts.append(gpd.GeoDataFrame({"value": values}, geometry=frame.geometry.values, crs="EPSG:4326"))
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def _mend(frame: gpd.GeoDataFrame) -> tuple[gpd.GeoDataFrame, list[str]]:
    """One row per polygon: self-crossing rings mended, multi-polygons taken apart, the rest left out; each named."""
    notes, rows, shapes = [], [], []
    for place, shape in enumerate(frame.geometry):
        name = f"polygon {place + 1} (LCZ {CODES[frame['label'].iloc[place] - 1]})"
        if shape is None or shape.is_empty:
            notes.append(f"{name} left out: it is empty")
            continue
        if not shape.is_valid:
            notes.append(f"{name} mended: its outline crosses itself")
            shape = make_valid(shape)
        areas = _areas(shape)
        if not areas:
            notes.append(f"{name} left out: a {shape.geom_type} has no area")
        rows += [place] * len(areas)
        shapes += areas
    fields = frame.drop(columns=frame.geometry.name).iloc[rows].reset_index(drop=True)
    return gpd.GeoDataFrame(fields, geometry=shapes, crs=frame.crs), notes


def _areas(shape: BaseGeometry) -> list[Polygon]:
    """The polygons in any geometry; the lines and points that mending leaves are dropped."""
    polygons = [part for part in get_parts(shape) if isinstance(part, (Polygon, MultiPolygon)) and part.area > 0]
    if shape.geom_type == "GeometryCollection":
        polygons = list(get_parts(unary_union(polygons))) if polygons else []
    return [polygon for polygon in polygons if isinstance(polygon, Polygon)]


def _polygon_names(frame: gpd.GeoDataFrame) -> list[str]:
    """ "city/LCZ-A/03", counted within a city and zone."""
    number = frame.groupby(["city", "label"]).cumcount() + 1
    codes = np.array(CODES)[frame["label"] - 1]
    return [
        f"{city}/LCZ-{code}/{n:02d}".lstrip("/") for city, code, n in zip(frame["city"], codes, number, strict=True)
    ]
