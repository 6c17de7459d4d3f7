"""Do the claims of the demo hold for other seeds? Splits and trainings of several seeds, on the same synthetic pairs.

    python benchmarks/seeds.py [--seeds 0 1 2] [--profile demo]

Brings notebooks 02 to 08 up to date for every seed, as `./run_all.sh --seed N` would, and writes
`benchmarks/seeds.json`: what seeds do to every figure (`spread`: by it `./run_all.sh --check` judges numbers from
another kind of processor); accuracy of both streams and the fusion, the alpha chosen on validation, the paired gain of
the fusion over each stream for every seed and over all seeds together (bootstrap over polygons: a polygon tested
under several seeds is drawn as one), and the drop in a city left out (bootstrap over cities).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from lczlib import fusion, metrics, report, reproduce, runs
from lczlib.predictions import Predictions, join

STREAMS = ("s2", "ge", "fused")
FIRST = "02"  # the data and the masks of the notebooks before it are the same for all seeds


def run_seed(profile: str, seed: int) -> reproduce.Plan:
    """Execute what is missing for one seed. Seed 0 of the profile as it stands is the committed run itself."""
    plan = reproduce.make_plan(profile, seed=seed or None)
    notebooks = [path for path in reproduce.numbered_notebooks() if path.stem[:2] >= FIRST]
    for row in reproduce.bring_all_up_to_date(notebooks, plan, reproduce.jobs_here()):
        known = "" if row["fresh"] else " (up to date)"
        print(f"seed {seed}: {row['notebook']} {row['seconds']:.0f} s{known}", flush=True)
    return plan


def spread(plans: list[reproduce.Plan]) -> dict[str, dict[str, float]]:
    """Of every figure that all seeds have: `report.spread_over_seeds`."""
    stems = set.intersection(*({path.stem for path in plan.figures.glob("*.json")} for plan in plans))
    files = {stem: [runs.read_json(plan.figures / f"{stem}.json") for plan in plans] for stem in sorted(stems)}
    return {stem: report.spread_over_seeds(entries) for stem, entries in files.items() if stem >= FIRST}


def tested(plan: reproduce.Plan, seed: int) -> dict[str, object]:
    """Test labels, polygons and what each stream and the fusion say, with the alpha chosen on validation."""
    folder = plan.build / "predictions"
    s2, ge = join(*(Predictions.load(folder / f"{stream}_polygon_pool_{seed}.npz") for stream in ("s2", "ge")))
    (vs, ts), (vg, tg) = ((p.select(split="validation"), p.select(split="test")) for p in (s2, ge))
    alpha = fusion.best_alpha(vs.p, vg.p, vs.labels)
    said = {"s2": ts.predicted, "ge": tg.predicted, "fused": fusion.predicted(fusion.fuse(ts.p, tg.p, alpha))}
    return {"labels": ts.labels, "polygons": ts.groups, "said": said, "alpha": alpha}


def crossed(plan: reproduce.Plan, seed: int) -> dict[str, object]:
    """What each stream and the fusion say of every pair, its city seen ("said") and left out ("said_out"): the models
    of notebook 06, each with its own alpha from validation.
    """
    folder = plan.build / "predictions"
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
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--profile", default="demo")
    options = parser.parse_args()
    plans = {seed: run_seed(options.profile, seed) for seed in options.seeds}
    tests = {seed: tested(plan, seed) for seed, plan in plans.items()}
    every = {seed: crossed(plan, seed) for seed, plan in plans.items()}
    numbers = {f"seed_{s}": facts_of(test) | {"best_alpha": test["alpha"]} for s, test in tests.items()}
    numbers["all"] = facts_of(together(list(tests.values())))
    for name, test in zip(numbers, [*every.values(), together(list(every.values()))], strict=True):
        numbers[name] |= {"every_pair": facts_of(test), "drop": drop_of(test)}
    target = Path(__file__).with_suffix(".json")
    facts = {"data": "synthetic", "profile": options.profile}
    runs.write_json(target, facts | {"numbers": numbers, "spread": spread(list(plans.values()))})
    for name, row in numbers.items():
        for part in (row, row["every_pair"]):
            print(name, {k: np.round(v, 3) for k, v in part["gain"].items()}, part["oa"])
        print(name, "drop", np.round(row["drop"], 3))


if __name__ == "__main__":
    main()
