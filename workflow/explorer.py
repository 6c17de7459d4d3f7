"""The explorer: one static page in which a reader picks test pairs and moves alpha. No server, no Python, no network.

    python workflow/explorer.py --data DATA --work build/demo --out build/demo/explorer.html

The fusion is linear, so the page itself computes what alpha changes: the answer for a pair, overall accuracy, the
confusion matrix and F1 of each zone. Probabilities are embedded as float32, exactly as notebook 04 reads them.
"""

from __future__ import annotations

import argparse
import base64
import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from lczlib.figures.primitives import natural_color

from lczlib.data import Pairs, open_pairs
from lczlib.fusion import PUBLISHED_ALPHA
from lczlib.graphs import node_features
from lczlib.predictions import Predictions, join
from lczlib.runs import atomic_path
from lczlib.zones import ZONES

TEMPLATE = Path(__file__).parent / "templates" / "explorer.html"
SIDE = 240  # px of an RGB picture in the page


def encoded(picture: np.ndarray, suffix: str, *options: int) -> str:
    """An RGB picture (H, W, 3) uint8 as a data URL; `suffix` ".webp" or ".png"."""
    done, content = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), list(options))
    if not done:
        raise RuntimeError(f"OpenCV cannot write {suffix}")
    return f"data:image/{suffix[1:]};base64,{base64.b64encode(content).decode()}"


def outline(mask: np.ndarray) -> list[int]:
    """The largest outer contour of a mask (H, W) as x, y, x, y ... in pixels, within 1.5 px."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return cv2.approxPolyDP(max(contours, key=cv2.contourArea), 1.5, True).ravel().tolist()


def pair_entry(rgb: np.ndarray, s2: np.ndarray, masks: np.ndarray, boxes: np.ndarray) -> dict:
    """Pictures, mask outlines and node features of one pair, as the page draws them."""
    small = cv2.resize(rgb, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    nodes = node_features(rgb, masks, boxes).round(3).tolist() if len(masks) else []
    return {
        "rgb": encoded(small, ".webp", cv2.IMWRITE_WEBP_QUALITY, 60),
        "s2": encoded((natural_color(s2) * 255).astype(np.uint8), ".png"),
        "masks": [outline(mask) for mask in masks],
        "nodes": nodes,
    }


def page_data(pairs: Pairs, s2: Predictions, ge: Predictions, store, most: int = 240) -> dict:
    """Everything the page embeds: zones, pairs, probabilities of the test pairs.

    Args:
        s2, ge: predictions of the same test pairs in the same order. store: instance masks by pair id.
        most: pairs with pictures; all of them count in the numbers.
    """
    frame: pd.DataFrame = s2.frame
    shown = {int(i): row for row, i in enumerate(pairs.ids)}
    entries = []
    for number, (sample, label, city) in enumerate(zip(frame["id"], s2.labels, frame["city"], strict=True)):
        entry = {"id": int(sample), "label": int(label), "city": str(city)}
        if number < most:
            row = shown[int(sample)]
            entry |= pair_entry(np.asarray(pairs.rgb[row]), np.asarray(pairs.s2[row]), *store[int(sample)])
        entries.append(entry)
    return {
        "kind": pairs.kind,
        "alpha": PUBLISHED_ALPHA,
        "zones": [{"code": zone.code, "name": zone.name, "color": zone.color} for zone in ZONES],
        "pairs": entries,
        "p_s2": base64.b64encode(np.ascontiguousarray(s2.p, "<f4")).decode(),
        "p_ge": base64.b64encode(np.ascontiguousarray(ge.p, "<f4")).decode(),
    }


def write_page(data: dict, out: str | Path) -> Path:
    """Fill the template with `page_data` and write the page."""
    content = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    with atomic_path(out) as temporary:
        temporary.write_text(TEMPLATE.read_text(encoding="utf-8").replace("/*DATA*/null", content), encoding="utf-8")
    return Path(out)


def main(argv: list[str] | None = None) -> None:
    """Write the page from a data folder and the predictions of notebooks 02 and 03."""
    from lczlib.sam import MaskSettings, make_masks

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder with predictions/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sam", default="nano")
    parser.add_argument("--masks", default="demo", help="name of the mask settings")
    parser.add_argument("--name", default="polygon_pool_0", help="split strategy and seed of the predictions")
    args = parser.parse_args(argv)
    pairs = open_pairs(args.data)
    loaded = (Predictions.load(args.work / "predictions" / f"{stream}_{args.name}.npz") for stream in ("s2", "ge"))
    s2, ge = (predictions.select(split="test") for predictions in join(*loaded))
    store = make_masks(args.data, sam=args.sam, settings=MaskSettings.named(args.masks, args.sam), ids=s2.frame["id"])
    print(write_page(page_data(pairs, s2, ge, store), args.out))


if __name__ == "__main__":
    main()
