"""segment_anything's ViT encoder on a CPU: same weights, same result, without attention matrices in memory.

The global layers of `vit_b` make scores of 12 x 4096 x 4096 numbers (0.8 GB), which segment_anything writes and reads
five times. Here torch's fused attention takes a head at a time, its relative positions as a bias.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from segment_anything.modeling import ImageEncoderViT
    from segment_anything.modeling.image_encoder import Attention

PART = 2**18  # scores at a time, one head's at least


def encode(encoder: ImageEncoderViT, x: Tensor) -> Tensor:
    """Embeddings (B, 256, h, w) of normalised images x (B, 3, H, W).

    Source: segment_anything, ImageEncoderViT.forward.
    """
    from segment_anything.modeling.image_encoder import window_partition, window_unpartition

    x = encoder.patch_embed(x)
    if encoder.pos_embed is not None:
        x = x + encoder.pos_embed
    for block in encoder.blocks:
        y = block.norm1(x)
        if block.window_size > 0:
            y, padded = window_partition(y, block.window_size)
            y = window_unpartition(_attend(block.attn, y), block.window_size, padded, x.shape[1:3])
        else:
            y = _attend(block.attn, y)
        x = x + y
        x = x + block.mlp(block.norm2(x))
    return encoder.neck(x.permute(0, 3, 1, 2))


def _attend(attention: Attention, x: Tensor) -> Tensor:
    """Attention over windows x (B, h, w, C)."""
    from segment_anything.modeling.image_encoder import get_rel_pos

    b, h, w, _ = x.shape
    heads, n = attention.num_heads, h * w
    q, k, v = attention.qkv(x).view(b, n, 3, heads, -1).permute(2, 0, 3, 1, 4).flatten(1, 2)[:, None]  # (1, B H, N, D)
    rows = cols = q.new_zeros(b * heads, n, 1)
    if attention.use_rel_pos:
        grid = q.view(b * heads, h, w, -1)
        rows = torch.einsum("bhwc,hkc->bhwk", grid, get_rel_pos(h, h, attention.rel_pos_h)).flatten(1, 2)
        cols = torch.einsum("bhwc,wkc->bhwk", grid, get_rel_pos(w, w, attention.rel_pos_w)).flatten(1, 2)
    out, together = torch.empty_like(v), max(PART // n**2, 1)
    for i in range(0, b * heads, together):
        some = slice(i, i + together)
        bias = (rows[None, some, :, :, None] + cols[None, some, :, None, :]).flatten(3).expand(-1, -1, -1, n)
        some = (slice(None), some)
        out[some] = F.scaled_dot_product_attention(q[some], k[some], v[some], bias, scale=attention.scale)
    return attention.proj(out.view(b, heads, h, w, -1).permute(0, 2, 3, 1, 4).flatten(3))
