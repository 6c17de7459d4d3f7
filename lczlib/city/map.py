"""LCZ maps of a scene: windows of 320 m every `step` m, one label per pixel of `step` m.

The scene is read window by window in chunks, chunks are computed here or by a Dask cluster, and their probabilities
are kept in a memory-mapped file beside the map until it is finished: memory does not grow with the scene, and a map
that was stopped goes on where it was.

Source: paper and LCZ.md (arg max per pixel, then a Gaussian filter per zone). Assumed: pixels without a window of
their own (at the edge of the scene, beside no-data) take the tent-weighted mean of the windows that contain them.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from glob import escape
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse
from skimage.measure import block_reduce
from tqdm.auto import tqdm

from lczlib.city.patches import scene_arguments
from lczlib.city.rasters import S2_PIXEL, Sentinel2
from lczlib.city.windows import ALPHA, Job, Predict, compute_chunk, open_job
from lczlib.errors import InputError
from lczlib.runs import atomic_path, content_key
from lczlib.zones import K

CHUNK = {"s2": 16, "ge": 6}  # windows along each side of a chunk


class Parts:
    """The unfinished map beside the finished one: probabilities of every window, and which chunks are done."""

    def __init__(self, out: Path, job: Job, streams: object):
        rows, cols = job.axes
        files = [[name, Path(name).stat().st_size, Path(name).stat().st_mtime_ns] for name in (job.s2, job.rgb) if name]
        facts = [files, streams, job.alpha, job.step, job.offset, job.units, job.bands, job.rgb_bands]
        self.folder = out.parent / f".{out.stem}-{content_key(facts)}.parts"
        self.folder.mkdir(parents=True, exist_ok=True)
        side = CHUNK["ge" if job.predict_ge else "s2"]
        self.chunks = [
            (rows.starts[r : r + side], cols.starts[c : c + side], (slice(r, r + side), slice(c, c + side)))
            for r in range(0, len(rows.starts), side)
            for c in range(0, len(cols.starts), side)
        ]
        self.p = self._open("p", (len(rows.starts), len(cols.starts), K), np.float32)
        self.done = self._open("done", (len(self.chunks),), np.uint8)

    def _open(self, name: str, shape: tuple[int, ...], dtype: type) -> np.memmap:
        path = self.folder / f"{name}.npy"
        if not path.exists():
            with atomic_path(path) as temporary:
                np.lib.format.open_memmap(temporary, "w+", dtype, shape).flush()
        return np.lib.format.open_memmap(path, "r+")

    def keep(self, number: int, p: np.ndarray) -> None:
        """Store a chunk: values first, then its mark, so that a mark never lies."""
        self.p[self.chunks[number][2]] = p
        self.p.flush()
        self.done[number] = 1
        self.done.flush()


def compute(job: Job, parts: Parts, dask: str | None = None, progress: bool = False) -> None:
    """Compute the chunks that are not there yet, here or on the workers of a Dask scheduler."""
    left = np.flatnonzero(parts.done == 0).tolist()
    results = _on_dask(job, parts, left, dask) if dask else _here(job, parts, left)
    pace = 1 if sys.stderr.isatty() else 30  # s
    for number, p in tqdm(results, "mapping", len(left), unit="chunk", disable=not progress, mininterval=pace):
        parts.keep(number, p)


def _here(job: Job, parts: Parts, numbers: list[int]) -> Iterator[tuple[int, np.ndarray]]:
    from lczlib.compute import prepare_cpu

    prepare_cpu()
    yield from ((number, compute_chunk(job, *parts.chunks[number][:2])) for number in numbers)


def _on_dask(job: Job, parts: Parts, numbers: list[int], address: str) -> Iterator[tuple[int, np.ndarray]]:
    from distributed import Client, as_completed
    from distributed.comm import get_address_host_port

    try:
        socket.create_connection(get_address_host_port(address), 5).close()  # a Client that fails complains at exit
        client = Client(address, timeout="5s", set_as_default=False)
    except (OSError, ValueError) as fault:
        raise InputError(f"{address}: no Dask scheduler there ({str(fault).splitlines()[0][:80]}); start one") from None
    with client:
        tasks = [client.submit(_compute_alone, job, *parts.chunks[n][:2], pure=False, retries=2) for n in numbers]
        number_of = {task.key: number for task, number in zip(tasks, numbers, strict=True)}
        for task, p in as_completed(tasks, loop=client.loop, with_results=True):
            yield number_of[task.key], p
            task.release()


def _compute_alone(job: Job, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    from lczlib.compute import prepare_cpu

    prepare_cpu(threads=1)
    return compute_chunk(job, rows, cols)


def strips(job: Job, p: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Map rows and their probabilities (rows, cols, 17), NaN where there is no data, a few rows at a time."""
    rows, cols = job.axes
    scene = Sentinel2(job.s2, job.bands, job.offset, job.units, check=False) if job.predict_s2 else None
    height = max(1, int(4e5 / (job.size[1] * job.step / S2_PIXEL)))
    across = cols.weights(slice(None))
    for first in range(0, rows.pixels, height):
        band = slice(first, min(first + height, rows.pixels))
        down = rows.weights(band)
        near = np.unique(np.concatenate([down.indices, rows.own[band]]))
        blended = _blend(np.asarray(p[near[0] : near[-1] + 1]), down[:, near[0] : near[-1] + 1], across)
        own = np.asarray(p[near[0] : near[-1] + 1])[rows.own[band] - near[0]][:, cols.own]
        own[~(rows.centered[band, None] & cols.centered)] = np.nan
        mapped = np.where(np.isnan(own), blended, own)
        if scene:
            mapped[_void(scene, job, band)] = np.nan
        yield band, mapped


def _blend(p: np.ndarray, down: sparse.csr_matrix, across: sparse.csr_matrix) -> np.ndarray:
    """Weighted mean over the windows that contain each pixel's centre: (R, C, 17) -> (rows, cols, 17), NaN for none."""
    with_weight = np.concatenate([np.nan_to_num(p), np.isfinite(p[..., :1])], axis=-1)
    tall = (down @ with_weight.reshape(len(p), -1)).reshape(-1, p.shape[1], K + 1)
    wide = (across @ tall.swapaxes(0, 1).reshape(p.shape[1], -1)).reshape(-1, len(tall), K + 1).swapaxes(0, 1)
    with np.errstate(invalid="ignore"):
        return (wide[..., :K] / wide[..., K:]).astype(np.float32)


def _void(scene: Sentinel2, job: Job, band: slice) -> np.ndarray:
    """(rows, cols) bool: more than half of the pixel's ground has no data."""
    cell = round(job.step / S2_PIXEL)
    first, last = band.start * cell, min(band.stop * cell, job.size[0])
    empty = np.isnan(scene.read(first, 0, last - first, job.size[1])[..., 0]).astype(np.float32)
    share = block_reduce(empty, (cell, cell), np.nanmean, cval=np.nan)
    return share[: band.stop - band.start, : job.axes[1].pixels] > 0.5


@dataclass(frozen=True)
class MapResult:
    """A finished map: its file, `measure_areas` of it, warnings about the input, chunks computed in this call."""

    path: Path
    areas: pd.DataFrame
    warnings: list[str]
    computed: int


def map_scene(
    out: str | Path,
    s2: str | Path | None = None,
    rgb: str | Path | None = None,
    predict_s2: Predict | None = None,
    predict_ge: Predict | None = None,
    *,
    trained_on: str = "",
    dask: str | None = None,
    progress: bool = False,
    **options: object,
) -> MapResult:
    """Map a scene; write `out` (bands lcz, lcz_filtered, probability) and what belongs beside it.

    Args:
        out: the GeoTIFF; see `mapping_output.write_map` for its companions.
        predict_s2, predict_ge: trained streams (`mapping_streams.RunStream`): patches -> (n, 17) probabilities.
        trained_on: kind of the data the streams were trained on; "synthetic" is stamped on the figure.
        dask: address of a Dask scheduler; its workers must see the images under the same paths.
        options: alpha, step, bands, offset, units, rgb_bands (`open_job`).

    Raises:
        FileNotFoundError, ValueError: in one line (what: fault; remedy).
    """
    from lczlib.city.output import write_map

    out = Path(out)
    if out.suffix.lower() not in (".tif", ".tiff"):
        raise InputError(f"{out}: the map is a GeoTIFF; name it .tif")
    job, warnings = open_job(s2, rgb, predict_s2, predict_ge, **options)
    streams = [getattr(stream, "key", repr(stream)) for stream in (job.predict_s2, job.predict_ge) if stream]
    parts = Parts(out, job, streams)
    missing = int((parts.done == 0).sum())
    compute(job, parts, dask, progress)
    if not np.isfinite(parts.p[..., 0]).any():
        shutil.rmtree(parts.folder)
        files = " with ".join(str(file) for file in (s2, rgb) if file)
        raise InputError(f"{files}: no window of 320 m has data enough; choose another scene")
    areas = write_map(out, job, parts, {"alpha": job.alpha, "streams": ", ".join(streams), "trained_on": trained_on})
    for finished in out.parent.glob(f".{escape(out.stem)}-{'?' * 12}.parts"):  # older attempts with other options too
        shutil.rmtree(finished)
    return MapResult(out, areas, warnings, missing)


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `python -m lczlib map`."""
    scene_arguments(parser, required=False)
    parser.add_argument("--out", required=True, help="the map: a GeoTIFF with bands lcz, lcz_filtered, probability")
    runs = {"dest": "runs", "action": "append", "default": [], "metavar": "RUN"}
    parser.add_argument("--run", help="folder of a trained run; once per stream", **runs)
    parser.add_argument("--alpha", type=float, help=f"weight of the Sentinel-2 stream where both are used ({ALPHA})")
    parser.add_argument("--step", type=float, default=100.0, help="m between windows, and size of a map pixel (100)")
    masks = "instance masks: nano, vit_b, vit_l, vit_h, or the folder DATA/masks/KEY the run was trained with"
    parser.add_argument("--masks", default="nano", help=masks)
    faster = "bf16: probabilities 1 %% off; faster on GPUs and CPUs with AMX only"
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help=faster)
    parser.add_argument("--dask", metavar="ADDRESS", help="spread the windows over an existing Dask scheduler")
    parser.add_argument("--old-codes", action="store_true", help="also a copy with 101-107 for LCZ A-G")
    parser.add_argument("--epsg4326", action="store_true", help="also a copy in EPSG:4326")
    parser.add_argument("--compare", metavar="OTHER.tif", help="compare with another LCZ map; alone: compare only")
    parser.add_argument("--compare-band", type=int, default=1, help="band of OTHER.tif that holds the zones (1)")


def command(args: argparse.Namespace) -> None:
    """Run `python -m lczlib map`."""
    from lczlib.city import compare as mapping_compare
    from lczlib.city import output as mapping_output
    from lczlib.city import streams as mapping_streams

    if args.s2 or args.rgb or not args.compare:
        options = {name: getattr(args, name) for name in ("alpha", "step", "bands", "offset", "units", "rgb_bands")}
        for warning in open_job(args.s2, args.rgb, None, None, **options)[1]:  # before any training
            print(f"warning: {warning}")
        streams = mapping_streams.open_streams(args.runs, bool(args.s2), bool(args.rgb), args.masks, args.precision)
        shared = {"dask": args.dask, "progress": True}
        areas = map_scene(args.out, args.s2, args.rgb, *streams, **shared, **options).areas
        print(areas[areas["pixels"] > 0].to_string(index=False))
    for path in mapping_output.copies(args.out, args.old_codes, args.epsg4326):
        print(path)
    if args.compare:
        print(mapping_compare.compare_maps(args.out, args.compare, band=args.compare_band))
