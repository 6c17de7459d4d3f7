"""Bring the notebooks of a build up to date through the `Snakefile`, and tell the outcome."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from filelock import FileLock, Timeout

from lczlib.compute import cpu_count
from lczlib.runs import read_json
from workflow.build import LEFT_OUT, Build
from workflow.numbers import CheckError

_SNAKEMAKE = "import os; from workflow.execute import end_with; end_with(os.getppid()); "
_SNAKEMAKE += "from snakemake.cli import main; main()"


class RunError(CheckError):
    """A notebook failed; the text is one line that says which, where and what to do."""


def default_jobs() -> int:
    """Notebooks side by side where nobody says: two; one on one core, or where they would share a GPU's memory."""
    gpu = any(shutil.which(tool) for tool in ("nvidia-smi", "rocm-smi"))
    return 1 if gpu else min(2, cpu_count())


def bring_up_to_date(build: Build, jobs: int, only: str = "") -> list[dict[str, object]]:
    """Execute the notebooks whose outcome is not there, `jobs` at a time; returns one row for each notebook.

    Of two calls on one folder the second waits for the first. What a stopped call has finished is kept.

    Raises:
        RunError: a notebook failed. InputError: no notebook `only`.
    """
    paths = [build.folder / "executed" / f"{name}.json" for name in build.chosen(only)]
    build.keep_sources()
    lock = FileLock(build.folder / ".lock")
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        print(f"another run is at work in {build.folder.name}; waiting for it to end ...", flush=True)
        held = lock.acquire()
    with held:
        for path in paths:  # a lost figure is made again
            if path.exists() and not all((build.figures / figure).exists() for figure in read_json(path)["figures"]):
                path.unlink()
        begun = time.time()
        _snakemake(build, jobs, only)
    rows = [read_json(path) | {"fresh": path.stat().st_mtime >= begun} for path in paths]
    skipped = {} if only else build.skipped
    return rows + [{"notebook": name, "skipped": reason} for name, reason in skipped.items()]


def _snakemake(build: Build, jobs: int, only: str) -> None:
    given = {"data": build.given.get("data_dir")} | {name: build.given.get(name) for name in ("sam", "seed", "seeds")}
    left_out = ",".join(name for name, reason in build.lacking.items() if reason == LEFT_OUT)
    config = {"profile": build.profile, "only": only, "without": left_out} | given
    command = ["--snakefile", build.root / "Snakefile", "--directory", build.folder, "--cores", jobs, "--nolock"]
    command += ["--rerun-incomplete", "--rerun-triggers", "params", "input", "--config"]
    command += [f"{name}={json.dumps(value)}" for name, value in config.items() if value not in (None, "")]
    for stale in (build.folder / "executed").glob("*.error"):
        stale.unlink()
    log = build.folder / "snakemake.log"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(build.root), os.environ.get("PYTHONPATH", "")])}
    with log.open("w", encoding="utf-8") as stderr:
        child = subprocess.Popen(
            [sys.executable, "-c", _SNAKEMAKE, *map(str, command)], cwd=build.root, env=environment, stderr=stderr
        )
        try:
            status = child.wait()
        except KeyboardInterrupt:
            child.kill()  # its notebooks end with it
            raise
    errors = [path.read_text(encoding="utf-8") for path in sorted((build.folder / "executed").glob("*.error"))]
    if errors:
        raise RunError(errors[0])
    if status:
        remedy = f"call again to go on from here; see {log}"
        raise RunError(f"a process of the workflow was killed (out of memory?); {remedy}")


def print_table(rows: list[dict[str, object]]) -> None:
    """Notebook, seconds, figure files; why a notebook was skipped."""
    width = max(len(str(row["notebook"])) for row in rows)
    print(f"\n{'notebook':{width}}  seconds  figure files")
    for row in sorted(rows, key=lambda row: (str(row["notebook"])[0].isalpha(), row["notebook"])):
        if "skipped" in row:
            print(f"{row['notebook']:{width}}        -  skipped: {row['skipped']}")
        else:
            stems = ", ".join(sorted({Path(name).stem for name in row["figures"]})) or "-"
            kept = "" if row["fresh"] else "  (up to date)"
            print(f"{row['notebook']:{width}}  {row['seconds']:7.1f}  {stems}{kept}")
