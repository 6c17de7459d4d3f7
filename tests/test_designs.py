"""Designs compared in pairs: the same rows for all, differences by hand, the stop rule."""

import numpy as np
import pandas as pd
import pytest

from lczlib import designs
from lczlib.data import Pairs
from lczlib.metrics import Interval
from lczlib.predictions import read_zones, write_zones
from lczlib.recipe import Recipe
from lczlib.sam import MaskSettings


def rows(right: list[list[bool]]) -> pd.DataFrame:
    """Tests of some seeds on pairs of zone 2 in polygons of their own; where not right, zone 5."""
    parts = [
        pd.DataFrame({"id": range(len(r)), "label": 2, "polygon": [f"p{i}" for i in range(len(r))], "seed": s,
                      "predicted": np.where(r, 2, 5)})
        for s, r in enumerate(right)
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def test_differences_are_paired_by_seed_and_pair():
    tested = {"a": rows([[1, 0, 0, 0], [1, 1, 0, 0]]), "b": rows([[1, 1, 0, 0], [1, 1, 1, 0]])}
    answer = designs.compare(tested, {"paper": "a", "rival": "b"})
    assert answer["paper"] == {"design": "a", "oa": 0.375, "oa_per_seed": {0: 0.25, 1: 0.5}}
    assert answer["rival"]["difference"].value == pytest.approx(0.25)
    assert answer["rival"]["per_seed"] == {"0": 0.25, "1": 0.25}
    assert (answer["rival"]["agree"], answer["rival"]["seeds"]) == (2, 2)


def test_what_was_tested_is_written_and_read_again(tmp_path):
    tested = {"a": rows([[1, 0, 0, 0], [1, 1, 0, 0]]), "b": rows([[1, 1, 0, 0]])}
    write_zones(tmp_path / "t.csv.gz", tested)
    question = {"paper": "a", "rival": "b"}
    assert designs.compare(read_zones(tmp_path / "t.csv.gz"), question) == designs.compare(tested, question)


@pytest.mark.parametrize(
    ("difference", "word"),
    [
        ([0.05, 0.01, 0.09], "more accurate"),
        ([-0.05, -0.09, -0.01], "less accurate"),
        ([0.005, -0.01, 0.015], "no different by more than 2 points"),
        ([0.005, -0.04, 0.05], "undecided"),
    ],
)
def test_words_follow_from_the_interval(difference, word):
    row = {"oa": 0.4, "difference": difference, "agree": 2, "seeds": 3}
    text = designs.in_words({"paper": {"oa": 0.35}, "rival": row})
    assert f"**{word}**" in text
    assert "the same sign in 2 of 3 seeds" in text


def test_seeds_are_added_until_intervals_are_narrow(monkeypatch, tmp_path):
    """A forest on 60 pairs: noise against statistics that name the zone."""
    monkeypatch.setattr(designs, "cpu_count", lambda: 1)  # no process of its own for a moment's work
    polygons = [f"p{i // 2}" for i in range(60)]
    labels = np.array([int(p[1:]) % 3 + 1 for p in polygons])
    index = pd.DataFrame({"id": np.arange(60), "label": labels, "city": "a", "polygon": polygons})
    pairs = Pairs(tmp_path, index, "synthetic", index["id"].to_numpy())
    rng, recipe = np.random.default_rng(0), Recipe.of("demo", "s2")
    noise, sure = rng.normal(size=(60, 2)), labels[:, None] + rng.normal(0, 0.01, (60, 2))
    made = {n: designs.Design("forest", x, recipe) for n, x in (("noise", noise), ("sure", sure), ("same", sure))}
    narrow = {name: made[name] for name in ("sure", "same")}
    _, rule = designs.run_until_narrow(narrow, {"?": {"sure": "sure", "same": "same"}}, pairs, (0, 2, 4), tmp_path)
    assert rule["seeds"] == 2
    assert Interval(0, 0, 0).high - rule["widest"] == 0
    three = {"?": {"sure": "sure", "noise": "noise", "same": "same"}}
    tested, rule = designs.run_until_narrow(made, three, pairs, (0, 2, 4), tmp_path)
    assert rule["seeds"] == 4, "for the design whose interval is wide, and the one that it is compared with"
    assert {name: frame["seed"].nunique() for name, frame in tested.items()} == {"noise": 4, "sure": 4, "same": 2}
    assert (tested["noise"][["seed", "id"]] == tested["sure"][["seed", "id"]]).all(axis=None)
    compared = designs.compare(tested, three["?"])
    assert {label: row.get("seeds") for label, row in compared.items()} == {"sure": None, "noise": 4, "same": 2}
    assert compared["noise"]["difference"].excludes_zero


def test_sam_is_counted_by_passes_and_prompts():
    paper, demo = (designs.sam_costs("vit_b", MaskSettings.named(name)) for name in ("paper", "demo"))
    assert (paper["encoder_passes"], paper["prompts"]) == (5, 12**2 + 4 * 6**2)
    assert (demo["encoder_passes"], demo["prompts"]) == (1, 64)
    assert paper["multiply_adds"] > 4 * demo["multiply_adds"] > 1e12
