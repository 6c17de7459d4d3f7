"""Jobs killed at random moments, the whole process group, and called again: they end as an undisturbed run does.

One kill of two quick jobs runs with the other tests; `LCZ_KILLS=20 pytest -s tests/faults/test_kills.py` kills each of
the jobs, `./run_all.sh --profile smoke` too, 20 times and prints a table.
"""

import functools
import hashlib
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from geodata import reflectance, square, write_areas, write_s2

from lczworld.dataset import make_dataset

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("LCZ_KILLS", "1"))
SAMPLE = ("train", "fetch")  # quick ones
LCZLIB = [sys.executable, "-m", "lczlib"]
FETCH = "import sys; from lczlib.data.fetch import fetch_file; fetch_file(*sys.argv[1:])"


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """Pairs, a scene with training areas, and a file to fetch."""
    folder = tmp_path_factory.mktemp("sound")
    make_dataset(folder / "data", 51, workers=1, progress=False)
    write_s2(folder / "scene.tif", reflectance(400, 400))
    squares = [(1 + n % 17, square(100 + 900 * (n % 4), 100 + 900 * (n // 4), 800)) for n in range(16)]
    write_areas(folder / "areas.geojson", squares, to_crs="EPSG:4326")
    (folder / "weights.bin").write_bytes(np.random.default_rng(0).bytes(3_000_000))
    return folder


@pytest.fixture(scope="module")
def address(sound):
    """Where a slow server offers the files of `sound`."""

    class Slow(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            content = (sound / self.path.strip("/")).read_bytes()
            first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
            self.send_response(206 if first else 200)
            self.send_header("Content-Length", str(len(content) - first))
            self.end_headers()
            for start in range(first, len(content), 100_000):
                self.wfile.write(content[start : start + 100_000])
                time.sleep(0.03)

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_):  # a client that was killed
            pass

    with Server(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def arrays_of(folder: Path, pattern: str) -> dict[str, str]:
    """Digests of the arrays in the npz files of a folder."""
    found = {}
    for path in sorted(folder.rglob(pattern)):
        with np.load(path, allow_pickle=False) as stored:
            for name in stored.files:
                found[f"{path.relative_to(folder)} {name}"] = hashlib.sha256(stored[name].tobytes()).hexdigest()
    return found


def figures_of(folder: Path) -> dict[str, object]:
    """Numbers of every figure of a build."""
    made = sorted(folder.glob("build/smoke/figures/*.json"))
    return {path.stem: json.loads(path.read_text())["numbers"] for path in made}


def zones_of(path: Path) -> tuple:
    with rasterio.open(path) as data:
        return data.read().tobytes(), data.tags()["streams"], data.descriptions


# name: command in a folder of its own, and what of its results is compared
JOBS: dict[str, tuple[Callable[[Path, str], list], Callable[[Path], object]]] = {
    "masks": (
        lambda sound, _: [*LCZLIB, "masks", "data", "--sam", "nano", "--limit", "6"],
        lambda folder: arrays_of(folder / "data" / "masks", "*.npz"),
    ),
    "train": (
        lambda sound, _: [*LCZLIB, "train", "data", "--stream", "s2", "--split", "sample_pool", "--recipe", "demo",
                          "--set", "epochs=6", "width=4", "--work", "work"],
        lambda folder: [hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("work/**/model.safetensors")],
    ),
    "map": (
        lambda sound, _: [*LCZLIB, "map", "--run", "demo-s2", "--precision", "fp32", "--out", "lcz.tif",
                          "--s2", sound / "scene.tif"],
        lambda folder: zones_of(folder / "lcz.tif"),
    ),
    "patches": (
        lambda sound, _: [*LCZLIB, "patches", "--s2", sound / "scene.tif", "--polygons", sound / "areas.geojson",
                          "--out", "cut", "--spacing", "40"],
        lambda folder: (arrays_of(folder / "cut", "sen2_image_*.npz"), (folder / "cut" / "index.csv").read_text()),
    ),
    "fetch": (
        lambda sound, address: [sys.executable, "-c", FETCH, f"{address}/weights.bin", "weights.bin",
                                hashlib.sha256((sound / "weights.bin").read_bytes()).hexdigest()],
        lambda folder: hashlib.sha256((folder / "weights.bin").read_bytes()).hexdigest(),
    ),
    "run_all": (
        lambda sound, _: ["./run_all.sh", "--profile", "smoke"],  # that of the folder: it works where it lies
        figures_of,
    ),
}  # fmt: skip


def start(command: list, folder: Path) -> subprocess.Popen:
    environment = os.environ | {
        "PYTHONPATH": str(folder if (folder / "lczlib").exists() else ROOT),
        "OMP_NUM_THREADS": "1",
    }
    environment |= {"VIRTUAL_ENV": sys.prefix, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.Popen([str(part) for part in command], cwd=folder, env=environment, start_new_session=True,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # fmt: skip


def end(command: list, folder: Path) -> float:
    """Run to the end; seconds."""
    begun, process = time.monotonic(), start(command, folder)
    said = process.communicate(timeout=1800)[1].decode()[-2000:]
    assert process.returncode == 0, said
    return time.monotonic() - begun


def make_folder(name: str, sound: Path, folder: Path) -> Path:
    """A folder for a job, with its own copy of what the job writes into."""
    folder.mkdir()
    if name in ("masks", "train"):
        shutil.copytree(sound / "data", folder / "data")
    if name == "run_all":
        for part in ("lczlib", "lczworld", "notebooks", "workflow", "figures"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        for part in ("run_all.sh", "Snakefile", "requirements.txt", "pyproject.toml"):
            shutil.copy(ROOT / part, folder / part)
    return folder


@functools.cache
def undisturbed(name: str, sound: Path, address: str, folder: Path) -> tuple[float, object]:
    command, result = JOBS[name]
    make_folder(name, sound, folder)
    seconds, found = end(command(sound, address), folder), result(folder)
    assert found, "the job left nothing to compare"
    return seconds, found


@pytest.mark.parametrize("name", JOBS if KILLS > 1 else SAMPLE)
def test_a_job_killed_and_called_again_ends_as_if_undisturbed(name, sound, address, tmp_path):
    command, result = JOBS[name]
    whole, expected = undisturbed(name, sound, address, tmp_path / "undisturbed")
    rng, killed, tries, lost = np.random.default_rng(len(name)), 0, 0, 0.0
    folder = make_folder(name, sound, tmp_path / "0")
    while killed < KILLS:
        process, wait = start(command(sound, address), folder), rng.uniform(0.1, 1) * whole / max(KILLS / 10, 1)
        try:
            process.communicate(timeout=wait)
            assert process.returncode == 0
            assert result(folder) == expected
            tries += 1
            folder = make_folder(name, sound, tmp_path / str(tries))  # it had ended before: from nothing again
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            killed, lost = killed + 1, lost + wait
    lost += end(command(sound, address), folder) - whole
    assert result(folder) == expected
    print(f"{name:8} {killed} kills, {tries} ended before; undisturbed {whole:.0f} s, with kills {lost:.0f} s more")
