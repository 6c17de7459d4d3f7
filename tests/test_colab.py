"""The first cell of the demo as Colab runs it, in an environment made for this test.

LCZ_COLAB=/path/of/an/empty/folder pytest tests/test_colab.py    (a few minutes and 2 GB; the environment is kept there)

Colab is stood in for by an older set of its packages, an empty `google.colab`, and a clone of this repository where
`git clone` would put it.
"""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
FOLDER = os.environ.get("LCZ_COLAB", "")
pytestmark = pytest.mark.skipif(not FOLDER, reason="no folder for an environment like Colab's (LCZ_COLAB)")
THERE = [  # what runs in Colab already; must not be touched
    "torch==2.13.0", "torchvision==0.28.0", "numpy==2.2.6", "pandas==2.3.3", "scikit-learn==1.6.1", "scipy==1.16.3",
    "matplotlib==3.10.0", "ipykernel==6.30.1", "ipython==8.37.0", "jupyter-client==8.6.3", "tornado==6.5.1",
    "opencv-python-headless==4.12.0.88", "pillow==11.3.0", "ipywidgets==7.8.5", "requests==2.32.4", "pyzmq==26.2.1",
]  # fmt: skip
SHELL = """
import os, pathlib, subprocess, sys, types
sys.modules["google.colab"] = types.ModuleType("google.colab")
from IPython.core.interactiveshell import InteractiveShell
shell, place = InteractiveShell.instance(), pathlib.Path(sys.argv[1])
for source in place.joinpath("cells.txt").read_text().split("\\n# next cell\\n"):
    result = shell.run_cell(source.replace("/content", str(place)))
    result.raise_error()
print("working in", os.getcwd())
"""


def _versions(python: Path) -> dict[str, str]:
    listed = subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True).stdout
    return dict(line.split("==") for line in listed.splitlines() if "==" in line)


def test_the_first_cell_installs_what_is_missing_and_touches_nothing(tmp_path):
    python = Path(FOLDER) / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", "setuptools", *THERE], check=True)
    subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{ROOT}", tmp_path / "lczlib"], check=True)
    code = [c.source for c in nbformat.read(ROOT / "notebooks/demo.ipynb", 4).cells if c.cell_type == "code"]
    first = next(n for n, source in enumerate(code) if "gallery.add" in source)
    (tmp_path / "cells.txt").write_text("\n# next cell\n".join(code[: first + 1]))

    before = _versions(python)
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")} | {"PATH": path}
    ran = subprocess.run([python, "-c", SHELL, tmp_path], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    assert f"working in {tmp_path}/lczlib/notebooks" in ran.stdout
    after = _versions(python)
    assert {name: after.get(name) for name in before} == before
    assert not {"jupyterlab", "papermill", "voila"} & (after.keys() - before.keys())
    assert (tmp_path / "lczlib/build/demo/figures/demo_method.png").exists()
