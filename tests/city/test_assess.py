"""Runs beside a random forest: honest pairs, scikit-learn's numbers, wrong training areas found, a sheet to read."""

import json
import re
from functools import partial
from shutil import copytree

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, f1_score

from lczlib.__main__ import main
from lczlib.city import assess as module
from lczlib.city.assess import MEASURES, assess, forest_features, resample_areas, seen_in_training
from lczlib.city.factsheet import render, write_factsheet
from lczlib.data import layout, make_split, open_pairs
from lczlib.errors import InputError
from lczlib.models import load_stream
from lczlib.models.baselines import random_forest
from lczlib.models.inference import DEMO
from lczlib.predictions import Predictions
from lczlib.runs import to_jsonable, write_json
from lczlib.training import Recipe, train_stream
from lczlib.zones import SIMILARITY

ZONES, AREAS, PAIRS = (2, 3, 6, 11, 15, 17), 10, 2


def write_city(folder, city="Hongkong", seed=0, relabel=(), bright=0.35):
    """A city of 6 zones with 10 areas of 2 pairs each, LCZ D with one area; graphs as the published set ships them.

    Zones of 0.15 to `bright` reflectance, the same in every city; areas differ by 30 %.
    """
    means = np.random.default_rng(3).uniform(0.15, bright, (18, 10))
    rng, rows = np.random.default_rng(seed), []
    (folder / layout.GRAPH_FOLDER).mkdir(parents=True)
    for label, n in [(label, n) for label in ZONES for n in range(AREAS)] + [(14, 0)]:
        place = means[label] * rng.uniform(0.7, 1.3, 10)
        for _ in range(PAIRS):
            patch = (place + rng.normal(0, 0.03, (32, 32, 10))).clip(0).astype(np.float32)
            told = dict(relabel).get((label, n), label)
            layout.write_pair(folder, len(rows), patch, None, told)
            nodes = rng.random((5, 5), np.float32) / 2 + label / 40
            np.savez(folder / layout.GRAPH_FOLDER / f"graph_{len(rows)}.npz", x=nodes.astype(np.float32))
            rows.append((len(rows), told, city, f"{city}/{label}/{n:02d}"))
    layout.write_index(folder, pd.DataFrame(rows, columns=list(layout.INDEX_COLUMNS)))
    return folder


def train(data, work, stream="s2"):
    from lczlib.graphs import load_graphs

    pairs = open_pairs(data)
    inputs, name = (pairs.s2, "resnet3d11") if stream == "s2" else (load_graphs(pairs), "gcn")
    recipe, split = Recipe.of("demo", stream, epochs=4, width=4), make_split(pairs.index, "polygon_pool", 0)
    run = train_stream(stream, name, inputs, pairs.index, split, recipe, 0, work).run
    return run.publish(f"{stream}_0", data="own city").resolve()


def read(page):
    """The words of a page."""
    return " ".join(re.sub("<[^>]+>", " ", page).split())


@pytest.fixture(scope="module", autouse=True)
def few_trees():
    """Forests of 20 trees."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "random_forest", partial(random_forest, trees=20))
        yield


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    return write_city(tmp_path_factory.mktemp("city") / "Hongkong")


@pytest.fixture(scope="module")
def run(city, tmp_path_factory):
    return train(city, tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def both(city, run, tmp_path_factory):
    """Both runs and the numbers of them."""
    runs = [run, train(city, tmp_path_factory.mktemp("graphs"), "ge")]
    return runs, assess(city, runs, count=4)


def test_areas_are_put_aside_whole_and_by_zone(city):
    index = open_pairs(city).index
    seen = index["polygon"].str.endswith(("0", "1", "2", "3", "4", "5", "6")).to_numpy()
    for part in resample_areas(index, seen, seed=5, count=4):
        tested, rest = index[part], index[~part]
        assert not set(tested["polygon"]) & set(rest["polygon"])
        assert tested.groupby("label")["polygon"].nunique().to_dict() == dict.fromkeys(ZONES, 3)  # LCZ D: never
        assert index[part & ~seen].groupby("label")["polygon"].nunique().to_dict() == dict.fromkeys(ZONES, 1)
        assert set(rest["label"]) == {*ZONES, 14}


def test_the_forest_is_scikit_learns(city, monkeypatch):
    monkeypatch.setattr(module, "random_forest", random_forest)
    pairs, numbers = open_pairs(city), assess(city, count=2, seed=7)
    x, y = forest_features(pairs.s2), pairs.labels
    assert x.shape == (len(y), 64)
    ndvi = (pairs.s2[0, ..., 6] - pairs.s2[0, ..., 2]) / (pairs.s2[0, ..., 6] + pairs.s2[0, ..., 2])
    assert x[0, 10] == pytest.approx(ndvi.mean(), abs=1e-5)
    assert x[0, 26] == pytest.approx(ndvi.std(), abs=1e-5)
    for k, part in enumerate(resample_areas(pairs.index, np.zeros(len(y), bool), 7, 2)):
        found = RandomForestClassifier(200, random_state=7 + k).fit(x[~part], y[~part]).predict(x[part])
        true, built = y[part], (y[part] <= 10) & (found <= 10)
        no_e = (true != 15) & (found != 15)
        expected = {
            "OA": accuracy_score(true, found),
            "OA_u": accuracy_score(true[built], found[built]),
            "OA_bu": accuracy_score(true[no_e] <= 10, found[no_e] <= 10),
            "OA_w": SIMILARITY[true - 1, found - 1].mean(),
            "F1": f1_score(true, found, labels=ZONES, average="macro"),
        }
        ours = {name: numbers["methods"]["forest"][name]["resamples"][k] for name in MEASURES}
        assert ours == pytest.approx(expected)
    assert 0.3 < expected["OA"] < 1


def test_no_pair_tested_was_trained_on_by_any_method(city, run, monkeypatch):
    trained, compared = [], {}
    compare = module.compare_methods

    def watch_forest(train, labels, test, seed):
        trained.append((train, test))
        return random_forest(train, labels, test, seed, trees=5)

    def watch_compare(labels, found, areas, draw, seed):
        compared.update(areas=areas, found=found)
        return compare(labels, found, areas, draw, seed)

    monkeypatch.setattr(module, "random_forest", watch_forest)
    monkeypatch.setattr(module, "compare_methods", watch_compare)
    numbers = assess(city, [run], count=4)
    for one, other in trained:
        assert not set(map(bytes, one)) & set(map(bytes, other))
    frame = Predictions.load(run / "predictions.npz").frame
    known = set(frame.loc[frame["split"] != "test", "polygon"])
    answered = {area.split("\n")[1] for area in compared["areas"]}
    assert answered
    assert not answered & known
    assert {name: len(y) for name, y in compared["found"].items()} == dict.fromkeys(
        ["forest", "s2"], len(compared["areas"])
    )
    assert numbers["design"]["areas_compared"] == len(answered) <= 13
    assert numbers["runs"][0]["areas_known"] == len(known)


def test_areas_are_known_again_under_other_names_and_numbers(city, run, tmp_path):
    pairs, stream = open_pairs(city), load_stream(run)
    before = seen_in_training(stream, pairs, p := module.answer_pairs(stream, pairs))
    assert 0 < before.sum() < len(pairs)
    order = np.random.default_rng(0).permutation(len(pairs))  # cut again: other ids, other city, other numbers
    index = pairs.index.iloc[order].reset_index(drop=True).assign(id=range(len(pairs)), city="HK")
    index["polygon"] = "new " + index["polygon"]
    renamed = module.Pairs(tmp_path, index, pairs.kind, index["id"].to_numpy())
    np.testing.assert_array_equal(seen_in_training(stream, renamed, p[order]), before[order])
    other = open_pairs(write_city(tmp_path / "Wien", "Wien", seed=9))
    assert not seen_in_training(stream, other, module.answer_pairs(stream, other)).any()


def test_fusion_differences_and_matrices_belong_together(both):
    numbers = both[1]
    assert list(numbers["methods"]) == ["forest", "s2", "ge", "fused"]
    for found in numbers["methods"].values():
        cm = found["matrix"]
        assert np.trace(cm) / cm.sum() == pytest.approx(found["OA"]["value"])
        assert cm.sum() * 4 == pytest.approx(np.sum([m["matrix"].sum() for m in numbers["methods"].values()]))
        assert found["OA"]["low"] <= found["OA"]["value"] <= found["OA"]["high"]
    gain = numbers["differences"]["fused - forest"]["OA"]
    methods = numbers["methods"]
    assert gain.value == pytest.approx(methods["fused"]["OA"]["value"] - methods["forest"]["OA"]["value"])


def test_the_same_seed_gives_the_same_numbers(city, run):
    one, same, other = (json.dumps(to_jsonable(assess(city, [run], seed, count=2))) for seed in (1, 1, 2))
    assert one == same != other


def test_a_wrong_training_area_is_the_first_of_the_list(tmp_path):
    data = write_city(tmp_path / "city", relabel=[((11, 4), 17)], bright=0.6)
    first = assess(data, count=10)["suspicious"][0]
    assert (first["area"], first["label"], first["looks_like"]) == ("Hongkong/11/04", "G", "A")
    assert first["share"] == 1


def test_runs_that_know_all_or_none_of_the_areas(city, run, tmp_path):
    knows_all, record = copytree(run, tmp_path / "run"), Predictions.load(run / "predictions.npz")
    part = np.where(record.frame["id"] % 2, "test", "train")  # one of the two pairs of each area
    Predictions(record.frame.assign(split=part), record.p).save(knows_all / "predictions.npz")
    numbers = assess(city, [knows_all], count=2)
    assert list(numbers["methods"]) == ["forest"]
    assert "no honest number of theirs" in numbers["notes"][-1]
    numbers = assess(write_city(tmp_path / "Wien", "Wien", seed=9), [run], count=2)
    text = read(render(numbers, {"boxes": "", "matrices": ""}))
    assert "The runs know none of these areas, while the forest was trained on others beside them" in text
    assert "it knows 0 of the areas here" in text
    assert numbers["design"]["areas_compared"] > 20


def test_the_sheet_is_whole_and_plain(both, blocky, tmp_path):
    two = {name: both[1]["methods"][name] for name in ("forest", "fused")}  # fewer pictures to draw
    made = write_factsheet(tmp_path / "sheet", both[1] | {"methods": two}, blocky[2].path)
    assert [path.name for path in made] == ["factsheet.html", "factsheet.pdf", "factsheet.json", "lcz.kmz"]
    text = read(page := made[0].read_text())
    assert "both streams fused are right in" in text
    assert "LCZ D has one area: trained on, never tested." in text
    assert "nothing says that the runs assessed here made this map" in text
    assert "nan" not in text.lower().split()
    assert "know none of these areas" not in text
    assert page.count('<img alt="') == 3
    assert not re.findall(r'(?:src|href)="(?!data:|https://doi)', page)
    assert made[1].read_bytes().count(b"/Type /Page ") in (4, 5)
    assert set(json.loads(made[2].read_text())) >= {"methods", "differences", "suspicious", "design", "notes"}


def no_polygons(folder):
    data = write_city(folder / "city")
    index = pd.read_csv(data / "index.csv").assign(polygon="")
    layout.write_index(data, index)
    return [data], "122 pairs name no polygon"


def one_area_each(folder):
    data = write_city(folder / "city")
    index = pd.read_csv(data / "index.csv")
    layout.write_index(data, index[index["polygon"].str.endswith("/00")])
    return [data], "too few training areas (LCZ 2 1, "


def no_record(folder):
    run = copytree(DEMO / "demo-s2", folder / "run")
    write_json(run / "about.json", {"data": "own city"})
    return [write_city(folder / "city"), "--run", run], "predictions.npz is missing"


def two_of_one_stream(folder):
    return [write_city(folder / "city"), "--run", "demo-s2", "--run", "demo-s2"], "2 runs of one stream"


def no_rgb(folder):
    data = write_city(folder / "city")
    for path in (data / layout.GRAPH_FOLDER).iterdir():
        path.unlink()
    (data / layout.GRAPH_FOLDER).rmdir()
    return [data, "--run", "demo-ge"], "cut pairs with --rgb"


def no_map(folder):
    return [write_city(folder / "city"), "--map", folder / "none.tif"], "none.tif"


@pytest.mark.parametrize("make", [no_polygons, one_area_each, no_record, two_of_one_stream, no_rgb, no_map])
def test_each_fault_is_told_in_one_line(make, tmp_path, capsys):
    options, says = make(tmp_path)
    assert main(["assess", *map(str, options), "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert says in error[0]
    assert not (tmp_path / "out").exists()


def test_a_run_without_a_record_serves_where_its_pairs_are_of_another_kind(city):
    pairs = open_pairs(city)
    assert not seen_in_training(load_stream("demo-s2"), pairs, None).any()
    with pytest.raises(InputError, match="nothing tells which synthetic pairs"):
        seen_in_training(load_stream("demo-s2"), module.Pairs(city, pairs.index, "synthetic", pairs.ids), None)
