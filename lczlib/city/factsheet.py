"""The factsheet of an assessment: a page that needs nothing else, a PDF of that page, and the numbers as JSON.

Texts and order are those of the template `factsheet.html`; the PDF is set from the finished page.
"""

import base64
import io
import tempfile
import textwrap
from collections.abc import Iterator
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
A4, MARGIN, WIDTH = (8.27, 11.69), 0.6, 7.07  # inches; width of the text


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
    """Write factsheet.html, .pdf and .json of the numbers of `assess`, and the KMZ of a map; returns their paths."""
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


SIZES = {"h1": 15, "h2": 10.5, "message": 10.5, "p": 9, "li": 8, "figcaption": 7.5, "facts": 7.5}  # points
ROOM = {"h2": 3.3, "img": 0.6}  # inches kept free below: a heading stays with what follows, a picture with its caption


def _lines(page: str) -> Iterator[tuple[str, str | np.ndarray, dict]]:
    """Each line of text and each picture of a page: tag, content, style."""
    root = ElementTree.fromstring(page.partition("\n")[2])  # without the doctype
    for element in root.find("body/main").iter():
        text = " ".join("".join(element.itertext()).split())
        if element.tag == "table":
            rows = [["".join(cell.itertext()) for cell in row] for row in element.iter("tr")]
            widths = [max(map(len, column)) + 2 for column in zip(*rows)]
            size = min(7, 72 * WIDTH / (0.602 * sum(widths)))  # a letter is 0.602 times as wide as high
            for number, row in enumerate(rows):
                style = {"size": size, "family": "monospace", "weight": "normal" if number else "bold"}
                yield "td", "".join(map(str.ljust, row, widths)), style
        elif element.tag == "img":
            yield "", "", {"size": 6}  # a gap
            yield "img", plt.imread(io.BytesIO(base64.b64decode(element.get("src").partition(",")[2]))), {}
        elif size := SIZES.get(element.get("class"), SIZES.get(element.tag)):
            mark = "\N{BULLET} " if element.tag == "li" else ""
            style = {"size": size, "weight": "bold" if element.tag in ("h1", "h2") else "normal"}
            yield "", "", {"size": size if element.tag == "h2" else 3}  # a gap
            for line in textwrap.wrap(mark + text, int(72 * WIDTH / (0.56 * size))):
                yield element.tag, line, style


def write_pdf(path: Path, page: str) -> Path:
    """A page of headings, paragraphs, lists, tables and PNGs (well-formed HTML with a `main`) on sheets of A4."""
    with atomic_path(path) as temporary, PdfPages(temporary, metadata={"CreationDate": None, "ModDate": None}) as pdf:
        sheet, y = plt.figure(figsize=A4, layout="none"), A4[1] - MARGIN  # inches from below
        for tag, content, style in _lines(page):
            height = WIDTH * content.shape[0] / content.shape[1] if tag == "img" else 1.5 * style["size"] / 72
            if y - height - ROOM.get(tag, 0) < MARGIN:
                pdf.savefig(sheet)
                plt.close(sheet)
                sheet, y = plt.figure(figsize=A4, layout="none"), A4[1] - MARGIN
            y -= height
            if tag == "img":
                axes = sheet.add_axes((MARGIN / A4[0], y / A4[1], WIDTH / A4[0], height / A4[1]))
                axes.imshow(content, interpolation="none")
                axes.axis("off")
            else:
                sheet.text(MARGIN / A4[0], y / A4[1], content, **style)
        pdf.savefig(sheet)
        plt.close(sheet)
    return path
