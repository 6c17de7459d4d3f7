"""Where heavy work starts: parallel work, memory allocator, threads, device.

Two traps, both settled by `prepare_cpu`:

1. glibc hands every large tensor back to the system when it is freed and takes it again at the next step: half of the
   time of a training step of sixteen patches. `mallopt` makes it keep freed memory; a process then holds on to the most
   it ever used.
2. OpenMP threads wait for each other in a busy loop. While another process has a core, an epoch of 0.5 s was seen to
   take 18 s. `OMP_WAIT_POLICY=PASSIVE` lets them sleep; it is read once, when OpenMP is loaded, so it is set before
   torch is imported and passed on to every child.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import platform
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from joblib import cpu_count

from lczlib.errors import InputError

if TYPE_CHECKING:
    import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, LARGEST = -1, -3, 2**31 - 1  # malloc.h of glibc

__all__ = ["ThreadMap", "begin_worker", "bf16_pays", "cpu_count", "instruction_set", "keep_freed_memory", "parallel",
           "pick_device", "prepare_cpu", "thread_map"]  # fmt: skip


@lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory instead of giving it back at every step (trap 1 above).

    Returns:
        True where it was done; False on systems without glibc, or with `LCZLIB_MALLOPT=0` in the environment.
    """
    if os.environ.get("LCZLIB_MALLOPT") == "0" or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    done = [libc.mallopt(option, LARGEST) for option in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD)]
    return all(done)


def prepare_cpu(threads: int | None = None) -> dict[str, object]:
    """Settle allocator and threads; call it where heavy work starts, as often as one likes.

    Args:
        threads: torch threads of this process; None: `OMP_NUM_THREADS` where set, else every core it may use.
            Give 1 in each of several processes working side by side.

    Returns:
        What was done: `allocator` (bool), `passive_wait` (bool: OpenMP threads sleep while they wait), `threads`.
    """
    late = "torch" in sys.modules and "OMP_WAIT_POLICY" not in os.environ
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # for this process if torch is not loaded yet, and for children
    allocator = keep_freed_memory()
    import torch

    threads = threads or int(os.environ.get("OMP_NUM_THREADS") or 0) or cpu_count()
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    passive = not late and os.environ["OMP_WAIT_POLICY"].upper() == "PASSIVE"
    return {"allocator": allocator, "passive_wait": passive, "threads": threads}


def parallel(
    function: Callable, jobs: Iterable[dict[str, object]], workers: int = 1, dask: str | None = None
) -> Iterator[Any]:
    """Yield `function(**job)` for each job, in the order of the jobs, several computed at a time.

    Jobs are taken as workers need them, so that images of a whole data set never lie in memory. A worker computes with
    one thread: two trainings of one thread side by side take less time than one after the other with two threads.

    Args:
        function: any function; it travels to the workers by cloudpickle.
        jobs: keyword arguments of each call.
        workers: processes; with 1, or one job, this process computes, with all its threads.
        dask: address of a running Dask scheduler, whose workers compute instead. A killed worker costs its tasks' time.

    Raises:
        InputError: no Dask scheduler answers there.
    """
    jobs = iter(jobs)
    first = list(itertools.islice(jobs, 2))
    jobs = itertools.chain(first, jobs)
    if dask:
        yield from _on_dask(function, jobs, dask)
    elif workers == 1 or len(first) < 2:
        yield from (function(**job) for job in jobs)
    else:
        from joblib import Parallel, delayed, parallel_config

        with parallel_config("loky", inner_max_num_threads=1):
            pool = Parallel(workers, return_as="generator")
        yield from pool(delayed(_in_worker)(function, job, os.getpid()) for job in jobs)


def _on_dask(function: Callable, jobs: Iterator[dict[str, object]], address: str) -> Iterator[Any]:
    """Submit tasks directly: joblib's Dask backend waits for ever for one whose workers died."""
    from distributed import Client
    from distributed.comm import get_address_host_port

    try:
        socket.create_connection(get_address_host_port(address), 5).close()  # a Client that fails complains at exit
        client = Client(address, timeout="5s", set_as_default=False)
    except (OSError, ValueError) as fault:
        reason = str(fault).splitlines()[0][:80]
        raise InputError(f"{address}: no Dask scheduler there ({reason}); start one with `dask scheduler`") from None
    with client:
        tasks = (client.submit(_in_worker, function, job, pure=False) for job in jobs)
        running = deque(itertools.islice(tasks, 2 * max(2, sum(client.ncores().values()))))
        while running:
            yield running.popleft().result()
            running.extend(itertools.islice(tasks, 1))


def _in_worker(function: Callable, job: dict[str, object], parent: int | None = None) -> Any:
    begin_worker(parent)
    return function(**job)


@lru_cache(maxsize=1)  # once a process
def begin_worker(parent: int | None = None) -> None:
    """Let this process compute with one thread, and end when its parent is gone.

    loky's workers whose parent was killed wait for a lock for ever, and so do those of `ProcessPoolExecutor`.

    Args:
        parent: process number; None where another program watches over this process.
    """
    import cv2

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if parent:
        threading.Thread(target=watch, daemon=True).start()
    keep_freed_memory()
    cv2.setNumThreads(1)  # it takes every core for every image otherwise
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@dataclass(frozen=True)
class ThreadMap:
    """`map` applies a function to items, `n_threads` of them at once."""

    n_threads: int
    map: Callable[..., Iterator]


@contextmanager
def thread_map(device: torch.device) -> Iterator[ThreadMap]:
    """A map over as many threads as torch has on a CPU, each operation with one thread; elsewhere the plain `map`.

    Small tensors gain little from threads within an operation and nearly all from operations beside each other. The
    number of torch threads is set back afterwards.
    """
    import torch

    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield ThreadMap(1, map)
        return
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield ThreadMap(threads, pool.map)
    finally:
        torch.set_num_threads(threads)


def pick_device(name: str | None = None) -> torch.device:
    """The device to compute on: `name` ("cpu", "cuda:1", "mps"), or the first GPU there is, or the CPU."""
    import torch

    if name:
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    return torch.device("cpu")


def bf16_pays(device: torch.device | str = "cpu") -> bool:
    """Whether bfloat16 is computed as such there: GPUs that have it, CPUs with AMX tiles or AVX512-BF16.

    With AMX it is several times faster than float32, with AVX512-BF16 alone about as fast (it saves memory). Elsewhere
    (AVX2, say) it is emulated and several times slower, so recipes choose float32 there.
    """
    import torch

    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported()
    asked = (getattr(torch.cpu, f"_is_{name}_supported", bool) for name in ("amx_tile", "avx512_bf16"))
    return kind == "cpu" and any(supported() for supported in asked)


def instruction_set() -> str:
    """Which kernels trainings run on here: "cuda", "amx", "avx512-bf16" or "fp32" (a CPU without bfloat16).

    Other kernels round otherwise, and thousands of steps later the same seed has trained another network.
    """
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if getattr(torch.cpu, "_is_amx_tile_supported", bool)():
        return "amx"
    return "avx512-bf16" if bf16_pays() else "fp32"
