"""Whatever annotation file is named: clips that keep every rule, or one clear error; within bounds of memory."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import random
import re
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinetics.annotations import cells as module
from kinetics.annotations.archives import MAX_FILE
from kinetics.annotations.load import load
from kinetics.errors import Fatal
from kinetics.storage.layout import Layout, label_folder
from tests.support.commands import ROOT
from tests.support.sweeps import first_of
from tests.unit.test_annotations import (
    HEADER,
    KEYED,
    OFFICIAL,
    ONE,
    any_csv,
    check,
    keyed,
    packed,
    records,
    subsets,
    values,
)

MEMORY_MIB = 2560
"""Of the whole process, for the worst file that is taken; one that is refused costs less."""


# -- at random --------------------------------------------------------------------------------------------------------

LABELS = (
    *(
        "..",
        ".",
        "/",
        "a/b",
        "a\\b",
        "\\",
        "a\0b",
        "a\nb",
        "\x1b[31m",
        "x" * 300,
        "\u00e9" * 101,
        "CON",
        "nul.mp4",
        "-rf",
    ),
    *(".hidden", "~", "$HOME", "*", "e\u0301", "\u00e9", "E", "e", "\u202egnp", "\ud800", "a:b", "a|b", "_unlabeled"),
    *(
        "=1+1",
        "'",
        '"',
        " ",
        "\u00a0",
        "\u200b",
        "\ufeff",
        "../../../etc/cron.d/x",
        "/etc/passwd",
        "a b",
        "a_b",
        "\uff0e\uff0e",
    ),
)
NUMBERS = (
    *(
        "0",
        "-1",
        "1e400",
        "NaN",
        "Infinity",
        "-0",
        "1e-9",
        "0x10",
        "1_0",
        "9" * 400,
        "1e5",
        "\u0661",
        "True",
        "",
        " 1 ",
    ),
    *("10.0005", "+3", "1,5", "1000000", "1000001", "inf", "nan", ".5", "5."),
)
IDS = (
    ONE,
    "-1e5-1e5-1e",
    "=cmd|' /C x",
    "a" * 12,
    "a" * 10,
    "../../../etc",
    "aaaaaaaaa\0a",
    "\u0430" * 11,
    "-----------",
    "",
)


def hostile_csv(rng: random.Random) -> bytes:
    """A table in some dialect or other, with cells that mean harm."""
    quote = rng.choice(('"',) * 9 + ("'", "", '"""'))
    separator = rng.choice((",",) * 9 + (";", "\t", "|"))

    def cell(text: str) -> str:
        return f"{quote}{text}{quote if rng.random() < 0.99 else ''}" if rng.random() < 0.5 else text

    titles = HEADER.strip().split(",")
    rng.shuffle(titles)
    rows = [separator.join(titles[: rng.choice((5,) * 9 + (3, 0))])]
    for _ in range(rng.choice((0, 1, 3, 10))):
        given_ = {
            "label": rng.choice(LABELS),
            "youtube_id": rng.choice(IDS) if rng.random() < 0.2 else f"id-{rng.randrange(10**8):08}",
            "time_start": rng.choice(NUMBERS) if rng.random() < 0.2 else str(rng.randrange(50)),
            "time_end": rng.choice(NUMBERS) if rng.random() < 0.2 else str(rng.randrange(50, 100)),
            "split": rng.choice(("train", "val", "test", "x", "")),
        }
        cells = [cell(given_[title]) for title in titles]
        rows.append(separator.join(cells[: rng.choice((5, 5, 5, 5, 4, 0))] + ["surplus"] * rng.choice((0, 0, 0, 1, 9))))
    text = rng.choice(("\n", "\n", "\r\n", "\r", "\n\n", "\x0b", "\u2028")).join([*rows, ""])
    code = rng.choice(("utf-8",) * 15 + ("utf-8-sig", "utf-16", "utf-32", "latin-1", "utf-7"))
    data = bytearray(text.encode(code, "replace" if code != "utf-8" else "surrogatepass"))
    for _ in range(rng.choice((0, 0, 0, 1, 5))):
        data[rng.randrange(len(data) + 1) : 0] = rng.choice(
            (b"\0", b'"', b"\xff", b"\xef\xbb\xbf", b"\x1a", b",", b"\n")
        )
    return bytes(data)


def hostile_json(rng: random.Random) -> bytes:
    """A sound file with some of its parts put in another one's place, or nonsense there."""
    good: Any = rng.choice((KEYED, {"database": KEYED}, [{"id": ONE, "start": 1, "end": 2, "label": "a"}] * 3))
    text = json.dumps(good)
    nonsense = (
        *("null", "[]", "{}", "NaN", "Infinity", "1e400", "-0.0", "true", '""', '"\\ud800"', '"\\u0000"', "9" * 4000),
        *('{"annotations": {"segment": [1, 2]}}', "[" * rng.choice((1, 50, 5000)), '"a', "[1, 2]", "[[1], {}]", '"3"'),
        *(json.dumps(label) for label in rng.sample(LABELS, 3)),
    )
    tokens = json.dumps(good, separators=("\n,", "\n:")).split("\n")
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(len(tokens))
        tokens[place] = tokens[place][:1] + rng.choice(nonsense) if rng.random() < 0.8 else rng.choice(tokens)
    text = "".join(tokens)
    return text.encode(rng.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16")), "surrogatepass")


def hostile_tar(rng: random.Random) -> bytes:
    """An archive of members that lead elsewhere, lie about themselves, or are no files."""
    content = io.BytesIO()
    names = ("validate.csv", "k/validate.csv", "../validate.csv", "/validate.csv", "k/../../validate.csv", "k//val.csv")
    more = (
        "./validate.json",
        "C:\\validate.csv",
        "validate.csv/",
        "k/val\x01.csv",
        "\udcff/validate.csv",
        "x" * 300 + "/val.csv",
    )
    kinds = (tarfile.REGTYPE,) * 8 + (
        b"\0",
        b"1",
        b"2",
        b"3",
        b"4",
        b"5",
        b"6",
        b"7",
        b"S",
        b"L",
        b"x",
        b"g",
        b"V",
        b"?",
    )
    form: Any = rng.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    for _ in range(rng.choice((0, 1, 2, 5))):
        member = tarfile.TarInfo(rng.choice((*names, *more)))
        member.type, member.linkname = rng.choice(kinds), rng.choice(("/etc/passwd", "validate.csv", "../x"))
        data = rng.choice((OFFICIAL.encode(), hostile_csv(rng), packed({"validate.csv": OFFICIAL}, "w"), b""))
        member.size = len(data)
        if rng.random() < 0.2:
            member.pax_headers = {
                rng.choice(("size", "path", "GNU.sparse.map", "GNU.sparse.realsize", "mtime")): "-1,9"
            }
        try:
            head = bytearray(member.tobuf(form, "utf-8", "surrogateescape"))
        except (ValueError, struct.error):
            continue
        if rng.random() < 0.3:
            head[-512 + 124 : -512 + 136] = rng.choice(
                (b"\x80" + b"\xff" * 11, b"\xff" * 12, b"77777777777\0", b"-0000001000\0")
            )
            head[-512 + 148 : -512 + 156] = b"%06o\0 " % (sum(head[-512:-364]) + sum(head[-356:]) + 256)
        content.write(head + data + bytes(-len(data) % 512))
    content.write(bytes(rng.choice((0, 512, 1024, 10240))))
    data = content.getvalue()
    data = data[: rng.randrange(len(data) + 1)] if rng.random() < 0.1 else data
    pack: Any = rng.choice(
        (bytes, bytes, gzip.compress, bz2.compress, lzma.compress, lambda inner: gzip.compress(gzip.compress(inner)))
    )
    return bytes(pack(data))


FORMS: dict[str, tuple[str, Callable[[random.Random], bytes]]] = {
    "csv": ("any_val.csv", hostile_csv),
    "json": ("any_val.json", hostile_json),
    "tar": ("any.tar.gz", hostile_tar),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "files", [40, pytest.param(7000, marks=[pytest.mark.soak, pytest.mark.timeout(7200)])], ids=["some", "many"]
)
def test_any_file_loads_by_the_rules_or_is_refused(form: str, files: int, tmp_path: Path) -> None:
    name, make = FORMS[form]
    path, taken = tmp_path / name, 0
    for seed in range(files):
        rng = random.Random(f"{form} {seed}")
        path.write_bytes(make(rng))
        try:
            loaded = check(path, rng.choice(("validate", "validate", "train", "test", "all")))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error
        taken += loaded is not None
    assert list(tmp_path.iterdir()) == [path]
    assert 0 < taken < files
    print(f"{files} files of the form {form}: {taken} loaded, {files - taken} refused")


@pytest.mark.soak
@pytest.mark.timeout(7200)
@settings(max_examples=4000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=any_csv | st.one_of(keyed, records, values).map(lambda value: json.dumps(value).encode()), subset=subsets
)
def test_what_hypothesis_thinks_of_loads_by_the_rules_or_is_refused(
    tmp_path: Path, content: bytes, subset: str
) -> None:
    (tmp_path / "any_val").write_bytes(content)
    check(tmp_path / "any_val", subset)


# -- labels are as written, or the file is refused --------------------------------------------------------------------

KNOWN = ("label", "Class", "action", "class_name", "Label-Name", "ACTION CLASS", "classname")
LIKE_LABEL = ("category", "action_id", "label_id", "labels", "_label_2")
FOREIGN = ("Klasse", "gloss")
PLAIN = ("archery", "tai chi", "tai_chi", 'say "hi"', "a, b", "a;b", "NA", "person's head", " padded ", "")
NUMERALS = ("1", "-1", "7", "0.5")
NUMERAL = re.compile(r"([+-]?\d+(\.\d*)?)?")
JUNK = ("", "x", '"', "'", "#", "1", ",", "\u00e9", "\n", "a/b", ";;", "train")


@dataclass
class Table:
    """A table with one or two columns that may hold the labels, and how it is written down."""

    titles: list[str]
    rows: list[list[str]]

    def cells(self, title_at: int) -> list[str]:
        return [row[title_at].strip() if title_at < len(row) else "" for row in self.rows]

    def labels(self) -> list[str] | None:
        """The label of each row, '-' for those that are no clips; None if the file must be refused."""
        found = [at for at, title in enumerate(self.titles) if title in KNOWN]
        columns = [self.cells(at) for at in found]
        signs = self.cells(self.titles.index("label")) if "label" in self.titles else []
        numbers = {float(text) for text in signs if text and NUMERAL.fullmatch(text)}
        if numbers and numbers <= {1, -1} and {"classname", "class_name"} & {*self.titles}:  # the titles of HACS
            (filled,) = (cells for cells, at in zip(columns, found, strict=True) if self.titles[at] != "label")
            labels = [
                name if sign.lstrip("+") in ("1", "1.0") else "-" for name, sign in zip(filled, signs, strict=True)
            ]
        else:
            columns = [cells for cells in columns if any(cells)]
            if any(cells != columns[0] for cells in columns):
                return None
            labels = filled = columns[0] if columns else [""] * len(self.rows)
        if any(filled) and all(NUMERAL.fullmatch(text) for text in filled):
            return None
        suspect = any(
            title in LIKE_LABEL or (title in FOREIGN and not all(map(NUMERAL.fullmatch, self.cells(at))))
            for at, title in enumerate(self.titles)
        )
        return None if suspect and not found else labels

    def written(self, rng: random.Random) -> tuple[str, bytes]:
        if rng.random() < 0.2 and len({*self.titles}) == len(self.titles):
            rows = [dict(zip_longest(self.titles, row[: len(self.titles)], fillvalue="")) for row in self.rows]
            return "any_val.json", json.dumps(rows).encode()
        text = io.StringIO()
        separator = rng.choice(",,,;\t")
        text.write(rng.choice(("", "", "# a comment, and more\n", "\n", f"sep={separator}\n")))
        csv.writer(text, delimiter=separator, lineterminator=rng.choice(("\n", "\r\n"))).writerows(
            [self.titles, *self.rows]
        )
        data = text.getvalue().encode(rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32")))
        return rng.choice((("any_val.csv", data), ("any_val.csv.gz", gzip.compress(data, 1))))


def mutated_table(rng: random.Random) -> Table:
    """A table whose titles are exchanged, doubled and shuffled, with cells that are missing, added or replaced."""
    named = rng.choices((*KNOWN, *LIKE_LABEL, *FOREIGN), k=rng.choice((1, 1, 1, 2, 2)))
    if rng.random() < 0.15:
        named = ["classname", "label"]
    others = rng.sample(("split", "is_cc", "fps", "note"), rng.choice((0, 1, 2)))
    titles = [*named, "youtube_id", "time_start", "time_end", *others]
    rows = []
    pool = rng.choice((PLAIN, PLAIN, NUMERALS, (*PLAIN, *NUMERALS)))
    for number in range(rng.choice((1, 3, 8))):
        label = rng.choice(pool)
        second = label if rng.random() < 0.9 else rng.choice(pool)
        labels = [label, rng.choice(NUMERALS[:2]) if named == ["classname", "label"] else second][: len(named)]
        extra = {"split": "train", "is_cc": "1", "fps": "25", "note": "text"}
        rows.append([*labels, f"id-{number:08}", str(number), str(number + 10), *(extra[name] for name in others)])
    order = rng.sample(range(len(titles)), len(titles))
    titles, rows = [titles[at] for at in order], [[row[at] for at in order] for row in rows]
    for _ in range(rng.choice((0, 0, 1, 2))):
        row = rng.choice(rows)
        change = rng.random()
        if change < 0.4 and row:
            row[rng.randrange(len(row))] = rng.choice(JUNK)
        elif change < 0.7 and len(row) > 1:
            del row[rng.randrange(len(row))]
        else:
            row.insert(rng.randrange(len(row) + 1), rng.choice((*JUNK, *PLAIN)))
    return Table(titles, rows)


@pytest.mark.parametrize(
    "files", [100, pytest.param(20_000, marks=[pytest.mark.soak, pytest.mark.timeout(7200)])], ids=["some", "many"]
)
def test_every_label_is_as_written_or_the_file_is_refused(files: int, tmp_path: Path) -> None:
    taken = refused = 0
    for seed in range(files):
        rng = random.Random(f"labels {seed}")
        table = mutated_table(rng)
        name, data = table.written(rng)
        (tmp_path / name).write_bytes(data)
        loaded = check(tmp_path / name, "train")
        expected = table.labels()
        if loaded is None:
            refused += 1
            continue
        taken += 1
        assert expected is not None, f"seed {seed}: {table}"
        ids = table.cells(table.titles.index("youtube_id"))
        written = dict(zip(reversed(ids), reversed(expected), strict=True))  # of several the first row counts
        for clip in loaded.clips():
            folder = label_folder(written[clip.youtube_id])
            assert label_folder(clip.label) == folder, f"seed {seed}: {clip} of {table}"
        assert not any(clip.label == "" for clip in loaded.clips()) or any(
            "labe" in warning for warning in loaded.warnings
        ), f"seed {seed}: unlabelled without a word: {table}"
    assert taken > files / 4
    assert refused > files / 10
    print(f"{files} files: {taken} loaded, {refused} refused")


# -- by its size ------------------------------------------------------------------------------------------------------


def bomb(head: bytes, filling: bytes, times: int) -> bytes:
    """What unpacks to the head and many fillings; gzip knows files of several parts, so one is packed for all."""
    return gzip.compress(head) + gzip.compress(filling, 1) * times


def member(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def zip_bomb() -> bytes:
    """A zip with one member of 300 MB."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("validate.csv", bytes(300 * MIB))
    return content.getvalue()


def sparse(size: int) -> bytes:
    """A member that takes 1 KiB and says that it is that large, of zeroes between its parts."""
    head = bytearray(member("validate.csv", 512, b"S"))
    head[386:410] = b"%011o\0" % 0 + b"%011o\0" % 512
    head[483:495] = b"\x80" + size.to_bytes(11, "big")
    head[148:156] = b"%06o\0 " % (sum(head[:148]) + sum(head[156:512]) + 256)
    return bytes(head) + bytes(512 + 1024)


def looping() -> bytes:
    """A member of negative size, which leads tarfile back to its own header."""
    head = bytearray(member("validate.csv", 0))
    head[124:136] = b"\xff" * 10 + b"\xfe\x00"  # -512
    head[148:156] = b"%06o\0 " % (sum(head[:148]) + sum(head[156:512]) + 256)
    return member("first", 0) + bytes(head) + bytes(1024)


MIB = 1 << 20
CSV_CELLS, JSON_CELLS = module.MAX_CSV_CELLS, module.MAX_JSON_CELLS
BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "line ends": ("x.csv", lambda: HEADER.encode() + b"\n" * (CSV_CELLS + 1)),
    "lists": ("x.json", lambda: b"[" + b"[]," * JSON_CELLS + b"[]]"),
    "a compressed file": ("x.csv.gz", lambda: bomb(HEADER.encode(), bytes(MIB), 1200)),
    "a hole of 60 GB": ("x.tar", lambda: sparse(60 << 30)),
    "an archive that goes round and round": ("x.tar", looping),
    "a member of 4 GB": ("x.tar.gz", lambda: bomb(member("validate.csv", 4 << 30), bytes(MIB), 1200)),
    "columns": ("x.csv", lambda: HEADER.strip().encode() + b"," * (CSV_CELLS + 1)),
    "objects": ("x.json", lambda: b'{"a":' * (JSON_CELLS + 1)),
    "a header of 8 GB": ("x.tar.gz", lambda: bomb(member("x", 8 << 30 - 1, b"x"), b"a" * MIB, 1200)),
    "a name of 8 GB": ("x.tar.gz", lambda: bomb(member("x", 8 << 30 - 1, b"L"), b"a" * MIB, 1200)),
    "members without end": ("x.tar.gz", lambda: bomb(b"", member("validate.csv", 0) * 2048, 100)),
    "a zip of zeroes": ("x.zip", zip_bomb),
}


LOAD = dedent("""
    import re, sys
    from pathlib import Path
    from kinetics.annotations.load import load
    from kinetics.errors import Fatal
    try:
        print(len(load("400", sys.argv[2], Path(sys.argv[1]))))
    except Fatal as error:
        print("refused:", error)
    # Not ru_maxrss: that begins with what the process had that started this one.
    print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) >> 10)
""")


def loaded_alone(path: Path, subset: str = "validate") -> tuple[str, int]:
    """What is said of a file by a process of its own, and the most MiB that it took."""
    command = [sys.executable, "-c", LOAD, str(path), subset]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    said, peak = ran.stdout.rsplit("\n", 2)[:2]
    return said, int(peak)


@pytest.mark.parametrize("name", first_of(BOMBS, 5))
def test_a_file_that_would_fill_the_memory_is_refused_and_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / BOMBS[name][0]
    path.write_bytes(BOMBS[name][1]())
    said, peak = loaded_alone(path)
    too_much = "cells, too many for" if path.suffix in (".csv", ".json") else r"MiB, too much for|damaged"
    assert re.match(rf"refused: .*{re.escape(str(path))}.* ({too_much})", said)
    assert peak < 1400, "1 GiB is what an archive may unpack to"


def test_a_file_without_end_is_refused(tmp_path: Path) -> None:
    said, peak = loaded_alone(Path("/dev/zero"))
    assert said == "refused: Cannot read the annotations in /dev/zero: it is a device, not a file. Check the path."
    assert peak < 400


WORST: dict[str, tuple[str, Callable[[], bytes]]] = {
    "line ends": ("x.csv", lambda: HEADER.encode() + b"\n" * (CSV_CELLS - 10)),
    "columns": ("x.csv", lambda: HEADER.strip().encode() + b"," * (CSV_CELLS - 10)),
    "lists": ("x.json", lambda: b"[" + b"[]," * (JSON_CELLS // 2 - 10) + b"[]]"),
    "ids": (
        "x.json",
        lambda: b"{" + b",".join(b'"%011d":[]' % number for number in range(JSON_CELLS // 2 - 10)) + b"}",
    ),
    "one cell": ("x.csv", lambda: HEADER.encode() + b"x" * (MAX_FILE - 100)),
    "NULs": ("x.csv", lambda: HEADER.encode() + bytes(CSV_CELLS - 10) + b"x" * (MAX_FILE - CSV_CELLS - 100)),
    "one text": ("x.json", lambda: b'"' + "\U0001f4a9".encode() * (MAX_FILE // 4 - 10) + b'"'),
}


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", WORST)
def test_the_worst_file_that_is_not_too_large_keeps_within_bounds(name: str, tmp_path: Path) -> None:
    path = tmp_path / WORST[name][0]
    path.write_bytes(WORST[name][1]())
    said, peak = loaded_alone(path)
    print(f"{name}: {peak} MiB, {said[:100]}")
    assert peak < MEMORY_MIB


# -- by what it is ----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "k").mkdir()
    yield tmp_path / "k"


def test_a_folder_of_thousands_of_files_loads_the_one_that_is_meant(folder: Path) -> None:
    for number in range(5000):
        (folder / f"file{number}.csv").touch()
    (folder / "validate.csv").write_text(OFFICIAL)
    assert len(load("400", "validate", folder)) == 2


def test_what_is_no_file_in_a_folder_is_passed_over(folder: Path) -> None:
    """A pipe that nobody writes to would be waited for; a link that leads to itself has no end."""
    os.mkfifo(folder / "validate.csv")
    (folder / "val.csv").symlink_to(folder / "val.csv")
    (folder / "loop").symlink_to(folder)
    with pytest.raises(Fatal, match="holds no CSV or JSON for validate"):
        load("400", "validate", folder)
    (folder / "validation.csv").write_text(OFFICIAL)
    assert len(load("400", "validate", folder)) == 2


def test_a_zip_is_an_archive_whatever_its_name_and_only_its_plain_files_are_read(folder: Path) -> None:
    link = zipfile.ZipInfo("k/validate.csv")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    for name in ("k.zip", "k.tar.gz", "k.csv"):
        with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for member in ("../validate.csv", "/validate.csv", "validate.csv/"):
                archive.writestr(member, "" if member.endswith("/") else OFFICIAL.replace("javelin throw", "outside"))
            archive.writestr(link, "/etc/passwd")
            archive.writestr("k/val.csv", OFFICIAL)
            archive.writestr("k/train.csv", OFFICIAL)
        assert next(load("400", "validate", folder / name).clips()).label == "javelin throw"


def test_a_zip_that_is_locked_damaged_or_too_full_is_refused_and_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(folder / "k.zip", "w") as archive:
        archive.writestr("validate.csv", OFFICIAL)
    good = (folder / "k.zip").read_bytes()
    entry = good.index(b"PK\1\2") + 8  # the flags of the only member
    locked = good[:6] + b"\1" + good[7:entry] + b"\1" + good[entry + 1 :]
    for bad in (locked, good.replace(b"javelin", b"Javelin"), good[:-10]):
        (folder / "k.zip").write_bytes(bad)
        with pytest.raises(Fatal, match=r"k\.zip is damaged"):
            load("400", "validate", folder / "k.zip")
    (folder / "k.zip").write_bytes(good)
    monkeypatch.setattr("kinetics.annotations.archives.MAX_MEMBERS", 0)
    with pytest.raises(Fatal, match=r"k\.zip is damaged"):
        load("400", "validate", folder / "k.zip")


def test_an_archive_in_an_archive_is_not_unpacked(folder: Path) -> None:
    (folder / "k.tar").write_bytes(packed({"validate.csv": packed({"validate.csv": OFFICIAL})}, "w"))
    with pytest.raises(Fatal, match=r"'validate\.csv' in .*lacks the columns"):
        load("400", "validate", folder / "k.tar")


def test_of_two_members_of_one_name_the_last_counts_as_it_does_for_tar(folder: Path) -> None:
    with tarfile.open(folder / "k.tar", "w") as twice:
        for text in (OFFICIAL.replace("javelin throw", "old"), OFFICIAL):
            info = tarfile.TarInfo("validate.csv")
            info.size = len(text)
            twice.addfile(info, io.BytesIO(text.encode()))
    assert next(load("400", "validate", folder / "k.tar").clips()).label == "javelin throw"


@pytest.mark.parametrize("label", LABELS)
def test_no_label_leads_out_of_its_split(label: str, folder: Path) -> None:
    rows = [{"id": ONE, "start": 1, "end": 2, "label": label}, {"id": ONE, "start": 3, "end": 4, "label": "a"}]
    (folder / "validate.json").write_text(json.dumps(rows))
    for clip in load("400", "validate", folder).clips():
        path = Layout(folder, "400").clip(clip)
        assert Path(os.path.normpath(path)) == path
        assert path.parent.parent == folder / "Kinetics400" / "val"
        assert len(os.fsencode(path.parent.name)) <= 200
