"""From boundaries to regions and their codes: how `nano`'s encoder groups.

A watershed parts the places (one for every second pixel) into small basins. Basins without a boundary between them are
joined first. Then a small network answers for every two neighbours whether they are of one instance, from the boundary
along their border, their sizes and appearance; the surest are joined, until none is surer than a limit. The limit
decides how bold the grouping is, and there are two. A second small network predicts the IoU of each region with an
instance. Every place then carries the codes of its two regions, unit vectors unlike those of the regions around, and
the predicted IoUs. The product with the code of one place is large on its region and small elsewhere, and such products
are what SAM's decoder makes masks of.

Source: this project; nothing of it is in the paper. Joining by a learned answer: Nunez-Iglesias et al. 2013.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import torch
from torch import Tensor

LEVELS = (0.8, 0.3)  # certainty down to which neighbours are joined: finer and bolder regions
STEP = 0.1  # the surest are joined first, in rounds of this width, then all are asked again
WEAK = 0.1  # mean boundary below which regions are joined unasked
TINY = 24  # places, 96 px: smaller regions go to a neighbour
LOOKS = 24  # numbers that describe a place's appearance
QUESTION = 9 + 2 * LOOKS  # numbers from which it is answered whether two neighbours are one
TRAITS = 12 + LOOKS  # numbers from which a region's IoU with an instance is predicted
NEAR = 40.0  # places over which regions need unlike codes
BOLD, FINE = (5, 96), (2, 6)  # numbers of a code, different codes: of the bolder regions, of the finer within them
CODE = BOLD[0] + FINE[0]  # numbers of both codes
CHANNELS = CODE + 2  # and the quality of both regions

Answer = Callable[[Tensor], Tensor]  # questions (k, QUESTION) -> logits (k, 1) that two neighbours are one
Expect = Callable[[Tensor], Tensor]  # traits (n, TRAITS) -> logits (n, 1) of the IoU to be expected with an instance


@dataclass(frozen=True)
class Regions:
    """Regions of one level."""

    numbers: np.ndarray  # (h, w) from 0
    areas: np.ndarray  # (n,) in places
    quality: np.ndarray  # (n,) the IoU, 0 to 1, to be expected with the instance that a region overlaps best


@dataclass
class Graph:
    """Regions being joined, and of every two neighbours the border."""

    numbers: np.ndarray  # (h, w) number of each place's region
    areas: np.ndarray  # (n,) places
    sums: np.ndarray  # (n, LOOKS + 7): looks, boundary and `_shape_sums`, summed over places
    pairs: np.ndarray  # (2, k) neighbouring regions
    borders: np.ndarray  # (5, k): see `_borders`
    answer: Answer
    _sure: np.ndarray | None = None  # what was answered since the last joining

    def sure(self) -> np.ndarray:
        """Probability (k,) that neighbours are one."""
        if self._sure is None:
            looks = self.sums[:, :LOOKS] / self.areas[:, None]
            known = (torch.from_numpy(part.astype(np.float32)) for part in (self.borders, self.areas, looks))
            with torch.no_grad():
                self._sure = self.answer(questions(torch.from_numpy(self.pairs), *known))[:, 0].sigmoid().numpy()
        return self._sure

    def join(self, links: np.ndarray) -> None:
        """Make one region of each of the pairs `links` (2, m)."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        n = len(self.areas)
        joined = connected_components(coo_matrix((np.ones(links.shape[1]), links), (n, n)), directed=False)[1]
        self.numbers = joined[self.numbers]
        self.areas = np.bincount(joined, self.areas)
        self.sums = _summed(joined, self.sums)
        self.pairs, self.borders = _gather(joined[self.pairs], self.borders)
        self._sure = None

    def join_alike(self, start: float, limit: float) -> None:
        """Join the neighbours that are surely one, those above `start` first, until none is above `limit`."""
        start = max(start, limit)
        while self.pairs.size:
            alike = self.sure() > start
            if alike.any():
                self.join(self.pairs[:, alike])
            elif start <= limit:
                return
            else:
                start = max(start - STEP, limit)

    def join_tiny(self, rounds: int = 4) -> None:
        """Give regions below `TINY` places to the neighbour they are likeliest one with."""
        for _ in range(rounds):
            tiny, apart = self.areas < TINY, np.tile(1 - self.sure(), 2)
            links = np.concatenate([self.pairs, self.pairs[::-1]], 1)
            links, apart = links[:, tiny[links[0]]], apart[tiny[links[0]]]
            if not links.size:
                return
            links = links[:, np.lexsort((apart, links[0]))]
            self.join(links[:, np.unique(links[0], return_index=True)[1]])

    def traits(self) -> Tensor:
        """What is known of each region: (n, TRAITS), the last `LOOKS` its mean looks."""
        n, ends, length, sure = len(self.areas), self.pairs.ravel(), self.borders[0], self.sure()
        along = np.stack([length, *self.borders[[1, 3, 4]], length * (1 - sure), np.ones_like(length)])
        around, *shares, neighbours = (np.bincount(ends, np.tile(row, 2), n) for row in along)
        around = np.maximum(around, 1)
        likeliest = np.zeros(n)
        np.maximum.at(likeliest, ends, np.tile(sure, 2))
        means = (self.sums / self.areas[:, None]).T
        within, edge, *moments = means[LOOKS:]
        y, x, yy, xx, xy = moments
        yy, xx, xy = yy - y * y + 1 / 12, xx - x * x + 1 / 12, xy - x * y  # variances; a place alone has 1/12
        middle, off = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
        longer, shorter = middle + off, np.maximum(middle - off, 1 / 12)  # along the two axes of the region
        sizes = [np.log(self.areas), np.log(around), np.log1p(neighbours), np.log1p(edge * self.areas)]
        shape = [np.log(longer / shorter), np.log(self.areas / np.sqrt(longer * shorter))]
        border = [share / around for share in shares]
        return torch.from_numpy(np.stack([*sizes, *shape, *border, likeliest, within, *means[:LOOKS]], 1)).float()


def questions(pairs: Tensor, borders: Tensor, areas: Tensor, looks: Tensor) -> Tensor:
    """What is known of neighbours, the same for either order: pairs (2, k), borders (5, k), areas (n,) and mean looks
    (n, LOOKS) -> (k, QUESTION).
    """
    i, j = pairs
    length, mean = borders[0], borders[1] / borders[0]
    spread = (borders[2] / length - mean**2).clamp(min=0).sqrt()
    around = torch.zeros_like(areas).index_add_(0, pairs.flatten(), length.repeat(2))
    sizes, shares = torch.stack([areas[i], areas[j]]).log(), length / torch.stack([around[i], around[j]])
    shape = [mean, spread, borders[3] / length, borders[4] / length, length.log()]
    shape += [sizes.amin(0), sizes.amax(0), shares.amin(0), shares.amax(0)]
    return torch.cat([torch.stack(shape, 1), (looks[i] - looks[j]).abs(), looks[i] + looks[j]], 1)


def basins(boundary: np.ndarray, looks: np.ndarray, answer: Answer) -> Graph:
    """The graph to begin with, neighbours joined whose border's mean is below `WEAK`; arguments of `group`."""
    from skimage.segmentation import watershed

    smooth = cv2.GaussianBlur(boundary, (0, 0), 0.7)
    numbers = np.maximum(watershed((20 * smooth).astype(np.uint8)), 1) - 1  # an even map has no basin: one region
    rows = np.concatenate([looks.reshape(LOOKS, -1), boundary.reshape(1, -1), _shape_sums(*boundary.shape)]).T
    sums = _summed(numbers.ravel(), rows).astype(float)
    graph = Graph(numbers, np.bincount(numbers.ravel()), sums, *_borders(numbers, boundary), answer)
    while (weak := graph.borders[1] < WEAK * graph.borders[0]).any():
        graph.join(graph.pairs[:, weak])
    return graph


@torch.no_grad()
def group(boundary: np.ndarray, looks: np.ndarray, answer: Answer, expect: Expect) -> list[Regions]:
    """Regions at each of `LEVELS`, each of the finer ones in one of the bolder.

    Args:
        boundary: probabilities (h, w) float32. looks: (LOOKS, h, w) float32.
    """
    found = []
    for graph in joinings(basins(boundary, looks, answer), LEVELS):
        quality = expect(graph.traits())[:, 0].sigmoid().numpy()
        found.append(Regions(graph.numbers, graph.areas.astype(int), quality))
    return found


def joinings(graph: Graph, levels: Sequence[float]) -> Iterator[Graph]:
    """The graph joined down to each of the falling levels, what is tiny given away: the same object every time."""
    start = 1 - STEP
    for level in levels:
        graph.join_alike(start, level)
        graph.join_tiny()
        yield graph
        start = level


@cache
def _shape_sums(h: int, w: int) -> np.ndarray:
    """What is summed over a region's places to know its shape: (6, h w) at the edge, y, x, y^2, x^2, x y."""
    y, x = (axis.ravel().astype(np.float32) for axis in np.mgrid[:h, :w])
    edge = (y == 0) | (x == 0) | (y == h - 1) | (x == w - 1)
    return np.stack([edge, y, x, y * y, x * x, x * y])


def _summed(numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """For each number, from 0, the sum of the rows (n, c) that have it: numbers (n,) -> (numbers, c)."""
    from scipy.sparse import csc_array

    return csc_array((np.ones(len(rows), rows.dtype), numbers, np.arange(len(rows) + 1))) @ rows


def _borders(numbers: np.ndarray, boundary: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours (2, k) among regions, and of their borders (5, k) the length, the sums of the boundary and of its
    square, and how many places are below a quarter and above three quarters.
    """
    pairs, values = [], []
    for one, other in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        apart = numbers[one] != numbers[other]
        pairs.append(np.stack([numbers[one][apart], numbers[other][apart]]))
        values.append(np.maximum(boundary[one][apart], boundary[other][apart]))
    x = np.concatenate(values)
    return _gather(np.concatenate(pairs, 1), np.stack([np.ones_like(x), x, x * x, x < 0.25, x > 0.75]))


def _gather(pairs: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same pairs once each, in either order, what belongs to them summed; none of a region with itself."""
    apart = pairs[0] != pairs[1]
    low, high, sums = pairs[:, apart].min(0), pairs[:, apart].max(0), sums[:, apart]
    width = int(high.max(initial=0)) + 1
    keys, place = np.unique(low.astype(np.int64) * width + high, return_inverse=True)
    return np.stack([keys // width, keys % width]), np.stack([np.bincount(place, s, len(keys)) for s in sums])


def encode(boundary: np.ndarray, looks: np.ndarray, answer: Answer, expect: Expect) -> tuple[np.ndarray, np.ndarray]:
    """What each place carries of its regions, and which they are; arguments of `group`.

    Returns:
        channels (9, h, w) float32: code of the bolder region (5), of the finer one in it (2), the quality of the bolder
        and of the finer (-1 to 1 for an IoU of 0 to 1); numbers (2, h, w) of the regions, the bolder first.
    """
    fine, bold = group(boundary, looks, answer, expect)
    parent = np.zeros_like(fine.areas)
    parent[fine.numbers] = bold.numbers  # the same for all places of a fine region
    codes = _codes(bold, code_table(*BOLD), np.zeros_like(bold.areas))[parent], _codes(fine, code_table(*FINE), parent)
    quality = 2 * np.stack([bold.quality[parent], fine.quality], 1) - 1
    table = np.concatenate([*codes, quality], 1).astype(np.float32)
    return table[fine.numbers].transpose(2, 0, 1), np.stack([bold.numbers, fine.numbers])


def _codes(level: Regions, table: np.ndarray, among: np.ndarray) -> np.ndarray:
    """A code of `table` for each region, the large ones first, each unlike those near it of the same `among` (n,)."""
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
    return table[chosen]


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
    trials = []
    for start in range(20):
        chosen, near = [start], pool @ pool[start]
        while len(chosen) < count:
            chosen.append(int(near.argmin()))  # the least like any before it
            near = np.maximum(near, pool @ pool[chosen[-1]])
        trials.append(pool[chosen])
    return min(trials, key=lambda x: (x @ x.T - 2 * np.eye(count)).max())
