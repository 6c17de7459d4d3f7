"""`./run_all.sh --publish`: the figures of a run become the committed ones; RESULTS.md and the gallery follow."""

import shutil
from pathlib import Path

from lczlib.predictions import Predictions
from lczlib.runs import atomic_path, read_json
from workflow.build import PICTURES, SHIPPED, Build
from workflow.numbers import CheckError


def published_folder(build: Build) -> Path:
    """Where the figures of a build are committed.

    Raises:
        CheckError: the build is neither the demo nor the evidence as it stands.
    """
    if build.given or build.profile not in ("demo", "evidence"):
        raise CheckError("only the demo and the evidence profile are published, without --data, --sam, --seed")
    return build.root / "figures" / ("evidence" if build.profile == "evidence" else "")


def publish(build: Build, chosen: list[str]) -> Path:
    """Copy the figures of these notebooks over the committed ones, and the predictions; returns the folder.

    Pictures of real imagery are left out unless their JSON names an `attribution` among its parameters. Of the evidence
    only answers are kept, what needed training; as PNG, with the predictions of validation and test pairs.
    """
    target = published_folder(build)
    made = [path for path in build.figures.iterdir() if path.suffix in PICTURES and path.stem.split("_")[0] in chosen]
    if build.profile == "evidence":
        entries = {path: read_json(path.with_suffix(".json")) for path in made if path.suffix != ".pdf"}
        made = [path for path, entry in entries.items() if entry["follows_from"] != "data" and not is_real(entry)]
    kept = [path for path in made if path.suffix == ".json" or may_be_shown(read_json(path.with_suffix(".json")))]
    for path in kept:
        _copy(path, target / path.name)
    _forget_what_is_no_longer_made(target, {path.name for path in kept}, chosen)
    if build.profile == "demo":
        predictions = {path.name: path for path in (build.folder / "predictions").glob("*.npz")}
        for name, path in predictions.items():
            _copy(path, target / "predictions" / name)
        for path in (target / "predictions").glob("*.npz"):
            if path.name not in predictions and {"02", "03", "06"} <= set(chosen):  # those that make them
                path.unlink()
        _ship_streams(build)
        return target
    for path in (build.folder / "predictions").glob("*_polygon_pool_*.npz") if "04" in chosen else ():
        whole = Predictions.load(path)
        asked = (whole.frame["split"] != "train").to_numpy()
        Predictions(whole.frame[asked], whole.p[asked]).save(target / "predictions" / path.name)
    for path in (build.folder / "predictions").glob("*.csv.gz"):
        if path.name[:2] in chosen:
            _copy(path, target / "predictions" / path.name)
    return target


def _ship_streams(build: Build) -> None:
    """The runs of notebooks 02 and 03 become the streams that the package ships, `load_stream("demo-s2")`."""
    for stream in ("s2", "ge"):
        run = build.folder / "runs" / f"{stream}_polygon_pool_0"
        for name in ("model.safetensors", "run.json", "about.json"):
            if (run / name).exists():
                _copy(run / name, build.root / SHIPPED / f"demo-{stream}" / name)


def is_real(entry: dict) -> bool:
    """Whether a figure shows real imagery."""
    return str(entry["data"]).startswith("real")


def may_be_shown(entry: dict) -> bool:
    """Whether the picture may be committed: it is of no real imagery, or names whom to credit."""
    return not is_real(entry) or "attribution" in entry.get("parameters", {})


def _copy(path: Path, target: Path) -> None:
    if not target.exists() or target.read_bytes() != path.read_bytes():
        with atomic_path(target) as temporary:
            shutil.copyfile(path, temporary)


def _forget_what_is_no_longer_made(target: Path, made: set[str], chosen: list[str]) -> None:
    for path in target.iterdir():
        numbers = path.with_suffix(".json")
        if path.stem.split("_")[0] not in chosen or path.suffix not in PICTURES or path.name in made:
            continue
        if not numbers.exists() or not is_real(read_json(numbers)):  # not everybody has the real samples
            path.unlink()
