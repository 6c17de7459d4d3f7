"""A raster file on the ground: where it lies, what of it is no data, and its values on any other grid."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
import pyproj
import rasterio
from affine import Affine
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import reproject
from rasterio.windows import Window
from rasterio.windows import transform as window_transform

from lczlib.errors import InputError

S2_PIXEL = 10.0  # m
CACHE = 200_000_000  # bytes of a file that GDAL keeps; it would keep 5 % of the machine's memory
PAD = 8.0  # m read around what is asked for, so that solid blocks of no data are recognised at its edge
EARTH = pyproj.Geod(ellps="WGS84")


@contextmanager
def one_line(
    path: str | Path,
    fault: str = "its pixels cannot be read, the file is cut short or damaged",
    remedy: str = "copy or export it again",
) -> Iterator[None]:
    """Turn GDAL's errors into one line that names the file."""
    try:
        with rasterio.Env(GDAL_CACHEMAX=CACHE):
            yield
    except (RasterioError, CRSError, CPLE_BaseError, pyproj.exceptions.ProjError):
        raise InputError(f"{path}: {fault}; {remedy}") from None


def open_raster(path: str | Path) -> rasterio.DatasetReader:
    """Open a raster that lies somewhere on Earth; InputError where it is none, holds several, or has no place."""
    if not Path(path).exists():
        raise FileNotFoundError(f"{path}: no such file; give the path of a GeoTIFF")
    with one_line(path, "not a raster that GDAL can open"):
        data = rasterio.open(path)
    if not data.count:
        raise InputError(f"{path}: holds {len(data.subdatasets)} images, not one; export the bands as one GeoTIFF")
    if data.crs is None and data.gcps[0]:
        raise InputError(f"{path}: placed by {len(data.gcps[0])} control points only; warp it first: gdalwarp -order 1")
    if data.crs is None:
        raise InputError(f"{path}: no coordinate reference system; assign one, e.g. gdal_edit.py -a_srs EPSG:32633")
    if data.transform == Affine.identity():
        raise InputError(f"{path}: has a CRS but no position (geotransform); export it again with its georeference")
    if not data.transform.determinant:
        raise InputError(f"{path}: its geotransform lays all pixels on one line; export it again with its georeference")
    with one_line(path, f"its CRS cannot be transformed ({str(data.crs)[:40]}...)", "assign the true one"):
        x, y = data.transform @ (data.width / 2, data.height / 2)
        lon_lat = transformer(data.crs, "EPSG:4326").transform(x, y, errcheck=True)
    if not (np.isfinite(lon_lat).all() and abs(lon_lat[1]) <= 90):
        raise InputError(f"{path}: lies nowhere on Earth (x {x:.6g}, y {y:.6g} in its CRS); assign the true CRS")
    return data


def transformer(source: CRS | str, target: CRS | str) -> pyproj.Transformer:
    """From one CRS to another, x (or longitude) first."""
    wkt = [crs.to_wkt() if isinstance(crs, CRS) else crs for crs in (source, target)]
    return pyproj.Transformer.from_crs(*wkt, always_xy=True)


def utm_of(lon: float, lat: float) -> CRS:
    """The UTM zone of a place in degrees, wider in Norway and Svalbard: that of Sentinel-2's tiles."""
    zone = int((lon + 180) // 6) % 60 + 1
    if 56 <= lat < 64 and 3 <= lon < 12:
        zone = 32
    elif lat >= 72 and 0 <= lon < 42:
        zone = 31 + 2 * int((lon + 3) // 12)
    return CRS.from_epsg((32600 if lat >= 0 else 32700) + zone)


def _outline(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(x, y) of 20 points along each edge of a grid, in pixels."""
    way = np.linspace(0, 1, 21)
    ends = np.zeros_like(way), np.ones_like(way)
    return np.concatenate([way, way, *ends]) * width, np.concatenate([*ends, way, way]) * height


class Source:
    """A raster file on the ground.

    Attributes: `data` (open), `crs` and `transform` of its pixels, with longitudes that never jump: across 180 degrees
    and from 0 to 360 they are counted from 180.
    """

    def __init__(self, path: str | Path):
        self.path, self.data = Path(path), open_raster(path)
        self.crs, self.transform = self.data.crs, self.data.transform
        half = 180.0 if self.crs.is_geographic else np.pi * 6378137  # of the way around, in units of the CRS
        x, _ = self.transform @ _outline(*self.data.shape)
        if np.abs(x).max() > half * (1 + 1e-9):
            with warnings.catch_warnings(action="ignore"):  # a CRS as a dict keeps no name, which does not matter here
                facts = pyproj.CRS(self.crs.to_wkt()).to_dict()
            origin = {"longlat": "pm", "merc": "lon_0", "eqc": "lon_0"}.get(facts.get("proj"))
            if origin:
                self.crs = CRS.from_wkt(pyproj.CRS.from_dict(facts | {origin: facts.get(origin, 0) + 180.0}).to_wkt())
                self.transform = Affine.translation(half if x.mean() < 0 else -half, 0) @ self.transform

    @cached_property
    def pixel(self) -> float:
        """Size of a pixel on the ground in m, at the centre of the raster (geodesic: right in any CRS)."""
        x, y = self.transform @ (self.data.width / 2 + np.array([0, 1]), np.full(2, self.data.height / 2))
        lon, lat = transformer(self.crs, "EPSG:4326").transform(x, y)
        return EARTH.inv(lon[0], lat[0], lon[1], lat[1])[2]

    @cached_property
    def center(self) -> tuple[float, float]:
        """Longitude and latitude of the middle, in degrees."""
        x, y = self.transform @ (self.data.width / 2, self.data.height / 2)
        return transformer(self.crs, "EPSG:4326").transform(x, y)

    @property
    def place(self) -> str:
        """The middle, for messages."""
        return "{:.3f} E {:.3f} N".format(*self.center)

    def bounds(self, crs: CRS) -> tuple[float, float, float, float]:
        """Left, bottom, right, top in any CRS."""
        x, y = transformer(self.crs, crs).transform(*self.transform @ _outline(*self.data.shape))
        return x.min(), y.min(), x.max(), y.max()

    def ten_metre_grid(self) -> tuple[CRS, Affine, int, int]:
        """CRS, transform, height and width of a grid of 10 m: the raster's own CRS where that counts in metres on the
        ground (Web Mercator, feet and degrees do not), else the UTM zone of its middle. The raster's own grid where it
        stays within a metre of one of 10 m.
        """
        own, (height, width) = self.transform, self.data.shape
        steps = np.array([own.a - S2_PIXEL, own.e + S2_PIXEL, own.b, own.d])
        metric = abs(np.hypot(own.a, own.d) / self.pixel - 1) < 0.02
        if metric and np.abs(steps).max() * max(height, width) < 1:
            return self.crs, own, height, width
        lon, lat = self.center
        crs = self.crs if metric else utm_of(lon, lat)
        left, bottom, right, top = self.bounds(crs)
        height, width = (max(1, int(np.ceil(length / S2_PIXEL - 0.01))) for length in (top - bottom, right - left))
        return crs, Affine(S2_PIXEL, 0, left, 0, -S2_PIXEL, top), height, width

    def warped(
        self, values: Callable[[Window], np.ndarray], bands: int,
        crs: CRS, transform: Affine, shape: tuple[int, int],
    ) -> np.ndarray:  # fmt: skip
        """(bands, *shape) float32 of another grid: averaged where it is coarser, else bilinear; NaN are no data.

        Args:
            values: reads a window of the file: (bands, h, w) float32, NaN where there is no data.
        """
        target = np.full((bands, *shape), np.nan, np.float32)
        x, y = transformer(crs, self.crs).transform(*transform @ _outline(*shape))
        cols, rows = ~self.transform @ (x, y)
        pad = 2 + int(PAD / self.pixel)
        (top, bottom), (left, right) = (
            np.clip((int(np.floor(axis.min())) - pad, int(np.ceil(axis.max())) + pad), 0, length).tolist()
            for axis, length in zip((rows, cols), self.data.shape, strict=True)
        )
        if bottom > top and right > left:
            window = Window(left, top, right - left, bottom - top)
            finer = self.pixel <= transform.a * 1.01 and abs(self.pixel - S2_PIXEL) > 0.1
            reproject(
                values(window), target, src_crs=self.crs, src_transform=window_transform(window, self.transform),
                dst_crs=crs, dst_transform=transform, src_nodata=np.nan, dst_nodata=np.nan,
                resampling=Resampling.average if finer else Resampling.bilinear,
            )  # fmt: skip
        return target

    def sample(self, values: Callable[[Window], np.ndarray], side: int, most: int) -> np.ndarray:
        """(n, bands) of what `values` finds in windows of `side` pixels, at most `most` along each axis.

        Where they hold none, in the first of all windows that has any; raises InputError where no window has.
        """

        def valid(window: Window) -> np.ndarray:
            block = values(window)
            return block[:, np.isfinite(block).all(axis=0)].T

        found = np.concatenate([valid(window) for window in _spread(self.data.shape, side, most)])
        if not len(found):
            rest = (valid(window) for window in _spread(self.data.shape, 512, 10**9))
            found = next((block for block in rest if len(block)), found)
        if not len(found):
            raise InputError(f"{self.path}: wholly no-data; choose another image or export")
        return found

    @cached_property
    def alpha(self) -> int:
        """1-based band tagged as alpha; 0 for none; negative where it holds an image (infrared) and is no mask."""
        if ColorInterp.alpha not in self.data.colorinterp:
            return 0
        band = self.data.colorinterp.index(ColorInterp.alpha) + 1
        with one_line(self.path):
            blocks = [self.data.read(band, window=window).ravel() for window in _spread(self.data.shape, 128, 5)]
        found = np.concatenate(blocks)
        return band if np.isin(found, (found.min(), found.max())).mean() > 0.5 else -band

    @property
    def notes(self) -> list[str]:
        """What is assumed about the file, whatever it holds."""
        return ["the band tagged as alpha holds an image and is no mask"] * (self.alpha < 0)

    @cached_property
    def masked(self) -> bool:
        """Whether a mask or an alpha band of the file tells where there is no data."""
        return self.alpha > 0 or (self.alpha == 0 and MaskFlags.per_dataset in self.data.mask_flag_enums[0])

    def read(self, indexes: Sequence[int], window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Raw values (bands, h, w), and where (h, w) some band has none: no number, masked, tagged with a negative
        number, or below -5000 as the usual untagged marks are (-9999, -32768, the lowest float).
        """
        with one_line(self.path):
            raw = self.data.read(list(indexes), window=window)
            void = np.zeros(raw.shape[1:], bool)
            if self.masked:
                mask = (
                    self.data.read(self.alpha, window=window) if self.alpha else self.data.dataset_mask(window=window)
                )
                void |= mask == 0
        if raw.dtype.itemsize > 1:
            void |= (~np.isfinite(raw) | (raw <= -5000)).any(axis=0)
        if self.data.nodata is not None and self.data.nodata < 0:
            void |= (raw == raw.dtype.type(self.data.nodata)).any(axis=0)
        return raw, void

    @property
    def highest(self) -> int:
        """What 16 bits hold at most, which marks saturation or no data; bytes never reach it."""
        return 32767 if self.data.dtypes[0] == "int16" else 65535

    def uniform(self, raw: np.ndarray) -> np.ndarray:
        """(h, w) bool: all bands hold the tagged value."""
        tag = self.data.nodata
        return (raw == tag).all(axis=0) if tag is not None else np.zeros(raw.shape[1:], bool)


def _spread(shape: tuple[int, int], side: int, most: int) -> Iterator[Window]:
    """Windows of `side` pixels (or the whole length), at most `most` along each axis, evenly spread."""
    rows, cols = (np.linspace(0, max(n - side, 0), min(most, -(-n // side))).astype(int).tolist() for n in shape)
    height, width = (min(side, length) for length in shape)
    return (Window(col, row, width, height) for row in rows for col in cols)
