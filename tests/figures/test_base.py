"""Saving a figure: three files of one stem, the same bytes each time, every number, the stamp, what it follows from."""

import json
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from lczlib.figures import ONE_COLUMN, Gallery, use_style
from lczlib.metrics import Interval

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _style():
    use_style()


def _figure():
    fig, ax = plt.subplots(figsize=(ONE_COLUMN, 2))
    ax.plot([0, 1], [0, 1])
    return fig


def _save(folder: Path, data: str = "synthetic", fig=None, numbers: dict | None = None, **more) -> Path:
    words = {"question": "Why?", "caption": "A *line*.", "alt": "A line that rises."} | more
    gallery = Gallery(folder, data, seed=7, parameters={"k": 1})
    return gallery.add(fig or _figure(), "99_test", numbers or {"x": 1.0}, **words)


def test_three_files_of_one_stem_hold_numbers_words_and_what_they_depend_on(tmp_path):
    numbers = {"a": np.float32(0.123456789), "b": [np.int64(3)], "c": float("nan"), "d": {"e": np.arange(2)}}
    path = _save(tmp_path, numbers=numbers | {"i": Interval(0.1, 0.0, 0.2)}, follows_from="data", width=8)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["99_test.json", "99_test.pdf", "99_test.png"]
    entry = json.loads(path.with_suffix(".json").read_text())
    assert entry["numbers"] == {"a": 0.123457, "b": [3], "c": None, "d": {"e": [0, 1]}, "i": [0.1, 0.0, 0.2]}
    assert (entry["seed"], entry["data"], entry["parameters"]) == (7, "synthetic", {"k": 1, "width": 8})
    assert (entry["question"], entry["caption"], entry["alt"]) == ("Why?", "A *line*.", "A line that rises.")
    assert entry["follows_from"] == "data"
    assert all(entry[name] for name in ("cpu", "instruction_set", "threads", "versions", "commit"))


def test_what_numbers_follow_from_is_one_of_three():
    with pytest.raises(ValueError, match="expected one of data, predictions, training"):
        _save(Path("nowhere"), follows_from="luck")


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    one, two = _save(tmp_path / "one"), _save(tmp_path / "two")
    for suffix in (".png", ".pdf", ".json"):
        assert one.with_suffix(suffix).read_bytes() == two.with_suffix(suffix).read_bytes()
    assert b"CreationDate" not in one.with_suffix(".pdf").read_bytes()


@pytest.mark.parametrize("width", [3.5, 4.9, 7.16, 10 / 3])  # 4.9 * 300 is less than 1470 in floating point
def test_the_picture_is_the_one_that_matplotlib_writes(tmp_path, width):
    fig, other = (plt.figure(figsize=(width, 2.3)) for _ in range(2))
    for one in (fig, other):
        one.add_subplot().plot([0, 1], [0, 1])
    other.savefig(tmp_path / "own.png", dpi=300)
    path = _save(tmp_path, "none", fig)
    drawn, own = (np.asarray(Image.open(one).convert("RGB")).astype(int) for one in (path, tmp_path / "own.png"))
    assert drawn.shape == own.shape
    assert np.abs(drawn - own).max() < 16  # of 256 colours


@pytest.mark.parametrize(("data", "stamped"), [("synthetic", True), ("LCZC-GES2", False), ("none", False)])
def test_synthetic_data_are_named_in_the_picture(tmp_path, data, stamped):
    fig = _figure()
    path = _save(tmp_path, data, fig)
    assert any("synthetic" in text.get_text() for text in fig.texts) == stamped
    assert Image.open(path).width == round(300 * ONE_COLUMN)
