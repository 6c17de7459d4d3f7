"""The drawing board of a scene: an object id per square metre, and one row of properties per object.

Plans are laid out in straight street coordinates (u, v in metres) and bent into the picture by a `Warp`, so that a grid
of rectangles becomes a grid, an organic quarter or a curved close. x grows to the east, y to the south, 1 px = 1 m.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from .spectra import M

COVER = ("paved", "building", "grass", "bush", "tree", "crop", "soil", "sand", "rock", "water")
C = {name: index for index, name in enumerate(COVER)}
MARGIN = 20  # m drawn around the patch, for shadows and point spread functions from outside

Rng = np.random.Generator
Rect = tuple[float, float, float, float]  # u0, v0, u1, v1, m

_COLUMNS = ("material", "v", "b", "cover", "h0", "gx", "gy", "instance", "angle", "period", "stripe")
_SHIFT = 4  # fractional bits of polygon corners


@dataclass(frozen=True)
class Surface:
    """What an object is made of and how it lies.

    Attributes:
        material: of spectra.M. v: its state 0 (dark, dry, clear) to 1. b: factor of brightness.
        cover: of COVER. height: m at x = y = 0. gx, gy: rise of the surface to the east and south, m per m.
        instance: None: one of its own, 0: of none. stripes: angle (rad), period (m), strength of rows.
    """

    material: str
    v: float
    b: float
    cover: str
    height: float = 0.0
    gx: float = 0.0
    gy: float = 0.0
    instance: int | None = None
    stripes: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def row(self, instance: int) -> list[float]:
        """The properties in the order of _COLUMNS."""
        return [M[self.material], self.v, self.b, C[self.cover], self.height, self.gx, self.gy, instance, *self.stripes]


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
    """`add` gives a new object its properties, `draw` and `draw_many` place it."""

    def __init__(self, size: tuple[int, int]):
        self.size = size
        self._obj = np.zeros(size, np.int32)
        self._waiting: list[tuple[np.ndarray, int]] = []  # polygons to be filled before `obj` is read
        self.rows: list[list[float]] = []
        self.trees: list[np.ndarray] = []  # (n, 6): x, y, radius, height, v, is conifer
        self.instances = 0

    def new_instance(self) -> int:
        """The next instance id."""
        self.instances += 1
        return self.instances

    def add(self, surface: Surface) -> int:
        """Id of a new object."""
        self.rows.append(surface.row(self.new_instance() if surface.instance is None else surface.instance))
        return len(self.rows) - 1

    def set(self, identity: int, surface: Surface) -> None:
        """Give an object another surface; its instance stays."""
        self.rows[identity] = surface.row(self.rows[identity][_COLUMNS.index("instance")])

    def add_many(self, cover: str, columns: dict[str, np.ndarray]) -> np.ndarray:
        """Ids (n,) of new objects: `columns` are arrays (n,) named as _COLUMNS, material by number; others 0."""
        rows = np.zeros((len(columns["instance"]), len(_COLUMNS)))
        for name, values in columns.items():
            rows[:, _COLUMNS.index(name)] = values
        rows[:, _COLUMNS.index("cover")] = C[cover]
        first = len(self.rows)
        self.rows += rows.tolist()
        return np.arange(first, len(self.rows))

    @property
    def obj(self) -> np.ndarray:
        """Object ids (H, W) int32 of all that was drawn, writable."""
        if self._waiting:
            fixed = np.round(np.concatenate([points for points, _ in self._waiting]) * (1 << _SHIFT)).astype(np.int32)
            start = 0
            for points, identity in self._waiting:
                cv2.fillPoly(self._obj, [fixed[start : start + len(points)]], int(identity), cv2.LINE_8, _SHIFT)
                start += len(points)
            self._waiting.clear()
        return self._obj

    def add_cars(self, instance: int) -> list[int]:
        """Ids of cars in seven paints."""
        paints = [("metal", b) for b in (0.15, 0.3, 0.7, 1.3, 1.6)] + [("tile", 0.9), ("bluemetal", 0.9)]
        return [self.add(Surface(material, 0.5, b, "paved", 1.4, instance=instance)) for material, b in paints]

    def draw(self, points: np.ndarray, identity: int) -> None:
        """Fill one polygon (n, 2) in picture coordinates."""
        self._waiting.append((points, identity))

    def draw_many(self, polygons: np.ndarray, identities: np.ndarray) -> None:
        """Fill polygons (n, k, 2) in picture coordinates; those outside the canvas are skipped."""
        low, high = polygons.min(1), polygons.max(1)
        inside = (high[:, 0] > 0) & (high[:, 1] > 0) & (low[:, 0] < self.size[1]) & (low[:, 1] < self.size[0])
        self._waiting += [(polygons[index], identities[index]) for index in np.flatnonzero(inside)]

    def table(self) -> dict[str, np.ndarray]:
        """Properties as one array per column."""
        rows = np.array(self.rows, np.float32)
        return {name: rows[:, column] for column, name in enumerate(_COLUMNS)}

    def covers(self) -> np.ndarray:
        """Cover class of every object so far."""
        return np.array([row[3] for row in self.rows], int)

    def at(self, points: np.ndarray) -> np.ndarray:
        """Object ids (n,) under points (n, 2); -1 outside."""
        x, y = np.floor(points[:, 0]).astype(int), np.floor(points[:, 1]).astype(int)
        inside = (x >= 0) & (y >= 0) & (x < self.size[1]) & (y < self.size[0])
        ids = self.obj[np.clip(y, 0, self.size[0] - 1), np.clip(x, 0, self.size[1] - 1)]
        return np.where(inside, ids, -1)

    def cover_at(self, points: np.ndarray) -> np.ndarray:
        """Cover class (n,) of the objects under points (n, 2); -1 outside."""
        ids = self.at(points)
        return np.where(ids >= 0, self.covers()[ids], -1)


def noise(size: tuple[int, int], scale: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise (H, W) float32, mean 0, standard deviation about 1, features of about `scale` m."""
    if scale <= 1.5:
        return (rng.random(size, np.float32) - 0.5) * 12**0.5
    if scale > 16:
        half = noise((-(-size[0] // 2), -(-size[1] // 2)), scale / 2, rng)
        return cv2.resize(half, size[::-1], interpolation=cv2.INTER_LINEAR)
    shape = (int(size[0] / scale) + 3, int(size[1] / scale) + 3)
    field = cv2.resize(rng.standard_normal(shape, np.float32), None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    field = field[: size[0], : size[1]]
    if scale > 8:
        field = field + 0.22 * noise(size, scale / 4, rng)
    mean, spread = (float(value[0, 0]) for value in cv2.meanStdDev(field))
    return (field - mean) * (1 / (spread + 1e-6))


def gradient(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope of a field (H, W) to the east and to the south, per metre."""
    step = np.array([[-0.5, 0.0, 0.5]], np.float32)
    return cv2.filter2D(field, -1, step), cv2.filter2D(field, -1, step.T)
