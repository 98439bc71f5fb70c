"""What is done instead of downloading, as a user does it: the command, on a data set that it made, stopped at will."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import av
import pandas as pd
import pytest

from kinetics.annotations.classes import class_names
from kinetics.cli.parser import parse
from kinetics.records import SPLIT_OF, Category, Clip, Outcome
from kinetics.scheduling.pool import run as run_pool
from kinetics.scheduling.throttle import Unthrottled
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import Ledger
from tests.support.commands import PATIENCE_S
from tests.support.dataset import PLAIN, scratched
from tests.support.disk import Disk
from tests.support.documents import marked_blocks
from tests.support.sandbox import ROWS, Nothing, Sandbox, assert_stopped, session, wait_until
from tests.support.sweeps import first_of
from tests.youtube.picture import read_counter
from tests.youtube.server import LoopbackYouTube
from tests.youtube.videos import Video
from tests.youtube.world import Row, Scenario

MUTE = Row("tai chi", "no-s0und-01", 2, 5)
ALL = (*ROWS, MUTE)
SCENARIOS = {MUTE.youtube_id: Scenario(Video(duration_s=20, moving=False, sound=False), ("progressive",))}
SMALL = ("--short-side", "36")
"""What costs the processor least."""
STOP = """
import {module}, os, signal
real, calls = {module}.{name}, []
def stopping(*args, **kwargs):
    calls.extend(one for one in args if str(one).endswith({ending!r}))
    if len(calls) == {at}:
        calls.append(None)
        os.killpg(0, signal.{signal})
    return real(*args, **kwargs)
{module}.{name} = stopping
"""
"""For every process of a run: at its n-th call that is about such a file, all of them get the signal."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A data set as the command makes it."""
    sandbox = Sandbox(tmp_path_factory.mktemp("whole"), ALL, SCENARIOS)
    assert sandbox.run().code == 0
    return sandbox


def copied(whole: Sandbox, folder: Path) -> Sandbox:
    shutil.copytree(whole.folder, folder, dirs_exist_ok=True)
    return Sandbox(folder, ALL, SCENARIOS)


@pytest.fixture
def sandbox(whole: Sandbox, tmp_path: Path) -> Sandbox:
    """A copy of it, to be damaged."""
    return copied(whole, tmp_path)


@pytest.fixture
def many(tmp_path: Path) -> Sandbox:
    """A dozen clips that nobody downloaded."""
    sandbox = Sandbox(tmp_path, [Row("tai chi", f"many-{number:06d}", number, number + 4) for number in range(12)])
    for row in sandbox.rows:
        sandbox.path(row).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PLAIN.progressive.path, sandbox.path(row))
    return sandbox


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    mounted = Disk(tmp_path / "disk", mebibytes=12)
    yield mounted
    mounted.unmount()


def stopped(
    sandbox: Sandbox, *options: str, name: str, ending: str, at: int, kind: signal.Signals = signal.SIGKILL
) -> tuple[int, str]:
    """A run by one worker that gets a signal in the middle; its exit code, and what it said."""
    patch = sandbox.folder / "patch"
    patch.mkdir(exist_ok=True)
    module, _, name = name.rpartition(".")
    text = STOP.format(module=module, name=name, ending=ending, at=at, signal=kind.name)
    (patch / "sitecustomize.py").write_text(text.replace("import pathlib.Path,", "import pathlib,"))
    env = {"PYTHONPATH": str(patch)}
    with LoopbackYouTube(sandbox.world) as youtube, sandbox.start(youtube, *options, "-w", "1", env=env) as process:
        out, _ = process.communicate(timeout=PATIENCE_S)
        wait_until(lambda: not session(process.pid), "the end of all of its processes")
    shutil.rmtree(patch)
    return process.returncode, out


def swap(path: Path, content: bytes) -> None:
    """Another content of the same size, behind the back of whoever goes by size and time."""
    status = path.stat()
    path.write_bytes(content[: status.st_size].ljust(status.st_size, b"\0"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def state(paths: Iterable[Path]) -> dict[Path, tuple[str, int]]:
    return {path: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) for path in paths}


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file, strict=True))


def made(sandbox: Sandbox, what: str, ending: str) -> list[Path]:
    """All finished files of a kind in one of the folders beside the clips."""
    folder = sandbox.folder / f"Kinetics700_{what}"
    finished = [path for split in SPLIT_OF.values() for path in (folder / split).rglob(f"*{ending}")]
    return sorted(path for path in [*folder.glob(f"*{ending}"), *finished] if path.is_file())


def pictures(sandbox: Sandbox, row: Row) -> Path:
    """The folder of a clip's frames."""
    return (
        sandbox.folder
        / "Kinetics700_frames"
        / sandbox.path(row).relative_to(sandbox.folder / "Kinetics700").with_suffix("")
    )


# -- verify -----------------------------------------------------------------------------------------------------------


class TestVerify:
    def test_what_is_unfit_is_moved_away_told_and_fetched_again_and_the_rest_is_left_alone(
        self, sandbox: Sandbox
    ) -> None:
        emptied, text, cut, longer, mute, picture, sound, short, _ = ALL
        sandbox.path(emptied).write_bytes(b"")
        sandbox.path(text).write_text("404 not found")
        os.truncate(sandbox.path(cut), sandbox.path(cut).stat().st_size - 1)
        shutil.copy(Video(duration_s=20, moving=False).progressive.path, sandbox.path(longer))
        shutil.copy(Video(duration_s=10, moving=False, sound=False).progressive.path, sandbox.path(mute))
        scratched(sandbox.path(picture), "video", 100)
        scratched(sandbox.path(sound), "audio", 50)
        by_header, by_playing = ALL[:5], (picture, sound)
        good = state(sandbox.path(row) for row in ALL[7:])
        rows_before = len(sandbox.attempts())

        quick = sandbox.run_here("--verify", "--quick")
        assert (quick.code, quick.requests) == (1, [])
        assert "9 clips checked, 4 as they should be" in quick.out
        self.assert_rejected(sandbox, by_header)
        full = sandbox.run("--verify")
        assert (full.code, full.requests) == (1, [])
        assert "4 clips checked, 2 as they should be" in full.out
        self.assert_rejected(sandbox, (*by_header, *by_playing))
        assert state(good) == good

        words = {emptied: "empty", text: "no mp4", cut: "cut off", longer: "when it was made", mute: "lost its sound"}
        new = sandbox.attempts()[rows_before:]
        reasons = {(row["youtube_id"], row["time_start"]): row["reason"] for row in new}
        assert all(word in reasons[row.youtube_id, str(row.time_start)] for row, word in words.items())
        assert {(row["youtube_id"], row["status"], row["category"]) for row in new} == {
            (row.youtube_id, "failed", "media_error") for row in (*by_header, *by_playing)
        }
        assert all(row["reason"].startswith("found by --verify: ") for row in new)
        told = [line.split(maxsplit=1) for line in quick.out.splitlines() if "found by --verify:" in line]
        assert sum(int(count) for count, _ in told) == len(by_header)

        again = sandbox.run("-w", "4")
        asked = {request.video_id for request in again.requests if request.kind == "player"}
        assert asked == {row.youtube_id for row in (*by_header, *by_playing)}
        assert (again.code, sandbox.errors()) == (0, {})
        assert state(good) == good
        last = sandbox.run_here("--verify")
        assert (last.code, "9 clips checked, 9 as they should be" in last.out) == (0, True)
        assert state(good) == good
        assert short.youtube_id not in last.err

    def assert_rejected(self, sandbox: Sandbox, rows: Iterable[Row]) -> None:
        rejected = sandbox.folder / "Kinetics700/.partial/rejected"
        expected = {sandbox.path(row).relative_to(sandbox.folder / "Kinetics700") for row in rows}
        assert {path.relative_to(rejected) for path in rejected.rglob("*.mp4")} == expected
        assert not any(sandbox.path(row).exists() for row in rows)
        assert sandbox.errors().keys() == {row.youtube_id for row in rows}
        assert {category for category, _ in sandbox.errors().values()} == {"media_error"}

    @pytest.mark.soak
    @pytest.mark.parametrize("cut", ["keyframe", "exact"])
    def test_slow_videos_and_early_beginnings_pass_since_the_table_says_how_long_they_are(
        self, tmp_path: Path, cut: str
    ) -> None:
        """Of a slow video the frames that B-frames delay last longer than any leeway."""
        slow = Scenario(Video(duration_s=20, moving=False, fps=8), ("progressive",))
        sandbox = Sandbox(tmp_path, [Row("tai chi", "sl0w-video1", 3, 13), ROWS[7]], {"sl0w-video1": slow})
        assert sandbox.run("--cut", cut).code == 0
        run = sandbox.run("--verify")
        assert (run.code, "2 clips checked, 2 as they should be" in run.out) == (0, True), run.err

    @pytest.mark.soak
    def test_killed_it_goes_on_with_the_rest_and_once_complete_begins_anew(self, many: Sandbox) -> None:
        code, _ = stopped(many, "--verify", name="os.open", ending=".mp4", at=6)
        assert code == -signal.SIGKILL
        noted, rest = many.rows[:5], many.rows[5:]
        with open(many.partial / "validate.verify", "a") as journal:
            journal.write("123,456")  # half a line
        for row in noted[:4]:
            swap(many.path(row), b"no clip any more, but nobody looks")
        many.path(noted[4]).write_text("changed since")
        scratched(many.path(rest[0]), "video", 30)
        run = many.run("--verify")
        assert (run.code, {*many.errors()}) == (1, {noted[4].youtube_id, rest[0].youtube_id})
        assert "12 clips checked, 10 as they should be" in run.out
        run = many.run("--verify")
        assert run.code == 1
        assert many.errors().keys() == {row.youtube_id for row in (*noted, rest[0])}


def test_clips_of_videos_that_are_gone_are_named_when_they_are_moved_and_one_line_brings_them_back(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    rows = [Row("tai chi", f"clip-{number:06d}", 0, 4) for number in range(24)]
    sandbox, gone = make_sandbox(rows, version="400"), rows[1:23]
    with Ledger(Layout(sandbox.folder, "400"), "validate") as ledger:
        for row in gone:
            ledger.record(Outcome(Clip(row.youtube_id, 50, 54, "tai chi", "val"), "failed", Category.PRIVATE))
    sandbox.path(rows[0]).parent.mkdir(parents=True)
    for row in rows[:-1]:
        sandbox.path(row).write_text("404 not found")
    shutil.copy(PLAIN.progressive.path, sandbox.path(rows[-1]))
    before = state(map(sandbox.path, rows))

    run = sandbox.run("--verify", "--quick")
    assert (run.code, {*sandbox.data.glob("val/*/*.mp4")}) == (1, {sandbox.path(rows[-1])})
    assert "YouTube has called the video of 22 moved clips gone, so it may not come again:" in run.out
    named = [line for line in run.out.splitlines() if line.endswith(" 0-4 s (private)")]
    assert len(named) == len({line.split()[0] for line in named} & {row.youtube_id for row in gone}) == 20
    assert f"  and 2 more: see the reasons in {sandbox.errors_log}\n" in run.out
    in_log = [youtube_id for youtube_id, (_, reason) in sandbox.errors().items() if reason.endswith("video private")]
    assert {*in_log} == {row.youtube_id for row in gone}

    test = "test_clips_of_videos_that_are_gone_are_named_when_they_are_moved_and_one_line_brings_them_back"
    (block,) = marked_blocks(f"runs: tests/e2e/test_instead.py::{test}")
    assert block.text.strip() in run.out.replace(f"{sandbox.folder}/", "")
    sandbox.path(rows[0]).parent.mkdir(exist_ok=True)
    sandbox.path(rows[0]).write_text("fetched again")
    subprocess.run(["sh", "-e", "-c", block.text], cwd=sandbox.folder, check=True)
    after = state(map(sandbox.path, rows))
    assert sandbox.path(rows[0]).read_text() == "fetched again"
    assert {**after, sandbox.path(rows[0]): 0} == {**before, sandbox.path(rows[0]): 0}


class TestManifest:
    def test_every_column_is_right_and_the_rows_are_in_the_annotations_order(self, sandbox: Sandbox) -> None:
        run = sandbox.run("--manifest", "-w", "2")
        assert (run.code, run.requests) == (0, [])
        rows = table(sandbox.folder / "Kinetics700_validate_manifest.csv")
        assert [(row["youtube_id"], row["time_start"], row["time_end"], row["label"]) for row in rows] == [
            (row.youtube_id, str(row.time_start), str(row.time_end), row.label) for row in ALL
        ]
        attempts = {(row["youtube_id"], row["time_start"]): row for row in sandbox.attempts()}
        for row, wanted in zip(rows, ALL, strict=True):
            content = sandbox.path(wanted).read_bytes()
            assert (row["split"], row["sha256"]) == ("val", hashlib.sha256(content).hexdigest())
            assert (int(row["bytes"]), int(row["frames"])) == (len(content), len(sandbox.expected(wanted)))
            assert (row["width"], row["height"]) == ("640", "360")
            attempt = attempts[row["youtube_id"], row["time_start"]]
            assert (row["itag"], row["cut"], row["offset"]) == (attempt["itag"], "smart", attempt["offset_s"])
            assert float(row["duration"]) == pytest.approx(float(attempt["duration_s"]), abs=0.002)
        assert "not read again" not in run.out
        assert f"{len(ALL)} clips not read again" in sandbox.run_here("--manifest").out

    def test_a_file_with_types_and_a_card_that_disturbs_nobody_and_says_when_it_is_older(
        self, sandbox: Sandbox
    ) -> None:
        card, rows = sandbox.data / "README.md", [row for row in ALL if sandbox.path(row).exists()]
        run = sandbox.run_here("--manifest", str(sandbox.folder / "all.parquet"))
        assert run.code == 0, run.err
        assert f"{card}: the card of the data set\n" in run.out
        manifest, attempts = (pd.read_parquet(sandbox.folder / f"all{part}.parquet") for part in ("", "_attempts"))
        assert manifest["youtube_id"].tolist() == [row.youtube_id for row in rows]
        assert attempts["youtube_id"].tolist() == [row["youtube_id"] for row in sandbox.attempts()]
        assert not [*sandbox.folder.glob("Kinetics700_*_manifest.csv")]
        assert hashlib.sha256((sandbox.folder / "all.parquet").read_bytes()).hexdigest() in card.read_text()
        assert str(sandbox.folder) not in card.read_text()
        whole = card.read_text()
        for options in (("--dry-run",), (), ("--verify", "--quick"), ("--lists",), ("--list-classes",)):
            run = sandbox.run_here(*options)
            assert run.code == 0, run.err
            assert "other file" not in run.out
            assert card.read_text() == whole, "no clip came or went"
        sandbox.path(ALL[0]).unlink()
        assert sandbox.run().code == 0
        assert "clips of val have changed since it was written" in card.read_text()
        assert sandbox.run_here("--manifest", "--sample", "1").code == 0
        assert "Older than the data" in card.read_text(), "a part of the clips is not what it describes"
        assert sandbox.run_here("--manifest").code == 0
        assert "Older than the data" not in card.read_text()
        card.write_text("# mine\n")
        assert f"{card} was not written by this program, so it stays" in sandbox.run_here("--manifest").out
        assert card.read_text() == "# mine\n"

    @pytest.mark.soak
    def test_killed_it_goes_on_with_the_rest(self, many: Sandbox) -> None:
        code, _ = stopped(many, "--manifest", name="os.open", ending=".mp4", at=6)
        assert code == -signal.SIGKILL
        path = many.folder / "Kinetics700_validate_manifest.csv"
        assert not path.exists()
        before = hashlib.sha256(PLAIN.progressive.path.read_bytes()).hexdigest()
        for row in many.rows:
            swap(many.path(row), many.path(row).read_bytes()[:-1] + b"x")
        assert many.run("--manifest").code == 0
        sums = [row["sha256"] for row in table(path)]
        assert sums[:5] == [before] * 5
        assert before not in sums[5:]


# -- frames and sound -------------------------------------------------------------------------------------------------


class TestFrames:
    def test_each_clip_gets_a_folder_a_broken_one_is_named_and_other_terms_are_refused(self, sandbox: Sandbox) -> None:
        broken, options = ALL[3], ("--frames", "5", "--short-side", "180", "--quality", "75", "-w", "2")
        content = sandbox.path(broken).read_bytes()
        os.truncate(sandbox.path(broken), len(content) // 2)
        run = sandbox.run(*options)
        assert run.code == 1
        assert f"{broken.youtube_id} {broken.time_start}-{broken.time_end} s: " in run.err
        assert "1 unfit clip:" in run.out
        assert not pictures(sandbox, broken).exists()
        for row in {*ALL} - {broken}:
            names = sorted(pictures(sandbox, row).iterdir())
            count = len(sandbox.expected(row)) // 6
            assert [path.name for path in names] == [f"img_{number:05d}.jpg" for number in range(1, count + 1)]
            counters = [self.counter(names[place]) for place in (0, -1)]
            assert counters[1] - counters[0] == 6 * (count - 1)
            assert 0 <= counters[0] - sandbox.expected(row)[0] < 6
        before = state(made(sandbox, "frames", ".jpg"))
        refused = sandbox.run_here("--frames", "10", *options[2:])
        assert_stopped(refused, "frames 5.0, short_side 180, quality 75", "Kinetics700_frames")
        sandbox.path(broken).write_bytes(content)
        assert sandbox.run_here(*options).code == 0
        assert len(list(pictures(sandbox, broken).iterdir())) == 50
        assert state(before) == before
        swapped = ALL[0]
        shutil.copy(PLAIN.progressive.path, sandbox.path(swapped))
        sandbox.path(ALL[1]).unlink()
        again = sandbox.run_here(*options)
        assert "1 result of clips that are gone removed" in again.out
        assert "7 there, 1 to do (1 of them again: their clips have changed)" in again.out
        assert (again.code, len(list(pictures(sandbox, swapped).iterdir()))) == (0, 20)
        assert not pictures(sandbox, ALL[1]).exists()

    def counter(self, path: Path) -> int:
        with av.open(str(path)) as container:
            picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
        assert picture.shape == (180, 320, 3)
        return read_counter(picture)

    @pytest.mark.parametrize("kind", first_of([signal.SIGKILL, signal.SIGINT]))
    def test_a_stop_in_the_middle_leaves_whole_folders_and_the_next_run_makes_the_others(
        self, many: Sandbox, kind: signal.Signals
    ) -> None:
        options = ("--frames", "5", *SMALL)
        code, out = stopped(many, *options, name="pathlib.Path.write_bytes", ending=".jpg", at=70, kind=kind)
        assert code == (-signal.SIGKILL if kind is signal.SIGKILL else 130), out
        assert "Traceback" not in out
        there = list((many.folder / "Kinetics700_frames/val").glob("*/*"))
        assert 3 <= len(there) < 12
        assert {len(list(folder.iterdir())) for folder in there} == {20}
        before = state(made(many, "frames", ".jpg"))
        assert many.run_here(*options).code == 0
        assert state(before) == before
        assert {len(list(pictures(many, row).iterdir())) for row in many.rows} == {20}
        assert not list(many.folder.rglob("*.part")), "nothing half-made lies about"

    @pytest.mark.soak
    def test_a_second_one_refuses_meanwhile_and_a_download_of_the_same_subset_does_not(self, sandbox: Sandbox) -> None:
        sandbox.path(ALL[0]).unlink()
        options = ("--frames", "all", *SMALL)
        with LoopbackYouTube(sandbox.world) as youtube, sandbox.start(youtube, *options, "-w", "1") as process:
            try:
                wait_until(lambda: made(sandbox, "frames", ".jpg") or process.poll() is not None, "a first frame")
                os.killpg(process.pid, signal.SIGSTOP)
                assert process.poll() is None
                assert_stopped(sandbox.run(*options), "another run", "Kinetics700 validate")
                beside = sandbox.run()
                assert (beside.code, "1 of them new" in beside.out) == (0, True)
            finally:
                os.killpg(process.pid, signal.SIGCONT)
                out, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, out
        assert len(list((sandbox.folder / "Kinetics700_frames/val").glob("*/*"))) == len(ALL) - 1


class TestSound:
    def test_every_clip_that_has_sound_gets_a_file_and_the_others_are_listed(self, sandbox: Sandbox) -> None:
        for _ in range(2):
            run = sandbox.run_here("--sound", "wav")
            assert (run.code, run.requests) == (0, [])
            names = [path.name for path in made(sandbox, "sound", ".wav")]
            assert sorted(names) == sorted(sandbox.path(row).with_suffix(".wav").name for row in ROWS)
            silent = sandbox.folder / "Kinetics700_validate_silent.txt"
            assert silent.read_text() == "val/tai_chi/no-s0und-01_000002_000005.mp4\n"
        for row in ROWS:
            path = sandbox.folder / "Kinetics700_sound" / sandbox.path(row).relative_to(sandbox.folder / "Kinetics700")
            with av.open(str(path.with_suffix(".wav"))) as container:
                stream = container.streams.audio[0]
                assert stream.duration and stream.time_base
                assert float(stream.duration * stream.time_base) == pytest.approx(
                    len(sandbox.expected(row)) / 30, abs=0.1
                )

    @pytest.mark.parametrize("option", first_of(["--sound", "--frames"]))
    def test_a_full_disk_ends_the_run_in_one_line_and_leaves_whole_files(
        self, many: Sandbox, disk: Disk, option: str
    ) -> None:
        shutil.copytree(many.folder / "Kinetics700", disk.folder / "Kinetics700")
        sandbox = Sandbox(disk.folder, many.rows)
        options = {"--sound": ("--sound", "wav"), "--frames": ("--frames", "5", "--short-side", "300")}[option]
        disk.fill(leave=300)
        assert_stopped(sandbox.run(*options, "-w", "2"), "the disk is full", "Free some space", str(disk.folder))
        if option == "--sound":
            there = made(sandbox, "sound", ".wav")
            for path in there:
                with av.open(str(path)) as container:
                    assert sum(frame.samples for frame in container.decode(audio=0)) > 3.9 * PLAIN.sample_rate
        else:
            there = list((sandbox.folder / "Kinetics700_frames/val").glob("*/*"))
            assert all(len(list(folder.iterdir())) == 20 for folder in there)
        assert len(there) < 12
        assert not list(disk.folder.rglob("*.part"))
        disk.ballast.unlink()


# -- shards and lists -------------------------------------------------------------------------------------------------


class TestShards:
    def test_killed_it_leaves_whole_shards_and_the_next_run_writes_the_others(self, many: Sandbox) -> None:
        code, _ = stopped(many, "--shards", "3", name="os.replace", ending=".tar", at=3)
        assert code == -signal.SIGKILL
        there = state(made(many, "shards", ".tar"))
        assert [path.name for path in there] == ["val-000000.tar", "val-000001.tar"]
        run = many.run_here("--shards", "3")
        assert (run.code, "4 shards of validate, 12 clips" in run.out) == (0, True), run.err
        assert state(there) == there, "those that were there are not written again"
        index = table(many.folder / "Kinetics700_shards/val_index.csv")
        assert {row["youtube_id"] for row in index} == {row.youtube_id for row in many.rows}
        for row in index:
            with tarfile.open(many.folder / "Kinetics700_shards" / row["shard"]) as shard:
                clip = shard.extractfile(f"{row['key']}.mp4")
                assert clip
                assert clip.read() == PLAIN.progressive.path.read_bytes()
        assert not list(many.folder.rglob("*.part"))

    def test_more_than_the_disk_can_hold_is_refused_before_anything_is_written(self, many: Sandbox, disk: Disk) -> None:
        shutil.copytree(many.folder / "Kinetics700", disk.folder / "Kinetics700")
        sandbox = Sandbox(disk.folder, many.rows)
        disk.fill(leave=200)
        assert_stopped(sandbox.run_here("--shards", "5"), "The shards take", "free")
        assert made(sandbox, "shards", ".tar") == made(sandbox, "shards", ".csv") == []
        disk.ballast.unlink()


class TestLists:
    def test_files_about_a_choice_of_clips_have_a_name_of_their_own_and_a_class_keeps_its_number(
        self, sandbox: Sandbox
    ) -> None:
        assert [sandbox.run_here(*options).code for options in (("--lists",), ("--shards", "3"))] == [0, 0]
        folders = [sandbox.folder / f"Kinetics700_{kind}" for kind in ("lists", "shards")]
        of_all = state(path for folder in folders for path in folder.glob("**/*.*") if path.is_file())
        classes = class_names("700")
        assert sandbox.run("--lists", "--classes", "tai_chi").code == 0
        assert sandbox.run_here("--shards", "3", "--limit", "1").code == 0
        assert sandbox.run_here("--manifest", "--sample", "2").code == 0
        assert of_all
        assert state(of_all) == of_all
        assert not (sandbox.folder / "Kinetics700_validate_manifest.csv").exists()
        (folder,) = sandbox.folder.glob("Kinetics700_lists_classes-*")
        assert (folder / "classes.txt").read_text().splitlines() == classes
        assert json.loads((folder / "labels.json").read_text()) == {label: n for n, label in enumerate(classes)}
        lines = (folder / "slowfast/val.csv").read_text().splitlines()
        assert len(lines) == sum(row.label == "tai chi" for row in ALL)
        assert {line.rsplit(" ")[1] for line in lines} == {str(classes.index("tai chi"))}
        index = table(sandbox.folder / "Kinetics700_shards_limit-1/val_index.csv")
        assert len(index) == len({row.label for row in ALL})
        assert len(table(sandbox.folder / "Kinetics700_validate_sample-2-seed-0_manifest.csv")) == 2

    def test_unfit_clips_are_left_out_and_named_and_frames_are_listed_if_they_are_of_the_present_file(
        self, many: Sandbox
    ) -> None:
        assert many.run_here("--frames", "1", *SMALL).code == 0
        emptied, cut, changed = many.rows[:3]
        many.path(emptied).write_bytes(b"")
        os.truncate(many.path(cut), many.path(cut).stat().st_size - 1)
        shutil.copy(Video(duration_s=2, moving=False).progressive.path, many.path(changed))
        for options in (("--lists",), ("--shards", "5")):
            run = many.run_here(*options)
            assert run.code == 1
            assert all(f"{row.youtube_id} " in run.err for row in (emptied, cut)), "each is named"
            assert "2 unfit clips: --verify moves them away" in run.out
        assert "no frames of the present file of 1 clip of validate: --frames" in many.run_here("--lists").err
        lists = many.folder / "Kinetics700_lists"
        clips = [f"val/tai_chi/{many.path(row).stem}" for row in many.rows[2:]]
        number = class_names("700").index("tai chi")
        assert (lists / "slowfast/val.csv").read_text() == "".join(f"{clip}.mp4 {number}\n" for clip in clips)
        frames = (lists / "mmaction2/kinetics700_val_list_rawframes.txt").read_text()
        assert frames == "".join(f"{clip} 4 {number}\n" for clip in clips[1:])
        index = table(many.folder / "Kinetics700_shards/val_index.csv")
        assert {row["key"] for row in index} == {Path(clip).name for clip in clips}
        assert "run --frames, --shards, --lists again" in many.run_here("--verify", "--quick").out


# -- all of them ------------------------------------------------------------------------------------------------------

ALL_SUBSETS: dict[str, tuple[tuple[str, ...], Callable[[Path], bool]]] = {
    "verify": (("--verify",), lambda folder: not (folder / "Kinetics700/.partial/rejected").exists()),
    "manifest": (("--manifest",), lambda folder: len(list(folder.glob("Kinetics700_*_manifest.csv"))) == 3),
    "frames": (("--frames", "1", *SMALL), lambda folder: len(list(folder.glob("Kinetics700_frames/*/*/*"))) == 3),
    "sound": (("--sound", "mp3"), lambda folder: len(list(folder.glob("Kinetics700_sound/*/*/*.mp3"))) == 3),
    "shards": (("--shards", "9"), lambda folder: len(list(folder.glob("Kinetics700_shards/*-000000.tar"))) == 3),
    "lists": (("--lists",), lambda folder: len(list(folder.glob("Kinetics700_lists/slowfast/*.csv"))) == 3),
}


@pytest.mark.parametrize(
    ("options", "complete"),
    [
        pytest.param(*case, marks=() if name == "verify" else pytest.mark.soak, id=name)
        for name, case in ALL_SUBSETS.items()
    ],
)
def test_all_subsets_are_done_each_for_itself(
    tmp_path: Path, options: tuple[str, ...], complete: Callable[[Path], bool]
) -> None:
    sandbox = Sandbox(tmp_path)
    lists = tmp_path / "annotations"
    lists.mkdir()
    for subset, split, label in (("train", "train", "b"), ("validate", "val", "a"), ("test", "test", "")):
        row = Row(label, f"a-{split:_<9}", 0, 4)
        (lists / f"{subset}.csv").write_text(
            f"label,youtube_id,time_start,time_end,split\n{label},{row.youtube_id},0,4,{subset}\n"
        )
        path = tmp_path / "Kinetics700" / split / (label or "_unlabeled") / f"{row.youtube_id}_000000_000004.mp4"
        path.parent.mkdir(parents=True)
        shutil.copy(PLAIN.progressive.path, path)
    run = sandbox.run_here("-s", "all", "--annotations", str(lists), *options)
    assert (run.code, run.requests) == (0, []), run.err
    assert complete(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--frames 0", "above zero"),
        ("--frames often", "above zero"),
        ("--frames -5", "above zero"),
        ("--frames inf", "too large: at most"),
        ("--frames 5 --short-side 0", "above zero"),
        ("--frames 5 --quality 0", "from 1 to 100"),
        ("--frames 5 --quality 101", "from 1 to 100"),
        ("--short-side 256 --lists", "belongs to a download or to --resize"),
        ("--quality 5", "belongs to --frames"),
        ("--sound ogg", "wav"),
        ("--shards 0", "above zero"),
        ("--shards 1.5", "above zero"),
        ("--quick", "belongs to --verify"),
        ("--verify --manifest", "not allowed with"),
        ("--verify --cut none", "whole videos"),
        *(
            (f"--shard {shard}", "such as 3/16")
            for shard in ("0/16", "17/16", "3", "a/b", "3/0", "3/", "1/4/9", "1.0/4")
        ),
        ("--shard 1/2 --shards 9", "all clips"),
        ("--shard 1/2 --lists", "all clips"),
    ],
)
def test_bad_usage_is_one_clear_line_and_exit_code_2(
    arguments: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments.split())
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n")) == (2, 1)
    assert words in said


def test_work_at_which_nobody_is_asked_goes_out_as_fast_as_there_are_workers() -> None:
    throttle = Unthrottled(3)
    assert [throttle.wait(0.0, out, in_player_call=out) for out in range(5)] == [0.0, 0.0, 0.0, None, None]
    clips = [Clip(f"clip-{number:06d}", 0, 10, "tai chi", "val") for number in range(50)]
    events = run_pool(Nothing(), clips, workers=3, timeout_s=PATIENCE_S, throttle=throttle)
    outcomes = [event for event in events if isinstance(event, Outcome)]
    assert sorted(one.clip.youtube_id for one in outcomes) == [clip.youtube_id for clip in clips]
    failed = Outcome(clips[0], "failed")
    settled = throttle.settle(failed, sent=0.0, now=1.0)
    assert (settled.outcome, settled.requeue, settled.pause, settled.gave_up) == (failed, False, None, None)
