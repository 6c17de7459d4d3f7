#!/usr/bin/env bash
# A slice of a GeoBox that reaches beyond its edge is not cut there: the grid grows.
#
# Tool: odc-geo 0.5.3.
# Behaviour: `geobox[rows, columns]` of a grid of 46 x 56 with 0:1024 gives a grid of 1024 x 1024, whereas every array of
#   that shape, and the one loaded for it, is cut at 46 x 56. Negative steps back from the end are counted as in NumPy.
# Why it surprises: the slice is written as that of an array, and tiles are cut by it. The last tile of every row and
#   column is then loaded far outside of the scene, and no longer fits the window that it is written to.
# Seen on 2026-11-28, Python 3.11, Linux:
#   array: (46, 56)
#   GeoBox: (1024, 1024)
#   from the end: (5, 5)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q odc-geo==0.5.3 numpy==2.3.5
"$folder/env/bin/python" <<'PY'
import sys

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

grid = GeoBox((46, 56), Affine(10, 0, 500000, 0, -10, 5000000), "EPSG:32633")
array = np.zeros((46, 56))[0:1024, 0:1024].shape
sliced, end = tuple(grid[0:1024, 0:1024].shape), tuple(grid[-5:, -5:].shape)
print("array:", array)
print("GeoBox:", sliced)
print("from the end:", end)
if sliced != (1024, 1024) or end != (5, 5):
    sys.exit("changed: the slice of a GeoBox is cut at its edge, or no longer counted from its end")
PY
