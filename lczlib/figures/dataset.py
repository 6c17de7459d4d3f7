"""Figures of a data set: typical pairs, spectra, Stewart & Oke properties, what the statistics of each sensor tell."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from lczlib.data import Pairs
from lczlib.figures.base import TWO_COLUMNS
from lczlib.figures.primitives import headline, picture, scale_bar, side_by_side, zone_axis
from lczlib.metrics import Interval
from lczlib.zones import CODES, COLORS, NAMES, RANGES, K

WAVELENGTHS = (492, 559, 665, 704, 740, 781, 833, 864, 1612, 2194)  # nm, mean of Sentinel-2A and 2B
SENSORS = {"s2": "Sentinel-2", "ge": "RGB"}
PROPERTIES = {"bsf": "building\nfraction", "isf": "impervious\nfraction", "psf": "pervious\nfraction",
              "svf": "sky view\nfactor", "mean_height": "height, m"}  # fmt: skip


def statistics(pairs: Pairs) -> dict[str, np.ndarray]:
    """Mean and standard deviation of every band of each patch: "s2" (n, 20) and, with RGB, "ge" (n, 6) in 0..1."""
    some = (pairs.s2[start : start + 1024] for start in range(0, len(pairs), 1024))
    table = {"s2": np.concatenate([np.concatenate([x.mean((1, 2)), x.std((1, 2))], 1) for x in some])}
    if pairs.has_rgb:
        each = (patch.reshape(-1, 3) / np.float32(255) for patch in pairs.rgb)
        table["ge"] = np.array([np.concatenate([x.mean(0), x.std(0)]) for x in each])
    return table


def typical(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Row of the most typical place of each zone of `labels` (n,): nearest to the median of its `values` (n, f)."""
    values = (values - values.mean(0)) / (values.std(0) + 1e-9)
    rows = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return np.array([row[np.square(values[row] - np.median(values[row], 0)).sum(1).argmin()] for row in rows])


def samples(rgb: np.ndarray, s2: np.ndarray, labels: np.ndarray, title: str) -> Figure:
    """One pair per zone: the RGB patch above the Sentinel-2 patch, zones in order, six to a row.

    Args:
        rgb: (n, 320, 320, 3) uint8. s2: (n, 32, 32, 10) reflectance. labels: (n,) 1..17.
    """
    rows = -(-len(labels) // 6)
    fig, axes = plt.subplots(2 * rows, 6, figsize=(TWO_COLUMNS, 2.62 * rows), squeeze=False)
    for k in range(6 * rows):
        for axis, images in zip(axes[2 * (k // 6) : 2 * (k // 6) + 2, k % 6], (rgb, s2)):
            if k >= len(labels):
                axis.remove()
                continue
            code, name = CODES[labels[k] - 1], NAMES[labels[k] - 1]
            picture(axis, images[k], f"{code} {name}" if images is rgb else "")
            axis.spines[:].set(color=COLORS[labels[k] - 1], linewidth=1.6, visible=True)
    scale_bar(axes[0, 0])
    for row in range(2 * rows):
        axes[row, 0].set_ylabel("Sentinel-2, 10 m" if row % 2 else "RGB, 1 m", fontsize=7)
    return headline(fig, title)


def spectra(means: np.ndarray, labels: np.ndarray, title: str) -> Figure:
    """A panel per zone: its median spectrum and middle half minus the mean of all zones; grey: the other zones.

    `means` (n, 10) holds the mean reflectance of each patch, `labels` (n,) its zone.
    """
    quartiles = {z: np.quantile(means[labels == z], (0.25, 0.5, 0.75), axis=0) for z in np.unique(labels)}
    medians = np.transpose([q[1] for q in quartiles.values()])  # (10, zones)
    middle = medians.mean(1)
    fig, axes = plt.subplots(3, 6, figsize=(TWO_COLUMNS, 3.9), sharex=True, sharey=True)
    for zone, axis in enumerate(axes.flat[:K], start=1):
        axis.axhline(0, color="#999999", linewidth=0.6)
        axis.plot(WAVELENGTHS, medians - middle[:, None], color="#DDDDDD", linewidth=0.6)
        if zone in quartiles:
            low, median, high = quartiles[zone] - middle
            axis.fill_between(WAVELENGTHS, low, high, color=COLORS[zone - 1], alpha=0.3, linewidth=0)
            axis.plot(WAVELENGTHS, median, "o-", color="black", markersize=2, markerfacecolor=COLORS[zone - 1])
        axis.set_title(f"{CODES[zone - 1]}  n = {(labels == zone).sum()}", fontsize=7, fontweight="normal")
    axes.flat[-1].set_axis_off()
    fig.supxlabel("wavelength, nm", fontsize=8)
    fig.supylabel("reflectance minus mean of zones", fontsize=8)
    return headline(fig, title)


def shares_in_range(truth: pd.DataFrame) -> dict[str, dict[str, float]]:
    """{code: {property: share of places inside the range of Stewart & Oke}}; columns of `truth`: label, PROPERTIES."""
    shares: dict[str, dict[str, float]] = {}
    for label, rows in truth.groupby("label"):
        ranges = RANGES[CODES[label - 1]]
        known = [name for name in PROPERTIES if name in ranges]
        shares[CODES[label - 1]] = {name: float(rows[name].between(*ranges[name]).mean()) for name in known}
    return shares


def properties(truth: pd.DataFrame, title: str) -> Figure:
    """Median and middle 80 % of the places of each zone, the range of Stewart & Oke (grey), percent of places inside.

    `truth` is that of `shares_in_range`; heights (m) are drawn on a logarithmic axis.
    """
    inside, places = shares_in_range(truth), truth.groupby("label")
    zones = np.array(list(places.groups))
    codes, x = [CODES[zone - 1] for zone in zones], zones - 1
    fig, axes = plt.subplots(len(PROPERTIES), 1, figsize=(TWO_COLUMNS, 6.0), sharex=True)
    for axis, (name, words) in zip(axes, PROPERTIES.items(), strict=True):
        bottom, top = (0.05, 100) if name == "mean_height" else (0, 1)
        low, high = np.clip([RANGES[code].get(name, (np.nan, np.nan)) for code in codes], bottom, top).T
        axis.bar(x, high - low, bottom=low, width=0.8, color="#DDDDDD")
        low, median, high = places[name].quantile([0.1, 0.5, 0.9]).unstack().clip(lower=bottom).to_numpy().T
        axis.vlines(x, low, high, color="#333333", linewidth=1.2, clip_on=False)
        colors = [COLORS[place] for place in x]
        axis.scatter(x, median, s=14, c=colors, edgecolors="black", zorder=3, clip_on=False)
        for place, code in zip(x, codes):
            share = f"{inside[code][name]:.0%}" if name in inside[code] else ""
            axis.text(place, 1.1, share, transform=axis.get_xaxis_transform(), fontsize=7, ha="center", zorder=4)
        axis.set(ylabel=words, ylim=(bottom, top), yscale="log" if name == "mean_height" else "linear")
    zone_axis(axes[-1])
    return headline(fig, title)


def sensors(recall: Mapping[str, list[Interval]], title: str) -> Figure:
    """Share of the places of each zone that statistics of the bands identify, for each sensor ("s2", "ge")."""
    fig, axis = plt.subplots(figsize=(TWO_COLUMNS, 2.3))
    axis.axhline(1 / K, color="#555555", linewidth=0.8, linestyle=":", label="chance, 1 in 17")
    side_by_side(axis, recall, names=SENSORS)
    axis.set(ylabel="recall", ylim=(-0.02, 1.02), xlim=(-0.6, K - 0.4))
    axis.grid(axis="y")
    zone_axis(axis)
    return headline(fig, title)
