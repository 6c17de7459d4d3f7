#!/usr/bin/env bash
# A shapely function of an empty GeoSeries gives geometries, not numbers.
#
# Tools: geopandas 1.2.0, shapely 2.2.0.
# Behaviour: shapely.area(GeoSeries) is a Series of float64, but of a GeoSeries without rows a GeoSeries of geometries,
#   so that `shapely.area(...) > 0` raises a TypeError. The attribute `.area` is float64 in both cases.
# Why it surprises: a table of areas is filtered, then measured; the code works until a filter leaves nothing.
# Seen on 2026-11-28, Python 3.11, Linux:
#   1 row:  shapely.area -> Series float64, .area -> float64
#   0 rows: shapely.area -> GeoSeries geometry, .area -> float64
#   0 rows: shapely.area(...) > 0 -> TypeError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check geopandas==1.2.0 shapely==2.2.0 numpy==2.3.5
"$folder/env/bin/python" - <<'PYTHON'
import sys

import geopandas
import shapely

one = geopandas.GeoSeries([shapely.box(0, 0, 2, 3)])
none = one[one.area > 100]
found = []
for name, rows in (("1 row: ", one), ("0 rows:", none)):
    areas = shapely.area(rows)
    found.append((type(areas).__name__, str(areas.dtype), str(rows.area.dtype)))
    print(f"{name} shapely.area -> {found[-1][0]} {found[-1][1]}, .area -> {found[-1][2]}")
try:
    shapely.area(none) > 0
    fails = "nothing"
except TypeError as fault:
    fails = type(fault).__name__
print("0 rows: shapely.area(...) > 0 ->", fails)
expected = [("Series", "float64", "float64"), ("GeoSeries", "geometry", "float64")]
if found != expected or fails != "TypeError":
    sys.exit("changed: this is no longer as described")
PYTHON
