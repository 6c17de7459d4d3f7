#!/usr/bin/env bash
# rasterio averages no-data into its neighbours where not all bands lack data.
#
# Tool: rasterio 1.4.4 (its wheel carries GDAL 3.10.3), rasterio.warp.reproject.
# Behaviour: with src_nodata=0 and several bands in one call, a pixel is left out only where ALL bands hold 0. A 0
#   in one band is averaged with its neighbours: 750 from three pixels of 1000. The same band warped by itself gives
#   1000, and so do both bands with the GDAL option UNIFIED_SRC_NODATA="NO", which the documentation of reproject
#   does not name.
# Why it surprises: the documentation says that pixels of this value are not used for interpolation, and a band's
#   result is not expected to depend on its companions. Sentinel-2 bands do not end at the same pixel, so that
#   values between 0 and the true one, which look like dark ground, line the edge of a scene.
# Seen on 2026-11-28, Python 3.11, Linux:
#   band 1 by itself: [1000, 1000, 1000, 1000]
#   band 1 together with band 2: [750, 1000, 1000, 1000]
#   the same, UNIFIED_SRC_NODATA=NO: [1000, 1000, 1000, 1000]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q rasterio==1.4.4 numpy==2.3.5
"$folder/env/bin/python" - <<'PY'
import sys

import numpy as np
from rasterio import Affine
from rasterio.warp import Resampling, reproject


def halved(bands, **options):
    """Values of the first band, (bands, 4, 4) at 10 m, averaged to 20 m."""
    target = np.zeros((len(bands), 2, 2), np.uint16)
    reproject(
        bands, target, src_crs="EPSG:32633", dst_crs="EPSG:32633", src_nodata=0, dst_nodata=0,
        src_transform=Affine(10, 0, 500000, 0, -10, 5000000), dst_transform=Affine(20, 0, 500000, 0, -20, 5000000),
        resampling=Resampling.average, **options,
    )  # fmt: skip
    return target[0].ravel().tolist()


scene = np.full((2, 4, 4), 1000, np.uint16)
scene[0, 0, 0] = 0  # no data in the first band only
single, both, mended = halved(scene[:1]), halved(scene), halved(scene, UNIFIED_SRC_NODATA="NO")
print("band 1 by itself:", single)
print("band 1 together with band 2:", both)
print("the same, UNIFIED_SRC_NODATA=NO:", mended)
if single != [1000] * 4 or mended != [1000] * 4:
    sys.exit("changed: no-data is not left out of a single band, or with the option")
if both != [750, 1000, 1000, 1000]:
    sys.exit("changed: no-data of one band is no longer averaged as a value")
PY
