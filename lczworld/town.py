"""A whole synthetic town of several square kilometres: zones in districts, for maps whose truth is known."""

from dataclasses import dataclass

import cv2
import numpy as np

from lczlib.errors import InputError

from .canvas import MARGIN, C, noise
from .cities import City, Shift, get_city
from .forms import draw_site
from .render import camera, sentinel2, surface
from .scene import compose, layers_of, light_up
from .spectra import M

# From the centre outwards: zones (labels) that are likely at each distance.
_RINGS = ((1, 2, 2, 3), (2, 3, 4, 5, 8), (4, 5, 6, 6, 7, 8, 10), (6, 9, 10, 12, 14, 15), (9, 11, 12, 13, 14, 16, 17))
_SITE = 420.0  # m between the centres of districts


@dataclass(frozen=True)
class CityScene:
    """rgb (H, W, 3) uint8 at 1 m; s2 (H/10, W/10, 10) float32; zones (H/10, W/10) uint8, 1..17; height (H, W) m."""

    rgb: np.ndarray
    s2: np.ndarray
    zones: np.ndarray
    height: np.ndarray


def generate_city(extent_m: int = 2000, seed: int = 0, city: int | City = 0, shift: Shift = 1.0) -> CityScene:
    """A square town of `extent_m` (a multiple of 20 m, 640..6000) in the habits of `city`: compact inside, green out.

    Raises:
        ValueError: an extent that is no multiple of 20 or out of range.
    """
    if extent_m % 20 or not 640 <= extent_m <= 6000:
        raise InputError(f"extent_m {extent_m}: expected a multiple of 20 between 640 and 6000")
    city = get_city(city, shift)
    rng = np.random.default_rng([seed, city.number, 17])
    size = (extent_m + 2 * MARGIN, extent_m + 2 * MARGIN)
    sites, labels = _sites(extent_m, rng)
    district = _districts(sites, size, rng)
    layers = _assemble(district, labels, city, seed, size)
    _border_roads(layers, district, labels)
    site = draw_site(2, city, size, rng)
    light_up(layers, site)
    rho, inner = surface(layers, site, rng), slice(MARGIN, -MARGIN)
    zones = np.array(labels, np.uint8)[district[inner, inner][5::10, 5::10]]
    height = np.ascontiguousarray(layers["height"][inner, inner].astype(np.float32))
    return CityScene(camera(rho, site, rng), sentinel2(rho, site, rng), zones, height)


def _sites(extent: int, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """Centres (n, 2) of the districts, in canvas coordinates, and their labels."""
    count = max(round(extent / _SITE), 2)
    grid = (np.stack(np.meshgrid(*2 * [np.arange(-1, count + 1)]), -1).reshape(-1, 2) + 0.5) * extent / count
    sites = grid + rng.uniform(-0.3, 0.3, grid.shape) * extent / count + MARGIN
    away = np.hypot(*(sites - extent / 2 - MARGIN).T) / (0.62 * extent) + rng.normal(0, 0.12, len(sites))
    ring = np.clip((away * len(_RINGS)).astype(int), 0, len(_RINGS) - 1)
    return sites, [int(rng.choice(_RINGS[r])) for r in ring]


def _districts(sites: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Number of the district of every square metre (H, W): nearest site, borders bent by noise."""
    quarter = (size[0] // 4, size[1] // 4)
    y, x = np.mgrid[: quarter[0], : quarter[1]].astype(np.float32) * 4
    x, y = x + 28 * noise(quarter, 45, rng), y + 28 * noise(quarter, 45, rng)
    distance = (x[..., None] - sites[:, 0]) ** 2 + (y[..., None] - sites[:, 1]) ** 2
    nearest = distance.argmin(-1).astype(np.uint8)
    return cv2.resize(nearest, size[::-1], interpolation=cv2.INTER_NEAREST)


def _assemble(
    district: np.ndarray, labels: list[int], city: City, seed: int, size: tuple[int, int]
) -> dict[str, np.ndarray]:
    """Layers of the whole town: every district drawn on its own canvas and cut out along its border."""
    layers: dict[str, np.ndarray] = {}
    for index in np.unique(district):
        rows, columns = np.flatnonzero((district == index).any(1)), np.flatnonzero((district == index).any(0))
        window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        inside = district[window] == index
        rng = np.random.default_rng([seed, city.number, int(index), 18])
        box = tuple(max(extent, 200) for extent in inside.shape)
        drawn = layers_of(compose(labels[index], draw_site(labels[index], city, box, rng), box, rng), rng)
        for name, part in drawn.items():
            whole = layers.setdefault(name, np.zeros(size, part.dtype))
            whole[window][inside] = part[: inside.shape[0], : inside.shape[1]][inside]
    return layers


def _border_roads(layers: dict[str, np.ndarray], district: np.ndarray, labels: list[int]) -> None:
    """A road along every border that touches a built district."""
    built = np.array([label <= 10 for label in labels])[district].astype(np.uint8)
    numbers, around = district.astype(np.float32), np.ones((9, 9))
    edge = (cv2.dilate(numbers, around) != cv2.erode(numbers, around)) & (cv2.dilate(built, around) > 0)
    new = {"material": M["asphalt"], "cover": C["paved"], "v": 0.4, "b": 1.0, "height": 0, "stripes": 0, "slope_x": 0,
           "slope_y": 0, "instance": 0}  # fmt: skip
    for name, value in new.items():
        layers[name][edge] = value
