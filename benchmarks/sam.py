"""Instance masks against SamAutomaticMaskGenerator: `python -m benchmarks.sam [--models nano mobile]`.

The same weights and settings on both sides, variants in turns on the same images, the allocator mended on both sides.
MobileSAM and vit_b have random weights (their time does not depend on them) and thresholds of 0 for the same reason.
Rows of models that are not named stay as they are in sam.json. On a GPU: `--device cuda`, ours on all images at once;
nothing is written.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2

from benchmarks.common import BEFORE, ROOT, bf16_pays, checkout, np, row, run_in, save, take_turns, torch
from lczlib.graphs import node_features
from lczlib.runs import read_json
from lczlib.sam import MaskSettings, generate_masks, load_sam
from lczlib.sam.models import build_sam
from lczworld import generate_scene

PAPER, GENERATOR = MaskSettings(), "SamAutomaticMaskGenerator"
GOALS = {("nano", "fp32"): 5, ("mobile", "fp32"): 2.5, ("vit_b", "fp32"): 1.6, ("vit_b", "bf16"): 3}
DEMO = """
import sys, time, numpy as np
from lczlib.sam import MaskSettings, generate_masks, load_sam
sam, images = load_sam("nano"), np.load(sys.argv[1])
settings = MaskSettings(points_per_side=8, crop_n_layers=0, pred_iou_thresh=0.7)
generate_masks(sam, list(images[:1]), settings)
start = time.process_time()
generate_masks(sam, list(images), settings)
print((time.process_time() - start) / len(images))
"""
Images = list[np.ndarray]


def generator(sam: torch.nn.Module, settings: MaskSettings) -> Callable[[np.ndarray], object]:
    """segment_anything's own generator as a function of an image; an image without any mask gives None (it raises)."""
    from segment_anything import SamAutomaticMaskGenerator

    made = SamAutomaticMaskGenerator(sam, **settings.generator_arguments())

    def run(image: np.ndarray) -> object:
        try:
            return made.generate(image)
        except IndexError:
            return None

    return run


def about(model: str) -> dict[str, object]:
    """What whole_set.py asks of a row."""
    return {"model": model, "threads": torch.get_num_threads()}


def masks_of(name: str, images: Images, device: str = "cpu") -> list[dict]:
    """Rows of a model: ours in fp32 and, where the processor has it, in bf16."""
    sam, settings = (load_sam(name), PAPER) if name == "nano" else random(name)
    run = generator(sam.to(device), settings)
    groups = [images] * 6 if device == "cuda" else [[image] for image in [images[0], *images]]
    kinds = {"fp32": settings} | ({"bf16": replace(settings, bf16=True)} if bf16_pays(device) else {})
    ours = {kind: partial(generate_masks, sam, settings=how) for kind, how in kinds.items()}
    seconds = take_turns(ours | {GENERATOR: lambda group: [run(image) for image in group]}, groups=groups)
    what = f"instance masks of an image, {name}, the paper's settings"
    return [about(name) | row(what, seconds, kind, GENERATOR, GOALS.get((name, kind))) for kind in ours]


def demo_masks(images: Images) -> list[dict]:
    """Row of nano with the demo's settings, in a process of its own, against the nano of an earlier commit."""
    with tempfile.TemporaryDirectory() as folder, checkout() as before:
        path = Path(folder, "images.npy")
        np.save(path, np.stack(images))
        folders = {"now": ROOT, BEFORE: before}
        seconds = take_turns({name: lambda f=f: float(run_in(f, "-c", DEMO, path)[1]) for name, f in folders.items()})
    return [about("nano") | row("instance masks of an image, nano, the demo's settings", seconds, "now", BEFORE, 3)]


def random(name: str) -> tuple[torch.nn.Module, MaskSettings]:
    """A model with random weights, and thresholds that let its masks pass."""
    torch.manual_seed(0)
    open_ = replace(PAPER, pred_iou_thresh=0.0, stability_score_thresh=0.0)
    return build_sam(name).requires_grad_(False), open_


def published_features(read: Callable[[], np.ndarray], masks: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Node features as the published script takes them: for every mask the image is read again, resized to 320 px,
    scaled and blackened outside the mask as a whole.
    """
    x = np.zeros((len(masks), 5))
    for i, (mask, box) in enumerate(zip(masks, boxes)):
        image = cv2.resize(read(), (320, 320), interpolation=cv2.INTER_LINEAR) / 255
        image[~mask] = 0
        x[i, :3] = image[mask].mean(axis=0)
        x[i, 3:] = (box[:2] + box[2:] / 2) / 320
    return x


def features(images: Images) -> list[dict]:
    """Row of node features with files: a store of masks and the images in one array, as a data set keeps them, against
    the published script: an npz of each image and one of its masks and boxes.
    """
    from lczlib.data.layout import write_npz
    from lczlib.sam.store import MaskStore, pack

    found, numbers = generate_masks(load_sam("nano"), images), range(len(images))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = MaskStore(folder, {i: f"image {i}" for i in numbers})
        np.save(folder / "images.npy", np.stack(images))
        for i in numbers:
            np.savez(folder / f"image_{i}.npz", image=images[i])
            np.savez(folder / f"masks_{i}.npz", masks=found[i][0], boxes=found[i][1])
            write_npz(store.file(store.digests[i]), **pack(*found[i]))

        def published() -> list[np.ndarray]:
            made = []
            for i in numbers:
                with np.load(folder / f"image_{i}.npz") as image, np.load(folder / f"masks_{i}.npz") as stored:
                    made.append(
                        published_features(partial(image.__getitem__, "image"), stored["masks"], stored["boxes"])
                    )
            return made

        def ours() -> list[np.ndarray]:
            kept = zip(np.load(folder / "images.npy", mmap_mode="r"), store)
            return [node_features(image, *one, masks_within_boxes=True) for image, one in kept]

        assert max(abs(a - b).max() for a, b in zip(published(), ours())) < 1e-6
        seconds = take_turns({"ours": ours, "the published loop": published})
    seconds = {name: [s / len(images) for s in spent] for name, spent in seconds.items()}
    what = "node features of an image, with its files"
    return [about("nano") | row(what, seconds, "ours", "the published loop")]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", default=["nano", "mobile", "vit_b"])
    parser.add_argument("--images", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    images = [generate_scene(1 + 3 * i % 17, city=6, seed=700_000 + i).rgb for i in range(options.images)]
    if options.device != "cpu":
        print(torch.cuda.get_device_name(), *[r for name in ("nano", "vit_b") for r in masks_of(name, images, "cuda")])
        return
    path = Path(__file__).with_suffix(".json")
    rows = [r for r in read_json(path)["rows"] if r["model"] not in options.models] if path.exists() else []
    for name in options.models:
        rows = (rows + features(images) + demo_masks(images) if name == "nano" else rows) + masks_of(name, images)
        save(__file__, rows, images=options.images)


if __name__ == "__main__":
    main()
