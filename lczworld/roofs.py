"""Buildings on the canvas: pitched roofs as planes, flat roofs with parapets and equipment, tanks and sheds.

Roofs come as arrays, one row per building: `quads` (n, 4, 2) in picture coordinates, and a dict of (n,) columns as
`Canvas.add_many` takes them (material, v, b, instance).
"""

import cv2
import numpy as np

from .canvas import Canvas, Rng, Surface
from .spectra import M


def _length(vectors: np.ndarray) -> np.ndarray:
    """Length (n,) of vectors (n, 2), above 0."""
    return np.hypot(vectors[:, 0], vectors[:, 1]) + 1e-9


def pitched(
    canvas: Canvas, quads: np.ndarray, roofs: dict, eave: np.ndarray, rise: np.ndarray, hip: np.ndarray
) -> None:
    """Ridged roofs: `eave` and `rise` (n,) m, `hip` (n,) 0 gable .. 1 hipped."""
    wide = _length(quads[:, 1] - quads[:, 0]) >= _length(quads[:, 2] - quads[:, 1])
    q0, q1, q2, q3 = np.where(wide[:, None, None], quads, quads[:, [1, 2, 3, 0]]).transpose(1, 0, 2)
    first, second = (q1 + q2) / 2, (q3 + q0) / 2
    inset = hip * np.minimum(0.5 * _length(q2 - q1) / _length(second - first), 0.5)
    r1, r0 = first + inset[:, None] * (second - first), second + inset[:, None] * (first - second)
    for a, b, top in ((q0, q1, (r1, r0)), (q2, q3, (r0, r1)), (q1, q2, (r1,)), (q3, q0, (r0,))):
        some = np.ones(len(hip), bool) if len(top) == 2 else hip > 0.05
        along = (b - a) / _length(b - a)[:, None]  # a plane rises from the edge a-b to the ridge's point top[0]
        inward = np.stack([-along[:, 1], along[:, 0]], 1)
        distance = (inward * (top[0] - a)).sum(1)
        slope = (np.sign(distance) * rise / np.maximum(np.abs(distance), 0.5))[:, None] * inward
        plane = {"h0": eave - (slope * a).sum(1), "gx": slope[:, 0], "gy": slope[:, 1]} | roofs
        ids = canvas.add_many("building", {name: column[some] for name, column in plane.items()})
        canvas.draw_many(np.stack([a, b, *top], 1)[some], ids)


def flat(canvas: Canvas, quads: np.ndarray, roofs: dict, height: np.ndarray, ribs: np.ndarray, rng: Rng) -> None:
    """Flat roofs with parapets and, where they are large, equipment; `ribs` (n,) is the amplitude of sheet metal."""
    n, side, depth = len(quads), quads[:, 1] - quads[:, 0], quads[:, 3] - quads[:, 0]
    area = np.abs(side[:, 0] * depth[:, 1] - side[:, 1] * depth[:, 0])
    rim = roofs | {"b": roofs["b"] * rng.uniform(0.75, 1.3, n), "h0": height + 0.7}
    canvas.draw_many(quads, canvas.add_many("building", rim))
    share = np.minimum(1.6 / (0.5 * np.sqrt(area) + 1e-6), 0.5)[:, None, None]
    angle, period = np.arctan2(side[:, 1], side[:, 0]), rng.uniform(4, 9, n)
    sheet = roofs | {"h0": height, "angle": angle, "period": period, "stripe": ribs}
    canvas.draw_many(quads + share * (quads.mean(1, keepdims=True) - quads), canvas.add_many("building", sheet))
    many = np.where(area > 130, rng.integers(1, np.minimum(area / 130, 9).astype(int) + 2), 0)
    on = np.repeat(np.arange(n), many)  # the roof of each box, skylight and stair head
    side, depth = side[on], depth[on]
    spots, size = rng.uniform(0.12, 0.85, (2, len(on), 1)), rng.uniform(1.6, 4.5, (2, len(on), 1))
    bright = rng.uniform(0.5, 1.9, len(on))
    u, v = (size[k] * edge / _length(edge)[:, None] for k, edge in enumerate((side, depth)))
    a = quads[on, 0] + spots[0] * side + spots[1] * depth
    boxes = {"material": np.where(bright > 0.8, M["concrete"], M["bitumen"]), "v": np.full(len(on), 0.4), "b": bright,
             "h0": height[on] + rng.uniform(0.4, 3.0, len(on)), "instance": roofs["instance"][on]}  # fmt: skip
    canvas.draw_many(np.stack([a, a + u, a + u + v, a + v], 1), canvas.add_many("building", boxes))


def tank(canvas: Canvas, center: np.ndarray, radius: float, height: float, finish: tuple) -> None:
    """A round tank with a darker rim; finish = (material, v, b)."""
    instance, (material, v, b) = canvas.new_instance(), finish
    angles = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], 1)
    for size, shade in ((radius, 0.7), (radius - 0.8, 1.0)):
        surface = Surface(material, v, b * shade, "building", height, instance=instance)
        canvas.draw(center + size * ring, canvas.add(surface))


def line(canvas: Canvas, points: np.ndarray, identity: int, thickness: int = 1) -> None:
    """An open line (n, 2) of `thickness` m."""
    cv2.polylines(canvas.obj, [np.round(points * 16).astype(np.int32)], False, int(identity), thickness, cv2.LINE_8, 4)
