"""lczlib.figures.explorer: the page computes what `fusion` computes, and a reader can use it without a server."""

import numpy as np
import pytest
from browser import errors, open_browser

from lczlib import fusion, metrics
from lczlib.figures import explorer

ALPHAS = (0.0, 0.35, 0.6, 1.0)


@pytest.fixture(scope="module")
def world():
    rng, n = np.random.default_rng(0), 34
    labels = np.arange(n) % 17 + 1
    p = [rng.dirichlet(np.full(17, 0.3), n) + 0.4 * np.eye(17)[labels - 1] for _ in range(2)]
    s2, ge = ((one / one.sum(1, keepdims=True)).astype(np.float32) for one in p)
    mask = np.zeros((2, 320, 320), bool)
    mask[0, 20:90, 30:100] = mask[1, 200:260, 180:300] = True
    nodes = np.array([[0.4, 0.3, 0.2, 0.2, 0.17], [0.6, 0.6, 0.5, 0.75, 0.72]])
    rgb, patches = rng.integers(0, 255, (n, 320, 320, 3), np.uint8), rng.random((n, 32, 32, 10)) * 0.4
    views = [explorer.View(f"Pair {i}", labels[i], rgb[i], mask, nodes, ge[i], patches[i], s2[i]) for i in range(n)]
    return views, labels, s2, ge


@pytest.fixture(scope="module")
def page(world, tmp_path_factory):
    path = tmp_path_factory.mktemp("site") / "explorer.html"
    path.write_text(explorer.page(world[0], "synthetic"), encoding="utf-8")
    driver = open_browser()
    driver.get(path.as_uri())
    yield driver
    driver.quit()


def test_an_outline_follows_its_mask():
    mask = np.zeros((320, 320), bool)
    mask[10:50, 20:80] = True
    assert sorted(explorer.outline(mask)) == sorted([20, 10, 20, 49, 79, 49, 79, 10])


def test_the_page_computes_what_fusion_computes(page, world):
    _, labels, s2, ge = world
    for alpha in ALPHAS:
        answers = fusion.predicted(fusion.fuse(s2, ge, alpha))
        found = page.execute_script("return explorer.at(arguments[0])", alpha)
        cm = metrics.confusion(labels, answers)
        assert found["oa"] == pytest.approx(float((answers == labels).mean()), abs=1e-9)
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


def test_one_own_picture_has_neither_sentinel2_nor_a_reference(page, world, tmp_path):
    view = world[0][0]
    alone = explorer.View("mine.png", 0, view.rgb, view.masks, view.nodes, view.p_ge)
    (tmp_path / "one.html").write_text(explorer.frame([alone], "your picture"), encoding="utf-8")
    page.get((tmp_path / "one.html").as_uri())
    page.switch_to.frame(0)
    answer = page.find_element("id", "answer").text
    assert answer.startswith("mine.png: answer of RGB LCZ ")
    assert not page.find_element("id", "s2").is_displayed()
    assert not page.find_element("id", "confusion").is_displayed()
    assert errors(page) == []
