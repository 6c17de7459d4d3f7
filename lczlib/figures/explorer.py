"""The explorer: one page of HTML in which a reader picks pairs and moves alpha. No server, no Python, no network.

The fusion is linear, so the page itself computes what alpha changes: the answer for a pair, overall accuracy, the
confusion matrix and F1 of each zone. Probabilities are embedded as float32, exactly as notebook 04 reads them.
"""

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from importlib.resources import files

import cv2
import numpy as np

from lczlib.figures.primitives import natural_color
from lczlib.fusion import PUBLISHED_ALPHA
from lczlib.zones import ZONES

SIDE = 240  # px of an RGB picture in the page


@dataclass(frozen=True)
class View:
    """A pair and what the streams make of it.

    Attributes:
        name: shown with the answer. label: the reference zone 1..17; 0 where nobody knows it.
        rgb: (320, 320, 3) uint8. masks: (n, 320, 320) bool. nodes: (n, 5) node features. p_ge: (17,) probabilities.
        s2, p_s2: (32, 32, 10) reflectance and (17,); None where there is only an RGB picture.
    """

    name: str
    label: int
    rgb: np.ndarray
    masks: np.ndarray
    nodes: np.ndarray
    p_ge: np.ndarray
    s2: np.ndarray | None = None
    p_s2: np.ndarray | None = None

    def entry(self) -> dict:
        """Pictures, outlines of the masks and node features, as the page draws them."""
        small = cv2.resize(self.rgb, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        s2 = None if self.s2 is None else _encoded((natural_color(self.s2) * 255).astype(np.uint8), ".png")
        return {
            "name": self.name,
            "label": int(self.label),
            "rgb": _encoded(small, ".webp", cv2.IMWRITE_WEBP_QUALITY, 60),
            "s2": s2,
            "masks": [outline(mask) for mask in self.masks],
            "nodes": np.asarray(self.nodes).round(3).tolist(),
        }


def page(views: Iterable[View], data: str, alpha: float = PUBLISHED_ALPHA) -> str:
    """The whole page for these pairs; for a single one without the numbers over all pairs.

    Args:
        data: origin of the data, e.g. "synthetic", which the page states.
    """
    views = list(views)
    content = {
        "data": data,
        "alpha": alpha,
        "zones": [{"code": zone.code, "name": zone.name} for zone in ZONES],
        "pairs": [view.entry() for view in views],
        "p_s2": _floats([view.p_ge if view.p_s2 is None else view.p_s2 for view in views]),
        "p_ge": _floats([view.p_ge for view in views]),
    }
    text = json.dumps(content, separators=(",", ":")).replace("</", "<\\/")
    return (files("lczlib.figures") / "explorer.html").read_text(encoding="utf-8").replace("/*DATA*/null", text)


def frame(views: Iterable[View], data: str, alpha: float = PUBLISHED_ALPHA, height: int = 1000) -> str:
    """The page as an HTML frame for a notebook or Voila."""
    source = escape(page(views, data, alpha), quote=True)
    return f'<iframe srcdoc="{source}" title="explorer" style="width:100%;height:{height}px;border:0"></iframe>'


def outline(mask: np.ndarray) -> list[int]:
    """The largest outer contour of a mask (H, W) as x, y, x, y ... in pixels, within 1.5 px."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return cv2.approxPolyDP(max(contours, key=cv2.contourArea), 1.5, True).ravel().tolist()


def _encoded(picture: np.ndarray, suffix: str, *options: int) -> str:
    _, content = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), list(options))
    return f"data:image/{suffix[1:]};base64,{base64.b64encode(content).decode()}"


def _floats(rows: list[np.ndarray]) -> str:
    return base64.b64encode(np.ascontiguousarray(rows, "<f4")).decode()
