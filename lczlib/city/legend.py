"""The meaning of a raster's numbers, beside it for every reader: names, colours, styles, and an overlay for KMZ."""

import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image
from rasterio.crs import CRS

from lczlib.city.zone_raster import ZoneRaster
from lczlib.runs import atomic_path, write_text
from lczlib.zones import ZONES

COLORMAP = {0: (255, 255, 255, 0)} | {zone.label: (*bytes.fromhex(zone.color[1:]), 255) for zone in ZONES}
Entry = tuple[int, str, str, tuple[int, ...]]  # value, code, name, RGBA


def write_legend(
    path: Path, bands: dict[int, str], shown: int, recode: Callable = np.asarray, entries: Sequence[Entry] = ()
) -> None:
    """Beside the raster: `.aux.xml` (GDAL: names, attribute table, colours), `.qml` (QGIS) and `.clr` (ArcGIS, GRASS).

    Args:
        path: of the GeoTIFF. bands: those that hold zones, with their names. shown: the band that QGIS draws.
        recode: labels -> the raster's numbers. entries: other classes than the zones.
    """
    entries = entries or [
        (int(recode(np.array(z.label))), z.code, f"LCZ {z.code} {z.name}", COLORMAP[z.label]) for z in ZONES
    ]
    entries = sorted(entries)
    table = "".join(f"{value} {r} {g} {b}\n" for value, _, _, (r, g, b, _) in entries)
    write_text(path.with_name(f"{path.name}.aux.xml"), _aux_xml(bands, entries))
    write_text(path.with_suffix(".qml"), _qml(shown, entries))
    write_text(path.with_suffix(".clr"), table)


def _aux_xml(bands: dict[int, str], entries: Sequence[Entry]) -> str:
    """GDAL's sidecar: colour table and raster attribute table of each band; category names unless zones are 1..17.

    R's terra shows category names, else the table's second column, instead of the numbers: LCZ4r and lczexplore then
    find zones by number only if that column holds the numbers, under the band's name.
    """
    root, by_value = Element("PAMDataset"), {entry[0]: entry for entry in entries}
    for number, title in bands.items():
        band = SubElement(root, "PAMRasterBand", band=str(number))
        SubElement(band, "ColorInterp").text = "Palette"
        names, colors = Element("CategoryNames"), SubElement(band, "ColorTable")
        for value in range(entries[-1][0] + 1):
            _, _, name, color = by_value.get(value, (value, "", "", (255, 255, 255, 0)))
            SubElement(names, "Category").text = name
            SubElement(colors, "Entry", {f"c{i}": str(c) for i, c in enumerate(color, 1)})
        if [*by_value] != [zone.label for zone in ZONES]:
            band.append(names)
        table = SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
        fields = (("Value", 0, 5), (title, 0, 0), ("Code", 2, 0), ("Name", 2, 2), ("Red", 0, 6), ("Green", 0, 7),
                  ("Blue", 0, 8))  # fmt: skip
        for index, (name, kind, usage) in enumerate(fields):
            field = SubElement(table, "FieldDefn", index=str(index))
            for tag, text in (("Name", name), ("Type", kind), ("Usage", usage)):
                SubElement(field, tag).text = str(text)
        for index, (value, code, name, color) in enumerate(entries):
            row = SubElement(table, "Row", index=str(index))
            for text in (value, value, code, name, *color[:3]):
                SubElement(row, "F").text = str(text)
    indent(root)
    return tostring(root, encoding="unicode") + "\n"


def _qml(band: int, entries: Sequence[Entry]) -> str:
    """A QGIS style: QGIS takes it up by itself where it lies beside the raster under the same name."""
    rows = "\n".join(
        f'        <paletteEntry value="{value}" color="#{bytes(color[:3]).hex()}" alpha="255" label="{escape(name)}"/>'
        for value, _, name, color in entries
    )
    return f"""<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22.0" styleCategories="AllStyleCategories">
  <pipe>
    <rasterrenderer type="paletted" band="{band}" opacity="1" alphaBand="-1" nodataColor="">
      <rasterTransparency/>
      <colorPalette>
{rows}
      </colorPalette>
    </rasterrenderer>
    <brightnesscontrast brightness="0" contrast="0" gamma="1"/>
    <huesaturation saturation="0" grayscaleMode="0"/>
    <rasterresampler maxOversampling="2"/>
  </pipe>
  <blendMode>0</blendMode>
</qgis>
"""


def encode_png(image: np.ndarray) -> bytes:
    """PNG of (H, W, 3) or (H, W, 4) uint8."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def write_kmz(zones: ZoneRaster, folder: Path | None = None) -> Path:
    """The map for Google Earth, beside it or in a folder: zones in longitude and latitude, names and provenance."""
    with zones.view(**zones.grid(CRS.from_epsg(4326), longest=1600)) as view:
        labels, (west, south, east, north) = zones.read(view=view), view.bounds
    legend = "".join(f'<li><b style="color:{z.color}">&#9632;</b> LCZ {z.code} {z.name}</li>' for z in ZONES)
    facts = "".join(f"<li>{escape(f'{name}: {value}')}</li>" for name, value in zones.data.tags().items())
    text = f"""<?xml version="1.0" encoding="UTF-8"?>
<kml xmlns="http://www.opengis.net/kml/2.2"><Document><name>{escape(zones.path.stem)}</name>
<description><![CDATA[<ul>{legend}</ul><ul>{facts}</ul>]]></description>
<GroundOverlay><name>{zones.name}</name><Icon><href>zones.png</href></Icon><LatLonBox><north>{north}</north>
<south>{south}</south><east>{east}</east><west>{west}</west></LatLonBox></GroundOverlay></Document></kml>
"""
    path = (folder or zones.path.parent) / f"{zones.path.stem}.kmz"
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("doc.kml", text)
        archive.writestr("zones.png", encode_png(np.array(list(COLORMAP.values()), np.uint8)[labels]))
    return path
