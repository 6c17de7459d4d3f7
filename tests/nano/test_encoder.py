"""lczworld.nano.encoder and lczworld.nano.learning on rectangles."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scenes import rectangles, start

from lczlib.compute import parallel
from lczlib.sam import grouping
from lczworld.nano import encoder, learning
from lczworld.nano.encoder import GroupingPlan

TINY = GroupingPlan(windows=2, asked=1, boundaries_only=0.3, quality_windows=2, quality_steps=5)


@pytest.fixture(autouse=True)
def save_every_step(monkeypatch):
    monkeypatch.setattr(learning, "SAVE_EVERY", 0.0)


def fresh():
    return start(size=96)


def frozen(sam):
    """The network that answers whether neighbours are one."""
    return sam.image_encoder.same.requires_grad_(False)


def test_windows_that_show_whole_scenes_show_them_turned_and_flipped_only():
    rgb, ids = rectangles(2)
    _, seen = learning.draw((rgb, ids), 12, 320, np.random.default_rng(0), largest=1.7, whole=1.0)
    views = [one[::y, ::x] for one in ids for y in (1, -1) for x in (1, -1)]
    found = [next(i for i, view in enumerate(views) if np.array_equal(view, window)) for window in seen.numpy()]
    assert len(set(found)) > 4


def test_windows_are_parts_of_scenes_with_ids_where_the_colours_are():
    colours = np.arange(12, dtype=np.uint8)
    _, ids = rectangles(2)
    scenes = np.stack([colours[ids] * 20] * 3, 3), ids
    rgb, seen = learning.draw(scenes, 4, 160, np.random.default_rng(1), largest=1.5)
    assert rgb.shape == (4, 3, 160, 160)
    assert 0 <= float(rgb.min()) < float(rgb.max()) <= 255
    assert np.corrcoef(rgb.mean(1).flatten(), seen.flatten())[0, 1] > 0.8
    again = learning.draw(scenes, 4, 160, np.random.default_rng(1), largest=1.5)
    assert torch.equal(rgb, again[0])
    assert torch.equal(seen, again[1])


def test_windows_are_enlarged_as_much_as_asked_for():
    ids = np.broadcast_to(np.arange(320) // 32 + 1, (1, 320, 320))
    rgb = np.full((1, 320, 320, 3), 90, np.uint8)
    _, seen = learning.draw((rgb, ids), 30, 160, np.random.default_rng(0), largest=2.0)
    stripes = [len(np.unique(window[0])) for window in seen.numpy()]
    assert min(stripes) in (3, 4)  # 80 of 320 px
    assert max(stripes) in (5, 6)  # 160 of 320 px


def test_boundaries_by_hand():
    ids = torch.zeros(1, 32, 32, dtype=torch.int32)
    ids[0, 8:24, 8:24] = 5
    edge = encoder.boundaries(ids)
    assert edge.shape == (1, 16, 16)
    assert edge.sum() == 4 * 8 - 1  # four sides of 8 places, two of which share a corner
    assert edge[0, 4, 4:12].all()
    assert not edge[0, 5:12, 5:12].any()


def three_walls():
    """Boundary and ids (40, 40) of two instances: three walls alike, of which the middle one parts them."""
    ids = np.zeros((40, 40), np.int32)
    ids[:, 20:] = 1
    boundary = np.full((40, 40), 0.02, np.float32)
    boundary[:, [10, 20, 30]] = 0.7
    return boundary, ids


def test_parted_windows_know_who_belongs_together():
    boundary, ids = three_walls()
    looks = np.zeros((grouping.LOOKS, 40, 40), np.float32)
    parted = encoder.part(boundary, looks, ids, frozen(fresh()), limit=1.0)
    middles = [parted.numbers[20, x] for x in (5, 15, 25, 35)]
    assert len(set(middles)) == 4
    pairs = {frozenset(pair): same for pair, same in zip(parted.pairs.T.tolist(), parted.same.tolist())}
    assert [pairs[frozenset(middles[i : i + 2])] for i in range(3)] == [1, 0, 1]
    assert parted.areas.sum() == 1600


def test_same_loss_teaches_who_belongs_together():
    network, (boundary, ids) = fresh().image_encoder, three_walls()
    looks = torch.zeros(2, grouping.LOOKS, 40, 40)
    parted = encoder.part(boundary, looks[0].numpy(), ids, frozen(fresh()), limit=1.0)
    alike = looks.clone().requires_grad_(True)
    before = encoder.same_loss(network.same, alike, [parted] * 2)
    before.backward()
    assert network.same[0].weight.grad.abs().sum() > 0  # and through looks the encoder learns as well
    assert alike.grad.abs().sum() > 0
    looks[:, 0, :, 20:] = 1
    optimizer = torch.optim.Adam(network.same.parameters(), 0.02)
    for _ in range(150):
        optimizer.zero_grad()
        encoder.same_loss(network.same, looks, [parted] * 2).backward()
        optimizer.step()
    after = encoder.same_loss(network.same, looks, [parted] * 2)
    assert after < 0.1 < before
    one = encoder.same_loss(network.same, looks[:1], [parted])
    assert one.item() == pytest.approx(after.item(), rel=1e-4)  # windows side by side do not mix


def test_windows_are_parted_alike_in_another_process():
    boundary, ids = three_walls()
    looks = np.random.default_rng(0).normal(size=(grouping.LOOKS, 40, 40)).astype(np.float16)
    job = {"boundary": boundary, "looks": looks, "ids": ids, "same": frozen(fresh()), "limit": 0.5}
    (here,), there = parallel(encoder.part, [job]), list(parallel(encoder.part, [job, job], 2))
    for one in there:
        assert all(np.array_equal(getattr(one, name), getattr(here, name)) for name in vars(here))


def test_what_regions_share_with_instances_by_hand():
    numbers = np.array([[0, 0, 0], [1, 1, 1]])
    shared = encoder.shared(numbers, np.array([[7, 7, 2], [0, 3, 3]]))
    assert shared.argmax(1).tolist() == [7, 3]
    assert encoder.best_iou(shared) == pytest.approx([2 / 3, 2 / 3])
    assert encoder.best_iou(encoder.shared(numbers, np.array([[0, 0, 0], [1, 1, 2]]))) == pytest.approx([0, 2 / 3])


def test_quality_is_learned_and_nothing_else():
    """On the regions that an encoder as it begins makes of rectangles."""
    reached = []
    for steps in (0, 200):
        sam = fresh().eval()
        before = {name: value.clone() for name, value in sam.state_dict().items()}
        plan = replace(TINY, quality_windows=6, quality_steps=steps)
        reached.append(encoder.learn_quality(sam, rectangles(), plan, 1, np.random.default_rng(0)))
    assert reached[1] < 0.8 * reached[0]
    changed = [name for name, value in sam.state_dict().items() if not torch.equal(value, before[name])]
    assert changed
    assert all(name.startswith("image_encoder.quality.") for name in changed)


def test_encoder_learns_first_boundaries_then_who_is_one_and_settles(monkeypatch, tmp_path):
    seen, asked, real, same_loss = [], [], encoder.draw, encoder.same_loss
    sam, plan = fresh(), replace(TINY, boundaries_only=0.3, settled=0.5)

    def watched(*arguments):
        seen.append(sam.image_encoder.at_2[1].training)
        return real(*arguments)

    def asks(answer, looks, parted):
        asked.append(len(seen))
        return same_loss(answer, looks, parted)

    monkeypatch.setattr(encoder, "draw", watched)
    monkeypatch.setattr(encoder, "same_loss", asks)
    facts = encoder.learn_to_group(sam, rectangles(), plan, tmp_path / "s.pt", steps=4)
    assert seen[:4] == [True, True, False, False]
    assert asked == [3, 4]  # in the last two of four steps
    assert facts["steps"] == 4
    assert not sam.image_encoder.training
    assert all(np.isfinite(value) for value in facts.values())


def test_encoder_training_goes_on_where_it_stopped(tmp_path):
    scenes, path = rectangles(), tmp_path / "state.pt"
    encoder.learn_to_group(fresh(), scenes, TINY, path, steps=2)
    facts = encoder.learn_to_group(fresh(), scenes, TINY, path, steps=3)
    assert facts["steps"] == 3
    assert facts["boundaries"] > 0.3
    again = encoder.learn_to_group(fresh(), scenes, TINY, path, steps=3)
    assert again["boundaries"] == facts["boundaries"]  # nothing left to do
    with pytest.raises(ValueError, match="of another training"):
        encoder.learn_to_group(fresh(), scenes, TINY, path, steps=3, seed=1)


def test_same_seed_same_encoder(tmp_path):
    made = [fresh() for _ in range(2)]
    for i, sam in enumerate(made):
        encoder.learn_to_group(sam, rectangles(), TINY, tmp_path / f"{i}.pt", steps=3, seed=5)
    one, other = (sam.state_dict() for sam in made)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_scenes_are_made_once(tmp_path):
    rgb, ids = learning.scenes_of(tmp_path / "few", 2, (3,), seed=7, workers=1)
    assert (rgb.shape, rgb.dtype, ids.shape) == ((2, 320, 320, 3), np.uint8, (2, 320, 320))
    before = (tmp_path / "few-2-7.rgb.npy").stat().st_mtime_ns
    learning.scenes_of(tmp_path / "few", 2, (3,), seed=7, workers=1)
    assert (tmp_path / "few-2-7.rgb.npy").stat().st_mtime_ns == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_encoder_learns_on_a_gpu(tmp_path):
    rgb, ids = rectangles()
    scenes = torch.from_numpy(rgb).cuda(), torch.from_numpy(ids.astype(np.int32)).cuda()
    facts = encoder.learn_to_group(fresh().cuda(), scenes, TINY, tmp_path / "s.pt", steps=3, workers=1)
    assert all(np.isfinite(value) for value in facts.values())
