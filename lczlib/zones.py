"""The 17 Local Climate Zones (Stewart & Oke 2012): names, colours, ranges, and every conversion of codes.

Three notations meet in files: labels 1-17 (1-10, then 11-17 for A-G), the older 101-107 for A-G, and the
letters themselves. Inside this package a zone is a *label* 1..17 in files and tables and an *index* 0..16
inside tensors. Nothing outside this module converts between them.

Source: shared facts of Stewart & Oke (2012), the WUDAPT palette, and the similarity of Bechtel et al. (2017)
as used by Demuzere et al. (the last from one source only).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from lczlib.errors import InputError

K = 17  # number of zones
NO_DATA = 0  # label of pixels without a zone


@dataclass(frozen=True)
class Zone:
    """One Local Climate Zone: `label` 1..17 in files, `code` "1".."10" or "A".."G", hex `color`."""

    label: int
    code: str
    name: str
    color: str
    built: bool


_TABLE = """
1  #8C0000 Compact high-rise
2  #D10000 Compact midrise
3  #FF0000 Compact low-rise
4  #BF4D00 Open high-rise
5  #FF6600 Open midrise
6  #FF9955 Open low-rise
7  #FAEE05 Lightweight low-rise
8  #BCBCBC Large low-rise
9  #FFCCAA Sparsely built
10 #555555 Heavy industry
A  #006A00 Dense trees
B  #00AA00 Scattered trees
C  #648525 Bush, scrub
D  #B9DB79 Low plants
E  #000000 Bare rock or paved
F  #FBF7AE Bare soil or sand
G  #6A6AFF Water
"""


def _read_table() -> tuple[Zone, ...]:
    rows = (line.split(maxsplit=2) for line in _TABLE.strip().splitlines())
    return tuple(
        Zone(label, code, name, color, built=label <= 10) for label, (code, color, name) in enumerate(rows, start=1)
    )


ZONES: tuple[Zone, ...] = _read_table()
LABELS: tuple[int, ...] = tuple(zone.label for zone in ZONES)
CODES: tuple[str, ...] = tuple(zone.code for zone in ZONES)
NAMES: tuple[str, ...] = tuple(zone.name for zone in ZONES)
COLORS: tuple[str, ...] = tuple(zone.color for zone in ZONES)

# Stewart & Oke (2012) ranges, (low, high): fractions 0..1, mean_height of the roughness elements in m.
_INF = float("inf")
_RANGES = {
    #      svf         bsf         isf         psf         mean_height
    "1": ((0.2, 0.4), (0.4, 0.6), (0.4, 0.6), (0.0, 0.1), (25.0, _INF)),
    "2": ((0.3, 0.6), (0.4, 0.7), (0.3, 0.5), (0.0, 0.2), (10.0, 25.0)),
    "3": ((0.2, 0.6), (0.4, 0.7), (0.2, 0.5), (0.0, 0.3), (3.0, 10.0)),
    "4": ((0.5, 0.7), (0.2, 0.4), (0.3, 0.4), (0.3, 0.4), (25.0, _INF)),
    "5": ((0.5, 0.8), (0.2, 0.4), (0.3, 0.5), (0.2, 0.4), (10.0, 25.0)),
    "6": ((0.6, 0.9), (0.2, 0.4), (0.2, 0.5), (0.3, 0.6), (3.0, 10.0)),
    "7": ((0.2, 0.5), (0.6, 0.9), (0.0, 0.2), (0.0, 0.3), (2.0, 4.0)),
    "8": ((0.7, 1.0), (0.3, 0.5), (0.4, 0.5), (0.0, 0.2), (3.0, 10.0)),
    "9": ((0.8, 1.0), (0.1, 0.2), (0.0, 0.2), (0.6, 0.8), (3.0, 10.0)),
    "10": ((0.6, 0.9), (0.2, 0.3), (0.2, 0.4), (0.4, 0.5), (5.0, 15.0)),
    "A": ((0.0, 0.4), (0.0, 0.1), (0.0, 0.1), (0.9, 1.0), (3.0, 30.0)),
    "B": ((0.5, 0.8), (0.0, 0.1), (0.0, 0.1), (0.9, 1.0), (3.0, 15.0)),
    "C": ((0.7, 0.9), (0.0, 0.1), (0.0, 0.1), (0.9, 1.0), (0.0, 2.0)),
    "D": ((0.9, 1.0), (0.0, 0.1), (0.0, 0.1), (0.9, 1.0), (0.0, 1.0)),
    "E": ((0.9, 1.0), (0.0, 0.1), (0.9, 1.0), (0.0, 0.1), (0.0, 0.25)),
    "F": ((0.9, 1.0), (0.0, 0.1), (0.0, 0.1), (0.9, 1.0), (0.0, 0.25)),
    "G": ((0.9, 1.0), (0.0, 0.1), (0.0, 0.1), (0.9, 1.0), None),
}
_PROPERTIES = ("svf", "bsf", "isf", "psf", "mean_height")
RANGES: dict[str, dict[str, tuple[float, float]]] = {
    code: {name: value for name, value in zip(_PROPERTIES, row, strict=True) if value is not None}
    for code, row in _RANGES.items()
}

_TWELFTHS = """
12 11 10  8  7  6  7  9  5  9  4  3  1  0  3  0  0
11 12 11  7  8  7  8 10  5 10  5  4  3  1  4  1  1
10 11 12  6  7  8  9 11  7 11  6  5  4  2  5  2  2
 8  7  6 12 11 10  9  6  9  7  6  7  6  4  1  4  4
 7  8  7 11 12 11 10  8 10  8  7  8  6  5  2  5  5
 6  7  8 10 11 12 11  9 11  9  8  9  8  7  3  6  6
 7  8  9  9 10 11 12  8 10  8  9  8  7  5  2  5  5
 9 10 11  6  8  9  8 12  9 11  5  6  5  3  6  4  4
 5  5  7  9 10 11 10  9 12  8  7  8  9  7  4  7  7
 9 10 11  7  8  9  8 11  8 12  5  6  5  3  6  4  4
 4  5  6  6  7  8  9  5  7  5 12 11 10  8  5  8  8
 3  4  5  7  8  9  8  6  8  6 11 12 11  9  6  9  9
 1  3  4  6  6  8  7  5  9  5 10 11 12 10  7 10 10
 0  1  2  4  5  7  5  3  7  3  8  9 10 12  9 11 11
 3  4  5  1  2  3  2  6  4  6  5  6  7  9 12  9  9
 0  1  2  4  5  6  5  4  7  4  8  9 10 11  9 12 11
 0  1  2  4  5  6  5  4  7  4  8  9 10 11  9 11 12
"""
SIMILARITY: np.ndarray = np.array(_TWELFTHS.split(), dtype=float).reshape(K, K) / 12.0  # (K, K), 1 = same zone
SIMILARITY.setflags(write=False)

_PREFIX = re.compile(r"^\s*lcz[\s_:-]*", re.IGNORECASE)
_BY_TEXT = {code: label for label, code in zip(LABELS, CODES, strict=True)}
_BY_TEXT |= {str(label): label for label in LABELS} | {str(90 + label): label for label in LABELS if label > 10}
_LOOKUP = np.full(108, -1, dtype=np.int16)
_LOOKUP[0] = NO_DATA
for _zone in ZONES:
    _LOOKUP[_zone.label] = _zone.label
    if not _zone.built:
        _LOOKUP[90 + _zone.label] = _zone.label


def to_label(value: object) -> int:
    """Label 1..17 of one zone in any notation: 1-17, 101-107, "A".."G", "LCZ 3", "lcz_d", "14", 3.0.

    Raises:
        ValueError: the value names no zone (0 and no-data included).
    """
    text = _PREFIX.sub("", str(value)).strip().upper()
    text = re.sub(r"\.0+$", "", text).lstrip("0") or "0"
    if text not in _BY_TEXT:
        raise InputError(f"{value!r} is no Local Climate Zone; expected 1-17, 101-107, or 1-10 and A-G")
    return _BY_TEXT[text]


def to_labels(values: np.ndarray) -> np.ndarray:
    """Labels 1..17 (uint8, 0 = no data, same shape) of an array in the notation 1-17 or 101-107.

    Raises:
        ValueError: naming the values that are no zone.
    """
    values = np.asarray(values)
    whole = np.nan_to_num(values, nan=0.0) if values.dtype.kind == "f" else values
    integers = whole.astype(np.int64)
    known = (integers == whole) & (integers >= 0) & (integers < len(_LOOKUP))
    labels = np.where(known, _LOOKUP[np.where(known, integers, 0)], -1)
    if (labels < 0).any():
        strange = np.unique(values[labels < 0])[:5].tolist()
        raise InputError(f"values {strange} are no Local Climate Zones; expected 1-17, 101-107, or 0 for no data")
    return labels.astype(np.uint8)


def to_index(labels: np.ndarray) -> np.ndarray:
    """Tensor index 0..16 (int64) of labels 1..17. Raises ValueError on anything else."""
    labels = np.asarray(labels, dtype=np.int64)
    if labels.size and (labels.min() < 1 or labels.max() > K):
        raise InputError(f"labels lie in {labels.min()}..{labels.max()}; expected 1..17 (use to_labels first)")
    return labels - 1


def to_code(value: object) -> str:
    """Code "1".."10", "A".."G" of one zone in any notation."""
    return CODES[to_label(value) - 1]


def to_old_codes(labels: np.ndarray) -> np.ndarray:
    """The older notation 1-10, 101-107 (uint8; 0 stays 0) of labels 1..17, which some tools still read."""
    labels = np.asarray(labels, dtype=np.uint8)
    return np.where(labels > 10, labels + 90, labels).astype(np.uint8)


# Land use of WRF 4.4.2 and later: 50 + LCZ for built zones, 61 for LCZ E ("LCZ 11" there), and for the other natural
# zones the class of the modified IGBP-MODIS table that is nearest (assumed; WRF has no LCZ numbers for them).
_WRF = dict(zip(range(1, 11), range(51, 61), strict=True)) | {11: 5, 12: 8, 13: 7, 14: 10, 15: 61, 16: 16, 17: 17}
_MODIS = {1: 11, 2: 11, 3: 11, 4: 11, 5: 11, 6: 13, 7: 13, 8: 12, 9: 12, 10: 14, 11: 14, 12: 14, 14: 14, 16: 16,
          17: 17, 18: 14, 19: 14, 20: 16, 21: 17}  # fmt: skip


def to_wrf_codes(labels: np.ndarray) -> np.ndarray:
    """Land-use numbers of WRF (uint8; 0 stays 0) of labels 1..17: 51-60 built, 61 LCZ E, MODIS classes for the rest."""
    table = np.zeros(K + 1, np.uint8)
    table[list(_WRF)] = list(_WRF.values())
    return table[np.asarray(labels, dtype=np.uint8)]


def from_wrf_codes(values: np.ndarray) -> np.ndarray:
    """Labels 1..17 (uint8) of WRF's land-use numbers: 51-61, and MODIS classes as the nearest natural zone.

    0, urban without a zone (13) and snow (15) become 0. Raises InputError on numbers WRF does not have.
    """
    table = np.full(62, 255, np.uint8)
    table[[0, 13, 15]] = NO_DATA
    table[list(_MODIS)] = list(_MODIS.values())
    table[list(_WRF.values())] = list(_WRF)
    whole = np.asarray(values)
    known = (whole == whole.astype(np.int64)) & (whole >= 0) & (whole < len(table))
    labels = table[np.where(known, whole, 22).astype(np.int64)]
    if (labels == 255).any():
        raise InputError(f"values {np.unique(whole[labels == 255])[:5].tolist()} are no land use of WRF with zones")
    return labels
