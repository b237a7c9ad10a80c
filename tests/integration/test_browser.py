"""The example's page, in a real browser."""

import os
import shutil
import signal

import pytest

from tests.integration.servers import gunicorn
from tests.processes import PATIENCE, wait_until

webdriver = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
if CHROMIUM is None or DRIVER is None:
    pytest.skip(
        "no browser is installed: apt-get install chromium chromium-driver",
        allow_module_level=True,
    )

OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1200,1300",
]

# Starting a browser on a busy machine takes its time.
pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.once,
    pytest.mark.xdist_group("browser"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for option in [*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(option)
    service = webdriver.ChromeService(executable_path=DRIVER)
    browser = webdriver.Chrome(options=options, service=service)
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def server():
    with gunicorn(FLASK_GIPC_MAX_WORKERS="2") as server:
        yield server


class Page:
    """The page, and what a person sees and does there."""

    def __init__(self, browser, server) -> None:
        self._browser = browser
        self.server = server
        browser.get(f"{server.url}/")
        wait_until(self.beats, "the heart beats")

    def text(self, element: str) -> str:
        script = "return document.getElementById(arguments[0]).textContent"
        return self._browser.execute_script(script, element)

    def press(self, button: str) -> None:
        self._browser.find_element("id", button).click()

    def fill(self, field: str, text: str) -> None:
        element = self._browser.find_element("id", field)
        element.clear()
        element.send_keys(text)

    def beats(self) -> int:
        """How many pings were answered."""
        return int(self.text("beats"))

    def outcome(self, button: str, patience: float = PATIENCE) -> str:
        """What a button's press has led to in the end."""

        # One look at both: the page goes on between two of them.
        look = """
            const place = document.getElementById(arguments[0]);
            const headline = place.querySelector("strong");
            return headline && !place.textContent.includes("…") ? place.textContent : null;
        """

        def over() -> str | None:
            return self._browser.execute_script(look, f"{button}-outcome")

        return wait_until(over, f"the outcome of {button}", patience)

    def errors(self) -> list[str]:
        """What the browser complained of, failed requests apart: some are asked for."""
        return [
            entry["message"]
            for entry in self._browser.get_log("browser")
            if entry["level"] == "SEVERE" and entry["source"] != "network"
        ]


@pytest.fixture
def page(browser, server):
    page = Page(browser, server)
    yield page
    assert page.errors() == []


def test_the_heartbeat_goes_on_during_an_offloaded_run(page):
    page.press("crash")  # which starts children, should there be none
    page.outcome("crash")
    stats = wait_until(
        lambda: (stats := page.server.stats())["starting"] == 0 and stats, "no child starts"
    )
    children = [child["pid"] for child in stats["children"]]
    for pid in children:
        os.kill(pid, signal.SIGSTOP)  # now the run cannot end before it was watched
    try:
        page.press("offload")
        page.server.wait_until_running(2, queued=2)
        before = page.beats()
        wait_until(lambda: page.beats() >= before + 10, "ten more pings are answered")
        assert "Running" in page.text("offload-outcome")
    finally:
        for pid in children:
            os.kill(pid, signal.SIGCONT)
    outcome = page.outcome("offload")
    assert "12 answers" in outcome
    assert "3001134" in outcome
    assert any(str(pid) in outcome for pid in children)


def test_an_inline_run_is_done_by_the_server_itself(page):
    page.press("inline")
    outcome = page.outcome("inline")
    (worker,) = page.server.workers()
    assert "12 answers" in outcome
    assert f"3001134, from process {worker}" in outcome


def test_a_missed_deadline_is_shown(page):
    page.press("deadline")
    outcome = page.outcome("deadline")
    assert outcome.startswith("504 OffloadTimeout")
    assert "was killed" in outcome


def test_a_crash_is_shown_and_the_child_is_replaced(page):
    page.press("crash")
    outcome = page.outcome("crash")
    assert outcome.startswith("500 ChildDied")
    assert "SIGKILL" in outcome
    wait_until(lambda: "idle" in page.text("children"), "there is an idle child again")
    wait_until(lambda: page.text("count-died") != "0", "the death is counted")


def test_a_streamed_job_shows_its_progress_and_its_end(page, browser):
    page.fill("blocks", "3")
    page.press("stream")
    assert page.outcome("stream") == "Done. 788,060 primes below 12,000,000."
    progress = browser.find_element("id", "progress")
    assert progress.get_property("value") == progress.get_property("max") == 3
    page.server.wait_until_running(0)


def test_a_streamed_job_of_no_blocks_is_not_started(page):
    page.fill("blocks", "0")
    page.press("stream")
    assert page.text("stream-outcome").startswith("Blocks of")


def test_a_streamed_job_can_be_stopped_and_its_child_is_gone(page):
    page.press("stream")
    stats = page.server.wait_until_running(1)
    (pid,) = [child["pid"] for child in stats["children"] if child["state"] == "busy"]
    os.kill(pid, signal.SIGSTOP)  # so that it does not end by itself
    page.press("stop")
    assert page.outcome("stream").startswith("Stopped.")
    os.kill(pid, signal.SIGCONT)  # its next items tell the server that the client is gone
    wait_until(
        lambda: pid not in {child["pid"] for child in page.server.stats()["children"]},
        "the child was killed",
    )


def test_the_children_are_listed_with_what_they_do(page):
    page.press("deadline")
    wait_until(lambda: "tasks.sleep" in page.text("children"), "the table shows the call")
    page.outcome("deadline")
    pids = [str(child["pid"]) for child in page.server.stats()["children"]]
    wait_until(lambda: all(pid in page.text("children") for pid in pids), "each has its row")


def test_every_button_can_be_pressed_with_the_keyboard(page, browser):
    from selenium.webdriver.common.keys import Keys

    reached = []
    while len(reached) < 10 and "crash" not in reached:
        browser.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(browser.switch_to.active_element.get_attribute("id"))
    assert [name for name in reached if name] == [
        "inline",
        "offload",
        "stream",
        "blocks",
        "deadline",
        "crash",
    ]
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert page.outcome("crash").startswith("500")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_colour_scheme_and_fits_a_phone(page, browser, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in background.strip("rgb()").split(","))
    assert (brightness > 3 * 127) == (scheme == "light")
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        wide = "return document.documentElement.scrollWidth"
        assert browser.execute_script(wide) <= 360
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_it_asks_no_other_host_for_anything(page, browser):
    script = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    names = browser.execute_script(script)
    assert names
    assert all(name.startswith((page.server.url, "data:")) for name in names)
