"""What one run makes: profile, data, seed, the folder it goes to, and the state that decides what must run again."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import yaml

from lczlib.errors import InputError
from lczlib.runs import content_key, write_text

if TYPE_CHECKING:
    from lczlib.data import Pairs

ROOT = Path(__file__).resolve().parents[1]
# What each notebook builds on; all make the synthetic data themselves where they are missing.
NEEDS = {"03": ("01",), "04": ("02", "03"), "05": ("02", "03"), "06": ("02", "03"), "07": ("01",), "08": ("02", "03")}
SOURCES = {".py", ".safetensors", ".mplstyle"}  # of the packages: what can change a number
SHIPPED = "lczlib/models/demo"  # runs 02 and 03 as published; only the demo notebook reads them
LEFT_OUT = "left out"
PICTURES = {".png", ".pdf", ".json"}


def number(notebook: str) -> str:
    """How a notebook is named in short: "04" for 04_alpha_ablation, "demo" for demo."""
    return notebook[:2] if notebook[:2].isdigit() else notebook


@dataclass(frozen=True)
class Build:
    """One run of a profile on certain data with a certain seed; `given` makes a folder of its own."""

    root: Path  # of the project
    profile: str  # demo, smoke, paper or evidence
    given: dict[str, object] = field(default_factory=dict)  # data_dir, sam, seed, seeds of the command line
    sizes: dict[str, dict] = field(default_factory=dict)  # `common` and by notebook; empty: the notebooks' literals
    data: str = ""  # digest of the data named on the command line
    lacking: dict[str, str] = field(default_factory=dict)  # notebook -> what it needs and these data do not have

    @classmethod
    def of(cls, profile: str = "demo", data: str = "", sam: str = "", seed: int | None = None, without: str = "",
           seeds: int | None = None, root: Path = ROOT) -> Build:  # fmt: skip
        """Read the profile and look at the data.

        Args:
            without: short names of notebooks to leave out, "00,01".
            seeds: number of seeds in place of the profile's.

        Raises:
            FileNotFoundError, InputError: unknown profile or no number of seeds in it; `data` is no folder of pairs.
        """
        sizes, found = _sizes(root, profile), ""
        lacking = dict.fromkeys(filter(None, without.split(",")), LEFT_OUT)
        given = {"sam": sam, "seed": seed, "seeds": seeds}
        given = {name: value for name, value in given.items() if value not in ("", None)}
        if seeds and (few := _with_seeds(sizes, seeds)) == sizes:
            raise InputError(f"--seeds {seeds}: profile {profile!r} has no other number of seeds; try evidence")
        sizes = few if seeds else sizes
        if data:
            from lczlib.data import open_pairs

            pairs = open_pairs(data)
            found, lacking = _state_of_data(Path(data)), missing_inputs(pairs) | lacking
            sizes["common"] = sizes.get("common", {}) | {"n_pairs": len(pairs)}  # what is given is not enlarged
            given = {"data_dir": str(Path(data).resolve())} | given
        return cls(root, profile, given, sizes, found, lacking)

    @cached_property
    def folder(self) -> Path:
        """`build/<profile>`, or `build/<profile>-<key>` where data, SAM or seed were named."""
        return self.root / "build" / (f"{self.profile}-{content_key(self.given)}" if self.given else self.profile)

    @property
    def figures(self) -> Path:
        """Where this run's figures lie."""
        return self.folder / "figures"

    @cached_property
    def notebooks(self) -> dict[str, Path]:
        """Every notebook by its short name, in order; the demo comes last."""
        every = sorted((self.root / "notebooks").glob("*.ipynb"))
        return {number(path.stem): path for path in every}

    def chosen(self, only: str = "") -> list[str]:
        """Short names of the notebooks that can run on these data; with `only`, those it needs and itself.

        Raises:
            InputError: no such notebook, or the data lack what it needs.
        """
        if only and only not in self.notebooks:
            raise InputError(f"no notebook {only!r}; expected one of {', '.join(self.notebooks)}")
        if only in self.lacking:
            raise InputError(f"{self.notebooks[only].stem}: {self.lacking[only]}")
        wanted = _with_needed(only) if only else set(self.notebooks)
        return [name for name in self.notebooks if name in wanted and name not in self.lacking]

    def before(self, name: str) -> list[str]:
        """Names of the notebooks whose outcome this one reads; "seeds/1/02" is 02 with the seed after the first.

        Where the profile has `n_seeds`, 04 and 05 read the predictions of 02 and 03 for further seeds too.
        """
        known = [need for need in NEEDS.get(name, ()) if need in self.notebooks and need not in self.lacking]
        further = range(1, self.sizes.get("common", {}).get("n_seeds", 1)) if name in ("04", "05") else ()
        return known + [f"seeds/{k}/{need}" for k in further for need in known]

    def source(self, name: str) -> Path:
        """The notebook of a name: of "02", and of "seeds/1/02"."""
        return self.notebooks[Path(name).name]

    def parameters(self, name: str) -> dict[str, object]:
        """Values for the notebook's `parameters` cell; paths are relative to the folder of the notebooks."""
        path = self.source(name)
        places = {
            "profile": self.profile,
            "data_dir": os.path.relpath(self.root / "build" / self.profile / "data", path.parent),
            "work_dir": os.path.relpath(self.folder, path.parent),
            "figures_dir": os.path.relpath(self.figures, path.parent),
        }
        values = places | self.sizes.get("common", {}) | self.sizes.get(path.stem, {}) | self.given
        if name.startswith("seeds/"):
            places = {"figures_dir": os.path.relpath(self.folder / Path(name).parent, path.parent)}
            values |= places | {"seed": values.get("seed", 0) + int(Path(name).parent.name)}
        declared = declared_parameters(path)
        return {key: value for key, value in values.items() if key in declared}

    def state(self, name: str) -> str:
        """Digest of everything that the outcome of a notebook depends on; it changes when, and only when, that does."""
        before = [self.state(need) for need in self.before(name)]
        shipped = _digests(self.root, SHIPPED) if name == "demo" else ""
        packages = _digests(self.root, "lczlib", "lczworld", without=(SHIPPED,))
        return content_key([_digest(self.source(name)), self.parameters(name), self.data, packages, before, shipped])

    @property
    def explorer(self) -> dict[str, object]:
        """Options of `workflow.explorer`: the data, masks and predictions that notebooks 01 to 03 leave."""
        values = {"sam": "nano", "masks": "demo", "split_strategy": "polygon_pool", "seed": 0}
        values |= self.sizes.get("common", {}) | self.given
        data = values.get("data_dir", self.root / "build" / self.profile / "data")
        name = f"{values['split_strategy']}_{values['seed']}"
        return {"data": str(data), "sam": values["sam"], "masks": values["masks"], "name": name}

    @property
    def skipped(self) -> dict[str, str]:
        """Notebook -> what it needs and the data lack."""
        return {self.notebooks[name].stem: fault for name, fault in self.lacking.items() if name in self.notebooks}

    def keep_sources(self) -> None:
        """Note, in a new build, of which sources its data, masks and trainings are."""
        note, sources = self._sources()
        if not note.exists():
            write_text(note, sources)

    def require_its_sources(self) -> None:
        """What a build keeps (data, masks, trainings) must be of the sources as they are, before it is compared.

        Raises:
            InputError: it is of others.
        """
        note, sources = self._sources()
        if note.exists() and note.read_text(encoding="utf-8") != sources:
            raise InputError(f"{self.folder}: its data and trainings are of other sources; delete it and call again")

    def _sources(self) -> tuple[Path, str]:
        """Where the digest of the sources is noted, and what it is now."""
        without = (SHIPPED, "lczlib/figures", "lczlib/city")
        return self.folder / ".sources", _digests(self.root, "lczlib", "lczworld", without=without)

    @property
    def report_state(self) -> str:
        """Digest of what the report depends on beside the notebooks' outcomes."""
        places = [self.root / "workflow", self.root / "figures" / "published.json"]
        files = sorted(path for place in places for path in (place, *place.rglob("*")) if path.suffix != ".pyc")
        return content_key([_digest(path) for path in files])


@cache
def _digests(root: Path, *places: str, without: tuple[str, ...] = ()) -> str:
    """Of every source below these places of the project, but for those below `without`."""
    every = sorted(path for place in places for path in (root / place).rglob("*") if path.suffix in SOURCES)
    return content_key([_digest(path) for path in every if not {root / place for place in without} & set(path.parents)])


def _sizes(root: Path, profile: str) -> dict[str, dict]:
    folder = root / "notebooks" / "params"
    known = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    if profile != "demo" and profile not in known:
        raise InputError(f"unknown profile {profile!r}; expected one of {', '.join(sorted({'demo', *known}))}")
    return (yaml.safe_load(known[profile].read_text(encoding="utf-8")) or {}) if profile in known else {}


def _with_seeds(sizes: dict, seeds: int) -> dict:
    """The sizes with another number of seeds wherever they have one; where they have several, each of them."""
    return {
        name: _with_seeds(value, seeds) if isinstance(value, dict)
        else value if name != "n_seeds" else [seeds] * len(value) if isinstance(value, list) else seeds
        for name, value in sizes.items()
    }  # fmt: skip


def _with_needed(notebook: str) -> set[str]:
    return {notebook}.union(*(_with_needed(need) for need in NEEDS.get(notebook, ())))


def declared_parameters(notebook: Path) -> set[str]:
    """Names assigned in the cell tagged `parameters`."""
    cells = nbformat.read(notebook, as_version=4).cells
    source = "\n".join(cell.source for cell in cells if "parameters" in cell.metadata.get("tags", []))
    return set(re.findall(r"^(\w+)\s*(?::[^=]+)?=", source, flags=re.MULTILINE))


def missing_inputs(pairs: Pairs) -> dict[str, str]:
    """Short names of the notebooks that cannot run on these pairs, each with what it needs and they lack."""
    lacking = {}
    if not pairs.has_graphs:
        fault = "needs RGB patches (google_img_320) or shipped graphs (gg_nodes_refine), and these pairs have neither"
        lacking |= dict.fromkeys(("01", "03", "04", "05", "06", "07", "08"), fault)
    elif not pairs.has_rgb:
        fault = "masks need RGB patches (google_img_320), which these pairs lack; shipped graphs serve elsewhere"
        lacking["01"] = fault
    cities = set(pairs.cities)
    if "06" not in lacking and ("" in cities or len(cities) < 3):
        lacking["06"] = "transfer needs three named cities at least, in index.csv"
    return lacking


def _state_of_data(folder: Path) -> str:
    from lczlib.data import layout, so2sat

    folders = (layout.S2_FOLDER, layout.RGB_FOLDER, layout.TRUTH_FOLDER, layout.GRAPH_FOLDER, layout.SPLIT_FOLDER)
    if files := so2sat.find_files(folder):
        return content_key([(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files])
    files = [_digest(folder / name) for name in ("index.csv", "dataset.json")]
    return content_key(files + [layout.listing(folder / name) for name in folders])


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
