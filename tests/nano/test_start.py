"""lczworld.nano.start: the decoder's start finds the code under a point, and where it is."""

import numpy as np
import pytest
import torch

from lczlib.sam import decoder, grouping, models
from lczworld.nano import start


@pytest.fixture(scope="module")
def looked_up():
    """What the start makes of a checkered floor: tokens of points, upscaled channels, codes, points in places."""
    torch.manual_seed(1)
    sam = models.build_sam("nano").requires_grad_(False)
    start.look_up(sam)
    boundary = np.full((160, 160), 0.02, np.float32)
    boundary[::20] = boundary[:, ::20] = 0.98
    logits = torch.logit(torch.from_numpy(boundary))[None]
    looks = torch.zeros(1, grouping.LOOKS, 160, 160)
    embedding, _ = sam.image_encoder.embed(logits, looks)
    x, y = np.meshgrid(np.arange(10, 160, 20), np.arange(10, 160, 20))
    at = torch.from_numpy(np.stack([x.ravel(), y.ravel()], 1))
    sparse, dense = sam.prompt_encoder((2.0 * at[:, None], torch.ones(len(at), 1)), None, None)
    tokens, keys = decoder.attend(sam.mask_decoder, embedding + dense[:1], sam.prompt_encoder.get_dense_pe()[0], sparse)
    encoder = sam.image_encoder
    channels, _ = grouping.encode(logits[0].sigmoid().numpy(), looks[0].numpy(), encoder.same, encoder.quality)
    codes = torch.from_numpy(channels[: grouping.CODE])
    return sam, tokens, keys, codes, at


def test_neighbours_are_one_where_their_border_is_weak(looked_up):
    questions = torch.rand(5, grouping.QUESTION)
    questions[:, 0] = torch.tensor([0.0, 0.3, 0.5, 0.7, 1.0])
    sure = looked_up[0].image_encoder.same(questions)[:, 0].sigmoid()
    assert sure.diff().max() < 0
    assert sure[0] > 0.9 > 0.1 > sure[4]


def test_tokens_carry_the_code_under_their_point(looked_up):
    _, tokens, _, codes, at = looked_up
    wanted = codes[:, at[:, 1], at[:, 0]].T
    for token in (2, 3, 4, 5):  # three masks and the point itself
        found = tokens[:, token, start.FREE[: grouping.CODE]]
        found = found - found.mean(0)
        nearest = (found @ (wanted - wanted.mean(0)).T).argmax(1)
        assert (nearest == torch.arange(len(at))).float().mean() > 0.8


def test_masks_are_larger_on_the_region_of_their_point(looked_up):
    sam, tokens, keys, codes, at = looked_up
    every = torch.ones(len(tokens), 3, dtype=torch.bool)
    logits = decoder.mask_logits(sam.mask_decoder, tokens, keys, (40, 40), every).unflatten(0, (-1, 3))
    alike = torch.einsum("cp,chw->phw", codes[:, at[:, 1], at[:, 0]], codes) > 1.99
    for mask in (0, 1):
        inside = torch.stack([m[a].mean() for m, a in zip(logits[:, mask], alike)])
        outside = torch.stack([m[~a].quantile(0.9) for m, a in zip(logits[:, mask], alike)])
        assert (inside > outside).float().mean() > 0.9


def test_a_start_is_decided_by_the_seed():
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        sam = models.build_sam("nano")
        start.look_up(sam)
        states.append(sam.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
