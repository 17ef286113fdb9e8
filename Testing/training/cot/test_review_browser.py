"""The review page in a real browser, served by the real command."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import uvicorn

from training.cot.loading import SubjectLoader
from training.cot.review.app import create_app
from training.cot.review.store import ReviewStore
from training.records import read_records
from training.run import main

ROOT = Path(__file__).resolve().parents[3]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1440,900",
)
PATIENCE_S = 20

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver (apt: chromium-driver)"
    ),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def run_folder(made_up_data, tmp_path):
    """Six records asked once each; the third answer's place is made wrong."""
    output = tmp_path / "cot"
    queries = "queries={per_target: 1, normal: 0, absent: 0, multi: 0}"
    assert main(["cot", f"data={made_up_data}", f"output={output}", "split=val", queries]) == 0
    path = output / "cots.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[2]["critic"] |= {"accepted": False, "reasons": ["place of the retinal vessels: wrong"]}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return output


@pytest.fixture
def page(browser, run_folder, made_up_data):
    """The page, served from a thread of the test."""
    data = made_up_data / "m3ds"
    records = read_records(data, "val")
    store = ReviewStore(run_folder, records, SubjectLoader(data, records))
    config = uvicorn.Config(create_app(store, "token"), log_level="warning")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            browser.get(f"http://127.0.0.1:{listener.getsockname()[1]}/token/")
            yield Page(browser)
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)
            store.close()


class Page:
    """What a person sees and does."""

    def __init__(self, browser):
        self.browser = browser
        self.until(lambda: self.value("analysis"))

    def until(self, condition):
        from selenium.webdriver.support.wait import WebDriverWait

        return WebDriverWait(self.browser, PATIENCE_S).until(lambda _: condition())

    def find(self, name):
        return self.browser.find_element("id", name)

    def text(self, name):
        return self.find(name).text

    def value(self, name):
        return self.find(name).get_attribute("value")

    def press(self, *keys):
        from selenium.webdriver import ActionChains

        ActionChains(self.browser).send_keys(*keys).perform()

    def press_with_control(self, key):
        from selenium.webdriver import ActionChains
        from selenium.webdriver.common.keys import Keys

        keys = ActionChains(self.browser)
        keys.key_down(Keys.CONTROL).send_keys(key).key_up(Keys.CONTROL).perform()

    def show(self, label):
        from selenium.webdriver.support.select import Select

        Select(self.find("filter")).select_by_visible_text(label)

    def wait_for_progress(self, reviewed):
        self.until(lambda: self.text("progress-text") == f"{reviewed} of 6 reviewed")

    def wait_for_position(self, position):
        self.until(lambda: self.text("position") == position)


def decisions(folder):
    return [json.loads(line) for line in (folder / "reviews.jsonl").read_text().splitlines()]


def test_a_review_by_keyboard(page, run_folder):
    from selenium.webdriver.common.keys import Keys

    assert page.text("position") == "1 / 6"
    first_query = page.text("query")
    width = "return document.getElementById('image').naturalWidth"
    page.until(lambda: page.browser.execute_script(width) == 64)
    assert page.find("overlay").is_displayed()
    page.press("m")
    assert not page.find("overlay").is_displayed()
    page.press("m")

    page.press("a")
    page.wait_for_progress(1)
    page.until(lambda: page.text("query") != first_query)

    page.press("e")
    analysis = page.find("analysis")
    assert analysis.get_attribute("readonly") is None
    before = page.value("analysis")
    # The letters are text while editing, not decisions.
    page.press_with_control(Keys.END)
    page.press(", area")
    page.press_with_control(Keys.ENTER)
    page.wait_for_progress(2)

    page.wait_for_position("3 / 6")
    page.until(lambda: "Rejected by the critic" in page.text("critic-head"))
    assert "place of the retinal vessels: wrong" in page.text("critic-reasons")
    page.press("r")
    page.press(Keys.ENTER)
    page.until(lambda: "needs a reason" in page.text("message"))
    page.press("the arcade is missing", Keys.ENTER)
    page.wait_for_progress(3)

    page.press(Keys.ARROW_LEFT)
    page.until(lambda: page.text("decision") == "Rejected by a reviewer: the arcade is missing")
    accepted, edited, rejected = decisions(run_folder)
    assert (accepted["decision"], rejected["decision"]) == ("accept", "reject")
    assert edited["decision"] == "edit"
    assert edited["original"]["analysis"] == before
    assert edited["answer"]["analysis"] == f"{before}, area"
    assert rejected["reason"] == "the arcade is missing"


def test_the_command_prints_an_address_that_works(browser, run_folder, made_up_data):
    command = [
        sys.executable, "training/run.py", "review", f"data={made_up_data}",
        f"output={run_folder}", "split=val",
    ]  # fmt: skip
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{20,}/", address)
        browser.get(address)
        page = Page(browser)
        page.press("a")
        page.wait_for_progress(1)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(PATIENCE_S)
    assert [line["decision"] for line in decisions(run_folder)] == ["accept"]


def test_filters_cancelling_and_the_live_check(page, run_folder):
    from selenium.webdriver.common.keys import Keys

    page.show("rejected by the critic")
    page.wait_for_position("1 / 1")
    page.show("reviewed")
    page.until(lambda: page.find("empty").is_displayed())
    page.press("a")
    page.show("all")
    page.wait_for_position("1 / 6")
    page.until(lambda: page.find("query").is_displayed())
    page.until(lambda: "Accepted by the critic" in page.text("critic-head"))

    before = page.value("analysis")
    page.press("e")
    page.press_with_control(Keys.END)
    page.press(" and it covers 95 percent")
    page.until(lambda: "Rejected" in page.text("critic-head"))
    assert "95 percent" in page.text("critic-reasons")
    page.press(Keys.ESCAPE)
    assert page.value("analysis") == before
    assert "Accepted by the critic" in page.text("critic-head")

    page.press(Keys.ARROW_RIGHT)
    page.wait_for_position("2 / 6")
    page.press(Keys.ARROW_LEFT)
    page.wait_for_position("1 / 6")
    assert (run_folder / "reviews.jsonl").read_text() == ""


def test_no_errors_and_nothing_from_elsewhere(page):
    # An error of an earlier test's page does not count, so look at a fresh one.
    page.browser.get_log("browser")
    page.browser.refresh()
    page.until(lambda: page.value("analysis"))
    assert [entry for entry in page.browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    loaded = "return performance.getEntriesByType('resource').map(e => new URL(e.name).host)"
    here = page.browser.execute_script("return location.host")
    assert set(page.browser.execute_script(loaded)) == {here}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1440, 900), (1024, 700), (420, 800)])
def test_both_themes_at_several_sizes_have_no_sideways_scroll(page, scheme, size):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        script = "return [document.documentElement.scrollWidth, innerWidth]"
        inner, outer = page.browser.execute_script(script)
        assert inner <= outer
        colour = "return getComputedStyle(document.body).backgroundColor"
        brightness = page.browser.execute_script(colour).partition("(")[2].partition(",")[0]
        assert (int(brightness) > 128) == (scheme == "light")
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
