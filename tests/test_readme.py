"""The front page says what the numbers files say, and what it shows works."""

import json
import re
import shlex
from pathlib import Path

import pytest

from lczlib.__main__ import main
from lczlib.zones import ZONES
from workflow.results import ledger, read_figures

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FIGURES = read_figures(ROOT / "figures")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.+?)```", README, re.DOTALL)


def test_every_claim_stands_under_its_verdict_of_today():
    section = README.split("## What has been learned")[1].split("\n## ")[0]
    found = [" ".join(text.split()) for text in re.findall(r"^- (\*\*.+(?:\n  .+)*)", section, re.M)]
    rows = ledger(FIGURES, json.loads((ROOT / "figures" / "published.json").read_text()))
    for word in dict.fromkeys(row.verdict for row in rows):
        line = f"**{word}**: {'; '.join(row.short for row in rows if row.verdict == word)}"
        assert line in found, f"README should have: - {line}"
    assert len(found) == len({row.verdict for row in rows}), "README lists a verdict that no claim has"


def test_it_names_todays_accuracy_in_berlin():
    berlin = FIGURES["06_real_check"]["numbers"]["as trained"]["Berlin"]["oa"][0]
    assert f"is right in {berlin:.0%}".replace("%", " %") in README


def test_it_stays_short_and_every_link_leads_somewhere():
    assert len(README.splitlines()) <= 120
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", README) if not link.startswith("http")]
    assert not [link for link in links if not (ROOT / link).exists()]


def test_its_python_runs(capsys):
    (code,) = _blocks("python")
    exec(code, {})
    assert capsys.readouterr().out.strip() in [f"{zone.code} {zone.name}" for zone in ZONES]


def test_its_commands_are_understood(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = [line for block in _blocks("bash") for line in block.splitlines() if line.startswith("python -m lczlib ")]
    assert len(lines) == 5
    for line in lines:
        try:
            assert main(shlex.split(line, comments=True)[3:]) == 1, (
                line
            )  # its files are not there: one line that says so
        except SystemExit:
            pytest.fail(f"not understood: {line}")
        assert "error:" in capsys.readouterr().err
