"""How `nano` was made: SAM's promptable training on synthetic scenes, with true boundaries beside it.

    python -m lczlib.sam.train_nano --work build/nano --out lczlib/sam/nano.safetensors --minutes 45 [--seed 0]

Stopped and called again it goes on from its last checkpoint. It ends by calibrating the model on scenes it was not
trained on and writes the evaluation on cities it never saw beside the weights, as JSON: the model card's numbers.

Source: SAM (Kirillov et al. 2023), Sec. 3 and App. A: focal and dice loss 20 : 1 on the best of three masks, predicted
IoU by mean squared error. The boundaries are this project's: promptable training alone hardly moves a small encoder.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..compute import bf16_pays, prepare_cpu
from . import decoder as decoding
from .models import NanoEncoder, build_sam, load_sam

Scenes = tuple[np.ndarray, np.ndarray]  # RGB (N, 320, 320, 3) uint8, instance ids (N, 320, 320) uint16
STRIDE = 4  # of the decoder's masks, px


@dataclass(frozen=True)
class Plan:
    """Sizes of a training. `window` px of the network's input are cut from scenes enlarged by `scales`."""

    window: int = 160
    windows: int = 8  # a process and step
    prompts: int = 16  # a window of `window` px
    wide_prompts: int = 32  # a window of the network's whole input
    rate: float = 1.5e-3
    boundaries_first: float = 0.5  # share of the training in which only the encoder learns, from boundaries
    wide_last: float = 0.55  # share at the end with windows of 320 px: attention must learn to choose among all tokens
    scales: tuple[float, float] = (1.0, 1.7)  # the generator sees scenes at 1 (image) and 1.5 (crops)
    balance_until: float = 0.6  # share of the training over which the balanced cross-entropy fades out
    save_every: float = 120.0  # seconds between checkpoints
    least: int = 200  # px in the window, instances below are not asked for


class NanoTrainer(nn.Module):
    """The model in training: windows instead of images, prompts of many windows at once."""

    def __init__(self) -> None:
        super().__init__()
        self.sam = build_sam("nano").train()
        _look_where_asked(self.sam.mask_decoder)

    def forward(self, images: Tensor, corner: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Windows (B, 3, S, S) RGB 0..255 -> embeddings (B, C, S/16, S/16), boundary logits (B, S/2, S/2)."""
        return self.sam.image_encoder.features((images - self.sam.pixel_mean) / self.sam.pixel_std, corner)

    def prompt(
        self, embedding: Tensor, prompts: Tensor, boxes: Tensor, corner: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Masks for prompts.

        Args:
            embedding: (B, C, h, w) of windows whose first token lies at `corner` (row, column) of the full grid.
            prompts: (B, P, 2, 2) two points x, y in the window; a point prompt repeats its point.
            boxes: (B, P) bool, whether the two points are corners of a box.

        Returns:
            logits (B P, 3, 4 h, 4 w), predicted IoU (B P, 3).
        """
        encoder, count = self.sam.prompt_encoder, prompts.shape[1]
        place = encoder.get_dense_pe()[0][:, corner[0] :, corner[1] :][:, : embedding.shape[2], : embedding.shape[3]]
        shift = torch.tensor([corner[1], corner[0]]) * NanoEncoder.stride
        at = encoder.pe_layer.forward_with_coords(prompts.flatten(0, 1) + shift + 0.5, encoder.input_image_size)
        kinds = torch.stack([encoder.point_embeddings[i].weight[0] for i in (1, 2, 3)])  # point, first, second corner
        flat = boxes.flatten()[:, None]
        first = at[:, 0] + torch.where(flat, kinds[1], kinds[0])
        second = torch.where(flat, at[:, 1] + kinds[2], encoder.not_a_point_embed.weight)
        image = embedding + encoder.no_mask_embed.weight[0][:, None, None]
        tokens, keys = decoding.attend(
            self.sam.mask_decoder, image.repeat_interleave(count, 0), place, torch.stack([first, second], 1)
        )
        every = torch.ones(len(tokens), 3, dtype=torch.bool)
        logits = decoding.make_masks(self.sam.mask_decoder, tokens, keys, tuple(image.shape[2:]), every)
        return logits.unflatten(0, (-1, 3)), decoding.predict_iou(self.sam.mask_decoder, tokens)


@torch.no_grad()
def _look_where_asked(decoder: Any, gain: float = 2.0) -> None:
    """Start all attention between prompt and image with equal projections of queries and keys: both carry the same code
    of their place, so that a point looks at its surroundings from the first step on instead of having to learn it.
    """
    layers = decoder.transformer.layers
    parts = [part for layer in layers for part in (layer.cross_attn_token_to_image, layer.cross_attn_image_to_token)]
    for part in (*parts, decoder.transformer.final_attn_token_to_image):
        nn.init.orthogonal_(part.q_proj.weight, gain)
        part.k_proj.weight.copy_(part.q_proj.weight)


def cut(
    scene: tuple[np.ndarray, np.ndarray], plan: Plan, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One augmented window of a scene: RGB (size, size, 3) uint8 and instance ids (size, size) int32."""
    import cv2

    rgb, ids = scene
    side = min(int(size / np.exp(rng.uniform(*np.log(plan.scales)))), len(rgb))
    y, x = rng.integers(0, len(rgb) - side + 1, 2)
    rgb, ids = rgb[y : y + side, x : x + side], ids[y : y + side, x : x + side]
    turn, flip = rng.integers(4), rng.random() < 0.5
    rgb, ids = (np.rot90(a[:, ::-1] if flip else a, turn) for a in (rgb, ids))
    rgb = cv2.resize(np.ascontiguousarray(rgb), (size, size), interpolation=cv2.INTER_LINEAR)
    ids = cv2.resize(np.ascontiguousarray(ids).astype(np.int32), (size, size), interpolation=cv2.INTER_NEAREST)
    gain, shift = np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.05, 3)), rng.normal(0, 8) + rng.normal(0, 4, 3)
    rgb = (rgb.astype(np.float32) - 110) * gain + 110 + shift
    if rng.random() < 0.3:
        rgb += rng.normal(0, rng.uniform(1, 6), rgb.shape)
    if rng.random() < 0.2:
        rgb = cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.3, 1.0))
    return rgb.clip(0, 255).astype(np.uint8), ids


def boundaries(ids: Tensor) -> Tensor:
    """Where an instance ends in windows (B, S, S) of instance ids: (B, S/2, S/2) float, 0 or 1."""
    edge = torch.zeros_like(ids, dtype=torch.float32)
    edge[:, :, 1:] = (ids[:, :, 1:] != ids[:, :, :-1]).float()
    edge[:, 1:] = torch.maximum(edge[:, 1:], (ids[:, 1:] != ids[:, :-1]).float())
    return F.max_pool2d(edge, 2)


def boundary_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy in which a boundary counts twice: a gap in it joins two instances."""
    return F.binary_cross_entropy_with_logits(logits, truth, pos_weight=torch.tensor(2.0))


def sample_prompts(ids: np.ndarray, plan: Plan, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prompts for one window of ids (S, S): points (P, 2, 2) x, y; which are boxes (P,); the id asked for (P,), 0 none.

    Half of the points fall anywhere, as the grid's do, half on instances drawn by the root of their area.
    """
    size, count = len(ids), plan.prompts if len(ids) == plan.window else plan.wide_prompts
    at = rng.integers(0, size * size, count)
    numbers, areas = np.unique(ids, return_counts=True)
    wanted = (areas >= plan.least) & (numbers > 0)
    numbers, areas = numbers[wanted], areas[wanted]
    if len(numbers):
        order = np.argsort(ids, axis=None, kind="stable")
        starts = np.searchsorted(ids.ravel()[order], numbers)
        ends = np.searchsorted(ids.ravel()[order], numbers, side="right")
        chosen = rng.choice(len(numbers), count // 2, p=np.sqrt(areas) / np.sqrt(areas).sum())
        at[: count // 2] = order[rng.integers(starts[chosen], ends[chosen])]
    wanted = ids.ravel()[at]
    wanted = np.where(np.isin(wanted, numbers), wanted, 0)
    points = np.repeat(np.stack([at % size, at // size], 1)[:, None], 2, 1).astype(np.float32)
    boxes = (rng.random(count) < 0.15) & (wanted > 0)
    for i in np.flatnonzero(boxes):
        y, x = np.nonzero(ids == wanted[i])
        spread = 0.1 * np.array([np.ptp(x) + 1, np.ptp(y) + 1])
        points[i] = np.array([[x.min(), y.min()], [x.max(), y.max()]]) + rng.normal(0, spread.clip(0, 10), (2, 2))
    return points.clip(0, size - 1), boxes, wanted


def prompt_loss(
    logits: Tensor, predicted: Tensor, ids: Tensor, wanted: Tensor, balance: float
) -> tuple[Tensor, dict[str, float]]:
    """SAM's loss for masks asked for at prompts.

    Args:
        logits: (B P, 3, s, s). predicted: (B P, 3) IoU. ids: (B, S, S). wanted: (B, P) instance ids, 0 = no instance
            there: then only the predicted IoU learns (to be 0).
        balance: weight of a cross-entropy in which mask and rest count the same; without it the first hundreds of steps
            learn only that most places are outside.
    """
    step = 2
    truth = (ids[:, None, step // 2 :: step, step // 2 :: step] == wanted[..., None, None]).flatten(0, 1)  # (B P, z, z)
    asked, size = (wanted > 0).flatten(), truth.shape[-2:]
    with torch.no_grad():
        found = F.interpolate(logits.float(), size, mode="bilinear", align_corners=False) > 0
        both = (found & truth[:, None]).flatten(2).sum(2)
        iou = both / (found | truth[:, None]).flatten(2).sum(2).clamp(min=1) * asked[:, None]
        coarse = F.avg_pool2d(truth[:, None].float(), STRIDE // step)
        p = torch.sigmoid(logits.float())
        best = ((p * coarse).sum((2, 3)) / (p.sum((2, 3)) + coarse.sum((2, 3)) + 1)).argmax(1)
    score = F.mse_loss(predicted.float(), iou)
    chosen = logits[torch.arange(len(best)), best][asked].float()
    chosen = F.interpolate(chosen[:, None], size, mode="bilinear", align_corners=False).flatten(1)
    target = truth[asked].flatten(1).float()
    p = torch.sigmoid(chosen)
    entropy = F.binary_cross_entropy_with_logits(chosen, target, reduction="none")
    focal = ((0.25 * target + 0.75 * (1 - target)) * (p - target) ** 2 * entropy).mean(1)
    dice = 1 - (2 * (p * target).sum(1) + 1) / (p.sum(1) + target.sum(1) + 1)
    loss = 20 * focal + dice
    if balance > 0:
        share = target.mean(1, keepdim=True)
        loss = loss + balance * (entropy * (target / share.clamp(min=1e-4) + (1 - target) / (1 - share + 1e-4))).mean(1)
    loss = loss.sum() / asked.sum().clamp(min=1)
    facts = {
        "best": float(loss.detach()),
        "iou": float(iou[asked].max(1).values.mean()),
        "score": float(score.detach()),
    }
    return loss + score, facts


def windows_of(scenes: Scenes, plan: Plan, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Windows (B, 3, S, S) float RGB 0..255 and their instance ids (B, S, S)."""
    chosen = rng.integers(0, len(scenes[0]), max(1, plan.windows * plan.window**2 // size**2))
    windows = [cut((scenes[0][i], scenes[1][i]), plan, size, rng) for i in chosen]
    images = torch.from_numpy(np.stack([rgb for rgb, _ in windows])).permute(0, 3, 1, 2).float()
    return images, torch.from_numpy(np.stack([ids for _, ids in windows]))


def losses(
    trainer: NanoTrainer, plan: Plan, scenes: Scenes, done: float, rng: np.random.Generator
) -> tuple[Tensor, dict[str, float]]:
    """The loss of one step at `done` (0..1) of the training, and numbers for the log."""
    size = plan.window if done < 1 - plan.wide_last else trainer.sam.image_encoder.img_size
    images, ids = windows_of(scenes, plan, size, rng)
    room = (trainer.sam.image_encoder.img_size - size) // NanoEncoder.stride + 1
    corner = (int(rng.integers(room)), int(rng.integers(room)))
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16_pays()):
        embedding, edges = trainer(images, corner)
        grouping = boundary_loss(edges, boundaries(ids))
        if done < plan.boundaries_first:
            return grouping, {"boundaries": float(grouping.detach())}
        prompts = zip(*[sample_prompts(window, plan, rng) for window in ids.numpy()])
        points, boxes, wanted = (torch.from_numpy(np.stack(part)) for part in prompts)
        logits, predicted = trainer.prompt(embedding, points, boxes, corner)
    balance = max(0.0, 1 - done / plan.balance_until) if plan.balance_until else 0.0
    prompted, facts = prompt_loss(logits, predicted, ids, wanted, balance)
    return grouping + prompted, {"boundaries": float(grouping.detach()), **facts}


def train(
    scenes: Scenes,
    state_path: Path,
    plan: Plan,
    minutes: float | None,
    steps: int | None,
    seed: int,
    rank: int = 0,
    start: Path | None = None,
) -> None:
    """Train, or go on from `state_path` (written every two minutes); ends after `minutes` of training or `steps`.

    `start`: weights of an earlier training to begin with, as `load_sam` reads them.
    Where torch.distributed is initialised its processes share each step: own windows each, gradients averaged.
    """
    torch.manual_seed(seed)
    trainer, state = NanoTrainer(), {"step": 0, "spent": 0.0, "history": []}
    if start:
        trainer.sam.load_state_dict(load_sam("nano", start).state_dict())
    average = copy.deepcopy(trainer)
    optimizer = torch.optim.AdamW(trainer.parameters(), plan.rate, weight_decay=0.02, betas=(0.9, 0.98))
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        for name, part in (("model", trainer), ("average", average), ("optimizer", optimizer)):
            part.load_state_dict(state[name])
    step, history, saved = state["step"], state["history"], time.monotonic()
    clock = saved - state["spent"]
    while (done := _agree(step / steps if steps else (time.monotonic() - clock) / 60 / (minutes or 1))) < 1:
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * min(1, (step + 1) / 100) * (0.51 + 0.5 * math.cos(math.pi * done))
        loss, facts = losses(trainer, plan, scenes, done, np.random.default_rng((seed, step, rank)))
        optimizer.zero_grad()
        loss.backward()
        _share(trainer)
        nn.utils.clip_grad_norm_(trainer.parameters(), 1.0)
        optimizer.step()
        _follow(average, trainer, min(0.998, step / (step + 20)))
        history.append(facts)
        step += 1
        if step % 50 == 0 and rank == 0:
            recent = {k: round(float(np.mean([h[k] for h in history[-50:] if k in h])), 4) for k in facts}
            print(f"step {step} done {done:.3f} {time.monotonic() - clock:.0f} s {recent}", flush=True)
        if time.monotonic() - saved > plan.save_every and rank == 0:
            saved = time.monotonic()
            _save(state_path, trainer, average, optimizer, step, saved - clock, history)
    if rank == 0:
        _save(state_path, trainer, average, optimizer, step, time.monotonic() - clock, history)


def _agree(done: float) -> float:
    """The first process's `done` for all: they must stop, and change the recipe, at the same step."""
    shared = torch.tensor(done, dtype=torch.float64)
    if torch.distributed.is_initialized():
        torch.distributed.broadcast(shared, 0)
    return float(shared)


def _share(trainer: nn.Module) -> None:
    """Average the gradients over all processes."""
    if not torch.distributed.is_initialized():
        return
    trained = [p for p in trainer.parameters() if p.grad is not None]
    flat = torch.cat([p.grad.flatten() for p in trained])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    for p, part in zip(trained, flat.split([p.numel() for p in trained])):
        p.grad = part.view_as(p)


def plan_of(options: argparse.Namespace) -> Plan:
    """The plan of a training; one that starts from trained weights knows its boundaries and where to look already."""
    return Plan(rate=8e-4, boundaries_first=0, wide_last=1, balance_until=0) if options.start else Plan()


def _work(rank: int, world: int, options: argparse.Namespace) -> None:
    """One training process; alone it uses every core, beside others one thread."""
    prepare_cpu(1 if world > 1 else None)
    if world > 1:
        meeting = f"file://{(options.work / f'meeting-{os.getppid()}').resolve()}"
        torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)
    scenes = scenes_of(options.work / "train", options.count, range(6), options.seed)
    state = options.work / "state.pt"
    train(scenes, state, plan_of(options), options.minutes, options.steps, options.seed, rank, options.start)


@torch.no_grad()
def _follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    for kept, new in zip(average.state_dict().values(), model.state_dict().values()):
        kept.lerp_(new, 1 - decay) if kept.is_floating_point() else kept.copy_(new)


def _save(
    path: Path, trainer: nn.Module, average: nn.Module, optimizer: Any, step: int, spent: float, history: list
) -> None:
    from lczlib.runs import atomic_path

    state = {"model": trainer.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()}
    with atomic_path(path) as temporary:
        torch.save({**state, "step": step, "spent": spent, "history": history[-2000:]}, temporary)


def scenes_of(path: Path, count: int, cities: Sequence[int], seed: int, workers: int = 2) -> Scenes:
    """`count` scenes of these cities, zones in turn, seeds from `seed` on; made once and kept beside `path`."""
    from multiprocessing import get_context

    from lczlib.runs import atomic_path

    files = path.with_suffix(".rgb.npy"), path.with_suffix(".ids.npy")
    if not all(file.exists() for file in files):
        jobs = [(1 + i % 17, cities[i // 17 % len(cities)], seed + i) for i in range(count)]
        with get_context("spawn").Pool(workers) as pool:
            made = pool.starmap(_scene, jobs, chunksize=8)
        for file, stack in zip(files, zip(*made)):
            with atomic_path(file) as temporary, temporary.open("wb") as stream:
                np.save(stream, np.stack(stack))
    return tuple(np.load(file, mmap_mode="r") for file in files)


def _scene(label: int, city: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    from lczlib.synthetic import generate_scene

    scene = generate_scene(label, city, seed)
    return scene.rgb, scene.instances


def export(sam: Any, path: Path) -> None:
    """Write the weights as half-precision safetensors (the loader brings them back to single precision)."""
    from safetensors.torch import save_file

    from lczlib.runs import atomic_path

    with atomic_path(path) as temporary:
        save_file(
            {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in sam.state_dict().items()}, temporary
        )


def finish(
    trainer: NanoTrainer, work: Path, out: Path, plan: Plan, facts: dict[str, Any], test: int = 200
) -> dict[str, Any]:
    """Calibrate on new seeds of the training cities, evaluate on cities 6 and 7, write weights and JSON."""
    from lczlib.runs import write_json

    from .evaluation import calibrate, grouped, reachable, score
    from .masks import generate_masks

    tuning = scenes_of(work / "tuning", 34, range(6), seed=500_000)
    sam, chosen = calibrate(trainer.sam, *tuning)
    export(sam, out)
    rgb, ids = scenes_of(work / "test", test, (6, 7), seed=900_000)
    sam = load_sam("nano", out)
    result = score(generate_masks(sam, rgb), ids)
    limits = {"reachable": reachable(ids), "regions": reachable(ids, among=grouped(sam, rgb))}
    report = {
        "test": {"scenes": len(rgb), "cities": [6, 7], **result, **limits},
        "calibration": chosen,
    }
    report |= {"training": {**facts, **vars(plan), "parameters": sum(p.numel() for p in sam.parameters())}}
    write_json(out.with_suffix(".json"), report)
    return report


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m lczlib.sam.train_nano", description="Train and evaluate nano.")
    parser.add_argument("--work", type=Path, default=Path("build/nano"), help="folder for scenes and checkpoints")
    parser.add_argument("--out", type=Path, default=Path("build/nano/nano.safetensors"), help="weights to write")
    parser.add_argument("--minutes", type=float, help="training time; or give --steps")
    parser.add_argument("--steps", type=int, help="training steps: reproducible, unlike minutes")
    parser.add_argument("--count", type=int, default=3060, help="training scenes")
    parser.add_argument("--test", type=int, default=200, help="test scenes")
    parser.add_argument("--workers", type=int, default=2, help="training processes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="weights to begin with instead of random ones")
    options = parser.parse_args(arguments)
    if not (options.minutes or options.steps):
        parser.error("give --minutes or --steps")
    scenes_of(options.work / "train", options.count, range(6), options.seed)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    torch.multiprocessing.spawn(_work, (options.workers, options), nprocs=options.workers)
    prepare_cpu()
    state = torch.load(options.work / "state.pt", weights_only=True)
    trainer = NanoTrainer()
    trainer.load_state_dict(state["average"])
    facts = {"steps": state["step"], "minutes": state["spent"] / 60, "scenes": options.count, "seed": options.seed}
    facts["processes"] = options.workers
    print(finish(trainer.eval(), options.work, options.out, plan_of(options), facts, options.test)["test"])


if __name__ == "__main__":
    main()
