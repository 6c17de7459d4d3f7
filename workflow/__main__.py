"""`./run_all.sh`: the options, and one line for what a user can mend."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lczlib.errors import InputError
from lczlib.options import at_least
from workflow.numbers import CheckError, compare

if TYPE_CHECKING:
    from workflow.build import Build


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./run_all.sh", description="Regenerate every figure from the notebooks.")
    parser.add_argument("--profile", default="demo", help="demo (default), smoke, paper, evidence: sizes and epochs")
    parser.add_argument("--data", metavar="DIR", default="", help="a folder of pairs instead of the synthetic world")
    parser.add_argument("--sam", choices=("nano", "mobile", "truth", "vit_b", "vit_l", "vit_h"), default="")
    parser.add_argument("--only", metavar="NN", default="", help="one notebook, after those it builds on")
    parser.add_argument("--seed", type=int, help="seed of splits and training")
    parser.add_argument("--seeds", metavar="N", type=at_least(1), help="the first N seeds, not the profile's number")
    parser.add_argument("--jobs", type=at_least(1), help="notebooks side by side; default 2, with a GPU 1")
    parser.add_argument("--check", action="store_true", help="compare the numbers with the committed figures/*.json")
    parser.add_argument("--compare", nargs=2, metavar="DIR", type=Path, help="numbers of two folders of figures")
    parser.add_argument("--publish", action="store_true", help="copy figures over the committed ones, write RESULTS.md")
    parser.add_argument("--spread", metavar="N", type=at_least(1), help="spread over N seeds -> figures/spread.json")
    parser.add_argument("--test", action="store_true", help="(first) run the tests instead")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Do what was asked for; returns 0, or 1 with one line saying what is at fault."""
    parser = _parser()
    options = parser.parse_args(argv)
    given = options.profile, options.data, options.sam, options.seed, options.seeds
    if (options.check or options.spread) and given != ("demo", "", "", None, None):
        parser.error("--check and --spread are of the demo profile; leave out --profile, --data, --sam, --seed(s)")
    try:
        if options.compare:
            return compare(*options.compare)
        return _run(options)
    except (CheckError, InputError, OSError) as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; call again to go on from here", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    from workflow.build import Build
    from workflow.publish import publish, published_folder
    from workflow.results import write_results
    from workflow.run import bring_up_to_date, default_jobs, print_table

    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # inherited by the notebooks: see lczlib.compute
    start = time.perf_counter()
    if options.spread:
        return _spread(options.spread, options.jobs or default_jobs())
    build = Build.of(options.profile, options.data, options.sam, options.seed, seeds=options.seeds)
    if options.publish:
        published_folder(build)  # before hours of work
    if options.publish or options.check:
        build.require_its_sources()
    rows = bring_up_to_date(build, options.jobs or default_jobs(), options.only)
    print_table(rows)
    print(f"all in {time.perf_counter() - start:.0f} s; report: {build.folder.relative_to(build.root)}/site/index.html")
    if options.publish:
        print(f"published to {publish(build, build.chosen(options.only)).relative_to(build.root)}")
        write_results(build.root)
    return _check(build, build.chosen(options.only)) if options.check else 0


def _spread(seeds: int, jobs: int) -> int:
    from workflow.build import ROOT
    from workflow.spread import run_seeds, write_spread

    if seeds < 8:
        raise CheckError(f"--spread {seeds}: a standard deviation needs 8 seeds at least")
    varying = write_spread(run_seeds(seeds, jobs, ROOT), ROOT / "figures" / "spread.json")
    print(f"figures/spread.json: {sum(varying.values())} numbers of {len(varying)} figures, over {seeds} seeds")
    return 0


def _check(build: Build, chosen: list[str]) -> int:
    from workflow.check import check

    outcome = check(build, chosen)
    for stem, lines in outcome.outside.items():
        farthest = sorted(lines, key=lambda line: -line[1])
        print(*(f"outside, {stem}: {line}" for line, _ in farthest[:3]), sep="\n", end="\n" * bool(lines))
        if len(lines) > 3:
            print(f"outside, {stem}: {len(lines) - 3} more of {outcome.statistical[stem]}")
    if outcome.absent:
        print(f"not checked, they need the real samples: {', '.join(sorted(set(outcome.absent)))}")
    numbers, apart = sum(outcome.statistical.values()), sum(map(len, outcome.outside.values()))
    compared = f"{outcome.exact} values compared to 1e-6; {numbers} with their spread over seeds, {apart} outside"
    print(f"check: {compared}" + f" ({outcome.free} more are not there for every seed)" * bool(outcome.free))
    print(*outcome.lines or ["none disagrees by more than chance"], sep="\n")
    return int(bool(outcome.lines))


if __name__ == "__main__":
    sys.exit(main())
