"""Costs and ratios in the documents are those of the measured times."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_table_follows_from_the_measured_times():
    made = runpy.run_path(str(ROOT / "benchmarks" / "whole_set.py"))
    assert made["table"]() in (ROOT / "REPRODUCING.md").read_text(encoding="utf-8")
    cpu, gpu = made["hours"]()["masks, SAM `vit_h`"]
    assert cpu > 500 > gpu > 0.5


def test_times_are_told_in_the_unit_that_fits():
    words = runpy.run_path(str(ROOT / "benchmarks" / "whole_set.py"))["in_words"]
    assert [words(h) for h in (1356.0, 5.2, 0.5, 0.004, None)] == ["56 days", "5.2 h", "30 min", "14 s", "-"]


def test_the_table_of_benchmarks_is_that_of_their_files():
    printed = runpy.run_path(str(ROOT / "benchmarks" / "__main__.py"))
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    for part in (printed["table"](), printed["machines"]()):
        assert len(part.splitlines()) > 5
        assert part in text
