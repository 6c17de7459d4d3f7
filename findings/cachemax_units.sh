#!/usr/bin/env bash
# GDAL_CACHEMAX=64 is 64 MB in the environment and 64 bytes in rasterio.Env, which switches the cache off without a word.
#
# Tools: rasterio 1.4.4 (its wheel carries GDAL 3.10.3).
# Behaviour: GDAL reads small numbers of this option as MB. rasterio.Env hands the number to GDALSetCacheMax, which takes
#   bytes. With 64 in the environment each of 4 blocks is fetched once; with 64 in Env it is fetched again in each of 4
#   turns, as without a cache.
#   Texts that the environment takes ("64", "5%") are a TypeError in Env.
# Why it surprises: rasterio.Env is documented as the place for GDAL's options, by their names; for every other option a
#   value means there what it means in the environment. Advice to set 200 or 512, meant for the environment, makes
#   reading by windows slower in Env, the more so the larger the blocks.
# Seen on 2026-11-29, Python 3.11, Linux (bytes fetched from a file of 0.48 MB by 64 windows, its 4 blocks in turn):
#   environment: 64: 0.48 MB, 0: 1.93 MB
#   rasterio.Env: 64: 1.93 MB, 64_000_000: 0.48 MB, "64": TypeError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q rasterio==1.4.4
cd "$folder"
cat > read.py <<'PY'
"""Megabytes fetched from the file while 64 windows are read: python read.py VALUE (of rasterio.Env; none: no Env)."""

import io
import os
import sys

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window


class Counted(io.FileIO):
    """A file that counts what is read from it."""

    fetched = 0

    def read(self, size=-1):
        data = super().read(size)
        Counted.fetched += len(data)
        return data


if not os.path.exists("a.tif"):
    profile = {"driver": "GTiff", "width": 1024, "height": 256, "count": 1, "dtype": "uint16", "compress": "deflate"}
    profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256, "crs": "EPSG:32633"}
    with rasterio.open("a.tif", "w", transform=Affine(10, 0, 500000, 0, -10, 5000000), **profile) as file:
        file.write(np.random.default_rng(0).integers(0, 9999, (256, 1024)).astype("uint16"), 1)
given = {"GDAL_CACHEMAX": eval(sys.argv[1], {})} if len(sys.argv) > 1 else {}
try:
    with rasterio.Env(**given), rasterio.open("a.tif", opener=lambda path, mode="rb": Counted(path, "r")) as file:
        for _ in range(4):
            for column in range(0, 1024, 64):
                file.read(1, window=Window(column, 0, 64, 64))
    print(f"{Counted.fetched / 1e6:.2f} MB")
except TypeError:
    print("TypeError")
PY
python="$folder/env/bin/python"
env -u GDAL_CACHEMAX "$python" read.py > /dev/null
seen="environment: 64: $(GDAL_CACHEMAX=64 "$python" read.py), 0: $(GDAL_CACHEMAX=0 "$python" read.py)
rasterio.Env: 64: $("$python" read.py 64), 64_000_000: $("$python" read.py 64_000_000), \"64\": $("$python" read.py '"64"')"
expected='environment: 64: 0.48 MB, 0: 1.93 MB
rasterio.Env: 64: 1.93 MB, 64_000_000: 0.48 MB, "64": TypeError'
echo "$seen"
if [[ "$seen" != "$expected" ]]; then
    echo "changed: expected"
    echo "$expected"
    exit 1
fi
