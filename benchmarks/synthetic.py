"""How fast synthetic pairs are made: pairs per second and core, against the generator of an earlier commit.

    python benchmarks/synthetic.py [--against fa94773] [--turns 5] [--out benchmarks/synthetic.json]

Both generators draw the same 34 places (all zones, two cities) in turns, each in a process of its own with one thread;
processor seconds are compared, so that a busy machine disturbs little. The code of the earlier commit comes from git.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
PLACES = 34
DRAW = """
import time
try:
    from lczworld import generate_scene
except ImportError:
    from lczlib.synthetic import generate_scene
generate_scene(1)
start = time.process_time()
for label in range(1, 18):
    for city in (0, 4):
        generate_scene(label, city, 3 * label)
print(time.process_time() - start)
"""


def checkout(commit: str, folder: str) -> None:
    """The files of `commit` in `folder`."""
    tree = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True)
    subprocess.run(["tar", "-x", "-C", folder], input=tree.stdout, check=True)


def pairs_per_second(folder: str | Path) -> float:
    """Of the generator in `folder`, per processor second."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = os.environ | one | {"PYTHONPATH": str(folder)}
    done = subprocess.run([sys.executable, "-c", DRAW], cwd=folder, env=environment, check=True, capture_output=True)
    return PLACES / float(done.stdout)


def processor() -> str:
    """The processor's name, where the system tells it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", default="fa94773", help="commit to compare with")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as before:
        checkout(options.against, before)
        turns = [(pairs_per_second(ROOT), pairs_per_second(before)) for _ in range(options.turns)]
    ratios = [now / then for now, then in turns]
    result = {
        "what": "synthetic pairs per processor second, one thread",
        "processor": processor(),
        "against": options.against,
        "turns": options.turns,
        "pairs_per_second": {
            "now": median(now for now, _ in turns),
            options.against: median(then for _, then in turns),
        },
        "times_faster": {"median": median(ratios), "lowest": min(ratios), "highest": max(ratios)},
    }
    text = json.dumps(result, indent=1)
    print(text)
    options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
