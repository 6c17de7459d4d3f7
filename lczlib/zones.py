"""The 17 Local Climate Zones (Stewart & Oke 2012): names, colours, ranges, and every conversion of codes.

Three notations meet in files: labels 1-17 (1-10, then 11-17 for A-G), the older 101-107 for A-G, and the
letters themselves. Inside this package a zone is a *label* 1..17 in files and tables and an *index* 0..16
inside tensors. Nothing outside this module converts between them.

Source: shared facts of Stewart & Oke (2012), the WUDAPT palette, and the similarity of Bechtel et al. (2017)
as used by Demuzere et al. (the last from one source only).
"""

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


_PROPERTIES = ("svf", "bsf", "isf", "psf", "mean_height")  # fractions 0..1, height of the roughness elements in m
_TABLE = """
1  #8C0000  0.2-0.4  0.4-0.6  0.4-0.6  0-0.1    25-inf   Compact high-rise
2  #D10000  0.3-0.6  0.4-0.7  0.3-0.5  0-0.2    10-25    Compact midrise
3  #FF0000  0.2-0.6  0.4-0.7  0.2-0.5  0-0.3    3-10     Compact low-rise
4  #BF4D00  0.5-0.7  0.2-0.4  0.3-0.4  0.3-0.4  25-inf   Open high-rise
5  #FF6600  0.5-0.8  0.2-0.4  0.3-0.5  0.2-0.4  10-25    Open midrise
6  #FF9955  0.6-0.9  0.2-0.4  0.2-0.5  0.3-0.6  3-10     Open low-rise
7  #FAEE05  0.2-0.5  0.6-0.9  0-0.2    0-0.3    2-4      Lightweight low-rise
8  #BCBCBC  0.7-1    0.3-0.5  0.4-0.5  0-0.2    3-10     Large low-rise
9  #FFCCAA  0.8-1    0.1-0.2  0-0.2    0.6-0.8  3-10     Sparsely built
10 #555555  0.6-0.9  0.2-0.3  0.2-0.4  0.4-0.5  5-15     Heavy industry
A  #006A00  0-0.4    0-0.1    0-0.1    0.9-1    3-30     Dense trees
B  #00AA00  0.5-0.8  0-0.1    0-0.1    0.9-1    3-15     Scattered trees
C  #648525  0.7-0.9  0-0.1    0-0.1    0.9-1    0-2      Bush, scrub
D  #B9DB79  0.9-1    0-0.1    0-0.1    0.9-1    0-1      Low plants
E  #000000  0.9-1    0-0.1    0.9-1    0-0.1    0-0.25   Bare rock or paved
F  #FBF7AE  0.9-1    0-0.1    0-0.1    0.9-1    0-0.25   Bare soil or sand
G  #6A6AFF  0.9-1    0-0.1    0-0.1    0.9-1    -        Water
"""
_ROWS = [line.split(maxsplit=7) for line in _TABLE.strip().splitlines()]

ZONES = tuple(Zone(k, row[0], row[7], row[1], built=k <= 10) for k, row in enumerate(_ROWS, start=1))
LABELS: tuple[int, ...] = tuple(zone.label for zone in ZONES)
CODES: tuple[str, ...] = tuple(zone.code for zone in ZONES)
NAMES: tuple[str, ...] = tuple(zone.name for zone in ZONES)
COLORS: tuple[str, ...] = tuple(zone.color for zone in ZONES)
RANGES: dict[str, dict[str, tuple[float, float]]] = {  # of Stewart & Oke (2012): {code: {property: (low, high)}}
    row[0]: {name: tuple(map(float, cell.split("-"))) for name, cell in zip(_PROPERTIES, row[2:7]) if cell != "-"}
    for row in _ROWS
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
_BY_NUMBER = np.full(108, -1)
_BY_NUMBER[: K + 1] = range(K + 1)
_BY_NUMBER[101:] = range(11, K + 1)

# Land use of WRF 4.4.2 and later: 50 + LCZ for built zones, 61 for LCZ E ("LCZ 11" there), and for the other natural
# zones the class of the modified IGBP-MODIS table that is nearest (assumed; WRF has no LCZ numbers for them).
_WRF = np.array([NO_DATA, *range(51, 61), 5, 8, 7, 10, 61, 16, 17], np.uint8)
_MODIS = {1: 11, 2: 11, 3: 11, 4: 11, 5: 11, 6: 13, 7: 13, 8: 12, 9: 12, 10: 14, 11: 14, 12: 14, 14: 14, 16: 16,
          17: 17, 18: 14, 19: 14, 20: 16, 21: 17}  # fmt: skip
_BY_WRF = np.full(62, -1)
_BY_WRF[[0, 13, 15]] = NO_DATA  # 13: urban without a zone, 15: snow
_BY_WRF[list(_MODIS)] = list(_MODIS.values())
_BY_WRF[_WRF[1:]] = LABELS


def to_label(value: object) -> int:
    """Label 1..17 of one zone in any notation: 1-17, 101-107, "A".."G", "LCZ 3", "lcz_d", "14", 3.0.

    Raises InputError where the value names no zone (0 and no-data included).
    """
    text = _PREFIX.sub("", str(value)).strip().upper()
    text = re.sub(r"\.0+$", "", text).lstrip("0") or "0"
    if text not in _BY_TEXT:
        raise InputError(f"{value!r} is no Local Climate Zone; expected 1-17, 101-107, or 1-10 and A-G")
    return _BY_TEXT[text]


def to_labels(values: np.ndarray) -> np.ndarray:
    """Labels 1..17 (uint8, 0 = no data, same shape) of an array in the notation 1-17 or 101-107, or InputError."""
    return _translated(values, _BY_NUMBER, "no Local Climate Zones; expected 1-17, 101-107, or 0 for no data")


def from_wrf_codes(values: np.ndarray) -> np.ndarray:
    """Labels 1..17 (uint8) of WRF's land-use numbers: 51-61, and MODIS classes as the nearest natural zone.

    0, urban without a zone (13) and snow (15) become 0. Raises InputError on numbers WRF does not have.
    """
    return _translated(values, _BY_WRF, "no land use of WRF with zones")


def _translated(values: np.ndarray, table: np.ndarray, fault: str) -> np.ndarray:
    values = np.asarray(values)
    whole = np.nan_to_num(values, nan=NO_DATA) if values.dtype.kind == "f" else values
    integers = whole.astype(np.int64)
    known = (integers == whole) & (integers >= 0) & (integers < len(table))
    labels = np.where(known, table[np.where(known, integers, 0)], -1)
    if (labels < 0).any():
        raise InputError(f"values {np.unique(values[labels < 0])[:5].tolist()} are {fault}")
    return labels.astype(np.uint8)


def to_index(labels: np.ndarray) -> np.ndarray:
    """Tensor index 0..16 (int64) of labels 1..17. Raises InputError on anything else."""
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


def to_wrf_codes(labels: np.ndarray) -> np.ndarray:
    """Land-use numbers of WRF (uint8; 0 stays 0) of labels 1..17: 51-60 built, 61 LCZ E, MODIS classes for the rest."""
    return _WRF[np.asarray(labels, dtype=np.uint8)]
