"""What both trainings of `nano` share: scenes, windows of them, the loop with its checkpoints, small networks."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lczlib.compute import parallel
from lczlib.errors import InputError
from lczlib.runs import atomic_path
from lczlib.sam._torchvision_ops import import_torchvision

Scenes = tuple[Any, Any]  # RGB (N, S, S, 3) uint8 and instance ids (N, S, S), 0 = none; arrays or, on a GPU, tensors
SAVE_EVERY = 120.0  # seconds between checkpoints
AVERAGED, RECENT = 0.998, 50  # share of the averaged weights kept at a step; steps of which facts are means


def scenes_of(path: Path, count: int, cities: Sequence[int], seed: int, workers: int = 2) -> Scenes:
    """`count` scenes of these cities, zones in turn, seeds from `seed` on; made once and kept beside `path`."""
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

    Parts of scenes enlarged up to `largest` times, a share `whole` of them not, flipped, in other light, some blurred,
    some noisy.
    """
    import_torchvision()
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    torch.manual_seed(int(rng.integers(2**62)))
    share = (size / scenes[0].shape[1]) ** 2  # of a scene, where it is not enlarged
    parts = [v2.RandomResizedCrop(size, scale=(low, share), ratio=(1, 1)) for low in (share / largest**2, share)]
    light = [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(), v2.ColorJitter(0.25, 0.2, 0.2, 0.02)]
    camera = [v2.GaussianBlur(5, (0.3, 1.0)), v2.GaussianNoise(sigma=0.015)]
    to_float = v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True)
    seen = v2.Compose([*light, to_float, *(v2.RandomApply([one], 0.25) for one in camera)])
    drawn = []
    for i in rng.integers(0, len(scenes[0]), count):
        rgb, ids = (torch.as_tensor(np.array(one[i]) if isinstance(one, np.ndarray) else one[i]) for one in scenes)
        window = tv_tensors.Image(rgb.permute(2, 0, 1)), tv_tensors.Mask(ids[None].int())
        drawn.append(seen(*parts[int(rng.random() < whole)](*window)))
    images, ids = (torch.stack([one.as_subclass(Tensor) for one in kind]) for kind in zip(*drawn))
    return images * 255, ids[:, 0]


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


def train(
    model: nn.Module,
    loss_of: Callable[[int], tuple[Tensor, dict[str, float]]],
    steps: int,
    rate: float,
    path: Path,
    of: str,
) -> dict[str, float]:
    """Train what of `model` wants gradients and leave in it the averaged weights, evaluating; goes on from `path`.

    Args:
        loss_of: step -> the loss and numbers for the log; the same at every call, so that a stopped training goes on.
        of: which training it is.

    Returns:
        `steps`, `minutes` and the means of the numbers of the last steps.

    Raises:
        InputError: the checkpoint is of another training.
    """
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(AVERAGED), use_buffers=True)
    wanted = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(wanted, rate, weight_decay=0.02, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: (0.505 + 0.495 * math.cos(math.pi * step / steps)) * min(1, (step + 1) / 200)
    )
    parts = {"model": model, "average": average, "optimizer": optimizer, "schedule": schedule}
    state = {"of": of, "step": 0, "minutes": 0.0, "history": []}
    if path.exists():
        state = torch.load(path, weights_only=True, map_location="cpu")
        if state["of"] != of:
            raise InputError(f"{path}: of another training ({state['of']}); delete it or give another --work")
        for name, part in parts.items():
            part.load_state_dict(state.pop(name))
    begun, saved = time.monotonic() - 60 * state["minutes"], time.monotonic()
    for step in range(state["step"], steps):
        loss, facts = loss_of(step)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(wanted, 1.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(model)
        history = [*state["history"], facts][-RECENT:]
        state |= {"step": step + 1, "minutes": (time.monotonic() - begun) / 60, "history": history}
        if (step + 1) % RECENT == 0:
            print(f"step {step + 1} of {steps}, {state['minutes']:.1f} min, {_means(history)}", flush=True)
        if time.monotonic() - saved > SAVE_EVERY or step + 1 == steps:
            saved = time.monotonic()
            with atomic_path(path) as temporary:
                torch.save(state | {name: part.state_dict() for name, part in parts.items()}, temporary)
    model.load_state_dict(average.module.state_dict())
    model.eval()
    return {"steps": state["step"], "minutes": state["minutes"], **_means(state["history"])}


def _means(history: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(float(np.mean([facts[name] for facts in history])), 4) for name in history[-1]}


def export(sam: nn.Module, path: Path) -> None:
    """Write the weights as half-precision safetensors (the loader brings them back to single precision)."""
    from safetensors.torch import save_file

    state = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in sam.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(state, temporary)
