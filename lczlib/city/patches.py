"""Pairs of patches cut from GeoTIFFs and labelled polygons: one's own city in the layout of LCZC-GES2."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from shapely.geometry import Polygon, box
from tqdm.auto import tqdm

from lczlib.city.polygons import read_polygons
from lczlib.city.rasters import RGB, Sentinel2
from lczlib.city.source import S2_PIXEL
from lczlib.data import layout
from lczlib.data.layout import BANDS, read_index, write_index, write_pair
from lczlib.data.pairs import open_pairs
from lczlib.errors import InputError
from lczlib.runs import write_json
from lczlib.zones import CODES

BEYOND = 10_000.0  # m around a scene in which squares of a polygon are counted
PATCH = 32  # pixels of 10 m: 320 m
LEAST_POLYGONS = 3  # of a zone; the LCZ Generator's rule
KIND = "own city"  # in dataset.json
UNFINISHED = ".unfinished"  # folder in `out` where the pairs of a call lie until all are cut
OVER_EDGE = "square reaches over the edge of the Sentinel-2 scene"
S2_VOID = "no-data in Sentinel-2"
RGB_VOID = "no-data in the RGB image, or outside of it"
TOO_SMALL = "polygon covers too little of a 320 m square"
OUTSIDE = "polygon outside of the Sentinel-2 scene"


@dataclass(frozen=True)
class SceneOptions:
    """How to read the two images, shared by `patches` and `map`."""

    bands: Sequence[str] | None = None  # of the Sentinel-2 file, all in order, where it does not name them itself
    offset: float = 0.0  # added to DN before the division by 10000: -1000 where processing 04.00 or later left it in
    units: str = "auto"  # "dn", "reflectance", or "auto": by tags of scale and offset, else by the values
    rgb_bands: Sequence[int] | None = None  # 1-based, of red, green and blue

    def open(self, s2: str | Path | None, rgb: str | Path | None) -> tuple[Sentinel2 | None, RGB | None]:
        """The images that are given, of the same place (else InputError)."""
        scene = Sentinel2(s2, self.bands, self.offset or 0.0, self.units or "auto") if s2 else None
        image = RGB(rgb, self.rgb_bands) if rgb else None
        if scene and image:
            (left, bottom, right, top), (west, south, east, north) = image.source.bounds(scene.crs), scene.bounds
            if right <= west or left >= east or top <= south or bottom >= north:
                places = f"it lies at {image.source.place}, the scene at {scene.source.place}"
                raise InputError(f"{rgb}: does not overlap {s2} ({places}); give two images of the same place")
        return scene, image


@dataclass(frozen=True)
class CutOptions(SceneOptions):
    """How to read the images and how to cut."""

    class_column: str | None = None  # of the polygons' zones, where it has no usual name
    city: str | None = None  # name of the city; None: the Sentinel-2 file's name
    spacing: float = 160.0  # m between squares
    coverage: float = 0.5  # least share of a square that lies in its polygon, 0..1
    append: bool = False  # add to the pairs already there (another city) instead of refusing


@dataclass
class CutReport:
    """What was cut, and what was not and why. `skipped` counts squares (or polygons, where the reason says so)."""

    pairs: int = 0
    zones: dict[str, int] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        zones = ", ".join(f"LCZ {code}: {n}" for code, n in self.zones.items())
        lines = [f"{self.pairs} pairs ({zones})"] if self.pairs else []
        lines += [f"skipped {n}: {why}" for why, n in self.skipped.items()]
        return "\n".join(lines + [f"note: {note}" for note in self.notes] + [f"warning: {w}" for w in self.warnings])


def cut_patches(
    s2: str | Path, polygons: str | Path, out: str | Path, rgb: str | Path | None = None,
    progress: bool = False, report: CutReport | None = None, **options: object,
) -> CutReport:  # fmt: skip
    """Cut pairs of 320 m x 320 m patches from a Sentinel-2 scene, and an RGB image, inside labelled polygons.

    Squares lie on the Sentinel-2 grid, `spacing` m apart, centre in the polygon; the RGB patch is brought onto the
    same ground square at 1 m, whatever its CRS and pixel size. Nothing is filled: a square with no-data is refused.

    Args:
        report: filled, so that what was assumed is known where the cut fails. options: fields of `CutOptions`.

    Returns:
        What was cut, skipped and assumed; also written to `out/patches.json`.

    Source: paper, "patches were cut from labelled polygons"; spacing and coverage are assumed.
    """
    how = CutOptions(**options)
    if not s2:
        raise InputError("--s2: names no file; give the path of a Sentinel-2 GeoTIFF")
    if not 0 < how.spacing < np.inf or not 0 < how.coverage <= 1:
        given = f"--spacing {how.spacing:g}, --coverage {how.coverage:g}"
        raise InputError(f"{given}: out of range; use metres above 0 and a share of 0 to 1")
    report = CutReport() if report is None else report
    scene, image = how.open(s2, rgb)
    for source in (scene, image) if image else (scene,):
        report.notes += [f"{source.path}: {note}" for note in source.notes]
        report.warnings += [f"{source.path}: {warning}" for warning in source.warnings]
    areas, notes = read_polygons(polygons, how.class_column, Path(s2).stem if how.city is None else how.city)
    for note in notes:
        kind = report.warnings if note.startswith("warning: ") else report.notes
        kind.append(f"{polygons}: {note.removeprefix('warning: ')}")
    areas = _on_scene(areas, scene, polygons, report)
    out = Path(out)
    old = _pairs_there(out, how, image is not None)
    if len(old) and (twice := areas.merge(old, on=["city", "polygon"])["polygon"].tolist()):
        raise InputError(f"{out}: holds pairs of a polygon {twice[0]} already; give another --city, or new polygons")
    _clear_unfinished(out, old)
    rows, views = [], []
    for area in tqdm(list(areas.itertuples()), desc="cutting patches", unit="polygon", disable=not progress):
        for row, col in _squares(area.geometry, scene, how, report):
            pair = _read_pair(scene, image, row, col, report)
            if pair is not None:
                number = len(rows) + (int(old["id"].max()) + 1 if len(old) else 0)
                write_pair(out / UNFINISHED, number, *pair, area.label)
                rows.append((number, area.label, area.city, area.polygon))
                views += [pair] if image and len(views) < 64 else []
    if not rows:
        why = ", ".join(f"{n} x {reason}" for reason, n in report.skipped.items())
        advice = "lower --coverage" if TOO_SMALL in report.skipped else "use an image without gaps there"
        raise InputError(f"{polygons}: no square could be cut ({why}); draw larger areas or {advice}")
    if image:
        _compare_views(views, image, report)
    counts = Counter(label for _, label, *_ in rows)
    report.pairs, report.zones = len(rows), {CODES[label - 1]: counts[label] for label in sorted(counts)}
    index = pd.concat([old, pd.DataFrame(rows, columns=["id", "label", "city", "polygon"])], ignore_index=True)
    _warn_of_few(index, report)
    write_json(out / UNFINISHED / "patches.json", report)
    facts = {"s2": str(s2), "rgb": str(rgb or ""), "offset": how.offset, "spacing": how.spacing}
    write_index(out / UNFINISHED, index, KIND, **facts)
    _publish(out)
    return report


def _pairs_there(out: Path, how: CutOptions, with_rgb: bool) -> pd.DataFrame:
    """The index of the pairs in `out`, empty where there are none; InputError where none may be added."""
    if not (out / "index.csv").exists():
        return pd.DataFrame()
    if not how.append:
        raise InputError(f"{out}: holds pairs already; name another folder, or add to them with --append")
    pairs = open_pairs(out)
    if pairs.kind != KIND:
        raise InputError(f"{out}: holds {pairs.kind} data, and pairs of one's own city stay apart; give another --out")
    if len(pairs) and pairs.has_rgb != with_rgb:
        raise InputError(f"{out}: its pairs have {'no ' if with_rgb else ''}RGB patches; append pairs of one kind")
    return pairs.index


def _clear_unfinished(out: Path, old: pd.DataFrame) -> None:
    """Remove what a stopped call left in `out`; InputError where other patches lie there that no index names."""
    unfinished, known = out / UNFINISHED, set(old.get("id", ()))
    if (unfinished / "index.csv").exists():  # it was stopped while its patches were moved
        for number in set(read_index(unfinished)["id"]) - known:
            layout.s2_path(out, number).unlink(missing_ok=True)
            layout.rgb_path(out, number).unlink(missing_ok=True)
    try:
        shutil.rmtree(unfinished)
    except FileNotFoundError:
        pass
    except OSError as fault:  # names no folder
        raise OSError(fault.errno, fault.strerror, str(unfinished)) from None
    for folder in (out / layout.S2_FOLDER, out / layout.RGB_FOLDER):
        if strays := set(layout.patch_ids(folder)) - known:
            fault = f"holds patches that no index.csv names ({len(strays)}, such as {min(strays)})"
            raise InputError(f"{folder}: {fault}; give another --out, or delete them")
        if folder.exists() and not any(folder.iterdir()):  # an empty one would tell of RGB patches
            folder.rmdir()


def _publish(out: Path) -> None:
    """Move new pairs from `UNFINISHED` into `out`, the index last: `_clear_unfinished` takes back half a move."""
    unfinished = out / UNFINISHED
    notes = (unfinished / name for name in ("patches.json", "dataset.json", "index.csv"))
    for path in (*unfinished.glob("*/*.npz"), *notes):
        target = out / path.relative_to(unfinished)
        target.parent.mkdir(exist_ok=True)
        os.replace(path, target)
    shutil.rmtree(unfinished)


def _on_scene(areas: gpd.GeoDataFrame, scene: Sentinel2, polygons: str | Path, report: CutReport) -> gpd.GeoDataFrame:
    frame = box(*scene.bounds)
    here = areas.to_crs(scene.crs)
    inside = here.intersects(frame) & np.isfinite(here.bounds).all(axis=1)
    if not inside.any():
        west, south, east, north = areas.to_crs("EPSG:4326").total_bounds
        swapped = areas.set_geometry(shapely.transform(areas.geometry, lambda xy: xy[:, ::-1]))
        places = f"polygons at {(west + east) / 2:.3f} E {(south + north) / 2:.3f} N, scene at {scene.source.place}"
        remedy = "check both CRS, or choose the scene of this place"
        if swapped.to_crs(scene.crs).intersects(frame).any():
            remedy = "longitude and latitude are swapped in it: export it with x before y"
        raise InputError(f"{polygons}: every polygon lies outside of the scene {scene.path} ({places}); {remedy}")
    report.skipped += Counter({OUTSIDE: int((~inside).sum())})
    return here[inside]


def _squares(area: Polygon, scene: Sentinel2, how: CutOptions, report: CutReport) -> Iterator[tuple[int, int]]:
    """Upper left corners (row, col) on the Sentinel-2 grid of the squares of one polygon."""
    found = 0
    for center in _centers(area, how.spacing, scene.bounds):
        col, row = ~scene.transform @ center
        row, col = round(row) - PATCH // 2, round(col) - PATCH // 2
        left, top = scene.transform @ (col, row)
        square = box(left, top - PATCH * S2_PIXEL, left + PATCH * S2_PIXEL, top)
        if area.intersection(square).area >= how.coverage * square.area:
            found += 1
            if min(row, col) < 0 or row + PATCH > scene.height or col + PATCH > scene.width:
                report.skipped[OVER_EDGE] += 1
            else:
                yield row, col
    if not found:
        report.skipped[TOO_SMALL] += 1


def _centers(area: Polygon, spacing: float, around: tuple[float, float, float, float]) -> np.ndarray:
    """(n, 2) x, y of a square grid in the polygon, centred on its bounding box; one inner point if none lies in.

    Of a polygon that reaches far beyond the scene `around`, only what lies within `BEYOND` of it.
    """
    ranges = []
    for low, high, first, last in zip(area.bounds[:2], area.bounds[2:], around[:2], around[2:], strict=True):
        middle, n = (low + high) / 2, (high - low) / 2 // spacing
        least, most = (first - BEYOND - middle) // spacing, (last + BEYOND - middle) // spacing
        ranges.append(middle + spacing * np.arange(max(-n, least), min(n, most) + 1))
    grid = np.stack(np.meshgrid(ranges[0], ranges[1][::-1]), axis=-1).reshape(-1, 2)
    inside = grid[shapely.contains_xy(area, grid)]
    return inside if len(inside) else np.array(area.representative_point().coords)


def _read_pair(
    scene: Sentinel2, image: RGB | None, row: int, col: int, report: CutReport
) -> tuple[np.ndarray, np.ndarray | None] | None:
    """(32, 32, 10) reflectance and (320, 320, 3) uint8 of the same square, or None, counted, where data are missing."""
    s2 = scene.read(row, col, PATCH, PATCH)
    if np.isnan(s2).any():
        report.skipped[S2_VOID] += 1
        return None
    if image is None:
        return s2, None
    rgb, valid = image.read(scene.crs, *scene.transform @ (col, row))
    if not valid.all():
        report.skipped[RGB_VOID] += 1
        return None
    return s2, rgb


def _compare_views(pairs: list[tuple[np.ndarray, np.ndarray]], image: RGB, report: CutReport) -> None:
    """Warn where the two images do not show the same ground, or red and blue look swapped: both at 10 m."""
    s2 = np.stack([patch for patch, _ in pairs])
    red, green, blue = (s2[..., BANDS.index(band)] for band in ("B4", "B3", "B2"))
    rgb = np.stack([patch.reshape(PATCH, 10, PATCH, 10, 3).mean(axis=(1, 3), dtype=np.float64) for _, patch in pairs])
    views = red + green + blue, red - blue, rgb.sum(-1), rgb[..., 0] - rgb[..., 2]
    with np.errstate(invalid="ignore"):  # a view of one value is related to none: NaN
        related = np.corrcoef([view.ravel() for view in views])
    if not np.ptp(rgb, axis=(0, 1, 2)).any():
        report.warnings.append(f"{image.path}: has one value everywhere in the patches; choose another image")
    elif related[0, 2] < 0.1:
        other = "does not look like the same ground as the Sentinel-2 scene"
        report.warnings.append(f"{image.path}: {other}; check its CRS")
    elif related[1, 3] < -0.2:
        report.warnings.append(f"{image.path}: red and blue look swapped (bands {image.indexes}); give --rgb-bands")


def _warn_of_few(index: pd.DataFrame, report: CutReport) -> None:
    """Tell before training what these pairs cannot teach."""
    polygons = index.groupby("label")["polygon"].nunique()
    if len(polygons) == 1:
        code = CODES[polygons.index[0] - 1]
        report.warnings.append(f"all pairs are LCZ {code}: to train, zones to tell it from are needed")
    few = ", ".join(f"LCZ {CODES[label - 1]} ({n})" for label, n in polygons.items() if n < LEAST_POLYGONS)
    if few:
        report.notes.append(f"pairs of fewer than {LEAST_POLYGONS} polygons of {few}: too few to train and test on")
