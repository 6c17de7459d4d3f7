"""What each sensor sees of a scene: light and shadow, the RGB patch at 1 m, the Sentinel-2 patch at 10 m."""

import math
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from .canvas import MARGIN, gradient, noise
from .spectra import NATIVE, PATH, PSF_SIGMA, SKY, SPECTRA, TEXTURE, M

SVF_STEP = 4  # m between the points whose sky view is computed
LEVELS = 64  # steps between the two spectra of a material
_STEPS = np.linspace(0, 1, LEVELS, dtype=np.float32)[:, None]
_LOOKUP = np.ascontiguousarray((SPECTRA[:, None, 0] * (1 - _STEPS) + SPECTRA[:, None, 1] * _STEPS).reshape(-1, 10).T)
VARIETY = np.full(len(SPECTRA), 0.06, np.float32)  # how far a material's state wanders within metres to tens of metres
VARIETY[[M[name] for name in ("crop", "young", "stubble", "soil", "turf")]] = 0.02  # tilled and sown as one
VARIETY[M["water"]] = 0.012


def to_sun(azimuth: float) -> np.ndarray:
    """Unit vector (x east, y south) of the direction towards the sun, azimuth in degrees clockwise from north."""
    return np.array([np.sin(np.radians(azimuth)), -np.cos(np.radians(azimuth))])


def cast_shadows(height: np.ndarray, elevation: float, azimuth: float) -> np.ndarray:
    """Share of direct light 0..1 (H, W) float32: 0 where something towards the sun stands higher than the sun's ray.

    The ray height is the running maximum of `height` shifted away from the sun and lowered by distance times
    tan(elevation), built by doubling the distance: seven steps for 128 m.
    """
    drop, toward = math.tan(math.radians(elevation)), to_sun(azimuth)
    reach = min(128, int(height.max() / max(drop, 0.05)) + 2)
    step = 1
    ray = _shifted(height, toward * step) - step * drop
    while step < reach:
        ray = np.maximum(ray, _shifted(ray, toward * step) - step * drop)
        step *= 2
    lit = (ray < height + 0.15).astype(np.float32)
    return cv2.GaussianBlur(lit, (3, 3), 0.6)


def _shifted(field: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """The field seen at `offset` (x, y): result[p] = field[p + offset], edges repeated."""
    matrix = np.float32([[1, 0, offset[0]], [0, 1, offset[1]]])
    flags = (cv2.INTER_NEAREST if max(abs(offset)) > 2 else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(field, matrix, field.shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)


def sky_view(height: np.ndarray, floor: np.ndarray | float = 0.0, directions: int = 8) -> np.ndarray:
    """Sky view factor 0..1 of every fourth square metre (H/4, W/4); the observer stands at height `floor` (H, W)."""
    floor = np.ascontiguousarray(np.broadcast_to(np.float32(floor), height.shape)[::SVF_STEP, ::SVF_STEP])
    reach, distances = 80, (1, 2, 3, 4.5, 6.5, 9, 12, 16, 22, 30, 42, 58, 80)
    wide, steps = np.pad(height, reach, mode="edge"), range(SVF_STEP)
    planes = [[np.ascontiguousarray(wide[y::SVF_STEP, x::SVF_STEP]) for x in steps] for y in steps]
    h, w = floor.shape
    total, slope, one = (np.zeros((h, w), np.float32) for _ in range(3))
    for angle in (np.arange(directions) + 0.3) * 2 * np.pi / directions:
        slope[:] = 0
        for distance in distances:
            dx, dy = round(distance * np.cos(angle)), round(distance * np.sin(angle))
            (y, row), (x, column) = divmod(reach + dy, SVF_STEP), divmod(reach + dx, SVF_STEP)
            there = planes[row][column][y : y + h, x : x + w]
            np.subtract(there, floor, out=one)
            one *= 1 / np.hypot(dx, dy)
            np.maximum(slope, one, out=slope)
        total += 1 / (1 + slope**2)
    return total / directions


def surface(layers: dict, site: dict, rng: np.random.Generator) -> list[np.ndarray]:
    """Reflectance of each band as lit at the time of overpass: texture, slopes, shadows, all but the air.

    B2, B3, B4 are (H, W) float32, every square metre; the other seven are sampled every second metre (H/2, W/2), which
    is dense against their point spread of 5 m and more.

    `layers` (H, W): material, v, b, height, slope_x, slope_y, stripes, lit, open.
    """
    size, material = layers["height"].shape, layers["material"].astype(np.intp)
    fine = cv2.GaussianBlur(noise(size, 1, rng), (0, 0), 0.7) * 2.4
    medium, coarse, wide = (noise(size, scale, rng) for scale in (4, 18, 55))
    bright = sum(TEXTURE[:, k].take(material) * field for k, field in enumerate((fine, medium, coarse)))
    bright = (1 + bright) * layers["b"] * (1 + layers["stripes"])
    v = layers["v"] + VARIETY.take(material) * (coarse + wide) + 0.3 * layers["stripes"]
    index = material * LEVELS + np.clip(v * (LEVELS - 1) + 0.5, 0, LEVELS - 1).astype(np.intp)
    relief = 0.0, 0.0  # slope (x, y) of hills under the land cover; heights stay above ground
    if site["relief"]:
        relief = [site["relief"] * g / (g.std() + 1e-9) for g in gradient(noise(size, 130, rng))]
    every = index, bright * layers["lit"] * _lambert(layers, site, relief), bright * layers["open"]
    second = [np.ascontiguousarray(field[::2, ::2]) for field in every]
    bands = []
    for band, sky in enumerate(SKY * (1 + 1.5 * site["haze"])):
        index, direct, diffuse = every if band < 3 else second
        light = direct * (1 - sky)
        light += diffuse * sky
        light *= _LOOKUP[band].take(index)
        bands.append(np.maximum(light, 0.0005, out=light))
    return bands


def _lambert(layers: dict, site: dict, relief: Sequence) -> np.ndarray:
    """Direct light on a slope relative to level ground, 0..1.9."""
    (east, south), angle = to_sun(site["azimuth"]).tolist(), math.radians(site["elevation"])
    sine, cosine = math.sin(angle), math.cos(angle)  # plain floats keep the fields float32
    gx, gy = layers["slope_x"] + relief[0], layers["slope_y"] + relief[1]
    light = (sine - cosine * (gx * east + gy * south)) / np.sqrt(1 + gx**2 + gy**2)
    return np.clip(light * (1 / sine), 0.0, 1.9)


@lru_cache(maxsize=256)
def _sampler(length: int, step: int, sigma: float, native: int) -> np.ndarray:
    """A Gaussian point spread function at the centre of each native pixel: weights (pixels, length) of samples every
    `step` m of a line with MARGIN on both sides."""
    center = MARGIN + native * (np.arange((length * step - 2 * MARGIN) // native) + 0.5) - 0.5
    weights = np.exp(-0.5 * ((step * np.arange(length) - center[:, None]) / sigma) ** 2)
    weights[weights < 1e-30] = 0  # far below rounding; as subnormal numbers they would take most of a product's time
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def sentinel2(rho: list[np.ndarray], site: dict, rng: np.random.Generator) -> np.ndarray:
    """The Sentinel-2 patch (H/10, W/10, 10) float32 reflectance of a `surface` with MARGIN around it.

    Each band through its own point spread function onto its own grid; 20 m bands replicated to 10 m.
    """
    h, w = (length - 2 * MARGIN for length in rho[0].shape)
    patch = np.empty((h // 10, w // 10, 10), np.float32)
    for band, (sigma, native) in enumerate(zip(PSF_SIGMA, NATIVE)):
        sigma = sigma / site["sharpness"]
        lines, step = rho[band].shape, 1 if band < 3 else 2
        rows, columns = (_sampler(length, step, sigma, native) for length in lines)
        seen = rows @ rho[band] @ columns.T
        seen = seen * (1 - site["haze_s2"]) + site["haze_s2"] * PATH[band]
        seen = seen * site["gain"][band] * (1 + rng.normal(0, 0.008)) + rng.normal(0, 0.0015 + 0.006 * seen, seen.shape)
        patch[..., band] = np.repeat(np.repeat(seen, native // 10, 0), native // 10, 1)[: h // 10, : w // 10]
    return patch


def camera(rho: list[np.ndarray], site: dict, rng: np.random.Generator) -> np.ndarray:
    """The RGB patch (H, W, 3) uint8 of a `surface`: haze, exposure, tone curve, cast, blur, noise."""
    haze, patch = 0.6 * site["haze"], (slice(MARGIN, -MARGIN),) * 2
    seen = [rho[band][patch] * (1 - haze) + haze * PATH[band] for band in (2, 1, 0)]
    seen = [cv2.GaussianBlur(plane, (0, 0), site["blur"]) for plane in seen]
    mean = np.clip(np.mean([cv2.mean(plane)[0] for plane in seen]), 0.02, 0.4)
    level = 0.42 * np.power(mean / 0.13, 0.12) / site["exposure"]
    gamma = 1 / (2.1 * site["contrast"])
    tone = [cv2.pow(plane * np.float32(cast / level), gamma) for plane, cast in zip(seen, site["cast"], strict=True)]
    grey = (tone[0] + tone[1] + tone[2]) * np.float32(1 / 3)
    grain = cv2.GaussianBlur(noise(grey.shape, 1, rng), (0, 0), 0.6) * 4
    developed = []
    for plane in tone:
        plane = np.maximum(grey + 1.2 * (plane - grey), 0)  # saturation
        plane *= 255 / np.sqrt(np.sqrt(1 + (plane * plane) ** 2))  # a soft shoulder towards white
        developed.append(np.clip(plane + grain, 0, 255).astype(np.uint8))
    return np.stack(developed, -1)
