"""Where things stand on a plan, in street coordinates: blocks, lots, buildings of seven kinds, trees.

A rectangle is (u0, v0, u1, v1) in metres. The functions of `KINDS` take a rectangle to build on, the share of it to
cover, the ranges of the zone and a generator, and return the rectangles of the buildings.
"""

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from .canvas import Canvas, Rect, Rng, Warp, corners


def pick(rng: Rng, shares: Sequence) -> str:
    """One name of (name, share) pairs."""
    return shares[bisect_right(_limits(tuple(share for _, share in shares)), rng.random())][0]


def picks(rng: Rng, shares: Sequence, count: int) -> list[str]:
    """`count` names of (name, share) pairs."""
    limits = _limits(tuple(share for _, share in shares))
    return [shares[bisect_right(limits, draw)][0] for draw in rng.random(count).tolist()]


@lru_cache(maxsize=1024)
def _limits(shares: tuple[float, ...]) -> list[float]:
    """Cumulated shares, the last one 1."""
    limits = np.cumsum(np.array(shares, float) / sum(shares))
    return (limits / limits[-1]).tolist()


def cut(
    rect: Rect, block: Sequence[float], width: float, jitter: float, rng: Rng, level: int = 0
) -> tuple[list[Rect], list[Rect]]:
    """Cut a rectangle into blocks about (`block` u, v) apart by streets of `width`. Returns (blocks, streets)."""
    u0, v0, u1, v1 = rect
    ratio = np.array([(u1 - u0) / block[0], (v1 - v0) / block[1]])
    axis = int(np.argmax(ratio))
    if ratio[axis] < 1.55 or level > 9:
        return [rect], []
    pieces = max(round(ratio[axis]), 2)
    at = (pieces // 2) / pieces + jitter * rng.uniform(-0.5, 0.5) / pieces
    half = 0.5 * width * (1.35 if level < 2 else 1.0) * rng.uniform(0.85, 1.15)
    if axis == 0:
        c = u0 + at * (u1 - u0)
        street, parts = (c - half, v0, c + half, v1), ((u0, v0, c - half, v1), (c + half, v0, u1, v1))
    else:
        c = v0 + at * (v1 - v0)
        street, parts = (u0, c - half, u1, c + half), ((u0, v0, u1, c - half), (u0, c + half, u1, v1))
    blocks, streets = [], [street]
    for part in parts:
        more, ways = cut(part, block, width, jitter, rng, level + 1)
        blocks += more
        streets += ways
    return blocks, streets


def _row(a: float, b: float, step: float, rng: Rng) -> np.ndarray:
    """Section limits from a to b, each about `step` long."""
    count = max(round((b - a) / step), 1)
    limits = np.linspace(a, b, count + 1)
    limits[1:-1] += rng.uniform(-0.2, 0.2, count - 1) * (b - a) / count
    return limits


def perimeter(rect: Rect, cover: float, form: dict, rng: Rng) -> list[Rect]:
    """A ring of houses around a courtyard, with rear buildings where `cover` asks for more."""
    u0, v0, u1, v1 = rect
    w, h = u1 - u0, v1 - v0
    root = (w + h) ** 2 - 4 * cover * w * h
    depth = np.clip(((w + h) - np.sqrt(max(root, 0))) / 4, 6, rng.uniform(11, 16))
    depth = min(depth, 0.48 * min(w, h))
    step, found = rng.uniform(13, 24), []
    for a, b in pairwise(_row(u0, u1, step, rng)):
        found += [(a, v0, b, v0 + depth), (a, v1 - depth, b, v1)]
    for a, b in pairwise(_row(v0 + depth, v1 - depth, step, rng)):
        found += [(u0, a, u0 + depth, b), (u1 - depth, a, u1, b)]
    rest = cover - 1 + (w - 2 * depth) * (h - 2 * depth) / (w * h)
    inner = (w - 2 * depth) * (h - 2 * depth)
    if inner > 250 and rest > 0.03:
        share = min(rest * w * h / inner, 0.8)
        found += rows((u0 + depth + 3, v0 + depth + 3, u1 - depth - 3, v1 - depth - 3), share * 1.25, form, rng)
    return found


def rows(rect: Rect, cover: float, form: dict, rng: Rng) -> list[Rect]:
    """Parallel bars, cut into sections: terraces, slabs, barracks."""
    u0, v0, u1, v1 = rect
    if u1 - u0 < 6 or v1 - v0 < 6:
        return []
    depth = min(rng.uniform(*form["depth"]), v1 - v0)
    pitch = max(depth / np.clip(cover * 1.08, 0.15, 0.85), depth + 2.5)
    count = max(int((v1 - v0 + pitch - depth) / pitch), 1)
    pitch = (v1 - v0 - depth) / (count - 1) if count > 1 else 0
    section, found = rng.uniform(*form["section"]), []
    gap = 0 if section < 12 else rng.choice([0.0, 6.0])
    for k in range(count):
        limits = _row(u0 + rng.uniform(0, 3), u1 - rng.uniform(0, 3), section, rng)
        shift = rng.uniform(-0.8, 0.8, len(limits))
        v = v0 + k * pitch
        found += [(a + gap / 2, v + s, b - gap / 2, v + s + depth) for a, b, s in zip(limits[:-1], limits[1:], shift)]
    return found


def detached(rect: Rect, cover: float, form: dict, rng: Rng) -> list[Rect]:
    """Two rows of lots with a house and sometimes a shed each."""
    u0, v0, u1, v1 = rect
    found, width = [], rng.uniform(*form["lot"])
    for side in (0, 1):
        half = (v1 - v0) / 2
        limits = _row(u0, u1, width, rng)
        for a, b in pairwise(limits):
            area = np.clip(cover * (b - a) * half * rng.uniform(0.75, 1.3), 35, 900)
            ratio = rng.uniform(0.9, 1.7)
            w = min(np.sqrt(area * ratio), b - a - 1.2)
            d = min(area / w, half - 3)
            front = min(rng.uniform(2, 8), max(half - d - 1, 0.5))
            x = (a + b - w) / 2 + rng.uniform(-0.5, 0.5) * max(b - a - w - 1, 0)
            y = v0 + front if side == 0 else v1 - front - d
            found.append((x, y, x + w, y + d))
            if rng.random() < 0.25 and half - d - front > 9:
                y = v0 + half - 6 if side == 0 else v0 + half + 2
                found.append((a + 1.5, y, a + 1.5 + rng.uniform(3, 5), y + rng.uniform(2.5, 4)))
    return found


def points_and_slabs(rect: Rect, cover: float, form: dict, rng: Rng) -> list[Rect]:
    """Towers and slabs free in their grounds."""
    u0, v0, u1, v1 = rect
    area = rng.uniform(*form["footprint"])
    ratio = rng.choice([1.0, 1.4, 2.6, 3.6]) * rng.uniform(0.8, 1.2)
    w = min(np.sqrt(area * ratio), 0.85 * (u1 - u0))
    d = min(area / w, 0.85 * (v1 - v0))
    nu = max(min(round((u1 - u0) * np.sqrt(1.1 * cover) / w), int((u1 - u0) / (w + 4))), 1)
    nv = max(round(1.1 * cover * (u1 - u0) * (v1 - v0) / (nu * w * d)), 1)
    nv = min(nv, max(int((v1 - v0) / (d + 4)), 1))
    cu, cv, found = (u1 - u0) / nu, (v1 - v0) / nv, []
    for i in range(nu):
        for j in range(nv):
            x = u0 + i * cu + rng.uniform(0.1, 0.9) * (cu - w)
            y = v0 + j * cv + rng.uniform(0.1, 0.9) * (cv - d)
            found.append((x, y, x + w, y + d))
            if rng.random() < form.get("wing", 0.3):
                found.append((x + 0.3 * w, y - 0.25 * d, x + 0.7 * w, y))
    return found


def halls(rect: Rect, cover: float, form: dict, rng: Rng) -> list[Rect]:
    """Large halls, one to several per block."""
    parts, _ = cut(rect, (rng.uniform(*form["hall"]), rng.uniform(*form["hall"])), rng.uniform(3, 14), 0.6, rng)
    scale, found = np.sqrt(np.clip(cover * 1.12, 0.1, 0.92)), []
    for u0, v0, u1, v1 in parts:
        w, d = (u1 - u0) * scale * rng.uniform(0.92, 1.08), (v1 - v0) * scale * rng.uniform(0.92, 1.08)
        x, y = u0 + rng.uniform(0, 1) * max(u1 - u0 - w, 0), v0 + rng.uniform(0, 1) * max(v1 - v0 - d, 0)
        found.append((x, y, x + min(w, u1 - u0), y + min(d, v1 - v0)))
    return found


def shacks(rect: Rect, cover: float, form: dict, rng: Rng) -> list[Rect]:
    """Small light buildings wall to wall."""
    cell = rng.uniform(*form["cell"])
    scale = np.sqrt(np.clip(cover * 1.05, 0.2, 0.95))
    found, v = [], rect[1]
    while v < rect[3] - 2.5:
        depth = min(cell * rng.uniform(0.75, 1.3), rect[3] - v)
        limits = _row(rect[0], rect[2], cell * rng.uniform(0.9, 1.5), rng)
        gap, drop = (1 - scale) * depth, rng.uniform(-0.5, 0.5, len(limits))
        v0, v1 = v + gap / 2, v + depth - gap / 2
        found += [(a + gap / 2, v0 + s, b - gap / 2, v1 + s) for a, b, s in zip(limits[:-1], limits[1:], drop * gap)]
        v += depth
    return found


KINDS = {"perimeter": perimeter, "rows": rows, "detached": detached, "towers": points_and_slabs, "halls": halls,
         "industry": halls, "shacks": shacks}  # fmt: skip


def lots(block: Rect, size: float, walk: float, rng: Rng) -> list[Rect]:
    """The ground of a block inside its pavement, cut into lots of about `size` m."""
    u0, v0, u1, v1 = block
    inner = (u0 + walk, v0 + walk, u1 - walk, v1 - walk)
    if inner[2] - inner[0] < 3 or inner[3] - inner[1] < 3:
        return []
    return cut(inner, (size * rng.uniform(0.7, 1.4), size * rng.uniform(0.7, 1.4)), 0.0, 0.7, rng)[0]


def car_park(canvas: Canvas, warp: Warp, rect: Rect, identity: int, rng: Rng) -> None:
    """Rows of cars on a rectangle, where the object `identity` is still on top."""
    u, v = np.arange(rect[0] + 1.5, rect[2] - 2.5, 2.6), np.arange(rect[1] + 1.5, rect[3] - 5, 8.2)
    spots = np.stack(np.meshgrid(u, v), -1).reshape(-1, 2)
    spots = spots[rng.random(len(spots)) < rng.uniform(0.2, 0.8)]
    quads = warp(corners(np.concatenate([spots, spots + np.array([1.9, 4.4])], 1)))
    quads = quads[canvas.at(quads.mean(1)) == identity]
    paints = canvas.add_cars(int(canvas.rows[identity][7]))
    canvas.draw_many(quads, rng.choice(paints, len(quads)))


def tree_rows(spots: np.ndarray, radius: np.ndarray, site: dict, rng: Rng) -> np.ndarray:
    """(n, 6) x, y, radius, height, v, conifer of trees at `spots`."""
    n = len(spots)
    conifer = rng.random(n) < site["conifer"]
    height = radius * np.where(conifer, 3.2, 2.1) * rng.uniform(0.8, 1.25, n) + 1.0
    v = np.where(conifer, 0.5, site["leaf"]) + rng.normal(0, 0.13, n)
    return np.column_stack([spots, radius * np.where(conifer, 0.75, 1), height, np.clip(v, 0, 1), conifer])


def visible(warp: Warp, blocks: Sequence[Rect], size: tuple[int, int]) -> np.ndarray:
    """Rough area (m2) of each block inside the canvas, from a lattice of 7 x 7 points."""
    u0, v0, u1, v1 = np.array(blocks, float).reshape(-1, 4).T[..., None, None]
    t = np.linspace(0, 1, 7)
    u, v = np.broadcast_arrays(u0 + t * (u1 - u0), v0 + t[:, None] * (v1 - v0))
    p = warp(np.stack([u, v], -1))
    inside = ((p >= 0) & (p < np.array(size)[::-1])).all(-1).mean((1, 2))
    return inside * ((u1 - u0) * (v1 - v0))[:, 0, 0]
