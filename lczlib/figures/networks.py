"""Figures that explain the two networks on examples small enough to check by hand."""

from __future__ import annotations

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lczlib.data.layout import BANDS
from lczlib.figures.base import STREAM_COLORS, TWO_COLUMNS
from lczlib.figures.primitives import bare

__all__ = ["kernel_over_bands", "message_on_four_nodes"]


def kernel_over_bands(patch: np.ndarray, kernel: np.ndarray, response: np.ndarray, band: int = 5) -> Figure:
    """A kernel of three bands on its way along the spectrum of one pixel.

    Args:
        patch: (32, 32, 10) reflectance. kernel: (3,) weights along the bands.
        response: (10,) the kernel's answer at the middle pixel. band: where the kernel is drawn, 1..8.
    """
    fig, (stack, spectrum, answer) = plt.subplots(1, 3, figsize=(TWO_COLUMNS, 2.3), width_ratios=(1.15, 1, 1))
    color, middle = STREAM_COLORS["s2"], len(patch) // 2
    for b in range(len(BANDS)):
        shift = 6 * b
        extent = (shift, shift + 32, shift, shift + 32)
        stack.imshow(patch[..., b], cmap="gray", extent=extent, zorder=20 - b, vmin=0)
        stack.add_patch(Rectangle((shift, shift), 32, 32, fill=False, ec="white", lw=0.4, zorder=20 - b))
        stack.text(shift + 33, shift, BANDS[b], fontsize=7, va="bottom")
        if abs(b - band) <= 1:
            at = (shift + middle - 4.5, shift + middle - 4.5)
            stack.add_patch(Rectangle(at, 9, 9, fill=False, ec=color, lw=1.6, zorder=40))
    stack.set(xlim=(0, 100), ylim=(0, 87), title="3 x 3 pixels of 3 neighbouring bands")
    stack.set_aspect("equal")
    bare(stack)
    stack.spines[:].set_visible(False)
    places, near = np.arange(len(BANDS)), slice(band - 1, band + 2)
    values = patch[middle, middle]
    spectrum.plot(places, values, "o-", color="#777777")
    spectrum.plot(places[near], values[near], "o", color=color, markersize=6)
    for place, weight in zip(places[near], kernel, strict=True):
        spectrum.annotate(f"{weight:+g}", (place, values[place]), xytext=(-4, 7), textcoords="offset points")
    spectrum.set(title="The middle pixel's spectrum", ylabel="reflectance", ylim=(0, values.max() * 1.35))
    answer.bar(places, response, color=[color if b == band else "#BBBBBB" for b in places])
    answer.set(title=f"Answer: {response[band]:+.2f} at {BANDS[band]}")
    fig.suptitle(f"A kernel along the bands finds the slope of the spectrum: steepest at {BANDS[band]}")
    for axis in (spectrum, answer):
        axis.set_xticks(places, BANDS, rotation=90)
    return fig


def message_on_four_nodes(x: np.ndarray, a: np.ndarray, y: np.ndarray) -> Figure:
    """One graph convolution: the features of four nodes, the normalised adjacency, the features afterwards.

    Args:
        x: (4,) feature of each node. a: (4, 4) normalised adjacency. y: (4,) what the layer gives.
    """
    fig, axes = plt.subplots(1, 3, figsize=(TWO_COLUMNS, 2.2))
    places = np.array([(0, 1), (1, 1), (0, 0), (1, 0)])
    for axis, values, title in ((axes[0], x, "before: X"), (axes[2], y, "after: X'")):
        for i in range(4):
            for j in range(i):
                axis.plot(*places[[i, j]].T, color="#AAAAAA", linewidth=0.8, zorder=1)
            axis.plot(*places[i], "o", markersize=24, color="white", markeredgecolor=STREAM_COLORS["ge"], zorder=2)
            axis.text(*places[i], f"{values[i]:g}", ha="center", va="center", zorder=3)
        axis.set(xlim=(-0.4, 1.4), ylim=(-0.4, 1.4), title=title)
        bare(axis)
    axes[1].imshow(a, cmap="Greys", vmin=0, vmax=1)
    for (i, j), value in np.ndenumerate(a):
        axes[1].text(j, i, "0" if value == 0 else f"1/{1 / value:.0f}", ha="center", va="center")
    fig.suptitle("Each node gets three times the mean of the others, less itself")
    axes[1].set(title="$A_n$: a third of every other node")
    bare(axes[1])
    return fig
