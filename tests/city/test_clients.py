"""Other people's programs read our maps: w2w 0.6.0 and LCZ4py 0.1.0, in an environment of their own.

LCZ_CLIENTS=/path/to/its/python pytest tests/city/test_clients.py   (pip install w2w==0.6.0 LCZ4py==0.1.0 there)
"""

import json
import os
import subprocess

import pytest
import rasterio
from rasterio.vrt import WarpedVRT

from lczlib.city import write_copies
from lczlib.city.output import measure_areas

CLIENTS = os.environ.get("LCZ_CLIENTS", "")
pytestmark = pytest.mark.skipif(not CLIENTS, reason="no interpreter with w2w and LCZ4py (LCZ_CLIENTS)")
W2W = """
import sys, types, numpy as np, rasterio, xarray as xr
from rasterio.warp import transform_bounds
from w2w import w2w
path, folder = sys.argv[1:]
with rasterio.open(path) as data:
    west, south, east, north = transform_bounds(data.crs, "EPSG:4326", *data.bounds)
lon, lat = np.meshgrid(np.linspace(west + .005, east - .005, 5), np.linspace(south + .005, north - .005, 5))
grid = {"XLAT_M": (("Time", "y", "x"), lat[None]), "XLONG_M": (("Time", "y", "x"), lon[None])}
xr.Dataset(grid).to_netcdf(folder + "/geo_em.nc")
info = types.SimpleNamespace(src_file=path, dst_file=folder + "/geo_em.nc", src_file_clean=folder + "/clean.tif")
band = w2w._get_lcz_band(info=info, args=types.SimpleNamespace(LCZ_BAND=0))
w2w.check_lcz_integrity(info=info, LCZ_BAND=band)
"""
LCZ4PY = """
import json, sys
from LCZ4py.general.lcz_cal_area import lcz_cal_area
table = lcz_cal_area(sys.argv[1], iplot=False)
print(json.dumps(dict(zip(table["lcz"].to_list(), table["area_km2"].to_list()))))
"""


def run(script: str, *arguments: object) -> str:
    done = subprocess.run([CLIENTS, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[-1]


def test_w2w_takes_the_filtered_zones_of_every_file(blocky, tmp_path):
    path = blocky[2].path
    for file in (path, tmp_path / "lcz_filtered.tif", *write_copies(path, old_codes=True, epsg4326=True)):
        run(W2W, file, tmp_path)
        with rasterio.open(tmp_path / "clean.tif") as clean, rasterio.open(path) as ours:
            taken, grid = clean.read(1), {"transform": clean.transform, "width": clean.width, "height": clean.height}
            with WarpedVRT(ours, crs=clean.crs, **grid) as view:
                raw, filtered = view.read(1), view.read(2)
        assert (taken == filtered)[filtered > 0].mean() > 0.85 > (taken == raw)[raw > 0].mean()


def test_lcz4py_measures_the_areas_of_the_filtered_zones(blocky, tmp_path):
    path = blocky[2].path
    areas = measure_areas(path).set_index("label")["km2"]
    for file in (tmp_path / "lcz_filtered.tif", *write_copies(path, epsg4326=True)):
        found = {int(zone): area for zone, area in json.loads(run(LCZ4PY, file)).items()}
        for zone, area in areas.items():
            assert found[zone] == pytest.approx(area, rel=0.01, abs=0.005)
