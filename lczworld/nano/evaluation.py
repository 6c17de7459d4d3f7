"""How well automatic masks find the true instances of synthetic scenes, and the calibration of `nano` by it."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise, repeat
from typing import TYPE_CHECKING

import numpy as np
import torch

from lczlib.sam import decoder as decoding
from lczlib.sam.masks import (
    PAPER,
    Masks,
    MaskSettings,
    _Crop,
    _encode,
    _prompted,
    _stable,
    boxes_of,
    generate_masks,
)

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

SIZES = (100, 200, 400, 1000, 4000, 200_000)  # px, classes of instance area in the report


def overlaps(masks: np.ndarray, instances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """IoU of every mask (n, H, W) with every true instance of (H, W) ids: (n, m), and the instances' areas (m,) px."""
    ids, flat, areas = np.unique(instances, return_inverse=True, return_counts=True)
    flat = flat.reshape(instances.shape)
    both = (
        np.stack([np.bincount(flat[mask], minlength=len(ids)) for mask in masks])
        if len(masks)
        else np.zeros((0, len(ids)))
    )
    iou = both / (masks.sum((1, 2))[:, None] + areas - both)
    return iou[:, ids > 0], areas[ids > 0]


def score(
    found: Iterable[Masks], instances: Sequence[np.ndarray], least: int = 100, level: float = 0.5, most: int = 50
) -> dict[str, object]:
    """How well the masks of scenes meet their true instances.

    Args:
        found: masks of each scene, as `generate_masks` gives them.
        instances: (H, W) true ids of each scene, 0 = none.

    Returns:
        `found`: share of instances of at least `least` px that some mask meets with IoU >= `level`;
        `found_largest`: the same among the `most` largest instances of each scene (more masks than that are not kept);
        `mask_iou`: mean over masks of the best IoU with any instance; `masks`, `instances` a scene; `found_by_size`.
    """
    tables = [overlaps(masks, ids) for (masks, _), ids in zip(found, instances)]
    best = np.concatenate([iou.max(1, initial=0) for iou, _ in tables])
    hit = np.concatenate([iou.max(0, initial=0) for iou, _ in tables]) >= level
    area = np.concatenate([areas for _, areas in tables])
    rank = np.concatenate([np.argsort(np.argsort(-areas, kind="stable")) for _, areas in tables])
    classes = {
        f"{low}-{high}": float(hit[(area >= low) & (area < high)].mean())
        for low, high in pairwise(SIZES)
        if ((area >= low) & (area < high)).any()
    }
    return {
        "found": float(hit[area >= least].mean()),
        "found_largest": float(hit[(area >= least) & (rank < most)].mean()),
        "mask_iou": float(best.mean()),
        "masks": len(best) / len(tables),
        "instances": float((area >= least).sum() / len(tables)),
        "found_by_size": classes,
    }


def reachable(
    instances: Sequence[np.ndarray],
    settings: MaskSettings = PAPER,
    least: int = 100,
    among: Iterable[Masks] | None = None,
) -> dict[str, float]:
    """What a perfect model could find with these settings, as `score` names it: an instance counts when a point of the
    grid or of a crop's grid falls on it and it is among the largest `max_masks` of those.

    Args:
        instances, least: of `score`. among: of each scene the only masks that may be given, e.g. of `grouped`.
    """
    found = []
    for ids, masks in zip(instances, repeat(None) if among is None else among):
        seen = {int(n) for x, y in _points(ids.shape, settings) for n in ids[y, x]}
        numbers, areas = np.unique(ids[ids > 0], return_counts=True)
        large = np.isin(numbers, list(seen)) & (areas >= settings.min_area)
        kept = numbers[large][np.argsort(-areas[large], kind="stable")][: settings.max_masks]
        if masks is not None:
            met = overlaps(masks[0], ids)[0].max(0, initial=0) >= 0.5
            kept = kept[met[np.searchsorted(numbers, kept)]]
        found.append((ids[None] == np.array(kept, ids.dtype)[:, None, None], None))
    limits = score(found, instances, least)
    return {name: limits[name] for name in ("found", "found_largest")}


def _points(size: tuple[int, int], settings: MaskSettings) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Whole pixels x, y (n,) of the grid's points in the image and in each of its crops."""
    from segment_anything.utils.amg import build_point_grid, generate_crop_boxes

    for (x0, y0, x1, y1), layer in zip(*generate_crop_boxes(size, settings.crop_n_layers, 512 / 1500)):
        grid = build_point_grid(settings.points_in(layer))
        yield tuple((grid * (x1 - x0, y1 - y0) + (x0, y0)).astype(int).T)


def grouped(sam: Sam, images: Iterable[np.ndarray], settings: MaskSettings = PAPER) -> Iterator[Masks]:
    """The regions that nano's encoder finds, at all its levels, under a point of the grid of each image and of its
    crops: what its decoder has to choose from.
    """
    from segment_anything.utils.amg import generate_crop_boxes

    for image in images:
        size, found = image.shape[:2], []
        crops = generate_crop_boxes(size, settings.crop_n_layers, 512 / 1500)[0]
        for (x0, y0, x1, y1), (x, y) in zip(crops, _points(size, settings)):
            for numbers in _region_maps(sam, image[y0:y1, x0:x1]):
                asked = np.unique(numbers[y - y0, x - x0])
                masks = np.zeros((len(asked), *size), bool)
                masks[:, y0:y1, x0:x1] = numbers == asked[:, None, None]
                found.append(masks)
        every = np.concatenate(found)
        yield every, boxes_of(every)


def _region_maps(sam: Sam, crop: np.ndarray) -> Iterator[np.ndarray]:
    """Number of the region of every pixel of a crop (h, w), at each of the encoder's levels."""
    import cv2

    encoder = sam.image_encoder
    x = torch.from_numpy(cv2.resize(crop, (encoder.img_size,) * 2)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        numbers = encoder.embed(*encoder.see(sam.preprocess(x)))[1][0].numpy()
    for level in numbers.astype(np.float32):  # cv2 resizes no 64-bit integers
        yield cv2.resize(level, crop.shape[1::-1], interpolation=cv2.INTER_NEAREST).astype(int)


def candidates(
    sam: Sam, scenes: Sequence[np.ndarray], instances: Sequence[np.ndarray], settings: MaskSettings = PAPER
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the predicted IoU is read from, and what it should say, for all prompts of the grids of scenes.

    Returns:
        tokens (P, C) that the IoU is predicted from; iou (P, 3) of each mask with the instance it meets best; and
        (P, 3) bool, which of these count: the masks that are steady and end within their crop.
    """
    from segment_anything.utils.amg import generate_crop_boxes

    tokens, met, counted = [], [], []
    for image, ids in zip(scenes, instances):
        boxes, layers = generate_crop_boxes(image.shape[:2], settings.crop_n_layers, 512 / 1500)
        with torch.inference_mode():
            for box, layer, embedding in zip(boxes, layers, _encode(sam, [image], [boxes], bf16=False)):
                crop = _Crop(sam, settings, image.shape[:2], box, layer, embedding)
                own, masks, usable = _every_mask(crop)
                x0, y0, x1, y1 = box
                full = np.zeros((len(masks), *image.shape[:2]), bool)
                full[:, y0:y1, x0:x1] = masks
                iou = torch.zeros(usable.shape)
                iou[usable] = torch.from_numpy(overlaps(full, ids)[0].max(1, initial=0)).float()
                for kept, new in zip((tokens, met, counted), (own, iou, usable)):
                    kept.append(new)
    return torch.cat(tokens), torch.cat(met), torch.cat(counted)


def _every_mask(crop: _Crop) -> tuple[torch.Tensor, np.ndarray, torch.Tensor]:
    """IoU tokens (P, C) of a crop's prompts, their masks that are steady and end within it (n, h, w), which (P, 3)."""
    decoder, (image, place, prompts) = crop.sam.mask_decoder, _prompted(crop)
    tokens, masks, usable = [], [], []
    for part in prompts.split(32):
        answers, keys = decoding.attend(decoder, image, place, part)
        every = torch.ones(len(part), 3, dtype=torch.bool)
        logits = decoding.mask_logits(decoder, answers, keys, tuple(image.shape[2:]), every)
        found, _, which = _stable(crop, logits)
        tokens.append(answers[:, 0])
        masks.append(found.numpy())
        usable.append(which.view(-1, 3))
    return torch.cat(tokens), np.concatenate(masks), torch.cat(usable)


def calibrate(
    sam: Sam, scenes: Sequence[np.ndarray], instances: Sequence[np.ndarray], wanted: float, halvings: int = 6
) -> tuple[Sam, dict[str, object]]:
    """Fit the model to the paper's threshold of the predicted IoU, 0.88, on scenes it was not trained on.

    The threshold belongs to SAM's training. The predicted IoU is shifted so that it keeps as many masks as it can while
    the mean of their best IoU is `wanted` or more.
    """
    trials, low, high = [], 0.2, 0.9
    for _ in range(halvings):
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
