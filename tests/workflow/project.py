"""A project of a few small notebooks, run as `run_all.sh` runs the real one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[2]
SAVE = """
import json, pathlib
folder = pathlib.Path(figures_dir); folder.mkdir(parents=True, exist_ok=True)
entry = {"figure": stem, "question": "Why?", "caption": "OA of *one* seed.", "alt": "a bar", "data": data}
entry |= {"follows_from": kind, "parameters": {}, "seed": seed, "numbers": {"oa": oa, "name": "a"}}
(folder / f"{stem}.json").write_text(json.dumps(entry))
for suffix in ("png", "pdf"):
    (folder / f"{stem}.{suffix}").write_bytes(b"picture")
"""


def draw(stem: str, kind: str = "data", data: str = "synthetic", oa: str = "0.5 + seed / 10") -> str:
    """Source of a cell that leaves a figure's three files."""
    return f'stem, kind, data, oa = "{stem}", "{kind}", "{data}", {oa}' + SAVE


def notebook(project: Path, name: str, *cells: str, training: str = "") -> Path:
    """Write a notebook with a `parameters` cell, a cell tagged `training` where given, then these cells."""
    first = nbformat.v4.new_code_cell('work_dir: str = "x"\nfigures_dir: str = "x"\nseed: int = 1  # one for all')
    first.metadata["tags"] = ["parameters"]
    trained = nbformat.v4.new_code_cell(training, metadata={"tags": ["training"]})
    title = nbformat.v4.new_markdown_cell(f"# {name}\n\nWith $\\alpha \\in [0, 1]$.")
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [title, first, *([trained] if training else []), *map(nbformat.v4.new_code_cell, cells)]
    path = project / "notebooks" / f"{name}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    return path


def make_project(folder: Path) -> Path:
    """The workflow in a folder of its own, without notebooks and figures."""
    for name in ("notebooks/params", "figures"):
        (folder / name).mkdir(parents=True)
    shutil.copytree(ROOT / "workflow", folder / "workflow", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", folder)
    shutil.copy(ROOT / "figures" / "published.json", folder / "figures")
    return folder


def start(project: Path, *arguments: str, **environment: str) -> subprocess.Popen:
    """Begin `run_all.sh` in a session of its own."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(project), str(ROOT)])} | environment
    return subprocess.Popen(
        [sys.executable, "-m", "workflow", *arguments], cwd=project, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which "&" in a shell has ignored
    )  # fmt: skip


def run(project: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """`run_all.sh`: exit status, standard output, standard error."""
    process = start(project, *arguments, **environment)
    output, error = process.communicate(timeout=300)
    return process.returncode, output, error
