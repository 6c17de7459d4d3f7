"""Pictures of maps."""

import geopandas as gpd
import numpy as np
import pytest
from geodata import UTM33, layout, reflectance, square, write_tif


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


def test_polygons_are_drawn_on_their_pixels_and_areas_beside(tmp_path):
    from lczlib.city.plot import plot_map

    labels = np.full((20, 30), 6, np.uint8)
    path = write_tif(tmp_path / "m.tif", labels[None], pixel=100.0, nodata=0)
    areas = gpd.GeoDataFrame({"label": [6]}, geometry=[square(400, 500, 300)], crs=UTM33).to_crs("EPSG:4326")
    left, right = plot_map(path, areas, note="a note").axes
    x, y = left.lines[-1].get_data()
    assert (x.min(), x.max(), y.min(), y.max()) == pytest.approx((3.5, 6.5, 4.5, 7.5), abs=1e-3)
    assert [text.get_text() for text in left.texts].count("6") == 2  # of the zone and of the polygon
    assert "6.00" in [text.get_text() for text in right.texts]
