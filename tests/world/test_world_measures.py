"""The world holds what it promises over many places: properties of zones, overlap, cities that differ, spectra."""

from functools import cache
from itertools import product

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.ensemble import RandomForestClassifier

from lczlib.compute import parallel
from lczlib.data.layout import BANDS
from lczlib.zones import CODES, RANGES
from lczworld import COVER, generate_scene, measure
from lczworld.spectra import NATIVE

SEEDS = 32  # places per zone, each of its own polygon, spread over the eight cities
POLYGONS = 8  # of them rendered, with a second place of the same polygon
PROPERTIES = ("bsf", "isf", "psf", "mean_height")


@cache
def rendered() -> dict[str, np.ndarray]:
    """Means and spreads of both patches of two places per polygon."""
    places = product(range(1, 18), range(POLYGONS), (0, 1))
    rows = list(parallel(seen, [{"label": z, "k": k, "second": second} for z, k, second in places], workers=2))
    names = ("label", "city", "polygon", "second", "s2", "rgb", "fractions")
    return {name: np.array([row[column] for row in rows]) for column, name in enumerate(names)}


def seen(label: int, k: int, second: int) -> tuple:
    """One row of `rendered`."""
    scene = generate_scene(label, k % 8, 3 * k + second)
    s2 = np.concatenate([scene.s2.mean((0, 1)), scene.s2.std((0, 1))])
    pixels = scene.rgb.reshape(-1, 3) / 255
    rgb = np.concatenate([pixels.mean(0), pixels.std(0)])
    return label, k % 8, k, second, s2, rgb, scene.fractions


@cache
def world() -> dict[str, np.ndarray]:
    """Label and properties of SEEDS places of each zone."""
    table = rendered()
    first = table["second"] == 0
    known = {(z, k): f for z, k, f in zip(table["label"][first], table["polygon"][first], table["fractions"][first])}
    places = list(product(range(1, 18), range(SEEDS)))
    others = [place for place in places if place not in known]
    jobs = [{"label": z, "city": k % 8, "seed": 3 * k} for z, k in others]
    known |= dict(zip(others, list(parallel(measure, jobs, workers=2))))
    found = [known[place] for place in places]
    properties = {name: np.array([numbers[name] for numbers in found]) for name in (*PROPERTIES, "svf")}
    return {"label": np.array([label for label, _ in places])} | properties


def test_measuring_without_rendering_gives_the_same_numbers():
    assert measure(5, 2, 7) == generate_scene(5, 2, 7).fractions


@pytest.mark.parametrize("code", CODES)
def test_places_lie_in_the_ranges_of_their_zone(code):
    here = world()["label"] == CODES.index(code) + 1
    for name in PROPERTIES:
        if name not in RANGES[code]:
            continue
        low, high = RANGES[code][name]
        values = world()[name][here]
        assert low <= np.median(values) <= high, name
        assert ((values >= low) & (values <= high)).mean() >= 0.8, name


def test_sky_view_is_ordered_as_the_table_orders_it():
    medians = np.array([np.median(world()["svf"][world()["label"] == label]) for label in range(1, 18)])
    low, high = np.array([RANGES[code]["svf"] for code in CODES]).T
    assert spearmanr(medians, low + high).statistic > 0.85
    apart = high[:, None] <= low[None]  # zones whose ranges do not overlap must not change places
    assert (medians[:, None] < medians[None])[apart].all()


def accuracy(features: str, target: str) -> float:
    """Of a random forest on new scenes: trained on the first place of each polygon, tested on the second."""
    table = rendered()
    train = table["second"] == 0
    forest = RandomForestClassifier(150, random_state=0).fit(table[features][train], table[target][train])
    return forest.score(table[features][~train], table[target][~train])


@pytest.mark.parametrize("features", ["s2", "rgb"])
def test_zones_overlap_but_can_be_told_apart(features):
    assert 0.55 <= accuracy(features, "label") <= 0.85


@pytest.mark.parametrize("features", ["s2", "rgb"])
def test_cities_differ_measurably(features):
    assert accuracy(features, "city") > 2.5 / 8


def _spectrum(scene, cover: str) -> np.ndarray | None:
    """Median spectrum of 10 m pixels that hold one cover only, their neighbours included (far from mixtures)."""
    pure = (scene.cover == COVER.index(cover)).reshape(16, 20, 16, 20).all((1, 3))
    pure[1:-1, 1:-1] &= pure[:-2, 1:-1] & pure[2:, 1:-1] & pure[1:-1, :-2] & pure[1:-1, 2:]
    return np.median(scene.s2[np.kron(pure, np.ones((2, 2), bool))], 0) if pure.any() else None


def test_spectra_of_plants_and_water():
    B = {name: band for band, name in enumerate(BANDS)}
    plants = [_spectrum(generate_scene(14, city, 6), "crop") for city in (0, 1, 4, 7)]
    green = [s for s in plants if s is not None and (s[B["B8"]] - s[B["B4"]]) / (s[B["B8"]] + s[B["B4"]]) > 0.5]
    assert green
    for s in green:
        assert s[B["B5"]] < s[B["B6"]] < s[B["B7"]]  # the red edge
        assert s[B["B8A"]] == pytest.approx(s[B["B8"]], rel=0.15)
        assert s[B["B12"]] < s[B["B11"]] < s[B["B8A"]]
    for city in range(0, 8, 3):
        s = _spectrum(generate_scene(17, city, 3), "water")
        assert s[B["B11"]] < 0.03
        assert s[B["B12"]] < 0.03
        assert s[B["B8"]] < s[B["B3"]]


def test_each_band_has_its_own_resolution():
    s2 = generate_scene(2, 0, 5).s2
    for band, native in enumerate(NATIVE):
        blocks = s2[..., band].reshape(16, 2, 16, 2)
        replicated = np.ptp(blocks, axis=(1, 3)).max() == 0
        assert replicated == (native == 20)
    fine, coarse = s2[..., BANDS.index("B8")], s2[::2, ::2, BANDS.index("B11")]
    assert np.abs(np.diff(fine, axis=0)).mean() / fine.std() < 1.2  # blurred: no pixel noise
    assert coarse.std() > 0.01
