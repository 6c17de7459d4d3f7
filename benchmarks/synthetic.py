"""Synthetic pairs against the generator of an earlier commit: `python -m benchmarks.synthetic`.

Both generators draw the same 17 places, one of each zone, in turns, each in a process of its own with one thread.
"""

from __future__ import annotations

from benchmarks.common import BEFORE, ROOT, checkout, row, run_in, save, take_turns

DRAW = """
import time
try:
    from lczworld import generate_scene
except ImportError:
    from lczlib.synthetic import generate_scene
generate_scene(1)
start = time.process_time()
for label in range(1, 18):
    generate_scene(label, label % 8, 3 * label)
print((time.process_time() - start) / 17)
"""


def main() -> None:
    """Measure, print and write."""
    with checkout() as before:
        folders = {"now": ROOT, BEFORE: before}
        seconds = take_turns({name: lambda f=f: float(run_in(f, "-c", DRAW)[1]) for name, f in folders.items()})
    save(__file__, [row("a synthetic pair", seconds, "now", BEFORE, goal=3)])


if __name__ == "__main__":
    main()
