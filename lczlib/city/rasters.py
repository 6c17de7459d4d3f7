"""Sentinel-2 as reflectance at 10 m, RGB as uint8 at 1 m, read by ground square.

Nothing here reads more than the window it was asked for, so memory does not grow with the scene. No-data become NaN
before anything is resampled. What is assumed about a file is a line in `notes`, what is doubtful one in `warnings`.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.transform import array_bounds
from rasterio.windows import Window

from lczlib.city.bands import band_order, names_of, physics_warnings, rgb_order, vegetation
from lczlib.city.source import PAD, Source
from lczlib.data.layout import BANDS
from lczlib.errors import InputError
from lczlib.runs import atomic_path


def write_image(path: str | Path, image: np.ndarray, crs: str, left: float, top: float, pixel: float) -> Path:
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


class Sentinel2:
    """A Sentinel-2 raster seen as reflectance on a 10 m grid (`Source.ten_metre_grid`), never clipped.

    Attributes: `crs`, `transform`, `height`, `width`, `bounds` of the grid; `units`, settled: "dn", "reflectance" or
    "tags"; `notes` (what was assumed), `warnings`. Arguments as in `SceneOptions`; check=False: `units` are settled.
    """

    def __init__(
        self,
        path: str | Path, bands: Sequence[str] | None = None, offset: float = 0.0, units: str = "auto",
        check: bool = True,
    ):  # fmt: skip
        self.path, self.source, self.offset = Path(path), Source(path), float(offset)
        self.data = self.source.data
        self.notes: list[str] = []
        self.warnings: list[str] = []
        pixel = self.source.pixel
        if not 2 <= pixel <= 61:
            raise InputError(f"{path}: pixels of {pixel:.4g} m; Sentinel-2 bands at 10 m (or 20 m) are expected")
        self.crs, self.transform, self.height, self.width = self.source.ten_metre_grid()
        self.bounds = array_bounds(self.height, self.width, self.transform)
        self.native = self.transform == self.source.transform
        self.factor, self.addend, self.units = 1.0, 0.0, ""
        self.indexes, assumed = band_order(self.data, bands, lambda: self.source.sample(self._raw, 48, 6))
        sample = self.source.sample(self._values, 48, 6) if check else None
        self.units = self._settle(units, sample) if check else units
        if self.units == "dn":  # reflectance = (value + addend) * factor
            self.factor, self.addend = np.float32(1e-4), np.float32(self.offset)
        elif self.units == "tags":
            scale, add = self._tags()
            self.factor, self.addend = (v.astype(np.float32)[:, None, None] for v in (scale, add / scale))
        if check:
            self._report((sample + np.ravel(self.addend)) * np.ravel(self.factor), assumed)

    @property
    def arguments(self) -> tuple:
        """What opens the same view again, anywhere, without looking at the values once more."""
        names = [""] * self.data.count
        for band, index in zip(BANDS, self.indexes, strict=True):
            names[index - 1] = band
        return str(self.path.resolve()), tuple(names), self.offset, self.units, False

    def _settle(self, units: str, sample: np.ndarray) -> str:
        """What the file holds; raises InputError where that is neither reflectance nor DN."""
        top, (scale, add) = np.percentile(sample, 99), self._tags()
        if units == "auto" and ((scale != 1) | (add != 0)).any():
            tags = f"its tags: values x {scale[0]:g} + {add[0]:g}"
            if 0.01 < np.percentile(sample * scale + add, 99) <= 3:
                self.notes.append(f"reflectance by {tags}")
                self.warnings += ["tags of scale and offset are used, so that --offset is not"] if self.offset else []
                return "tags"
            self.warnings.append(f"{tags} give no reflectance and are not used; check --units")
        asked = "export reflectance or digital numbers, or tell which with --units"
        if self.data.dtypes[self.indexes[0] - 1] in ("uint8", "int8") or (units == "auto" and 10 < top <= 255):
            raise InputError(f"{self.path}: values up to {top:.4g} are 8 bits or per cent; {asked}")
        if units == "auto" and top > 30000:
            raise InputError(f"{self.path}: values up to {top:.5g} are stretched to 16 bits; {asked}")
        if units == "dn" or (units == "auto" and top > 10):
            self.notes.append(f"read as digital numbers: reflectance = (DN {self.offset:+g}) / 10000")
            return "dn"
        self.notes.append("read as reflectance")
        if self.offset:
            self.warnings.append("holds reflectance, so that --offset is not applied; check --units")
        return "reflectance"

    def _tags(self) -> tuple[np.ndarray, np.ndarray]:
        """Scale and offset (10,) by the file's tags: 1 and 0 where it has none."""
        return tuple(np.array([bands[i - 1] for i in self.indexes]) for bands in (self.data.scales, self.data.offsets))

    def _report(self, reflectance: np.ndarray, assumed: str) -> None:
        if assumed:
            untested = vegetation(reflectance).sum() < 50
            assumed += " (no vegetation in the sample to check it by)" if untested else ""
            doubtful = untested or any(names_of(self.data))
            (self.warnings if doubtful else self.notes).append(f"{assumed}; --bands tells another")
        if not self.native:
            self.notes.append(f"pixels of {self.source.pixel:.5g} m brought to 10 m in {self.crs.to_string()[:20]}")
        self.notes += self.source.notes
        self.warnings += physics_warnings(reflectance)

    def _raw(self, window: Window) -> np.ndarray:
        """(all bands, h, w) float32 as stored, NaN where all are the same and not above 0."""
        raw, _ = self.source.read(range(1, self.data.count + 1), window)
        void = (raw == raw[0]).all(axis=0) & (raw[0] <= 0)
        return np.where(void, np.float32(np.nan), raw.astype(np.float32))

    def _values(self, window: Window) -> np.ndarray:
        """(bands, h, w) float32 reflectance of a window of the file, all NaN where there is no data."""
        raw, void = self.source.read(self.indexes, window)
        void |= self.source.uniform(raw) | ((raw == raw[0]).all(axis=0) & (raw[0] <= 0))
        void |= (raw >= self.source.highest).any(axis=0)
        values = (raw.astype(np.float32) + self.addend) * self.factor
        if self.units:
            void |= (values < -0.5).any(axis=0) | (values > 6.5).any(axis=0)
            void |= (raw[3:] == 0).any(axis=0) & (values.max(axis=0) > 0.25)  # B5-B12 end before the others do
        values[:, void] = np.nan
        return values

    def read(self, row: int, col: int, height: int, width: int) -> np.ndarray:
        """Reflectance (height, width, 10) float32 of a window of the 10 m grid, all NaN where there is no data."""
        if self.native:
            values = self._values(Window(col, row, width, height))
        else:
            grid = self.transform @ Affine.translation(col, row)
            values = self.source.warped(self._values, len(BANDS), self.crs, grid, (height, width))
            values[:, np.isnan(values).any(axis=0)] = np.nan
        return np.moveaxis(values, 0, -1)


class RGB:
    """A high-resolution RGB raster (0.05-2.5 m) read as uint8 squares at 1 m in any CRS: averaged, never subsampled.

    Other depths than 8 bits are stretched from the 1st to the 99th percentile of all three bands together.
    Attributes: `indexes` 1-based bands taken as R, G, B; `stretch` (black, white); `notes` of what was assumed.
    """

    def __init__(self, path: str | Path, bands: Sequence[int] | None = None, stretch: Sequence[float] | None = None):
        self.path, self.source = Path(path), Source(path)
        data, pixel = self.source.data, self.source.pixel
        if not 0.04 <= pixel <= 2.6:
            raise InputError(f"{path}: pixels of {pixel:.3g} m; an RGB image of 0.1 to 2 m is expected")
        palette = data.count == 1 and data.colorinterp[0].name == "palette"
        colors = data.colormap(1) if palette else {}
        self.palette = np.array([colors.get(i, (0, 0, 0))[:3] for i in range(256)], np.uint8) if palette else None
        self.indexes, assumed = ([1], "") if palette else rgb_order(data, bands)
        self.notes, self.warnings = ([assumed] if assumed else []) + self.source.notes, []
        if stretch is None:
            found = self.source.sample(self._values, 128, 5)  # blocks spread over the image; a fault where all are void
            eight_bits = palette or data.dtypes[0] == "uint8"
            stretch = (0.0, 255.0) if eight_bits else np.percentile(found, (1, 99)).tolist()
        self.stretch = tuple(stretch)
        if self.stretch != (0.0, 255.0):
            self.notes.append("values from {:.4g} to {:.4g} stretched to 8 bits".format(*self.stretch))

    def read(self, crs: CRS, left: float, top: float, side: int = 320) -> tuple[np.ndarray, np.ndarray]:
        """The square of `side` m whose upper left corner is (left, top) in `crs`, at 1 m.

        (side, side, 3) uint8, and (side, side) bool: True where there is data.
        """
        target = self.source.warped(self._values, 3, crs, Affine(1, 0, left, 0, -1, top), (side, side))
        valid = np.isfinite(target).all(axis=0)
        target = (target - self.stretch[0]) * (255 / max(self.stretch[1] - self.stretch[0], 1e-9))
        image = np.rint(np.clip(np.nan_to_num(target), 0, 255)).astype(np.uint8)
        return np.moveaxis(image, 0, -1), valid

    def _values(self, window: Window) -> np.ndarray:
        """(3, h, w) float32 raw values, NaN where there is no data.

        Black, saturated white of 16 bits, or the tagged colour are no data in solid blocks only: single pixels of them
        are deep shadow or glare.
        """
        raw, void = self.source.read(self.indexes, window)
        values = (raw if self.palette is None else np.moveaxis(self.palette[raw[0]], -1, 0)).astype(np.float32)
        tagged = self.source.uniform(raw)
        void |= (values < 0).all(axis=0)
        if self.palette is not None:
            void |= tagged
        elif self.source.data.nodata is not None:
            void |= _blocks(tagged, PAD / self.source.pixel)
        elif not self.source.masked:
            ends = (values == 0).all(axis=0) | (raw >= self.source.highest).all(axis=0)
            void |= _blocks(ends, 2 * PAD / self.source.pixel)
        values[:, void] = np.nan
        return values


def _blocks(mask: np.ndarray, side: float) -> np.ndarray:
    """The connected parts of a mask that hold a whole square of `side` pixels (what lies beyond the edge counts)."""
    if not mask.any():
        return mask
    found = mask.astype(np.uint8)
    solid = cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((round(side) | 1,) * 2, np.uint8)) > 0
    parts = cv2.connectedComponents(found, connectivity=4)[1]
    return np.isin(parts, np.unique(parts[solid & mask])) & mask
