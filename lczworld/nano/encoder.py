"""How `nano`'s encoder learns to group: where instances end, which neighbouring regions are one, how good regions are.

The U-Net learns on the device while processes part windows into regions; on a CPU the same, with smaller batches. The
regions asked about come from the network as it was one step before, so that neither waits for the other.

Source: this project ("assumed"); nothing of it is in the paper.
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lczlib.compute import begin_worker, bf16_pays
from lczlib.sam import grouping
from lczlib.sam.models import perceptron

from .learning import Scenes, draw, entropy, fit, follow, go_on, save, see

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

JUDGED_LEVELS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)  # of the regions from which their quality is learned


@dataclass(frozen=True)
class GroupingPlan:
    """Sizes of the training. A window is a part of a scene, enlarged to the network's input."""

    windows: int = 8  # a step
    asked: int = 4  # of these, whose neighbouring regions are asked about, which keeps processors busy
    rate: float = 2e-3
    alone: float = 0.1  # share of the steps at the beginning that only learn where instances end
    settled: float = 0.25  # share at the end in which batches are normalised by what was seen so far, as in use
    whole: float = 0.25  # of the windows that are whole scenes; the generator sees scenes at 1 (image) and 1.5 (crops)
    largest: float = 1.7  # most that a scene is enlarged
    judged: int = 3000  # windows on which, at the end, the quality of regions is learned
    judge_steps: int = 6000
    save_every: float = 120.0  # seconds between checkpoints


@dataclass(frozen=True)
class Parted:
    """A window parted into regions: what is known of neighbours, and the answers."""

    numbers: np.ndarray  # (h, w) int32, from 0
    areas: np.ndarray  # (n,) float32, places
    pairs: np.ndarray  # (2, k) neighbours
    borders: np.ndarray  # (5, k) float32, see `grouping`
    same: np.ndarray  # (k,) float32, 1 where both are mostly of one instance
    weights: np.ndarray  # (k,) float32: a wrong answer about large regions costs more


def boundaries(ids: Tensor) -> Tensor:
    """Where an instance ends in windows (B, S, S) of instance ids: (B, S/2, S/2) float, 0 or 1."""
    edge = torch.zeros_like(ids, dtype=torch.float32)
    edge[:, :, 1:] = (ids[:, :, 1:] != ids[:, :, :-1]).float()
    edge[:, 1:] = torch.maximum(edge[:, 1:], (ids[:, 1:] != ids[:, :-1]).float())
    return F.max_pool2d(edge, 2)


def boundary_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy in which a boundary counts twice: a gap in it joins two instances."""
    return F.binary_cross_entropy_with_logits(logits, truth, pos_weight=torch.tensor(2.0, device=logits.device))


def part(boundary: np.ndarray, looks: np.ndarray, ids: np.ndarray, same: list[np.ndarray], limit: float) -> Parted:
    """Part a window as the encoder would, joining down to the certainty `limit`; from 1 on nothing is joined.

    Args:
        boundary: chances (h, w). looks: (LOOKS, h, w). ids: (h, w), the instance of each place.
        same: `weights_of` the network that answers.
    """
    graph = _basins(boundary, looks, same)
    graph.join_alike(1 - grouping.STEP, limit)
    instance = shared(graph.numbers, ids).argmax(1)
    areas, (i, j) = graph.areas.astype(np.float32), graph.pairs
    alike, weights = (instance[i] == instance[j]).astype(np.float32), np.minimum(areas[i], areas[j]).clip(max=400)
    return Parted(graph.numbers.astype(np.int32), areas, graph.pairs, graph.borders.astype(np.float32), alike, weights)


def same_loss(answer: Callable[[Tensor], Tensor], looks: Tensor, parted: list[Parted]) -> Tensor:
    """Weighted cross-entropy of the answers whether neighbouring regions are of one instance.

    Args:
        answer: of `grouping.questions`. looks: (B, LOOKS, h, w). parted: the B windows, as `part` gives them.
    """
    starts = np.cumsum([0, *[len(one.areas) for one in parted]])

    def joined(parts: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.concatenate(parts, -1)).to(looks.device)

    numbers = joined([one.numbers.ravel() + start for one, start in zip(parted, starts)])
    pairs = joined([one.pairs + start for one, start in zip(parted, starts)])
    areas, borders, same, weights = (
        joined([getattr(one, name) for one in parted]) for name in ("areas", "borders", "same", "weights")
    )
    rows = looks.permute(0, 2, 3, 1).reshape(-1, looks.shape[1])
    mean = torch.zeros(len(areas), looks.shape[1], device=looks.device).index_add_(0, numbers, rows) / areas[:, None]
    return entropy(answer(grouping.questions(pairs, borders, areas, mean)), same, weights)


def shared(numbers: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Places that regions share with instances: numbers (h, w) from 0, ids (h, w) -> (regions, ids from 0)."""
    width = int(ids.max()) + 1
    flat = numbers.astype(np.int64).ravel() * width + ids.ravel()
    return np.bincount(flat, minlength=(int(numbers.max()) + 1) * width).reshape(-1, width)


def met(places: np.ndarray) -> np.ndarray:
    """IoU (n,) of each region with the instance it meets best, from `shared`; 0 is no instance."""
    every = places.sum(1, keepdims=True) + places.sum(0) - places
    return (places[:, 1:] / every[:, 1:]).max(1, initial=0)


class Processes:
    """Processes that part windows; without any it is done here, when the result is asked for."""

    def __init__(self, workers: int):
        self.pool = None
        if workers:
            self.pool = ProcessPoolExecutor(
                workers, get_context("spawn"), initializer=begin_worker, initargs=(os.getpid(),)
            )

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        if self.pool:
            self.pool.shutdown(cancel_futures=True)

    def begin(self, function: Callable, *arguments: Any) -> Callable[[], Any]:
        """Have it done; the answer of this gives the result."""
        return self.pool.submit(function, *arguments).result if self.pool else lambda: function(*arguments)


def weights_of(network: nn.Module) -> list[np.ndarray]:
    """A perceptron as plain arrays; tensors would travel between processes as shared memory, a file each."""
    return [p.detach().cpu().numpy().copy() for p in network.parameters()]


def _network(weights: list[np.ndarray]) -> nn.Module:
    network = perceptron(*[w.shape[1] for w in weights[::2]])
    for p, w in zip(network.parameters(), weights):
        p.data = torch.from_numpy(w)
    return network.requires_grad_(False)


def _basins(boundary: np.ndarray, looks: np.ndarray, same: list[np.ndarray]) -> grouping.Graph:
    answer = _network(same)
    return grouping.basins(boundary.astype(np.float32), looks.astype(np.float32), answer, answer)


def _judge(boundary: np.ndarray, looks: np.ndarray, ids: np.ndarray, same: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Traits (n, TRAITS) of the regions of a window at many levels, and their IoU (n,) with instances."""
    levels = grouping.joinings(_basins(boundary, looks, same), JUDGED_LEVELS)
    known = [(joined.traits().numpy(), met(shared(joined.numbers, ids))) for joined in levels]
    return tuple(np.concatenate(kind) for kind in zip(*known))


def _look(sam: Sam, images: Tensor) -> tuple[Tensor, Tensor]:
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16_pays(images.device)):
        return see(sam, images)


def _to_part(sam: Sam, images: Tensor, ids: Tensor) -> Iterator[tuple[np.ndarray, ...]]:
    """Boundary and looks of windows as half-precision arrays, and the ids of their places: what `part` needs."""
    with torch.no_grad():
        boundary, looks = _look(sam, images)
    maps = boundary.sigmoid().half().cpu().numpy(), looks.half().cpu().numpy(), ids[:, 1::2, 1::2].cpu().numpy()
    return zip(*maps)


Coming = tuple[Tensor, Tensor, list[Callable[[], Parted]]]  # windows, their ids, and some of them parted


def _prepare(
    sam: Sam, scenes: Scenes, plan: GroupingPlan, processes: Processes, done: float, rng: np.random.Generator
) -> Coming:
    """The windows of a step, and their parting begun."""
    images, ids = draw(scenes, plan.windows, sam.image_encoder.img_size, rng, plan.largest, plan.whole)
    if done < plan.alone:
        return images, ids, []
    same, limits = weights_of(sam.image_encoder.same), rng.uniform(0.2, 1.4, plan.asked)
    seen = _to_part(sam, images[: plan.asked], ids[: plan.asked])
    return images, ids, [processes.begin(part, *one, same, limit) for one, limit in zip(seen, limits)]


def _losses(sam: Sam, coming: Coming) -> tuple[Tensor, Tensor]:
    """Of a step: where instances end, and which neighbours are one."""
    images, ids, asked = coming
    boundary, looks = _look(sam, images)
    edges, parted = boundary_loss(boundary, boundaries(ids)), [one() for one in asked]
    return edges, same_loss(sam.image_encoder.same, looks[: len(parted)], parted) if parted else edges.new_zeros(())


def learn_to_group(
    sam: Sam,
    scenes: Scenes,
    plan: GroupingPlan,
    state_path: Path,
    steps: int,
    seed: int = 0,
    workers: int = 0,
) -> dict[str, float]:
    """Teach the encoder of `sam`, in place, on its device; goes on from `state_path`.

    Args:
        sam: `nano`. scenes: RGB and instance ids, on its device or in memory.
        workers: processes that part windows; 0: none, it is done between steps.

    Returns:
        `steps`, `minutes`, and the cross-entropies of `boundaries` and `same` in the last 50 steps and of `quality`.
    """
    encoder = sam.image_encoder.train().requires_grad_(True)
    average = copy.deepcopy(encoder)
    trained = [p for name, p in encoder.named_parameters() if not name.startswith(("quality", "neck"))]
    optimizer = torch.optim.AdamW(trained, plan.rate, weight_decay=0.02, betas=(0.9, 0.98))
    parts = {"encoder": encoder, "average": average, "optimizer": optimizer}
    of = f"{plan}, seed {seed}, {len(scenes[0])} scenes"
    state = {"step": 0, "spent": 0.0, "history": torch.zeros(50, 2)} | go_on(state_path, parts, of)
    step, history, saved = state["step"], state["history"].to(sam.device), time.monotonic()
    clock = saved - state["spent"]

    def keep() -> None:
        save(state_path, parts, {"of": of, "step": step, "spent": time.monotonic() - clock, "history": history.cpu()})

    with Processes(workers) as processes:
        encoder.train(step / steps < 1 - plan.settled)
        coming = _prepare(sam, scenes, plan, processes, step / steps, np.random.default_rng((seed, step)))
        while (done := step / steps) < 1:
            encoder.train(done < 1 - plan.settled)
            for group in optimizer.param_groups:
                group["lr"] = plan.rate * (0.505 + 0.495 * math.cos(math.pi * done)) * min(1, (step + 1) / 200)
            now, coming = coming, _prepare(sam, scenes, plan, processes, done, np.random.default_rng((seed, step + 1)))
            losses = torch.stack(_losses(sam, now))
            optimizer.zero_grad()
            losses.sum().backward()
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            follow(average, encoder, min(0.998, step / (step + 20)))
            history[step % len(history)] = losses.detach()
            step += 1
            if step % len(history) == 0:
                edges, same = history.mean(0).tolist()
                spent = time.monotonic() - clock
                print(f"step {step} done {done:.3f} {spent:.0f} s boundaries {edges:.4f} same {same:.4f}", flush=True)
            if time.monotonic() - saved > plan.save_every:
                saved = time.monotonic()
                keep()
        spent = time.monotonic() - clock
        keep()
        encoder.load_state_dict(average.state_dict())
        encoder.eval()
        quality = learn_quality(sam, scenes, plan, processes, np.random.default_rng((seed, step)))
    edges, same = history[: max(step, 1)].mean(0).tolist()
    return {"steps": step, "minutes": spent / 60, "boundaries": edges, "same": same, "quality": quality}


def learn_quality(
    sam: Sam, scenes: Scenes, plan: GroupingPlan, processes: Processes, rng: np.random.Generator
) -> float:
    """Teach the encoder how well its regions meet instances, on `plan.judged` windows; the rest of it stays as it is.

    Regions of many levels, each weighted by the root of its area. Returns the cross-entropy reached.
    """
    encoder, asked, judged = sam.image_encoder, [], []
    same = weights_of(encoder.same)
    for start in range(0, plan.judged, plan.windows):
        count = min(plan.windows, plan.judged - start)
        windows = draw(scenes, count, encoder.img_size, rng, plan.largest, plan.whole)
        begun = [processes.begin(_judge, *one, same) for one in _to_part(sam, *windows)]
        judged += [one() for one in asked]  # of the windows before: a few are on their way, never all
        asked = begun
    judged += [one() for one in asked]
    known, truth = (torch.from_numpy(np.concatenate(kind)).float() for kind in zip(*judged))
    weight = known[:, 0].exp().sqrt()  # the first trait is the logarithm of the area
    known, truth, weight = (one.to(sam.device) for one in (known, truth, weight))

    def loss(rows: Tensor | slice) -> Tensor:
        return entropy(encoder.quality(known[rows]), truth[rows], weight[rows])

    fit(encoder.quality, loss, len(truth), plan.judge_steps, rng, rate=2e-3, decay=0.01)
    with torch.no_grad():
        return float(loss(slice(None)))
