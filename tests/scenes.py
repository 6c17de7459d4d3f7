"""Scenes of coloured rectangles with their instance ids, and a nano at its start: something to learn in seconds."""

import numpy as np
import torch

from lczlib.sam import models
from lczworld.nano.start import look_up


def rectangles(count=3, seed=0):
    """RGB (count, 320, 320, 3) uint8 and ids (count, 320, 320) uint16, 0 = none."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((count, 320, 320), np.uint16)
    for i in range(count):
        for k in range(1, 12):
            y, x, h, w = rng.integers((0, 0, 20, 20), (250, 250, 90, 90))
            ids[i, y : y + h, x : x + w] = k
    return rng.integers(30, 220, (12, 3)).astype(np.uint8)[ids], ids


def start(size=320):
    """nano as it begins, for images of that size."""
    torch.manual_seed(0)
    sam = models.build_nano(size)
    look_up(sam)
    return sam
