"""How `nano`'s decoder learns: SAM's promptable training on synthetic scenes, beside an encoder that groups already.

Source: SAM (Kirillov et al. 2023), Sec. 3 and App. A: focal and dice loss 20 : 1 on the best of three masks, predicted
IoU by mean squared error. This project's ("assumed"): the decoder's start (`start`); two of the masks are also taught
the encoder's bolder and finer region, and the third the true instance even where another mask is better; at the end the
predicted IoU is learned anew, from the masks of whole scenes.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lczlib.compute import bf16_pays, parallel
from lczlib.sam import decoder as decoding

from .evaluation import candidates
from .learning import Scenes, draw, fit, see
from .learning import train as train_model

SCORE_WEIGHT = 4.0  # of the loss of the predicted IoU (SAM: 1), by which masks are kept


@dataclass(frozen=True)
class Plan:
    """Sizes of a training. A window is a part of a scene, enlarged to the network's input."""

    windows: int = 2  # a step
    prompts: int = 40  # a window
    rate: float = 6e-4
    largest: float = 1.7  # most that a scene is enlarged; the generator sees scenes at 1 (image) and 1.5 (crops)
    balance: float = 1.0  # weight of the cross-entropy beside dice; falls to
    balance_last: float = 0.2
    factor: float = 4.0  # on the mask logits at the end, their unit for the stability; 1 for weights that have it
    scored: int = 850  # scenes on whose masks, at the end, the predicted IoU is learned
    score_steps: int = 1500
    least: int = 100  # px in the window, instances below are not asked for


def prompt(sam: Any, embedding: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Masks for point prompts of several windows at once.

    Args:
        embedding: (B, C, h, w) of windows. points: (B, P, 2) x, y in the window.

    Returns:
        logits (B P, 3, 4 h, 4 w), predicted IoU (B P, 3).
    """
    asked = points.flatten(0, 1)[:, None]
    sparse, _ = sam.prompt_encoder((asked, torch.ones(asked.shape[:2], dtype=torch.int)), None, None)
    image = embedding + sam.prompt_encoder.no_mask_embed.weight[0][:, None, None]
    image, place = image.repeat_interleave(points.shape[1], 0), sam.prompt_encoder.get_dense_pe()[0]
    tokens, keys = decoding.attend(sam.mask_decoder, image, place, sparse)
    every = torch.ones(len(tokens), 3, dtype=torch.bool)
    logits = decoding.mask_logits(sam.mask_decoder, tokens, keys, tuple(image.shape[2:]), every)
    return logits.unflatten(0, (-1, 3)), decoding.predict_iou(sam.mask_decoder, tokens)


def learn_score(sam: Any, plan: Plan, scenes: Scenes, workers: int, rng: np.random.Generator) -> float:
    """Teach the model, in place, the IoU of the masks it gives on `plan.scored` scenes, all else as it is; only masks
    that stability and the edges of crops leave count. Returns the mean squared error reached.
    """
    first = np.sort(rng.permutation(len(scenes[0]))[: plan.scored])
    parts = np.array_split(first, math.ceil(len(first) / 34))
    jobs = [{"sam": sam, "scenes": scenes[0][part], "instances": scenes[1][part]} for part in parts]
    tokens, truth, counted = (torch.cat(kind) for kind in zip(*parallel(candidates, jobs, workers)))
    head = sam.mask_decoder.iou_prediction_head.requires_grad_(True)
    for layer in head.layers:
        layer.reset_parameters()

    def loss(rows: Tensor) -> Tensor:
        error = (head(tokens[rows])[:, 1:] - truth[rows]) ** 2 * counted[rows]
        return error.sum() / counted[rows].sum().clamp(min=1)

    fit(head, loss, len(truth), plan.score_steps, rng, rate=3e-3, decay=1.0)
    with torch.no_grad():
        return float(loss(torch.arange(len(truth))))


def sample_points(ids: np.ndarray, least: int, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points to ask at in a window of ids (S, S): (P, 2) x, y; the id asked for (P,), 0 none of at least `least` px.

    Half of the points fall anywhere, as the grid's do, half on instances drawn by the root of their area.
    """
    flat = ids.ravel()
    at = rng.integers(0, flat.size, count)
    areas = np.bincount(flat)
    areas[0] = 0
    large = np.flatnonzero(areas >= least)
    if len(large):
        share = np.sqrt(areas[large]) / np.sqrt(areas[large]).sum()
        chosen = rng.choice(large, count // 2, p=share)
        at[: count // 2] = [rng.choice(np.flatnonzero(flat == instance)) for instance in chosen]
    wanted = np.where(np.isin(flat[at], large), flat[at], 0)
    return np.stack([at % len(ids), at // len(ids)], 1).astype(np.float32), wanted


def mask_loss(logits: Tensor, truth: Tensor, balance: float, focal: float = 0.0) -> Tensor:
    """Dice loss, `balance` times a cross-entropy in which mask and rest count the same, and `focal` times SAM's focal
    loss (SAM: 20): (n, h, w), (n, h, w) bool -> (n,).
    """
    x, t = logits.float().flatten(1), truth.flatten(1).float()
    share, p = t.mean(1, keepdim=True), torch.sigmoid(x)
    entropy = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    weight = balance / 2 * (t / share.clamp(min=1e-4) + (1 - t) / (1 - share + 1e-4))
    if focal:
        weight = weight + focal * (0.25 * t + 0.75 * (1 - t)) * (p - t) ** 2
    return (entropy * weight).mean(1) + 1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)


def overlap(logits: Tensor, truth: Tensor) -> Tensor:
    """IoU of masks (logits > 0) with the truth, over the last two axes."""
    found = logits > 0
    return (found & truth).sum((-2, -1)) / (found | truth).sum((-2, -1)).clamp(min=1)


def prompt_loss(
    logits: Tensor, predicted: Tensor, ids: Tensor, wanted: Tensor, regions: Tensor, balance: float
) -> tuple[Tensor, dict[str, float]]:
    """The loss of masks asked for at prompts, and numbers for the log.

    Args:
        logits: (n, 3, s, s). predicted: (n, 3) IoU. ids: (n, s, s) instances at the masks' places.
        wanted: (n,) instance asked for; 0: none, then only the predicted IoU learns (to be 0).
        regions: (n, 2, s, s) bool, the encoder's regions at the prompt, taught to the first two masks.
        balance: weight of the cross-entropy.
    """
    truth, asked = ids == wanted[:, None, None], wanted > 0
    with torch.no_grad():
        iou = overlap(logits, truth[:, None]) * asked[:, None]
        read = overlap(logits[:, :2], regions)
        best = iou[asked].max(1).values.mean()
    score = F.mse_loss(predicted.float(), iou)
    region = mask_loss(logits[:, :2].flatten(0, 1), regions.flatten(0, 1), balance).mean()
    instance = [mask_loss(logits[asked, i], truth[asked], balance / 2, 20.0) for i in (iou.argmax(1)[asked], 2)]
    facts = {"region": float(read.mean()), "iou": float(best), "score": float(score.detach())}
    loss = region + 0.25 * sum(instance).sum() / max(int(asked.sum()), 1)
    return loss + SCORE_WEIGHT * score, facts


def losses(
    sam: Any, plan: Plan, scenes: Scenes, done: float, rng: np.random.Generator
) -> tuple[Tensor, dict[str, float]]:
    """The loss of one step at `done` (0..1) of the training, and numbers for the log."""
    encoder = sam.image_encoder
    images, ids = draw(scenes, plan.windows, encoder.img_size, rng, plan.largest)
    sampled = [sample_points(window, plan.least, plan.prompts, rng) for window in ids.numpy()]
    points, wanted = (torch.from_numpy(np.stack(part)) for part in zip(*sampled))
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16_pays()):
        with torch.no_grad():
            seen = see(sam, images)
        embedding, numbers = encoder.embed(*seen)
        logits, predicted = prompt(sam, embedding, points)
    window = torch.arange(len(ids)).repeat_interleave(points.shape[1])
    x, y = (points.long() // 2).flatten(0, 1).T
    asked = numbers[window, :, y, x]  # (n, 2) the bolder and the finer region under the point
    regions = numbers[window] == asked[:, :, None, None]
    balance = float(np.interp(done, (0, 0.8), (plan.balance, plan.balance_last)))
    return prompt_loss(logits, predicted, ids[window][:, 1::2, 1::2], wanted.flatten(), regions, balance)


def train(sam: Any, scenes: Scenes, path: Path, plan: Plan, steps: int, seed: int) -> dict[str, float]:
    """Teach the decoder of `sam`, in place; goes on from `path`. Returns the facts of `learning.train`."""
    sam.requires_grad_(True).train()
    sam.image_encoder.eval()

    def loss_of(step: int) -> tuple[Tensor, dict[str, float]]:
        return losses(sam, plan, scenes, step / steps, np.random.default_rng((seed, step)))

    return train_model(sam, loss_of, steps, plan.rate, path, f"{plan}, seed {seed}, {len(scenes[0])} scenes")
