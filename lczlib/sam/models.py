"""Segment Anything models: MobileSAM and the three official ones from their checkpoints, and `nano`, which ships.

All are segment_anything's own `Sam`, so that its predictor and generator work on them too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pooch
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from lczlib.errors import InputError

from . import grouping, mobile
from ._torchvision_ops import import_torchvision

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

NANO = Path(__file__).with_name("nano.safetensors")
NAMES = ("nano", "mobile", "vit_b", "vit_l", "vit_h")
DIM = 64  # channels of nano's embedding


@dataclass(frozen=True)
class Checkpoint:
    """A published checkpoint."""

    url: str
    sha256: str
    width: int  # of its ViT

    @property
    def file(self) -> str:
        """File name, the same on the server and in the cache."""
        return self.url.rsplit("/", 1)[1]


_META = "https://dl.fbaipublicfiles.com/segment_anything/"
_MOBILE = "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/"
CHECKPOINTS = {
    name: Checkpoint((_MOBILE if name == "mobile" else _META) + file, sha256, width)
    for name, file, sha256, width in (
        ("mobile", "mobile_sam.pt", "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f", 0),
        ("vit_b", "sam_vit_b_01ec64.pth", "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912", 768),
        ("vit_l", "sam_vit_l_0b3195.pth", "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622", 1024),
        ("vit_h", "sam_vit_h_4b8939.pth", "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e", 1280),
    )
}  # fmt: skip


def cache_dir() -> Path:
    """Where `python -m lczlib fetch` keeps checkpoints and `load_sam` looks for them."""
    return Path(pooch.os_cache("lczlib"))


def fetch_checkpoint(name: str, to: str | Path | None = None) -> Path:
    """Download a published checkpoint into a folder, unless it is there already; None: where `load_sam` looks."""
    from lczlib.data import fetch

    known = CHECKPOINTS[name]
    return fetch.fetch_file(known.url, Path(to or cache_dir()) / known.file, known.sha256)


def load_sam(name: str, checkpoint: str | Path | None = None) -> Sam:
    """A Segment Anything model with its weights, in evaluation mode, on the CPU.

    Args:
        name: "nano" (ships with this package, 320 px), "mobile" (MobileSAM, the quickest of 1024 px without a GPU),
            "vit_b", "vit_l" or "vit_h" (the paper's).
        checkpoint: file of weights (.pth or .safetensors); None: the shipped or the fetched one.

    Raises:
        FileNotFoundError: no such file.
        InputError: unknown name; the file is truncated, of another variant or no SAM checkpoint.
    """
    _check_name(name)
    path = checkpoint_path(name, checkpoint)
    state = _read(path)
    if "image_encoder.patch_embed.seq.0.c.weight" in state:
        state = mobile.timm_names(state)
    with torch.device("cpu" if name == "mobile" else "meta"):  # no time for initial weights that are replaced at once
        sam = build_sam(name)
    _check(state, sam.state_dict(), path, name)
    sam.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()}, assign=True)
    for buffer, values in (("pixel_mean", (123.675, 116.28, 103.53)), ("pixel_std", (58.395, 57.12, 57.375))):
        setattr(sam, buffer, torch.tensor(values).view(-1, 1, 1))  # not part of a checkpoint
    return sam.eval().requires_grad_(False)


def _check_name(name: str) -> None:
    if name not in NAMES:
        raise InputError(f"SAM variant {name!r}: unknown; use one of {', '.join(NAMES)}")


def checkpoint_path(name: str, checkpoint: str | Path | None = None) -> Path:
    """The file `load_sam` reads. Raises FileNotFoundError, naming the command to run, when it is not there."""
    path = Path(checkpoint) if checkpoint else NANO if name == "nano" else cache_dir() / CHECKPOINTS[name].file
    if not path.is_file():
        command = f"run: python -m lczlib fetch sam-{name.replace('_', '-')}"
        remedy = "give the path of one" if checkpoint or name == "nano" else command
        raise FileNotFoundError(f"{path}: no {name} checkpoint there; {remedy}")
    return path


def build_sam(name: str) -> Sam:
    """The model of that name with initial (random) weights. Raises InputError where there is none."""
    _check_name(name)
    import_torchvision()
    import segment_anything

    own = {"nano": build_nano, "mobile": mobile.build_mobile}
    return (own | segment_anything.sam_model_registry)[name]()


def build_nano(size: int = 320) -> Sam:
    """nano: segment_anything's prompt encoder and mask decoder (64 channels, 4 heads), `NanoEncoder` before them."""
    import_torchvision()
    from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    tokens = size // NanoEncoder.stride
    transformer = TwoWayTransformer(2, DIM, num_heads=4, mlp_dim=4 * DIM, attention_downsample_rate=1)
    encoder, prompts = NanoEncoder(size), PromptEncoder(DIM, (tokens, tokens), (size, size), mask_in_chans=16)
    decoder = MaskDecoder(transformer_dim=DIM, transformer=transformer, iou_head_hidden_dim=2 * DIM)
    return Sam(encoder, prompts, decoder).eval()


class NanoEncoder(nn.Module):
    """A small image encoder that groups pixels to regions by itself: (B, 3, 320, 320) -> (B, 64, 40, 40).

    A U-Net predicts for every second pixel (a place) the chance that an instance ends there, and its appearance.
    `grouping` makes regions of the places, with the networks `same` (are two neighbours one instance?) and `quality`
    (a region's IoU with an instance). What 4 x 4 places carry of their regions becomes the channels of the token that
    covers them: the decoder refines a token to 4 x 4 places and finds their codes there.
    """

    stride = 8  # px a token
    needs_fp32 = True  # boundaries and answers are thresholded

    def __init__(self, img_size: int = 320):
        super().__init__()
        a, b, c, d = 24, 48, 96, 192  # channels at 1/2, 1/4, 1/8, 1/16
        self.img_size = img_size
        self.at_2 = _halve(3, a)
        self.at_4 = nn.Sequential(_halve(a, b), _Residual(b))
        self.at_8 = nn.Sequential(_halve(b, c), *[_Residual(c) for _ in range(3)])
        self.at_16 = nn.Sequential(_halve(c, d), *[_Residual(d) for _ in range(4)])
        self.to_8, self.merge_8 = nn.Conv2d(d, c, 1), _Residual(c)
        self.to_4, self.merge_4 = nn.Conv2d(c, b, 1), _Residual(b)
        self.to_2, self.merge_2 = nn.Conv2d(b, a, 1), _Residual(a)
        self.boundary, self.look = nn.Conv2d(a, 1, 1), nn.Conv2d(3 + a + b, grouping.LOOKS, 1)
        self.same, self.quality = _perceptron(grouping.QUESTION, 96, 48), _perceptron(grouping.TRAITS, 64, 32)
        self.neck = nn.Conv2d(16 * grouping.CHANNELS, DIM, 1)

    def see(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised RGB (B, 3, H, W), sides in 16 px -> boundary logits (B, H/2, W/2), looks (B, 24, H/2, W/2)."""
        fine = self.at_2(x.contiguous(memory_format=torch.channels_last))
        quarter = self.at_4(fine)
        middle = self.at_8(quarter)
        middle = self.merge_8(middle + F.interpolate(self.to_8(self.at_16(middle)), scale_factor=2))
        quarter = self.merge_4(quarter + F.interpolate(self.to_4(middle), scale_factor=2))
        fine = self.merge_2(fine + F.interpolate(self.to_2(quarter), scale_factor=2))
        looks = self.look(torch.cat([F.avg_pool2d(x, 2), fine, F.interpolate(quarter, scale_factor=2)], 1))
        return self.boundary(fine)[:, 0].float(), looks.float()

    def embed(self, boundary: Tensor, looks: Tensor) -> tuple[Tensor, Tensor]:
        """What `see` gives -> embedding (B, 64, H/8, W/8) and region numbers (B, 2, H/2, W/2), bolder first."""
        maps = boundary.detach().sigmoid().cpu().numpy(), looks.detach().cpu().numpy()
        asked = partial(self.ask, self.same), partial(self.ask, self.quality)
        coded = [grouping.encode(*one, *asked) for one in zip(*maps)]
        channels = torch.from_numpy(np.stack([one for one, _ in coded])).to(boundary)
        numbers = torch.from_numpy(np.stack([one for _, one in coded])).to(boundary.device)
        return self.neck(F.pixel_unshuffle(channels, 4)), numbers

    def ask(self, network: nn.Module, known: Tensor) -> Tensor:
        """`same` or `quality`, of what `grouping` knows: in single precision, the result on the CPU."""
        with torch.autocast("cpu", enabled=False):
            return network(known.to(self.boundary.weight.device)).cpu()

    def forward(self, x: Tensor) -> Tensor:
        """x: normalised RGB (B, 3, H, W)."""
        return self.embed(*self.see(x))[0]


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = _convolution(width, width), _convolution(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(F.relu(self.first(x))))


def _perceptron(inputs: int, first: int, second: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU(), nn.Linear(second, 1))


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs))


def _halve(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*_convolution(inputs, outputs, 2), nn.ReLU())


def _read(path: Path) -> dict[str, Any]:
    """The weights in a file, nothing in it executed."""
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as fault:  # every reader has its own exceptions for a damaged file
        reason = (str(fault) or type(fault).__name__).splitlines()[0][:120]
        remedy = "truncated or no checkpoint: fetch it again"
        raise InputError(f"{path}: cannot be read as weights ({reason}); {remedy}") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path}: holds no table of weights; give a SAM checkpoint")
    return state


def _check(state: dict[str, Tensor], wanted: dict[str, Tensor], path: Path, name: str) -> None:
    """Raise InputError in one line unless `state` fits the model."""
    position = state.get("image_encoder.pos_embed")
    width = position.shape[-1] if position is not None else None
    found = next((n for n, c in CHECKPOINTS.items() if c.width == width), None)
    for own, weight in (("nano", "neck.weight"), ("mobile", "body.patch_embed.conv1.conv.weight")):
        found = own if f"image_encoder.{weight}" in state else found
    if found and found != name:
        raise InputError(f"{path}: a {found} checkpoint, not {name}; use the name {found} or another file")
    wrong = [k for k in wanted if k not in state or state[k].shape != wanted[k].shape]
    wrong += [k for k in state if k not in wanted]
    if wrong:
        fault = f"{len(wrong)} weights do not fit (first: {wrong[0]})"
        raise InputError(f"{path}: no {name} checkpoint, {fault}; give another file")
