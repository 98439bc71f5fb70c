"""Tables that are written anew while a call is refused or the run is killed: none is missing, and no known row is lost.

What a disk does to the whole program is in the table of test_machine_faults.py.
"""

from __future__ import annotations

import csv
import errno
import os
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from kinetics.dataset.settings import keep_settings
from kinetics.errors import Fatal
from kinetics.records import Category, Clip, Facts, Outcome
from kinetics.storage.journal import Journal
from kinetics.storage.layout import Layout, clip_name
from kinetics.storage.ledger import Ledger
from tests.support.commands import PATIENCE_S
from tests.support.dataset import numbered
from tests.support.sandbox import Sandbox
from tests.support.sweeps import soak_unless
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import Row

KILLED = 9
OURS = re.compile("-_video")
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


def failed(number: int) -> Outcome:
    return Outcome(Clip(f"-_video{number:04}", 7, 17, "tai chi", "train"), "failed", Category.PRIVATE)


ROWS = [failed(1), failed(2)]


def record(layout: Layout, rows: Iterable[Outcome]) -> None:
    layout.root.mkdir(exist_ok=True)
    with Ledger(layout, "train") as ledger:
        for row in rows:
            ledger.record(row)


def table_with(layout: Layout, change: Callable[[bytes], bytes], path: Path) -> None:
    record(layout, ROWS)
    path.write_bytes(change(path.read_bytes()))


def known(layout: Layout) -> tuple[set[str], set[str]]:
    """The clips of the error logs and of the attempts tables as anybody reads them now."""
    tables = [part.stats("train").read_text().splitlines() for part in layout.shard_layouts("train")]
    return (
        {key[0] for key in Ledger(layout, "train").missing},
        {row["youtube_id"] for table in tables for row in csv.DictReader(table) if OURS.match(row["youtube_id"] or "")},
    )


def with_a_remark(table: bytes) -> bytes:
    return table + b"a remark\n"


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
        change = older_columns if state == "older columns" else with_a_remark
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


KEPT, DROPPED = numbered(2)


def rewrite_journal_and_settings(folder: Path) -> None:
    with Journal(folder / "journal") as journal:
        journal.remove({clip_name(*DROPPED.key)})
    keep_settings(folder, {"frames": 2})


@pytest.mark.parametrize("fail", [kill, refuse])
def test_a_journal_and_the_settings_keep_what_they_know_whichever_call_fails(
    tmp_path: Path, fail: Callable[[], None]
) -> None:
    for number in range(1, 99):
        folder = tmp_path / str(number)
        with Journal(folder / "journal") as journal:
            journal.add(KEPT, FACTS)
            journal.add(DROPPED, FACTS)
        keep_settings(folder, {"frames": 1})
        code = at_call(number, fail, folder, partial(rewrite_journal_and_settings, folder))
        assert code in (0, 1, KILLED)
        assert Journal(folder / "journal").facts[clip_name(*KEPT.key)] == FACTS
        assert (folder / "terms.json").read_text() in ('{"frames": 1}\n', '{"frames": 2}\n')
        if code == 0:
            return
    pytest.fail("the sweep does not end")


# -- runs that write tables anew, killed at random moments ------------------------------------------------------------

MANY = 1000
"""Rows of a table: enough for the process to be at work on it for most of its life."""


def many_rows_known(root: Path) -> Layout:
    """Tables of an earlier version with a line of somebody else's, and those of two shards that a whole run merges."""
    layout = Layout(root, "700")
    record(layout, map(failed, range(MANY)))
    for number in (1, 2):
        record(replace(layout, shard=f"{number}of2"), map(failed, range(number * MANY, number * MANY + MANY // 3)))
    layout.stats("train").write_bytes(with_a_remark(older_columns(layout.stats("train").read_bytes())))
    layout.errors_log("train").write_bytes(with_a_remark(layout.errors_log("train").read_bytes()))
    return layout


def merge(layout: Layout) -> None:
    """What a run without a shard does to the tables."""
    with Ledger(layout, "train") as ledger:
        ledger.take_over([*ledger.missing])


def watched_until(deadline: float, tables: Iterable[Path]) -> None:
    """Fail if one of the tables is missing at any moment until then."""
    while time.monotonic() < deadline:
        assert all(map(os.path.exists, tables)), tables


def killed_after(seconds: float, act: Callable[[], None], tables: Iterable[Path]) -> bool:
    """Do something in a process of its own that is killed after some seconds; return whether it was not done."""
    if child := os.fork():
        try:
            watched_until(time.monotonic() + seconds, tables)
        finally:
            os.kill(child, signal.SIGKILL)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, -signal.SIGKILL)
        return code != 0
    try:
        act()
    finally:
        os._exit(sys.exc_info()[0] is not None)


@pytest.mark.parametrize("kills", [3, pytest.param(180, marks=pytest.mark.soak)])
def test_promise_1_killed_at_any_moment_of_rewriting_tables_no_table_is_ever_missing_nor_a_known_row_lost(
    tmp_path: Path, kills: int
) -> None:
    before = many_rows_known(tmp_path / "before")
    ids, chance, done = known(before), random.Random(kills), 0
    shutil.copytree(before.root, tmp_path / "0")
    began = time.monotonic()
    merge(Layout(tmp_path / "0", "700"))
    length_s = time.monotonic() - began
    print(f"seed {kills}; a process takes {length_s:.2f} s")
    for number in range(1, 3 * kills):
        layout = Layout(tmp_path / str(number), "700")
        shutil.copytree(before.root, layout.root)
        tables = [path for path in layout.root.iterdir() if path.is_file()]
        for _ in range(2):  # also where one was killed before
            done += killed_after(chance.uniform(0, 1.1 * length_s), partial(merge, layout), tables)
            assert known(layout) == ids, f"kill {done}"
        merge(layout)
        assert known(layout) == ids, f"kill {done}"
        if done >= kills:
            return
        shutil.rmtree(layout.root)
    pytest.fail(f"only {done} were killed in time")


@pytest.mark.soak
def test_promise_1_a_command_killed_at_20_random_moments_misses_no_table_and_loses_no_known_row(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path / "run", [Row("tai chi", "never-tried", 0, 3)])
    before = many_rows_known(tmp_path / "before")
    ids, chance, done, lengths = known(before), random.Random(20), 0, list[float]()
    layout = Layout(sandbox.folder, "700")
    with LoopbackYouTube(sandbox.world) as youtube:
        while done < 20:
            shutil.rmtree(sandbox.folder)
            shutil.copytree(before.root, sandbox.folder)
            sandbox.write_csv([*sandbox.rows, *(Row("tai chi", youtube_id, 7, 17) for youtube_id in ids[0])])
            tables = [path for path in layout.root.glob("Kinetics700_*") if path.is_file()]
            began = time.monotonic()
            with sandbox.start(youtube, "-s", "train", "--retry", "none", "--cut", "keyframe") as process:
                if lengths:
                    watched_until(began + chance.uniform(0.4, 1.0) * lengths[0], tables)
                    os.killpg(process.pid, signal.SIGKILL)
                out, _ = process.communicate(timeout=PATIENCE_S)
            lengths.append(time.monotonic() - began)
            done += process.returncode == -signal.SIGKILL
            assert process.returncode in (0, -signal.SIGKILL), out
            assert known(layout)[0] >= ids[0], f"kill {done}"
            assert known(layout)[1] >= ids[1], f"kill {done}"
            assert "Traceback" not in out
    print(f"a run takes {lengths[0]:.1f} s")
    run = sandbox.run("-s", "train", "--retry", "none", "--cut", "keyframe")
    assert run.code == 0, run.err
    assert known(layout) == ids
    assert len([*sandbox.data.rglob("*.mp4")]) == 1
