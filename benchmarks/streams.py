"""What the two streams cost, as ratios taken inside one run: `python benchmarks/streams.py OUT.json`.

Variants of one piece of work take turns, and medians are compared: absolute times depend on the machine and on what
else it does, ratios much less. On a busy machine take `--clock cpu` with one thread. With `--keras-python PYTHON` (an
environment with tensorflow-cpu 2.15 and spektral) the published networks, rebuilt in `keras_reference.py`, take their
turns in a process of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import reduce
from pathlib import Path

import numpy as np

from lczlib.compute import bf16_pays, cpu_count, prepare_cpu

prepare_cpu()

import torch  # noqa: E402
from torch.nn import functional  # noqa: E402

from lczlib.graphs import GraphSet, node_features, to_batch  # noqa: E402
from lczlib.models import InstanceGCN, ResNet3D11  # noqa: E402
from lczlib.models.baselines import make_baseline  # noqa: E402
from lczlib.models.inference import predict  # noqa: E402
from lczlib.runs import write_json  # noqa: E402
from lczlib.training import Nadam  # noqa: E402

Work = Callable[[], object]


class Keras:
    """The reference networks in a process of their own; `keras(name)` does a unit of work and returns its seconds."""

    def __init__(self, python: str, *sizes: int):
        script = str(Path(__file__).with_name("keras_reference.py"))
        self.process = subprocess.Popen(
            [python, script, "--serve", *map(str, sizes), str(torch.get_num_threads()), clock.__name__],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
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


clock = time.perf_counter  # or time.process_time, by --clock


def compare(variants: dict[str, Work], rounds: int, reference: str) -> dict[str, dict[str, float]]:
    """Median seconds of each variant, taking turns, and its ratio to the reference (below 1: faster)."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(rounds + 1):
        for name, work in variants.items():
            start = clock()
            answered = work()
            spent = answered if isinstance(answered, float) else clock() - start
            if turn:  # the first round warms up
                times[name].append(spent)
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    return {name: {"seconds": m, "ratio": m / medians[reference]} for name, m in medians.items()}


def training_step(model: torch.nn.Module, args: tuple, labels: torch.Tensor, bf16: bool = False) -> Work:
    """One optimizer step on the whole batch."""
    model.train()
    optimizer = Nadam(model, 0.001)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = functional.cross_entropy(model(*args).float(), labels)
        loss.backward()
        optimizer.step()

    return step


def s2(options: argparse.Namespace, keras: Keras | None) -> dict:
    patches = np.random.default_rng(0).random((options.batch, 32, 32, 10), dtype=np.float32)
    x, y = torch.from_numpy(patches).permute(0, 3, 1, 2), torch.arange(options.batch) % 17
    width = options.width
    training = {
        "fp32": training_step(ResNet3D11(width), (x,), y),
        "fp32, unread positions left out (a departure)": training_step(ResNet3D11(width, thin_training=True), (x,), y),
    }
    model = ResNet3D11(width).eval()
    inference = {
        "fp32, every position": lambda: every_position(model, x),
        "fp32": lambda: predict(model, patches, options.batch),
    }
    if bf16_pays():
        training["bf16"] = training_step(ResNet3D11(width), (x,), y, bf16=True)
        inference["bf16"] = lambda: predict(model, patches, options.batch, precision="bf16")
    if keras:
        training["keras"], inference["keras"] = (lambda n=n: keras(n) for n in ("s2_training", "s2_inference"))
    base = ("keras", "keras") if keras else ("fp32", "fp32, every position")
    found = {
        "training": compare(training, options.rounds, base[0]),
        "inference": compare(inference, options.rounds, base[1]),
    }
    return found if bf16_pays() else found | {"bf16 emulated, two patches, width 16": emulated(16)}


def emulated(width: int) -> dict:
    """What bf16 costs on a processor without it: one step and one inference of two patches, beside fp32."""
    x, y = torch.rand(2, 10, 32, 32), torch.arange(2)
    model, low = ResNet3D11(width), (("fp32", False), ("bf16", True))
    patches = x.permute(0, 2, 3, 1).numpy()
    steps = {name: training_step(ResNet3D11(width), (x,), y, bf16=on) for name, on in low}
    inferences = {name: (lambda name=name: predict(model, patches, precision=name)) for name, _ in low}
    return {"training": compare(steps, 1, "fp32"), "inference": compare(inferences, 1, "fp32")}


def every_position(model: ResNet3D11, x: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        y = model.stem(x.permute(0, 2, 3, 1).unsqueeze(1)).relu()
        for block in model.blocks:
            z = block.expand(block.spatial(block.reduce(y, block.stride).relu()).relu())
            y = torch.relu(z + block.shortcut(y, block.stride))
        return model.head(y.mean((2, 3, 4)))


def graph_work(count: int, nodes: int) -> dict[str, tuple[Work, Work]]:
    """(an epoch, an inference) over `count` graphs, for each form of the layer."""
    rng = np.random.default_rng(0)
    graphs = GraphSet(
        np.arange(count), rng.random((count, nodes, 5), dtype=np.float32), np.full(count, nodes, dtype=np.int64)
    )
    closed, listed, dense = InstanceGCN(), InstanceGCN(), make_baseline("gcn", 32, 5)
    parts = [
        (torch.from_numpy(graphs.x[k : k + 32]), torch.from_numpy(graphs.nodes[k : k + 32]))
        for k in range(0, count, 32)
    ]
    batches = [(to_batch(*part),) for part in parts]
    labels = torch.arange(32) % 17

    def epoch(model: torch.nn.Module, arguments: list[tuple]) -> Work:
        steps = [training_step(model, args, labels[: len(part[1])]) for args, part in zip(arguments, parts)]
        return lambda: [step() for step in steps]

    def inference(model: torch.nn.Module, arguments: list[tuple]) -> Work:
        def run() -> None:
            with torch.inference_mode():
                for args in arguments:
                    model(*args)

        return run

    return {
        "closed form": (epoch(closed, parts), lambda: predict(closed, graphs, batch_size=512)),
        "dense adjacency": (epoch(dense, parts), inference(dense, parts)),
        "listed edges (torch_geometric)": (epoch(listed, batches), inference(listed, batches)),
    }


def ge(options: argparse.Namespace, keras: Keras | None) -> dict:
    work = graph_work(options.graphs, 50)
    base = "spektral" if keras else "listed edges (torch_geometric)"
    out = {}
    for place, name in enumerate(("epoch", "inference")):
        variants = {variant: pair[place] for variant, pair in work.items()}
        if keras:
            variants["spektral"] = lambda name=name: keras(f"graph_{name}")
            if name == "inference":
                variants["spektral, network alone"] = lambda: keras("graph_inference_bare")
        out[name] = compare(variants, options.rounds, base)
    return out


def growth(options: argparse.Namespace) -> dict:
    """Cost of a graph epoch against the number of pairs and of nodes, as a multiple of the smallest."""
    pairs, nodes = (320, 640, 1280), (10, 25, 50, 100)
    by_pairs = {str(n): graph_work(n, 50)["closed form"][0] for n in pairs}
    forms = ("closed form", "dense adjacency")
    by_nodes = {f: {str(n): graph_work(320, n)[f][0] for n in nodes} for f in forms}
    return {
        "pairs": compare(by_pairs, options.rounds, str(pairs[0])),
        "nodes": {f: compare(work, options.rounds, str(nodes[0])) for f, work in by_nodes.items()},
    }


def reading(options: argparse.Namespace) -> dict:
    """Batches of 64 from 2,048 patches in random order: one npz each as published, against one memory-mapped file."""
    rng, count = np.random.default_rng(0), 2048
    batches = rng.permutation(count).reshape(-1, 64)
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/packed.npy", rng.random((count, 32, 32, 10), dtype=np.float32))
        packed = np.load(f"{folder}/packed.npy", mmap_mode="r")
        for i, patch in enumerate(packed):
            np.savez(f"{folder}/{i}.npz", image=patch, label=1)

        def each(batch: np.ndarray) -> np.ndarray:
            return np.stack([np.load(f"{folder}/{i}.npz")["image"] for i in batch])

        def all_batches(read: Callable) -> None:
            for batch in batches:
                read(batch)

        variants = {"one npz each": lambda: all_batches(each), "packed": lambda: all_batches(packed.__getitem__)}
        return compare(variants, options.rounds, "one npz each")


def machine() -> dict[str, object]:
    """What the figures were taken on."""
    names = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.split(":")[1].strip() for line in names if line.startswith("model name")), platform.processor())
    facts = {"cpu": name, "cores": cpu_count(), "instructions": torch.backends.cpu.get_cpu_capability()}
    return facts | {"bf16": bf16_pays(), "torch": torch.__version__, "threads": torch.get_num_threads()}


def construction(options: argparse.Namespace) -> dict:
    """Node features of 50 masks: masks applied to the whole image as published, against windows."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (320, 320, 3), dtype=np.uint8)
    masks, boxes = np.zeros((50, 320, 320), bool), np.zeros((50, 4))
    for k in range(50):
        x, y, w, h = *rng.integers(0, 250, 2), *rng.integers(10, 70, 2)
        masks[k, y : y + h, x : x + w], boxes[k] = True, (x, y, w - 1, h - 1)
    variants = {
        "whole images": lambda: [[image[..., c][mask].mean() / 255 for c in range(3)] for mask in masks],
        "windows": lambda: node_features(image, masks, boxes),
    }
    return compare(variants, options.rounds, "whole images")


def times_faster(found: dict) -> dict[str, float]:
    """What each part came to, as one number: ours against the reference, at equal mathematics."""
    best = "bf16" if bf16_pays() else "fp32"
    ours = {"reading": ("reading", "packed"), "node_features": ("node_features", "windows")}
    ours |= {f"graph_{part}": ("ge", part, "closed form") for part in ("epoch", "inference")}
    ours |= {f"s2_{part}": ("s2", part, best) for part in ("training", "inference")}
    return {
        name: 1 / reduce(lambda part, step: part[step], where, found)["ratio"]
        for name, where in ours.items()
        if where[0] in found
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--keras-python", help="python with tensorflow-cpu 2.15 and spektral 1.3.1")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--graphs", type=int, default=960)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: processor time (one thread)")
    options = parser.parse_args()
    global clock
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    keras = Keras(options.keras_python, options.width, options.batch, options.graphs) if options.keras_python else None
    found = {
        "machine": machine(),
        "precision chosen": "bf16" if bf16_pays() else "fp32",
        "options": {name: value for name, value in vars(options).items() if name not in ("out", "keras_python")},
        "against": "keras and spektral" if keras else "our own plain form",
    }
    print(f"precision: {found['precision chosen']}")
    parts = {"reading": reading, "node_features": construction, "ge": lambda o: ge(o, keras), "graph_growth": growth}
    for name, part in (parts | {"s2": lambda o: s2(o, keras)}).items():
        found[name] = part(options)
        found["numbers"] = {"times_faster": times_faster(found)}
        print(name, json.dumps(found[name]), flush=True)
        write_json(options.out, found)  # after each part: a run that is cut short leaves what it has
    if keras:
        keras.process.stdin.close()
        keras.process.wait()


if __name__ == "__main__":
    sys.exit(main())
