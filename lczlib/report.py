"""What is made from the numbers files: the report page, the README's numbers, the comparison with the committed."""

from __future__ import annotations

import html
import json
import math
import re
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from lczlib import runs

_NUMBER = re.compile(r"<!-- (?P<key>[^:>]+):(?P<format>[^ ]*) -->.*?<!-- -->", re.DOTALL)
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}
img{max-width:100%} table{border-collapse:collapse} td,th{padding:.2em .8em;border-bottom:1px solid #ddd}
pre{background:#f6f6f6;padding:.8em;overflow:auto;max-height:24em} .note{background:#fff3cd;padding:.5em 1em}"""


def write_report(build: Path, profile: str, rows: list[dict]) -> Path:
    """`build/<profile>/index.html`: every figure with its numbers, and links to the executed notebooks."""
    numbers = {path.stem: runs.read_json(path) for path in sorted((build / "figures").glob("*.json"))}
    kinds = sorted({str(entry["data"]) for entry in numbers.values()})
    table = "".join(map(_row, rows))
    body = "".join(_section(entry) for entry in numbers.values())
    page = f"""<!doctype html><meta charset="utf-8"><title>lczlib, {profile}</title><style>{_STYLE}</style>
<h1>DF4LCZ, profile {profile}</h1><p class="note">Origin of the data: <b>{html.escape(", ".join(kinds))}</b>.
Figures of synthetic data say so in the picture.</p>
<table><tr><th>notebook</th><th>seconds</th></tr>{table}</table>{body}"""
    with runs.atomic_path(build / "index.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    return build / "index.html"


def _row(row: dict) -> str:
    name = row["notebook"]
    if "skipped" in row:
        return f"<tr><td>{name}</td><td>skipped: {html.escape(row['skipped'])}</td></tr>"
    return f"<tr><td><a href='executed/{name}.html'>{name}</a></td><td>{row['seconds']:.1f}</td></tr>"


def _section(entry: dict) -> str:
    stem = entry["figure"]
    shown = html.escape(json.dumps(entry["numbers"], indent=1))
    return (
        f"<h2 id='{stem}'>{stem}</h2>"
        f"<p>{html.escape(str(entry['question']))} <i>Data: {html.escape(entry['data'])}</i>,"
        f" <a href='figures/{stem}.pdf'>PDF</a>, <a href='figures/{stem}.json'>JSON</a></p>"
        f"<img src='figures/{stem}.png' alt='{stem}'><details><summary>numbers</summary><pre>{shown}</pre></details>"
    )


def leaves(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Every number, string or None in nested dicts and lists, with its dotted name."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from leaves(item, f"{name}.{place}")
    else:
        yield name, value


def differences(new: dict, old: dict, spread: dict[str, float] | None = None) -> list[str]:
    """Where the numbers of one figure leave the tolerance that the old file states.

    Args:
        spread: standard deviation over seeds of the numbers below each first name (`spread_over_seeds`). Where the two
            were made on another `compute.instruction_set`, the same seed trains other networks, which may differ as
            those of other seeds do: there the tolerance is at least four of these.
    """
    other = spread or {} if new.get("instruction_set") != old.get("instruction_set") else {}
    before, after = dict(leaves(old["numbers"])), dict(leaves(new["numbers"]))
    found = []
    for name in sorted(before.keys() | after.keys()):
        bound = {"abs": 0.0, "rel": 0.0} | old.get("tolerance", {})
        bound["abs"] = max(bound["abs"], 4 * other.get(_first(name), 0.0))
        if name not in before or name not in after:
            found.append(f"{old['figure']}: {name} is only in the {'new' if name in after else 'committed'} numbers")
        elif not _agree(after[name], before[name], bound):
            found.append(f"{old['figure']}: {name} is {after[name]}, committed {before[name]} (tolerance {bound})")
    return found


def _first(name: str) -> str:
    return name.partition(".")[0]


def spread_over_seeds(entries: Sequence[dict]) -> dict[str, float]:
    """Standard deviation between runs of one figure (one a seed), of all numbers below each first name together; those
    that no seed changes do not count.
    """
    tables = [dict(leaves(entry["numbers"])) for entry in entries]
    variances = defaultdict(list)
    for name in set.intersection(*(set(table) for table in tables)):
        values = [table[name] for table in tables]
        if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
            variances[_first(name)].append(statistics.variance(values))
    changed = {name: [value for value in many if value > 0] for name, many in sorted(variances.items())}
    return {name: float(f"{statistics.fmean(many) ** 0.5:.3g}") for name, many in changed.items() if many}


def _agree(new: object, old: object, bound: dict[str, float]) -> bool:
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (new, old))
    return math.isclose(new, old, rel_tol=bound["rel"], abs_tol=bound["abs"]) if numbers else new == old


def compare_with_committed(produced: Path, committed: Path, notebooks: list[str]) -> list[str]:
    """Differences between the numbers just produced and the committed ones, for these notebooks ("04").

    A committed figure of real data may be missing from what was produced: not everybody has the real samples.
    What seeds make of each figure is read from `benchmarks/seeds.json` beside the committed figures.
    """
    seeds = committed.parent / "benchmarks" / "seeds.json"
    spread = runs.read_json(seeds).get("spread", {}) if seeds.exists() else {}
    found = []
    for stem, old in sorted(_committed_numbers(committed).items()):
        if stem[:2] not in notebooks:
            continue
        path = produced / f"{stem}.json"
        if path.exists():
            found += differences(runs.read_json(path), old, spread.get(stem))
        elif not is_real(old):
            found.append(f"{stem}: committed, but not produced")
    return found


def kernels_of(figures: Path) -> str:
    """On which kernels the figures of a folder were made, as they lie there."""
    return ", ".join(
        sorted({str(runs.read_json(path).get("instruction_set", "unknown")) for path in figures.glob("*.json")})
    )


def is_real(entry: dict) -> bool:
    """Whether a figure shows real imagery: its numbers are committed, its picture is not (no redistribution)."""
    return str(entry["data"]).startswith("real")


def _committed_numbers(folder: Path) -> dict[str, dict]:
    """The numbers files as the last commit has them; as they lie there outside a checkout."""
    try:
        listing = _git(folder, "ls-tree", "--name-only", "HEAD", "./").split()
        texts = {Path(name).stem: _git(folder, "show", f"HEAD:./{name}") for name in listing if name.endswith(".json")}
    except (OSError, subprocess.CalledProcessError):
        texts = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    return {stem: json.loads(text) for stem, text in texts.items()}


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def fill_readme(readme: Path, figures: Path) -> None:
    """Set every number of the README from the numbers files.

    A number stands between two comments, `<!-- 04_alpha.best.oa:.3f -->0.812<!-- -->`: stem, dotted name, format (`.1p`
    for a difference of shares in points). A stem with a folder (`benchmarks/seeds`) lies beside the README, others
    among the figures.

    Raises:
        ValueError: the README names a number that no file holds.
    """
    text = readme.read_text(encoding="utf-8")
    filled = _NUMBER.sub(lambda match: _filled(match, figures), text)
    if filled != text:
        with runs.atomic_path(readme) as temporary:
            temporary.write_text(filled, encoding="utf-8")


def _filled(match: re.Match, figures: Path) -> str:
    stem, _, name = match["key"].partition(".")
    path = (figures.parent if "/" in stem else figures) / f"{stem}.json"
    numbers = dict(leaves(runs.read_json(path)["numbers"])) if path.exists() else {}
    if name not in numbers:
        raise ValueError(f"README.md: no number {name!r} in {path.name}; correct the name or run the notebook")
    value, kind = numbers[name], match["format"]
    shown = format(100 * value, kind[:-1] + "f") if kind.endswith("p") else format(value, kind)
    return f"<!-- {match['key']}:{kind} -->{shown}<!-- -->"
