"""A place drawn from its zone, with everything known about it: both patches, heights, cover, instances, fractions."""

from dataclasses import dataclass

import cv2
import numpy as np
from skimage.measure import label as connected

from lczlib.errors import InputError

from . import nature
from .built import Quarter
from .canvas import MARGIN, C, Canvas, Rng, gradient, noise
from .cities import City, Shift, get_city
from .forms import draw_site, form_of
from .render import SVF_STEP, camera, cast_shadows, sentinel2, sky_view, surface
from .spectra import M

PATCH = 320  # m
PAIRS_PER_POLYGON = 3
STAND = 11  # m
_PATCH = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
_NATURE = {11: nature.wood, 12: nature.parkland, 13: nature.scrub, 14: nature.fields, 15: nature.hard, 16: nature.bare,
           17: nature.water}  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """rgb (320, 320, 3) uint8; s2 (32, 32, 10) float32 reflectance; height (320, 320) float32 m; cover (320, 320) uint8
    (index into COVER); instances (320, 320) uint16, 0 = none; fractions: bsf, isf, psf, svf 0..1 and mean_height m."""

    rgb: np.ndarray
    s2: np.ndarray
    height: np.ndarray
    cover: np.ndarray
    instances: np.ndarray
    fractions: dict[str, float]


def generate_scene(label: int, city: int | City = 0, seed: int = 0, shift: Shift = 1.0) -> Scene:
    """The pair of patches of one synthetic place and its truth; the same for the same arguments.

    Args:
        label: zone 1..17.
        city: number 0..7 or a City.
        seed: place; seeds of one block of PAIRS_PER_POLYGON share what a polygon has in common.
        shift: factor 0..3 of the city's deviations from the mean city: 0 is one city drawn eight times, 1 the table of
            `cities`. A mapping such as {"haze": 2} shifts the named habits (of HABITS) and none of the others.

    Raises:
        ValueError: unknown zone, city, or a negative seed.
    """
    city, label, seed = get_city(city, shift), int(label), int(seed)
    if not 1 <= label <= 17 or seed < 0:
        raise InputError(f"label {label}, seed {seed}: expected a label 1..17 and a seed of 0 or more")
    size = (PATCH + 2 * MARGIN, PATCH + 2 * MARGIN)
    site = draw_site(label, city, size, np.random.default_rng([label, city.number, seed // PAIRS_PER_POLYGON, 1]))
    rng = np.random.default_rng([label, city.number, seed, 2])
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # a pool's processes share the cores
    try:
        layers = layers_of(compose(label, site, size, rng), rng)
        light_up(layers, site)
        rho, inner = surface(layers, site, rng), slice(MARGIN // SVF_STEP, -MARGIN // SVF_STEP)
        rgb, s2 = camera(rho, site, rng), sentinel2(rho, site, rng)
    finally:
        cv2.setNumThreads(threads)
    height = np.ascontiguousarray(layers["height"][_PATCH], np.float32)
    cover = np.ascontiguousarray(layers["cover"][_PATCH])
    numbers = fractions(height, cover, layers["svf"][inner, inner])
    return Scene(rgb, s2, height, cover, tidy(layers["instance"][_PATCH]), numbers)


def compose(label: int, site: dict, size: tuple[int, int], rng: Rng) -> Canvas:
    """Draw the plan of a place of zone `label`."""
    canvas, form = Canvas(size), form_of(label)
    site["warp"].center = np.array(size[::-1]) / 2 + rng.uniform(-60, 60, 2)
    if label > 10:
        _NATURE[label](canvas, form, site, rng)
        return canvas
    quarter = Quarter(canvas, form, site, rng)
    quarter.buildings(quarter.streets(), site["bsf"])
    if label == 10:
        quarter.works()
    quarter.ground(site["isf"])
    quarter.street_cars(0.25 * site["cars"])
    quarter.trees(site["tree"] * site["lush"])
    return canvas


def layers_of(canvas: Canvas, rng: Rng) -> dict[str, np.ndarray]:
    """What lies on every square metre of a plan: objects first, then tree crowns on top."""
    table, obj = canvas.table(), canvas.obj.astype(np.intp)
    h, w = canvas.size
    x, y = np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32)[:, None]
    layers = {name: table[name].take(obj) for name in ("v", "b")}
    layers["slope_x"], layers["slope_y"] = table["gx"].take(obj), table["gy"].take(obj)
    layers["height"] = np.maximum(table["h0"].take(obj) + layers["slope_x"] * x + layers["slope_y"] * y, 0)
    for name, kind in (("material", np.uint8), ("cover", np.uint8), ("instance", np.int32)):
        layers[name] = table[name].astype(kind).take(obj)
    layers["stripes"] = _stripes(table, obj)
    _plant(canvas, layers, rng)
    _join_stands(layers)
    return layers


def light_up(layers: dict[str, np.ndarray], site: dict) -> None:
    """Add what light does with the layers: `lit` 0..1 direct light, `svf` (quarter size), `open` 0..1 sky seen."""
    h, w = layers["height"].shape
    layers["lit"] = cast_shadows(layers["height"], site["elevation"], site["azimuth"])
    stand = np.ones(len(C), np.float32)  # the observer stands on low cover, on the ground under trees, amid bushes
    stand[[C["building"], C["tree"], C["bush"]]] = 0, 0, 0.4
    layers["svf"] = sky_view(layers["height"], stand[layers["cover"]] * layers["height"])
    wide = cv2.resize(layers["svf"], (w, h), interpolation=cv2.INTER_LINEAR)
    layers["open"] = np.where(layers["height"] > 2.0, 0.95, 0.35 + 0.65 * wide).astype(np.float32)


def _stripes(table: dict[str, np.ndarray], obj: np.ndarray) -> np.ndarray:
    """Rows of crops, mowing and sheet metal: relative brightness (H, W)."""
    found = np.zeros(obj.shape, np.float32)
    at = np.flatnonzero((table["stripe"] > 0).take(obj))
    which = obj.ravel()[at]
    wave = 2 * np.pi / np.maximum(table["period"], 1.5)
    y, x = np.divmod(at, obj.shape[1])
    phase = (wave * np.sin(table["angle"])).take(which) * x - (wave * np.cos(table["angle"])).take(which) * y
    found.ravel()[at] = table["stripe"].take(which) * np.sin(phase.astype(np.float32))
    return found


def _plant(canvas: Canvas, layers: dict, rng: Rng) -> None:
    """Stamp tree crowns on the layers: domes or cones with ragged edges, each an instance of its own."""
    trees = np.concatenate([t for t in canvas.trees if len(t)] or [np.zeros((0, 6))])
    h, w = canvas.size
    if len(trees):
        trees = trees[(trees[:, 0] > 0) & (trees[:, 1] > 0) & (trees[:, 0] < w) & (trees[:, 1] < h)]
    if not len(trees):
        return
    top, owner = np.zeros((h, w), np.float32), np.full((h, w), -1, np.int32)
    ragged = rng.random((h, w), np.float32) * 0.4 + 0.72
    ragged = (cv2.GaussianBlur(ragged, (0, 0), 1.0) * 1.6 - 0.55) ** -2
    reach = trees[:, 2].astype(int) + 2
    for one in np.unique(reach):  # crowns of about one size at a time
        where, dome, index = _domes(trees, np.flatnonzero(reach == one), one, ragged)
        before = top.ravel()[where]
        higher = dome > before
        where, dome, index = where[higher], dome[higher], index[higher]
        np.maximum.at(top.ravel(), where, dome)
        first = dome == top.ravel()[where]
        owner.ravel()[where[first]] = index[first]
    under_roof = (layers["cover"] == C["building"]) & (top < layers["height"] + 2)
    at = np.flatnonzero((owner >= 0) & (top > layers["height"] - 1.0) & ~under_roof)
    who = owner.ravel()[at]
    gx, gy = gradient(cv2.GaussianBlur(top + 1.1 * noise(top.shape, 1, rng), (0, 0), 1.1))  # of lumpy crowns
    bright = rng.uniform(0.82, 1.18, len(trees)).astype(np.float32)
    new = {"height": top.ravel()[at], "slope_x": 0.42 * gx.ravel()[at], "slope_y": 0.42 * gy.ravel()[at],
           "material": np.where(trees[:, 5] > 0, M["conifer"], M["broadleaf"])[who], "v": trees[who, 4],
           "b": bright[who], "cover": C["tree"], "stripes": 0, "instance": canvas.instances + 1 + who}  # fmt: skip
    for name, values in new.items():
        layers[name].ravel()[at] = values


def _domes(trees: np.ndarray, chosen: np.ndarray, reach: int, ragged: np.ndarray) -> tuple[np.ndarray, ...]:
    """Square metres under the crowns of `trees[chosen]`: flat index into (H, W), crown height, tree."""
    h, w = ragged.shape
    tx, ty, radius, tall, _, conifer = trees[chosen].T[:, :, None, None]
    steps = np.arange(-reach, reach + 1)
    x, y = tx.astype(int) + steps, ty.astype(int) + steps[:, None]
    r2 = (x + 0.5 - tx) ** 2 + (y + 0.5 - ty) ** 2
    where = y.clip(0, h - 1) * w + x.clip(0, w - 1)
    r2 *= ragged.ravel()[where] / radius**2
    under = (r2 < 1) & (x >= 0) & (x < w) & (y >= 0) & (y < h)
    dome = (np.where(conifer > 0, 1.05 - 0.8 * np.sqrt(r2), 1 - 0.5 * r2) * tall).astype(np.float32)
    return where[under], dome[under], np.broadcast_to(chosen[:, None, None], under.shape)[under]


def _join_stands(layers: dict) -> None:
    """One instance per stand: where trees and bushes cover most of the `STAND` m around, nobody tells crown from crown.

    Small gaps between the crowns belong to their stand. Elsewhere crowns stay single and bushes belong to no instance.
    """
    cover, instance = layers["cover"], layers["instance"]
    woody = (cover == C["tree"]) | (cover == C["bush"])
    stand = cv2.blur(woody.astype(np.float32), (STAND, STAND)) > 0.55
    stand &= ~np.isin(cover, (C["building"], C["paved"], C["rock"], C["water"]))
    instance[(cover == C["bush"]) & ~stand] = 0
    instance[stand] = instance.max() + 1


def tidy(instances: np.ndarray, smallest: int = 50) -> np.ndarray:
    """Connected instances numbered from 1 (uint16), those under `smallest` px dropped."""
    parts = connected(instances, background=0, connectivity=1)
    sizes = np.bincount(parts.ravel())
    keep = sizes >= smallest
    keep[0] = False
    numbers = np.where(keep, np.cumsum(keep), 0)
    return numbers[parts].astype(np.uint16)


def fractions(height: np.ndarray, cover: np.ndarray, svf: np.ndarray) -> dict[str, float]:
    """Measured bsf, isf, psf (plan area seen from above), svf (mean over unbuilt ground), mean_height (m).

    mean_height is that of the roughness elements: buildings where they cover 5 % or more, else trees, else bushes
    where those cover 10 %, else everything that grows or lies there.
    """
    share = np.bincount(cover.ravel(), minlength=len(C)) / cover.size
    built, paved = share[C["building"]], share[C["paved"]] + share[C["rock"]]
    least = {"building": 0.05, "tree": 0.1, "bush": 0.1}
    kind = next((name for name in least if share[C[name]] >= least[name]), None)
    tall = height[cover == C[kind]] if kind else height
    ground = cover[::SVF_STEP, ::SVF_STEP] != C["building"]
    view = float(svf[ground].mean()) if ground.any() else 1.0
    numbers = {"bsf": built, "isf": paved, "psf": 1 - built - paved, "svf": view, "mean_height": tall.mean()}
    return {name: float(value) for name, value in numbers.items()}
