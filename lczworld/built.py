"""Built quarters: streets, buildings until the plan is fulfilled, then gardens, car parks, trees and cars between."""

import numpy as np

from .canvas import MARGIN, C, Canvas, Rng, Surface, Warp, corners, outline
from .layouts import KINDS, car_park, cut, lots, pick, picks, tree_rows, visible
from .roofs import flat, pitched, tank
from .spectra import M

_SHEETS = [M[name] for name in ("metal", "bluemetal", "rust")]


class Quarter:
    """One built scene in the making: plan first, then the buildings, then the ground between them."""

    def __init__(self, canvas: Canvas, form: dict, site: dict, rng: Rng):
        self.canvas, self.form, self.site, self.rng = canvas, form, site, rng
        self.warp: Warp = site["warp"]
        self.lots: list[tuple[int, tuple]] = []
        self.terraces = 0

    def streets(self) -> list:
        """Draw streets, pavements and lots; returns the blocks (u0, v0, u1, v1)."""
        canvas, site, rng = self.canvas, self.site, self.rng
        reach = 0.5 * np.hypot(*canvas.size) + 20
        blocks, streets = cut((-reach, -reach, reach, reach), site["block"], site["street"], site["jitter"], rng)
        blocks = [block for block, area in zip(blocks, visible(self.warp, blocks, canvas.size)) if area > 0]
        dirt = site["dirt"]
        material, cover = ("soil", "soil") if dirt else (site["paving"], "paved")
        canvas.add(Surface(material, site["age"], 1.0, cover))
        self.street_rects = streets
        network = canvas.new_instance()
        for rect in streets:
            own = rng.random() < 0.2
            v = np.clip(site["age"] + own * rng.choice([-0.4, 0.4]) + rng.normal(0, 0.04), 0, 1)
            b = 1 + own * rng.uniform(-0.15, 0.15)
            identity = canvas.add(Surface(material, v, b, cover, instance=None if own else network))
            canvas.draw(self.warp(outline(rect, 10)[0]), identity)
        for block in blocks:
            side = canvas.add(Surface("soil" if dirt else "concrete", rng.uniform(0.2, 0.7), 1, cover, instance=0))
            canvas.draw(self.warp(outline(block)[0]), side)
            parts = lots(block, site["lot"], site["walk"], rng)
            ids = [canvas.add(Surface("grass", 0.5, 1.0, "grass")) for _ in parts]
            if parts:
                canvas.draw_many(self.warp(outline(parts, 4)), np.array(ids))
            self.lots += list(zip(ids, parts))
        return blocks

    def buildings(self, blocks: list, target: float) -> None:
        """Place buildings block by block until they cover `target` of the canvas."""
        area = float(np.prod(self.canvas.size))
        cover = target * area / max(sum(visible(self.warp, blocks, self.canvas.size)), 1.0)
        for push in (1.05, 1.35, 1.8):
            if self._place(self._plan(blocks, np.clip(push * cover, 0.02, 0.96)), target):
                return

    def _plan(self, blocks: list, cover: float) -> list:
        """(kind, rectangle, terrace) of the buildings that cover a share `cover` of every block."""
        rng, form, site, plan = self.rng, self.form, self.site, []
        for block in blocks:
            kind = site["kind"] if rng.random() < 0.8 else pick(rng, form["kinds"])
            if rng.random() < site["open"] * (cover < 0.5):
                continue
            walk = site["walk"] + (rng.uniform(1, 4) if kind in ("rows", "towers", "halls", "industry") else 0.3)
            rect = (block[0] + walk, block[1] + walk, block[2] - walk, block[3] - walk)
            if min(rect[2] - rect[0], rect[3] - rect[1]) < 5:
                continue
            share = cover * (block[2] - block[0]) * (block[3] - block[1]) / ((rect[2] - rect[0]) * (rect[3] - rect[1]))
            joined = kind in ("rows", "perimeter") and rng.random() < site["joined"]
            self.terraces += joined
            terrace = self.terraces - 1 if joined else -1
            plan += [(kind, r, terrace) for r in KINDS[kind](rect, min(share, 0.95), form, rng)]
        return [item for item in plan if min(item[1][2] - item[1][0], item[1][3] - item[1][1]) > 1.6]

    def _built(self) -> float:
        """Share of the patch that is built so far."""
        inner = self.canvas.obj[MARGIN:-MARGIN, MARGIN:-MARGIN]
        return np.count_nonzero((self.canvas.covers() == C["building"]).take(inner)) / inner.size

    def _place(self, plan: list, target: float) -> bool:
        """Build in random order until the patch is built to the share `target`; True when it was reached."""
        if not plan:
            return False
        rects, terraces = np.array([r for _, r, _ in plan]), np.array([number for _, _, number in plan])
        quads = self.warp(corners(rects))
        centers, (w, h) = quads.mean(1), (rects[:, 2:] - rects[:, :2]).T
        inside = ((centers > -8) & (centers < np.array(self.canvas.size)[::-1] + 8)).all(1)
        own = np.where(terraces >= 0, terraces, self.terraces + np.arange(len(plan)))  # roof of each building
        roofs = {name: column[own] for name, column in self._roofs(self.terraces + len(plan)).items()}
        roofs |= {"narrow": np.minimum(w, h), "terrace": terraces >= 0}
        roofs["shack"] = np.array([kind == "shacks" for kind, _, _ in plan])
        order, done = self.rng.permutation(np.flatnonzero(inside)), 0
        for _ in range(4):
            missing = (target - self._built()) * self.canvas.obj.size
            if missing < 0.01 * self.canvas.obj.size or done >= len(order):
                break
            count = max(int(np.searchsorted(np.cumsum((w * h)[order[done:]]), missing)), 1)
            some = np.sort(order[done : done + count])
            self._build(quads[some], {name: column[some] for name, column in roofs.items()})
            done += count
        return self._built() > target - 0.02

    def _roofs(self, count: int) -> dict[str, np.ndarray]:
        """Height, material and form of `count` roofs, each of a building or a whole terrace."""
        rng, site = self.rng, self.site
        ridged, main = rng.random(count) < site["ridged"], rng.random(count) < 0.65
        kinds = [np.where(main, M[site[first]], [M[name] for name in picks(rng, site[others], count)])
                 for first, others in (("roof", "pitched"), ("flat_roof", "flat"))]  # fmt: skip
        self.canvas.instances += count
        return {
            "height": np.maximum(site["height"] * np.exp(rng.normal(0, site["height_spread"], count)), 2.2),
            "v": np.clip(site["roof_v"] + rng.normal(0, 0.25, count), 0, 1), "b": np.exp(rng.normal(0, 0.16, count)),
            "ridged": ridged, "material": np.where(ridged, *kinds), "pitch": rng.uniform(*site["pitch"], count),
            "hip": rng.random(count) < site["hip"], "instance": self.canvas.instances - np.arange(count),
        }  # fmt: skip

    def _build(self, quads: np.ndarray, roofs: dict[str, np.ndarray]) -> None:
        """Buildings on the quadrangles `quads` (n, 4, 2), with their `roofs`."""
        narrow, height = roofs["narrow"], roofs["height"]
        height = np.where((narrow < 5) & ~roofs["shack"], np.minimum(height, 3.0), height)
        rise = 0.5 * narrow * np.tan(np.radians(roofs["pitch"]))
        ribs = self.rng.uniform(0.03, 0.12, len(quads)) * np.isin(roofs["material"], _SHEETS)
        up = roofs["ridged"] & (narrow < 20)
        made = [{name: roofs[name][some] for name in ("material", "v", "b", "instance")} for some in (up, ~up)]
        eave, hip = np.maximum(height - 0.5 * rise, 2.0), roofs["hip"] & ~roofs["terrace"]
        pitched(self.canvas, quads[up], made[0], eave[up], rise[up], hip[up])
        flat(self.canvas, quads[~up], made[1], height[~up], ribs[~up], self.rng)

    def ground(self, isf: float) -> None:
        """Pave lots, in random order, until `isf` of the canvas is impervious; the rest stays green or bare."""
        canvas, rng, site = self.canvas, self.rng, self.site
        counts = np.bincount(canvas.obj.ravel(), minlength=len(canvas.rows))
        wanted = (isf + 0.01) * canvas.obj.size - counts[canvas.covers() == C["paved"]].sum()
        for index in rng.permutation(len(self.lots)):
            identity, lot = self.lots[index]
            size = counts[identity]
            if not size or 0.6 * size >= wanted:
                self._green(identity)
                continue
            wanted -= size
            v = np.clip(site["age"] + rng.normal(0, 0.25), 0, 1)
            canvas.set(identity, Surface(pick(rng, site["pavings"]), v, rng.uniform(0.85, 1.15), "paved"))
            if min(lot[2] - lot[0], lot[3] - lot[1]) > 13 and rng.random() < site["cars"]:
                car_park(canvas, self.warp, lot, identity, rng)

    def _green(self, identity: int) -> None:
        canvas, rng, site = self.canvas, self.rng, self.site
        if rng.random() < site["bare"]:
            v = np.clip(site["soil"] + rng.normal(0, 0.2), 0, 1)
            kind = "soil" if rng.random() < 0.6 else "gravel"
            canvas.set(identity, Surface(kind, v, rng.uniform(0.85, 1.15), "soil"))
            return
        rows = (self.warp.angle, rng.uniform(4, 8), rng.uniform(0.02, 0.06) if rng.random() < 0.3 else 0)
        v = np.clip(site["green"] + rng.normal(0, 0.13), 0, 1)
        canvas.set(identity, Surface("grass", v, rng.uniform(0.8, 1.2), "grass", stripes=rows))

    def trees(self, density: float) -> None:
        """Trees in gardens and along streets; `density` 0..1 is the share of possible places."""
        canvas, rng, site = self.canvas, self.rng, self.site
        count = int(canvas.obj.size / 60 * density)
        spots = rng.uniform(0, 1, (count, 2)) * np.array(canvas.size)[::-1]
        spots = spots[np.isin(canvas.cover_at(spots), (C["grass"], C["soil"]))]
        if site["avenue"]:
            spots = np.concatenate([spots, self._avenues()])
        radius = np.clip(np.exp(rng.normal(np.log(site["crown"]), 0.35, len(spots))), 1.2, 8)
        canvas.trees.append(tree_rows(spots, radius, site, rng))

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
                sides = [at, across, at + 4.4, across + 1.9] if long else [across, at, across + 1.9, at + 4.4]
                found.append(np.stack(sides, 1))
        quads = self.warp(corners(np.concatenate(found)))
        quads = quads[self.canvas.cover_at(quads.mean(1)) == C["paved"]]
        paints = self.canvas.add_cars(0)
        self.canvas.draw_many(quads, self.rng.choice(paints, len(quads)))

    def works(self) -> None:
        """Tanks and silos of heavy industry, in the open ground."""
        rng, canvas, size = self.rng, self.canvas, np.array(self.canvas.size)[::-1]
        finish = (pick(rng, (("metal", 3), ("membrane", 3), ("rust", 2), ("concrete", 2))), rng.uniform(0.2, 0.9), 1.0)
        for _ in range(rng.integers(2, 6)):
            radius, height = rng.uniform(4, 15), rng.uniform(6, 16)
            start, heading = rng.uniform(30, size - 30), self.warp.angle + rng.choice([0, np.pi / 2])
            along = np.array([np.cos(heading), np.sin(heading)])
            for k in range(rng.integers(1, 6)):
                spot = start + along * k * radius * 2.5
                if canvas.cover_at(spot[None])[0] not in (-1, C["building"]):
                    tank(canvas, spot, radius, height, finish)
