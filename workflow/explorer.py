"""Write the explorer page of a build: its test pairs with the predictions of notebooks 02 and 03.

python -m workflow.explorer --data build/demo/data --work build/demo --out build/demo/explorer.html
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lczlib.data import Pairs, open_pairs
from lczlib.figures.explorer import View, page
from lczlib.graphs import node_features
from lczlib.predictions import Predictions, join
from lczlib.runs import write_text
from lczlib.sam import MaskSettings, make_masks

MOST = 240  # pairs in the page, which stays under 6 MB


def views_of(pairs: Pairs, s2: Predictions, ge: Predictions, store) -> Iterator[View]:
    """The pairs of both predictions (same rows) with their pictures and instance masks (`store[id]`)."""
    rows = {int(sample): row for row, sample in enumerate(pairs.ids)}
    for n, (sample, label, city) in enumerate(zip(s2.frame["id"], s2.labels, s2.frame["city"], strict=True)):
        row, (masks, boxes) = rows[int(sample)], store[int(sample)]
        rgb, patch = np.asarray(pairs.rgb[row]), np.asarray(pairs.s2[row])
        nodes = node_features(rgb, masks, boxes)
        yield View(f"Pair {sample}, {city or 'no city'}", int(label), rgb, masks, nodes, ge.p[n], patch, s2.p[n])


def main(argv: list[str] | None = None) -> None:
    """Read the arguments and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder with predictions/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sam", default="nano")
    parser.add_argument("--masks", default="demo", help="name of the mask settings")
    parser.add_argument("--name", default="polygon_pool_0", help="split strategy and seed of the predictions")
    args = parser.parse_args(argv)
    pairs = open_pairs(args.data)
    loaded = (Predictions.load(args.work / "predictions" / f"{stream}_{args.name}.npz") for stream in ("s2", "ge"))
    test = [predictions.select(split="test") for predictions in join(*loaded)]
    s2, ge = (predictions.look_up(test[0].frame["id"][:MOST]) for predictions in test)
    settings = MaskSettings.named(args.masks, args.sam)
    store = make_masks(args.data, sam=args.sam, settings=settings, ids=s2.frame["id"])
    print(write_text(args.out, page(views_of(pairs, s2, ge, store), pairs.kind)))


if __name__ == "__main__":
    main()
