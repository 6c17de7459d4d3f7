"""Pictures of maps."""

import numpy as np
from geodata import layout, reflectance


def test_the_picture_against_the_truth_has_four_panels(tmp_path):
    from lczlib.city.plot import plot_against_truth

    truth = layout(8, 9)
    figure = plot_against_truth(reflectance(80, 90), truth, np.where(truth == 3, 5, truth), 100, 0.9)
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 1, 1, 0]
    assert figure.axes[3].get_title(loc="left") or figure.axes[3].get_title()
