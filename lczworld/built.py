"""Built quarters: streets, buildings until the plan is fulfilled, then gardens, car parks, trees and cars between."""

from __future__ import annotations

import numpy as np

from .canvas import MARGIN, C, Canvas, Warp, corners, outline
from .layouts import KINDS, cut, lots, pick, tree_rows, visible
from .roofs import beam, flat, pitched, tank
from .spectra import M


class Quarter:
    """One built scene in the making: plan first, then the buildings, then the ground between them."""

    def __init__(self, canvas: Canvas, form: dict, look: dict, rng: np.random.Generator):
        self.canvas, self.form, self.look, self.rng = canvas, form, look, rng
        self.warp: Warp = look["warp"]
        self.lots: list[tuple[int, tuple]] = []

    def streets(self) -> list:
        """Draw streets, pavements and lots; returns the blocks (u0, v0, u1, v1)."""
        canvas, look, rng = self.canvas, self.look, self.rng
        reach = 0.5 * np.hypot(*canvas.size) + 20
        blocks, streets = cut((-reach, -reach, reach, reach), look["block"], look["street"], look["jitter"], rng)
        blocks = [block for block, area in zip(blocks, visible(self.warp, blocks, canvas.size)) if area > 0]
        dirt = look["dirt"]
        material, cover = ("soil", "soil") if dirt else (look["paving"], "paved")
        canvas.add(material, look["age"], 1.0, cover)
        self.street_rects = streets
        network = canvas.new_instance()
        for rect in streets:
            own = rng.random() < 0.2
            v = np.clip(look["age"] + own * rng.choice([-0.4, 0.4]) + rng.normal(0, 0.04), 0, 1)
            b = 1 + own * rng.uniform(-0.15, 0.15)
            identity = canvas.add(material, v, b, cover, instance=None if own else network)
            canvas.draw(self.warp(outline(np.array(rect), 10)[0]), identity)
            self._markings(rect, cover, canvas.rows[identity][7])
        walk = look["walk"]
        for block in blocks:
            side = canvas.add("soil" if dirt else "concrete", rng.uniform(0.2, 0.7), 1, cover, instance=0)
            canvas.draw(self.warp(outline(np.array(block))[0]), side)
            parts = lots(block, look["lot"], walk, rng)
            ids = [canvas.add("grass", 0.5, 1.0, "grass") for _ in parts]
            if parts:
                canvas.draw_many(self.warp(outline(np.array(parts), 4)), np.array(ids))
            self.lots += list(zip(ids, parts))
        return blocks

    def _markings(self, rect, cover, instance) -> None:
        u0, v0, u1, v1 = rect
        if cover != "paved" or self.look["paving"] != "asphalt" or min(u1 - u0, v1 - v0) < 8:
            return
        white = self.canvas.add("concrete", 0.8, 1.3, "paved", instance=instance)
        long, middle = (u1 - u0 > v1 - v0), (u0 + u1) / 2 if u1 - u0 < v1 - v0 else (v0 + v1) / 2
        start = np.arange(u0 if long else v0, u1 if long else v1, 9.0)
        ends = start + 4.0
        low, high = np.full_like(start, middle - 0.35), np.full_like(start, middle + 0.35)
        rects = np.stack([start, low, ends, high] if long else [low, start, high, ends], 1)
        self.canvas.draw_many(self.warp(corners(rects)), np.full(len(rects), white))

    def buildings(self, blocks: list, target: float) -> None:
        """Place buildings block by block until they cover `target` of the canvas."""
        area = float(np.prod(self.canvas.size))
        inside = sum(visible(self.warp, blocks, self.canvas.size))
        cover = target * area / max(inside, 1.0)
        for push in (1.05, 1.35, 1.8):
            plan = self._plan(blocks, np.clip(push * cover, 0.02, 0.96))
            if self._place(plan, target):
                return

    def _plan(self, blocks: list, cover: float) -> list:
        """(kind, rectangle, terrace) of the buildings that cover a share `cover` of every block."""
        rng, form, look, plan = self.rng, self.form, self.look, []
        for block in blocks:
            kind = look["kind"] if rng.random() < 0.8 else pick(rng, form["kinds"])
            if rng.random() < look["open"] * (cover < 0.5):
                continue
            walk = look["walk"] + (rng.uniform(1, 4) if kind in ("rows", "towers", "halls", "industry") else 0.3)
            rect = (block[0] + walk, block[1] + walk, block[2] - walk, block[3] - walk)
            if min(rect[2] - rect[0], rect[3] - rect[1]) < 5:
                continue
            share = cover * (block[2] - block[0]) * (block[3] - block[1]) / ((rect[2] - rect[0]) * (rect[3] - rect[1]))
            joined = kind in ("rows", "perimeter") and rng.random() < look["joined"]
            group = self._roof(kind) if joined else None
            plan += [(kind, r, group) for r in KINDS[kind](rect, min(share, 0.95), form, rng)]
        return [item for item in plan if min(item[1][2] - item[1][0], item[1][3] - item[1][1]) > 1.6]

    def _built(self) -> float:
        """Share of the patch that is built so far."""
        inner = self.canvas.obj[MARGIN:-MARGIN, MARGIN:-MARGIN]
        return float((self.canvas.covers()[inner] == C["building"]).mean())

    def _place(self, plan: list, target: float) -> bool:
        """Build in random order until the patch is built to the share `target`; True when it was reached."""
        if not plan:
            return False
        rects = np.array([r for _, r, _ in plan])
        quads = self.warp(corners(rects))
        centers = quads.mean(1)
        size = np.array(self.canvas.size)[::-1]
        inside = ((centers > -8) & (centers < size + 8)).all(1)
        areas = (rects[:, 2] - rects[:, 0]) * (rects[:, 3] - rects[:, 1])
        order = self.rng.permutation(np.flatnonzero(inside))
        done = 0
        for _ in range(4):
            missing = (target - self._built()) * self.canvas.obj.size
            if missing < 0.01 * self.canvas.obj.size or done >= len(order):
                break
            count = max(int(np.searchsorted(np.cumsum(areas[order[done:]]), missing)), 1)
            for index in np.sort(order[done : done + count]):
                self._build(plan[index][0], rects[index], quads[index], plan[index][2])
            done += count
        return self._built() > target - 0.02

    def _roof(self, kind: str) -> dict:
        """Height, material and form of one roof, or of a whole terrace."""
        rng, look = self.rng, self.look
        height = max(look["height"] * np.exp(rng.normal(0, look["height_spread"])), 2.2)
        v, b = min(max(look["roof_v"] + rng.normal(0, 0.25), 0), 1), np.exp(rng.normal(0, 0.16))
        ridged = rng.random() < look["ridged"]
        names = (look["roof"], look["pitched"]) if ridged else (look["flat_roof"], look["flat"])
        material = names[0] if rng.random() < 0.65 else pick(rng, names[1])
        return {"height": height, "look": (material, v, b), "ridged": ridged, "pitch": rng.uniform(*look["pitch"]),
                "hip": float(rng.random() < look["hip"]), "instance": None, "kind": kind}  # fmt: skip

    def _build(self, kind: str, rect: np.ndarray, quad: np.ndarray, group: dict | None) -> None:
        rng, roof = self.rng, group or self._roof(kind)
        narrow, height = min(rect[2] - rect[0], rect[3] - rect[1]), roof["height"]
        if narrow < 5 and kind != "shacks":
            height = min(height, 3.0)
        if group is not None and group["instance"] is None:
            group["instance"] = self.canvas.new_instance()
        if roof["ridged"] and narrow < 20:
            rise = 0.5 * narrow * np.tan(np.radians(roof["pitch"]))
            hip = 0.0 if group else roof["hip"]
            pitched(self.canvas, quad, max(height - 0.5 * rise, 2.0), rise, roof["look"], hip, roof["instance"])
            return
        ribs = rng.uniform(0.03, 0.12) * (roof["look"][0] in ("metal", "bluemetal", "rust"))
        flat(self.canvas, quad, height, roof["look"], rng, ribs, roof["instance"])

    def ground(self, isf: float) -> None:
        """Pave lots, in random order, until `isf` of the canvas is impervious; the rest stays green or bare."""
        canvas, rng = self.canvas, self.rng
        counts = np.bincount(canvas.obj.ravel(), minlength=len(canvas.rows))
        paved = sum(counts[i] for i, row in enumerate(canvas.rows) if row[3] == C["paved"])
        wanted = (isf + 0.01) * canvas.obj.size - paved
        order = rng.permutation(len(self.lots))
        for index in order:
            identity, lot = self.lots[index]
            size = counts[identity]
            if size and 0.6 * size < wanted:
                wanted -= size
                self._pave(identity, lot)
            else:
                self._green(identity, lot)

    def _set(self, identity, material, v, b, cover, angle=0.0, period=0.0, stripe=0.0) -> None:
        instance = self.canvas.rows[identity][7]
        self.canvas.rows[identity] = [M[material], v, b, C[cover], 0, 0, 0, instance, angle, period, stripe]

    def _pave(self, identity, lot) -> None:
        rng, look = self.rng, self.look
        material = pick(rng, look["pavings"])
        self._set(
            identity, material, np.clip(look["age"] + rng.normal(0, 0.25), 0, 1), rng.uniform(0.85, 1.15), "paved"
        )
        if min(lot[2] - lot[0], lot[3] - lot[1]) > 13 and rng.random() < look["cars"]:
            self._car_park(identity, lot)

    def _car_park(self, identity, lot) -> None:
        """Rows of cars, only where the lot is still open ground."""
        rng, canvas = self.rng, self.canvas
        u0, v0, u1, v1 = lot
        vs, us = np.arange(v0 + 1.5, v1 - 5, 8.2), np.arange(u0 + 1.5, u1 - 2.5, 2.6)
        if not len(vs) or not len(us):
            return
        spots = np.stack(np.meshgrid(us, vs), -1).reshape(-1, 2)
        spots = spots[rng.random(len(spots)) < rng.uniform(0.2, 0.85)]
        rects = np.concatenate([spots, spots + np.array([1.9, 4.4])], 1)
        quads = self.warp(corners(rects))
        free = canvas.at(quads.mean(1)) == identity
        instance = int(canvas.rows[identity][7])
        paints = [
            canvas.add("metal", rng.uniform(0, 1), b, "paved", 1.4, instance=instance)
            for b in (0.15, 0.3, 0.7, 1.3, 1.6)
        ]
        paints += [canvas.add(m, 0.5, 0.9, "paved", 1.4, instance=instance) for m in ("tile", "bluemetal")]
        canvas.draw_many(quads[free], rng.choice(paints, int(free.sum())))

    def _green(self, identity, lot) -> None:
        rng, look = self.rng, self.look
        if rng.random() < look["bare"]:
            kind = "soil" if rng.random() < 0.6 else "gravel"
            self._set(identity, kind, np.clip(look["soil"] + rng.normal(0, 0.2), 0, 1), rng.uniform(0.85, 1.15), "soil")
            return
        stripe = rng.uniform(0.02, 0.06) if rng.random() < 0.3 else 0
        v = np.clip(look["green"] + rng.normal(0, 0.13), 0, 1)
        self._set(identity, "grass", v, rng.uniform(0.8, 1.2), "grass", self.warp.angle, rng.uniform(4, 8), stripe)

    def trees(self, density: float) -> None:
        """Trees in gardens and along streets; `density` 0..1 is the share of possible places."""
        canvas, rng, look = self.canvas, self.rng, self.look
        count = int(canvas.obj.size / 60 * density)
        spots = rng.uniform(0, 1, (count, 2)) * np.array(canvas.size)[::-1]
        spots = spots[np.isin(canvas.cover_at(spots), (C["grass"], C["soil"]))]
        if look["avenue"]:
            spots = np.concatenate([spots, self._avenues()])
        radius = np.clip(np.exp(rng.normal(np.log(look["crown"]), 0.35, len(spots))), 1.2, 8)
        canvas.trees.append(tree_rows(spots, radius, look, rng))

    def _avenues(self) -> np.ndarray:
        found, step = [np.zeros((0, 2))], self.rng.uniform(7, 14)
        for u0, v0, u1, v1 in self.street_rects:
            if self.rng.random() < 0.55:
                along = np.arange(u0, u1, step) if u1 - u0 > v1 - v0 else np.arange(v0, v1, step)
                for edge in (0.08, 0.92):
                    line = (along, np.full_like(along, v0 + edge * (v1 - v0)))
                    if u1 - u0 <= v1 - v0:
                        line = (np.full_like(along, u0 + edge * (u1 - u0)), along)
                    found.append(np.stack(line, 1))
        spots = self.warp(np.concatenate(found))
        return spots[self.rng.random(len(spots)) < 0.8]

    def street_cars(self, density: float) -> None:
        """Parked and driving cars along the streets."""
        found = [np.zeros((0, 4))]
        for u0, v0, u1, v1 in self.street_rects:
            long = u1 - u0 > v1 - v0
            along = np.arange(u0, u1, 6.5) if long else np.arange(v0, v1, 6.5)
            for edge in (0.22, 0.78):
                at = along[self.rng.random(len(along)) < density]
                c = v0 + edge * (v1 - v0) if long else u0 + edge * (u1 - u0)
                across = np.full_like(at, c)
                found.append(
                    np.stack([at, across, at + 4.4, across + 1.9] if long else [across, at, across + 1.9, at + 4.4], 1)
                )
        quads = self.warp(corners(np.concatenate(found)))
        quads = quads[self.canvas.cover_at(quads.mean(1)) == C["paved"]]
        paints = [self.canvas.add("metal", 0.5, b, "paved", 1.4, instance=0) for b in (0.15, 0.3, 0.7, 1.3, 1.6)]
        paints.append(self.canvas.add("tile", 0.5, 0.9, "paved", 1.4, instance=0))
        self.canvas.draw_many(quads, self.rng.choice(paints, len(quads)))

    def works(self) -> None:
        """Tanks, silos, conveyors and chimneys of heavy industry, in the open ground."""
        rng, canvas, size = self.rng, self.canvas, np.array(self.canvas.size)[::-1]
        look = (pick(rng, (("metal", 3), ("membrane", 3), ("rust", 2), ("concrete", 2))), rng.uniform(0.2, 0.9), 1.0)
        for _ in range(rng.integers(2, 6)):
            radius, height = rng.uniform(4, 15), rng.uniform(6, 16)
            start, heading = rng.uniform(30, size - 30), self.warp.angle + rng.choice([0, np.pi / 2])
            along = np.array([np.cos(heading), np.sin(heading)])
            for k in range(rng.integers(1, 6)):
                spot = start + along * k * radius * 2.5
                if canvas.cover_at(spot[None])[0] not in (-1, C["building"]):
                    tank(canvas, spot, radius, height, look)
        for _ in range(rng.integers(1, 5)):
            a, heading = rng.uniform(20, size - 20), self.warp.angle + rng.choice([0, np.pi / 2]) + rng.normal(0, 0.2)
            b = a + rng.uniform(40, 120) * np.array([np.cos(heading), np.sin(heading)])
            beam(
                canvas,
                a,
                b,
                rng.uniform(2.5, 5),
                rng.uniform(5, 14),
                ("rust" if rng.random() < 0.5 else "metal", 0.4, 0.9),
            )
