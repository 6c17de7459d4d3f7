"""lczlib.sam.grouping: regions of boundaries, and their codes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lczlib.sam import grouping


def halves(strength):
    """A map with a line of that strength from top to bottom at column 20 of 40."""
    boundary = np.full((40, 40), 0.02, np.float32)
    boundary[:, 20] = strength
    return boundary


def checkered(cells=4, side=20):
    boundary = np.full((cells * side, cells * side), 0.02, np.float32)
    boundary[::side] = boundary[:, ::side] = 0.95
    return boundary


def plain(boundary):
    return np.zeros((grouping.LOOKS, *boundary.shape), np.float32)


def by_boundary(questions):
    """One instance the surer, the weaker the boundary: certainty 0.5 at a mean of 0.5."""
    return 20 * (0.5 - questions[:, :1])


def by_looks(questions):
    return 20 * (0.5 - questions[:, 9:10])  # the difference of the first number


def guess(seed):
    weights = torch.randn(grouping.QUESTION, 1, generator=torch.Generator().manual_seed(seed))
    return lambda questions: questions @ weights


def by_size(traits):
    """Expected of a region the more, the larger: an IoU of 0.5 at 400 places."""
    return traits[:, :1] - np.log(400)


def basins(boundary, answer=by_boundary, looks=None):
    return grouping.basins(boundary, plain(boundary) if looks is None else looks, answer)


def group(boundary, answer=by_boundary, looks=None):
    return grouping.group(boundary, plain(boundary) if looks is None else looks, answer, by_size)


def encode(boundary):
    return grouping.encode(boundary, plain(boundary), by_boundary, by_size)


def counts(boundary):
    return [len(level.areas) for level in group(boundary)]


def test_a_border_stands_until_the_certainty_passes_the_level():
    assert counts(halves(0.95)) == [2, 2]
    assert counts(halves(0.5)) == [2, 1]
    assert counts(np.zeros((40, 40), np.float32)) == [1, 1]


def test_what_no_boundary_parts_is_joined_unasked():
    assert len(basins(halves(0.09)).areas) == 1
    assert len(basins(halves(0.5)).areas) == 2


def test_a_weak_place_does_not_join_what_a_border_parts():
    boundary = halves(0.95)
    boundary[:4, 20] = 0.2
    assert counts(boundary) == [2, 2]


def test_looks_decide_where_the_answer_minds_them():
    boundary = halves(0.95)
    looks = plain(boundary)
    assert [len(level.areas) for level in group(boundary, by_looks, looks)] == [1, 1]
    looks[0, :, 20:] = 1
    assert [len(level.areas) for level in group(boundary, by_looks, looks)] == [2, 2]


def test_areas_and_quality_by_hand():
    level = group(halves(0.6))[0]
    assert level.areas.sum() == 1600
    assert sorted(level.areas)[0] >= 19 * 40
    assert level.quality == pytest.approx(level.areas / (level.areas + 400))


def test_traits_by_hand():
    boundary = halves(0.6)
    looks = plain(boundary)
    looks[3] = 7
    graph = basins(boundary, looks=looks)
    for number, traits in enumerate(graph.traits().numpy()):
        own = graph.numbers == number
        width, sure = own.sum() / 40, 1 / (1 + np.exp(2))
        sizes = [np.log(40 * width), np.log(40), np.log(2), np.log1p(40 + 2 * width - 2)]
        shape = [2 * abs(np.log(40 / width)), np.log(12)]  # the variance of a side s is s^2 / 12
        border = [0.6, 0, 0, 1 - sure, sure]
        assert traits[:12] == pytest.approx([*sizes, *shape, *border, boundary[own].mean()], rel=0.04)  # zigzag
        assert traits[12:] == pytest.approx(7.0 * (np.arange(grouping.LOOKS) == 3))
    assert traits.shape == (grouping.TRAITS,)


def test_a_region_without_neighbours_has_traits():
    graph = basins(np.zeros((40, 40), np.float32))
    assert graph.traits().isfinite().all()
    assert graph.traits()[0, :3].tolist() == pytest.approx([np.log(1600), 0, 0])


def test_what_is_tiny_goes_to_the_neighbour_with_the_weaker_border():
    boundary = halves(0.95)
    boundary[10:15, 17] = 0.8  # a closet of 2 x 5 places on the left of the wall, its wall the weaker one
    boundary[[9, 15], 17:20] = 0.8
    fine = group(boundary)[0]
    assert len(fine.areas) == 2
    assert fine.numbers[12, 18] == fine.numbers[0, 0]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(8, 24), (33, 17), (80, 80)]))
def test_levels_are_nested_and_cover_everything(seed, shape):
    fine, bold = group(np.random.default_rng(seed).random(shape, np.float32), guess(seed))
    pairs = np.unique(np.stack([fine.numbers.ravel(), bold.numbers.ravel()]), axis=1)
    assert pairs.shape[1] == len(fine.areas)  # each fine region lies in one bold region
    for level in (fine, bold):
        assert np.array_equal(np.bincount(level.numbers.ravel()), level.areas)
        assert level.areas.min() > 0
        assert ((level.quality >= 0) & (level.quality <= 1)).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_joining_keeps_count(seed):
    """After any joining the graph is the one its regions would have given at once."""
    rng = np.random.default_rng(seed)
    boundary, looks = rng.random((40, 48), np.float32), rng.random((grouping.LOOKS, 40, 48), np.float32)
    graph = basins(boundary, guess(seed), looks)
    graph.join(graph.pairs[:, rng.random(graph.pairs.shape[1]) < 0.3])
    graph.join_alike(0.9, 0.6)
    pairs, borders = grouping._borders(graph.numbers, boundary)
    assert np.array_equal(graph.pairs, pairs)
    assert graph.borders == pytest.approx(borders, rel=1e-5)
    assert np.array_equal(graph.areas, np.bincount(graph.numbers.ravel()))
    y, x = np.mgrid[:40, :48]
    sums = [np.bincount(graph.numbers.ravel(), place.ravel()) for place in (*looks, boundary, y * y, x * y)]
    assert np.allclose(graph.sums[:, [*range(grouping.LOOKS + 1), -3, -1]].T, sums, rtol=1e-4)


def test_questions_by_hand_are_the_same_in_either_order():
    borders = torch.tensor([[4.0], [2.0], [1.5], [1.0], [2.0]])
    areas = torch.tensor([9.0, 36.0])
    looks = torch.zeros(2, grouping.LOOKS)
    looks[0, 0], looks[1, 0] = 0.5, 2.0
    asked = [grouping.questions(torch.tensor(pair), borders, areas, looks) for pair in ([[0], [1]], [[1], [0]])]
    assert torch.equal(*asked)
    expected = [0.5, 0.125**0.5, 0.25, 0.5, np.log(4), np.log(9), np.log(36), 1, 1, 1.5]
    assert asked[0][0, :10].tolist() == pytest.approx(expected)
    assert float(asked[0][0, 9 + grouping.LOOKS]) == 2.5
    assert asked[0].shape == (1, grouping.QUESTION)


def test_codes_are_unit_vectors_far_apart():
    for size, count, alike in ((*grouping.BOLD, 0.8), (*grouping.FINE, 0.51)):
        table = grouping.code_table(size, count)
        assert table.shape == (count, size)
        assert np.linalg.norm(table, axis=1) == pytest.approx(np.ones(count))
        assert (table @ table.T - 2 * np.eye(count)).max() < alike


def test_a_product_of_codes_tells_the_places_of_a_region():
    channels, numbers = encode(checkered())
    assert channels.shape == (grouping.CHANNELS, 80, 80)
    assert channels.dtype == np.float32
    assert numbers.shape == (2, 80, 80)
    codes = channels[: grouping.CODE]
    assert len(np.unique(numbers[0, 10::20, 10::20])) == 16
    for y, x in ((10, 10), (30, 70), (75, 35)):
        alike = np.tensordot(codes[:, y, x], codes, 1)
        same = numbers[1] == numbers[1, y, x]
        assert alike[same] == pytest.approx(np.full(same.sum(), 2.0), abs=1e-5)
        assert alike[~same].max() < 1.8


def test_quality_is_that_of_the_region():
    channels, numbers = encode(checkered())
    areas = np.array([(level == level[30, 10]).sum() for level in numbers])
    assert channels[grouping.CODE :, 30, 10] == pytest.approx(2 * areas / (areas + 400) - 1)


def test_regions_in_one_bold_region_differ_in_the_second_code_only():
    boundary = np.full((80, 80), 0.02, np.float32)
    boundary[:, 60] = 0.5  # parted at the finer level, joined at the bolder
    channels, numbers = encode(boundary)
    assert [len(np.unique(level)) for level in numbers] == [1, 2]
    first, second = channels[: grouping.CODE, 40, 20], channels[: grouping.CODE, 40, 70]
    assert np.array_equal(first[: grouping.BOLD[0]], second[: grouping.BOLD[0]])
    assert first[grouping.BOLD[0] :] @ second[grouping.BOLD[0] :] < 0.6
