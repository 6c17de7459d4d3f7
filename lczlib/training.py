"""One training loop for both streams: keyed, resumable to the bit, on one process or several.

Every random draw of an epoch (order, flips, angles, dropout) comes from (seed, epoch) alone. So a training that was
killed after any epoch continues from its checkpoint exactly as if it had never stopped, and several processes draw
the same order and share each batch. On several GPUs: `torchrun --nproc_per_node 4 -m lczlib train DATA --stream s2`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from tqdm.auto import tqdm

from lczlib.compute import parallel, pick_device, prepare_cpu, seed_everything
from lczlib.data.splits import Split
from lczlib.errors import InputError
from lczlib.graphs import CENTRE, COLOUR, GraphSet
from lczlib.inference import Inputs, Source, load_model, make_model, predict, reestimate_batch_norm, take
from lczlib.predictions import Predictions
from lczlib.recipe import Recipe
from lczlib.runs import Run, atomic_path, file_lock

__all__ = ["Recipe", "Result", "augment_graphs", "augment_patches", "brighten", "load_model", "make_model", "predict",
           "train_many", "train_stream"]  # fmt: skip

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
        raise InputError(f"recipe is for stream {recipe.stream!r}, training is for {stream!r}; use one of the two")
    prepare_cpu()
    inputs = _aligned(inputs, index)
    rows = {part: np.flatnonzero(index["id"].isin(getattr(split, part))) for part in ("train", "validation", "test")}
    if not len(rows["train"]):
        raise InputError("the split has no pair to train on; check the ids against index.csv")
    features = (inputs.x if isinstance(inputs, GraphSet) else inputs).shape[-1]
    params = {"stream": stream, "model": model_name, "features": features, "recipe": asdict(recipe), "seed": seed}
    run = Run(Path(work_dir) / "runs", f"{stream}-{model_name}", params | {"data": _digest(inputs, index, rows)})
    if not run.done:
        labels = torch.from_numpy(index["label"].to_numpy(np.int64) - 1)
        graphs = isinstance(inputs, GraphSet)
        with (
            _processes(device) as (rank, world, where),
            _threads_worth(graphs),
            file_lock(run.path / "training") if world == 1 else nullcontext(),
        ):
            if world > 1 or not run.done:  # another process may have trained it while we waited
                training = _Training(run, Source(inputs, where), labels.to(where), rows, recipe, seed, rank, world)
                training.finish(split, index)
    history, kept = pd.read_csv(run.path / "history.csv"), Predictions.load(run.path / "predictions.npz")
    return Result(history, kept, load_model(run.path), run)


def train_many(jobs: Iterable[dict[str, object]], workers: int = 1) -> list[Result]:
    """`train_stream(**job)` for each job, `workers` at a time (on a GPU one after the other); results in order."""
    return list(parallel(train_stream, jobs, workers if pick_device().type == "cpu" else 1))


@contextmanager
def _threads_worth(graphs: bool) -> Iterator[None]:
    """One thread for graphs: their layers are so small that a second thread costs more than it brings."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if graphs else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _aligned(inputs: Inputs, index: pd.DataFrame) -> Inputs:
    """Inputs with the rows of `index`."""
    if isinstance(inputs, GraphSet):
        at = pd.Index(inputs.ids).get_indexer(index["id"])
        if (at < 0).any():
            raise InputError(f"no graph for pair {index['id'].iloc[int((at < 0).argmax())]}; build the graphs again")
        return inputs.take(at)
    if len(inputs) != len(index):
        raise InputError(f"{len(inputs)} patches for {len(index)} rows of the index; pass those of the same Pairs")
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


def augment_graphs(x: Tensor, nodes: Tensor, flips: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
    """Graphs of the same place seen from another side: centres mirrored and x exchanged with y.

    Args:
        x: (B, M, F) node features. nodes: (B,). flips: (B, 2) bool, left-right and top-bottom. turns: (B,) bool.

    Returns:
        The same shapes; rows beyond `nodes` stay zero. Source: ours, the paper does not augment graphs.
    """
    real = torch.arange(x.shape[1], device=x.device) < nodes[:, None]
    centres = torch.where(flips[:, None], 1 - x[..., CENTRE], x[..., CENTRE])
    centres = torch.where(turns[:, None, None], centres.flip(-1), centres)
    x = x.clone()
    x[..., CENTRE] = torch.where(real[..., None], centres, 0)
    return x, nodes


def brighten(x: Tensor, nodes: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
    """Graphs under another light: the colours (first three features) of each times exp(change (B,)), at most 1."""
    x = x.clone()
    x[..., COLOUR] = (x[..., COLOUR] * change.exp()[:, None, None]).clamp(0, 1)
    return x, nodes


class Nadam:
    """Keras's Nadam, the weights in one long vector: a step takes a dozen operations, not a dozen for each tensor.

    Source: Dozat 2016 as Keras has it (betas 0.9 and 0.999, eps 1e-7, momentum schedule 0.96^t).
    """

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float):
        self.parameters, self.learning_rate = list(parameters), learning_rate
        self.sizes = [p.numel() for p in self.parameters]
        mean = self.parameters[0].new_zeros(sum(self.sizes), requires_grad=False)
        self.state = {"mean": mean, "square": mean.clone(), "steps": 0, "product": 1.0}

    @torch.no_grad()
    def step(self) -> None:
        """Move the weights against their gradients, and forget the gradients."""
        state, gradient = self.state, torch.cat([p.grad.flatten() for p in self.parameters])
        state["steps"] += 1
        now, following = (0.9 * (1 - 0.5 * 0.96 ** (state["steps"] + k)) for k in (0, 1))
        state["product"] *= now
        mean = state["mean"].lerp_(gradient, 0.1)
        square = state["square"].mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        ahead = mean * (following / (1 - following * state["product"]))
        ahead.add_(gradient, alpha=(1 - now) / (1 - state["product"]))
        move = ahead.div_((square / (1 - 0.999 ** state["steps"])).sqrt_().add_(1e-7)).split(self.sizes)
        moves = [part.view_as(p) for part, p in zip(move, self.parameters)]
        torch._foreach_add_(self.parameters, moves, alpha=-self.learning_rate)
        for p in self.parameters:
            p.grad = None


def share_batch_norms(model: nn.Module) -> nn.Module:
    """Let the batch norms of all processes use the statistics of the whole batch, on any device; the same model.

    `nn.SyncBatchNorm` does this on GPUs only, and could not be tested without two of them.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.forward = partial(_shared_norm, module)
    return model


def _shared_norm(norm: _BatchNorm, x: Tensor) -> Tensor:
    if not norm.training:
        return type(norm).forward(norm, x)
    axes, shape = (0, *range(2, x.ndim)), (1, -1, *[1] * (x.ndim - 2))
    count = all_reduce(x.new_tensor(x.numel() / x.shape[1], dtype=torch.float32))
    mean = all_reduce(x.float().sum(axes)) / count
    centred = x - mean.view(shape)
    variance = all_reduce(centred.float().square().sum(axes)) / count
    with torch.no_grad():
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * count / (count - 1), norm.momentum)
    scale = norm.weight * (variance + norm.eps).rsqrt()
    return centred * scale.view(shape) + norm.bias.view(shape)


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
        self.optimizer = Nadam(self.model.parameters(), recipe.learning_rate)
        self.history: list[list[float]] = []
        self.best: dict[str, Tensor] = {}
        self.best_accuracy, self.best_loss, self.waited = -1.0, float("inf"), 0
        self._resume()

    def _wrapped(self) -> nn.Module:
        network = share_batch_norms(self.model) if self.world > 1 else self.model
        if self.recipe.compile:
            network = torch.compile(network)
        return nn.parallel.DistributedDataParallel(network) if self.world > 1 else network

    def finish(self, split: Split, index: pd.DataFrame) -> None:
        """Train to the end, then write weights, history and predictions."""
        name = f"{self.run.params['stream']} {self.run.params['model']}"
        for epoch in tqdm(
            range(len(self.history), self.recipe.epochs), name, leave=False, disable=True if self.rank else None
        ):
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
        self.optimizer.learning_rate = self.recipe.learning_rate_at(epoch)
        trained, validated = self._pass(self.rows["train"], epoch), self._pass(self.rows["validation"])
        self.history.append([epoch, *trained, *validated, self.optimizer.learning_rate])
        val_loss, val_accuracy = validated
        unseen = not len(self.rows["validation"])  # then the last weights are kept, after all epochs
        if val_accuracy > self.best_accuracy or unseen:
            self.best_accuracy = val_accuracy
            self.best = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}
        self.waited = 0 if val_loss < self.best_loss or unseen else self.waited + 1
        self.best_loss = min(self.best_loss, val_loss)

    def _pass(self, rows: np.ndarray, epoch: int | None = None) -> tuple[float, float]:
        """Once over the pairs in `rows`, training when `epoch` is given: mean loss and accuracy of all processes."""
        train = epoch is not None
        rng = torch.Generator().manual_seed((self.seed * 100_003 + epoch) if train else 0)
        order = rows[torch.randperm(len(rows), generator=rng).numpy()] if train else rows
        flips = torch.rand(len(rows), 2, generator=rng) < 0.5
        angles = (torch.rand(len(rows), generator=rng) - 0.5) * torch.pi  # -90 to 90 degrees
        light = torch.randn(len(rows), generator=rng)
        torch.manual_seed(self.seed * 100_003 + (epoch or 0) + 7919 * self.rank)  # dropout
        self.network.train(train)
        size, totals = self.recipe.batch_size, torch.zeros(2, dtype=torch.float64, device=self.device)
        for start in range(0, len(order), size):
            batch = np.arange(start, min(start + size, len(order)))
            own = batch[self.rank :: self.world]
            weight = len(batch) if len(own) else 0  # a process without pairs takes part with weight 0
            own = own if len(own) else batch[self.rank % len(batch)][None]
            args = self.source(order[own])
            if train and self.recipe.augment:
                args = self._augmented(args, flips[own].to(self.device), angles[own].to(self.device))
            if train and self.recipe.light:
                args = brighten(*args, self.recipe.light * light[own].to(self.device))
            totals += self._step(args, self.labels[order[own]], weight, train)
        if self.world > 1:
            dist.all_reduce(totals)
        return tuple((totals / max(len(rows), 1)).tolist()) if len(rows) else (float("nan"), float("nan"))

    def _augmented(self, args: tuple[Tensor, ...], flips: Tensor, angles: Tensor) -> tuple[Tensor, ...]:
        if len(args) == 1:
            return (augment_patches(*args, flips, angles),)
        return augment_graphs(*args, flips, angles > 0)

    def _step(self, args: tuple[Tensor, ...], labels: Tensor, batch: int, train: bool) -> Tensor:
        """One batch of `batch` pairs, this process's part of it: (sum of losses, number correct)."""
        low = self.recipe.precision == "bf16"
        with torch.set_grad_enabled(train), torch.autocast(self.device.type, torch.bfloat16, enabled=low):
            logits = (self.network if train else self.model)(*args).float()
        losses = functional.cross_entropy(logits, labels, reduction="none")
        if train:
            weight = self.world * (batch > 0) / (max(batch, 1) if self.recipe.loss == "mean" else 1)
            (losses.sum() * weight).backward()
            self.optimizer.step()
        correct = (logits.argmax(1) == labels).sum()
        return torch.stack([losses.detach().sum(), correct]).double() * (batch > 0)

    def _save(self) -> None:
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state, "best": self.best,
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
            raise InputError(f"{path}: damaged checkpoint ({type(fault).__name__}); delete it and run again") from None
        self.model.load_state_dict(state["model"])
        self.optimizer.state, self.history = state["optimizer"], state["history"]
        self.best = {name: value.cpu() for name, value in state["best"].items()}
        self.best_accuracy, self.best_loss, self.waited = state["counters"]

    def _finished(self) -> nn.Module:
        """The network with the best weights, its batch norms estimated again where the recipe says so."""
        model = make_model(
            self.run.params["model"], self.recipe, self.run.params["features"]
        )  # whose norms share nothing
        model.load_state_dict(self.best)
        model = model.to(self.device).eval()
        if self.recipe.precise_batch_norm:
            model = reestimate_batch_norm(model, take(self.source.inputs, self.rows["train"]))
        return model

    def _write(self, split: Split, index: pd.DataFrame) -> None:
        model = self._finished()
        frame = index.assign(split=split.of(index["id"].to_numpy()))
        used = (frame["split"] != "").to_numpy()
        said = predict(model, take(self.source.inputs, np.flatnonzero(used)))
        Predictions(frame[used], said).save(self.run.path / "predictions.npz")
        with atomic_path(self.run.path / "model.safetensors") as temporary:
            save_file({name: value.cpu().contiguous() for name, value in model.state_dict().items()}, temporary)
        with atomic_path(self.run.path / "history.csv") as temporary:
            pd.DataFrame(self.history, columns=HISTORY).astype({"epoch": int}).to_csv(temporary, index=False)
        self.run.finish({"best_val_accuracy": self.best_accuracy, "epochs": len(self.history)})
        (self.run.path / "checkpoint.pt").unlink(missing_ok=True)


@contextmanager
def _processes(name: str | None) -> Iterator[tuple[int, int, torch.device]]:
    """Rank, number of processes and device; joins the group that torchrun started, if it did."""
    world, device = int(os.environ.get("WORLD_SIZE", "1")), pick_device(name)
    if world == 1:
        yield 0, 1, device
        return
    joins = not dist.is_initialized()
    if joins:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield dist.get_rank(), world, device
    finally:
        if joins:
            dist.destroy_process_group()
