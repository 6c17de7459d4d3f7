"""How fast synthetic pairs are made: pairs per second by workers, and where one pair's time goes, as ratios.

    python benchmarks/synthetic.py [--pairs 102] [--rounds 3] [--workers 1 2]

Variants are interleaved in every round and compared by the median of their ratio to one worker; absolute numbers
hold for the machine they were taken on, and only when nothing else runs there.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from lczworld import generate_scene, make_dataset, measure


def seconds(call, *arguments, **options) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    call(*arguments, **options)
    return time.perf_counter() - start


def by_workers(workers: list[int], pairs: int, rounds: int) -> dict[int, list[float]]:
    """Pairs per second of each number of workers, the start of the workers included."""
    found: dict[int, list[float]] = {count: [] for count in workers}
    for _ in range(rounds):
        for count in workers:
            with tempfile.TemporaryDirectory() as folder:
                taken = seconds(make_dataset, Path(folder) / "data", pairs, workers=count, progress=False)
            found[count].append(pairs / taken)
    return found


def by_step(rounds: int) -> dict[str, float]:
    """Share of a pair's time: planning and light (`measure`) against rendering both patches; median over zones."""
    plan, whole = [], []
    for k in range(rounds):
        for label in range(1, 18):
            plan.append(seconds(measure, label, k % 8, 3 * k))
            whole.append(seconds(generate_scene, label, k % 8, 3 * k))
    share = float(np.median(np.array(plan) / np.array(whole)))
    return {"plan, height, light": share, "both patches": 1 - share}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=102)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    generate_scene(1)
    found = by_workers(options.workers, options.pairs, options.rounds)
    base = found[options.workers[0]]
    print("workers  pairs/s  ratio to first")
    for count, rates in found.items():
        print(f"{count:7d} {median(rates):8.1f} {median(r / b for r, b in zip(rates, base, strict=True)):10.2f}")
    for name, share in by_step(2).items():
        print(f"{name:22} {share:.2f} of a scene's time")


if __name__ == "__main__":
    main()
