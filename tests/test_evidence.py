"""The committed evidence follows from the committed predictions, on any machine."""

import json
from pathlib import Path

import numpy as np
import pytest

from lczlib import fusion
from lczlib.designs import compare
from lczlib.metrics import bootstrap_difference, compare_seeds
from lczlib.predictions import Predictions, join, read_zones

EVIDENCE = Path(__file__).parents[1] / "figures" / "evidence"


@pytest.fixture(scope="module")
def runs() -> dict[int, dict[str, Predictions]]:
    """The streams of every seed, joined: {seed: {"s2", "ge", "ge8"}}."""
    found = {}
    for path in sorted((EVIDENCE / "predictions").glob("s2_polygon_pool_*.npz")):
        s2, others = Predictions.load(path), {}
        for name in ("ge", "ge8"):
            s2, others[name] = join(s2, Predictions.load(path.with_name(path.name.replace("s2_", f"{name}_", 1))))
        found[int(path.stem.rsplit("_", 1)[1])] = {"s2": s2} | others
    return found


@pytest.mark.parametrize(("stream", "rival", "places"), [
    ("ge", "s2", ("04_alpha", "gain", "s2")), ("ge", "ge", ("04_alpha", "gain", "ge")),
    ("ge8", "sum", ("04_beyond", "against_sum", "graphs of 8 features", "difference")),
])  # fmt: skip
def test_gains_are_computed_again(runs, stream, rival, places):
    rows = []
    for seed, run in runs.items():
        parts = {name: [run[name].select(split=part) for part in ("validation", "test")] for name in run}
        (s2_known, s2), alpha = parts["s2"], {}
        for name in ("ge", "ge8"):
            alpha[name] = fusion.best_alpha(s2_known.p, parts[name][0].p, s2_known.labels)
        fused = {n: fusion.predicted(fusion.fuse(s2.p, parts[n][1].p, alpha[n])) for n in alpha}
        of = {"s2": s2.predicted, "ge": parts["ge"][1].predicted, "sum": fused["ge"]}
        rows.append((s2.labels, fused[stream], of[rival], s2.groups, np.full(len(s2), seed)))
    labels, a, b, groups, seeds = map(np.concatenate, zip(*rows))
    found = compare_seeds(labels, a, b, groups, seeds, draws=1000)["difference"]
    stem, *names = places
    committed = json.loads((EVIDENCE / f"{stem}.json").read_text())["numbers"]
    for name in names:
        committed = committed[name]
    assert len(runs) == 8
    np.testing.assert_allclose(found, committed, atol=1e-6)


@pytest.mark.parametrize("stem", ["07_design_choices", "07_patch_networks"])
def test_designs_are_compared_again(stem):
    committed = json.loads((EVIDENCE / f"{stem}.json").read_text())["numbers"]
    tested = read_zones(EVIDENCE / "predictions" / f"{stem}.csv.gz")
    for question in committed.keys() - {"stop_rule"}:
        answers = compare(tested, {label: row["design"] for label, row in committed[question].items()})
        for label, row in committed[question].items():
            assert answers[label]["oa"] == pytest.approx(row["oa"], abs=1e-6)
            np.testing.assert_allclose(answers[label].get("difference", ()), row.get("difference", ()), atol=1e-6)


@pytest.mark.parametrize("shift", ["", "0", "1", "3"])
@pytest.mark.parametrize("stream", ["s2", "ge", "fused"])
def test_the_drop_in_a_new_city_is_computed_again(stream, shift):
    stem = "06_shift" if shift else "06_transfer"
    committed = json.loads((EVIDENCE / f"{stem}.json").read_text())["numbers"]
    drop = committed["drop"][stream][shift] if shift else committed[stream]["drop"]
    zones = read_zones(EVIDENCE / "predictions" / (f"{stem}-{shift}.csv.gz" if shift else f"{stem}.csv.gz"))
    seen, unseen = (zones[f"{stream} {part}"] for part in ("seen", "unseen"))
    same = seen["label"], seen["predicted"], unseen["predicted"], seen["polygon"]
    np.testing.assert_allclose(bootstrap_difference(*same, seeds=seen["seed"]), drop, atol=1e-6)
    assert seen["seed"].nunique() == 8
