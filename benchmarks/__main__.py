"""All benchmarks, and the table of benchmarks/README.md: `python -m benchmarks [NAME ...]`.

Each takes minutes on one thread. `--table`: print the table from the JSON files that are there, run nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NAMES = ("start", "synthetic", "streams", "sam", "mapping", "reading")
HEAD = (
    "| work | ours | against | times faster (lowest to highest) | goal | seconds: ours, theirs |\n" + 6 * "|---" + "|"
)


def table() -> str:
    """The rows of all JSON files, in Markdown, with the machine of each file."""
    lines = [HEAD]
    for name in NAMES:
        path = HERE / f"{name}.json"
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rows": []}
        for row in found["rows"]:
            times, seconds = row["times_faster"], row["seconds"]
            spread = f"{times['lowest']:.3g} to {times['highest']:.3g}, " if "lowest" in times else ""
            lines.append(
                f"| {row['what']} | {row['ours']} | {row['against']} | **{times['median']:.3g}** "
                f"({spread}{row['turns']} turns) | {row['goal'] or '-'} | "
                f"{seconds[row['ours']]:.3g}, {seconds[row['against']]:.3g} |"
            )
    return "\n".join(lines)


def machines() -> str:
    """One line for each file: processor, threads, clock, limit."""
    lines = []
    for name in NAMES:
        if (path := HERE / f"{name}.json").exists():
            m = json.loads(path.read_text(encoding="utf-8"))["machine"]
            peak = ", ".join(f"{kind} {value:.0f}" for kind, value in m["gemm_gflops"].items()) or "not measured"
            note = f" ({m['note']})" if "note" in m else ""
            lines.append(
                f"- `{name}.json`: {m['processor']}{note}, {m['instructions']}, threads: {m['threads']}, {m['clock']}; "
                f"matrix products, GFLOP/s: {peak}"
            )
    return "\n".join(lines)


def plot() -> None:
    """growth.png: what a map and an epoch of the graph stream cost against their size."""
    from matplotlib import pyplot as plt

    maps, graphs = (json.loads((HERE / f"{name}.json").read_text()) for name in ("mapping", "streams"))
    panels = [
        ("map, km2", "processor seconds", {float(k): v["cpu_seconds"] for k, v in maps["growth_by_km2"].items()}),
        ("map, km2", "peak memory, MB", {float(k): v["peak_mb"] for k, v in maps["growth_by_km2"].items()}),
        ("pairs of 50 nodes", "s an epoch", {int(k): v for k, v in graphs["growth"]["pairs"].items()}),
        ("nodes, 320 pairs", "s an epoch", {int(k): v for k, v in graphs["growth"]["nodes"].items()}),
    ]
    figure, axes = plt.subplots(1, 4, figsize=(10, 2.4), layout="constrained")
    for ax, (x, y, values) in zip(axes, panels, strict=True):
        ax.plot(list(values), list(values.values()), "o-", clip_on=False)
        ax.set(xlabel=x, ylabel=y, xlim=(0, None), ylim=(0, 1.1 * max(values.values())))
    figure.savefig(HERE / "growth.png", dpi=120)


def main() -> None:
    """Run the benchmarks that are named, all by default, each in a process of its own; print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *NAMES], help="of benchmarks; all by default")
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--plot", action="store_true", help="draw growth.png")
    options = parser.parse_args()
    if options.plot:
        plot()
        return
    environment = {"OMP_NUM_THREADS": "1"} | os.environ
    for name in () if options.table else options.names or NAMES:
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=HERE.parent, env=environment, check=True)
    print(table(), machines(), sep="\n\n")


if __name__ == "__main__":
    main()
