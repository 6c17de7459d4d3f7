"""Instance masks on disk: made once an image and settings, resumable, found again by content.

`DATA/masks/<key>/` belongs to one model, its weights and one `MaskSettings`; `<SHA-256 of an image>.npz` in it holds
that image's masks. A set that was renumbered or has grown computes only what is new. An image takes about 3 kB.
"""

import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pooch
from tqdm import tqdm

from lczlib.compute import parallel, pick_device
from lczlib.data import layout, open_pairs
from lczlib.errors import InputError
from lczlib.runs import content_key, file_lock, write_json

from .masks import Masks, generate_masks, truth_masks
from .models import checkpoint_path, load_sam
from .settings import PAPER, MaskSettings

TASK = 16  # images in a worker's task
LAYOUT = 3  # of a file; another one belongs to another folder


class MaskStore:
    """The masks of a data set: `store[sample id]` is (masks (n, H, W) bool, boxes (n, 4) int32 XYWH), largest first.

    `digests` holds, by sample id, the SHA-256 of the images.
    """

    def __init__(self, path: str | Path, digests: dict[int, str]):
        self.path, self.digests = Path(path), digests

    def __getitem__(self, sample_id: int) -> Masks:
        if int(sample_id) not in self.digests:
            raise KeyError(f"sample {sample_id}: no masks in {self.path}; run: python -m lczlib masks")
        return read_masks(self.file(self.digests[int(sample_id)]))

    def __iter__(self) -> Iterator[Masks]:
        return (self[i] for i in self.digests)

    def file(self, digest: str) -> Path:
        """Where the masks of the image with that SHA-256 are."""
        return self.path / f"{digest}.npz"

    def digest(self, ids: Iterable[int]) -> str:
        """Changes with any image or mask of these samples, or with their order."""
        digest = hashlib.sha256()
        for i in ids:
            image = self.digests[int(i)]
            digest.update(image.encode() + self.file(image).read_bytes())
        return digest.hexdigest()


def make_masks(data_dir: str | Path, sam: str = "nano", settings: MaskSettings = PAPER,
               ids: Iterable[int] | None = None, workers: int = 1, dask: str | None = None,
               progress: bool = True) -> MaskStore:  # fmt: skip
    """Masks of all (or some) pairs of a data set; what is there already is not made again.

    Args:
        sam: name of a model for `load_sam`, or "truth": the true instances of a synthetic set.
        ids: the samples wanted; None: all.
        workers, dask: of `parallel`; only this process writes.

    Raises:
        FileNotFoundError, InputError: no RGB patches, no truth, no checkpoint, scheduler not reached; in one line.
    """
    pairs = open_pairs(data_dir)
    if sam != "truth" and not pairs.has_rgb:
        raise FileNotFoundError(f"{data_dir}: no google_img_320 patches; masks need them (README, Your own data)")
    rows = {int(i): row for row, i in enumerate(pairs.ids)}

    def read(i: int) -> np.ndarray:
        if sam == "truth":
            return layout.read_truth(layout.truth_path(pairs.data_dir, i), ("instances",))["instances"]
        return pairs.rgb[rows[i]]

    wanted = [int(i) for i in (pairs.ids if ids is None else ids)]
    digests = {i: hashlib.sha256(np.ascontiguousarray(read(i))).hexdigest() for i in wanted}
    store = MaskStore(_folder(Path(data_dir), sam, settings), digests)
    samples = {digest: i for i, digest in digests.items()}
    if all(store.file(digest).exists() for digest in samples):
        return store
    with file_lock(store.path):  # what another process made while we waited is there
        new = [digest for digest in samples if not store.file(digest).exists()]
        tasks = [new[i : i + TASK] for i in range(0, len(new), TASK)]
        stacks = (np.stack([read(samples[digest]) for digest in task]) for task in tasks)
        jobs = ({"images": stack, "sam": sam, "settings": settings} for stack in stacks)
        made = parallel(packed_masks, jobs, workers, dask)
        for task, packed in zip(tasks, tqdm(made, "masks", len(tasks), unit=f" x {TASK} images", disable=not progress)):
            for digest, arrays in zip(task, packed):
                layout.write_npz(store.file(digest), **arrays)
    return store


def _folder(data_dir: Path, sam: str, settings: MaskSettings) -> Path:
    """`masks/<key>`, made if needed, with what the key stands for in `settings.json`."""
    facts, weights = {"min_area": settings.min_area, "max_masks": settings.max_masks}, None
    if sam != "truth":
        facts, weights = vars(settings), pooch.file_hash(str(checkpoint_path(sam)))
    params = {"sam": sam, "weights": weights, "settings": facts, "layout": LAYOUT}
    folder = data_dir / "masks" / content_key(params)
    if not (folder / "settings.json").exists():
        write_json(folder / "settings.json", params)
    return folder


@lru_cache(maxsize=1)
def _model(sam: str) -> Any:
    return load_sam(sam).to(pick_device())


def packed_masks(images: np.ndarray, sam: str, settings: MaskSettings) -> list[dict[str, np.ndarray]]:
    """What is kept of each image of a stack (n, H, W, 3) uint8, or of instance maps (n, H, W) for "truth"."""
    if sam == "truth":
        return [pack(*truth_masks(image, settings)) for image in images]
    return [pack(*found) for found in generate_masks(_model(sam), images, settings)]


def pack(masks: np.ndarray, boxes: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays that are kept: `shape` of the masks, `boxes`, and as `bits` each mask's part within its box."""
    within = [mask[window].ravel() for mask, window in zip(masks, _windows(boxes))]
    return {"shape": np.array(masks.shape), "boxes": boxes, "bits": np.packbits(np.concatenate(within))}


def read_masks(path: Path) -> Masks:
    """The masks and boxes in a file. Raises InputError, naming the file, when it is damaged."""
    shape, boxes, bits = layout.read_npz(path, "shape", "boxes", "bits")
    try:
        bits, masks, end = np.unpackbits(bits).view(bool), np.zeros(shape, bool), 0
        for mask, window in zip(masks, _windows(boxes), strict=True):
            part = mask[window]
            start, end = end, end + part.size
            part[...] = bits[start:end].reshape(part.shape)
    except (IndexError, MemoryError, TypeError, ValueError) as fault:
        raise InputError(f"{path}: holds no instance masks ({fault}); delete it and make them again") from None
    return masks, boxes


def _windows(boxes: np.ndarray) -> list[tuple[slice, slice]]:
    """Rows and columns of inclusive boxes; the masks are empty elsewhere."""
    return [np.s_[y : y + h + 1, x : x + w + 1] for x, y, w, h in boxes.tolist()]
