"""What every figure shares: one style, two widths, one way of saving (PNG, PDF and JSON of one stem)."""

from importlib.resources import files
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from lczlib.compute import kernels
from lczlib.runs import atomic_path, commit, plain, write_json

ONE_COLUMN = 3.5  # inches, one IEEE column
TWO_COLUMNS = 7.16  # inches, both columns
STREAM_COLORS = {"s2": "#0072B2", "ge": "#DE8A0A", "fused": "#2B2B2B"}
STREAM_NAMES = {"s2": "Sentinel-2", "ge": "Google Earth", "fused": "fused"}
_STRIP = 0.13  # inches kept free at the bottom for the origin stamp
_NO_DATES = {
    "pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None},
    "png": {"Software": None},
}


def use_style() -> None:
    """Makes matplotlib draw in the project's style (8 pt, constrained layout, thin axes)."""
    plt.style.use("default")
    plt.style.use(str(files("lczlib.figures") / "lcz.mplstyle"))


def save_figure(
    fig: Figure,
    stem: str,
    numbers: dict,
    *,
    figures_dir: str | Path,
    kind: str,
    parameters: dict | None = None,
    seed: int = 0,
    question: str = "",
    tolerance: dict | None = None,
) -> Path:
    """Writes `stem`.png (300 dpi), `stem`.pdf and `stem`.json; the same input gives the same picture bytes.

    Args:
        fig: the figure; stamped with its origin when `kind` is "synthetic", and closed afterwards.
        stem: notebook number first, e.g. "04_alpha".
        numbers: nested dict of what the picture shows; NaN becomes null.
        figures_dir: folder, made when missing.
        kind: origin of the data, e.g. "synthetic", "LCZC-GES2", "own city".
        parameters: what the numbers depend on, besides the seed (timings belong here, never in `numbers`).
        seed: the run's seed.
        question: the reader's question that the figure answers.
        tolerance: {"abs": .., "rel": ..} within which a re-run must agree.

    Returns:
        Path of the PNG.
    """
    folder = Path(figures_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "synthetic":
        stamp(fig, "synthetic data")
    for suffix in ("png", "pdf"):
        with atomic_path(folder / f"{stem}.{suffix}") as path:
            fig.savefig(path, format=suffix, metadata=_NO_DATES[suffix])
    plt.close(fig)
    write_json(
        folder / f"{stem}.json",
        {
            "figure": stem,
            "question": question,
            "data": kind,
            "parameters": plain(parameters or {}),
            "seed": int(seed),
            "commit": commit(),
            "kernels": kernels(),
            "numbers": _rounded(plain(numbers)),
            "tolerance": {"abs": 0.02, "rel": 0.0} | (tolerance or {}),
        },
    )
    return folder / f"{stem}.png"


def stamp(fig: Figure, text: str) -> None:
    """Prints `text` small at the lower right, in a strip that the layout leaves free."""
    if any(t.get_gid() == "stamp" for t in fig.texts):
        return
    share = _STRIP / fig.get_figheight()
    engine = fig.get_layout_engine()
    if engine is not None and hasattr(engine, "set"):
        try:
            engine.set(rect=(0, share, 1, 1 - share))
        except TypeError:  # a layout engine without `rect`
            share = 0.0
    fig.text(0.995, 0.004, text, ha="right", va="bottom", fontsize=6, color="#777777", style="italic", gid="stamp")


def _rounded(value):
    """Floats to 6 digits: what a reader compares, without the noise of the last bits."""
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
