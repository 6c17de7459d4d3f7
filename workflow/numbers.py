"""The numbers of figures, compared exactly: `./run_all.sh --compare DIR_A DIR_B`. Standard library only."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

LIMIT = Decimal("1e-6")
MISSING = object()


class CheckError(Exception):
    """What a user can mend; the text is one line."""


def read_exactly(path: Path) -> object:
    """A JSON file with every number as the decimal that is written there; NaN and infinities as their names.

    Raises:
        CheckError: the file is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal, parse_int=Decimal, parse_constant=str)
    except (ValueError, ArithmeticError, OSError) as fault:
        raise CheckError(f"{path}: not valid JSON ({fault}); make it again") from None


def leaves(value: object, name: tuple = ()) -> Iterator[tuple[tuple, object]]:
    """Every number, string, truth value and null in nested dicts and lists, with its path; an empty one is a leaf."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, (*name, key))
    elif isinstance(value, list) and value:
        for place, item in enumerate(value):
            yield from leaves(item, (*name, place))
    else:
        yield name, value


def numbers_of(path: Path) -> dict[tuple, object]:
    """Leaves of `numbers` in a figure's file; of the whole file where it has no such part."""
    content = read_exactly(path)
    whole = not (isinstance(content, dict) and "numbers" in content)
    return dict(leaves(content if whole else content["numbers"]))


def is_number(value: object) -> bool:
    """Whether a leaf is a finite number; True and False are none."""
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def distance(a: object, b: object) -> Decimal | None:
    """|a - b| of two numbers as they are written; None where one is no number."""
    return abs(_decimal(a) - _decimal(b)) if is_number(a) and is_number(b) else None


def _decimal(value: float | Decimal) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(repr(value))


def same(a: object, b: object) -> bool:
    """Whether two leaves agree: numbers to 1e-6, everything else in kind and value."""
    apart = distance(a, b)
    return type(a) is type(b) and a == b if apart is None else apart <= LIMIT


def differences(a: dict[tuple, object], b: dict[tuple, object]) -> Iterator[str]:
    """One line for each leaf of two files that differs."""
    for name in a | b:
        here, there = a.get(name, MISSING), b.get(name, MISSING)
        if name not in a or name not in b or not same(here, there):
            apart = distance(here, there)
            yield f"{dotted(name)}: {shown(here)} | {shown(there)}" + (f" (apart by {apart:.3g})" if apart else "")


def dotted(name: tuple) -> str:
    """The path of a leaf as text: ("oa", "s2", 0) is "oa.s2.0"."""
    return ".".join(map(str, name)) or "the whole"


def shown(value: object) -> str:
    """A leaf as a reader of JSON knows it."""
    if value is MISSING:
        return "missing"
    return str(value) if is_number(value) else json.dumps(value, ensure_ascii=False)


def files_of(folder: Path) -> dict[str, Path]:
    """The `*.json` in a folder and its subfolders, by their path in it.

    Raises:
        CheckError: no such folder, or none in it.
    """
    if not folder.is_dir():
        raise CheckError(f"{folder}: no such folder; give two folders of figures")
    every = sorted(path for path in folder.rglob("*.json") if path.is_file() and not path.name.startswith("."))
    found = {str(path.relative_to(folder)): path for path in every}
    if not found:
        raise CheckError(f"{folder}: no *.json in it; give two folders of figures")
    return found


def compare(first: Path, second: Path) -> int:
    """Print each number of the JSONs of two folders that differs by more than 1e-6; returns 1 if any does, else 0."""
    a, b = files_of(first), files_of(second)
    found = count = 0
    for file in sorted(a | b):
        if file not in a or file not in b:
            lines, numbers = [f"only in {first if file in a else second}"], {}
        else:
            numbers = numbers_of(a[file])
            lines = list(differences(numbers, numbers_of(b[file])))
        for line in lines:
            print(f"{file}: {line}")
        found, count = found + len(lines), count + len(numbers)
    print(f"{found} differ by more than 1e-6" if found else f"equal to 1e-6: {count} values in {len(a | b)} files")
    return int(found > 0)
