"""What several figures share: Sentinel-2 as a picture, painted masks, graphs, scale bars, zone ticks."""

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt

from lczlib.figures import primitives as p
from lczlib.zones import CODES

matplotlib.use("Agg")


@pytest.fixture
def ax():
    fig, axis = plt.subplots()
    yield axis
    fig.canvas.draw()
    plt.close(fig)


def test_natural_color_takes_red_green_blue_and_keeps_order_and_range():
    s2 = np.zeros((2, 3, 10))
    s2[0, 0, [2, 1, 0]] = 0.3, 0.2, 0.1  # B4, B3, B2
    s2[0, 1] = 5
    s2[0, 2] = np.nan
    picture = p.natural_color(s2)
    assert picture.shape == (2, 3, 3)
    assert picture[0, 0, 0] > picture[0, 0, 1] > picture[0, 0, 2] > 0
    assert (picture[0, 1] == 1).all()
    assert (picture[0, 2] == 1).all()
    assert (picture[1] == 0).all()


def test_masks_keep_their_colours_and_the_last_lies_on_top():
    image = np.full((20, 20, 3), 100, np.uint8)
    masks = np.zeros((2, 20, 20), bool)
    masks[0, 2:18, 2:18] = masks[1, 6:14, 6:14] = True
    shown = p.paint_masks(image, masks, strength=1)
    np.testing.assert_allclose(shown[0, 0], 100 / 255)
    np.testing.assert_allclose(shown[4, 4], p.mask_colors(2)[0])
    np.testing.assert_allclose(shown[10, 10], p.mask_colors(9)[1])
    assert (image == 100).all()


def test_a_graph_has_every_edge_once(ax):
    p.draw_graph(ax, np.array([[0, 0], [1, 0], [1, 1], [0, 1]]), np.zeros((4, 3)))
    assert len(ax.collections[0].get_segments()) == 6
    assert len(ax.collections[1].get_offsets()) == 4


@pytest.mark.parametrize(("width", "pixel", "metres", "text"), [(32, 10, 50, "50 m"), (320, 1, None, "100 m"),
                                                                (500, 100, None, "10 km")])  # fmt: skip
def test_a_scale_bar_is_as_long_as_it_says(ax, width, pixel, metres, text):
    ax.imshow(np.zeros((width, width)))
    p.scale_bar(ax, pixel, metres)
    x = ax.lines[0].get_xdata()
    assert ax.texts[0].get_text().strip() == text
    length = float(text.split()[0]) * (1000 if "km" in text else 1)
    assert (x[1] - x[0]) * pixel == pytest.approx(length)
    assert ax.get_xlim() == (-0.5, width - 0.5)


def test_pictures_are_titled_once_and_drawn_in_metres():
    fig = p.pictures({"RGB": np.zeros((2, 320, 320, 3)), "Sentinel-2": np.zeros((2, 32, 32, 10))}, ["a", "b"], "t")
    assert [ax.title.get_text() + ax.get_title(loc="left") for ax in fig.axes] == ["a", "b", "", ""]
    assert [ax.get_ylabel() for ax in fig.axes] == ["RGB", "", "Sentinel-2", ""]
    assert {ax.get_xlim() for ax in fig.axes} == {(0, 320)}
    assert fig.axes[0].texts[0].get_text().strip() == "100 m"
    plt.close(fig)


def test_zones_are_ticks_in_order_with_readable_codes(ax):
    p.zone_axis(ax, "y")
    assert [t.get_text() for t in ax.get_yticklabels()] == list(CODES)
    assert min(t.get_fontsize() for t in ax.get_yticklabels()) >= 7
    assert (p.zone_ink(15), p.zone_ink(16)) == ("white", "#111111")  # bare rock is black, bare soil pale
