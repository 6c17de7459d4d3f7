"""`check` finds exactly the faults planted in a data set: 20 among many sound pairs, and not one more.

100 pairs run with the other tests; `LCZ_PAIRS=1000 pytest tests/faults/test_planted_faults.py` takes as many.
"""

import os
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from geodata import reflectance

from lczlib.__main__ import main
from lczlib.data import layout
from lczlib.data.checks import check

PAIRS = int(os.environ.get("LCZ_PAIRS", "100"))


class Touch:
    """Something whose unpickling would leave a file."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def make_sound(folder: Path) -> pd.DataFrame:
    """Pairs of noise in the published layout, with truth, graphs and a split."""
    rng, labels = np.random.default_rng(0), np.arange(PAIRS) // 4 % 17 + 1
    scene = reflectance(200, 200)
    for i, label in enumerate(labels):
        row, col = rng.integers(0, 168, 2)
        s2 = scene[row : row + 32, col : col + 32] * rng.uniform(0.9, 1.1)
        layout.write_pair(folder, i, s2, rng.integers(1, 255, layout.RGB_SHAPE, dtype=np.uint8), int(label))
        maps = {name: np.zeros(layout.RGB_SHAPE[:2], np.uint8) for name in layout.MAPS}
        numbers = {name: np.float32(0) for name in layout.TRUTH if name not in layout.MAPS}
        layout.write_npz(layout.truth_path(folder, i), **maps, **numbers)
        layout.write_npz(folder / layout.GRAPH_FOLDER / f"graph_{i}.npz", x=np.zeros((3, 5)), a=np.zeros((3, 3)))
    frame = pd.DataFrame(
        {"id": np.arange(PAIRS), "label": labels, "city": "a", "polygon": (np.arange(PAIRS) // 4).astype(str)}
    )
    layout.write_index(folder, frame)
    parts = np.split(np.arange(PAIRS), [PAIRS - 20, PAIRS - 10])
    write_split(folder, "random", dict(zip(("train", "validation", "test"), parts, strict=True)))
    return frame


def write_split(folder: Path, name: str, parts: object) -> Path:
    path = folder / layout.SPLIT_FOLDER / f"partition_{name}.npz"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(parts))
    return path


def plant(folder: Path, frame: pd.DataFrame) -> list[Path]:
    """Twenty faults; the files that hold them."""
    s2, rgb = lambda i: layout.s2_path(folder, i), lambda i: layout.rgb_path(folder, i)
    truth, graph = lambda i: layout.truth_path(folder, i), lambda i: folder / layout.GRAPH_FOLDER / f"graph_{i}.npz"

    def change(path: Path, **arrays: np.ndarray) -> Path:
        with np.load(path) as stored:
            layout.write_npz(path, **(dict(stored) | arrays))
        return path

    good, label = layout.read_s2(s2(0))
    picture = layout.read_rgb(rgb(0))[0]
    hole, black = good.copy(), picture.copy()
    hole[:8, :8], black[:100, :100] = 0, 0
    nan = np.where(np.arange(10) == 3, np.nan, good)
    planted = [
        change(s2(1), image=good[:31]), change(s2(2), image=nan), change(s2(3), image=good * 10000),
        change(s2(4), label=np.int64(0)), change(s2(5), label=np.int64(label + 5)), change(s2(6), image=hole),
        change(s2(7), image=np.full_like(good, 0.2)), change(s2(8), image=good), change(rgb(9), image=picture / 255),
        change(rgb(10), label=np.int64(17)), change(rgb(11), image=black), change(rgb(12), image=picture[..., :2]),
        change(truth(13), height=np.zeros((5, 5))), change(graph(14), x=np.zeros((3, 4))),
    ]  # fmt: skip
    for path in (s2(15), rgb(16)):
        path.write_bytes(path.read_bytes()[:-200])
        planted.append(path)
    rgb(17).unlink()
    layout.write_npz(s2(PAIRS + 5), image=good * 1.01, label=np.int64(1))
    frame.loc[frame["id"].isin((20, 24)), "polygon"] = "shared"  # of two zones
    layout.write_index(folder, frame)
    parts = {"train": np.arange(5), "validation": np.array([10**6]), "test": np.arange(6, 9)}
    planted += [rgb(17), folder / layout.S2_FOLDER, folder / "index.csv", write_split(folder, "unknown", parts)]
    return planted


def test_check_finds_the_twenty_planted_faults_and_no_other(tmp_path, capsys):
    frame = make_sound(tmp_path)
    assert check(tmp_path) == []
    planted = plant(tmp_path, frame)
    assert len(planted) == 20
    found = check(tmp_path)
    assert Counter(fault.path for fault in found) == Counter(planted)
    assert all(fault.fault and fault.remedy for fault in found)
    assert main(["check", str(tmp_path)]) == 1
    assert "20 fault(s)" in capsys.readouterr().err


def test_a_split_that_would_run_something_is_a_fault_and_runs_nothing(tmp_path):
    make_sound(tmp_path)
    path = write_split(tmp_path, "hostile", {"train": Touch(tmp_path / "executed")})
    assert [fault.path for fault in check(tmp_path)] == [path]
    assert not (tmp_path / "executed").exists()
