import numpy as np
import pandas as pd
import pytest

from lczlib.data.layout import write_npz
from lczlib.errors import InputError
from lczlib.predictions import Predictions, join


def make(ids, labels=None, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.asarray(ids) % 17 + 1 if labels is None else labels
    frame = pd.DataFrame({"id": ids, "split": "test", "city": "synthetic-1", "polygon": "", "label": labels})
    return Predictions(frame, rng.dirichlet(np.ones(17), len(ids)))


def test_joined_by_id_never_by_position():
    first, second = make([5, 1, 9]), make([9, 5, 7], seed=1)
    a, b = join(first, second)
    assert a.frame["id"].tolist() == b.frame["id"].tolist() == [5, 9]
    assert (b.p[1] == second.p[0]).all()


def test_streams_that_disagree_are_refused():
    with pytest.raises(ValueError, match="disagree on the label of pair 1"):
        join(make([1, 2]), make([1, 2], labels=[9, 3]))
    with pytest.raises(ValueError, match="share no pair"):
        join(make([1]), make([2]))


def test_saved_and_loaded_whole(tmp_path):
    stream = make([3, 4])
    again = Predictions.load(stream.save(tmp_path / "s2.npz"))
    pd.testing.assert_frame_equal(again.frame, stream.frame, check_dtype=False)
    assert (again.p == stream.p.astype(np.float32)).all()
    with pytest.raises(FileNotFoundError, match="run notebooks 02"):
        Predictions.load(tmp_path / "missing.npz")


def test_what_is_no_probability_is_refused():
    stream = make([1, 2])
    with pytest.raises(ValueError, match="apply softmax"):
        Predictions(stream.frame, np.log(stream.p))
    with pytest.raises(ValueError, match="shape"):
        Predictions(stream.frame, stream.p[:, :16])
    with pytest.raises(ValueError, match="twice"):
        make([1, 1])
    with pytest.raises(InputError, match="must be probabilities"):
        Predictions(stream.frame, stream.p * np.nan)


@pytest.mark.parametrize("change", [{"city": np.array(["a"] * 3)}, {"p": np.full((2, 17), "x")}, {"p": np.zeros(34)}])
def test_a_file_that_holds_no_predictions_is_named(tmp_path, change):
    path = make([1, 2]).save(tmp_path / "s2.npz")
    write_npz(path, **dict(np.load(path)) | change)
    with pytest.raises(InputError, match=r"s2\.npz: holds no predictions .*; make it again"):
        Predictions.load(path)


def test_select_keeps_matching_rows():
    assert make([1, 2, 18]).select(label=2).frame["id"].tolist() == [1, 18]


def test_intervals_draw_polygons_of_a_city_or_pairs_where_none_is_known():
    frame = make([1, 2, 3, 4]).frame.assign(city=["x", "x", "y", "y"], polygon=["a", "a", "a", ""])
    assert Predictions(frame, make([1, 2, 3, 4]).p).groups.tolist() == ["x\na", "x\na", "y\na", "y\n4"]
