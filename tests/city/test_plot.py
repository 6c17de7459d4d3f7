"""Pictures of maps."""

import numpy as np
from geodata import layout, reflectance


def test_the_picture_against_the_truth_names_zones_that_are_not_there():
    from lczlib.city.plot import plot_against_truth

    truth = layout(8, 9)
    truth[truth == 1] = 2
    mapped = np.where(truth == 3, 1, truth)
    maps = {"truth": (truth, 100), "map": (mapped, 100)}
    figure = plot_against_truth(reflectance(80, 90), maps, {"differs": (truth, mapped)})
    panels = [axes for part in figure.subfigs for axes in part.axes]
    assert [len(axes.images) for axes in panels] == [1, 1, 1, 1]
    assert [axes.get_title() or axes.get_title(loc="left") for axes in panels][1:] == ["truth", "map", "differs"]
    names = [text.get_text() for text in figure.subfigs[1].legends[0].get_texts()]
    assert "1 Compact high-rise (mapped, not there)" in names
    assert names[-2:] == ["agrees", "differs"]
    np.testing.assert_array_equal(panels[3].images[0].get_array() == 1, truth == 3)
