"""`./run_all.sh --check`: do the committed figures follow from this checkout? Two checks, both able to fail.

*The arithmetic, exactly.* What follows from data is made again; what follows from predictions is computed again from
the committed ones (`figures/predictions`): notebooks run without their training cells. Every number must agree to 1e-6,
on any machine.

*The training, statistically.* A number that needs training must lie within 4 standard deviations of the committed one,
by its own spread over the seeds in `figures/spread.json`. A number that no seed changes must agree exactly.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from workflow.build import Build
from workflow.execute import TRAINING, NotebookError, execute
from workflow.numbers import CheckError, differences, distance, dotted, is_number, leaves, read_exactly, same, shown

SIGMAS = 4
FREE = None  # in the spread: a leaf that is a number in some seeds only


@dataclass
class Outcome:
    """What a check found."""

    lines: list[str] = field(default_factory=list)  # what disagrees
    exact: int = 0  # numbers compared to 1e-6
    statistical: int = 0
    free: int = 0  # not there for every seed, so without a spread
    absent: list[str] = field(default_factory=list)  # figures that need the real samples and were not made here


def committed_figures(folder: Path) -> dict[str, dict]:
    """The JSON of every figure in a folder, by its stem."""
    read = {path.stem: read_exactly(path) for path in sorted(folder.glob("*.json"))}
    return {stem: entry for stem, entry in read.items() if isinstance(entry, dict) and "figure" in entry}


def exact_disagreements(new: dict, old: dict) -> Iterator[str]:
    """Where the numbers of two entries of one figure differ by more than 1e-6, or in kind."""
    return differences(dict(leaves(new["numbers"])), dict(leaves(old["numbers"])))


def statistical_disagreements(new: dict, old: dict, spread: object) -> Iterator[str]:
    """Where a number leaves the committed one by more than 4 standard deviations of its spread over seeds.

    Args:
        spread: standard deviations in the places of the numbers; a place without one must agree to 1e-6.
    """
    here, there = dict(leaves(new["numbers"])), dict(leaves(old["numbers"]))
    for name in there | here:
        deviation, a, b = _at(spread, name), here.get(name, "nothing"), there.get(name, "nothing")
        apart = distance(a, b)
        if deviation is FREE or same(a, b) or (deviation and apart is not None and apart <= SIGMAS * deviation):
            continue
        bound = f"4 standard deviations are {SIGMAS * deviation:.3g}" if deviation else "no seed changes it"
        yield f"{dotted(name)}: {shown(a)}, committed {shown(b)} ({bound})"


def _at(spread: object, name: tuple) -> object:
    for step in name:
        if spread is FREE:
            return FREE
        try:
            spread = spread[step]
        except (KeyError, IndexError, TypeError):
            return 0
    return spread if spread is FREE or is_number(spread) else 0


def check(build: Build, chosen: list[str]) -> Outcome:
    """Compare a finished demo run with the committed figures of these notebooks (short names).

    Raises:
        CheckError: no committed figures, no committed predictions, or a notebook fails on them.
    """
    committed, outcome = build.root / "figures", Outcome()
    figures = {stem: entry for stem, entry in committed_figures(committed).items() if stem.split("_")[0] in chosen}
    if not figures:
        raise CheckError(f"{committed}: no committed figures of these notebooks")
    of_predictions = sorted({s.split("_")[0] for s, e in figures.items() if e.get("follows_from") == "predictions"})
    replayed = replay(build, of_predictions) if of_predictions else build.figures
    spreads = read_exactly(committed / "spread.json")["spread"] if (committed / "spread.json").exists() else {}
    for stem, old in figures.items():
        _check_figure(stem, old, build.figures, replayed, spreads.get(stem, {}), outcome)
    produced = committed_figures(build.figures)
    new = [stem for stem in produced if stem.split("_")[0] in chosen and stem not in figures]
    outcome.lines += [f"{stem}: made here, not committed" for stem in new]
    return outcome


def _check_figure(stem: str, old: dict, fresh: Path, replayed: Path, spread: object, outcome: Outcome) -> None:
    kind, count = old.get("follows_from", "training"), len(dict(leaves(old["numbers"])))
    exact = {"data": fresh, "predictions": replayed}.get(kind)
    for folder, is_exact in ((exact, True), (fresh if kind != "data" else None, False)):
        if folder is None:
            continue
        path = folder / f"{stem}.json"
        if not path.exists() and str(old["data"]).startswith("real"):  # not everybody has the real samples
            outcome.absent.append(stem)
        elif not path.exists():
            outcome.lines.append(f"{stem}: committed, but not made here")
        elif is_exact:
            outcome.exact += count
            outcome.lines += [f"{stem}: {line}" for line in exact_disagreements(read_exactly(path), old)]
        else:
            free = sum(_at(spread, name) is FREE for name, _ in leaves(old["numbers"]))
            outcome.statistical, outcome.free = outcome.statistical + count - free, outcome.free + free
            found = statistical_disagreements(read_exactly(path), old, spread)
            outcome.lines += [f"{stem}: {line}" for line in found]


def replay(build: Build, notebooks: list[str]) -> Path:
    """Run notebooks without their training cells on the committed predictions; returns the folder of the figures.

    Raises:
        CheckError: there are no committed predictions, or a notebook fails on them.
    """
    source, folder = build.root / "figures" / "predictions", build.folder / "from_predictions"
    if not list(source.glob("*.npz")):
        raise CheckError(f"{source}: no committed predictions; run ./run_all.sh --publish")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder / "predictions")
    for name in notebooks:
        home = Path("..") / folder.relative_to(build.root)
        parameters = build.parameters(name) | {"work_dir": str(home), "figures_dir": str(home / "figures")}
        try:
            execute(build.notebooks[name], folder / "executed" / f"{name}.json", parameters, leave_out=TRAINING)
        except NotebookError as fault:
            raise CheckError(f"from the committed predictions alone, {fault}") from None
    return folder / "figures"
