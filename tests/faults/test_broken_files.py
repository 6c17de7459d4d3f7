"""Broken and hostile files are read or refused in one line that names them: nothing is executed, nothing hangs.

A sample runs with the other tests; `LCZ_FAULTS=600 pytest -s tests/faults/test_broken_files.py` tries 600 of them
and prints a table.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

COUNT = int(os.environ.get("LCZ_FAULTS", "36"))
LONGEST, LARGEST = 60.0, 1000.0  # seconds (a hang, on whatever machine), megabytes


def _try(folder: Path, first: int, count: int) -> list[dict]:
    """What came of the cases, tried by another process."""
    command = [sys.executable, str(Path(__file__).with_name("broken_files.py")), str(folder), str(first), str(count)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60 + count * LONGEST)
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    assert ran.returncode == 0, f"the process ended at case {first + len(found)}: {ran.stderr[-1000:]}"
    return found


def test_broken_files_are_read_or_refused_in_one_line(tmp_path):
    found = [case for first in range(0, COUNT, 100) for case in _try(tmp_path, first, min(100, COUNT - first))]
    assert len(found) == COUNT
    table = Counter((case["kind"], case["outcome"]) for case in found)
    for kind in sorted({case["kind"] for case in found}):
        print(f"{kind:45} read {table[kind, 'read']:3}  refused {table[kind, 'refused']:3}")
    slowest, largest = (max(found, key=lambda case: case[of]) for of in ("seconds", "megabytes"))
    print(f"longest {slowest['seconds']:.1f} s, largest {largest['megabytes']:.0f} MB more")
    assert not [case for case in found if case["executed"]]
    assert not [case for case in found if case["outcome"] == "traceback"]
    assert not [case for case in found if case["outcome"] == "refused" and not case["names the file"]]
    assert slowest["seconds"] < LONGEST, slowest
    assert largest["megabytes"] < LARGEST, largest
