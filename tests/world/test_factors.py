"""One habit at a time: the same places, other light or other roofs."""

import numpy as np
import pytest

from lczworld import HABITS, generate_scene
from lczworld import factors as f


def test_conditions_are_nothing_each_and_everything():
    c = f.conditions()
    assert c["nothing"] == ()
    assert c["everything"] == HABITS
    assert [v for k, v in c.items() if k in HABITS] == [(k,) for k in HABITS]


def test_nothing_switched_is_the_home_city():
    np.testing.assert_array_equal(f._patch((0, 5), 6, 30, (), 1.0), generate_scene(6, 0, 30).s2)
    hazy = f._patch((0, 7), 6, 30, ("haze",), 1.0)
    assert not np.array_equal(hazy, generate_scene(6, 0, 30).s2)
    assert hazy.shape == (32, 32, 10)


def test_every_place_is_seen_under_every_condition(monkeypatch):
    def patch(couple, label, seed, habits, shift):
        return np.full((32, 32, 10), label + 100 * len(habits) + 1000 * couple[0])

    monkeypatch.setattr(f, "_patch", patch)
    out = f.switched([(0, 5), (2, 1)], 2, workers=1)
    labels, couple = out.pop("labels"), out.pop("couple")
    assert list(out) == list(f.conditions())
    assert len(labels) == 2 * 17 * 2
    for name, x in out.items():
        expected = labels + 100 * len(f.conditions()[name]) + 1000 * np.array([0, 2])[couple]
        np.testing.assert_array_equal(x[:, 0, 0, 0], expected)


def test_effects_are_paired_changes():
    labels = np.array([1, 2, 3, 4])
    sure = np.full((4, 17), 0.01)
    sure[np.arange(4), labels - 1] = 0.84
    worse = sure.copy()
    worse[:2] = np.roll(worse[:2], 5, axis=1)
    e = f.effects({"nothing": sure, "haze": worse}, labels, draws=50)
    assert e["nothing"]["change_oa"] == (0, 0, 0)
    assert e["haze"]["change_oa"].value == -0.5
    assert e["haze"]["change_p"].value == pytest.approx(-0.415)
    assert e["haze"]["oa"].value == 0.5
