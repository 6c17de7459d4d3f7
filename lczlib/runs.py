"""Artefacts of a run: written atomically, kept in folders keyed by what made them, found again instead of remade."""

import dataclasses
import errno
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from lczlib.errors import InputError

FULL = 4096  # bytes that are left on a disk that is full


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary sibling of `path` with its suffix, renamed onto it when the block ends well, removed otherwise.

    Raises OSError where the disk is full, whatever the writer made of that.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except Exception as fault:
        if shutil.disk_usage(path.parent).free < FULL or getattr(fault, "errno", None) == errno.ENOSPC:
            raise OSError(errno.ENOSPC, "No space left on the disk; make room and call again", str(path)) from fault
        raise
    finally:
        temporary.unlink(missing_ok=True)


def new_memmap(path: Path, dtype: Any, shape: tuple[int, ...]) -> np.memmap:
    """An npy file of zeros, mapped for writing; its room is taken at once, so that a full disk is an OSError here."""
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def memmap_is_sound(path: Path, dtype: Any, shape: tuple[int, ...]) -> bool:
    """Whether such an npy file is there, whole. Ask before it is mapped for writing, which fills up what is missing."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except Exception:  # a damaged head can raise nearly anything
        return False
    return (array.dtype, array.shape) == (dtype, shape)


def file_lock(path: str | Path) -> FileLock:
    """A context in which no other process is at work on `path`; waits for one. It is a hidden file beside `path`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(f".{path.name}.lock"))


def make_if_missing(path: str | Path, there: Callable[[], bool], make: Callable[[], object]) -> None:
    """Call `make`, with a `file_lock` on `path`, unless `there()`: of several processes one makes it, others wait."""
    if not there():
        with file_lock(path):
            if not there():
                make()


def to_jsonable(value: Any) -> Any:
    """`value` as JSON knows it: numpy scalars and arrays, paths, dataclasses and tuples unfolded, NaN as None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_jsonable(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def write_text(path: str | Path, text: str) -> Path:
    """Write a text file, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def write_json(path: str | Path, content: Any) -> Path:
    """Write `content` (numpy allowed) as indented JSON, atomically."""
    return write_text(path, json.dumps(to_jsonable(content), indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON file that holds an object. Raises InputError when it is damaged or holds something else."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (RecursionError, ValueError) as fault:  # JSONDecodeError, UnicodeDecodeError
        raise InputError(f"{path}: not valid JSON ({fault}); delete it and run again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no JSON object; delete it and run again")
    return content


def content_key(params: Any) -> str:
    """Twelve hexadecimal digits that change with any value in `params` (numpy allowed)."""
    return hashlib.sha256(json.dumps(to_jsonable(params), sort_keys=True).encode()).hexdigest()[:12]


class Run:
    """One folder `root/name-<key of params>` that holds what a run makes; `done` once `finish` was called."""

    def __init__(self, root: str | Path, name: str, params: dict[str, Any]):
        self.params = to_jsonable(params)
        self.path = Path(root) / f"{name}-{content_key(params)}"
        self.path.mkdir(parents=True, exist_ok=True)

    @property
    def done(self) -> bool:
        """True when the run ended and left its summary."""
        return (self.path / "run.json").exists()

    def finish(self, summary: dict[str, Any]) -> None:
        """Mark the run as ended, with its summary (`run.json` holds parameters and summary)."""
        write_json(self.path / "run.json", {"params": self.params, "summary": summary})

    def publish(self, name: str, **about: object) -> Path:
        """Give the finished run a name, by which `find_run` finds it, and note what it was trained on.

        Args:
            name: `root/name` leads to the run from now on; a run that had the name before loses it.
            about: goes into `about.json`: data (kind of the pairs), sam, masks (name of the settings), settings.
        """
        write_json(self.path / "about.json", {"name": name, **about})
        link, temporary = self.path.with_name(name), self.path.with_name(f".{name}-{os.getpid()}")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(self.path.name, target_is_directory=True)
        os.replace(temporary, link)
        return link


def find_run(work_dir: str | Path, name: str) -> Path:
    """Folder of the run published as `name`, such as "s2_polygon_pool_0" by notebook 02; InputError without one."""
    folder = Path(work_dir) / "runs" / name
    if not (folder / "run.json").exists():
        notebook = {"s2": "02_train_sentinel2", "ge": "03_train_google_earth"}.get(name.split("_")[0], "02 or 03")
        raise InputError(f"{folder}: no run of that name; run notebook {notebook} with the same work_dir first")
    return folder.resolve()


def commit() -> str:
    """The commit this package's source is at, "+" appended when its files differ from it; "unknown" outside git."""

    def git(*arguments: str) -> str:
        command, root = ["git", *arguments], Path(__file__).parents[1]
        return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "lczlib", "notebooks")
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
