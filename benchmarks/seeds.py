"""Do the claims of the demo hold for other seeds? Splits and trainings of several seeds, on the same synthetic pairs.

    python benchmarks/seeds.py [--seeds 0 1 2] [--profile demo]

Brings notebooks 02, 03, 04 and 06 up to date for every seed, as `./run_all.sh --seed N` would, and writes
`benchmarks/seeds.json`: accuracy of both streams and the fusion, the alpha chosen on validation, the paired gain of
the fusion over each stream for every seed and over all seeds together (bootstrap over polygons: a polygon tested
under several seeds is drawn as one), and the drop in a city left out (bootstrap over cities).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from lczlib import fusion, metrics, reproduce, runs, transfer
from lczlib.predictions import Predictions, join

NOTEBOOKS = ("02", "03", "04", "06")  # trainings, alpha, transfer; the masks of notebook 01 are the same for all seeds


def run_seed(profile: str, seed: int) -> reproduce.Plan:
    """Execute what is missing for one seed. Seed 0 of the profile as it stands is the committed run itself."""
    plan = reproduce.make_plan(profile, seed=seed or None)
    for notebook in reproduce.numbered_notebooks():
        if notebook.stem[:2] in NOTEBOOKS:
            row = reproduce.bring_up_to_date(notebook, plan)
            print(
                f"seed {seed}: {notebook.stem} {row['seconds']:.0f} s{'' if row['fresh'] else ' (up to date)'}",
                flush=True,
            )
    return plan


def tested(plan: reproduce.Plan, seed: int) -> dict[str, object]:
    """Test labels, polygons and what each stream and the fusion say, with the alpha chosen on validation."""
    folder = plan.build / "predictions"
    s2, ge = join(*(Predictions.load(folder / f"{stream}_polygon_pool_{seed}.npz") for stream in ("s2", "ge")))
    (vs, ts), (vg, tg) = ((p.select(split="validation"), p.select(split="test")) for p in (s2, ge))
    alpha = fusion.best_alpha(vs.p, vg.p, vs.labels)
    said = {"s2": ts.predicted, "ge": tg.predicted, "fused": fusion.predicted(fusion.fuse(ts.p, tg.p, alpha))}
    return {"labels": ts.labels, "polygons": ts.frame["polygon"].to_numpy(str), "said": said, "alpha": alpha}


def transferred(plan: reproduce.Plan, seed: int) -> dict[str, np.ndarray]:
    """What the fusion says of every pair with its city seen and left out: labels, city, "in" and "out" (zones)."""
    seen, left_out = (Predictions.load(plan.build / "predictions" / f"{n}_{seed}.npz") for n in ("in_city", "left_out"))
    left_out = transfer.look_up(left_out, seen.frame["id"])
    city = seen.frame["city"].to_numpy(str)
    return {"labels": seen.labels, "city": city, "in": seen.predicted, "out": left_out.predicted}


def drop_of(moves: list[dict[str, np.ndarray]], draws: int = 2000) -> list[float]:
    """Accuracy in the city minus accuracy with it left out, all seeds together; 95 % interval over cities."""
    labels, city, inside, outside = (np.concatenate([m[k] for m in moves]) for k in ("labels", "city", "in", "out"))
    return list(metrics.bootstrap_difference(labels, inside, outside, city, draws=draws))


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
    join_up = {key: np.concatenate([test[key] for test in tests]) for key in ("labels", "polygons")}
    said = {name: np.concatenate([test["said"][name] for test in tests]) for name in tests[0]["said"]}
    return facts_of(join_up | {"said": said})


def main() -> None:
    """Run, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--profile", default="demo")
    options = parser.parse_args()
    plans = {seed: run_seed(options.profile, seed) for seed in options.seeds}
    tests = {seed: tested(plan, seed) for seed, plan in plans.items()}
    drops = {s: runs.read_json(p.figures / "06_transfer.json")["numbers"]["fused"] for s, p in plans.items()}
    numbers = {
        f"seed_{s}": facts_of(t) | {"best_alpha": t["alpha"], "drop": drops[s]["drop"]} for s, t in tests.items()
    }
    moves = [transferred(plan, seed) for seed, plan in plans.items()]
    numbers["all"] = together(list(tests.values())) | {"drop": drop_of(moves)}
    target = Path(__file__).with_suffix(".json")
    runs.write_json(target, {"data": "synthetic", "profile": options.profile, "numbers": numbers})
    for name, row in numbers.items():
        print(name, {k: np.round(v, 3) for k, v in row["gain"].items()}, row["oa"])


if __name__ == "__main__":
    main()
