"""RESULTS.md, figures/README.md, docs/demo_streams.md, whole, from the numbers files: python -m workflow.results

The ledger's rows stand in `ledger.yaml`; their numbers come from the JSON of the figures, of `figures/evidence` where
that has the figure, and their verdicts from the intervals.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError

from lczlib.runs import read_json, write_text
from workflow.build import ROOT, number

NOT_KNOWN, NOT_MADE = "not known here", "not in this run"
VERDICTS = {"above": "supported", "below": "contradicted", "around": "undecided", "within": "no difference"}
NARROW = 0.02  # an interval that holds 0 and reaches no further is "within": equal for every use (assumed)


@dataclass(frozen=True)
class Row:
    """One claim of the ledger: what the paper says, what is found here, and how surely."""

    claim: str
    short: str  # as README lists it
    published: str
    here: str
    verdict: str
    change: str
    notebook: str
    basis: str  # profile and seeds of the figures that the numbers come from


def read_figures(folder: Path, profile: str = "demo", evidence: bool = True) -> dict[str, dict]:
    """The JSON of every figure by its stem, that of `evidence/` where it has one; each says which `profile` made it."""
    found = {}
    for made_by, place in ((profile, folder), ("evidence", folder / "evidence"))[: 1 + evidence]:
        entries = [read_json(path) for path in sorted(place.glob("*.json"))]
        found |= {entry["figure"]: entry | {"profile": made_by} for entry in entries if "figure" in entry}
    return found


def environment() -> Environment:
    """Jinja2 with the filters of the ledger; a number that no file holds is an error, never an empty place."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, autoescape=lambda name: bool(name and name.endswith("html.j2")),
    )  # fmt: skip
    made.filters |= {one.__name__: one for one in (points, percent, cell, minus, over)}
    made.tests["match_number"] = lambda stem, number: stem.split("_")[0] == number
    return made


def points(interval: list[float], digits: int = 1) -> str:
    """A difference of shares with its interval, in points: "+2.7 [-0.4, +5.6] points"."""
    value, low, high = (f"{100 * part:+.{digits}f}" for part in interval)
    return f"{value} [{low}, {high}] points"


def percent(share: float | list[float], digits: int = 1) -> str:
    """A share, with its interval where it has one: "63.0 % [53.9, 72.6]"."""
    if isinstance(share, list):
        value, low, high = (f"{100 * part:.{digits}f}" for part in share)
        return f"{value} % [{low}, {high}]"
    return f"{100 * share:.{digits}f} %"


def minus(interval: list[float]) -> list[float]:
    """The difference the other way round: [value, low, high] of b - a from that of a - b."""
    value, low, high = interval
    return [-value, -high, -low]


def over(interval: list[float], level: float | list[float]) -> list[float]:
    """How far a value lies above a level, or above another interval: from low - its high to high - its low."""
    value, low, high = level if isinstance(level, list) else [level] * 3
    return [interval[0] - value, interval[1] - high, interval[2] - low]


def cell(text: str) -> str:
    """Text for one cell of a Markdown table."""
    return " ".join(str(text).replace("|", "\\|").split())


def verdict(intervals: list[list[float]], words: dict[str, str]) -> str:
    """What the intervals say together: `above` when all lie above 0, `below` when any lies below, `within` when all end
    within 2 points of 0, else `around`.
    """
    if any(not all(math.isfinite(part) for part in interval) for interval in intervals):
        return words["around"]
    if all(low > 0 for _, low, _ in intervals):
        return words["above"]
    if any(high < 0 for _, _, high in intervals):
        return words["below"]
    return words["within" if all(low > -NARROW and high < NARROW for _, low, high in intervals) else "around"]


def ledger(figures: dict[str, dict], published: dict) -> list[Row]:
    """The rows of `ledger.yaml`, filled from the figures and the published values."""
    made, numbers, filled = environment(), {stem: entry["numbers"] for stem, entry in figures.items()}, []
    for row in yaml.safe_load((Path(__file__).parent / "ledger.yaml").read_text(encoding="utf-8")):
        try:
            here = made.from_string(row["here"]).render(n=numbers)
            intervals = [made.compile_expression(text, undefined_to_none=False)(n=numbers) for text in row["intervals"]]
            found = verdict(intervals, VERDICTS | row.get("words", {}))
        except (UndefinedError, TypeError, KeyError):
            here, found = NOT_MADE, NOT_MADE
        made_by = "" if here == NOT_MADE else basis([figures[stem] for stem in row["figures"]])
        same = {name: row[name] for name in ("claim", "short", "change", "notebook")}
        claimed = published_text(row.get("published", ""), published)
        filled.append(Row(published=claimed, here=here, verdict=found, basis=made_by, **same))
    return filled


def published_text(template: str, published: dict) -> str:
    """A text with published values; "not known here" where one of them is null or no value is published."""

    def known(value: object) -> object:
        if value is None:
            raise UndefinedError("not published")
        return value

    made = environment()
    made.finalize = known
    try:
        return made.from_string(template).render(p=published) or NOT_KNOWN
    except (UndefinedError, TypeError):
        return NOT_KNOWN


def basis(entries: list[dict]) -> str:
    """Profile and number of seeds of some figures: "demo, 1 seed"."""
    found = {(entry["profile"], int(_seeds(entry))) for entry in entries}
    return "; ".join(f"{profile}, {count} seed{'s' * (count > 1)}" for profile, count in sorted(found))


def _seeds(entry: dict) -> int:
    """`n_seeds` among the parameters of a figure, at any depth, or those its stop rule came to; else 1."""
    numbers = entry["numbers"]
    if "stop_rule" in numbers:
        return numbers["stop_rule"]["seeds"]
    waiting = [entry.get("parameters", {})]
    while waiting:
        some = waiting.pop()
        if isinstance(some.get("n_seeds"), int):
            return some["n_seeds"]
        waiting += [value for value in some.values() if isinstance(value, dict)]
    return 1


def write_results(root: Path = ROOT) -> list[Path]:
    """Write what is told from the committed figures; returns the files written."""
    folder, made = root / "figures", environment()
    figures, published = read_figures(folder), read_json(folder / "published.json")
    notebooks = {number(path.stem): path.stem for path in sorted((root / "notebooks").glob("*.ipynb"))}
    shown = {"rows": ledger(figures, published), "figures": figures, "published": published, "notebooks": notebooks}
    shown |= {"has": lambda name: (folder / name).exists(), "known": published_values(published)}
    shown |= {"shipped": read_figures(folder, evidence=False)}
    targets = {"RESULTS.md.j2": root / "RESULTS.md", "figures.md.j2": folder / "README.md"}
    targets["demo_streams.md.j2"] = root / "docs" / "demo_streams.md"
    for template, target in targets.items():
        write_text(target, made.get_template(template).render(shown))
    return list(targets.values())


def title(notebook: Path) -> str:
    """The H1 of a notebook."""
    first = "".join(read_json(notebook)["cells"][0]["source"])
    return first.splitlines()[0].lstrip("# ")


def published_values(published: dict, name: str = "") -> list[dict]:
    """Every published value with its name and source; `entry` is its place in the file, `value` None where unknown."""
    if "source" not in published:
        nested = {key: value for key, value in published.items() if isinstance(value, dict)}
        return [one for key, value in nested.items() for one in published_values(value, f"{name}.{key}".lstrip("."))]
    value, about = published["value"], {"entry": name, "source": published["source"]}
    values = {f"{name}.{key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value}
    return [{"name": each, "value": one} | about for each, one in values.items()]


if __name__ == "__main__":
    for path in write_results():
        print(path.relative_to(ROOT))
