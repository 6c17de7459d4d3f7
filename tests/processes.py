"""Waiting for other processes, for the tests that start or kill some."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil


def within(seconds: float, happens: Callable[[], object]) -> bool:
    """Whether `happens()` becomes true within so many seconds."""
    end = time.monotonic() + seconds
    while not (happened := happens()) and time.monotonic() < end:
        time.sleep(0.05)
    return bool(happened)


def ended(processes: list[psutil.Process]) -> bool:
    """Whether none of them runs any more; a dead one may wait for its parent to ask."""
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)
