"""lczlib.sam.masks and its decoder against segment_anything's own code."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch

from lczlib.sam import MaskSettings, _torchvision_ops, decoder, generate_masks, load_sam, truth_masks, vit
from lczlib.sam.masks import _full_size, _remove_small_regions, boxes_of

LOOSE = MaskSettings(pred_iou_thresh=0.6, stability_score_thresh=0.6)


@pytest.fixture(scope="module")
def nano():
    return load_sam("nano")


def scene(size=(320, 320), seed=0):
    """Rectangles of flat colour."""
    rng = np.random.default_rng(seed)
    image = np.full((*size, 3), 90, np.uint8)
    for _ in range(30):
        y, x, h, w = (int(v) for v in rng.integers((0, 0, 12, 12), (size[0] - 12, size[1] - 12, 70, 70)))
        image[y : y + h, x : x + w] = rng.integers(0, 255, 3)
    return image


def reference_masks(sam, image, settings):
    """What the published script keeps of SamAutomaticMaskGenerator's records."""
    from segment_anything import SamAutomaticMaskGenerator

    records = SamAutomaticMaskGenerator(sam, **settings.generator_arguments()).generate(image)
    records = [r for r in records if r["area"] >= settings.min_area]
    records = sorted(records, key=lambda r: -r["area"])[: settings.max_masks]
    return np.stack([r["segmentation"] for r in records]), np.array([r["bbox"] for r in records])


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize(("size", "points"), [((320, 320), 8), ((250, 320), 12)])
def test_same_masks_as_the_generator(nano, size, points):
    image, settings = scene(size), dataclasses.replace(LOOSE, points_per_side=points)
    masks, boxes = generate_masks(nano, [image], settings)[0]
    expected, expected_boxes = reference_masks(nano, image, settings)
    assert len(masks) == len(expected) > 5
    assert min(iou(a, b) for a, b in zip(masks, expected)) >= 0.99
    assert np.abs(boxes - expected_boxes).max() <= 1


def test_bf16_gives_nearly_the_same_masks(nano):
    few, best = dataclasses.replace(LOOSE, crop_n_layers=0, points_per_side=6), []  # bf16 is slow where it is emulated
    for image in [scene(seed=k) for k in range(1, 7)]:
        exact, _ = generate_masks(nano, [image], few)[0]
        quick, _ = generate_masks(nano, [image], dataclasses.replace(few, bf16=True))[0]
        best += [max(iou(a, b) for b in quick) for a in exact]
    assert np.median(best) > 0.95
    assert np.mean(np.array(best) > 0.9) >= 0.8  # not all: a score near a threshold may fall on its other side


def test_threads_change_nothing(nano):
    image, before, found = scene(seed=5), torch.get_num_threads(), []
    few = dataclasses.replace(LOOSE, points_per_side=8)
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found += generate_masks(nano, [image], few)
    finally:
        torch.set_num_threads(before)
    for masks, boxes in found[1:]:
        assert masks.shape == found[0][0].shape
        assert min(iou(a, b) for a, b in zip(masks, found[0][0])) >= 0.99
        assert np.abs(boxes - found[0][1]).max() <= 1


@pytest.mark.parametrize("size", [(320, 320), (215, 214), (100, 320), (640, 480)])
def test_logits_come_to_full_size_as_torch_brings_them(nano, size):
    logits = 10 * torch.randn(3, 160, 160, generator=torch.Generator().manual_seed(0))
    full = torch.nn.functional.interpolate(logits[None], (320, 320), mode="bilinear", align_corners=False)
    height, width = (round(320 * side / max(size)) for side in size)
    expected = torch.nn.functional.interpolate(full[..., :height, :width], size, mode="bilinear", align_corners=False)
    assert torch.allclose(_full_size(nano, logits, size), expected[0], atol=1e-3)


def test_settings_by_name_and_model():
    assert MaskSettings.named("paper", "vit_h") == MaskSettings.named("paper") == MaskSettings()
    demo, official = MaskSettings.named("demo"), MaskSettings.named("demo", "vit_b")
    assert demo.pred_iou_thresh < official.pred_iou_thresh == 0.88
    assert dataclasses.replace(official, pred_iou_thresh=demo.pred_iou_thresh) == demo
    with pytest.raises(ValueError, match="'fast': unknown; use one of paper, demo, smoke"):
        MaskSettings.named("fast")


def test_area_rule_and_order(nano):
    few = dataclasses.replace(LOOSE, max_masks=4, min_area=400)
    masks, boxes = generate_masks(nano, [scene()], few)[0]
    areas = masks.sum((1, 2))
    assert len(masks) <= 4
    assert areas.min() >= 400
    assert (np.diff(areas) <= 0).all()
    assert masks.dtype == bool
    assert boxes.dtype == np.int32


def test_no_mask_gives_the_whole_image(nano):
    never = dataclasses.replace(LOOSE, pred_iou_thresh=99.0)
    masks, boxes = generate_masks(nano, [scene((100, 120))], never)[0]
    assert masks.shape == (1, 100, 120)
    assert masks.all()
    assert boxes.tolist() == [[0, 0, 119, 99]]


@pytest.mark.parametrize("wrong", [np.zeros((10, 10), np.uint8), np.zeros((10, 10, 3), np.float32)])
def test_wrong_images_are_named(nano, wrong):
    with pytest.raises(ValueError, match="image 0"):
        generate_masks(nano, [wrong])


def test_decoder_equals_the_original_with_its_gradients(nano):
    torch.manual_seed(0)
    original = nano.mask_decoder
    image, place = torch.randn(1, 64, 6, 5), torch.randn(64, 6, 5)
    prompts = torch.randn(4, 2, 64)
    expected, scores = original(
        image_embeddings=image,
        image_pe=place[None],
        sparse_prompt_embeddings=prompts,
        dense_prompt_embeddings=torch.zeros(4, 64, 6, 5),
        multimask_output=True,
    )
    for shared in (image, image.repeat(4, 1, 1, 1)):
        tokens, keys = decoder.attend(original, shared, place, prompts)
        every = torch.ones(4, 3, dtype=torch.bool)
        masks = decoder.mask_logits(original, tokens, keys, (6, 5), every)
        scale = expected.abs().max()
        assert torch.allclose(masks.view_as(expected), expected, atol=1e-4 * scale)
        assert torch.allclose(decoder.predict_iou(original, tokens), scores, atol=1e-4)
        some = every.clone()
        some[1], some[2, :2] = False, False
        kept = decoder.mask_logits(original, tokens, keys, (6, 5), some)
        assert torch.allclose(kept, masks.view(4, 3, 24, 20)[some], atol=1e-6 * scale)


@pytest.mark.parametrize("relative", [True, False])
def test_vit_encoder_equals_the_original(relative):
    from segment_anything.modeling import ImageEncoderViT

    torch.manual_seed(0)
    sizes = {"img_size": 160, "embed_dim": 32, "depth": 2, "num_heads": 2, "out_chans": 16, "use_rel_pos": relative}
    encoder = ImageEncoderViT(**sizes, window_size=4, global_attn_indexes=(1,)).eval()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        assert torch.allclose(vit.encode(encoder, x), encoder(x), atol=1e-4)


def test_truth_masks_follow_the_area_rule():
    instances = np.zeros((40, 40), np.uint16)
    instances[:20, :20], instances[20:30, :10], instances[39, :7] = 9, 4, 2
    masks, boxes = truth_masks(instances)
    assert masks.sum((1, 2)).tolist() == [400, 100]
    assert boxes.tolist() == [[0, 0, 19, 19], [0, 20, 9, 9]]
    assert truth_masks(np.zeros((40, 40), np.uint16))[0].all()


def test_boxes_of_empty_and_full_masks():
    masks = np.zeros((2, 5, 7), bool)
    masks[1] = True
    assert boxes_of(masks).tolist() == [[0, 0, 0, 0], [0, 0, 6, 4]]


def test_small_regions_as_segment_anything_removes_them():
    from segment_anything.utils.amg import remove_small_regions

    rng = np.random.default_rng(0)
    for trial in range(60):
        mask = rng.random((30, 40)) < (0.3, 0.5, 0.7)[trial % 3]
        mask[5:20, 8:30] = True
        mask[8:11, 12:15] = False
        if trial % 2:
            mask[:, :6] = False
            mask[22:] = False
        expected, changed = remove_small_regions(mask, 12, "holes")
        expected, changed_again = remove_small_regions(expected, 12, "islands")
        x, y, w, h = boxes_of(mask[None])[0]
        same = _remove_small_regions(mask, np.array([x, y, x + w, y + h]), 12)
        assert same == (not (changed or changed_again))
        assert np.array_equal(mask, expected)


def test_only_tiny_islands_leave_the_largest():
    mask = np.zeros((30, 30), bool)
    mask[2:4, 2:4], mask[10:13, 10:13] = True, True
    _remove_small_regions(mask, np.array([2, 2, 12, 12]), 25)
    assert mask.sum() == 9


def test_nms_by_hand_and_by_definition():
    boxes = torch.tensor([[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [0, 0, 0, 0]]).float()
    assert _torchvision_ops.nms(boxes, torch.tensor([0.1, 0.9, 0.5, 0.5]), 0.5).tolist() == [1, 2, 3]
    rng = np.random.default_rng(1)
    corner = torch.as_tensor(rng.integers(0, 60, (80, 2)))
    boxes = torch.cat([corner, corner + torch.as_tensor(rng.integers(1, 30, (80, 2)))], 1).float()
    scores = torch.as_tensor(rng.random(80))
    left, kept = scores.argsort(descending=True).tolist(), []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if _box_iou(boxes[best], boxes[i]) <= 0.4]
    assert _torchvision_ops.nms(boxes, scores, 0.4).tolist() == kept


def _box_iou(a, b):
    size = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).clamp(min=0).prod()
    return size / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - size)


def test_import_of_lczlib_sam_leaves_torchvision_as_it_is():
    code = (
        "import lczlib.sam, sys; assert not any('torchvision' in name and 'lczlib' not in name for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_torchvision_works_where_it_is_not_compiled_for_this_torch():
    torchvision = _torchvision_ops.import_torchvision()
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9]])
    assert torchvision.ops.nms(boxes, torch.tensor([0.1, 0.2]), 0.5).tolist() == [1]
