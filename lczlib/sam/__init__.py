"""Segment Anything: models, automatic instance masks for batches of images, and a store that keeps them.

models   load_sam, build_sam: nano (shipped), mobile, vit_b, vit_l, vit_h
masks    generate_masks, truth_masks, MaskSettings
store    make_masks, MaskStore: bit-packed, resumable, found again by content
"""

from ._torchvision_ops import define_missing_operators

define_missing_operators()  # so that segment_anything can be imported by who reads on

from .masks import generate_masks, truth_masks  # noqa: E402
from .models import build_sam, load_sam  # noqa: E402
from .settings import PAPER, MaskSettings  # noqa: E402
from .store import MaskStore, make_masks  # noqa: E402

__all__ = ["PAPER", "MaskSettings", "MaskStore", "build_sam", "generate_masks", "load_sam", "make_masks", "truth_masks"]
