"""How well automatic masks find the true instances of synthetic scenes, and the calibration of `nano` by it."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from lczlib.sam import decoder as decoding
from lczlib.sam.masks import Masks, crops_of, generate_masks, stable_masks, truth_masks
from lczlib.sam.settings import PAPER, MaskSettings

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

HALVINGS = 6  # of the interval of thresholds, in the calibration
SIZES = (100, 200, 400, 1000, 4000, 200_000)  # px, classes of instance area in the report


def overlaps(masks: np.ndarray, instances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """IoU of every mask (n, H, W) with every true instance of (H, W) ids: (n, m), and the instances' areas (m,) px."""
    ids, flat, areas = np.unique(instances, return_inverse=True, return_counts=True)
    flat = flat.reshape(instances.shape)
    both = np.array([np.bincount(flat[mask], minlength=len(ids)) for mask in masks]).reshape(-1, len(ids))
    iou = both / (masks.sum((1, 2))[:, None] + areas - both)
    return iou[:, ids > 0], areas[ids > 0]


def score(
    found: Iterable[Masks], instances: Sequence[np.ndarray], least: int = 100, level: float = 0.5, most: int = 50
) -> dict[str, object]:
    """How well the masks of scenes, as `generate_masks` gives them, find the true instances (H, W), 0 = none.

    Returns:
        `found`: share of instances of at least `least` px with a mask of IoU >= `level`;
        `found_largest`: the same among the `most` largest instances of each scene (more masks than that are not kept);
        `mask_iou`: mean over masks of the best IoU with any instance; `masks`, `instances` a scene; `found_by_size`.
    """
    tables = [overlaps(masks, ids) for (masks, _), ids in zip(found, instances)]
    best = np.concatenate([iou.max(1, initial=0) for iou, _ in tables])
    hit = np.concatenate([iou.max(0, initial=0) for iou, _ in tables]) >= level
    area = np.concatenate([areas for _, areas in tables])
    rank = np.concatenate([np.argsort(np.argsort(-areas, kind="stable")) for _, areas in tables])
    classes = {f"{low}-{high}": (area >= low) & (area < high) for low, high in pairwise(SIZES)}
    return {
        "found": float(hit[area >= least].mean()),
        "found_largest": float(hit[(area >= least) & (rank < most)].mean()),
        "mask_iou": float(best.mean()),
        "masks": len(best) / len(tables),
        "instances": float((area >= least).sum() / len(tables)),
        "found_by_size": {name: float(hit[one].mean()) for name, one in classes.items() if one.any()},
    }


def reachable(instances: Sequence[np.ndarray], settings: MaskSettings = PAPER, least: int = 100) -> dict[str, float]:
    """What a perfect model could find with these settings, as `score` names it: the largest `max_masks` of the
    instances on which a point of the grid or of a crop's grid falls.
    """
    found = []
    for ids in instances:
        under = []
        for (x0, y0, x1, y1), grid in settings.crops(ids.shape):
            x, y = (grid * (x1 - x0, y1 - y0) + (x0, y0)).astype(int).T
            under.append(ids[y, x])
        found.append(truth_masks(np.where(np.isin(ids, np.concatenate(under)), ids, 0), settings))
    limits = score(found, instances, least)
    return {name: limits[name] for name in ("found", "found_largest")}


@torch.inference_mode()
def candidates(
    sam: Sam, scenes: Sequence[np.ndarray], instances: Sequence[np.ndarray], settings: MaskSettings = PAPER
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the predicted IoU is read from, and what it should say, for all prompts of the grids of scenes.

    Returns:
        tokens (P, C) that the IoU is predicted from; iou (P, 3) of each mask with the instance it meets best; and
        (P, 3) bool, which of these count: the masks that are stable and end within their crop.
    """
    found, decoder = [], sam.mask_decoder
    for image, ids in zip(scenes, instances):
        for crop in crops_of(sam, image, settings):
            x0, y0, x1, y1 = crop.box
            for some in crop.prompts.split(32):
                tokens, keys = decoding.attend(decoder, crop.embedding, crop.place, some)
                every = torch.ones(len(some), 3, dtype=torch.bool)
                logits = decoding.mask_logits(decoder, tokens, keys, tuple(crop.embedding.shape[2:]), every)
                masks, _, stable = stable_masks(crop, logits)
                full = np.zeros((len(masks), *ids.shape), bool)
                full[:, y0:y1, x0:x1] = masks
                iou = torch.zeros(len(stable))
                iou[stable] = torch.from_numpy(overlaps(full, ids)[0].max(1, initial=0)).float()
                found.append((tokens[:, 0], iou.view(-1, 3), stable.view(-1, 3)))
    return tuple(torch.cat(kind) for kind in zip(*found))


def calibrate(
    sam: Sam, scenes: Sequence[np.ndarray], instances: Sequence[np.ndarray], wanted: float
) -> tuple[Sam, dict[str, object]]:
    """Fit the model to the paper's threshold of the predicted IoU, 0.88, on scenes it was not trained on.

    The threshold belongs to SAM's training. The predicted IoU is shifted so that it keeps as many masks as it can while
    the mean of their best IoU is `wanted` or more.
    """
    trials, low, high = [], 0.2, 0.9
    for _ in range(HALVINGS):
        level = (low + high) / 2
        found = score(generate_masks(sam, scenes, replace(PAPER, pred_iou_thresh=level)), instances)
        trials.append({"level": level, **found})
        low, high = (low, level) if found["mask_iou"] >= wanted else (level, high)
    shift = PAPER.pred_iou_thresh - high
    return with_calibration(sam, 1.0, shift), {"wanted": wanted, "shift": shift, "trials": trials}


@torch.no_grad()
def with_calibration(sam: Sam, factor: float, shift: float) -> Sam:
    """A copy whose mask logits are `factor` times larger and whose predicted IoU is `shift` higher."""
    sam = copy.deepcopy(sam)
    for head in sam.mask_decoder.output_hypernetworks_mlps:
        head.layers[-1].weight *= factor
        head.layers[-1].bias *= factor
    sam.mask_decoder.iou_prediction_head.layers[-1].bias += shift
    return sam
