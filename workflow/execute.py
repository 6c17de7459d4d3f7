"""Execute one notebook, as a rule of the `Snakefile` does: python -m workflow.execute NOTEBOOK ROW PARAMETERS.

The executed copy lies beside ROW, a JSON file with seconds and figures that is written last: where it is, all is.
"""

import json
import os
import re
import sys
import threading
import time
from pathlib import Path

import nbformat

from lczlib.runs import atomic_path, write_json
from workflow.build import PICTURES, ROOT, number
from workflow.numbers import CheckError

TRAINING = "training"  # tag of cells whose outcome, the predictions, may be given instead


class NotebookError(CheckError):
    """A cell failed, or the kernel died; the text is one line that says where."""


def execute(notebook: Path, row: Path, parameters: dict[str, object], leave_out: str = "") -> dict[str, object]:
    """Execute a notebook with papermill in this interpreter; returns what is written to `row`.

    Args:
        leave_out: tag of cells that are not executed.

    Raises:
        NotebookError: with the cell's error and the path of the executed notebook.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    folder = row.parent
    figures = notebook.parent / parameters["figures_dir"] if "figures_dir" in parameters else folder / "none"
    row.unlink(missing_ok=True)
    for stale in _figures(figures, notebook):
        stale.unlink()
    source, target = folder / f".{notebook.name}", folder / notebook.name
    _write_source(notebook, source, leave_out)
    _use_this_interpreter(folder)
    start = time.perf_counter()
    try:
        papermill.execute_notebook(
            str(source), str(target), parameters, kernel_name="python3", cwd=str(notebook.parent), progress_bar=False,
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
        )  # fmt: skip
    except PapermillExecutionError as fault:
        text = re.sub(r"\s+", " ", f"{fault.ename}: {fault.evalue}")
        place = target.resolve()
        place = place.relative_to(ROOT) if place.is_relative_to(ROOT) else target
        raise NotebookError(f"{notebook.name} failed in cell {fault.exec_count}: {text}; see {place}") from None
    except DeadKernelError:
        advice = "call again to go on from here, or with --jobs 1"
        raise NotebookError(f"{notebook.name}: its kernel died (out of memory?); {advice}") from None
    finally:
        source.unlink(missing_ok=True)
    seconds = round(time.perf_counter() - start, 1)
    facts = {"notebook": notebook.stem, "seconds": seconds, "figures": [p.name for p in _figures(figures, notebook)]}
    write_json(row, facts)
    return facts


def _figures(folder: Path, notebook: Path) -> list[Path]:
    found = folder.glob(f"{number(notebook.stem)}_*")
    return sorted(path for path in found if path.suffix in PICTURES)


def _write_source(notebook: Path, source: Path, leave_out: str) -> None:
    content = nbformat.read(notebook, as_version=4)
    content.cells = [cell for cell in content.cells if leave_out not in cell.metadata.get("tags", [])]
    with atomic_path(source) as temporary:
        nbformat.write(content, temporary)


def _use_this_interpreter(folder: Path) -> None:
    """Put a kernel "python3" of this interpreter before those that JUPYTER_PATH of a hub or cluster offers."""
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    specification = {"argv": command, "display_name": "Python 3", "language": "python"}
    write_json(folder / ".jupyter" / "kernels" / "python3" / "kernel.json", specification)
    paths = [str(folder.resolve() / ".jupyter"), *filter(None, [os.environ.get("JUPYTER_PATH")])]
    os.environ["JUPYTER_PATH"] = os.pathsep.join(paths)


def end_with(parent: int) -> None:
    """End this process when its parent is gone, even by SIGKILL; the notebook's kernel follows."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> int:
    """Execute, say how long it took; 1 with the fault in `<notebook>.error` beside the row."""
    end_with(os.getppid())
    notebook, row, parameters = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    error = row.with_suffix(".error")
    error.unlink(missing_ok=True)
    try:
        facts = execute(notebook, row, parameters)
    except NotebookError as fault:
        error.write_text(str(fault), encoding="utf-8")
        print(f"{notebook.stem}: failed", flush=True)
        return 1
    print(f"{notebook.stem}: {facts['seconds']:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
