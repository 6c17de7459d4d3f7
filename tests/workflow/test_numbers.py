"""`--compare`: every number of two folders, exactly."""

import json
import shutil
from pathlib import Path

import pytest

from workflow.__main__ import main

NUMBERS = {"oa": 0.5, "n": 1024, "curve": [[0.1, None], [1, 2e9]], "name": "a", "flag": True, "empty": [], "tiny": 3e-9}


def _write(folder: Path, numbers: object, name: str = "04_alpha.json", **others: object) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps({"figure": "04_alpha", "numbers": numbers, **others}))
    return folder


def _compared(tmp_path: Path, capsys) -> tuple[int, list[str]]:
    status = main(["--compare", str(tmp_path / "a"), str(tmp_path / "b")])
    return status, capsys.readouterr().out.splitlines()[:-1]


def _with(path: list, value: object) -> dict:
    changed = json.loads(json.dumps(NUMBERS))
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return changed


def test_equal_folders_give_0_whatever_else_the_files_say(tmp_path, capsys):
    _write(tmp_path / "a", NUMBERS, seed=0)
    _write(tmp_path / "b", NUMBERS, seed=1, commit="x")
    assert _compared(tmp_path, capsys) == (0, [])


@pytest.mark.parametrize(
    ("path", "value", "differs"),
    [
        (["oa"], 0.500001, False),  # by 1e-6, not by more
        (["oa"], 0.5000010000001, True),
        (["oa"], 0.4999989, True),
        (["n"], 1024.0, False),
        (["n"], 1025, True),
        (["n"], "1024", True),
        (["curve", 1, 1], 2000000000.00001, True),
        (["curve", 0, 1], 0.0, True),
        (["curve", 0, 1], float("nan"), True),
        (["curve"], [[0.1, None], [1]], True),
        (["curve", 0], {"0": 0.1, "1": None}, True),
        (["name"], "b", True),
        (["flag"], 1, True),
        (["empty"], {}, True),
        (["tiny"], 0, False),
        (["oa"], 10**400, True),
        (["added"], 0, True),
    ],
)
@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_difference_is_more_than_1e_6_or_another_kind(tmp_path, capsys, path, value, differs, order):
    _write(tmp_path / order[0], NUMBERS)
    _write(tmp_path / order[1], _with(path, value))
    status, lines = _compared(tmp_path, capsys)
    assert status == differs
    assert all(line.startswith("04_alpha.json: " + ".".join(map(str, path))) for line in lines)
    assert bool(lines) == differs


def test_not_a_number_equals_itself_only(tmp_path, capsys):
    _write(tmp_path / "a", {"x": float("nan"), "y": float("inf")})
    _write(tmp_path / "b", {"x": float("nan"), "y": float("inf")})
    assert _compared(tmp_path, capsys) == (0, [])
    _write(tmp_path / "b", {"x": None, "y": float("-inf")})
    assert len(_compared(tmp_path, capsys)[1]) == 2


def test_files_of_one_side_and_of_subfolders_count(tmp_path, capsys):
    for side in "ab":
        _write(tmp_path / side, NUMBERS)
        _write(tmp_path / side, NUMBERS, "evidence/07_costs.json")
    (tmp_path / "a" / "published.json").write_text('[{"oa": 0.9417}]')  # without `numbers`: the whole file
    status, lines = _compared(tmp_path, capsys)
    assert (status, lines) == (1, [f"published.json: only in {tmp_path / 'a'}"])
    (tmp_path / "b" / "published.json").write_text('[{"oa": 0.9418}]')
    _write(tmp_path / "b", NUMBERS | {"oa": 0}, "evidence/07_costs.json")
    lines = _compared(tmp_path, capsys)[1]
    assert [line.split(":")[0] for line in lines] == ["evidence/07_costs.json", "published.json"]


@pytest.mark.parametrize("content", [None, "", "{"])
def test_a_fault_is_one_line(tmp_path, capsys, content):
    _write(tmp_path / "a", NUMBERS)
    if content is not None:
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "04_alpha.json").write_text(content)
    assert _compared(tmp_path, capsys)[0] == 1
    assert main(["--compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_every_altered_number_of_the_committed_figures_is_found(tmp_path, capsys):
    figures = Path(__file__).parents[2] / "figures"
    assert main(["--compare", str(figures), str(figures)]) == 0
    entry = json.loads((figures / "04_alpha.json").read_text())
    entry["numbers"]["oa"]["s2"][0] += 2e-6
    changed = tmp_path / "changed"
    shutil.copytree(figures, changed, ignore=shutil.ignore_patterns("*.png", "*.pdf", "*.npz"))
    (changed / "04_alpha.json").write_text(json.dumps(entry))
    capsys.readouterr()
    assert main(["--compare", str(figures), str(changed)]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 2
