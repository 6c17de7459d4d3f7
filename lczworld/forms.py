"""What makes a zone a zone: ranges of form and cover after Stewart & Oke (2012), and kinds of layout. No colours here.

The ranges overlap between neighbouring zones on purpose; what a place looks like (materials, season, pattern) is drawn
from its city and is the same for all zones.
"""

# ruff: noqa: C408, E501 (tables, one row per zone)

import numpy as np

from lczlib.zones import CODES, RANGES

from .canvas import Rng, Warp
from .cities import City
from .layouts import pick

_HOUSE = dict(depth=(8, 12), section=(5.5, 11), lot=(14, 26), footprint=(150, 400), hall=(40, 80), cell=(5, 9))
_BLOCK = _HOUSE | {"depth": (10, 15), "section": (16, 40), "lot": (18, 30), "footprint": (250, 800)}
_HALL = _BLOCK | {"depth": (14, 26), "section": (25, 60), "footprint": (300, 900), "hall": (45, 130)}

# bsf, isf: target ranges; height: mean building height, m; block: m; street: width m; tree: density; ridged: chance
BUILT = {
    1: _BLOCK | dict(spare=(0, .065), bsf=(.41, .58), isf=(.42, .56), height=(27, 70), block=(60, 125), street=(10, 20), tree=(0, .06), ridged=.03,
                     kinds=(("perimeter", 4), ("towers", 3), ("rows", 1))),
    2: _BLOCK | dict(spare=(.05, .045), bsf=(.42, .64), isf=(.31, .46), height=(10.8, 24), block=(60, 125), street=(8, 16), tree=(.1, .8), ridged=.45,
                     kinds=(("perimeter", 7), ("rows", 3))),
    3: _HOUSE | dict(bsf=(.42, .64), isf=(.24, .46), height=(5.4, 9.8), block=(38, 85), street=(4, 8), tree=(.02, .5), ridged=.7,
                     kinds=(("rows", 4), ("detached", 3), ("perimeter", 3))),
    4: _BLOCK | dict(bsf=(.21, .31), isf=(.32, .385), height=(26, 33), block=(85, 175), street=(8, 16), tree=(0, .06), ridged=.03,
                     kinds=(("towers", 7), ("rows", 2))),
    5: _BLOCK | dict(bsf=(.21, .37), isf=(.32, .46), height=(10.8, 24), block=(70, 150), street=(7, 14), tree=(.1, .6), ridged=.35,
                     kinds=(("rows", 5), ("towers", 4), ("perimeter", 2))),
    6: _HOUSE | dict(bsf=(.21, .37), isf=(.22, .42), height=(3.8, 9.4), block=(48, 95), street=(5, 10), tree=(.08, .5), ridged=.85,
                     kinds=(("detached", 7), ("rows", 2), ("towers", 1))),
    7: _HOUSE | dict(walk=(.2, .9), bsf=(.70, .84), isf=(.02, .17), height=(2.6, 3.5), block=(45, 110), street=(1.6, 2.6), tree=(.2, .8), ridged=.15,
                     kinds=(("shacks", 1),), dirt=True),
    8: _HALL | dict(bsf=(.31, .48), isf=(.415, .485), height=(4, 9.6), block=(90, 200), street=(8, 18), tree=(0, .3), ridged=.08,
                    kinds=(("halls", 8), ("rows", 1))),
    9: _HOUSE | dict(bsf=(.105, .19), isf=(.05, .18), height=(3.6, 9.2), block=(85, 200), street=(4, 8), tree=(.02, .18), ridged=.85,
                     kinds=(("detached", 6), ("towers", 2), ("rows", 1)), lot=(22, 50)),
    10: _HALL | dict(spare=(.035, .03), bsf=(.185, .225), isf=(.27, .35), height=(5.8, 14), block=(90, 210), street=(7, 14), tree=(0, .25), ridged=.12,
                     kinds=(("industry", 8), ("rows", 1))),
}  # fmt: skip

_MOIST = np.array([0.2, 0.2, 0.3, 0.3, 0.2, 0.2, 0.2, 0.2, 1.0, 1.3])  # how moisture darkens each band
_GREEN = (("crop", 3), ("young", 7), ("meadow", 4), ("stubble", 1.5), ("soil", 1), ("turf", 0.3))
_BARE = (("soil", 8), ("sand", 3), ("gravel", 1), ("stubble", 0.6), ("meadow", 0.3))
NATURAL = {
    11: dict(dense=(.84, 1.0), relief=(0, .35), crown=(3.1, 5.6)),
    12: dict(dense=(.16, .48), relief=(0, .2), crown=(1.9, 4.2)),
    13: dict(dense=(.25, .75), relief=(0, .3), crown=(1.5, 2.5)),
    14: dict(parcels=_GREEN, block=(45, 380), relief=(0, .1), crown=(2, 4)),
    15: dict(crown=(2, 4)),
    16: dict(parcels=_BARE, block=(45, 380), relief=(0, .15), crown=(2, 4)),
    17: dict(crown=(2, 5)),
}  # fmt: skip


def form_of(label: int) -> dict:
    """Ranges and layout kinds of the zone `label` 1..17."""
    return BUILT.get(label) or NATURAL[label]


def draw_site(label: int, city: City, size: tuple[int, int], rng: Rng) -> dict:
    """The choices of a polygon: pattern, materials, season, light. The same random numbers are drawn for any city."""
    form, site = form_of(label), {}
    site |= _pattern(form, city, size, rng) | _season(city, rng) | _materials(form, city, rng) | _light(city, rng)
    low, high = RANGES[CODES[label - 1]]["psf"]
    below, above = form.get("spare", (0.02, 0.025))
    for _ in range(100):  # until the pervious share lies inside the range of the zone
        site["bsf"], site["isf"] = (rng.uniform(*form.get(name, (0, 0))) for name in ("bsf", "isf"))
        if label > 10 or low + below <= 1 - site["bsf"] - site["isf"] <= high - above:
            break
    for name in ("tree", "dense", "crown"):
        site[name] = rng.uniform(*form.get(name, (2.2, 4.2) if name == "crown" else (0, 0)))
    site["parcel"] = pick(rng, form.get("parcels", (("meadow", 1),)))
    site["relief"] = rng.uniform(*form.get("relief", (0, 0)))
    return site


def _near(rng: Rng, mean: float, spread: float, low: float = 0.0, high: float = 1.0) -> float:
    """A normal number kept between `low` and `high`."""
    return float(np.clip(rng.normal(mean, spread), low, high))


def _pattern(form: dict, city: City, size: tuple[int, int], rng: Rng) -> dict:
    pattern = pick(rng, city.shares("pattern"))
    bend = {"grid": rng.uniform(0, 2), "organic": rng.uniform(5, 14), "closes": rng.uniform(3, 20)}[pattern]
    block, (low, high) = form.get("block", (60, 190)), form.get("height", (3, 5))
    return {
        "block": np.array([rng.uniform(*block), rng.uniform(*block)]) * city["block"],
        "warp": Warp(size, rng.uniform(0, np.pi), bend, rng),
        "jitter": 0.06 if pattern == "grid" else rng.uniform(0.4, 0.9),
        "street": rng.uniform(*form.get("street", (5, 9))), "walk": rng.uniform(*form.get("walk", (0.6, 3.2))),
        "lot": rng.uniform(34, 90), "joined": rng.uniform(0.8, 1.0), "height": np.exp(rng.uniform(np.log(low), np.log(high))),
        "height_spread": rng.uniform(0.05, 0.3), "kind": pick(rng, form.get("kinds", (("rows", 1),))),
        "open": rng.uniform(0, 0.12), "avenue": rng.random() < 0.4, "cars": _near(rng, city["cars"], 0.15, 0.1, 0.95),
        "dirt": bool(form.get("dirt")) and rng.random() < 0.85,
    }  # fmt: skip


def _season(city: City, rng: Rng) -> dict:
    leafless = rng.random() < city["leafless"]
    return {
        "green": _near(rng, city["green"] + 0.05 - 0.2 * leafless, 0.08, 0.03),
        "leaf": _near(rng, 0.1 if leafless else 0.55 + 0.45 * city["green"], 0.08),
        "conifer": _near(rng, city["conifer"], 0.1), "lush": city["lush"],
        "hedge": _near(rng, city["hedge"], 0.15), "turbid": _near(rng, city["turbid"], 0.13),
        "bare": _near(rng, city["bare"], 0.1, 0, 0.7),
    }  # fmt: skip


def _materials(form: dict, city: City, rng: Rng) -> dict:
    house, flat = form.get("kinds", ()), city.shares("flat")
    if any(kind == "shacks" for kind, _ in house):
        flat = (("rust", 4), ("metal", 3), ("bluemetal", 2), ("bitumen", 2), ("concrete", 1))
    if any(kind in ("halls", "industry") and share > 3 for kind, share in house):
        flat = (*flat, ("metal", 3), ("bluemetal", 1.5), ("membrane", 2))
    pitched, paving = city.shares("pitched"), city.shares("paving")
    return {
        "pitched": pitched, "flat": flat, "roof": pick(rng, pitched), "flat_roof": pick(rng, flat),
        "roof_v": _near(rng, city["roof_state"], 0.08), "pavings": paving, "paving": pick(rng, paving),
        "age": _near(rng, city["age"], 0.07), "soil": _near(rng, city["soil"] - 0.35 * (rng.random() < 0.12), 0.08),
        "ridged": _near(rng, form.get("ridged", 0), 0.15),
        "pitch": (rng.uniform(18, 30), rng.uniform(32, 46)), "hip": city["hip"],
    }  # fmt: skip


def _light(city: City, rng: Rng) -> dict:
    """Sun, haze, and what a product keeps of the haze: all of it (top of atmosphere), or after a correction a rest of
    either sign, as large as its aerosol error (about 0.02 in the blue band, more often too dark; assumed)."""
    haze = _near(rng, city["haze"], 0.15 * city["haze"] + 0.005, 0, 0.35)
    rest = float(rng.normal(-0.02, 0.03 + 0.15 * haze))
    cast = np.exp(np.array([city["cast_red"], 0, city["cast_blue"]]) + rng.normal(0, 0.012, 3))
    return {
        "elevation": float(np.clip(city["elevation"] + rng.uniform(-5, 5), 14, 80)),
        "azimuth": city["azimuth"] + rng.uniform(-15, 15),
        "haze": haze, "haze_s2": rest if rng.random() < city["corrected"] else haze,
        "gain": np.exp(city["gain"] + city["tilt"] * np.linspace(-1, 1, 10) - city["moisture"] * _MOIST),
        "sharpness": city["sharpness"],
        "cast": cast, "blur": city["blur"] * rng.uniform(0.85, 1.25),
        "exposure": np.exp(rng.normal(0, 0.03)), "contrast": city["contrast"] * rng.uniform(0.96, 1.04),
    }  # fmt: skip
