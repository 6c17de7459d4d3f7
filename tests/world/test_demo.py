"""lczworld.demo: what one's own picture may be, and what moved an answer."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from lczlib.errors import InputError
from lczworld import demo


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
