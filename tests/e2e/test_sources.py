"""With the mirror beside YouTube every clip that either has whole is got, once, and told of as what it is."""

from __future__ import annotations

import csv
import os
import random
import re
import signal
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import av
import pytest

from kinetics.cli.parser import parse
from kinetics.records import Category, Clip, Outcome
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import Ledger
from kinetics.youtube.engines import engine_versions
from tests.e2e.test_crashes import assert_nobody_left, assert_sound_after_a_kill
from tests.support.cluster import cluster
from tests.support.commands import PATIENCE_S
from tests.support.dataset import numbered
from tests.support.sandbox import MirrorSandbox, Run, wait_until
from tests.support.sweeps import soak_unless
from tests.youtube.log import Request
from tests.youtube.mirror import Crate, MirrorFile, clip_of, crates_of, tarball
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import FAILURES, MediaFault, Row

HOW: Sequence[Literal["reset", "silent"]] = ("reset", "silent")
COPY = ("--cut", "keyframe", "-w", "2")
"""What costs the processor least."""
LABELS = ("tai chi", "massaging person's head", "javelin throw")
REJECTED, ABSENT = "the mirror's clip was rejected: ", "the mirror has no complete copy of it"
Told = tuple[str, str, str]
"""What a row of the table says of an attempt: its status, its category and its source."""
NO_MIRROR: Told = ("failed", "not_found", "mirror")
DONE_BY_MIRROR: Told = ("done", "", "mirror")
DONE_BY_YOUTUBE: Told = ("done", "", "youtube")
GONE: Told = ("failed", "private", "youtube")


def short_rows(count: int, seconds: int = 2) -> list[Row]:
    """The first two are segments of one video."""
    return [
        Row(LABELS[number % 3], f"many-{max(number, 1):06d}", number % 9, number % 9 + seconds)
        for number in range(count)
    ]


def mixed(folder: Path, count: int = 44, seconds: int = 2, bad_share: float = 0.075, parts: int = 4) -> MirrorSandbox:
    """A mirror with archives of all shapes and faults, but without the last clips of all.

    A quarter is gone from YouTube: of what the mirror has, and of each kind of what it has not.
    """
    rows = short_rows(count, seconds)
    held = rows[: -count // 11]
    crates = crates_of(held, parts, bad_share)
    corrupt = [row for row in held if row.youtube_id in crates[0].corrupt]
    fine = next(row for row in held if row.youtube_id not in crates[0].corrupt | crates[0].short)
    sandbox = MirrorSandbox(folder, rows, crates=crates, replaced=[*corrupt[::3], fine])
    whole = sandbox.on_mirror
    bad = [row for row in held if row.youtube_id in crates[0].corrupt | crates[0].short and row not in whole]
    behind_the_damage = [row for row in held if row not in whole and row not in bad]
    for kind in (sorted(whole), bad, behind_the_damage, rows[len(held) :]):
        assert len(kind) > 1
        sandbox.gone(kind[::4])
    return sandbox


@dataclass(frozen=True)
class Ended:
    """A run that has ended, and the tables as it left them."""

    sandbox: MirrorSandbox
    run: Run
    attempts: Sequence[dict[str, str]]
    log: Sequence[Sequence[str]]

    @property
    def told(self) -> dict[Row, list[Told]]:
        """What became of each clip, attempt by attempt."""
        found = defaultdict[tuple[str, str], list[Told]](list)
        for row in self.attempts:
            found[row["youtube_id"], row["time_start"]].append((row["status"], row["category"], row["source"]))
        return {row: found[row.youtube_id, str(row.time_start)] for row in self.sandbox.rows}

    def reasons(self, row: Row, source: str) -> list[str]:
        key = (row.youtube_id, str(row.time_start), source)
        return [one["reason"] for one in self.attempts if (one["youtube_id"], one["time_start"], one["source"]) == key]


def ended(sandbox: MirrorSandbox, *more: str) -> Ended:
    run = sandbox.run(*COPY, *more)
    assert "Traceback" not in run.out + run.err, run.err
    return Ended(sandbox, run, sandbox.attempts() if sandbox.stats.exists() else [], log_of(sandbox))


def keys(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """As the tables have them."""
    return sorted((row.youtube_id, str(row.time_start)) for row in rows)


def keys_of(log: Iterable[Sequence[str]]) -> list[tuple[str, str]]:
    return sorted((line[0], line[1]) for line in log)


def log_of(sandbox: MirrorSandbox) -> list[list[str]]:
    lines = sandbox.errors_log.read_text().splitlines() if sandbox.errors_log.exists() else []
    return [line.split("\t") for line in lines]


def readings(requests: Iterable[Request]) -> list[Request]:
    """The requests for the bytes of archives."""
    asked = [request for request in requests if request.kind == "mirror" and request.method == "GET"]
    return [request for request in asked if not request.path.endswith("_path.txt")]


def path_of(request: Request) -> str:
    return unquote(request.path)


def sent(requests: Iterable[Request]) -> int:
    """Bytes of archives."""
    return sum(request.bytes_sent for request in readings(requests))


def size_of(sandbox: MirrorSandbox) -> int:
    """Bytes of all archives."""
    return sum(map(len, sandbox.archives.values()))


def assert_there(sandbox: MirrorSandbox, rows: Iterable[Row]) -> None:
    """The clips of these rows are there, whole, and nothing else is."""
    rows = list(rows)
    assert sandbox.files() == sorted(map(sandbox.path, rows))
    for row in rows:
        with av.open(str(sandbox.path(row))) as clip:
            shown = sum(1 for _ in clip.decode(video=0))
        assert shown >= (row.time_end - row.time_start - 0.25) * 30, row


def assert_settled(sandbox: MirrorSandbox) -> None:
    """All that either has whole is there, done in one row at most; and the rest is in the log, once."""
    there = sandbox.on_mirror | sandbox.on_youtube
    assert_there(sandbox, there)
    assert keys_of(log_of(sandbox)) == keys(row for row in sandbox.rows if row not in there)
    assert {line[3] for line in log_of(sandbox)} <= {"private"}, "which is what YouTube says of them"
    done = Counter(
        (row["youtube_id"], row["time_start"], row["time_end"]) for row in sandbox.attempts() if row["status"] == "done"
    )
    assert set(done.values()) == {1}, "what is on disk is not fetched again"


@pytest.fixture(scope="class")
def both(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A run that gets a whole set, from nothing."""
    return ended(mixed(tmp_path_factory.mktemp("both")), "--source", "both")


class TestBoth:
    def test_every_clip_that_either_has_whole_is_there_and_plays_and_nothing_else(self, both: Ended) -> None:
        assert both.run.code == 0, "what neither has, no other run would get"
        mirror, youtube = both.sandbox.on_mirror, both.sandbox.on_youtube
        assert mirror - youtube
        assert youtube - mirror
        assert_there(both.sandbox, mirror | youtube)

    def test_each_is_done_in_one_row_which_tells_where_it_came_from(self, both: Ended) -> None:
        sandbox = both.sandbox
        assert [*both.attempts[0]][-5:] == ["source", "max_height", "short_side", "fps", "keyframes"]
        for row in sandbox.on_mirror | sandbox.on_youtube:
            (source,) = (source for status, _, source in both.told[row] if status == "done")
            of_mirror = sandbox.path(row).read_bytes() == clip_of(row.time_end - row.time_start)
            assert source == ("mirror" if of_mirror else "youtube"), row

    def test_what_is_cheaper_comes_first_and_is_named(self, both: Ended) -> None:
        assert re.search(r"^  the mirror first, ", both.run.out, re.MULTILINE), both.run.out
        kinds = [request.kind for request in both.run.requests]
        assert "mirror" not in kinds[kinds.index("player") :]
        replaced = both.sandbox.replaced  # which are in two archives, read at the same time
        for row in both.sandbox.on_mirror:
            assert [one for one in both.told[row] if row not in replaced or one != NO_MIRROR] == [DONE_BY_MIRROR], row

    def test_youtube_gets_what_the_mirror_has_not_whole_and_the_table_says_why_the_mirror_had_not(
        self, both: Ended
    ) -> None:
        sandbox = both.sandbox
        *intact, damaged = (crate.rows for crate in sandbox.crates)
        held = {row for rows in intact for row in rows}
        for row in {*sandbox.rows} - sandbox.on_mirror:
            assert both.told[row] == [NO_MIRROR, DONE_BY_YOUTUBE if row in sandbox.on_youtube else GONE], row
            (reason,) = both.reasons(row, "mirror")
            assert reason.startswith((REJECTED, ABSENT) if row in damaged else REJECTED if row in held else ABSENT), row

    def test_what_neither_has_is_in_the_log_once_and_in_youtubes_words(self, both: Ended) -> None:
        missing = {*both.sandbox.rows} - both.sandbox.on_mirror - both.sandbox.on_youtube
        assert keys_of(both.log) == keys(missing)
        private = FAILURES["private"]
        assert {(line[3], line[4]) for line in both.log} == {("private", f"{private.reason}: {private.subreason}")}

    def test_each_archive_is_read_once_and_the_rows_count_its_bytes(self, both: Ended) -> None:
        paths = [path_of(request) for request in readings(both.run.requests)]
        assert sorted(paths) == sorted(both.sandbox.archives)
        assert sent(both.run.requests) <= 1.05 * size_of(both.sandbox)
        counted = sum(int(row["bytes_received"]) for row in both.attempts if row["source"] == "mirror")
        assert 0.7 * sent(both.run.requests) <= counted <= sent(both.run.requests), (
            "behind an archive's last row is more"
        )

    def test_a_second_run_asks_the_mirror_for_nothing_and_youtube_for_what_was_gone(self, both: Ended) -> None:
        again = both.sandbox.run(*COPY, "--source", "both")
        assert again.code == 0
        assert again.kinds()["mirror"] == 0
        missing = {row.youtube_id for row in {*both.sandbox.rows} - both.sandbox.on_youtube - both.sandbox.on_mirror}
        assert {request.video_id for request in again.requests if request.kind == "player"} <= missing | {""}
        assert_settled(both.sandbox)

    def test_the_report_tells_of_each_source_and_of_what_neither_has(self, both: Ended) -> None:
        sandbox = both.sandbox
        said = sandbox.run_here("--report", *COPY).out
        count = Counter(source for told in both.told.values() for status, _, source in told if status == "done")
        neither = len(sandbox.rows) - len(sandbox.on_mirror | sandbox.on_youtube)
        assert f"source mirror: {count['mirror']} done" in said
        assert f"source youtube: {count['youtube']} done" in said
        assert re.search(rf"{neither}  of these are gone from YouTube, and the mirror has no complete copy", said)

    def test_the_manifest_tells_where_each_came_from(self, both: Ended) -> None:
        assert both.sandbox.run_here("--manifest").code == 0
        with open(both.sandbox.folder / "Kinetics400_validate_manifest.csv", newline="") as file:
            listed = [*csv.DictReader(file)]
        assert [*listed[0]][-4:] == ["source", "named_in", "fps", "keyframes"]
        table = {
            (row["youtube_id"], row["time_start"]): row["source"] for row in both.attempts if row["status"] == "done"
        }
        assert {(row["youtube_id"], row["time_start"]): row["source"] for row in listed} == table


@pytest.fixture(scope="class")
def foretold(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A dry run, before anything is known."""
    return ended(mixed(tmp_path_factory.mktemp("mirror")), "--source", "mirror", "--dry-run")


@pytest.fixture(scope="class")
def alone(foretold: Ended) -> Ended:
    """The run that was foretold."""
    return ended(foretold.sandbox, "--source", "mirror")


class TestMirrorAlone:
    def test_a_dry_run_tells_what_it_costs_and_brings_and_only_asks_how_large_archives_are(
        self, foretold: Ended
    ) -> None:
        sandbox, run = foretold.sandbox, foretold.run
        assert (run.code, run.err, foretold.attempts) == (0, "", [])
        assert readings(run.requests) == []
        heads = [path_of(request) for request in run.requests if request.method == "HEAD"]
        assert sorted(heads) == sorted(sandbox.archives)
        assert f"{len(sandbox.archives)} archives" in run.out
        assert f"{size_of(sandbox) / 1e6:.2f} MB" in run.out
        assert re.search(r"\d+ ?%", run.out), run.out

    def test_what_the_mirror_has_whole_is_there_and_youtube_was_never_asked(self, alone: Ended) -> None:
        assert {request.kind for request in alone.run.requests} == {"mirror"}
        assert_there(alone.sandbox, alone.sandbox.on_mirror)
        assert alone.run.code == 0, "what is unfit or absent there, no other such run would get"

    def test_what_it_has_not_whole_has_one_row_and_one_line_each(self, alone: Ended) -> None:
        missing = {*alone.sandbox.rows} - alone.sandbox.on_mirror
        for row, told in alone.told.items():
            seen = [one for one in told if row not in alone.sandbox.replaced or one != NO_MIRROR]
            assert seen == [NO_MIRROR if row in missing else DONE_BY_MIRROR], row
        assert keys_of(alone.log) == keys(missing)
        assert {line[3] for line in alone.log} == {"not_found"}
        assert all(line[4].startswith((REJECTED, ABSENT)) for line in alone.log)

    def test_clips_that_only_cvdfs_list_names_are_got_as_well(self, tmp_path: Path) -> None:
        rows = short_rows(6)
        sandbox = MirrorSandbox(tmp_path, rows[:4], official=True, crates=[Crate("part_0.tar.gz", rows)])
        run = sandbox.run(*COPY, "--source", "mirror")
        assert run.code == 0, run.err
        assert "lists: 4 clips in both, 0 in the official one alone, 2 in CVDF's alone" in run.out
        assert_there(sandbox, rows)

    def test_progress_names_the_archives_bytes(self, alone: Ended) -> None:
        assert re.search(rf"{size_of(alone.sandbox) / 1e6:.2f} MB", alone.run.err), alone.run.err

    def test_a_second_run_asks_nobody_and_says_the_same(self, alone: Ended) -> None:
        again = ended(alone.sandbox, "--source", "mirror")
        assert (again.run.code, again.run.requests) == (0, [])
        assert [line[:5] for line in again.log] == [line[:5] for line in alone.log]

    def test_clips_that_were_deleted_cost_the_archives_that_hold_them(self, alone: Ended) -> None:
        sandbox, crates, held = alone.sandbox, alone.sandbox.crates[:2], alone.sandbox.on_mirror
        for crate in crates:
            for row in sorted(held.intersection(crate.rows))[-2:]:
                sandbox.path(row).unlink()
        again = sandbox.run(*COPY, "--source", "mirror")
        asked = {path_of(request) for request in readings(again.requests)}
        assert {Path(path).name for path in asked} == {crate.name for crate in crates}
        assert again.kinds() == {"mirror": 2}
        assert sent(again.requests) <= 1.05 * sum(len(crate.content) for crate in crates)
        assert_there(sandbox, held)


class TestFewClips:
    def test_an_archive_that_is_known_is_read_no_further_than_to_the_last_clip_that_is_lacking(
        self, tmp_path: Path
    ) -> None:
        rows = short_rows(8)
        crates = [Crate(f"part_{number}.tar", rows[number::2], packed=False) for number in range(2)]
        sandbox = MirrorSandbox(tmp_path, rows, crates=crates)
        assert ended(sandbox, "--source", "mirror").run.code == 0
        for row in rows[:2]:  # the first one of each archive
            sandbox.path(row).unlink()
        for path, content in sandbox.archives.items():  # whoever reads on will wait
            sandbox.world.mirror[path] = MirrorFile(content, faults=(MediaFault("stall", at=len(content) * 2 // 3),))
        again = ended(sandbox, "--source", "mirror", "-w", "1")
        assert (again.run.code, again.run.kinds()) == (0, {"mirror": 2})
        assert_there(sandbox, rows)

    def test_where_youtube_is_quicker_it_comes_first_and_the_mirror_never_replaces_its_reason(
        self, tmp_path: Path
    ) -> None:
        rows, nowhere = short_rows(5), Row("tai chi", "nowhere-001", 3, 5)
        sandbox = MirrorSandbox(tmp_path, [*rows, nowhere], crates=[Crate("part_0.tar", rows, packed=False)])
        (path,) = (path for path in sandbox.archives if "part_0" in path)
        clips = [(f"./{sandbox.path(row).name}", clip_of(2)) for row in rows]
        sandbox.world.mirror[path] = MirrorFile(tarball([*clips, ("./README.bin", bytes(4 << 20))]))
        sandbox.gone([rows[3], nowhere])
        with Ledger(Layout(tmp_path, sandbox.version), "validate") as ledger:
            for clip in numbered(240):  # which YouTube gave within a moment
                ledger.record(Outcome(clip, "done", clip_bytes=100_000))

        both = ended(sandbox, "--source", "both")
        assert re.search(r"^  YouTube first, ", both.run.out, re.MULTILINE), both.run.out
        assert both.run.code == 0
        assert both.told[rows[3]] == [GONE, DONE_BY_MIRROR]
        assert both.told[nowhere] == [GONE, NO_MIRROR]
        assert all(both.told[row] == [DONE_BY_YOUTUBE] for row in rows if row != rows[3])
        assert_settled(sandbox)

    def test_what_youtube_did_not_offer_lately_is_looked_for_at_the_mirror_alone(self, tmp_path: Path) -> None:
        rows, nowhere = short_rows(3), Row("tai chi", "nowhere-001", 3, 5)
        sandbox = MirrorSandbox(tmp_path, [*rows, nowhere], crates=[Crate("part_0.tar", rows, packed=False)])
        reason = f"This video is not available (asked with {engine_versions(('pytubefix', 'yt-dlp'))})"
        with Ledger(Layout(tmp_path, sandbox.version), "validate") as ledger:
            for row in sandbox.rows:
                clip = Clip(row.youtube_id, row.time_start, row.time_end, row.label, "val")
                ledger.record(Outcome(clip, "failed", Category.NOT_OFFERED, reason))
        both = ended(sandbox, "--source", "both")
        assert (both.run.code, {*both.run.kinds()}) == (0, {"mirror"})
        assert "4  not offered before (asked for at the mirror alone now, at YouTube again" in both.run.out
        assert "1  not_offered     not offered" in both.run.out
        assert "4/4" in both.run.err
        assert_there(sandbox, rows)
        assert [(line[0], line[3], line[4]) for line in both.log] == [(nowhere.youtube_id, "not_offered", reason)]


class TestFaults:
    @pytest.mark.parametrize(
        ("known", "how"), soak_unless(lambda *case: case == ("", "reset"), *product(("", "list", "index"), HOW))
    )
    def test_where_the_mirror_cannot_be_reached_youtube_is_asked_at_once_and_the_mirror_again_after_it(
        self, tmp_path: Path, known: str, how: Literal["reset", "silent"]
    ) -> None:
        rows = short_rows(4)
        sandbox = MirrorSandbox(tmp_path, rows, crates=[Crate("part_0.tar", rows, packed=False)])
        cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
        if known:  # from an earlier run, which read the archive if all of it is known
            more = ("--dry-run",) if known == "list" else ()
            assert sandbox.run(*COPY, "--source", "mirror", *more, env=cache).code == 0
            for path in sandbox.files():
                path.unlink()
        sandbox.world.hosts_down["s3.amazonaws.com"] = how
        sandbox.gone(rows[:1])
        away = sandbox.run(*COPY, "--source", "both", env=cache)
        assert away.code == 1, away.out
        assert "The mirror does not answer: YouTube is asked first, and the mirror again after it" in away.out
        assert "the mirror could not be reached" in away.err
        assert_there(sandbox, rows[2:])
        sandbox.world.hosts_down.clear()
        assert sandbox.run(*COPY, "--source", "both", env=cache).code == 0
        assert_there(sandbox, rows)

    def test_an_archive_that_cannot_be_read_may_be_later_and_a_refusal_is_called_the_mirrors(
        self, tmp_path: Path
    ) -> None:
        rows = short_rows(12)
        refusal = MediaFault("status", status=429, retry_after="1", skip=1, times=1)  # not how large it is
        crates = [
            Crate("tai chi.tar.gz", rows[::3], "class", faults=(refusal,)),
            Crate("massaging person's head.tar.gz", rows[1::3], "class"),
        ]
        sandbox = MirrorSandbox(tmp_path, [*rows[::3], *rows[1::3]], crates=crates, version="600")
        (path,) = (path for path in sandbox.archives if crates[1].name in path)
        away = sandbox.world.mirror.pop(path)

        first = ended(sandbox, "--source", "mirror")
        assert first.run.code == 1
        assert_there(sandbox, rows[::3])
        assert "to go on: python" in first.run.out
        (said,) = (line for line in first.run.err.splitlines() if "paused until" in line)
        assert "the mirror" in said
        assert "YouTube" not in said
        assert re.search(r"massaging.*404", first.run.out + first.run.err)
        assert not [line for line in first.log if line[3] == "not_found"], "that archive may have them"

        sandbox.gone(rows[1::3])
        second = ended(sandbox, "--source", "both")
        assert second.run.code == 1, "what is gone from YouTube may still be in there"
        assert keys_of(second.log) == keys(rows[1::3])
        assert {line[3] for line in second.log} == {"private"}

        sandbox.world.mirror[path] = away
        size = len(sandbox.archives[path])
        again = ended(sandbox, "--source", "mirror", "--limit-rate", f"{size // 3000}K")
        assert again.run.code == 0
        assert_there(sandbox, sandbox.rows)
        (asked,) = readings(again.run.requests)
        assert path_of(asked) == path
        assert time.time() - asked.time > 2.0, "the limit holds for the mirror, too"

    @pytest.mark.soak
    def test_an_archive_whose_bytes_stop_is_given_up_and_the_others_are_read(self, tmp_path: Path) -> None:
        rows = short_rows(12)
        stall = MediaFault("stall", at=300_000)
        crates = [Crate("part_0.tar", rows[:6], packed=False, faults=(stall,)), Crate("part_1.tar.gz", rows[6:])]
        sandbox = MirrorSandbox(tmp_path, rows, crates=crates)
        sandbox.gone(rows)
        run = sandbox.run(*COPY, "--source", "both", timeout=900)
        assert run.code == 1
        assert_there(sandbox, [*rows[:1], *rows[6:]])
        assert all("YouTube" not in line for line in run.err.splitlines() if "paused until" in line)
        (path,) = (path for path in sandbox.archives if "part_0" in path)
        sandbox.world.mirror[path] = MirrorFile(sandbox.archives[path])
        assert sandbox.run(*COPY, "--source", "both").code == 0
        assert_there(sandbox, rows)

    @pytest.mark.soak
    def test_beside_a_cluster_this_machine_reads_the_archives(self, tmp_path: Path) -> None:
        sandbox = mixed(tmp_path)
        elsewhere = MirrorSandbox(tmp_path / "elsewhere", sandbox.rows)
        elsewhere.world.scenarios = sandbox.world.scenarios
        with (
            LoopbackYouTube(sandbox.world) as here,
            LoopbackYouTube(elsewhere.world) as there,
            cluster(tmp_path / "dask", there.env) as dask,
            sandbox.start(here, *COPY, "--source", "both", "--scheduler", dask.address) as process,
        ):
            out, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, out
        assert {request.kind for request in here.requests} == {"mirror"}
        assert "mirror" not in {request.kind for request in there.requests}
        assert_settled(sandbox)

    @pytest.mark.parametrize("source", ["mirror", "both"])
    @pytest.mark.parametrize("more", [("--cut", "none"), ("--shard", "1/2")])
    def test_what_makes_no_sense_with_a_mirror_is_refused(
        self, source: str, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as refused:
            parse(["--source", source, *more])
        assert refused.value.code == 2
        assert more[0] in capsys.readouterr().err


def wait_for_archives(count: int, youtube: LoopbackYouTube, process: subprocess.Popen[str]) -> None:
    """Wait until this many have been begun since the loopback was."""
    wait_until(lambda: len(readings(youtube.requests)) >= count or process.poll() is not None, f"{count} archives")


class TestStops:
    @pytest.mark.soak
    def test_ctrl_c_amid_eight_archives_at_once_leaves_nothing_half_done(self, tmp_path: Path) -> None:
        rows = short_rows(40)
        sandbox = MirrorSandbox(tmp_path, rows, crates=crates_of(rows, 10, damaged=False), version="600")
        sandbox.world.bandwidth_bit_s = 200_000
        command = ("--source", "mirror", "--cut", "keyframe", "-w", "8")
        with LoopbackYouTube(sandbox.world) as youtube, sandbox.start(youtube, *command) as process:
            wait_for_archives(8, youtube, process)
            time.sleep(0.5)
            at_once = readings(youtube.requests)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=60)
            assert_nobody_left(process)
        assert len(at_once) == 8
        assert all(request.bytes_sent < 4 * len(clip_of(2)) for request in at_once), "none was at its end"
        assert process.returncode == 130, out
        assert "Traceback" not in out
        assert [path for path in sandbox.files() if ".partial" in path.parts] == []

        sandbox.world.bandwidth_bit_s = None
        assert sandbox.run(*command).code == 0
        assert_there(sandbox, sandbox.on_mirror)

    @pytest.mark.soak
    def test_everything_killed_at_random_and_run_again_is_as_if_it_never_was(self, tmp_path: Path) -> None:
        sandbox, chance, seen = mixed(tmp_path, 33, 3, 0.1), random.Random(8), set[Path]()
        sandbox.world.bandwidth_bit_s = 2e6
        with LoopbackYouTube(sandbox.world) as youtube:
            for _ in range(3):
                with sandbox.start(youtube, *COPY, "--source", "both") as process:
                    wait_for_archives(len(readings(youtube.requests)) + 1, youtube, process)
                    time.sleep(chance.uniform(0.0, 2.0))
                    os.killpg(process.pid, signal.SIGKILL)
                    out, _ = process.communicate()
                    assert process.returncode == -signal.SIGKILL, out
                    assert_nobody_left(process)
                assert_sound_after_a_kill(sandbox, seen)
        sandbox.world.bandwidth_bit_s = None
        assert sandbox.run(*COPY, "--source", "both").code == 0
        assert_settled(sandbox)

    @pytest.mark.soak
    @pytest.mark.timeout(3600)
    def test_50_kills_at_any_moment(self, tmp_path: Path) -> None:
        """Each run gets a few clips more to do, so that kills also meet what is only at its end."""
        whole = mixed(tmp_path / "unbroken", 330, 3, 0.05, 8)
        unbroken = whole.run(*COPY, "--source", "both")
        assert unbroken.code == 0
        assert_settled(whole)
        assert sent(unbroken.requests) <= 1.05 * size_of(whole)
        sandbox, rows = mixed(tmp_path / "killed", 330, 3, 0.05, 8), whole.rows
        sandbox.world.bandwidth_bit_s = 16e6
        chance, seen, lengths = random.Random(50), set[Path](), list[float]()
        began, kills, amid, starts, wanted = time.monotonic(), 0, 0, 0, 0
        with LoopbackYouTube(sandbox.world) as youtube:
            while kills < 50:
                wanted += chance.randint(1, 6)
                sandbox.write_csv(rows[:wanted])
                source = chance.choice(("both", "both", "mirror"))
                start, begun, starts = time.monotonic(), len(readings(youtube.requests)), starts + 1
                with sandbox.start(youtube, *COPY, "-w", "8", "--source", source) as process:
                    try:
                        undisturbed = starts % 6 == 1  # they tell how long a run takes on this machine, at this hour
                        process.wait(None if undisturbed else chance.uniform(0, 1.1 * max(lengths[-3:])))
                        lengths.append(time.monotonic() - start)
                    except subprocess.TimeoutExpired:
                        os.killpg(process.pid, signal.SIGKILL)
                        kills += process.wait() == -signal.SIGKILL
                        amid += len(readings(youtube.requests)) > begun
                    process.communicate()
                    assert_nobody_left(process)
                assert_sound_after_a_kill(sandbox, seen)
            early, cost = len(list(sandbox.folder.rglob("*.mp4"))), sent(youtube.requests)
            sandbox.rows = rows
            sandbox.write_csv(rows)
            last = subprocess.run(
                sandbox.command(*COPY, "--source", "both"), env=youtube.env | sandbox.env, check=False
            )
        assert last.returncode == 0
        assert_settled(sandbox)
        assert early >= 100, "the kills came too early to disturb anything"
        print(
            f"\n{kills} kills, {amid} of them after an archive was begun; {starts} starts, {early} clips of {wanted} "
            f"had by then. The mirror sent {cost / 1e6:.1f} MB meanwhile, and {sent(unbroken.requests) / 1e6:.1f} MB "
            f"in an unbroken run, of {size_of(whole) / 1e6:.1f} MB in archives. {time.monotonic() - began:.0f} s"
        )
