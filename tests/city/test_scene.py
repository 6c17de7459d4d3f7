"""`python -m lczlib scene`: a STAC API on loopback over generated GeoTIFFs, and the pixels worked out by hand."""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import rasterio
from geodata import LEFT, TOP, UTM33, read, reflectance, square, write_areas, write_tif
from pyproj import Transformer

from lczlib.__main__ import main
from lczlib.city.rasters import Sentinel2
from lczlib.data.layout import BANDS

pytest.importorskip("odc.stac", reason='the extra is not installed: pip install "lczlib[stac]"')
pytest.importorskip("pystac_client", reason='the extra is not installed: pip install "lczlib[stac]"')

COMMON = "blue green red rededge1 rededge2 rededge3 nir nir08 swir16 swir22"
EARTH_SEARCH = dict(zip(BANDS, COMMON.split(" "), strict=True))
PLANETARY = {band: f"B{band[1:]:0>2}" for band in BANDS}
SIDE = 160  # pixels of 10 m
DATES = "2023-05-01/2023-09-30"


class Handler(BaseHTTPRequestHandler):
    """Answers as a STAC API 1.0 and a file server with ranges do."""

    def log_message(self, *arguments):
        pass

    def answer(self, content: bytes, kind: str = "application/json", status: int = 200, **headers):
        self.send_response(status)
        for key, value in {"Content-Type": kind, "Content-Length": len(content), **headers}.items():
            self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_GET(self):
        server, path = self.server, self.path.split("?")[0].strip("/")
        base = f"http://127.0.0.1:{server.server_port}"
        if path == "":
            links = [{"rel": "self", "href": base}, {"rel": "root", "href": base}]
            links += [{"rel": "data", "href": f"{base}/collections"}]
            links += [
                {"rel": "search", "href": f"{base}/search", "method": method, "type": "application/geo+json"}
                for method in ("GET", "POST")
            ]
            root = {"type": "Catalog", "id": "loopback", "description": "x", "stac_version": "1.0.0", "links": links}
            core, search = "https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/item-search"
            self.answer(json.dumps(root | {"conformsTo": [core, search]}).encode())
        elif path.endswith(".tif"):
            content = (server.folder / path).read_bytes()
            first, last = 0, len(content) - 1
            if wanted := self.headers.get("Range"):
                first, end = wanted.removeprefix("bytes=").split("-")
                first, last = int(first), min(int(end or last), last)
            part = {"Content_Range": f"bytes {first}-{last}/{len(content)}"} if wanted else {}
            self.answer(content[first : last + 1], "image/tiff", 206 if wanted else 200, Accept_Ranges="bytes", **part)
        else:
            self.answer(b"{}", status=404)

    do_HEAD = do_GET

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        west, south, east, north = asked["bbox"]
        start, end = asked["datetime"].split("/")
        found = [
            item
            for item in self.server.items
            if item["bbox"][0] < east and item["bbox"][2] > west and item["bbox"][1] < north and item["bbox"][3] > south
            if start <= item["properties"]["datetime"] <= end
        ]
        self.answer(json.dumps({"type": "FeatureCollection", "features": found, "links": []}).encode())


class Catalogue:
    """A STAC API over items that a test adds."""

    def __init__(self, folder: Path):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.folder, self.server.items, self.folder = folder, [], folder
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def add(self, name, image, scl=4, crs=UTM33, names=EARTH_SEARCH, left=LEFT, **properties):
        """An item of DN `image` ((SIDE, SIDE, 10) or a number); 20 m bands as they are; `raster` are their tags."""
        raster = properties.pop("raster", None)
        image = np.broadcast_to(np.asarray(image), (SIDE, SIDE, 10)).astype(np.uint16)
        assets = {}
        for i, band in enumerate(BANDS):
            step = 1 if band in ("B2", "B3", "B4", "B8") else 2
            key = names[band]
            self._write(f"{name}_{key}", image[None, ::step, ::step, i], crs, 10.0 * step, left)
            assets[key] = self._asset(f"{name}_{key}") | ({"raster:bands": [raster]} if raster else {})
        if scl is not None:
            classes = np.broadcast_to(np.asarray(scl), (SIDE // 2, SIDE // 2)).astype(np.uint8)
            self._write(f"{name}_scl", classes[None], crs, 20.0, left)
            assets["scl" if names is EARTH_SEARCH else "SCL"] = self._asset(f"{name}_scl")
        assets["thumbnail"] = {"href": f"{self.url}/{name}.jpg", "type": "image/jpeg", "roles": ["thumbnail"]}
        assets["red-jp2"] = {"href": "s3://elsewhere/B04.jp2", "type": "image/jp2"}
        to_degrees = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform
        ring = [
            to_degrees(left + x * SIDE * 10, TOP - y * SIDE * 10) for x, y in ((0, 1), (1, 1), (1, 0), (0, 0), (0, 1))
        ]
        x, y = zip(*ring, strict=True)
        self.server.items.append(
            {
                "type": "Feature",
                "stac_version": "1.0.0",
                "id": name,
                "collection": "sentinel-2-l2a",
                "links": [],
                "bbox": [min(x), min(y), max(x), max(y)],
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {"datetime": "2023-06-01T10:00:00Z", "proj:epsg": int(crs[5:])} | properties,
                "stac_extensions": ["https://stac-extensions.github.io/projection/v1.0.0/schema.json"],
                "assets": assets,
            }
        )

    def _write(self, stem, array, crs, pixel, left):
        write_tif(self.folder / f"{stem}.tif", array, crs, left=left, pixel=pixel, nodata=0)

    def _asset(self, stem):
        return {"href": f"{self.url}/{stem}.tif", "type": "image/tiff; application=geotiff; profile=cloud-optimized"}


@pytest.fixture
def catalogue(tmp_path):
    made = Catalogue(tmp_path)
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def box():
    """Degrees well inside of an item: 0.5 km around its middle."""
    lon, lat = Transformer.from_crs(UTM33, "EPSG:4326", always_xy=True).transform(LEFT + SIDE * 5, TOP - SIDE * 5)
    return f"--bbox={lon - 0.004},{lat - 0.002},{lon + 0.004},{lat + 0.002}"


def run(catalogue, tmp_path, box, *more, dates=DATES):
    return main(["scene", box, "--dates", dates, "--out", str(tmp_path / "out.tif"), "--stac", catalogue.url, *more])


def values(tmp_path, check=True):
    scene = Sentinel2(tmp_path / "out.tif", check=check, units="auto" if check else "tags")
    return scene, scene.read(0, 0, scene.height, scene.width)


BEFORE = {"s2:processing_baseline": "03.01"}
LATER = {"s2:processing_baseline": "05.09"}
APPLIED = LATER | {"earthsearch:boa_offset_applied": True}
TAGS = {"scale": 0.0001, "offset": -0.1}


@pytest.mark.parametrize(
    ("dn", "properties", "told"),
    [
        (2000, BEFORE, "offset 0 DN (processing baseline 03.01)"),
        (3000, LATER, "offset -1000 DN (processing baseline 05.09)"),
        (2000, APPLIED | {"raster": TAGS}, "offset 0 DN (boa_offset_applied)"),
        (3000, LATER | {"earthsearch:boa_offset_applied": False, "raster": TAGS}, "offset -1000 DN (raster:bands"),
        (3000, {"processing:version": "05.11", "names": PLANETARY}, "offset -1000 DN (processing baseline 05.11)"),
        (3000, {}, "offset -1000 DN (no processing baseline, by the date)"),
        (1500, BEFORE | {"raster": {"scale": 0.0002, "offset": -0.1}}, "offset -500 DN (raster:bands"),
    ],
)
def test_each_convention_of_the_offset_gives_the_same_reflectance(
    catalogue, tmp_path, box, dn, properties, told, capsys
):
    catalogue.add("one", dn, **properties)
    assert run(catalogue, tmp_path, box) == 0
    assert told in capsys.readouterr().out
    scene, found = values(tmp_path, check=False)
    assert (str(scene.crs), scene.transform[0]) == (UTM33, 10)
    np.testing.assert_allclose(found, 0.2, atol=1e-6)


def test_the_median_of_what_is_clear_with_every_band_in_its_place(catalogue, tmp_path, box):
    steps = 100 * np.arange(10)
    clouds = np.full((SIDE // 2, SIDE // 2), 5)
    clouds[:, SIDE // 4 :] = 9  # the eastern half
    catalogue.add("a", 2000 + steps, **BEFORE)
    catalogue.add("b", 4000 + steps, **LATER)
    catalogue.add("c", 2400 + steps, clouds, **APPLIED)
    catalogue.add("without", 60000, None, **BEFORE)
    assert run(catalogue, tmp_path, box) == 0
    scene, found = values(tmp_path, check=False)
    east = scene.transform.c + 10 * np.arange(scene.width) >= LEFT + SIDE * 5
    np.testing.assert_allclose(found[:, ~east], np.broadcast_to(0.24 + steps / 1e4, found[:, ~east].shape), atol=1e-6)
    np.testing.assert_allclose(found[:, east], np.broadcast_to(0.25 + steps / 1e4, found[:, east].shape), atol=1e-6)
    with rasterio.open(tmp_path / "out.tif") as data:
        tags = data.tags()
        assert data.descriptions == BANDS
    assert tags["ITEMS"] == "a b c"
    assert tags["BASELINES"] == "03.01 05.09"
    assert (tags["STAC_URL"], tags["DATES"]) == (catalogue.url, DATES)
    assert float(tags["CLOUD_SHARE"]) == pytest.approx(1 / 6, abs=0.02)


def test_items_of_two_zones_meet_in_the_zone_of_the_box(catalogue, tmp_path, box):
    x, _ = Transformer.from_crs(UTM33, "EPSG:32632", always_xy=True).transform(LEFT, TOP)
    catalogue.add("east", 2000, **BEFORE)
    catalogue.add("west", 3000, crs="EPSG:32632", left=round(x, -1), **BEFORE)
    item = catalogue.server.items[1]
    catalogue.server.items[1] = item | {key: catalogue.server.items[0][key] for key in ("bbox", "geometry")}
    assert run(catalogue, tmp_path, box) == 0
    scene, found = values(tmp_path, check=False)
    assert str(scene.crs) == UTM33
    assert {0.2, 0.25} >= {round(float(value), 6) for value in np.unique(found)}


def test_a_place_clear_in_no_item_is_no_data_and_most_takes_the_clearest(catalogue, tmp_path, box, capsys):
    clouds = np.full((SIDE // 2, SIDE // 2), 6)
    clouds[:, SIDE // 4 :] = 3
    clouds[:, SIDE // 4 + 4 :] = 6
    catalogue.add("a", 2000, clouds, **BEFORE)
    catalogue.add("b", 9000, np.where(clouds == 3, 3, np.where(np.indices(clouds.shape)[0] % 2, 4, 8)), **BEFORE)
    assert run(catalogue, tmp_path, box, "--most", "1") == 0
    _, found = values(tmp_path, check=False)
    void = np.isnan(found).all(axis=-1)
    assert 0 < void.mean() < 0.3
    np.testing.assert_allclose(found[~void], 0.2, atol=1e-6)
    assert "is clear in no item" in capsys.readouterr().out


def test_an_offset_that_was_applied_already_is_warned_of(catalogue, tmp_path, box, capsys):
    catalogue.add("wrong", reflectance(SIDE, SIDE) * 10000, **LATER, **{"earthsearch:boa_offset_applied": False})
    assert run(catalogue, tmp_path, box) == 0
    assert "warning: wrong: red is below zero in many pixels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "dates", "fault"),
    [
        ([], "2023-09-30/2023-05-01", "ends before it starts"),
        (["--most", "0"], DATES, "--most 0: a median needs images"),
        ([], "summer", "--dates summer: not two days"),
        ([], "2020-01-01/2020-02-01", "no item of sentinel-2-l2a in this box within 2020"),
        (["--bbox", "10,50,11"], DATES, "not four numbers"),
        (["--bbox", "179.9,50,-179.9,50.1"], DATES, "west is not below east"),
        (["--bbox", "-58.5,-34.7,-58.4,-34.6"], DATES, "no item of"),
        (["--bbox", "50,200,51,201"], DATES, "not degrees"),
        (["--bbox", "10,40,15,45"], DATES, "a city of up to 200 km"),
        (["--stac", "http://127.0.0.1:9"], DATES, "http://127.0.0.1:9: no STAC API answers"),
        (["--stac", "{url}/a.tif"], DATES, "no STAC API answers"),
    ],
)
def test_each_fault_is_one_line_and_leaves_nothing(catalogue, tmp_path, box, options, dates, fault, capsys):
    catalogue.add("a", 2000, **BEFORE)
    (tmp_path / "a.tif").write_bytes(b"no catalogue")
    before = sorted(tmp_path.iterdir())
    place = [] if "--bbox" in options else [box]
    command = ["scene", *place, "--dates", dates, "--out", str(tmp_path / "out.tif"), "--stac", catalogue.url]
    assert main(command + [option.format(url=catalogue.url) for option in options]) == 1
    error = capsys.readouterr().err
    assert fault in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_clouds_everywhere_images_gone_and_missing_packages_are_one_line(catalogue, tmp_path, box, capsys, monkeypatch):
    catalogue.add("a", 2000, 9, **BEFORE)
    assert run(catalogue, tmp_path, box) == 1
    assert "too many clouds (only 0% of the box is clear" in capsys.readouterr().err
    catalogue.add("b", 2000, 4, **BEFORE)
    (tmp_path / "b_red.tif").write_bytes(b"II*\0 cut short")
    assert run(catalogue, tmp_path, box) == 1
    assert "b: its B4 cannot be read" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "planetary_computer", None)
    assert run(catalogue, tmp_path, box, "--stac", "https://planetarycomputer.invalid/v1") == 1
    assert "its addresses must be signed; pip install planetary-computer" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "pystac_client", None)
    assert run(catalogue, tmp_path, box) == 1
    assert 'pip install "lczlib[stac]"' in capsys.readouterr().err
    assert not list(tmp_path.glob("*out*"))


def test_from_training_areas_to_a_map_in_one_go(catalogue, tmp_path, capsys):
    start = time.perf_counter()
    image = reflectance(SIDE, SIDE)
    for day in range(3):
        catalogue.add(f"day{day}", image * 10000 + 1000 + 20 * day, **LATER)
    areas = write_areas(tmp_path / "areas.geojson", [("2", square(400, 400, 400)), ("A", square(800, 800, 400))])
    assert run(catalogue, tmp_path, f"--polygons={areas}") == 0
    printed = capsys.readouterr().out
    assert "warning: the band order" not in printed
    scene, found = values(tmp_path)
    assert (scene.notes, scene.warnings) == (["reflectance by its tags: values x 0.0001 + 0"], [])
    rows = round((scene.transform.f - TOP) / 10)
    cols = round((LEFT - scene.transform.c) / 10)
    inside = found[rows : rows + SIDE, cols : cols + SIDE]
    np.testing.assert_allclose(inside[2:-2, 2:-2, 0], image[2:-2, 2:-2, 0] + 0.002, atol=1e-4)
    s2 = str(tmp_path / "out.tif")
    assert main(["map", "--s2", s2, "--run", "demo-s2", "--out", str(tmp_path / "m.tif")]) == 0
    assert (read(tmp_path / "m.tif") > 0).sum() >= 144
    assert main(["patches", "--s2", s2, "--polygons", str(areas), "--out", str(tmp_path / "pairs")]) == 0
    assert main(["check", str(tmp_path / "pairs")]) == 0
    seconds = time.perf_counter() - start
    print(f"scene, map and patches: {seconds:.1f} s")
    assert seconds < 300
