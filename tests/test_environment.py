"""The lists of packages agree: pyproject.toml names them, requirements.txt locks them, environment.yml has conda's."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
CONDA_NAMES = {
    "pytorch-cpu": "torch",
    "pytorch-geometric": "torch-geometric",
    "py-opencv": "opencv-python-headless",
    "matplotlib-base": "matplotlib",
    "dask-core": "dask",
}
NOT_ON_CONDA_FORGE = {"segment-anything"}


def _name(text: str) -> str:
    return re.match(r"[A-Za-z0-9_.\-]+", text)[0].lower().replace("_", "-")


def lock() -> dict[str, str]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return {_name(line): line.split("==")[1] for line in lines if line and not line.startswith("#")}


def conda() -> dict[str, str]:
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pinned = [entry.split("=") for entry in entries if isinstance(entry, str) and "=" in entry]
    by_pip = [entry.split("==") for entry in entries[-1]["pip"]]
    return {CONDA_NAMES.get(_name(name), _name(name)): version for name, version in pinned + by_pip}


def test_torch_comes_first_in_the_lock():
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "torch==2.13.0"


def test_everything_the_package_needs_is_locked_and_in_conda():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {_name(entry) for entry in project["dependencies"]}
    assert needed <= lock().keys()
    assert needed <= conda().keys()
    assert {_name(entry) for entry in project["optional-dependencies"]["test"]} <= lock().keys()


def test_conda_has_the_versions_of_the_lock():
    locked = lock()
    for name, version in conda().items():
        if name != "python":
            assert (locked[name] + ".").startswith(version + "."), name


def test_what_runs_is_what_is_locked():
    from importlib.metadata import version

    locked = lock()
    for name in ("torch", "torch-geometric", "numpy", "rasterio", "papermill"):
        assert version(name).split("+")[0].split(".")[:2] == locked[name].split(".")[:2], name
