"""The lists of packages agree: pyproject.toml names them, requirements.txt locks them, environment.yml has conda's."""

import re
import tomllib
from pathlib import Path

import pytest
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
    pins = re.findall(r"^(\S+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    return {_name(name): version for name, version in pins}


def conda() -> dict[str, str]:
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pinned = [entry.split("=") for entry in entries if isinstance(entry, str) and "=" in entry]
    by_pip = [entry.split("==") for entry in entries[-1]["pip"]]
    return {CONDA_NAMES.get(_name(name), _name(name)): version for name, version in pinned + by_pip}


def test_torch_comes_first_in_the_lock_and_every_pin_has_its_hashes():
    text = (ROOT / "requirements.txt").read_text()
    blocks = re.findall(r"^(\S+==\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", text, re.MULTILINE)
    assert blocks[0][0] == "torch==2.13.0"
    assert len(blocks) == len(lock())


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


def test_what_is_installed_fits_together():
    """`pip check`, where pip is there."""
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    if "No module named pip" in done.stderr:
        pytest.skip("an environment without pip")
    assert done.returncode == 0, done.stdout


def test_what_runs_is_what_is_locked():
    from importlib.metadata import version

    locked = lock()
    for name in ("torch", "torch-geometric", "numpy", "rasterio", "papermill"):
        assert version(name).split("+")[0].split(".")[:2] == locked[name].split(".")[:2], name


COMPATIBLE = re.compile(
    "MIT|BSD|Apache|ISC|PSF|Python Software|MPL|Mozilla|HPND|Unlicense|Public Domain|Leaflet", re.IGNORECASE
)
ELSEWHERE = {  # packages whose metadata name no licence, as their repositories do
    "odc-stac": "Apache-2.0",
    "segment-anything": "Apache-2.0", "conda-inject": "MIT", "snakemake-interface-common": "MIT",
    "snakemake-interface-logger-plugins": "MIT", "snakemake-interface-report-plugins": "MIT",
    "snakemake-interface-scheduler-plugins": "MIT", "snakemake-interface-storage-plugins": "MIT",
}  # fmt: skip


def test_every_locked_package_has_a_licence_that_goes_with_MIT():
    from importlib.metadata import PackageNotFoundError, metadata

    licences = dict(ELSEWHERE)
    for name in lock().keys() - ELSEWHERE.keys():
        try:
            facts = metadata(name)
        except PackageNotFoundError:  # a lock for other machines
            continue
        classified = [text for text in facts.get_all("Classifier") or [] if text.startswith("License")]
        licences[name] = facts.get("License-Expression") or " ".join(classified) or (facts.get("License") or "")[:100]
    assert not {name: text for name, text in licences.items() if not COMPATIBLE.search(text)}
