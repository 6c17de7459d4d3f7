#!/usr/bin/env bash
# The same STAC item is reflectance in one reader and bare numbers in the other.
#
# Tools: odc-stac 0.5.3, stackstac 0.5.1, pystac 1.14.1.
# Behaviour: an item whose `raster:bands` give scale 0.0001 and offset -0.1, as those of Sentinel-2 since processing
#   baseline 04.00 do. stackstac.stack applies both by default; odc.stac.load applies neither and says nothing of it,
#   though it reads data type and no data from the very same entry.
# Why it surprises: both are the usual ways from a STAC search to an array, and their results are compared and mixed.
#   Whoever changes from one to the other gets values 10,000 times as large and shifted by 1,000, in every band.
# Seen on 2026-11-28, Python 3.11, Linux:
#   stackstac: 0.2
#   odc-stac: 3000, data type and no data of the item: uint16 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q odc-stac==0.5.3 stackstac==0.5.1 pystac==1.14.1 numpy==2.3.5 rasterio==1.4.4 \
    setuptools==80.9.0
"$folder/env/bin/python" - "$folder" <<'PY'
import sys
import warnings
from datetime import datetime, timezone

import numpy as np
import pystac
import rasterio

warnings.filterwarnings("ignore")
import odc.stac
import stackstac

path = f"{sys.argv[1]}/red.tif"
place = rasterio.Affine(10, 0, 500000, 0, -10, 5000000)
with rasterio.open(
    path, "w", driver="GTiff", height=32, width=32, count=1, dtype="uint16", crs="EPSG:32633", transform=place, nodata=0
) as file:
    file.write(np.full((1, 32, 32), 3000, np.uint16))
    west, south, east, north = rasterio.warp.transform_bounds(file.crs, "EPSG:4326", *file.bounds)
ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
item = pystac.Item("one", {"type": "Polygon", "coordinates": [ring]}, [west, south, east, north],
                   datetime(2023, 6, 1, tzinfo=timezone.utc), {"proj:epsg": 32633})
item.stac_extensions = ["https://stac-extensions.github.io/projection/v1.1.0/schema.json",
                        "https://stac-extensions.github.io/raster/v1.1.0/schema.json"]
bands = [{"data_type": "uint16", "nodata": 0, "scale": 0.0001, "offset": -0.1}]
facts = {"raster:bands": bands, "proj:shape": [32, 32], "proj:transform": list(place)[:6]}
item.add_asset("red", pystac.Asset(path, media_type=pystac.MediaType.COG, roles=["data"], extra_fields=facts))

stacked = stackstac.stack([item], epsg=32633, resolution=10, fill_value=np.nan)
first = round(float(stacked.values[0, 0, 16, 16]), 6)
loaded = odc.stac.load([item], bands=["red"], crs="EPSG:32633", resolution=10)["red"]
second = loaded.values[0, 16, 16]
known = f"{loaded.dtype} {loaded.attrs.get('nodata', loaded.odc.nodata):g}"
print("stackstac:", first)
print("odc-stac:", f"{second}, data type and no data of the item:", known)
if first != 0.2:
    sys.exit("changed: stackstac no longer applies scale and offset by default")
if second != 3000 or known != "uint16 0":
    sys.exit("changed: odc-stac applies scale and offset, or reads no data type any more")
PY
