"""LCZC-GES2 on disk: where each file lies, how it is read and written.

Source: the published repository's layout; `index.csv` and `dataset.json` are this project's additions, because the
published set names neither the city nor the polygon of a pair.
"""

import hashlib
import os
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from lczlib.errors import InputError
from lczlib.runs import atomic_path, write_json
from lczlib.zones import K

BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")  # order assumed: that of So2Sat LCZ42
S2_SHAPE = (32, 32, len(BANDS))
RGB_SHAPE = (320, 320, 3)
INDEX_COLUMNS = ("id", "label", "city", "polygon")
MAPS = ("instances", "height", "cover")  # (320, 320) each, of a truth file
TRUTH = (*MAPS, "bsf", "isf", "psf", "svf", "mean_height", "zone", "seed")

S2_FOLDER, RGB_FOLDER, TRUTH_FOLDER = "sen2_img_patches", "google_img_320", "truth"
GRAPH_FOLDER, SPLIT_FOLDER, PACK_FOLDER = "gg_nodes_refine", "patches_split", "packed"


def s2_path(data_dir: str | Path, sample_id: int) -> Path:
    """`sen2_img_patches/sen2_image_{id}.npz`."""
    return Path(data_dir) / S2_FOLDER / f"sen2_image_{sample_id}.npz"


def rgb_path(data_dir: str | Path, sample_id: int) -> Path:
    """`google_img_320/gg_image_{id}.npz`."""
    return Path(data_dir) / RGB_FOLDER / f"gg_image_{sample_id}.npz"


def truth_path(data_dir: str | Path, sample_id: int) -> Path:
    """`truth/truth_{id}.npz`, in synthetic sets only."""
    return Path(data_dir) / TRUTH_FOLDER / f"truth_{sample_id}.npz"


def read_npz(path: Path, *names: str) -> list[np.ndarray]:
    """The named arrays of an npz, never executing anything in it; each fault is an error of one line with the file."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; restore it or remove its row from index.csv")
    try:
        with zipfile.ZipFile(path) as stored:
            arrays = []
            for name in names:
                with stored.open(f"{name}.npy") as file:
                    arrays.append(np.lib.format.read_array(file, allow_pickle=False))
            return arrays
    except KeyError as missing:
        raise InputError(f"{path}: {missing.args[0]}; expected arrays {', '.join(names)}") from None
    except Exception as fault:  # a damaged file can raise nearly anything in zipfile, zlib and numpy
        reason = " ".join(str(fault).split())[:120]
        raise InputError(f"{path}: unreadable ({reason}); copy or make it again") from None


def _label(path: Path, value: np.ndarray) -> int:
    if value.size != 1 or value.dtype.kind not in "fiu" or value.item() not in range(1, K + 1):
        raise InputError(f"{path}: label {value.tolist()!r:.80} is not one of 1..17; convert it with lczlib.zones")
    return int(value.item())


def read_s2(path: str | Path) -> tuple[np.ndarray, int]:
    """One Sentinel-2 patch: (32, 32, 10) float32 reflectance (may exceed 0..1 slightly), label 1..17.

    Raises InputError where it is unreadable, of another shape, not finite, or in digital numbers.
    """
    path = Path(path)
    image, label = read_npz(path, "image", "label")
    if image.shape != S2_SHAPE or image.dtype.kind not in "fiu":
        raise InputError(f"{path}: image is {image.dtype} {image.shape}; expected float {S2_SHAPE}")
    image = image.astype(np.float32)
    if not np.isfinite(image).all():
        raise InputError(f"{path}: holds values that are not finite; cut the patch again without no-data pixels")
    if np.percentile(image, 99) > 10:
        raise InputError(f"{path}: holds digital numbers, not reflectance; store (DN + offset) / 10000")
    return image, _label(path, label)


def read_rgb(path: str | Path) -> tuple[np.ndarray, int]:
    """One RGB patch: (320, 320, 3) uint8, resized bilinearly from any size as published, label 1..17.

    Raises InputError where it is unreadable or not an 8-bit colour image.
    """
    path = Path(path)
    image, label = read_npz(path, "image", "label")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise InputError(f"{path}: image is {image.dtype} {image.shape}; expected uint8 (H, W, 3)")
    if image.shape != RGB_SHAPE:
        image = cv2.resize(image, RGB_SHAPE[1::-1], interpolation=cv2.INTER_LINEAR)
    return image, _label(path, label)


def read_truth(path: str | Path, names: Sequence[str] = TRUTH) -> dict[str, np.ndarray]:
    """The truth of a synthetic pair, or what is named of it: instances, height, cover (320, 320 each), bsf, isf, psf,
    svf (0..1), mean_height (m), zone, seed. Raises what `read_npz` does.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no truth there; only synthetic pairs have one (use another --sam than truth)")
    return dict(zip(names, read_npz(path, *names), strict=True))


def write_npz(path: Path, **arrays: np.ndarray) -> None:
    """Write a lightly compressed npz atomically: half the time of `np.savez_compressed`, 7 % larger."""
    how = {"mode": "w", "compression": zipfile.ZIP_DEFLATED, "compresslevel": 1}
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, **how) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def write_pair(data_dir: str | Path, sample_id: int, s2: np.ndarray, rgb: np.ndarray | None, label: int) -> None:
    """Write a pair in the published layout: s2 (32, 32, 10) reflectance, rgb (320, 320, 3) uint8, label 1..17."""
    assert s2.shape == S2_SHAPE, s2.shape
    write_npz(s2_path(data_dir, sample_id), image=s2.astype(np.float32), label=np.int64(label))
    if rgb is not None:
        assert (rgb.shape, rgb.dtype) == (RGB_SHAPE, np.uint8), (rgb.shape, rgb.dtype)
        write_npz(rgb_path(data_dir, sample_id), image=rgb, label=np.int64(label))


def write_index(data_dir: str | Path, frame: pd.DataFrame, kind: str = "own city", **facts: object) -> None:
    """Write `index.csv` (id, label, city, polygon) and `dataset.json` ({"kind": ..., facts})."""
    with atomic_path(Path(data_dir) / "index.csv") as temporary:
        frame.loc[:, list(INDEX_COLUMNS)].to_csv(temporary, index=False)
    write_json(Path(data_dir) / "dataset.json", {"kind": kind, "bands": list(BANDS), **facts})


def read_index(data_dir: str | Path) -> pd.DataFrame:
    """The pairs of a data set: id, label (1..17), city and polygon ("" where unknown), sorted by id.

    Raises FileNotFoundError where there is no `index.csv`, InputError where it is damaged.
    """
    path = Path(data_dir) / "index.csv"
    if not path.exists():
        raise FileNotFoundError(
            f"{data_dir}: no index.csv and no {S2_FOLDER}/ there; make pairs with `python -m lczworld synth "
            f"{data_dir}` or give the folder of LCZC-GES2"
        )
    try:
        found = pd.read_csv(path, dtype={"city": str, "polygon": str}, keep_default_na=False)[list(INDEX_COLUMNS)]
        frame = found.astype({"id": np.int64, "label": np.int64})
        if (frame != found)[["id", "label"]].any(axis=None):
            raise InputError("an id or a label is no whole number")
    except (KeyError, OverflowError, ValueError) as fault:
        raise InputError(f"{path}: not an index ({fault}); expected columns {','.join(INDEX_COLUMNS)}") from None
    if (twice := frame["id"].duplicated()).any():
        raise InputError(f"{path}: id {frame['id'][twice].iloc[0]} occurs twice; make ids unique")
    if (strange := ~frame["label"].between(1, K)).any():
        raise InputError(f"{path}: label {frame['label'][strange].iloc[0]} is not one of 1..17")
    return frame.sort_values("id", ignore_index=True)


def listing(folder: Path) -> str:
    """Digest of names, sizes and modification times of the npz files of a folder; "" where there is none."""
    if not folder.exists():
        return ""
    with os.scandir(folder) as entries:
        facts = sorted((one.name, one.stat()) for one in entries if one.name.endswith(".npz"))
    lines = "".join(f"{name} {status.st_size} {status.st_mtime_ns}\n" for name, status in facts)
    return hashlib.sha256(lines.encode()).hexdigest()


def patch_ids(folder: Path) -> list[int]:
    """Ids of the patches `..._{id}.npz` in a folder, ascending; [] where there is no folder."""
    found = (re.fullmatch(r".+_(\d+)\.npz", path.name) for path in folder.glob("[!.]*.npz")) if folder.exists() else ()
    return sorted(int(match[1]) for match in found if match)
