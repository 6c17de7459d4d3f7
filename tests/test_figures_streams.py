"""Figures of training are drawn from data alone; regions cover the image."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from lczlib.figures import streams as figures
from lczlib.graphs import REGIONS, regions


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def drawn(fig) -> str:
    fig.canvas.draw()
    return " ".join(text.get_text() for text in fig.findobj(plt.Text))


def test_curves_mark_the_epoch_that_was_kept():
    history = pd.DataFrame({"epoch": range(4), "loss": [2, 1, 0.5, 0.4], "accuracy": [0.2, 0.5, 0.7, 0.8], "lr": 0.01,
                            "val_loss": [2.1, 1.2, 1.1, 1.3], "val_accuracy": [0.1, 0.4, 0.6, 0.5]})  # fmt: skip
    fig = figures.training_curves(history, "ge")
    assert "Google Earth stream: loss" in drawn(fig)
    kept = [line for line in fig.axes[1].lines if line.get_label() == "weights kept"]
    assert (kept[0].get_xdata()[0], kept[0].get_ydata()[0]) == (3, 0.6)


def test_graphs_are_drawn_for_any_number_of_nodes():
    image = np.zeros((320, 320, 3), np.uint8)
    masks = [np.zeros((n, 320, 320), bool) for n in (0, 1, 5)]
    x = [np.full((n, 5), 0.5, np.float32) for n in (0, 1, 5)]
    text = drawn(figures.graph_of_instances([image] * 3, masks, x, ["LCZ 1", "LCZ 2", "LCZ A"]))
    assert "LCZ A" in text
    assert "100 m" in text


@pytest.mark.parametrize("method", REGIONS)
def test_regions_cover_the_image_and_follow_its_edges(method):
    image = np.zeros((320, 320, 3), np.uint8)
    image[:, 160:] = 200
    found = regions(image, method)
    assert found.shape == (320, 320)
    assert found.min() >= 1
    if method == "grid":
        assert len(np.unique(found)) == 49
    both = np.intersect1d(found[:, :150], found[:, 170:])
    assert not len(both) or method == "grid"


def test_unknown_segmentation_is_refused():
    with pytest.raises(ValueError, match="slic, felzenszwalb, grid"):
        regions(np.zeros((320, 320, 3), np.uint8), "watershed")
