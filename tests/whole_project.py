"""A copy of this project, its `run_all.sh`, and what that leaves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS, FILES = ("lczlib", "lczworld", "notebooks", "workflow", "figures"), ("run_all.sh", "Snakefile")


def copy_project(folder: Path) -> Path:
    """What a run needs of this project, in a folder of its own."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    for name in FILES:
        shutil.copy2(ROOT / name, folder)
    return folder


def run_all(project: Path, *arguments: str) -> str:
    """`run_all.sh` of a copy, in this environment, to its end; returns what it printed."""
    environment = os.environ | {"PYTHONPATH": str(project), "VIRTUAL_ENV": sys.prefix, "LCZ_REALDATA": ""}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    command = ["./run_all.sh", *arguments]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


def figures_that_say_all(folder: Path) -> dict[str, dict]:
    """The JSON of every figure, by its stem; each has a picture, a PDF, and everything that a reader asks."""
    entries = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    for stem, entry in entries.items():
        assert (folder / f"{stem}.png").stat().st_size > 2000
        assert (folder / f"{stem}.pdf").exists()
        assert all(entry[name] for name in ("data", "question", "caption", "alt", "follows_from", "numbers")), stem
    return entries
