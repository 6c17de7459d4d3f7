"""Shuffled batches of So2Sat's file against torchgeo's: `LCZ_TORCHGEO_PYTHON=PYTHON python -m benchmarks.reading`.

One generated file of the published layout, in the page cache; both make float32 (64, 10, 32, 32) and labels, in one
process each, taking turns. PYTHON is of an environment with torchgeo 0.8.1 (0.10 wants a newer Python than 3.11).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BATCH = 64


def write_file(path: Path, count: int) -> None:
    """`training.h5` of `count` patches, of noise about a plausible spectrum."""
    import h5py

    rng, zones = np.random.default_rng(0), np.arange(count) % 17
    with h5py.File(path, "w") as file:
        sen1 = file.create_dataset("sen1", (count, 32, 32, 8), "f8")
        sen2 = file.create_dataset("sen2", (count, 32, 32, 10), "f8")
        for start in range(0, count, 256):
            rows = slice(start, min(start + 256, count))
            sen1[rows] = rng.normal(size=(rows.stop - start, 32, 32, 8))
            sen2[rows] = rng.uniform(0.1, 0.3, (rows.stop - start, 32, 32, 10))
        file["label"] = np.eye(17)[zones]


def lczlib_batches(folder: Path, batches: int, seed: int):
    """Seconds of `batches` shuffled batches, and the sum of the last one's labels and patches."""
    from lczlib.data import open_pairs
    from lczlib.models.inference import arguments

    pairs = open_pairs(folder)
    s2, labels = pairs.s2, pairs.labels - 1
    order = np.random.default_rng(seed).permutation(len(pairs))[: batches * BATCH].reshape(-1, BATCH)
    start = time.perf_counter()
    for rows in order:
        patches, zones = arguments(s2[rows], "cpu")[0], labels[rows]
    return time.perf_counter() - start, patches.shape, int(zones.sum()), float(patches.double().sum())


def torchgeo_batches(folder: Path, batches: int, seed: int):
    """The same by torchgeo."""
    from torch.utils.data import DataLoader, Subset
    from torchgeo.datasets import So2Sat

    data = So2Sat(str(folder), split="train", bands=So2Sat.BAND_SETS["s2"])
    order = np.random.default_rng(seed).permutation(len(data))[: batches * BATCH]
    loader = DataLoader(Subset(data, order.tolist()), BATCH)
    start = time.perf_counter()
    for batch in loader:
        patches, zones = batch["image"], batch["label"]
    return time.perf_counter() - start, patches.shape, int(zones.sum()), float(patches.double().sum())


def serve(folder: Path, batches: int) -> None:
    """Answer each seed with seconds and sums of torchgeo's batches."""
    for seed in sys.stdin:
        seconds, *found = torchgeo_batches(folder, batches, int(seed))
        print("answer", seconds, *found[1:], flush=True)


def main() -> None:
    """Measure, print and write."""
    from benchmarks.common import TURNS, row, save

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=4096, help="patches of the file")
    parser.add_argument("--batches", type=int, default=20, help="of each turn")
    options = parser.parse_args()
    if not (python := os.environ.get("LCZ_TORCHGEO_PYTHON")):
        print("reading: LCZ_TORCHGEO_PYTHON names no python with torchgeo 0.8.1; the old figures stay")
        return
    with tempfile.TemporaryDirectory() as folder:
        write_file(Path(folder) / "training.h5", options.count)
        command = [python, __file__, "--serve", folder, str(options.batches)]
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        theirs = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean)
        turns: dict[str, list[float]] = {"ours": [], "torchgeo 0.8.1": []}
        for seed in range(TURNS + 1):
            seconds, shape, zones, total = lczlib_batches(Path(folder), options.batches, seed)
            theirs.stdin.write(f"{seed}\n")
            theirs.stdin.flush()
            answer = next(line.split() for line in theirs.stdout if line.startswith("answer"))
            assert tuple(shape) == (BATCH, 10, 32, 32)
            assert zones == int(answer[2])
            assert abs(total - float(answer[3])) < 1e-3 * total, "not the same patches"
            if seed:  # the first turn warms up
                turns["ours"].append(seconds / options.batches)
                turns["torchgeo 0.8.1"].append(float(answer[1]) / options.batches)
        theirs.stdin.close()
        theirs.wait()
    save(__file__, [row("So2Sat, a shuffled batch of 64", turns, "ours", "torchgeo 0.8.1", goal=20)])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
