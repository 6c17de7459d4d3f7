"""A Sentinel-2 scene of a place: the median of what is clear in the items of a STAC catalogue, at 10 m in UTM.

Needs the optional packages of `pip install "lczlib[stac]"`. A square of 1024 pixels is made at a time, one band after
the other, so that memory does not grow with the box.
"""

import datetime
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window
from tqdm import tqdm

from lczlib.city.bands import band_of
from lczlib.city.polygons import read_polygons
from lczlib.city.rasters import Sentinel2
from lczlib.city.source import utm_of
from lczlib.data.layout import BANDS
from lczlib.errors import InputError
from lczlib.runs import atomic_path

EARTH_SEARCH = "https://earth-search.aws.element84.com/v1"
CLEAR = (2, 4, 5, 6, 7)  # of SCL: dark, vegetation, bare, water, unclassified; not cloud, shadow, cirrus, snow
NO_DATA, TOP = -32768, 32766  # int16; the rest is reflectance x 10000
TILE, THREADS = 1024, 8  # pixels; items read at once
MARGIN = 500.0  # m around training areas, so that patches at their edge are whole
LONGEST = 200_000  # m of a side of the box
LEAST = 0.5  # share of the box that must be clear in some item


@dataclass
class Item:
    """One item of a catalogue: its ten bands and SCL under the library's names, and what makes reflectance of them."""

    stac: Any
    baseline: str
    scale: dict[str, float]
    offset: dict[str, float]
    assumed: str
    pixels: Counter = field(default_factory=Counter)  # counted while read: seen, clear, red, negative


def parse_box(text: str) -> tuple[float, ...]:
    """(west, south, east, north) of "W,S,E,N"."""
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--bbox {text}: not four numbers; give west,south,east,north in degrees") from None
    return west, south, east, north


def box_of(path: str | Path) -> tuple[float, float, float, float]:
    """West, south, east, north in degrees of the training areas of a file, with `MARGIN` around."""
    areas = read_polygons(path)[0].to_crs("EPSG:4326")
    west, south, east, north = areas.total_bounds.tolist()
    high = MARGIN / 111_000
    wide = high / np.cos(np.radians((south + north) / 2))
    return west - wide, south - high, east + wide, north + high


def make_scene(
    out: str | Path, bbox: tuple[float, float, float, float], dates: str, stac: str = EARTH_SEARCH,
    collection: str = "sentinel-2-l2a", most: int = 24,
) -> Path:  # fmt: skip
    """Write a cloud-masked median composite that `map`, `patches` and `check` read; print what was found and assumed.

    Args:
        out: GeoTIFF of int16, ten named bands, scale 0.0001 in its tags; what it was made of in its tags too.
        bbox: west, south, east, north in degrees.
        dates: "2023-05-01/2023-09-30".
        stac: address of a STAC API; items may name their bands as Earth Search, Planetary Computer or Copernicus do.
        most: items that one place is the median of: those with the most clear pixels around.

    Raises:
        InputError: a wrong box or date, no catalogue, no items, too many clouds, images that cannot be read.

    Source: the ranges of SCL and the offset of processing baseline 04.00 are ESA's; the composite is assumed.
    """
    try:
        import odc.stac
        import pystac_client  # noqa: F401
    except ImportError:
        raise InputError('scene needs optional packages; pip install "lczlib[stac]"') from None
    if most < 1:
        raise InputError(f"--most {most}: a median needs images; give 1 or more")
    grid = _grid(bbox)
    start, end = _dates(dates)
    sign = _signer(stac)
    items = _items(stac, collection, bbox, f"{start}/{end}")
    odc.stac.configure_rio(cloud_defaults=True)

    def load(item: Item, band: str, tile: Any) -> np.ndarray:
        known = {"*": {"assets": {"*": {"data_type": "uint16", "nodata": 0}}, "warnings": "ignore"}}
        how = "nearest" if band == "SCL" else "bilinear"
        try:
            found = odc.stac.load([item.stac], [band], geobox=tile, resampling=how, stac_cfg=known, patch_url=sign)
        except RasterioError as fault:
            reason = " ".join(str(fault).split())[:200]
            raise InputError(f"{item.stac.id}: its {band} cannot be read ({reason}); call again, or later") from None
        return found[band].values[0]

    profile = {"driver": "GTiff", "dtype": "int16", "count": len(BANDS), "nodata": NO_DATA, "crs": str(grid.crs),
               "transform": grid.transform, "height": grid.shape[0], "width": grid.shape[1], "tiled": True,
               "compress": "deflate", "predictor": 2, "bigtiff": "if_safer"}  # fmt: skip
    with atomic_path(out) as temporary:
        with rasterio.open(temporary, "w", **profile) as file:
            file.descriptions, file.scales = BANDS, (1e-4,) * len(BANDS)
            clear, covered = _fill(file, grid, items, most, load)
            cloud = 1 - sum(i.pixels["clear"] for i in items) / max(1, sum(i.pixels["seen"] for i in items))
            file.update_tags(**_provenance(items, stac, collection, f"{start}/{end}", cloud))
        if covered < LEAST:
            raise InputError(f"{stac}: the items cover only {covered:.0%} of the box; check --bbox and --dates")
        if clear < LEAST:
            seen = f"only {clear:.0%} of the box is clear in any of {len(items)} items"
            raise InputError(f"--dates {dates}: too many clouds ({seen}); give a longer time, or another season")
        print(f"clouds, shadows and snow: {cloud:.0%} of all pixels; {1 - clear:.1%} of the box is clear in no item")
        for item in items:
            if item.pixels["negative"] > 0.2 * item.pixels["red"]:
                print(f"warning: {item.stac.id}: red is below zero in many pixels; its offset looks applied already")
        try:
            for warning in Sentinel2(temporary).warnings:
                print(f"warning: {warning}")
        except InputError as fault:
            raise InputError(str(fault).replace(str(temporary), str(out))) from None
    return Path(out)


def _grid(bbox: tuple[float, float, float, float]) -> Any:
    """The odc GeoBox of 10 m in the UTM zone of the box's centre."""
    from odc.geo.geobox import GeoBox
    from odc.geo.geom import box

    west, south, east, north = bbox
    text = "--bbox " + ",".join(f"{degree:g}" for degree in bbox)
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -80 <= south <= 84 and -80 <= north <= 84):
        raise InputError(f"{text}: not degrees west,south,east,north between 80 S and 84 N; give these")
    if west >= east or south >= north:
        raise InputError(f"{text}: west is not below east, or south not below north; a box may not cross 180 degrees")
    utm = utm_of((west + east) / 2, (south + north) / 2)
    extent = box(*bbox, "EPSG:4326").to_crs(utm.to_string(), resolution=0.05).boundingbox
    if max(extent.span_x, extent.span_y) > LONGEST:
        size = f"{extent.span_x / 1000:.0f} x {extent.span_y / 1000:.0f} km"
        raise InputError(f"{text}: {size}; a city of up to {LONGEST // 1000} km is expected, give a smaller box")
    return GeoBox.from_bbox(extent, resolution=10)


def _dates(text: str) -> tuple[datetime.date, datetime.date]:
    try:
        start, end = (datetime.date.fromisoformat(part) for part in text.split("/"))
    except ValueError:
        raise InputError(f"--dates {text}: not two days; give START/END such as 2023-05-01/2023-09-30") from None
    if end < start:
        raise InputError(f"--dates {text}: ends before it starts; give START/END")
    return start, end


def _items(stac: str, collection: str, bbox: tuple, dates: str) -> list[Item]:
    """What a catalogue has; those without SCL or a band are left out. What was found and assumed is printed."""
    import requests
    from pystac import STACError
    from pystac_client import Client
    from pystac_client.exceptions import APIError

    try:
        search = Client.open(stac, timeout=60).search(
            collections=[collection], bbox=bbox, datetime=dates, max_items=2000
        )
        found = list(search.items())
    except (APIError, STACError, requests.RequestException, OSError, KeyError, ValueError) as fault:
        reason = " ".join(str(fault).split())[:120]
        raise InputError(f"{stac}: no STAC API answers ({reason}); check the network, or --stac") from None
    if not found:
        raise InputError(f"{stac}: no item of {collection} in this box within {dates}; check --bbox and --dates")
    print(f"{len(found)} items of {collection}, {dates}, at {stac}")
    items, lacking = [], Counter()
    for item in found:
        assets = _assets(item)
        if missing := ", ".join(band for band in (*BANDS, "SCL") if band not in assets):
            lacking[missing] += 1
        else:
            items.append(_read_item(item, assets))
    for bands, count in lacking.items():
        print(f"{count} items left out: without {bands}")
    if not items:
        raise InputError(f"{stac}: no item of {collection} has the ten bands and SCL; choose another collection")
    for assumed, count in Counter(item.assumed for item in items).items():
        print(f"{count} items: {assumed}")
    return items


def _assets(item: Any) -> dict[str, Any]:
    """The assets of an item by the library's band names and "SCL": of several the GeoTIFF, then the finest."""

    def order(entry: tuple[str, Any]) -> tuple:
        key, asset = entry
        jp2 = "jp2" in (asset.media_type or "") or asset.href.endswith(".jp2")
        return jp2, asset.extra_fields.get("gsd") or 10, key

    assets = {}
    for key, asset in sorted(item.assets.items(), key=order):
        described = asset.extra_fields.get("eo:bands") or asset.extra_fields.get("bands") or [{}]
        if not any(kind in f"{asset.media_type} {asset.href}" for kind in ("tif", "jp2")) or len(described) > 1:
            continue
        common = described[0].get("eo:common_name") or described[0].get("common_name") or ""
        name = "SCL" if key.lower().startswith("scl") else band_of(key) or band_of(common)
        assets.setdefault(name, asset)
    return assets


def _read_item(item: Any, assets: dict[str, Any]) -> Item:
    """An item with its bands renamed, and the scale and offset that its own metadata give."""
    import pystac

    told = item.properties
    keys = ("s2:processing_baseline", "sentinel:processing_baseline", "processing:version")
    baseline = str(next((told[key] for key in keys if key in told), ""))
    applied = told.get("earthsearch:boa_offset_applied", told.get("sentinel:boa_offset_applied"))
    later = float(baseline) >= 4 if baseline.replace(".", "", 1).isdigit() else f"{item.datetime:%F}" >= "2022-01-25"
    scale, offset = dict.fromkeys(BANDS, 1e-4), dict.fromkeys(BANDS, -0.1 if later else 0.0)
    why = f"processing baseline {baseline}" if baseline else "no processing baseline, by the date"
    if applied:
        offset, why = dict.fromkeys(BANDS, 0.0), "boa_offset_applied"
    else:
        for band in BANDS:
            extra = assets[band].extra_fields
            tags = (extra.get("raster:bands") or extra.get("bands") or [{}])[0] | extra
            given = [tags.get(name, tags.get(f"raster:{name}")) for name in ("scale", "offset")]
            scale[band] = given[0] or scale[band]
            if given[1] is not None:
                offset[band], why = given[1], "raster:bands of the item"
    kept = {}
    for band in (*BANDS, "SCL"):
        extra = {key: value for key, value in assets[band].extra_fields.items() if key.startswith("proj:")}
        kept[band] = pystac.Asset(assets[band].get_absolute_href(), extra_fields=extra)
    plain = pystac.Item(
        item.id, item.geometry, item.bbox, item.datetime, told, stac_extensions=item.stac_extensions, assets=kept
    )
    added = ", ".join(f"{value:g}" for value in sorted({round(offset[b] / scale[b], 3) for b in BANDS}))
    return Item(plain, baseline, scale, offset, f"offset {added} DN ({why})")


def _signer(stac: str) -> Callable[[str], str] | None:
    """What makes addresses of the Planetary Computer readable; None for other catalogues."""
    if "planetarycomputer" not in stac:
        return None
    try:
        import planetary_computer
    except ImportError:
        raise InputError(f"{stac}: its addresses must be signed; pip install planetary-computer") from None
    return planetary_computer.sign


def _fill(file: Any, grid: Any, items: list[Item], most: int, load: Callable) -> tuple[float, float]:
    """Write the composite square by square; returns the shares of the box that are clear, and covered, in any item."""
    height, width = grid.shape
    corners = [(row, col) for row in range(0, height, TILE) for col in range(0, width, TILE)]
    filled, covered = 0, 0
    with ThreadPoolExecutor(THREADS) as pool:
        for row, col in tqdm(corners, "squares of the scene", disable=None):
            tile = grid[row : min(row + TILE, height), col : min(col + TILE, width)]
            classes = pool.map(lambda item, tile=tile: load(item, "SCL", tile), items)
            seen = np.zeros(tile.shape, bool)
            best: list[tuple[int, Item, np.ndarray]] = []  # clear pixels, item, where they are; the most first
            for item, scl in zip(items, classes, strict=True):
                clear = np.isin(scl, CLEAR)
                seen |= scl > 0
                count = int(clear.sum())
                item.pixels.update(seen=int((scl > 0).sum()), clear=count)
                if count:
                    best = sorted([*best, (count, item, clear)], key=lambda one: -one[0])[:most]
            values = np.full((len(BANDS), *tile.shape), np.nan, np.float32)
            for place, band in enumerate(BANDS):
                stack = np.full((max(1, len(best)), *tile.shape), np.nan, np.float32)
                read = pool.map(lambda one, band=band, tile=tile: load(one[1], band, tile), best)
                for layer, (_, item, clear), raw in zip(stack, best, read, strict=False):
                    valid = clear & (raw > 0)
                    layer[valid] = raw[valid] * item.scale[band] + item.offset[band]
                    if band == "B4":
                        item.pixels.update(red=int(valid.sum()), negative=int((layer < -0.005).sum()))
                values[place] = _median(stack)
            void = np.isnan(values).any(axis=0)
            filled, covered = filled + (~void).sum(), covered + seen.sum()
            coded = np.rint(np.clip(np.where(void, 0, values) * 1e4, -4999, TOP)).astype(np.int16)
            coded[:, void] = NO_DATA
            file.write(coded, window=Window(col, row, *tile.shape[::-1]))
    return filled / (height * width), covered / (height * width)


def _median(stack: np.ndarray) -> np.ndarray:
    """`np.nanmedian` along the first axis, several times faster; sorts `stack` (n, h, w) in place."""
    stack.sort(axis=0)
    count = np.isfinite(stack).sum(axis=0)[None]
    low, high = np.take_along_axis(stack, np.concatenate([np.maximum(count - 1, 0) // 2, count // 2]), 0)
    return (low + high) / 2


def _provenance(items: list[Item], stac: str, collection: str, dates: str, cloud: float) -> dict[str, str]:
    """Tags that say what a scene was made of."""
    used = [item for item in items if item.pixels["clear"]]
    return {
        "STAC_URL": stac, "STAC_COLLECTION": collection, "DATES": dates, "CLOUD_SHARE": f"{cloud:.4f}",
        "ITEMS": " ".join(item.stac.id for item in used),
        "ITEM_DATES": " ".join(f"{item.stac.datetime:%F}" for item in used),
        "BASELINES": " ".join(sorted({item.baseline or "unknown" for item in used})),
        "OFFSETS": "; ".join(sorted({item.assumed for item in used})),
        "COMPOSITE": f"median of SCL classes {CLEAR}, reflectance x 10000",
    }  # fmt: skip
