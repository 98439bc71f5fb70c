"""What annotations.load promises: every form that is handed out loads, bad rows are counted, nothing else escapes."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import math
import os
import random
import re
import tarfile
import threading
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinetics.annotations import files, published
from kinetics.annotations.headers import ALIASES
from kinetics.annotations.load import load
from kinetics.annotations.published import VERSIONS, fetch
from kinetics.annotations.table import Annotations
from kinetics.errors import Fatal
from kinetics.net.http import AllowedHosts
from kinetics.records import Clip
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import Row, World

pytestmark = pytest.mark.filterwarnings("error")  # a warning of pandas or of a leak would tear the progress bar

HEADER = "label,youtube_id,time_start,time_end,split\n"
ONE = "--07WQ2iBlw"
TWO = "_-7VUM9MKg4"
JAVELIN = Clip(ONE, 1.0, 11.0, "javelin throw", "val")
SAXOPHONE = Clip(TWO, 136.0, 146.0, "playing saxophone", "val")
OFFICIAL = f"{HEADER}javelin throw,{ONE},1,11,validate\nplaying saxophone,{TWO},136,146,validate\n"
KEYED = {
    ONE: {
        "annotations": {"label": "javelin throw", "segment": [1.0, 11.0]},
        "duration": 10.0,
        "subset": "val",
        "url": f"https://www.youtube.com/watch?v={ONE}",
    },
    TWO: {"annotations": {"label": "playing saxophone", "segment": [136.0, 146.0]}, "duration": 10.0, "subset": "val"},
}


@pytest.fixture
def given_file(tmp_path: Path) -> Callable[[str | bytes, str], Path]:
    """Write a file and return its path."""

    def write(content: str | bytes, name: str = "validate.csv") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


GivenFile = Callable[..., Path]


def rows_of(*rows: str, header: str = HEADER) -> str:
    return header + "".join(f"{row}\n" for row in rows)


def packed(members: dict[str, str | bytes], mode: str = "w:gz") -> bytes:
    """An archive of regular files."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as tar:  # type: ignore[call-overload]
        for name, text in members.items():
            data = text.encode() if isinstance(text, str) else text
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()


def zipped(members: dict[str, str | bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return content.getvalue()


def clips(loaded: Annotations) -> list[Clip]:
    return list(loaded.clips())


# --- the forms in which annotations are handed out ---


VARIANTS: dict[str, str | bytes] = {
    "official": OFFICIAL,
    "quoted labels, val and is_cc": (
        "label,youtube_id,time_start,time_end,split,is_cc\n"
        f'"javelin throw",{ONE},1,11,val,0\n"playing saxophone",{TWO},136,146,val,1\n'
    ),
    "byte order mark and CRLF": "\ufeff" + OFFICIAL.replace("\n", "\r\n"),
    "bare CR": OFFICIAL.replace("\n", "\r"),
    "no newline at the end": OFFICIAL.rstrip("\n"),
    "blank lines": "\n \n" + OFFICIAL.replace("\n", "\n\n") + "\n  \n,,,,\n",
    "float times": OFFICIAL.replace("1,11,", "1.0,11.0,").replace("136,146", "136.0004,146"),
    "other order, case and spaces": (
        f"Time End , TIME START,Split,Label,YouTube ID\n11,1,val,javelin throw,{ONE}\n"
        f"146,136,val,playing saxophone,{TWO}\n"
    ),
    "other names": (f"id,class,start,end\n{ONE},javelin throw,1,11\n{TWO},playing saxophone,136,146\n"),
    "more other names": (
        f"class_name,video_id,start_time,end_time,subset\njavelin throw,{ONE},1,11,x\n"
        f"playing saxophone,{TWO},136,146,y\n"
    ),
    "an index column": (
        f"id,label,youtube_id,time_start,time_end\n0,javelin throw,{ONE},1,11\n1,playing saxophone,{TWO},136,146\n"
    ),
    "semicolons": OFFICIAL.replace(",", ";"),
    "semicolons, as Excel writes them": "sep=;\r\n" + OFFICIAL.replace(",", ";").replace("\n", "\r\n"),
    "tabs": OFFICIAL.replace(",", "\t"),
    "UTF-16": OFFICIAL.encode("utf-16"),
    "UTF-16, big-endian": b"\xfe\xff" + OFFICIAL.encode("utf-16-be"),
    "UTF-32": OFFICIAL.encode("utf-32"),
    "comments": "# clips, of course\n#\n" + OFFICIAL,
    "two columns that agree": re.sub("(?m)^(.*?),", r"\1,\1,", OFFICIAL),
    "spaces around cells": OFFICIAL.replace(",", " , "),
    "comma at the line ends": HEADER + OFFICIAL.removeprefix(HEADER).replace("\n", ",\n"),
}
JSON_VARIANTS = {
    "keyed by id": KEYED,
    "lists of annotations": {key: {**entry, "annotations": [entry["annotations"]]} for key, entry in KEYED.items()},
    "ActivityNet": {"version": "VERSION 1.3", "database": KEYED, "taxonomy": []},
    "records": [
        {"label": "javelin throw", "youtube_id": ONE, "time_start": 1, "time_end": 11.0, "split": "val"},
        {"label": "playing saxophone", "youtube_id": TWO, "time_start": "136", "time_end": 146},
    ],
    "a database of records": {
        "database": [
            {"id": ONE, "class": "javelin throw", "start": 1, "end": 11},
            {"id": TWO, "class": "playing saxophone", "start": 136, "end": 146},
        ]
    },
}


@pytest.mark.parametrize("text", VARIANTS.values(), ids=VARIANTS)
def test_every_csv_variant_gives_the_same_clips(given_file: GivenFile, text: str | bytes) -> None:
    loaded = load("400", "validate", given_file(text))
    assert clips(loaded) == [JAVELIN, SAXOPHONE]
    assert loaded.warnings == ()


@pytest.mark.parametrize("content", JSON_VARIANTS.values(), ids=JSON_VARIANTS)
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte order mark"])
def test_every_json_variant_gives_the_same_clips(given_file: GivenFile, content: object, mark: str) -> None:
    loaded = load("400", "validate", given_file(mark + json.dumps(content), "validate.json"))
    assert clips(loaded) == [JAVELIN, SAXOPHONE]
    assert loaded.warnings == ()


def test_rows_without_a_label_column_are_unlabelled(given_file: GivenFile) -> None:
    path = given_file(f"youtube_id,time_start,time_end,split\n{ONE},0,10,test\n", "test.csv")
    assert clips(load("700", "test", path)) == [Clip(ONE, 0.0, 10.0, "", "test")]


def test_an_empty_label_is_an_unlabelled_row(given_file: GivenFile) -> None:
    assert [clip.label for clip in load("700", "test", given_file(rows_of(f",{ONE},0,10,test"))).clips()] == [""]


def test_json_without_labels_is_unlabelled(given_file: GivenFile) -> None:
    path = given_file(json.dumps({ONE: {"annotations": {"segment": [0.0, 10.0]}, "subset": "test"}}), "test.json")
    assert clips(load("700", "test", path)) == [Clip(ONE, 0.0, 10.0, "", "test")]


def test_several_segments_of_one_video_are_kept(given_file: GivenFile) -> None:
    table = rows_of(f"a,{ONE},0,10,val", f"b,{ONE},10,20,val", f"a,{ONE},10,15,val")
    assert [clip.key for clip in load("700", "validate", given_file(table)).clips()] == [
        (ONE, 0.0, 10.0),
        (ONE, 10.0, 20.0),
        (ONE, 10.0, 15.0),
    ]


def test_several_segments_in_a_json_list_are_kept(given_file: GivenFile) -> None:
    entry = {"annotations": [{"label": "a", "segment": [0, 10]}, {"label": "b", "segment": [10, 20]}]}
    loaded = load("700", "validate", given_file(json.dumps({ONE: entry}), "validate.json"))
    assert [(clip.label, clip.time_start) for clip in loaded.clips()] == [("a", 0.0), ("b", 10.0)]


@pytest.mark.parametrize("youtube_id", ["-1e5-1e5-1e", "12345678901", "0x123456789", "NAN-NAN-NAN", "1_000_000_0"])
def test_an_id_that_looks_like_a_number_stays_as_it_is(given_file: GivenFile, youtube_id: str) -> None:
    assert [
        clip.youtube_id for clip in load("400", "train", given_file(rows_of(f"a,{youtube_id},0,10,x"))).clips()
    ] == [youtube_id]


@pytest.mark.parametrize(
    "label", ["NA", "null", "nan", "massaging person's head", "1", "caf\u00e9", "tie (not \u5b57)"]
)
def test_a_label_stays_as_it_is(given_file: GivenFile, label: str) -> None:
    loaded = load("400", "train", given_file(rows_of(f"{label},{ONE},0,10,x", f"a name,{TWO},0,10,x")))
    assert [clip.label for clip in loaded.clips()] == [label, "a name"]


def test_times_are_rounded_to_milliseconds(given_file: GivenFile) -> None:
    (clip,) = clips(load("400", "train", given_file(rows_of(f"a,{ONE},0.12345,9.87654,x", f"b,{TWO},-0,1e1,x"))))[:1]
    assert (clip.time_start, clip.time_end) == (0.123, 9.877)


def test_minus_zero_is_zero(given_file: GivenFile) -> None:
    (clip,) = clips(load("400", "train", given_file(rows_of(f"a,{ONE},-0.0,10,x"))))
    assert math.copysign(1, clip.time_start) == 1


def test_bytes_that_are_no_utf_8_do_not_stop_the_file(given_file: GivenFile) -> None:
    content = HEADER.encode() + f"caf\u00e9,{ONE},0,10,val\n".encode("latin-1") + f"a\0b,{TWO},0,10,val\n".encode()
    assert [clip.label for clip in load("400", "validate", given_file(content)).clips()] == ["caf\ufffd", "a\ufffdb"]


def test_bytes_that_are_no_utf_8_do_not_stop_a_json(given_file: GivenFile) -> None:
    content = json.dumps([{"id": ONE, "start": 0, "end": 10, "label": "caf?"}]).encode().replace(b"?", b"\xe9")
    (clip,) = clips(load("400", "validate", given_file(content, "validate.json")))
    assert clip.label == "caf\ufffd"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("LIST.CSV", OFFICIAL),
        ("list.txt", OFFICIAL),
        ("list", OFFICIAL),
        ("list.data", "\ufeff \n" + json.dumps(KEYED)),
        ("list.data", json.dumps(JSON_VARIANTS["records"])),
        ("list.JSON", json.dumps(KEYED)),
        ("list.tgz", packed({"val.csv": OFFICIAL})),
        ("list.tar", packed({"val.csv": OFFICIAL}, "w")),
        ("list.TAR.GZ", packed({"val.csv": OFFICIAL})),
        ("list", packed({"val.csv": OFFICIAL}, "w:xz")),
        ("list.csv.gz", gzip.compress(OFFICIAL.encode())),
        ("list.json.gz", gzip.compress(json.dumps(KEYED).encode())),
        ("list.zip", zipped({"k/list.csv": OFFICIAL, "k/readme.md": ""})),
        ("list.zip", zipped({"k/val.csv": OFFICIAL, "k/train.csv": ""})),
        ("list.zip", zipped({"list.json.gz": gzip.compress(json.dumps(KEYED).encode())})),
        ("list.csv", zipped({"val.csv": OFFICIAL})),
    ],
)
def test_what_a_file_is_follows_from_its_name_or_else_its_content(
    given_file: GivenFile, name: str, content: str | bytes
) -> None:
    assert clips(load("400", "validate", given_file(content, name))) == [JAVELIN, SAXOPHONE]


def test_a_pipe_can_be_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_text, args=(OFFICIAL,)).start()
    assert clips(load("400", "validate", pipe)) == [JAVELIN, SAXOPHONE]


def test_the_frame_has_plain_columns_in_the_order_of_the_file(given_file: GivenFile) -> None:
    frame = load("400", "validate", given_file(OFFICIAL)).frame
    assert list(frame) == ["youtube_id", "time_start", "time_end", "label", "split"]
    assert list(frame.index) == [0, 1]
    assert frame["time_start"].dtype == frame["time_end"].dtype == "float64"
    assert [type(value) for value in clips(load("400", "validate", given_file(OFFICIAL)))[0].key] == [str, float, float]


def test_clips_are_made_one_at_a_time(given_file: GivenFile) -> None:
    count = 20_000
    loaded = load("400", "train", given_file(rows_of(*(f"a,{number:011d},0,10,x" for number in range(count)))))
    tracemalloc.start()
    seen = sum(1 for _ in loaded.clips())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen == len(loaded) == count
    assert peak < 20 * count  # a list of them takes over 100 bytes a clip


# --- rows that are left out ---


BAD_IDS = [
    "",
    "abc",
    "A" * 12,
    "A" * 10 + "!",
    "A" * 10 + "é",
    "A" * 5 + " " + "A" * 5,
    "../../../ab",
    "A" * 10 + "\u0661",
]
BAD_TIMES = [
    ("x", "10"), ("", "10"), ("1", ""), ("nan", "10"), ("0", "inf"), ("-inf", "10"), ("-1", "9"), ("-0.0001", "9"),
    ("10", "10"), ("11", "10"), ("1.0001", "1.0002"), ("0", "1000001"), ("1e400", "2e400"), ("0:10", "0:20"),
    ("0", "9" * 400),
]  # fmt: skip
BAD_LABELS = ["../x", "a/b", "a\\b", ".", "..", ".hidden", "a\tb", "a\x1b[2Jb", "a\u202eb", "x" * 201, "\u5b57" * 67]


@pytest.mark.parametrize("youtube_id", BAD_IDS)
def test_a_row_with_a_bad_id_is_left_out(given_file: GivenFile, youtube_id: str) -> None:
    loaded = load("400", "validate", given_file(rows_of(f"a,{youtube_id},0,10,val", f"b,{TWO},0,10,val")))
    assert [clip.label for clip in loaded.clips()] == ["b"]
    assert len(loaded.warnings) == 1
    assert "1 row left out, the id" in loaded.warnings[0]
    assert f"line 2 ({youtube_id!r})" in loaded.warnings[0]


def test_ids_of_the_right_length_on_average_are_no_ids(given_file: GivenFile) -> None:
    loaded = load(
        "400", "validate", given_file(rows_of(f"a,{ONE[1:]},0,10,val", f"b,{TWO}x,0,9,val", f"c,{ONE},0,9,val"))
    )
    assert [clip.label for clip in loaded.clips()] == ["c"]
    assert "2 rows left out, the id" in loaded.warnings[0]


def test_two_ids_in_one_cell_are_no_ids(given_file: GivenFile) -> None:
    loaded = load("400", "validate", given_file(rows_of(f'a,"{ONE}\n{TWO}",0,10,val', f"b,{TWO},0,10,val")))
    assert [clip.label for clip in loaded.clips()] == ["b"]
    assert "1 row left out, the id" in loaded.warnings[-1]


@pytest.mark.parametrize(("start", "end"), BAD_TIMES)
def test_a_row_with_bad_times_is_left_out(given_file: GivenFile, start: str, end: str) -> None:
    loaded = load("400", "validate", given_file(rows_of(f"a,{ONE},{start},{end},val", f"b,{TWO},0,10,val")))
    assert [clip.label for clip in loaded.clips()] == ["b"]
    assert len(loaded.warnings) == 1
    assert "1 row left out, the times" in loaded.warnings[0]
    assert f"line 2 ({start!r}" in loaded.warnings[0]


@pytest.mark.parametrize("label", BAD_LABELS)
def test_a_row_with_a_label_that_cannot_be_a_folder_is_left_out(given_file: GivenFile, label: str) -> None:
    loaded = load("400", "validate", given_file(rows_of(f"{label},{ONE},0,10,val", f"b,{TWO},0,10,val")))
    assert [clip.label for clip in loaded.clips()] == ["b"]
    assert len(loaded.warnings) == 1
    assert "1 row left out, the label" in loaded.warnings[0]


def test_a_label_that_was_left_out_is_not_among_the_categories(given_file: GivenFile) -> None:
    loaded = load("400", "validate", given_file(rows_of(f"../x,{ONE},0,10,val", f"b,{TWO},0,10,val")))
    assert list(loaded.frame["label"].cat.categories) == ["b"]


def test_a_lone_surrogate_in_a_json_label_is_a_bad_row(given_file: GivenFile) -> None:
    content = [{"id": ONE, "start": 0, "end": 9, "label": "\ud800"}, {"id": TWO, "start": 0, "end": 9, "label": "b"}]
    loaded = load("400", "validate", given_file(json.dumps(content), "validate.json"))
    assert [clip.label for clip in loaded.clips()] == ["b"]
    assert "entry 1 ('\\ud800')" in loaded.warnings[0]


def test_a_bad_label_does_not_hide_behind_a_good_one_and_a_nul(given_file: GivenFile) -> None:
    labels = {ONE: "a", TWO: "a\0/../../b"}
    content = [{"id": youtube_id, "start": 0, "end": 9, "label": label} for youtube_id, label in labels.items()]
    loaded = load("400", "validate", given_file(json.dumps(content), "validate.json"))
    assert [clip.label for clip in loaded.clips()] == ["a"]


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        "text",
        {},
        {"annotations": None},
        {"annotations": []},
        {"annotations": {"segment": [1]}},
        {"annotations": {"segment": [1, 2, 3]}},
        {"annotations": {"segment": ["a", "b"]}},
        {"annotations": {"segment": [True, False]}},
        {"annotations": {"segment": [0, 10], "label": ["a"]}},
        {"annotations": {"segment": [0, 10], "label": {"a": 1}}},
        {"annotations": {"segment": [[0], {}]}},
    ],
)
def test_a_malformed_json_entry_is_one_bad_row(given_file: GivenFile, entry: object) -> None:
    loaded = load("400", "validate", given_file(json.dumps({ONE: entry, **{TWO: KEYED[TWO]}}), "validate.json"))
    assert clips(loaded) == [SAXOPHONE]
    assert len(loaded.warnings) == 1
    assert "1 row left out" in loaded.warnings[0]
    assert "entry 1" in loaded.warnings[0]


def test_rows_with_too_many_cells_are_left_out_and_shift_nothing(given_file: GivenFile) -> None:
    table = rows_of(
        f"a,b,{ONE},0,10,val",
        f"javelin throw,{ONE},1,11,val",
        f"c,{ONE},20,30,val,x,y,z",
        f"playing saxophone,{TWO},136,146,val",
    )
    loaded = load("400", "validate", given_file(table))
    assert clips(loaded) == [JAVELIN, SAXOPHONE]
    assert len(loaded.warnings) == 1
    assert "2 rows left out, there are more cells than in the header: line 2 " in loaded.warnings[0]
    assert f"line 4 ({ONE!r}, 'x')" in loaded.warnings[0]


def test_rows_with_too_few_cells_are_left_out(given_file: GivenFile) -> None:
    loaded = load("400", "validate", given_file(rows_of("a", f"b,{ONE}", f"c,{ONE},0,10", f"d,{TWO},0")))
    assert [clip.label for clip in loaded.clips()] == ["c"]
    assert [warning.split(": ")[1].split(",")[0] for warning in loaded.warnings] == [
        "1 row left out",
        "2 rows left out",
    ]


def test_a_warning_counts_all_rows_and_names_the_first_few_by_line(given_file: GivenFile) -> None:
    table = rows_of(*(f"a,bad{number},0,10,val" for number in range(1234)), f"b,{ONE},0,10,val")
    (warning,) = load("400", "validate", given_file(table)).warnings
    assert "validate.csv: 1,234 rows left out" in warning
    assert warning.endswith("line 2 ('bad0'), line 3 ('bad1'), line 4 ('bad2') and 1,231 more.")


def test_line_numbers_count_blank_lines_and_the_byte_order_mark_does_not_matter(given_file: GivenFile) -> None:
    table = "\ufeff\r\n" + HEADER.replace("\n", "\r\n") + f"a,{ONE},0,10,val\r\n\r\nb,bad,0,10,val\r\n"
    (warning,) = load("400", "validate", given_file(table)).warnings
    assert "line 5 ('bad')" in warning


def test_hostile_text_in_a_warning_is_escaped_and_cut(given_file: GivenFile) -> None:
    hostile = "\x1b]0;owned\x07\u202e" + "x" * 5000
    (warning,) = load("400", "validate", given_file(rows_of(f"a,{hostile},0,1,val", f"b,{TWO},0,10,val"))).warnings
    assert warning.isprintable()
    assert "\\x1b]0;owned\\x07\\u202e" in warning
    assert len(warning) < 400


def test_a_line_that_an_open_quote_swallowed_is_told_of(given_file: GivenFile) -> None:
    table = rows_of(f'a,{ONE},0,10,"val', f"b,{TWO},0,10,val", f'c,{TWO},10,20,val"', f"d,{TWO},30,40,val")
    loaded = load("400", "validate", given_file(table))
    assert [clip.label for clip in loaded.clips()] == ["a", "d"]
    assert len(loaded.warnings) == 1
    assert "2 line breaks are inside quoted cells. Is a quote left open?" in loaded.warnings[0]


def test_exact_repeats_are_left_out_and_counted(given_file: GivenFile) -> None:
    row = f"javelin throw,{ONE},1,11,val"
    loaded = load("400", "validate", given_file(rows_of(row, row, f"javelin throw,{ONE},1.0,11.0001,val")))
    assert clips(loaded) == [JAVELIN]
    assert len(loaded.warnings) == 1
    assert "2 rows left out, an earlier row has the same clip: line 3" in loaded.warnings[0]


def test_of_repeats_with_different_labels_the_first_is_kept_and_both_are_named(given_file: GivenFile) -> None:
    loaded = load("400", "validate", given_file(rows_of(f"javelin throw,{ONE},1,11,val", f"pull ups,{ONE},1,11,val")))
    assert clips(loaded) == [JAVELIN]
    assert len(loaded.warnings) == 1
    assert f"line 3 ({ONE!r}, 1.0, 11.0, 'pull ups', 'javelin throw')" in loaded.warnings[0]


@pytest.mark.parametrize("order", [1, -1])
def test_labels_that_share_a_folder_are_one_class(given_file: GivenFile, order: int) -> None:
    rows = [f"tai_chi,{ONE},1,11,val", f"tai chi,{TWO},1,11,val", f"tai_chi,{ONE},2,12,val"][::order]
    loaded = load("400", "validate", given_file(rows_of(*rows)))
    assert list(loaded.frame["label"].cat.categories) == ["tai chi"]
    assert (
        "2 rows spelt like others of the same folder, and taken for the same class: 'tai_chi' as 'tai chi'."
        in (loaded.warnings[0])
    )


def test_labels_that_share_a_folder_are_one_class_over_all_subsets(given_file: GivenFile, tmp_path: Path) -> None:
    given_file(rows_of(f"tai chi,{ONE},1,11,train", f"x_y,{ONE},2,12,train"), "k/train.csv")
    given_file(rows_of(f"tai_chi,{TWO},1,11,val", f"_unlabeled,{TWO},2,12,val"), "k/val.csv")
    given_file(f"youtube_id,time_start,time_end\n{ONE},3,4\n", "k/test.csv")
    loaded = load("400", "all", tmp_path / "k")
    assert [clip.label for clip in loaded.clips()] == ["tai chi", "x_y", "tai chi", "", ""]
    assert "'_unlabeled' as unlabelled" in loaded.warnings[0]


# --- which column holds the labels ---


LABEL_TITLES = ["label", "Class", "action", "classname", "class_name", "label-name", "action class", "ACTION_CLASS"]


@pytest.mark.parametrize("title", LABEL_TITLES)
def test_a_label_column_is_known_by_each_of_its_names(given_file: GivenFile, title: str) -> None:
    table = OFFICIAL.replace("label", title, 1)
    assert clips(load("400", "validate", given_file(table))) == [JAVELIN, SAXOPHONE]
    entry = {title: "javelin throw", "id": ONE, "start": 1, "end": 11}
    assert clips(load("400", "validate", given_file(json.dumps([entry]), "validate.json"))) == [JAVELIN]
    inner = {ONE: {"subset": "val", "annotations": [{title: "javelin throw", "segment": [1, 11]}]}}
    assert clips(load("400", "validate", given_file(json.dumps(inner), "validate.json"))) == [JAVELIN]


NO_LABELS = {
    "an unknown title": ("Klasse", "archery", "no column that is known .* that may: 'Klasse'.*label,youtube_id"),
    "a number of a class": ("class_id", "7", "no column that is known .* that may: 'class_id'"),
    "numbers": ("label", "7", "numbers in the column 'label', such as '7'.*such as archery.*--format kinetics"),
    "two that differ": ("label,class_name", "7,archery", "two columns for label, .*differ: '7' and 'archery' in "),
    "the same title twice": ("label,Label", "a,b", "two columns for label, 'label' and 'Label', that differ"),
    "HACS with other numbers": ("classname,label,subset", "archery,7,training", "two columns for label"),
}


@pytest.mark.parametrize(("titles", "texts", "says"), NO_LABELS.values(), ids=NO_LABELS)
def test_labels_that_would_be_guessed_are_refused(given_file: GivenFile, titles: str, texts: str, says: str) -> None:
    with pytest.raises(Fatal, match=says):
        load("400", "train", given_file(f"{titles},youtube_id,time_start,time_end\n{texts},{ONE},0,10\n"))
    entry = dict(zip(titles.split(","), texts.split(","), strict=True)) | {"id": ONE, "start": 0, "end": 10}
    with pytest.raises(Fatal, match=says):
        load("400", "train", given_file(json.dumps([entry]), "train.json"))


def test_numbers_are_labels_where_a_person_says_so(given_file: GivenFile) -> None:
    (clip,) = load("400", "train", given_file(rows_of(f"7,{ONE},0,10,x")), file_format="kinetics").clips()
    assert clip.label == "7"


def test_an_empty_column_is_no_second_label(given_file: GivenFile) -> None:
    (clip,) = load("400", "train", given_file(f"label,action,id,start,end\n,archery,{ONE},0,10\n")).clips()
    assert clip.label == "archery"


@pytest.mark.parametrize("title", ["is_cc", "", "duration", "Unnamed: 0"])
def test_a_column_that_holds_no_class_leaves_a_file_unlabelled_without_a_word(
    given_file: GivenFile, title: str
) -> None:
    loaded = load("700", "test", given_file(f"{title},youtube_id,time_start,time_end\n1,{ONE},0,10\n"))
    assert clips(loaded) == [Clip(ONE, 0.0, 10.0, "", "test")]
    assert loaded.warnings == ()


def test_a_column_of_numbers_is_named_where_there_are_no_labels(given_file: GivenFile) -> None:
    loaded = load("700", "test", given_file(f"youtube_id,time_start,time_end,fps\n{ONE},0,10,25\n"))
    assert [clip.label for clip in loaded.clips()] == [""]
    assert "it has no column of classes, so its clips are unlabelled; not read: 'fps'." in loaded.warnings[0]


def test_rows_without_a_label_among_others_are_counted(given_file: GivenFile) -> None:
    loaded = load("400", "train", given_file(rows_of(f"a,{ONE},0,10,x", f",{TWO},0,10,x", f",{TWO},1,10,x")))
    assert [clip.label for clip in loaded.clips()] == ["a", "", ""]
    assert "2 rows without a label" in loaded.warnings[0]


def test_columns_of_times_that_differ_are_refused(given_file: GivenFile) -> None:
    table = f"label,id,start,end,time_start,time_end\na,{ONE},0,10,5,15\n"
    with pytest.raises(Fatal, match="two columns for time_start, 'start' and 'time_start', that differ: '0' and '5'"):
        load("400", "train", given_file(table))


# --- lists of other data sets ---


AVA_ROWS = [f"{ONE},0902,0.077,0.151,0.283,0.811,80,1", f"{ONE},0902,0.077,0.151,0.283,0.811,9,1"]
AVA_ROWS += [f"{ONE},0903,0.1,0.2,0.3,0.4,9,1", f"{ONE},0913,0.1,0.2,0.3,0.4,9,1", f"{TWO},3.5,0.1,0.2,1,0.4,9,"]
AVA_CLIPS = [(ONE, 897.0, 908.0, ""), (ONE, 908.0, 918.0, ""), (TWO, 0.0, 8.5, "")]
AUDIOSET_ROWS = f'{ONE}, 30.000, 40.000, "/m/09x0r,/t/dd00088"\n{TWO}, 0.000, 9.000, "/m/09x0r"\n'
AUDIOSET_CLIPS = [(ONE, 30.0, 40.0, ""), (TWO, 0.0, 9.0, "")]
SEVERAL = "a clip may have several labels, so all are unlabelled"
DATABASE = {
    ONE: {
        "annotations": [{"label": "Dodgeball", "segment": [5.4, 11.6]}],
        "subset": "training",
        "duration": "92.17",
        "resolution": "640x360",
        "url": f"https://www.youtube.com/watch?v={ONE}",
    },
    TWO: {"annotations": [{"label": "Archery", "segment": [1, 2]}], "subset": "validation"},
}
OTHER_SETS: dict[str, tuple[str, str, list[tuple[str, float, float, str]], list[str]]] = {
    "HACS clips": (
        "HACS_clips_v1.1.1.csv",
        f"classname,youtube_id,subset,start,end,label\nArchery,{ONE},training,15.5,17.5,1\n"
        f"Archery,{TWO},training,77.5,79.5,-1\nTai chi,{TWO},training,1,3,1\nTai chi,{TWO},validation,5,7,1\n",
        [(ONE, 15.5, 17.5, "Archery"), (TWO, 1.0, 3.0, "Tai chi")],
        ["1 row left out, negative samples of HACS", "1 row of validate left out: -s train"],
    ),
    "HACS segments and ActivityNet": (
        "HACS_segments.json",
        json.dumps({"version": "1.3", "database": DATABASE}),
        [(ONE, 5.4, 11.6, "Dodgeball")],
        ["1 row of validate left out: -s train"],
    ),
    "VGGSound": (
        "vggsound.csv",
        f'{ONE},1,"people marching",test\n{TWO},30,"dog barking, growling",train\n',
        [(TWO, 30.0, 40.0, "dog barking, growling")],
        ["1 row of test left out: -s train"],
    ),
    "AudioSet": (
        "unbalanced_train_segments.csv",
        "# Segments csv created Sun Mar  5 10:54:31 2017\n# num_ytids=2, num_segs=2\n"
        f"# YTID, start_seconds, end_seconds, positive_labels\n{AUDIOSET_ROWS}",
        AUDIOSET_CLIPS,
        [SEVERAL],
    ),
    "AudioSet with a header": ("a.csv", f"YTID,start,end,labels\n{AUDIOSET_ROWS}", AUDIOSET_CLIPS, [SEVERAL]),
    "AudioSet without a header": ("list.csv", AUDIOSET_ROWS, AUDIOSET_CLIPS, [SEVERAL]),
    "AVA": ("ava_train_v2.2.csv", "\n".join(AVA_ROWS), AVA_CLIPS, ["4 key frames of AVA make 3 clips"]),
    "AVA-Kinetics with a header": (
        "kinetics_train_v1.0.csv",
        "\n".join(["video_id,middle_frame_timestamp,x1,y1,x2,y2,action_id,person_id", *AVA_ROWS, f"{ONE},x,,,,,9,1"]),
        AVA_CLIPS,
        ["4 key frames of AVA make 3 clips", "1 row left out, the times are not .* line 7 .'x'"],
    ),
    "AVA without persons": (
        "list.csv",
        "\n".join(row.rpartition(",")[0] for row in AVA_ROWS),
        AVA_CLIPS,
        ["4 key frames of AVA make 3 clips"],
    ),
    "Countix": (
        "countix_train.csv",
        "video_id,class,kinetics_start,kinetics_end,repetition_start,repetition_end,count\n"
        f"{ONE},bench pressing,81.0,91.0,81.5,85.7,3\n",
        [(ONE, 81.5, 85.7, "bench pressing")],
        [],
    ),
}


@pytest.mark.parametrize(("name", "content", "expected", "says"), OTHER_SETS.values(), ids=OTHER_SETS)
def test_a_list_of_another_data_set_is_read_as_what_it_is(
    given_file: GivenFile, name: str, content: str, expected: list[tuple[str, float, float, str]], says: list[str]
) -> None:
    loaded = load("700", "train", given_file(content, name))
    assert [(*clip.key, clip.label) for clip in loaded.clips()] == expected
    assert len(loaded.warnings) == len(says)
    assert all(re.search(words, warning) for words, warning in zip(says, loaded.warnings, strict=True))


def test_with_all_a_list_of_another_data_set_has_its_own_splits(given_file: GivenFile) -> None:
    loaded = load("700", "all", given_file(OTHER_SETS["HACS clips"][1]))
    assert [(clip.label, clip.split) for clip in loaded.clips()] == [
        ("Archery", "train"),
        ("Tai chi", "train"),
        ("Tai chi", "val"),
    ]


def test_what_only_a_person_can_tell_is_refused_with_the_names_of_the_formats(given_file: GivenFile) -> None:
    path = given_file(OTHER_SETS["VGGSound"][1], "list.csv")
    with pytest.raises(Fatal, match=r"no header.*--format vggsound \(one of activitynet, audioset, ava-kinetics, "):
        load("700", "train", path)
    (clip,) = load("700", "train", path, file_format="vggsound").clips()
    assert (clip.time_end, clip.label) == (40.0, "dog barking, growling")


@pytest.mark.parametrize("name", ["hacs", "countix", "audioset", "ava-kinetics", "vggsound"])
def test_a_file_that_is_not_of_the_named_format_is_refused(given_file: GivenFile, name: str) -> None:
    with pytest.raises(Fatal, match="lacks the columns"):
        load("400", "train", given_file("a,b,c\n1,2,3\n"), file_format=name)


# --- which split a row belongs to ---


MIXED = rows_of(f"a,{ONE},0,10,train", f"b,{ONE},10,20,holdout_test", f"c,{ONE},20,30,val")


def test_the_command_decides_over_the_split_column_and_says_so(given_file: GivenFile) -> None:
    loaded = load("400", "test", given_file(MIXED, "few_shot.csv"))
    assert [clip.split for clip in loaded.clips()] == ["test"] * 3
    assert len(loaded.warnings) == 1
    assert "its split column says test and train and validate, but all rows are taken as test" in loaded.warnings[0]


@pytest.mark.parametrize(
    ("cell", "split"),
    [
        ("train", "train"), ("training", "train"), ("val", "val"), ("Validate", "val"), ("validation", "val"),
        ("test", "test"), ("testing", "test"), ("holdout_test", "test"),
    ],
)  # fmt: skip
def test_with_all_each_row_of_a_single_file_says_its_split(given_file: GivenFile, cell: str, split: str) -> None:
    loaded = load("400", "all", given_file(rows_of(f"a,{ONE},0,10,{cell}"), "everything.csv"))
    assert [clip.split for clip in loaded.clips()] == [split]
    assert loaded.warnings == ()


def test_with_all_rows_without_a_known_split_are_left_out(given_file: GivenFile) -> None:
    table = rows_of(f"a,{ONE},0,10,train", f"b,{ONE},0,11,", f"c,{ONE},0,12,else", f"d,{ONE},0,10,test")
    loaded = load("400", "all", given_file(table, "everything.csv"))
    assert [(clip.label, clip.split) for clip in loaded.clips()] == [("a", "train"), ("d", "test")]
    assert len(loaded.warnings) == 1
    assert "2 rows left out, the split" in loaded.warnings[0]
    assert "line 3 (''), line 4 ('else')" in loaded.warnings[0]


def test_with_all_the_same_clip_may_stand_in_two_splits(given_file: GivenFile) -> None:
    table = rows_of(f"a,{ONE},0,10,train", f"a,{ONE},0,10,test")
    assert len(load("400", "all", given_file(table, "everything.csv"))) == 2


def test_with_all_json_entries_say_their_split(given_file: GivenFile) -> None:
    content = {ONE: {**KEYED[ONE], "subset": "training"}, TWO: KEYED[TWO]}
    loaded = load("400", "all", given_file(json.dumps(content), "everything.json"))
    assert [clip.split for clip in loaded.clips()] == ["train", "val"]


@pytest.mark.parametrize("name", ["kinetics400_val.csv", "k400-Validate.csv", "400.validation.csv"])
def test_with_all_and_no_split_column_the_name_says_it(given_file: GivenFile, name: str) -> None:
    table = f"youtube_id,time_start,time_end\n{ONE},0,10\n"
    assert [clip.split for clip in load("400", "all", given_file(table, name)).clips()] == ["val"]


@pytest.mark.parametrize("name", ["list.csv", "train_val.csv", "contest.csv"])
def test_with_all_a_file_that_says_nothing_is_refused(given_file: GivenFile, name: str) -> None:
    with pytest.raises(Fatal, match=r"which subset .* holds.*-s train, -s validate or -s test"):
        load("400", "all", given_file(f"youtube_id,time_start,time_end\n{ONE},0,10\n", name))


# --- folders and archives ---


def labelled(label: str) -> str:
    return rows_of(f"{label},{ONE},0,10,val")


CHOICES = {
    "the official name": ({"validate.csv": "yes", "k400_val.csv": "no", "test.csv": "no"}, "validate"),
    "the official name over CSV": ({"validate.json": "yes", "k400_val.csv": "no"}, "validate"),
    "CSV over JSON": ({"validate.csv": "yes", "validate.json": "no"}, "validate"),
    "the official name in another case": ({"VALIDATE.CSV": "yes", "k400_val.csv": "no"}, "validate"),
    "a word of the name": ({"kinetics700_val.csv": "yes", "kinetics700_train.csv": "no"}, "validate"),
    "a word, further on": ({"anet_val_quoted_is_cc.csv": "yes", "classes.json": "no"}, "validate"),
    "another case": ({"K400-Train.CSV": "yes", "contest.csv": "no"}, "train"),
    "validation": ({"validation.csv": "yes", "retrain.csv": "no"}, "validate"),
    "test": ({"holdout_test.csv": "yes", "latest.csv": "no", "train_test.csv": "no"}, "test"),
    "a bare word": ({"val.csv": "yes", "k400_val.csv": "no", "k700_val.csv": "no"}, "validate"),
    "another bare word": ({"validation.csv": "yes", "k400_val.csv": "no"}, "validate"),
    "a bare word for training": ({"training.csv": "yes", "k400_train.csv": "no"}, "train"),
    "the official name over a bare word": ({"validate.json": "yes", "val.csv": "no"}, "validate"),
    "compressed": ({"val.csv.gz": "yes", "val.json.gz": "no"}, "validate"),
    "plain over compressed": ({"val.csv": "yes", "val.csv.gz": "no"}, "validate"),
    "one level down": ({"kinetics400/validate.csv": "yes", "kinetics400/test.csv": "no"}, "validate"),
    "above over below": ({"k400_val.csv": "yes", "kinetics400/validate.csv": "no"}, "validate"),
    "no AppleDouble": ({"k400_val.csv": "yes", "._k400_val.csv": "no"}, "validate"),
    "no hidden folder": ({"k/k400_val.csv": "yes", ".k/k400_val.csv": "no"}, "validate"),
    "no other kinds": ({"k400_val.csv": "yes", "validate.txt": "no", "validate.md": "no"}, "validate"),
}


def as_folder(files: dict[str, str | bytes], tmp_path: Path) -> Path:
    for name, content in files.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return tmp_path / "folder"


def as_archive(files: dict[str, str | bytes], tmp_path: Path) -> Path:
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(packed(files))
    return path


MirrorSearch = Callable[[dict[str, Any], Path], Path]
either = pytest.mark.parametrize("gather", [as_folder, as_archive], ids=["folder", "archive"])


@either
@pytest.mark.parametrize(("files", "subset"), CHOICES.values(), ids=CHOICES)
def test_the_best_named_file_is_chosen(
    gather: MirrorSearch, files: dict[str, str], subset: Any, tmp_path: Path
) -> None:
    texts = {
        name: json.dumps([{"id": ONE, "start": 0, "end": 10, "label": label}]) if ".json" in name else labelled(label)
        for name, label in files.items()
    }
    content = {name: gzip.compress(text.encode()) if ".gz" in name else text for name, text in texts.items()}
    assert [clip.label for clip in load("400", subset, gather(content, tmp_path)).clips()] == ["yes"]


@either
def test_all_takes_the_files_that_there_are_and_names_the_missing(gather: MirrorSearch, tmp_path: Path) -> None:
    files = {"k/test.csv": rows_of(f"a,{ONE},0,10,test"), "k/train.csv": rows_of(f"b,{ONE},0,10,train")}
    loaded = load("400", "all", gather(files, tmp_path))
    assert [(clip.label, clip.split) for clip in loaded.clips()] == [("b", "train"), ("a", "test")]
    assert len(loaded.warnings) == 1
    assert "there is no file for validate in it" in loaded.warnings[0]


@either
def test_all_goes_on_when_one_file_has_no_rows_and_names_it(gather: MirrorSearch, tmp_path: Path) -> None:
    loaded = load("400", "all", gather({"train.csv": HEADER, "test.csv": HEADER, "validate.csv": OFFICIAL}, tmp_path))
    assert clips(loaded) == [JAVELIN, SAXOPHONE]
    assert [("'train.csv' in" in w or "'test.csv' in" in w) and "no rows" in w for w in loaded.warnings] == [True, True]


@either
def test_equally_good_files_are_refused_and_named(gather: MirrorSearch, tmp_path: Path) -> None:
    files = {"k400_val.csv": OFFICIAL, "k700_val.csv": OFFICIAL}
    with pytest.raises(Fatal, match=r"2 files for validate: 'k400_val.csv', 'k700_val.csv'.*--annotations"):
        load("400", "validate", gather(files, tmp_path))


@either
def test_nothing_for_the_subset_is_refused(gather: MirrorSearch, tmp_path: Path) -> None:
    for subset in ("train", "all"):
        with pytest.raises(Fatal, match=r"no CSV or JSON for train.*--annotations"):
            load("400", subset, gather({"classes.json": "[]", "readme.txt": ""}, tmp_path))


def test_a_folder_is_searched_one_level_down_only(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="no CSV or JSON for validate"):
        load("400", "validate", as_folder({"a/b/validate.csv": OFFICIAL}, tmp_path))


def test_a_folder_named_like_a_file_is_passed_over(tmp_path: Path) -> None:
    folder = as_folder({"k400_val.csv": OFFICIAL}, tmp_path)
    (folder / "validate.csv").mkdir()
    assert clips(load("400", "validate", folder)) == [JAVELIN, SAXOPHONE]


def hostile_member(name: str, **changes: Any) -> Callable[[tarfile.TarFile], None]:
    def add(tar: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        data = labelled("hostile").encode()
        member.size = len(data)
        for attribute, value in changes.items():
            setattr(member, attribute, value)
        tar.addfile(member, io.BytesIO(data) if member.isreg() else None)

    return add


HOSTILE = {
    "above": hostile_member("../validate.csv"),
    "far above": hostile_member("kinetics400/../../../../var/validate.csv"),
    "symbolic link": hostile_member("validate.csv", type=tarfile.SYMTYPE, linkname="/etc/passwd", size=0),
    "hard link": hostile_member("validate.csv", type=tarfile.LNKTYPE, linkname="kinetics400/other.csv", size=0),
    "character device": hostile_member("validate.csv", type=tarfile.CHRTYPE, devmajor=1, devminor=5, size=0),
    "block device": hostile_member("validate.csv", type=tarfile.BLKTYPE, size=0),
    "pipe": hostile_member("validate.csv", type=tarfile.FIFOTYPE, size=0),
    "folder": hostile_member("validate.csv", type=tarfile.DIRTYPE, size=0),
}


@pytest.mark.parametrize("add", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_archive_member_is_passed_over(
    add: Callable[[tarfile.TarFile], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = as_archive({"kinetics400/validate.csv": OFFICIAL, "kinetics400/other.csv": labelled("other")}, tmp_path)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar, tarfile.open(path) as good:
        for member in good:
            tar.addfile(member, good.extractfile(member))
        add(tar)
    path.write_bytes(content.getvalue())
    before = sorted(tmp_path.rglob("*"))
    assert clips(load("400", "validate", path)) == [JAVELIN, SAXOPHONE]
    assert sorted(tmp_path.rglob("*")) == before


def test_archives_are_as_safe_before_python_had_the_data_filter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    path = as_archive({"../validate.csv": labelled("hostile"), "kinetics400/validate.csv": OFFICIAL}, tmp_path)
    assert clips(load("400", "validate", path)) == [JAVELIN, SAXOPHONE]


def test_an_absolute_member_writes_nothing(tmp_path: Path) -> None:
    outside = tmp_path / "outside" / "validate.csv"
    path = as_archive({str(outside): OFFICIAL}, tmp_path)
    assert clips(load("400", "validate", path)) == [JAVELIN, SAXOPHONE]
    assert not outside.exists()


def test_a_member_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = as_archive({"validate.csv": HEADER + "x" * (2 << 20)}, tmp_path)
    monkeypatch.setattr(files, "MAX_FILE", 1 << 20)
    with pytest.raises(Fatal, match=r"'validate.csv' in .* has more than 1 MiB"):
        load("400", "validate", path)


# --- files that cannot be used ---


FATALS = {
    "nothing in it": ("validate.csv", "", r"lacks the columns youtube_id, time_start, time_end \(found: none\)"),
    "only the header": ("validate.csv", HEADER, r"no usable row.*validate\.csv: it holds no rows"),
    "only bad rows": ("validate.csv", rows_of("a,x,0,9,val", "b,y,0,9,val"), "no usable row.*2 rows left out, the id"),
    "a column missing": ("validate.csv", f"label,id,start\na,{ONE},0\n", "columns time_end .found: 'label',"),
    "no header": ("validate.csv", OFFICIAL.removeprefix(HEADER), "lacks the columns.*found: 'javelin throw'"),
    "an open quote": ("validate.csv", rows_of(f'"a,{ONE},0,10,val'), "EOF inside string.*quote left open"),
    "a huge cell": ("validate.csv", rows_of(f"{'x' * 200_000},{ONE},0,10,val"), "cell of more than 131,072 characters"),
    "too many columns": ("validate.csv", HEADER.strip() + "," * 10_000, "10,005 columns, too many"),
    "too many unknown columns": ("test.csv", "a," * 101 + "id,start,end\n", "101 columns of unknown meaning"),
    "a huge header": ("validate.csv", "x" * 200_000, "field larger than field limit"),
    "cut JSON": ("validate.json", json.dumps(KEYED)[:-10], "is not an annotation JSON file"),
    "empty JSON file": ("validate.json", "", "is not an annotation JSON file"),
    "empty JSON": ("validate.json", "{}", "lacks the columns"),
    "JSON of another kind": ("classes.json", '["abseiling", "air drumming"]', "lacks the columns"),
    "class groups": ("categories.json", '{"arts and crafts": ["arranging flowers"]}', "no usable row.*'arts"),
    "a number": ("validate.json", "1", "neither a list nor an object"),
    "a database of nothing": ("validate.json", '{"database": 1}', "neither a list nor an object"),
    "deep JSON": ("validate.json", "[" * 200_000, "is not an annotation JSON file"),
    "a huge number": ("validate.json", f'{{"{ONE}": {"9" * 5000}}}', "is not an annotation JSON file"),
    "UTF-16 without a mark": ("validate.csv", OFFICIAL.encode("utf-16-le"), "no usable row"),
    "a zip without a table": ("k.zip", zipped({"a.md": "x", "b.md": "y"}), "no CSV or JSON for validate"),
    "a cut zip": ("k.zip", zipped({"validate.csv": OFFICIAL})[:-30], "damaged, cut short"),
    "a cut gzip file": ("k.csv.gz", gzip.compress(OFFICIAL.encode())[:-9], "damaged, cut short"),
    "a video": ("validate.mp4", b"\0\0\0\x20ftypisom" + bytes(range(256)) * 10, "lacks the columns"),
    "no archive": ("kinetics400.tar.gz", "<html>Not found</html>", "damaged, cut short, or not an archive"),
    "a cut archive": ("kinetics400.tar.gz", packed({"validate.csv": OFFICIAL * 50})[:-20], "damaged, cut short"),
    "a cut tar": ("kinetics400.tar", packed({"validate.csv": OFFICIAL * 50}, "w")[:1500], "damaged, cut short"),
    "an empty archive": ("kinetics400.tar.gz", packed({}), "no CSV or JSON for validate"),
}


@pytest.mark.parametrize(("name", "content", "says"), FATALS.values(), ids=FATALS)
def test_an_unusable_file_is_a_clear_error_that_names_it(
    given_file: GivenFile, name: str, content: str | bytes, says: str
) -> None:
    path = given_file(content, name)
    with pytest.raises(Fatal, match=says) as error:
        load("400", "validate", path)
    assert str(path) in str(error.value)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2"])
def test_an_archive_damaged_anywhere_is_a_clear_error(given_file: GivenFile, mode: str) -> None:
    noise = "".join(f"{number * 7919 % 10007}," for number in range(50_000))  # compresses, but not to nothing
    good = packed({"validate.csv": OFFICIAL + noise, "test.csv": noise}, mode)
    for at in range(0, len(good) - 64, len(good) // 40):
        damaged = good[:at] + random.Random(at).randbytes(64) + good[at + 64 :]
        with pytest.raises(Fatal, match="damaged"):
            load("400", "validate", given_file(damaged, "kinetics400.tar.gz"))


def test_an_archive_with_a_nul_in_a_name_is_a_clear_error(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "k.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("validate.csv")
        member.pax_headers = {"path": "vali\0date.csv"}
        tar.addfile(member)
    with pytest.raises(Fatal, match=r"damaged|no CSV"):
        load("400", "validate", tmp_path / "k.tar")


def test_a_checksum_behind_the_last_member_is_checked(given_file: GivenFile) -> None:
    content = bytearray(packed({"validate.csv": OFFICIAL}))
    content[-8] ^= 1  # the sum itself: every byte of the members is right
    with pytest.raises(Fatal, match="damaged"):
        load("400", "validate", given_file(bytes(content), "kinetics400.tar.gz"))


def test_a_missing_path_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match=r"nowhere\.csv: No such file"):
        load("400", "validate", tmp_path / "nowhere.csv")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", ["validate.csv", "folder/validate.csv"])
def test_an_unreadable_path_is_a_clear_error(given_file: GivenFile, tmp_path: Path, name: str) -> None:
    path = given_file(OFFICIAL, name)
    blocked = tmp_path / Path(name).parts[0]
    blocked.chmod(0)
    try:
        with pytest.raises(Fatal, match="Permission denied"):
            load("400", "validate", blocked)
    finally:
        blocked.chmod(0o700)
    assert path.exists()


def test_a_loop_of_links_is_a_clear_error(tmp_path: Path) -> None:
    loop = tmp_path / "validate.csv"
    loop.symlink_to(loop)
    with pytest.raises(Fatal, match="symbolic links"):
        load("400", "validate", loop)


def test_a_file_too_large_is_refused(given_file: GivenFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_FILE", 10)
    with pytest.raises(Fatal, match="too much for such a file"):
        load("400", "validate", given_file(OFFICIAL))


# --- whatever the file, rows that keep the rules or Fatal ---


def check(path: Path, subset: Any) -> Annotations | None:
    """Load; what comes must keep every rule, and what is said must be fit for a terminal."""
    try:
        loaded = load("400", subset, path)
    except Fatal as error:
        assert str(error).isprintable()
        return None
    assert loaded.frame.notna().all(axis=None)
    assert all(warning.isprintable() and len(warning) < 2000 for warning in loaded.warnings)
    keys = set()
    for clip in loaded.clips():
        assert re.fullmatch(r"[A-Za-z0-9_-]{11}", clip.youtube_id)
        assert 0 <= clip.time_start < clip.time_end <= 1_000_000
        assert (clip.time_start, clip.time_end) == (round(clip.time_start, 3), round(clip.time_end, 3))
        assert len(clip.label.encode()) <= 200
        assert clip.label == clip.label.strip()
        assert not set(clip.label) & set("/\\\0\r\n\t\x1b")
        assert not clip.label.startswith(".")
        assert clip.split in ({"train", "val", "test"} if subset == "all" else {subset.replace("validate", "val")})
        keys.add((*clip.key, clip.split))
    assert len(keys) == len(loaded) > 0
    return loaded


def left_out(loaded: Annotations) -> int:
    counts = [re.search(r": ([\d,]+) rows? left out", warning) for warning in loaded.warnings]
    return sum(int(count[1].replace(",", "")) for count in counts if count)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any")


subsets = st.sampled_from(["train", "validate", "test", "all"])
ids = st.one_of(st.sampled_from([ONE, TWO]), st.from_regex(r"[A-Za-z0-9_-]{11}", fullmatch=True))
times = st.one_of(
    st.integers(0, 50).map(str), st.floats().map(str), st.sampled_from(["-0", "1e5", "1_0", "0x1", "\u0661"])
)
cells = st.one_of(
    st.text(max_size=20), ids, times, st.sampled_from(["train", "val", "..", "a/b", "\n", '"', ",", "\0", " "])
)
likely_rows = st.tuples(st.one_of(st.just("a b"), cells), st.one_of(ids, cells), times, times, cells).map(list)
headers = st.lists(
    st.sampled_from([*(name for names in ALIASES.values() for name in names), "is_cc", "\ufeff", ""]),
    max_size=8,
)
many = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@many
@given(
    content=st.binary(max_size=300), name=st.sampled_from(["x.csv", "x.json", "x.tar.gz", "x.tar", "x"]), subset=subsets
)
def test_any_bytes_load_by_the_rules_or_are_refused(folder: Path, content: bytes, name: str, subset: str) -> None:
    (folder / name).write_bytes(content)
    check(folder / name, subset)


def as_csv(table: list[list[str]], line_end: str, noise: bytes | None) -> bytes:
    """A well-formed CSV; with noise, one without quotes and with those bytes in its end."""
    text = io.StringIO()
    if noise is None:
        csv.writer(text, lineterminator=line_end).writerows(table)
    else:
        text.write(line_end.join(",".join(row) for row in table))
    return text.getvalue().encode() + (noise or b"")


any_header = st.one_of(st.just(HEADER.strip().split(",")), headers)
any_row = st.one_of(likely_rows, st.lists(cells, max_size=8))
any_csv = st.builds(
    as_csv,
    st.builds(lambda header, rows: [header, *rows], any_header, st.lists(any_row, max_size=8)),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.one_of(st.none(), st.binary(max_size=3)),
)


@many
@given(content=any_csv, subset=subsets)
def test_any_csv_loads_by_the_rules_or_is_refused(folder: Path, content: bytes, subset: str) -> None:
    (folder / "any_val.csv").write_bytes(content)
    check(folder / "any_val.csv", subset)


@many
@given(rows=st.lists(likely_rows, min_size=1, max_size=20), subset=subsets)
def test_every_row_of_a_csv_is_loaded_or_counted(folder: Path, rows: list[list[str]], subset: str) -> None:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([HEADER.strip().split(","), *rows])
    (folder / "all_val.csv").write_bytes(text.getvalue().encode())
    loaded = check(folder / "all_val.csv", subset)
    if loaded is not None:
        assert len(loaded) + left_out(loaded) == len(rows)


values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), ids, st.just("\ud800"), st.integers(0, 50)
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)
likely_annotation = st.fixed_dictionaries(
    {"segment": st.one_of(st.tuples(st.integers(0, 5), st.floats(0, 50)), values)},
    optional={"label": st.one_of(ids, values)},
)
entries = st.fixed_dictionaries(
    {"annotations": st.one_of(likely_annotation, st.lists(likely_annotation, max_size=3), values)},
    optional={"subset": st.one_of(st.sampled_from(["train", "val"]), values)},
)
keyed = st.dictionaries(st.one_of(ids, st.text(max_size=12)), st.one_of(entries, values), max_size=6)
records = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {"video_id": ids | values, "start": st.integers(0, 5) | values, "end": st.integers(5, 9) | values},
            optional={"label": st.just("a") | values, "split": st.just("val") | values},
        ),
        values,
    ),
    max_size=6,
)


@many
@given(content=st.one_of(keyed, records, keyed.map(lambda inner: {"database": inner}), values), subset=subsets)
def test_any_json_loads_by_the_rules_or_is_refused(folder: Path, content: Any, subset: str) -> None:
    (folder / "any_val.json").write_text(json.dumps(content))
    check(folder / "any_val.json", subset)


@many
@given(data=st.data(), subset=subsets)
def test_any_damage_to_an_archive_loads_by_the_rules_or_is_refused(
    folder: Path, data: st.DataObject, subset: str
) -> None:
    mode, name = data.draw(st.sampled_from([("w", "any.tar"), ("w:gz", "any.tar.gz")]))
    content = bytearray(packed({"k/validate.csv": OFFICIAL, "k/train.json": json.dumps(KEYED)}, mode))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(len(content), 2600) - 1))] = data.draw(st.integers(0, 255))
    (folder / name).write_bytes(
        content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    )
    check(folder / name, subset)


# --- the official archive ---


@pytest.fixture
def youtube(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackYouTube]:
    """A loopback storage.googleapis.com over TLS, reached through the standard environment variables alone."""
    monkeypatch.setattr(published, "PAUSES_S", (0, 0, 0))
    world = World()
    world.annotate(
        "400",
        "validate",
        [Row(clip.label, clip.youtube_id, int(clip.time_start), int(clip.time_end)) for clip in (JAVELIN, SAXOPHONE)],
    )
    with LoopbackYouTube(world) as server:
        for name in os.environ.keys() - server.env.keys():
            monkeypatch.delenv(name)
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        yield server


def asked(youtube: LoopbackYouTube) -> list[str]:
    return [request.path for request in youtube.requests if request.kind == "archive"]


def cached(youtube: LoopbackYouTube) -> list[Path]:
    return sorted(path for path in Path(youtube.env["XDG_CACHE_HOME"]).rglob("*") if path.is_file())


def test_the_official_archive_is_fetched_once_and_kept(youtube: LoopbackYouTube) -> None:
    assert clips(load("400", "validate", clip_list="official")) == [JAVELIN, SAXOPHONE]
    assert clips(load("400", "validate", clip_list="official")) == [JAVELIN, SAXOPHONE]
    assert asked(youtube) == ["/deepmind-media/Datasets/kinetics400.tar.gz"]
    assert [path.name for path in cached(youtube)] == ["clips-400-validate-official.kept", "kinetics400.tar.gz"]
    assert cached(youtube)[0].parent.name == "kinetics-downloader"


def test_each_version_has_its_own_archive(youtube: LoopbackYouTube) -> None:
    for version in VERSIONS:
        youtube.world.annotate(version, "test", [Row("a", TWO, 0, int(version[:3]))])
        assert [clip.time_end for clip in load(version, "test", clip_list="official").clips()] == [float(version[:3])]
    assert [Path(path).name for path in asked(youtube)] == [
        "kinetics400.tar.gz",
        "kinetics600.tar.gz",
        "kinetics700.tar.gz",
        "kinetics700_2020.tar.gz",
    ]


@pytest.mark.parametrize(
    "damage", [lambda good: good[:-100], lambda good: b"", lambda good: good[:60] + b"x" + good[61:]]
)
def test_a_damaged_archive_in_the_cache_is_fetched_anew_once(
    youtube: LoopbackYouTube, damage: Callable[[bytes], bytes]
) -> None:
    load("400", "validate", clip_list="official")
    _, archive = cached(youtube)
    good = archive.read_bytes()
    archive.write_bytes(damage(good))
    assert clips(load("400", "validate", clip_list="official")) == [JAVELIN, SAXOPHONE]
    assert clips(load("400", "validate", clip_list="official")) == [JAVELIN, SAXOPHONE]
    assert len(asked(youtube)) == 2
    assert archive.read_bytes()[10:] == good[10:], "behind the time in the header"
    assert len(cached(youtube)) == 2


@pytest.mark.parametrize(("fault", "requests"), [("missing", 1), ("damaged", 4), ("cut", 4)])
def test_an_archive_that_cannot_be_had_whole_is_a_clear_error_and_leaves_nothing(
    youtube: LoopbackYouTube, fault: Any, requests: int
) -> None:
    youtube.world.archive_faults["400"] = fault
    with pytest.raises(Fatal, match=r"https://storage\.googleapis\.com/.*/kinetics400\.tar\.gz.*--annotations PATH"):
        load("400", "validate", clip_list="official")
    assert len(asked(youtube)) == requests
    assert cached(youtube) == []


def test_no_network_is_a_clear_error(youtube: LoopbackYouTube) -> None:
    youtube.world.line_down = True
    with pytest.raises(Fatal, match=r"https://storage\.googleapis\.com/.*Try again later"):
        load("400", "validate", clip_list="official")


def test_a_certificate_that_nobody_vouches_for_is_refused(
    youtube: LoopbackYouTube, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty.pem").touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "empty.pem"))
    with pytest.raises(Fatal, match=r"CERTIFICATE_VERIFY_FAILED"):
        load("400", "validate", clip_list="official")
    assert asked(youtube) == []


# --- fetching, against a server that follows a script ---


@dataclass
class Reply:
    """What the server says once. `length` is what it announces: None for nothing, so that the end is the close."""

    body: bytes = b""
    status: int = 200
    length: int | None = -1
    headers: dict[str, str] = field(default_factory=dict)


class Scripted(ThreadingHTTPServer):
    """Answers with one reply after the other, and notes what was asked."""

    daemon_threads = True

    def __init__(self, *replies: Reply) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.replies, self.asked = list(replies), list[tuple[str, str | None]]()
        self.address = f"127.0.0.1:{self.server_address[1]}"
        self.url = f"http://{self.address}/kinetics400.tar.gz"


class _Answer(BaseHTTPRequestHandler):
    server: Scripted

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Proxy-Authorization")))
        reply = self.server.replies.pop(0)
        self.send_response(reply.status)
        if reply.length is not None:
            self.send_header("Content-Length", str(len(reply.body) if reply.length < 0 else reply.length))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Scripted]]:
    """Start a server that follows a script; no proxy of the outside stands between."""
    monkeypatch.setattr(published, "PAUSES_S", (0, 0, 0))
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    servers = []

    def start(*replies: Reply) -> Scripted:
        server = Scripted(*replies)
        hosts = AllowedHosts("the server", re.compile(r"127\.0\.0\.1|annotations\.example"), scheme="http", port=None)
        monkeypatch.setattr(published, "LIST_HOSTS", hosts)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


Script = Callable[..., Scripted]
GOOD = packed({"kinetics400/validate.csv": OFFICIAL, "kinetics400/noise.bin": os.urandom(200_000)})
SPOILT = {
    "a server error": Reply(status=503),
    "too many requests": Reply(status=429),
    "a cut body": Reply(GOOD[:1000], length=len(GOOD)),
    "less than announced": Reply(GOOD, length=len(GOOD) + 100),
    "a cut body of unknown length": Reply(GOOD[:-1], length=None),
    "no body": Reply(),
    "a page of HTML": Reply(b"<html>Sign in to this network</html>"),
    "a damaged body": Reply(GOOD[:1000] + b"x" * 100 + GOOD[1100:]),
}


@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT)
def test_a_spoilt_reply_is_tried_again(script: Script, tmp_path: Path, spoilt: Reply) -> None:
    server = script(spoilt, Reply(GOOD))
    fetch(server.url, tmp_path / "cache" / "k.tar.gz")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["k.tar.gz"]
    assert (tmp_path / "cache" / "k.tar.gz").read_bytes() == GOOD


@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT)
def test_a_reply_that_stays_spoilt_is_an_error_after_four_tries(script: Script, tmp_path: Path, spoilt: Reply) -> None:
    server = script(*[spoilt] * 4)
    with pytest.raises(Fatal, match=re.escape(server.url)):
        fetch(server.url, tmp_path / "k.tar.gz")
    assert len(server.asked) == 4
    assert list(tmp_path.iterdir()) == []


def test_an_archive_announced_as_a_gzipped_tar_is_kept_as_it_is(script: Script, tmp_path: Path) -> None:
    fetch(script(Reply(GOOD, headers={"Content-Encoding": "gzip"})).url, tmp_path / "k.tar.gz")
    assert (tmp_path / "k.tar.gz").read_bytes() == GOOD


def test_a_redirect_to_another_host_is_not_followed(script: Script, tmp_path: Path) -> None:
    server = script(Reply(status=301, headers={"Location": "http://elsewhere.example/k.tar.gz"}))
    with pytest.raises(Fatal, match=r"refused to follow .* --annotations PATH"):
        fetch(server.url, tmp_path / "k.tar.gz")
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_plain_no_is_not_asked_again(script: Script, tmp_path: Path, status: int) -> None:
    server = script(Reply(status=status))
    with pytest.raises(Fatal, match=rf"HTTP {status} .*--annotations PATH"):
        fetch(server.url, tmp_path / "k.tar.gz")
    assert len(server.asked) == 1


def test_progress_goes_up_to_the_whole(script: Script, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    fetch(script(Reply(GOOD)).url, tmp_path / "k.tar.gz", lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert len(seen) > 1
    assert seen[-1] == (len(GOOD), len(GOOD))


def test_progress_without_an_announced_length_has_no_total(script: Script, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    fetch(script(Reply(GOOD, length=None)).url, tmp_path / "k.tar.gz", lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(GOOD), None)


@pytest.mark.parametrize("bound", ["MAX_FILE", "FETCH_S"])
def test_a_transfer_without_end_is_given_up(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(published, bound, 0)
    with pytest.raises(Fatal, match="did not end after"):
        fetch(script(Reply(GOOD)).url, tmp_path / "k.tar.gz")
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_archive_outlives_a_failed_fetch(script: Script, tmp_path: Path) -> None:
    (tmp_path / "k.tar.gz").write_bytes(b"earlier")
    with pytest.raises(Fatal):
        fetch(script(*[Reply(GOOD[:1000], length=len(GOOD))] * 4).url, tmp_path / "k.tar.gz")
    assert (tmp_path / "k.tar.gz").read_bytes() == b"earlier"


def test_a_cache_that_cannot_be_written_is_a_clear_error(script: Script, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Fatal, match=r"Cannot write .*XDG_CACHE_HOME"):
        fetch(script(Reply(GOOD)).url, tmp_path / "file" / "k.tar.gz")


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_the_proxy_of_the_environment_is_used_with_its_login(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    server = script(Reply(GOOD))
    monkeypatch.setenv("http_proxy", f"{scheme}me:p%40ss@{server.address}")
    fetch("http://annotations.example/k.tar.gz", tmp_path / "k.tar.gz")
    login = base64.b64encode(b"me:p@ss").decode()
    assert server.asked == [("http://annotations.example/k.tar.gz", f"Basic {login}")]


def test_no_proxy_is_heeded(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = script(Reply(GOOD))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    fetch(server.url, tmp_path / "k.tar.gz")
    assert len(server.asked) == 1


@pytest.mark.parametrize("proxy", ["socks5://me:secret@127.0.0.1:9", "http://me:secret@127.0.0.1:nine"])
def test_an_unusable_proxy_is_a_clear_error_that_keeps_the_password(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    script()
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(Fatal, match="http_proxy") as error:
        fetch("http://annotations.example/k.tar.gz", tmp_path / "k.tar.gz")
    assert "secret" not in str(error.value)
