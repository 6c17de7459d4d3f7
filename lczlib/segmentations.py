"""Instance masks without SAM: superpixels, graph-based regions, a grid, for the comparison in notebook 07.

The regions of an image become masks by the paper's area rule (at least 50 px, the 50 largest), as SAM's do.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from lczlib.data import Pairs
from lczlib.errors import InputError
from lczlib.runs import content_key

METHODS = ("slic", "felzenszwalb", "grid")

__all__ = ["METHODS", "RegionStore", "regions"]


def regions(image: np.ndarray, method: str, count: int = 50, shrink: int = 2) -> np.ndarray:
    """Divide an image into regions.

    Args:
        image: (H, W, 3) uint8 RGB.
        method: `slic` superpixels; `felzenszwalb` graph-based regions (both scikit-image); `grid` equal squares.
        count: regions wanted (felzenszwalb finds its own number).
        shrink: slic and felzenszwalb work on an image smaller by this factor.

    Returns:
        (H, W) integer ids from 1.

    Raises:
        ValueError: unknown method.
    """
    height, width = image.shape[:2]
    if method == "grid":
        side = max(int(count**0.5), 1)
        rows, columns = np.arange(height) * side // height, np.arange(width) * side // width
        return rows[:, None] * side + columns + 1
    if method not in METHODS:
        raise InputError(f"unknown segmentation {method!r}; expected one of {', '.join(METHODS)}")
    from skimage import segmentation

    small = cv2.resize(image, (width // shrink, height // shrink), interpolation=cv2.INTER_AREA)
    if method == "slic":
        found = segmentation.slic(small, n_segments=count, compactness=10, start_label=1)
    else:
        found = segmentation.felzenszwalb(small, scale=150, sigma=0.8, min_size=50 // shrink**2 + 1) + 1
    return cv2.resize(found.astype(np.int32), (width, height), interpolation=cv2.INTER_NEAREST)


class RegionStore:
    """Masks made on demand, read like a MaskStore: `store[id] -> (masks, boxes)`; their graphs are kept in `path`."""

    def __init__(self, pairs: Pairs, method: str, count: int = 50):
        self.pairs, self.method, self.count = pairs, method, count
        self.rows = {int(i): row for row, i in enumerate(pairs.ids)}
        self.path = Path(pairs.data_dir) / "masks" / content_key({"regions": method, "count": count})

    def __getitem__(self, sample_id: int) -> tuple[np.ndarray, np.ndarray]:
        from lczlib.sam import truth_masks

        return truth_masks(regions(self.pairs.rgb[self.rows[int(sample_id)]], self.method, self.count))
