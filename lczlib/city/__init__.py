"""One's own city: rasters and polygons as people have them -> pairs; trained runs -> a map and its comparison.

rasters    Sentinel-2 and RGB GeoTIFFs, whatever their bands, values and no-data
polygons   labelled areas of KML, GeoJSON, shapefile, GeoPackage
patches    pairs cut from both
windows    where a map's windows lie; map: chunks, resumed; output: GeoTIFF and companions; compare; plot
"""

from lczlib.city.map import MapResult, map_scene
from lczlib.city.output import copies as write_copies
from lczlib.city.patches import cut_patches
from lczlib.city.streams import RunStream

__all__ = ["MapResult", "RunStream", "cut_patches", "map_scene", "write_copies"]
