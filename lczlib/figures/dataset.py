"""Figures of a data set: samples of all zones, balance, spectra, Stewart & Oke properties, what each sensor knows."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from lczlib.figures.base import STREAM_COLORS, STREAM_NAMES, TWO_COLUMNS
from lczlib.figures.primitives import natural_color, scale_bar, zone_axis
from lczlib.zones import CODES, COLORS, NAMES, RANGES

__all__ = ["balance", "properties", "samples", "sensors", "spectra", "statistics"]

WAVELENGTHS = (492, 559, 665, 704, 740, 781, 833, 864, 1612, 2194)  # nm, mean of Sentinel-2A and 2B
_OUTLINE = [patheffects.Stroke(linewidth=2.4, foreground="#555555"), patheffects.Normal()]
_PANELS = (("bsf", "building fraction"), ("isf", "impervious fraction"), ("psf", "pervious fraction"),
           ("svf", "sky view factor"), ("mean_height", "height, m"))  # fmt: skip


def samples(rgb: np.ndarray, s2: np.ndarray, labels: np.ndarray) -> Figure:
    """One pair per zone: the RGB patch above the Sentinel-2 patch, zones in order, six to a row.

    Args:
        rgb: (n, 320, 320, 3) uint8. s2: (n, 32, 32, 10) reflectance. labels: (n,) 1..17.
    """
    rows = int(np.ceil(len(labels) / 6))
    fig, axes = plt.subplots(2 * rows, 6, figsize=(TWO_COLUMNS, 2.62 * rows), squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.set_visible(False)
    for k, (colour, bands, label) in enumerate(zip(rgb, s2, labels)):
        above, below = axes[2 * (k // 6), k % 6], axes[2 * (k // 6) + 1, k % 6]
        above.imshow(colour, extent=(0, 320, 320, 0))
        below.imshow(natural_color(bands), extent=(0, 320, 320, 0), interpolation="nearest")
        above.set_title(f"{CODES[label - 1]}  {NAMES[label - 1]}", fontsize=6, pad=2)
        for axis in (above, below):
            axis.set_visible(True)
            axis.spines[:].set(color=COLORS[label - 1], linewidth=1.6, visible=True)
    scale_bar(axes[0, 0])
    for row in range(2 * rows):
        axes[row, 0].set_ylabel("RGB, 1 m" if row % 2 == 0 else "Sentinel-2", fontsize=6.5)
    return fig


def balance(index: pd.DataFrame) -> Figure:
    """Pairs of each zone (columns) in each city (rows), counted."""
    counts = balance_table(index)
    fig, axis = plt.subplots(figsize=(TWO_COLUMNS, 0.62 + 0.21 * len(counts)))
    axis.imshow(counts, cmap="Blues", vmin=0, vmax=max(1.6 * counts.to_numpy().max(), 1), aspect="auto")
    for (row, column), value in np.ndenumerate(counts.to_numpy()):
        axis.text(column, row, value or "", ha="center", va="center", fontsize=6.5)
    axis.set_xticks(range(17), [f"{code}\n({n})" for code, n in zip(CODES, counts.sum())])
    axis.set_yticks(range(len(counts)), [f"{city or 'unnamed'} ({n})" for city, n in counts.sum(axis=1).items()])
    axis.set(xlabel="zone (pairs)", title="Pairs per zone and city")
    return fig


def balance_table(index: pd.DataFrame) -> pd.DataFrame:
    """Counts, cities as rows, labels 1..17 as columns."""
    return pd.crosstab(index["city"], index["label"]).reindex(columns=range(1, 18), fill_value=0)


def spectra(means: np.ndarray, labels: np.ndarray) -> Figure:
    """Median patch spectrum of each zone, built zones left, land cover right; bands at their wavelengths.

    Args:
        means: (n, 10) mean reflectance of each patch. labels: (n,) 1..17.
    """
    fig, axes = plt.subplots(1, 2, figsize=(TWO_COLUMNS, 2.6), sharey=True)
    at = np.arange(10)
    for label in range(1, 18):
        here, axis = means[labels == label], axes[int(label > 10)]
        if not len(here):
            continue
        low, middle, high = np.quantile(here, (0.25, 0.5, 0.75), axis=0)
        axis.fill_between(at, low, high, color=COLORS[label - 1], alpha=0.12, linewidth=0)
        axis.plot(at, middle, color=COLORS[label - 1], linewidth=1.6, path_effects=_OUTLINE, label=CODES[label - 1])
    for axis, title in zip(axes, ("Built zones", "Land cover zones")):
        names = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
        axis.set_xticks(at, [f"{name}\n{nm}" for name, nm in zip(names, WAVELENGTHS)], fontsize=6)
        axis.set(title=title, xlabel="band, nm")
        axis.legend(ncols=5, fontsize=6, loc="upper left", handlelength=1.4, columnspacing=0.9)
        axis.grid(axis="y")
    axes[0].set(ylabel="reflectance", ylim=(0, None))
    axes[0].set_ylim(0, axes[0].get_ylim()[1] * 1.15)
    return fig


def properties(table: pd.DataFrame) -> Figure:
    """Measured properties of each zone against the Stewart & Oke range (grey): median and the middle 80 % of places.

    Args:
        table: columns label, bsf, isf, psf, svf (0..1), mean_height (m).
    """
    fig, axes = plt.subplots(len(_PANELS), 1, figsize=(TWO_COLUMNS, 6.2), sharex=True)
    for axis, (name, title) in zip(axes, _PANELS):
        top = 1.0 if name != "mean_height" else float(table[name].quantile(0.99)) * 1.1
        for label in range(1, 18):
            low, high = RANGES[CODES[label - 1]].get(name, (np.nan, np.nan))
            axis.bar(label, min(high, top) - low, bottom=low, width=0.72, color="#D8D8D8", zorder=0)
            values = table.loc[table["label"] == label, name]
            if len(values):
                axis.vlines(label, *values.quantile([0.1, 0.9]), color="#333333", linewidth=1.2)
                axis.plot(label, values.median(), "o", markersize=4, color=COLORS[label - 1], markeredgecolor="black",
                          markeredgewidth=0.5)  # fmt: skip
        axis.set(ylabel=title, ylim=(-0.02 * top, top * 1.02))
    axes[0].set_title(
        "Properties measured on the truth; grey: range of Stewart & Oke (2012); line: 10th to 90th percentile"
    )
    axes[-1].set_xticks(range(1, 18), CODES)
    axes[-1].set_xlabel("zone")
    return fig


def sensors(recall: dict[str, np.ndarray]) -> Figure:
    """Share of the places of each zone that colour statistics alone identify, one bar per sensor.

    Args:
        recall: "s2" and "ge" -> (17,) 0..1, NaN where a zone has no place.
    """
    fig, axis = plt.subplots(figsize=(TWO_COLUMNS, 2.0))
    for offset, (stream, values) in zip((-0.2, 0.2), recall.items()):
        axis.bar(np.arange(17) + offset, values, 0.4, color=STREAM_COLORS[stream], label=STREAM_NAMES[stream])
    axis.axhline(1 / 17, color="#999999", linewidth=0.8, linestyle=":")
    zone_axis(axis)
    axis.set(xlabel="zone", ylabel="recall", ylim=(0, 1.18), title="What means and spreads of the bands alone tell")
    axis.legend(ncols=2, loc="upper center")
    return fig


def statistics(pairs) -> dict[str, np.ndarray]:
    """Mean and standard deviation of every band of each patch: "s2" (n, 20) and, with RGB, "ge" (n, 6) in 0..1."""
    table = {"s2": np.concatenate([pairs.s2.mean((1, 2)), pairs.s2.std((1, 2))], 1)}
    if pairs.has_rgb:
        each = (patch.reshape(-1, 3) / np.float32(255) for patch in pairs.rgb)
        table["ge"] = np.array([np.concatenate([x.mean(0), x.std(0)]) for x in each])
    return table
