"""What every figure shares: one style, two widths, one way of saving (PNG, PDF and JSON of one stem)."""

import json
import platform
from dataclasses import dataclass, field
from importlib.resources import files
from io import BytesIO
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image, ImageChops

from lczlib.compute import instruction_set
from lczlib.runs import atomic_path, commit, to_jsonable, write_json

ONE_COLUMN = 3.5  # inches, one IEEE column
TWO_COLUMNS = 7.16  # inches, both columns
STREAM_COLORS = {"s2": "#0072B2", "ge": "#DE8A0A", "fused": "#2B2B2B", "forest": "#9467BD"}
STREAM_NAMES = {"s2": "Sentinel-2", "ge": "Google Earth", "fused": "fused", "forest": "random forest"}
FOLLOWS_FROM = ("data", "predictions", "training")
LARGEST_PNG = 250_000  # bytes of a PNG at 300 dpi; larger ones (photographs) are halved
_STRIP = 0.13  # inches kept free at the bottom for the origin stamp
_NO_DATES = {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None}


def use_style() -> None:
    """Makes matplotlib draw in the project's style (8 pt, constrained layout); figures appear when saved or shown."""
    plt.switch_backend(plt.get_backend())  # loaded now: a notebook's would turn interactive drawing on again
    plt.ioff()
    plt.style.use(["default", str(files("lczlib.figures") / "lcz.mplstyle")])


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
        """Save a figure as `stem`.png, .pdf and .json, close it, display it with its caption; returns the PNG's path.

        Args:
            fig: stamped when the data are synthetic. stem: notebook number first, e.g. "04_alpha".
            numbers: every number of the picture: nested dict, numpy and dataclasses allowed, NaN becomes null.
            question: of the reader, which the figure answers. caption: what is drawn, n, seeds, intervals; Markdown.
            alt: the picture in a sentence for who cannot see it.
            follows_from: "data" or "predictions" (the same numbers on every machine), or "training" (on another
                processor a network ends elsewhere, and finds other instance masks in one image of a thousand):
                decides how `./run_all.sh --check` compares the numbers.
            parameters: of this figure, beside those of the gallery.
        """
        from IPython import display

        if follows_from not in FOLLOWS_FROM:
            raise ValueError(f"follows_from: {follows_from!r}; expected one of {', '.join(FOLLOWS_FROM)}")
        picture = write_picture(fig, stem, Path(self.folder), self.data)
        text = json.dumps(to_jsonable(numbers))  # floats become six digits below: the last bits are noise
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
            "numbers": json.loads(text, parse_float=lambda number: float(f"{float(number):.6g}")),
        }
        write_json(picture.with_suffix(".json"), entry)
        display.display(display.Image(str(picture), alt=alt), display.Markdown(f"*{stem}.* {caption}"))
        return picture


def _machine() -> dict[str, object]:
    """What "the same numbers" of a training need besides the seed: processor, arithmetic, threads, versions."""
    import torch

    about = Path("/proc/cpuinfo")  # Linux; elsewhere what Python knows
    text = about.read_text(encoding="utf-8").split("\n\n")[0] if about.exists() else ""
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
    names = ("model name", "cpu family", "model", "stepping")
    return {
        "cpu": " ".join(f"{name} {facts[name]}" for name in names if name in facts) or platform.processor(),
        "instruction_set": instruction_set(),
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
    }


def write_picture(fig: Figure, stem: str, folder: Path, data: str, pdf: bool = True) -> Path:
    """Write `stem`.png (300 dpi; 150 where large) and `stem`.pdf into `folder`, without dates; close the figure.

    All colours come from palettes of 256, of the whole PNG and of each photograph in the PDF: a third of the bytes.
    Returns the PNG's path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if data == "synthetic":  # said small at the lower right, in a strip that the layout leaves free
        share = _STRIP / fig.get_figheight()
        fig.get_layout_engine().set(rect=(0, share, 1, 1 - share))
        style = {"ha": "right", "va": "bottom", "fontsize": 7, "color": "#777777", "style": "italic"}
        fig.text(0.995, 0.004, "synthetic data", **style)
    with atomic_path(folder / f"{stem}.png") as path:
        fig.set_dpi(300)
        fig.savefig(raw := BytesIO(), format="rgba", dpi=300)  # written once below, as PNG
        drawn = Image.frombuffer("RGBA", fig.canvas.get_width_height(), raw.getbuffer()).convert("RGB")
        _few_colors(drawn).save(path, format="png", optimize=True, dpi=(300, 300))
        if path.stat().st_size > LARGEST_PNG:
            half = drawn.resize([length // 2 for length in drawn.size], Image.Resampling.LANCZOS)
            _few_colors(half).save(path, format="png", optimize=True, dpi=(150, 150))
    for photograph in fig.findobj(lambda artist: isinstance(artist, AxesImage) and artist.get_array().ndim == 3):
        rgb = photograph.to_rgba(photograph.get_array(), bytes=True)[..., :3]
        photograph.set_data(np.asarray(_few_colors(Image.fromarray(rgb)).convert("RGB")))
    fig.set_layout_engine("none")  # the PDF is laid out as the PNG is: a sixth of the time of saving
    if pdf:
        with atomic_path(folder / f"{stem}.pdf") as path:
            fig.savefig(path, format="pdf", dpi=110, metadata=_NO_DATES)
    plt.close(fig)
    return folder / f"{stem}.png"


def _few_colors(picture: Image.Image) -> Image.Image:
    """With 256 colours; as it is where they would alter what colours say (those of zones in a large colour scale)."""
    few = picture.quantize(256, dither=Image.Dither.NONE)
    off = ImageChops.difference(few.convert("RGB"), picture)
    return picture if (np.asarray(off).max(axis=-1) > 40).mean() > 0.002 else few
