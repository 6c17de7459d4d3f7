"""Are our masks those of SamAutomaticMaskGenerator? `python benchmarks/sam_equality.py OUT.json [--device D]`.

nano with the paper's settings on new scenes; vit_b with seeded random weights, no thresholds and no box NMS, so that
hundreds of (meaningless) masks an image pass through every step. fp32 on both sides. `--vit 0` keeps the numbers of
vit_b that OUT.json has: they do not depend on nano.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from lczlib.compute import prepare_cpu

prepare_cpu()

import numpy as np  # noqa: E402
import torch  # noqa: E402

from lczlib.runs import read_json, write_json  # noqa: E402
from lczlib.sam import MaskSettings, generate_masks, load_sam  # noqa: E402
from lczlib.sam.models import build_sam  # noqa: E402
from lczworld import generate_scene  # noqa: E402


def reference(sam: torch.nn.Module, image: np.ndarray, settings: MaskSettings) -> np.ndarray:
    """The generator's masks (n, H, W) after the paper's area rule; none where it fails for want of masks."""
    from segment_anything import SamAutomaticMaskGenerator

    try:
        records = SamAutomaticMaskGenerator(sam, **settings.generator_arguments()).generate(image)
    except IndexError:
        records = []
    records = sorted((r for r in records if r["area"] >= settings.min_area), key=lambda r: -r["area"])
    return np.array([r["segmentation"] for r in records[: settings.max_masks]]).reshape(-1, *image.shape[:2])


def compare(sam: torch.nn.Module, images: Iterable[np.ndarray], settings: MaskSettings) -> dict[str, float]:
    """Counts over all images; masks are matched by their best IoU, places by their rank in area."""
    worst, masks, unmatched, moved, other_count = 1.0, 0, 0, 0, 0
    for image in images:
        ours = generate_masks(sam, [image], settings)[0][0]
        theirs = reference(sam, image, settings)
        if len(theirs) == 0:
            theirs = np.ones((1, *image.shape[:2]), bool)  # ours says: the whole image
        a, b = (m.reshape(len(m), -1).astype(np.float32) for m in (ours, theirs))
        both = a @ b.T
        iou = both / (a.sum(1)[:, None] + b.sum(1) - both)
        best = iou.max(1)
        worst, masks = min(worst, float(best.min())), masks + len(ours)
        unmatched += int((best < 0.99).sum() + (iou.max(0) < 0.99).sum())
        moved += int((np.diagonal(iou) < 0.99).sum())
        other_count += len(ours) != len(theirs)
    return {"masks": masks, "worst_iou": worst, "below_0.99": unmatched, "moved_in_order": moved, "count": other_count}


def main() -> None:
    """Run both comparisons and write one JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--scenes", type=int, default=50)
    parser.add_argument("--vit", type=int, default=3)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    options = parser.parse_args()
    images = [generate_scene(1 + i % 17, city=7, seed=800_000 + i).rgb for i in range(options.scenes)]
    result = read_json(options.out)["numbers"] if options.out.exists() else {}
    result |= {"nano": {"scenes": len(images)} | compare(load_sam("nano").to(options.device), images, MaskSettings())}
    if options.vit:
        torch.manual_seed(0)
        every = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "box_nms_thresh": 1.0, "crop_nms_thresh": 1.0}
        sam = build_sam("vit_b").requires_grad_(False).to(options.device)
        result["vit_b"] = {"scenes": options.vit} | compare(
            sam, images[: options.vit], replace(MaskSettings(), **every)
        )
    print(result)
    write_json(options.out, {"data": "synthetic", "numbers": result})


if __name__ == "__main__":
    main()
