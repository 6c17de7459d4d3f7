"""What both trainings of `nano` share: scenes, plans changed by name, checkpoints, small networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lczlib.compute import in_processes

Scenes = tuple[Any, Any]  # RGB (N, S, S, 3) uint8 and instance ids (N, S, S), 0 = none; arrays or, on a GPU, tensors
Plan = TypeVar("Plan")


def scenes_of(path: Path, count: int, cities: Sequence[int], seed: int, workers: int = 2) -> Scenes:
    """`count` scenes of these cities, zones in turn, seeds from `seed` on; made once and kept beside `path`."""
    from lczlib.runs import atomic_path

    files = [path.with_name(f"{path.name}-{count}-{seed}.{kind}.npy") for kind in ("rgb", "ids")]
    if not all(file.exists() for file in files):
        parts = np.array_split(np.arange(count), -(-count // 17))
        jobs = [{"numbers": part.tolist(), "cities": tuple(cities), "seed": seed} for part in parts]
        made = in_processes(_scenes, jobs, workers)
        for file, stacks in zip(files, zip(*made)):
            with atomic_path(file) as temporary, temporary.open("wb") as stream:
                np.save(stream, np.concatenate(stacks))
    return tuple(np.load(file, mmap_mode="r") for file in files)


def _scenes(numbers: list[int], cities: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    from lczlib.synthetic import generate_scene

    scenes = [generate_scene(1 + i % 17, cities[i // 17 % len(cities)], seed + i) for i in numbers]
    return np.stack([scene.rgb for scene in scenes]), np.stack([scene.instances for scene in scenes])


def changed(plan: Plan, items: Sequence[str]) -> Plan:
    """A plan with other numbers, "NAME=NUMBER" each. ValueError: it has no such part."""
    given = dict(item.split("=", 1) for item in items if "=" in item)
    kinds = {field.name: type(field.default) for field in fields(plan) if isinstance(field.default, (int, float))}
    if len(given) < len(items) or not given.keys() <= kinds.keys():
        raise ValueError(f"--plan {' '.join(items)}: give NAME=NUMBER, names from {', '.join(kinds)}")
    return replace(plan, **{name: kinds[name](value) for name, value in given.items()})


def entropy(logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean cross-entropy: logits (n, 1), truth (n,) 0 to 1, weight (n,)."""
    total = F.binary_cross_entropy_with_logits(logits[:, 0], truth, weight, reduction="sum")
    return total / weight.sum().clamp(min=1)


def fit(
    network: nn.Module,
    loss: Callable[[Tensor], Tensor],
    count: int,
    steps: int,
    rng: np.random.Generator,
    rate: float,
    decay: float,
    batch: int = 4096,
) -> None:
    """Train a small network on `count` rows kept in memory: `loss` of the numbers of some of them."""
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    for _ in range(steps):
        reached = loss(torch.from_numpy(rng.integers(0, count, batch)))
        optimizer.zero_grad()
        reached.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move averaged weights towards the model's."""
    for kept, new in zip(average.state_dict().values(), model.state_dict().values()):
        kept.lerp_(new, 1 - decay) if kept.is_floating_point() else kept.copy_(new)


def save(path: Path, parts: dict[str, Any], state: dict[str, Any]) -> None:
    """Write a checkpoint: the weights of `parts`, and `state`, of which `of` says which training it is."""
    from lczlib.runs import atomic_path

    with atomic_path(path) as temporary:
        torch.save({**state, **{name: one.state_dict() for name, one in parts.items()}}, temporary)


def go_on(path: Path, parts: dict[str, Any], of: str) -> dict[str, Any]:
    """Load the weights of `parts` from a checkpoint of `save`; returns its `state`, empty where there is none.

    Raises:
        ValueError: the checkpoint is not `of` this training.
    """
    if not path.exists():
        return {}
    state = torch.load(path, weights_only=True, map_location="cpu")  # what is loaded into goes its own way from there
    if state["of"] != of:
        raise ValueError(f"{path}: of another training ({state['of']}); delete it or give another --work")
    for name, one in parts.items():
        one.load_state_dict(state.pop(name))
    return state


def export(sam: nn.Module, path: Path) -> None:
    """Write the weights as half-precision safetensors (the loader brings them back to single precision)."""
    from safetensors.torch import save_file

    from lczlib.runs import atomic_path

    with atomic_path(path) as temporary:
        save_file(
            {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in sam.state_dict().items()}, temporary
        )
