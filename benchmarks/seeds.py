"""Do the claims of the demo hold for other seeds? Splits and trainings of several seeds, on the same synthetic pairs.

    python benchmarks/seeds.py [--seeds 3]

Brings the demo up to date for every seed, as `./run_all.sh --seed N` would, and writes `benchmarks/seeds.json`:
accuracy of both streams and the fusion, the alpha chosen on validation, the paired gain of the fusion over each stream
for every seed and over all seeds together (bootstrap over polygons: a polygon tested under several seeds is drawn as
one), and the drop in a city left out (bootstrap over cities).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lczlib import fusion, metrics, runs  # noqa: E402
from lczlib.predictions import Predictions, join  # noqa: E402
from workflow.build import Build  # noqa: E402
from workflow.run import default_jobs  # noqa: E402
from workflow.spread import run_seeds  # noqa: E402

STREAMS = ("s2", "ge", "fused")


def tested(build: Build, seed: int) -> dict[str, object]:
    """Test labels, polygons and what each stream and the fusion say, with the alpha chosen on validation."""
    folder = build.folder / "predictions"
    s2, ge = join(*(Predictions.load(folder / f"{stream}_polygon_pool_{seed}.npz") for stream in ("s2", "ge")))
    (vs, ts), (vg, tg) = ((p.select(split="validation"), p.select(split="test")) for p in (s2, ge))
    alpha = fusion.best_alpha(vs.p, vg.p, vs.labels)
    said = {"s2": ts.predicted, "ge": tg.predicted, "fused": fusion.predicted(fusion.fuse(ts.p, tg.p, alpha))}
    return {"labels": ts.labels, "polygons": ts.groups, "said": said, "alpha": alpha}


def crossed(build: Build, seed: int) -> dict[str, object]:
    """What each stream and the fusion say of every pair, its city seen ("said") and left out ("said_out"): the models
    of notebook 06, each with its own alpha from validation.
    """
    folder = build.folder / "predictions"
    fused = Predictions.load(folder / f"in_city_fused_{seed}.npz")
    frame = fused.frame

    def load(name: str) -> dict[str, np.ndarray]:
        files = {stream: folder / f"{name}_{stream}_{seed}.npz" for stream in STREAMS}
        return {s: Predictions.load(path).look_up(frame["id"]).predicted for s, path in files.items()}

    facts = {"labels": frame["label"].to_numpy(), "said": load("in_city"), "said_out": load("left_out")}
    return facts | {"cities": frame["city"].to_numpy(str), "polygons": fused.groups}


def drop_of(test: dict, draws: int = 2000) -> list[float]:
    """Accuracy of the fusion in the city minus with it left out; 95 % interval over cities."""
    inside, outside = test["said"]["fused"], test["said_out"]["fused"]
    return list(metrics.bootstrap_difference(test["labels"], inside, outside, test["cities"], draws=draws))


def facts_of(test: dict, draws: int = 2000) -> dict[str, object]:
    """Accuracies and paired gains of the fusion, with 95 % intervals over polygons."""
    labels, said, polygons = test["labels"], test["said"], test["polygons"]
    return {
        "oa": {name: float((y == labels).mean()) for name, y in said.items()},
        "gain": {
            name: list(metrics.bootstrap_difference(labels, said["fused"], said[name], polygons, draws=draws))
            for name in ("s2", "ge")
        },
        "pairs": len(labels),
        "polygons": len(set(polygons)),
    }


def together(tests: list[dict]) -> dict[str, object]:
    """The tests of all seeds as one."""
    joined = {}
    for name, value in tests[0].items():
        if isinstance(value, dict):
            joined[name] = {stream: np.concatenate([test[name][stream] for test in tests]) for stream in value}
        elif isinstance(value, np.ndarray):
            joined[name] = np.concatenate([test[name] for test in tests])
    return joined


def main() -> None:
    """Run, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0")
    builds = run_seeds(parser.parse_args().seeds, default_jobs(), ROOT)
    tests = {seed: tested(build, seed) for seed, build in enumerate(builds)}
    every = {seed: crossed(build, seed) for seed, build in enumerate(builds)}
    numbers = {f"seed_{s}": facts_of(test) | {"best_alpha": test["alpha"]} for s, test in tests.items()}
    numbers["all"] = facts_of(together(list(tests.values())))
    for name, test in zip(numbers, [*every.values(), together(list(every.values()))], strict=True):
        numbers[name] |= {"every_pair": facts_of(test), "drop": drop_of(test)}
    target = Path(__file__).with_suffix(".json")
    runs.write_json(target, {"data": "synthetic", "profile": "demo", "numbers": numbers})
    for name, row in numbers.items():
        for part in (row, row["every_pair"]):
            print(name, {k: np.round(v, 3) for k, v in part["gain"].items()}, part["oa"])
        print(name, "drop", np.round(row["drop"], 3))


if __name__ == "__main__":
    main()
