"""Other people's programs read our maps: w2w, LCZ4py, pylandstats, cityblocks, QGIS, and what R's terra hands on.

LCZ_CLIENTS=/path/to/its/python pytest tests/city/test_clients.py
(there: pip install w2w==0.6.0, LCZ4py==0.1.0, pylandstats==3.1.0 or cityblocks==0.0.2; or Debian's python3-qgis, or
/usr/bin/Rscript with r-cran-terra, r-cran-sf, r-cran-dplyr: what it lacks is skipped)
"""

import json
import os
import subprocess

import numpy as np
import pytest
import rasterio
from geodata import read
from rasterio.vrt import WarpedVRT

from lczlib.city import write_copies
from lczlib.city.output import measure_areas
from lczlib.zones import ZONES

CLIENTS = os.environ.get("LCZ_CLIENTS", "")
pytestmark = pytest.mark.skipif(not CLIENTS, reason="no interpreter with the clients (LCZ_CLIENTS)")
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


PYLANDSTATS = """
import json, sys
from pylandstats import Landscape
table = Landscape(sys.argv[1]).compute_class_metrics_df(metrics=["total_area"])["total_area"]
print(json.dumps({int(zone): float(area) for zone, area in table.items()}))
"""
CITYBLOCKS = """
import json, sys, rasterio
from cityblocks._core import extract_area, substitute_tiles
from rasterio.shutil import copy
from rasterio.vrt import WarpedVRT
with rasterio.open(sys.argv[1]) as data, WarpedVRT(data, crs="EPSG:4326", src_nodata=61, nodata=0) as view:
    copy(view, sys.argv[2], driver="GTiff")
    west, south, east, north = view.bounds
tiles = substitute_tiles(extract_area(sys.argv[2], f"{west},{south},{east},{north}"))
print(json.dumps({int(zone): float(height) for zone, height in zip(tiles["LCZ"], tiles["height"])}))
"""
QGIS = """
import json, os, sys
from qgis.core import QgsApplication, QgsRasterLayer
app = QgsApplication([], False)
app.initQgis()
layer = QgsRasterLayer(sys.argv[1], "zones")
drawn = layer.renderer()
print(json.dumps([drawn.band(), [(int(c.value), c.label, c.color.name()) for c in drawn.classes()]]))
sys.stdout.flush()
os._exit(0)  # QGIS may crash when Python ends
"""
TERRA = """
suppressMessages({library(terra); library(sf); library(dplyr)})
path <- commandArgs(TRUE)[1]; maps <- rast(path)
zones <- maps[[min(2, nlyr(maps))]]  # LCZ4r's lcz_cal_area: the second layer, joined by number
counts <- setNames(as.data.frame(freq(zones, bylayer = FALSE, usenames = TRUE)), c("lcz", "count"))
areas <- setNames(na.omit(data.frame(values(zones), values(cellSize(zones, unit = "km")))), c("lcz", "km2"))
areas <- aggregate(km2 ~ lcz, areas, sum)
found <- inner_join(mutate(counts, lcz = as.factor(lcz)), mutate(areas, lcz = as.factor(lcz)), by = "lcz")
first <- maps[[1]]  # its lcz_get_parameters: the first layer as polygons, joined by number
names(first) <- "lcz"
joined <- inner_join(st_as_sf(as.polygons(first)), data.frame(lcz = as.numeric(1:17)), by = "lcz")
cells <- as.data.frame(as.polygons(rast(path, lyrs = names(maps)[1]), dissolve = FALSE))[[1]]  # lczexplore's import
kept <- sum(!is.na(factor(cells, levels = as.character(1:17))))
listed <- paste0('"', found$lcz, '": ', found$km2, collapse = ", ")
cat("[{", listed, "}, ", nrow(joined), ", ", kept / length(cells), "]\n", sep = "")
"""


def run(package: str, script: str, *arguments: object) -> str:
    if subprocess.run([CLIENTS, "-c", f"import {package}"], capture_output=True, check=False).returncode:
        pytest.skip(f"{package} is not there")
    done = subprocess.run(
        [CLIENTS, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"QT_QPA_PLATFORM": "offscreen"},
    )
    return done.stdout.strip().splitlines()[-1]


def test_w2w_takes_the_filtered_zones_of_every_file(blocky, tmp_path):
    path = blocky[2].path
    for file in (path, tmp_path / "lcz_filtered.tif", *write_copies(path, old_codes=True, epsg4326=True)):
        run("w2w", W2W, file, tmp_path)
        with rasterio.open(tmp_path / "clean.tif") as clean, rasterio.open(path) as ours:
            taken, grid = clean.read(1), {"transform": clean.transform, "width": clean.width, "height": clean.height}
            with WarpedVRT(ours, crs=clean.crs, **grid) as view:
                raw, filtered = view.read(1), view.read(2)
        assert (taken == filtered)[filtered > 0].mean() > 0.85 > (taken == raw)[raw > 0].mean()


def test_lcz4py_measures_the_areas_of_the_filtered_zones(blocky, tmp_path):
    path = blocky[2].path
    areas = measure_areas(path).set_index("label")["km2"]
    for file in (tmp_path / "lcz_filtered.tif", *write_copies(path, epsg4326=True)):
        found = {int(zone): area for zone, area in json.loads(run("LCZ4py", LCZ4PY, file)).items()}
        for zone, area in areas.items():
            assert found[zone] == pytest.approx(area, rel=0.01, abs=0.005)


def test_pylandstats_measures_the_areas_of_the_filtered_zones(blocky, tmp_path):
    areas = measure_areas(blocky[2].path).set_index("label")["km2"]
    found = json.loads(run("pylandstats", PYLANDSTATS, tmp_path / "lcz_filtered.tif"))
    assert {int(zone): hectares / 100 for zone, hectares in found.items()} == pytest.approx(areas[areas > 0].to_dict())


def test_cityblocks_builds_on_the_built_zones(blocky, tmp_path):
    (wrf,) = write_copies(blocky[2].path, wrf_codes=True)
    built = set(np.unique(read(blocky[2].path, 2))) & set(range(1, 11))
    heights = json.loads(run("cityblocks", CITYBLOCKS, wrf, tmp_path / "degrees.tif"))
    assert {int(zone) - 50 for zone in heights} == built


def test_qgis_draws_the_filtered_zones_with_names_and_colours(blocky, tmp_path):
    for file, number in ((blocky[2].path, 2), (tmp_path / "lcz_filtered.tif", 1)):
        band, classes = json.loads(run("qgis", QGIS, file))
        assert band == number
        assert classes == [[zone.label, f"LCZ {zone.code} {zone.name}", zone.color.lower()] for zone in ZONES]


def test_packages_of_r_find_every_zone_by_its_number(blocky, tmp_path):
    """Their steps, by terra: LCZ4r and lczexplore are in no registry of packages."""
    if subprocess.run([CLIENTS, "-e", "library(terra); library(sf); library(dplyr)"], check=False).returncode:
        pytest.skip("no Rscript with terra, sf and dplyr")
    areas = measure_areas(blocky[2].path).set_index("label")["km2"]
    expected = {str(zone): pytest.approx(area, rel=0.01) for zone, area in areas[areas > 0].items()}
    for file in (blocky[2].path, tmp_path / "lcz_filtered.tif", *write_copies(blocky[2].path, epsg4326=True)):
        done = subprocess.run([CLIENTS, "-e", TERRA, file], capture_output=True, text=True, check=True)
        found, polygons, kept = json.loads(done.stdout.strip().splitlines()[-1])
        assert found == expected
        assert polygons == len(np.setdiff1d(read(file), [0]))
        assert kept == 1
