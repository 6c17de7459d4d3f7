"""workflow/explorer.py: the page computes what `fusion` computes, and a reader can use it without a server."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from browser import errors, open_browser

from lczlib import fusion, metrics
from lczlib.predictions import Predictions

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow"))
import explorer

ALPHAS = (0.0, 0.35, 0.6, 1.0)


@pytest.fixture(scope="module")
def world():
    rng, n = np.random.default_rng(0), 34
    facts = {"split": "test", "city": "synthetic-1", "polygon": ""}
    frame = pd.DataFrame({"id": np.arange(n) * 3, "label": np.arange(n) % 17 + 1} | facts)
    p = [rng.dirichlet(np.full(17, 0.3), n) + 0.4 * np.eye(17)[frame["label"] - 1] for _ in range(2)]
    s2, ge = (Predictions(frame, (one / one.sum(1, keepdims=True)).astype(np.float32)) for one in p)
    mask = np.zeros((2, 320, 320), bool)
    mask[0, 20:90, 30:100] = mask[1, 200:260, 180:300] = True
    boxes = np.array([[30, 20, 69, 69], [180, 200, 119, 59]])
    rgb = rng.integers(0, 255, (n, 320, 320, 3), np.uint8)
    s2_patches = rng.random((n, 32, 32, 10)) * 0.4
    pairs = SimpleNamespace(ids=frame["id"].to_numpy(), kind="synthetic", rgb=rgb, s2=s2_patches)
    return pairs, s2, ge, {int(i): (mask, boxes) for i in frame["id"]}


@pytest.fixture(scope="module")
def page(world, tmp_path_factory):
    path = explorer.write_page(explorer.page_data(*world), tmp_path_factory.mktemp("site") / "explorer.html")
    driver = open_browser()
    driver.get(path.as_uri())
    yield driver
    driver.quit()


def test_an_outline_follows_its_mask():
    mask = np.zeros((320, 320), bool)
    mask[10:50, 20:80] = True
    assert sorted(explorer.outline(mask)) == sorted([20, 10, 20, 49, 79, 49, 79, 10])


def test_the_page_computes_what_fusion_computes(page, world):
    _, s2, ge, _ = world
    for alpha in ALPHAS:
        answers = fusion.predicted(fusion.fuse(s2.p, ge.p, alpha))
        found = page.execute_script("return explorer.at(arguments[0])", alpha)
        cm = metrics.confusion(s2.labels, answers)
        assert found["oa"] == pytest.approx(float((answers == s2.labels).mean()), abs=1e-9)
        np.testing.assert_array_equal(found["confusion"], cm)
        np.testing.assert_allclose(found["f1"], np.nan_to_num(metrics.f1(cm)), atol=1e-9)


def test_a_reader_picks_a_pair_and_moves_alpha(page):
    thumbs = page.find_elements("css selector", "#thumbs button")
    assert len(thumbs) == 34
    thumbs[5].click()
    assert thumbs[5].get_attribute("aria-pressed") == "true"
    before = page.find_element("id", "oa-fused").text
    page.execute_script("const a = document.getElementById('alpha'); a.value = 1; a.dispatchEvent(new Event('input'))")
    assert page.find_element("id", "alpha-value").text == "1.00"
    assert page.find_element("id", "oa-fused").text == page.find_element("id", "oa-s2").text != before
    assert len(page.find_elements("css selector", "#graph circle title")) == 2
    assert errors(page) == []


def test_the_page_fits_a_phone(page):
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert page.execute_script("return document.documentElement.scrollWidth") <= 390
