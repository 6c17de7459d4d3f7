"""Every figure from one command: execute the notebooks in order, collect figures and numbers, report, compare.

`run_all.sh` sets up Python and calls this. A notebook is executed again only when something it depends on has
changed: its own source, its parameters, the package, the data, or a notebook before it that it builds on.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from lczlib import runs

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
FIGURES = ROOT / "figures"  # the committed ones, of the demo profile
# What each notebook builds on; all make the synthetic data themselves when it is missing.
NEEDS = {"03": ("01",), "04": ("02", "03"), "05": ("02", "03"), "06": ("02", "03"), "07": ("01",), "08": ("02", "03")}
_SUFFIXES = {".png", ".pdf", ".json"}


class Failed(RuntimeError):
    """A notebook failed, or the numbers differ from the committed ones; the text says which and where."""


@dataclass(frozen=True)
class Plan:
    """What one call is to do: profile, its sizes, where things go, and what was asked for on the command line."""

    profile: str
    sizes: dict[str, dict]
    build: Path
    given: dict[str, object]  # data_dir, sam, seed where the command line names them

    @property
    def figures(self) -> Path:
        return self.build / "figures"

    @property
    def is_committed_one(self) -> bool:
        """Whether this is the run whose figures are committed: the demo profile as it stands."""
        return self.profile == "demo" and not self.given

    def parameters(self, notebook: Path) -> dict[str, object]:
        """Values for the notebook's `parameters` cell, paths relative to the folder of the notebooks."""
        declared = declared_parameters(notebook)
        home = Path(os.path.relpath(ROOT / "build" / self.profile, NOTEBOOKS))
        places = {
            "profile": self.profile,
            "data_dir": str(home / "data"),
            "work_dir": os.path.relpath(self.build, NOTEBOOKS),
            "figures_dir": os.path.relpath(self.figures, NOTEBOOKS),
        }
        values = places | self.sizes.get("common", {}) | self.sizes.get(notebook.stem, {}) | self.given
        return {name: value for name, value in values.items() if name in declared}


def make_plan(profile: str, data: str | None = None, sam: str | None = None, seed: int | None = None) -> Plan:
    """Read the profile and settle the folders.

    Raises:
        ValueError: unknown profile. FileNotFoundError: `data` is no folder of pairs.
    """
    path = NOTEBOOKS / "params" / f"{profile}.yaml"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise ValueError(f"unknown profile {profile!r}; expected one of {known}")
    given: dict[str, object] = {}
    if data is not None:
        from lczlib.data.layout import read_index

        read_index(data)
        given["data_dir"] = str(Path(data).resolve())
    given |= {name: value for name, value in (("sam", sam), ("seed", seed)) if value is not None}
    name = profile if not given else f"{profile}-{runs.key(given)}"
    return Plan(profile, yaml.safe_load(path.read_text()), ROOT / "build" / name, given)


def numbered_notebooks(only: str | None = None) -> list[Path]:
    """The numbered notebooks in order; with `only` ("04"), those it needs, then itself. ValueError if there is none."""
    every = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    if only is None:
        return every
    chosen = [path for path in every if path.stem.startswith(only)]
    if len(chosen) != 1:
        raise ValueError(f"no notebook {only!r}; expected one of {', '.join(path.stem[:2] for path in every)}")
    wanted = _closure(chosen[0].stem[:2])
    return [path for path in every if path.stem[:2] in wanted]


def _closure(number: str) -> set[str]:
    return {number}.union(*(_closure(need) for need in NEEDS.get(number, ())))


def declared_parameters(notebook: Path) -> set[str]:
    """Names assigned in the cell tagged `parameters`."""
    import nbformat

    cells = nbformat.read(notebook, as_version=4).cells
    source = "\n".join(cell.source for cell in cells if "parameters" in cell.metadata.get("tags", []))
    return set(re.findall(r"^(\w+)\s*(?::[^=]+)?=", source, flags=re.MULTILINE))


def state_of(notebook: Path, plan: Plan) -> str:
    """Key of everything the outcome of a notebook depends on."""
    parameters = plan.parameters(notebook)
    data_dir = NOTEBOOKS / str(parameters.get("data_dir", ""))
    data = [_digest(data_dir / name) for name in ("index.csv", "dataset.json")] if "data_dir" in plan.given else []
    before = [state_of(path, plan) for path in _needed(notebook)]
    return runs.key([_digest(notebook), parameters, data, _package_digest(), before])


def _needed(notebook: Path) -> list[Path]:
    return [path for need in NEEDS.get(notebook.stem[:2], ()) for path in NOTEBOOKS.glob(f"{need}_*.ipynb")]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def _package_digest() -> str:
    sources = sorted(p for p in (ROOT / "lczlib").rglob("*") if p.suffix in {".py", ".safetensors", ".mplstyle"})
    return hashlib.sha256("".join(_digest(path) for path in sources).encode()).hexdigest()


def figure_files(plan: Plan, notebook: Path) -> list[Path]:
    """Files that the notebook left among the figures of this plan."""
    return sorted(p for p in plan.figures.glob(f"{notebook.stem[:2]}_*") if p.suffix in _SUFFIXES)


def bring_up_to_date(notebook: Path, plan: Plan) -> dict[str, object]:
    """Execute one notebook unless its outcome is there already; returns its row for the table."""
    note = plan.build / "executed" / f"{notebook.stem}.json"
    state = state_of(notebook, plan)
    if note.exists():
        row = runs.read_json(note)
        if row["state"] == state and all((plan.figures / name).exists() for name in row["figures"]):
            return row | {"fresh": False}
    note.unlink(missing_ok=True)
    for stale in figure_files(plan, notebook):
        stale.unlink()
    start = time.perf_counter()
    execute(notebook, plan)
    row = {
        "notebook": notebook.stem,
        "state": state,
        "seconds": round(time.perf_counter() - start, 1),
        "figures": [path.name for path in figure_files(plan, notebook)],
    }
    runs.write_json(note, row)
    return row | {"fresh": True}


def execute(notebook: Path, plan: Plan) -> Path:
    """Execute one notebook with papermill; the executed copy and its HTML lie in `build/<profile>/executed`.

    Raises:
        Failed: with the cell's error and the path of the executed notebook.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    target = plan.build / "executed" / notebook.name
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(
            str(notebook),
            str(target),
            plan.parameters(notebook),
            kernel_name="python3",
            cwd=str(NOTEBOOKS),
            progress_bar=False,
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
        )
    except PapermillExecutionError as fault:
        raise Failed(
            f"{notebook.name} failed in cell {fault.exec_count}: {fault.ename}: {fault.evalue}; see {_shown(target)}"
        ) from None
    _write_html(target)
    return target


def _write_html(executed: Path) -> None:
    from nbconvert import HTMLExporter

    body, _ = HTMLExporter().from_filename(str(executed))
    with runs.atomic_path(executed.with_suffix(".html")) as temporary:
        temporary.write_text(body, encoding="utf-8")


def _shown(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def publish(plan: Plan) -> None:
    """Copy figures over the committed ones (of real imagery only the numbers), and numbers into the README."""
    from lczlib.report import fill_readme, is_real

    real = {path.stem for path in plan.figures.glob("*.json") if is_real(runs.read_json(path))}
    for path in plan.figures.iterdir():
        if path.suffix not in _SUFFIXES or (path.stem in real and path.suffix != ".json"):
            continue
        if not (FIGURES / path.name).exists() or (FIGURES / path.name).read_bytes() != path.read_bytes():
            with runs.atomic_path(FIGURES / path.name) as temporary:
                shutil.copyfile(path, temporary)
    fill_readme(ROOT / "README.md", FIGURES)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./run_all.sh", description="Regenerate every figure from the notebooks.")
    parser.add_argument("--profile", default="demo", help="demo (default), smoke, paper: sizes, never code paths")
    parser.add_argument("--data", metavar="DIR", help="a folder of pairs instead of the synthetic world")
    parser.add_argument("--sam", choices=("nano", "truth", "vit_b", "vit_l", "vit_h"), help="instance masks")
    parser.add_argument("--only", metavar="NN", help="one notebook, after those it builds on")
    parser.add_argument("--seed", type=int, help="seed of splits and training")
    parser.add_argument("--test", action="store_true", help="(of run_all.sh, first) run the tests instead")
    parser.add_argument("--check", action="store_true", help="compare the numbers with the committed figures/*.json")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the plan; returns 0, or 1 with one line saying what is at fault."""
    parser = _parser()
    args = parser.parse_args(argv)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # inherited by the kernels: see lczlib.compute
    try:
        plan = make_plan(args.profile, args.data, args.sam, args.seed)
        if args.check and not plan.is_committed_one:
            parser.error("--check compares the demo profile as committed; leave out --profile, --data, --sam, --seed")
        run(plan, args.only, args.check)
    except (ValueError, OSError, Failed) as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; call again to go on from here", file=sys.stderr)
        return 130
    return 0


def run(plan: Plan, only: str | None = None, check: bool = False) -> list[dict]:
    """Bring the notebooks up to date, write the report, publish or compare; returns the rows of the table.

    Raises:
        Failed: a notebook failed, or with `check` a number differs.
    """
    from lczlib.report import compare_with_committed, write_report

    rows = []
    for notebook in numbered_notebooks(only):
        print(f"{notebook.stem} ...", end=" ", flush=True)
        rows.append(bring_up_to_date(notebook, plan))
        print(f"{rows[-1]['seconds']:.0f} s" if rows[-1]["fresh"] else "up to date", flush=True)
    page = write_report(plan.build, plan.profile, rows)
    _print_table(rows)
    print(f"report: {_shown(page)}")
    if check:
        differences = compare_with_committed(plan.figures, FIGURES, [row["notebook"][:2] for row in rows])
        if differences:
            raise Failed(f"{len(differences)} number(s) differ from the committed ones:\n  " + "\n  ".join(differences))
        print(f"check: every number agrees with the committed figures{_other_kernels(plan.figures)}")
    elif plan.is_committed_one:
        publish(plan)
    return rows


def _other_kernels(figures: Path) -> str:
    """A remark where the committed figures were made on other kernels, which widens the tolerances."""
    from lczlib.report import kernels_of

    here, there = kernels_of(figures), kernels_of(FIGURES)
    return "" if here == there else f" ({here} here, {there} there: within what other seeds give)"


def _print_table(rows: list[dict]) -> None:
    width = max(len(row["notebook"]) for row in rows)
    print(f"\n{'notebook':{width}}  seconds  figure files")
    for row in rows:
        stems = sorted({Path(name).stem for name in row["figures"]})
        print(f"{row['notebook']:{width}}  {row['seconds']:7.1f}  {', '.join(stems) or '-'}")


if __name__ == "__main__":
    sys.exit(main())
