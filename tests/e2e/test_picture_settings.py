"""Clips in the size, at the rate and with the keyframes that training wants: while they are fetched, and later."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import av
import pytest

from kinetics.media.check import decode_fully, read_facts
from kinetics.media.cut import cut_exact, cut_smart
from kinetics.media.resize import resize
from kinetics.records import AS_IN_SOURCE, PictureSettings
from tests.e2e.test_instead import state, stopped, table
from tests.e2e.test_readers import with_decord, with_opencv, with_torchcodec
from tests.e2e.test_sources import short_rows
from tests.support.cutting import USUAL, VARIANTS, Disk, inputs_of, play
from tests.support.dataset import PLAIN
from tests.support.sandbox import ROWS, MirrorSandbox, Sandbox, assert_stopped
from tests.support.sweeps import first_of
from tests.youtube.mirror import Crate
from tests.youtube.videos import Video
from tests.youtube.world import Row

MakeSandbox = Callable[..., Sandbox]
SMALL, DENSE, SLOW = PictureSettings(short_side=256), PictureSettings(keyframes=16), PictureSettings(fps=12)
START_S, END_S = 3.3, 7.3


def cut(folder: Path, settings: PictureSettings, video: Video = USUAL, *, exact: bool = False) -> Path:
    out = folder / f"{settings.name or 'as-in-source'}-{exact}.mp4"
    (cut_exact if exact else cut_smart)(inputs_of(video, "dash", Disk()), START_S, END_S, out, settings)
    return out


def size(path: Path) -> tuple[int, int]:
    facts = decode_fully(path)
    return facts.width, facts.height


# -- while it is fetched ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", first_of(["usual", "29.97", "variable frame rate", "no B-frames", "silent", "vp9"]))
def test_a_smaller_clip_has_the_frames_and_the_sound_of_a_large_one(name: str, exact: bool, tmp_path: Path) -> None:
    video = VARIANTS[name]
    small, large = (cut(tmp_path, settings, video, exact=exact) for settings in (SMALL, AS_IN_SOURCE))
    assert size(small) == (454, 256)
    one, other = play(small), play(large)
    assert one.counters == other.counters == list(range(video.frame_at(START_S), video.frame_at(END_S)))
    assert one.times == pytest.approx(other.times, abs=0.001)
    if video.sound:
        assert one.sound is not None and other.sound is not None
        assert (one.sound == other.sound).all(), "it is copied"


def test_an_upright_picture_keeps_its_proportions_and_a_rotation_stays(tmp_path: Path) -> None:
    clip = tmp_path / "upright.mp4"
    with av.open(str(clip), "w") as target:
        stream = target.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 360, 640, "yuv420p"
        for _ in range(30):
            target.mux(stream.encode(av.VideoFrame(360, 640, "yuv420p")))
        target.mux(stream.encode(None))
    assert resize(clip, tmp_path / "small.mp4", SMALL)
    assert size(tmp_path / "small.mp4") == (256, 454)
    rotated = VARIANTS["rotated"]
    assert play(cut(tmp_path, SMALL, rotated)).counters == play(cut(tmp_path, AS_IN_SOURCE, rotated)).counters


@pytest.mark.parametrize("settings", [PictureSettings(short_side=360), PictureSettings(short_side=1080, fps=30)])
def test_what_needs_no_change_is_copied_by_a_smart_cut(settings: PictureSettings, tmp_path: Path) -> None:
    assert cut(tmp_path, settings).read_bytes() == cut(tmp_path, AS_IN_SOURCE).read_bytes()


@pytest.mark.parametrize("rate", [12.0, 15.0, 29.97, 60.0])
def test_at_another_rate_each_frame_is_the_nearest_one_of_the_source(rate: float, tmp_path: Path) -> None:
    played = play(cut(tmp_path, PictureSettings(fps=rate)))
    assert len(played.counters) == round((END_S - START_S) * rate)
    assert played.times == pytest.approx([number / rate for number in range(len(played.times))], abs=0.001)
    first = USUAL.frame_at(START_S)
    assert played.counters[0] == first
    for counter, at in zip(played.counters, played.times, strict=True):
        assert abs((counter - first) / 30 - at) <= 1 / 60 + 0.001


def test_keyframes_come_at_least_as_often_as_asked_for(tmp_path: Path) -> None:
    usual, dense = cut(tmp_path, AS_IN_SOURCE), cut(tmp_path, DENSE)
    for path in (usual, dense):
        places = [*play(path).keyframes, read_facts(path).frames]
        assert read_facts(path).keyframes == max(after - before for before, after in pairwise(places))
    assert read_facts(usual).keyframes > 16 >= read_facts(dense).keyframes
    assert play(dense).counters == play(usual).counters


@pytest.mark.parametrize("read", [with_opencv, with_decord, with_torchcodec])
def test_readers_see_the_frames_of_small_clips_in_their_places(
    read: Callable[[Path], list[int]], tmp_path: Path
) -> None:
    path = cut(tmp_path, PictureSettings(256, 15, 16))
    assert read(path) == play(path).counters


# -- the whole command ------------------------------------------------------------------------------------------------


def clips_of(sandbox: Sandbox, kind: str = "") -> dict[str, Path]:
    folder = sandbox.folder / f"{sandbox.name}{kind}"
    return {path.stem: path for path in (folder / "val").rglob("*.mp4")}


def test_a_run_makes_small_clips_records_it_and_does_not_mix_them_with_others(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(ROWS[:4])
    options = ("--short-side", "90", "--keyframes", "16", "--engine", "pytubefix")
    run = sandbox.run(*options, "--limit", "1")
    assert run.code == 0, run.err
    assert {size(path) for path in clips_of(sandbox).values()} == {(160, 90)}
    asked = {tuple(row[name] for name in ("short_side", "fps", "keyframes", "height")) for row in sandbox.attempts()}
    assert asked == {("90", "", "16", "90")}
    refused = sandbox.run_here("--engine", "pytubefix")
    assert_stopped(refused, "were made with --short-side 90 --keyframes 16", "--mix to have both kinds")
    assert sandbox.run(*options).code == 0
    assert len(clips_of(sandbox)) == 4
    assert sandbox.run_here("--manifest").code == 0
    manifest = table(sandbox.folder / f"{sandbox.name}_validate_manifest.csv")
    assert {(row["width"], row["height"], row["fps"]) for row in manifest} == {("160", "90", "30")}
    assert all(int(row["keyframes"]) <= 16 for row in manifest)


def test_clips_of_the_mirror_get_the_same_size(tmp_path: Path) -> None:
    rows = short_rows(3, 2)
    sandbox = MirrorSandbox(tmp_path, rows, crates=[Crate("part_0.tar.gz", rows)])
    run = sandbox.run("--source", "mirror", "--short-side", "36")
    assert run.code == 0, run.err
    assert [min(size(path)) for path in clips_of(sandbox).values()] == [36] * 3
    assert {row["short_side"] for row in sandbox.attempts()} == {"36"}


# -- later ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def many(tmp_path: Path) -> Sandbox:
    """A dozen clips that nobody downloaded, one of which is small already."""
    sandbox = Sandbox(tmp_path, [Row("tai chi", f"many-{number:06d}", number, number + 4) for number in range(12)])
    for row in sandbox.rows:
        sandbox.path(row).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PLAIN.progressive.path, sandbox.path(row))
    assert resize(PLAIN.progressive.path, tmp_path / "small.mp4", PictureSettings(short_side=36))
    shutil.copy(tmp_path / "small.mp4", sandbox.path(sandbox.rows[5]))
    return sandbox


RESIZE = ("--resize", "--short-side", "36")


def test_a_set_is_resized_into_a_folder_beside_it_and_follows_its_clips(many: Sandbox) -> None:
    run = many.run_here(*RESIZE, "-w", "2")
    assert run.code == 0, run.err
    large, small = clips_of(many), clips_of(many, "_36")
    assert [*small] == [*large]
    assert {min(size(path)) for path in small.values()} == {36}
    link = small[large_stem := many.path(many.rows[5]).stem]
    assert link.samefile(large[large_stem]), "what is like that already takes no room"
    before = state(small.values())
    again = many.run_here(*RESIZE)
    assert "12 there, 0 to do" in again.out
    assert state(clips_of(many, "_36").values()) == before
    many.path(many.rows[0]).unlink()
    os.utime(many.path(many.rows[1]), ns=(1, 1))
    third = many.run_here(*RESIZE)
    assert "1 result of clips that are gone removed" in third.out
    assert "10 there, 1 to do (1 of them again: their clips have changed)" in third.out
    other = many.run_here("--resize", "--fps", "5", "--keyframes", "8")
    assert (other.code, len(clips_of(many, "_5fps_keyframes8"))) == (0, 11), other.err


def test_a_damaged_clip_is_named_and_the_others_are_resized(many: Sandbox) -> None:
    broken = many.path(many.rows[3])
    os.truncate(broken, broken.stat().st_size // 2)
    run = many.run_here(*RESIZE)
    assert (run.code, len(clips_of(many, "_36"))) == (1, 11)
    assert "1 unfit clip:" in run.out


@pytest.mark.parametrize("seed", first_of(range(20)))
def test_killed_anywhere_each_copy_is_whole_and_the_next_run_makes_the_others(many: Sandbox, seed: int) -> None:
    at = random.Random(seed).randrange(1, 12)
    code, _ = stopped(many, *RESIZE, name="kinetics.storage.atomic.move", ending=".mp4", at=at)
    assert code == -signal.SIGKILL
    there = clips_of(many, "_36")
    assert len(there) < 12
    assert all(min(size(path)) == 36 for path in there.values())
    before = state(there.values())
    assert many.run_here(*RESIZE).code == 0
    assert len(clips_of(many, "_36")) == 12
    assert state(before) == before, "none twice"
    partial = many.folder / f"{many.name}_36" / ".partial"
    assert [path for path in partial.rglob("*") if path.suffix in (".part", ".mp4")] == []
