import json
import os
import signal
import time
from multiprocessing import get_context

import numpy as np
import pytest
from processes import within

from lczlib.errors import InputError
from lczlib.runs import Run, atomic_path, content_key, file_lock, read_json, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    target = tmp_path / "numbers.txt"
    target.write_text("old")

    def stop_half_way():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stop_half_way()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def _make_once(path):
    with file_lock(path):
        if not path.exists():
            time.sleep(0.5)
            with path.open("a") as file:
                file.write(f"{os.getpid()}\n")


def _hold(path):
    with file_lock(path):
        path.touch()
        time.sleep(600)


def test_what_several_processes_want_is_made_once(tmp_path):
    path = tmp_path / "new folder" / "made"
    processes = [get_context("spawn").Process(target=_make_once, args=(path,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    (maker,) = path.read_text().split()
    assert int(maker) in {process.pid for process in processes}


def test_a_killed_process_holds_nothing(tmp_path):
    path = tmp_path / "made"
    process = get_context("spawn").Process(target=_hold, args=(path,))
    process.start()
    assert within(60, path.exists)
    os.kill(process.pid, signal.SIGKILL)
    path.unlink()
    _make_once(path)
    assert int(path.read_text()) == os.getpid()


def test_json_takes_numpy_and_writes_nan_as_null(tmp_path):
    path = write_json(tmp_path / "a" / "x.json", {"n": np.int64(3), "a": np.array([1.5, np.nan]), 4: (1, 2)})
    assert json.loads(path.read_text()) == {"n": 3, "a": [1.5, None], "4": [1, 2]}


def test_damaged_json_is_one_clear_line(tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ValueError, match=r"x\.json: not valid JSON.*delete it"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize("content", ["[]", "null", "5", "[" * 100_000])
def test_json_that_is_no_object_is_one_clear_line(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(InputError, match=r"x\.json: .*; delete it and run again"):
        read_json(tmp_path / "x.json")


def test_key_follows_content_not_order():
    assert content_key({"a": 1, "b": 2}) == content_key({"b": 2, "a": 1})
    assert content_key({"a": np.zeros(3)}) != content_key({"a": np.ones(3)})
    assert content_key({"a": 1}) != content_key({"a": 2})


def test_a_run_is_found_again_by_its_parameters(tmp_path):
    run = Run(tmp_path, "s2", {"epochs": 3})
    assert not run.done
    run.finish({"oa": 0.5})
    again = Run(tmp_path, "s2", {"epochs": 3})
    assert again.done
    assert read_json(again.path / "run.json")["summary"] == {"oa": 0.5}
    assert not Run(tmp_path, "s2", {"epochs": 4}).done
