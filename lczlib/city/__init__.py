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

import lazy_loader

# imported when they are first used: `--help` needs none of them
_HOME = {"map": ["MapResult", "map_scene"], "output": ["write_copies"], "patches": ["cut_patches"]}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=_HOME)
