"""The runner on small notebooks of its own, and every real notebook in the smoke profile through run_all.sh."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest
import yaml
from processes import ended, within

from lczlib import report, reproduce
from lczlib.data import layout, open_pairs

ROOT = Path(__file__).parents[1]
DRAW = """
import json, pathlib
folder = pathlib.Path(figures_dir); folder.mkdir(parents=True, exist_ok=True)
numbers = {"oa": 0.5 + seed / 10, "name": "a"}
for suffix in ("png", "pdf"):
    (folder / f"{stem}.{suffix}").write_text("picture")
entry = {"figure": stem, "question": "1", "data": "synthetic", "parameters": {}, "seed": seed, "numbers": numbers}
(folder / f"{stem}.json").write_text(json.dumps(entry | {"tolerance": {"abs": 0.02, "rel": 0}}))
"""


def _notebook(path: Path, *cells: str) -> None:
    first = nbformat.v4.new_code_cell(f'stem: str = "{path.stem}"\nfigures_dir: str = "x"\nseed: int = 0')
    first.metadata["tags"] = ["parameters"]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [first, *map(nbformat.v4.new_code_cell, cells)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project of two notebooks, in a folder of its own."""
    (tmp_path / "notebooks" / "params").mkdir(parents=True)
    (tmp_path / "figures").mkdir()
    (tmp_path / "README.md").write_text("OA <!-- 00_first.oa:.2f -->?<!-- -->")
    (tmp_path / "notebooks" / "params" / "demo.yaml").write_text("common: {seed: 1}\n")
    _notebook(tmp_path / "notebooks" / "00_first.ipynb", DRAW)
    _notebook(tmp_path / "notebooks" / "04_second.ipynb", DRAW)
    monkeypatch.setattr(reproduce, "ROOT", tmp_path)
    return tmp_path


def test_a_run_leaves_figures_report_and_readme(project, capsys):
    assert reproduce.main([]) == 0
    assert json.loads((project / "figures" / "00_first.json").read_text())["numbers"]["oa"] == 0.6
    assert "0.60" in (project / "README.md").read_text()
    page = (project / "build" / "demo" / "index.html").read_text()
    assert "executed/04_second.html" in page
    assert "synthetic" in page
    assert "04_second" in capsys.readouterr().out


def test_what_has_not_changed_is_not_run_again(project, capsys):
    reproduce.main([])
    capsys.readouterr()
    assert reproduce.main([]) == 0
    assert capsys.readouterr().out.count("up to date") == 2
    _notebook(project / "notebooks" / "04_second.ipynb", DRAW, "1 + 1")
    reproduce.main([])
    assert capsys.readouterr().out.count("up to date") == 1
    (project / "build" / "demo" / "figures" / "00_first.png").unlink()  # a lost figure is made again
    reproduce.main([])
    assert (project / "build" / "demo" / "figures" / "00_first.png").exists()


def test_a_failing_notebook_stops_it_with_error_and_path(project, capsys):
    _notebook(project / "notebooks" / "00_first.ipynb", DRAW, "raise ValueError('no such zone')")
    assert reproduce.main([]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "ValueError: no such zone" in error
    assert "build/demo/executed/00_first.ipynb" in error
    assert not (project / "figures" / "00_first.json").exists()
    _notebook(project / "notebooks" / "00_first.ipynb", DRAW)  # mended: it goes on
    assert reproduce.main([]) == 0


MEET = """
import pathlib, time
here, there = (pathlib.Path(figures_dir).parent / name for name in ({0}, {1}))
here.touch()
end = time.monotonic() + 60
while not there.exists():
    assert time.monotonic() < end, "the other notebook does not run"
    time.sleep(0.05)
"""


def test_two_notebooks_run_side_by_side_and_numbers_are_those_of_one_by_one(project):
    _notebook(project / "notebooks" / "01_left.ipynb", DRAW, MEET.format("'left'", "'right'"))
    _notebook(project / "notebooks" / "02_right.ipynb", DRAW, MEET.format("'right'", "'left'"))
    assert reproduce.main(["--jobs", "2"]) == 0
    both = {path.name: path.read_bytes() for path in (project / "figures").glob("*.json")}
    shutil.rmtree(project / "build" / "demo" / "executed")  # left and right have met
    assert reproduce.main(["--jobs", "1"]) == 0
    assert both == {path.name: path.read_bytes() for path in (project / "figures").glob("*.json")}
    assert len(both) == 4


def test_a_notebook_begins_after_those_it_builds_on(project):
    for name in ("01_masks", "02_patches", "03_graphs"):
        _notebook(project / "notebooks" / f"{name}.ipynb", DRAW, "import time; time.sleep(0.5)")
    rows = reproduce.bring_all_up_to_date(reproduce.numbered_notebooks(), reproduce.make_plan("demo"), jobs=4)
    order = [row["notebook"] for row in rows]
    assert order.index("01_masks") < order.index("03_graphs")
    assert order[-1] == "04_second"  # after 02 and 03


def test_what_runs_when_another_fails_is_kept_and_no_other_begins(project, capsys):
    _notebook(project / "notebooks" / "01_slow.ipynb", DRAW, MEET.format("'slow'", "'failed'"))
    _notebook(project / "notebooks" / "02_fails.ipynb", MEET.format("'failed'", "'slow'"), "1 / 0")
    (project / "notebooks" / "00_first.ipynb").unlink()
    assert reproduce.main(["--jobs", "2"]) == 1
    assert "02_fails.ipynb failed in cell" in capsys.readouterr().err
    executed = {path.stem for path in (project / "build" / "demo" / "executed").glob("*.json")}
    assert executed == {"01_slow"}


@pytest.mark.parametrize(("killed", "words"), [("getpid", "its kernel died"), ("getppid", "its process was killed")])
def test_a_killed_process_is_one_line(project, capsys, killed, words):
    kill = f"import os, signal; os.kill(os.{killed}(), signal.SIGKILL)"
    _notebook(project / "notebooks" / "00_first.ipynb", DRAW, kill)
    assert reproduce.main([]) == 1
    assert capsys.readouterr().err.startswith(f"error: 00_first.ipynb: {words}")


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_stopped_or_killed_it_leaves_nothing_at_work(project, sent, code):
    tell = "import os, pathlib, time; pathlib.Path(figures_dir).parent.joinpath('at_work').write_text("
    tell += "f'{os.getpid()} {os.getppid()}'); time.sleep(600)"
    _notebook(project / "notebooks" / "00_first.ipynb", DRAW, tell)
    call = f"import sys, pathlib; from lczlib import reproduce; reproduce.ROOT = pathlib.Path({str(project)!r})"
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "  # "&" has it ignored
    call = heard + call
    running = subprocess.Popen([sys.executable, "-c", call + "; sys.exit(reproduce.main([]))"], start_new_session=True)
    note = project / "build" / "demo" / "at_work"
    assert within(60, lambda: note.exists() and len(note.read_text().split()) == 2)
    started = [psutil.Process(int(pid)) for pid in note.read_text().split()]
    if sent == signal.SIGINT:
        os.killpg(running.pid, sent)  # the group, as a terminal does
    else:
        running.kill()
    assert running.wait(60) == code
    assert within(30, lambda: ended(started))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--profile", "huge"], "unknown profile 'huge'; expected one of demo"),
        (["--data", "nowhere"], "nowhere: no index.csv"),
        (["--only", "17"], "no notebook '17'; expected one of 00, 04"),
    ],
)
def test_bad_input_is_one_line_and_exit_1(project, capsys, arguments, words):
    assert reproduce.main(arguments) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_check_finds_a_number_out_of_tolerance_and_leaves_the_figures(project, capsys):
    reproduce.main([])
    committed = project / "figures" / "04_second.json"
    entry = json.loads(committed.read_text())
    entry["numbers"]["oa"] += 0.01  # within the tolerance of 0.02
    committed.write_text(json.dumps(entry))
    assert reproduce.main(["--check"]) == 0
    entry["numbers"]["oa"] += 0.05
    committed.write_text(json.dumps(entry))
    assert reproduce.main(["--check"]) == 1
    assert "04_second: oa is 0.6" in capsys.readouterr().err
    assert json.loads(committed.read_text()) == entry
    with pytest.raises(SystemExit) as usage:
        reproduce.main(["--check", "--seed", "3"])
    assert usage.value.code == 2


def test_pictures_of_real_imagery_stay_here_and_may_be_missing(project):
    _notebook(project / "notebooks" / "08_real.ipynb", DRAW.replace('"synthetic"', '"real Sentinel-2"'))
    assert reproduce.main([]) == 0
    assert (project / "build" / "demo" / "figures" / "08_real.png").exists()
    assert sorted(path.name for path in (project / "figures").glob("08*")) == ["08_real.json"]
    _notebook(project / "notebooks" / "08_real.ipynb", "pass")  # on a machine without the real samples
    assert reproduce.main(["--check"]) == 0


def test_another_seed_has_a_folder_of_its_own(project):
    reproduce.main(["--seed", "3", "--only", "04"])
    assert not (project / "figures" / "04_second.json").exists()
    (folder,) = (project / "build").iterdir()
    assert json.loads((folder / "figures" / "04_second.json").read_text())["numbers"]["oa"] == 0.8


@pytest.mark.parametrize("rgb", [True, False])
@pytest.mark.parametrize("cities", [3, 1])
def test_what_the_data_do_not_allow_is_skipped_and_the_rest_runs(project, capsys, rgb, cities):
    data = project / "data"
    image = np.zeros((320, 320, 3), np.uint8) if rgb else None
    for i in range(3):
        layout.write_pair(data, i, np.full((32, 32, 10), 0.1), image, 2)
    if not rgb:
        (data / "gg_nodes_refine").mkdir()
    names = [str(i % cities) for i in range(3)]
    layout.write_index(data, pd.DataFrame({"id": range(3), "label": 2, "city": names, "polygon": ""}))
    for number in ("01", "06"):
        _notebook(project / "notebooks" / f"{number}_more.ipynb", DRAW)
    assert reproduce.main(["--data", str(data)]) == 0
    said = capsys.readouterr().out
    assert ("01_more: skipped: masks need RGB patches" in said) == (not rgb)
    assert ("06_more: skipped: transfer needs three named cities" in said) == (cities < 3)
    assert re.search(r"04_second: \d+ s", said)
    page = next(project.glob("build/demo-*/index.html")).read_text()
    assert page.count("skipped: ") == (not rgb) + (cities < 3)


def test_other_files_in_the_data_folder_are_other_data(project, capsys):
    data = project / "data"
    for i in range(2):
        layout.write_pair(data, i, np.full((32, 32, 10), 0.1), np.zeros((320, 320, 3), np.uint8), 2)
    assert reproduce.main(["--data", str(data)]) == 0
    assert reproduce.main(["--data", str(data)]) == 0
    assert "04_second: up to date" in capsys.readouterr().out
    layout.write_pair(data, 0, np.full((32, 32, 10), 0.1), np.ones((320, 320, 3), np.uint8), 2)
    assert reproduce.main(["--data", str(data)]) == 0
    assert "up to date" not in capsys.readouterr().out


def test_of_sentinel_2_alone_there_are_the_data_and_one_stream(project, capsys):
    data = project / "data"
    layout.write_pair(data, 0, np.full((32, 32, 10), 0.1), None, 2)
    assert reproduce.main(["--data", str(data)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"00_first: \d+ s", said)
    assert "04_second: skipped: neither RGB patches (google_img_320) nor shipped graphs" in said


def test_numbers_that_appear_or_vanish_differ():
    old = {"figure": "x", "numbers": {"a": 1.0, "b": ["u"]}, "tolerance": {"abs": 0.1}}
    assert report.differences({"numbers": {"a": 1.05, "b": ["u"]}}, old) == []
    assert len(report.differences({"numbers": {"a": 1.2, "b": ["v"], "c": 3}}, old)) == 3
    assert len(report.differences({"numbers": {"a": None, "b": ["u"]}}, old)) == 1


def test_other_kernels_may_differ_as_other_seeds_do():
    old = {
        "figure": "x",
        "instruction_set": "amx",
        "numbers": {"oa": 0.8, "f1": {"1": 0.5}},
        "tolerance": {"abs": 0.02},
    }
    spread = {"oa": 0.03, "f1": 0.001}
    same, other = ({"instruction_set": name, "numbers": {"oa": 0.9, "f1": {"1": 0.515}}} for name in ("amx", "fp32"))
    assert len(report.differences(same, old, spread)) == 1
    assert report.differences(other, old, spread) == []  # 4 x 0.03, and never less than the file's tolerance
    assert len(report.differences(other, old)) == 1
    assert len(report.differences(other | {"numbers": {"oa": 0.93, "f1": {"1": 0.53}}}, old, spread)) == 2


def test_spread_over_seeds_by_hand():
    values = ((0.5, 0.1, 0.3), (0.6, 0.1, 0.5), (0.7, 0.1, 0.4))
    tables = [{"oa": a, "f1": {"1": b, "2": [c, "text", None]}, "n": {str(a): 1}, "m": 7} for a, b, c in values]
    spread = report.spread_over_seeds([{"numbers": table} for table in tables])
    assert spread == {"f1": pytest.approx(0.1), "oa": pytest.approx(0.1)}


def test_check_says_where_it_was_made(project, capsys, monkeypatch):
    assert reproduce.main([]) == 0
    monkeypatch.setattr("lczlib.report.kernels_of", lambda folder: folder.parent.name)
    assert reproduce.main(["--check"]) == 0
    assert f"agrees with the committed figures (demo here, {project.name} there: within what" in capsys.readouterr().out


def test_a_number_the_readme_names_must_exist(tmp_path):
    (tmp_path / "README.md").write_text("<!-- 04_alpha.oa:.2f --><!-- -->")
    with pytest.raises(ValueError, match="no number 'oa' in 04_alpha"):
        report.fill_readme(tmp_path / "README.md", tmp_path)


def test_a_difference_of_shares_is_written_in_points(tmp_path):
    (tmp_path / "04_alpha.json").write_text('{"numbers": {"gain": [0.0271, -0.018]}}')
    (tmp_path / "README.md").write_text(
        "<!-- 04_alpha.gain.0:+.1p -->?<!-- --> (<!-- 04_alpha.gain.1:.0p -->?<!-- -->)"
    )
    report.fill_readme(tmp_path / "README.md", tmp_path)
    assert re.sub("<!--.*?-->", "", (tmp_path / "README.md").read_text()) == "+2.7 (-2)"


@pytest.mark.parametrize(("active", "used"), [
    ({}, "own"), ({"CONDA_PREFIX": "/c", "CONDA_DEFAULT_ENV": "base"}, "own"),
    ({"CONDA_PREFIX": "/c", "CONDA_DEFAULT_ENV": "lczlib"}, "active"), ({"VIRTUAL_ENV": "/v"}, "active"),
])  # fmt: skip
def test_an_active_environment_is_used_but_never_that_of_conda_itself(tmp_path, active, used):
    shutil.copy2(ROOT / "run_all.sh", tmp_path)
    for name in ("requirements.txt", "pyproject.toml"):
        (tmp_path / name).touch()
    lock = subprocess.run(
        ["cksum", "requirements.txt", "pyproject.toml"], cwd=tmp_path, capture_output=True, check=True
    )
    for folder, says in ((tmp_path / ".venv" / "bin", "own"), (tmp_path / "bin", "active")):
        folder.mkdir(parents=True)
        (folder / "python").write_text(f"#!/bin/sh\necho {says}\n")
        (folder / "python").chmod(0o755)
    (tmp_path / ".venv" / "lock").write_bytes(lock.stdout)
    environment = {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"} | active
    done = subprocess.run(["./run_all.sh"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {used}


def test_the_readme_says_what_the_committed_numbers_say(tmp_path):
    shutil.copy(ROOT / "README.md", tmp_path / "README.md")
    report.fill_readme(tmp_path / "README.md", ROOT / "figures")
    assert (tmp_path / "README.md").read_text() == (ROOT / "README.md").read_text()


def test_every_committed_picture_has_its_numbers_and_none_shows_real_imagery():
    pictures = {path.stem for path in (ROOT / "figures").glob("*.png")}
    numbers = {path.stem: json.loads(path.read_text()) for path in (ROOT / "figures").glob("*.json")}
    assert pictures
    assert pictures == {stem for stem, entry in numbers.items() if not report.is_real(entry)}
    assert {numbers[stem]["data"] for stem in pictures} == {"synthetic"}


# The committed notebooks


NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_follow_the_anatomy(path):
    cells = nbformat.read(path, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code), "committed without outputs"
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in cells) == 1
    assert cells[0].source.startswith("# ")
    assert "mybinder.org" in cells[0].source
    assert "colab" in cells[0].source
    titles = [line for cell in cells if cell.cell_type == "markdown" for line in cell.source.splitlines()]
    assert sum(line.startswith("# ") for line in titles) == 1
    source = "\n".join(cell.source for cell in code)
    assert "class " not in source
    assert "sys.path" not in source
    assert "filterwarnings" not in source


@pytest.mark.parametrize("path", [p for p in NOTEBOOKS if p.stem[:2].isdigit()], ids=lambda path: path.stem)
def test_the_parameters_cell_holds_the_demo_profile(path):
    sizes = yaml.safe_load((ROOT / "notebooks" / "params" / "demo.yaml").read_text())
    cells = nbformat.read(path, as_version=4).cells
    (cell,) = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    literals: dict = {}
    exec(cell.source, {}, literals)
    literals.pop("__annotations__", None)
    wanted = sizes.get("common", {}) | sizes.get(path.stem, {})
    unknown = sizes.get(path.stem, {}).keys() - literals.keys()
    assert not unknown, f"the profile sets what the notebook does not have: {unknown}"
    assert {name: literals[name] for name in wanted if name in literals} == {
        name: value for name, value in wanted.items() if name in literals
    }


@pytest.mark.parametrize("profile", ["smoke", "paper"])
def test_profiles_set_the_same_names(profile):
    read = [yaml.safe_load((ROOT / "notebooks" / "params" / f"{name}.yaml").read_text()) for name in ("demo", profile)]
    assert {section: set(values) for section, values in read[0].items()} == {
        section: set(values) for section, values in read[1].items()
    }


def _copy_of_the_project(folder: Path) -> Path:
    for name in ("lczlib", "lczworld", "notebooks", "workflow"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    for name in ("run_all.sh", "README.md"):
        shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.mark.notebooks
def test_every_notebook_runs_through_run_all(tmp_path):
    project = _copy_of_the_project(tmp_path)
    environment = os.environ | {"VIRTUAL_ENV": sys.prefix, "PYTHONPATH": str(project)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    command = ["./run_all.sh", "--profile", "smoke"]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    folder = project / "build" / "smoke"
    stems = {path.stem for path in (folder / "figures").glob("*.json")}
    assert {stem[:2] for stem in stems} == {path.stem[:2] for path in NOTEBOOKS if path.stem[:2].isdigit()}
    for stem in stems:
        assert (folder / "figures" / f"{stem}.png").stat().st_size > 2000
        assert (folder / "figures" / f"{stem}.pdf").exists()
        assert json.loads((folder / "figures" / f"{stem}.json").read_text())["data"]
    assert (folder / "index.html").exists()
    again = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=True)
    assert again.stdout.count("up to date") == len([p for p in NOTEBOOKS if p.stem[:2].isdigit()])
    data = _published_without_rgb(folder / "data", tmp_path / "published")
    command += ["--data", str(data)]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    skipped = [line.split(":")[0] for line in done.stdout.splitlines() if ": skipped: " in line]
    assert sorted(skipped) == ["01_sam_instances", "06_transfer_tests"]
    (figures,) = project.glob("build/smoke-*/figures")
    assert {json.loads(path.read_text())["data"] for path in figures.glob("0[2345]_*.json")} == {"LCZC-GES2"}


def _published_without_rgb(synthetic: Path, target: Path, labels: tuple[int, ...] = (2, 5, 6, 8, 11, 14, 17)) -> Path:
    """Pairs of some zones in the published layout as its repository comes: no index, no RGB, graphs of 1 to 5 nodes."""
    pairs = open_pairs(synthetic)
    (target / "gg_nodes_refine").mkdir(parents=True)
    for i, label, s2 in zip(pairs.ids, pairs.labels, pairs.s2):
        if label in labels:
            layout.write_pair(target, i, s2, None, label)
            x = np.random.default_rng(i).random((1 + i % 5, 5))
            np.savez(target / "gg_nodes_refine" / f"graph_{i}.npz", x=x, a=np.zeros((len(x), len(x))))
    return target
