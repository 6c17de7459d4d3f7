"""A full disk, a folder that cannot be written to, a file that vanishes: one line, nothing damaged, and on it goes.

Needs the right to mount a small file system in memory; skipped elsewhere. One job runs with the other tests, all of
them where LCZ_FAULTS is set.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from geodata import reflectance, square, write_areas, write_s2

from lczlib.__main__ import main
from lczlib.data import fetch, layout
from lczworld.dataset import make_dataset

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    make_dataset(folder / "data", 34, workers=1, progress=False)
    write_s2(folder / "scene.tif", reflectance(200, 200))
    areas = [(label, square(100 + 900 * k, 100, 800)) for k, label in enumerate((2, 6))]
    write_areas(folder / "areas.geojson", areas)
    return folder


@pytest.fixture
def small(tmp_path):
    """A folder that holds 100 kB; `grow` makes it 50 MB, `lock` read-only."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a small file system here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", folder], check=True)


def lczlib(folder: Path, *arguments: object) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "lczlib", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


JOBS = {
    "map": ("map", "--run", "demo-s2", "--precision", "fp32", "--s2", "{sound}/scene.tif", "--out", "{out}/lcz.tif"),
    "patches": ("patches", "--s2", "{sound}/scene.tif", "--polygons", "{sound}/areas.geojson", "--spacing", "40",
                "--out", "{out}/cut"),
    "train": ("train", "{sound}/data", "--stream", "s2", "--split", "sample_pool", "--recipe", "demo",
              "--set", "epochs=1", "width=8", "--work", "{out}/work"),
}  # fmt: skip


@pytest.mark.parametrize("name", JOBS if "LCZ_FAULTS" in os.environ else ["train"])
def test_a_full_then_locked_disk_is_one_line_and_then_it_goes_on(name, sound, small):
    command = [part.format(sound=sound, out=small) for part in JOBS[name]]
    for fault, words in (("size=100k", "No space"), ("ro", "Read-only")):
        remount(small, fault)
        stopped = lczlib(small.parent, *command)
        assert stopped.returncode == 1, stopped.stderr
        last = stopped.stderr.strip().splitlines()[-1]
        assert last.startswith("error: ")
        assert words in last
        assert str(small) in last, "the line names the place"
        assert "Traceback" not in stopped.stderr
    remount(small, "rw,size=50m")
    assert lczlib(small.parent, *command).returncode == 0


def test_a_patch_that_vanishes_is_named(sound, tmp_path, monkeypatch, capsys):
    shutil.copytree(sound / "data", tmp_path / "data")
    layout.s2_path(tmp_path / "data", 5).unlink()
    monkeypatch.chdir(tmp_path)
    assert main(["train", "data", "--stream", "s2", "--split", "sample_pool"]) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: data/sen2_img_patches/sen2_image_5.npz: no such file")


def test_a_download_to_a_full_disk_goes_on_when_there_is_room(sound, small):
    content = np.random.default_rng(0).bytes(300_000)
    (sound / "file.bin").write_bytes(content)
    server = subprocess.Popen([sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"], cwd=sound,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # fmt: skip
    try:
        address = server.stdout.readline().split("(")[1].split("/)")[0]
        target, digest = small / "file.bin", hashlib.sha256(content).hexdigest()
        with pytest.raises(OSError, match="No space"):
            fetch.fetch_file(f"{address}/file.bin", target, digest)
        assert not target.exists()
        remount(small, "size=50m")
        assert fetch.fetch_file(f"{address}/file.bin", target, digest).read_bytes() == content
    finally:
        server.kill()
