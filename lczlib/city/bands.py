"""Which band of a file is which: by names in the wordings of the field, else by number, contents and physics."""

import re
from collections.abc import Callable, Sequence

import numpy as np
import rasterio

from lczlib.data.layout import BANDS
from lczlib.errors import InputError

L2A = ("B1", *BANDS[:8], "B9", "B11", "B12")
ORDERS = {10: BANDS, 12: L2A, 13: (*L2A[:10], "B10", "B11", "B12")}  # of a file without names, by number of bands
NANOMETRES = {443: "B1", 492: "B2", 560: "B3", 665: "B4", 704: "B5", 740: "B6", 783: "B7", 835: "B8", 865: "B8A",
              945: "B9", 1374: "B10", 1612: "B11", 2194: "B12"}  # fmt: skip
WORDS = {  # searched in this order in a name without spaces and signs
    "coastal|aerosol": "B1", "vapou?r|nir0?9": "B9", "cirrus": "B10",
    r"swir(11|16|1(?!\d))|sw1": "B11", "swir(12|2|3)|sw2": "B12",
    "(edge|re)(4|08[56])": "B8A", "(edge|re)(3|078)": "B7", "(edge|re)(2|07[45])": "B6", "(edge|re)(1|07[01])": "B5",
    "nir08|nir8a|nir2|nira$|narrow": "B8A", "nir|bnr": "B8", "blu": "B2",
    "green|grn": "B3", "(?<!infra)red(?!edge)": "B4",
}  # fmt: skip
DERIVED = re.compile(  # no band but something made of one, or about it
    r"(?<![a-z])(zenith|azimuth|angles?|masks?|flags?|qa\d*|quality\w*|std\w*|var\w*|counts?|clouds?|prob\w*|nd[vwbmr][ie]"
    r"|evi|ratio|diff\w*|satur\w*|uncert\w*|errors?|ind(ex|ices)|\w+ness|greenhouses?|roofs?)(?![a-z])"
)
FEW_VALUES = 101  # a band with no more, where the others have ten times as many, is a mask, classes or per cents


def band_of(name: str) -> str:
    """Sentinel-2 band meant by a name such as "B02", "Band 8A", "Red (band 4)", "nir08", "842 nm"; "" for none."""
    text = name.strip().lower()
    if DERIVED.search(text):
        return ""
    codes = {"B" + code.upper() for code in re.findall(r"(?<![a-z0-9])b(?:and[ _.-]*)?0*(\d+a?)(?![a-z0-9])", text)}
    if codes := codes & set(NANOMETRES.values()):
        return codes.pop() if len(codes) == 1 else ""
    if found := re.search(r"(\d+(?:\.\d+)?)\s*(nm|nanom|[uµμ]m|microm)", text):
        length = float(found[1]) * (1 if found[2][0] == "n" else 1000)
        nearest = min(NANOMETRES, key=lambda center: abs(center - length))
        return NANOMETRES[nearest] if abs(nearest - length) <= 20 else ""
    words = _squeezed(text)
    return next((band for pattern, band in WORDS.items() if re.search(pattern, words)), "")


def _squeezed(name: str) -> str:
    words = re.sub("[^a-z0-9]", "", name.lower())
    return words.replace("shortwaveinfrared", "swir").replace("nearinfrared", "nir")


def bands_of(names: Sequence[str]) -> list[str]:
    """`band_of` each name, with what only the others tell: FORCE's NIR beside BROADNIR, SWIR 2 and 3 of Australia."""
    found, words = [band_of(name) for name in names], [_squeezed(name) for name in names]
    if not any(found):  # wavelengths without a unit, such as rhos_492, where they make up the ten bands
        numbers = [re.findall(r"(?<!\d)\d{3,4}(?!\d)", name) for name in names]
        lengths = [band_of(f"{number[0]} nm") if len(number) == 1 else "" for number in numbers]
        found = lengths if set(BANDS) <= set(lengths) else found
    if any(re.search("broadnir|bnr|nirbroad|nirwide|widenir", word) for word in words):
        found = ["B8A" if word == "nir" else band for word, band in zip(words, found, strict=True)]
    if any("swir3" in word for word in words):
        found = ["B11" if "swir2" in word else band for word, band in zip(words, found, strict=True)]
    return found


def names_of(data: rasterio.DatasetReader) -> list[str]:
    """Names of the bands: their descriptions, else tags; "" for none. Mere numbers (Band 1, Band 2, ...) are none."""
    names = []
    for number, name in enumerate(data.descriptions, start=1):
        tags = {key.lower(): value for key, value in data.tags(number).items()} if not name else {}
        keys = [key for key in ("bandname", "band_name", "name", "common_name", "long_name") if key in tags]
        names.append(name or (tags[keys[0]] if keys else ""))
    numbered = [re.fullmatch(r"(.*?)0*(\d+)", name) for name in names]
    if all(numbered) and [int(match[2]) for match in numbered] == list(range(1, data.count + 1)):
        prefixes = {match[1].lower() for match in numbered}
        return [""] * data.count if len(prefixes) == 1 and prefixes != {"b"} else names
    return names


def band_order(
    data: rasterio.DatasetReader, given: Sequence[str] | None, sample: Callable[[], np.ndarray]
) -> tuple[list[int], str]:
    """Places of the ten BANDS in a file.

    Args:
        given: names of all the file's bands in order; None: those in the file, else assumed by their number.
        sample: gives (n, bands) raw values: bands of few values (masks, classes) are not counted.

    Returns:
        1-based places, and what was assumed ("" for nothing).

    Raises:
        InputError: a band is missing or named twice, or the order cannot be known.
    """
    advice = "export the ten bands of 10 m and 20 m, or name the file's bands in order with --bands B2,B3,..."
    if given and len(given) != data.count:
        raise InputError(f"{data.name}: has {data.count} bands, --bands names {len(given)}; name each, in order")
    names = list(given) if given else names_of(data)
    if "8A" in (name.strip().upper() for name in names):
        names = [f"B{name.strip()}" if name.strip()[:1].isdigit() else name for name in names]
    found, assumed = bands_of(names), ""
    if not given and not any(found):
        found = _order_by_contents(sample())
        assumed = f"{'names of bands not understood' if any(names) else 'no band names'}; order assumed: "
        assumed += " ".join(band or "(few values)" for band in found)
    missing = [band for band in BANDS if band not in found]
    if missing:
        twice = ", ".join(band for band in BANDS if found.count(band) > 1)
        has = f"the file has {data.count} bands" + (f", {twice} more than once" if twice else "")
        raise InputError(f"{data.name}: bands missing ({', '.join(missing)}; {has}); {advice}")
    return [_place_of(data, names, found, band) for band in BANDS], assumed


def _order_by_contents(sample: np.ndarray) -> list[str]:
    """Bands of a file without names: those that hold few values are none, the others by their number; "" for none."""
    values = np.array([len(np.unique(band)) for band in sample.T])
    places = np.flatnonzero(values > min(FEW_VALUES, 0.1 * np.median(values)))
    order = ORDERS.get(len(places), ("",) * len(places))
    medians = dict(zip(order, np.median(sample[:, places], axis=0), strict=True))
    if "B10" in order and medians["B10"] > medians["B11"]:  # cirrus is dark under a clear sky
        order = ("",) * len(places)
    found = [""] * len(values)
    for place, band in zip(places, order, strict=True):
        found[place] = band
    return found


def _place_of(data: rasterio.DatasetReader, names: Sequence[str], found: Sequence[str], band: str) -> int:
    """1-based place of a band; of several that mean it the one with nothing else in its name."""
    places = [place for place, one in enumerate(found) if one == band]
    plain = [place for place in places if names[place].strip().upper() in (band, f"{band[0]}0{band[1:]}")]
    if len(places) > 1 and len(plain) != 1:
        twice = " and ".join(repr(names[place]) for place in places[:2])
        raise InputError(f"{data.name}: {twice} both mean {band}; export one scene, or name the bands with --bands")
    return (plain or places)[0] + 1


def rgb_order(data: rasterio.DatasetReader, given: Sequence[int] | None = None) -> tuple[list[int], str]:
    """1-based places of red, green and blue, and what was assumed ("" for nothing).

    As asked, else by names, else by colour tags, else by the number of bands: B G R first where there are four or five
    that are not 8 bits deep, R G B of three, or of four in 8 bits.

    Raises:
        InputError: a colour is missing, or the order cannot be known.
    """
    colors = [_color(name) for name in names_of(data)]
    tags = [one.name for one in data.colorinterp]
    wanted, assumed = ("red", "green", "blue"), ""
    known = next((kind for kind in (colors, tags) if all(kind.count(color) == 1 for color in wanted)), None)
    if given:
        places = list(given)
    elif known:
        places = [known.index(color) + 1 for color in wanted]
    elif any(colors) or data.count > 5:
        raise InputError(f"{data.name}: which of its {data.count} bands are red, green, blue? tell it with --rgb-bands")
    else:
        places = [3, 2, 1] if data.count >= 4 and data.dtypes[0] != "uint8" else [1, 2, 3]
        assumed = f"no band names or colours; order assumed: red, green, blue are bands {places}"
    if len(places) != 3 or max(places) > data.count or min(places) < 1:
        raise InputError(f"{data.name}: bands missing (R, G, B = {places}, it has {data.count}); give --rgb-bands")
    return places, assumed


def _color(name: str) -> str:
    """red, green or blue, where a name means the plain colour: not red edge, coastal blue, green I, infra-red."""
    words = re.findall("[a-z]+(?![a-z0-9])", name.lower())
    if {"edge", "coastal", "deep", "infra", "i"} & set(words):
        return ""
    return next((color for color in ("red", "green", "blue") if {color, color[0]} & set(words)), "")


def physics_warnings(reflectance: np.ndarray) -> list[str]:
    """What looks wrong about band order, offset or units: one line each, none when all is plausible.

    Over vegetation B8A is close to B8, B11 below B8A and B12 below B11; B7, B8 and B8A are close anywhere; the
    darkest pixels of a scene are dark in some band; next to nothing is negative.

    Args:
        reflectance: (n, 10) sample of valid pixels, in the order BANDS.

    Source: assumed; the limits were tried on four real scenes.
    """
    found = []
    band = dict(zip(BANDS, reflectance.T.astype(np.float64), strict=True))
    green = vegetation(reflectance)
    if green.sum() >= 50:
        m = {name: float(np.median(values[green])) for name, values in band.items()}
        if not (m["B12"] < m["B11"] < m["B8A"] and m["B4"] < m["B5"] < m["B7"]):
            found.append("vegetation does not look like vegetation (B4 < B5 < B7, B8A > B11 > B12)")
    for one, other in (("B7", "B8"), ("B8", "B8A")):
        if not 0.75 < (np.median(band[one]) + 0.01) / (np.median(band[other]) + 0.01) < 1.33:
            found.append(f"{one} and {other} differ by more than their wavelengths allow")
    red, blue = (np.corrcoef([band[name], band["B5"]])[0, 1] if band[name].std() > 1e-4 else 0 for name in ("B4", "B2"))
    if blue > red + 0.04:
        found.append("B2 goes with the red edge B5 more than B4 does")
    advice = ["the band order looks wrong: " + found[0] + "; name the file's bands with --bands"] if found else []
    same = [name for name, values in band.items() if len(values) > 1 and not np.ptp(values)]
    if 0 < len(same) < len(BANDS):
        advice.append(f"{', '.join(same)}: one value everywhere; export the scene again")
    top = np.percentile(reflectance, 99)
    if np.percentile(reflectance, 1, axis=0).min() > 0.095:
        dark = "even the darkest pixels reflect 10 % in every band"
        advice.append(f"{dark}; if processing is 04.00 or later, use --offset -1000")
    if (reflectance < -0.01).any(axis=1).mean() > 0.05:
        advice.append("many pixels are below zero: the offset looks applied twice; leave --offset at 0")
    elif top > 1.6 or np.median(reflectance) > 0.7:
        bright = "brighter than land (stretched to 16 bits, or all cloud?)"
        advice.append(f"{bright}: values lie outside of 0..1; check --units")
    elif top < 0.05 and band["B8"].mean() > 0.5 * band["B3"].mean():
        advice.append(f"99 % of the values lie below {top:.4f}: values lie outside of reflectance; check --units")
    elif top > 0.9 and (reflectance == reflectance.max()).mean() > 0.01:
        advice.append(f"many values are exactly {reflectance.max():g}: an image stretched for display? check --units")
    return advice


def vegetation(reflectance: np.ndarray) -> np.ndarray:
    """(n,) bool: pixels (n, 10) that B4 and B8 show to be green."""
    red, infrared = reflectance[:, BANDS.index("B4")], reflectance[:, BANDS.index("B8")]
    return (infrared - red > 0.5 * (infrared + red)) & (infrared > 0.15)
