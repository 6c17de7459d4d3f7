"""What instance masks cost, as ratios taken inside one run: `python benchmarks/sam.py OUT.json [--quick] [--device D]`.

Variants take turns on the same images, medians are compared: absolute times depend on the machine and on what else it
does, ratios much less. Reference: segment_anything's SamAutomaticMaskGenerator with the same weights and settings, the
allocator mended on both sides; and once more in a process where it is not, as its users meet it. MobileSAM and vit_b
have random weights (their time does not depend on them), thresholds of 0 for the same reason, and five images. On a
GPU (`--device cuda`) only the masks are timed, ours of all images together.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from lczlib.compute import bf16_pays, prepare_cpu

prepare_cpu()

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from lczlib.graphs import node_features  # noqa: E402
from lczlib.runs import write_json  # noqa: E402
from lczlib.sam import MaskSettings, generate_masks, load_sam  # noqa: E402
from lczlib.sam.models import build_sam  # noqa: E402
from lczworld import generate_scene  # noqa: E402

PAPER = MaskSettings()


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


Images = list[np.ndarray]


def ways(sam: torch.nn.Module, settings: MaskSettings, half: bool) -> dict[str, Callable[[Images], object]]:
    """The generator and ours, the latter also in bf16 where `half`, as functions of images."""
    run, low = generator(sam, settings), replace(settings, bf16=True)
    made: dict[str, Callable[[Images], object]] = {
        "generator": lambda images: [run(image) for image in images],
        "ours": lambda images: generate_masks(sam, images, settings),
    }
    return made | ({"ours_bf16": lambda images: generate_masks(sam, images, low)} if half else {})


def turns(variants: dict[str, Callable[[Images], object]], groups: list[Images]) -> dict[str, float]:
    """Median seconds an image of each variant, taking turns with groups of images, after a first turn not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number, group in enumerate([groups[0], *groups]):
        for name, work in variants.items():
            start = time.perf_counter()
            work(group)
            if number:
                seconds[name].append((time.perf_counter() - start) / len(group))
    return {name: statistics.median(values) for name, values in seconds.items()}


def compared(seconds: dict[str, float]) -> dict[str, float]:
    """Those seconds, and how many times faster than the generator the others are."""
    ratios = {f"times_faster_{name}": seconds["generator"] / seconds[name] for name in seconds if name != "generator"}
    return {**{f"seconds_{name}": value for name, value in seconds.items()}, **ratios}


def masks_of(sam: torch.nn.Module, settings: MaskSettings, images: Images) -> dict[str, float]:
    """The generator against ours in fp32 and, where the processor does not merely emulate it, in bf16."""
    one_by_one = [[image] for image in images]
    return compared(turns(ways(sam, settings, bf16_pays()), one_by_one))


def on_device(device: str, images: Images) -> dict[str, object]:
    """The generator, image by image, against ours on all images at once: seconds an image."""
    result: dict[str, object] = {"device": torch.cuda.get_device_name() if device == "cuda" else device}
    for name, (sam, settings) in {"nano": (load_sam("nano"), PAPER), "vit_b": random("vit_b")}.items():
        seconds = turns(ways(sam.to(device), settings, bf16_pays(device)), [images] * 3)
        result[name] = {"images": len(images), **compared(seconds)}
    return result


def random(name: str) -> tuple[torch.nn.Module, MaskSettings]:
    """A model with random weights, and thresholds that let its masks pass."""
    torch.manual_seed(0)
    open_ = replace(PAPER, pred_iou_thresh=0.0, stability_score_thresh=0.0)
    return build_sam(name).requires_grad_(False), open_


def untouched(images: Images) -> float:
    """Median seconds an image of the generator (nano) in a process with the allocator as it comes."""
    code = (
        "import sys, time, statistics, numpy as np; from lczlib.sam import MaskSettings, load_sam; "
        "from segment_anything import SamAutomaticMaskGenerator as G; "
        "g = G(load_sam('nano'), **MaskSettings().generator_arguments()); s = []\n"
        "for image in np.load(sys.argv[1]):\n"
        "    t = time.perf_counter(); g.generate(image); s.append(time.perf_counter() - t)\n"
        "print(statistics.median(s))"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        np.save(path, np.stack(images))
        environment = os.environ | {"LCZLIB_MALLOPT": "0", "OMP_NUM_THREADS": str(torch.get_num_threads())}
        out = subprocess.run([sys.executable, "-c", code, path], env=environment, capture_output=True, check=True)
    return float(out.stdout)


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


def features(images: Images, found: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Node features in memory and with files: an npz of an image and one of its masks and boxes each, against a store
    of masks and the images in one array, as a data set keeps them. Seconds an image of passes over all images.
    """
    from lczlib.data.layout import write_npz
    from lczlib.sam.store import MaskStore, pack

    numbers = range(len(images))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = MaskStore(folder, {i: f"image {i}" for i in numbers})
        np.save(folder / "images.npy", np.stack(images))
        for i in numbers:
            np.savez(folder / f"image_{i}.npz", image=images[i])
            np.savez(folder / f"masks_{i}.npz", masks=found[i][0], boxes=found[i][1])
            write_npz(store.file(store.digests[i]), **pack(*found[i]))

        def published_files() -> None:
            for i in numbers:
                with np.load(folder / f"image_{i}.npz") as image, np.load(folder / f"masks_{i}.npz") as stored:
                    published_features(partial(image.__getitem__, "image"), stored["masks"], stored["boxes"])

        def ours_files() -> None:
            for image, one in zip(np.load(folder / "images.npy", mmap_mode="r"), store):
                node_features(image, *one, masks_within_boxes=True)

        variants = {
            "published": lambda: [published_features(partial(np.asarray, i), *one) for i, one in zip(images, found)],
            "ours": lambda: [node_features(image, *one, masks_within_boxes=True) for image, one in zip(images, found)],
            "published_files": published_files,
            "ours_files": ours_files,
        }
        seconds = turns({name: lambda _, work=work: work() for name, work in variants.items()}, [images] * 5)
    apart = [abs(a - b).max() for a, b in zip(variants["published"](), variants["ours"]())]
    return {
        "masks": sum(len(masks) for masks, _ in found) / len(found),
        "largest_difference": max(apart),
        **{f"seconds_{name}": value for name, value in seconds.items()},
        "times_faster_in_memory": seconds["published"] / seconds["ours"],
        "times_faster_with_files": seconds["published_files"] / seconds["ours_files"],
    }


def main() -> None:
    """Run everything and write one JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--quick", action="store_true", help="few images, no MobileSAM, no vit_b")
    parser.add_argument("--device", default="cpu", help="cuda: masks on a GPU, nothing else")
    options = parser.parse_args()
    count = 3 if options.quick else 17
    images = [generate_scene(1 + i % 17, city=6, seed=700_000 + i).rgb for i in range(count)]
    if options.device != "cpu":
        result = on_device(options.device, images[:4])
        print(result)
        write_json(options.out, {"data": "synthetic", "numbers": result})
        return
    nano, result = load_sam("nano"), {"threads": torch.get_num_threads(), "images": count, "bf16": bf16_pays()}
    result["cpu_capability"] = torch.backends.cpu.get_cpu_capability()
    result["nano"] = masks_of(nano, PAPER, images)
    result["nano"]["seconds_generator_allocator_untouched"] = untouched(images)
    ours = min(value for name, value in result["nano"].items() if name.startswith("seconds_ours"))
    result["nano"]["times_faster_than_untouched"] = result["nano"]["seconds_generator_allocator_untouched"] / ours
    result["node_features"] = features(images, generate_masks(nano, images))
    if not options.quick:
        for name in ("mobile", "vit_b"):
            result[name] = masks_of(*random(name), images[:5])
    print(result)
    write_json(options.out, {"data": "synthetic", "numbers": result})


if __name__ == "__main__":
    main()
