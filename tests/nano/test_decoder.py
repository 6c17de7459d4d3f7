"""lczworld.nano.decoder and lczworld.nano.evaluation on rectangles."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from scenes import rectangles, start

from lczlib.sam import MaskSettings, generate_masks, grouping, models, truth_masks
from lczworld.nano import decoder, evaluation, learning
from lczworld.nano.decoder import Plan

TINY = Plan(windows=1, prompts=4)


def test_prompt_path_of_training_is_that_of_inference():
    sam = start()
    window = torch.rand(1, 3, 320, 320) * 255
    points = torch.tensor([[[30.0, 200.0], [160.0, 64.0]]])
    with torch.no_grad():
        embedding, _ = sam.image_encoder.embed(*learning.see(sam, window))
        logits, iou = decoder.prompt(sam, embedding, points)
        sparse, dense = sam.prompt_encoder((points[0][:, None], torch.ones(2, 1)), None, None)
        expected, scores = sam.mask_decoder(
            image_embeddings=sam.image_encoder(sam.preprocess(window)),
            image_pe=sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
    assert torch.allclose(logits, expected, atol=1e-3 * float(expected.abs().max()))
    assert torch.allclose(iou, scores, atol=1e-3)


def test_encoder_shapes_of_image_and_window():
    encoder = models.NanoEncoder().eval()
    with torch.no_grad():
        boundary, looks = encoder.see(torch.rand(1, 3, 320, 320))
        whole, numbers = encoder.embed(boundary, looks)
        part, _ = encoder.embed(*encoder.see(torch.rand(2, 3, 160, 96)))
    assert (whole.shape, boundary.shape, numbers.shape) == ((1, 64, 40, 40), (1, 160, 160), (1, 2, 160, 160))
    assert looks.shape == (1, grouping.LOOKS, 160, 160)
    assert part.shape == (2, 64, 20, 12)


def test_prompts_lie_on_what_they_ask_for():
    _, ids = rectangles(1)
    points, wanted = decoder.sample_points(ids[0].astype(np.int32), 100, 64, np.random.default_rng(0))
    assert points.shape == (64, 2)
    x, y = points.astype(int).T
    assert np.array_equal(ids[0][y, x], wanted)
    assert (wanted[:32] > 0).all()
    none = decoder.sample_points(np.zeros((64, 64), np.int32), 100, 8, np.random.default_rng(0))[1]
    assert not none.any()


def test_loss_falls_for_better_masks_and_teaches_each_its_own():
    ids = torch.zeros(1, 16, 16, dtype=torch.int32)
    ids[0, 4:12, 4:12] = 3
    regions = torch.zeros(1, 2, 16, 16, dtype=torch.bool)
    regions[0, 0, 2:14], regions[0, 1, 4:8] = True, True
    masks = torch.cat([regions[0], (ids == 3)]).float() * 16 - 8
    truth = torch.tensor([3])
    iou = decoder.overlap(masks[None], (ids == 3)[:, None])
    low, facts = decoder.prompt_loss(masks[None], iou, ids, truth, regions, 1.0)
    assert low < 0.02
    assert (facts["region"], facts["iou"], facts["score"]) == (1, 1, 0)
    for order in ((1, 0, 2), (2, 1, 0), (0, 2, 1)):  # each mask has its own to learn
        assert decoder.prompt_loss(masks[None, list(order)], iou, ids, truth, regions, 1.0)[0] > low + 0.5
    none = decoder.prompt_loss(masks[None], iou * 0, ids, truth * 0, regions, 1.0)
    assert float(none[0]) < 0.02  # no instance asked for: the predicted IoU learns to be 0


def test_what_the_encoder_groups_by_is_left_alone():
    sam = start().requires_grad_(True)
    encoder = sam.image_encoder
    loss, facts = decoder.losses(sam, TINY, rectangles(), 0.5, np.random.default_rng(0))
    loss.backward()
    assert all(part.weight.grad is None for part in (encoder.boundary, encoder.look, encoder.same[0]))
    assert encoder.neck.weight.grad is not None
    assert 0 <= facts["region"] <= 1


def test_training_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "SAVE_EVERY", 0.0)
    scenes = rectangles()
    decoder.train(start(), scenes, tmp_path / "whole.pt", TINY, 4, 1)
    calls, real = [], decoder.losses

    def stops(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(decoder, "losses", stops)
    with pytest.raises(KeyboardInterrupt):
        decoder.train(start(), scenes, tmp_path / "parts.pt", TINY, 4, 1)
    decoder.train(start(), scenes, tmp_path / "parts.pt", TINY, 4, 1)
    assert len(calls) == 5
    whole, parts = (torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in ("whole", "parts"))
    assert whole["step"] == 4
    assert all(torch.equal(whole["model"][k], parts["model"][k]) for k in whole["model"])
    before = start().state_dict()
    assert any(not torch.equal(before[k], whole["average"][f"module.{k}"]) for k in before)


def test_score_by_hand():
    ids = np.zeros((40, 40), np.uint16)
    ids[:20, :20], ids[20:40, :10] = 1, 2
    perfect = truth_masks(ids)
    facts = evaluation.score([perfect], [ids])
    assert (facts["found"], facts["mask_iou"], facts["masks"], facts["instances"]) == (1, 1, 2, 2)
    half = (perfect[0][:1] & (np.arange(40) < 12), perfect[1][:1])
    facts = evaluation.score([half], [ids])
    assert facts["found"] == 0.5
    assert facts["mask_iou"] == pytest.approx(0.6)
    assert facts["found_by_size"] == {"200-400": 0.0, "400-1000": 1.0}


def test_reachable_counts_points_on_instances():
    ids = np.ones((320, 320), np.uint16)
    ids[0:11, 0:11] = 2  # the first point of a 12 x 12 grid lies at 13, of the crop's 6 x 6 grid at 17
    assert evaluation.reachable([ids])["found"] == 0.5
    assert evaluation.reachable([ids], MaskSettings(points_per_side=24))["found"] == 1


def squares():
    """Two images of squares on grey, and which pixel belongs to which."""
    ids = np.zeros((2, 320, 320), np.uint16)
    for i, at in enumerate(((40, 150), (30, 200))):
        for k, y in enumerate(at):
            ids[i, y : y + 80, 60 + 60 * k : 150 + 60 * k] = k + 1
    return np.array([[90, 90, 90], [200, 60, 40], [30, 120, 220]], np.uint8)[ids], ids


def test_candidates_are_the_masks_of_the_generator_before_any_score():
    sam, (rgb, ids) = models.load_sam("nano"), squares()
    plain = MaskSettings(points_per_side=4, crop_n_layers=0)
    tokens, iou, counted = evaluation.candidates(sam, rgb, ids, plain)
    assert (tokens.shape, iou.shape, counted.shape) == ((32, 64), (32, 3), (32, 3))
    assert (iou[~counted] == 0).all()
    predicted = sam.mask_decoder.iou_prediction_head(tokens)[:, 1:]
    level = float(predicted[counted].median())
    loose = dataclasses.replace(
        plain, pred_iou_thresh=level, box_nms_thresh=1.0, min_mask_region_area=0, min_area=1, max_masks=999
    )
    met = np.concatenate(
        [evaluation.overlaps(m, i)[0].max(1) for (m, _), i in zip(generate_masks(sam, rgb, loose), ids)]
    )
    expected = iou[counted & (predicted > level)].numpy()
    assert len(met) == len(expected) > 10
    np.testing.assert_allclose(np.sort(met), np.sort(expected), atol=0.01)


def test_predicted_iou_is_learned_and_nothing_else(monkeypatch):
    few = MaskSettings(points_per_side=6, crop_n_layers=0)
    monkeypatch.setattr(decoder, "candidates", partial(evaluation.candidates, settings=few))
    sam, scenes = models.load_sam("nano"), squares()
    before = {name: value.clone() for name, value in sam.state_dict().items()}
    errors = [
        decoder.learn_score(sam, Plan(scored=2, score_steps=steps), scenes, 1, np.random.default_rng(0))
        for steps in (0, 150)
    ]
    assert errors[1] < 0.5 * errors[0]
    changed = {name for name, value in sam.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if "iou_prediction_head" in name}


def test_calibration_keeps_what_it_can_at_the_quality_wanted(monkeypatch):
    """Of masks whose predicted IoU is their IoU those from 0.6 on have a mean of 0.8."""
    sam, levels = models.build_sam("nano").requires_grad_(False), np.linspace(0, 1, 1001)

    def keeps(sam, scenes, settings):
        return [levels[levels > settings.pred_iou_thresh]]

    monkeypatch.setattr(evaluation, "generate_masks", keeps)
    monkeypatch.setattr(evaluation, "HALVINGS", 12)
    monkeypatch.setattr(evaluation, "score", lambda found, _: {"mask_iou": float(found[0].mean())})
    fitted, facts = evaluation.calibrate(sam, [None], [None], wanted=0.8)
    assert facts["shift"] == pytest.approx(0.88 - 0.6, abs=0.002)
    bias = [s.mask_decoder.iou_prediction_head.layers[-1].bias for s in (sam, fitted)]
    assert torch.allclose(bias[1] - bias[0], torch.tensor(facts["shift"]))
    assert len(facts["trials"]) == 12


def test_calibration_changes_scores_not_masks():
    torch.manual_seed(0)
    sam = models.build_sam("nano").requires_grad_(False)
    other = evaluation.with_calibration(sam, 4.0, 0.25)
    args = {
        "image_embeddings": torch.randn(1, 64, 4, 4),
        "image_pe": torch.randn(1, 64, 4, 4),
        "sparse_prompt_embeddings": torch.randn(2, 2, 64),
        "dense_prompt_embeddings": torch.zeros(2, 64, 4, 4),
        "multimask_output": True,
    }
    masks, iou = sam.mask_decoder(**args)
    more, higher = other.mask_decoder(**args)
    assert torch.allclose(more, 4 * masks, rtol=1e-4, atol=1e-4)
    assert torch.allclose(higher, iou + 0.25, atol=1e-5)


def test_export_and_load_agree(tmp_path):
    sam = models.build_sam("nano")
    learning.export(sam, tmp_path / "own.safetensors")
    loaded = models.load_sam("nano", tmp_path / "own.safetensors").state_dict()
    for name, value in sam.state_dict().items():
        assert torch.allclose(loaded[name].float(), value.float(), atol=2e-3 * float(value.abs().max() + 1e-6))
