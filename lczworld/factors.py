"""Why accuracy drops in a new city: the same synthetic places seen with one habit of that city at a time."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from lczlib import metrics
from lczlib.compute import parallel
from lczworld.cities import HABITS, Shift, mix
from lczworld.scene import generate_scene

PLACE_SEED = 3_000_000  # far from the seeds of any data set, so that no place was trained on


def conditions() -> dict[str, tuple[str, ...]]:
    """Name of a condition -> habits taken from the other city."""
    return {"nothing": ()} | {habit: (habit,) for habit in HABITS} | {"everything": HABITS}


def switched(
    couples: Sequence[tuple[int, int]], per_zone: int, workers: int = 2, seed: int = 0, shift: Shift = 1.0
) -> dict[str, np.ndarray]:
    """Sentinel-2 patches of the same places under each condition.

    Args:
        couples: (base city, city whose habits are taken), numbers 0..7.
        per_zone: places of each zone and couple. workers: processes. seed: of the places.
        shift: of both cities, as for `generate_scene`.

    Returns:
        condition -> (C * 17 * per_zone, 32, 32, 10), couples outermost; "labels" (1..17) and "couple" (row of
        `couples`) of the rows.
    """
    numbers = range(len(couples)), range(1, 18), range(per_zone)
    places = [(c, z, PLACE_SEED + 1000 * seed + 3 * k) for c, z, k in product(*numbers)]
    tasks = [{"couple": couples[c], "label": z, "seed": s, "habits": habits, "shift": shift}
             for habits in conditions().values() for c, z, s in places]  # fmt: skip
    stack = np.array(list(parallel(_patch, tasks, workers))).reshape(len(conditions()), len(places), 32, 32, 10)
    facts = {"labels": np.array([z for _, z, _ in places]), "couple": np.array([c for c, _, _ in places])}
    return dict(zip(conditions(), stack, strict=True)) | facts


def _patch(couple: tuple[int, int], label: int, seed: int, habits: tuple[str, ...], shift: Shift) -> np.ndarray:
    return generate_scene(label, mix(*couple, habits, shift), seed).s2


def effects(p: Mapping[str, np.ndarray], labels: np.ndarray, draws: int = 1000, seed: int = 0) -> dict[str, dict]:
    """Change against "nothing" of accuracy and of the probability given to the true zone, paired by place.

    Args:
        p: condition -> probabilities (N, 17). labels: (N,) 1..17.

    Returns:
        condition -> {"oa", "change_oa", "change_p": Interval}.
    """
    places = np.arange(len(labels))
    hit = {c: (q.argmax(1) + 1 == labels).astype(float) for c, q in p.items()}
    sure = {c: q[places, labels - 1] for c, q in p.items()}
    values = {c: {"oa": hit[c], "change_oa": hit[c] - hit["nothing"], "change_p": sure[c] - sure["nothing"]} for c in p}
    return {c: {name: metrics.bootstrap_mean(each, places, draws, seed) for name, each in named.items()}
            for c, named in values.items()}  # fmt: skip
