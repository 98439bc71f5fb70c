"""The whole program, run as a user runs it, against the loopback YouTube: files, tables, exit codes, words."""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import termios
import threading
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import av
import pytest

from kinetics.cli.parser import parse
from kinetics.records import Category
from kinetics.run.context import Context
from kinetics.youtube.engines import engine_versions
from tests.support.commands import ROOT
from tests.support.sandbox import ROWS, Run, Sandbox, frames, many_rows, session, wait_until, workers
from tests.support.sweeps import first_of
from tests.youtube.samples import scenarios_of, template
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import FAILURES, MediaFault, PlayerFault, Row, Scenario, World

COPY = ("--cut", "keyframe")
"""What costs the processor least."""
GONE = {name: failure for name, failure in FAILURES.items() if failure.category.gone}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sandbox, Run]:
    """An ordinary run, which nobody changes."""
    sandbox = Sandbox(tmp_path_factory.mktemp("first"))
    return sandbox, sandbox.run()


class TestMainJob:
    def test_every_clip_lands_at_its_path_begins_at_the_very_frame_and_has_sound(
        self, first: tuple[Sandbox, Run]
    ) -> None:
        sandbox, run = first
        assert (run.code, sandbox.errors()) == (0, {})
        sandbox.assert_complete()
        for row in ROWS:
            with av.open(str(sandbox.path(row))) as container:
                seconds = len(sandbox.expected(row)) / 30
                for stream in (container.streams.video[0], container.streams.audio[0]):
                    assert stream.duration and stream.time_base
                    assert float(stream.duration * stream.time_base) == pytest.approx(seconds, abs=0.05)

    def test_a_second_run_asks_nobody_and_rewrites_nothing(self, first: tuple[Sandbox, Run]) -> None:
        sandbox, _ = first
        before = {path: path.stat().st_mtime_ns for path in sandbox.files()}
        again = sandbox.run_here()
        assert (again.code, again.requests) == (0, [])
        assert "nothing to do" in again.out
        assert {path: path.stat().st_mtime_ns for path in sandbox.files()} == before

    def test_a_clip_costs_at_most_4_requests_progressive_and_6_in_dash(self, first: tuple[Sandbox, Run]) -> None:
        sandbox, run = first
        spent = Counter(request.video_id for request in run.requests if request.kind in ("player", "media"))
        wanted = Counter(row.youtube_id for row in ROWS)
        for video_id, clips in wanted.items():
            shape = sandbox.world.scenarios[video_id].shapes[0]
            assert spent[video_id] <= (4 if shape == "progressive" else 6) * clips, (video_id, shape)

    def test_a_log_file_gets_lines_and_no_carriage_returns(self, first: tuple[Sandbox, Run]) -> None:
        _, run = first
        assert "\r" not in run.err
        assert re.search(rf"{len(ROWS)}/{len(ROWS)} \d\d:\d\d, {len(ROWS)} done, [\d.]+ MB/s", run.err)

    def test_hosts_that_are_not_youtubes_are_never_asked(self, first: tuple[Sandbox, Run]) -> None:
        _, run = first
        assert "refused" not in run.kinds()

    def test_the_official_archive_is_fetched_once_and_each_subset_has_its_own_tables(self, tmp_path: Path) -> None:
        rows = {"train": ROWS[:1], "validate": ROWS[1:3], "test": ROWS[3:5]}
        world = World(scenarios_of(ROWS))
        for subset, part in rows.items():
            world.annotate("600", subset, part)  # type: ignore[arg-type]
        command = [sys.executable, str(ROOT / "download.py"), "-v", "600", "-s", "all", "-o", str(tmp_path)]
        command += [*COPY, "-w", "2"]
        with LoopbackYouTube(world) as youtube:
            for _ in range(2):
                assert subprocess.run(command, env=youtube.env, check=False).returncode == 0
            assert [request.kind for request in youtube.requests].count("archive") == 1
        for split, count in (("train", 1), ("val", 2), ("test", 2)):
            assert len(list((tmp_path / "Kinetics600" / split).rglob("*.mp4"))) == count
        for subset, part in rows.items():
            table = (tmp_path / f"Kinetics600_{subset}_stats.csv").read_text()
            assert table.count("\n") == 1 + len(part)

    @pytest.mark.soak
    def test_keyframe_cuts_begin_where_the_table_says(self, sandbox: Sandbox) -> None:
        assert sandbox.run("--cut", "keyframe").code == 0
        offsets = {(row["youtube_id"], row["time_start"]): float(row["offset_s"]) for row in sandbox.attempts()}
        for row in ROWS:
            shown = frames(sandbox.path(row))
            offset_s = (shown[0] - sandbox.expected(row)[0]) / 30
            assert offset_s <= 0
            assert offsets[row.youtube_id, str(row.time_start)] == pytest.approx(offset_s, abs=0.002)
            last = sandbox.expected(row)[-1]
            assert [number for number in shown if number <= last] == list(range(shown[0], last + 1))

    def test_cut_none_keeps_each_whole_video_once(self, make_sandbox: Callable[..., Sandbox]) -> None:
        sandbox = make_sandbox([*ROWS[2:4], ROWS[6]])  # two segments of one video, and a video in either shape
        assert sandbox.run("--cut", "none").code == 0
        ids = {row.youtube_id for row in sandbox.rows}
        assert sandbox.files() == sorted(sandbox.folder / "Kinetics700" / "whole" / f"{one}.mp4" for one in ids)
        assert len(ids) == 2
        for one in ids:
            video = sandbox.world.scenarios[one].video
            assert video
            assert frames(sandbox.folder / "Kinetics700" / "whole" / f"{one}.mp4") == list(
                range(len(video.frame_times))
            )

    @pytest.mark.soak
    def test_a_limited_rate_gets_the_same_clips_and_leaves_nothing_behind(
        self, make_sandbox: Callable[..., Sandbox]
    ) -> None:
        sandbox = make_sandbox(ROWS[:3])
        assert sandbox.run("--limit-rate", "2M", "--cut", "keyframe").code == 0
        assert sandbox.files() == sorted(sandbox.path(row) for row in sandbox.rows)

    def test_a_limited_rate_leaves_each_clip_the_time_that_it_then_takes(self) -> None:
        def patience(*options: str) -> float:
            return Context(parse(options)).timeout_s

        assert patience() == 300
        assert patience("--cut", "none") == 3600
        assert patience("-w", "64", "--limit-rate", "100K") >= 64 * 1.5e6 / 100e3, "64 clips share the line"

    @pytest.mark.parametrize("engine", first_of(["yt-dlp", "pytube"]))
    def test_every_engine_gets_the_clips_and_the_table_names_it(
        self, make_sandbox: Callable[..., Sandbox], engine: str
    ) -> None:
        sandbox = make_sandbox(ROWS[:2])
        assert sandbox.run("--engine", engine, "-w", "1").code == 0
        sandbox.assert_complete()
        assert {row["engine"] for row in sandbox.attempts()} == {engine}


class TestReport:
    def test_it_tells_how_it_went_and_asks_nobody(self, sandbox: Sandbox) -> None:
        sandbox.world.scenarios[ROWS[0].youtube_id] = Scenario(failure=FAILURES["private"])
        sandbox.run(*COPY, "-w", "1")
        before = {path: path.read_bytes() for path in (sandbox.errors_log, sandbox.stats)}
        run = sandbox.run("--report", *COPY)
        assert (run.code, run.err, run.requests) == (0, "", [])
        assert "7 of 8 clips on disk (87.5%)" in run.out
        assert sandbox.errors()[ROWS[0].youtube_id][1] in run.out
        assert before == {path: path.read_bytes() for path in before}
        page = (sandbox.folder / "Kinetics700_validate_report.html").read_text()
        assert "87.5%" in page
        assert len([*sandbox.folder.glob("Kinetics700_validate_report_*.csv")]) == 6

    @pytest.mark.soak
    def test_it_can_be_asked_for_while_a_run_is_at_work_which_goes_on(
        self, make_sandbox: Callable[..., Sandbox]
    ) -> None:
        sandbox = make_sandbox(many_rows(60))
        with sandbox.under_way("--cut", "keyframe") as process:
            ran = subprocess.run(sandbox.command("--report"), capture_output=True, text=True, check=False, timeout=120)
            assert process.poll() is None, "the report came while the run was at work"
            assert (ran.returncode, ran.stderr) == (0, "")
            found = re.search(r"(\d+) of 60 clips on disk", ran.stdout)
            assert found
            assert 1 <= int(found[1]) < 60
            out, _ = process.communicate(timeout=120)
        assert (process.returncode, "60 of 60 on disk" in out) == (0, True)

    @pytest.mark.soak
    def test_all_subsets_have_one_page_with_a_total(self, sandbox: Sandbox) -> None:
        lines = sandbox.csv.read_text().splitlines()
        sandbox.csv.write_text("\n".join([f"{lines[0]},split", *(f"{line},train" for line in lines[1:])]))
        sandbox.stats.touch()
        ran = sandbox.run_here("-s", "all", "--report")
        assert ran.code == 0
        assert "Kinetics700 all: 0 of 8 clips on disk" in ran.out
        assert {path.name for path in sandbox.folder.glob("*.html")} == {"Kinetics700_all_report.html"}

    @pytest.mark.soak
    def test_a_folder_without_the_data_set_is_an_error_and_stays_as_it_is(self, sandbox: Sandbox) -> None:
        before = {*sandbox.folder.rglob("*")}
        ran = sandbox.run_here("--report")
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.startswith(f"error: {sandbox.folder} has no Kinetics700 data set")
        assert {*sandbox.folder.rglob("*")} == before


class TestForetold:
    def test_before_anything_was_tried_the_plan_rests_on_published_figures(self, sandbox: Sandbox) -> None:
        run = sandbox.run_here("--dry-run")
        assert (
            f"about {len(ROWS)}.00 MB and 84 seconds to come (7 player calls, 300 an hour as published), by " in run.out
        )
        assert not run.err

    @pytest.mark.soak
    def test_later_it_rests_on_what_happened_here(self, make_sandbox: Callable[..., Sandbox]) -> None:
        sandbox = make_sandbox(many_rows(30))
        assert sandbox.run("--cut", "keyframe").code == 0
        for path in sandbox.files()[:10]:
            path.unlink()
        run = sandbox.run_here("--dry-run", "--cut", "keyframe")
        assert "10 to do" in run.out
        assert " to come (10 player calls, 300 an hour as published), by the last 30 attempts here; " in run.out

    def test_too_little_room_is_said_before_the_run(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 5_000_000))
        run = sandbox.run_here("--dry-run")
        assert (run.code, "5.00 MB free" in run.out) == (0, True)
        assert run.err == f"warning: {sandbox.folder} has 5.00 MB free, less than the 8.00 MB to come\n"


class TestFailures:
    def test_each_of_youtubes_answers_lands_in_its_category_with_its_words(
        self, make_sandbox: Callable[..., Sandbox]
    ) -> None:
        ids = {f"gone-{number:06d}": failure for number, failure in enumerate(GONE.values())}
        rows = [Row("tai chi", one, 0, 10) for one in ids]
        sandbox = make_sandbox([*many_rows(1), *rows], {one: Scenario(failure=failure) for one, failure in ids.items()})
        run = sandbox.run(*COPY, "-w", "1")
        errors = sandbox.errors()
        assert run.code == 0, "what YouTube calls gone is nothing that a re-run could fetch"
        assert {one: category for one, (category, _) in errors.items()} == {
            one: failure.category for one, failure in ids.items()
        }
        for one, failure in ids.items():
            if not failure.is_live:
                said = (failure.reason, failure.subreason, *failure.messages)
                assert all(words.rstrip(".") in errors[one][1] for words in said), "heading and detail"
        assert len(sandbox.files()) == 1

    def test_what_may_work_later_makes_exit_code_1_and_a_re_run_gets_it(
        self, make_sandbox: Callable[..., Sandbox]
    ) -> None:
        rows = [Row("tai chi", "busy-server", 3, 13), Row("tai chi", "refused-me1", 3, 13), *ROWS[:1]]
        faults = {
            "busy-server": Scenario(template(20), player_faults=(PlayerFault("status", 503, times=2),)),
            "refused-me1": Scenario(template(20), media_faults=(MediaFault("status", 403, times=4),)),
        }
        sandbox = make_sandbox(rows, faults)
        first = sandbox.run("-w", "3")
        assert (first.code, {*sandbox.errors()}) == (1, {"busy-server", "refused-me1"})
        assert sandbox.errors()["busy-server"][0] == Category.SERVER_ERROR
        assert sandbox.errors()["refused-me1"][0] == Category.MEDIA_ERROR
        assert "to go on: python" in first.out
        second = sandbox.run("-w", "2")
        assert (second.code, sandbox.errors()) == (0, {})
        sandbox.assert_complete()

    def test_a_clip_past_the_end_of_its_video_is_gone(self, make_sandbox: Callable[..., Sandbox]) -> None:
        sandbox = make_sandbox([Row("tai chi", "past_the-en", 20, 30)])
        assert sandbox.run("-w", "1").code == 0
        assert sandbox.errors()["past_the-en"][0] == Category.PAST_END

    def test_the_next_run_tries_the_untried_first_then_what_may_work_then_what_was_gone(
        self, make_sandbox: Callable[..., Sandbox]
    ) -> None:
        gone = Row("tai chi", "was-gone-01", 0, 10)
        busy = Row("tai chi", "was-busy-01", 0, 10)
        faults = {
            gone.youtube_id: Scenario(failure=FAILURES["private"]),
            busy.youtube_id: Scenario(template(20), player_faults=(PlayerFault("status", 503, times=2),)),
        }
        sandbox = make_sandbox([gone, busy], faults)
        sandbox.run(*COPY, "-w", "1")
        assert sandbox.run_here("--retry", "none").code == 1, "what may work was left out, not settled"
        sandbox.world.scenarios |= scenarios_of(ROWS[:1])
        sandbox.write_csv([gone, busy, ROWS[0]])
        narrow = sandbox.run_here("--retry", "none", "--dry-run")
        assert "1 to do" in narrow.out
        assert "2  left out by --retry none" in narrow.out
        run = sandbox.run("-w", "1", *COPY)
        assert "3 to do" in run.out
        for words in ("never tried", "failed before but may work now", "gone before"):
            assert f"  1  {words}" in run.out
        players = [request.video_id for request in run.requests if request.kind == "player"]
        assert players == [ROWS[0].youtube_id, busy.youtube_id, gone.youtube_id]
        assert run.code == 0

    def test_what_was_not_offered_is_asked_for_again_after_30_days_with_newer_engines_or_if_the_user_says_so(
        self, make_sandbox: Callable[..., Sandbox]
    ) -> None:
        sandbox = make_sandbox(ROWS[:1])
        row, engines = ROWS[0], engine_versions(("pytubefix", "yt-dlp"))

        def logged(engines: str, days_ago: int) -> None:
            time = (datetime.now().astimezone() - timedelta(days=days_ago)).isoformat(timespec="seconds")
            reason = f"This video is not available (asked with {engines})"
            segment = f"{row.youtube_id}\t{row.time_start:g}\t{row.time_end:g}"
            sandbox.errors_log.write_text(f"{segment}\tnot_offered\t{reason}\t{time}\n")

        logged(engines, days_ago=29)
        lately = sandbox.run_here()
        assert (lately.code, lately.requests) == (0, [])
        when = "asked again after 30 days, with newer engines, or with --retry all"
        assert f"1  not offered before ({when})\n" in lately.out
        assert "1 not offered, 0 may work later" in sandbox.run_here("--report").out
        assert "1 to do\n         1  not offered before\n" in sandbox.run_here("--dry-run", "--retry", "all").out
        logged(engines, days_ago=31)
        assert "1 to do\n         1  not offered before\n" in sandbox.run_here("--dry-run").out
        logged("pytubefix 1.0", days_ago=1)
        assert (sandbox.run("-w", "1").code, sandbox.errors()) == (0, {})
        sandbox.assert_complete()

    @pytest.mark.soak
    def test_the_second_engine_is_asked_when_the_first_fails_but_not_after_an_answer(
        self, make_sandbox: Callable[..., Sandbox]
    ) -> None:
        rows = [Row("tai chi", "no-json-001", 0, 10), Row("tai chi", "private-001", 0, 10)]
        faults = {
            "no-json-001": Scenario(template(20), player_faults=(PlayerFault("html", times=1),)),
            "private-001": Scenario(failure=FAILURES["private"]),
        }
        sandbox = make_sandbox(rows, faults)
        run = sandbox.run(*COPY, "-w", "1")
        calls = Counter(request.video_id for request in run.requests if request.kind == "player")
        assert calls == {"no-json-001": 2, "private-001": 1}
        assert {row["youtube_id"]: row["engine"] for row in sandbox.attempts()}["no-json-001"] == "yt-dlp"


class TestReuse:
    """What another version's folder beside this one has."""

    def test_it_is_linked_counted_and_asked_of_nobody(self, make_sandbox: Callable[..., Sandbox]) -> None:
        sandbox = make_sandbox(ROWS[:3])
        assert sandbox.run("-v", "600").code == 0
        shown = sandbox.run_here("--dry-run")
        assert "3  perhaps by a link to another version's folder" in shown.out
        assert sandbox.files() == []
        again = sandbox.run()
        assert (again.code, again.requests) == (0, [])
        assert "3 linked from other versions' folders; 0 to do" in again.out
        assert "3 of 3 on disk, 0 of them new, 3 linked from other versions" in again.out
        sandbox.assert_complete()
        for path in sandbox.files():
            assert path.samefile(str(path).replace("Kinetics700", "Kinetics600"))
        assert "linked from" not in sandbox.run_here().out

    @pytest.mark.soak
    def test_another_label_or_split_is_the_same_clip_and_what_was_gone_here_is_no_longer_missing(
        self, make_sandbox: Callable[..., Sandbox]
    ) -> None:
        rows = [ROWS[0], ROWS[5]]
        sandbox = make_sandbox([row._replace(label="another label") for row in rows])
        sandbox.world.scenarios = dict.fromkeys(sandbox.world.scenarios, Scenario(failure=FAILURES["private"]))
        sandbox.run()
        assert len(sandbox.errors()) == 2
        sandbox.world.scenarios = scenarios_of(rows)
        sandbox.write_csv(rows)
        assert sandbox.run("-v", "600", "-s", "train").code == 0
        sandbox.write_csv(sandbox.rows)
        run = sandbox.run()
        assert (run.code, run.requests, sandbox.errors()) == (0, [], {})
        sandbox.assert_complete()

    @pytest.mark.soak
    def test_what_begins_early_or_is_too_tall_is_fetched_again(self, make_sandbox: Callable[..., Sandbox]) -> None:
        sandbox = make_sandbox([ROWS[0], ROWS[4]])
        assert sandbox.run("-v", "600", "--cut", "keyframe").code == 0
        fetched = sandbox.run()
        assert "0 linked from other versions' folders; 2 to do" in fetched.out
        assert "2 of 2 on disk, 2 of them new" in fetched.out
        sandbox.assert_complete()
        early = sandbox.run("-v", "400", "--cut", "keyframe", "--max-height", "359")
        assert "0 linked" in early.out
        assert sandbox.run("-v", "700-2020", "--cut", "keyframe").requests == []

    @pytest.mark.soak
    def test_no_reuse_fetches_all(self, make_sandbox: Callable[..., Sandbox]) -> None:
        sandbox = make_sandbox(ROWS[:2])
        assert sandbox.run("-v", "600").code == 0
        run = sandbox.run("--no-reuse")
        assert run.kinds()["media"] > 0
        assert "link" not in run.out
        assert {path.stat().st_nlink for path in sandbox.files()} == {1}

    @pytest.mark.soak
    def test_a_run_that_is_killed_amid_links_goes_on_from_there(
        self, make_sandbox: Callable[..., Sandbox], tmp_path: Path
    ) -> None:
        sandbox = make_sandbox(many_rows(8))
        assert sandbox.run("-v", "600", "--cut", "keyframe").code == 0
        patched = tmp_path / "patched"
        patched.mkdir()
        (patched / "sitecustomize.py").write_text(KILLED_AT_THE_FOURTH_LINK)
        assert sandbox.run("--cut", "keyframe", env={"PYTHONPATH": str(patched)}).code == -signal.SIGKILL
        assert len(sandbox.files()) == 3
        run = sandbox.run("--cut", "keyframe")
        assert (run.code, run.requests) == (0, [])
        assert "8 clips wanted, 3 on disk" in run.out
        assert "8 of 8 on disk, 0 of them new, 5 linked" in run.out


KILLED_AT_THE_FOURTH_LINK = """
import os
real, links = os.link, []
def link(*args):
    links.append(args)
    if len(links) == 4:
        os.kill(os.getpid(), 9)
    real(*args)
os.link = link
"""


class TestManyWorkers:
    @pytest.mark.parametrize("count", [16, pytest.param(64, marks=pytest.mark.soak)])
    def test_many_workers_lose_nothing_and_end_at_once_with_ctrl_c(
        self, count: int, make_sandbox: Callable[..., Sandbox]
    ) -> None:
        sandbox = make_sandbox(many_rows(count * 5 // 2))
        sandbox.world.bandwidth_bit_s = 60_000  # so that clips last until all workers have one, on a busy machine too
        options = ("-w", str(count), "--cut", "keyframe")
        with LoopbackYouTube(sandbox.world) as youtube, sandbox.start(youtube, *options) as process:
            wait_until(lambda: len(workers(process.pid)) == count or process.poll() is not None, "all workers")
            os.killpg(process.pid, signal.SIGINT)
            out, _ = process.communicate(timeout=60)
            wait_until(lambda: not session(process.pid), "the end of all of its processes")
        assert process.returncode == 130, out
        assert "Traceback" not in out
        assert all(".partial" not in path.parts for path in sandbox.files())
        sandbox.world.bandwidth_bit_s = None
        run = sandbox.run(*COPY, "-w", "2")
        assert (run.code, sandbox.errors()) == (0, {})
        assert sandbox.files() == sorted(map(sandbox.path, sandbox.rows))


class TestFace:
    def test_a_dry_run_says_what_would_be_done_and_writes_nothing(self, sandbox: Sandbox) -> None:
        run = sandbox.run_here("--dry-run")
        assert (run.code, run.requests) == (0, [])
        assert f"{len(ROWS)} clips wanted, 0 on disk" in run.out
        assert str(sandbox.folder / "Kinetics700") in run.out
        assert list(sandbox.folder.iterdir()) == [sandbox.csv]

    def test_a_terminal_gets_one_bar_that_nothing_tears(self, make_sandbox: Callable[..., Sandbox]) -> None:
        sandbox = make_sandbox([*many_rows(4), Row("tai chi", "is-private1", 0, 10)])
        sandbox.world.scenarios["is-private1"] = Scenario(failure=FAILURES["private"])
        shown = bytearray()
        with LoopbackYouTube(sandbox.world) as youtube:
            ours, theirs = pty.openpty()
            termios.tcsetwinsize(theirs, (24, 80))

            def listen() -> None:
                try:
                    while piece := os.read(ours, 4096):
                        shown.extend(piece)
                except OSError:
                    pass  # how a closed terminal looks from this side

            listener = threading.Thread(target=listen)
            listener.start()
            command = sandbox.command(*COPY, "-w", "1")
            with subprocess.Popen(command, env=youtube.env, stdout=theirs, stderr=theirs) as process:
                os.close(theirs)
            listener.join()
            os.close(ours)
        text = shown.decode()
        bars = [line for line in re.split(r"[\r\n]+", text) if "%|" in line]
        assert process.returncode == 0
        assert all(line.startswith("700 validate ") for line in bars)
        assert "5/5" in bars[-1]
        assert re.search(r"\d\d:\d\d, 4 done, 1 gone, [\d.]+ MB/s$", bars[-1].rstrip())

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--annotations", "nowhere.csv"], "nowhere.csv"),
            (["-w", "0"], "above zero"),
        ],
    )
    def test_bad_usage_is_one_clear_message_and_exit_code_2(
        self, sandbox: Sandbox, arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(sandbox.folder)
        run = sandbox.run(*arguments)
        assert (run.code, run.requests) == (2, [])
        assert words in run.err
        assert "Traceback" not in run.err

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["-o", "~nobody-of-that-name/here"], "no home folder"),
            (["-o", "rows.csv/inside"], "rows.csv is a file, not a folder"),
            (["--cookies", "nowhere.txt"], "Cannot read the cookies"),
            (["--cookies", "rows.csv", "--engine", "pytubefix"], "Only yt-dlp can send cookies"),
            (["--engine", "curl"], "pytubefix, yt-dlp, pytube"),
            (["--rate", "often"], "above zero"),
            (["--limit-rate", "fast"], "500K"),
            (["--proxy", "socks5://here"], "HTTP proxy"),
        ],
    )
    def test_options_that_cannot_be_are_refused_before_anything_is_done(
        self, sandbox: Sandbox, arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(sandbox.folder)
        run = sandbox.run_here(*arguments)
        assert (run.code, run.err.count("\n"), run.requests) == (2, 1, []), run.err
        assert words in run.err

    def test_cookies_are_sent_and_the_users_file_stays_as_it_is(self, make_sandbox: Callable[..., Sandbox]) -> None:
        sandbox = make_sandbox(ROWS[:2])
        cookies = sandbox.folder / "cookies.txt"
        text = "# Netscape HTTP Cookie File\n.youtube.com\tTRUE\t/\tTRUE\t4102444800\tMY_COOKIE\tvalue\n"
        cookies.write_text(text)
        run = sandbox.run("--cookies", str(cookies), *COPY, "-w", "2")
        assert run.code == 0
        assert all("MY_COOKIE" in request.cookies for request in run.requests if request.kind == "player")
        assert cookies.read_text() == text

    @pytest.mark.soak
    def test_the_proxy_option_is_used_by_engines_and_media(self, make_sandbox: Callable[..., Sandbox]) -> None:
        sandbox = make_sandbox(ROWS[:1])
        with LoopbackYouTube(sandbox.world) as youtube:
            env = {name: value for name, value in youtube.env.items() if "proxy" not in name.lower()}
            command = sandbox.command("--proxy", youtube.proxy_url, *COPY, "-w", "1")
            assert subprocess.run(command, env=env, check=False).returncode == 0
            assert {request.kind for request in youtube.requests} == {"visitor", "player", "media", "thumbnail"}

    def test_the_proxy_option_is_used_for_the_annotations_whatever_they_are_for(
        self, make_sandbox: Callable[..., Sandbox]
    ) -> None:
        sandbox = make_sandbox(ROWS[:1], official=True)
        with LoopbackYouTube(sandbox.world) as youtube:
            env = {name: value for name, value in youtube.env.items() if "proxy" not in name.lower()}
            command = sandbox.command("--list-classes", "--proxy", youtube.proxy_url)
            ran = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
            assert (ran.returncode, ROWS[0].label in ran.stdout) == (0, True), ran.stderr
            assert {request.kind for request in youtube.requests} == {"archive"}
