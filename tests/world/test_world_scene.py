"""A scene is what it says: same arguments same place, truth that fits, light and shadow of the right length."""

import cv2
import numpy as np
import pytest

from lczworld import CITIES, COVER, HABITS, generate_scene, get_city, mix
from lczworld.render import cast_shadows, sky_view
from lczworld.scene import tidy


@pytest.fixture(scope="module")
def scenes():
    return {label: generate_scene(label, city=label % 8, seed=11) for label in range(1, 18)}


def test_arrays_have_the_promised_form(scenes):
    for scene in scenes.values():
        assert scene.rgb.shape == (320, 320, 3)
        assert scene.rgb.dtype == np.uint8
        assert scene.s2.shape == (32, 32, 10)
        assert scene.s2.dtype == np.float32
        assert np.isfinite(scene.s2).all()
        assert (scene.height.dtype, scene.cover.dtype, scene.instances.dtype) == (np.float32, np.uint8, np.uint16)
        assert scene.height.shape == scene.cover.shape == scene.instances.shape == (320, 320)
        assert scene.height.min() >= 0
        assert scene.cover.max() < len(COVER)


def test_fractions_are_measured_on_the_truth(scenes):
    for scene in scenes.values():
        numbers, cover = scene.fractions, scene.cover
        assert numbers["bsf"] + numbers["isf"] + numbers["psf"] == pytest.approx(1)
        assert numbers["bsf"] == pytest.approx((cover == COVER.index("building")).mean())
        assert numbers["isf"] == pytest.approx(np.isin(cover, [COVER.index("paved"), COVER.index("rock")]).mean())
        if numbers["bsf"] >= 0.05:
            assert numbers["mean_height"] == pytest.approx(
                scene.height[cover == COVER.index("building")].mean(), rel=1e-4
            )
        assert 0 < numbers["svf"] <= 1


def test_instances_are_connected_and_of_a_size_one_can_find(scenes):
    for scene in scenes.values():
        again = tidy(scene.instances)
        assert again.max() == scene.instances.max()  # connected already: relabelling splits nothing
        assert np.bincount(scene.instances.ravel())[1:].min() >= 50
        assert scene.instances.max() >= 1


def test_same_arguments_give_the_same_scene_in_any_order():
    first = generate_scene(6, 2, 40)
    generate_scene(11, 0, 1)
    again = generate_scene(6, 2, 40)
    for name in ("rgb", "s2", "height", "cover", "instances"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert first.fractions == again.fractions
    assert not np.array_equal(first.rgb, generate_scene(6, 2, 41).rgb)
    assert not np.array_equal(first.rgb, generate_scene(6, 3, 40).rgb)


def test_pairs_of_a_polygon_resemble_each_other():
    means = np.array([generate_scene(6, 1, seed).rgb.mean((0, 1)) for seed in range(18)]).reshape(6, 3, 3)
    within = means.std(1).mean()
    between = means.mean(1).std(0).mean()
    assert between > within


@pytest.mark.parametrize("arguments", [(0, 0, 0), (18, 0, 0), (3, 8, 0), (3, 0, -1)])
def test_what_does_not_exist_is_refused(arguments):
    with pytest.raises(ValueError, match="expected"):
        generate_scene(*arguments)


@pytest.mark.parametrize(("elevation", "azimuth", "toward"), [(45, 180, (1, 0)), (30, 90, (0, 1)), (45, 270, (0, -1))])
def test_a_shadow_has_the_length_and_direction_of_the_sun(elevation, azimuth, toward):
    height = np.zeros((160, 160), np.float32)
    height[75:85, 75:85] = 20
    dark = cast_shadows(height, elevation, azimuth) < 0.5
    step = -np.array(toward)  # (row, column) away from the sun
    line = [dark[tuple(80 + 5 * step + k * step)] for k in range(1, 70)]
    assert sum(line) == pytest.approx(20 / np.tan(np.radians(elevation)), abs=2.5)
    assert not any(dark[tuple(80 - 5 * step - k * step)] for k in range(1, 70))


def test_sky_view_of_a_canyon_falls_with_its_walls():
    height = np.zeros((200, 200), np.float32)
    assert sky_view(height).min() == pytest.approx(1)
    values = []
    for wall in (5, 10, 20):
        height[:90], height[110:] = wall, wall
        values.append(sky_view(height)[25, 25])
    assert values[0] > values[1] > values[2]
    assert values[1] == pytest.approx(np.cos(np.arctan(1.0)), abs=0.12)  # endless canyon, height = half its width


def habit(city, names):
    return [city[name] for name in names]


def test_cities_mix_habit_by_habit():
    haze, roofs = ("haze", "corrected"), ("pitched:tile", "age")
    mixed = mix(0, 3, ("haze",))
    assert habit(mixed, haze) == habit(CITIES[3], haze)
    assert habit(mixed, roofs) == habit(CITIES[0], roofs)
    assert mixed.number == 0
    assert mix(0, 3, HABITS).values == CITIES[3].values
    with pytest.raises(ValueError, match="expected among"):
        mix(0, 1, ("weather",))


def test_shift_multiplies_the_deviation_from_the_mean_city():
    values = {shift: np.array([get_city(k, shift).values for k in range(8)]) for shift in (0, 1, 3)}
    mean = values[1].mean(0)
    np.testing.assert_allclose(values[0], np.tile(mean, (8, 1)), atol=1e-12)
    np.testing.assert_allclose(values[3] - mean, 3 * (values[1] - mean), atol=1e-9)
    np.testing.assert_allclose(values[1], [city.values for city in CITIES])
    hazy = get_city(7, {"haze": 2})
    assert hazy["haze"] > get_city(7)["haze"] > get_city(7, 0)["haze"]
    assert hazy["elevation"] == pytest.approx(get_city(7, 0)["elevation"])
    for wrong in (-1, 3.5, {"weather": 1}):
        with pytest.raises(ValueError, match="expected"):
            get_city(0, wrong)


def test_a_city_moved_as_far_as_it_goes_is_still_a_place():
    for city in range(0, 8, 3):
        scene = generate_scene(5, city, 2, shift=3)
        assert np.isfinite(scene.s2).all()
        assert 0 < scene.s2.mean() < 0.6
        assert scene.rgb.std() > 5


def test_a_mixed_city_keeps_the_place_and_changes_the_picture():
    here, other = generate_scene(5, 0, 9), generate_scene(5, mix(0, 3, ("materials",)), 9)
    np.testing.assert_array_equal(here.cover == 1, other.cover == 1)  # the same buildings
    assert np.abs(here.s2 - other.s2).mean() > 0.005
    for name in ("season", "haze", "sensor"):
        seen = generate_scene(5, mix(0, 6, (name,)), 9)
        np.testing.assert_array_equal(here.height, seen.height)
        assert not np.array_equal(here.s2, seen.s2)


def test_making_a_scene_changes_nothing_elsewhere():
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    generate_scene(3)
    assert cv2.getNumThreads() == 2
    cv2.setNumThreads(before)


def test_no_synthetic_city_is_named_after_a_place():
    assert [city.name for city in CITIES] == [f"synthetic-{k}" for k in range(1, 9)]
