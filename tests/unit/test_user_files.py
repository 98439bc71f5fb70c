"""Files that the user names: whatever one of them is, its reading has a bound, and one line says what is wrong."""

from __future__ import annotations

import gzip
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from kinetics.annotations.archives import MAX_FILE
from kinetics.cli.main import main
from kinetics.errors import Fatal
from kinetics.storage import user_files
from kinetics.storage.user_files import read_limited

ROWS = "label,youtube_id,time_start,time_end,split\ntai chi,-tai-chi--1,0,10,train\n"
DRY = ("--dry-run", "--annotations", "rows.csv")
OPTIONS: dict[str, Callable[[str], tuple[str, ...]]] = {
    "--annotations": lambda path: ("--dry-run", "--annotations", path),
    "--only": lambda path: (*DRY, "--only", path),
    "--classes": lambda path: (*DRY, "--classes", f"@{path}"),
    "--cookies": lambda path: (*DRY, "--cookies", path),
    "--scheduler": lambda path: (*DRY, "--scheduler", path),
    "--compare": lambda path: ("--compare", "rows.csv", path),
    "--compare, first": lambda path: ("--compare", path, "rows.csv"),
}
KINDS = ("/dev/zero", "folder", "pipe", "holes", "bomb.csv.gz")
CASES = [(option, kind) for option in OPTIONS for kind in KINDS if (option, kind) != ("--cookies", "bomb.csv.gz")]
"""Cookies are not decompressed, so such a file is small; whether it has cookies, the engine says."""


@pytest.fixture(scope="module")
def bomb() -> bytes:
    return gzip.compress(bytes(MAX_FILE + 1), 1)


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_promise_7_a_file_of_any_kind_is_read_within_bounds_or_refused_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bomb: bytes,
    case: tuple[str, str],
) -> None:
    option, kind = case
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(user_files, "PIPE_WAIT_S", 0.05)
    Path("rows.csv").write_text(ROWS)
    Path("folder").mkdir()
    os.mkfifo("pipe")
    Path("holes").touch()
    os.truncate("holes", 10 << 30)
    Path("bomb.csv.gz").write_bytes(bomb)
    try:
        code: object = main(OPTIONS[option](kind))
    except SystemExit as ended:
        code = ended.code
    told = capsys.readouterr()
    assert (code, told.out, told.err.count("\n")) == (2, "", 1), told
    assert told.err.startswith("error: ")
    assert kind in told.err or option == "--compare", "rows.csv lacks the columns of a manifest, so it is named first"


def test_a_pipe_is_read_to_the_end_however_slowly_it_is_written(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    def write() -> None:
        with open(tmp_path / "pipe", "w") as file:
            for number in range(3):
                file.write(str(number) * 100_000)
                file.flush()

    threading.Thread(target=write).start()
    assert read_limited(tmp_path / "pipe", 300_000) == b"0" * 100_000 + b"1" * 100_000 + b"2" * 100_000


def test_a_file_may_have_just_as_many_bytes_as_it_may(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(10))
    assert read_limited(tmp_path / "file", 10) == bytes(10)
    with pytest.raises(Fatal, match="file has more than 0 MiB, too much for such a file"):
        read_limited(tmp_path / "file", 9)
