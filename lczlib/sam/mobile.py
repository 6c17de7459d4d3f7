"""MobileSAM: SAM with a TinyViT as its image encoder; 40 MB, usable without a GPU.

Source: Zhang et al. 2023, arXiv 2306.14289. The TinyViT is timm's; its last stage keeps 64 x 64 places, and weights
have other names in the published checkpoint (`timm_names`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from torch import Tensor, nn

from lczlib.errors import InputError

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

_NAMES = (  # published -> timm's; a stage's reduction stands at the end of the stage before it in the checkpoint
    (r"^patch_embed\.seq\.0\.", "body.patch_embed.conv1."),
    (r"^patch_embed\.seq\.2\.", "body.patch_embed.conv2."),
    (r"^layers\.(\d)\.downsample\.", lambda found: f"body.stages.{int(found[1]) + 1}.downsample."),
    (r"^layers\.", "body.stages."),
    (r"\.c\.(\w+)$", r".conv.\1"),
)


class MobileEncoder(nn.Module):
    """TinyViT and SAM's neck: normalised RGB (B, 3, 1024, 1024) -> (B, 256, 64, 64)."""

    img_size = 1024

    def __init__(self):
        super().__init__()
        try:
            from timm.models.tiny_vit import TinyVit
        except ModuleNotFoundError:
            raise InputError("mobile: needs timm; run: pip install timm") from None
        from segment_anything.modeling.common import LayerNorm2d

        sizes = {"embed_dims": (64, 128, 160, 320), "num_heads": (2, 4, 5, 10), "window_sizes": (7, 7, 14, 7)}
        self.body = TinyVit(**sizes, drop_path_rate=0.0)
        self.body.head = nn.Identity()
        self.body.stages[3].downsample.conv2.conv.stride = (1, 1)
        self.neck = nn.Sequential(
            nn.Conv2d(320, 256, 1, bias=False), LayerNorm2d(256),
            nn.Conv2d(256, 256, 3, padding=1, bias=False), LayerNorm2d(256),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """x: normalised RGB (B, 3, 1024, 1024)."""
        return self.neck(self.body.stages(self.body.patch_embed(x)))


def build_mobile() -> Sam:
    """MobileSAM with random weights: SAM's own prompt encoder and mask decoder."""
    from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    transformer = TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
    prompts = PromptEncoder(256, (64, 64), (1024, 1024), mask_in_chans=16)
    return Sam(MobileEncoder(), prompts, MaskDecoder(transformer_dim=256, transformer=transformer)).eval()


def timm_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The published checkpoint's weights under the names of `build_mobile`, without its classifier."""
    renamed = {}
    for name, value in state.items():
        part, _, own = name.partition("image_encoder.")
        if part or own.startswith(("norm_head.", "head.")):
            renamed |= {} if own else {name: value}
            continue
        for pattern, replacement in _NAMES:
            own = re.sub(pattern, replacement, own)
        renamed[f"image_encoder.{own}"] = value
    return renamed
