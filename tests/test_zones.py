import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lczlib import zones


def test_there_are_17_zones_in_order():
    assert [zone.label for zone in zones.ZONES] == list(range(1, 18))
    assert zones.CODES == ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "A", "B", "C", "D", "E", "F", "G")
    assert sum(zone.built for zone in zones.ZONES) == 10
    assert zones.ZONES[14].color == "#000000"  # LCZ E is black, so no-data must not be


@pytest.mark.parametrize(
    ("value", "label"),
    [(1, 1), ("10", 10), ("A", 11), ("g", 17), (101, 11), ("107", 17), (11, 11), ("LCZ 3", 3), ("lcz_D", 14), (3.0, 3)],
)
def test_every_notation_gives_the_label(value, label):
    assert zones.to_label(value) == label


@pytest.mark.parametrize("value", [0, 18, 100, 108, "H", "", "AA", -1, None, "LCZ", 2.5])
def test_unknown_codes_are_refused_by_name(value):
    with pytest.raises(ValueError, match="no Local Climate Zone"):
        zones.to_label(value)


@given(st.lists(st.integers(1, 17), min_size=1))
def test_notations_go_round(labels):
    labels = np.array(labels)
    assert (zones.to_labels(zones.to_old_codes(labels)) == labels).all()
    assert (zones.to_index(labels) + 1 == labels).all()
    assert [zones.to_label(zones.to_code(label)) for label in labels] == labels.tolist()


def test_arrays_keep_no_data_and_name_strangers():
    assert zones.to_labels(np.array([[0, 101], [17.0, np.nan]])).tolist() == [[0, 11], [17, 0]]
    with pytest.raises(ValueError, match=r"\[18, 99\]"):
        zones.to_labels(np.array([1, 99, 18]))
    with pytest.raises(ValueError, match=r"1\.5"):
        zones.to_labels(np.array([1.5]))


def test_index_refuses_what_is_no_label():
    with pytest.raises(ValueError, match=r"expected 1\.\.17"):
        zones.to_index(np.array([0, 1]))


def test_similarity_is_symmetric_with_ones_on_the_diagonal():
    assert (zones.SIMILARITY == zones.SIMILARITY.T).all()
    assert (np.diag(zones.SIMILARITY) == 1).all()
    assert (zones.SIMILARITY[~np.eye(17, dtype=bool)] < 1).all()
    assert zones.SIMILARITY[0, 9] == 9 / 12  # LCZ 1 and 10


def test_ranges_are_those_of_the_table():
    assert zones.RANGES["5"]["bsf"] == (0.2, 0.4)
    assert zones.RANGES["A"]["svf"] == (0.0, 0.4)
    assert "mean_height" not in zones.RANGES["G"]
    assert all(low <= high for ranges in zones.RANGES.values() for low, high in ranges.values())
