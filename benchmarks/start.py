"""How long a user waits for `--help`, processor seconds against an earlier commit: `python -m benchmarks.start`."""

from __future__ import annotations

from benchmarks.common import BEFORE, ROOT, checkout, row, run_in, save, take_turns


def main() -> None:
    """Measure, print and write."""
    rows = []
    with checkout() as before:
        for command in ("", "map "):
            words = ["-m", "lczlib", *command.split(), "--help"]
            seconds = take_turns(
                {"now": lambda w=words: run_in(ROOT, *w)[0], BEFORE: lambda w=words: run_in(before, *w)[0]}
            )
            rows.append(row(f"`python -m lczlib {command}--help`", seconds, "now", BEFORE, 6.7))  # 2 s to 0.3 s
    save(__file__, rows)


if __name__ == "__main__":
    main()
