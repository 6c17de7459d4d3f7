"""The drawing board of a scene: an object id per square metre, and one row of properties per object.

Plans are laid out in straight street coordinates (u, v in metres) and bent into the picture by a `Warp`, so that a grid
of rectangles becomes a grid, an organic quarter or a curved close. x grows to the east, y to the south, 1 px = 1 m.
"""

from __future__ import annotations

import cv2
import numpy as np

from .spectra import M

COVER = ("paved", "building", "grass", "bush", "tree", "crop", "soil", "sand", "rock", "water")
C = {name: index for index, name in enumerate(COVER)}
MARGIN = 32  # m drawn around the patch, for shadows and point spread functions from outside

_COLUMNS = ("material", "v", "b", "cover", "h0", "gx", "gy", "instance", "angle", "period", "stripe")
_SHIFT = 4  # fractional bits of polygon corners


class Warp:
    """Street coordinates (u, v), centred, to picture coordinates (x, y): bend by `bend` m, rotate by `angle`, shift."""

    def __init__(self, size: tuple[int, int], angle: float, bend: float, rng: np.random.Generator):
        self.center = np.array([size[1] / 2, size[0] / 2])
        self.rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        self.bend, self.angle = bend, angle
        self.wave, self.phase = rng.uniform(260, 620, (2, 2)), rng.uniform(0, 2 * np.pi, (2, 2))

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) street coordinates to picture coordinates."""
        other = points[..., ::-1]
        bent = points + self.bend * np.sin(2 * np.pi * other / self.wave[0] + self.phase[0])
        bent = bent + 0.35 * self.bend * np.sin(4 * np.pi * other / self.wave[1] + self.phase[1])
        return bent @ self.rotation.T + self.center


def corners(rects: np.ndarray) -> np.ndarray:
    """(n, 4) rectangles u0, v0, u1, v1 to their corners (n, 4, 2)."""
    return np.asarray(rects, float).reshape(-1, 4)[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]


def outline(rects: np.ndarray, pieces: int = 6) -> np.ndarray:
    """(n, 4) rectangles as closed lines (n, 4 * pieces, 2) that can bend."""
    four, t = corners(rects), np.linspace(0, 1, pieces, endpoint=False)[:, None]
    steps = (four[:, [1, 2, 3, 0]] - four)[:, :, None] * t
    return (four[:, :, None] + steps).reshape(len(four), 4 * pieces, 2)


class Canvas:
    """`obj` (H, W) int32 object ids; `add` gives a new object its properties, `draw` and `draw_many` place it."""

    def __init__(self, size: tuple[int, int]):
        self.size = size
        self.obj = np.zeros(size, np.int32)
        self.rows: list[list[float]] = []
        self.trees: list[np.ndarray] = []  # (n, 6): x, y, radius, height, v, is conifer
        self.instances = 0

    def new_instance(self) -> int:
        """The next instance id."""
        self.instances += 1
        return self.instances

    def add(self, material, v, b, cover, height=0.0, gx=0.0, gy=0.0, instance=None, angle=0.0, period=0.0, stripe=0.0):
        """Id of a new object. `instance` None: an instance of its own, 0: of none."""
        instance = self.new_instance() if instance is None else instance
        self.rows.append([M[material], v, b, C[cover], height, gx, gy, instance, angle, period, stripe])
        return len(self.rows) - 1

    def draw(self, points: np.ndarray, identity: int) -> None:
        """Fill one polygon (n, 2) in picture coordinates."""
        fixed = np.round(points * (1 << _SHIFT)).astype(np.int32)
        cv2.fillPoly(self.obj, [fixed], int(identity), cv2.LINE_8, _SHIFT)

    def draw_many(self, polygons: np.ndarray, identities: np.ndarray) -> None:
        """Fill polygons (n, k, 2) in picture coordinates; those outside the canvas are skipped."""
        low, high = polygons.min(1), polygons.max(1)
        inside = (high[:, 0] > 0) & (high[:, 1] > 0) & (low[:, 0] < self.size[1]) & (low[:, 1] < self.size[0])
        fixed = np.round(polygons * (1 << _SHIFT)).astype(np.int32)
        for index in np.flatnonzero(inside):
            cv2.fillPoly(self.obj, [fixed[index]], int(identities[index]), cv2.LINE_8, _SHIFT)

    def table(self) -> dict[str, np.ndarray]:
        """Properties as one array per column."""
        rows = np.array(self.rows, np.float32)
        return {name: rows[:, column] for column, name in enumerate(_COLUMNS)}

    def covers(self) -> np.ndarray:
        """Cover class of every object so far."""
        return np.array([row[3] for row in self.rows], np.uint8)

    def at(self, points: np.ndarray) -> np.ndarray:
        """Object ids (n,) under points (n, 2); -1 outside."""
        x, y = np.floor(points[:, 0]).astype(int), np.floor(points[:, 1]).astype(int)
        inside = (x >= 0) & (y >= 0) & (x < self.size[1]) & (y < self.size[0])
        ids = self.obj[np.clip(y, 0, self.size[0] - 1), np.clip(x, 0, self.size[1] - 1)]
        return np.where(inside, ids, -1)

    def cover_at(self, points: np.ndarray) -> np.ndarray:
        """Cover class (n,) of the objects under points (n, 2); -1 outside."""
        ids = self.at(points)
        return np.where(ids >= 0, np.array([row[3] for row in self.rows], int)[ids], -1)


def noise(size: tuple[int, int], scale: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise (H, W) float32, mean 0, standard deviation 1, features of about `scale` m."""
    if scale <= 1.5:
        return rng.standard_normal(size, np.float32)
    shape = (int(size[0] / scale) + 3, int(size[1] / scale) + 3)
    field = cv2.resize(rng.standard_normal(shape, np.float32), None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    field = field[: size[0], : size[1]]
    if scale > 8:
        field = field + 0.22 * noise(size, scale / 4, rng)
    return (field - field.mean()) / (field.std() + 1e-6)
