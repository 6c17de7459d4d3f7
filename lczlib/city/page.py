"""A map as one HTML page that needs nothing else, no network either: zones, probability, training areas, legend."""

import base64
import html
import json
import re
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
from rasterio.crs import CRS

from lczlib.city.legend import encode_png
from lczlib.city.polygons import read_polygons
from lczlib.city.zone_raster import ZoneRaster
from lczlib.errors import InputError
from lczlib.runs import write_text
from lczlib.zones import CODES, ZONES


def write_page(path: str | Path, areas: str | Path | None = None) -> Path:
    """Write `path` with the suffix .html; a click there tells zone and probability.

    Args:
        path: a map of `map_scene`, or any LCZ raster. areas: training areas to draw (`read_polygons`).

    Raises:
        FileNotFoundError, InputError: unreadable, or Leaflet's package is not installed.
    """
    zones, polygons = ZoneRaster(path), None
    if areas:
        polygons = read_polygons(areas)[0].to_crs("EPSG:4326")
        polygons["code"] = [CODES[label - 1] for label in polygons["label"]]
    data = {
        "title": f"Local Climate Zones: {Path(path).stem}",
        "zones": [asdict(zone) | {"km2": area} for zone, area in zip(ZONES, zones.areas(), strict=True)],
        "tags": {name: text for name, text in zones.data.tags().items() if name not in ("note", "AREA_OR_POINT")},
        "note": zones.data.tags().get("note", ""),
        "areas": json.loads(polygons[["code", "geometry"]].to_json()) if areas else None,
    } | _layers(zones)
    script, style = _leaflet()
    filled = {"LEAFLET_CSS": style, "LEAFLET_JS": script, "TITLE": html.escape(data["title"])}
    filled["DATA"] = json.dumps(data).replace("<", "\\u003c")
    page = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    page = re.sub("__([A-Z_]+)__", lambda place: filled[place[1]], page)
    return write_text(Path(path).with_suffix(".html"), page)


def _layers(zones: ZoneRaster) -> dict[str, object]:
    """Names of the layers, a PNG that holds one in each channel, and its bounds in Web Mercator."""
    bands = {"filtered zones" if zones.filtered else "zones": zones.band}
    if zones.filtered and len(zones.zone_bands) > 1:
        bands["zones before filtering"] = next(n for n in zones.zone_bands if n != zones.band)
    if zones.probability_band:
        bands["probability"] = zones.probability_band
    grid = zones.grid(CRS.from_epsg(3857), longest=1600)
    channels = np.zeros((grid["height"], grid["width"], 3), np.uint8)
    with zones.view(**grid) as view:
        for channel, (name, band) in enumerate(bands.items()):
            zones.use(band)
            channels[..., channel] = view.read(band) if name == "probability" else zones.read(view=view)
        bounds = tuple(view.bounds)
    image = base64.b64encode(encode_png(channels)).decode()
    return {"layers": list(bands), "image": image, "bounds": bounds}


def _leaflet() -> tuple[str, str]:
    """Script and style of Leaflet as xstatic-leaflet carries them, without references to other files."""
    try:
        package = distribution("xstatic-leaflet")
    except PackageNotFoundError:
        raise InputError("--html: Leaflet is not installed; pip install xstatic-leaflet") from None
    script, style = (
        Path(str(package.locate_file(f"xstatic/pkg/leaflet/data/leaflet.{kind}"))).read_text(encoding="utf-8")
        for kind in ("js", "css")
    )
    return re.sub(r"//# sourceMappingURL=.*", "", script), re.sub(r"url\([^)]*\)", "none", style)
