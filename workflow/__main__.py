"""`./run_all.sh`: the options, and one line for what a user can mend."""

from __future__ import annotations

import sys
from pathlib import Path

from workflow.numbers import CheckError, compare


def main(argv: list[str] | None = None) -> int:
    """Do what was asked for; returns 0, or 1 with one line saying what is at fault."""
    argv = sys.argv[1:] if argv is None else argv
    if "--compare" in argv:
        folders = argv[argv.index("--compare") + 1 :]
        if len(folders) != 2:
            print("usage: ./run_all.sh --compare DIR_A DIR_B", file=sys.stderr)
            return 2
        try:
            return compare(*map(Path, folders))
        except CheckError as fault:
            print(f"error: {fault}", file=sys.stderr)
            return 1
    from lczlib import reproduce

    return reproduce.main(argv)


if __name__ == "__main__":
    sys.exit(main())
