"""Broken files of every kind that this software reads: `python broken_files.py FOLDER FIRST COUNT` tries some of them.

Case n is a kind of file, a change and a seed, all following from n. Each prints one line of JSON: what came of it.
test_broken_files.py starts it in a process of its own, so that a crash or a hang of a library is seen as one.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import resource
import shutil
import sys
import time
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import h5py
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from geodata import UTM33, reflectance, square, write_areas, write_s2

from lczlib.__main__ import main
from lczlib.data import fetch, splits
from lczlib.errors import InputError
from lczlib.models import InstanceGCN, load_keras, load_stream
from lczlib.models.inference import DEMO
from lczlib.sam import load_sam
from lczworld.dataset import make_dataset

KERAS = Path(__file__).parents[1] / "data" / "keras_gcn.hdf5"
VECTORS = (".kml", ".geojson", ".shp", ".gpkg", ".kmz")
AREAS = [(label, square(100 + 700 * k, 100, 500)) for k, label in enumerate((2, 6, 11))]


KML = '<?xml version="1.0"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document>{}</Document></kml>'
KML_PLACE = (
    "<Placemark><name>LCZ {}</name><Polygon><outerBoundaryIs><LinearRing><coordinates>{}</coordinates></LinearRing>"
    "</outerBoundaryIs></Polygon></Placemark>"
)


class Touch:
    """Something whose unpickling would leave a file: harmless, and seen."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def _corners(area) -> str:
    return " ".join(f"{x},{y}" for x, y in area.exterior.coords)


def make_sound_files(folder: Path) -> None:
    """One sound file or folder of each kind, to be broken in copies."""
    make_dataset(folder / "pairs", 4, workers=1, progress=False)
    write_s2(folder / "scene.tif", reflectance(90, 230))
    for suffix in (".geojson", ".shp", ".gpkg"):
        write_areas(folder / f"areas{suffix}", AREAS, to_crs="EPSG:4326")
    degrees = gpd.GeoSeries([area for _, area in AREAS], crs=UTM33).to_crs("EPSG:4326")
    places = "".join(KML_PLACE.format(label, _corners(area)) for (label, _), area in zip(AREAS, degrees))
    (folder / "areas.kml").write_text(KML.format(places))
    with zipfile.ZipFile(folder / "areas.kmz", "w") as archive:
        archive.write(folder / "areas.kml", "doc.kml")
    parts = {"train": np.arange(8), "validation": np.arange(8, 10), "test": np.arange(10, 12)}
    (folder / "split.npz").write_bytes(pickle.dumps(parts))
    shutil.copy(KERAS, folder / "weights.hdf5")
    for name, options in (("training", {}), ("repacked", {"compression": "gzip"})):
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file.create_dataset("sen2", data=np.random.default_rng(0).random((6, 32, 32, 10)), **options)
            file.create_dataset("label", data=np.eye(17)[:6])
    shutil.copytree(DEMO / "demo-s2", folder / "run")
    sam = load_sam("nano").state_dict()
    torch.save({k: v for k, v in sam.items() if k not in ("pixel_mean", "pixel_std")}, folder / "sam.pth")
    with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
        archive.writestr("main/readme.txt", "sound")


# What is tried with the broken copy: (file that is broken, what reads it). 0: read, 1: refused in one line.


def _command(*arguments: object) -> int:
    return main([str(one) for one in arguments])


def _patches(areas: Path) -> int:
    return _command("patches", "--s2", areas.parent / "scene.tif", "--polygons", areas, "--out", areas.parent / "cut")


def _map(scene: Path) -> int:
    return _command("map", "--s2", scene, "--run", "demo-s2", "--step", 400, "--out", scene.with_name("lcz.tif"))


def _called(read: Callable, *arguments: object) -> int:
    try:
        read(*arguments)
    except (InputError, OSError) as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    return 0


KINDS: dict[str, Callable[[Path], int]] = {
    "pairs/sen2_img_patches/sen2_image_1.npz": lambda path: _command("check", path.parents[1]),
    "pairs/google_img_320/gg_image_2.npz": lambda path: _command("check", path.parents[1]),
    "pairs/truth/truth_3.npz": lambda path: _command("check", path.parents[1]),
    "pairs/index.csv": lambda path: _command("check", path.parent),
    "scene.tif": _map,
    **{f"areas{suffix}": _patches for suffix in VECTORS},
    "split.npz": lambda path: _called(splits.read_published_split, path),
    "weights.hdf5": lambda path: _called(load_keras, path, InstanceGCN()),
    **{f"{name}.h5": lambda path: _command("check", path) for name in ("training", "repacked")},
    "run/model.safetensors": lambda path: _called(load_stream_whole, path.parent),
    "run/run.json": lambda path: _called(load_stream_whole, path.parent),
    "sam.pth": lambda path: _called(load_sam, "nano", path),
    "archive.zip": lambda path: _called(fetch.unpack, path, path.with_name("unpacked")),
}


def load_stream_whole(run: Path) -> None:
    """A stream and its network."""
    stream = load_stream(run)
    assert stream.model is not None


# How a file is broken: each takes its bytes and a generator.


def _flip(content: bytes, rng: np.random.Generator, count: int) -> bytes:
    changed = bytearray(content)
    for at in rng.integers(len(changed), size=count):
        changed[at] ^= 1 << rng.integers(8)
    return bytes(changed)


def _overwrite(content: bytes, rng: np.random.Generator, value: bytes) -> bytes:
    at = int(rng.integers(max(len(content) - len(value), 1)))
    return content[:at] + value + content[at + len(value) :]


CHANGES: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "truncated": lambda content, rng: content[: int(rng.integers(len(content)))],
    "truncated near the end": lambda content, rng: content[: -int(rng.integers(1, 64))],
    "empty": lambda content, rng: b"",
    "one bit": lambda content, rng: _flip(content, rng, 1),
    "eight bits": lambda content, rng: _flip(content, rng, 8),
    "bits of the head": lambda content, rng: _flip(content[:256], rng, 4) + content[256:],
    "a hundred bits": lambda content, rng: _flip(content, rng, 100),
    "a block of zeros": lambda content, rng: _overwrite(content, rng, bytes(64)),
    "large numbers": lambda content, rng: _overwrite(content[:512], rng, b"\xff" * 4) + content[512:],
    "other bytes": lambda content, rng: rng.bytes(len(content) // 2 + 1),
    "begins twice": lambda content, rng: content[: len(content) // 2] + content,
    "words": lambda content, rng: b"<html><body>Not found</body></html>",
}


def _npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def contents(name: str, folder: Path) -> list[bytes]:
    """Contents that are well formed and wrong, for this kind of file."""
    marker = folder / "executed"
    s2, rgb = np.full((32, 32, 10), 0.1, np.float32), np.zeros((320, 320, 3), np.uint8)
    huge = (
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,), }".ljust(117)
        + b"\n"
    )
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("image.npy", huge)
        file.writestr("label.npy", huge)
    arrays = [_npz(image=s2[:31], label=3), _npz(image=s2 * np.nan, label=3), _npz(image=s2, label=0), _npz(image=s2),
              _npz(image=s2.astype(str), label=3), _npz(image=np.array([Touch(marker)], object), label=3),
              _npz(image=rgb.astype(float), label=3), _npz(image=rgb[:, :, :2], label=3), _npz(image=s2 * 1e4, label=3),
              _npz(image=s2, label=np.array([1, 2])), _npz(instances=rgb, zone="x"), archive.getvalue()]  # fmt: skip
    table = [
        "id,label,city,polygon\n0,1,a,b\n0,2,a,c\n",
        "id,label,city,polygon\n0,99,a,b\n",
        "id;label\n0;1\n",
        "\0\0",
    ]
    table += ["id,label,city,polygon\n", "id,label,city,polygon\nx,1,a,b\n", "id,label,city,polygon\n7,1,a,b\n"]
    areas = ['{"type": "FeatureCollection", "features": []}', "{}", "<kml/>"]
    areas += [
        '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"lcz": 99}, "geometry": null}]}'
    ]
    outside = io.BytesIO()
    with zipfile.ZipFile(outside, "w") as file:
        file.writestr("../outside.txt", "no")
    tables = [
        "{}",
        "[]",
        '{"params": {}}',
        '{"params": {"model": "none", "stream": "s2", "features": 10, "recipe": {}}}',
    ]
    sen2, label = np.full((3, 32, 32, 10), 0.1), np.eye(17)[:3]
    hdf5 = [_h5(sen2=sen2, label=h5py.SoftLink("/label")), _h5(sen2=h5py.ExternalLink("/etc/passwd", "/"), label=label),
            _h5(sen2=((10**9, 32, 32, 10), "f8"), label=((10**9, 17), "f8")), _h5(sen2=sen2, label=label[:2]), _h5(),
            _h5(sen2=((3, 32, 32, 10), h5py.string_dtype()), label=label), _h5(sen2=1.0, label=label)]  # fmt: skip
    return {
        ".h5": hdf5,
        ".npz": [pickle.dumps({"train": Touch(marker)}), pickle.dumps([1]), pickle.dumps({"train": np.arange(3)})]
        if name == "split.npz" else arrays,
        ".csv": [text.encode() for text in table],
        ".geojson": [text.encode() for text in areas], ".kml": [text.encode() for text in areas],
        ".json": [text.encode() for text in tables],
        ".pth": [pickle.dumps(Touch(marker)), _saved({"a": Touch(marker)}), _saved([1]), _saved({"a": torch.zeros(2)})],
        ".zip": [outside.getvalue()],
    }.get(Path(name).suffix, [])  # fmt: skip


def _h5(**datasets: object) -> bytes:
    """A file of these arrays, or of (shape, dtype) that nobody has written to."""
    file = io.BytesIO()
    with h5py.File(file, "w") as content:
        for name, values in datasets.items():
            if isinstance(values, tuple):
                content.create_dataset(name, *values, chunks=(1, *values[0][1:]))
            else:
                content[name] = values
    return file.getvalue()


def _saved(thing: object) -> bytes:
    file = io.BytesIO()
    torch.save(thing, file)
    return file.getvalue()


def case(n: int, sound: Path, folder: Path) -> tuple[str, str, Path]:
    """Break a copy of case n in `folder`: the kind, the change, the broken file."""
    rng, name = np.random.default_rng(n), list(KINDS)[n % len(KINDS)]
    shutil.copytree(sound, folder)
    path, others = folder / name, contents(name, folder)
    change = rng.integers(len(CHANGES) + len(others))
    if change < len(CHANGES):
        what, make = list(CHANGES.items())[change]
        path.write_bytes(make(path.read_bytes(), rng))
    else:
        what = f"other content {change - len(CHANGES)}"
        path.write_bytes(others[change - len(CHANGES)])
    return name, what, path


def try_case(n: int, sound: Path, folder: Path) -> dict[str, object]:
    """Have case n read; what came of it."""
    name, what, path = case(n, sound, folder)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed):
            outcome = {0: "read", 1: "refused"}[KINDS[name](path)]
    except BaseException:
        outcome = "traceback"
        print(traceback.format_exc(), file=printed)
    return {
        "case": n,
        "kind": name,
        "change": what,
        "outcome": outcome,
        "seconds": time.monotonic() - start,
        "megabytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
        "executed": (folder / "executed").exists() or (folder.parent / "outside.txt").exists(),
        "names the file": path.name in printed.getvalue() or path.stem in printed.getvalue(),
        "said": printed.getvalue()[-1500:],
    }


if __name__ == "__main__":
    place, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    if not (place / "sound").exists():
        make_sound_files(place / "making")
        os.rename(place / "making", place / "sound")
    for number in range(first, first + count):
        try:
            print(json.dumps(try_case(number, place / "sound", place / "broken")), flush=True)
        finally:
            shutil.rmtree(place / "broken", ignore_errors=True)
