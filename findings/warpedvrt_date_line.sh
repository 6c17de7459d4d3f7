#!/usr/bin/env bash
# WarpedVRT loses what lies beyond 180 degrees, reproject of the same file onto the same grid does not.
#
# Tool: rasterio 1.4.4 (its wheel carries GDAL 3.10.3).
# Behaviour: a GeoTIFF in EPSG:4326 from 179 to 181 degrees east is warped to a grid of UTM zone 60 S that it covers
#   wholly. `reproject` fills the grid; a WarpedVRT with the same CRS, transform and size holds only the part west
#   of 180 degrees. With longitudes counted from a prime meridian of 180 degrees both are complete.
# Why it surprises: both run GDAL's warper on the same arguments and differ by reading now or later. The missing
#   half is filled with the no-data value, without warning, as if the scene ended there.
# Seen on 2026-11-28, Python 3.11, Linux:
#   share of the grid filled by (reproject, WarpedVRT)
#     longitudes 179 to 181 from Greenwich: (1.0, 0.5)
#     longitudes -1 to 1 from 180 degrees: (1.0, 1.0)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q rasterio==1.4.4 numpy==2.3.5
"$folder/env/bin/python" - "$folder" <<'PY'
import sys

import numpy as np
import rasterio
from rasterio import Affine
from rasterio.vrt import WarpedVRT
from rasterio.warp import reproject

GRID = Affine(1000, 0, 720000, 0, -1000, 8200000)  # 200 km x 60 km around 180 degrees at 16.5 degrees south
SHAPE, NODATA = (60, 200), 0


def covered(crs, west):
    """Share of the grid that reproject and WarpedVRT fill from a raster of ones, two degrees wide."""
    path = f"{sys.argv[1]}/scene{west}.tif"
    place = Affine(0.01, 0, west, 0, -0.01, -16)
    with rasterio.open(
        path, "w", driver="GTiff", height=100, width=200, count=1, dtype="uint8", crs=crs, transform=place,
        nodata=NODATA,
    ) as file:
        file.write(np.ones((1, 100, 200), np.uint8))
    target = np.zeros(SHAPE, np.uint8)
    with rasterio.open(path) as file:
        reproject(rasterio.band(file, 1), target, dst_crs="EPSG:32760", dst_transform=GRID)
        with WarpedVRT(file, crs="EPSG:32760", transform=GRID, height=SHAPE[0], width=SHAPE[1]) as view:
            return round(float(target.mean()), 2), round(float(view.read(1).mean()), 2)


greenwich, date_line = covered("EPSG:4326", 179), covered("+proj=longlat +datum=WGS84 +pm=180", -1)
print("share of the grid filled by (reproject, WarpedVRT)")
print("  longitudes 179 to 181 from Greenwich:", greenwich)
print("  longitudes -1 to 1 from 180 degrees:", date_line)
if greenwich[0] != 1 or date_line != (1, 1):
    sys.exit("changed: reproject, or a scene counted from 180 degrees, is no longer complete")
if not 0.45 < greenwich[1] < 0.55:
    sys.exit("changed: WarpedVRT no longer stops at 180 degrees")
PY
