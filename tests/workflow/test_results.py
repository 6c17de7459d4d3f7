"""RESULTS.md and the gallery follow from the numbers files, word for word."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from project import ROOT

from lczlib.models import load_stream
from lczlib.predictions import Predictions
from lczworld import generate_scene
from lczworld.dataset import plan
from workflow.results import (
    NOT_KNOWN,
    NOT_MADE,
    ledger,
    minus,
    over,
    points,
    published_text,
    published_values,
    read_figures,
    verdict,
    write_results,
)

GENERATED = ("RESULTS.md", "figures/README.md", "docs/demo_streams.md")
STREAMS = ("s2", "ge")
PUBLISHED = json.loads((ROOT / "figures" / "published.json").read_text())


@pytest.fixture
def copy(tmp_path) -> Path:
    for name in ("figures", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.pdf", ".ipynb_checkpoints"))
    return tmp_path


def test_what_is_committed_is_what_the_numbers_files_say(copy):
    before = {name: (ROOT / name).read_text() for name in GENERATED}
    write_results(copy)
    assert {name: (copy / name).read_text() for name in before} == before


def test_the_shipped_streams_answer_as_the_committed_run_did():
    """Test pairs are drawn again from their seeds."""
    known = {stream: Predictions.load(ROOT / f"figures/predictions/{stream}_polygon_pool_0.npz") for stream in STREAMS}
    frame = known["s2"].frame
    some = np.flatnonzero(frame["split"] == "test")[::80]
    rows = plan(len(frame)).iloc[frame["id"][some]]
    scenes = [generate_scene(row.label, row.city_number, row.scene_seed) for row in rows.itertuples()]
    inputs = {"s2": np.stack([scene.s2 for scene in scenes]), "ge": np.stack([scene.rgb for scene in scenes])}
    for stream, values in inputs.items():
        found = load_stream(f"demo-{stream}")(values)
        np.testing.assert_allclose(found, known[stream].p[some], atol=1e-3, err_msg=stream)


@pytest.mark.parametrize(
    ("gain", "found"),
    [([0.05, 0.02, 0.08], "supported"), ([-0.05, -0.08, -0.02], "contradicted"), ([0.01, -0.02, 0.04], "undecided")],
)
def test_another_number_makes_another_verdict(gain, found):
    figures = read_figures(ROOT / "figures")
    numbers = {"gain": {"s2": gain}, "oa": {"s2": 0.6, "fused": [0.7, 0.6, 0.8]}}
    row = ledger(figures | {"04_alpha": {"figure": "04_alpha", "profile": "demo", "numbers": numbers}}, PUBLISHED)[0]
    assert row.verdict == found
    assert points(gain) in row.here
    assert row.basis == "demo, 1 seed"


def test_the_verdict_needs_every_interval():
    above, below, around = [0.1, 0.05, 0.2], [-0.1, -0.2, -0.05], [0.1, -0.1, 0.2]
    words = {"above": "a", "below": "b", "around": "c", "within": "d"}
    assert [verdict(rows, words) for rows in ([above, above], [above, around], [above, below])] == ["a", "c", "b"]
    equal = [0.001, -0.015, 0.019]
    assert [verdict(rows, words) for rows in ([equal], [equal, above], [[0.01, 0.002, 0.019]])] == ["d", "c", "a"]


def test_differences_turn_round_and_levels_shift():
    assert minus([0.1, -0.1, 0.3]) == [-0.1, -0.3, 0.1]
    assert over([0.5, 0.25, 0.75], 0.5) == [0.0, -0.25, 0.25]
    assert over([0.5, 0.25, 0.75], [0.125, 0.0, 0.5]) == [0.375, -0.25, 0.75]


def test_without_its_figure_a_row_says_so_and_evidence_comes_first(tmp_path):
    assert {row.verdict for row in ledger({}, PUBLISHED)} == {NOT_MADE}
    for place, value in ((tmp_path, 0.1), (tmp_path / "evidence", 0.2)):
        place.mkdir(exist_ok=True)
        entry = {"figure": "04_alpha", "numbers": {"oa": value}, "parameters": {"training": {"n_seeds": 8}}}
        (place / "04_alpha.json").write_text(json.dumps(entry))
    found = read_figures(tmp_path)["04_alpha"]
    assert (found["numbers"]["oa"], found["profile"]) == (0.2, "evidence")


def test_a_published_value_filled_in_stands_beside_ours():
    text = "{{ p.scores.polygon.fused.value.oa | percent }}"
    assert published_text(text, PUBLISHED) == NOT_KNOWN
    filled = json.loads(json.dumps(PUBLISHED))
    filled["scores"]["polygon"]["fused"]["value"]["oa"] = 0.871
    assert published_text(text, filled) == "87.1 %"
    assert published_text("{{ p.settings.alpha.value }}", PUBLISHED) == "0.6"


def test_every_place_for_a_published_value_is_named():
    unknown = {one["entry"] for one in published_values(PUBLISHED) if one["value"] is None}
    assert {"scores.polygon.fused", "alpha_curve", "confusion.ge", "transfer"} <= unknown
    filled = json.loads(json.dumps(PUBLISHED))
    filled["transfer"]["value"]["oa_outside"] = 0.5
    assert "transfer.oa_outside" in {one["name"] for one in published_values(filled) if one["value"] is not None}
