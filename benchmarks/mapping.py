"""What a map costs against fp32 and an earlier commit, and how it grows: `python -m benchmarks.mapping`.

Every measurement runs in a process of its own, on generated images and weights that were never trained (the same
arithmetic). Seconds are the processor's, of `map_scene` on one thread, from the first read to the last file, imports
apart. The earlier commit's `lczlib.mapping` takes turns with this tree.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from benchmarks.common import BEFORE, ROOT, checkout, gflop, np, row, run_in, save, take_turns
from lczlib.models import ResNet3D11
from lczlib.models.inference import predict

AREAS = (1.0, 4.0, 16.0)  # km2
WINDOWS = 100  # of a km2, at the step of 100 m
FUSED_M, FUSED_STEP = 640, 320  # the RGB scene's side, m, and the step between windows: four windows


def write_scene(path: Path, km2: float, pixel: int = 10) -> Path:
    """A square file as exports are: 10 bands of DN at 10 m, or at another pixel size 3 bands of 8 bits."""
    import rasterio

    rng, rgb = np.random.default_rng(0), pixel < 10
    spectrum = np.array([90, 100, 80] if rgb else [300, 650, 400, 1000, 2700, 3400, 3600, 3800, 2000, 1000])
    side, count, dtype = round(1000 * km2**0.5 / pixel), len(spectrum), "uint8" if rgb else "uint16"
    profile = {"driver": "GTiff", "width": side, "height": side, "count": count, "dtype": dtype, "crs": "EPSG:32633"}
    profile |= {
        "transform": rasterio.Affine(pixel, 0, 384000, 0, -pixel, 5820000),
        "tiled": True,
        "compress": "deflate",
    }
    with rasterio.open(path, "w", **profile) as file:
        for band, level in enumerate(spectrum, 1):
            blocks = np.kron(rng.uniform(0.5, 1.5, (-(-side // 8),) * 2), np.ones((8, 8)))[:side, :side]
            file.write((level * blocks * rng.uniform(0.8, 1.2, (side, side))).astype(dtype), band)
    return path


def write_run(folder: Path, stream: str, width: int) -> Path:
    """A run of a stream with its first weights."""
    from dataclasses import asdict

    from safetensors.torch import save_file

    from lczlib.models.inference import make_model
    from lczlib.recipe import Recipe
    from lczlib.runs import Run, write_json

    model, features = {"s2": ("resnet3d11", 10), "ge": ("gcn", 5)}[stream]
    recipe = Recipe.of("published", stream, width=width)
    params = {"stream": stream, "model": model, "features": features, "recipe": asdict(recipe), "seed": 0}
    run = Run(folder, f"{stream}{width}", params)
    state = make_model(model, recipe, features).state_dict()
    if stream == "s2":
        state["head.bias"][0] = 3  # a clear winner, as in most windows of a trained network: none is computed again
    save_file({name: value.contiguous() for name, value in state.items()}, run.path / "model.safetensors")
    run.finish({})
    write_json(run.path / "params.json", params)  # where the earlier commit looks
    return run.path


def measure(tree: Path, **options: object) -> dict:
    """`map_once.py` in a process of its own, with the packages of `tree`."""
    return json.loads(
        run_in(tree, Path(__file__).with_name("map_once.py"), json.dumps(options))[1].strip().splitlines()[-1]
    )


def compare(kinds: dict[str, Path], scene: dict[str, object]) -> tuple[dict, dict]:
    """Processor seconds of each kind, with its tree, in turns; share of pixels with the same zone as the last kind."""
    import rasterio

    zones: dict[str, np.ndarray] = {}

    def timed(kind: str) -> float:
        found = measure(kinds[kind], kind=kind, **scene)
        with rasterio.open(found["map"]) as file:
            zones[kind] = file.read(1)
        return found["cpu_seconds"]

    seconds = take_turns({kind: lambda kind=kind: timed(kind) for kind in kinds})
    return seconds, {kind: float((zone == zones[list(kinds)[-1]]).mean()) for kind, zone in zones.items()}


def main() -> None:
    """Measure, print and write, after each part."""
    with tempfile.TemporaryDirectory() as name, checkout() as before:
        folder = Path(name)
        runs = [str(write_run(folder, stream, width)) for stream, width in (("s2", 64), ("ge", 32))]
        write_scene(folder / "warm.tif", 0.1296)
        write_scene(folder / "warm_rgb.tif", 0.1296, pixel=1)
        shared, area = {"folder": name, "runs": runs}, (FUSED_M / 1000) ** 2
        scenes = {area: str(write_scene(folder / f"{area:g}.tif", area)) for area in AREAS}
        trees = {"bf16": ROOT, BEFORE: before, "fp32": ROOT}
        seconds, same = compare(trees, shared | {"s2": scenes[AREAS[0]]})
        what = f"map of {AREAS[0]:g} km2 from Sentinel-2"
        model, window = ResNet3D11().eval(), np.zeros((1, 32, 32, 10), np.float32)
        work = WINDOWS * AREAS[0] * gflop(lambda: predict(model, window, precision="bf16"))
        rows = [row(what, seconds, "bf16", against, goal, work) for against, goal in ((BEFORE, 2.5), ("fp32", None))]
        growth = {f"{area:g}": measure(ROOT, kind="bf16", s2=path, **shared) for area, path in scenes.items()}
        save(__file__, rows, same_zone_as_fp32=same, growth_by_km2=growth)
        s2, rgb = write_scene(folder / "s.tif", area), write_scene(folder / "rgb.tif", area, pixel=1)
        both = {"s2": str(s2), "rgb": str(rgb), "step": FUSED_STEP}
        seconds, _ = compare({"bf16": ROOT, BEFORE: before}, shared | both)
        windows = {kind: [s / (FUSED_M / FUSED_STEP) ** 2 for s in spent] for kind, spent in seconds.items()}
        rows.append(row("a window of a fused map (1 km2 has 100), the paper's masks", windows, "bf16", BEFORE, 3))
        save(__file__, rows, same_zone_as_fp32=same, growth_by_km2=growth)


if __name__ == "__main__":
    main()
