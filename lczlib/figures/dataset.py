"""Figures of a data set: typical pairs, spectra, Stewart & Oke properties, what the statistics of each sensor tell."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from lczlib.data import Pairs
from lczlib.figures.base import STREAM_COLORS, TWO_COLUMNS
from lczlib.figures.primitives import bare, natural_color, scale_bar, zone_axis
from lczlib.metrics import Interval
from lczlib.zones import CODES, COLORS, NAMES, RANGES, K

WAVELENGTHS = (492, 559, 665, 704, 740, 781, 833, 864, 1612, 2194)  # nm, mean of Sentinel-2A and 2B
SENSORS = {"s2": "Sentinel-2", "ge": "RGB"}
PROPERTIES = {"bsf": "building\nfraction", "isf": "impervious\nfraction", "psf": "pervious\nfraction",
              "svf": "sky view\nfactor", "mean_height": "height, m"}  # fmt: skip


def statistics(pairs: Pairs) -> dict[str, np.ndarray]:
    """Mean and standard deviation of every band of each patch: "s2" (n, 20) and, with RGB, "ge" (n, 6) in 0..1."""
    table = {"s2": np.concatenate([pairs.s2.mean((1, 2)), pairs.s2.std((1, 2))], 1)}
    if pairs.has_rgb:
        each = (patch.reshape(-1, 3) / np.float32(255) for patch in pairs.rgb)
        table["ge"] = np.array([np.concatenate([x.mean(0), x.std(0)]) for x in each])
    return table


def _say(fig: Figure, title: str) -> None:
    fig.suptitle(title, x=0.01, ha="left", fontsize=8, fontweight="bold")


def typical(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Row of the most typical place of each zone present: nearest to its zone's median, in standard deviations.

    Args:
        values: (n, f) statistics. labels: (n,) 1..17.
    """
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
    for axis in axes.flat:
        axis.set_visible(False)
        bare(axis)
    for k, (color, bands, label) in enumerate(zip(rgb, s2, labels, strict=True)):
        above, below = axes[2 * (k // 6), k % 6], axes[2 * (k // 6) + 1, k % 6]
        above.imshow(color[::2, ::2], extent=(0, 320, 320, 0))
        below.imshow(natural_color(bands), extent=(0, 320, 320, 0))
        above.set_title(f"{CODES[label - 1]} {NAMES[label - 1]}", fontsize=7, pad=2, fontweight="normal")
        for axis in (above, below):
            axis.set_visible(True)
            axis.spines[:].set(color=COLORS[label - 1], linewidth=1.6, visible=True)
    scale_bar(axes[0, 0])
    _say(fig, title)
    for row in range(2 * rows):
        axes[row, 0].set_ylabel("Sentinel-2, 10 m" if row % 2 else "RGB, 1 m", fontsize=7)
    return fig


def spectra(means: np.ndarray, labels: np.ndarray, title: str) -> Figure:
    """A panel per zone: its median spectrum and middle half minus the mean of all zones; grey: the other zones.

    Args:
        means: (n, 10) mean reflectance of each patch. labels: (n,) 1..17.
    """
    present = np.unique(labels)
    quartiles = {z: np.quantile(means[labels == z], (0.25, 0.5, 0.75), axis=0) for z in present}
    middle = np.mean([q[1] for q in quartiles.values()], 0)
    fig, axes = plt.subplots(3, 6, figsize=(TWO_COLUMNS, 3.9), sharex=True, sharey=True)
    for axis, zone in zip(axes.flat, range(1, K + 1)):
        axis.axhline(0, color="#999999", linewidth=0.6)
        axis.plot(
            WAVELENGTHS, np.transpose([q[1] - middle for q in quartiles.values()]), color="#DDDDDD", linewidth=0.6
        )
        if zone in quartiles:
            low, median, high = quartiles[zone] - middle
            axis.fill_between(WAVELENGTHS, low, high, color=COLORS[zone - 1], alpha=0.3, linewidth=0)
            axis.plot(WAVELENGTHS, median, "o-", color="black", markersize=2, markerfacecolor=COLORS[zone - 1])
        axis.set_title(f"{CODES[zone - 1]}  n = {(labels == zone).sum()}", fontsize=7, fontweight="normal")
    axes.flat[-1].set_axis_off()
    _say(fig, title)
    fig.supxlabel("wavelength, nm", fontsize=8)
    fig.supylabel("reflectance minus mean of zones", fontsize=8)
    return fig


def shares_in_range(truth: pd.DataFrame) -> dict[str, dict[str, float]]:
    """{zone code: {property: share 0..1 of its places inside the range of Stewart & Oke}}.

    Args:
        truth: columns label 1..17 and PROPERTIES.
    """
    zones = {CODES[label - 1]: rows for label, rows in truth.groupby("label")}
    return {code: {name: float(rows[name].between(*RANGES[code][name]).mean()) for name in PROPERTIES
                   if name in RANGES[code]} for code, rows in zones.items()}  # fmt: skip


def properties(truth: pd.DataFrame, title: str) -> Figure:
    """Median and middle 80 % of the places of each zone, the range of Stewart & Oke (grey), percent of places inside.

    Args:
        truth: as for `shares_in_range`; heights (m) are drawn on a logarithmic axis.
    """
    inside = shares_in_range(truth)
    fig, axes = plt.subplots(len(PROPERTIES), 1, figsize=(TWO_COLUMNS, 6.0), sharex=True)
    for axis, (name, words) in zip(axes, PROPERTIES.items(), strict=True):
        bottom, top = (0.05, 100) if name == "mean_height" else (0, 1)
        for label, rows in truth.groupby("label"):
            low, high = RANGES[CODES[label - 1]].get(name, (np.nan, np.nan))
            axis.bar(label - 1, min(high, top) - max(low, bottom), bottom=max(low, bottom), width=0.8, color="#DDDDDD")
            low, median, high = np.maximum(rows[name].quantile([0.1, 0.5, 0.9]), bottom)
            axis.vlines(label - 1, low, high, color="#333333", linewidth=1.2, clip_on=False)
            axis.plot(label - 1, median, "o", color=COLORS[label - 1], markeredgecolor="black", clip_on=False)
            text = f"{inside[CODES[label - 1]].get(name, np.nan):.0%}".replace("nan%", "")
            axis.text(label - 1, 1.1, text, transform=axis.get_xaxis_transform(), fontsize=7, ha="center", zorder=4)
        axis.set(ylabel=words, ylim=(bottom, top), yscale="log" if name == "mean_height" else "linear")
    zone_axis(axes[-1])
    _say(fig, title)
    return fig


def sensors(recall: Mapping[str, list[Interval]], title: str) -> Figure:
    """Share of the places of each zone that statistics of the bands identify, with intervals, for each sensor.

    Args:
        recall: "s2", "ge" -> an Interval for each of the 17 zones.
    """
    fig, axis = plt.subplots(figsize=(TWO_COLUMNS, 2.3))
    for offset, (stream, zones) in zip((-0.2, 0.2), recall.items()):
        value, low, high = np.array(zones).T
        axis.bar(np.arange(K) + offset, value, 0.4, color=STREAM_COLORS[stream], label=SENSORS[stream])
        axis.vlines(np.arange(K) + offset, low, high, color="#222222", linewidth=0.8)
    axis.axhline(1 / K, color="#555555", linewidth=0.8, linestyle=":", label="chance, 1 in 17")
    axis.set(ylabel="recall", ylim=(0, 1.02), title=title)
    zone_axis(axis)
    axis.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    return fig
