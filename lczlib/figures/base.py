"""What every figure shares: one style, two widths, one way of saving (PNG, PDF and JSON of one stem)."""

import platform
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from lczlib.compute import instruction_set
from lczlib.runs import atomic_path, commit, read_json, to_jsonable, write_json

ONE_COLUMN = 3.5  # inches, one IEEE column
TWO_COLUMNS = 7.16  # inches, both columns
STREAM_COLORS = {"s2": "#0072B2", "ge": "#DE8A0A", "fused": "#2B2B2B"}
STREAM_NAMES = {"s2": "Sentinel-2", "ge": "Google Earth", "fused": "fused"}
FOLLOWS_FROM = ("data", "predictions", "training")
LARGEST_PNG = 400_000  # bytes of a PNG at 300 dpi; larger ones (photographs) are halved
DPI = {"png": 300, "pdf": 110}  # of a PDF: its photographs only, all else is vectors
_STRIP = 0.13  # inches kept free at the bottom for the origin stamp
_NO_DATES = {
    "pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None},
    "png": {"Software": None},
}


def use_style() -> None:
    """Makes matplotlib draw in the project's style (8 pt, constrained layout, thin axes)."""
    plt.style.use("default")
    plt.style.use(str(files("lczlib.figures") / "lcz.mplstyle"))


@dataclass(frozen=True)
class Gallery:
    """The figures of one notebook: where they go, and what they have in common.

    Attributes:
        folder: of the files, made when missing.
        data: origin of the data, e.g. "synthetic", "LCZC-GES2", "own city"; "none" where no data are shown.
        seed: the run's seed.
        parameters: what the numbers depend on besides the seed (timings belong here, never among the numbers).
    """

    folder: str | Path
    data: str
    seed: int = 0
    parameters: dict = field(default_factory=dict)

    def add(
        self,
        fig: Figure,
        stem: str,
        numbers: dict,
        *,
        question: str,
        caption: str,
        alt: str,
        follows_from: str = "training",
        **parameters: object,
    ) -> Path:
        """Save a figure as `stem`.png (300 dpi), .pdf and .json, close it, and display the picture with its caption.

        Args:
            fig: stamped with its origin when the data are synthetic. The same input gives the same picture bytes.
            stem: notebook number first, e.g. "04_alpha".
            numbers: every number of the picture: nested dict, numpy and dataclasses allowed, NaN becomes null.
            question: the reader's question that the figure answers.
            caption: what is drawn, n, seeds, intervals; Markdown. alt: the picture in a sentence for who cannot see it.
            follows_from: "data" or "predictions" (the same numbers on every machine), or "training" (another processor
                trains slightly other networks): decides how `./run_all.sh --check` compares the numbers.
            parameters: of this figure, beside those of the gallery.

        Returns:
            Path of the PNG.
        """
        if follows_from not in FOLLOWS_FROM:
            raise ValueError(f"follows_from: {follows_from!r}; expected one of {', '.join(FOLLOWS_FROM)}")
        picture = write_picture(fig, stem, Path(self.folder), self.data)
        entry = {
            "figure": stem,
            "question": question,
            "caption": caption,
            "alt": alt,
            "data": self.data,
            "follows_from": follows_from,
            "parameters": to_jsonable(self.parameters | parameters),
            "seed": int(self.seed),
            "commit": commit(),
            **_machine(),
            "numbers": _rounded(to_jsonable(numbers)),
        }
        write_json(picture.with_suffix(".json"), entry)
        show(picture)
        return picture


def _machine() -> dict[str, object]:
    """What "the same numbers" of a training need besides the seed: processor, arithmetic, threads, versions."""
    import torch

    about = Path("/proc/cpuinfo")  # Linux; elsewhere what Python knows
    text = about.read_text(encoding="utf-8").split("\n\n")[0] if about.exists() else ""
    lines = (line.partition(":") for line in text.splitlines())
    facts = {name.strip(): value.strip() for name, _, value in lines}
    names = ("model name", "cpu family", "model", "stepping")
    return {
        "cpu": " ".join(f"{name} {facts[name]}" for name in names if name in facts) or platform.processor(),
        "instruction_set": instruction_set(),
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
    }


def _shrink(path: Path) -> None:
    """A PNG of photographs at half its resolution in 256 colours."""
    with Image.open(path) as picture:
        half = picture.convert("RGB").resize([length // 2 for length in picture.size], Image.Resampling.LANCZOS)
    half.quantize(256, dither=Image.Dither.NONE).save(path, format="png", optimize=True, dpi=(150, 150))


def write_picture(fig: Figure, stem: str, folder: Path, data: str) -> Path:
    """Write `stem`.png (300 dpi; 150 where large) and `stem`.pdf into `folder`, without dates; close the figure.

    Returns:
        Path of the PNG.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if data == "synthetic":
        stamp(fig, "synthetic data")
    for suffix in ("png", "pdf"):
        with atomic_path(folder / f"{stem}.{suffix}") as path:
            fig.savefig(path, format=suffix, dpi=DPI[suffix], metadata=_NO_DATES[suffix])
            if suffix == "png" and path.stat().st_size > LARGEST_PNG:
                _shrink(path)
    plt.close(fig)
    return folder / f"{stem}.png"


def show(picture: str | Path) -> None:
    """Display a saved figure in a notebook: the picture, its alt text and its caption, from the files."""
    from IPython.display import Image, Markdown, display

    entry = read_json(Path(picture).with_suffix(".json"))
    display(Image(str(picture), alt=entry["alt"]), Markdown(f"*{entry['figure']}.* {entry['caption']}"))


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
