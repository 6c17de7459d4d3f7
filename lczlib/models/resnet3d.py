"""The Sentinel-2 stream: a 3D residual network of eleven weighted layers (docs/paper.md, "Sentinel-2 stream")."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

KERAS_EPS, KERAS_MOMENTUM = 1e-3, 0.99


class ConvNorm(nn.Sequential):
    """Convolution with `same` padding and bias, then batch normalisation with Keras's constants."""

    def __init__(self, inputs: int, filters: int, kernel: int):
        super().__init__(
            nn.Conv3d(inputs, filters, kernel, padding=kernel // 2),
            nn.BatchNorm3d(filters, eps=KERAS_EPS, momentum=1 - KERAS_MOMENTUM),
        )

    def forward(self, x: Tensor, stride: int = 1) -> Tensor:
        """(B, inputs, H, W, C) -> (B, filters, H / stride, W / stride, C / stride)."""
        conv, *norm = self
        if conv.kernel_size[0] == 1 and stride > 1 and not torch.is_autocast_enabled(x.device.type):
            # The same numbers; in fp32 oneDNN is slow on the way back through strided 1x1x1 convolutions, and a slice
            # brings its gradient back in the slower layout.
            x, stride = nn.functional.max_pool3d(x, 1, stride), 1
        y = nn.functional.conv3d(x, conv.weight, conv.bias, stride, conv.padding)
        # a patch of one channel is in both layouts at once, and the stem may answer in the slower one
        y = y.contiguous(memory_format=torch.channels_last_3d)
        return norm[0](y) if norm else y


class Bottleneck(nn.Module):
    """`relu(expand(relu(spatial(relu(reduce(x))))) + shortcut(x))`: `filters` channels within, 4 x filters at the end.

    The stride, on all three axes, is that of the 1x1x1 convolutions `reduce` and `shortcut`.
    """

    def __init__(self, inputs: int, filters: int, stride: int):
        super().__init__()
        self.stride = stride
        self.reduce = ConvNorm(inputs, filters, 1)
        self.spatial = ConvNorm(filters, filters, 3)
        self.expand = ConvNorm(filters, 4 * filters, 1)
        self.shortcut = ConvNorm(inputs, 4 * filters, 1)

    def forward(self, x: Tensor, stride: int, every: int = 1) -> Tensor:
        """(B, inputs, H, W, C) -> (B, 4 filters, H', W', C').

        Args:
            x: what the block reads.
            stride: the block's own, or 1 where `x` holds only the positions that it reads.
            every: 2 to compute every second position of the output only, as the next block reads no others.
        """
        y = self.reduce(x, stride).relu()
        y = self.expand(self.spatial(y, every).relu())
        return torch.relu(y + self.shortcut(x, stride * every))


class ResNet3D11(nn.Module):
    """3D ResNet11: stem, three bottleneck blocks, mean over positions, dense; gives logits.

    The spectral axis is the third axis of the convolutions; the patch enters as one channel. Blocks 2 and 3
    begin with 1x1x1 convolutions of stride 2: they read every second position of what the block before them made.
    Leaving the unread ones out changes no output (4e-8) and costs 0.92 instead of 2.90 GMAC a patch. That is done
    whenever the network evaluates. In training it would take the batch statistics from an eighth of the positions,
    so there it happens only with `thin_training=True`, a departure from the paper.

    Args:
        width: filters of stem and first block; 64 in the paper.
        thin_training: leave the unread positions out in training as well.

    Source: docs/paper.md, "Sentinel-2 stream"; weights start as Keras's do (Glorot uniform, zero biases).
    """

    STRIDES = (1, 2, 2)

    def __init__(self, width: int = 64, bands: int = 10, zones: int = 17, thin_training: bool = False):
        super().__init__()
        self.width, self.bands, self.zones, self.thin_training = width, bands, zones, thin_training
        self.stem = ConvNorm(1, width, 3)
        inputs = [width, 4 * width, 8 * width]
        self.blocks = nn.ModuleList(Bottleneck(inputs[k], width * 2**k, self.STRIDES[k]) for k in range(3))
        self.head = nn.Linear(16 * width, zones)
        self.apply(glorot)
        if (width, zones) == (64, 17):
            assert count_numbers(self) == 3_548_049  # docs/paper.md: weights and batch-norm statistics

    def forward(self, x: Tensor) -> Tensor:
        """(B, bands, 32, 32) float reflectance -> logits (B, zones)."""
        if x.ndim != 4 or x.shape[1] != self.bands:
            expected = f"expected (B, {self.bands}, 32, 32), got {tuple(x.shape)}"
            raise ValueError(f"ResNet3D11: {expected}; move the band axis to second place")
        thin = self.thin_training or not self.training
        x = x.permute(0, 2, 3, 1).unsqueeze(1).contiguous(memory_format=torch.channels_last_3d)  # (B, 1, H, W, bands)
        x = self.stem(x).relu()
        left = self.STRIDES[0]
        for block, following in zip(self.blocks, (*self.STRIDES[1:], 1), strict=True):
            every = following if thin else 1
            x = block(x, left, every)
            left = following // every
        return self.head(x.mean((2, 3, 4)))  # of (B, 16 width, H/4, W/4, bands/4)

    def folded(self) -> ResNet3D11:
        """A copy for inference with every batch normalisation folded into its convolution."""
        copied = copy.deepcopy(self).eval()
        for module in copied.modules():
            if isinstance(module, ConvNorm) and len(module) == 2:
                module[0] = fuse_conv_bn_eval(module[0], module[1])
                del module[1]
        return copied


def glorot(module: nn.Module) -> None:
    """Keras's initial values: Glorot uniform weights, zero biases."""
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def count_numbers(model: nn.Module) -> int:
    """Numbers of a model as Keras counts them: parameters and batch-norm statistics, no step counters."""
    return sum(t.numel() for t in (*model.parameters(), *model.buffers()) if t.is_floating_point())


def set_batch_norm_momentum(model: nn.Module, momentum: float) -> None:
    """Set the momentum of all batch norms, in Keras's sense (0.99: a step changes the statistics by 1 %)."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1 - momentum
