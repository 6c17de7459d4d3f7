"""The demo as a visitor meets it: Voila serves the notebook as a page, a real browser chooses and slides."""

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import papermill
import psutil
import pytest
from browser import errors, open_browser

ROOT = Path(__file__).parents[1]
SMALL = {"per_zone": 1, "map_m": 640}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of a demo with few scenes, drawn to its end."""
    pytest.importorskip("voila")
    folder = tmp_path_factory.mktemp("demo")
    places = {"figures_dir": str(folder / "figures"), "work_dir": str(folder / "work")}
    notebook = folder / "demo.ipynb"
    papermill.execute_notebook(ROOT / "notebooks" / "demo.ipynb", notebook, SMALL | places, prepare_only=True,
                               progress_bar=False)  # fmt: skip
    shutil.copy(ROOT / "voila.json", folder)  # cells show as soon as they are done
    driver = open_browser(height=1400, wait=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "voila", str(notebook), "--no-browser", f"--port={port}"]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _when_answering(port)
        driver.get(f"http://127.0.0.1:{port}/")
        start = time.monotonic()
        _until(lambda: driver.find_elements("css selector", "img[src^='data:image']"), 300)
        first, size = time.monotonic() - start, sum(k.memory_info().rss for k in _kernels(server))
        print(f"first picture {first:.1f} s after the page was asked for; the kernel holds {size / 1e6:.0f} MB")
        assert size < 1e9, "the first view needs under 1 GB"
        _until(lambda: len(driver.find_elements("css selector", "iframe[title=explorer]")) >= 2, 400)
        _until(lambda: _settled(driver), 60)
        yield driver
    finally:
        driver.quit()
        server.terminate()
        server.wait(20)


def _kernels(server: subprocess.Popen) -> list[psutil.Process]:
    return psutil.Process(server.pid).children(recursive=True)


def _when_answering(port: int, seconds: float = 60) -> None:
    _until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, seconds)


def _settled(driver) -> bool:
    """Whether nothing has been added to the page for two seconds."""
    before = driver.execute_script("return document.body.innerHTML.length")
    time.sleep(2)
    return driver.execute_script("return document.body.innerHTML.length") == before


def _until(holds, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "the page did not get there in time"
        time.sleep(0.3)


@pytest.mark.notebooks
def test_a_visitor_picks_a_pair_and_moves_alpha(page):
    page.switch_to.default_content()
    page.switch_to.frame(page.find_elements("css selector", "iframe[title=explorer]")[0])
    thumbs = page.find_elements("css selector", "#thumbs button")
    assert len(thumbs) == 17
    page.execute_script("arguments[0].click()", thumbs[6])
    before = page.find_element("id", "oa-fused").text
    took = page.execute_script(
        "const start = performance.now(), a = document.getElementById('alpha'); a.value = 0;"
        "a.dispatchEvent(new Event('input')); return performance.now() - start"
    )
    assert took < 100, "alpha answers in under 100 ms"
    assert page.find_element("id", "oa-fused").text == page.find_element("id", "oa-ge").text
    assert before.endswith("%")
    assert page.find_elements("css selector", "#graph circle title")


@pytest.mark.notebooks
def test_another_scene_is_drawn_and_no_error_is_in_the_console(page):
    page.switch_to.default_content()
    find = "[...document.querySelectorAll('button')].find(b => b.textContent.includes('another scene'))"
    frames = "document.querySelectorAll('iframe[title=explorer]')"
    _until(lambda: page.execute_script(f"return {frames}.length >= 2 && !!{find}"), 60)
    before = page.execute_script(f"return {frames}[1].srcdoc")
    page.execute_script(f"{find}.click()")
    _until(
        lambda: page.execute_script(f"return {frames}.length >= 2 && {frames}[1].srcdoc !== arguments[0]", before), 60
    )
    badges_and_fonts = ("mybinder.org", "colab.research.google.com", "cdn.jsdelivr.net")  # there may be no network
    own = [error for error in errors(page) if not any(place in error for place in badges_and_fonts)]
    assert not [error for error in own if "favicon" not in error]
