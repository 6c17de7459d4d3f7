"""What is written: bands, names, colours, styles, tables, copies, the filter."""

import io
import re
import zipfile
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import rasterio
import rasterio.shutil
from geodata import LEFT, TOP, UTM33, layout, read, write_tif
from PIL import Image
from rasterio.warp import transform

from lczlib.city import write_copies
from lczlib.city.legend import COLORMAP
from lczlib.city.output import filter_zones, measure_areas
from lczlib.city.zone_raster import ZoneRaster
from lczlib.errors import InputError
from lczlib.zones import ZONES, to_old_codes, to_wrf_codes


def test_bands_names_types_and_table(blocky, tmp_path):
    _, _, result = blocky
    with rasterio.open(result.path) as data:
        assert data.descriptions == ("lcz", "lczFilter", "probability")
        assert data.dtypes == ("uint8",) * 3
        assert data.nodata == 0
    with rasterio.open(tmp_path / "lcz_filtered.tif") as one:
        assert one.count == 1
        np.testing.assert_array_equal(one.read(1), read(result.path, 2))
    table = pd.read_csv(tmp_path / "lcz_classes.csv")
    assert table["km2"].sum() == pytest.approx(25 * 31 * 0.01)
    assert table["code"].astype(str).tolist() == [zone.code for zone in ZONES]
    assert (tmp_path / "lcz.png").stat().st_size > 10_000


def test_every_raster_names_its_zones_and_says_where_it_comes_from(blocky, tmp_path):
    _, _, result = blocky
    write_copies(result.path, old_codes=True, epsg4326=True, wrf_codes=True)
    built = {"lcz_wrf": 50}
    for name in ("lcz", "lcz_filtered", "lcz_101-107", "lcz_epsg4326", "lcz_wrf"):
        value = 3 + built.get(name, 0)
        style = ElementTree.parse(tmp_path / f"{name}.qml").find("pipe/rasterrenderer")
        assert style.get("band") == ("2" if name == "lcz" else "1")
        entries = {int(e.get("value")): (e.get("label"), e.get("color").upper()) for e in style.iter("paletteEntry")}
        assert entries[value] == ("LCZ 3 Compact low-rise", "#FF0000")
        assert len(entries) == 17
        assert f"{value} 255 0 0" in (tmp_path / f"{name}.clr").read_text().splitlines()
        with rasterio.open(tmp_path / f"{name}.tif") as data:
            assert data.colormap(1)[value] == COLORMAP[3] == (255, 0, 0, 255)
            assert not {"red", "green", "blue"} & {color.name for color in data.colorinterp}
            tags = data.tags()
        assert tags["trained_on"] == "synthetic"
        assert "no real city" in tags["note"]
        assert (tags["streams"], tags["step_m"]) == ("coded", "100.0")
        assert tags["software"].startswith("lczlib")
        bands = ElementTree.parse(tmp_path / f"{name}.tif.aux.xml").findall("PAMRasterBand")
        for band, title in zip(bands, ("lcz", "lczFilter") if name == "lcz" else ("LCZ",), strict=True):
            names = [category.text or "" for category in band.iter("Category")]
            assert names[value : value + 1] == ([] if value == 3 and "-" not in name else ["LCZ 3 Compact low-rise"])
            assert [field.text for field in band.iter("Name")][:4] == ["Value", title, "Code", "Name"]
            rows = [[field.text for field in row] for row in band.iter("Row")]
            assert [str(value), str(value), "3", "LCZ 3 Compact low-rise", "255", "0", "0"] in rows
        assert [band.get("band") for band in bands] == (["1", "2"] if name == "lcz" else ["1"])


def test_gdal_takes_up_names_and_table_beside_a_raster(blocky, tmp_path):
    rasterio.shutil.copy(blocky[2].path, tmp_path / "lcz.vrt", driver="VRT")
    band = ElementTree.parse(tmp_path / "lcz.vrt").findall("VRTRasterBand")[1]
    rows = band.find("GDALRasterAttributeTable").findall("Row")
    assert [[field.text for field in row][:4] for row in rows][10] == ["11", "11", "A", "LCZ A Dense trees"]
    assert len(rows) == 17


def test_copies_in_other_numbers_and_in_degrees(blocky):
    _, _, result = blocky
    zones = read(result.path, 2)
    old, degrees, wrf = write_copies(result.path, old_codes=True, epsg4326=True, wrf_codes=True)
    np.testing.assert_array_equal(read(old), to_old_codes(zones))
    np.testing.assert_array_equal(read(wrf), to_wrf_codes(zones))
    assert set(np.unique(read(wrf))) <= set(range(51, 62)) | {5, 7, 8, 10, 16, 17}
    (west, east), (south, north) = transform(UTM33, "EPSG:4326", [LEFT, LEFT + 3100], [TOP - 2500, TOP])
    with rasterio.open(degrees) as data:
        assert data.crs.to_epsg() == 4326
        assert data.bounds == pytest.approx((west, south, east, north), abs=0.001)


@pytest.mark.parametrize("side", [12, 40])
def test_each_copy_keeps_the_area_of_each_zone(tmp_path, side):
    labels = np.kron(layout(side // 4, side // 4, 3), np.ones((4, 4), np.uint8))
    labels[5, 7] = 4  # one pixel of a rare zone
    path = write_tif(tmp_path / "a.tif", labels[None], pixel=100.0, nodata=0)
    here = measure_areas(path)["km2"]
    for copy in write_copies(path, old_codes=True, epsg4326=True, wrf_codes=True):
        np.testing.assert_allclose(measure_areas(copy)["km2"], here, rtol=0.01 if side == 40 else 0.02)


@pytest.mark.parametrize(("crs", "unit"), [("EPSG:3857", 1.0), ("EPSG:2263", 0.3048), ("EPSG:32633", 1.0)])
def test_areas_are_those_on_the_ground_in_any_unit_and_projection(tmp_path, crs, unit):
    lon, lat = (-74.0, 40.7) if crs == "EPSG:2263" else (13.0, 52.5)
    (x,), (y,) = transform("EPSG:4326", crs, [lon], [lat])
    zones = np.full((1, 30, 20), 6, np.uint8)
    path = write_tif(tmp_path / "a.tif", zones, pixel=100 / unit, crs=crs, left=x, top=y, nodata=0)
    share = np.cos(np.radians(52.5)) ** 2 if crs == "EPSG:3857" else 1
    found = measure_areas(path)
    assert found["km2"][5] == pytest.approx(6 * share, rel=0.01)
    assert found["pixels"][5] == 600


@pytest.mark.parametrize(("values", "profile"), [
    (lambda labels: to_old_codes(labels).astype(np.int16), {"nodata": -9999}),
    (lambda labels: labels.astype(np.float32), {"nodata": float("nan")}),
    (to_wrf_codes, {}),
])  # fmt: skip
def test_maps_of_others_are_copied_too(tmp_path, values, profile):
    labels = layout(20, 20)
    path = write_tif(tmp_path / "theirs.tif", values(labels)[None], pixel=100.0, **profile)
    (copy,) = write_copies(path, old_codes=True)
    np.testing.assert_array_equal(read(copy), to_old_codes(labels))


def test_copies_of_a_turned_map_keep_its_grid(tmp_path):
    labels, path = layout(20, 30), tmp_path / "turned.tif"
    place = rasterio.Affine(80, 60, LEFT, 60, -80, TOP)
    profile = {"driver": "GTiff", "width": 30, "height": 20, "count": 1, "dtype": "uint8", "crs": UTM33, "nodata": 0}
    with rasterio.open(path, "w", transform=place, **profile) as file:
        file.write(labels, 1)
    (copy,) = write_copies(path, old_codes=True)
    np.testing.assert_array_equal(read(copy), to_old_codes(labels))
    with rasterio.open(copy) as file:
        assert file.transform == place


def test_a_kmz_shows_the_zones_where_they_are(blocky, tmp_path):
    (kmz,) = write_copies(blocky[2].path, kmz=True)
    with zipfile.ZipFile(kmz) as archive:
        text, image = archive.read("doc.kml").decode(), Image.open(io.BytesIO(archive.read("zones.png")))
    box = {name: float(re.search(rf"<{name}>(.*)</{name}>", text)[1]) for name in ("north", "south", "east", "west")}
    (west, east), (south, north) = transform(UTM33, "EPSG:4326", [LEFT, LEFT + 3100], [TOP - 2500, TOP])
    assert list(box.values()) == pytest.approx([north, south, east, west], abs=0.001)
    assert "no real city" in text
    colors = {tuple(color[1][:3]) for color in image.convert("RGBA").getcolors(10_000) if color[1][3]}
    assert colors <= {COLORMAP[zone.label][:3] for zone in ZONES}


def test_a_cog_has_the_same_zones_and_overviews_by_mode(tmp_path):
    labels = np.kron(layout(80, 80, 1), np.ones((16, 16), np.uint8))
    path = write_tif(tmp_path / "a.tif", labels[None], pixel=100.0, nodata=0)
    (plain,) = write_copies(path, old_codes=True)
    with rasterio.open(plain) as data:
        assert data.overviews(1)[:3] == [2, 4, 8]
        np.testing.assert_array_equal(data.read(1, out_shape=(160, 160)), to_old_codes(labels[::8, ::8]))
    (cog,) = write_copies(path, old_codes=True, cog=True)
    with rasterio.open(cog) as data:
        assert data.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert data.overviews(1)
        assert data.colormap(1)[107] == COLORMAP[17]
        np.testing.assert_array_equal(data.read(1), to_old_codes(labels))


def test_filter_smooths_each_zone_with_its_own_gaussian():
    labels = np.full((31, 31), 11, np.uint8)
    labels[10, 10], labels[20, 20], labels[:4, :4] = 2, 17, 0
    filtered = filter_zones(labels, 100)
    assert filtered[10, 10] == 11  # a single pixel of compact midrise goes
    assert filtered[20, 20] == 17  # water has a radius of 50 m: every pixel stays
    assert (filtered[:4, :4] == 0).all()


def test_filtering_in_strips_equals_filtering_at_once(monkeypatch):
    from lczlib.city import output

    monkeypatch.setattr(output, "STRIP", 100)
    labels = layout(150, 40)
    strips = list(output._filtered(labels, 100))
    assert len(strips) > 5
    np.testing.assert_array_equal(np.concatenate([part for _, part in strips]), filter_zones(labels, 100))


def test_a_map_across_180_degrees_has_no_copy_in_longitudes_and_says_so(tmp_path):
    path = tmp_path / "fiji.tif"
    profile = {"driver": "GTiff", "width": 60, "height": 60, "count": 1, "dtype": "uint8", "crs": "EPSG:32760"}
    place = rasterio.transform.from_origin(790000, 8200000, 1000, 1000)
    with rasterio.open(path, "w", transform=place, nodata=0, **profile) as file:
        file.write(np.full((60, 60), 6, np.uint8), 1)
    with pytest.raises(InputError, match="180 degrees"):
        ZoneRaster(path).grid(rasterio.CRS.from_epsg(4326))
