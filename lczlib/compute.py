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
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from joblib import Parallel, cpu_count, delayed, parallel_config

from lczlib.errors import InputError

if TYPE_CHECKING:
    import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, LARGEST = -1, -3, 2**31 - 1  # malloc.h of glibc


@lru_cache(maxsize=1)
def keep_freed_memory() -> None:
    """Tell glibc, where there is one, to keep freed memory (trap 1 above); not with `LCZLIB_MALLOPT=0` set."""
    if os.environ.get("LCZLIB_MALLOPT") != "0" and platform.libc_ver()[0] == "glibc":
        for option in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            ctypes.CDLL(None).mallopt(option, LARGEST)


def prepare_cpu() -> int:
    """Settle allocator and threads where heavy work starts; returns the number of torch threads of this process.

    `OMP_NUM_THREADS` where set, else every core it may use. Set it to 1 in each of several processes side by side.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # for this process if torch is not loaded yet, and for children
    keep_freed_memory()
    import torch

    threads = int(os.environ.get("OMP_NUM_THREADS") or 0) or cpu_count()
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    return threads


def parallel(
    function: Callable, jobs: Iterable[dict[str, object]], workers: int = 1, dask: str | None = None
) -> Iterator[Any]:
    """Yield `function(**job)` for each job, in the order of the jobs, several computed at a time.

    Jobs are taken as workers need them, so that images of a whole data set never lie in memory. A worker computes with
    one thread: two trainings of one thread side by side take less time than one after the other with two threads.

    Args:
        workers: processes; with 1, or one job, this process computes, with all its threads.
        dask: address of a running Dask scheduler (InputError where none answers), whose workers compute instead. A
            killed worker costs its tasks' time.
    """
    jobs = iter(jobs)
    first = list(itertools.islice(jobs, 2))
    jobs = itertools.chain(first, jobs)
    if dask:
        yield from _on_dask(function, jobs, dask)
    elif workers == 1 or len(first) < 2:
        yield from (function(**job) for job in jobs)
    else:
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
    if parent != os.getpid():  # joblib computes here where it finds one core
        begin_worker(parent)
    return function(**job)


@lru_cache(maxsize=1)  # once a process
def begin_worker(parent: int | None = None) -> None:
    """Let this process compute with one thread, and end when the process `parent` is gone, where one is given.

    loky's workers whose parent was killed wait for a lock for ever, and so do those of `ProcessPoolExecutor`.
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


@contextmanager
def thread_map(device: torch.device) -> Iterator[tuple[int, Callable[..., Iterator]]]:
    """How many threads, and a map over them: on a CPU as many as torch has, each operation with one; else plain `map`.

    Small tensors gain little from threads within an operation and nearly all from operations beside each other.
    """
    import torch

    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield 1, map
        return
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield threads, pool.map
    finally:
        torch.set_num_threads(threads)


def pick_device() -> torch.device:
    """The device to compute on: the first GPU there is, or the CPU."""
    import torch

    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def instruction_set(device: torch.device | str | None = None) -> str:
    """Which kernels compute there, or on `pick_device()`: "cuda", "amx", "avx512-bf16" or "fp32" (no bfloat16).

    Other kernels round otherwise, and thousands of steps later the same seed has trained another network.
    """
    import torch

    kind = torch.device(device or pick_device()).type
    for name, flag in (("amx", "amx_tile"), ("avx512-bf16", "avx512_bf16")):
        if kind == "cpu" and getattr(torch.cpu, f"_is_{flag}_supported", bool)():
            return name
    return "cuda" if kind == "cuda" else "fp32"


def bf16_pays(device: torch.device | str = "cpu") -> bool:
    """Whether bfloat16 is computed as such there: GPUs that have it, CPUs with AMX tiles or AVX512-BF16.

    With AMX it is several times faster than float32, with AVX512-BF16 alone about as fast (it saves memory). Elsewhere
    (AVX2, say) it is emulated and several times slower, so recipes choose float32 there.
    """
    import torch

    kernels = instruction_set(device)
    return torch.cuda.is_bf16_supported() if kernels == "cuda" else kernels != "fp32"
