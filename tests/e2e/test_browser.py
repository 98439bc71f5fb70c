"""The page in a real browser: at a desk and on a phone, by day and by night, by mouse and by keyboard."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from kinetics.records import SPLIT_OF, Category
from kinetics.report import page
from kinetics.report.collect import collect
from kinetics.report.model import Reason
from tests.support import small_run
from tests.support.browser import CHROMIUM, chromium
from tests.support.small_run import JUGGLING, SCRIPT, YOGA
from tests.youtube.videos import Video

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytest.importorskip("playwright.sync_api", reason="pip install -r tests/requirements-browser.txt")
if not CHROMIUM:
    pytest.skip("there is no Chromium (Debian: apt install chromium)", allow_module_level=True)

WIDTHS = (1280, 360)
PATIENCE_MS = 60_000


class Visit:
    """The page as it is seen, and what it asked for or complained of."""

    def __init__(self, tab: Page, address: str) -> None:
        self.tab = tab
        self.requests: list[str] = []
        self.complaints: list[str] = []
        tab.set_default_timeout(PATIENCE_MS)
        tab.on("request", lambda request: self.requests.append(request.url))
        tab.on("console", lambda message: self.complaints.append(message.text))
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        tab.goto(address)

    @property
    def width(self) -> int:
        assert self.tab.viewport_size
        return int(self.tab.viewport_size["width"])

    def classes(self) -> list[str]:
        return list(self.tab.locator("table.sortable tbody th").all_inner_texts())

    def order(self) -> list[str | None]:
        headers = self.tab.locator("table.sortable thead th")
        return [headers.nth(place).get_attribute("aria-sort") for place in range(headers.count())]

    def picture(self, *, whole: bool = False) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        return np.asarray(Image.open(io.BytesIO(self.tab.screenshot(full_page=whole))).convert("RGB"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    layout = small_run.small_run(tmp_path_factory.mktemp("run"), Video(duration_s=3, moving=False))
    path: Path = page.write(collect(layout, ["train"], small_run.frame()), layout)[0]
    return path.as_uri()


@contextmanager
def visit(browser: Browser, address: str, width: int = WIDTHS[0], *, dark: bool = False) -> Iterator[Visit]:
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light", reduced_motion="reduce"
    )
    try:
        yield Visit(context.new_page(), address)
    finally:
        context.close()


@pytest.fixture(scope="module", params=WIDTHS)
def seen(browser: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """For those who only look."""
    with visit(browser, address, request.param) as found:
        yield found


def test_nothing_is_wider_than_the_window(seen: Visit) -> None:
    assert seen.tab.evaluate("document.documentElement.scrollWidth") == seen.width
    wide = seen.tab.evaluate(
        """() => [...document.querySelectorAll("body *")]
            .filter(one => !one.closest(".scroll table") && one.getBoundingClientRect().right > innerWidth + 0.5)
            .map(one => one.outerHTML.slice(0, 80))"""
    )
    assert not wide, "but for tables, which scroll in their own boxes"


def test_words_do_not_run_into_each_other_or_out_of_their_places(seen: Visit) -> None:
    cut = seen.tab.evaluate(
        """() => [...document.querySelectorAll("h1, h2, p, dt, dd, li, td, th, figcaption")]
            .filter(one => one.offsetParent && one.scrollWidth > one.clientWidth + 1)
            .map(one => one.outerHTML.slice(0, 80))"""
    )
    assert not cut


@pytest.fixture(scope="module")
def full_address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page on all subsets with long names, and with a median and a mean that are the same."""
    layout = small_run.small_run(tmp_path_factory.mktemp("full"), Video(duration_s=3, moving=False))
    small_run.add_other_subsets(layout)
    long_name = {"tai chi": "throwing ball (not baseball or American football)"}
    clips = [
        replace(clip, label=long_name.get(clip.label, clip.label)) for clip in (*small_run.CLIPS, *small_run.OTHERS)
    ]
    report = collect(layout, [*SPLIT_OF], small_run.frame(clips))
    assert any(one.median_s == one.mean_within_s for one in report.durations)
    hosts = tuple(
        replace(one, name="gpu-node-17.cluster.example.org") for one in report.origins if one.kind == "machine"
    )
    refused = Reason(Category.NOT_OFFERED, "This video is not available", 1, "-_id-_id-_i")
    told = replace(report, origins=(*report.origins, *hosts), reasons=(*report.reasons, refused))
    return page.write(told, layout)[0].as_uri()


ALL_WIDTHS = (320, 360, 390, 500, 740, 820, 900, 1180, 1400)


def test_at_every_width_all_columns_are_seen_no_word_is_broken_and_no_text_of_a_plot_covers_another(
    browser: Browser, full_address: str
) -> None:
    with visit(browser, full_address) as seen:
        for width in ALL_WIDTHS:
            seen.tab.set_viewport_size({"width": width, "height": 800})
            assert seen.tab.evaluate("document.documentElement.scrollWidth") == width
            for what, script in (("hidden", HIDDEN_CELLS), ("broken", BROKEN_WORDS), ("covered", COVERED_TEXTS)):
                assert not seen.tab.evaluate(script), f"{what} at {width} pixels"


HIDDEN_CELLS = """() => [...document.querySelectorAll("tbody td, tbody th")].filter(cell => {
    const {left, right} = cell.getBoundingClientRect(), box = cell.closest(".scroll").getBoundingClientRect();
    const header = cell.closest("table").tHead.rows[0].cells[cell.cellIndex];
    const label = getComputedStyle(cell, "::before").content.replaceAll('"', "");
    const named = cell.matches("th") || label === header.innerText.trim() ||
        header.checkVisibility() && Math.abs(header.getBoundingClientRect().right - right) < 1;
    return !cell.checkVisibility() || left < box.left - 1 || right > box.right + 1 || !named;
}).map(cell => cell.outerHTML)"""
"""Cells beyond the edge of their table's box, or without the name of their column beside or above them."""
BROKEN_WORDS = """() => {
    const found = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let text; text = texts.nextNode();) {
        if (!text.parentElement.checkVisibility() || text.parentElement.closest("svg, script")) continue;
        for (const word of text.data.matchAll(/[^\\s]{1,20}(?![^\\s])/g)) {
            if (word.index && /[^\\s]/.test(text.data[word.index - 1])) continue;
            const range = document.createRange();
            range.setStart(text, word.index);
            range.setEnd(text, word.index + word[0].length);
            if (new Set([...range.getClientRects()].map(part => Math.round(part.top))).size > 1) found.push(word[0]);
        }
    }
    return found;
}"""
"""Words of up to 20 letters that go on in the next line; longer ones, such as addresses, may have to."""
COVERED_TEXTS = """() => [...document.querySelectorAll("svg")].flatMap(plot => {
    const texts = [...plot.querySelectorAll("text")].filter(text => text.textContent.trim());
    const boxes = texts.map(text => text.getBoundingClientRect()).filter(box => box.width);
    return boxes.flatMap((one, place) => boxes.slice(place + 1)
        .filter(two => Math.min(one.right, two.right) > Math.max(one.left, two.left))
        .filter(two => Math.min(one.bottom, two.bottom) > Math.max(one.top, two.top) + 4)
        .map(two => plot.querySelector("title").textContent));
})"""
"""Plots in which the boxes of two texts overlap by more than the space above their letters."""


def test_letters_in_plots_can_be_read(seen: Visit) -> None:
    smallest = seen.tab.evaluate(
        """() => Math.min(...[...document.querySelectorAll("svg text")]
            .filter(one => one.closest("figure").offsetParent)
            .map(one => [parseFloat(getComputedStyle(one).fontSize), one.getScreenCTM()])
            .map(([size, matrix]) => size * Math.hypot(matrix.a, matrix.b)))"""
    )
    assert smallest >= 8


def test_each_plot_is_shown_once_in_the_shape_that_fits(seen: Visit) -> None:
    shown = seen.tab.evaluate(
        """() => [...document.querySelectorAll("svg")].filter(one => one.closest("figure").offsetParent)
            .map(one => one.querySelector("title").textContent)"""
    )
    assert len(shown) == len(set(shown)) == 7


def test_the_file_is_all_that_is_asked_for_and_nothing_is_complained_of(seen: Visit, address: str) -> None:
    seen.picture(whole=True)
    assert [one for one in seen.requests if not one.startswith("data:")] == [address]
    assert not seen.complaints
    broken = "[...document.images].filter(image => !image.naturalWidth).length"
    assert seen.tab.evaluate(broken) == 0
    assert seen.tab.evaluate("document.images.length") == len(small_run.HERE)


def test_the_picture_is_not_blank(seen: Visit) -> None:
    picture = seen.picture()
    assert picture.shape == (800, seen.width, 3)
    for band in np.array_split(picture, 2):
        assert np.unique(band.reshape(-1, 3), axis=0).shape[0] > 20


def test_hostile_words_are_shown_and_not_run(browser: Browser, address: str) -> None:
    with visit(browser, address) as seen:
        assert seen.tab.title() == "Kinetics700 train: 50.0%"
        text = seen.tab.inner_text("main")
        assert SCRIPT.split(">")[1] in text
        assert "<script>" in text
        assert JUGGLING in text


def test_even_markup_that_got_into_the_page_would_not_run(browser: Browser, address: str) -> None:
    with visit(browser, address) as seen:
        seen.tab.evaluate(
            """() => {
                const script = document.createElement("script");
                script.textContent = "document.title = 'run'";
                document.body.append(script);
                document.body.insertAdjacentHTML("beforeend", `<img src=x onerror="document.title = 'run'">
                    <img src="http://127.0.0.1:9/pixel"><a id=leak href="https://127.0.0.1:9/">x</a>`);
            }"""
        )
        seen.tab.wait_for_function("[...document.images].every(image => image.complete)")
        assert seen.tab.title() == "Kinetics700 train: 50.0%"
        assert any("Content Security Policy" in complaint for complaint in seen.complaints)


def test_a_click_sorts_and_another_turns_the_order_round(browser: Browser, address: str) -> None:
    with visit(browser, address) as seen:
        assert seen.classes() == [JUGGLING, YOGA, "tai chi"]
        assert seen.order() == [None, "ascending", *[None] * 6]
        seen.tab.get_by_role("button", name="class").click()
        assert seen.classes() == [JUGGLING, "tai chi", YOGA]
        assert seen.order() == ["ascending", *[None] * 7]
        seen.tab.get_by_role("button", name="class").click()
        assert seen.classes() == [YOGA, "tai chi", JUGGLING]
        assert seen.order() == ["descending", *[None] * 7]


def test_numbers_are_sorted_as_numbers(browser: Browser, address: str) -> None:
    with visit(browser, address) as seen:
        seen.tab.evaluate(
            """() => document.querySelectorAll("table.sortable tbody tr").forEach((row, place) => {
                row.cells[2].dataset.value = [9, 1000, 80][place];
                row.cells[0].textContent = [9, 1000, 80][place];
            })"""
        )
        seen.tab.get_by_role("button", name="on disk").click()
        assert seen.classes() == ["9", "80", "1000"]


def test_the_keyboard_sorts_too(browser: Browser, address: str) -> None:
    with visit(browser, address) as seen:
        button = seen.tab.get_by_role("button", name="not tried")
        for _ in range(100):
            seen.tab.keyboard.press("Tab")
            if button.evaluate("one => one === document.activeElement"):
                break
        seen.tab.keyboard.press("Enter")
        assert seen.classes()[0] == "tai chi"
        assert seen.order()[-1] == "ascending"
        seen.tab.keyboard.press("Space")
        assert seen.classes()[-1] == "tai chi"
        assert seen.order()[-1] == "descending"
        assert button.evaluate("one => getComputedStyle(one).outlineStyle") == "solid", "one sees where one is"


@pytest.mark.parametrize("width", WIDTHS)
def test_by_night_it_is_dark_and_by_day_light(browser: Browser, address: str, width: int) -> None:
    means = {}
    for dark in (True, False):
        with visit(browser, address, width, dark=dark) as seen:
            means[dark] = seen.picture(whole=True).mean()
            contrasts = seen.tab.evaluate(CONTRASTS)
            assert contrasts, "there are words"
            assert min(contrasts.values()) >= 4.5, {key: one for key, one in contrasts.items() if one < 4.5}
    assert means[True] < 80
    assert means[False] > 200


CONTRASTS = """() => {
    const light = colour => {
        const [red, green, blue] = colour.match(/[0-9.]+/g).map(Number).map(part => part / 255)
            .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const page = light(getComputedStyle(document.body).backgroundColor);
    const found = {};
    for (const one of document.querySelectorAll("h1, h2, p, small, dt, dd, td, th, li, button, a, code, svg text")) {
        const style = getComputedStyle(one);
        const ink = light(one instanceof SVGElement ? style.fill : style.color);
        found[one.tagName + " " + one.className] = (Math.max(ink, page) + 0.05) / (Math.min(ink, page) + 0.05);
    }
    return found;
}"""
"""The contrast of words with the page, as WCAG reckons it; 4.5 is its level AA."""


def test_without_scripts_all_is_there_but_the_sorting(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    try:
        tab = context.new_page()
        tab.goto(address)
        assert JUGGLING in tab.inner_text("main")
    finally:
        context.close()
