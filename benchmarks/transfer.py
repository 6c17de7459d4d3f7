"""Does more training make the drop in a city left out larger? `python benchmarks/transfer.py [--profile demo]`

Notebook 06 leaves out every city in turn with short trainings. Here the same trainings are repeated with the recipes of
notebooks 02 and 03, which learn more, and the paired drop of both is written to `benchmarks/transfer.json`. Needs the
data and masks of the profile (`./run_all.sh --only 01`); the trainings are kept in its runs.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from lczlib import reproduce, runs, transfer
from lczlib.compute import prepare_cpu
from lczlib.data import open_pairs
from lczlib.graphs import build_graphs
from lczlib.recipe import Recipe
from lczlib.sam import MaskSettings, make_masks


def main() -> None:
    """Train, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="demo")
    options = parser.parse_args()
    prepare_cpu()
    plan = reproduce.make_plan(options.profile)
    given = {notebook.stem[:2]: plan.parameters(notebook) for notebook in reproduce.numbered_notebooks()}
    data, p6 = plan.build / "data", given["06"]
    pairs = open_pairs(data)
    settings = replace(MaskSettings(), points_per_side=p6["points_per_side"], crop_n_layers=p6["crop_n_layers"])
    graphs = build_graphs(pairs, make_masks(data, p6["sam"], settings, workers=p6["workers"]))
    sizes = {
        "notebook 06": (p6["short_epochs"], p6["short_width"], p6["short_ge_epochs"]),
        "notebooks 02 and 03": (given["02"]["s2_epochs"], given["02"]["s2_width"], given["03"]["ge_epochs"]),
    }
    numbers = {}
    for name, (epochs, width, ge_epochs) in sizes.items():
        recipes = {"s2": Recipe.of(p6["recipe"], "s2", epochs=epochs, width=width)}
        recipes["ge"] = Recipe.of(p6["recipe"], "ge", epochs=ge_epochs)
        inputs = {"s2": ("resnet3d11", pairs.s2), "ge": ("gcn", graphs)}
        out = {
            s: transfer.leave_one_city_out(s, *inputs[s], pairs.index, recipes[s], 0, plan.build, p6["workers"])
            for s in inputs
        }
        alphas = {c: transfer.validation_alpha(out["s2"][c], out["ge"][c]) for c in out["s2"]}
        numbers[name] = {}
        for stream, said in transfer.tested(out["s2"], out["ge"], alphas).items():
            d = transfer.drop(transfer.in_city(said), transfer.held_out(said), "city", draws=2000)
            numbers[name][stream] = {"in_city": list(d["in"]), "left_out": list(d["out"]), "drop": list(d["drop"])}
        print(name, {s: [round(v, 3) for v in row["drop"]] for s, row in numbers[name].items()}, flush=True)
    entry = {"data": pairs.kind, "profile": options.profile, "pairs": len(pairs), "numbers": numbers}
    runs.write_json(Path(__file__).with_suffix(".json"), entry)


if __name__ == "__main__":
    main()
