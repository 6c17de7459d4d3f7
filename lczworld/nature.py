"""Land cover without a town: woods, parkland, scrub, fields, rock and paved areas, bare ground, water."""

import numpy as np

from .canvas import MARGIN, C, Canvas, Rng, Surface, noise, outline
from .layouts import car_park, cut, pick, tree_rows
from .roofs import line

SAME = 1  # the first instance of a canvas: the ground everything else lies on


def curve(size: tuple[int, int], rng: Rng, wiggle: float = 0.12) -> np.ndarray:
    """A wandering line (n, 2) right across the canvas, for paths and shores."""
    angle, t = rng.uniform(0, np.pi), np.linspace(-0.8, 0.8, 40)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    bend = wiggle * (np.sin(rng.uniform(2, 6) * t + rng.uniform(0, 6)) + 0.4 * np.sin(rng.uniform(8, 16) * t))
    offset = rng.uniform(-0.3, 0.3)
    return (0.5 + t[:, None] * along + (bend + offset)[:, None] * across) * np.array(size)[::-1]


def path(canvas: Canvas, rng: Rng, material: str, cover: str, width: int) -> None:
    """A winding path or track."""
    line(canvas, curve(canvas.size, rng), canvas.add(Surface(material, rng.uniform(0.3, 0.9), 1.0, cover)), width)


def patches(canvas: Canvas, field: np.ndarray, share: float, surface: Surface) -> None:
    """An object where smooth noise `field` is highest, over `share` of the canvas."""
    if share > 0:
        limit = np.quantile(field[::4, ::4], 1 - min(share, 1))
        canvas.obj[field > limit] = canvas.add(surface)


def shades(canvas: Canvas, scales: tuple, share: tuple, of: Surface, v: tuple, b: tuple, rng: Rng) -> None:
    """Lighter and darker patches of a surface, of each of `scales` m; they belong to the instance around them, SAME.

    Args:
        share, b: ranges of their area and brightness. v: mean and spread of their state.
    """
    for scale in scales:
        field, area = noise(canvas.size, scale, rng), rng.uniform(*share)
        state = np.clip(v[0] + rng.normal(0, v[1]), 0, 1)
        patches(canvas, field, area, Surface(of.material, state, rng.uniform(*b), of.cover, instance=SAME))


def ground(canvas: Canvas, site: dict, rng: Rng, bare: float = 0.0) -> None:
    """Meadow with lusher and drier patches, `bare` share of it open soil."""
    v = np.clip(site["green"] + rng.normal(0, 0.08), 0, 1)
    canvas.add(Surface("grass", v, 1.0, "grass", 0.25))
    for scale in (60, 30):
        dv = rng.normal(0, 0.22)
        field, share = noise(canvas.size, scale, rng), rng.uniform(0.1, 0.4)
        shade = Surface("grass", np.clip(v + dv, 0, 1), rng.uniform(0.85, 1.15), "grass", 0.25, instance=SAME)
        patches(canvas, field, share, shade)
    field = noise(canvas.size, 22, rng)
    patches(canvas, field, bare, Surface("soil", site["soil"], rng.uniform(0.85, 1.1), "soil"))


def wood(canvas: Canvas, form: dict, site: dict, rng: Rng) -> None:
    """Closed to open woodland in stands of different mix and age."""
    ground(canvas, site, rng, rng.uniform(0, 0.2))
    if rng.random() < 0.5:
        path(canvas, rng, "soil", "soil", int(rng.integers(3, 7)))
    pitch = site["crown"] * rng.uniform(1.15, 1.45)
    spots = lattice(canvas.size, pitch, 0.45, rng)
    stand, gap = noise(canvas.size, 70, rng), noise(canvas.size, 26, rng)
    at = np.clip(spots.astype(int), 0, np.array(canvas.size)[::-1] - 1)
    dense = gap[at[:, 1], at[:, 0]] > np.quantile(gap, 1 - site["dense"])
    spots, kind = spots[dense], stand[at[:, 1], at[:, 0]][dense]
    radius = np.clip(np.exp(rng.normal(np.log(site["crown"]), 0.22, len(spots))) * (1 + 0.12 * kind), 1.5, 7.5)
    trees = tree_rows(spots, radius, site, rng)
    conifer = kind > np.quantile(stand, 1 - site["conifer"])
    trees[:, 5] = np.where(rng.random(len(spots)) < 0.85, conifer, trees[:, 5])
    trees[:, 4] = np.clip(trees[:, 4] + 0.10 * kind, 0, 1)
    canvas.trees.append(trees)


def lattice(size: tuple[int, int], pitch: float, jitter: float, rng: Rng) -> np.ndarray:
    """Points (n, 2) on a jittered triangular lattice of spacing `pitch` m."""
    y, x = np.mgrid[-1 : size[0] / (0.87 * pitch) + 1, -1 : size[1] / pitch + 1]
    points = np.stack([(x + 0.5 * (y % 2)) * pitch, y * 0.87 * pitch], -1).reshape(-1, 2)
    return points + rng.normal(0, jitter * pitch / 2, points.shape)


def parkland(canvas: Canvas, form: dict, site: dict, rng: Rng) -> None:
    """Scattered trees: parks, orchards, savanna."""
    ground(canvas, site, rng, rng.uniform(0, 0.25))
    for _ in range(rng.integers(0, 3)):
        path(canvas, rng, pick(rng, (("gravel", 2), ("soil", 2), ("asphalt", 1))), "soil", int(rng.integers(2, 5)))
    if rng.random() < 0.2:
        pond = Surface("water", site["turbid"], 1.0, "water")
        patches(canvas, noise(canvas.size, 90, rng), rng.uniform(0.02, 0.08), pond)
    if rng.random() < 0.3:
        spots = lattice(canvas.size, site["crown"] * rng.uniform(2.2, 3.6), 0.08, rng)
        spots = spots[rng.random(len(spots)) < 0.92]
    else:
        cluster = noise(canvas.size, 35, rng)
        spots = rng.uniform(0, 1, (2600, 2)) * np.array(canvas.size)[::-1]
        weight = cluster[spots[:, 1].astype(int), spots[:, 0].astype(int)] + rng.normal(0, 1.2, len(spots))
        count = site["dense"] * canvas.obj.size / (3.3 * site["crown"] ** 2)
        spots = spots[np.argsort(-weight)[: int(count)]]
    spots = spots[canvas.cover_at(spots) != C["water"]]
    radius = np.clip(np.exp(rng.normal(np.log(site["crown"]), 0.3, len(spots))), 1.3, 7)
    canvas.trees.append(tree_rows(spots, radius, site, rng))


def scrub(canvas: Canvas, form: dict, site: dict, rng: Rng) -> None:
    """Bushes in clumps on grass or soil."""
    ground(canvas, site, rng, rng.uniform(0.05, 0.6))
    if rng.random() < 0.4:
        path(canvas, rng, "soil", "soil", int(rng.integers(2, 5)))
    field = noise(canvas.size, rng.uniform(3, 7), rng) + 0.9 * noise(canvas.size, rng.uniform(25, 60), rng)
    limit = np.quantile(field[::3, ::3], 1 - site["dense"])
    bush = field > limit
    levels = [canvas.add(Surface("shrub", np.clip(site["leaf"] + dv, 0, 1), b, "bush", h)) for dv, b, h in
              ((-0.12, 0.95, 0.8), (0.0, 1.0, 1.4), (0.1, 1.05, 1.9))]  # fmt: skip
    step = np.clip((field - limit) * 2.2, 0, 2).astype(int)
    canvas.obj[bush] = np.array(levels)[step[bush]]
    count = rng.integers(0, 25)
    spots = rng.uniform(0, 1, (count, 2)) * np.array(canvas.size)[::-1]
    canvas.trees.append(tree_rows(spots, rng.uniform(1.2, 3, count), site, rng))


def fields(canvas: Canvas, form: dict, site: dict, rng: Rng) -> None:
    """Parcels: crops in rows, meadows, stubble and ploughed land after the shares in `form["parcels"]`.

    Parcels are often long, and in most places laid out side by side in one go.
    """
    reach = 0.5 * np.hypot(*canvas.size) + 20
    gap = rng.choice([0.0, 1.5, 4.0])
    parcel = site["block"] * rng.permutation([1.0, np.exp(rng.uniform(0, 1.2))])
    jitter = 0.15 if rng.random() < 0.6 else site["jitter"]
    parcels, tracks = cut((-reach, -reach, reach, reach), parcel, gap, jitter, rng)
    canvas.add(Surface("grass", np.clip(site["green"] - 0.15, 0, 1), 0.9, "grass", 0.3, instance=0))
    for rect in parcels:
        kind = pick(rng, form["parcels"]) if rng.random() < 0.65 else site["parcel"]
        canvas.draw(site["warp"](outline(rect, 8)[0]), _parcel(canvas, kind, site, rng))
    for rect in tracks:
        if gap > 3 and rng.random() < 0.6:
            identity = canvas.add(Surface("soil", rng.uniform(0.4, 0.9), 1.1, "soil"))
            canvas.draw(site["warp"](outline(rect, 8)[0]), identity)
    if not tracks or rng.random() > site["hedge"]:
        return
    hedges = []
    for u0, v0, u1, v1 in tracks:
        if rng.random() < 0.35:
            t = np.arange(0, max(u1 - u0, v1 - v0), rng.uniform(4, 9))[:, None]
            along = np.array([1.0, 0.0]) if u1 - u0 > v1 - v0 else np.array([0.0, 1.0])
            hedges.append(np.array([u0, v0]) + t * along)
    if hedges:
        spots = site["warp"](np.concatenate(hedges))
        canvas.trees.append(tree_rows(spots, np.clip(rng.normal(2.2, 0.7, len(spots)), 1, 4.5), site, rng))


def _parcel(canvas: Canvas, kind: str, site: dict, rng: Rng) -> int:
    angle = site["warp"].angle + rng.choice([0, np.pi / 2])
    b, shade = rng.uniform(0.85, 1.15), np.exp(rng.normal(-0.1, 0.18))  # of tall, dense or sparse plants on themselves
    v = np.clip(site["green"] + rng.normal(0, 0.3), 0, 1)
    dry = np.clip(site["soil"] - 0.1 + rng.normal(0, 0.28), 0, 1)
    rows = (angle, rng.uniform(2.5, 9), rng.uniform(0.02, 0.16))
    if kind in ("crop", "young"):
        v = v if kind == "crop" else rng.uniform(0, 1)
        return canvas.add(Surface(kind, v, b * shade, "crop", rng.uniform(0.2, 0.9), stripes=rows))
    if kind == "meadow":
        return canvas.add(Surface("grass", v, b * shade, "grass", 0.2, stripes=(*rows[:2], 0.5 * rows[2])))
    if kind == "stubble":
        return canvas.add(Surface("stubble", dry, b, "crop", 0.1, stripes=rows))
    if kind == "turf":
        return canvas.add(Surface("turf", v, b, "grass", 0.05, stripes=(angle, 9.0, 0.08)))
    if kind == "water":
        return canvas.add(Surface("water", site["turbid"], b, "water"))
    return canvas.add(Surface(kind, dry, b, {"sand": "sand", "gravel": "soil"}.get(kind, "soil"), 0.03, stripes=rows))


def bare(canvas: Canvas, form: dict, site: dict, rng: Rng) -> None:
    """Open soil or sand: ploughed parcels, a desert or a beach, earthworks."""
    if rng.random() < 0.5:
        fields(canvas, form, site, rng)
    else:
        material = pick(rng, (("soil", 3), ("sand", 3), ("gravel", 1)))
        cover = "sand" if material == "sand" else "soil"
        ground_of = Surface(material, site["soil"], 1.0, cover)
        canvas.add(ground_of)
        shades(canvas, (80, 35, 18), (0.1, 0.35), ground_of, (site["soil"], 0.25), (0.85, 1.15), rng)
        for _ in range(rng.integers(0, 4)):
            path(canvas, rng, "gravel" if rng.random() < 0.5 else material, cover, int(rng.integers(3, 8)))
    weeds = rng.uniform(0, 0.12) if rng.random() < 0.6 else 0
    patches(canvas, noise(canvas.size, 12, rng), weeds, Surface("grass", site["green"], 0.9, "grass", 0.2))
    if rng.random() < 0.3:
        patches(canvas, noise(canvas.size, 9, rng), 0.02, Surface("shrub", site["leaf"], 1.0, "bush", 1.0))


def hard(canvas: Canvas, form: dict, site: dict, rng: Rng) -> None:
    """Bare rock with fractures, or paved: aprons, car parks, quays."""
    if rng.random() < 0.4:
        return rock(canvas, site, rng)
    reach = 0.5 * np.hypot(*canvas.size) + 20
    parcels, _ = cut((-reach, -reach, reach, reach), site["block"], 0.0, site["jitter"], rng)
    canvas.add(Surface(site["paving"], site["age"], 1.0, "paved", instance=0))
    for rect in parcels:
        green = rng.random() < 0.025
        material = "grass" if green else (site["paving"] if rng.random() < 0.6 else pick(rng, site["pavings"]))
        v = site["green"] if green else np.clip(site["age"] + rng.normal(0, 0.25), 0, 1)
        joint = (site["warp"].angle, rng.uniform(6, 14), rng.uniform(0, 0.12))
        slab = Surface(material, v, rng.uniform(0.85, 1.15), "grass" if green else "paved", stripes=joint)
        identity = canvas.add(slab)
        canvas.draw(site["warp"](outline(rect, 6)[0]), identity)
        if not green and rng.random() < 0.5 * site["cars"]:
            car_park(canvas, site["warp"], rect, identity, rng)
    for _ in range(rng.integers(0, 4)):
        identity = canvas.add(Surface("concrete", 0.9, 1.4, "paved", instance=0))
        ends = np.array([[-reach, 0], [reach, 0]]) + rng.uniform(-150, 150)
        line(canvas, site["warp"](ends if rng.random() < 0.5 else ends[:, ::-1]), identity, int(rng.integers(1, 3)))


def rock(canvas: Canvas, site: dict, rng: Rng) -> None:
    """Bare rock: slabs between fractures, light and dark beds."""
    bed = Surface("rock", site["soil"], 1.0, "rock")
    canvas.add(bed)
    shades(canvas, (70, 30, 14), (0.15, 0.4), bed, (site["soil"], 0.25), (0.75, 1.2), rng)
    crack = np.abs(noise(canvas.size, 24, rng)) < 0.035
    canvas.obj[crack] = canvas.add(Surface("rock", 0.1, 0.6, "rock", instance=SAME))
    field, weeds = noise(canvas.size, 15, rng), Surface("grass", site["green"], 0.8, "grass", 0.15)
    patches(canvas, field, rng.uniform(0, 0.06), weeds)


def water(canvas: Canvas, form: dict, site: dict, rng: Rng) -> None:
    """Open water, often with land behind a wandering shore line: beach or bank, grass and trees."""
    open_water = Surface("water", site["turbid"], 1.0, "water")
    canvas.add(open_water)
    shades(canvas, (120, 60), (0.2, 0.5), open_water, (site["turbid"], 0.06), (0.95, 1.05), rng)
    if rng.random() >= 0.65:
        return
    h, w = canvas.size
    y, x = np.mgrid[:h, :w].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    field = ((x - w / 2) * np.cos(angle) + (y - h / 2) * np.sin(angle)) / 60 + 0.5 * noise(canvas.size, 55, rng)
    limit = np.quantile(field[MARGIN:-MARGIN, MARGIN:-MARGIN], 1 - rng.uniform(0.01, 0.11))
    width = rng.uniform(0.03, 0.2)
    shallow = Surface("water", np.clip(site["turbid"] + 0.15, 0, 1), 1.1, "water", instance=SAME)
    canvas.obj[field > limit - 0.12] = canvas.add(shallow)
    edge = pick(rng, (("sand", 3), ("soil", 3), ("gravel", 2), ("concrete", 1)))
    cover = {"sand": "sand", "concrete": "paved"}.get(edge, "soil")
    canvas.obj[field > limit] = canvas.add(Surface(edge, 0.5, 1.0, cover, 0.3))
    canvas.obj[field > limit + width] = canvas.add(Surface("grass", site["green"], 1.0, "grass", 0.3))
    spots = rng.uniform(0, 1, (120, 2)) * np.array([w, h])
    spots = spots[canvas.cover_at(spots) == C["grass"]]
    canvas.trees.append(tree_rows(spots, rng.uniform(1.5, 5, len(spots)), site, rng))
