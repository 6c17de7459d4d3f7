"""One's own city: rasters and polygons as people have them -> pairs; trained runs -> a map and its comparison.

rasters    Sentinel-2 and RGB GeoTIFFs, whatever their bands, values and no-data
polygons   labelled areas of KML, GeoJSON, shapefile, GeoPackage
patches    pairs cut from both
windows    one window of 320 m for each pixel of a map, and the zones that the streams find there
map        a map in chunks, resumed; output: GeoTIFFs and copies; legend: names and colours beside them; plot
compare    with another map, with polygons, at points; zone_raster: any LCZ raster as labels
cli        the options of the commands
"""

from lczlib.city.map import MapResult, map_scene
from lczlib.city.output import write_copies
from lczlib.city.patches import cut_patches
from lczlib.city.streams import RunStream

__all__ = ["MapResult", "RunStream", "cut_patches", "map_scene", "write_copies"]
