"""The command line, as a user meets it: exit codes and messages."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lczlib.__main__ import main
from lczlib.data import open_pairs
from lczlib.data.layout import s2_path
from lczlib.models import load_stream
from lczworld.__main__ import main as make_world


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "synthetic"
    assert make_world(["synth", str(folder), "--pairs", "17", "--cities", "1", "--workers", "1"]) == 0
    return folder


def test_a_synthetic_set_is_sound(data_dir, capsys):
    assert main(["check", str(data_dir)]) == 0
    assert "17 pairs (synthetic), no fault" in capsys.readouterr().out


def test_check_lists_each_fault_and_exits_1(data_dir, capsys):
    path = s2_path(data_dir, 4)
    content = path.read_bytes()
    path.write_bytes(content[:100])
    try:
        assert main(["check", str(data_dir)]) == 1
    finally:
        path.write_bytes(content)
    said = capsys.readouterr()
    assert "sen2_image_4.npz" in said.out
    assert said.err.count("\n") == 1


def test_masks_and_graphs_from_the_truth(data_dir, capsys):
    assert main(["masks", str(data_dir), "--sam", "truth", "--limit", "3"]) == 0
    assert "instance masks of 3 patches" in capsys.readouterr().out
    assert main(["graphs", str(data_dir), "--sam", "truth"]) == 0
    assert "17 graphs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "nowhere"], "nowhere: no index.csv"),
        (["masks", "nowhere"], "nowhere: no index.csv"),
        (["patches", "--s2", "nowhere.tif", "--polygons", "nowhere.kml", "--out", "out"], "nowhere"),
        (["map", "--s2", "nowhere.tif", "--out", "lcz.tif"], "nowhere.tif"),
    ],
)
def test_bad_input_is_one_line_and_exit_1(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert "Traceback" not in error


@pytest.mark.parametrize("stream", ["s2", "ge"])
def test_a_stream_is_trained_and_its_run_named(data_dir, tmp_path, stream, capsys):
    asked = ["train", str(data_dir), "--stream", stream, "--sam", "truth", "--split", "sample_pool", "--recipe", "demo"]
    asked += ["--work", str(tmp_path), "--set", "epochs=1", "width=2", "learning_rate=1e-3"]
    assert main(asked) == 0
    run = Path(capsys.readouterr().out.split("run: ")[1].strip())
    assert run.name == f"{stream}_sample_pool_0"
    assert load_stream(run).trained_on == "synthetic pairs"
    assert (run / "model.safetensors").exists()
    recipe = json.loads((run / "run.json").read_text())["params"]["recipe"]
    assert (recipe["width"], recipe["epochs"], recipe["learning_rate"]) == (2, 1, 1e-3)


@pytest.mark.parametrize("change", ["epoch=3", "width", "width=wide", "augment=1", "epochs=0", "stream=ge"])
def test_a_wrong_field_of_a_recipe_is_one_line(data_dir, change, capsys):
    assert main(["train", str(data_dir), "--stream", "s2", "--set", change]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_help_needs_none_of_the_heavy_libraries():
    code = "import sys; from lczlib.__main__ import _parser; _parser().format_help(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "torch", "pandas", "rasterio", "cv2", "sklearn"} & set(loaded)


@pytest.mark.parametrize("place", [0, 2])
def test_traceback_is_shown_where_asked_for(place, tmp_path):
    arguments = ["check", str(tmp_path / "nowhere")]
    with pytest.raises(FileNotFoundError, match="nowhere"):
        main([*arguments[:place], "--traceback", *arguments[place:]])


def test_a_fault_of_the_program_is_not_blamed_on_the_input(data_dir, monkeypatch):
    monkeypatch.setattr("lczlib.data.check", lambda folder: [][0])
    with pytest.raises(IndexError):
        main(["check", str(data_dir)])


@pytest.mark.parametrize("command", ["check", "masks", "graphs", "train", "fetch", "patches", "map", "at"])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"python -m lczlib {command}" in capsys.readouterr().out


def test_wrong_usage_is_exit_2():
    with pytest.raises(SystemExit) as usage:
        make_world(["synth"])
    assert usage.value.code == 2
    done = subprocess.run([sys.executable, "-m", "lczlib", "dance"], capture_output=True, text=True, check=False)
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("run", "arguments"),
    [
        (main, ["masks", ".", "--limit", "-5"]),
        (main, ["masks", ".", "--limit", "0"]),
        (main, ["train", ".", "--stream", "s2", "--seed", "-1"]),
        (main, ["assess", ".", "--seed", "-1"]),
        (make_world, ["synth", ".", "--seed", "-1"]),
    ],
)
def test_limits_and_seeds_are_counted_from_0(run, arguments, capsys):
    with pytest.raises(SystemExit) as usage:
        run(arguments)
    assert usage.value.code == 2
    assert f"'{arguments[-1]}' is not a whole number" in capsys.readouterr().err


@pytest.mark.parametrize("workers", ["0", "-2", "many", "1.5"])
@pytest.mark.parametrize(
    ("run", "arguments"),
    [(main, ["masks", "."]), (main, ["graphs", "."]), (main, ["assess", "."]), (make_world, ["synth", "."])],
)
def test_workers_are_a_number_of_processes(run, arguments, workers, capsys):
    with pytest.raises(SystemExit) as usage:
        run([*arguments, "--workers", workers])
    assert usage.value.code == 2
    assert f"'{workers}' is not a whole number, 1 or more" in capsys.readouterr().err


def test_pairs_can_be_opened(data_dir):
    pairs = open_pairs(data_dir)
    assert len(pairs) == 17
    assert pairs.rgb.shape == (17, 320, 320, 3)
