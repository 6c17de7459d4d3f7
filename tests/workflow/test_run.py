"""The runner on small notebooks: what is run, what is kept, what a kill leaves, one line for what a user can mend."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from browser import errors, open_browser
from processes import ended, within
from project import ROOT, draw, make_project, notebook, run, start

from lczlib.errors import InputError
from workflow.__main__ import main
from workflow.build import Build, missing_inputs
from workflow.build import _digests as sources
from workflow.execute import NotebookError, execute

WAIT = """
import os, pathlib, time
here = pathlib.Path(work_dir)
if not (here / "go").exists():
    (here / "at_work").write_text(f"{os.getpid()} {os.getppid()}")
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, str]:
    """A project of four notebooks after a run, and what it printed; a hub offers a kernel that cannot start."""
    project = make_project(tmp_path_factory.mktemp("finished"))
    notebook(project, "00_first", draw("00_first"))
    notebook(project, "04_second", draw("04_second", "training"))
    notebook(project, "09_nothing", "print('no clone here')\nraise SystemExit(0)", draw("09_nothing"))
    notebook(project, "demo", draw("demo_pair"))
    kernel = project / "share" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    other = {"argv": [shutil.which("false"), "{connection_file}"], "display_name": "another", "language": "python"}
    kernel.write_text(json.dumps(other))
    status, output, error = run(project, JUPYTER_PATH=str(project / "share"))
    assert status == 0, output + error
    return project, output


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_run_writes_into_build_only_and_prints_a_table(finished):
    project, output = finished
    assert _names(project / "figures") == {"published.json"}
    figures = project / "build" / "demo" / "figures"
    assert _names(figures) == {
        f"{s}.{end}" for s in ("00_first", "04_second", "demo_pair") for end in ("png", "pdf", "json")
    }
    assert json.loads((figures / "04_second.json").read_text())["numbers"]["oa"] == 0.6
    rows = [line.split() for line in output.split("figure files\n")[1].splitlines()]
    assert [row[0] for row in rows[:4]] == ["00_first", "04_second", "09_nothing", "demo"]
    assert [row[2] for row in rows[:4]] == ["00_first", "04_second", "-", "demo_pair"]


def test_the_report_is_a_site_without_a_dead_link_and_nothing_from_elsewhere(finished):
    site = finished[0] / "build" / "demo" / "site"
    pages = sorted(site.rglob("*.html"))
    assert [str(page.relative_to(site)) for page in pages] == [
        "index.html", *(f"notebooks/{name}.html" for name in ("00_first", "04_second", "09_nothing", "demo"))
    ]  # fmt: skip
    for page in pages:
        text = page.read_text()
        targets = re.findall(r'(?:href|src)="(?!https?:|data:|#)([^"#]+)', text)
        assert all((page.parent / target).exists() for target in targets), targets
        assert not re.search(r'<script|(?:src|<link[^>]*href)="https?:', text)
        assert all(re.search(r'alt="[^"]+', image) for image in re.findall("<img[^>]*>", text))
    index = pages[0].read_text()
    assert index.count("<figure ") == 3
    assert "OA of <em>one</em> seed." in index
    assert "&lt;" not in index.split("ledger")[1]
    assert '<math alttext="\\alpha \\in [0, 1]"' in pages[1].read_text()


def test_the_report_fits_a_phone_and_a_browser_finds_no_fault(finished):
    with open_browser(390) as driver:
        for page in (finished[0] / "build" / "demo" / "site").rglob("*.html"):
            driver.get(page.as_uri())
            assert driver.execute_script("return document.documentElement.scrollWidth") <= 390
            assert not errors(driver)


def test_a_notebook_that_has_nothing_to_do_ends_early_without_a_fault(finished):
    page = (finished[0] / "build" / "demo" / "site" / "notebooks" / "09_nothing.html").read_text()
    assert "no clone here" in page
    assert "An exception has occurred" not in page
    assert "UserWarning" not in page


def _fresh(output: str) -> dict[str, bool]:
    """Which notebooks of the table were executed in this run."""
    rows = output.split("figure files\n")[1].splitlines()[:4]
    return {line.split()[0]: "up to date" not in line for line in rows}


def test_what_has_changed_is_run_again_alone_and_a_failing_notebook_is_one_line(finished):
    project, _ = finished
    (project / "notebooks" / "00_first.ipynb").touch()
    (project / "build" / "demo" / "figures" / "demo_pair.pdf").unlink()  # a lost figure is made again
    notebook(project, "04_second", draw("04_second", "training"), "raise ValueError('no such\\nzone')")
    status, _, error = run(project, "--jobs", "2")
    assert status == 1
    assert error == (
        "error: 04_second.ipynb failed in cell 4: ValueError: no such zone; see build/demo/executed/04_second.ipynb\n"
    )
    assert (project / "build" / "demo" / "figures" / "demo_pair.pdf").exists()
    notebook(project, "04_second", draw("04_second", "training"), "1 + 1")
    status, output, error = run(project)
    assert status == 0, error
    assert _fresh(output) == {"00_first": False, "04_second": True, "09_nothing": False, "demo": False}


HUBS = {  # where another kernel lies, and what the environment says; relative to a folder that is also HOME
    "of the user": (".local/share/jupyter", {}),
    "on a path of several": ("b", {"JUPYTER_PATH": "{home}/a::{home}/b", "JUPYTER_PREFER_ENV_PATH": "1"}),
    "on a path that is relative": ("share", {"JUPYTER_PATH": "share"}),
    "under a name that the notebook has": ("hub", {"JUPYTER_PATH": "{home}/hub"}),
}


@pytest.mark.parametrize("where", HUBS)
def test_notebooks_run_with_the_interpreter_that_runs_the_workflow(tmp_path, where):
    place, environment = HUBS[where]
    project = make_project(tmp_path)
    path = notebook(project, "00_first", "import pathlib, sys; pathlib.Path('../python').write_text(sys.executable)")
    name = "conda-env-gis-py" if "name" in where else "python3"
    path.write_text(path.read_text().replace('"name": "python3"', f'"name": "{name}"'))
    kernel = project / place / "kernels" / name / "kernel.json"
    kernel.parent.mkdir(parents=True)
    other = {"argv": [shutil.which("false"), "{connection_file}"], "display_name": "another", "language": "python"}
    kernel.write_text(json.dumps(other))
    environment = {key: value.format(home=project) for key, value in environment.items()}
    kept = {key: value for key, value in os.environ.items() if not key.startswith("JUPYTER")}
    environment = kept | {"HOME": str(project), "PYTHONPATH": str(project)} | environment
    command = [sys.executable, "-m", "workflow.execute", path, project / "executed" / "00.json", "{}"]
    subprocess.run(list(map(str, command)), cwd=project, env=environment, check=True)
    assert (project / "python").read_text() == sys.executable


def test_a_killed_kernel_is_one_line(tmp_path):
    project = make_project(tmp_path)
    path = notebook(project, "00_first", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(NotebookError, match="its kernel died"):
        execute(path, project / "executed" / "00.json", {})


def test_stopped_it_leaves_nothing_at_work_and_goes_on_from_there(tmp_path):
    project = make_project(tmp_path)
    notebook(project, "02_first", draw("02_first"))
    notebook(project, "04_second", WAIT, draw("04_second"))
    note = project / "build" / "demo" / "at_work"
    for sent in (signal.SIGINT, signal.SIGKILL):
        running = start(project)
        assert within(60, lambda: note.exists() and len(note.read_text().split()) == 2)
        at_work = [psutil.Process(running.pid), *psutil.Process(running.pid).children(recursive=True)]
        os.kill(running.pid, sent)
        assert running.wait(60) == (130 if sent == signal.SIGINT else -sent)
        assert within(30, lambda these=at_work: ended(these))
        note.unlink()
    (project / "build" / "demo" / "go").touch()
    status, output, error = run(project)
    assert status == 0, error
    assert output.count("up to date") == 1  # the first was kept
    assert (project / "build" / "demo" / "figures" / "04_second.json").exists()


def test_of_two_at_once_one_waits_and_finds_it_done(tmp_path):
    project = make_project(tmp_path)
    notebook(project, "00_first", "import time; time.sleep(3)", draw("00_first"))
    both = [start(project), start(project)]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted("waiting for it to end" in output for output in outputs) == [False, True]
    assert sorted("up to date" in output for output in outputs) == [False, True]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--profile", "huge"], "unknown profile 'huge'; expected one of demo"),
        (["--data", "nowhere"], "nowhere"),
        (["--only", "17"], "no notebook '17'; expected one of 00, 01"),
        (["--publish", "--profile", "smoke"], "only the demo and the evidence profile are published"),
        (["--spread", "3"], "a standard deviation needs 8 seeds"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_exit_1(capsys, arguments, words):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_build_of_other_sources_is_neither_published_nor_checked(tmp_path):
    project = make_project(tmp_path)
    build = Build.of(root=project)
    build.keep_sources()
    build.require_its_sources()
    (project / "lczlib").mkdir()
    (project / "lczlib" / "training.py").write_text("rate = 0.1")
    sources.cache_clear()
    with pytest.raises(InputError, match="are of other sources; delete it"):
        build.require_its_sources()


def test_a_check_of_another_run_than_the_committed_is_a_usage_error():
    with pytest.raises(SystemExit) as usage:
        main(["--check", "--seed", "3"])
    assert usage.value.code == 2


def test_another_number_of_seeds_replaces_that_of_the_profile_wherever_it_has_one():
    whole, two = Build.of("evidence"), Build.of("evidence", seeds=2)
    assert two.folder != whole.folder
    assert two.parameters("07")["n_seeds"] == [2] * 4
    assert two.parameters("06")["training"] == whole.parameters("06")["training"] | {"n_seeds": 2}
    assert two.before("05") == ["02", "03", "seeds/1/02", "seeds/1/03"]
    with pytest.raises(InputError, match="has no other number of seeds"):
        Build.of("demo", seeds=2)


def test_seed_and_sam_have_folders_of_their_own_and_share_the_data():
    builds = [Build.of(), Build.of(seed=3), Build.of(sam="vit_b"), Build.of("smoke")]
    assert len({build.folder for build in builds}) == 4
    notebook_dirs = [build.parameters("02")["data_dir"] for build in builds]
    assert notebook_dirs == ["../build/demo/data"] * 3 + ["../build/smoke/data"]
    assert builds[1].parameters("02")["seed"] == 3
    assert "seed" not in builds[0].parameters("02")  # the literals of the notebook are the demo
    assert len({build.state("02") for build in builds}) == 4


def test_profiles_set_what_notebooks_declare():
    from workflow.build import declared_parameters

    for profile in ("smoke", "paper", "evidence"):
        sizes = Build.of(profile).sizes
        stems = {path.stem: path for path in Build.of().notebooks.values()}
        assert sizes.keys() <= {"common", *stems}
        for stem, values in sizes.items():
            if stem != "common":
                assert values.keys() <= declared_parameters(stems[stem]), f"{profile}.yaml: {stem}"


def test_notebooks_that_read_several_seeds_come_after_the_trainings_of_all():
    build = Build.of("evidence")
    assert build.before("05") == ["02", "03", *(f"seeds/{k}/{name}" for k in range(1, 8) for name in ("02", "03"))]
    assert Build.of().before("05") == ["02", "03"]
    first, third = build.parameters("02"), build.parameters("seeds/3/02")
    assert third == first | {"seed": 3, "figures_dir": "../build/evidence/seeds/3"}
    assert build.source("seeds/3/02") == build.source("02")
    assert build.state("seeds/3/02") != build.state("02")


def _pairs(graphs: bool = True, rgb: bool = True, cities: tuple = ("a", "b", "c")) -> SimpleNamespace:
    return SimpleNamespace(has_graphs=graphs, has_rgb=rgb, cities=cities)


@pytest.mark.parametrize(
    ("pairs", "skipped", "words"),
    [
        (_pairs(), [], ""),
        (_pairs(rgb=False), ["01"], "masks need RGB patches"),
        (_pairs(cities=("a", "a")), ["06"], "three named cities"),
        (_pairs(cities=("",) * 3, rgb=False), ["01", "06"], "three named cities"),
        (_pairs(graphs=False, rgb=False), ["01", "03", "04", "05", "06", "07", "08"], "these pairs have neither"),
    ],
)
def test_what_the_data_lack_is_skipped_with_the_reason(pairs, skipped, words):
    lacking = missing_inputs(pairs)
    assert sorted(lacking) == skipped
    assert words in lacking.get(skipped[-1] if skipped else "", "")
    chosen = Build(ROOT, "demo", lacking=lacking).chosen()
    assert "00" in chosen
    assert not set(chosen) & set(skipped)


@pytest.mark.parametrize(("active", "used"), [
    ({}, "own"), ({"CONDA_PREFIX": "/c", "CONDA_DEFAULT_ENV": "base"}, "own"),
    ({"CONDA_PREFIX": "/c", "CONDA_DEFAULT_ENV": "lczlib"}, "active"), ({"VIRTUAL_ENV": "/v"}, "active"),
])  # fmt: skip
def test_an_active_environment_is_used_but_never_that_of_conda_itself(tmp_path, active, used):
    shutil.copy2(ROOT / "run_all.sh", tmp_path)
    names = ["requirements.txt", "pyproject.toml"]
    for name in names:
        (tmp_path / name).touch()
    lock = subprocess.run(["cksum", *names], cwd=tmp_path, capture_output=True, check=True)
    for folder, says in ((tmp_path / ".venv" / "bin", "own"), (tmp_path / "bin", "active")):
        folder.mkdir(parents=True)
        (folder / "python").write_text(f"#!/bin/sh\necho {says}\n")
        (folder / "python").chmod(0o755)
    (tmp_path / ".venv" / "lock").write_bytes(lock.stdout)
    environment = {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"} | active
    done = subprocess.run(["./run_all.sh"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {used}
