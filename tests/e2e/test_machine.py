"""What the machine does to a run: full disks, folders that cannot be written, clocks, tables edited by hand.

Such a fault is never written down as a clip's: the run ends with one clear line, or goes on, and nothing is lost.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from kinetics.annotations.published import VERSIONS
from kinetics.records import Category, Clip, Outcome
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import ERROR_FIELDS, STATS_FIELDS, Ledger
from tests.support.commands import PATIENCE_S
from tests.support.disk import Disk
from tests.support.sandbox import Run, Sandbox, assert_stopped, kill, many_rows, wait_until, workers
from tests.support.sweeps import first_of
from tests.youtube.world import FAILURES, FakeThrottle, Row, Scenario

MakeSandbox = Callable[..., Sandbox]
GONE = Scenario(failure=FAILURES["private"])
COPY = ("--cut", "keyframe", "-w", "2")
"""What costs the processor least."""
OPEN_FILES = 128
"""Enough for 16 workers."""
ARCHIVE = Path("kinetics-downloader", VERSIONS["700"].rpartition("/")[2])


def assert_complete(sandbox: Sandbox) -> None:
    """Every clip is there, and nothing is called missing."""
    assert sandbox.errors() == {}
    assert sandbox.files() == sorted(map(sandbox.path, sandbox.rows))


def complete(sandbox: Sandbox) -> None:
    """The same command once more, now that the fault is mended."""
    run = sandbox.run(*COPY)
    assert run.code == 0, run.err
    assert_complete(sandbox)


def failed(sandbox: Sandbox) -> set[str]:
    return {row["youtube_id"] for row in sandbox.attempts() if row["status"] == "failed"}


# -- a full disk ------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    mounted = Disk(tmp_path / "disk", mebibytes=6)
    yield mounted
    mounted.unmount()


class TestFullDisk:
    def test_clips_that_find_no_room_stop_the_run_and_none_is_called_failed(self, disk: Disk) -> None:
        sandbox = Sandbox(disk.folder, many_rows(16))
        disk.fill(leave=200)
        assert_stopped(sandbox.run(*COPY), "the disk is full", "Free some space", str(sandbox.folder))
        assert failed(sandbox) == set()
        assert 0 < len(sandbox.files()) < 16
        disk.ballast.unlink()
        complete(sandbox)

    @pytest.mark.soak
    def test_a_limit_on_file_sizes_is_such_a_full_disk_too(self, make_sandbox: MakeSandbox) -> None:
        sandbox = make_sandbox(many_rows(4))
        sandbox.prefix = ("prlimit", "--fsize=20000")
        assert_stopped(sandbox.run(*COPY), "file too large", str(sandbox.folder))
        assert (failed(sandbox), sandbox.files()) == (set(), [])
        sandbox.prefix = ()
        complete(sandbox)

    def test_tables_that_find_no_room_stop_the_run_and_are_mended(self, disk: Disk) -> None:
        """Of videos that are gone nothing is written but rows."""
        rows = [Row("tai chi", f"gone-{number:06d}", 0, 3) for number in range(60)]
        sandbox = Sandbox(disk.folder, rows, {row.youtube_id: Scenario(failure=FAILURES["private"]) for row in rows})
        disk.fill(leave=2)
        run = sandbox.run(*COPY)
        assert_stopped(run, "the disk is full", str(sandbox.folder))
        known = len(sandbox.stats.read_text().splitlines()) - 1
        assert 0 < known < 60
        disk.ballast.unlink()
        assert sandbox.run(*COPY, "--retry", "none").code == 0
        assert {one for one, (category, _) in sandbox.errors().items() if category == Category.PRIVATE} == {
            row.youtube_id for row in rows
        }
        assert {row["youtube_id"] for row in sandbox.attempts()} == {row.youtube_id for row in rows}

    def test_a_disk_that_is_full_from_the_start_is_named_before_anybody_is_asked(self, disk: Disk) -> None:
        sandbox = Sandbox(disk.folder, many_rows(2))
        disk.fill()
        run = sandbox.run(*COPY)
        assert_stopped(run, "the disk is full", str(sandbox.folder))
        assert run.requests == []
        disk.ballast.unlink()
        complete(sandbox)

    @pytest.mark.soak
    def test_a_cache_without_room_for_the_archive_is_named(self, disk: Disk, make_sandbox: MakeSandbox) -> None:
        sandbox = make_sandbox(many_rows(2), official=True)
        disk.fill()
        run = sandbox.run(*COPY, env={"XDG_CACHE_HOME": str(disk.folder)})
        assert_stopped(run, "No space left", str(disk.folder / ARCHIVE), "XDG_CACHE_HOME", "--annotations")
        assert not (disk.folder / ARCHIVE).exists()
        disk.ballast.unlink()
        assert sandbox.run(*COPY, env={"XDG_CACHE_HOME": str(disk.folder)}).code == 0


# -- folders and files that are in the way, or may not be written --------------------


def a_file_for_the_output(sandbox: Sandbox) -> Path:
    (sandbox.folder / "Kinetics700").write_text("a file")
    return sandbox.folder / "Kinetics700"


def a_file_for_unfinished_clips(sandbox: Sandbox) -> Path:
    sandbox.partial.parent.mkdir()
    sandbox.partial.write_text("a file")
    return sandbox.partial


def a_file_for_a_label(sandbox: Sandbox) -> Path:
    folder = sandbox.path(sandbox.rows[0]).parent
    folder.parent.mkdir(parents=True)
    folder.write_text("a file")
    return folder


def a_folder_for_the_log(sandbox: Sandbox) -> Path:
    sandbox.errors_log.mkdir()
    return sandbox.errors_log


def a_folder_for_the_table(sandbox: Sandbox) -> Path:
    sandbox.stats.mkdir()
    return sandbox.stats


def read_only_table(sandbox: Sandbox) -> Path:
    sandbox.stats.touch(mode=0o444)
    return sandbox.stats


def read_only_log(sandbox: Sandbox) -> Path:
    sandbox.errors_log.touch(mode=0o444)
    return sandbox.errors_log


def read_only_folder(sandbox: Sandbox) -> Path:
    sandbox.folder.chmod(0o555)
    return sandbox.folder


def unreadable_label(sandbox: Sandbox) -> Path:
    folder = sandbox.path(sandbox.rows[0]).parent
    folder.mkdir(parents=True)
    folder.chmod(0o000)
    return folder


@pytest.fixture
def no_override(make_sandbox: MakeSandbox) -> Iterator[Sandbox]:
    """A run that permissions bind, as they bind everybody but root."""
    prefix: tuple[str, ...] = ()
    if os.geteuid() == 0:
        prefix = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
        if not shutil.which("setpriv") or subprocess.run([*prefix, "true"], check=False).returncode:
            pytest.skip("root's power over permissions cannot be dropped here")
    sandbox = make_sandbox(many_rows(8), prefix=prefix)
    yield sandbox
    for path in (sandbox.folder, *sandbox.folder.rglob("*")):
        path.chmod(0o755)  # else a user who is not root could not clear it away


@pytest.mark.parametrize("linked", first_of(["Kinetics700/val", "Kinetics700", "Kinetics700/val/tai_chi"]))
def test_a_data_set_that_a_link_puts_on_another_disk_is_written_there(make_sandbox: MakeSandbox, linked: str) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        sandbox = make_sandbox([*many_rows(3), Row("tai chi", "is-private1", 0, 10)], {"is-private1": GONE})
        if os.stat(elsewhere).st_dev == os.stat(sandbox.folder).st_dev:
            pytest.skip("there is no other disk")
        link = sandbox.folder / linked
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(elsewhere, target_is_directory=True)
        assert sandbox.run(*COPY).code == 0
        assert set(sandbox.errors()) == {"is-private1"}
        assert len(list(Path(elsewhere).rglob("*.mp4"))) == 3
        assert not list(sandbox.folder.rglob("*.part"))
        assert not list(Path(elsewhere).rglob("*.part"))
        assert {one.video_id for one in sandbox.run(*COPY, "--no-thumbnails").requests} == {"is-private1"}


class TestOutputFolder:
    @pytest.mark.parametrize(
        "spoil",
        first_of(
            [
                *(read_only_folder, a_file_for_a_label, a_folder_for_the_table, a_file_for_the_output),
                *(a_file_for_unfinished_clips, a_folder_for_the_log, read_only_table, read_only_log, unreadable_label),
            ],
            2,
        ),
    )
    def test_what_cannot_be_written_is_named_with_what_to_do(
        self, no_override: Sandbox, spoil: Callable[[Sandbox], Path]
    ) -> None:
        sandbox = no_override
        at_fault = spoil(sandbox)
        run = sandbox.run(*COPY)
        assert_stopped(run, str(at_fault), "run the command again")

    @pytest.mark.soak
    def test_a_folder_that_becomes_read_only_stops_the_run_and_no_clip_is_called_failed(
        self, no_override: Sandbox
    ) -> None:
        label = no_override.path(no_override.rows[0]).parent
        with no_override.under_way(*COPY) as process:
            label.chmod(0o555)
            out, _ = process.communicate(timeout=PATIENCE_S)
        label.chmod(0o755)
        assert_stopped(Run(process.returncode, "", out, []), str(label), "Permission denied")
        assert failed(no_override) == set()
        complete(no_override)

    @pytest.mark.parametrize("how", first_of(["removed", "moved"]))
    def test_a_folder_that_goes_away_stops_the_run(self, make_sandbox: MakeSandbox, how: str) -> None:
        sandbox = make_sandbox(many_rows(12))
        sandbox.folder /= "out"
        sandbox.write_csv(sandbox.rows)
        elsewhere = sandbox.folder.with_name("elsewhere")
        with sandbox.under_way(*COPY) as process:
            sandbox.folder.rename(elsewhere)  # at once, while clips are being made
            out, _ = process.communicate(timeout=PATIENCE_S)
        assert_stopped(Run(process.returncode, "", out, []), str(sandbox.folder), "moved")  # whoever sees it first
        assert not sandbox.stats.exists(), "rows without those before them"
        if how == "moved":
            shutil.rmtree(sandbox.folder, ignore_errors=True)  # what was just being made
            elsewhere.rename(sandbox.folder)
            assert failed(sandbox) == set()
        sandbox.write_csv(sandbox.rows)
        complete(sandbox)

    @pytest.mark.soak
    def test_a_path_that_is_too_long_is_said_to_be(self, make_sandbox: MakeSandbox) -> None:
        sandbox = make_sandbox([Row("x" * 200, "long_label1", 0, 3)])
        complete(sandbox)  # the longest label there may be
        deep = sandbox.folder
        while len(str(deep)) < os.pathconf("/", "PC_PATH_MAX") - 200:
            deep /= "d" * 20
        assert_stopped(sandbox.run(*COPY, "-o", str(deep)), "File name too long", "another folder with -o")


# -- the clock --------------------------------------------------------------------------------------------------------

JUMPING_CLOCK = """
    import itertools, time
    real_time, hours = time.time, itertools.cycle((0, -30, 5, -2, 40))
    time.time = lambda: real_time() + 3600 * next(hours)
"""


@pytest.mark.soak
def test_a_clock_that_jumps_by_hours_disturbs_neither_pace_nor_limits(
    make_sandbox: MakeSandbox, tmp_path: Path
) -> None:
    """In the parent and in the workers; the times in the tables are only written, never read."""
    sandbox = make_sandbox(many_rows(8))
    sandbox.world.throttle = FakeThrottle(after=3, for_s=2, retry_after="2")
    sandbox.world.scenarios["many-000005"] = Scenario(failure=FAILURES["private"])
    clock = tmp_path / "clock"
    clock.mkdir()
    (clock / "sitecustomize.py").write_text(textwrap.dedent(JUMPING_CLOCK))
    run = sandbox.run(*COPY, "--limit-rate", "20M", "--rate", "36000", env={"PYTHONPATH": str(clock)})
    assert run.code == 0, run.err
    assert run.err.count("all workers are paused until") >= 1
    assert sandbox.errors().keys() == {"many-000005"}
    assert len(sandbox.files()) == 7


# -- tables edited by hand --------------------------------------------------------------------------------------------

TRIED = Clip("-_video0001", 7.5, 17.0, "t\u00e4i chi, slowly", "val")
PRIVATE = Outcome(TRIED, "failed", Category.PRIVATE, 'He said: "private"')
HEADER = ",".join(STATS_FIELDS).encode() + b"\n"


def with_first_column_last(table: bytes) -> bytes:
    return b"".join(b",".join(line.split(b",")[1:] + line.split(b",")[:1]) + b"\n" for line in table.splitlines())


SPOILT_TABLES: dict[str, tuple[Callable[[bytes], bytes], int]] = {
    "empty": (lambda table: b"", 0),
    "binary garbage": (lambda table: bytes(range(256)) * 50, 0),
    "zeros": (lambda table: bytes(8192), 0),
    "without its header": (lambda table: table.removeprefix(HEADER), 1),
    "a second header": (lambda table: table + table, 2),
    "a column more": (lambda table: table.replace(b"\n", b",more\n"), 1),
    "a row of too few columns": (lambda table: table + b"one,two\n", 1),
    "columns in another order": (with_first_column_last, 1),
    "an open quote": (lambda table: table + table.splitlines()[1][:40] + b'"' + table.splitlines()[1][40:] + b"\n", 1),
    "a line of 1 MB": (lambda table: table + b"x" * (1 << 20) + b"\n" + table.splitlines()[1] + b"\n", 2),
    "a megabyte without a line end": (lambda table: table + b"x" * (1 << 20), 1),
    "CRLF": (lambda table: table.replace(b"\n", b"\r\n"), 1),
    "a byte order mark": (lambda table: b"\xef\xbb\xbf" + table, 1),
    "UTF-16": (lambda table: table.decode().encode("utf-16"), 0),
    "Latin-1": (lambda table: table.decode().encode("latin-1"), 0),
    "semicolons": (lambda table: table.replace(b",", b";"), 0),
    "other dates": (lambda table: HEADER + b"24.12.2999" + table[table.index(b",-_video") :], 1),
    "rows of others": (lambda table: table + table.splitlines()[1].replace(b"video0001", b"unknown-1") + b"\n", 2),
    "a note": (lambda table: table + b"# ask Jim about this one\n", 1),
    "blank lines": (lambda table: table.replace(b"\n", b"\n\n"), 1),
}
"""What a table may have become, and how many of its rows are still rows of ours."""
NO_LOSS = {"empty", "CRLF", "other dates", "rows of others"}
"""Nothing foreign in there."""

SPOILT_LOGS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda log: b"",
    "binary garbage": lambda log: bytes(range(256)) * 50,
    "a header": lambda log: "\t".join(ERROR_FIELDS).encode() + b"\n" + log,
    "a note": lambda log: log + b"ask Jim about this one\n",
    "a line of 1 MB": lambda log: b"x" * (1 << 20) + b"\n" + log,
    "CRLF": lambda log: log.replace(b"\n", b"\r\n"),
    "a byte order mark": lambda log: b"\xef\xbb\xbf" + log,
    "UTF-16": lambda log: log.decode().encode("utf-16"),
    "semicolons": lambda log: log.replace(b"\t", b";"),
    "a category of its own": lambda log: log.replace(b"private", b"lost in thought", 1),
    "times that are none": lambda log: log.replace(b"\t7.5\t", b"\tsoon\t"),
    "two rows that contradict": lambda log: log.replace(b"private", b"timeout", 1) + log,
    "a time to come": lambda log: log[:-27] + b"\t2999-12-31T23:59:59+00:00\n",
    "rows of others": lambda log: log + log.replace(b"video0001", b"unknown-1"),
}


def spoil(path: Path, how: Callable[[bytes], bytes]) -> bytes:
    spoilt = how(path.read_bytes())
    path.write_bytes(spoilt)
    return spoilt


class TestTablesEditedByHand:
    @pytest.fixture
    def layout(self, tmp_path: Path) -> Layout:
        layout = Layout(tmp_path, "700")
        with Ledger(layout, "validate") as ledger:
            ledger.record(PRIVATE)
        return layout

    @pytest.mark.parametrize(("how", "kept"), SPOILT_TABLES.values(), ids=SPOILT_TABLES)
    def test_the_attempts_table_stays_readable_and_what_was_in_it_is_kept(
        self, layout: Layout, how: Callable[[bytes], bytes], kept: int, request: pytest.FixtureRequest
    ) -> None:
        spoilt = spoil(layout.stats("validate"), how)
        with Ledger(layout, "validate") as ledger:
            ledger.record(PRIVATE)
        with open(layout.stats("validate"), newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file, strict=True)
        assert (tuple(header), len(rows)) == (STATS_FIELDS, kept + 1)
        assert {len(row) for row in rows} == {len(STATS_FIELDS)}
        assert len(pd.read_csv(layout.stats("validate"))) == kept + 1
        old = [path.read_bytes() for path in layout.root.glob("*.old*")]
        assert old == ([] if request.node.callspec.id in NO_LOSS else [spoilt])

    @pytest.mark.parametrize("how", SPOILT_LOGS.values(), ids=SPOILT_LOGS)
    def test_the_error_log_stays_readable_and_what_was_in_it_is_kept(
        self, layout: Layout, how: Callable[[bytes], bytes]
    ) -> None:
        spoilt = spoil(layout.errors_log("validate"), how)
        with Ledger(layout, "validate") as ledger:
            ledger.record(PRIVATE)
        lines = layout.errors_log("validate").read_text().splitlines()
        assert {len(line.split("\t")) for line in lines} == {len(ERROR_FIELDS)}
        ids = [line.split("\t")[0] for line in lines]
        assert ids.count(TRIED.youtube_id) == 1
        foreign = [
            line for line in spoilt.splitlines() if line.count(b"\t") != 5 or b"lost in" in line or b"soon" in line
        ]
        old = [path.read_bytes() for path in layout.root.glob("*.old*")]
        assert old == ([spoilt] if foreign or b"youtube_id" in spoilt else [])

    def test_a_run_goes_on_among_ruined_tables_and_fetches_nothing_again(self, make_sandbox: MakeSandbox) -> None:
        sandbox = make_sandbox(many_rows(3))
        sandbox.world.scenarios["many-000001"] = Scenario(failure=FAILURES["private"])
        assert sandbox.run(*COPY).code == 0
        for path in (sandbox.stats, sandbox.errors_log):
            spoil(path, lambda table: table + os.urandom(10_000) + b"\n" + table)
        run = sandbox.run(*COPY, "--no-thumbnails")
        assert run.code == 0, run.err
        assert {request.video_id for request in run.requests if request.kind != "visitor"} == {"many-000001"}
        assert sandbox.errors().keys() == {"many-000001"}
        assert {row["youtube_id"] for row in sandbox.attempts()} == {row.youtube_id for row in sandbox.rows}
        assert len(list(sandbox.folder.glob("*.old"))) == 2


# -- the cache, the environment, and the limits of the process --------------------


def test_a_damaged_archive_in_the_cache_is_fetched_anew(make_sandbox: MakeSandbox, tmp_path: Path) -> None:
    sandbox = make_sandbox(many_rows(1), official=True)
    cache = tmp_path / "cache"
    archive = cache / ARCHIVE
    first = sandbox.run(*COPY, env={"XDG_CACHE_HOME": str(cache)})
    assert (first.code, first.kinds()["archive"]) == (0, 1)
    whole = archive.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"<html>Sign in</html>"):
        archive.write_bytes(damaged)
        run = sandbox.run(*COPY, env={"XDG_CACHE_HOME": str(cache)})
        assert (run.code, run.kinds()) == (0, {"archive": 1}), run.err
        assert archive.read_bytes()[10:] == whole[10:], "behind the time in the header"


@pytest.mark.soak
def test_a_folder_in_the_archives_place_is_named(make_sandbox: MakeSandbox, tmp_path: Path) -> None:
    sandbox = make_sandbox(many_rows(1), official=True)
    archive = tmp_path / "cache" / ARCHIVE
    archive.mkdir(parents=True)
    assert_stopped(sandbox.run(*COPY, env={"XDG_CACHE_HOME": str(tmp_path / "cache")}), str(archive), "Is a directory")


@pytest.mark.soak
def test_a_cache_folder_that_cannot_be_made_is_named(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(many_rows(1), official=True)
    assert_stopped(
        sandbox.run(*COPY, env={"XDG_CACHE_HOME": "/proc/cache"}), f"/proc/cache/{ARCHIVE}", "XDG_CACHE_HOME"
    )


@pytest.mark.soak
def test_16_workers_need_few_files_and_lost_ones_leave_none_open(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(many_rows(48), prefix=("prlimit", f"--nofile={OPEN_FILES}"))
    sandbox.world.bandwidth_bit_s = 300_000  # so that each takes its time, and many are at work at once
    with sandbox.under_way(*COPY, "-w", "16") as process:
        wait_until(lambda: len(workers(process.pid)) == 16, "all workers")
        before = len(os.listdir(f"/proc/{process.pid}/fd"))
        lost = workers(process.pid)
        for worker in lost:
            kill(worker)
        wait_until(lambda: len({*workers(process.pid)} - {*lost}) == 16, "all workers again")
        after = len(os.listdir(f"/proc/{process.pid}/fd"))
        sandbox.world.bandwidth_bit_s = None
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (0, 1), out
    assert after <= before
    assert {category for category, _ in sandbox.errors().values()} <= {Category.LOST_WORKER}
    complete(sandbox)


def test_without_a_home_or_a_folder_for_temporary_files_it_works(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(many_rows(1), prefix=("env", "--unset=HOME"))
    run = sandbox.run(*COPY, env={"TMPDIR": "/no/such/folder"})
    assert run.code == 0, run.err
    assert_complete(sandbox)


def test_with_all_standard_streams_closed_no_word_gets_into_a_file(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(many_rows(2), prefix=("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"))
    assert sandbox.run(*COPY).code == 0
    assert (len(sandbox.attempts()), sandbox.errors_log.read_text()) == (2, "")
    assert_complete(sandbox)


class TestLocale:
    PLAIN = {"LC_ALL": "C", "PYTHONUTF8": "0"}  # noqa: RUF012

    def test_in_the_plain_locale_any_label_and_folder_works(self, make_sandbox: MakeSandbox) -> None:
        sandbox = make_sandbox([Row("t\u00e4i chi \u592a\u6975", "plain-local", 0, 3)])
        sandbox.folder /= "gr\u00f6\u00dfer"
        sandbox.write_csv(sandbox.rows)
        run = sandbox.run(*COPY, env={"LC_ALL": "C"})
        assert run.code == 0, run.err
        assert_complete(sandbox)

    def test_where_file_names_are_ascii_a_label_that_is_not_is_named_before_anybody_is_asked(
        self, make_sandbox: MakeSandbox
    ) -> None:
        sandbox = make_sandbox([*many_rows(1), Row("t\u00e4i chi", "plain-local", 0, 3)])
        run = sandbox.run(*COPY, env=self.PLAIN)
        assert_stopped(run, r"t\xe4i chi", "LC_ALL=C.UTF-8")
        assert run.requests == []

    @pytest.mark.soak
    def test_where_file_names_are_ascii_a_folder_that_is_not_works(self, make_sandbox: MakeSandbox) -> None:
        sandbox = make_sandbox(many_rows(1))
        sandbox.folder /= "gr\u00f6\u00dfer"
        sandbox.write_csv(sandbox.rows)
        run = sandbox.run(*COPY, env=self.PLAIN)
        assert run.code == 0, run.err
        assert_complete(sandbox)
