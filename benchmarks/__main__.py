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
MACHINES = {"Xeon, AMX": HERE, "EPYC, no AMX": HERE / "epyc"}  # where the JSON files of a processor lie


def files(folder: Path) -> dict[str, dict]:
    """What the JSON files of a folder hold, by the name of the benchmark."""
    found = {name: folder / f"{name}.json" for name in NAMES}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in found.items() if path.exists()}


def table() -> str:
    """Every row that any processor has, in Markdown, with what each measured and could reach at its peak."""
    rows: dict[tuple, dict[str, str]] = {}
    for machine, folder in MACHINES.items():
        for found in files(folder).values():
            for row in found["rows"]:
                cells = rows.setdefault((row["what"], row["ours"], row["against"]), {"goal": str(row["goal"] or "-")})
                cells[machine] = told(row, found["machine"]["gemm_gflops"])
    titles = ("work", "ours", "against", "goal", *(f"{machine}: times faster | at peak" for machine in MACHINES))
    lines = [f"| {' | '.join(titles)} |", "|---" * (4 + 2 * len(MACHINES)) + "|"]
    for key, cells in rows.items():
        lines.append(f"| {' | '.join([*key, cells['goal'], *(cells.get(m, '- | -') for m in MACHINES)])} |")
    return "\n".join(lines)


def told(row: dict, peak: dict[str, float]) -> str:
    """Two cells: how many times faster, and how many times it could be with our arithmetic at the processor's peak."""
    times = row["times_faster"]
    spread = f"{times['lowest']:.3g} to {times['highest']:.3g}, " if "lowest" in times else ""
    limit = f"{row['seconds'][row['against']] * peak[row['ours']] / row['gflop']:.2g}" if row.get("gflop") else "-"
    return f"**{times['median']:.3g}** ({spread}{row['turns']} turns) | {limit}"


def machines() -> str:
    """One line for each file: processor, threads, clock, limit."""
    lines = []
    for folder in MACHINES.values():
        for name, found in files(folder).items():
            m = found["machine"]
            peak = ", ".join(f"{kind} {value:.0f}" for kind, value in m["gemm_gflops"].items()) or "not measured"
            note = f" ({m['note']})" if "note" in m else ""
            lines.append(
                f"- `{(folder / name).relative_to(HERE)}.json`: {m['processor']}{note}, {m['instructions']}, "
                f"threads: {m['threads']}, {m['clock']}; matrix products, GFLOP/s: {peak}"
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
