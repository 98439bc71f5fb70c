"""Whatever kills or stops the program, clips are whole or absent, and the next run goes on from there."""

from __future__ import annotations

import csv
import io
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kinetics.records import Category, Clip, Outcome
from kinetics.storage.atomic import atomic_write
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import ERROR_FIELDS, STATS_FIELDS, Ledger
from tests.support.commands import ROOT
from tests.support.sandbox import Sandbox, children, frames, kill, many_rows, session, wait_until, workers
from tests.support.sweeps import first_of
from tests.youtube.samples import template
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import FAILURES, FakeThrottle, PlayerFault, Row, Scenario

MakeSandbox = Callable[..., Sandbox]
COPY = ("--cut", "keyframe", "-w", "2")
"""What costs the processor least."""
GONE, BUSY_ONCE = 4, 9
"""The last digits of the videos that are gone, and that fail once, in a mixed world."""


def mixed(count: int) -> tuple[list[Row], dict[str, Scenario]]:
    """Short clips, a tenth of them gone and a tenth failing at first, so that the tables have something to say."""
    rows = many_rows(count)
    odd = {
        GONE: Scenario(failure=FAILURES["private"]),
        BUSY_ONCE: Scenario(template(20), player_faults=(PlayerFault("status", 503, times=2),)),
    }
    return rows, {row.youtube_id: odd[n % 10] for n, row in enumerate(rows) if n % 10 in odd}


def slow_sandbox(make_sandbox: MakeSandbox, count: int = 8, **more: Any) -> Sandbox:
    """A download that takes some seconds, but little of the processor."""
    sandbox = make_sandbox(many_rows(count), **more)
    sandbox.world.latency_s = 0.2
    return sandbox


def assert_sound_after_a_kill(sandbox: Sandbox, seen: set[Path]) -> None:
    """What is there now and was not `seen` plays, and of each table at most the last line is cut."""
    for path in set(sandbox.folder.rglob("*.mp4")) - seen:
        assert len(frames(path)) >= 30, path
        seen.add(path)
    if sandbox.errors_log.exists():
        lines = sandbox.errors_log.read_text().split("\n")[:-1]
        assert {len(line.split("\t")) for line in lines} <= {len(ERROR_FIELDS)}
    if sandbox.stats.exists() and (whole := sandbox.stats.read_text().rpartition("\n")[0]):
        table = list(csv.reader(io.StringIO(whole), strict=True))
        assert table[0] == [*STATS_FIELDS]
        assert {len(row) for row in table} == {len(STATS_FIELDS)}
        assert len(pd.read_csv(io.StringIO(whole))) == len(table) - 1


def assert_settled(sandbox: Sandbox, gone: Sequence[Row], *, exact: bool = True) -> None:
    """After the last run: each clip there and right, or in the log once; and nothing else lies about."""
    there = [row for row in sandbox.rows if row not in gone]
    lines = [line.split("\t") for line in sandbox.errors_log.read_text().splitlines()]
    assert sorted(line[0] for line in lines) == sorted(row.youtube_id for row in gone)
    locks = [sandbox.partial / name for name in ("validate.at_work.lock", "validate.lock")]
    tables = [path for kind in ("*.csv", "*_videos.parquet", "*_status.json") for path in sandbox.folder.glob(kind)]
    beside = [*tables, sandbox.errors_log, *locks]
    everything = [path for path in sandbox.folder.rglob("*") if path.is_file()]
    assert sorted(everything) == sorted([*map(sandbox.path, there), *beside])
    assert sorted(sandbox.partial.iterdir()) == locks
    assert len(pd.read_csv(sandbox.stats)) == len(sandbox.attempts())
    for row in there:
        shown, wanted = frames(sandbox.path(row)), sandbox.expected(row)
        first, last = (wanted[0] if exact else min(shown[0], wanted[0])), wanted[-1]
        assert [number for number in shown if exact or number <= last] == list(range(first, last + 1)), row


def finish(sandbox: Sandbox) -> None:
    """The last run, which nothing disturbs."""
    sandbox.world.latency_s, sandbox.world.line_down = 0, False
    sandbox.world.throttle, sandbox.world.bandwidth_bit_s = None, None
    run = sandbox.run(*COPY)
    assert run.code == 0, run.err
    assert_settled(sandbox, gone=[], exact=False)


def wait_for_a_clip(sandbox: Sandbox, process: subprocess.Popen[str]) -> None:
    wait_until(lambda: any(sandbox.folder.rglob("*.mp4")) or process.poll() is not None, "a first clip")
    assert process.poll() is None, process.communicate()


def assert_nobody_left(process: subprocess.Popen[str]) -> None:
    wait_until(lambda: not session(process.pid), "the end of all of its processes")


class TestKills:
    @pytest.mark.soak
    def test_workers_killed_at_random_cost_one_try_each_and_a_re_run_completes(self, make_sandbox: MakeSandbox) -> None:
        sandbox = slow_sandbox(make_sandbox)
        chance, killed = random.Random(1), 0
        with LoopbackYouTube(sandbox.world) as youtube, sandbox.start(youtube, *COPY) as process:
            while process.poll() is None and killed < 6:
                if crew := workers(process.pid):
                    kill(chance.choice(crew))
                    killed += 1
                time.sleep(0.7)
            process.communicate(timeout=90)
        assert process.returncode in (0, 1)
        assert {category for category, _ in sandbox.errors().values()} <= {Category.LOST_WORKER}
        assert len(sandbox.errors()) <= killed
        finish(sandbox)

    def test_everything_killed_at_random_leaves_whole_clips_only(self, make_sandbox: MakeSandbox) -> None:
        sandbox = slow_sandbox(make_sandbox)
        chance, seen = random.Random(2), set[Path]()
        with LoopbackYouTube(sandbox.world) as youtube:
            for _ in range(3):
                with sandbox.start(youtube, *COPY) as process:
                    time.sleep(chance.uniform(0.8, 3.0))
                    os.killpg(process.pid, signal.SIGKILL)
                    process.communicate()
                assert_sound_after_a_kill(sandbox, seen)
        finish(sandbox)

    @pytest.mark.soak
    def test_a_worker_killed_while_it_starts_costs_nothing(self, make_sandbox: MakeSandbox) -> None:
        sandbox = slow_sandbox(make_sandbox)  # so slow that it outlasts the kills, however late they come
        with LoopbackYouTube(sandbox.world) as youtube, sandbox.start(youtube, *COPY) as process:
            for _ in range(3):
                wait_until(lambda: workers(process.pid), "a worker")
                for worker in workers(process.pid):
                    kill(worker)
            process.communicate(timeout=90)
        finish(sandbox)

    @pytest.mark.soak
    def test_a_killed_fork_server_is_replaced_and_no_clip_is_lost(self, make_sandbox: MakeSandbox) -> None:
        sandbox = slow_sandbox(make_sandbox)
        with LoopbackYouTube(sandbox.world) as youtube, sandbox.start(youtube, *COPY) as process:
            wait_for_a_clip(sandbox, process)
            for child in children(process.pid):  # the fork server and the resource tracker
                kill(child)
            for worker in set(session(process.pid)) - {process.pid}:
                kill(worker)  # now new ones are needed
            out, _ = process.communicate(timeout=90)
            assert_nobody_left(process)
        assert process.returncode in (0, 1)
        assert "Traceback" not in out
        assert {category for category, _ in sandbox.errors().values()} <= {Category.LOST_WORKER}
        finish(sandbox)

    def test_when_the_parent_alone_is_killed_no_worker_stays_behind(self, make_sandbox: MakeSandbox) -> None:
        sandbox = slow_sandbox(make_sandbox)
        with LoopbackYouTube(sandbox.world) as youtube, sandbox.start(youtube, *COPY) as process:
            wait_for_a_clip(sandbox, process)
            assert len(session(process.pid)) > 1
            kill(process.pid)
            process.communicate()
            assert_nobody_left(process)
        assert_sound_after_a_kill(sandbox, set())
        finish(sandbox)

    @pytest.mark.soak
    @pytest.mark.timeout(3600)
    @pytest.mark.parametrize("cut", ["keyframe", "exact"])
    def test_100_kills_of_everything_at_any_moment_of_a_run(self, make_sandbox: MakeSandbox, cut: str) -> None:
        """Each run gets a few clips more to do, so that kills also meet its end: the last clip, and the compaction."""
        rows, odd = mixed(1500)
        sandbox = make_sandbox(rows, odd)
        chance, seen, lengths = random.Random(cut), set[Path](), list[float]()
        began, kills, starts, wanted = time.monotonic(), 0, 0, 0
        with LoopbackYouTube(sandbox.world) as youtube:
            while kills < 100:
                wanted += chance.randint(1, 6)
                sandbox.write_csv(rows[:wanted])
                starts += 1
                start = time.monotonic()
                with sandbox.start(youtube, "--cut", cut, "--retry", "transient") as process:
                    try:
                        undisturbed = starts % 8 == 1  # they tell how long a run takes on this machine, at this hour
                        process.wait(None if undisturbed else chance.uniform(0, 1.2 * max(lengths[-3:])))
                        lengths.append(time.monotonic() - start)
                    except subprocess.TimeoutExpired:
                        os.killpg(process.pid, signal.SIGKILL)
                        kills += process.wait() == -signal.SIGKILL
                    process.communicate()
                    assert_nobody_left(process)
                assert_sound_after_a_kill(sandbox, seen)
            sandbox.rows, early = rows[:wanted], len(list(sandbox.folder.rglob("*.mp4")))
            while subprocess.run(sandbox.command("--cut", cut), env=youtube.env, check=False).returncode:
                starts += 1
                assert starts < 300
            asked = Counter(request.video_id for request in youtube.requests if request.kind == "player")
        assert_settled(sandbox, gone=sandbox.rows[GONE::10], exact=cut == "exact")
        made = Counter(row["youtube_id"] for row in sandbox.attempts())
        got = Counter(row["youtube_id"] for row in sandbox.attempts() if row["status"] == "done")
        assert set(got.values()) == {1}, "what is on disk is not fetched again"
        plain = [row.youtube_id for n, row in enumerate(sandbox.rows) if n % 10 not in (GONE, BUSY_ONCE)]
        assert all(made[one] <= asked[one] for one in plain), "a row more than there were attempts"
        assert sum(asked[one] - made[one] for one in plain) <= 5 * kills, "more rows lost than clips in hand"
        assert early >= 100, "the kills came too early to disturb anything"
        figures = f"{kills} kills, {starts} starts, {wanted} rows wanted, {early} clips made amid kills, "
        figures += f"{len(got)} in the end, {sum(made.values())} attempts in the table"
        print(f"\n{cut}: {figures}, {time.monotonic() - began:.0f} s")

    @pytest.mark.soak
    @pytest.mark.timeout(3600)
    def test_300_kills_of_workers_in_one_run(self, make_sandbox: MakeSandbox) -> None:
        rows, odd = mixed(1200)
        sandbox = make_sandbox(rows, odd)
        sandbox.world.latency_s = 0.05  # so that on the fastest machine too there is enough left to kill
        chance, killed, began = random.Random(3), 0, time.monotonic()
        with LoopbackYouTube(sandbox.world) as youtube:
            with sandbox.start(youtube, *COPY, "-w", "4") as process:
                while process.poll() is None and killed < 300:
                    if crew := workers(process.pid):
                        kill(chance.choice(crew))
                        killed += 1
                    time.sleep(chance.uniform(0.02, 0.2))
                out, _ = process.communicate(timeout=1200)
                assert_nobody_left(process)
            assert (killed, process.returncode) == (300, 1), out
            assert_sound_after_a_kill(sandbox, set())
            lost = [one for one, (category, _) in sandbox.errors().items() if category == Category.LOST_WORKER]
            made = Counter(row["youtube_id"] for row in sandbox.attempts())
            assert made == dict.fromkeys((row.youtube_id for row in rows), 1), "one row for each clip's one try"
            assert 0 < len(lost) <= killed
            assert len(sandbox.files()) + len(sandbox.errors()) == len(rows)
            for _ in range(2):  # a video that fails once may have lost its worker before it could
                again = subprocess.run(sandbox.command(*COPY), env=youtube.env, check=False)
        assert again.returncode == 0
        assert_settled(sandbox, gone=rows[GONE::10], exact=False)
        print(f"\n{killed} workers killed, {len(lost)} clips lost a try, {time.monotonic() - began:.0f} s")


def interrupt_twice(leader: int) -> None:
    os.killpg(leader, signal.SIGINT)
    time.sleep(0.02)
    os.killpg(leader, signal.SIGINT)


STOPS: dict[str, Callable[[int], None]] = {
    "SIGTERM": lambda leader: os.kill(leader, signal.SIGTERM),
    "SIGINT twice": interrupt_twice,
    "SIGINT to all": lambda leader: os.killpg(leader, signal.SIGINT),
}


class TestStops:
    @pytest.mark.parametrize("stop", first_of(STOPS.values()), ids=STOPS)
    def test_a_signal_ends_the_run_with_130_and_leaves_nothing_half_done(
        self, make_sandbox: MakeSandbox, stop: Callable[[int], None]
    ) -> None:
        sandbox = slow_sandbox(make_sandbox)
        with LoopbackYouTube(sandbox.world) as youtube, sandbox.start(youtube, *COPY) as process:
            wait_for_a_clip(sandbox, process)
            stop(process.pid)
            out, _ = process.communicate(timeout=60)
            assert_nobody_left(process)
        assert process.returncode == 130
        assert "Traceback" not in out
        assert "to go on: python" in out
        assert all(".partial" not in path.parts for path in sandbox.files())
        finish(sandbox)

    def test_ctrl_c_during_the_start_gives_130_without_a_traceback(self, make_sandbox: MakeSandbox) -> None:
        sandbox = make_sandbox(many_rows(4))
        with LoopbackYouTube(sandbox.world) as youtube:
            for delay in (0.15, 0.45, 0.8):
                with sandbox.start(youtube, *COPY) as process:
                    time.sleep(delay)
                    os.killpg(process.pid, signal.SIGINT)
                    out, _ = process.communicate(timeout=60)
                assert process.returncode in (0, 130), (delay, out)
                assert "Traceback" not in out, (delay, out)

    @pytest.mark.parametrize(("sent", "code"), [("os.kill(os.getpid(), signal.SIGINT)", 130), ("pass", 1)])
    def test_ctrl_c_that_compiled_code_makes_an_import_error_of_is_one_all_the_same(self, sent: str, code: int) -> None:
        script = f"""
import os, signal, sys
import kinetics.run.download
from kinetics.cli.main import main

def importing(context):
    try:
        {sent}
    finally:
        raise ImportError("numpy._core.multiarray failed to import")

kinetics.run.download.download = importing
sys.exit(main([]))
"""
        ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
        assert ran.returncode == code
        assert ("Traceback" in ran.stderr) == (code == 1)

    @pytest.mark.parametrize("cause", first_of(["throttle", "outage"]))
    def test_a_signal_while_everybody_waits_is_answered_too(self, make_sandbox: MakeSandbox, cause: str) -> None:
        sandbox = make_sandbox(many_rows(4))
        if cause == "throttle":
            sandbox.world.throttle = FakeThrottle(after=2, for_s=600, retry_after="600")
        else:
            sandbox.world.line_down = True
        with LoopbackYouTube(sandbox.world) as youtube:
            with sandbox.start(youtube, *COPY) as process:
                assert process.stdout
                assert any("all workers are paused until" in line for line in process.stdout)
                os.kill(process.pid, signal.SIGTERM)
                out, _ = process.communicate(timeout=60)
                assert_nobody_left(process)
            assert process.returncode == 130, out
            assert sandbox.errors() == {}, "nobody who waits has failed"
        finish(sandbox)

    def test_a_signal_while_the_archive_comes_keeps_none_of_it(self, make_sandbox: MakeSandbox) -> None:
        sandbox = make_sandbox(many_rows(2), official=True)
        sandbox.world.bandwidth_bit_s = 2000
        with LoopbackYouTube(sandbox.world) as youtube:
            with sandbox.start(youtube, *COPY) as process:
                wait_until(lambda: any(one.bytes_sent for one in youtube.requests), "a piece of the archive")
                os.kill(process.pid, signal.SIGTERM)
                out, _ = process.communicate(timeout=60)
            assert (process.returncode, out.count("\n")) == (130, 2), out
            cache = Path(youtube.env["XDG_CACHE_HOME"])
            assert [path for path in cache.rglob("*") if path.is_file()] == []
            assert not (sandbox.folder / "Kinetics700").exists()
        finish(sandbox)

    def test_a_closed_terminal_ends_the_run_in_order(self, make_sandbox: MakeSandbox) -> None:
        sandbox = slow_sandbox(make_sandbox)
        with LoopbackYouTube(sandbox.world) as youtube, on_a_terminal(sandbox, youtube) as (process, hang_up):
            wait_for_a_clip(sandbox, process)
            hang_up()
            assert process.wait(60) == 130
            assert_nobody_left(process)
        assert all(".partial" not in path.parts for path in sandbox.files())
        finish(sandbox)

    @pytest.mark.soak
    def test_a_run_that_was_told_to_outlives_its_terminal(self, make_sandbox: MakeSandbox) -> None:
        sandbox = slow_sandbox(make_sandbox, prefix=("env", "--ignore-signal=HUP"))
        with LoopbackYouTube(sandbox.world) as youtube, on_a_terminal(sandbox, youtube) as (process, hang_up):
            wait_for_a_clip(sandbox, process)
            hang_up()
            assert process.wait(90) == 0
        assert_settled(sandbox, gone=[], exact=False)

    @pytest.mark.parametrize("stop", first_of([STOPS["SIGINT to all"], None]), ids=["Ctrl-C", "no"])
    def test_a_run_whose_reader_has_gone_goes_on_until_it_is_stopped(
        self, make_sandbox: MakeSandbox, stop: Callable[[int], None] | None
    ) -> None:
        """As with `python download.py 2>&1 | head -1`, and with Ctrl-C for it and a `tee` at once."""
        sandbox = slow_sandbox(make_sandbox)
        with LoopbackYouTube(sandbox.world) as youtube, sandbox.start(youtube, *COPY) as process:
            assert process.stdout
            assert process.stdout.readline().startswith("Kinetics700 validate: 8 clips wanted")
            process.stdout.close()
            wait_for_a_clip(sandbox, process)
            if stop:
                stop(process.pid)
            assert process.wait(90) == (130 if stop else 0)
        if not stop:
            assert_settled(sandbox, gone=[], exact=False)

    def test_a_second_run_on_the_same_subset_refuses_in_one_line(self, make_sandbox: MakeSandbox) -> None:
        sandbox = slow_sandbox(make_sandbox, 100)  # which it never gets: the second run may take long to start
        with LoopbackYouTube(sandbox.world) as youtube, sandbox.start(youtube, *COPY) as first:
            wait_for_a_clip(sandbox, first)
            second = subprocess.run(sandbox.command(), env=youtube.env, capture_output=True, text=True, check=False)
            os.killpg(first.pid, signal.SIGKILL)
            first.communicate()
        assert second.returncode == 2
        assert second.stderr.count("\n") == 1
        assert "another run is already working on Kinetics700 validate" in second.stderr


@contextmanager
def on_a_terminal(
    sandbox: Sandbox, youtube: LoopbackYouTube
) -> Iterator[tuple[subprocess.Popen[str], Callable[[], None]]]:
    """A run with a terminal of its own, and the way to close that."""
    ours, theirs = os.openpty()
    command = ["setsid", "--ctty", *sandbox.command(*COPY)]
    with subprocess.Popen(command, env=youtube.env, stdin=theirs, stdout=theirs, stderr=theirs, text=True) as process:
        os.close(theirs)
        yield process, lambda: os.close(ours)


# -- tables that a crash cut ------------------------------------------------------------------------------------------

CLIP = Clip("-_video0001", 7.5, 17.0, "t\u00e4i chi \u592a\u6975", "val")
ROW = Outcome(CLIP, "failed", Category.PRIVATE, "Privat \u2013 \u592a\u6975")
NEXT = replace(ROW, clip=replace(CLIP, youtube_id="-_video0002"))


class TestCutTables:
    @pytest.mark.parametrize("zeros", [0, 1, 5000, 200_000])
    def test_no_row_is_glued_to_a_line_that_was_cut_wherever_it_was_cut(self, tmp_path: Path, zeros: int) -> None:
        """The zeros are what a power cut leaves of blocks that a file had got, but not yet filled."""
        layout = Layout(tmp_path, "700")
        with Ledger(layout, "validate") as ledger:
            for _ in range(2):
                ledger.record(ROW)
        log, table = layout.errors_log("validate"), layout.stats("validate")
        whole = {path: path.read_bytes() for path in (log, table)}
        cuts = range(1, len(whole[table].splitlines()[-1])) if zeros < 2 else (1, 60)
        for cut in cuts:
            for path, data in whole.items():
                path.write_bytes(data[: max(0, len(data) - cut)] + bytes(zeros))
            with Ledger(layout, "validate") as ledger:
                ledger.record(NEXT)
                open_now = {path: path.read_bytes() for path in whole}  # a kill at this moment would leave this
            assert [line.split(b"\t")[0] for line in open_now[log].splitlines()] == [b"-_video0002"]
            rows = list(csv.reader(io.StringIO(open_now[table].decode()), strict=True))
            assert [row[1] for row in rows] == ["youtube_id", "-_video0001", "-_video0002"]
            assert {len(row) for row in rows} == {len(STATS_FIELDS)}
        assert not list(tmp_path.glob("*.old*")), "what a crash cut is no foreign matter"


# -- the order in which a file comes into being ------------------------------------------------------------------------


def test_a_file_is_on_the_disk_in_full_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[tuple[str, int, int]] = []

    def spy(name: str, size: Callable[..., os.stat_result]) -> None:
        real = getattr(os, name)

        def spied(*args: Any) -> None:
            stat = size(args[0])
            events.append((name, stat.st_ino, stat.st_size))
            real(*args)

        monkeypatch.setattr(os, name, spied)

    spy("fsync", os.fstat)
    spy("replace", os.stat)
    with atomic_write(tmp_path / "label" / "clip.mp4", tmp_path / ".partial") as temporary:
        temporary.write_bytes(bytes(100_000))
    inode = (tmp_path / "label" / "clip.mp4").stat().st_ino
    assert events == [("fsync", inode, 100_000), ("replace", inode, 100_000)]


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_in_a_whole_run_no_file_gets_a_final_name_before_it_is_synced(make_sandbox: MakeSandbox) -> None:
    """The folder is not synced: a power cut may take a whole clip back, which the next run fetches again."""
    rows, odd = mixed(10)
    sandbox = make_sandbox(rows, odd)
    calls = sandbox.folder / "calls"
    sandbox.prefix = ("strace", "-f", "-y", "-s", "4096", "-e", "trace=fsync,/^rename", "-o", str(calls))
    if sandbox.run(*COPY).code == 1 and not calls.read_text().strip():
        pytest.skip("strace may not trace here")
    synced: set[str] = set()
    named: list[Path] = []
    for call in calls.read_text().splitlines():
        if sync := re.search(r"fsync\(\d+<(.*?)>", call):
            synced.add(sync[1])
        elif move := re.search(r'rename\w*\((?:AT_FDCWD[^,]*, )?"(.*?)", (?:AT_FDCWD[^,]*, )?"(.*?)"', call):
            source, target = move.groups()
            if target.endswith("_status.json"):
                continue  # it is written anew every few seconds, and a damaged one is taken for none
            assert source in synced, call
            synced.remove(source)
            named.append(Path(target))
    clips = [sandbox.path(row) for n, row in enumerate(rows) if n % 10 not in (GONE, BUSY_ONCE)]
    assert set(clips) <= set(named), "every clip came by that way"
