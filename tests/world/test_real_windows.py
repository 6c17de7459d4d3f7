"""Accuracy on real windows; the windows themselves only where a folder of real samples is."""

import numpy as np
import pandas as pd
import pytest

from lczworld import real_windows as r

REAL = r.folder()
needs_samples = pytest.mark.skipif(REAL is None, reason="no folder of real samples (LCZ_REALDATA)")


def test_no_samples_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LCZ_REALDATA", str(tmp_path))
    assert r.folder() is None


def test_accuracy_by_hand():
    frame = pd.DataFrame(
        {"part": ["Berlin"] * 4 + ["natural"] * 2, "group": list("aabbcd"), "label": [2, 2, 5, 5, 14, 11]}
    )
    p = np.full((6, 17), 0.01)
    p[[0, 1, 2, 3], [1, 4, 4, 13]] = 0.8  # 2, 5, 5, D
    p[3, 1] = 0.05  # the fourth leans to 2 against 5
    p[[4, 5], [13, 11]] = 0.8  # D, B
    out = r.accuracy(frame, p, draws=20)
    assert out["Berlin"]["oa"][0] == 0.5
    assert out["Berlin"]["two_against_five"][0] == 0.5
    assert out["natural"]["oa"][0] == 0.5
    assert out["natural"]["oa_w"][0] == pytest.approx((1 + 11 / 12) / 2)
    assert out["natural"]["per_zone"][14] == {"n": 1, "oa": 1.0, "oa_w": 1.0}


@needs_samples
def test_offset_is_seen_where_it_is():
    at = [r.offset_of(REAL / f"terramind/S2L2A/{place}.tif") for place in r.PLACES]
    assert at == [-1000.0, 0.0]


@needs_samples
def test_windows_are_reflectance_of_real_places():
    x, frame = r.windows(REAL)
    assert x.shape[1:] == (32, 32, 10)
    assert len(x) == len(frame) > 100
    assert set(frame.loc[frame["part"] == "Berlin", "label"]) == {2, 5}
    assert np.isfinite(x).all()
    assert x.min() > -0.05
    assert 0.05 < np.median(x) < 0.4
    trees = x[(frame["label"] == 11).to_numpy()].mean((0, 1, 2))
    assert trees[6] > 3 * trees[2]  # red edge
    assert trees[9] < trees[8] < trees[7]  # B12 < B11 < B8A
