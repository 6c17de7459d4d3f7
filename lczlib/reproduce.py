"""Every figure from one command: execute the notebooks in order, collect figures and numbers, report, compare.

`run_all.sh` sets up Python and calls this. A notebook is executed again only when something it depends on has
changed: its own source, its parameters, the package, the data, or a notebook before it that it builds on. Two run side
by side, each in a process of its own, where neither waits for the other: much of a notebook uses one core only.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from lczlib import runs
from lczlib.compute import cpu_count, end_with_parent

if TYPE_CHECKING:
    from lczlib.data import Pairs

ROOT = Path(__file__).resolve().parents[1]
# What each notebook builds on; all make the synthetic data themselves when it is missing.
NEEDS = {"03": ("01",), "04": ("02", "03"), "05": ("02", "03"), "06": ("02", "03"), "07": ("01",), "08": ("02", "03")}
_SUFFIXES = {".png", ".pdf", ".json"}


class Failed(RuntimeError):
    """A notebook failed, or the numbers differ from the committed ones; the text says which and where."""


@dataclass(frozen=True)
class Plan:
    """What one call is to do: profile, its sizes, where things go, and what was asked for on the command line."""

    root: Path  # of the project
    profile: str
    sizes: dict[str, dict]
    build: Path
    given: dict[str, object]  # data_dir, sam, seed where the command line names them
    data: str = ""  # changes with any file of the data given
    lacking: dict[str, str] = field(default_factory=dict)  # notebook ("01"): what the data given do not have for it

    @property
    def notebooks(self) -> Path:
        return self.root / "notebooks"

    @property
    def figures(self) -> Path:
        return self.build / "figures"

    @property
    def committed(self) -> Path:
        """The committed figures, of the demo profile."""
        return self.root / "figures"

    @property
    def is_committed_one(self) -> bool:
        """Whether this is the run whose figures are committed: the demo profile as it stands."""
        return self.profile == "demo" and not self.given

    def parameters(self, notebook: Path) -> dict[str, object]:
        """Values for the notebook's `parameters` cell, paths relative to the folder of the notebooks."""
        declared = declared_parameters(notebook)
        home = Path(os.path.relpath(self.root / "build" / self.profile, self.notebooks))
        places = {
            "profile": self.profile,
            "data_dir": str(home / "data"),
            "work_dir": os.path.relpath(self.build, self.notebooks),
            "figures_dir": os.path.relpath(self.figures, self.notebooks),
        }
        values = places | self.sizes.get("common", {}) | self.sizes.get(notebook.stem, {}) | self.given
        return {name: value for name, value in values.items() if name in declared}


def make_plan(profile: str, data: str | None = None, sam: str | None = None, seed: int | None = None) -> Plan:
    """Read the profile and settle the folders.

    Raises:
        ValueError: unknown profile. FileNotFoundError: `data` is no folder of pairs.
    """
    path = ROOT / "notebooks" / "params" / f"{profile}.yaml"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise ValueError(f"unknown profile {profile!r}; expected one of {known}")
    given: dict[str, object] = {}
    sizes, state, lacking = yaml.safe_load(path.read_text()), "", {}
    if data is not None:
        from lczlib.data import open_pairs

        pairs, state = open_pairs(data), _state_of_data(Path(data))
        lacking = {path.stem[:2]: fault for path in numbered_notebooks() if (fault := hindrance(path.stem[:2], pairs))}
        sizes["common"]["n_pairs"] = len(pairs)  # a synthetic set given is not enlarged
        given["data_dir"] = str(Path(data).resolve())
    given |= {name: value for name, value in (("sam", sam), ("seed", seed)) if value is not None}
    name = profile if not given else f"{profile}-{runs.content_key(given)}"
    return Plan(ROOT, profile, sizes, ROOT / "build" / name, given, state, lacking)


def numbered_notebooks(only: str | None = None) -> list[Path]:
    """The numbered notebooks in order; with `only` ("04"), those it needs, then itself. ValueError if there is none."""
    every = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
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
    needed = [path for need in NEEDS.get(notebook.stem[:2], ()) for path in plan.notebooks.glob(f"{need}_*.ipynb")]
    before = [state_of(path, plan) for path in needed]
    return runs.content_key([_digest(notebook), parameters, plan.data, _package_digest(plan.root), before])


def _state_of_data(data_dir: Path) -> str:
    from lczlib.data import layout

    folders = (layout.S2_FOLDER, layout.RGB_FOLDER, layout.TRUTH_FOLDER, layout.GRAPH_FOLDER, layout.SPLIT_FOLDER)
    files = [_digest(data_dir / name) for name in ("index.csv", "dataset.json")]
    return runs.content_key(files + [layout.listing(data_dir / name) for name in folders])


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def _package_digest(root: Path) -> str:
    every = [*(root / "lczlib").rglob("*"), *(root / "lczworld").rglob("*")]
    sources = sorted(p for p in every if p.suffix in {".py", ".safetensors", ".mplstyle"})
    return hashlib.sha256("".join(_digest(path) for path in sources).encode()).hexdigest()


def hindrance(number: str, pairs: Pairs) -> str:
    """What the notebook of that number needs and these pairs do not have; "" where it can be run."""
    from lczlib.graphs import require_graphs

    try:
        if number not in ("00", "02"):
            require_graphs(pairs)
    except FileNotFoundError as lacking:
        return str(lacking).removeprefix(f"{pairs.data_dir}: ")
    if number == "01" and not pairs.has_rgb:
        return "masks need RGB patches (google_img_320); the shipped graphs serve elsewhere"
    cities = set(pairs.cities)
    if number == "06" and ("" in cities or len(cities) < 3):
        return "transfer needs three named cities at least, in index.csv"
    return ""


def figure_files(plan: Plan, notebook: Path) -> list[Path]:
    """Files that the notebook left among the figures of this plan."""
    return sorted(p for p in plan.figures.glob(f"{notebook.stem[:2]}_*") if p.suffix in _SUFFIXES)


def kept_row(notebook: Path, plan: Plan) -> dict[str, object] | None:
    """The row of a notebook whose outcome is there already and still that of its source, parameters and the rest."""
    note = _note_of(notebook, plan)
    row = runs.read_json(note) if note.exists() else None
    if row and row["state"] == state_of(notebook, plan):
        return row | {"fresh": False} if all((plan.figures / name).exists() for name in row["figures"]) else None
    return None


def _note_of(notebook: Path, plan: Plan) -> Path:
    return plan.build / "executed" / f"{notebook.stem}.json"


def bring_up_to_date(notebook: Path, plan: Plan) -> dict[str, object]:
    """Execute one notebook unless its outcome is there already; returns its row for the table."""
    if row := kept_row(notebook, plan):
        return row
    note, state = _note_of(notebook, plan), state_of(notebook, plan)
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
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    target = plan.build / "executed" / notebook.name
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(
            str(notebook),
            str(target),
            plan.parameters(notebook),
            kernel_name="python3",
            cwd=str(plan.notebooks),
            progress_bar=False,
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
        )
    except PapermillExecutionError as fault:
        where = f"{notebook.name} failed in cell {fault.exec_count}"
        raise Failed(f"{where}: {fault.ename}: {fault.evalue}; see {_shown(target, plan)}") from None
    except DeadKernelError:
        raise Failed(
            f"{notebook.name}: its kernel died (out of memory?); call again to go on from here, or with --jobs 1"
        ) from None
    _write_html(target)
    return target


def _write_html(executed: Path) -> None:
    from nbconvert import HTMLExporter

    body, _ = HTMLExporter().from_filename(str(executed))
    with runs.atomic_path(executed.with_suffix(".html")) as temporary:
        temporary.write_text(body, encoding="utf-8")


def _shown(path: Path, plan: Plan) -> Path:
    return path.relative_to(plan.root) if path.is_relative_to(plan.root) else path


def bring_all_up_to_date(notebooks: list[Path], plan: Plan, jobs: int) -> Iterator[dict[str, object]]:
    """Rows of `bring_up_to_date` as they come, `jobs` notebooks at a time, each in a process of its own.

    Started in their order, but each after those it builds on; what two want, data or a training, is made by one while
    the other waits (`runs.file_lock`). When one fails no other is started; those at work end first: their results stay.

    Raises:
        Failed: with what the first to fail said.
    """
    waiting, running, fault = list(notebooks), {}, None
    while running or (waiting and not fault):
        unfinished = {path.stem[:2] for path in (*waiting, *running.values())}
        ready = [p for p in waiting if not fault and unfinished.isdisjoint(NEEDS.get(p.stem[:2], ()))]
        for path in ready:
            if lacking := plan.lacking.get(path.stem[:2]):
                waiting.remove(path)
                yield {"notebook": path.stem, "seconds": 0.0, "figures": [], "skipped": lacking}
            elif row := kept_row(path, plan):  # no process for what is there
                waiting.remove(path)
                yield row
            elif len(running) < jobs:
                waiting.remove(path)
                running[_start(path, plan)] = path
        for end in connection.wait(list(running)) if running else ():
            path = running.pop(end)
            try:
                outcome = end.recv()
            except EOFError:
                outcome = Failed(f"{path.name}: its process was killed (out of memory?); call again to go on from here")
            if isinstance(outcome, Failed):
                fault = fault or outcome
                others = " and ".join(path.stem for path in running.values())
                print(f"{path.stem}: failed" + (f"; {others} at work, let finish" if others else ""), flush=True)
            else:
                yield outcome
    if fault:
        raise fault


def jobs_here() -> int:
    """Notebooks side by side where nobody said: two, one on one core or where they would share a GPU's memory."""
    gpu = any(shutil.which(tool) for tool in ("nvidia-smi", "rocm-smi"))
    return 1 if gpu else min(2, cpu_count())


def _start(notebook: Path, plan: Plan) -> connection.Connection:
    """Begin with a notebook in a new process, which ends when this one does; what it sends is a row or an exception."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nbconvert", "papermill"])  # seconds, once
    receiver, sender = context.Pipe(duplex=False)
    context.Process(target=_bring_up_to_date_and_send, args=(notebook, plan, sender), daemon=True).start()
    sender.close()
    return receiver


def _bring_up_to_date_and_send(notebook: Path, plan: Plan, sender: connection.Connection) -> None:
    end_with_parent()
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C is the parent's, who ends us
    try:
        sender.send(bring_up_to_date(notebook, plan))
    except Exception as fault:
        known = isinstance(fault, (Failed, OSError, ValueError))
        sender.send(Failed(str(fault) if known else f"{notebook.name}: {type(fault).__name__}: {fault}"))


def publish(plan: Plan) -> None:
    """Copy figures over the committed ones (of real imagery only the numbers), and numbers into the README."""
    from lczlib.report import fill_readme, is_real

    real = {path.stem for path in plan.figures.glob("*.json") if is_real(runs.read_json(path))}
    for path in plan.figures.iterdir():
        if path.suffix not in _SUFFIXES or (path.stem in real and path.suffix != ".json"):
            continue
        target = plan.committed / path.name
        if not target.exists() or target.read_bytes() != path.read_bytes():
            with runs.atomic_path(target) as temporary:
                shutil.copyfile(path, temporary)
    fill_readme(plan.root / "README.md", plan.committed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./run_all.sh", description="Regenerate every figure from the notebooks.")
    parser.add_argument("--profile", default="demo", help="demo (default), smoke, paper: sizes, never code paths")
    parser.add_argument("--data", metavar="DIR", help="a folder of pairs instead of the synthetic world")
    parser.add_argument("--sam", choices=("nano", "truth", "vit_b", "vit_l", "vit_h"), help="instance masks")
    parser.add_argument("--only", metavar="NN", help="one notebook, after those it builds on")
    parser.add_argument("--seed", type=int, help="seed of splits and training")
    parser.add_argument("--jobs", type=int, help="notebooks side by side; default 2, with a GPU 1")
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
        if args.jobs is not None and args.jobs < 1:
            parser.error("--jobs: give 1 or more")
        run(plan, args.jobs or jobs_here(), args.only, args.check)
    except (ValueError, OSError, Failed) as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; call again to go on from here", file=sys.stderr)
        return 130
    return 0


def run(plan: Plan, jobs: int, only: str | None = None, check: bool = False) -> list[dict]:
    """Bring the notebooks up to date, write the report, publish or compare; returns the rows of the table.

    Raises:
        Failed: a notebook failed, or with `check` a number differs.
    """
    from lczlib.report import compare_with_committed, write_report

    rows, start = [], time.perf_counter()
    for row in bring_all_up_to_date(numbered_notebooks(only), plan, jobs):
        rows.append(row)
        print(f"{row['notebook']}: {_outcome(row)}", flush=True)
    rows.sort(key=lambda row: row["notebook"])
    page = write_report(plan.build, plan.profile, rows)
    _print_table(rows)
    print(f"all in {time.perf_counter() - start:.0f} s; report: {_shown(page, plan)}")
    if check:
        differences = compare_with_committed(plan.figures, plan.committed, [row["notebook"][:2] for row in rows])
        if differences:
            raise Failed(f"{len(differences)} number(s) differ from the committed ones:\n  " + "\n  ".join(differences))
        print(f"check: every number agrees with the committed figures{_other_kernels(plan)}")
    elif plan.is_committed_one:
        publish(plan)
    return rows


def _outcome(row: dict) -> str:
    if "skipped" in row:
        return f"skipped: {row['skipped']}"
    return f"{row['seconds']:.0f} s" if row["fresh"] else "up to date"


def _other_kernels(plan: Plan) -> str:
    """A remark where the committed figures were made on other kernels, which widens the tolerances."""
    from lczlib.report import kernels_of

    here, there = kernels_of(plan.figures), kernels_of(plan.committed)
    return "" if here == there else f" ({here} here, {there} there: within what other seeds give)"


def _print_table(rows: list[dict]) -> None:
    width = max(len(row["notebook"]) for row in rows)
    print(f"\n{'notebook':{width}}  seconds  figure files")
    for row in rows:
        stems = sorted({Path(name).stem for name in row["figures"]})
        print(f"{row['notebook']:{width}}  {row['seconds']:7.1f}  {', '.join(stems) or '-'}")


if __name__ == "__main__":
    sys.exit(main())
