"""The check fails where it should: altered numbers of every committed figure, other arithmetic, unlikely trainings."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from project import ROOT, draw, make_project, notebook
from scipy.stats import t

from lczlib.predictions import Predictions
from workflow.build import Build
from workflow.check import (
    Outcome,
    beyond_chance,
    chance,
    check,
    committed_figures,
    compared,
    exact_disagreements,
    outside,
    too_far,
)
from workflow.execute import execute
from workflow.numbers import CheckError, is_number, leaves, read_exactly
from workflow.publish import publish
from workflow.spread import spread_of, write_spread

COMMITTED = committed_figures(ROOT / "figures")
SPREAD = read_exactly(ROOT / "figures" / "spread.json")
SEEDS = int(SPREAD["seeds"])


def _disagreements(new: dict, old: dict) -> list[str]:
    """Of one figure among some thousand numbers that agree."""
    if old.get("follows_from", "training") in ("data", "predictions"):
        return list(exact_disagreements(new, old))
    stem = old["figure"]
    spread = SPREAD["spread"].get(stem, {})
    counts = {stem: compared(old, spread), "the rest": 8000}
    found = {stem: list(outside(new, old, spread))}
    return list(beyond_chance(Outcome(outside=found, statistical=counts), SEEDS))


def _altered(value: object, factor: float) -> object:
    """Numbers, nested, with every one but those about 0 multiplied."""
    if isinstance(value, dict):
        return {name: _altered(inner, factor) for name, inner in value.items()}
    if isinstance(value, list):
        return [_altered(inner, factor) for inner in value]
    return type(value)(factor) * value if is_number(value) and abs(value) > 1e-5 else value


@pytest.mark.parametrize("stem", COMMITTED)
@pytest.mark.parametrize("factor", [0, 1.5])
def test_altered_numbers_of_every_committed_figure_are_found(stem, factor):
    entry = COMMITTED[stem]
    numbers = [value for _, value in leaves(entry["numbers"]) if is_number(value) and abs(value) > 1e-5]
    assert not _disagreements(entry, entry)
    assert numbers, "a figure without numbers"
    found = len(_disagreements(entry | {"numbers": _altered(entry["numbers"], factor)}, entry))
    exact = entry.get("follows_from") in ("data", "predictions")
    assert found == len(numbers) if exact else found > 0


def test_the_spread_is_the_standard_deviation_in_the_places_of_the_numbers():
    values = ((0.5, 0.1, 0.3), (0.6, 0.1, 0.5), (0.7, 0.1, 0.4))
    tables = [
        {"oa": a, "f1": {"1": b, "2": [c, "text", None]}, "curve": [a] * (i + 1), "seen": i if i else None, "m": 7}
        for i, (a, b, c) in enumerate(values)
    ]
    spread = spread_of(tables)
    assert spread == {"oa": 0.1, "f1": {"2": [0.1, 0, 0]}, "curve": [0.1, None, None], "seen": None}
    new, old = {"numbers": tables[0]}, {"numbers": tables[2] | {"oa": 0.9}}
    assert list(outside(new, old, spread)) == []  # 0.4 are four deviations
    ((line, times),) = outside(new, {"numbers": tables[2] | {"oa": 0.91}}, spread)
    assert (line, times) == ("oa: 0.5, committed 0.91 (4.1 standard deviations)", pytest.approx(4.1))
    for altered in ({"m": 8}, {"f1": {"1": 0.2, "2": [0.3, "text", None]}}, {"f1": {"1": 0.1, "2": [0.3, "u", None]}}):
        ((line, times),) = outside(new, {"numbers": tables[2] | altered}, spread)
        assert line.endswith("(no seed changes it)")
    assert len(list(outside({"numbers": tables[0] | {"oa": None}}, old, spread))) == 1


def test_chance_is_that_of_two_draws_and_a_deviation_of_a_few_seeds():
    random = np.random.default_rng(0)
    seeds = random.normal(size=(200_000, 8))
    first, second = seeds[:, 0], random.normal(size=len(seeds))  # the committed run is one of the seeds, as seed 0 is
    free = random.normal(size=len(seeds))
    deviation = seeds.std(1, ddof=1)
    assert (abs(free - second) > 4 * deviation).mean() == pytest.approx(chance(8), rel=0.05)
    assert (abs(first - second) > 4 * deviation).mean() < chance(8)  # so that the limit is above what happens
    assert 0.9 * 0.01 < 1 - (1 - 2 * t.sf(too_far(500, 8) / 2**0.5, 7)) ** 500 < 0.01


def test_more_outside_than_chance_puts_there_or_one_that_is_far_is_a_fault():
    def faults(**found):
        counts = {"curve": 400, "cities": 40, "rest": 1000}
        return list(beyond_chance(Outcome(outside=found, statistical=counts), 8))

    some = [("oa: 1, committed 2 (5.0 standard deviations)", 5.0)]
    assert faults(curve=30 * some, cities=6 * some) == []  # 36 of 1440 are 2.5 %
    assert faults(curve=30 * some, cities=7 * some) == [
        "37 of 1440 numbers of trainings are outside, chance puts 2.5% there"
    ]
    assert faults(cities=10 * some) == []
    assert faults(cities=11 * some) == ["cities: 11 of 40 numbers are outside"]
    assert faults(rest=[("oa: 1", 16.0)]) == []
    assert faults(rest=[("oa: 1", 17.0)]) == ["rest: oa: 1, chance reaches 17"]


def test_a_figure_is_one_line_of_the_spread(tmp_path):
    builds = []
    for seed in range(8):
        build = Build(tmp_path / str(seed), "demo")
        build.figures.mkdir(parents=True)
        for stem in ("01_masks", "02_training", "04_alpha"):
            entry = {"figure": stem, "numbers": {"oa": seed / 10, "n": 5}}
            (build.figures / f"{stem}.json").write_text(json.dumps(entry))
        builds.append(build)
    assert write_spread(builds, tmp_path / "spread.json") == {"02_training": 1, "04_alpha": 1}
    assert json.loads((tmp_path / "spread.json").read_text()) == {
        "profile": "demo", "seeds": 8, "spread": {"02_training": {"oa": 0.245}, "04_alpha": {"oa": 0.245}}
    }  # fmt: skip
    assert (tmp_path / "spread.json").read_text().count("\n") == 4


TRAIN = 'import pathlib; p = pathlib.Path(work_dir, "predictions"); p.mkdir(exist_ok=True); '
TRAIN += '(p / "s2.npz").write_text("0.5")'
READ = 'import pathlib; given = float(pathlib.Path(work_dir, "predictions", "s2.npz").read_text())'


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Build:
    """A project whose notebook 04 trains, then computes from predictions; run and published."""
    project = make_project(tmp_path_factory.mktemp("published"))
    figures = [draw("04_data"), draw("04_fresh", "training", oa="0.7"), draw("04_alpha", "predictions", oa="given")]
    figures.append(draw("04_berlin", "training", "real Sentinel-2"))
    notebook(project, "04_alpha", READ, *figures, training=TRAIN)
    build = Build.of(root=project)
    build.folder.mkdir(parents=True)
    execute(build.notebooks["04"], build.folder / "executed" / "04.json", build.parameters("04"))
    publish(build, ["04"])
    (project / "figures" / "spread.json").write_text('{"seeds": 8, "spread": {}}')
    return build


@pytest.fixture
def project(published, tmp_path) -> Build:
    shutil.copytree(published.root, tmp_path / "project")
    return Build.of(root=tmp_path / "project")


def _alter(path: Path, value: float) -> None:
    entry = json.loads(path.read_text())
    entry["numbers"]["oa"] = value
    path.write_text(json.dumps(entry))


def test_published_are_figures_and_predictions_but_no_picture_of_real_imagery(published):
    names = {path.name for path in (published.root / "figures").rglob("*") if path.is_file()}
    stems = ("04_data", "04_fresh", "04_alpha")
    assert names == {f"{s}.{end}" for s in stems for end in ("png", "pdf", "json")} | {
        "04_berlin.json", "published.json", "s2.npz", "spread.json"
    }  # fmt: skip


def test_of_the_evidence_answers_are_published_as_png_with_what_they_follow_from(tmp_path):
    project = make_project(tmp_path)
    (project / "notebooks" / "params" / "evidence.yaml").write_text("common: {n_seeds: 2}")
    build = Build.of("evidence", root=project)
    build.figures.mkdir(parents=True)
    for stem, kind in (("04_alpha", "predictions"), ("04_example", "data"), ("02_training", "training")):
        for suffix in ("png", "pdf"):
            (build.figures / f"{stem}.{suffix}").write_bytes(b"picture")
        entry = {"figure": stem, "follows_from": kind, "data": "synthetic", "numbers": {}}
        (build.figures / f"{stem}.json").write_text(json.dumps(entry))
    frame = pd.DataFrame(
        {"id": range(3), "split": ["train", "validation", "test"], "city": "a", "polygon": "b", "label": 1}
    )
    Predictions(frame, np.eye(17)[:3]).save(build.folder / "predictions" / "s2_polygon_pool_0.npz")
    target = publish(build, ["04"])
    names = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert names == {"04_alpha.png", "04_alpha.json", "predictions/s2_polygon_pool_0.npz"}
    kept = Predictions.load(target / "predictions" / "s2_polygon_pool_0.npz")
    assert kept.frame["split"].tolist() == ["validation", "test"]
    np.testing.assert_array_equal(kept.p, np.eye(17)[1:3])


def test_each_kind_of_number_is_checked_in_its_own_way(project):
    committed = project.root / "figures"
    (project.figures / "04_berlin.json").unlink()  # a machine without the real samples
    outcome = check(project, ["04"])
    assert outcome.lines == []
    assert (outcome.exact, outcome.statistical) == (4, {"04_fresh": 2, "04_alpha": 2})
    assert outcome.absent == ["04_berlin"]
    (committed / "spread.json").write_text('{"seeds": 8, "spread": {"04_fresh": {"oa": 0.1}, "04_alpha": {"oa": 0.2}}}')
    _alter(project.figures / "04_alpha.json", 0.6)  # another processor trained another network
    _alter(project.figures / "04_fresh.json", 0.4)
    assert check(project, ["04"]).lines == []
    for stem, value in (("04_data", 0.60001), ("04_alpha", 0.50001), ("04_fresh", 0.85)):
        before = (committed / f"{stem}.json").read_bytes()
        _alter(committed / f"{stem}.json", value)
        outcome = check(project, ["04"])
        if stem == "04_fresh":
            assert [line for line, _ in outcome.outside[stem]] == ["oa: 0.4, committed 0.85 (4.5 standard deviations)"]
            assert outcome.lines[-1] == "1 of 4 numbers of trainings are outside, chance puts 2.5% there"
        else:
            assert outcome.lines[0].startswith(f"{stem}: oa: ")
        (committed / f"{stem}.json").write_bytes(before)


def test_predictions_altered_or_missing_and_figures_that_come_or_go_are_found(project):
    committed = project.root / "figures"
    (committed / "predictions" / "s2.npz").write_text("0.75")
    assert [line.split(" (")[0] for line in check(project, ["04"]).lines] == ["04_alpha: oa: 0.75 | 0.5"]
    shutil.rmtree(committed / "predictions")
    with pytest.raises(CheckError, match="no committed predictions"):
        check(project, ["04"])
    (committed / "04_alpha.json").unlink()
    (project.figures / "04_data.json").unlink()
    assert check(project, ["04"]).lines == [
        "04_data: committed, but not made here",
        "04_alpha: made here, not committed",
    ]
