"""A page that is open in a real browser while a run is under way: it stays fresh, and looks as its reader left it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kinetics.report.collect import collect
from kinetics.report.model import LiveState
from kinetics.report.page import PageWriter
from tests.e2e.test_browser import CONTRASTS, Visit, visit
from tests.support import small_run
from tests.support.browser import CHROMIUM, chromium
from tests.support.commands import PATIENCE_S
from tests.support.sandbox import Sandbox, kill, many_rows, wait_until
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import FakeThrottle

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytest.importorskip("playwright.sync_api", reason="pip install -r tests/requirements-browser.txt")
if not CHROMIUM:
    pytest.skip("there is no Chromium (Debian: apt install chromium)", allow_module_level=True)

WINDOWS = tuple((width, dark) for width in (390, 1280) for dark in (False, True))
SCROLLED = 400
"""Pixels to which the reader has scrolled."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@dataclass
class Beside:
    """A run that YouTube makes pause, a report beside it, and the report's page in four windows."""

    sandbox: Sandbox
    run: subprocess.Popen[str]
    report: subprocess.Popen[str]
    page: Path
    windows: list[Visit]

    def wait_for(self, one: Visit, script: str) -> None:
        """Wait until a script is true in a window, whose page may be loaded anew meanwhile."""

        def true() -> Any:
            from playwright.sync_api import Error  # noqa: PLC0415 - only where it is installed

            try:
                return one.tab.evaluate(script)
            except Error:  # it is just being loaded
                return False

        wait_until(true, script)

    def head(self, one: Visit) -> str:
        return str(one.tab.inner_text("#state"))


@dataclass
class UnderWay:
    """A run that has some clips already."""

    sandbox: Sandbox
    youtube: LoopbackYouTube
    run: subprocess.Popen[str]

    @property
    def page(self) -> Path:
        return self.sandbox.folder / "Kinetics700_validate_report.html"

    def start_report(self) -> subprocess.Popen[str]:
        self.page.unlink(missing_ok=True)
        report = self.sandbox.start(self.youtube, "--report")
        wait_until(lambda: self.page.exists() or report.poll() is not None, "a page")
        assert report.poll() is None
        return report


@pytest.fixture(scope="module")
def under_way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UnderWay]:
    sandbox = Sandbox(tmp_path_factory.mktemp("live"), many_rows(40))
    sandbox.world.latency_s = 1.0  # takes time, but little of the processor
    with LoopbackYouTube(sandbox.world) as youtube, sandbox.start(youtube, "--cut", "keyframe", "-w", "2") as run:
        wait_until(lambda: any(sandbox.folder.rglob("*.mp4")), "a first clip")
        yield UnderWay(sandbox, youtube, run)
        kill(run.pid)


@pytest.fixture
def beside(browser: Browser, under_way: UnderWay) -> Iterator[Beside]:
    with ExitStack() as stack:
        report = stack.enter_context(under_way.start_report())
        stack.callback(kill, report.pid)
        address = under_way.page.as_uri()
        windows = [stack.enter_context(visit(browser, address, width, dark=dark)) for width, dark in WINDOWS]
        yield Beside(under_way.sandbox, under_way.run, report, under_way.page, windows)


def test_ctrl_c_ends_the_report_and_not_the_run(under_way: UnderWay) -> None:
    report, page = under_way.start_report(), under_way.page
    assert "data-reload-s" in page.read_text()
    report.send_signal(signal.SIGINT)
    said, _ = report.communicate(timeout=PATIENCE_S)
    assert report.returncode == 0
    assert "Traceback" not in said
    assert "not kept fresh any more" in said
    assert under_way.run.poll() is None
    text = page.read_text()
    assert "data-reload-s" not in text
    assert "nobody keeps this page fresh any more" in text


def test_a_page_stays_fresh_until_the_run_ends_and_looks_as_it_was_left(beside: Beside) -> None:
    for one in beside.windows:  # the page is loaded again, by itself, as its reader left it
        one.tab.get_by_role("button", name="on disk").click()
        one.tab.evaluate(f"scrollTo(0, {SCROLLED}); window.before = true")
        assert not one.tab.evaluate("document.getElementById('old').checkVisibility()")
    for one in beside.windows:
        beside.wait_for(one, "document.readyState === 'complete' && !window.before")
        assert one.tab.evaluate("scrollY") == SCROLLED
        assert one.order()[2] == "ascending"
        assert one.order()[1] is None

    beside.sandbox.world.throttle = FakeThrottle(after=0, for_s=5.0, retry_after="45")
    for one in beside.windows:  # a pause is shown as one
        beside.wait_for(one, "document.getElementById('state')?.innerText.includes('Paused until')")
        assert "429" in beside.head(one)
        assert "to do" in beside.head(one)
        assert "in this hour" in beside.head(one)
        assert "from the clips of this run so far" in beside.head(one)
        assert one.tab.evaluate("document.documentElement.scrollWidth") == one.width
        contrasts = one.tab.evaluate(CONTRASTS)
        assert min(contrasts.values()) >= 4.5, {key: value for key, value in contrasts.items() if value < 4.5}

    reader, other, *_ = beside.windows  # text that is selected is not taken away
    reader.tab.evaluate("getSelection().selectAllChildren(document.querySelector('h1')); window.before = true")
    for _ in range(2):
        other.tab.evaluate("window.before = true")
        beside.wait_for(other, "document.readyState === 'complete' && !window.before")
    assert reader.tab.evaluate("window.before")
    reader.tab.evaluate("getSelection().removeAllRanges()")

    beside.sandbox.world.latency_s = 0.0
    assert beside.run.wait(PATIENCE_S) == 0
    assert beside.report.wait(PATIENCE_S) == 0
    for one in beside.windows:
        beside.wait_for(one, "document.getElementById('state')?.innerText.startsWith('Ended')")
        assert one.tab.inner_text("h1") == "100%"
        assert one.tab.evaluate("document.body.dataset.reloadS") is None, "it is not loaded again"
        assert one.tab.evaluate("scrollY") == SCROLLED
        assert {request for request in one.requests if not request.startswith("data:")} == {beside.page.as_uri()}
        assert not one.complaints


@pytest.mark.parametrize(("age", "old"), [(timedelta(seconds=20), False), (timedelta(minutes=10), True)])
def test_a_page_whose_writer_was_killed_says_that_it_is_old(
    browser: Browser, tmp_path: Path, age: timedelta, old: bool
) -> None:
    layout = small_run.small_run(tmp_path)
    report = replace(collect(layout, ["train"], small_run.frame()), created_at=datetime.now().astimezone() - age)
    path, *_ = PageWriter(layout).write(report, LiveState("at work", (), 600))
    text = path.read_text().replace('data-reload-s="600"', 'data-reload-s="5"') if old else path.read_text()
    path.write_text(text)
    with visit(browser, path.as_uri()) as seen:
        seen.tab.wait_for_timeout(1000)
        assert seen.tab.locator("#old").is_visible() is old
        assert "A run is at work" in seen.tab.inner_text("#state")
