"""How instance masks are made: the paper's settings, and others by name."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lczlib.errors import InputError


@dataclass(frozen=True)
class MaskSettings:
    """How masks are made; the defaults are the paper's. The first eight: as SamAutomaticMaskGenerator names them.

    Attributes:
        min_area: masks below this many pixels are dropped.
        max_masks: at most so many are kept, the largest, largest first.
        bf16: in bfloat16 (of nano the decoder only): faster on CPUs with AMX and on GPUs; masks differ by a few pixels,
            and some with a score near a threshold come or go.
    """

    points_per_side: int = 12
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.92
    box_nms_thresh: float = 0.4
    crop_n_layers: int = 1
    crop_nms_thresh: float = 0.4
    crop_n_points_downscale_factor: int = 2
    min_mask_region_area: int = 100
    min_area: int = 50
    max_masks: int = 50
    bf16: bool = False

    @classmethod
    def named(cls, name: str, sam: str = "nano") -> MaskSettings:
        """The settings called `paper`, `demo` (fewer points, no crops) or `smoke` (for tests), for that model.

        Raises:
            InputError: unknown name.

        Source: `paper` is the published script's; the others are assumed.
        """
        if name not in NAMED:
            raise InputError(f"mask settings {name!r}: unknown; use one of {', '.join(NAMED)}")
        settings = NAMED[name]
        return settings if sam == "nano" else replace(settings, pred_iou_thresh=PAPER.pred_iou_thresh)

    def crops(self, size: tuple[int, int]) -> list[tuple[list[int], np.ndarray]]:
        """Of an image (height, width) and its overlapping crops: box x0, y0, x1, y1 and grid of points (P, 2), 0..1."""
        from segment_anything.utils import amg

        boxes, layers = amg.generate_crop_boxes(size, self.crop_n_layers, 512 / 1500)  # SAM's overlap
        scale = self.crop_n_points_downscale_factor
        grids = amg.build_all_layer_point_grids(self.points_per_side, self.crop_n_layers, scale)
        return [(box, grids[layer]) for box, layer in zip(boxes, layers)]

    def generator_arguments(self) -> dict[str, float]:
        """The keyword arguments that give SamAutomaticMaskGenerator the same settings."""
        own = ("min_area", "max_masks", "bf16")
        return {name: value for name, value in vars(self).items() if name not in own}


PAPER = MaskSettings()
NAMED = {  # nano predicts a lower IoU than the official models do, so fewer points need a lower threshold
    "paper": PAPER,
    "demo": MaskSettings(points_per_side=8, crop_n_layers=0, pred_iou_thresh=0.7),
    "smoke": MaskSettings(points_per_side=4, crop_n_layers=0, pred_iou_thresh=0.7),
}
