"""The attempts table and the error log: what they hold, and that neither a crash nor hostile text breaks them."""

from __future__ import annotations

import csv
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinetics.humanize import SHOWN_REASON_LIMIT, one_line
from kinetics.records import Category, Clip, Outcome, PictureSettings
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import PICTURE_FIELDS, STATS_DEFAULTS, STATS_FIELDS, Ledger, outlook

HEADER = (
    "time,youtube_id,time_start,time_end,label,status,category,reason,engine,itag,height,resolve_s,download_s,cut_s,"
    "bytes_received,requests,calls,clip_bytes,offset_s,duration_s,host,cut,sound,source,max_height,"
    "short_side,fps,keyframes"
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path, "700")


def clip(number: int) -> Clip:
    return Clip(f"-_video{number:04}", 7.5, 17.0, "playing harmonica", "train")


def failed(number: int, category: Category = Category.PRIVATE, reason: str = "This video is private") -> Outcome:
    return Outcome(clip(number), "failed", category, reason)


def done(number: int) -> Outcome:
    return Outcome(clip(number), "done")


def record(layout: Layout, *outcomes: Outcome) -> None:
    with Ledger(layout, "train") as ledger:
        for outcome in outcomes:
            ledger.record(outcome)


def errors(layout: Layout) -> list[list[str]]:
    text = layout.errors_log("train").read_text("utf-8")
    assert text.endswith("\n") or not text
    return [line.split("\t") for line in text.split("\n")[:-1]]


def stats(layout: Layout) -> list[dict[str, str]]:
    with open(layout.stats("train"), encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


# -- the contract -----------------------------------------------------------------------------------------------------


def test_every_attempt_has_a_row_with_all_that_is_known_of_it(layout: Layout) -> None:
    outcome = Outcome(
        *(clip(1), "done", None, "", "pytubefix", "134+140", 360, 0.12345, 1.5, 2.25, 1_000_000, 3, 2),
        *(500_000, -0.0334, 10.01, "host-1", "smart", False),
        max_height=480,
        picture=PictureSettings(256, 12.5, 16),
    )
    record(layout, outcome, failed(2), done(3))
    assert layout.stats("train").read_text().splitlines()[0] == HEADER
    first, second, third = stats(layout)
    assert first.pop("time")[:2] == "20"
    assert first == {
        **{"youtube_id": "-_video0001", "time_start": "7.5", "time_end": "17", "label": "playing harmonica"},
        **{"status": "done", "category": "", "reason": "", "engine": "pytubefix", "itag": "134+140", "height": "360"},
        **{"resolve_s": "0.123", "download_s": "1.5", "cut_s": "2.25", "bytes_received": "1000000", "requests": "3"},
        **{"calls": "2"},
        **{"clip_bytes": "500000", "offset_s": "-0.033", "duration_s": "10.01", "host": "host-1"},
        **{"cut": "smart", "sound": "0", "source": "youtube", "max_height": "480"},
        **{"short_side": "256", "fps": "12.5", "keyframes": "16"},
    }
    assert (second["status"], second["category"], second["reason"]) == ("failed", "private", "This video is private")
    assert [third[name] for name in ("height", "clip_bytes", "resolve_s", "cut", "sound", "max_height", "fps")] == [
        ""
    ] * 7


def test_a_failure_is_a_tab_separated_line_whose_first_cell_is_the_id(layout: Layout) -> None:
    record(layout, failed(1), done(2), failed(3, Category.TIMEOUT, "slow"))
    assert [line[:5] for line in errors(layout)] == [
        ["-_video0001", "7.5", "17", "private", "This video is private"],
        ["-_video0003", "7.5", "17", "timeout", "slow"],
    ]
    lines = layout.errors_log("train").read_text().splitlines()
    assert [line.partition("\t")[0] for line in lines] == ["-_video0001", "-_video0003"]


def test_that_the_mirror_lacks_a_clip_is_said_once_and_never_instead_of_youtube_s_words(layout: Layout) -> None:
    lacking = [replace(failed(number, Category.NOT_FOUND, "the mirror lacks it"), source="mirror") for number in (1, 2)]
    record(layout, failed(1), *lacking, *lacking)
    assert [(line[0], line[3]) for line in errors(layout)] == [("-_video0001", "private"), ("-_video0002", "not_found")]
    assert [(row["youtube_id"][-1], row["source"]) for row in stats(layout)] == [
        *(("1", "youtube"), ("1", "mirror"), ("2", "mirror"), ("1", "mirror"))
    ]
    record(layout, failed(2, Category.TIMEOUT))
    assert [line[3] for line in errors(layout)] == ["private", "timeout"]


def test_a_postponed_clip_has_a_row_but_no_line(layout: Layout) -> None:
    record(layout, Outcome(clip(1), "postponed", Category.THROTTLED, "try again later"))
    assert [row["status"] for row in stats(layout)] == ["postponed"]
    assert errors(layout) == []


def test_each_row_is_on_disk_as_soon_as_it_is_recorded(layout: Layout) -> None:
    with Ledger(layout, "train") as ledger:
        for number in range(3):
            ledger.record(failed(number))
            assert (len(errors(layout)), len(stats(layout))) == (number + 1, number + 1)


def test_the_log_keeps_the_last_line_of_each_missing_clip_and_drops_what_is_there(layout: Layout) -> None:
    record(layout, failed(1), failed(2), failed(3), failed(1, Category.TIMEOUT, "slow"), done(2))
    assert [line[:1] + line[3:5] for line in errors(layout)] == [
        ["-_video0001", "timeout", "slow"],
        ["-_video0003", "private", "This video is private"],
    ]
    with Ledger(layout, "train") as ledger:
        ledger.mark_present(clip(3).key)
    assert [line[0] for line in errors(layout)] == ["-_video0001"]
    assert len(stats(layout)) == 5


def test_the_log_is_compact_from_the_start_of_a_run(layout: Layout) -> None:
    record(layout, failed(1))
    log = layout.errors_log("train")
    log.write_text(log.read_text() * 2 + log.read_text()[:20])
    with Ledger(layout, "train"):
        assert [line[0] for line in errors(layout)] == ["-_video0001"]


def test_two_segments_of_a_video_are_two_clips(layout: Layout) -> None:
    other = replace(clip(1), time_start=20.125, time_end=30.0)
    record(layout, failed(1), Outcome(other, "failed", Category.TIMEOUT, "slow"), done(1))
    assert [line[:3] for line in errors(layout)] == [["-_video0001", "20.125", "30"]]
    ledger = Ledger(layout, "train")
    assert (ledger.category(other.key), ledger.category(clip(1).key)) == (Category.TIMEOUT, None)


@pytest.mark.parametrize("category", Category)
def test_a_category_survives_a_re_open(layout: Layout, category: Category) -> None:
    record(layout, failed(1, category))
    record(layout)
    assert Ledger(layout, "train").category(clip(1).key) is category


def test_category_reason_and_time_of_each_missing_clip_can_be_asked_for(layout: Layout) -> None:
    before_s = int(time.time())
    record(layout, failed(1), failed(2), done(2))
    [(key, line)] = Ledger(layout, "train").failures().items()
    *segment, category, reason, when = line.split("\t")
    assert (key, category, reason) == (clip(1).key, "private", "This video is private")
    assert segment == ["-_video0001", "7.5", "17"]
    assert before_s <= datetime.fromisoformat(when).timestamp() <= time.time()


@pytest.mark.parametrize("category", Category)
def test_what_a_category_means_for_another_run_is_one_of_three_things(category: Category) -> None:
    holds = {
        "gone": category.gone,
        "not offered": category is Category.NOT_OFFERED,
        "may work later": not category.settled,
    }
    assert [words for words, true in holds.items() if true] == [outlook(category)]


def test_the_header_stands_once_and_rows_of_earlier_runs_stay(layout: Layout) -> None:
    record(layout, failed(1))
    record(layout, failed(2))
    record(layout)
    lines = layout.stats("train").read_text().splitlines()
    assert [line.startswith("time,") for line in lines] == [True, False, False]


def test_a_log_that_says_it_all_already_is_not_written_anew(layout: Layout) -> None:
    record(layout, failed(1))
    before = layout.errors_log("train").stat()
    record(layout)
    after = layout.errors_log("train").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_reading_a_ledger_changes_nothing(layout: Layout) -> None:
    Ledger(layout, "train")
    assert not list(layout.root.iterdir())


def test_compaction_alone_mends_the_log_and_leaves_the_table_as_it_is(layout: Layout) -> None:
    record(layout, failed(1), failed(2))
    with open(layout.stats("train"), "a") as table, open(layout.errors_log("train"), "a") as log:
        table.write("half a row")
        log.write("a remark\n")
    before = layout.stats("train").read_bytes()
    ledger = Ledger(layout, "train")
    ledger.mark_present(clip(1).key)
    ledger.compact()
    assert [line[0] for line in errors(layout)] == ["-_video0002"]
    assert Path(f"{layout.errors_log('train')}.old").read_text().endswith("a remark\n")
    assert layout.stats("train").read_bytes() == before
    ledger.mark_present(clip(2).key)
    ledger.compact()
    assert errors(layout) == []
    assert not Path(f"{layout.errors_log('train')}.old-2").exists()


@pytest.mark.parametrize("kind", ["rows", "quoted", "a long cell", "no utf-8"])
def test_a_table_is_examined_alike_wherever_the_blocks_end_in_which_it_is_read(
    layout: Layout, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = {"quoted": 'He said: "no, not that"' * 3, "a long cell": "x" * 300}.get(kind, "no")
    record(layout, *(failed(number % 10, reason=reason) for number in range(40)))
    table = layout.stats("train")
    foreign = "caf\u00e9\n".encode("latin-1") if kind == "no utf-8" else b""
    whole = table.read_bytes()
    for limit in (701, 1000, 1500, 4096):
        monkeypatch.setattr("kinetics.storage.ledger.LINE_LIMIT", limit)
        table.write_bytes(whole + foreign + b"half a row" + bytes(2 * limit))
        record(layout)
        assert table.read_bytes() == whole
        assert len(list(table.parent.glob("*.old*"))) == bool(foreign)
        for old in table.parent.glob("*.old*"):
            old.unlink()


def test_a_row_with_a_gap_in_it_is_none(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kinetics.storage.ledger.LINE_LIMIT", 1000)
    record(layout, failed(1), failed(2))
    table = layout.stats("train")
    whole = table.read_bytes()
    gap = len(whole) - 60
    zeros = 2000 + (len(HEADER) + 1 - gap) % 1000  # so that what follows them begins a block
    table.write_bytes(whole[:gap] + bytes(zeros) + whole[gap:])
    record(layout)
    assert [row["youtube_id"] for row in stats(layout)] == ["-_video0001"]
    assert Path(f"{table}.old").exists()


def test_pandas_reads_the_table(layout: Layout) -> None:
    record(layout, failed(1, reason='He said: "no", twice'), done(2))
    table = pd.read_csv(layout.stats("train"))
    assert tuple(table.columns) == STATS_FIELDS
    assert table["reason"][0] == 'He said: "no", twice'


# -- runs on parts ----------------------------------------------------------------------------------------------------


def line(number: int, category: str, time: str) -> str:
    return f"-_video{number:04}\t7.5\t17\t{category}\tso it is\t{time}\n"


@pytest.fixture(params=["", "1of2"])
def apart(layout: Layout, request: pytest.FixtureRequest) -> tuple[Layout, Path]:
    """The layout of a run, on all clips or on a part of them, and the log of another one."""
    return replace(layout, shard=request.param), replace(layout, shard="2of2").errors_log("train")


def test_what_another_run_found_missing_is_known_and_its_log_stays_as_it_is(apart: tuple[Layout, Path]) -> None:
    layout, log = apart
    record(layout, failed(1))
    log.write_text(before := "a remark\n" + line(2, "timeout", "2026-01-01T00:00:00+00:00"))
    with Ledger(layout, "train") as ledger:
        assert ledger.missing == {clip(1).key, clip(2).key}
        assert ledger.category(clip(2).key) is Category.TIMEOUT
    assert [line[0] for line in errors(layout)] == ["-_video0001"], "nobody asked for the other one"
    assert log.read_text() == before


def test_of_two_runs_the_later_word_counts_wherever_their_clocks_stand(apart: tuple[Layout, Path]) -> None:
    layout, log = apart
    times = {"": 0, "2026-05-01T12:00:00+00:00": 1, "2026-05-01T11:00:00-04:00": 2, "2026-05-01T23:00:00+02:00": 3}
    for ours, place in times.items():
        for theirs, other in times.items():
            layout.errors_log("train").write_text(line(1, "private", ours))
            log.write_text(line(1, "timeout", theirs))
            known = Ledger(layout, "train").category(clip(1).key)
            assert known is (Category.TIMEOUT if other > place else Category.PRIVATE), (ours, theirs)


def test_a_missing_clip_that_is_adopted_gets_its_line_here_as_it_stood_there(apart: tuple[Layout, Path]) -> None:
    layout, log = apart
    lines = [line(number, "timeout", "2026-01-01T00:00:00+00:00") for number in (1, 2, 3)]
    log.write_text("".join(lines))
    with Ledger(layout, "train") as ledger:
        ledger.mark_present(clip(3).key)
        ledger.take_over([clip(2).key, clip(3).key])
    assert layout.errors_log("train").read_text() == lines[1]
    with Ledger(layout, "train") as ledger:
        ledger.record(failed(1))
        assert ledger.category(clip(1).key) is Category.PRIVATE, "the last word is ours"
        ledger.record(done(2))
        assert ledger.category(clip(2).key) is None


# -- crashes ----------------------------------------------------------------------------------------------------------


def test_half_lines_are_repaired_wherever_the_crash_cut_them(layout: Layout) -> None:
    record(layout, failed(1), failed(2))
    log, table = layout.errors_log("train"), layout.stats("train")
    whole = {path: path.read_bytes() for path in (log, table)}
    for cut in (log, table):
        for size in range(len(whole[cut]) + 1):
            for path, data in whole.items():
                path.write_bytes(data[:size] if path == cut else data)
            record(layout, failed(3))
            kept = max(0, whole[cut][:size].count(b"\n") - (cut == table))
            ids = [line[0] for line in errors(layout)] if cut == log else [row["youtube_id"] for row in stats(layout)]
            assert ids == [*["-_video0001", "-_video0002"][:kept], "-_video0003"]
            assert {len(line) for line in errors(layout)} == {6}
    assert {path for path in layout.root.iterdir() if path.is_file()} == {log, table}


def test_a_long_table_is_repaired_as_well(layout: Layout) -> None:
    record(layout, *(failed(number % 10, reason="x" * 300) for number in range(1000)))
    whole = layout.stats("train").read_bytes()
    layout.stats("train").write_bytes(whole[:-20])
    record(layout)
    assert layout.stats("train").read_bytes() == whole[: whole[:-1].rfind(b"\n") + 1]


@given(
    st.lists(
        st.sampled_from(
            [
                *(
                    "",
                    "\t",
                    "\t" * 5,
                    "-_video0009\t1\t2\tno such category\tx\ty",
                    "-_video0009\tone\t2\tprivate\tx\ty",
                ),
                *("-_video0009\t1\t2\tprivate", "-_video0009\t1\t2\tprivate\ta\tb\tc", "# a remark", "\udcff\x00"),
                "-_video0001\t7.5\t17\tprivate\tThis video is private\t2026-01-01T00:00:00+00:00",
            ]
        )
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lines_that_were_edited_into_nonsense_cost_nothing_else(layout: Layout, lines: list[str]) -> None:
    own = "-_video0002\t7.5\t17\ttimeout\tslow\t2026-01-01T00:00:00+00:00"
    content = "".join(line + "\n" for line in [*lines, own])
    layout.errors_log("train").write_bytes(content.encode("utf-8", "surrogateescape"))
    record(layout)
    assert {line[0] for line in errors(layout)} == {"-_video0002"} | {
        "-_video0001" for line in lines if line.startswith("-_video0001")
    }


# -- files that are none of ours --------------------------------------------------------------------------------------


def test_a_table_with_another_header_is_set_aside_not_mixed(layout: Layout) -> None:
    for number, content in enumerate(("time,youtube_id\n1,2\n", "\nmy notes, without a header\n")):
        layout.stats("train").write_text(content)
        record(layout, failed(1))
        assert layout.stats("train").read_text().startswith(HEADER + "\n")
        assert len(stats(layout)) == 1
        old = f"{layout.stats('train')}.old" + ("-2" if number else "")
        assert Path(old).read_text() == content


def with_columns(path: Path, columns: Sequence[str], *, end: str = "\n") -> bytes:
    """Rewrite a table with these columns, as an earlier or a later version would have, and half a row at its end."""
    rows = [*csv.DictReader(path.read_text("utf-8").splitlines())]
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, restval="x", extrasaction="ignore", lineterminator=end)
        table.writeheader()
        table.writerows(rows)
        file.write("2026-")
    return path.read_bytes()


@pytest.mark.parametrize(
    "columns",
    [
        [name for name in STATS_FIELDS if name not in PICTURE_FIELDS],
        [name for name in STATS_FIELDS if name != "max_height"],
        [name for name in STATS_FIELDS if name not in ("source", "max_height")],
        [name for name in STATS_FIELDS if name not in ("cut", "sound", "source", "max_height")],
        [name for name in STATS_FIELDS if name not in ("label", "offset_s")],
        [*reversed(STATS_FIELDS)],
        ["host", *(name for name in STATS_FIELDS if name not in ("host", "source"))],
        [*STATS_FIELDS, "bitrate"],
        ["bitrate", *(name for name in STATS_FIELDS if name != "source")],
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_with_other_columns_is_carried_over_by_their_names(
    layout: Layout, columns: Sequence[str], end: str
) -> None:
    record(layout, done(1), replace(done(2), cut="smart", sound=True), failed(3, reason='He said: "no", twice'))
    table = layout.stats("train")
    before, old = stats(layout), with_columns(table, columns, end=end)
    record(layout, failed(4))
    assert table.read_text().splitlines()[0] == HEADER
    *carried_over, new = stats(layout)
    for row, was in zip(carried_over, before, strict=True):
        assert row == {name: was[name] if name in columns else STATS_DEFAULTS.get(name, "") for name in STATS_FIELDS}
    assert new["youtube_id"] == "-_video0004"
    assert Path(f"{table}.old").read_bytes() == old
    record(layout)
    assert stats(layout) == [*carried_over, new]
    assert not Path(f"{table}.old-2").exists()


def test_from_an_older_table_only_rows_with_all_of_its_cells_are_carried_over(layout: Layout) -> None:
    record(layout, failed(1), failed(2))
    table = layout.stats("train")
    with_columns(table, STATS_FIELDS[:-1])
    header, first, second, _ = table.read_bytes().split(b"\n")
    spoilt = first.rpartition(b",")[0], first + b",", b'"' + first, b"caf\xe9" + first, first[:60] + b"\r" + first[60:]
    table.write_bytes(b"\n".join([b"\xef\xbb\xbf" + header, b"", *spoilt, b"\0" * 100, b"", second, b""]))
    record(layout)
    assert [row["youtube_id"] for row in stats(layout)] == ["-_video0002"]


def test_without_its_header_a_table_has_our_columns(layout: Layout) -> None:
    record(layout, failed(1), failed(2))
    table = layout.stats("train")
    whole = table.read_text()
    for header in ("", HEADER.replace("status", "st\0tus") + "\n"):
        table.write_text(whole.replace(HEADER + "\n", header))
        record(layout)
        assert table.read_text() == whole


def test_our_table_as_a_spreadsheet_on_windows_saves_it_is_still_ours(layout: Layout) -> None:
    record(layout, failed(1))
    table = layout.stats("train")
    table.write_bytes(table.read_bytes().replace(b"\n", b"\r\n"))
    record(layout, failed(2))
    assert [row["youtube_id"] for row in stats(layout)] == ["-_video0001", "-_video0002"]


def test_a_log_without_a_line_of_ours_is_set_aside(layout: Layout) -> None:
    layout.errors_log("train").write_text("-_video0001\n-_video0002\n")
    record(layout, failed(3))
    assert [line[0] for line in errors(layout)] == ["-_video0003"]
    assert Path(f"{layout.errors_log('train')}.old").read_text() == "-_video0001\n-_video0002\n"


# -- hostile text -----------------------------------------------------------------------------------------------------


@given(st.text(st.characters(), max_size=600))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_from_outside_breaks_a_table_or_a_terminal(layout: Layout, text: str) -> None:
    for path in (layout.errors_log("train"), layout.stats("train")):
        path.unlink(missing_ok=True)
    outcome = replace(failed(1, reason=text), engine=text, itag=text, host=text)
    record(layout, outcome, failed(2))
    assert [len(line) for line in errors(layout)] == [6, 6]
    assert len(layout.stats("train").read_text("utf-8").split("\n")) == 4
    rows = stats(layout)
    assert [row["youtube_id"] for row in rows] == ["-_video0001", "-_video0002"]
    for cell in (errors(layout)[0][4], *(rows[0][name] for name in ("reason", "engine", "itag", "host"))):
        assert not cell.startswith(("=", "+", "-", "@"))
        assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in cell)
        assert len(cell) <= SHOWN_REASON_LIMIT + 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines\tand\r\na tab", "two lines and a tab"),
        ("\x1b[31mred\x1b[0m \x07bell", "[31mred [0m  bell"),
        ("right\u202eto left\u2066", "right to left"),
        ("half \ud800 a character", "half   a character"),
        ("Sign in to confirm you’re not a bot \N{PILE OF POO}", "Sign in to confirm you’re not a bot \N{PILE OF POO}"),  # noqa: RUF001
        ("x" * 1000, "x" * (SHOWN_REASON_LIMIT - 1) + "…"),
        ("", ""),
    ],
)
def test_one_line(text: str, shown: str) -> None:
    assert one_line(text) == shown


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1"])
def test_a_spreadsheet_runs_no_cell(layout: Layout, formula: str) -> None:
    record(layout, Outcome(replace(clip(1), label=formula), "failed", Category.PRIVATE, formula))
    [row] = stats(layout)
    cells: Sequence[str] = (row["label"], row["reason"], errors(layout)[0][4])
    assert set(cells) == {f"'{formula.strip()}"}
