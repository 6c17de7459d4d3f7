"""One training loop for both streams: keyed, resumable to the bit, on one process or several.

Every random draw of an epoch (order, flips, angles, dropout) comes from (seed, epoch) alone. So a training that was
killed after any epoch continues from its checkpoint exactly as if it had never stopped, and several processes draw
the same order and share each batch. On several GPUs: `torchrun --nproc_per_node 4 -m lczlib.training DATA --stream s2`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
from joblib import Parallel, delayed, parallel_config
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from tqdm.auto import tqdm

from lczlib.compute import pick_device, prepare_cpu, seed_everything
from lczlib.data import Pairs, open_pairs
from lczlib.data.splits import Split, make_split
from lczlib.graphs import GraphSet, build_graphs
from lczlib.inference import Inputs, Source, load_model, make_model, predict
from lczlib.predictions import Predictions
from lczlib.recipe import Recipe
from lczlib.runs import Run, atomic_path

__all__ = ["Recipe", "Result", "augment_patches", "load_model", "make_model", "predict", "train_many", "train_stream"]

HISTORY = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "lr")


@dataclass(frozen=True)
class Result:
    """What a training made.

    Attributes:
        history: one row per epoch: epoch, loss, accuracy, val_loss, val_accuracy, lr.
        predictions: of every pair of the split. model: best weights, on the CPU, evaluating. run: its folder.
    """

    history: pd.DataFrame
    predictions: Predictions
    model: nn.Module
    run: Run


def train_stream(
    stream: str,
    model_name: str,
    inputs: Inputs,
    index: pd.DataFrame,
    split: Split,
    recipe: Recipe,
    seed: int,
    work_dir: str | Path,
    device: str | None = None,
) -> Result:
    """Train a network on one stream, or find the same training done, or go on where it was stopped.

    Args:
        stream: "s2" or "ge".
        model_name: see `make_model`.
        inputs: (N, 32, 32, 10) reflectance with the rows of `index`, or a GraphSet (joined by id).
        index: id, label, city, polygon (`Pairs.index`).
        split: ids to train, validate and test on.
        recipe: settings. seed: of weights, order and augmentation.
        work_dir: the run is kept in `work_dir/runs`, keyed by everything above.

    Raises:
        ValueError: inputs that do not fit the index, or a split without training pairs.
    """
    if recipe.stream != stream:
        raise ValueError(f"recipe is for stream {recipe.stream!r}, training is for {stream!r}; use one of the two")
    prepare_cpu()
    inputs = _aligned(inputs, index)
    rows = {part: np.flatnonzero(index["id"].isin(getattr(split, part))) for part in ("train", "validation", "test")}
    if not len(rows["train"]):
        raise ValueError("the split has no pair to train on; check the ids against index.csv")
    features = (inputs.x if isinstance(inputs, GraphSet) else inputs).shape[-1]
    params = {"stream": stream, "model": model_name, "features": features, "recipe": asdict(recipe), "seed": seed}
    run = Run(Path(work_dir) / "runs", f"{stream}-{model_name}", params | {"data": _digest(inputs, index, rows)})
    if not run.done:
        labels = torch.from_numpy(index["label"].to_numpy(np.int64) - 1)
        with _processes(device) as (rank, world, where):
            _Training(run, Source(inputs, where), labels.to(where), rows, recipe, seed, rank, world).finish(
                split, index
            )
    return _read_result(run)


def train_many(jobs: Iterable[dict[str, object]], workers: int = 1) -> list[Result]:
    """`train_stream(**job)` for each job, several at a time in processes of one thread each; results in their order."""
    jobs = list(jobs)
    with parallel_config("loky", inner_max_num_threads=1):
        return Parallel(workers if len(jobs) > 1 else 1)(delayed(train_stream)(**job) for job in jobs)


def _aligned(inputs: Inputs, index: pd.DataFrame) -> Inputs:
    """Inputs with the rows of `index`."""
    if isinstance(inputs, GraphSet):
        at = pd.Index(inputs.ids).get_indexer(index["id"])
        if (at < 0).any():
            raise ValueError(f"no graph for pair {index['id'].iloc[int((at < 0).argmax())]}; build the graphs again")
        return inputs.take(at)
    if len(inputs) != len(index):
        raise ValueError(f"{len(inputs)} patches for {len(index)} rows of the index; pass those of the same Pairs")
    return inputs


def _digest(inputs: Inputs, index: pd.DataFrame, rows: dict[str, np.ndarray]) -> str:
    """Changes with any value of inputs, labels or split."""
    digest = hashlib.sha1(usedforsecurity=False)
    arrays = (inputs.x, inputs.nodes) if isinstance(inputs, GraphSet) else (inputs,)
    for array in (*arrays, index["id"].to_numpy(np.int64), index["label"].to_numpy(np.int64), *rows.values()):
        digest.update(repr((array.shape, str(array.dtype))).encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def augment_patches(x: Tensor, flips: Tensor, angles: Tensor) -> Tensor:
    """Flip and turn patches in one bilinear sampling, mirrored at the edge.

    Args:
        x: (B, C, H, W). flips: (B, 2) bool, horizontal and vertical. angles: (B,) radians.

    Source: PAPER.md names flips and rotation by up to 90 degrees; bilinear and mirrored are assumed.
    """
    sign = 1 - 2 * flips.to(x.dtype)
    cos, sin = angles.cos(), angles.sin()
    theta = x.new_zeros(len(x), 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = cos * sign[:, 0], -sin * sign[:, 1]
    theta[:, 1, 0], theta[:, 1, 1] = sin * sign[:, 0], cos * sign[:, 1]
    grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


class _Training:
    """State of one training: networks, optimizer, history, best weights; saved after every epoch."""

    def __init__(
        self, run: Run, source: Source, labels: Tensor, rows: dict, recipe: Recipe, seed: int, rank: int, world: int
    ):
        self.run, self.source, self.labels, self.rows, self.recipe = run, source, labels, rows, recipe
        self.seed, self.rank, self.world, self.device = seed, rank, world, source.device
        seed_everything(seed)
        self.model = make_model(run.params["model"], recipe, run.params["features"]).to(self.device)
        self.network = self._wrapped()
        # momentum_decay and eps as in Keras: equal to 1e-6 after thirty steps; torch's own defaults: 2e-2
        self.optimizer = torch.optim.NAdam(self.model.parameters(), recipe.learning_rate, eps=1e-7, momentum_decay=1.0)
        self.history: list[list[float]] = []
        self.best: dict[str, Tensor] = {}
        self.best_accuracy, self.best_loss, self.waited = -1.0, float("inf"), 0
        self._resume()

    def _wrapped(self) -> nn.Module:
        network = self.model
        if self.world > 1 and self.device.type == "cuda":
            network = self.model = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        if self.recipe.compile:
            network = torch.compile(network)
        if self.world > 1:
            ids = [self.device.index] if self.device.type == "cuda" else None
            network = nn.parallel.DistributedDataParallel(network, device_ids=ids)
        return network

    def finish(self, split: Split, index: pd.DataFrame) -> None:
        """Train to the end, then write weights, history and predictions."""
        start = len(self.history)
        name = f"{self.run.params['stream']} {self.run.params['model']}"
        for epoch in tqdm(range(start, self.recipe.epochs), desc=name, leave=False, disable=self.rank > 0):
            if self.waited >= self.recipe.patience:
                break
            self._epoch(epoch)
            if self.rank == 0:
                self._save()
        if self.rank == 0:
            self._write(split, index)
        if self.world > 1:
            dist.barrier()

    def _epoch(self, epoch: int) -> None:
        rate = self.recipe.learning_rate_at(epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss, accuracy = self._pass(self.rows["train"], epoch)
        val_loss, val_accuracy = self._pass(self.rows["validation"])
        self.history.append([epoch, loss, accuracy, val_loss, val_accuracy, rate])
        if val_accuracy > self.best_accuracy or not len(self.rows["validation"]):
            self.best_accuracy = val_accuracy
            self.best = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}
        self.waited = 0 if val_loss < self.best_loss else self.waited + 1
        self.best_loss = min(self.best_loss, val_loss)
        if not len(self.rows["validation"]):
            self.waited = 0

    def _pass(self, rows: np.ndarray, epoch: int | None = None) -> tuple[float, float]:
        """Once over the pairs in `rows`, training when `epoch` is given: mean loss and accuracy of all processes."""
        train = epoch is not None
        rng = torch.Generator().manual_seed((self.seed * 100_003 + epoch) if train else 0)
        order = rows[torch.randperm(len(rows), generator=rng).numpy()] if train else rows
        flips = torch.rand(len(rows), 2, generator=rng) < 0.5
        angles = (torch.rand(len(rows), generator=rng) - 0.5) * torch.pi  # -90 to 90 degrees
        torch.manual_seed(self.seed * 100_003 + (epoch or 0) + 7919 * self.rank)  # dropout
        self.network.train(train)
        size, totals = self.recipe.batch_size, torch.zeros(2, dtype=torch.float64, device=self.device)
        for start in range(0, len(order), size):
            batch = np.arange(start, min(start + size, len(order)))
            share = batch[self.rank :: self.world]
            own = share if len(share) else batch[:1]  # a process without pairs takes part with weight 0
            args = self.source(order[own])
            if train and self.recipe.augment:
                args = (augment_patches(args[0], flips[own].to(self.device), angles[own].to(self.device)), *args[1:])
            totals += self._step(args, self.labels[order[own]], len(batch) if len(share) else 0, train)
        if self.world > 1:
            dist.all_reduce(totals)
        return tuple((totals / max(len(rows), 1)).tolist()) if len(rows) else (float("nan"), float("nan"))

    def _step(self, args: tuple[Tensor, ...], labels: Tensor, batch: int, train: bool) -> Tensor:
        """One batch of `batch` pairs, this process's part of it: (sum of losses, number correct)."""
        low = self.recipe.precision == "bf16"
        with torch.set_grad_enabled(train), torch.autocast(self.device.type, torch.bfloat16, enabled=low):
            logits = (self.network if train else self.model)(*args).float()
        losses = functional.cross_entropy(logits, labels, reduction="none")
        if train:
            weight = self.world * (batch > 0) / (max(batch, 1) if self.recipe.loss == "mean" else 1)
            self.optimizer.zero_grad(set_to_none=True)
            (losses.sum() * weight).backward()
            self.optimizer.step()
        correct = (logits.argmax(1) == labels).sum()
        return torch.stack([losses.detach().sum(), correct]).double() * (batch > 0)

    def _save(self) -> None:
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "best": self.best,
                 "history": self.history, "counters": [self.best_accuracy, self.best_loss, self.waited]}  # fmt: skip
        with atomic_path(self.run.path / "checkpoint.pt") as temporary:
            torch.save(state, temporary)

    def _resume(self) -> None:
        path = self.run.path / "checkpoint.pt"
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except Exception as fault:
            raise ValueError(f"{path}: damaged checkpoint ({type(fault).__name__}); delete it and run again") from None
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best = {name: value.cpu() for name, value in state["best"].items()}
        self.history = state["history"]
        self.best_accuracy, self.best_loss, self.waited = state["counters"]

    def _write(self, split: Split, index: pd.DataFrame) -> None:
        self.model.load_state_dict(self.best)
        frame = index.assign(split=split.of(index["id"].to_numpy()))
        used = (frame["split"] != "").to_numpy()
        inputs = self.source.inputs
        inputs = inputs.take(np.flatnonzero(used)) if isinstance(inputs, GraphSet) else inputs[used]
        Predictions(frame[used], predict(self.model, inputs)).save(self.run.path / "predictions.npz")
        with atomic_path(self.run.path / "model.safetensors") as temporary:
            save_file({name: value.contiguous() for name, value in self.best.items()}, temporary)
        with atomic_path(self.run.path / "history.csv") as temporary:
            pd.DataFrame(self.history, columns=HISTORY).astype({"epoch": int}).to_csv(temporary, index=False)
        self.run.finish({"best_val_accuracy": self.best_accuracy, "epochs": len(self.history)})
        (self.run.path / "checkpoint.pt").unlink(missing_ok=True)


def _read_result(run: Run) -> Result:
    history = pd.read_csv(run.path / "history.csv")
    return Result(history, Predictions.load(run.path / "predictions.npz"), load_model(run.path), run)


class _processes:
    """Rank, number of processes and device; joins the group that torchrun started, if it did."""

    def __init__(self, device: str | None):
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        self.device, self.joined = pick_device(device), False

    def __enter__(self) -> tuple[int, int, torch.device]:
        if self.world > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo")
            self.joined = True
        return (dist.get_rank() if self.world > 1 else 0), self.world, self.device

    def __exit__(self, *exception: object) -> None:
        if self.joined:
            dist.destroy_process_group()


def _graphs(pairs: Pairs, sam: str) -> GraphSet:
    from lczlib.sam.store import make_masks

    return build_graphs(pairs, make_masks(pairs.data_dir, sam))


def main(arguments: list[str] | None = None) -> None:
    """Train one stream of a data set (for torchrun): the notebooks find the run by its key."""
    parser = argparse.ArgumentParser(prog="python -m lczlib.training", description=main.__doc__)
    parser.add_argument("data_dir")
    parser.add_argument("--stream", choices=("s2", "ge"), required=True)
    parser.add_argument("--work", default="build/paper", help="folder of runs (work_dir of the notebooks)")
    parser.add_argument("--split", default="polygon_pool", help="sample_pool, polygon_pool or city")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sam", default="vit_h", help="whose masks make the graphs of stream ge")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="FIELD=VALUE", help="departures from the published recipe"
    )
    given = parser.parse_args(arguments)
    pairs = open_pairs(given.data_dir)
    changes = {field: json.loads(value) for field, _, value in (text.partition("=") for text in given.set)}
    inputs = pairs.s2 if given.stream == "s2" else _graphs(pairs, given.sam)
    split = make_split(pairs.index, given.split, given.seed)
    recipe = Recipe.published(given.stream, **changes)
    name = {"s2": "resnet3d11", "ge": "gcn"}[given.stream]
    result = train_stream(given.stream, name, inputs, pairs.index, split, recipe, given.seed, given.work)
    print(f"{result.run.path}: best validation accuracy {result.history['val_accuracy'].max():.4f}")


if __name__ == "__main__":
    main()
