"""Georeferenced rasters read by ground square: Sentinel-2 as reflectance at 10 m, RGB as uint8 at 1 m.

Nothing here reads more than the window it was asked for, so memory does not grow with the scene.
Every fault of a file is a ValueError or FileNotFoundError in one line: what, fault; remedy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from pyproj import Geod
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import CRSError, RasterioError, WindowError
from rasterio.features import geometry_window
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform, reproject, transform, transform_bounds, transform_geom
from rasterio.windows import Window
from shapely.geometry import box, mapping

from lczlib.data.layout import BANDS
from lczlib.errors import InputError
from lczlib.runs import atomic_path

S2_PIXEL, RGB_PIXEL = 10.0, 1.0  # m
ORDERS = {  # what a file without band names most likely holds; the physics test looks at the result
    10: BANDS,
    12: ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12"),
    13: ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12"),
}


@contextmanager
def one_line(
    path: str | Path,
    fault: str = "its pixels cannot be read, the file is cut short or damaged",
    remedy: str = "copy or export it again",
) -> Iterator[None]:
    """Turn GDAL's errors into one line that names the file."""
    try:
        with rasterio.Env():
            yield
    except (RasterioError, CRSError, CPLE_BaseError):
        raise InputError(f"{path}: {fault}; {remedy}") from None


def open_raster(path: str | Path) -> rasterio.DatasetReader:
    """Open a georeferenced raster whose CRS leads somewhere.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no raster; no CRS; a CRS that cannot be transformed to longitude and latitude.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"{path}: no such file; give the path of a GeoTIFF")
    with one_line(path, "not a raster that GDAL can open"):
        data = rasterio.open(path)
    if data.crs is None:
        raise InputError(f"{path}: no coordinate reference system; assign one, e.g. gdal_edit.py -a_srs EPSG:32633")
    with one_line(path, f"its CRS cannot be transformed ({str(data.crs)[:40]}...)", "assign the true one"):
        transform_bounds(data.crs, "EPSG:4326", *data.bounds)
    return data


def write_raster(path: str | Path, image: np.ndarray, crs: str, left: float, top: float, pixel: float) -> Path:
    """Write (H, W, bands) or (H, W) of any numeric type as a tiled, compressed GeoTIFF; corner and pixel in m."""
    bands = np.atleast_3d(image)
    height, width, count = bands.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": bands.dtype, "crs": crs}
    profile |= {"transform": Affine(pixel, 0, left, 0, -pixel, top), "tiled": True, "compress": "deflate"}
    with atomic_path(path) as temporary, rasterio.open(temporary, "w", **profile) as file:
        file.write(np.moveaxis(bands, -1, 0))
        if count == len(BANDS):
            file.descriptions = BANDS
    return Path(path)


def ground_pixel(data: rasterio.DatasetReader) -> float:
    """Size of a pixel on the ground in m, at the centre of the raster (geodesic: right in any CRS)."""
    x, y = apply_affine(data.transform, data.width / 2 + np.array([0, 1]), np.full(2, data.height / 2))
    lon, lat = transform(data.crs, "EPSG:4326", x.tolist(), y.tolist())
    return Geod(ellps="WGS84").inv(lon[0], lat[0], lon[1], lat[1])[2]


def apply_affine(affine: Affine, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (x, y) under an affine transform, arrays or numbers."""
    return affine.a * x + affine.b * y + affine.c, affine.d * x + affine.e * y + affine.f


def utm_of(crs: CRS, bounds: Sequence[float]) -> CRS:
    """The UTM zone (WGS 84) of the middle of `bounds` (left, bottom, right, top in `crs`)."""
    left, bottom, right, top = transform_bounds(crs, "EPSG:4326", *bounds)
    zone = int(((left + right) / 2 + 180) // 6) % 60 + 1
    return CRS.from_epsg((32600 if bottom + top >= 0 else 32700) + zone)


def band_indexes(data: rasterio.DatasetReader, bands: Sequence[str] | None = None) -> list[int]:
    """1-based places of the ten BANDS in the file: from `bands`, else its band names, else its band count.

    Args:
        bands: the names of all the file's bands in order, such as ("B4", "B3", "B2", ...).

    Raises:
        ValueError: a band is missing, or the order cannot be known.
    """
    found = [re.search(r"(?<![A-Z0-9])B0?(\d{1,2}A?)(?![A-Z0-9])", (name or "").upper()) for name in data.descriptions]
    names = ["B" + match[1] if match else "" for match in found]
    if bands:
        names = ["B" + name.strip().upper().lstrip("B").lstrip("0") for name in bands]
        if len(names) != data.count:
            raise InputError(f"{data.name}: has {data.count} bands, --bands names {len(names)}; name each, in order")
    elif not set(BANDS) <= set(names):
        names = list(ORDERS.get(data.count, names))
    missing = [band for band in BANDS if band not in names]
    if missing:
        raise InputError(
            f"{data.name}: bands missing ({', '.join(missing)}; the file has {data.count} bands); export the ten "
            "bands of 10 m and 20 m, or name the file's bands in order with --bands B2,B3,..."
        )
    return [names.index(band) + 1 for band in BANDS]


class Sentinel2:
    """A Sentinel-2 raster seen as reflectance on a 10 m grid in its own CRS or, where that is no metric one, in UTM.

    Attributes: `crs`, `transform`, `height`, `width` of the 10 m grid; `dn` (the file holds DN); `warnings` (str)
    of the physics test. Reflectance = (DN + offset) / 10000, never clipped.
    """

    def __init__(
        self,
        path: str | Path,
        bands: Sequence[str] | None = None,
        offset: float = 0.0,
        units: str = "auto",
        check: bool = True,
    ):
        self.path, self.offset, self.dn = Path(path), float(offset), units == "dn"
        self.data = open_raster(path)
        self.indexes = band_indexes(self.data, bands)
        self.view = _ten_metre_view(self.data)
        self.crs, self.transform = self.view.crs, self.view.transform
        self.height, self.width = self.view.height, self.view.width
        self.warnings = self._look(units) if check else []

    def _look(self, units: str) -> list[str]:
        """Settle the units and test the physics on a sample."""
        self.dn, offset, self.offset = False, self.offset, 0.0
        sample = _sample(self.path, self._valid, (self.height, self.width), 48, 6)
        self.dn, self.offset = units == "dn" or (units == "auto" and np.percentile(sample, 99) > 10), offset
        if self.dn:
            return physics((sample + offset) * 1e-4)
        ignored = ["holds reflectance, so that --offset is not applied; check --units"] if offset else []
        return ignored + physics(sample)

    def read(self, row: int, col: int, height: int, width: int) -> np.ndarray:
        """Reflectance (height, width, 10) float32 of a window of the 10 m grid, all NaN where there is no data."""
        with one_line(self.path):
            values = self.view.read(self.indexes, window=Window(col, row, width, height)).astype(np.float32)
        empty = self._empty(values, Window(col, row, width, height))
        reflectance = (values + np.float32(self.offset)) * np.float32(1e-4) if self.dn else values
        reflectance[:, empty] = np.nan
        return np.moveaxis(reflectance, 0, -1)

    def _empty(self, values: np.ndarray, window: Window) -> np.ndarray:
        """(height, width) bool: not finite, all bands 0, tagged as no-data, or masked."""
        empty = ~np.isfinite(values).all(axis=0) | (values == 0).all(axis=0)
        if self.data.nodata:  # a tag of 0 counts in all bands together only: dark pixels are 0 in some band
            empty |= (values == np.float32(self.data.nodata)).any(axis=0)
        if MaskFlags.per_dataset in self.view.mask_flag_enums[0]:
            with one_line(self.path):
                empty |= self.view.dataset_mask(window=window) == 0
        return empty

    def _valid(self, window: Window) -> np.ndarray:
        """(n, 10) of the window's pixels that have data."""
        block = self.read(window.row_off, window.col_off, window.height, window.width)
        return block[np.isfinite(block[..., 0])]


def _sample(path: Path, read: Callable[[Window], np.ndarray], shape: tuple[int, int], side: int, most: int):
    """Values that `read` finds in windows of `side` pixels, at most `most` along each axis; where there are none, in
    the first of all windows that has any. Raises ValueError where no window has.
    """
    spread = np.concatenate([read(window) for window in _spread(shape, side, most)])
    rest = (found for window in _spread(shape, 512, 10**9) if len(found := read(window)))
    found = spread if len(spread) else next(rest, None)
    if found is None:
        raise InputError(f"{path}: wholly no-data; choose another image or export")
    return found


def _spread(shape: tuple[int, int], side: int, most: int) -> Iterator[Window]:
    """Windows of `side` pixels (or the whole length), at most `most` along each axis, evenly spread."""
    rows, cols = (np.linspace(0, max(n - side, 0), min(most, -(-n // side))).astype(int).tolist() for n in shape)
    height, width = (min(side, length) for length in shape)
    return (Window(col, row, width, height) for row in rows for col in cols)


def metric(data: rasterio.DatasetReader) -> bool:
    """Whether the raster's CRS counts in metres on the ground (Web Mercator, feet and degrees do not), upright."""
    a, b, _, d, e, _ = data.transform[:6]
    return b == d == 0 and a == -e and abs(a / ground_pixel(data) - 1) < 0.02


def _ten_metre_view(data: rasterio.DatasetReader) -> rasterio.DatasetReader | WarpedVRT:
    pixel = ground_pixel(data)
    if not 2 <= pixel <= 61:
        raise InputError(f"{data.name}: pixels of {pixel:.4g} m; Sentinel-2 bands at 10 m (or 20 m) are expected")
    if metric(data) and abs(data.transform.a - S2_PIXEL) < 0.01:
        return data
    crs = data.crs if metric(data) else utm_of(data.crs, data.bounds)
    grid, width, height = calculate_default_transform(
        data.crs, crs, data.width, data.height, *data.bounds, resolution=S2_PIXEL
    )
    void = 0 if data.nodata is None else data.nodata
    return WarpedVRT(
        data, crs=crs, transform=grid, width=width, height=height, src_nodata=void, nodata=void,
        resampling=Resampling.average if pixel < S2_PIXEL else Resampling.bilinear, UNIFIED_SRC_NODATA="YES",
    )  # fmt: skip


def physics(reflectance: np.ndarray) -> list[str]:
    """What looks wrong about band order, offset or units: one line each, none when all is plausible.

    Over vegetation B8A is close to B8, B11 below B8A and B12 below B11; B7, B8 and B8A are close anywhere; the
    darkest pixels of a scene are dark in some band; next to nothing is negative.

    Args:
        reflectance: (n, 10) sample of valid pixels, in the order BANDS.

    Source: LCZ.md facts of Sentinel-2; the limits here are assumed, tried on four real scenes.
    """
    found = []
    band = dict(zip(BANDS, reflectance.T.astype(np.float64), strict=True))
    green = (band["B8"] - band["B4"] > 0.5 * (band["B8"] + band["B4"])) & (band["B8"] > 0.15)
    if green.sum() >= 50:
        m = {name: float(np.median(values[green])) for name, values in band.items()}
        if not (m["B12"] < m["B11"] < m["B8A"] and m["B4"] < m["B5"] < m["B7"]):
            found.append("vegetation does not look like vegetation (B4 < B5 < B7, B8A > B11 > B12)")
    for one, other in (("B7", "B8"), ("B8", "B8A")):
        if not 0.75 < (np.median(band[one]) + 0.01) / (np.median(band[other]) + 0.01) < 1.33:
            found.append(f"{one} and {other} differ by more than their wavelengths allow")
    red, blue = (np.corrcoef([band[name], band["B5"]])[0, 1] if band[name].std() > 1e-4 else 0 for name in ("B4", "B2"))
    if blue > red + 0.04:
        found.append("B2 goes with the red edge B5 more than B4 does")
    advice = ["the band order looks wrong: " + found[0] + "; name the file's bands with --bands"] if found else []
    if np.percentile(reflectance, 1, axis=0).min() > 0.095:
        advice.append(
            "even the darkest pixels reflect 10 % in every band; if processing is 04.00 or later, use --offset -1000"
        )
    if (reflectance < -0.01).any(axis=1).mean() > 0.05:
        advice.append("many pixels are below zero: the offset looks applied twice; leave --offset at 0")
    elif np.percentile(reflectance, 99) > 3 or np.median(reflectance) < 1e-3:
        advice.append("values lie outside of reflectance 0..1; check --units")
    return advice


class RGB:
    """A high-resolution RGB raster (0.05-2.5 m) read as uint8 squares at 1 m in any CRS: averaged, never subsampled.

    Other depths than 8 bits are stretched from the 1st to the 99th percentile of all three bands together.
    Attributes: `pixel` ground size in m; `indexes` 1-based bands taken as R, G, B; `stretch` (black, white).
    """

    def __init__(self, path: str | Path, bands: Sequence[int] | None = None, stretch: Sequence[float] | None = None):
        self.path = Path(path)
        self.data = open_raster(path)
        self.pixel = ground_pixel(self.data)
        if not 0.04 <= self.pixel <= 2.6:
            raise InputError(f"{path}: pixels of {self.pixel:.3g} m; an RGB image of 0.1 to 2 m is expected")
        self.palette = _palette(self.data)
        self.indexes = [1] if self.palette is not None else _rgb_indexes(self.data, bands)
        self.stretch = tuple(stretch or self._stretch())

    def read(self, crs: CRS, left: float, top: float, side: int = 320) -> tuple[np.ndarray, np.ndarray]:
        """The square of `side` m whose upper left corner is (left, top) in `crs`, at 1 m.

        Returns:
            (side, side, 3) uint8 and (side, side) bool: True where there is data.
        """
        target = np.full((3, side, side), np.nan, np.float32)
        square = transform_geom(crs, self.data.crs, mapping(box(left, top - side, left + side, top).segmentize(40)))
        with suppress(WindowError):  # no part of the square lies in the file
            window = geometry_window(self.data, [square], pad_x=2, pad_y=2)
            reproject(
                self._read(window), target, src_crs=self.data.crs, dst_crs=crs,
                src_transform=self.data.window_transform(window), dst_transform=Affine(1, 0, left, 0, -1, top),
                src_nodata=np.nan, dst_nodata=np.nan,
                resampling=Resampling.average if self.pixel <= RGB_PIXEL * 1.01 else Resampling.bilinear,
            )  # fmt: skip
        valid = np.isfinite(target).all(axis=0)
        target = (target - self.stretch[0]) * (255 / max(self.stretch[1] - self.stretch[0], 1e-9))
        image = np.rint(np.clip(np.nan_to_num(target), 0, 255)).astype(np.uint8)
        return np.moveaxis(image, 0, -1), valid

    def _read(self, window: Window) -> np.ndarray:
        """(3, h, w) float32 raw values, NaN where there is no data (black collars of untagged files included)."""
        with one_line(self.path):
            raw = self.data.read(self.indexes, window=window)
            valid = self.data.dataset_mask(window=window) > 0
        values = (raw if self.palette is None else np.moveaxis(self.palette[raw[0]], -1, 0)).astype(np.float32)
        black = (values == 0).all(axis=0)
        untagged = self.data.mask_flag_enums[0] == [MaskFlags.all_valid]
        if untagged and self.palette is None and black.mean() > 0.05:
            valid &= ~black
        return np.where(valid & np.isfinite(values).all(axis=0), values, np.float32(np.nan))

    def _stretch(self) -> tuple[float, float]:
        """What becomes black and white: 0 and 255 of 8 bits, else percentiles of blocks spread over the image."""
        found = _sample(self.path, self._valid, self.data.shape, 128, 5)
        eight_bits = self.palette is not None or self.data.dtypes[0] == "uint8"
        return (0.0, 255.0) if eight_bits else tuple(np.percentile(found, (1, 99)).tolist())

    def _valid(self, window: Window) -> np.ndarray:
        values = self._read(window)
        return values[np.isfinite(values)]


def _palette(data: rasterio.DatasetReader) -> np.ndarray | None:
    """(256, 3) uint8 colours of a one-band palette image, else None."""
    if data.count != 1 or data.colorinterp[0] != ColorInterp.palette:
        return None
    colors = data.colormap(1)
    return np.array([colors.get(index, (0, 0, 0, 0))[:3] for index in range(256)], np.uint8)


def _rgb_indexes(data: rasterio.DatasetReader, bands: Sequence[int] | None) -> list[int]:
    """Places of R, G, B: as asked, named or tagged, else 1 2 3; of four or more bands not 8 bits deep, B G R NIR."""
    initials = [(name or " ")[0].lower() for name in data.descriptions]
    colors = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
    for known, wanted in ((initials, "rgb"), (data.colorinterp, colors)):
        if bands is None and all(known.count(one) == 1 for one in wanted):
            bands = [known.index(one) + 1 for one in wanted]
    bands = list(bands or ([3, 2, 1] if data.count >= 4 and data.dtypes[0] != "uint8" else [1, 2, 3]))
    if len(bands) != 3 or max(bands) > data.count or min(bands) < 1:
        raise InputError(f"{data.name}: bands missing (R, G, B = {bands}, the file has {data.count}); give --rgb-bands")
    return bands
