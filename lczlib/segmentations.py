"""Instance masks without SAM: superpixels, graph-based regions, a grid, for the comparison in notebook 07.

The regions of an image become masks by the paper's area rule (at least 50 px, the 50 largest), as SAM's do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from skimage import segmentation

from lczlib.data import Pairs
from lczlib.errors import InputError
from lczlib.runs import content_key
from lczlib.sam import truth_masks

METHODS = ("slic", "felzenszwalb", "grid")


def regions(image: np.ndarray, method: str) -> np.ndarray:
    """Divide an image (H, W, 3) uint8 RGB into regions: (H, W) integer ids from 1.

    Args:
        method: `slic`, 50 superpixels; `felzenszwalb`, graph-based regions (both scikit-image's, at half the
            resolution); `grid`, 7 x 7 equal rectangles.

    Raises:
        InputError: unknown method.

    Source: assumed, not in the paper.
    """
    if method not in METHODS:
        raise InputError(f"unknown segmentation {method!r}; expected one of {', '.join(METHODS)}")
    height, width = image.shape[:2]
    if method == "grid":
        rows, columns = np.arange(height) * 7 // height, np.arange(width) * 7 // width
        return rows[:, None] * 7 + columns + 1
    small = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    if method == "slic":
        found = segmentation.slic(small, n_segments=50, compactness=10, start_label=1)
    else:
        found = segmentation.felzenszwalb(small, scale=150, sigma=0.8, min_size=13) + 1
    return cv2.resize(found.astype(np.int32), (width, height), interpolation=cv2.INTER_NEAREST)


@dataclass(frozen=True)
class RegionStore:
    """Masks made on demand, read like a MaskStore: `store[id] -> (masks, boxes)`; their graphs are kept in `path`."""

    pairs: Pairs
    method: str

    @property
    def path(self) -> Path:
        """Folder of what is kept of them."""
        return Path(self.pairs.data_dir) / "masks" / content_key({"regions": self.method})

    def digest(self, ids: np.ndarray) -> str:
        """Regions follow from the patches and the method."""
        return self.method

    def __getitem__(self, sample_id: int) -> tuple[np.ndarray, np.ndarray]:
        row = np.searchsorted(self.pairs.ids, sample_id)
        return truth_masks(regions(self.pairs.rgb[row], self.method))
