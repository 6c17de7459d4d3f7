#!/usr/bin/env bash
# A second KML folder of the same name becomes a layer of another name.
#
# Tool: pyogrio 0.13.0 (its wheel carries GDAL 3.12.4), LIBKML driver.
# Behaviour: each Folder is a layer. Of three folders named "2" the layers are "2", "2 (#2)" and "2 (#3)"; the file
#   holds only "2". Reading the layer "2" gives the polygons of the first folder.
# Why it surprises: training areas of Local Climate Zones keep one folder per class, and the folder's name is the
#   class. Whoever draws in two sittings has a class twice. Asking for the layer "2" then silently gives a part of
#   it, and a class taken from the layer's name, "2 (#2)", is no class.
# Seen on 2026-11-28, Python 3.11, Linux:
#   folders in the file: ['2', '2', '11', '2']
#   layers: ['2', '2 (#2)', '11', '2 (#3)']
#   polygons in layer '2': 1 of 3
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q pyogrio==0.13.0 numpy==2.3.5
"$folder/env/bin/python" - "$folder" <<'PY'
import sys
from pathlib import Path

import pyogrio.raw


def kml_folder(name, west):
    ring = " ".join(f"{west + x},{y}" for x, y in ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0)))
    ring = f"<outerBoundaryIs><LinearRing><coordinates>{ring}</coordinates></LinearRing></outerBoundaryIs>"
    return f"<Folder><name>{name}</name><Placemark><Polygon>{ring}</Polygon></Placemark></Folder>"


path = Path(sys.argv[1]) / "areas.kml"
folders = [kml_folder(name, 2 * n) for n, name in enumerate(("2", "2", "11", "2"))]
text = f'<kml xmlns="http://www.opengis.net/kml/2.2"><Document>{"".join(folders)}</Document></kml>'
path.write_text(f'<?xml version="1.0" encoding="UTF-8"?>{text}', encoding="utf-8")

layers = pyogrio.list_layers(path)[:, 0].tolist()
found = len(pyogrio.raw.read(path, layer="2")[2])
print("folders in the file: ['2', '2', '11', '2']")
print("layers:", layers)
print("polygons in layer '2':", found, "of 3")
if layers != ["2", "2 (#2)", "11", "2 (#3)"]:
    sys.exit("changed: folders of one name give other layers")
if found != 1:
    sys.exit("changed: the layer '2' no longer is the first folder only")
PY
