"""`./run_all.sh --spread N`: how far each number of the demo moves from seed to seed -> figures/spread.json.

Seeds 0 to N-1 run notebooks 02 to 08 on the same data and instance masks, each with splits and trainings of its own.
Stopped at any moment, it goes on from there.
"""

import json
import statistics
from pathlib import Path

from lczlib.runs import write_text
from workflow.build import Build
from workflow.check import FREE, committed_figures
from workflow.numbers import is_number, leaves
from workflow.run import bring_up_to_date

FIRST = "02"
NOT_OF_THE_SEED = "00,01,09,demo"  # seed 0 makes the data and masks with them; other seeds use these


def run_seeds(count: int, jobs: int, root: Path) -> list[Build]:
    """The demo's builds for seeds 0 (the committed run itself) to `count` - 1, brought up to date."""
    others = [Build.of("demo", seed=seed, without=NOT_OF_THE_SEED, root=root) for seed in range(1, count)]
    builds = [Build.of("demo", root=root), *others]
    for seed, build in enumerate(builds):
        print(f"seed {seed} of {count}", flush=True)
        bring_up_to_date(build, jobs)
    return builds


def spread_of(tables: list[dict]) -> object:
    """Standard deviations in the places of the numbers, 3 digits; null where a place is no number in every seed.

    Places that hold the same in every seed are left out of dicts and are 0 in lists.
    """
    if all(isinstance(table, dict) for table in tables):
        names = {name: None for table in tables for name in table}
        inner = {name: spread_of([table.get(name, ...) for table in tables]) for name in names}
        return {name: value for name, value in inner.items() if value not in (0, {})}
    if all(isinstance(table, list) for table in tables):
        longest = max(map(len, tables))
        inner = [spread_of([table[i] if i < len(table) else ... for table in tables]) for i in range(longest)]
        return inner if any(value not in (0, {}, []) for value in inner) else 0
    if all(map(is_number, tables)):
        return float(f"{statistics.stdev(map(float, tables)):.3g}")
    return 0 if all(type(table) is type(tables[0]) and table == tables[0] for table in tables) else FREE


def write_spread(builds: list[Build], target: Path) -> dict[str, int]:
    """Write the spread of every figure that all builds have; returns how many numbers vary, by figure.

    A figure is one line, so that a change of one figure is one changed line.
    """
    entries = [committed_figures(build.figures) for build in builds]
    stems = [stem for stem in entries[0] if stem >= FIRST and all(stem in of_seed for of_seed in entries)]
    spreads = {stem: spread_of([of_seed[stem]["numbers"] for of_seed in entries]) for stem in stems}
    lines = ",\n".join(f"{json.dumps(stem)}: {json.dumps(spread)}" for stem, spread in spreads.items())
    facts = json.dumps({"profile": "demo", "seeds": len(builds)})[1:-1]
    write_text(target, f'{{{facts}, "spread": {{\n{lines}\n}}}}\n')
    return {stem: sum(is_number(value) for _, value in leaves(spread)) for stem, spread in spreads.items()}
