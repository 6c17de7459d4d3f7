"""Buildings on the canvas: pitched roofs as planes, flat roofs with parapets and equipment, tanks and sheds."""

from __future__ import annotations

import math

import cv2
import numpy as np

from .canvas import Canvas


def _plane(a: np.ndarray, b: np.ndarray, ridge: np.ndarray, eave: float, rise: float) -> tuple[float, float, float]:
    """h0, gx, gy of the roof plane over edge a-b that rises from `eave` to `eave + rise` at the point `ridge`."""
    x, y = (b - a).tolist()
    length = math.hypot(x, y) + 1e-9
    inward = np.array([-y / length, x / length])
    distance = inward @ (ridge - a)
    inward, distance = (inward, distance) if distance > 0 else (-inward, -distance)
    gx, gy = inward * rise / max(distance, 0.5)
    return eave - gx * a[0] - gy * a[1], gx, gy


def pitched(canvas: Canvas, quad: np.ndarray, eave: float, rise: float, look: tuple, hip: float, instance=None) -> None:
    """A ridged roof over a quadrangle (4, 2); `hip` 0 gable .. 1 hipped; look = (material, v, b)."""
    if np.hypot(*(quad[1] - quad[0])) < np.hypot(*(quad[2] - quad[1])):
        quad = quad[[1, 2, 3, 0]]
    ends = (quad[1] + quad[2]) / 2, (quad[3] + quad[0]) / 2
    long = max(np.hypot(*(ends[0] - ends[1])), 1e-6)
    inset = hip * min(0.5 * np.hypot(*(quad[2] - quad[1])) / long, 0.5)
    r1, r0 = ends[0] + inset * (ends[1] - ends[0]), ends[1] + inset * (ends[0] - ends[1])
    parts = [(quad[0], quad[1], (r1, r0)), (quad[2], quad[3], (r0, r1))]
    if hip > 0.05:
        parts += [(quad[1], quad[2], (r1,)), (quad[3], quad[0], (r0,))]
    instance = canvas.new_instance() if instance is None else instance
    for a, b, top in parts:
        h0, gx, gy = _plane(a, b, top[0], eave, rise)
        identity = canvas.add(*look, "building", h0, gx, gy, instance)
        canvas.draw(np.array([a, b, *top]), identity)


def flat(
    canvas: Canvas, quad: np.ndarray, height: float, look: tuple, rng: np.random.Generator, ribs=0.0, instance=None
) -> None:
    """A flat roof with a parapet and, where it is large, equipment; `ribs` is the amplitude of sheet-metal ribs."""
    material, v, b = look
    instance = canvas.new_instance() if instance is None else instance
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = quad.tolist()
    side, depth = (x1 - x0, y1 - y0), (x3 - x0, y3 - y0)
    angle, area = math.atan2(side[1], side[0]), abs(side[0] * depth[1] - side[1] * depth[0])
    rim = canvas.add(material, v, b * rng.uniform(0.75, 1.3), "building", height + 0.7, instance=instance)
    canvas.draw(quad, rim)
    middle = np.array([x0 + x1 + x2 + x3, y0 + y1 + y2 + y3]) / 4
    inner = quad + (middle - quad) * min(1.6 / (0.5 * math.sqrt(area) + 1e-6), 0.5)
    period = rng.uniform(4, 9)
    roof = canvas.add(material, v, b, "building", height, 0, 0, instance, angle, period, ribs)
    canvas.draw(inner, roof)
    if area > 130:
        _equipment(canvas, quad[0], np.array(side), np.array(depth), height, instance, rng, min(int(area / 130), 9))


def _equipment(canvas, origin, side, depth, height, instance, rng, count) -> None:
    """Boxes, skylights and stair heads on a flat roof."""
    number = rng.integers(1, count + 2)
    spots, size = rng.uniform(0.12, 0.85, (number, 2)), rng.uniform(1.6, 4.5, (number, 2))
    tall, bright = rng.uniform(0.4, 3.0, number), rng.uniform(0.5, 1.9, number)
    along, across = side / (np.hypot(*side) + 1e-9), depth / (np.hypot(*depth) + 1e-9)
    for spot, extent, rise, b in zip(spots, size, tall, bright):
        a = origin + spot[0] * side + spot[1] * depth
        box = np.array([a, a + extent[0] * along, a + extent[0] * along + extent[1] * across, a + extent[1] * across])
        identity = canvas.add(
            "concrete" if b > 0.8 else "bitumen", 0.4, b, "building", height + rise, instance=instance
        )
        canvas.draw(box, identity)


def tank(canvas: Canvas, center: np.ndarray, radius: float, height: float, look: tuple) -> None:
    """A round tank with a bright rim and a slightly conical lid."""
    instance = canvas.new_instance()
    material, v, b = look
    angles = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], 1)
    canvas.draw(center + radius * ring, canvas.add(material, v, b * 0.7, "building", height, instance=instance))
    for side in range(4):
        middle = side * np.pi / 2 + np.pi / 4
        sector = np.linspace(middle - np.pi / 4, middle + np.pi / 4, 8)
        points = np.concatenate([[[0.0, 0.0]], np.stack([np.cos(sector), np.sin(sector)], 1)])
        gx, gy = -0.16 * np.cos(middle), -0.16 * np.sin(middle)
        h0 = height + 0.16 * radius - gx * center[0] - gy * center[1]
        lid = canvas.add(material, v, b, "building", h0, gx, gy, instance)
        canvas.draw(center + (radius - 0.8) * points, lid)


def beam(canvas: Canvas, a: np.ndarray, b: np.ndarray, width: float, height: float, look: tuple) -> None:
    """A conveyor, pipe rack or fence: a raised strip from a to b."""
    along = (b - a) / (np.hypot(*(b - a)) + 1e-9)
    normal = np.array([-along[1], along[0]]) * width / 2
    canvas.draw(np.array([a - normal, b - normal, b + normal, a + normal]), canvas.add(*look, "building", height))


def line(canvas: Canvas, points: np.ndarray, identity: int, thickness: int = 1) -> None:
    """An open line (n, 2) of `thickness` m."""
    cv2.polylines(canvas.obj, [np.round(points * 16).astype(np.int32)], False, int(identity), thickness, cv2.LINE_8, 4)
