"""LCZ maps of a scene: one zone per pixel of `step` m, computed in chunks, here or by a Dask cluster.

Chunks are kept in a memory-mapped file beside the map until it is finished: memory does not grow with the scene, and a
map that was stopped goes on where it was.
"""

import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from lczlib.city.output import check_target, write_map
from lczlib.city.windows import MapJob, MapOptions, Predict, classify_chunk, open_job
from lczlib.compute import parallel, prepare_cpu
from lczlib.data.layout import BANDS
from lczlib.errors import InputError
from lczlib.models import RunStream, load_streams
from lczlib.runs import atomic_path, content_key, file_lock, memmap_is_sound, new_memmap

PAYS = 1.2  # times faster from which bf16 is chosen


def open_streams(
    runs: Sequence[str | Path], s2: bool, rgb: bool, masks: str | None = None, precision: str = "fp32"
) -> tuple[RunStream | None, RunStream | None]:
    """The streams (Sentinel-2, RGB) of the images given; None for the other.

    Args:
        runs: folders of runs, "demo-s2", "demo-ge".
        masks: a model for instance masks, with the paper's settings; None: those that the run was trained on.
        precision: of the Sentinel-2 stream: "fp32", "bf16", or "auto": whichever is faster here.

    Raises:
        InputError: no run, a run that is none, two of one stream, or none for one of the images.
    """
    wanted = ["s2"] * s2 + ["ge"] * rgb
    if not runs:
        names = " and ".join(wanted)
        remedy = "make one with `python -m lczlib train DATA --stream s2`, or try --run demo-s2"
        raise InputError(f"--run: a map needs a trained run ({names}); {remedy}")
    found = load_streams(runs)
    for name in wanted:
        if name not in found:
            known = ", ".join(map(str, runs))
            raise InputError(f"--run: no run of stream {name} among {known}; give one, or leave its image out")
    one, other = found["s2"] if s2 else None, found["ge"] if rgb else None
    if one:
        one = replace(one, precision=pick_precision(one) if precision == "auto" else precision)
    if other and masks:
        from lczlib.sam import MaskSettings

        other = replace(other, sam=masks, settings=MaskSettings.named("paper", sam=masks))
    return one, other


def pick_precision(stream: RunStream, patches: int = 32) -> str:
    """ "bf16" where it computes patches at least 1.2 times faster than fp32 here, else "fp32"; a second or two."""
    inputs = np.random.default_rng(0).random((patches, 32, 32, len(BANDS)), np.float32) * 0.4
    seconds = dict.fromkeys(("fp32", "bf16"), np.inf)
    for _ in range(3):  # turns; the best counts, the first also loads the kernels
        for precision in seconds:
            start = time.perf_counter()
            replace(stream, precision=precision)(inputs)
            seconds[precision] = min(seconds[precision], time.perf_counter() - start)
    return "bf16" if seconds["fp32"] > PAYS * seconds["bf16"] else "fp32"


class ChunkStore:
    """The unfinished map, beside the finished one.

    Attributes: `chunks` of the job; `found` (2, H, W) uint8 labels and probabilities; `done` (chunks,) 0 or 1.
    """

    def __init__(self, out: Path, job: MapJob, streams: list[str]):
        facts = [job.files, job.s2, job.rgb, streams, job.alpha, job.step]
        self.folder = out.parent / f".{out.stem}-{content_key(facts)}.parts"
        self.chunks = job.chunks()
        shapes = {"found.npy": (2, *job.shape), "done.npy": (len(self.chunks),)}
        if not all(memmap_is_sound(self.folder / name, np.uint8, shape) for name, shape in shapes.items()):
            shutil.rmtree(self.folder, ignore_errors=True)  # both: the marks of one fit no other values
            for name, shape in shapes.items():
                with atomic_path(self.folder / name) as temporary:
                    new_memmap(temporary, np.uint8, shape).flush()
        self.found, self.done = (np.lib.format.open_memmap(self.folder / name, "r+") for name in shapes)

    def keep(self, number: int, found: np.ndarray) -> None:
        """Store a chunk: values first, then its mark, so that a mark never lies."""
        self.found[:, *self.chunks[number]] = found
        self.found.flush()
        self.done[number] = 1
        self.done.flush()


def compute(job: MapJob, store: ChunkStore, dask: str | None = None, progress: bool = False) -> None:
    """Compute the chunks that are not there yet, here or on the workers of a Dask scheduler."""
    prepare_cpu()
    left = np.flatnonzero(store.done == 0).tolist()
    jobs = [{"job": job, "rows": rows, "cols": cols} for rows, cols in (store.chunks[number] for number in left)]
    pace = 1 if sys.stderr.isatty() else 30  # s
    results = zip(left, parallel(classify_chunk, jobs, dask=dask), strict=True)
    for number, found in tqdm(results, "mapping", len(left), unit="chunk", disable=not progress, mininterval=pace):
        store.keep(number, found)


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
    trained_on: str = "",
    **options: object,
) -> MapResult:
    """Map a scene; write `out` (bands lcz, lczFilter, probability) and what belongs beside it (`output.write_map`).

    Args:
        predict_s2, predict_ge: trained streams: patches (n, 32, 32, 10) or images (n, 320, 320, 3) -> (n, 17)
            probabilities, as `open_streams` gives them.
        trained_on: kind of the data the streams were trained on; "synthetic" is written on every output.
        options: fields of `MapOptions`; dask (address of a scheduler whose workers see the images under the same
            paths), progress, cog.

    Raises:
        FileNotFoundError, InputError: in one line.

    Source: paper, section on LCZ maps: arg max per pixel; the filter is that of the global LCZ maps.
    """
    out = check_target(out, s2, rgb)
    if (s2 and not predict_s2) or (rgb and not predict_ge):
        raise InputError(f"{s2 or rgb}: no stream is given for one of the images; see open_streams")
    dask, progress, cog = (options.pop(name, None) for name in ("dask", "progress", "cog"))
    job, remarks = open_job(s2, rgb, predict_s2, predict_ge, MapOptions(**options))
    streams = [getattr(stream, "key", repr(stream)) for stream in (job.predict_s2, job.predict_ge) if stream]
    files = ", ".join(file for file, *_ in job.files)
    tags = {"streams": ", ".join(streams), "trained_on": trained_on, "images": files}
    tags |= {"alpha": job.alpha} if job.s2 and job.rgb else {}
    with file_lock(out):  # two runs of one map: the second waits
        store = ChunkStore(out, job, streams)
        missing = int((store.done == 0).sum())
        compute(job, store, dask, bool(progress))
        mapped = bool(store.found[0].any())
        if mapped:
            areas = write_map(out, job, store.found, tags, bool(cog))
        for finished in out.parent.glob(f".{escape(out.stem)}-{'?' * 12}.parts"):  # and attempts with other options
            shutil.rmtree(finished)
    if not mapped:
        raise InputError(f"{files}: no window of 320 m has data enough; choose another scene")
    warnings = [remark for remark in remarks if remark.startswith("warning")]
    return MapResult(out, areas, warnings, missing)
