"""Labelled polygons in: WUDAPT KML or KMZ, GeoJSON, shapefile, GeoPackage; zones in any notation or wording.

What cannot be used is mended or named, never dropped in silence; a class name that is no zone stops the reading.
"""

import re
import zipfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from shapely.errors import GEOSException

from lczlib.errors import InputError
from lczlib.zones import CODES, to_label

LCZ_COLUMN = re.compile("lcz|wudapt|climatezone")
NO_CLASS = re.compile("second|equal|uniq|prob|conf|dist|area|colou?r|count|date|perc|share|id$")
COLUMNS = ("zone", "class", "classid", "classname", "label", "category", "typ", "type", "code", "name", "value",
           "gridcode", "dn")  # fmt: skip
NUMBERED = ("code", "name", "value", "gridcode", "dn")  # of these, columns that often hold running numbers
WORDINGS = (
    "compacthighrises?", "compactmidrises?", "compactlowrises?", "openhighrises?", "openmidrises?", "openlowrises?",
    "light(weight)?lowrises?", "largelowrises?", "sparsely?built(up)?", "heavyindustr(y|ial)|industr(y|ial)",
    "densetrees?", "scatteredtrees?", "bush(es)?(or|and)?scrubs?|bush(es)?|scrubs?|shrubs?", "lowplants?",
    "bare(rock|paved)|(bare)?rock(or|and)?paved", "bare(soil|sand)|(bare)?soil(or|and)?sand",
    "water(bod(y|ies))?",
)  # fmt: skip
UNREADABLE = (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, GEOSException, ValueError,
              zipfile.BadZipFile, NotImplementedError)  # the last: of a version of zip that is unknown  # fmt: skip
OVERLAP = 0.01  # of the smaller polygon; less is a shared border


def read_polygons(path: str | Path, column: str | None = None, city: str = "") -> tuple[gpd.GeoDataFrame, list[str]]:
    """Training areas as one row per polygon.

    Args:
        path: .kml or .kmz with one Folder per class, or anything GDAL reads with a class column.
        column: the class column; None: by its name, those that name LCZ first, then `COLUMNS`.
        city: name for all polygons; a column "city" in the file wins.

    Returns:
        Frame with label (1..17), city, polygon (such as "Berlin/LCZ-A/03"), geometry, in the file's CRS; and notes:
        where the zones come from, what was mended or left out; what is doubtful begins with "warning: ".

    Raises:
        FileNotFoundError, InputError: unreadable, without a CRS or polygons, or a class that is no zone.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; give polygons as .kml, .kmz, .geojson, .shp or .gpkg")
    if path.is_dir() and path.suffix != ".gdb":
        raise InputError(f"{path}: not readable as polygons (a folder); give one of the files in it")
    frame, notes = _read(path, column)
    frame = _mended(frame, notes)
    if frame.empty:
        why = "; ".join(notes[:3]) + "; ..." * (len(notes) > 3)
        raise InputError(f"{path}: no usable polygon in it ({why or 'it is empty'}); draw areas, not points")
    frame["city"] = frame["city"].replace("", None).fillna(city).astype(str) if "city" in frame else city
    frame = _joined(frame, notes)
    number = frame.groupby(["city", "label"]).cumcount() + 1
    rows = zip(frame["city"], frame["label"], number, strict=True)
    frame["polygon"] = [f"{city}/LCZ-{CODES[label - 1]}/{n:02d}".lstrip("/") for city, label, n in rows]
    return frame[["label", "city", "polygon", "geometry"]], notes


def zone_of(value: object) -> int | None:
    """Label 1..17 of a class in any notation or wording, such as "LCZ 3", 103, "Dense trees (LCZ A)"; None for none."""
    text = str(value).strip().lower()
    letters, numbers = re.sub("[^a-z]", "", text), re.findall(r"\d+(?:\.\d+)?", text)
    plain = letters.replace("localclimatezone", "").replace("lcz", "").removeprefix("class").removeprefix("zone")
    try:
        if len(numbers) == 1 and not plain and re.fullmatch(r"([a-z][a-z\s_:.#-]*)?[\d.]+[\s_:.-]*", text):
            return to_label(numbers[0])
        if len(plain) == 1 and not numbers:
            return to_label(plain)
        for label, wording in enumerate(WORDINGS, start=1):
            if found := re.fullmatch(f"([a-g]?)({wording})([a-g]?)", plain):
                others = [to_label(code) for code in (found[1], found[found.lastindex], *numbers) if code]
                return label if len(numbers) <= 1 and set(others) <= {label} else None
    except ValueError:
        pass
    return None


def _is_empty(value: object) -> bool:
    return value is None or value != value or str(value).strip().lower() in ("", "nan", "none", "null", "<na>")


def _files(path: Path) -> list[str]:
    """What GDAL opens: a KMZ by the KML in it, since of a KMZ opened whole GDAL leaves out the data of placemarks."""
    if path.suffix.lower() != ".kmz" or not zipfile.is_zipfile(path):
        return [str(path)]
    with zipfile.ZipFile(path) as archive:
        inside = [name for name in archive.namelist() if name.lower().endswith(".kml")]
    return [f"/vsizip/{{{path.resolve()}}}/{name}" for name in inside] or [str(path)]


def _read(path: Path, column: str | None) -> tuple[gpd.GeoDataFrame, list[str]]:
    """Label, row, city where the file has it, and geometry of all layers that have a class; notes.

    In KML every Folder is a layer: its name is the zone. Where no Folder is one, the placemarks' names or data are.
    """
    try:
        layers = [
            (re.sub(r" \(#\d+\)$", "", name), pyogrio.read_dataframe(file, layer=n, force_2d=True, on_invalid="warn"))
            for file in _files(path) for n, name in enumerate(pyogrio.list_layers(file)[:, 0])
        ]  # fmt: skip
    except UNREADABLE as fault:
        raise InputError(f"{path}: not readable as polygons ({str(fault)[:80]}); export it again") from None
    layers = [(name, layer) for name, layer in layers if isinstance(layer, gpd.GeoDataFrame)]
    if not any(len(layer) for _, layer in layers):
        raise InputError(f"{path}: no geometry in it; give a file of polygons")
    by_folder = path.suffix.lower() in (".kml", ".kmz") and not column and any(zone_of(name) for name, _ in layers)
    parts, notes = [], ["zones are the names of folders"] * by_folder
    for name, layer in layers:
        chosen = None if by_folder else _class_column(path, layer, column)
        if by_folder:
            inside = layer["Name"] if "Name" in layer and not zone_of(name) else [""] * len(layer)
            values = [f"{name}/{placemark}" if placemark else name for placemark in inside]
        elif chosen is None:
            continue
        else:
            values = layer[chosen].tolist()
            notes.append(f"class column {chosen!r}" + (f" of {name!r}" if len(layers) > 1 else ""))
            numbers = pd.to_numeric(layer[chosen], errors="coerce").tolist()
            running = len(numbers) > 2 and numbers == [*range(1, len(numbers) + 1)]
            if running and not column and chosen.lower() in NUMBERED:
                notes.append(f"warning: {chosen!r} holds running numbers, hardly zones; tell with --class-column")
        rows = [f"{row}" + (f" of {name!r}" if len(layers) > 1 else "") for row in range(1, len(layer) + 1)]
        parts.append(_labelled(path, layer, values, rows, notes))
    if not parts:
        columns = sorted({name for _, layer in layers for name in layer.columns.drop(layer.geometry.name)})
        raise InputError(f"{path}: no class column among {', '.join(columns) or 'none'}; name it with --class-column")
    crs = next(part.crs for part in parts)
    parts = [part.to_crs(crs) for part in parts if len(part)] or parts[:1]
    return _without_region(path, pd.concat(parts, ignore_index=True), notes), notes


def _without_region(path: Path, frame: gpd.GeoDataFrame, notes: list[str]) -> gpd.GeoDataFrame:
    """Leave out, with a note, areas of no zone that cover the training areas (WUDAPT's ROI); others are a fault."""
    zones = frame[(frame["label"] > 0) & ~(frame.geometry.isna() | frame.geometry.is_empty)]
    for text, shape in frame.loc[frame["label"] < 0, ["text", "geometry"]].itertuples(index=False):
        if shape is None or not len(zones) or zones.representative_point().within(shape.convex_hull).mean() < 0.5:
            raise InputError(f"{path}: class {text!r} is no Local Climate Zone; use 1-17, 101-107, or 1-10 and A-G")
        notes.append(f"{text!r} left out: it is no zone and surrounds the others (a region of interest)")
    return frame[frame["label"] > 0].drop(columns="text").reset_index(drop=True)


def _class_column(path: Path, layer: gpd.GeoDataFrame, column: str | None) -> str | None:
    """The column as named; else the one named LCZ, whatever it holds; else the first known name that holds zones."""
    names = {name: re.sub("[^a-z0-9]", "", name.lower()) for name in layer.columns.drop(layer.geometry.name)}
    if column:
        return next((name for name in names if name.lower() == column.lower()), None)
    zones = {name: [None if _is_empty(v) else zone_of(v) or str(v) for v in layer[name]] for name in names}
    filled = [name for name in names if any(zones[name])]
    named = [name for name in filled if LCZ_COLUMN.search(names[name]) and not NO_CLASS.search(names[name])]
    named = [name for name in named if names[name] == "lcz"] or named
    fitting = [name for name in named if all(isinstance(zone, int) for zone in zones[name] if zone)] or named[:1]
    if any(zones[name] != zones[fitting[0]] for name in fitting):
        raise InputError(f"{path}: columns {', '.join(fitting)} hold different zones; name one with --class-column")
    general = sorted((name for name in filled if names[name] in COLUMNS), key=lambda name: COLUMNS.index(names[name]))
    some = [name for name in general if any(isinstance(zone, int) for zone in zones[name])]
    return next(iter([*fitting, *some, *general]), None)


def _labelled(path: Path, layer: gpd.GeoDataFrame, values: list, rows: list[str], notes: list[str]) -> gpd.GeoDataFrame:
    """Of the rows that have a class: label (-1 where it is no zone), text of the class, row in the file (for messages),
    city and geometry.
    """
    if layer.crs is None:
        remedy = "a shapefile needs its .prj beside it" if path.suffix == ".shp" else "save it again with one"
        raise InputError(f"{path}: no coordinate reference system; {remedy}")
    try:
        layer.head(0).to_crs("EPSG:4326")
    except (RuntimeError, ValueError):  # pyproj's errors are RuntimeErrors
        raise InputError(f"{path}: its CRS cannot be transformed ({layer.crs.name}); assign the true one") from None
    empty = np.array([_is_empty(value) for value in values], bool)
    zero = np.array([str(value).strip() in ("0", "0.0") for value in values], bool)
    notes += [f"polygon {rows[place]} left out: it has no class" for place in np.flatnonzero(empty)]
    if zero.any():
        notes.append(f"warning: class 0 left out ({zero.sum()} polygons); if zones are counted from 0, add 1 to all")
    fields = {"label": [zone_of(value) or -1 for value in values], "text": [*map(str, values)], "row": rows}
    fields |= {name.lower(): layer[name].to_numpy() for name in layer.columns if name.lower() == "city"}
    return gpd.GeoDataFrame(fields, geometry=layer.geometry.to_numpy(), crs=layer.crs)[~(empty | zero)]


def _mended(frame: gpd.GeoDataFrame, notes: list[str]) -> gpd.GeoDataFrame:
    """One row per polygon: self-crossing rings mended, multi-polygons taken apart, the rest left out; each named."""
    names = [f"polygon {row} (LCZ {CODES[label - 1]})" for row, label in zip(frame["row"], frame["label"], strict=True)]
    shapes = frame.geometry
    empty = shapes.isna() | shapes.is_empty | ~np.isfinite(shapes.bounds).all(axis=1)
    notes += [f"{names[place]} left out: it is empty or its corners are no numbers" for place in np.flatnonzero(empty)]
    crossing = np.flatnonzero(~empty & ~shapes.is_valid)
    notes += [f"{names[place]} mended: its outline crosses itself" for place in crossing]
    whole = frame[~empty].set_geometry(shapes[~empty].make_valid()).assign(place=np.flatnonzero(~empty))
    parts = whole.explode(ignore_index=True).explode(ignore_index=True)  # a collection may hold multi-polygons
    parts = parts[(parts.geom_type == "Polygon") & (shapely.area(parts.geometry.to_numpy()) > 0)]
    lost = np.setdiff1d(whole["place"], parts["place"])
    notes += [f"{names[place]} left out: a {shapes.iloc[place].geom_type} has no area" for place in lost]
    return parts.drop(columns="place").reset_index(drop=True)


def _joined(frame: gpd.GeoDataFrame, notes: list[str]) -> gpd.GeoDataFrame:
    """Join overlapping polygons of one zone, which else leak through a split by polygon; name those of two zones."""
    shapes = frame.geometry.to_numpy()
    areas = shapely.area(shapes)
    one, two = frame.sindex.query(shapes, predicate="intersects")
    shared = shapely.area(shapely.intersection(shapes[one], shapes[two]))
    over = (one < two) & (shared > OVERLAP * np.minimum(areas[one], areas[two]))
    one, two, label = one[over], two[over], frame["label"].to_numpy()
    names = [f"{row} (LCZ {CODES[zone - 1]})" for row, zone in zip(frame["row"], label, strict=True)]
    notes += [
        f"warning: polygons {names[i]} and {names[j]} overlap: pairs of one place get both labels; draw each place once"
        for i, j in zip(one, two, strict=True) if label[i] != label[j]
    ]  # fmt: skip
    same = label[one] == label[two]
    links = coo_matrix((same[same], (one[same], two[same])), shape=(len(frame),) * 2)
    frame["group"] = connected_components(links, directed=False)[1]
    for _, members in frame.groupby("group"):
        if len(members) > 1:
            listed = ", ".join(names[place] for place in members.index)
            notes.append(f"overlapping polygons {listed} joined: they are the same place")
    return frame.dissolve("group", aggfunc="first").reset_index(drop=True)
