"""What the tests of maps share: a scene whose zones are known, and the map made of it."""

import numpy as np
import pytest
from geodata import Coded, coded_scene, layout, write_s2

from lczlib.city import map_scene


@pytest.fixture
def blocky(tmp_path):
    """A scene of 25 x 31 blocks of 100 m whose zones are known, and the map made of it."""
    labels = layout(25, 31)
    s2 = write_s2(tmp_path / "s2.tif", coded_scene(labels))
    return labels, s2, map_scene(tmp_path / "lcz.tif", s2, predict_s2=Coded(), trained_on="synthetic")


@pytest.fixture
def uniform(tmp_path):
    """A map of one zone, 7 x 7 pixels."""
    s2 = write_s2(tmp_path / "one.tif", coded_scene(np.full((7, 7), 6, np.uint8)))
    return map_scene(tmp_path / "uniform.tif", s2, predict_s2=Coded())
