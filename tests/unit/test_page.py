"""The page: one file, whole, that needs nobody and runs nothing from outside; and the tables behind it."""

from __future__ import annotations

import base64
import csv
import functools
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import matplotlib as mpl
import pytest

from kinetics.errors import Fatal
from kinetics.records import SPLIT_OF, Category
from kinetics.report import page, plots
from kinetics.report.collect import collect
from kinetics.report.model import Completeness, Reason, Report
from kinetics.report.text import report_lines
from kinetics.report.timeline import Hour, PausePeriod, Session
from kinetics.storage.layout import Layout
from tests.support import small_run
from tests.support.small_run import A1, A2, BEGIN, CLIPS, HERE, JUGGLING, OTHERS, SCRIPT
from tests.youtube.videos import Video

SHORT = Video(duration_s=3, moving=False)
MEGABYTE = 1_000_000
NAMES = ("classes", "reasons", "durations", "hours", "sessions")
"""Of the tables of one subset."""


class Seen(HTMLParser):
    """What is in a page: its elements with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, "each element is closed where it should be"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


DRAWN_ONCE = ("histogram", "curve", "session_sizes")
"""Plots, of which those with the same figures are drawn once for all tests: drawing takes most of a page's time."""


@pytest.fixture(autouse=True, scope="module")
def drawn_once() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        for name in DRAWN_ONCE:
            patch.setattr(plots, name, functools.cache(getattr(plots, name)))
        yield patch


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return small_run.small_run(tmp_path_factory.mktemp("run"), SHORT)


@pytest.fixture(scope="module")
def report(layout: Layout) -> Report:
    return collect(layout, ["train"], small_run.frame())


@pytest.fixture(scope="module")
def html(layout: Layout, report: Report) -> str:
    return page.render(report, layout)


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


def test_a_page_and_its_tables_are_written_beside_the_data_set(layout: Layout, report: Report) -> None:
    paths = page.write(report, layout)
    names = ("report.html", *(f"report_{name}.csv" for name in NAMES))
    assert [path.name for path in paths] == [f"Kinetics700_train_{name}" for name in names]
    assert all(path.parent == layout.root and path.stat().st_size for path in paths)
    assert not [*layout.root.glob("*.part")]


def test_all_subsets_have_one_page_and_a_table_with_a_row_for_each_and_the_total(tmp_path: Path) -> None:
    layout = small_run.small_run(tmp_path)
    small_run.add_other_subsets(layout)
    report = collect(layout, [*SPLIT_OF], small_run.frame([*CLIPS, *OTHERS]))
    paths = page.write(report, layout)
    names = ("report.html", *(f"report_{name}.csv" for name in (*NAMES, "subsets")))
    assert [path.name for path in paths] == [f"Kinetics700_all_{name}" for name in names]
    assert [(row["subset"], row["wanted"], row["here"], row["gone"]) for row in table(paths[-1])] == [
        *(("train", "10", "5", "2"), ("validate", "3", "1", "1"), ("test", "1", "0", "0"), ("all", "14", "6", "3"))
    ]
    html = paths[0].read_text("utf-8")
    assert "6 of 14 clips are on disk." in Seen(html).text
    (rows,) = re.findall(r'aria-label="Subsets".+?<tbody>(.+?)</tbody>', html, re.DOTALL)
    assert re.findall(r'<th scope="row">(\w+)</th>.+?>([0-9.]+%)</td>', rows) == [
        *(("train", "50.0%"), ("validate", "33.3%"), ("test", "0%"))
    ]
    assert "Subsets" not in Seen(page.render(collect(layout, ["train"], small_run.frame()), layout)).text


def test_each_number_stands_once_on_the_page_and_in_the_text(layout: Layout, report: Report) -> None:
    total = Completeness("train", on_disk=7001, gone=811, may_work=523, never_tried=617, not_offered=419)
    pause = PausePeriod(BEGIN, BEGIN + timedelta(hours=8), "throttled")
    told = replace(
        report,
        folder="/data",  # the test's own may have any number in its name
        total=total,
        attempts=9377,
        timeline=replace(report.timeline, done=3511, begin=BEGIN, end=BEGIN + timedelta(hours=37), pauses=(pause,)),
        space=replace(report.space, bytes_on_disk=123 * 10**9, bytes_free=456 * 10**9, bytes_received=789 * 10**9),
        estimate=replace(report.estimate, size=234e9, seconds=5 * 86_400.0),
    )
    page_text = re.sub(r"<(title|desc)\b.*?</\1>", "", page.render(told, layout), flags=re.DOTALL)
    text = "\n".join(report_lines(told))
    numbers = {
        *("74.7%", "7,001", "9,371", "811", "523", "617", "419", "1,140", "9,377", "37.0 hours", "29.0 hours"),
        *("8.0 hours", "121", "95", "123 GB", "456 GB", "789 GB", "234 GB", "5.0 days"),
    }
    for told_text in (Seen(page_text).text, text):
        found = Counter(re.findall(r"(?<![\d.,])[\d.,]*\d(?:%| GB| hours| days)?", told_text))
        assert {number: found[number] for number in numbers} == dict.fromkeys(numbers, 1), told_text


def test_who_has_the_old_page_open_never_sees_half_of_the_new_one(layout: Layout, report: Report) -> None:
    for path in page.write(report, layout)[:2]:
        with open(path) as old:
            text = old.read()
            page.write(report, layout)
            assert not os.path.samestat(os.fstat(old.fileno()), path.stat())
            old.seek(0)
            assert old.read() == text


def test_a_folder_whose_name_is_no_text_is_no_obstacle(layout: Layout, report: Report) -> None:
    paths = page.write(replace(report, folder="/data/caf\udce9"), layout)
    assert "/data/caf\\udce9" in paths[0].read_text("utf-8")


def test_the_tables_hold_all_the_numbers(layout: Layout, report: Report) -> None:
    classes, reasons, durations, hours, sessions = map(table, page.write(report, layout)[1:])
    assert classes[-1] == {
        **{"label": "tai chi", "wanted": "4", "here": "3", "share": "0.75"},
        **{"gone": "1", "may_work_later": "0", "not_tried": "0", "not_offered": "0"},
    }
    assert {row["reason"] for row in reasons} == {
        *("This video is private", "HTTP Error 503 after .. s", f"removed on ..: {SCRIPT}")
    }
    assert {row["category"]: row["gone"] for row in reasons} == {"private": "1", "server_error": "0", "removed": "1"}
    assert {row["example"] for row in reasons} == {"_tai_chi_04", "yoga_000003", "juggling-02"}
    download = next(row for row in durations if row["step"] == "download")
    assert (download["mean_s"], download["fence_s"], download["longest_of_clips"]) == ("8.25", "18.375", "3")
    assert [(row["done"], row["failed"], row["postponed"]) for row in hours] == [("4", "3", "3")]
    assert [(row["done"], row["failed"], row["ended_by_a_refusal"]) for row in sessions] == [
        *(("3", "1", "1"), ("1", "2", "0"))
    ]
    assert sessions[1]["end"] == (BEGIN + timedelta(seconds=143)).isoformat()


def test_player_calls_are_told_in_the_words_of_the_text_and_in_tables(layout: Layout) -> None:
    small_run.write_tables(layout, calls=2)
    report = collect(layout, ["train"], small_run.frame())
    *_, hours, _, calls = map(table, page.write(report, layout)[1:])
    assert calls == [{"calls": "20", "attempts": "10", "uncounted": "0", "clips": "4", "for_gone": "4", "refused": "6"}]
    assert [row["calls"] for row in hours] == ["20"]
    seen = Seen(page.render(report, layout)).text
    for line in ("5.00 player calls a clip: 20 calls, 4 of them", "at most 20 player calls an hour, 20 on average"):
        assert line in seen
        assert any(line in told for told in report_lines(report))
    assert "3 player calls, 300 an hour as published" in seen


def test_where_no_table_counts_calls_the_page_has_no_number_of_them(layout: Layout, report: Report) -> None:
    assert "<dt>player calls</dt>" not in page.render(report, layout)
    assert "Kinetics700_train_report_calls.csv" not in [path.name for path in page.write(report, layout)]


def test_what_is_not_offered_has_a_number_of_its_own_on_the_page_and_in_the_tables(
    layout: Layout, report: Report
) -> None:
    refused = Reason(Category.NOT_OFFERED, "This video is not available", 3, "-_id-_id-_i")
    total = replace(report.total, not_offered=3)
    changed = replace(report, reasons=(*report.reasons, refused), total=total, classes=(total,))
    seen = Seen(page.render(changed, layout))
    assert re.search(r"not offered by YouTube\s+3\s+23\.1%", seen.text)
    assert "This video is not availablenot offered; e.g. -_id-_id-_i" in seen.text
    paths = page.write(changed, layout)
    assert [row["not_offered"] for row in table(paths[1])] == ["3"]
    assert [(row["gone"], row["not_offered"]) for row in table(paths[2])][-1] == ("0", "1")


def test_a_cell_is_no_formula_and_an_id_stays_as_it_is(layout: Layout, report: Report) -> None:
    formula = Reason(Category.PRIVATE, "=HYPERLINK(1)", 1, "-_id-_id-_i")
    paths = page.write(replace(report, reasons=(formula,)), layout)
    assert [(row["reason"], row["example"]) for row in table(paths[2])] == [("'=HYPERLINK(1)", "-_id-_id-_i")]


def test_what_cannot_be_written_is_said_and_leaves_nothing_half(tmp_path: Path) -> None:
    layout = small_run.small_run(tmp_path)
    report = collect(layout, ["train"], small_run.frame())
    (tmp_path / "Kinetics700_train_report_hours.csv").mkdir()
    with pytest.raises(Fatal, match=r"report_hours\.csv"):
        page.write(report, layout)
    assert not [*tmp_path.glob("*.part")]


def test_the_page_is_well_formed_and_no_two_elements_have_the_same_id(html: str) -> None:
    seen = Seen(html)
    assert html.startswith("<!doctype html>")
    assert not seen.open
    ids = [str(attributes["id"]) for _, attributes in seen.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', html)
    named = [str(attributes.get("aria-labelledby") or "").split() for _, attributes in seen.elements]
    assert {one or other for one, other in used} | {name for names in named for name in names} <= set(ids)


def test_nothing_is_fetched_from_anywhere(html: str) -> None:
    for tag, attributes in Seen(html).elements:
        for name in ("src", "srcset", "href", "action", "data", "poster"):
            value = str(attributes.get(name) or "")
            if tag == "a":
                assert not re.match(r"[a-z]+:|//", value)
            else:
                assert value.startswith(("data:", "#")) or not value, (tag, name, value)
    assert not re.search(r"@import|url\((?!#)", html)


def test_a_policy_lets_nothing_run_but_the_pages_own_script(html: str) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    hashed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(meta["content"] for meta in Seen(html).all("meta") if "Security" in str(meta.get("http-equiv")))
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{hashed}'; "
        "base-uri 'none'; form-action 'none'"
    )


def test_what_comes_from_outside_is_shown_and_is_no_markup(html: str) -> None:
    seen = Seen(html)
    assert len(seen.all("script")) == 1
    assert SCRIPT.replace(str(BEGIN.year), "..") in seen.text
    assert JUGGLING in seen.text
    assert not [name for _, attributes in seen.elements for name in attributes if name.startswith("on")]


def test_markup_in_an_id_or_a_path_is_no_markup_either(layout: Layout, report: Report) -> None:
    hostile = '"><script>alert(1)</script>'
    sources = tuple(replace(source, name=hostile) for source in report.origins)
    reasons = tuple(replace(reason, example=hostile) for reason in report.reasons)
    changed = replace(report, folder=hostile, origins=sources, reasons=reasons)
    seen = Seen(page.render(changed, layout))
    assert len(seen.all("script")) == 1
    assert seen.text.count(hostile) == 1 + len(sources) + len(reasons)


def test_every_plot_has_words_for_those_who_do_not_see_it(html: str) -> None:
    plots = Seen(html).all("svg")
    assert len(plots) == 8, "a ring, four histograms, the hours twice, the sessions"
    assert all(plot["role"] == "img" for plot in plots)
    titles = re.findall(r"<svg.*?<title id=\"[^\"]+\">(.+?)</title><desc id=\"[^\"]+\">(.+?)</desc>", html, re.DOTALL)
    assert len(titles) == 8
    said = dict(titles)
    assert said["Why clips are missing"] == "private: 1; removed: 1; server error: 1"
    assert said["Attempts in each session, in order of time"] == "2 sessions of 3 to 4 attempts."


def test_plots_take_their_colours_and_letters_from_the_page(html: str) -> None:
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style
    used, defined = set(re.findall(r"var\((--[a-z]+)\)", html)), set(re.findall(r"(--[a-z]+):", style[1]))
    assert used - {"--share"} <= defined
    dark = style[1].split("prefers-color-scheme: dark")[1].split("* {")[0]
    assert set(re.findall(r"(--[a-z]+):", dark)) == defined, "each colour in both modes"
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        assert not re.search(r"#[0-9a-f]{6}|font-family", svg)


def test_pictures_are_first_frames_and_lead_to_their_clips(html: str, layout: Layout) -> None:
    seen = Seen(html)
    assert all(str(image["src"]).startswith("data:image/jpeg;base64,/9j/") for image in seen.all("img"))
    ways = [str(link["href"]) for link in seen.all("a") if "mp4" in str(link["href"])]
    assert {layout.root / unquote(way) for way in ways} == {layout.clip(clip) for clip in HERE}
    assert not [way for way in ways if "#" in way], "which would end it"
    assert len(seen.all("img")) == len(HERE)


@pytest.mark.parametrize("damage", [b"", b"no video", None])
def test_clips_that_cannot_be_decoded_are_left_out_and_counted(tmp_path: Path, damage: bytes | None) -> None:
    layout = small_run.small_run(tmp_path, SHORT)
    report = collect(layout, ["train"], small_run.frame())
    for clip in (A1, A2):
        if damage is None:
            layout.clip(clip).unlink()  # somebody removed it meanwhile
        else:
            layout.clip(clip).write_bytes(damage)
    seen = Seen(page.render(report, layout))
    assert len(seen.all("img")) == len(HERE) - 2
    assert "2 of 5 cannot be decoded" in seen.text


def test_with_nothing_tried_and_nothing_here_the_page_says_so(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "700")
    seen = Seen(page.render(collect(layout, ["train"], small_run.frame()), layout))
    assert "0 of 10 clips are on disk" in seen.text
    assert "nothing tried yet" in seen.text
    assert not seen.open
    assert not seen.all("svg")


def test_clips_of_which_no_attempt_is_known_are_reported_too(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "700")
    small_run.put(layout, video=SHORT)
    seen = Seen(page.render(collect(layout, ["train"], small_run.frame()), layout))
    assert "5 of 10 clips are on disk" in seen.text
    assert len(seen.all("img")) == 5


def test_the_worst_of_runs_makes_a_page_of_less_than_five_megabytes(layout: Layout, report: Report) -> None:
    times = [BEGIN + timedelta(hours=hour) for hour in range(20_000)]
    words = [f"a reason of some length that is like no other, {number:x} " * 8 for number in range(10_000)]
    timeline = replace(
        report.timeline,
        hours=tuple(Hour(time, 250, 50, 1, 10**9) for time in times),
        pauses=tuple(PausePeriod(time, time + timedelta(minutes=40), "throttled") for time in times),
        sessions=tuple(Session(time, time, 290, 10, throttled=True) for time in times),
        curve=replace(
            report.timeline.curve, width_s=86_400, begins=tuple(times[::24]), done=(250.0,) * 834, failed=(50.0,) * 834
        ),
        end=times[-1],
    )
    worst = replace(
        report,
        classes=tuple(Completeness(f"class {number} {'x' * 60}", 500, 300, 100, 28) for number in range(700)),
        reasons=tuple(Reason(Category.PRIVATE, one, 65, "abcdefghijk") for one in words),
        timeline=timeline,
        samples=report.samples[:1] * 24,
    )
    html = page.render(worst, layout)
    assert len(html.encode()) < 5 * MEGABYTE
    assert html.count("<tr>") < 900


def test_a_users_own_plot_style_changes_nothing(layout: Layout, report: Report, html: str) -> None:
    for name in DRAWN_ONCE:
        getattr(plots, name).cache_clear()
    with mpl.rc_context({"axes.facecolor": "red", "font.size": 40, "text.usetex": True}):
        again = page.render(report, layout)
    assert Counter(re.findall(r"<svg.*?</svg>", again, re.DOTALL)) == Counter(
        re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    )
