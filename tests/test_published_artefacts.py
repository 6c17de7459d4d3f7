"""A generated copy of the published layout: the numbers of notebook 09, what it opens, what nothing must execute."""

import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from published_layout import make_published
from whole_project import ROOT, copy_project, figures_that_say_all, run_all

from lczlib.data import open_pairs, split_pairs

NOTEBOOK = ROOT / "notebooks" / "09_published_artefacts.ipynb"
PAIRS = 120
SMALL = {"n_seeds": 2, "ge_epochs": 3, "s2_epochs": 1, "s2_width": 2, "draws": 10}
WATCH = """
import os, sys
def note(event, arguments):
    if event == "open" and str(arguments[0]).startswith(os.environ["WATCHED"]):
        with lock: os.write(log, f"{arguments[0]}\\n".encode())
import threading
lock = threading.Lock()
log = os.open(os.environ["WATCH_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
sys.addaudithook(note)
"""


def run_notebook(folder: Path, data: Path, **environment: str) -> Path:
    """Execute notebook 09 on these data; returns the folder of what it leaves."""
    values = {"data_dir": str(data), "work_dir": str(folder), "figures_dir": str(folder / "figures")} | SMALL
    command = [sys.executable, "-m", "workflow.execute", str(NOTEBOOK), str(folder / "09.json"), json.dumps(values)]
    paths = os.pathsep.join([str(folder), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": paths, "LOKY_MAX_CPU_COUNT": "1"} | environment
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> tuple[Path, np.ndarray]:
    """The generated copy, and the probabilities that its weights give."""
    data = tmp_path_factory.mktemp("published") / "LCZC-GES2"
    return data, make_published(data, PAIRS, data.parent / "executed")


@pytest.fixture(scope="module")
def done(copy, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    (folder / "sitecustomize.py").write_text(WATCH)
    return run_notebook(folder, copy[0], WATCHED=str(copy[0]), WATCH_LOG=str(folder / "opened"))


def numbers(folder: Path, stem: str) -> dict:
    return json.loads((folder / "figures" / f"{stem}.json").read_text())["numbers"]


def test_every_figure_is_stamped_as_published_data(done):
    entries = [json.loads(path.read_text()) for path in (done / "figures").glob("*.json")]
    assert {entry["figure"] for entry in entries} == {
        "09_weights", "09_training", "09_confusion", "09_alpha_random", "09_alpha_polygon"
    }  # fmt: skip
    assert {entry["data"] for entry in entries} == {"LCZC-GES2"}


def test_published_weights_are_scored_on_both_published_splits(copy, done):
    data, p = copy
    pairs, found = open_pairs(data), numbers(done, "09_weights")
    right = p.argmax(1) + 1 == pairs.labels
    for name, strategy in (("random", "sample_pool"), ("polygon", "polygon_pool")):
        split = split_pairs(pairs, strategy)
        for part in ("train", "validation", "test"):
            expected = right[getattr(split, part)].mean()
            assert found["published"][name][part][0] == pytest.approx(expected, abs=1e-5)


def test_the_ends_of_the_alpha_curve_are_the_streams(done):
    curve, found = numbers(done, "09_alpha_random")["curves"]["test"], numbers(done, "09_training")
    assert curve["value"][-1] == found["test"]["random"][0]
    assert (curve["alpha"][0], curve["alpha"][-1]) == (0, 1)


def test_each_file_is_read_once_and_no_pickle_is_executed(copy, done):
    data, _ = copy
    opened = Counter((done / "opened").read_text().splitlines())
    kinds = {"sen2_img_patches": PAIRS, "gg_nodes_refine": PAIRS, "patches_split": 2}
    for kind, count in kinds.items():
        times = [opened[str(path)] for path in (data / kind).iterdir()]
        assert times == [1] * count
    assert not (data.parent / "executed").exists()


def test_the_trap_would_have_been_noticed(copy):
    data, _ = copy
    with (
        pytest.raises(pickle.UnpicklingError),
        np.load(data / "gg_nodes_refine" / "graph_0.npz", allow_pickle=True) as stored,
    ):
        _ = stored["e"]
    assert (data.parent / "executed").exists()
    (data.parent / "executed").unlink()


def test_the_other_notebooks_run_without_rgb_patches_and_index(copy, tmp_path):
    data, _ = copy
    project = copy_project(tmp_path / "project")
    run_all(project, "--profile", "smoke", "--data", str(data), "--only", "05")
    (figures,) = project.glob("build/smoke-*/figures")
    entries = figures_that_say_all(figures)
    assert {stem[:2] for stem in entries} == {"02", "03", "05"}
    assert {entry["data"] for entry in entries.values() if entry["data"] != "none"} == {"LCZC-GES2"}
    assert not (data.parent / "executed").exists()
