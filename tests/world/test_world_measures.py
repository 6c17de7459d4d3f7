"""The world holds what it promises over many places: properties of zones, overlap, cities that differ, spectra."""

from functools import cache
from itertools import product

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.ensemble import RandomForestClassifier

from lczlib.data.layout import BANDS
from lczlib.zones import CODES, RANGES
from lczworld import COVER, generate_scene
from lczworld.spectra import NATIVE

PLACES = 3  # of each zone in each city, each of its own polygon: 408
PROPERTIES = ("bsf", "isf", "psf", "mean_height")


@cache
def table(shift: float = 1.0, count: int = PLACES, zones: range = range(1, 18)) -> dict[str, np.ndarray]:
    """Band means and deviations of both patches and the properties of `count` places of each zone and city."""
    places = product(zones, range(8), range(count))
    rows = [seen(z, c, k, shift) for z, c, k in places]
    names = ("label", "city", "place", "s2", "rgb", *PROPERTIES, "svf")
    found = {name: np.array([row[column] for row in rows]) for column, name in enumerate(names)}
    return found | {"both": np.concatenate([found["s2"], found["rgb"]], 1)}


def seen(label: int, city: int, place: int, shift: float) -> tuple:
    """One row of `table`."""
    scene = generate_scene(label, city, 3 * place, shift)
    s2 = np.concatenate([scene.s2.mean((0, 1)), scene.s2.std((0, 1))])
    pixels = scene.rgb.reshape(-1, 3) / 255
    rgb = np.concatenate([pixels.mean(0), pixels.std(0)])
    return label, city, place, s2, rgb, *(scene.fractions[name] for name in (*PROPERTIES, "svf"))


@pytest.mark.parametrize("code", CODES)
def test_places_lie_in_the_ranges_of_their_zone(code):
    here = table()["label"] == CODES.index(code) + 1
    for name in PROPERTIES:
        if name not in RANGES[code]:
            continue
        low, high = RANGES[code][name]
        values = table()[name][here]
        assert low <= np.median(values) <= high, name
        assert ((values >= low) & (values <= high)).mean() >= 0.8, name


def test_sky_view_is_ordered_as_the_table_orders_it():
    medians = np.array([np.median(table()["svf"][table()["label"] == label]) for label in range(1, 18)])
    low, high = np.array([RANGES[code]["svf"] for code in CODES]).T
    assert spearmanr(medians, low + high).statistic > 0.85
    apart = high[:, None] <= low[None]  # zones whose ranges do not overlap must not change places
    assert (medians[:, None] < medians[None])[apart].all()


def accuracy(features: str, target: str, rows: dict[str, np.ndarray]) -> float:
    """Of a random forest on places of polygons that it has not seen: one of each zone and city left out in turn."""
    right = []
    for left_out in np.unique(rows["place"]):
        train = rows["place"] != left_out
        forest = RandomForestClassifier(150, random_state=0).fit(rows[features][train], rows[target][train])
        right.append(forest.score(rows[features][~train], rows[target][~train]))
    return float(np.mean(right))


def test_zones_overlap_but_can_be_told_apart():
    assert 0.55 <= accuracy("both", "label", table()) <= 0.85


def test_cities_differ_at_shift_1():
    assert accuracy("s2", "city", table()) >= 0.40
    assert accuracy("both", "city", table()) >= 0.40


def test_cities_are_one_city_at_shift_0():
    rows, chance = table(0.0, 2, range(1, 18, 2)), 1 / 8
    n = len(rows["city"])
    assert accuracy("s2", "city", rows) < chance + 3 * np.sqrt(chance * (1 - chance) / n)


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
