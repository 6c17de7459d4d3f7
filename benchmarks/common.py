"""What the benchmarks share: the machine and its arithmetic limit, turns, rows of the table, JSON."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lczlib.compute import bf16_pays, cpu_count, prepare_cpu

prepare_cpu()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from lczlib.runs import write_json  # noqa: E402

ROOT = Path(__file__).parents[1]
TURNS = 5
BEFORE = "fa94773"  # the commit that the goals are counted from
Work = Callable[..., object]


def gemm_peak(dtype: torch.dtype, size: int = 1536, turns: int = 5) -> float:
    """GFLOP/s of the best of some matrix products: what arithmetic can reach here, with the threads that are set."""
    a, b = (torch.rand(size, size).to(dtype) for _ in range(2))
    best = np.inf
    for _ in range(turns):
        start = now()
        a @ b
        best = min(best, now() - start)
    return 2e-9 * size**3 / best


def now() -> float:
    """The clock of all benchmarks: processor seconds of this process where it computes with one thread, else wall."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def gflop(work: Work) -> float:
    """Operations of a piece of work in convolutions and products, counted by torch, in units of 10^9."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / 1e9


def machine() -> dict[str, object]:
    """What the figures were taken on, and how busy it was."""
    info = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), platform.processor())
    facts = {"processor": name, "cores": cpu_count(), "instructions": torch.backends.cpu.get_cpu_capability()}
    facts |= {"bf16": bf16_pays(), "torch": torch.__version__, "threads": torch.get_num_threads()}
    facts |= {"clock": now.__doc__.split(":")[1].split(" of")[0].strip() if torch.get_num_threads() == 1 else "wall"}
    kinds = {"fp32": torch.float32} | ({"bf16": torch.bfloat16} if bf16_pays() else {})
    peak = {name: round(gemm_peak(dtype), 1) for name, dtype in kinds.items()}
    return facts | {"gemm_gflops": peak, "load": os.getloadavg()[0]}


def take_turns(variants: dict[str, Work], turns: int = TURNS, groups: list | None = None) -> dict[str, list[float]]:
    """Seconds of each variant, one after the other, so many times after a first time that is not counted.

    Args:
        variants: one that returns a float was timed elsewhere: those are its seconds.
        groups: what every variant is given in each turn, the uncounted first included; None: nothing.
    """
    given = [(group,) for group in groups] if groups else [()] * (turns + 1)
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for arguments in given:
        for name, work in variants.items():
            start = now()
            answer = work(*arguments)
            seconds[name].append(answer if isinstance(answer, float) else now() - start)
    return {name: spent[1:] for name, spent in seconds.items()}


def row(what: str, seconds: dict[str, list[float]], ours: str, against: str, goal: float | None = None,
        gflop: float | None = None) -> dict[str, object]:  # fmt: skip
    """One row of the table: how many times faster `ours` was than `against`, turn by turn; `gflop`: of our way, where
    arithmetic is all of it, which tells what the processor's peak would allow.
    """
    ratios = np.divide(seconds[against], seconds[ours])
    median = {name: float(np.median(seconds[name])) for name in (ours, against)}
    times = {"median": float(np.median(ratios)), "lowest": float(ratios.min()), "highest": float(ratios.max())}
    return {"what": what, "ours": ours, "against": against, "goal": goal, "turns": len(ratios), "gflop": gflop,
            "seconds": median, "times_faster": times}  # fmt: skip


def save(script: str, rows: list[dict[str, object]], **numbers: object) -> None:
    """Write and print `benchmarks/<name of the script>.json`."""
    path = Path(script).with_suffix(".json")
    write_json(path, {"machine": machine(), "rows": rows, **numbers})
    for one in rows:
        print("{what}: {times_faster[median]:.2f} times ({ours} against {against})".format(**one), flush=True)


@contextmanager
def checkout(commit: str = BEFORE) -> Iterator[Path]:
    """A folder with the files of a commit, from git."""
    with tempfile.TemporaryDirectory() as folder:
        tree = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True)
        subprocess.run(["tar", "-x", "-C", folder], input=tree.stdout, check=True)
        yield Path(folder)


def run_in(folder: Path, *command: object) -> tuple[float, str]:
    """Run Python with the packages of a folder, on one thread: processor seconds, what it printed."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = os.environ | one | {"PYTHONPATH": str(folder), "OMP_WAIT_POLICY": "PASSIVE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *map(str, command)], cwd=folder, env=environment, check=True,
                          capture_output=True, text=True)  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout
