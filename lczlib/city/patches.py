"""Pairs of patches cut from GeoTIFFs and labelled polygons: one's own city in the layout of LCZC-GES2."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from rasterio.transform import array_bounds
from rasterio.warp import transform_bounds
from shapely.geometry import Point, Polygon, box
from tqdm.auto import tqdm

from lczlib.city.polygons import read_polygons
from lczlib.city.rasters import RGB, S2_PIXEL, Sentinel2, apply_affine
from lczlib.data.layout import BANDS, read_index, write_index, write_pair
from lczlib.data.pairs import open_pairs
from lczlib.errors import InputError
from lczlib.runs import write_json
from lczlib.zones import CODES

PATCH = 32  # pixels of 10 m: 320 m
OVER_EDGE = "square reaches over the edge of the Sentinel-2 scene"
S2_VOID = "no-data in Sentinel-2"
RGB_VOID = "no-data in the RGB image, or outside of it"
TOO_SMALL = "polygon covers too little of a 320 m square"
OUTSIDE = "polygon outside of the Sentinel-2 scene"


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
        lines = [f"{self.pairs} pairs ({zones})", *(f"skipped {n}: {why}" for why, n in self.skipped.items())]
        return "\n".join(lines + [f"note: {note}" for note in self.notes] + [f"warning: {w}" for w in self.warnings])


def cut_patches(
    s2: str | Path,
    polygons: str | Path,
    out: str | Path,
    rgb: str | Path | None = None,
    *,
    bands: Sequence[str] | None = None,
    offset: float = 0.0,
    units: str = "auto",
    rgb_bands: Sequence[int] | None = None,
    class_column: str | None = None,
    city: str | None = None,
    spacing: float = 160.0,
    coverage: float = 0.5,
    append: bool = False,
    progress: bool = False,
) -> CutReport:
    """Cut pairs of 320 m x 320 m patches from a Sentinel-2 scene, and an RGB image, inside labelled polygons.

    Squares lie on the Sentinel-2 grid, `spacing` m apart, centre in the polygon; the RGB patch is brought onto the
    same ground square at 1 m, whatever its CRS and pixel size. Nothing is filled: a square with no-data is refused.

    Args:
        s2: GeoTIFF with 10, 12 or 13 bands (or named ones), reflectance or DN.
        bands: names of the file's bands in order, where it neither names them nor has the usual order.
        offset: added to DN before the division by 10000: -1000 for processing 04.00 and later, if still in the file.
        units: "dn", "reflectance", or "auto" (DN where the 99th percentile exceeds 10).
        rgb_bands: 1-based bands holding red, green, blue.
        coverage: least share of the square that lies in its polygon, 0..1.
        append: add to the pairs already in `out` (another city) instead of refusing.

    Returns:
        What was cut and skipped; also written to `out/patches.json`.

    Raises:
        FileNotFoundError, ValueError: in one line (what: fault; remedy).

    Source: paper, "patches were cut from labelled polygons"; spacing and coverage are assumed.
    """
    if spacing <= 0 or not 0 < coverage <= 1:
        raise InputError(
            f"--spacing {spacing:g}, --coverage {coverage:g}: out of range; use metres above 0 and a share of 0 to 1"
        )
    scene = Sentinel2(s2, bands, offset, units)
    image = RGB(rgb, rgb_bands) if rgb else None
    city = Path(s2).stem if city is None else city
    areas, notes = read_polygons(polygons, class_column, city)
    report = CutReport(notes=notes, warnings=[f"{s2}: {warning}" for warning in scene.warnings])
    areas = _on_scene(areas, scene, polygons, s2, report)
    if image:
        require_overlap(scene, image)
    old = _old_index(Path(out), append)
    if len(old) and open_pairs(out).has_rgb != (image is not None):
        raise InputError(f"{out}: its pairs have {'' if image is None else 'no '}RGB patches; append pairs of one kind")
    rows, looks = [], []
    for area in tqdm(list(areas.itertuples()), desc="cutting patches", unit="polygon", disable=not progress):
        for row, col in _squares(area.geometry, scene, spacing, coverage, report):
            pair = _read_pair(scene, image, row, col, report)
            if pair is not None:
                number = len(rows) + (int(old["id"].max()) + 1 if len(old) else 0)
                write_pair(out, number, *pair, area.label)
                rows.append((number, area.label, area.city, area.polygon))
                looks += [_look(*pair)] if image and len(looks) < 64 else []
    if not rows:
        why = ", ".join(f"{n} x {reason}" for reason, n in report.skipped.items())
        raise InputError(f"{polygons}: no square could be cut ({why}); draw larger areas or lower --coverage")
    _judge_rgb(looks, image, report)
    _finish(Path(out), rows, old, report, s2=str(s2), rgb=str(rgb or ""), offset=offset, spacing=spacing)
    return report


def _on_scene(
    areas: gpd.GeoDataFrame, scene: Sentinel2, polygons: str | Path, s2: str | Path, report: CutReport
) -> gpd.GeoDataFrame:
    areas = areas.to_crs(scene.crs)
    inside = areas.intersects(_frame(scene))
    if not inside.any():
        places = f"polygons at {_place(areas.crs, areas.total_bounds)}, scene at {_place_of(scene)}"
        raise InputError(
            f"{polygons}: every polygon lies outside of the scene {s2} ({places}); "
            "check both CRS, or choose the scene of this place"
        )
    report.skipped += Counter({OUTSIDE: int((~inside).sum())})
    return areas[inside]


def _frame(scene: Sentinel2) -> Polygon:
    return box(*array_bounds(scene.height, scene.width, scene.transform))


def _place(crs, bounds: Sequence[float]) -> str:
    west, south, east, north = transform_bounds(crs, "EPSG:4326", *bounds)
    return f"{(west + east) / 2:.3f} E {(south + north) / 2:.3f} N"


def _place_of(scene: Sentinel2) -> str:
    return _place(scene.crs, _frame(scene).bounds)


def require_overlap(scene: Sentinel2, image: RGB) -> None:
    """Raise ValueError where the two images lie in different places."""
    other = box(*transform_bounds(image.data.crs, scene.crs, *image.data.bounds))
    if not _frame(scene).intersection(other).area:
        places = f"it lies at {_place(image.data.crs, image.data.bounds)}, the scene at {_place_of(scene)}"
        raise InputError(f"{image.path}: does not overlap {scene.path} ({places}); give two images of the same place")


def _old_index(out: Path, append: bool) -> pd.DataFrame:
    if not (out / "index.csv").exists():
        return pd.DataFrame()
    if not append:
        raise InputError(f"{out}: holds pairs already; name another folder, or add to them with --append")
    return read_index(out)


def _squares(
    area: Polygon, scene: Sentinel2, spacing: float, coverage: float, report: CutReport
) -> Iterator[tuple[int, int]]:
    """Upper left corners (row, col) on the Sentinel-2 grid of the squares of one polygon."""
    found = 0
    for center in _centers(area, spacing):
        col, row = apply_affine(~scene.transform, center.x, center.y)
        row, col = round(row) - PATCH // 2, round(col) - PATCH // 2
        left, top = apply_affine(scene.transform, col, row)
        square = box(left, top - PATCH * S2_PIXEL, left + PATCH * S2_PIXEL, top)
        if area.intersection(square).area >= coverage * square.area:
            found += 1
            if min(row, col) < 0 or row + PATCH > scene.height or col + PATCH > scene.width:
                report.skipped[OVER_EDGE] += 1
            else:
                yield row, col
    if not found:
        report.skipped[TOO_SMALL] += 1


def _centers(area: Polygon, spacing: float) -> list[Point]:
    """Points of a square grid in the polygon, the grid centred on its bounding box; one inner point if none lies in."""
    left, bottom, right, top = area.bounds
    x, y = (
        (low + high) / 2 + spacing * np.arange(-(n := int((high - low) / 2 // spacing)), n + 1)
        for low, high in ((left, right), (bottom, top))
    )
    inside = [point for py in y[::-1] for px in x if area.contains(point := Point(px, py))]
    return inside or [area.representative_point()]


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
    rgb, valid = image.read(scene.crs, *apply_affine(scene.transform, col, row))
    if not valid.all():
        report.skipped[RGB_VOID] += 1
        return None
    return s2, rgb


def _look(s2: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    """(4, 1024): brightness and red-minus-blue of the Sentinel-2 patch, then of the RGB patch, at 10 m."""
    coarse = rgb.reshape(PATCH, 10, PATCH, 10, 3).mean(axis=(1, 3), dtype=np.float64)
    red, blue = s2[..., BANDS.index("B4")], s2[..., BANDS.index("B2")]
    green = s2[..., BANDS.index("B3")]
    return np.stack([red + green + blue, red - blue, coarse.sum(-1), coarse[..., 0] - coarse[..., 2]]).reshape(4, -1)


def _judge_rgb(looks: list[np.ndarray], image: RGB | None, report: CutReport) -> None:
    """Warn where the two images do not show the same ground, or red and blue look swapped."""
    if not looks:
        return
    related = np.corrcoef(np.concatenate(looks, axis=1))
    if related[0, 2] < 0.1:
        report.warnings.append(
            f"{image.path}: does not look like the same ground as the Sentinel-2 scene; check its CRS"
        )
    elif related[1, 3] < -0.2:
        report.warnings.append(f"{image.path}: red and blue look swapped (bands {image.indexes}); give --rgb-bands")


def _finish(out: Path, rows: list[tuple], old: pd.DataFrame, report: CutReport, **facts: object) -> None:
    index = pd.concat([old, pd.DataFrame(rows, columns=["id", "label", "city", "polygon"])], ignore_index=True)
    write_index(out, index, kind="own city", **facts)
    counts = Counter(label for _, label, *_ in rows)
    report.pairs, report.zones = len(rows), {CODES[label - 1]: counts[label] for label in sorted(counts)}
    write_json(out / "patches.json", report)
