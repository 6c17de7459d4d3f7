"""LCZ rasters, ours and others': which band holds the zones, and the zones as labels 1..17 whatever their notation.

Assumed: of several unnamed bands that hold zones the second is the filtered one, as in maps of the LCZ Generator; a map
tagged so, or with many values of 51..61, is in the numbers of WRF 4.4.2 and later.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform
from rasterio.windows import Window

from lczlib.city.source import EARTH, Source, one_line, transformer
from lczlib.errors import InputError
from lczlib.zones import K, from_wrf_codes, to_labels

WRF_SHARE = 0.05  # of the zones, from which a map is taken to be in WRF's numbers
SAMPLE = 512  # pixels read along the longer side to tell what a band holds


class ZoneRaster:
    """A raster of zones.

    Attributes: `source`, and its `data` (open); `band`, 1-based, and its `name`;
    `filtered`: True, False, or None where nothing says so.

    Args:
        path: of the raster.
        band: 1-based; None: the filtered zones, else the zones, by band names and by what the bands hold.

    Raises:
        FileNotFoundError, InputError: unreadable, no such band, or no band that holds zones; in one line.
    """

    def __init__(self, path: str | Path, band: int | None = None):
        self.path, self.source = Path(path), Source(path)
        self.data = self.source.data
        if band is not None and not 1 <= band <= self.data.count:
            raise InputError(f"{path}: has {self.data.count} band(s), no number {band}; give another --compare-band")
        self.zone_bands: list[int] = []
        self.zone_bands = [n for n in range(1, self.data.count + 1) if self._holds_zones(n)] if band is None else []
        ranked = sorted(self.zone_bands, key=lambda n: ("filter" not in self._name(n), "lcz" not in self._name(n)))
        named = [n for n in ranked if self._name(n)]
        self.use(band or (named or self.zone_bands[1:2] or self.zone_bands or [1])[0])

    def _name(self, band: int) -> str:
        return (self.data.descriptions[band - 1] or "").lower()

    @property
    def probability_band(self) -> int | None:
        """The band of probabilities in per cent, by its name."""
        return next((n for n in range(1, self.data.count + 1) if "prob" in self._name(n)), None)

    def use(self, band: int) -> None:
        """Read another band from now on."""
        name = self._name(band)
        self.band, self.name = band, self.data.descriptions[band - 1] or f"band {band}"
        raw = self.data.count > 1 and (name.startswith("lcz") or not name)
        second = band == (self.zone_bands[1:2] or [2])[0]
        self.filtered = True if "filter" in name or (raw and not name and second) else False if raw else None
        sample = self._sample(band)
        in_wrf = ((sample > 50) & (sample < 62)).sum() > WRF_SHARE * (sample > 0).sum()
        self.to_labels = from_wrf_codes if in_wrf or self.data.tags().get("codes") == "WRF" else to_labels

    def _thinned(self, longest: int) -> tuple[int, int]:
        """Height and width with at most so many pixels a side."""
        shrink = max(1.0, max(self.data.shape) / longest)
        return tuple(max(1, round(length / shrink)) for length in self.data.shape)

    def _sample(self, band: int) -> np.ndarray:
        with one_line(self.path):
            return self._cleared(self.data.read(band, out_shape=self._thinned(SAMPLE)))

    def _holds_zones(self, band: int) -> bool:
        if any(word in self._name(band) for word in ("prob", "percent", "confidence")):
            return False
        self.use(band)
        try:
            return bool(self.to_labels(self._sample(band)).any())
        except InputError:
            return False

    def _cleared(self, values: np.ndarray) -> np.ndarray:
        """0 where there is no data: tagged, negative, 255, 65535 or NaN."""
        void = ~np.isfinite(values) | (values < 0) | np.isin(values, (255, 65535))
        return np.where(void | (values == self.data.nodata), 0, values)

    def grid(self, crs: CRS, finer: float = 1, longest: int | None = None) -> dict[str, object]:
        """Arguments of a WarpedVRT in another CRS: pixels `finer` times smaller than need be, or so many a side.

        Raises:
            InputError: a raster that GDAL cannot place there, such as one across 180 degrees.
        """
        data = self.data
        place, width, height = calculate_default_transform(data.crs, crs, data.width, data.height, *data.bounds)
        if not (width and height):
            raise InputError(f"{self.path}: has no grid in {crs}; a map across 180 degrees stays in its own projection")
        finer = longest / max(width, height) if longest else finer
        place = Affine(place.a / finer, place.b, place.c, place.d, place.e / finer, place.f)
        return {"crs": crs, "transform": place, "width": round(width * finer), "height": round(height * finer)}

    def view(self, **place: object) -> WarpedVRT:
        """The raster in another place by nearest neighbour: arguments of a WarpedVRT, such as `grid` gives them."""
        return WarpedVRT(self.data, nodata=self.data.nodata, **place)

    def read(
        self, window: Window | None = None, view: WarpedVRT | None = None, longest: int | None = None
    ) -> np.ndarray:
        """Labels 1..17 (uint8, 0 = no data) of a window, from the file or a warped view of it.

        longest: the file thinned to at most so many pixels a side.
        """
        shape = self._thinned(longest) if longest else None
        with one_line(self.path):
            values = (view or self.data).read(self.band, window=window, out_shape=shape)
        try:
            return self.to_labels(self._cleared(values))
        except InputError as fault:
            raise InputError(f"{self.path}: {fault}; give the right band (--compare-band) or recode it") from None

    def counts(self, view: WarpedVRT | None = None) -> np.ndarray:
        """(rows, 17) pixels of each zone in each row of the raster, or of a warped view of it."""
        found = []
        for window in row_windows(view or self.data):
            labels = self.read(window, view).astype(np.int64)
            places = labels + (K + 1) * np.arange(len(labels))[:, None]
            found.append(np.bincount(places.ravel(), minlength=len(labels) * (K + 1)).reshape(-1, K + 1)[:, 1:])
        return np.concatenate(found)

    def areas(self, view: WarpedVRT | None = None) -> np.ndarray:
        """(17,) km2 of each zone on the ground, of the raster or a warped view of it."""
        return pixel_areas(view or self.data) @ self.counts(view)


def row_windows(data: rasterio.DatasetReader | WarpedVRT, rows: int = 256) -> Iterator[Window]:
    """Windows of whole rows that cover a raster."""
    for first in range(0, data.height, rows):
        yield Window(0, first, data.width, min(rows, data.height - first))


def pixel_areas(grid: rasterio.DatasetReader | WarpedVRT) -> np.ndarray:
    """(rows,) km2 of a pixel: on the ellipsoid in the middle of each row, or of the grid itself where that is alike.

    Alike in UTM and other CRS in metres; not in degrees, feet, or Web Mercator far from the equator.
    """
    rows, middle = np.arange(grid.height + 1), grid.width // 2
    corners = [grid.transform @ (middle + side, rows) for side in (0, 1)]
    lon, lat = np.swapaxes([transformer(grid.crs, "EPSG:4326").transform(*ends) for ends in corners], 0, 1)
    order = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0])  # around a pixel: side, row
    rings = ((axis[order[0], order[1] + row] for axis in (lon, lat)) for row in rows[:-1])
    ground = np.array([abs(EARTH.polygon_area_perimeter(*ring)[0]) for ring in rings]) / 1e6
    own = np.full(grid.height, abs(grid.transform.determinant) / 1e6)
    return own if np.allclose(own, ground, rtol=0.04) else ground
