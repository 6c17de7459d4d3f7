#!/usr/bin/env bash
# Whether GDAL masks by an alpha band depends on how many bands the file has.
#
# Tool: rasterio 1.4.4 (its wheel carries GDAL 3.10.3), GeoTIFF driver.
# Behaviour: four unnamed 8-bit bands are written as red, green, blue and ALPHA. The fourth band, say infrared, then
#   is the mask of the others: masked reading drops every pixel whose infrared is 0. Five bands whose last is tagged
#   alpha on purpose are read back with that tag, yet every pixel counts as valid.
# Why it surprises: nobody asked for alpha in the first file, and in the second the tag is there and is not used.
#   One expects the tag, not the number of bands, to decide; water has infrared near 0 and disappears without a
#   message.
# Seen on 2026-11-28, Python 3.11, Linux:
#   4 bands, no tags given: ['red', 'green', 'blue', 'alpha'] 12
#   5 bands, last tagged alpha: ['red', 'green', 'blue', 'undefined', 'alpha'] 16
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q rasterio==1.4.4 numpy==2.3.5
"$folder/env/bin/python" - "$folder" <<'PY'
import sys

import numpy as np
import rasterio
from rasterio.enums import ColorInterp

RED, GREEN, BLUE, UNDEFINED, ALPHA = (ColorInterp[n] for n in ("red", "green", "blue", "undefined", "alpha"))


def valid_pixels(bands, tags=None):
    """Write (bands, 4, 4) bytes; colour names as read back, and how many of 16 pixels the file's mask keeps."""
    path = f"{sys.argv[1]}/{len(bands)}.tif"
    place = rasterio.Affine(10, 0, 500000, 0, -10, 5000000)
    with rasterio.open(
        path, "w", driver="GTiff", height=4, width=4, count=len(bands), dtype="uint8", crs="EPSG:32633", transform=place
    ) as file:
        if tags:
            file.colorinterp = tags
        file.write(bands)
    with rasterio.open(path) as file:
        return [color.name for color in file.colorinterp], int((file.dataset_mask() > 0).sum())


image = np.full((4, 4, 4), 90, np.uint8)
image[3, 0] = 0  # a row of water: no infrared
four = valid_pixels(image)
opacity = np.full((1, 4, 4), 255, np.uint8)
opacity[0, :2] = 0  # two rows are transparent
five = valid_pixels(np.concatenate([image, opacity]), [RED, GREEN, BLUE, UNDEFINED, ALPHA])
print("4 bands, no tags given:", *four)
print("5 bands, last tagged alpha:", *five)
if four != (["red", "green", "blue", "alpha"], 12):
    sys.exit("changed: four 8-bit bands no longer become RGB and a mask")
if five != (["red", "green", "blue", "undefined", "alpha"], 16):
    sys.exit("changed: an alpha band of five is lost, or now masks")
PY
