#!/usr/bin/env bash
# One pixel of LCZ E stops cityblocks, whose list of heights has LCZ E.
#
# Tool: cityblocks 0.0.2.
# Behaviour: it reads LCZ in WRF's numbers and puts a tile of buildings on each pixel above 50. LCZ E is 61: it has a
#   height in LCZ_HEIGHTS but no tile in LCZ_MULTIPOLYGONS, and the look-up of its tile ends in an AttributeError.
# Why it surprises: every city with a large car park, a quay or an airport has LCZ E, and the message ("'NoneType' object
#   has no attribute 'centroid'") names neither the class nor the pixel.
# Seen on 2026-11-28, Python 3.11, Linux:
#   51 and 60: 2 tiles
#   51, 60 and 61: AttributeError: 'NoneType' object has no attribute 'centroid'
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q cityblocks==0.0.2 numpy==2.4.6 geopandas==1.2.0 rasterio==1.4.4
"$folder/env/bin/python" - <<'PY'
import sys

import geopandas as gpd
from cityblocks._core import substitute_tiles


def pixels(zones):
    points = gpd.points_from_xy([13.3 + n / 1000 for n in range(len(zones))], [52.5] * len(zones))
    return gpd.GeoDataFrame({"LCZ": zones}, geometry=points, crs="EPSG:4326")


print("51 and 60:", len(substitute_tiles(pixels([51, 60]))), "tiles")
try:
    substitute_tiles(pixels([51, 60, 61]))
except AttributeError as fault:
    print("51, 60 and 61: AttributeError:", fault)
else:
    sys.exit("changed: LCZ E has a tile")
PY
