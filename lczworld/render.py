"""What each sensor sees of a scene: light and shadow, the RGB patch at 1 m, the Sentinel-2 patch at 10 m."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from .canvas import MARGIN, noise
from .spectra import NATIVE, PATH, PSF_SIGMA, SKY, SPECTRA, TEXTURE, M

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
    drop, toward = np.tan(np.radians(elevation)), to_sun(azimuth)
    ray = height - 0.0
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
    """Sky view factor 0..1 (H/2, W/2) of every second square metre; the observer stands at height `floor` (H, W)."""
    floor = np.broadcast_to(np.float32(floor), height.shape)[::2, ::2]
    reach, distances = 80, (1, 2, 3, 4.5, 6.5, 9, 12, 16, 22, 30, 42, 58, 80)
    wide = np.pad(height, reach, mode="edge")
    planes = [[np.ascontiguousarray(wide[y::2, x::2]) for x in (0, 1)] for y in (0, 1)]
    h, w = height.shape
    total, slope, one = (np.zeros((h // 2, w // 2), np.float32) for _ in range(3))
    for angle in (np.arange(directions) + 0.3) * 2 * np.pi / directions:
        slope[:] = 0
        for distance in distances:
            dx, dy = round(distance * np.cos(angle)), round(distance * np.sin(angle))
            (y, row), (x, column) = divmod(reach + dy, 2), divmod(reach + dx, 2)
            there = planes[row][column][y : y + h // 2, x : x + w // 2]
            np.subtract(there, floor, out=one)
            one *= 1 / np.hypot(dx, dy)
            np.maximum(slope, one, out=slope)
        total += 1 / (1 + slope**2)
    return total / directions


def surface(layers: dict, look: dict, rng: np.random.Generator) -> np.ndarray:
    """Reflectance (10, H, W) float32 as lit at the time of overpass: texture, slopes, shadows, all but the air.

    `layers`: material, v, b, height, slope_x, slope_y, stripes, crown (all (H, W)).
    """
    size, material = layers["height"].shape, layers["material"]
    fine = cv2.GaussianBlur(noise(size, 1, rng), (0, 0), 0.7) * 2.4
    medium, coarse, wide = (noise(size, scale, rng) for scale in (4, 18, 55))
    bright = sum(TEXTURE[:, k].take(material) * field for k, field in enumerate((fine, medium, coarse)))
    bright = (1 + bright) * layers["b"] * (1 + layers["stripes"])
    v = layers["v"] + VARIETY.take(material) * (coarse + wide) + 0.3 * layers["stripes"]
    index = material.astype(np.intp) * LEVELS + np.clip(v * (LEVELS - 1) + 0.5, 0, LEVELS - 1).astype(np.intp)
    direct = bright * layers["lit"] * _lambert(layers, look, _relief(size, look, rng))
    open_sky = bright * layers["open"]
    sky, rho = SKY * (1 + 1.5 * look["haze"]), np.empty((10, *size), np.float32)
    for band in range(10):
        light = direct * (1 - sky[band])
        light += open_sky * sky[band]
        np.multiply(_LOOKUP[band].take(index), light, out=rho[band])
    return np.maximum(rho, 0.0005, out=rho)


def _relief(size, look, rng) -> list[np.ndarray] | tuple[float, float]:
    """Slope (x, y) of hills under the land cover, standard deviation `look["relief"]`; heights stay above ground."""
    if not look["relief"]:
        return 0.0, 0.0
    hills = noise(size, 130, rng)
    return [look["relief"] * g / (g.std() + 1e-9) for g in np.gradient(hills)[::-1]]


def _lambert(layers, look, relief) -> np.ndarray:
    """Direct light on a slope relative to level ground, 0..1.9."""
    elevation, toward = np.radians(look["elevation"]), to_sun(look["azimuth"])
    gx, gy = layers["slope_x"] + relief[0], layers["slope_y"] + relief[1]
    cosine = np.sin(elevation) - np.cos(elevation) * (gx * toward[0] + gy * toward[1])
    return np.clip(cosine / np.sqrt(1 + gx**2 + gy**2) / np.sin(elevation), 0.0, 1.9)


@lru_cache(maxsize=64)
def _sampler(length: int, patch: int, sigma: float, native: int) -> np.ndarray:
    """(patch / native, length) weights: a Gaussian point spread function at the centre of each native pixel."""
    center = MARGIN + native * (np.arange(patch // native) + 0.5) - 0.5
    weights = np.exp(-0.5 * ((np.arange(length) - center[:, None]) / sigma) ** 2)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def sentinel2(rho: np.ndarray, look: dict, rng: np.random.Generator) -> np.ndarray:
    """The Sentinel-2 patch (H/10, W/10, 10) float32 reflectance of a surface with MARGIN around it.

    Each band through its own point spread function onto its own grid; 20 m bands replicated to 10 m.
    """
    h, w = rho.shape[1] - 2 * MARGIN, rho.shape[2] - 2 * MARGIN
    patch = np.empty((h // 10, w // 10, 10), np.float32)
    for band, (sigma, native) in enumerate(zip(PSF_SIGMA, NATIVE)):
        seen = _sampler(rho.shape[1], h, sigma, native) @ rho[band] @ _sampler(rho.shape[2], w, sigma, native).T
        seen = seen * (1 - look["haze_s2"]) + look["haze_s2"] * PATH[band]
        seen = seen * (1 + rng.normal(0, 0.015)) + rng.normal(0, 0.0015 + 0.006 * seen, seen.shape)
        patch[..., band] = np.repeat(np.repeat(seen, native // 10, 0), native // 10, 1)[: h // 10, : w // 10]
    return patch


def camera(rho: np.ndarray, look: dict, rng: np.random.Generator) -> np.ndarray:
    """The RGB patch (H, W, 3) uint8: haze, exposure, tone curve, cast, blur, noise."""
    inner = np.stack([rho[band, MARGIN:-MARGIN, MARGIN:-MARGIN] for band in (2, 1, 0)], -1)
    haze = 0.6 * look["haze"]
    inner = cv2.GaussianBlur(inner * (1 - haze) + haze * PATH[2::-1], (0, 0), look["blur"])
    level = 0.42 * np.power(np.clip(inner.mean(), 0.02, 0.4) / 0.13, 0.12) / look["exposure"]
    tone = cv2.pow(inner * (look["cast"] / level).astype(np.float32), 1 / (2.1 * look["contrast"]))
    grey = tone.mean(-1, keepdims=True)
    tone = np.maximum(grey + 1.2 * (tone - grey), 0)
    tone = tone / cv2.pow(1 + cv2.pow(tone, 6), 1 / 6)
    grain = cv2.GaussianBlur(rng.standard_normal(tone.shape[:2], np.float32), (0, 0), 0.6) * 4
    return np.clip(tone * 255 + grain[..., None], 0, 255).astype(np.uint8)
