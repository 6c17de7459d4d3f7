"""Automatic instance masks for batches of images: what SamAutomaticMaskGenerator finds, with less work.

The rules are segment_anything's, in its order: a grid of point prompts over the image and over its overlapping crops,
three masks a prompt, filters by predicted IoU, stability and crop edge, box NMS within a crop and between crops, small
holes and islands removed, NMS again. Then the paper's area rule. Source: paper Sec. III (Google Earth stream).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from lczlib.compute import thread_map
from lczlib.errors import InputError

from . import decoder as decoding
from . import vit
from ._torchvision_ops import import_torchvision
from .settings import PAPER, MaskSettings

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

Masks = tuple[np.ndarray, np.ndarray]  # masks (n, H, W) bool, boxes (n, 4) int32 XYWH
Candidates = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # masks (n, h, w), boxes (n, 4) XYXY, scores (n,)
CHUNK = 32  # masks brought to full size together: small enough for a core's cache
PROMPTS = {"cpu": 32, "cuda": 64}  # decoded at a time, on a CPU by all threads together


def generate_masks(sam: Sam, images: Sequence[np.ndarray], settings: MaskSettings = PAPER) -> list[Masks]:
    """Instance masks of each image.

    Args:
        sam: a model of `load_sam`, on any device.
        images: (H, W, 3) uint8 RGB each; sizes may differ.

    Returns:
        For each image (masks (n, H, W) bool, boxes (n, 4) int32 x, y, width, height), largest first; boxes are
        inclusive as in segment_anything (width = x_max - x_min). An image without any mask gives one mask of the whole
        image, so that its graph has a node (the published code stops there).

    Raises:
        InputError: an image is not (H, W, 3) uint8.
    """
    for i, image in enumerate(images):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise InputError(f"image {i}: {image.shape} {image.dtype}; masks need (H, W, 3) uint8 RGB")
    import_torchvision()
    if settings.bf16:
        sam = copy.deepcopy(sam)
        sam.mask_decoder.bfloat16()
        if not getattr(sam.image_encoder, "needs_fp32", False):  # rounding would part other regions
            sam.image_encoder.bfloat16()
    with torch.inference_mode():
        return [_masks_of(sam, image, settings) for image in images]


def _masks_of(sam: Sam, image: np.ndarray, settings: MaskSettings) -> Masks:
    """`generate_masks` for one image, `sam` in the precision wanted."""
    large = sam.image_encoder.img_size > 512  # gigabytes a crop, and it keeps all threads busy by itself
    ready = list(crops_of(sam, image, settings)) if large else None
    candidates, boxes = [], []
    with thread_map(sam.device) as (threads, run):  # on a CPU every thread decodes some of the prompts of a crop
        for crop in ready or crops_of(sam, image, settings, run):
            parts = crop.prompts.split(max(PROMPTS.get(sam.device.type, 64) // threads, 4))
            candidates.append(run(_candidates, repeat(crop), parts))
            boxes.append(crop.box)
        return _merge_crops(candidates, boxes, image.shape[:2], settings)


def truth_masks(instances: np.ndarray, settings: MaskSettings = PAPER) -> Masks:
    """The true instances of a synthetic scene, integer ids (H, W) with 0 = none, as masks by the same area rule."""
    ids, areas = np.unique(instances[instances > 0], return_counts=True)
    order = np.argsort(-areas, kind="stable")[: settings.max_masks]
    ids = ids[order][areas[order] >= settings.min_area]
    return _with_boxes(instances[None] == ids[:, None, None])


def boxes_of(masks: np.ndarray) -> np.ndarray:
    """Inclusive boxes of masks (n, H, W) bool: (n, 4) int32 x, y, width, height; zeros for an empty mask."""
    x, y = masks.any(1), masks.any(2)
    x0, y0 = x.argmax(1), y.argmax(1)
    x1, y1 = x.shape[1] - 1 - x[:, ::-1].argmax(1), y.shape[1] - 1 - y[:, ::-1].argmax(1)
    return (np.stack([x0, y0, x1 - x0, y1 - y0], 1) * x.any(1, keepdims=True)).astype(np.int32)


def _corners(masks: np.ndarray) -> np.ndarray:
    """The boxes of masks as (n, 4) x0, y0, x1, y1."""
    boxes = boxes_of(masks)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _with_boxes(masks: np.ndarray) -> Masks:
    """Masks and their boxes; where there is none, one mask of the whole image."""
    if len(masks) == 0:
        masks = np.ones((1, *masks.shape[1:]), bool)
    return masks, boxes_of(masks)


@dataclass(frozen=True)
class Crop:
    """A part of an image, encoded, with the prompts of its grid of points."""

    sam: Sam
    settings: MaskSettings
    image_size: tuple[int, int]
    box: list[int]  # x0, y0, x1, y1
    embedding: torch.Tensor  # (1, C, h, w), the dense prompt added
    place: torch.Tensor  # (C, h, w) positional encoding
    prompts: torch.Tensor  # (P, t, C)


def crops_of(
    sam: Sam, image: np.ndarray, settings: MaskSettings, run: Callable[..., Iterator[torch.Tensor]] = map
) -> Iterator[Crop]:
    """The image (H, W, 3) and its crops as they come, encoded by `run`: on a CPU one by one, elsewhere in one pass."""
    from segment_anything.utils.transforms import ResizeLongestSide

    encoder, device, size = sam.image_encoder, sam.device, image.shape[:2]
    resize, (boxes, grids) = ResizeLongestSide(encoder.img_size), zip(*settings.crops(size))
    patches = [torch.as_tensor(resize.apply_image(image[y0:y1, x0:x1]), device=device) for x0, y0, x1, y1 in boxes]
    inner, outer = (next(part.parameters()).dtype for part in (encoder, sam.mask_decoder))
    stacked = torch.stack([sam.preprocess(patch.permute(2, 0, 1)) for patch in patches]).to(inner)
    if device.type == "cpu" and type(encoder).__name__ == "ImageEncoderViT":
        encoder = partial(vit.encode, encoder)
    encode = torch.inference_mode()(encoder)  # in threads too
    passes = run(encode, stacked.split(1 if device.type == "cpu" else len(stacked)))
    embeddings, place = (one.to(outer) for some in passes for one in some), sam.prompt_encoder.get_dense_pe()[0]
    for embedding, grid, box in zip(embeddings, grids, boxes):
        x0, y0, x1, y1 = box
        points = torch.as_tensor(resize.apply_coords(grid * (x1 - x0, y1 - y0), (y1 - y0, x1 - x0)), device=device)
        labels = torch.ones(len(points), 1, dtype=torch.int, device=device)
        sparse, dense = sam.prompt_encoder(points=(points[:, None], labels), boxes=None, masks=None)
        yield Crop(sam, settings, size, box, embedding + dense[:1].to(outer), place.to(outer), sparse.to(outer))


@torch.inference_mode()
def _candidates(crop: Crop, prompts: torch.Tensor) -> Candidates:
    """What some prompts of a crop give after the filters by predicted IoU, stability and the crop's edge."""
    decoder, least = crop.sam.mask_decoder, crop.settings.pred_iou_thresh
    tokens, keys = decoding.attend(decoder, crop.embedding, crop.place, prompts)
    iou = decoding.predict_iou(decoder, tokens).float()
    keep = (iou > least) | (least <= 0)
    logits = decoding.mask_logits(decoder, tokens, keys, tuple(crop.embedding.shape[2:]), keep)
    found = []
    for small, score in zip(logits.split(CHUNK), iou[keep].split(CHUNK)):
        masks, boxes, which = stable_masks(crop, small)
        found.append((masks, boxes, score.cpu()[which]))
    return tuple(torch.cat(part) for part in zip(*found))


def stable_masks(crop: Crop, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of mask logits (n, h, w) those that are stable and end within the crop: masks in its frame, boxes (k, 4) XYXY in
    the image's, which (n,) bool.

    Stability is the IoU of the masks above the threshold + 1 and above the threshold - 1. Boxes and areas are counted
    here, not by `segment_anything.utils.amg`: the same numbers, six times faster on a CPU.
    """
    from segment_anything.utils.amg import is_box_near_crop_edge

    level, least = crop.sam.mask_threshold, crop.settings.stability_score_thresh
    x0, y0, x1, y1 = crop.box
    full = _full_size(crop.sam, logits.float(), (y1 - y0, x1 - x0))
    steady = torch.ones(len(full), dtype=torch.bool, device=full.device)
    if least > 0:
        steady = _areas(full, level + 1) / _areas(full, level - 1) >= least
    masks = (full if steady.all() else full[steady]) > level
    boxes = torch.as_tensor(_corners(masks.cpu().numpy()), dtype=torch.int64)
    height, width = crop.image_size
    inside = ~is_box_near_crop_edge(boxes, crop.box, [0, 0, width, height])
    which = steady.cpu()
    which[which.clone()] = inside
    return masks[inside.to(masks.device)], boxes[inside] + torch.tensor([x0, y0, x0, y0]), which


def _full_size(sam: Sam, logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Decoder logits (n, h, w) -> (n, *size), by SAM's two bilinear steps; the second left out where it is identity.

    On a CPU by OpenCV, one map after the other while it is in the cache: five times faster than torch, the same but for
    rounding.
    """
    side = sam.image_encoder.img_size
    inner = tuple(int(length * side / max(size) + 0.5) for length in size)
    if logits.device.type != "cpu":
        full = F.interpolate(logits[:, None], (side, side), mode="bilinear", align_corners=False)
        full = full[..., : inner[0], : inner[1]]
        return (full if inner == size else F.interpolate(full, size, mode="bilinear", align_corners=False))[:, 0]
    full = torch.empty(len(logits), *size)
    for small, out in zip(logits.numpy(), full.numpy()):
        large = cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR)[: inner[0], : inner[1]]
        out[...] = large if inner == size else cv2.resize(large, size[::-1], interpolation=cv2.INTER_LINEAR)
    return full


def _areas(logits: torch.Tensor, level: float) -> torch.Tensor:
    """Pixels of each map (n, h, w) above `level`: (n,). On a CPU one map after the other, while it is in the cache."""
    if logits.device.type != "cpu":
        return (logits > level).flatten(1).sum(1)
    return torch.tensor([np.count_nonzero(one > level) for one in logits.numpy()], dtype=torch.int64)


def _merge_crops(
    candidates: list[Iterator[Candidates]], crops: list[list[int]], size: tuple[int, int], settings: MaskSettings
) -> Masks:
    """From the candidates of crops (XYXY) to the image's masks: NMS within crops, NMS between them that prefers small
    crops, small regions removed, NMS, the area rule.
    """
    from torchvision.ops import nms

    found = []
    for parts in candidates:
        masks, boxes, scores = (torch.cat(part) for part in zip(*parts))
        best = nms(boxes.float(), scores, settings.box_nms_thresh)
        found.append((masks[best.to(masks.device)].cpu(), boxes[best]))
    boxes = torch.cat([box for _, box in found])
    counts = torch.tensor([len(box) for _, box in found])
    origin = torch.arange(len(crops)).repeat_interleave(counts)
    keep = torch.arange(len(boxes))
    if len(crops) > 1:
        areas = torch.tensor([(c[2] - c[0]) * (c[3] - c[1]) for c in crops], dtype=torch.float32)
        keep = nms(boxes.float(), 1 / areas[origin], settings.crop_nms_thresh)
    masks = np.zeros((len(keep), *size), bool)
    first = counts.cumsum(0) - counts
    for mask, i in zip(masks, keep.tolist()):
        x0, y0, x1, y1 = crops[origin[i]]
        mask[y0:y1, x0:x1] = found[origin[i]][0][i - first[origin[i]]].numpy()
    if settings.min_mask_region_area > 0 and len(masks):  # changed masks give way to unchanged ones
        least = settings.min_mask_region_area
        same = [_remove_small_regions(mask, box, least) for mask, box in zip(masks, boxes[keep].numpy())]
        threshold = max(settings.box_nms_thresh, settings.crop_nms_thresh)
        masks = masks[nms(torch.as_tensor(_corners(masks)).float(), torch.tensor(same).float(), threshold).numpy()]
    area = masks.sum((1, 2))
    order = np.argsort(-area, kind="stable")[: settings.max_masks]
    return _with_boxes(masks[order[area[order] >= settings.min_area]])


def _remove_small_regions(mask: np.ndarray, box: np.ndarray, smallest: int) -> bool:
    """Fill holes and remove islands below `smallest` px in place, inside its box (XYXY); True if nothing changed.

    As `segment_anything.utils.amg.remove_small_regions`, ten times faster: one pixel around the box stands for the
    outside, which is a full row or column at least: larger than `smallest`.
    """
    x0, y0, x1, y1 = box
    if smallest > min(mask.shape):
        x0, y0, x1, y1 = 0, 0, mask.shape[1] - 1, mask.shape[0] - 1
    left, top, same = max(x0 - 1, 0), max(y0 - 1, 0), True
    window = mask[top : y1 + 2, left : x1 + 2]
    for holes in (True, False):
        _, regions, stats, _ = cv2.connectedComponentsWithStats((window ^ holes).astype(np.uint8), connectivity=8)
        x, y, width, height, area = stats.T
        beyond = (left + x < x0) | (top + y < y0) | (left + x + width > x1 + 1) | (top + y + height > y1 + 1)
        small = (area < smallest) & ~beyond  # what reaches over the box is the outside
        small[0] = False
        if not small.any():
            continue
        same = False
        if not holes and small[1:].all():
            small[1 + np.argmax(area[1:])] = False  # all islands are small: the largest stays
        window[small[regions]] = holes
    return same
