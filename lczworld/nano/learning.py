"""What both trainings of `nano` share: scenes, windows of them, checkpoints, small networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lczlib.compute import parallel
from lczlib.errors import InputError

Scenes = tuple[Any, Any]  # RGB (N, S, S, 3) uint8 and instance ids (N, S, S), 0 = none; arrays or, on a GPU, tensors
TRAINING_SEEDS = 10_000_000  # seeds of scenes to train on begin here, above those of every data set


def training_scenes(work: Path, count: int, seed: int, workers: int = 2) -> Scenes:
    """Scenes to train on, of the first six cities; no pair of a data set is among them."""
    return scenes_of(work / "train", count, range(6), TRAINING_SEEDS + seed, workers)


def scenes_of(path: Path, count: int, cities: Sequence[int], seed: int, workers: int = 2) -> Scenes:
    """`count` scenes of these cities, zones in turn, seeds from `seed` on; made once and kept beside `path`."""
    from lczlib.runs import atomic_path

    files = [path.with_name(f"{path.name}-{count}-{seed}.{kind}.npy") for kind in ("rgb", "ids")]
    if not all(file.exists() for file in files):
        parts = np.array_split(np.arange(count), -(-count // 17))
        jobs = [{"numbers": part.tolist(), "cities": tuple(cities), "seed": seed} for part in parts]
        made = list(parallel(_scenes, jobs, workers))
        for file, stacks in zip(files, zip(*made)):
            with atomic_path(file) as temporary, temporary.open("wb") as stream:
                np.save(stream, np.concatenate(stacks))
    return tuple(np.load(file, mmap_mode="r") for file in files)


def _scenes(numbers: list[int], cities: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    from lczworld import generate_scene

    scenes = [generate_scene(1 + i % 17, cities[i // 17 % len(cities)], seed + i) for i in numbers]
    return np.stack([scene.rgb for scene in scenes]), np.stack([scene.instances for scene in scenes])


def draw(
    scenes: Scenes, count: int, size: int, rng: np.random.Generator, largest: float, whole: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Augmented windows, on the device of the scenes: RGB (count, 3, size, size) float 0..255, ids (count, size, size).

    Parts of scenes enlarged up to `largest` times, a share `whole` of them not, turned and flipped, brighter or darker,
    some noisy, some blurred.
    """
    which = rng.integers(0, len(scenes[0]), count)
    rgb, ids = (one[which] if isinstance(one, Tensor) else torch.from_numpy(one[which]) for one in scenes)
    grid = F.affine_grid(
        _views(count, size, rgb.shape[1], rng, largest, whole).to(rgb.device), [count, 1, size, size], False
    )
    rgb = F.grid_sample(rgb.permute(0, 3, 1, 2).float(), grid, "bilinear", "border", False)
    ids = F.grid_sample(ids[:, None].float(), grid, "nearest", "border", False)[:, 0].int()
    return _as_seen(rgb, rng), ids


def _views(count: int, size: int, side: int, rng: np.random.Generator, largest: float, whole: float) -> Tensor:
    """Which square of a scene (side px) a window (size px) shows, and how turned: affine matrices (count, 2, 3)."""
    part = np.floor(size / np.exp(rng.uniform(0, np.log(largest), count)))
    part[rng.random(count) < whole] = size
    part = part.clip(max=side)
    corner = np.floor(rng.random((count, 2)) * (side - part[:, None] + 1))  # x, y
    turns = np.array([[[1, 0], [0, 1]], [[0, -1], [1, 0]], [[-1, 0], [0, -1]], [[0, 1], [-1, 0]]], float)
    turned = turns[rng.integers(4, size=count)] * np.array([rng.choice([-1, 1], count), np.ones(count)]).T[:, None]
    middle = (2 * corner + part[:, None]) / side - 1
    return torch.from_numpy(np.concatenate([turned * (part / side)[:, None, None], middle[:, :, None]], 2)).float()


def _as_seen(rgb: Tensor, rng: np.random.Generator) -> Tensor:
    """Other light, other cameras: windows (B, 3, S, S) 0..255 -> the same."""
    count, device = len(rgb), rgb.device

    def each(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).float().to(device).view(count, -1, 1, 1)

    gain = np.exp(rng.normal(0, 0.12, (count, 1)) + rng.normal(0, 0.05, (count, 3)))
    shift = rng.normal(0, 8, (count, 1)) + rng.normal(0, 4, (count, 3))
    noise = rng.uniform(1, 6, count) * (rng.random(count) < 0.3)
    sigma = np.where(rng.random(count) < 0.2, rng.uniform(0.3, 1.0, count), 1e-3)
    rgb = (rgb - 110) * each(gain) + 110 + each(shift)
    generator = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
    rgb = rgb + torch.randn(rgb.shape, generator=generator, device=device) * each(noise)
    kernel = np.exp(-0.5 * (np.arange(-2, 3) / sigma[:, None]) ** 2)
    kernel = each(kernel / kernel.sum(1, keepdims=True))  # (B, 5, 1, 1)
    for axis in (2, 3):
        padded = F.pad(rgb, (0, 0, 2, 2) if axis == 2 else (2, 2, 0, 0), mode="replicate")
        rgb = sum(padded.narrow(axis, i, rgb.shape[axis]) * kernel[:, i : i + 1] for i in range(5))
    return rgb.clamp(0, 255)


def see(sam: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Windows (B, 3, S, S) RGB 0..255 -> boundary logits and looks, as `NanoEncoder.see` gives them."""
    return sam.image_encoder.see((images - sam.pixel_mean) / sam.pixel_std)


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
        raise InputError(f"{path}: of another training ({state['of']}); delete it or give another --work")
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
