"""lczlib.sam.store: masks made once, found again, spread over processes and over a Dask cluster."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest
import torch

from lczlib.data import layout
from lczlib.errors import InputError
from lczlib.sam import MaskSettings, make_masks, store
from lczlib.sam.masks import boxes_of

QUICK = MaskSettings(points_per_side=4, crop_n_layers=0, pred_iou_thresh=0.2, stability_score_thresh=0.2)


def write_set(folder, count=6, seed=0):
    """A data set of rectangles with truth."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        ids = np.zeros((320, 320), np.uint16)
        for k in range(1, 9):
            y, x, h, w = rng.integers((0, 0, 20, 20), (260, 260, 90, 90))
            ids[y : y + h, x : x + w] = k
        rgb = rng.integers(30, 220, (9, 3)).astype(np.uint8)[ids]
        layout.write_pair(folder, i, np.full((32, 32, 10), 0.1, np.float32), rgb, i % 17 + 1)
        layout.write_npz(layout.truth_path(folder, i), instances=ids)
    index = pd.DataFrame({"id": range(count), "label": [i % 17 + 1 for i in range(count)], "city": "a", "polygon": "p"})
    layout.write_index(folder, index, kind="synthetic")
    return folder


@pytest.fixture
def data_dir(tmp_path):
    return write_set(tmp_path / "data")


def same(a, b):
    return len(a) == len(b) and all(np.array_equal(m, n) and np.array_equal(c, d) for (m, c), (n, d) in zip(a, b))


def test_truth_store_holds_the_true_instances(data_dir):
    masks_of = make_masks(data_dir, "truth", progress=False)
    instances = layout.read_truth(layout.truth_path(data_dir, 3), ("instances",))["instances"]
    masks, boxes = masks_of[3]
    assert masks.any(0).sum() == (instances > 0).sum()
    assert all(len(np.unique(instances[mask])) == 1 for mask in masks)
    assert (np.diff(masks.sum((1, 2))) <= 0).all()
    assert len(boxes) == len(masks)
    with pytest.raises(KeyError, match="sample 77"):
        masks_of[77]


def test_nothing_is_made_twice_and_order_of_ids_does_not_matter(data_dir, monkeypatch):
    first = make_masks(data_dir, "nano", QUICK, ids=[0, 1, 2], progress=False)
    made = []
    real = store.packed_masks
    monkeypatch.setattr(store, "packed_masks", lambda images, **job: made.append(len(images)) or real(images, **job))
    second = make_masks(data_dir, "nano", QUICK, ids=[4, 2, 1, 0], progress=False)
    assert made == [1]
    assert same([first[i] for i in (0, 1, 2)], [second[i] for i in (0, 1, 2)])
    assert list(second.digests) == [4, 2, 1, 0]
    make_masks(data_dir, "nano", QUICK, ids=[4], progress=False)
    assert made == [1]


def test_other_settings_have_another_place(data_dir):
    paths = {make_masks(data_dir, "truth", MaskSettings(max_masks=n), ids=[0], progress=False).path for n in (3, 4)}
    assert len(paths) == 2


def test_changed_image_is_made_again(data_dir):
    first = make_masks(data_dir, "nano", QUICK, ids=[0], progress=False)
    before = first[0]
    flat = np.full((320, 320, 3), 77, np.uint8)
    flat[100:200, 50:260] = 200
    layout.write_pair(data_dir, 0, np.zeros((32, 32, 10), np.float32), flat, 1)
    after = make_masks(data_dir, "nano", QUICK, ids=[0], progress=False)
    assert len(list(after.path.glob("*.npz"))) == 2
    assert not same([before], [after[0]])
    assert after.digest([0]) != first.digest([0])


def test_stopped_in_the_middle_goes_on(data_dir, monkeypatch):
    whole = list(make_masks(data_dir, "truth", progress=False))
    folder = make_masks(data_dir, "truth", progress=False).path
    for file in folder.glob("*.npz"):
        file.unlink()
    monkeypatch.setattr(store, "TASK", 2)
    real, calls = store.packed_masks, []

    def stops(images, **job):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(images, **job)

    monkeypatch.setattr(store, "packed_masks", stops)
    with pytest.raises(KeyboardInterrupt):
        make_masks(data_dir, "truth", progress=False)
    assert len(list(folder.glob("*.npz"))) == 4
    assert not list(folder.glob(".*"))
    again = make_masks(data_dir, "truth", progress=False)
    assert len(calls) == 4
    assert same(list(again), whole)


def test_a_deleted_file_is_made_again_and_no_other_is_touched(data_dir, monkeypatch):
    whole = make_masks(data_dir, "truth", progress=False)
    before, deleted = list(whole), whole.file(whole.digests[1])
    kept = {file: file.stat().st_mtime_ns for file in whole.path.iterdir() if file != deleted}
    deleted.unlink()
    assert same(list(make_masks(data_dir, "truth", progress=False)), before)
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    monkeypatch.setattr(store, "packed_masks", None)
    assert same(list(make_masks(data_dir, "truth", progress=False)), before)


def test_damaged_file_is_named(data_dir):
    masks_of = make_masks(data_dir, "truth", ids=[0], progress=False)
    masks_of.file(masks_of.digests[0]).write_bytes(b"PK broken")
    with pytest.raises(ValueError, match=rf"{masks_of.digests[0]}.npz: unreadable"):
        masks_of[0]


@pytest.mark.parametrize(
    "change",
    [{"bits": np.zeros(3, np.uint8)}, {"shape": np.array([-1, 320, 320])}, {"shape": np.array([1.5, 320, 320])},
     {"shape": np.array([10**9] * 3)}, {"boxes": np.array([["a", "b", "c", "d"]])}, {"boxes": np.zeros((1, 4), int)}],
)  # fmt: skip
def test_what_holds_no_masks_is_named(tmp_path, change):
    masks = np.ones((2, 320, 320), bool)
    layout.write_npz(tmp_path / "masks.npz", **store.pack(masks, boxes_of(masks)) | change)
    with pytest.raises(InputError, match=r"masks\.npz: holds no instance masks .*; delete it and make them again"):
        store.read_masks(tmp_path / "masks.npz")


def test_missing_patches_or_truth_are_named(data_dir, tmp_path):
    layout.truth_path(data_dir, 2).unlink()
    with pytest.raises(FileNotFoundError, match="truth_2"):
        make_masks(data_dir, "truth", progress=False)
    for file in (data_dir / "google_img_320").iterdir():
        file.unlink()
    (data_dir / "google_img_320").rmdir()
    with pytest.raises(FileNotFoundError, match="google_img_320"):
        make_masks(data_dir, "nano", QUICK, progress=False)


def test_bits_survive_packing(tmp_path):
    rng = np.random.default_rng(0)
    masks = rng.random((6, 33, 31)) < 0.5
    masks[1, 9:] = masks[2, :, :20] = masks[3] = False  # in a part of the image only; empty
    masks[4] = np.arange(31) == 30  # at an edge
    boxes = boxes_of(masks)
    layout.write_npz(tmp_path / "masks.npz", **store.pack(masks, boxes))
    assert same([store.read_masks(tmp_path / "masks.npz")], [(masks, boxes)])


def test_no_scheduler_is_one_line(data_dir):
    with pytest.raises(ValueError, match="no Dask scheduler") as caught:
        make_masks(data_dir, "truth", dask="tcp://127.0.0.1:9", progress=False)
    assert "\n" not in str(caught.value)


@pytest.fixture
def one_thread():
    """As many threads as a worker has: another number rounds sums otherwise, and a mask at a threshold may go."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def cluster():
    """A scheduler and two worker processes on loopback: yields (address, workers)."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    start += ["--no-dashboard"]
    scheduler = subprocess.Popen(start, stderr=subprocess.PIPE, text=True, env=environment)
    address = next(w for line in scheduler.stderr for w in line.split() if w.startswith("tcp://"))
    threading.Thread(target=scheduler.stderr.read, daemon=True).start()
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny"]
    command += ["--no-dashboard", "--host", "127.0.0.1"]
    workers = [subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment) for _ in range(2)]
    yield address, workers
    for process in (*workers, scheduler):
        process.kill()
        process.wait()


def test_dask_gives_the_same_masks_and_survives_a_killed_worker(data_dir, cluster, one_thread, monkeypatch):
    address, workers = cluster
    alone = list(make_masks(write_set(data_dir.parent / "copy"), "nano", QUICK, progress=False))
    monkeypatch.setattr(store, "TASK", 1)
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
    spread = store.parallel

    def kill_one_on_the_way(*arguments):
        for i, records in enumerate(spread(*arguments)):
            if i == 0:
                workers[0].send_signal(signal.SIGKILL)
                workers[0].wait()
            yield records

    monkeypatch.setattr(store, "parallel", kill_one_on_the_way)
    start = time.monotonic()
    together = make_masks(data_dir, "nano", QUICK, dask=address, progress=False)
    assert time.monotonic() - start < 60
    assert workers[0].poll() is not None
    assert same(list(together), alone)
    files = {path.stem for path in together.path.iterdir()}
    assert files == {"settings", *together.digests.values()}


def test_two_processes_give_the_same_masks(data_dir, one_thread):
    alone = list(make_masks(write_set(data_dir.parent / "copy"), "nano", QUICK, ids=[0, 1], progress=False))
    assert same(list(make_masks(data_dir, "nano", QUICK, ids=[0, 1], workers=2, progress=False)), alone)
