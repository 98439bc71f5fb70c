"""What storage does to a data set: calls that are refused or during which the run is killed, files that cannot be read.

No table is ever missing, no known row is lost, and no clip is blamed for what its disk did.
"""

from __future__ import annotations

import csv
import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from kinetics.dataset.settings import keep_settings
from kinetics.errors import Fatal
from kinetics.records import Category, Clip, Facts, Outcome
from kinetics.storage.journal import Journal
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import Ledger
from tests.support.sweeps import soak_unless

KILLED = 9
ROWS = [
    Outcome(Clip(f"-_video{number:04}", 7, 17, "tai chi", "train"), "failed", Category.PRIVATE) for number in (1, 2)
]
FACTS = Facts(1, 2, 3, 4.0, 5, 6, True, "")


# -- a table that is written anew -------------------------------------------------------------------------------------


def at_call(number: int, fail: Callable[[], None], folder: Path, act: Callable[[], None]) -> int:
    """Do something in a process of its own, in which the file system's call of this number fails; return its exit code.

    Counted are the calls that Python's audit hooks see and whose path is below the folder, and each fsync: 0 means that
    there were fewer of them.
    """
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left, below, sync = number, os.fspath(folder), os.fsync

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            fail()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if (event == "open" or event.startswith("os.")) and any(str(one).startswith(below) for one in arguments):
            count()

    def counted_sync(file: Any) -> None:
        count()
        sync(file)

    code = 70
    try:
        os.fsync = counted_sync  # type: ignore[assignment]
        sys.addaudithook(hook)
        with suppress(Fatal, OSError):  # the command says either in one line
            act()
        code = 1 if left <= 0 else 0
    finally:
        os._exit(code)


def kill() -> None:
    os._exit(KILLED)


def refuse() -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def table_with(layout: Layout, change: Callable[[bytes], bytes], path: Path) -> None:
    layout.root.mkdir()
    with Ledger(layout, "train") as ledger:
        for row in ROWS:
            ledger.record(row)
    path.write_bytes(change(path.read_bytes()))


def known(layout: Layout) -> tuple[set[str], set[str]]:
    """The clips of the error log and of the attempts table as anybody reads them now."""
    rows = csv.DictReader(layout.stats("train").read_text().splitlines())
    return (
        {key[0] for key in Ledger(layout, "train").missing},
        {row["youtube_id"] for row in rows if (row["youtube_id"] or "").startswith("-_video")},
    )


def older_columns(table: bytes) -> bytes:
    rows = [line.rsplit(b",", 1)[0] for line in table.splitlines()]
    return b"\n".join([*rows, b""])


@pytest.mark.parametrize(
    ("state", "fail"),
    soak_unless(
        lambda state, fail: (state == "older columns") == (fail is refuse) and state != "no links",
        *product(("older columns", "foreign lines", "foreign log", "no links"), (kill, refuse)),
    ),
)
def test_a_table_is_never_missing_nor_a_row_lost_whichever_call_fails_while_it_is_written_anew(
    tmp_path: Path, state: str, fail: Callable[[], None]
) -> None:
    ids = {row.clip.youtube_id for row in ROWS}
    for number in range(1, 99):
        layout = Layout(tmp_path / str(number), "700")
        path = layout.errors_log("train") if state == "foreign log" else layout.stats("train")
        change = older_columns if state == "older columns" else lambda table: table + b"a remark\n"
        table_with(layout, change, path)
        before = path.read_bytes()

        def act(layout: Layout = layout) -> None:
            if state == "no links":
                os.link = no_links
            with Ledger(layout, "train"):
                pass

        code = at_call(number, fail, layout.root, act)
        assert code in (0, 1, KILLED)
        assert known(layout) == (ids, ids), f"call {number}"
        with Ledger(layout, "train"):
            assert known(layout) == (ids, ids), f"call {number}"
        assert [one.read_bytes() for one in layout.root.glob("*.old*")] == [before], f"call {number}"
        if code == 0:
            assert number > 12, "the calls were not counted"
            return
    pytest.fail("the sweep does not end")


def no_links(*_: object, **__: object) -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def rewrite_journal_and_settings(folder: Path) -> None:
    with Journal(folder / "journal") as journal:
        journal.remove({"b.mp4"})
    keep_settings(folder, {"frames": 2})


@pytest.mark.parametrize("fail", [kill, refuse])
def test_a_journal_and_the_settings_keep_what_they_know_whichever_call_fails(
    tmp_path: Path, fail: Callable[[], None]
) -> None:
    for number in range(1, 99):
        folder = tmp_path / str(number)
        with Journal(folder / "journal") as journal:
            journal.add(Path("a.mp4"), FACTS)
            journal.add(Path("b.mp4"), FACTS)
        keep_settings(folder, {"frames": 1})
        code = at_call(number, fail, folder, partial(rewrite_journal_and_settings, folder))
        assert code in (0, 1, KILLED)
        assert Journal(folder / "journal").facts["a.mp4"] == FACTS
        assert (folder / "terms.json").read_text() in ('{"frames": 1}\n', '{"frames": 2}\n')
        if code == 0:
            return
    pytest.fail("the sweep does not end")
