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

from lczlib.errors import InputError
from lczlib.zones import CODES, NAMES, to_label

CLASS_COLUMNS = ("lcz", "lcz_code", "lcz_class", "zone", "class", "class_id", "label", "code", "name",
                 "gridcode", "value")  # fmt: skip
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
    frame, notes = _mend(_read(path, column))
    if frame.empty:
        why = "; ".join(notes) or "it is empty"
        raise InputError(f"{path}: no usable polygon in it ({why}); draw areas, not points")
    frame["city"] = frame["city"].replace("", None).fillna(city).astype(str) if "city" in frame else city
    frame["polygon"] = _polygon_names(frame)
    frame["area_km2"] = _in_utm(path, frame).area / 1e6
    few = {label: n for label, n in frame["label"].value_counts().sort_index().items() if n < LEAST_POLYGONS}
    if few:
        listed = ", ".join(f"LCZ {CODES[label - 1]} ({n})" for label, n in few.items())
        notes.append(f"fewer than {LEAST_POLYGONS} polygons of {listed}: too few to split or to judge a zone by")
    return frame[["label", "city", "polygon", "area_km2", "geometry"]], notes


def _in_utm(path: Path, frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    try:
        return frame.to_crs(frame.estimate_utm_crs())
    except (RuntimeError, ValueError):  # pyproj's errors are RuntimeErrors
        raise InputError(f"{path}: its CRS cannot be transformed ({frame.crs.name}); assign the true one") from None


def _zone(value: object) -> int | None:
    """Label of a class in any notation, zone names ("Dense trees", "LCZ A: Compact highrise") included; None: none."""
    text = str(value).strip()
    letters = re.sub("[^a-z]", "", text.lower())
    for label, name in enumerate(NAMES, start=1):
        if letters.endswith(re.sub("[^a-z]", "", name.lower())):
            return label
    try:
        return to_label(re.split(r"\s*[:(]|\s-\s", text)[0])
    except ValueError:
        return None


def _read(path: Path, column: str | None) -> gpd.GeoDataFrame:
    """Label, city where the file has it, and geometry of all layers that have a class.

    In KML every Folder is a layer: its name is the zone. Where no Folder is one, the placemarks' names or data are.
    """
    try:
        names = pyogrio.list_layers(path)[:, 0]
        layers = {name: pyogrio.read_dataframe(path, layer=name, force_2d=True, on_invalid="warn") for name in names}
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, GEOSException, ValueError) as fault:
        raise InputError(f"{path}: not readable as polygons ({str(fault)[:80]}); export it again") from None
    layers = {name: layer for name, layer in layers.items() if isinstance(layer, gpd.GeoDataFrame)}
    if not layers:
        raise InputError(f"{path}: no geometry in it; give a file of polygons")
    by_folder = path.suffix.lower() in (".kml", ".kmz") and not column and any(map(_zone, layers))
    classes = {name: [name] * len(layer) if by_folder else _classes(layer, column) for name, layer in layers.items()}
    parts = [_labelled(path, layers[name], values) for name, values in classes.items() if values is not None]
    if not parts:
        columns = sorted({name for layer in layers.values() for name in layer.columns.drop(layer.geometry.name)})
        raise InputError(f"{path}: no class column among {', '.join(columns) or 'none'}; name it with --class-column")
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def _classes(layer: gpd.GeoDataFrame, column: str | None) -> list | None:
    """Values of the class column: as named, else the first known one that holds zones only, else the first known."""
    lower = {name.lower(): name for name in layer.columns.drop(layer.geometry.name)}
    known = [lower[name] for name in ([column.lower()] if column else CLASS_COLUMNS) if name in lower]
    chosen = next((name for name in known if all(map(_zone, layer[name]))), known[0] if known else None)
    return None if chosen is None else layer[chosen].tolist()


def _labelled(path: Path, layer: gpd.GeoDataFrame, values: list) -> gpd.GeoDataFrame:
    if layer.crs is None:
        raise InputError(f"{path}: no coordinate reference system; a shapefile needs its .prj beside it")
    labels = list(map(_zone, values))
    if not all(labels):
        strange = str(values[labels.index(None)])
        raise InputError(f"{path}: class {strange!r} is no Local Climate Zone; use 1-17, 101-107, or 1-10 and A-G")
    fields = {"label": labels}
    for name in layer.columns:
        if name.lower() == "city":
            fields["city"] = layer[name]
    return gpd.GeoDataFrame(fields, geometry=layer.geometry.values, crs=layer.crs)


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
