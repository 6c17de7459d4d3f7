"""The command line: `python -m lczlib COMMAND`. Exit 0; 1 the input is at fault, in one line; 2 usage.

Parsers are built without torch, pandas or rasterio; a command imports what it needs when it runs.
"""

import argparse
import os
import sys
from pathlib import Path

from lczlib.city import cli
from lczlib.errors import InputError
from lczlib.options import at_least

SAMS = ("nano", "truth", "mobile", "vit_b", "vit_l", "vit_h")
FETCHED = ("lczc-ges2", "real-samples", "sam-mobile", "sam-vit-b", "sam-vit-l", "sam-vit-h")


def _check(args: argparse.Namespace) -> None:
    from lczlib.data import check, open_pairs
    from lczlib.zones import CODES

    faults = check(args.data)
    for fault in faults:
        print(fault)
    if faults:
        raise InputError(f"{args.data}: {len(faults)} fault(s), listed above; mend them and check again")
    pairs = open_pairs(args.data)
    balance = pairs.index["label"].value_counts(sort=False).sort_index()
    print("pairs of each zone:", ", ".join(f"{CODES[zone - 1]} {count}" for zone, count in balance.items()))
    print(f"{args.data}: {len(pairs)} pairs ({pairs.kind}), no fault")


def _masks(args: argparse.Namespace) -> None:
    from lczlib.data import open_pairs
    from lczlib.sam import make_masks

    ids = open_pairs(args.data).ids[: args.limit]
    store = make_masks(args.data, sam=args.sam, ids=ids, workers=args.workers, dask=args.dask)
    print(f"{store.path}: instance masks of {len(ids)} patches")


def _graphs(args: argparse.Namespace) -> None:
    from lczlib.data import open_pairs
    from lczlib.graphs import load_graphs

    graphs = load_graphs(open_pairs(args.data), args.sam, workers=args.workers)
    print(f"{args.data}: {len(graphs.ids)} graphs, {graphs.nodes.mean():.1f} nodes each on average")


def _train(args: argparse.Namespace) -> None:
    from lczlib.compute import prepare_cpu
    from lczlib.data import open_pairs, split_pairs
    from lczlib.graphs import load_graphs
    from lczlib.recipe import Recipe
    from lczlib.sam import PAPER
    from lczlib.training import train_stream

    prepare_cpu()
    recipe = Recipe.of(args.recipe, args.stream).changed(args.set)
    pairs = open_pairs(args.data)
    split = split_pairs(pairs, args.split, args.seed)
    one_zone = pairs.index["label"].nunique() < 2
    if one_zone or not len(split.validation):
        fault = "all pairs are of one zone" if one_zone else f"--split {args.split} leaves no pair to validate with"
        raise InputError(f"{args.data}: {fault}; draw more training areas, three of each zone or more")
    inputs = pairs.s2 if args.stream == "s2" else load_graphs(pairs, args.sam)
    model = "resnet3d11" if args.stream == "s2" else "gcn"
    result = train_stream(args.stream, model, inputs, pairs.index, split, recipe, args.seed, args.work)
    masks = {"sam": args.sam, "masks": "paper", "settings": vars(PAPER)} if args.stream == "ge" else {}
    run = result.run.publish(f"{args.stream}_{args.split}_{args.seed}", data=pairs.kind, **masks)
    print(f"best validation accuracy {result.history['val_accuracy'].max():.4f}; run: {run}")


def _fetch(args: argparse.Namespace) -> None:
    from lczlib.data import fetch

    if args.what == "lczc-ges2":
        print(fetch.fetch_lczc_ges2(args.to or Path("LCZC-GES2")))
    elif args.what == "real-samples":
        print(fetch.fetch_real_samples(args.to or Path("real-samples")))
    else:
        from lczlib.sam.models import fetch_checkpoint

        print(fetch_checkpoint(args.what.removeprefix("sam-").replace("-", "_"), args.to))


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--traceback", action="store_true", help="show the traceback of an input's fault too")
    about = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m lczlib", description=about, parents=[common])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run, text: str, data: bool = True) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, parents=[common])
        command.set_defaults(run=run)
        if data:
            command.add_argument("data", type=Path, metavar="DATA")
        return command

    add("check", _check, "Read every file of a data set and list each fault; exit 1 if there is any.")
    masks = add("masks", _masks, "Make instance masks of every RGB patch (resumable).")
    graphs = add("graphs", _graphs, "Make node features and graphs from the instance masks.")
    for command in (masks, graphs):
        command.add_argument("--sam", default="nano", choices=SAMS)
        command.add_argument("--workers", type=at_least(1), default=1, help="processes")
    masks.add_argument("--limit", type=at_least(1), help="only the first N pairs")
    masks.add_argument("--dask", metavar="ADDRESS", help="spread the images over an existing Dask scheduler")

    train = add("train", _train, "Train one stream on a data set (resumable); prints the folder of the run, for `map`.")
    train.add_argument("--stream", choices=("s2", "ge"), required=True, help="Sentinel-2 patches, or graphs of RGB")
    train.add_argument("--recipe", choices=("published", "demo"), default="published", help="demo: for a laptop")
    train.add_argument("--set", nargs="*", default=[], metavar="FIELD=VALUE", help="departures: epochs=3 width=8")
    train.add_argument("--split", choices=("sample_pool", "polygon_pool", "city"), default="polygon_pool")
    train.add_argument("--sam", default="nano", choices=SAMS, help="whose instance masks make the graphs of stream ge")
    train.add_argument("--seed", type=at_least(0), default=0)
    train.add_argument("--work", type=Path, default=Path("build/trained"), help="folder of runs (build/trained)")

    fetch = add("fetch", _fetch, "Download data or weights, checked by SHA-256 (resumable).", data=False)
    fetch.add_argument("what", choices=FETCHED)
    fetch.add_argument("--to", type=Path, metavar="DIR")

    scene = "Make a Sentinel-2 scene of a place: the cloud-free median of a STAC catalogue's images ([stac] extra)."
    cli.scene_options(add("scene", cli.scene, scene, data=False))
    cli.patches_options(add("patches", cli.patches, "Cut pairs from GeoTIFFs and labelled polygons.", data=False))
    cli.map_options(add("map", cli.map, "Map the Local Climate Zones of a scene, or compare two maps.", data=False))
    cli.assess_options(add("assess", cli.assess, "Accuracy of runs beside a random forest: a factsheet (HTML, PDF)."))
    cli.at_options(add("at", cli.at, "Zone, name and probability of a map at points.", data=False))
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status. A fault of the program itself shows its traceback."""
    args = _parser().parse_args(argv)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is loaded: see lczlib.compute
    try:
        args.run(args)
    except (InputError, OSError) as fault:
        if "traceback" in args:
            raise
        print(f"error: {' '.join(str(fault).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; call again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
