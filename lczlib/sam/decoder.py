"""segment_anything's mask decoder for many prompts of one image: same weights, same result, less work.

What is saved, all of it exact up to rounding:

- an image has hundreds of tokens, a prompt seven, so projections move from the image's side to the prompt's. With q the
  tokens' queries and K = k W_k the image's keys, `q K^T = (q W_k^T) k^T`; with V = k W_v the values and A the weights,
  `A V = (A k) W_v`: no projected copy of the image for any prompt;
- the first layer's image tokens are the same for all prompts and stay one copy;
- the predicted IoU is read *before* any mask is made, and masks are made for the survivors only;
- the two transposed convolutions (2 x 2, stride 2) are matrix products whose blocks are put in place at the end.

Shapes: P prompts, T tokens (1 IoU, 4 masks, the prompt's), N = h w image tokens, C channels, H heads of D channels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from segment_anything.modeling import MaskDecoder
    from segment_anything.modeling.transformer import Attention


def attend(decoder: MaskDecoder, image: Tensor, place: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
    """The two-way transformer of `decoder`.

    Args:
        image: (1, C, h, w) embedding of the image of all prompts, or (P, C, h, w) one for each; the dense prompt
            embedding already added.
        place: (C, h, w) positional encoding.
        prompts: (P, t, C) sparse prompt embeddings.

    Returns:
        tokens (P, T, C) and image tokens (P, N, C) after the last layer.

    Source: segment_anything, TwoWayTransformer.forward.
    """
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).to(prompts.dtype)
    points = torch.cat([own.expand(len(prompts), -1, -1), prompts], 1)  # (P, T, C)
    keys, place = image.flatten(2).transpose(1, 2), place.flatten(1).T  # (1 or P, N, C), (N, C)
    queries = points
    for layer in decoder.transformer.layers:
        if layer.skip_first_layer_pe:
            queries = layer.self_attn(queries, queries, queries)
        else:
            q = queries + points
            queries = queries + layer.self_attn(q, q, queries)
        queries = layer.norm1(queries)
        seen = _cross_attend_to_image(layer.cross_attn_token_to_image, queries + points, keys, place)
        queries = layer.norm2(queries + seen)
        queries = layer.norm3(queries + layer.mlp(queries))
        attention = layer.cross_attn_image_to_token
        keys = layer.norm4(_cross_attend_to_tokens(attention, keys, place, queries + points, queries))
    last = decoder.transformer.final_attn_token_to_image
    queries = queries + _cross_attend_to_image(last, queries + points, keys, place)
    return decoder.transformer.norm_final_attn(queries), keys


def predict_iou(decoder: MaskDecoder, tokens: Tensor) -> Tensor:
    """Predicted IoU of the three masks of each prompt: tokens (P, T, C) -> (P, 3)."""
    return decoder.iou_prediction_head(tokens[:, 0])[:, 1:]


def mask_logits(decoder: MaskDecoder, tokens: Tensor, keys: Tensor, size: tuple[int, int], keep: Tensor) -> Tensor:
    """Logits (masks, 4 h, 4 w) of the masks wanted, in the order of `keep.nonzero()`.

    Args:
        tokens, keys: (P, T, C) and (P, N, C) of `attend`.
        size: (h, w) of the image embedding.
        keep: (P, 3) bool, which of the three masks are wanted.
    """
    rows = keep.any(1)
    if not rows.all():
        keep, tokens, keys = keep[rows], tokens[rows], keys[rows]
    heads = decoder.output_hypernetworks_mlps[1:]
    weights = torch.stack([head(tokens[:, 2 + i]) for i, head in enumerate(heads)], 1)  # (p, 3, c)
    masks = (weights @ upscale(decoder, keys).transpose(1, 2))[keep]  # (kept, 16 N)
    h, w = size
    masks = masks.view(len(masks), h, w, 2, 2, 2, 2)  # row, column, then dy, dx of the first and the second upscaling
    return masks.permute(0, 1, 3, 5, 2, 4, 6).reshape(len(masks), 4 * h, 4 * w)


def upscale(decoder: MaskDecoder, keys: Tensor) -> Tensor:
    """Image tokens four times finer, in blocks: (P, N, C) -> (P, 16 N, c), a token's 16 = (dy, dx) twice."""
    first, norm, activation, second, activation2 = decoder.output_upscaling
    x = F.layer_norm(_double(first, keys), norm.weight.shape, norm.weight, norm.bias, norm.eps)  # (P, N, 4, c')
    return activation2(_double(second, activation(x))).flatten(1, -2)


def _double(layer: torch.nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """A transposed convolution of kernel 2 and stride 2 as a matrix product: (..., C) -> (..., 4, c)."""
    weight = layer.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (4 c, C)
    return F.linear(x, weight, layer.bias.repeat(4)).unflatten(-1, (4, -1))


def _heads(layer: torch.nn.Linear, x: Tensor, heads: int) -> Tensor:
    """Project and separate: (P, T, C) -> (P, H, T, D)."""
    return layer(x).unflatten(-1, (heads, -1)).transpose(1, 2)


def _cross_attend_to_image(attention: Attention, q: Tensor, keys: Tensor, place: Tensor) -> Tensor:
    """Tokens q (P, T, C) attend to the image: keys + place as keys, keys as values. (P, T, C)"""
    heads, depth = attention.num_heads, attention.internal_dim // attention.num_heads
    q = _heads(attention.q_proj, q, heads) / math.sqrt(depth)  # the keys' bias shifts a row as a whole: no effect
    q = (q @ attention.k_proj.weight.unflatten(0, (heads, depth))).flatten(1, 2)  # (P, H T, C)
    if len(keys) == 1:  # shared by all prompts: one product
        seen = torch.softmax(F.linear(q, keys[0] + place), -1) @ keys[0]
    else:
        scores = F.linear(q, place).baddbmm(q, keys.transpose(1, 2))  # (P, H T, N)
        seen = torch.bmm(torch.softmax(scores, -1), keys)
    seen = seen.unflatten(1, (heads, -1)) @ attention.v_proj.weight.unflatten(0, (heads, depth)).transpose(1, 2)
    return attention.out_proj(seen.transpose(1, 2).flatten(2) + attention.v_proj.bias)


def _cross_attend_to_tokens(attention: Attention, keys: Tensor, place: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The image (keys + place) attends to tokens k, v (P, T, C); returns keys + the attended values: (P, N, C)."""
    heads, depth = attention.num_heads, attention.internal_dim // attention.num_heads
    k = _heads(attention.k_proj, k, heads) / math.sqrt(depth)  # (P, H, T, D)
    offset = (k @ attention.q_proj.bias.unflatten(0, (heads, depth, 1))).flatten(1, 2)  # (P, H T, 1)
    k = (k @ attention.q_proj.weight.unflatten(0, (heads, depth))).flatten(1, 2)  # (P, H T, C)
    scores = F.linear(k, place if len(keys) > 1 else keys[0] + place) + offset  # one product for shared keys
    if len(keys) > 1:
        scores = scores.baddbmm(k, keys.transpose(1, 2))
    weights = torch.softmax(scores.unflatten(1, (heads, -1)), 2).flatten(1, 2)  # (P, H T, N)
    out = attention.out_proj.weight.T.unflatten(0, (heads, depth))  # (H, D, C)
    bias = attention.out_proj.bias / heads  # the weights of a head sum to 1
    values = _heads(attention.v_proj, v, heads) @ out + bias
    return torch.baddbmm(keys.expand(len(v), -1, -1), weights.transpose(1, 2), values.flatten(1, 2))
