"""How `nano`'s encoder learns: where instances end, which neighbouring regions are one, and the regions' IoU.

Source: this project ("assumed"); nothing of it is in the paper.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lczlib.compute import bf16_pays, parallel
from lczlib.sam import grouping

from .learning import Scenes, draw, entropy, fit, see, train

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

QUALITY_LEVELS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)  # of the regions from which their quality is learned


@dataclass(frozen=True)
class GroupingPlan:
    """Sizes of the training. A window is a part of a scene, enlarged to the network's input."""

    windows: int = 8  # a step
    asked: int = 4  # of these, on which `same` learns
    rate: float = 2e-3
    boundaries_only: float = 0.1  # share of the steps at the beginning that only learn where instances end
    settled: float = 0.25  # share at the end in which batches are normalised by what was seen so far, as in use
    whole: float = 0.25  # of the windows that are whole scenes; the generator sees scenes at 1 (image) and 1.5 (crops)
    largest: float = 1.7  # most that a scene is enlarged
    quality_windows: int = 3000  # on which, at the end, the quality of regions is learned
    quality_steps: int = 6000


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


def part(boundary: np.ndarray, looks: np.ndarray, ids: np.ndarray, same: nn.Module, limit: float) -> Parted:
    """Part a window as the encoder would, joining down to the certainty `limit`; from 1 on nothing is joined.

    Args:
        boundary: chances (h, w). looks: (LOOKS, h, w). ids: (h, w), the instance of each place. same: of the encoder.
    """
    graph = grouping.basins(boundary.astype(np.float32), looks.astype(np.float32), same)
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


def best_iou(places: np.ndarray) -> np.ndarray:
    """The best IoU (n,) of each region with an instance, from `shared`; 0 is no instance."""
    every = places.sum(1, keepdims=True) + places.sum(0) - places
    return (places[:, 1:] / every[:, 1:]).max(1, initial=0)


def quality_examples(
    boundary: np.ndarray, looks: np.ndarray, ids: np.ndarray, same: nn.Module
) -> tuple[np.ndarray, ...]:
    """Traits (n, TRAITS) of the regions of a window at many levels, and their IoU (n,) with instances; see `part`."""
    graph = grouping.basins(boundary.astype(np.float32), looks.astype(np.float32), same)
    levels = grouping.joinings(graph, QUALITY_LEVELS)
    known = [(joined.traits().numpy(), best_iou(shared(joined.numbers, ids))) for joined in levels]
    return tuple(np.concatenate(kind) for kind in zip(*known))


def _jobs(encoder: nn.Module, boundary: Tensor, looks: Tensor, ids: Tensor) -> list[dict[str, Any]]:
    """What `part` and `quality_examples` need of windows as `see` gives them, in half precision for other processes."""
    same = copy.deepcopy(encoder.same).cpu().requires_grad_(False)
    maps = (boundary.detach().sigmoid().half(), looks.detach().half(), ids[:, 1::2, 1::2])
    windows = zip(*(one.cpu().numpy() for one in maps))
    return [{"boundary": b, "looks": f, "ids": i, "same": same} for b, f, i in windows]


def learn_to_group(
    sam: Sam, scenes: Scenes, plan: GroupingPlan, path: Path, steps: int, seed: int = 0, workers: int = 1
) -> dict[str, float]:
    """Teach the encoder of `sam`, in place, on its device; goes on from `path`.

    Args:
        sam: `nano`. scenes: RGB and instance ids, on its device or in memory.
        workers: processes that part windows.

    Returns:
        `steps`, `minutes`, and the cross-entropies of `boundaries` and `same` in the last steps and of `quality`.
    """
    encoder = sam.image_encoder.requires_grad_(True)
    for untaught in (encoder.quality, encoder.neck):
        untaught.requires_grad_(False)

    def loss_of(step: int) -> tuple[Tensor, dict[str, float]]:
        rng, done = np.random.default_rng((seed, step)), step / steps
        encoder.train(done < 1 - plan.settled)
        images, ids = draw(scenes, plan.windows, encoder.img_size, rng, plan.largest, plan.whole)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16_pays(images.device)):
            boundary, looks = see(sam, images)
        twice = torch.tensor(2.0, device=boundary.device)  # a boundary counts: a gap in it joins two instances
        edges = F.binary_cross_entropy_with_logits(boundary, boundaries(ids), pos_weight=twice)
        if done < plan.boundaries_only:
            return edges, {"boundaries": edges.item(), "same": 0.0}
        some = slice(plan.asked)
        limits = rng.uniform(0.2, 1.4, plan.asked)
        jobs = [job | {"limit": x} for job, x in zip(_jobs(encoder, boundary[some], looks[some], ids[some]), limits)]
        same = same_loss(encoder.same, looks[some], list(parallel(part, jobs, workers)))
        return edges + same, {"boundaries": edges.item(), "same": same.item()}

    facts = train(encoder, loss_of, steps, plan.rate, path, f"{plan}, seed {seed}, {len(scenes[0])} scenes")
    quality = learn_quality(sam, scenes, plan, workers, np.random.default_rng((seed, steps)))
    return {**facts, "quality": quality}


def learn_quality(sam: Sam, scenes: Scenes, plan: GroupingPlan, workers: int, rng: np.random.Generator) -> float:
    """Teach `quality`, and nothing else, on `plan.quality_windows` windows: regions of many levels, each weighted by
    the root of its area. Returns the cross-entropy reached.
    """
    encoder, examples = sam.image_encoder, []
    encoder.quality.requires_grad_(True)
    for start in range(0, plan.quality_windows, plan.windows):
        count = min(plan.windows, plan.quality_windows - start)
        images, ids = draw(scenes, count, encoder.img_size, rng, plan.largest, plan.whole)
        with torch.no_grad(), torch.autocast(images.device.type, torch.bfloat16, enabled=bf16_pays(images.device)):
            seen = see(sam, images)
        examples += parallel(quality_examples, _jobs(encoder, *seen, ids), workers)
    known, truth = (torch.from_numpy(np.concatenate(kind)).float().to(sam.device) for kind in zip(*examples))
    weight = known[:, 0].exp().sqrt()  # the first trait is the logarithm of the area

    def loss(rows: Tensor | slice) -> Tensor:
        return entropy(encoder.quality(known[rows]), truth[rows], weight[rows])

    fit(encoder.quality, loss, len(truth), plan.quality_steps, rng, rate=2e-3, decay=0.01)
    with torch.no_grad():
        return float(loss(slice(None)))
