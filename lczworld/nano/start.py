"""Where the training of `nano`'s decoder begins: weights that look up what lies under the point they are asked about.

From random weights a small transformer spends its training on finding out that it should (a) attend to the place of
its prompt, (b) carry the code found there, and (c) compare it with the code of every place. Here that is written down
as a start; everything stays trainable.

How the 64 channels are used at the start. The positional encoding is [sines, cosines] of 32 frequencies:

    channels 0-7, 32-39    sines, cosines of the place: four frequencies along x, four along y, by which all attention
                           between tokens and image compares places; the image's tokens carry nothing else there
    channels 8-31          frequency 0, so 0: on the prompt's side free for the code that was found
    channels 40-63         frequency 0, so 1: on the prompt's side the kind of a token
    both of these, image   what the token's 4 x 4 places carry, means of 2 x 2: their codes, then the qualities of their
                           regions, and 12 mixed details

Attention has four heads, each with the place shifted to another quarter of a token, whose code is its value: a point
is answered by the quarter it lies on although a token has only one place.

Source: this project ("assumed"); the architecture is segment_anything's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lczlib.sam.grouping import BOLD, CHANNELS, CODE

if TYPE_CHECKING:
    from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam
    from segment_anything.modeling.transformer import Attention

FREQUENCIES = (0.35, 1.1, 3.4, 10.0)  # periods over half of the image; the last tells the halves of a token apart
TOKEN = 0.05  # side of an image token in the units of the positional encoding; the image's is 2
GAIN = 2.0  # size of a code that a token has found
QUARTERS = 4  # of a token, 2 x 2 places each, a head of attention for each
WAVES = len(FREQUENCIES) * 2
SIN, FREE = torch.arange(WAVES), torch.arange(WAVES, 32)
COS, KIND = SIN + 32, FREE + 32
SIGNS = 1.0 - 2.0 * (torch.arange(len(KIND)) % 2)  # what tells points from the decoder's own tokens; no mean
BODY = torch.cat([FREE, KIND])  # of an image token: codes of quarters, qualities of quarters, details
CONTENT = 0.25  # size of what image tokens carry: small beside their place, which attention follows
SHARPNESS = 20.0  # of attention: the score of a token's quarter at its own place


@torch.no_grad()
def look_up(sam: Sam) -> None:
    """Write the start into a fresh `nano` (`models.build_nano`), in place. Draws from torch's generator."""
    codes, qualities = BODY[: QUARTERS * CHANNELS].split([QUARTERS * CODE, QUARTERS * (CHANNELS - CODE)])
    quarter = torch.cat([codes.view(QUARTERS, -1), qualities.view(QUARTERS, -1)], 1)  # channels of each
    _start_prompts(sam.prompt_encoder)
    _join_by_boundary(sam.image_encoder.same)
    _start_neck(sam.image_encoder.neck, quarter)
    decoder = sam.mask_decoder
    for own in (decoder.iou_token, decoder.mask_tokens):
        own.weight.zero_()
        own.weight[:, KIND] = torch.randn(len(own.weight), len(KIND)) * 0.3
    for layer in decoder.transformer.layers:
        _attend_to_points(layer.self_attn, first=layer.skip_first_layer_pe)
        _attend_by_place(layer.cross_attn_token_to_image, quarter)
        _quieten(layer.mlp.lin2, 0.2)
        _quieten(layer.cross_attn_image_to_token.out_proj, 0.1)
        layer.norm4.weight.fill_(CONTENT)
    _attend_by_place(decoder.transformer.final_attn_token_to_image, quarter)
    _keep_codes(decoder, quarter)
    for i, head in enumerate(decoder.output_hypernetworks_mlps[1:]):
        _compare(head, BOLD[0] if i == 0 else CODE)


def _join_by_boundary(same: nn.Sequential) -> None:
    """Neighbours are one instance, to begin with, where the mean boundary between them is below a half."""
    first, _, middle, _, last = same
    for layer in (first, middle, last):
        _quieten(layer, 0.1)
    first.weight[0], middle.weight[0], last.weight[0, 0] = 0, 0, -10
    first.weight[0, 0] = middle.weight[0, 0] = 1
    last.bias.fill_(5)


def _start_prompts(encoder: PromptEncoder) -> None:
    waves, n = torch.zeros(2, 32), len(FREQUENCIES)
    waves[0, :n] = waves[1, n : 2 * n] = torch.tensor(FREQUENCIES)
    encoder.pe_layer.positional_encoding_gaussian_matrix.copy_(waves)
    for kind in encoder.point_embeddings:
        kind.weight.zero_()
        kind.weight[0, KIND] = SIGNS - 1  # the positional encoding adds 1
    encoder.not_a_point_embed.weight.zero_()
    encoder.not_a_point_embed.weight[0, KIND] = torch.randn(len(KIND)) * 0.3
    encoder.no_mask_embed.weight.zero_()


def _start_neck(neck: nn.Conv2d, quarter: Tensor) -> None:
    """Input: what 4 x 4 places carry, number after number."""
    weight = torch.zeros(neck.weight.shape[:2])
    places = weight.view(-1, CHANNELS, 2, 2, 2, 2)  # of a number: y of the quarter, y in it; x, x
    for q in range(QUARTERS):
        for c in range(CHANNELS):
            places[quarter[q, c], c, q // 2, :, q % 2] = 0.25
    rest = BODY[QUARTERS * CHANNELS :]
    details = torch.randn(len(rest), *places.shape[1:]) * 0.1
    places[rest] = details - details.mean((3, 5), keepdim=True)  # what the means of the quarters leave out
    neck.weight.copy_(weight[:, :, None, None] * 2 * CONTENT)
    nn.init.zeros_(neck.bias)


def _quieten(layer: nn.Linear, size: float) -> None:
    """A branch beside the residual path begins small."""
    layer.weight *= size
    nn.init.zeros_(layer.bias)


def _attend_to_points(attention: Attention, first: bool) -> None:
    """Every token attends to the point: in the first layer it becomes a copy of it, so that all know the place."""
    depth = attention.internal_dim // attention.num_heads
    attention.q_proj.weight *= 0.3
    attention.k_proj.weight *= 0.3
    for row in range(0, attention.internal_dim, depth):
        attention.q_proj.weight[row], attention.q_proj.bias[row] = 0, 4.0
        attention.k_proj.weight[row] = 0
        attention.k_proj.weight[row, KIND] = 0.25 * SIGNS
    if first:
        for layer in (attention.v_proj, attention.out_proj):
            nn.init.eye_(layer.weight)
            nn.init.zeros_(layer.bias)
    else:
        _quieten(attention.out_proj, 0.1)


def _attend_by_place(attention: Attention, quarter: Tensor) -> None:
    """Tokens attend to the image by place, head by head to another quarter, and take its code into free channels."""
    layers = attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj
    q, k, v, out = (torch.zeros_like(layer.weight) for layer in layers)
    depth = attention.internal_dim // attention.num_heads
    scale = (SHARPNESS * depth**0.5 / WAVES) ** 0.5
    waves = 2 * torch.pi * torch.tensor(FREQUENCIES).repeat(2)
    for head in range(QUARTERS):
        row = head * depth
        shift = waves * torch.tensor([head % 2 - 0.5, head // 2 - 0.5]).repeat_interleave(len(FREQUENCIES)) * TOKEN / 2
        sines, cosines = row + SIN, row + SIN + WAVES
        q[sines, SIN] = q[cosines, COS] = scale
        k[sines, SIN] = k[cosines, COS] = scale * shift.cos()  # sin(a + b) = sin a cos b + cos a sin b
        k[sines, COS], k[cosines, SIN] = scale * shift.sin(), -scale * shift.sin()
        found = row + torch.arange(CHANNELS)
        v[found, quarter[head]] = 1 / CONTENT
        out[FREE[:CHANNELS], found] = torch.tensor([GAIN] * CODE + [GAIN / 4] * (CHANNELS - CODE))
        v[row + CHANNELS : row + depth] = torch.randn(depth - CHANNELS, v.shape[1]) * 0.05 / CONTENT
    out += torch.randn_like(out) * 0.02
    for layer, weight in zip(layers, (q, k, v, out), strict=True):
        layer.weight.copy_(weight)
        nn.init.zeros_(layer.bias)


def _keep_codes(decoder: MaskDecoder, quarter: Tensor) -> None:
    """The upscaling separates a token's quarters. Each number of a code becomes a channel and its negative, which pass
    the nonlinearity together, and one channel again, lifted above 0; the last channel is constant.
    """
    first, _, _, second, _ = decoder.output_upscaling
    first.weight.normal_(0, 0.01)
    second.weight *= 0.1
    nn.init.zeros_(first.bias)
    nn.init.ones_(second.bias)
    for c in range(CODE):
        for q in range(QUARTERS):
            first.weight[quarter[q, c], 2 * c, q // 2, q % 2] += 1
            first.weight[quarter[q, c], 2 * c + 1, q // 2, q % 2] -= 1
        second.weight[2 * c, c] += 0.5
        second.weight[2 * c + 1, c] -= 0.5


def _compare(head: nn.Module, numbers: int) -> None:
    """A mask's weights over the upscaled channels are the code that its token has found (its first `numbers`)."""
    first, middle, last = head.layers
    for layer in (first, middle, last):
        _quieten(layer, 0.2)
    for c in range(CODE):
        pair = torch.tensor([2 * c, 2 * c + 1])
        first.weight[pair] = middle.weight[pair] = 0
        last.weight[:, pair] = 0
        first.weight[pair, FREE[c]] = torch.tensor([1.0, -1.0])
        middle.weight[pair, pair] = 1
        if c < numbers:
            last.weight[c, pair] = torch.tensor([1.0, -1.0])
            last.weight[-1, pair] = torch.tensor([-1.0, 1.0])  # against the lift of all channels
