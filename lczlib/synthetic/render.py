"""What each sensor sees of a scene: light and shadow, the RGB patch at 1 m, the Sentinel-2 patch at 10 m."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from .canvas import MARGIN, noise
from .spectra import NATIVE, PATH, PSF_SIGMA, SKY, SPECTRA, TEXTURE, M

_TEXTURED = np.ones(len(TEXTURE), np.float32)


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


def sky_view(height: np.ndarray, directions: int = 12) -> np.ndarray:
    """Sky view factor 0..1 of the ground (H/2, W/2), as if every place were at height 0; from a 2 m height map."""
    low = cv2.resize(height, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    total = np.zeros_like(low)
    for angle in np.arange(directions) * 2 * np.pi / directions:
        slope = np.zeros_like(low)
        for distance in (1, 2, 3, 4.5, 6.5, 9, 13, 18, 25, 36):
            dx, dy = int(round(distance * np.cos(angle))), int(round(distance * np.sin(angle)))
            padded = _roll(low, dy, dx)
            np.maximum(slope, padded / (2 * np.hypot(dx, dy)), out=slope)
        total += 1 / (1 + slope**2)
    return total / directions


def _roll(field, dy, dx) -> np.ndarray:
    h, w = field.shape
    rows, columns = np.clip(np.arange(h) + dy, 0, h - 1), np.clip(np.arange(w) + dx, 0, w - 1)
    return field[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if False else field[rows][:, columns]


def surface(layers: dict, look: dict, rng: np.random.Generator) -> np.ndarray:
    """Reflectance (H, W, 10) float32 as lit at the time of overpass: texture, slopes, shadows, all but the air.

    `layers`: material, v, b, height, slope_x, slope_y, stripes, crown (all (H, W)).
    """
    size, material = layers["height"].shape, layers["material"]
    fine = cv2.GaussianBlur(noise(size, 1, rng), (0, 0), 0.7) * 2.4
    medium, coarse, wide = (noise(size, scale, rng) for scale in (4, 18, 55))
    amplitude = TEXTURE[material]
    bright = 1 + amplitude[..., 0] * fine + amplitude[..., 1] * medium + amplitude[..., 2] * coarse
    bright *= layers["b"] * (1 + layers["stripes"])
    v = np.clip(layers["v"] + 0.07 * coarse + 0.07 * wide + 0.3 * layers["stripes"], 0, 1)
    low, span = SPECTRA[:, 0], SPECTRA[:, 1] - SPECTRA[:, 0]
    rho = low[material] + v[..., None] * span[material]
    direct = layers["lit"] * _lambert(layers, look)
    sky = SKY * (1 + 1.5 * look["haze"])
    light = bright[..., None] * (direct[..., None] * (1 - sky) + layers["open"][..., None] * sky)
    return rho * np.maximum(light, 0.02)


def _lambert(layers, look) -> np.ndarray:
    """Direct light on a slope relative to level ground, 0..1.9."""
    elevation, toward = np.radians(look["elevation"]), to_sun(look["azimuth"])
    gx, gy = layers["slope_x"], layers["slope_y"]
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
    h, w = rho.shape[0] - 2 * MARGIN, rho.shape[1] - 2 * MARGIN
    patch = np.empty((h // 10, w // 10, 10), np.float32)
    for band, (sigma, native) in enumerate(zip(PSF_SIGMA, NATIVE)):
        plane = np.ascontiguousarray(rho[..., band])
        seen = _sampler(rho.shape[0], h, sigma, native) @ plane @ _sampler(rho.shape[1], w, sigma, native).T
        seen = seen * (1 - look["haze"]) + look["haze"] * PATH[band]
        seen = seen * (1 + rng.normal(0, 0.015)) + rng.normal(0, 0.0015 + 0.006 * seen, seen.shape)
        patch[..., band] = np.repeat(np.repeat(seen, native // 10, 0), native // 10, 1)[: h // 10, : w // 10]
    return patch


def camera(rho: np.ndarray, look: dict, rng: np.random.Generator) -> np.ndarray:
    """The RGB patch (H, W, 3) uint8: haze, exposure, tone curve, cast, blur, noise."""
    inner = np.ascontiguousarray(rho[MARGIN:-MARGIN, MARGIN:-MARGIN, 2::-1])
    haze = 0.6 * look["haze"]
    inner = inner * (1 - haze) + haze * PATH[2::-1]
    inner = cv2.GaussianBlur(inner, (0, 0), look["blur"])
    level = 0.42 * np.power(np.clip(inner.mean(), 0.02, 0.4) / 0.13, 0.55) / look["exposure"]
    tone = np.power(np.clip(inner * look["cast"].astype(np.float32) / level, 0, None), 1 / (2.1 * look["contrast"]))
    grey = tone.mean(-1, keepdims=True)
    tone = grey + 1.2 * (tone - grey)
    tone = tone / np.power(1 + np.power(np.maximum(tone, 0), 6), 1 / 6)
    tone = tone * 255 + rng.standard_normal(tone.shape, np.float32) * 2.2
    return np.clip(tone, 0, 255).astype(np.uint8)


WATER, TREE_MATERIALS = M["water"], (M["broadleaf"], M["conifer"])
