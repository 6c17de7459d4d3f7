"""lczworld.demo: what one's own picture may be, and what moved an answer."""

import io
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from PIL import Image

from lczlib.data import fetch
from lczlib.errors import InputError
from lczlib.models import load_stream
from lczlib.sam.models import CHECKPOINTS
from lczworld import demo

NOW = datetime(2024, 1, 1, tzinfo=UTC)


def picture(mode: str = "RGB", size: tuple[int, int] = (400, 360), form: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.new(mode, size, 90 if mode in ("L", "I;16") else None).save(content, form)
    return content.getvalue()


def test_the_central_square_of_a_picture_is_read():
    assert demo.read_picture(picture(), "a.png").shape == (320, 320, 3)
    assert demo.read_picture(picture(size=(100, 90)), "small.png").shape == (320, 320, 3)
    assert demo.read_picture(picture("L"), "grey.png").shape == (320, 320, 3)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"no picture at all", "cannot be read as a picture"),
        (picture()[:120], "cannot be read as a picture"),
        (picture(size=(20, 20)), "20 x 20 px"),
        (picture("L", (9000, 70)), "9000 x 70 px"),
        (picture("CMYK", form="JPEG"), "colours of kind CMYK"),
        (picture("RGBA"), "colours of kind RGBA"),
        (picture("I;16"), "colours of kind I"),
    ],
)
def test_a_picture_that_does_not_serve_is_one_line(content, fault):
    with pytest.raises(InputError, match=fault) as told:
        demo.read_picture(content, "mine.png")
    assert str(told.value).startswith("mine.png: ")
    assert "\n" not in str(told.value)


def test_gradient_times_input_of_a_linear_network_is_weight_times_input():
    layer = torch.nn.Linear(3, 17)
    x = torch.tensor([[1.0, -2.0, 0.5]])
    found = demo.gradient_times_input(layer, x, 4)
    np.testing.assert_allclose(found, (layer.weight[3] * x[0]).detach().numpy(), rtol=1e-6)


def test_ones_own_picture_goes_through_the_sam_that_is_chosen(monkeypatch):
    asked = []
    monkeypatch.setattr(fetch, "fetch_file", lambda url, *_: asked.append(url))
    monkeypatch.setattr(demo, "view_picture", lambda name, rgb, ge: (name, ge.sam))
    monkeypatch.setattr(demo, "frame", lambda views, *_, **__: str(views))
    controls = demo.own_picture(load_stream("demo-ge"))
    (upload, sam), shown = controls.children[0].children, controls.children[1]
    upload.value = ({"name": "mine.png", "type": "image/png", "size": 1, "content": picture(), "last_modified": NOW},)
    assert "'mine.png', 'nano'" in shown.value
    assert not asked
    sam.value = "mobile"
    assert "'mine.png', 'mobile'" in shown.value
    assert asked == [CHECKPOINTS["mobile"].url]


def test_without_a_network_the_switch_says_so_in_one_line(monkeypatch):
    def unreachable(*_):
        raise InputError("https://somewhere: not downloaded; check the connection and call again")

    monkeypatch.setattr(fetch, "fetch_file", unreachable)
    controls = demo.own_picture(load_stream("demo-ge"))
    (upload, sam), shown = controls.children[0].children, controls.children[1]
    sam.value = "mobile"
    upload.value = ({"name": "mine.png", "type": "image/png", "size": 1, "content": picture(), "last_modified": NOW},)
    assert shown.value == "<b>https://somewhere: not downloaded; check the connection and call again</b>"
