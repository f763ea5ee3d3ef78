"""A headless Chromium for the tests of the fleet's page.

Imported first, it also finds an interpreter that has selenium: the one that runs, else the
distribution's, else the test is skipped (77), as it is without a browser."""

import os
import shutil
import sys
import tempfile
import time

SKIPPED = 77
ROOT = os.environ.get("BATON_ROOT", os.path.join(os.path.dirname(__file__), "..", ".."))
BATON = os.path.join(os.environ.get("BATON_BUILD", os.path.join(ROOT, "build")), "baton")
DEBIAN = "/usr/bin/python3"
PATIENCE_S = 60.0


def skip(why):
    print("skipped: " + why)
    sys.exit(SKIPPED)


def _find_libraries():
    try:
        import selenium  # noqa: F401
    except ImportError:
        if os.path.exists(DEBIAN) and not os.environ.get("PAGE_TEST_PYTHON"):
            os.environ["PAGE_TEST_PYTHON"] = "looked for"
            os.execv(DEBIAN, [DEBIAN, "-B", *sys.argv])
        skip("no selenium: apt-get install python3-selenium chromium-driver")
    for program in ("chromium", "chromedriver"):
        if not shutil.which(program):
            skip(f"no {program}: apt-get install chromium chromium-driver")


_find_libraries()

from selenium import webdriver  # noqa: E402
from selenium.common.exceptions import WebDriverException  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402, F401


class Browser:
    """One page; what it says in the console is an error of the test."""

    def __init__(self, width=1280, height=900):
        self.folder = tempfile.mkdtemp(prefix="baton-test-")
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu",
                         "--disable-dev-shm-usage", "--user-data-dir=" + self.folder):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        try:
            self.driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")),
                                           options=options)
        except WebDriverException as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            skip(f"the browser does not start here: {error.msg}")
        self.look_at(width, height)

    def look_at(self, width, height, dark=False):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})

    def open(self, url):
        self.driver.get(url)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def find(self, element_id):
        return self.driver.find_element(By.ID, element_id)

    def text(self, element_id):
        return self.run("return document.getElementById(arguments[0]).textContent", element_id)

    def wait(self, what, condition, patience_s=PATIENCE_S):
        """Until condition() is true; what it gave."""
        end = time.monotonic() + patience_s
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f"waited for {what}; the page shows:\n"
                                     + self.run("return document.body.innerText"))
            time.sleep(0.05)

    def console(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def close(self):
        self.driver.quit()
        shutil.rmtree(self.folder, ignore_errors=True)


def run_tests(tests, *arguments):
    """Each function with the arguments; the exit status."""
    for test in tests:
        print(test.__name__, flush=True)
        test(*arguments)
    print(f"{len(tests)} tests passed")
