"""The third source: what a height product keeps, loses and gets wrong."""

import numpy as np
import pandas as pd

from lczworld import height as h


def town(metres, share=0.5):
    built = np.zeros((320, 320), bool)
    built[:, : int(320 * share)] = True
    return np.where(built, metres, 12.0), built  # 12 m trees elsewhere, which are no buildings


def test_buildings_are_measured_and_trees_are_not():
    cells = h.building_height(*town(20.0), seed=1)
    assert cells.shape == (32, 32)
    assert cells.dtype == np.float32
    assert 17 < cells[:, 2:14].mean() < 23
    assert cells[:, 20:].mean() < 1


def test_error_is_of_the_size_asked_for():
    errors = [h.building_height(*town(20.0, 1.0), seed=s, rmse=5.0) - 20 for s in range(20)]
    assert 4 < np.sqrt(np.mean(np.square(errors))) < 6
    assert abs(np.mean(errors)) < 1.5


def test_tall_buildings_are_flattened():
    assert 60 < h.building_height(*town(100.0, 1.0), seed=0).mean() < 80


def test_same_seed_same_error():
    a, b, c = (h.building_height(*town(15.0), seed=s) for s in (3, 3, 4))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_features_tell_heights_apart():
    low, high = (h.height_features(h.building_height(*town(m), seed=0)) for m in (6.0, 30.0))
    assert low.shape == (12,)
    assert high[1] > 3 * low[1]
    assert np.isfinite(h.height_features(np.zeros((32, 32)))).all()


def test_stream_learns_and_is_honest_about_what_it_trained_on():
    rng = np.random.default_rng(0)
    labels = rng.integers(1, 5, 200)
    features = labels[:, None] * 3 + rng.normal(size=(200, 12))
    train = np.arange(120)
    p = h.height_stream(features, labels, train)
    assert p.shape == (200, 17)
    np.testing.assert_allclose(p.sum(1), 1)
    right = p.argmax(1) + 1 == labels
    assert right[120:].mean() > 0.8
    assert abs(right[:120].mean() - right[120:].mean()) < 0.2
    noise = h.height_stream(rng.normal(size=(200, 12)), labels, train)
    assert (noise[:120].argmax(1) + 1 == labels[:120]).mean() < 0.6  # out of bag: no memory of the labels


def test_source_follows_the_rows_it_was_given():
    class Pairs:
        def truth(self, i):
            metres, _ = town(6.0 if i % 2 else 30.0)
            cover = np.zeros((320, 320), np.uint8)
            cover[:, :160] = h.BUILDING
            return {"height": metres, "cover": cover}

    ids = np.arange(60)[::-1]
    frame = pd.DataFrame({"id": ids, "split": np.where(ids < 40, "train", "test"), "label": np.where(ids % 2, 6, 4)})
    p = h.height_source(Pairs(), frame)
    assert (p.argmax(1) + 1 == frame["label"]).mean() > 0.95
