#!/usr/bin/env bash
# The data of a KMZ's placemarks are gone where GDAL opens the archive, and there where it opens the KML inside.
#
# Tool: pyogrio 0.13.0 (its wheel carries GDAL 3.12.4), LIBKML driver.
# Behaviour: a placemark carries <SchemaData> of a <Schema>. areas.kml has the field LCZ; areas.kmz, which holds the
#   same areas.kml, has not; /vsizip/areas.kmz/areas.kml has it again.
# Why it surprises: a KMZ is a zipped KML and is expected to give the same table. Training areas whose class stands in
#   such data come without it, and a name such as "A" of a placemark may be taken for the class.
# Seen on 2026-11-28, Python 3.11, Linux:
#   areas.kml: LCZ in its fields: True
#   areas.kmz: LCZ in its fields: False
#   /vsizip/areas.kmz/areas.kml: LCZ in its fields: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q pyogrio==0.13.0 numpy==2.3.5
"$folder/env/bin/python" - "$folder" <<'PY'
import sys
import zipfile
from pathlib import Path

import pyogrio

ring = " ".join(f"{x},{y}" for x, y in ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0)))
shape = f"<Polygon><outerBoundaryIs><LinearRing><coordinates>{ring}</coordinates></LinearRing></outerBoundaryIs></Polygon>"
data = '<ExtendedData><SchemaData schemaUrl="#s"><SimpleData name="LCZ">5</SimpleData></SchemaData></ExtendedData>'
schema = '<Schema name="s" id="s"><SimpleField name="LCZ" type="int"/></Schema>'
place = f"<Folder><name>areas</name><Placemark><name>A</name>{data}{shape}</Placemark></Folder>"
text = f'<kml xmlns="http://www.opengis.net/kml/2.2"><Document>{schema}{place}</Document></kml>'
folder = Path(sys.argv[1])
(folder / "areas.kml").write_text(text, encoding="utf-8")
with zipfile.ZipFile(folder / "areas.kmz", "w") as archive:
    archive.writestr("areas.kml", text)

seen = {}
for name, path in (("areas.kml", f"{folder}/areas.kml"), ("areas.kmz", f"{folder}/areas.kmz"),
                   ("/vsizip/areas.kmz/areas.kml", f"/vsizip/{folder}/areas.kmz/areas.kml")):
    seen[name] = "LCZ" in pyogrio.read_info(path)["fields"].tolist()
    print(f"{name}: LCZ in its fields: {seen[name]}")
if list(seen.values()) != [True, False, True]:
    sys.exit("changed: the three no longer differ in this way")
PY
