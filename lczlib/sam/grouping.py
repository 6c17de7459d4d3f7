"""From boundaries to regions and their codes: the part of `nano`'s encoder that is not learned.

A watershed parts the places (one for every second pixel) into small basins, which are then joined again: always those
whose common border is weakest on average, as in ultrametric contour maps (Arbelaez et al. 2011). Where the joining
stops decides how bold the grouping is; it is stopped twice. Every place then carries the code of its two regions, unit
vectors unlike those of the regions around: a product with the code of one place is large on the places of its region
and small elsewhere, and such products are what SAM's decoder makes masks of.

Source: this project; nothing of it is in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

LEVELS = (0.35, 0.7)  # mean boundary probability of a border up to which regions are joined
STEP = 0.05  # borders are joined in rounds of this width, then measured again
TINY = 24  # places, 96 px: smaller regions go to a neighbour
NEAR = 40.0  # places over which regions need unlike codes
BOLD, FINE = (5, 96), (2, 6)  # numbers of a code, different codes: of the bolder regions, of the finer within them
CODE = BOLD[0] + FINE[0]  # numbers of both codes
CHANNELS = CODE + 4  # and strength and size of both regions


@dataclass(frozen=True)
class Regions:
    """Regions of one level: `numbers` (h, w) from 0, `areas` (n,) in places, mean `strengths` (n,) of their borders."""

    numbers: np.ndarray
    areas: np.ndarray
    strengths: np.ndarray


@dataclass
class _Graph:
    """Basins being joined: each one's region, and of every two neighbouring regions the border."""

    basins: np.ndarray  # (h, w) number of each place's basin
    region: np.ndarray  # (basins,) number of its region
    pairs: np.ndarray  # (2, k) neighbouring regions
    borders: np.ndarray  # (2, k) summed boundary probability along their border, its length

    def areas(self) -> np.ndarray:
        return np.bincount(self.region, np.bincount(self.basins.ravel()))

    def join(self, links: np.ndarray) -> None:
        """Make one region of each of the pairs `links` (2, m)."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        count = int(self.region.max()) + 1
        joined = connected_components(coo_matrix((np.ones(links.shape[1]), links), (count, count)), directed=False)[1]
        self.region = joined[self.region]
        self.pairs, self.borders = _gather(joined[self.pairs], self.borders)

    def join_weak(self, limit: float) -> None:
        """Join neighbours until no border's mean is below `limit`."""
        while (weak := self.borders[0] < limit * self.borders[1]).any():
            self.join(self.pairs[:, weak])

    def join_tiny(self, rounds: int = 4) -> None:
        """Give regions below `TINY` places to the neighbour with the weakest border."""
        for _ in range(rounds):
            tiny, mean = self.areas() < TINY, np.tile(self.borders[0] / self.borders[1], 2)
            links = np.concatenate([self.pairs, self.pairs[::-1]], 1)
            links, mean = links[:, tiny[links[0]]], mean[tiny[links[0]]]
            if not links.size:
                return
            links = links[:, np.lexsort((mean, links[0]))]
            self.join(links[:, np.unique(links[0], return_index=True)[1]])

    def regions(self) -> Regions:
        """The regions as they are now."""
        areas, ends = self.areas(), self.pairs.ravel()
        total, length = (np.bincount(ends, np.tile(part, 2), len(areas)) for part in self.borders)
        return Regions(self.region[self.basins], areas.astype(int), total / np.maximum(length, 1))


def group(boundary: np.ndarray, levels: Sequence[float] = LEVELS) -> list[Regions]:
    """Regions of boundary probabilities (h, w) at each of the rising levels, coarser and coarser, each in the next."""
    import cv2
    from skimage.segmentation import watershed

    smooth = cv2.GaussianBlur(boundary, (0, 0), 0.7)
    basins = np.maximum(watershed((20 * smooth).astype(np.uint8)), 1) - 1  # an even map has no basin: one region
    graph = _Graph(basins, np.arange(int(basins.max()) + 1), *_borders(basins, boundary))
    out = []
    for start, level in pairwise((0.0, *levels)):
        for limit in np.arange(start + STEP, level + STEP / 2, STEP):
            graph.join_weak(limit)
        graph.join_tiny()
        out.append(graph.regions())
    return out


def _borders(numbers: np.ndarray, boundary: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours (2, k) among regions, and of each pair the summed boundary along its border and its length (2, k)."""
    pairs, values = [], []
    for one, other in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        apart = numbers[one] != numbers[other]
        pairs.append(np.stack([numbers[one][apart], numbers[other][apart]]))
        values.append(np.maximum(boundary[one][apart], boundary[other][apart]))
    sums = np.concatenate(values)
    return _gather(np.concatenate(pairs, 1), np.stack([sums, np.ones_like(sums)]))


def _gather(pairs: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same pairs once each, in either order, what belongs to them summed; none of a region with itself."""
    apart = pairs[0] != pairs[1]
    low, high, sums = pairs[:, apart].min(0), pairs[:, apart].max(0), sums[:, apart]
    width = int(high.max(initial=0)) + 1
    keys, place = np.unique(low.astype(np.int64) * width + high, return_inverse=True)
    return np.stack([keys // width, keys % width]), np.stack([np.bincount(place, s, len(keys)) for s in sums])


def encode(boundary: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What each place is told of its regions, and which they are.

    Args:
        boundary: probabilities (h, w) float32.

    Returns:
        channels (11, h, w) float32: code of the bolder region (5), of the finer one in it (2), the mean strengths of
        their borders (0 to 1), their sizes (logarithms of areas, about -1 to 2), bolder first each time;
        numbers (2, h, w) of the regions, the bolder first.
    """
    fine, bold = group(boundary)
    parent = np.zeros_like(fine.areas)
    parent[fine.numbers] = bold.numbers  # the same for all places of a fine region
    table = np.concatenate(
        [
            code_table(*BOLD)[_choose(bold, code_table(*BOLD), np.zeros_like(bold.areas))[parent]],
            code_table(*FINE)[_choose(fine, code_table(*FINE), parent)],
            np.stack([bold.strengths[parent], fine.strengths], 1),
            np.log(np.stack([bold.areas[parent], fine.areas], 1)) / 4 - 1,
        ],
        1,
    )
    return table.astype(np.float32)[fine.numbers].transpose(2, 0, 1), np.stack([bold.numbers, fine.numbers])


def _choose(level: Regions, table: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The row of `table` for each region (n,): the large ones first, each unlike those near it of the same `among`."""
    flat, place = level.numbers.ravel(), np.arange(level.numbers.size)
    axes = place % level.numbers.shape[1], place // level.numbers.shape[1]
    x, y = (np.bincount(flat, axis) / level.areas for axis in axes)
    radius = np.sqrt(level.areas / np.pi)
    apart = np.hypot(x[:, None] - x, y[:, None] - y) - radius[:, None] - radius
    weight = np.exp(-np.maximum(apart, 0) / NEAR) * (among[:, None] == among)
    alike = 1 / (2.1 - 2 * table @ table.T)
    order, codes, chosen = np.argsort(-level.areas, kind="stable"), np.arange(len(table)), np.zeros(len(radius), int)
    for turn, region in enumerate(order):
        given = order[:turn]
        cost = weight[region, given] @ alike[chosen[given]] + 1e-6 * ((codes - 7 * region) % len(codes))
        chosen[region] = cost.argmin()
    return chosen


@cache
def code_table(size: int, count: int) -> np.ndarray:
    """Unit vectors (count, size), far from each other: in a plane evenly, else of many the farthest from those before,
    the best of twenty such choices.
    """
    if size == 2:
        angle = 2 * np.pi / count * np.arange(count)
        return np.stack([np.cos(angle), np.sin(angle)], 1)
    pool = np.random.default_rng(0).normal(size=(20_000, size))
    pool /= np.linalg.norm(pool, axis=1, keepdims=True)
    trials = [pool[_farthest(pool, start, count)] for start in range(20)]
    return min(trials, key=lambda x: (x @ x.T - 2 * np.eye(count)).max())


def _farthest(pool: np.ndarray, start: int, count: int) -> list[int]:
    """`count` rows of unit vectors, beginning with `start`, each the least like any before it."""
    chosen, near = [start], pool @ pool[start]
    while len(chosen) < count:
        chosen.append(int(near.argmin()))
        near = np.maximum(near, pool @ pool[chosen[-1]])
    return chosen
