"""Figures of the evaluation: alpha, confusion, gain per zone, methods, reliability, transfer. Each returns a Figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lczlib.figures.base import ONE_COLUMN, STREAM_COLORS, STREAM_NAMES, TWO_COLUMNS
from lczlib.figures.primitives import bare, natural_color, scale_bar, zone_axis
from lczlib.metrics import Interval
from lczlib.zones import K

STREAMS = ("s2", "ge", "fused")
GREY, ACCENT = "#888888", "#A23B72"


def percent(ax: Axes, axis: str = "y", digits: int = 0) -> None:
    """Shares 0..1 printed as percent on one axis, at six places at most so that the numbers do not meet."""
    one = getattr(ax, f"{axis}axis")
    one.set_major_formatter(plt.matplotlib.ticker.PercentFormatter(1, decimals=digits))
    one.set_major_locator(plt.MaxNLocator(6))


def alpha_curve(curves: Mapping[str, Mapping], best: float, published: float = 0.6, title: str = "") -> Figure:
    """Accuracy along alpha on validation and test; the single streams are the two ends.

    Args:
        curves: "validation" and "test" to `fusion.sweep`'s {"alpha", "oa", "low", "high"}.
        best: alpha chosen on validation. published: marked beside it.
    """
    fig, ax = plt.subplots(figsize=(ONE_COLUMN, 2.5))
    v, t = curves["validation"], curves["test"]
    ax.fill_between(t["alpha"], t["low"], t["high"], color=STREAM_COLORS["fused"], alpha=0.13, lw=0)
    ax.plot(t["alpha"], t["oa"], color=STREAM_COLORS["fused"], label="test, 95 % interval")
    ax.plot(v["alpha"], v["oa"], color=GREY, ls=(0, (3, 1.5)), lw=1, label="validation")
    for i, stream in ((0, "ge"), (-1, "s2")):
        color, value = STREAM_COLORS[stream], t["oa"][i]
        ax.errorbar(t["alpha"][i], value, [[value - t["low"][i]], [t["high"][i] - value]], fmt="o", color=color, ms=5,
                    capsize=2, zorder=5, clip_on=False, label=f"{STREAM_NAMES[stream]} alone")  # fmt: skip
    low, high = ax.get_ylim()
    ax.set_ylim(low - 0.12 * (high - low), high)
    for x, text, color in ((published, f"published {published:g}", "#777777"), (best, f"chosen {best:.2f}", ACCENT)):
        ax.axvline(x, color=color, lw=0.8, ls=":" if color != ACCENT else "-", zorder=0)
        right = x >= max(best, published) and (x != best or x != published or color == ACCENT)
        ax.annotate(text, (x, 0.015), xycoords=("data", "axes fraction"), xytext=(3 if right else -3, 0),
                    textcoords="offset points", ha="left" if right else "right", fontsize=6.5, color=color)  # fmt: skip
    ax.set(xlabel=r"$\alpha$, weight of the Sentinel-2 stream", ylabel="overall accuracy", xlim=(-0.02, 1.02))
    ax.set_title(title)
    percent(ax)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2, columnspacing=1.2)
    return fig


def alpha_details(
    zone_values: np.ndarray, alphas, cities: Mapping[str, np.ndarray], regret: Mapping[str, Sequence]
) -> Figure:
    """Left: per zone and alpha, the change of F1 against alpha = 0.5; right: accuracy along alpha per group.

    Args:
        zone_values: (17, A) F1. alphas: (A,). cities: {city: (A,) accuracy}.
        regret: {split strategy: (A,) accuracy below the best of its own curve}.
    """
    fig, axes = plt.subplots(1, 3, figsize=(TWO_COLUMNS, 3.1), width_ratios=(1.35, 1, 1))
    middle = np.argmin(np.abs(np.asarray(alphas) - 0.5))
    delta = zone_values - zone_values[:, [middle]]
    span = float(np.nanmax(np.abs(delta))) or 1.0
    im = axes[0].imshow(delta, aspect="auto", cmap="PuOr", vmin=-span, vmax=span, extent=(0, 1, K - 0.5, -0.5))
    best = np.nanargmax(np.where(np.isnan(zone_values), -1, zone_values), axis=1)
    axes[0].plot(np.asarray(alphas)[best], range(K), "o", ms=3, mfc="white", mec="black", mew=0.7, clip_on=False)
    zone_axis(axes[0], "y")
    axes[0].set(xlabel=r"$\alpha$", title="per zone: F1 against $\\alpha=0.5$")
    axes[0].spines[:].set_visible(False)
    fig.colorbar(im, ax=axes[0], shrink=0.8, pad=0.02)
    panels = ((cities, "per city, test", plt.cm.Dark2.colors), (regret, "below the best, per split", (GREY, ACCENT)))
    for ax, (lines, title, colors) in zip(axes[1:], panels):
        for (name, y), color in zip(lines.items(), cycle(colors)):
            ax.plot(alphas, y, lw=1, color=color, label=name)
        ax.axvline(0.6, color="#777777", lw=0.8, ls=":")
        ax.set(xlabel=r"$\alpha$", title=title, xticks=[0, 0.5, 1])
        percent(ax)
        ax.legend(fontsize=5.5, ncols=2, columnspacing=0.8, loc="upper center", bbox_to_anchor=(0.5, -0.22))
    return fig


def confusion_matrices(matrices: Mapping[str, np.ndarray], titles: Mapping[str, str] | None = None) -> Figure:
    """Confusion matrices side by side, row-normalised, rows = reference, n per row.

    Args:
        matrices: stream ("s2", "ge", "fused") to counts (17, 17). titles: text beside the stream's name.
    """
    fig, axes = plt.subplots(1, len(matrices), figsize=(TWO_COLUMNS, 2.95))
    for ax, (stream, cm) in zip(np.atleast_1d(axes), matrices.items(), strict=True):
        n = cm.sum(1)
        share = cm / np.maximum(n, 1)[:, None]
        im = ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for (i, j), v in np.ndenumerate(share):
            if v >= 0.045:
                ax.text(j, i, f"{100 * v:.0f}", ha="center", va="center", fontsize=3.6,
                        color="white" if v > 0.55 else "#222222")  # fmt: skip
        ax.axhline(9.5, color="#666666", lw=0.5)
        ax.axvline(9.5, color="#666666", lw=0.5)
        for i in range(K):
            ax.text(K - 0.3, i, str(int(n[i])), va="center", fontsize=4, color=GREY)
        zone_axis(ax, "x")
        zone_axis(ax, "y")
        ax.spines[:].set_visible(False)
        ax.set_xlabel("predicted")
        ax.set_title(f"{STREAM_NAMES.get(stream, stream)} {(titles or {}).get(stream, '')}".strip(), fontsize=7.5)
        ax.title.set_color(STREAM_COLORS.get(stream, "black"))
    np.atleast_1d(axes)[0].set_ylabel("reference (n of each row at its right)")
    bar = fig.colorbar(im, ax=axes, shrink=0.72, pad=0.01, aspect=30)
    percent(bar.ax)
    bar.outline.set_visible(False)
    return fig


def zone_gain(values: Mapping[str, np.ndarray], gains: Sequence[Interval], measure: str = "F1") -> Figure:
    """Above: a measure per zone for both streams and the fusion; below: fusion minus the better stream, interval.

    Args:
        values: stream to (17,). gains: 17 paired intervals.
    """
    fig, (top, low) = plt.subplots(2, 1, figsize=(TWO_COLUMNS, 3.4), sharex=True, height_ratios=(1.5, 1))
    x = np.arange(K)
    stack = np.stack([values[s] for s in STREAMS])
    top.vlines(x, np.nanmin(stack, 0), np.nanmax(stack, 0), color="#cccccc", lw=3, zorder=0)
    for stream, marker in zip(STREAMS, "soD", strict=True):
        top.plot(x, values[stream], marker, color=STREAM_COLORS[stream], ms=4.2, label=STREAM_NAMES[stream])
    top.set(ylabel=f"{measure} per zone", ylim=(-0.03, 1.03))
    top.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    g = np.array([(i.value, i.low, i.high) for i in gains], float)
    better = [STREAM_COLORS["s2" if a >= b else "ge"] for a, b in zip(values["s2"], values["ge"], strict=True)]
    low.bar(x, g[:, 0], color=better, width=0.62)
    low.errorbar(x, g[:, 0], np.abs(g[:, 1:].T - g[:, 0]), fmt="none", ecolor="#333333", elinewidth=0.7, capsize=1.5)
    low.axhline(0, color="#444444", lw=0.6)
    low.axvline(9.5, color="#bbbbbb", lw=0.6)
    top.axvline(9.5, color="#bbbbbb", lw=0.6)
    low.set(ylabel=f"gain in {measure}", xlim=(-0.6, K - 0.4))
    low.set_title(
        "fusion minus the better single stream (bar in that stream's colour)", fontsize=7, fontweight="normal"
    )
    zone_axis(low, "x")
    top.tick_params(axis="x", length=0, labelbottom=False)
    return fig


def measures(values: Mapping[str, Mapping[str, Interval]]) -> Figure:
    """Several measures of accuracy for both streams and the fusion, with intervals.

    Args:
        values: {stream: {measure: Interval}}.
    """
    names = list(next(iter(values.values())))
    fig, ax = plt.subplots(figsize=(ONE_COLUMN, 0.27 * len(names) + 0.7))
    for k, stream in enumerate(values):
        intervals(ax, list(values[stream].values()), np.arange(len(names)) + 0.22 * (k - 1), STREAM_COLORS[stream],
                   STREAM_NAMES[stream])  # fmt: skip
    ax.set(yticks=range(len(names)), yticklabels=names, xlabel="value, 95 % interval over groups")
    ax.invert_yaxis()
    ax.grid(axis="x")
    ax.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    return fig


def intervals(ax: Axes, rows: Sequence[Interval], y, color, label: str = "", marker: str = "o") -> None:
    """Points with horizontal intervals; an interval that does not exist is left out."""
    r = np.array([(i[0], i[1], i[2]) for i in rows], float)
    spread = np.nan_to_num(np.abs(r[:, 1:].T - r[:, 0]))
    ax.errorbar(r[:, 0], y, xerr=spread, fmt=marker, color=color, ms=3.5, elinewidth=0.9, capsize=1.5, label=label)


def methods(rows: Mapping[str, Mapping], reference: str) -> Figure:
    """Ways of fusing: gain in accuracy over the reference (paired interval), beside likelihood and calibration.

    Args:
        rows: `fusion.compare`'s result, possibly with rows of more sources. reference: name of the row at zero.
    """
    names = list(rows)
    fig, axes = plt.subplots(1, 3, figsize=(TWO_COLUMNS, 0.24 * len(names) + 0.75), sharey=True, width_ratios=(2, 1, 1))
    y = np.arange(len(names))
    intervals(axes[0], [rows[n]["difference"] for n in names], y, STREAM_COLORS["fused"])
    axes[0].axvline(0, color=ACCENT, lw=0.8)
    axes[0].set(yticks=y, yticklabels=names, xlabel=f"accuracy minus “{reference}”")
    percent(axes[0], "x", 1)
    for ax, m, text in ((axes[1], "nll", "negative log-likelihood"), (axes[2], "ece", "calibration error")):
        v = [rows[n][m] for n in names]
        ax.barh(y, v, color=[ACCENT if a == min(v) else "#c9c9c9" for a in v], height=0.6)
        for yy, a in zip(y, v, strict=True):
            ax.text(a, yy, f" {a:.3f}", va="center", fontsize=6)
        ax.set(xlabel=text, xlim=(0, max(v) * 1.28))
    axes[0].invert_yaxis()
    axes[0].grid(axis="x")
    return fig


def reliability_diagrams(panels: Mapping[str, Mapping]) -> Figure:
    """Accuracy against confidence, one panel each; the bars below show where the pairs are.

    Args:
        panels: {title: `metrics.reliability`'s result with "ece" and "color" added}.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(TWO_COLUMNS, 2.1), sharey=True)
    for ax, (title, r) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        bins = len(r["n"])
        ax.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls=":")
        ax.bar((np.arange(bins) + 0.5) / bins, 0.28 * r["n"] / r["n"].max(), 0.9 / bins, color="#dddddd")
        keep = r["n"] >= 3
        ax.plot(r["confidence"][keep], r["accuracy"][keep], "o-", color=r["color"], ms=3, lw=1.1)
        ax.set(title=f"{title}: ECE {r['ece']:.3f}", xlim=(0, 1), ylim=(0, 1), xlabel="confidence")
        ax.set_aspect("equal")
    np.atleast_1d(axes)[0].set_ylabel("accuracy")
    return fig


def pairs_grid(rgb: Sequence[np.ndarray], s2: Sequence[np.ndarray], captions: Sequence[str]) -> Figure:
    """Pairs as two rows of pictures: RGB patch above, Sentinel-2 (`natural_color`) below."""
    n = len(rgb)
    fig, axes = plt.subplots(2, n, figsize=(TWO_COLUMNS, 2 * TWO_COLUMNS / n + 0.5), squeeze=False)
    for k in range(n):
        axes[0, k].imshow(rgb[k])
        axes[1, k].imshow(natural_color(s2[k]))
        axes[0, k].set_title(captions[k], fontsize=5.6, fontweight="normal")
        for ax in axes[:, k]:
            bare(ax)
            ax.spines[:].set_visible(False)
    scale_bar(axes[0, 0])
    return fig
