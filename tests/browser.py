"""A headless Chromium for tests of pages; they are skipped where none is installed."""

import shutil

import pytest


def open_browser(width: int = 1200, height: int = 1000, wait: bool = True):
    """A Selenium driver of that window size whose console log is kept; `wait`: for pages to load."""
    webdriver = pytest.importorskip("selenium.webdriver")
    driver, browser = shutil.which("chromedriver"), shutil.which("chromium")
    if not (driver and browser):
        pytest.skip("no chromium and chromedriver here: pages are not tried in a browser")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.page_load_strategy = "normal" if wait else "none"
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    page = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    return page


def errors(page) -> list[str]:
    """What the console reports as errors."""
    return [entry["message"] for entry in page.get_log("browser") if entry["level"] == "SEVERE"]
