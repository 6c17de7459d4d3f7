"""Instance masks on disk: made once an image and settings, bit-packed, resumable, found again by content.

`DATA/masks/<key>/` belongs to one model and one `MaskSettings`; its `shard_*.npz` hold some 64 images each, written
whole and renamed into place by one process, whoever computed them. A record is found by the SHA-256 of the image, not
by its id: a set that was renumbered or grown computes only what is new. An image takes about 3 kB instead of 5 MB.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, as_completed, wait
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pooch
from tqdm import tqdm

from lczlib.errors import InputError
from lczlib.runs import atomic_path, content_key, file_lock, write_json

from .masks import PAPER, Masks, MaskSettings, generate_masks, truth_masks

SHARD, TASK = 64, 16  # images in a file, images in a worker's task
LAYOUT = 2  # of a shard; another one belongs to another folder
Record = tuple[str, tuple[int, ...], np.ndarray, bytes]  # digest, shape of the masks, boxes, deflated bits within them


class MaskStore:
    """The masks of a data set, by sample id.

    `store[i]` gives (masks (n, H, W) bool, boxes (n, 4) int32 XYWH), largest first. `store.path` is its folder,
    named by model, weights and settings; `store.ids` are the samples it was opened for.
    """

    def __init__(self, path: str | Path, digests: dict[int, str] | None = None):
        self.path = Path(path)
        self._digests = digests or {}
        self._records: dict[str, Record] = {}
        for shard in sorted(self.path.glob("shard_*.npz")):
            self._records.update((record[0], record) for record in _read_shard(shard))

    @property
    def ids(self) -> np.ndarray:
        """Sample ids (N,) this store can be asked for."""
        return np.array(list(self._digests), np.int64)

    def __len__(self) -> int:
        return len(self._digests)

    def __contains__(self, digest: str) -> bool:
        return digest in self._records

    def __getitem__(self, sample_id: int) -> Masks:
        if int(sample_id) not in self._digests:
            raise KeyError(f"sample {sample_id}: no masks in {self.path}; run: python -m lczlib masks")
        return _unpack(self._records[self._digests[int(sample_id)]])

    def __iter__(self) -> Iterator[Masks]:
        return (self[i] for i in self._digests)

    def digest(self, ids: Iterable[int]) -> str:
        """Changes with any pixel of the images or masks of these samples, or with their order."""
        digest = hashlib.sha256()
        for i in ids:
            image, _, boxes, bits = self._records[self._digests[int(i)]]
            digest.update(image.encode() + boxes.tobytes() + bits)
        return digest.hexdigest()

    def add(self, records: list[Record]) -> None:
        """Keep the records, in one new file."""
        for record in records:
            self._records[record[0]] = record
        taken = (int(shard.stem.removeprefix("shard_")) for shard in self.path.glob("shard_*.npz"))
        _write_shard(self.path / f"shard_{max(taken, default=-1) + 1:05d}.npz", records)


def make_masks(
    data_dir: str | Path,
    sam: str = "nano",
    settings: MaskSettings = PAPER,
    ids: Iterable[int] | None = None,
    workers: int = 1,
    dask: str | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> MaskStore:
    """Masks of all (or some) pairs of a data set; what is there already is not made again.

    Args:
        data_dir: folder of pairs.
        sam: name of a model for `load_sam`, or "truth": the true instances of a synthetic set.
        settings: how masks are made.
        ids: the samples wanted; None: all.
        workers: processes that compute (one thread each when more than 1); only this process writes.
        dask: address of a running Dask scheduler whose workers compute instead. A killed worker costs its tasks' time.
        checkpoint: weights for `load_sam`; must exist under the same path for all workers.
        progress: show a bar.

    Raises:
        FileNotFoundError, ValueError: no RGB patches, no truth, no checkpoint, scheduler not reached; in one line.
    """
    from lczlib.data import open_pairs

    pairs = open_pairs(data_dir)
    wanted = pairs.ids if ids is None else np.array(list(ids), np.int64)
    read = _reader(pairs, sam)
    folder = _folder(Path(data_dir), sam, settings, checkpoint)
    digests = {int(i): hashlib.sha256(read(i)).hexdigest() for i in wanted}
    store = MaskStore(folder, digests)
    if not all(digest in store for digest in digests.values()):
        with file_lock(folder):
            store = MaskStore(folder, digests)  # with what another process made while we waited
            new = {digest: i for i, digest in digests.items() if digest not in store}
            tasks = [list(new.values())[i : i + TASK] for i in range(0, len(new), TASK)]
            stacks = (np.stack([read(i) for i in task]) for task in tasks)
            made = _spread(stacks, (sam, settings, checkpoint), workers, dask)
            _keep(store, tqdm(made, "masks", len(tasks), unit=f" x {TASK} images", disable=not progress))
    return store


def _keep(store: MaskStore, made: Iterable[list[Record]]) -> None:
    """Add records to the store as they come, a file for every `SHARD`."""
    waiting: list[Record] = []
    for records in made:
        waiting += records
        if len(waiting) >= SHARD:
            store.add(waiting)
            waiting = []
    if waiting:
        store.add(waiting)


def _reader(pairs: Any, sam: str) -> Callable[[int], np.ndarray]:
    """A function sample id -> contiguous array that masks are made from (RGB, or true instances)."""
    from lczlib.data import layout

    if sam == "truth":
        path, names = layout.truth_path, ("instances",)
        return lambda i: np.ascontiguousarray(layout.read_truth(path(pairs.data_dir, int(i)), names)["instances"])
    if not pairs.has_rgb:
        raise FileNotFoundError(f"{pairs.data_dir}: no google_img_320 patches; masks need them (README, Your own data)")
    rows = {int(i): row for row, i in enumerate(pairs.ids)}
    rgb = pairs.rgb
    return lambda i: np.ascontiguousarray(rgb[rows[int(i)]])


def _folder(data_dir: Path, sam: str, settings: MaskSettings, checkpoint: str | Path | None) -> Path:
    """`masks/<key>`, made if needed, with what the key stands for in `settings.json`."""
    from .models import checkpoint_path

    facts = {name: value for name, value in vars(settings).items() if name != "prompts_per_pass"}
    if sam == "truth":
        facts = {"min_area": settings.min_area, "max_masks": settings.max_masks}
    weights = None if sam == "truth" else pooch.file_hash(str(checkpoint_path(sam, checkpoint)))
    params = {"sam": sam, "weights": weights, "settings": facts, "layout": LAYOUT}
    folder = data_dir / "masks" / content_key(params)
    if not (folder / "settings.json").exists():
        write_json(folder / "settings.json", params)
    return folder


def _spread(
    stacks: Iterator[np.ndarray], job: tuple[str, MaskSettings, Any], workers: int, dask: str | None
) -> Iterator[list[Record]]:
    """Records of each stack of images: computed here, in `workers` processes, or by a Dask cluster."""
    if dask:
        yield from _spread_dask(stacks, job, dask)
    elif workers == 1:
        yield from (compute(stack, *job) for stack in stacks)
    else:
        from lczlib.compute import begin_worker

        with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=begin_worker) as pool:
            running: set[Future] = set()
            for stack in stacks:  # few at a time: a data set's images do not fit in memory
                running.add(pool.submit(compute, stack, *job))
                if len(running) == 2 * workers:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (one.result() for one in done)
            yield from (one.result() for one in as_completed(running))


def _spread_dask(
    stacks: Iterator[np.ndarray], job: tuple[str, MaskSettings, Any], address: str
) -> Iterator[list[Record]]:
    from distributed import Client
    from distributed import as_completed as as_done

    try:
        client = Client(address, timeout="5s", set_as_default=False)
    except (OSError, ValueError) as fault:
        raise InputError(f"{address}: no Dask scheduler there ({str(fault).splitlines()[0][:80]}); start one") from None
    with client:
        running = as_done(loop=client.loop)
        ahead = 2 * max(2, sum(client.ncores().values()))  # images travel inside tasks: few at a time, none is lost

        def submit() -> None:
            if (stack := next(stacks, None)) is not None:
                running.add(client.submit(_compute_alone, stack, *job, pure=False))

        for _ in range(ahead):
            submit()
        for future in running:
            submit()
            yield future.result()


def _compute_alone(images: np.ndarray, *job: Any) -> list[Record]:
    from lczlib.compute import prepare_cpu

    prepare_cpu(threads=1)
    return compute(images, *job)


@lru_cache(maxsize=1)
def _model(sam: str, checkpoint: Any) -> Any:
    from lczlib.compute import pick_device

    from .models import load_sam

    return load_sam(sam, checkpoint).to(pick_device())


def compute(images: np.ndarray, sam: str, settings: MaskSettings, checkpoint: str | Path | None = None) -> list[Record]:
    """Records of a stack of images (n, H, W, 3) uint8, or of instance maps (n, H, W) for "truth"; each image alone,
    so that the result does not depend on its neighbours.
    """
    if sam == "truth":
        found = [truth_masks(image, settings) for image in images]
    else:
        found = generate_masks(_model(sam, checkpoint), images, settings, images_per_pass=1)
    return [_pack(image, masks, boxes) for image, (masks, boxes) in zip(images, found)]


def _pack(image: np.ndarray, masks: np.ndarray, boxes: np.ndarray) -> Record:
    digest = hashlib.sha256(np.ascontiguousarray(image)).hexdigest()
    bits = [mask[window].ravel() for mask, window in zip(masks, _windows(boxes))]
    blob = zlib.compress(np.packbits(np.concatenate([np.zeros(0, bool), *bits])).tobytes(), 6)
    return digest, masks.shape, boxes.astype(np.int32), blob


def _unpack(record: Record) -> Masks:
    _, shape, boxes, blob = record
    bits = np.unpackbits(np.frombuffer(zlib.decompress(blob), np.uint8)).view(bool)
    masks, end = np.zeros(shape, bool), 0
    for mask, window in zip(masks, _windows(boxes)):
        part = mask[window]
        start, end = end, end + part.size
        part[...] = bits[start:end].reshape(part.shape)
    return masks, boxes.copy()


def _windows(boxes: np.ndarray) -> list[tuple[slice, slice]]:
    """Rows and columns of inclusive boxes; of a mask only what lies there is stored, the rest is empty."""
    return [np.s_[y : y + h + 1, x : x + w + 1] for x, y, w, h in boxes.tolist()]


def _write_shard(path: Path, records: list[Record]) -> None:
    digests, shapes, boxes, blobs = zip(*records)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            digests=np.array(digests),
            shapes=np.array(shapes, np.int32),
            boxes=np.concatenate(boxes),
            ends=np.cumsum([len(blob) for blob in blobs]),
            blob=np.frombuffer(b"".join(blobs), np.uint8),
        )


def _read_shard(path: Path) -> list[Record]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            digests, shapes, boxes, ends, blob = (stored[n] for n in ("digests", "shapes", "boxes", "ends", "blob"))
    except Exception as fault:
        raise InputError(f"{path}: damaged ({str(fault)[:80]}); delete it and make the masks again") from None
    per_image = np.split(boxes, np.cumsum(shapes[:, 0])[:-1])
    starts = [0, *ends[:-1]]
    return [
        (str(d), tuple(s.tolist()), b, blob[start:end].tobytes())
        for d, s, b, start, end in zip(digests, shapes, per_image, starts, ends)
    ]
