"""The two streams against Keras and Spektral: `LCZ_KERAS_PYTHON=PYTHON python -m benchmarks.streams [--batch 16]`.

PYTHON is of an environment with tensorflow-cpu 2.15 and spektral 1.3.1: the published networks, rebuilt in
`keras_reference.py`, take turns with ours from a process of their own. Also: reading patches, and how an epoch of the
graph stream grows.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

from benchmarks.common import Work, bf16_pays, gflop, np, row, save, take_turns, torch
from lczlib.graphs import GraphSet, to_batch
from lczlib.models import InstanceGCN, ResNet3D11
from lczlib.models.baselines import make_baseline
from lczlib.models.inference import predict
from lczlib.training import Nadam

KERAS, SPEKTRAL, WIDTH = "Keras", "Spektral", 64


class Keras:
    """The reference networks in a process of their own; `keras(name)` does a unit of work and returns its seconds."""

    def __init__(self, python: str, *sizes: int):
        script, clock = str(Path(__file__).with_name("keras_reference.py")), "process_time"
        threads = torch.get_num_threads()
        self.process = subprocess.Popen(
            [python, script, "--serve", *map(str, sizes), str(threads), clock if threads == 1 else "perf_counter"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        )  # fmt: skip
        self._answer("ready")

    def _answer(self, expected: str = "") -> str:
        for line in self.process.stdout:
            if not expected or line.strip() == expected:
                return line
        raise RuntimeError("the Keras process ended; does the environment have tensorflow 2.15 and spektral?")

    def __call__(self, name: str) -> float:
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        return float(self._answer())


def training_step(model: torch.nn.Module, args: tuple, labels: torch.Tensor, bf16: bool = False) -> Work:
    """One optimizer step on the whole batch."""
    model.train()
    optimizer = Nadam(model, 0.001)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = torch.nn.functional.cross_entropy(model(*args).float(), labels)
        loss.backward()
        optimizer.step()

    return step


def s2(batch: int, keras: Keras) -> tuple[list[dict], dict]:
    """Rows of the Sentinel-2 network, and seconds of its fp32 training step and inference."""
    patches = np.random.default_rng(0).random((batch, 32, 32, 10), dtype=np.float32)
    x, y, model = torch.from_numpy(patches).permute(0, 3, 1, 2), torch.arange(batch) % 17, ResNet3D11(WIDTH).eval()
    kinds = ("fp32", "bf16") if bf16_pays() else ("fp32",)
    steps: dict[str, Work] = {k: training_step(ResNet3D11(WIDTH), (x,), y, k == "bf16") for k in kinds}
    passes: dict[str, Work] = {k: lambda k=k: predict(model, patches, batch, precision=k) for k in kinds}
    training = take_turns(steps | {KERAS: lambda: keras("s2_training")})
    inference = take_turns(passes | {KERAS: lambda: keras("s2_inference")})
    goals, per = {"fp32": 3, "bf16": 5}, f"of {batch} patches"
    rows = [row(f"Sentinel-2 training step {per}", training, k, KERAS, goals[k], gflop(steps[k])) for k in kinds]
    rows += [row(f"Sentinel-2 probabilities {per}", inference, k, KERAS, gflop=gflop(passes[k])) for k in kinds]
    return rows, {"training": np.median(training["fp32"]), "inference": np.median(inference["fp32"])}


def graph_work(count: int, nodes: int) -> dict[str, tuple[Work, Work]]:
    """(an epoch, an inference) over `count` graphs, for each form of the layer."""
    rng, dense = np.random.default_rng(0), make_baseline("gcn", 32, 5)
    x = rng.random((count, nodes, 5), dtype=np.float32)
    graphs = GraphSet(np.arange(count), x, np.full(count, nodes, dtype=np.int64))
    closed, listed = InstanceGCN(), InstanceGCN()
    parts = [tuple(map(torch.from_numpy, (x[k : k + 32], graphs.nodes[k : k + 32]))) for k in range(0, count, 32)]
    batches, labels = [(to_batch(*part),) for part in parts], torch.arange(32) % 17

    def epoch(model: torch.nn.Module, arguments: list[tuple]) -> Work:
        steps = [training_step(model, args, labels[: len(part[1])]) for args, part in zip(arguments, parts)]
        return lambda: [step() for step in steps]

    def inference(model: torch.nn.Module, arguments: list[tuple]) -> Work:
        return torch.inference_mode()(lambda: [model(*args) for args in arguments])

    return {
        "closed form": (epoch(closed, parts), lambda: predict(closed, graphs, batch_size=512)),
        "dense adjacency": (epoch(dense, parts), inference(dense, parts)),
        "listed edges (torch_geometric)": (epoch(listed, batches), inference(listed, batches)),
    }


def ge(count: int, keras: Keras) -> tuple[list[dict], float]:
    """Rows of the graph network, and seconds of an epoch."""
    work, rows = graph_work(count, 50), []
    for place, name in enumerate(("epoch", "inference")):
        variants = {variant: pair[place] for variant, pair in work.items()}
        found = take_turns(variants | {SPEKTRAL: lambda name=name: keras(f"graph_{name}")})
        rows += [row(f"graph stream, {name} of {count} graphs", found, variant, SPEKTRAL) for variant in variants]
        if name == "epoch":
            seconds = float(np.median(found["closed form"]))
    return rows, seconds


def growth() -> dict[str, dict[str, float]]:
    """Seconds of an epoch of the graph stream against the number of pairs (of 50 nodes) and of nodes (320 pairs)."""
    pairs = take_turns({str(n): graph_work(n, 50)["closed form"][0] for n in (320, 640, 1280, 2560)})
    nodes = take_turns({str(n): graph_work(320, n)["closed form"][0] for n in (10, 25, 50, 100)})
    return {name: {n: np.median(s) for n, s in found.items()} for name, found in (("pairs", pairs), ("nodes", nodes))}


def reading() -> dict[str, object]:
    """Batches of 64 from 2,048 patches in random order: one memory-mapped file, against one npz each as published."""
    rng, count = np.random.default_rng(0), 2048
    batches = rng.permutation(count).reshape(-1, 64)
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/packed.npy", rng.random((count, 32, 32, 10), dtype=np.float32))
        packed = np.load(f"{folder}/packed.npy", mmap_mode="r")
        for i, patch in enumerate(packed):
            np.savez(f"{folder}/{i}.npz", image=patch, label=1)
        one_by_one = "one npz a patch"
        seconds = take_turns({
            "one file": lambda: [packed[batch] for batch in batches],
            one_by_one: lambda: [[np.load(f"{folder}/{i}.npz")["image"] for i in batch] for batch in batches],
        })  # fmt: skip
    return row("reading 2,048 patches in random order", seconds, "one file", one_by_one)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--graphs", type=int, default=960)
    options = parser.parse_args()
    if not (python := os.environ.get("LCZ_KERAS_PYTHON")):
        raise SystemExit(
            "streams: LCZ_KERAS_PYTHON names no python with TensorFlow 2.15 and Spektral; the old figures stay"
        )
    keras = Keras(python, WIDTH, options.batch, options.graphs)
    more, epoch = ge(options.graphs, keras)
    rows, seconds = s2(options.batch, keras)
    keras.process.stdin.close()
    save(__file__, [*rows, *more, reading()], options=vars(options), s2=seconds, graph_epoch=epoch, growth=growth())


if __name__ == "__main__":
    main()
