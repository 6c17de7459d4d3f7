"""`./run_all.sh --check`: do the committed figures follow from this checkout? Two checks, both able to fail.

*The arithmetic, exactly.* What follows from data is made again; what follows from predictions is computed again from
the committed ones (`figures/predictions`): notebooks run without their training cells. Every number must agree to 1e-6,
on any machine.

*The training, statistically.* On another processor a network ends elsewhere. Each number is compared by its own spread
over the seeds in `figures/spread.json`: it is *outside* where it lies more than 4 standard deviations from the
committed one, or differs at all though no seed changes it. A deviation of few seeds is itself uncertain, so chance puts
a share of the numbers outside (Student's t). The check fails where more are outside than that, where ten times that
share of one figure is, or where one number is so far that chance would do it in one check of a hundred.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from scipy.stats import t

from workflow.build import Build
from workflow.execute import TRAINING, NotebookError, execute
from workflow.numbers import CheckError, differences, distance, dotted, is_number, leaves, read_exactly, same, shown

SIGMAS = 4
ONE_FIGURE = 10  # times chance: the numbers of a figure lean on one training, so they leave together
RARE = 0.01  # of all checks may fail by chance because one number is far
FREE = None  # in the spread: a leaf that is a number in some seeds only


@dataclass
class Outcome:
    """What a check found."""

    lines: list[str] = field(default_factory=list)  # why it fails
    exact: int = 0  # numbers compared to 1e-6
    outside: dict[str, list[tuple[str, float]]] = field(default_factory=dict)  # by figure: see `outside`
    statistical: dict[str, int] = field(default_factory=dict)  # by figure: numbers compared with their spread
    free: int = 0  # not there for every seed, so without a spread
    absent: list[str] = field(default_factory=list)  # figures that need the real samples and were not made here


def committed_figures(folder: Path) -> dict[str, dict]:
    """The JSON of every figure in a folder, by its stem."""
    read = {path.stem: read_exactly(path) for path in sorted(folder.glob("*.json"))}
    return {stem: entry for stem, entry in read.items() if isinstance(entry, dict) and "figure" in entry}


def exact_disagreements(new: dict, old: dict) -> Iterator[str]:
    """Where the numbers of two entries of one figure differ by more than 1e-6, or in kind."""
    return differences(dict(leaves(new["numbers"])), dict(leaves(old["numbers"])))


def outside(new: dict, old: dict, spread: object) -> Iterator[tuple[str, float]]:
    """Where a number lies more than 4 standard deviations from the committed one, or differs though no seed changes it.

    Args:
        spread: standard deviations in the places of the numbers.

    Yields:
        A line that says where, and how many standard deviations; 0 where there is none.
    """
    here, there = dict(leaves(new["numbers"])), dict(leaves(old["numbers"]))
    for name in there | here:
        deviation, a, b = _at(spread, name), here.get(name, "nothing"), there.get(name, "nothing")
        apart = distance(a, b)
        if deviation is FREE or same(a, b) or (deviation and apart is not None and apart <= SIGMAS * deviation):
            continue
        times = float(apart) / float(deviation) if deviation and apart is not None else 0.0
        why = f"{times:.1f} standard deviations" if times else "no seed changes it"
        yield f"{dotted(name)}: {shown(a)}, committed {shown(b)} ({why})", times


def compared(old: dict, spread: object) -> int:
    """How many numbers of a figure have a spread, 0 or more."""
    return sum(_at(spread, name) is not FREE for name, _ in leaves(old["numbers"]))


def _at(spread: object, name: tuple) -> object:
    for step in name:
        if spread is FREE:
            return FREE
        try:
            spread = spread[step]
        except (KeyError, IndexError, TypeError):
            return 0
    return spread if spread is FREE or is_number(spread) else 0


def chance(seeds: int) -> float:
    """Share of numbers that two trainings put more than 4 standard deviations apart, those taken from `seeds` seeds."""
    return float(2 * t.sf(SIGMAS / 2**0.5, seeds - 1))


def too_far(numbers: int, seeds: int) -> float:
    """Standard deviations that one of so many numbers exceeds by chance in one check of a hundred."""
    return float(2**0.5 * t.isf(RARE / 2 / numbers, seeds - 1))


def beyond_chance(found: Outcome, seeds: int) -> Iterator[str]:
    """Why the numbers outside are not chance; nothing where they may be."""
    counts = {stem: len(lines) for stem, lines in found.outside.items()}
    numbers, share = sum(found.statistical.values()), chance(seeds)
    for stem, lines in found.outside.items():
        limit = too_far(numbers, seeds)
        yield from (f"{stem}: {line}, chance reaches {limit:.0f}" for line, times in lines if times > limit)
        if counts[stem] > ONE_FIGURE * share * found.statistical[stem]:
            yield f"{stem}: {counts[stem]} of {found.statistical[stem]} numbers are outside"
    if sum(counts.values()) > share * numbers:
        yield f"{sum(counts.values())} of {numbers} numbers of trainings are outside, chance puts {share:.1%} there"


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
    spread = read_exactly(committed / "spread.json")
    for stem, old in figures.items():
        kind, count = old.get("follows_from", "training"), len(dict(leaves(old["numbers"])))
        exact = {"data": build.figures, "predictions": replayed}.get(kind)
        if exact and (new := _made(stem, old, exact, outcome)):
            outcome.exact += count
            outcome.lines += [f"{stem}: {line}" for line in exact_disagreements(new, old)]
        if kind != "data" and (new := _made(stem, old, build.figures, outcome)):
            known = spread["spread"].get(stem, {})
            outcome.statistical[stem] = compared(old, known)
            outcome.free += count - outcome.statistical[stem]
            outcome.outside[stem] = list(outside(new, old, known))
    outcome.lines += beyond_chance(outcome, int(spread["seeds"]))
    produced = committed_figures(build.figures)
    new = [stem for stem in produced if stem.split("_")[0] in chosen and stem not in figures]
    outcome.lines += [f"{stem}: made here, not committed" for stem in new]
    return outcome


def _made(stem: str, old: dict, folder: Path, outcome: Outcome) -> dict | None:
    """A figure's entry as it was made here; None, which is noted, where it was not."""
    path = folder / f"{stem}.json"
    if path.exists():
        return read_exactly(path)
    if str(old["data"]).startswith("real"):  # not everybody has the real samples
        outcome.absent.append(stem)
    else:
        outcome.lines.append(f"{stem}: committed, but not made here")
    return None


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
