"""Parallel work, allocator, threads and device are settled in one place and say what they did."""

import logging
import os
import platform
import subprocess
import sys
import threading
import time
import warnings
from multiprocessing import get_context

import dask
import psutil
import pytest
import torch
from processes import ended, within

from lczlib import compute
from lczlib.errors import InputError

HELD = """
import os, psutil, torch
from lczlib.compute import prepare_cpu
prepare_cpu()
before = psutil.Process().memory_info().rss
tensor = torch.ones(50_000_000)
del tensor
print((psutil.Process().memory_info().rss - before) / 200e6)
"""


def share_kept_after_freeing(**environment: str) -> float:
    run = [sys.executable, "-c", HELD]
    out = subprocess.run(run, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    return float(out.stdout)


def test_prepare_cpu_sets_the_threads(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    try:
        assert compute.prepare_cpu() == torch.get_num_threads() == 1
        assert os.environ["OMP_WAIT_POLICY"]
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the trap is glibc's")
def test_freed_memory_is_kept():
    assert share_kept_after_freeing() > 0.9
    assert share_kept_after_freeing(LCZLIB_MALLOPT="0") < 0.1


def test_threads_side_by_side_use_one_each_and_leave_all_as_it_was():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        with compute.thread_map(torch.device("cpu")) as (count, run):
            meet = threading.Barrier(3, timeout=10)  # passed only if three are at work at once
            seen = list(run(lambda i: (meet.wait() < 3, i, torch.get_num_threads()), range(3)))
        assert (count, seen) == (3, [(True, 0, 1), (True, 1, 1), (True, 2, 1)])
        with pytest.raises(ZeroDivisionError), compute.thread_map(torch.device("cpu")) as (_, run):
            list(run(lambda i: 1 / i, range(3)))
        assert torch.get_num_threads() == 3
        with compute.thread_map(torch.device("meta")) as one:
            assert one == (1, map)
    finally:
        torch.set_num_threads(before)


def test_device_and_cores():
    assert 1 <= compute.cpu_count() <= (os.cpu_count() or 1)
    assert compute.pick_device().type in ("cpu", "cuda")


@pytest.mark.skipif(not os.path.exists("/proc/cpuinfo"), reason="Linux says what a processor has")
def test_bf16_pays_where_the_processor_says_so():
    with open("/proc/cpuinfo", encoding="ascii") as file:
        flags = file.read()
    assert compute.bf16_pays() == ("amx_tile" in flags or "avx512_bf16" in flags)
    assert not compute.bf16_pays("meta")


def threads_and(value: int) -> tuple[int, int]:
    return value, torch.get_num_threads()


def test_results_come_in_the_order_of_the_jobs_from_workers_of_one_thread():
    jobs = [{"value": v} for v in range(4)]
    assert list(compute.parallel(threads_and, jobs, workers=2)) == [(v, 1) for v in range(4)]
    assert [v for v, _ in compute.parallel(threads_and, jobs[:1], workers=2)] == [0]


def rest(value: int) -> int:
    time.sleep(0.3)
    return value


@pytest.mark.parametrize("workers", [1, 2])
def test_jobs_are_taken_as_they_are_needed(workers):
    taken = []
    jobs = ({"value": taken.append(v) or v} for v in range(30))
    results = compute.parallel(rest, jobs, workers)
    assert next(results) == 0
    assert len(taken) < 20, "all jobs were taken at once"
    with warnings.catch_warnings(action="ignore"):
        results.close()


def refuse(value: int) -> None:
    raise InputError(f"pair {value}: damaged; copy it again")


def test_an_error_of_a_job_arrives_as_it_was_raised():
    with pytest.raises(InputError, match=r"^pair \d: damaged; copy it again$"):
        list(compute.parallel(refuse, [{"value": v} for v in range(3)], workers=2))


def tell_and_sleep(folder):
    (folder / str(os.getpid())).touch()
    time.sleep(600)


def work_in_two(folder):
    list(compute.parallel(tell_and_sleep, [{"folder": folder}] * 4, workers=2))


def test_workers_end_when_their_parent_is_killed(tmp_path):
    parent = get_context("spawn").Process(target=work_in_two, args=(tmp_path,))
    parent.start()
    assert within(60, lambda: len(list(tmp_path.iterdir())) == 2)
    workers = [psutil.Process(int(path.name)) for path in tmp_path.iterdir()]
    parent.kill()
    parent.join()
    assert within(30, lambda: ended(workers)), "a worker outlived its parent"


def work_alone():
    assert list(compute.parallel(rest, [{"value": v} for v in range(2)], workers=-compute.cpu_count())) == [0, 1]


def test_a_process_that_works_alone_is_not_taken_for_a_worker():
    process = get_context("spawn").Process(target=work_alone)
    process.start()
    process.join(60)
    assert process.exitcode == 0


def test_without_a_dask_scheduler_one_line_says_so():
    with pytest.raises(InputError, match=r"^tcp://127\.0\.0\.1:9: no Dask scheduler there .*; start one"):
        next(compute.parallel(threads_and, [{"value": 0}], dask="tcp://127.0.0.1:9"))


def die_in_the_first_worker(value: int, folder) -> int:
    if value == 1 and not (folder / "died").exists():
        (folder / "died").touch()
        os._exit(1)
    return value


def die(value: int) -> None:
    os._exit(1)


def test_a_killed_dask_worker_costs_nothing_but_time_and_a_deadly_job_is_reported(tmp_path):
    distributed = pytest.importorskip("distributed")
    cluster = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    deaths = dask.config.set({"distributed.scheduler.allowed-failures": 1})  # of one job
    with deaths, distributed.LocalCluster(**cluster, silence_logs=logging.CRITICAL) as cluster:
        jobs = [{"value": v, "folder": tmp_path} for v in range(5)]
        address = cluster.scheduler_address
        assert list(compute.parallel(die_in_the_first_worker, jobs, dask=address)) == list(range(5))
        assert (tmp_path / "died").exists()
        with pytest.raises(distributed.KilledWorker):
            list(compute.parallel(die, [{"value": 0}], dask=address))


@pytest.mark.parametrize(
    ("amx", "bf16", "expected"), [(True, True, "amx"), (False, True, "avx512-bf16"), (False, False, "fp32")]
)
def test_instruction_set_names_what_trainings_run_on(monkeypatch, amx, bf16, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16, raising=False)
    assert compute.instruction_set() == expected
