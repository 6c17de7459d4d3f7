"""The command line of the synthetic world: `python -m lczworld synth OUT`."""

import argparse
import os
import sys
from pathlib import Path

from lczlib.errors import InputError
from lczlib.options import at_least


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 the input is at fault, 2 usage."""
    parser = argparse.ArgumentParser(prog="python -m lczworld", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    text = "Make a synthetic data set in the published layout (resumable)."
    synth = commands.add_parser("synth", help=text, description=text)
    synth.add_argument("out", type=Path, metavar="OUT")
    synth.add_argument("--pairs", type=int, default=1088, help="number of pairs, spread evenly over zones and cities")
    synth.add_argument("--cities", type=int, default=8)
    synth.add_argument("--seed", type=at_least(0), default=0)
    synth.add_argument("--shift", type=float, default=1.0, help="how far the cities are apart: 0 (not at all) to 3")
    synth.add_argument("--workers", type=at_least(1), default=2, help="processes")
    args = parser.parse_args(argv)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is loaded: see lczlib.compute
    from lczworld import make_dataset

    options = {name: getattr(args, name) for name in ("pairs", "cities", "seed", "workers", "shift")}
    try:
        made = make_dataset(args.out, **options)
    except (InputError, OSError) as fault:
        print(f"error: {' '.join(str(fault).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; call again to go on", file=sys.stderr)
        return 130
    print(f"{made}: {args.pairs} synthetic pairs of {args.cities} cities")
    return 0


if __name__ == "__main__":
    sys.exit(main())
