"""What a map costs: km2 per second, growth with the area, peak memory, and two Dask workers against one.

    python benchmarks/mapping.py [--json OUT] [--width 64] [--rounds 2]

Every measurement runs in a process of its own, on a generated Sentinel-2 file and weights that were never trained
(the same arithmetic). Times are of `map_scene`, from the first read to the last file, imports apart. CPU seconds
tell what a machine that is busy with other work as well would have needed alone.
Goals: 25 km2 at 100 m in under 60 s on 2 cores; 1.6 times faster with two workers than with one; under 2 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

AREAS = (6.25, 25.0, 100.0)  # km2


def write_scene(path: Path, km2: float) -> Path:
    """A square Sentinel-2 file of 10 bands, uint16 DN, tiled and compressed as exports are."""
    import rasterio
    from rasterio.transform import from_origin

    side = round(100 * km2**0.5)
    rng = np.random.default_rng(0)
    spectrum = np.array([300, 650, 400, 1000, 2700, 3400, 3600, 3800, 2000, 1000])[:, None, None]
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 10, "dtype": "uint16", "crs": "EPSG:32633"}
    profile |= {"transform": from_origin(384000, 5820000, 10, 10), "tiled": True, "compress": "deflate"}
    with rasterio.open(path, "w", **profile) as file:
        file.write((spectrum * rng.uniform(0.7, 1.3, (10, side, side))).astype(np.uint16))
    return path


def write_run(folder: Path, width: int) -> Path:
    """A run of the Sentinel-2 stream with its first weights."""
    from dataclasses import asdict

    from safetensors.torch import save_file

    from lczlib.models.inference import make_model
    from lczlib.recipe import Recipe
    from lczlib.runs import Run

    recipe = Recipe.published("s2", width=width)
    params = {"stream": "s2", "model": "resnet3d11", "features": 10, "recipe": asdict(recipe), "seed": 0}
    run = Run(folder, f"width{width}", params)
    model = make_model("resnet3d11", recipe, 10)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, run.path / "model.safetensors")
    run.finish({})
    return run.path


def child(scene: Path, run: Path, workers: int) -> None:
    """Map once; print seconds, CPU seconds and peak memory in MB of this process (with Dask: of the largest worker)."""
    import resource

    from lczlib.city.map import map_scene
    from lczlib.city.streams import RunStream

    out, stream = scene.with_name(f"map-{os.getpid()}.tif"), RunStream(run)
    map_scene(out, scene.with_name("warm.tif"), predict_s2=stream)  # imports
    if not workers:
        start, cpu = time.perf_counter(), time.process_time()
        map_scene(out, scene, predict_s2=stream)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    else:
        from distributed import Client, LocalCluster

        local = {"processes": True, "host": "127.0.0.1", "dashboard_address": None}
        with LocalCluster(n_workers=workers, threads_per_worker=1, **local) as c:
            address = c.scheduler_address
            with Client(address) as client:  # libraries and network loaded, as in a cluster at work
                client.run(stream, np.zeros((1, 32, 32, 10), np.float32))
            start, cpu = time.perf_counter(), float("nan")
            map_scene(out, scene, predict_s2=stream, dask=address)
            seconds = time.perf_counter() - start
            with Client(address) as client:
                peak = max(client.run(lambda: __import__("resource").getrusage(0).ru_maxrss / 1024).values())
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "peak_mb": peak}))


def measure(scene: Path, run: Path, workers: int = 0, threads: int | None = None) -> dict[str, float]:
    """`child` in a process of its own."""
    command = [sys.executable, __file__, "--child", str(scene), str(run), str(workers)]
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """Measure everything and print or write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--width", type=int, default=64, help="of the 3D ResNet11; 64 is the paper's")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(Path(args.child[0]), Path(args.child[1]), int(args.child[2]))
    with tempfile.TemporaryDirectory() as folder:
        result = run_all(Path(folder), args.width, args.rounds)
    result = {"data": "synthetic", "numbers": result}
    print(json.dumps(result, indent=2))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return None


def run_all(folder: Path, width: int, rounds: int) -> dict:
    """All measurements; variants take turns, medians count."""
    from lczlib.compute import cpu_count

    run = write_run(folder, width)
    write_scene(folder / "warm.tif", 0.25)
    scenes = {area: write_scene(folder / f"{area:g}.tif", area) for area in AREAS}
    cores = cpu_count()
    growth = {area: measure(scene, run, threads=cores) for area, scene in scenes.items()}
    turns = [[measure(scenes[25.0], run, workers)["seconds"] for workers in (1, 2)] for _ in range(rounds)]
    one, two = (statistics.median(times) for times in zip(*turns, strict=True))
    rate = {area: found["seconds"] / area for area, found in growth.items()}
    cpu = {area: found["cpu_seconds"] / area for area, found in growth.items()}
    return {
        "width": width,
        "cores": cores,
        "single_process": {f"{a:g} km2": found | {"km2_per_s": 1 / rate[a]} for a, found in growth.items()},
        "seconds_per_km2_at_100_over_6.25": rate[100.0] / rate[6.25],
        "cpu_seconds_per_km2_at_100_over_6.25": cpu[100.0] / cpu[6.25],
        "peak_mb_at_100_over_6.25": growth[100.0]["peak_mb"] / growth[6.25]["peak_mb"],
        "dask_25_km2": {"one_worker_s": one, "two_workers_s": two, "speedup": one / two},
    }


if __name__ == "__main__":
    main()
