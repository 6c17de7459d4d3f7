"""Generated rasters and polygons with the layout of real ones, for the tests of patches and maps."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import rasterio
from rasterio.transform import from_origin
from scipy.ndimage import gaussian_filter

from lczlib.data.layout import BANDS

UTM33 = "EPSG:32633"
LEFT, TOP = 384000.0, 5820000.0
#            B2     B3     B4     B5     B6     B7     B8     B8A    B11    B12
GRASS = (0.030, 0.065, 0.040, 0.100, 0.270, 0.340, 0.360, 0.380, 0.200, 0.100)
SOIL = (0.080, 0.120, 0.170, 0.200, 0.220, 0.240, 0.260, 0.280, 0.360, 0.310)
WATER = (0.045, 0.040, 0.025, 0.020, 0.015, 0.012, 0.010, 0.009, 0.004, 0.003)


def reflectance(height: int, width: int, seed: int = 0) -> np.ndarray:
    """(height, width, 10) float32 of grass, soil and water in soft patches: plausible to the physics test."""
    rng = np.random.default_rng(seed)
    fields = np.stack([gaussian_filter(rng.standard_normal((height, width)), 4) for _ in range(3)], -1)
    share = np.exp(fields * 60)
    share /= share.sum(-1, keepdims=True)
    return (share @ np.array([GRASS, SOIL, WATER]) * rng.uniform(0.97, 1.03, (height, width, 10))).astype(np.float32)


def write_tif(path, array, crs=UTM33, left=LEFT, top=TOP, pixel=10.0, **profile):
    """(bands, height, width) array as a GeoTIFF; `descriptions` and `colormap` are set when given."""
    descriptions, colormap = profile.pop("descriptions", None), profile.pop("colormap", None)
    keys = {"driver": "GTiff", "crs": crs, "transform": from_origin(left, top, pixel, pixel), "dtype": array.dtype}
    keys |= {"count": len(array), "height": array.shape[1], "width": array.shape[2]}
    with rasterio.open(path, "w", **(keys | profile)) as file:
        file.write(array)
        if descriptions:
            file.descriptions = descriptions
        if colormap:
            file.write_colormap(1, colormap)
    return path


def write_s2(path, image, dtype="float32", dn=False, offset=0, names=BANDS, **profile):
    """`image` (height, width, 10) reflectance as a file whose bands are `names` (others than BANDS hold noise)."""
    if (image == image[..., :1])[np.isfinite(image).all(-1)].all():  # then only their names tell the order
        profile.setdefault("descriptions", names)
    rng = np.random.default_rng(1)
    bands = {name: image[..., i] for i, name in enumerate(BANDS)}
    array = np.stack([bands[name] if name in bands else rng.uniform(0, 0.1, image.shape[:2]) for name in names])
    array = np.rint(array * 10000 - offset) if dn else array
    return write_tif(path, array.astype(dtype), **profile)


def square(left: float, top: float, side: float):
    """A square polygon in the coordinates of the scene, from its upper left corner in m from the scene's own."""
    from shapely.geometry import box

    return box(LEFT + left, TOP - top - side, LEFT + left + side, TOP - top)


def write_areas(path, rows, crs=UTM33, column="lcz", to_crs=None):
    """[(class, geometry)] as a file of polygons."""
    frame = gpd.GeoDataFrame({column: [row[0] for row in rows]}, geometry=[row[1] for row in rows], crs=crs)
    (frame.to_crs(to_crs) if to_crs else frame).to_file(path)
    return path


class Coded:
    """A stream whose answer is known: the zone is written in the reflectance of the window's middle 100 m."""

    key, trained_on, about = "coded", "nothing", {}  # as a RunStream has

    def __init__(self, sharpness: float = 0.9):
        self.sharpness = sharpness

    def __call__(self, patches: np.ndarray) -> np.ndarray:
        middle = patches[:, 11:21, 11:21, 6].mean(axis=(1, 2))
        labels = np.rint(middle * 40).astype(int).clip(1, 17)
        p = np.full((len(patches), 17), (1 - self.sharpness) / 16)
        p[np.arange(len(p)), labels - 1] = self.sharpness
        return p


class Bright:
    """An RGB stream: LCZ 2 where the image is bright, LCZ A where it is dark."""

    key, trained_on, about = "bright", "nothing", {}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        share = images.mean(axis=(1, 2, 3)) / 255
        p = np.full((len(images), 17), 1e-9)
        p[:, 1], p[:, 10] = share, 1 - share
        return p / p.sum(axis=1, keepdims=True)


def coded_scene(labels: np.ndarray) -> np.ndarray:
    """(10 h, 10 w, 10) reflectance that `Coded` reads as these labels (h, w), one per 100 m; 0 becomes no-data."""
    values = labels.repeat(10, 0).repeat(10, 1)[..., None] / 40
    return np.broadcast_to(values, (*values.shape[:2], 10)).astype(np.float32)


def layout(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Labels (height, width) drawn at random."""
    return np.random.default_rng(seed).integers(1, 18, (height, width)).astype(np.uint8)


def read(path, band: int = 1) -> np.ndarray:
    """One band of a raster."""
    with rasterio.open(path) as data:
        return data.read(band)


def gray_rgb(path, brightness, side=1600, left=LEFT, top=TOP):
    """An RGB image of one grey, 2 m pixels, `side` m."""
    return write_tif(path, np.full((3, side // 2, side // 2), brightness, np.uint8), left=left, top=top, pixel=2.0)
