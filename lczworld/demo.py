"""What the demo notebook draws: scenes and one's own pictures through the shipped streams.

Synthetic pairs are a function of zone, city and seed, so no picture ships: a scene is drawn again when it is shown.
"""

from __future__ import annotations

import io
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from lczlib.errors import InputError
from lczlib.figures.explorer import View, frame
from lczlib.graphs import node_features
from lczlib.sam.models import CHECKPOINTS, fetch_checkpoint
from lczlib.zones import ZONES
from lczworld.cities import CITIES
from lczworld.scene import generate_scene

if TYPE_CHECKING:
    import ipywidgets as widgets

    from lczlib.models import RunStream

NEW_SEEDS = 5_000_000  # above those of every data set: nobody trained on these scenes
SIDE, SMALLEST, LARGEST = 320, 64, 8000  # px: of a patch; least and most of a side of one's own picture


def view_picture(name: str, rgb: np.ndarray, ge: RunStream) -> View:
    """One RGB picture (320, 320, 3) uint8 through instance masks, graph and GCN."""
    found = ge.instance_masks(rgb[None])
    return View(name, 0, rgb, found[0][0], node_features(rgb, *found[0]), ge(rgb[None], found)[0])


def view_scene(label: int, city: int, seed: int, s2: RunStream, ge: RunStream) -> View:
    """A synthetic scene through both streams (label, city, seed as for `generate_scene`)."""
    scene = generate_scene(label, city, seed)
    view = view_picture(f"{CITIES[city].name}, seed {seed}", scene.rgb, ge)
    return replace(view, label=label, s2=scene.s2, p_s2=s2(scene.s2[None])[0])


def gradient_times_input(model: torch.nn.Module, inputs: torch.Tensor, zone: int, *more: torch.Tensor) -> np.ndarray:
    """How much each input value of one sample raises the logit of a zone: gradient times input, shaped as the sample.

    Args:
        inputs: (1, ...) what the network reads. zone: 1..17. more: further arguments of the network.

    Source: Shrikumar et al. 2016, arXiv 1605.01713.
    """
    x = inputs.clone().requires_grad_(True)
    model(x, *more)[0, zone - 1].backward()
    return (x.grad * x).detach()[0].numpy()


def read_picture(content: bytes, name: str) -> np.ndarray:
    """One's own picture of about 1 m a pixel -> its central square as (320, 320, 3) uint8.

    Raises:
        InputError: no picture, or one whose size or colours do not serve; what to do about it.
    """
    from PIL import Image

    try:
        picture = Image.open(io.BytesIO(content))
        picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as fault:
        raise InputError(f"{name}: cannot be read as a picture; give a PNG or JPEG ({str(fault)[:80]})") from fault
    if not SMALLEST <= min(picture.size) <= max(picture.size) <= LARGEST:
        width, height = picture.size
        raise InputError(f"{name}: {width} x {height} px; cut out a square of 320 m, {SMALLEST} to {LARGEST} px a side")
    if picture.mode not in ("RGB", "L", "P"):
        raise InputError(f"{name}: colours of kind {picture.mode}; save it as RGB with 8 bits a colour, without alpha")
    rgb = np.asarray(picture.convert("RGB"))
    side = min(SIDE, *rgb.shape[:2])
    top, left = (rgb.shape[0] - side) // 2, (rgb.shape[1] - side) // 2
    square = rgb[top : top + side, left : left + side]
    return square if side == SIDE else cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)


def new_scene(s2: RunStream, ge: RunStream) -> widgets.VBox:
    """Controls for zone and city and a button that draws a scene nobody has seen, through both streams."""
    import ipywidgets as widgets

    zone = widgets.Dropdown(options=[(f"{z.code} {z.name}", z.label) for z in ZONES], value=2, description="zone")
    city = widgets.Dropdown(options=[(c.name, n) for n, c in enumerate(CITIES)], value=6, description="city")
    again, shown = widgets.Button(description="another scene"), widgets.HTML()
    seeds = iter(range(NEW_SEEDS, NEW_SEEDS + 1_000_000))

    def draw(_=None) -> None:
        shown.value = frame([view_scene(zone.value, city.value, next(seeds), s2, ge)], "synthetic", height=820)

    again.on_click(draw)
    for control in (zone, city):
        control.observe(draw, "value")
    draw()
    return widgets.VBox([widgets.HBox([zone, city, again]), shown])


def own_picture(ge: RunStream) -> widgets.VBox:
    """A button to choose one's own RGB picture, which goes through SAM and the RGB stream; a fault is one line.

    The switch "masks by" takes the shipped small SAM, or MobileSAM, a real one, which is fetched once (40 MB).
    """
    import ipywidgets as widgets

    upload, shown = widgets.FileUpload(accept="image/*", multiple=False), widgets.HTML("PNG or JPEG, about 1 m a pixel")
    sam = widgets.ToggleButtons(options=["nano", "mobile"], description="masks by")

    def draw(_=None) -> None:
        if not upload.value:
            return
        file = upload.value[0]
        try:
            rgb = read_picture(bytes(file["content"]), file["name"])
            if sam.value in CHECKPOINTS:
                fetch_checkpoint(sam.value)
            view = view_picture(file["name"], rgb, replace(ge, sam=sam.value))
            shown.value = frame([view], "your picture; the stream was trained on synthetic scenes alone", height=820)
        except InputError as fault:
            shown.value = f"<b>{escape(str(fault))}</b>"

    for control in (upload, sam):
        control.observe(draw, "value")
    return widgets.VBox([widgets.HBox([upload, sam]), shown])
