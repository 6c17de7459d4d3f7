"""One training loop for both streams: keyed by all that makes it, and resumable to the bit.

Every random draw of an epoch (order, flips, angles, dropout) comes from (seed, epoch). So a training that was killed
after any epoch continues from its checkpoint exactly as if it had never stopped. The caller's generators, threads and
seeds are left as they were.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from tqdm.auto import tqdm

from lczlib.compute import instruction_set, keep_freed_memory, parallel, pick_device
from lczlib.data.pairs import digest
from lczlib.data.splits import Split
from lczlib.errors import InputError
from lczlib.graphs import CENTRE, COLOUR, GraphSet
from lczlib.models.inference import Inputs, arguments, load_model, make_model, predict, reestimate_batch_norm
from lczlib.predictions import Predictions
from lczlib.recipe import Recipe
from lczlib.runs import Run, atomic_path, content_key, file_lock, read_json

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
) -> Result:
    """Train a network on one stream, or find the same training done, or go on where it was stopped.

    Args:
        stream: "s2" or "ge". model_name: see `make_model`.
        inputs: (N, 32, 32, 10) reflectance with the rows of `index`, or a GraphSet (joined by id).
        index: id, label, city, polygon (`Pairs.index`).
        seed: of weights, order and augmentation.
        work_dir: the run is kept in `work_dir/runs`, keyed by everything above.

    Raises InputError where inputs do not fit the index, the split has no training pair, or a loss is not finite.
    """
    if recipe.stream != stream:
        raise InputError(f"recipe is for stream {recipe.stream!r}, training is for {stream!r}; use one of the two")
    if isinstance(inputs, GraphSet):
        at = pd.Index(inputs.ids).get_indexer(index["id"])
        if (at < 0).any():
            raise InputError(f"no graph for pair {index['id'].iloc[int((at < 0).argmax())]}; build the graphs again")
        inputs = inputs[at]
    elif len(inputs) != len(index):
        raise InputError(f"{len(inputs)} patches for {len(index)} rows of the index; pass those of the same Pairs")
    rows = {part: np.flatnonzero(index["id"].isin(getattr(split, part))) for part in ("train", "validation", "test")}
    if not len(rows["train"]):
        raise InputError("the split has no pair to train on; check the ids against index.csv")
    arrays = (inputs.x, inputs.nodes) if isinstance(inputs, GraphSet) else (inputs,)
    data = [*map(digest, arrays), [a.shape for a in arrays], index["id"].to_numpy(), index["label"].to_numpy(), rows]
    params = {"stream": stream, "model": model_name, "features": arrays[0].shape[-1], "recipe": asdict(recipe),
              "seed": seed, "data": content_key(data)}  # fmt: skip
    run = Run(Path(work_dir) / "runs", f"{stream}-{model_name}", params)
    if not run.done:
        with file_lock(run.path / "training"), _own_generator(isinstance(inputs, GraphSet)):
            if not run.done:  # another process may have trained it while this one waited
                labels = torch.from_numpy(index["label"].to_numpy(np.int64) - 1)
                _Training(run, inputs, labels, rows, recipe, seed).finish(split, index)
    return read_result(run)


def read_result(run: Run) -> Result:
    """What a finished run left. Raises InputError where it is damaged: since it is done, nothing makes it again."""
    try:
        epochs, history = read_json(run.path / "run.json")["summary"]["epochs"], pd.read_csv(run.path / "history.csv")
        if list(history.columns) != list(HISTORY) or len(history) != epochs or history["lr"].isna().any():
            raise InputError(f"{run.path / 'history.csv'}: holds no {epochs} epochs")
        return Result(history, Predictions.load(run.path / "predictions.npz"), load_model(run.path), run)
    except (KeyError, OSError, TypeError, ValueError) as fault:
        reason = str(fault).partition(";")[0]
        raise InputError(f"{run.path}: the run is damaged ({reason}); delete that folder and train again") from fault


def train_many(jobs: Iterable[dict[str, object]], workers: int = 1) -> list[Result]:
    """`train_stream(**job)` for each job, `workers` at a time (on a GPU one after the other); results in order."""
    return list(parallel(train_stream, jobs, workers if pick_device().type == "cpu" else 1))


@contextmanager
def _own_generator(graphs: bool) -> Iterator[None]:
    """Draws inside do not change the caller's; one thread for graphs, whose layers gain nothing from a second."""
    keep_freed_memory()
    before, device = torch.get_num_threads(), pick_device()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.set_num_threads(1 if graphs else before)
            yield
    finally:
        torch.set_num_threads(before)


def augment_patches(x: Tensor, flips: Tensor, angles: Tensor) -> Tensor:
    """Flip and turn patches in one bilinear sampling, mirrored at the edge.

    Args:
        x: (B, C, H, W). flips: (B, 2) bool, horizontal and vertical. angles: (B,) radians.

    Source: the published training flips and rotates by up to 90 degrees; bilinear and mirrored are assumed.
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
        x: (B, M, F) node features; rows beyond `nodes` (B,) stay zero.
        flips: (B, 2) bool, left-right and top-bottom. turns: (B,) bool.

    Source: assumed, the paper does not augment graphs.
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


class Nadam(torch.optim.NAdam):
    """Nadam with Keras's constants: betas 0.9 and 0.999, eps 1e-7, momentum schedule 0.96^t.

    Weights and gradients become views of one long vector each: a step takes a dozen operations, not a dozen for each
    tensor, which took a third longer in an epoch of the small graph network.

    Source: published training script; `momentum_decay=1` makes torch's schedule that of Keras.
    """

    def __init__(self, model: nn.Module, learning_rate: float):
        parameters = list(model.parameters())
        whole = nn.Parameter(torch.cat([p.detach().flatten() for p in parameters]))
        whole.grad = torch.zeros_like(whole)
        sizes = [p.numel() for p in parameters]
        for p, weights, gradient in zip(parameters, whole.data.split(sizes), whole.grad.split(sizes)):
            p.data, p.grad = weights.view_as(p), gradient.view_as(p)
        super().__init__([whole], learning_rate, eps=1e-7, momentum_decay=1.0)

    def zero_grad(self, set_to_none: bool = False) -> None:
        """Set the gradients to 0, in place."""
        super().zero_grad(set_to_none=False)


class _Training:
    """State of one training: network, optimizer, history and best weights, saved after every epoch."""

    def __init__(self, run: Run, inputs: Inputs, labels: Tensor, rows: dict, recipe: Recipe, seed: int):
        self.run, self.rows, self.recipe, self.seed, self.device = run, rows, recipe, seed, pick_device()
        self.inputs, self.labels = inputs, labels.to(self.device)
        torch.manual_seed(seed)
        self.model = self._new_model()
        self.optimizer = Nadam(self.model, recipe.learning_rate)
        self.history: list[list[float]] = []  # rows of HISTORY
        self.best: dict[str, Tensor] = {}
        if (path := run.path / "checkpoint.pt").exists():
            try:
                state = torch.load(path, map_location=self.device, weights_only=True)
                self.model.load_state_dict(state["model"])
                self.optimizer.load_state_dict(state["optimizer"])
                self.history, self.best = state["history"], {name: value.cpu() for name, value in state["best"].items()}
            except Exception as fault:
                reason = type(fault).__name__
                raise InputError(f"{path}: damaged checkpoint ({reason}); delete it and run again") from None

    def _new_model(self) -> nn.Module:
        return make_model(self.run.params["model"], self.recipe, self.run.params["features"]).to(self.device)

    def finish(self, split: Split, index: pd.DataFrame) -> None:
        """Train to the end, then write weights, history and predictions."""
        unvalidated = not len(self.rows["validation"])  # then the last weights are kept, after all epochs
        for epoch in tqdm(range(len(self.history), self.recipe.epochs), self.run.path.name, leave=False, disable=None):
            losses, accuracies = ([row[k] for row in self.history] for k in (3, 4))  # of validation
            if losses and not unvalidated and epoch - 1 - np.argmin(losses) >= self.recipe.patience:
                break
            rate = self.recipe.learning_rate_at(epoch)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            trained, validated = self._pass(self.rows["train"], epoch, True), self._pass(self.rows["validation"], epoch)
            self.history.append([epoch, *trained, *validated, rate])
            if unvalidated or validated[1] > max(accuracies, default=-1):
                self.best = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}
            self._save()
        self._write(split, index)

    def _pass(self, rows: np.ndarray, epoch: int, train: bool = False) -> tuple[float, float]:
        """Once over the pairs in `rows`, training or not: mean loss and accuracy."""
        if not len(rows):
            return float("nan"), float("nan")
        self.model.train(train)
        torch.manual_seed(self.seed * 100_003 + (epoch if train else 0))  # dropout
        sums, low = [], self.recipe.precision == "bf16"
        for args, labels in self._training_batches(rows, epoch) if train else self._batches(rows):
            with torch.set_grad_enabled(train), torch.autocast(self.device.type, torch.bfloat16, enabled=low):
                logits = self.model(*args).float()
            losses = functional.cross_entropy(logits, labels, reduction="none")
            if train:
                self.optimizer.zero_grad()
                (losses.mean() if self.recipe.loss == "mean" else losses.sum()).backward()
                self.optimizer.step()
            sums.append(torch.stack([losses.detach().sum(), (logits.argmax(1) == labels).sum()]).double())
        sums = torch.stack(sums).cpu()
        if not sums.isfinite().all():
            number, part = int((~sums.isfinite()).any(1).nonzero()[0]), "training" if train else "validation"
            raise InputError(
                f"{self.run.path.name}: the loss of epoch {epoch + 1}, {part} batch {number + 1} is not finite; lower"
                f" the learning rate or check the inputs (the state after epoch {epoch} is kept)"
            )
        return tuple((sums.sum(0) / len(rows)).tolist())

    def _batches(self, rows: np.ndarray) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
        for start in range(0, len(rows), self.recipe.batch_size):
            batch = rows[start : start + self.recipe.batch_size]
            yield arguments(self.inputs[batch], self.device), self.labels[batch]

    def _training_batches(self, rows: np.ndarray, epoch: int) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
        """Shuffled batches, augmented as the recipe says."""
        rng, count = torch.Generator().manual_seed(self.seed * 100_003 + epoch), len(rows)
        order = rows[torch.randperm(count, generator=rng).numpy()]
        flips = torch.rand(count, 2, generator=rng) < 0.5
        angles = (torch.rand(count, generator=rng) - 0.5) * torch.pi  # -90 to 90 degrees
        light = torch.randn(count, generator=rng) * self.recipe.light
        draws = zip(*(draw.to(self.device).split(self.recipe.batch_size) for draw in (flips, angles, light)))
        for (args, labels), (flip, angle, change) in zip(self._batches(order), draws):
            if self.recipe.augment and len(args) == 1:
                args = (augment_patches(*args, flip, angle),)
            elif self.recipe.augment:
                args = augment_graphs(*args, flip, angle > 0)
            yield brighten(*args, change) if self.recipe.light else args, labels

    def _save(self) -> None:
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        state |= {"best": self.best, "history": self.history}
        with atomic_path(self.run.path / "checkpoint.pt") as temporary:
            torch.save(state, temporary)

    def _write(self, split: Split, index: pd.DataFrame) -> None:
        """The best weights, their batch norms estimated again where the recipe says so, history and predictions."""
        model = self._new_model()
        model.load_state_dict(self.best)
        if self.recipe.precise_batch_norm:
            model = reestimate_batch_norm(model.eval(), self.inputs, rows=self.rows["train"])
        frame = index.assign(split=split.of(index["id"].to_numpy()))
        used = (frame["split"] != "").to_numpy()
        p = predict(model.eval(), self.inputs, rows=np.flatnonzero(used))
        Predictions(frame[used], p).save(self.run.path / "predictions.npz")
        with atomic_path(self.run.path / "model.safetensors") as temporary:
            save_file({name: value.cpu().contiguous() for name, value in model.state_dict().items()}, temporary)
        with atomic_path(self.run.path / "history.csv") as temporary:
            pd.DataFrame(self.history, columns=HISTORY).astype({"epoch": int}).to_csv(temporary, index=False)
        where = {"threads": torch.get_num_threads(), "instruction_set": instruction_set(self.device)}
        best = max(accuracy for *_, accuracy, _ in self.history)
        self.run.finish({"best_val_accuracy": best, "epochs": len(self.history)} | where)
        (self.run.path / "checkpoint.pt").unlink(missing_ok=True)
