"""One's own city: rasters and polygons as people have them -> pairs; trained runs -> a map and its comparison.

source     a raster file on the ground; bands: which band is which, by names, contents and physics
scene      a Sentinel-2 scene of a place, from a STAC catalogue
rasters    Sentinel-2 and RGB GeoTIFFs, whatever their bands, values and no-data
polygons   labelled areas of KML, GeoJSON, shapefile, GeoPackage
patches    pairs cut from both
windows    one window of 320 m for each pixel of a map, and the zones that the streams find there
map        the streams of a map, and the map in chunks, resumed; output: GeoTIFFs and copies; legend: names and colours
           beside them; page: a page for a browser; plot
assess     runs beside a random forest on held-out training areas; factsheet: as a page and a PDF
compare    with another map, with polygons, at points; zone_raster: any LCZ raster as labels
cli        the options of the commands
"""

import importlib

_HOME = {"MapResult": "map", "map_scene": "map", "write_copies": "output", "cut_patches": "patches"}
__all__ = ["MapResult", "cut_patches", "map_scene", "write_copies"]


def __getattr__(name: str) -> object:
    """These names, imported when they are first used: `--help` needs none of them."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
