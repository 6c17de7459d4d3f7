"""The page of a map: everything in one file; in a real browser where there is one."""

import base64
import io
import json
import re
import shutil
import time

import numpy as np
import pytest
from geodata import read, square, write_areas, write_tif
from PIL import Image

from lczlib.city.page import write_page
from lczlib.zones import ZONES

pytest.importorskip("xstatic.pkg.leaflet", reason="xstatic-leaflet is not installed", exc_type=ImportError)


@pytest.fixture
def page(blocky, tmp_path):
    """The page of a map with training areas."""
    areas = write_areas(tmp_path / "areas.geojson", [("2", square(400, 400, 800)), ("A", square(1500, 300, 600))])
    return blocky[2], write_page(blocky[2].path, areas)


def contents(page) -> dict:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page.read_text(), re.DOTALL)
    return json.loads(found[1])


def test_the_page_holds_zones_probability_areas_and_provenance(page):
    result, path = page
    data = contents(path)
    assert data["layers"] == ["filtered zones", "zones before filtering", "probability"]
    pixels = np.array(Image.open(io.BytesIO(base64.b64decode(data["image"]))))
    shares = [np.bincount(channel[pixels[..., 0] > 0], minlength=18)[1:18] for channel in np.moveaxis(pixels, -1, 0)]
    for band, share in ((2, shares[0]), (1, shares[1])):
        expected = np.bincount(read(result.path, band).ravel(), minlength=18)[1:]
        np.testing.assert_allclose(share / share.sum(), expected / expected.sum(), atol=0.01)
    assert set(np.unique(pixels[..., 2])) == {0, 90}
    assert [feature["properties"]["code"] for feature in data["areas"]["features"]] == ["2", "A"]
    assert sum(zone["km2"] for zone in data["zones"]) == pytest.approx(25 * 31 * 0.01)
    assert "no real city" in data["note"]
    assert data["tags"]["streams"] == "coded"


def test_nothing_is_loaded_from_elsewhere(page):
    text = page[1].read_text()
    assert not re.findall(r"<(?:script|img|link)[^>]*(?:src|href)=", text)
    assert not re.findall(r"url\((?!#)", text.split("<script>")[0])
    assert "sourceMappingURL" not in text
    assert not re.search("__[A-Z_]+__", text)


def test_text_of_a_file_cannot_break_out_of_the_page(tmp_path):
    path = write_tif(tmp_path / "a.tif", np.full((1, 9, 9), 3, np.uint8), pixel=100.0)
    import rasterio

    with rasterio.open(path, "r+") as data:
        data.update_tags(streams="</script><script>alert(1)</script>")
    page = write_page(path)
    assert "<script>alert" not in page.read_text()
    assert contents(page)["tags"]["streams"].endswith("</script>")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium")
def test_a_click_in_a_browser_tells_zone_and_probability(page):
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    for option in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1000,700"):
        options.add_argument(option)
    options.binary_location = shutil.which("chromium")
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with webdriver.Chrome(options=options, service=service) as browser:
        browser.get(page[1].as_uri())
        for _ in range(100):
            if browser.execute_script("return document.body.dataset.ready"):
                break
            time.sleep(0.1)
        script = """map.fire("click", {latlng: bounds.getCenter()});
            return document.querySelector(".leaflet-popup-content").innerText;"""
        answer = browser.execute_script(script)
        legend = browser.execute_script("return document.querySelector('.legend').innerText")
        layers = browser.execute_script("return document.querySelector('.leaflet-control-layers').innerText")
        errors = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    zone = ZONES[read(page[0].path, 2)[12, 15] - 1]
    assert f"filtered zones: LCZ {zone.code} {zone.name}" in answer
    assert "probability: 90 %" in answer
    assert "no real city" in legend
    assert "training areas" in layers
    assert not errors
