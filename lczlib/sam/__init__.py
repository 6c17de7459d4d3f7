"""Segment Anything: models, automatic instance masks for batches of images, and a store that keeps them.

models         load_sam: nano (shipped), vit_b, vit_l, vit_h
masks          generate_masks, truth_masks, MaskSettings
store          make_masks, MaskStore: bit-packed, resumable, found again by content
train_encoder  how the encoder of nano was made
train_nano     how its decoder was made
"""

from ._torchvision_ops import ensure

ensure()  # before anything here, or a reader of this package, imports segment_anything

from .masks import PAPER, MaskSettings, generate_masks, truth_masks  # noqa: E402
from .models import load_sam  # noqa: E402
from .store import MaskStore, make_masks  # noqa: E402

__all__ = ["PAPER", "MaskSettings", "MaskStore", "generate_masks", "load_sam", "make_masks", "truth_masks"]
