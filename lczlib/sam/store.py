"""Instance masks on disk: made once an image and settings, bit-packed, resumable, found again by content.

`DATA/masks/<key>/` belongs to one model and one `MaskSettings`; its `shard_*.npz` hold some 64 images each, written
whole and renamed into place by one process, whoever computed them. A record is found by the SHA-256 of the image, not
by its id: a set that was renumbered or grown computes only what is new. An image takes about 3 kB instead of 5 MB.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pooch
from tqdm import tqdm

from lczlib.compute import parallel, pick_device
from lczlib.errors import InputError
from lczlib.runs import atomic_path, content_key, file_lock, write_json

from .masks import Masks, generate_masks, truth_masks
from .models import checkpoint_path, load_sam
from .settings import PAPER, MaskSettings

SHARD, TASK = 64, 16  # images in a file, images in a worker's task
LAYOUT = 2  # of a shard; another one belongs to another folder
Record = tuple[str, tuple[int, ...], np.ndarray, bytes]  # digest, shape of the masks, boxes, deflated bits within them


class MaskStore:
    """The masks of a data set, by sample id.

    `store[i]` gives (masks (n, H, W) bool, boxes (n, 4) int32 XYWH), largest first. `store.path` is its folder,
    named by model, weights and settings.

    Args:
        path: the folder.
        digests: SHA-256 of the image of each sample that this store is to be asked for.
    """

    def __init__(self, path: str | Path, digests: dict[int, str]):
        self.path, self.digests = Path(path), digests
        self.records: dict[str, Record] = {}
        for shard in sorted(self.path.glob("shard_*.npz")):
            self.records.update((record[0], record) for record in read_shard(shard))

    def __len__(self) -> int:
        return len(self.digests)

    def __getitem__(self, sample_id: int) -> Masks:
        if int(sample_id) not in self.digests:
            raise KeyError(f"sample {sample_id}: no masks in {self.path}; run: python -m lczlib masks")
        return unpack(self.records[self.digests[int(sample_id)]])

    def __iter__(self) -> Iterator[Masks]:
        return (self[i] for i in self.digests)

    def digest(self, ids: Iterable[int]) -> str:
        """Changes with any pixel of the images or masks of these samples, or with their order."""
        digest = hashlib.sha256()
        for i in ids:
            image, _, boxes, bits = self.records[self.digests[int(i)]]
            digest.update(image.encode() + boxes.tobytes() + bits)
        return digest.hexdigest()

    def add(self, records: list[Record]) -> None:
        """Keep the records, in one new file."""
        self.records.update((record[0], record) for record in records)
        taken = (int(shard.stem.removeprefix("shard_")) for shard in self.path.glob("shard_*.npz"))
        write_shard(self.path / f"shard_{max(taken, default=-1) + 1:05d}.npz", records)


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
        workers, dask: of `parallel`; only this process writes.
        checkpoint: weights for `load_sam`; must exist under the same path for all workers.
        progress: show a bar.

    Raises:
        FileNotFoundError, InputError: no RGB patches, no truth, no checkpoint, scheduler not reached; in one line.
    """
    from lczlib.data import open_pairs

    pairs = open_pairs(data_dir)
    read = _reader(pairs, sam)
    folder = _folder(Path(data_dir), sam, settings, checkpoint)
    digests = {int(i): hashlib.sha256(read(i)).hexdigest() for i in (pairs.ids if ids is None else ids)}
    store = MaskStore(folder, digests)
    if store.records.keys() >= set(digests.values()):
        return store
    with file_lock(folder):
        store = MaskStore(folder, digests)  # with what another process made while we waited
        new = list({digest: i for i, digest in digests.items() if digest not in store.records}.values())
        tasks = [new[i : i + TASK] for i in range(0, len(new), TASK)]
        how = {"sam": sam, "settings": settings, "checkpoint": checkpoint}
        jobs = ({"images": np.stack([read(i) for i in task]), **how} for task in tasks)  # read as workers need them
        made, waiting = parallel(compute_records, jobs, workers, dask), []
        for records in tqdm(made, "masks", len(tasks), unit=f" x {TASK} images", disable=not progress):
            waiting += records
            if len(waiting) >= SHARD:
                store.add(waiting)
                waiting = []
        if waiting:
            store.add(waiting)
    return store


def _reader(pairs: Any, sam: str) -> Callable[[int], np.ndarray]:
    """A function sample id -> contiguous array that masks are made from (RGB, or true instances)."""
    from lczlib.data import layout

    if sam == "truth":
        path, names = layout.truth_path, ("instances",)
        return lambda i: np.ascontiguousarray(layout.read_truth(path(pairs.data_dir, int(i)), names)["instances"])
    if not pairs.has_rgb:
        raise FileNotFoundError(f"{pairs.data_dir}: no google_img_320 patches; masks need them (README, Your own data)")
    rows = {int(i): row for row, i in enumerate(pairs.ids)}
    return lambda i: np.ascontiguousarray(pairs.rgb[rows[int(i)]])


def _folder(data_dir: Path, sam: str, settings: MaskSettings, checkpoint: str | Path | None) -> Path:
    """`masks/<key>`, made if needed, with what the key stands for in `settings.json`."""
    facts, weights = vars(settings), None
    if sam == "truth":
        facts = {"min_area": settings.min_area, "max_masks": settings.max_masks}
    else:
        weights = pooch.file_hash(str(checkpoint_path(sam, checkpoint)))
    params = {"sam": sam, "weights": weights, "settings": facts, "layout": LAYOUT}
    folder = data_dir / "masks" / content_key(params)
    if not (folder / "settings.json").exists():
        write_json(folder / "settings.json", params)
    return folder


@lru_cache(maxsize=1)
def _model(sam: str, checkpoint: str | Path | None) -> Any:
    return load_sam(sam, checkpoint).to(pick_device())


def compute_records(
    images: np.ndarray, sam: str, settings: MaskSettings, checkpoint: str | Path | None = None
) -> list[Record]:
    """Records of a stack of images (n, H, W, 3) uint8, or of instance maps (n, H, W) for "truth"; each image alone,
    so that the result does not depend on its neighbours.
    """
    if sam == "truth":
        found = [truth_masks(image, settings) for image in images]
    else:
        found = generate_masks(_model(sam, checkpoint), images, settings, images_per_pass=1)
    return [pack(image, masks, boxes) for image, (masks, boxes) in zip(images, found)]


def pack(image: np.ndarray, masks: np.ndarray, boxes: np.ndarray) -> Record:
    """The record of an image, its masks (n, H, W) bool and their boxes."""
    bits = [mask[window].ravel() for mask, window in zip(masks, _windows(boxes))]
    blob = zlib.compress(np.packbits(np.concatenate([np.zeros(0, bool), *bits])).tobytes(), 6)
    return hashlib.sha256(np.ascontiguousarray(image)).hexdigest(), masks.shape, boxes.astype(np.int32), blob


def unpack(record: Record) -> Masks:
    """Masks and boxes of a record."""
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


def write_shard(path: Path, records: list[Record]) -> None:
    """Write records as one file, atomically."""
    digests, shapes, boxes, blobs = zip(*records)
    arrays = {"digests": np.array(digests), "shapes": np.array(shapes, np.int32), "boxes": np.concatenate(boxes)}
    ends, blob = np.cumsum([len(blob) for blob in blobs]), np.frombuffer(b"".join(blobs), np.uint8)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, ends=ends, blob=blob, **arrays)


def read_shard(path: Path) -> list[Record]:
    """The records of a file. Raises InputError, naming the file, when it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            digests, shapes, boxes, ends, blob = (stored[n] for n in ("digests", "shapes", "boxes", "ends", "blob"))
    except Exception as fault:
        raise InputError(f"{path}: damaged ({str(fault)[:80]}); delete it and make the masks again") from fault
    boxes = np.split(boxes, np.cumsum(shapes[:, 0])[:-1])
    blobs = [part.tobytes() for part in np.split(blob, ends[:-1])]
    return [(str(d), tuple(s.tolist()), b, bits) for d, s, b, bits in zip(digests, shapes, boxes, blobs)]
