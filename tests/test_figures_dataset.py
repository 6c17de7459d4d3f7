"""Figures of a data set: the typical pair, shares in the range, panels for every zone."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from lczlib.figures import TWO_COLUMNS, dataset, use_style
from lczlib.metrics import Interval
from lczlib.zones import CODES

matplotlib.use("Agg")


def test_the_typical_place_is_nearest_to_the_median_of_its_zone():
    values = np.array([[0.0, 1], [1, 1], [9, 1], [4, 0], [5, 0], [6, 0]])
    assert dataset.typical(values, np.array([3, 3, 3, 5, 5, 5])).tolist() == [1, 4]


@pytest.fixture
def truth():
    rows = {"label": [1, 1, 17], "bsf": [0.5, 0.9, 0.0], "isf": [0.45, 0.1, 0.0], "psf": [0.05, 0.0, 1.0]}
    return pd.DataFrame(rows | {"svf": [0.3, 0.1, 1.0], "mean_height": [30.0, 20.0, 0.0]})


def test_shares_in_range_are_counted_by_zone(truth):
    inside = dataset.shares_in_range(truth)
    assert inside["1"] == {"bsf": 0.5, "isf": 0.5, "psf": 1.0, "svf": 0.5, "mean_height": 0.5}
    assert "mean_height" not in inside["G"]  # water has no range of heights
    assert inside["G"]["psf"] == 1.0


def test_figures_have_a_panel_or_tick_for_every_zone_and_print_their_message(truth):
    use_style()
    labels = np.array([2, 17])
    rgb, s2 = np.zeros((2, 320, 320, 3), np.uint8), np.full((2, 32, 32, 10), 0.1, np.float32)
    recall = [Interval(0.5, 0.4, 0.6)] * 17
    figures = [dataset.samples(rgb, s2, labels, "pairs"), dataset.spectra(s2.mean((1, 2)), labels, "spectra"),
               dataset.properties(truth, "inside"), dataset.sensors({"s2": recall, "ge": recall}, "half")]  # fmt: skip
    assert [fig.get_suptitle() for fig in figures] == ["pairs", "spectra", "inside", "half"]
    assert [tick.get_text() for tick in figures[3].axes[0].get_xticklabels()] == list(CODES)
    for fig in figures:
        assert fig.get_figwidth() == TWO_COLUMNS
        fig.canvas.draw()
        plt.close(fig)
