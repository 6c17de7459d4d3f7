"""The factsheet of an assessment: a page that needs nothing else, a PDF of that page, and the numbers as JSON.

Texts and order are those of the template `factsheet.html`; the PDF is set from the finished page.
"""

from __future__ import annotations

import base64
import io
import tempfile
import textwrap
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.backends.backend_pdf import PdfPages

from lczlib import __version__, zones
from lczlib.city.assess import MEASURES
from lczlib.city.legend import write_kmz
from lczlib.city.plot import plot_map
from lczlib.city.zone_raster import ZoneRaster
from lczlib.figures.base import use_style, write_picture
from lczlib.figures.evaluation import average_matrices, resample_boxes
from lczlib.metrics import Interval, f1
from lczlib.runs import atomic_path, write_json, write_text

NAMES = {"forest": "random forest", "s2": "Sentinel-2 stream", "ge": "RGB stream", "fused": "both streams fused"}
SHORT = {"forest": "forest", "s2": "Sentinel-2", "ge": "RGB", "fused": "fused"}
A4, MARGIN = (8.27, 11.69), 0.6  # inches


def message(numbers: dict) -> list[str]:
    """What the sheet says first: the best of the streams against the forest, and how many areas are suspicious."""
    design, methods = numbers["design"], numbers["methods"]
    right = {name: f"{100 * found['OA']['value']:.0f} %" for name, found in methods.items()}
    best = next(name for name in ("fused", "s2", "ge", "forest") if name in methods)
    if best == "forest":
        low, high = (f"{100 * methods['forest']['OA'][end]:.0f}" for end in ("low", "high"))
        first = f"The random forest finds the zone of {right['forest']} of the pairs of training areas that it was not"
        first += f" trained on (95 % interval {low} to {high} %)."
    else:
        gain = numbers["differences"][f"{best} - forest"]["OA"]
        value, low, high = (f"{100 * v:+.1f}" for v in gain)
        stream = "both streams fused are" if best == "fused" else f"the {NAMES[best]} is"
        told = {
            "better": f"{stream} better",
            "worse": "the forest is better",
            "undecided": "which is better is undecided",
        }
        first = (
            f"On {design['areas_compared']} held-out training areas, which no method was trained on when tested, "
            f"{stream} right in {right[best]} of the pairs and the random forest in {right['forest']}: a difference of "
            f"{value} points (95 % interval {low} to {high}); {told[verdict(gain)]}."
        )
    suspects = len(numbers["suspicious"])
    looks = "looks" if suspects == 1 else "look"
    lines = [first, f"{suspects or 'None'} of the {design['areas']} training areas {looks} clearly like another zone."]
    return lines + ["Synthetic pairs: nothing here is about a real city."] * (numbers["data"]["kind"] == "synthetic")


def verdict(gain: Interval) -> str:
    """What a difference says: "better", "worse", or "undecided" where its interval holds 0 or does not exist."""
    return "undecided" if not gain.excludes_zero else "better" if gain.value > 0 else "worse"


def span(found: dict) -> str:
    """A measure in per cent with its interval, as a cell."""
    value, low, high = (found[key] for key in ("value", "low", "high"))
    if not np.isfinite(value):
        return "not tested"
    return f"{100 * value:.1f}" + (f" [{100 * low:.0f}, {100 * high:.0f}]" if np.isfinite(low) else "")


def render(numbers: dict, pictures: dict[str, str], raster: ZoneRaster | None = None) -> str:
    """The page: numbers of `assess`, PNGs in base64 ("boxes", "matrices", "map"), and the map they show."""
    found = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)
    found.filters |= {"span": span, "verdict": verdict}
    return found.get_template("factsheet.html").render(
        **numbers,
        message=message(numbers),
        measures=list(MEASURES),
        pictures=pictures,
        names=NAMES,
        short=SHORT,
        zone_names=dict(zip(zones.CODES, zones.NAMES)),
        version=__version__,
        f1={name: dict(zip(zones.CODES, f1(found["matrix"]))) for name, found in numbers["methods"].items()},
        map={"file": raster.path.name, "band": raster.name, **raster.data.tags()} if raster else None,
    )


def write_factsheet(folder: str | Path, numbers: dict, map: str | Path | None = None) -> list[Path]:
    """Write factsheet.html, .pdf and .json into a folder, and the map's KMZ; returns their paths.

    Args:
        numbers: of `assess`. map: a map of `map_scene` or any LCZ raster.
    """
    folder, methods, raster = Path(folder), numbers["methods"], ZoneRaster(map) if map else None
    matrices = {name: found["matrix"] for name, found in methods.items()}
    title = "{resamples} resamples, {pairs_compared} pairs of {areas_compared} areas in all".format(**numbers["design"])
    with plt.rc_context(), tempfile.TemporaryDirectory() as scratch:
        use_style()
        drawn = {
            "boxes": resample_boxes(methods, MEASURES, NAMES, f"Accuracy in each of {title}"),
            "matrices": average_matrices(matrices, NAMES, "Zones found, per cent of each zone: mean of the resamples"),
        } | ({"map": plot_map(raster.path)} if raster else {})
        pictures = {}
        for stem, fig in drawn.items():
            png = write_picture(fig, stem, Path(scratch), numbers["data"]["kind"], pdf=False)
            pictures[stem] = base64.b64encode(png.read_bytes()).decode()
        page = render(numbers, pictures, raster)
        made = [write_text(folder / "factsheet.html", page), write_pdf(folder / "factsheet.pdf", page)]
    made.append(write_json(folder / "factsheet.json", numbers))
    return [*made, write_kmz(raster, folder)] if raster else made


def write_pdf(path: Path, page: str) -> Path:
    """A page of headings, paragraphs, lists, tables and PNGs (well-formed HTML with a `main`) on sheets of A4."""
    root = ElementTree.fromstring(page.partition("\n")[2])  # without the doctype
    with atomic_path(path) as temporary, PdfPages(temporary, metadata={"CreationDate": None, "ModDate": None}) as pdf:
        sheets = _Sheets(pdf)
        for element in root.find("body/main").iter():
            text = " ".join("".join(element.itertext()).split())
            if element.tag == "table":
                sheets.table([["".join(cell.itertext()) for cell in row] for row in element.iter("tr")])
            elif element.tag == "img":
                sheets.picture(base64.b64decode(element.get("src").partition(",")[2]))
            elif size := SIZES.get(element.get("class"), SIZES.get(element.tag)):
                sheets.text(text, size, element.tag)
        sheets.close()
    return path


SIZES = {"h1": 15, "h2": 10.5, "message": 10.5, "p": 9, "li": 8, "figcaption": 7.5, "facts": 7.5}  # points


class _Sheets:
    """Sheets of A4, filled from top to bottom; `y` is how far up, in inches."""

    def __init__(self, pdf: PdfPages):
        self.pdf, self.sheet, self.y = pdf, None, 0.0

    def _down(self, inches: float) -> None:
        """Move down, to a new sheet where this one is full."""
        if self.sheet is None or self.y - inches < MARGIN:
            self.close()
            self.sheet, self.y = plt.figure(figsize=A4, layout="none"), A4[1] - MARGIN
        self.y -= inches

    def close(self) -> None:
        """Write the sheet."""
        if self.sheet:
            self.pdf.savefig(self.sheet)
            plt.close(self.sheet)

    def _put(self, inches: float, text: str, size: float, bold: bool = False) -> None:
        weight = "bold" if bold else "normal"
        self.sheet.text((MARGIN + inches) / A4[0], self.y / A4[1], text, size=size, weight=weight)

    def text(self, text: str, size: float, tag: str) -> None:
        """A paragraph; a heading stays with what follows."""
        if tag == "h2":
            self._down(3.5)
            self.y += 3.3
        mark = "\N{BULLET} " if tag == "li" else ""
        for line in textwrap.wrap(mark + text, int(72 * (A4[0] - 2 * MARGIN) / (0.56 * size))):
            self._down(1.4 * size / 72)
            self._put(0, line, size, tag[0] == "h")
        self.y -= 0.06

    def table(self, rows: list[list[str]]) -> None:
        """Columns as wide as their longest cells, the first row bold."""
        widths = [max(map(len, column)) + 3 for column in zip(*rows)]
        size = min(7.5, 72 * (A4[0] - 2 * MARGIN) / (0.56 * sum(widths)))
        places = np.cumsum([0, *widths]) * 0.56 * size / 72
        for number, row in enumerate(rows):
            self._down(1.7 * size / 72)
            for place, cell in zip(places, row):
                self._put(place, cell, size, number == 0)
        self.y -= 0.1

    def picture(self, png: bytes) -> None:
        """A PNG over the whole width, with room for its caption."""
        image, width = plt.imread(io.BytesIO(png)), A4[0] - 2 * MARGIN
        height = width * image.shape[0] / image.shape[1]
        self._down(height + 0.6)
        self.y += 0.6
        axes = self.sheet.add_axes((MARGIN / A4[0], self.y / A4[1], width / A4[0], height / A4[1]))
        axes.imshow(image, interpolation="none")
        axes.axis("off")
