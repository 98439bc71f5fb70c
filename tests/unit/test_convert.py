"""Clips become still pictures and sound: as many as asked for, the right ones, whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from kinetics.annotations.table import Annotations
from kinetics.dataset.clip_jobs import ExtractFrames, ExtractSound
from kinetics.dataset.results import ResultTable
from kinetics.errors import Fatal, MayWorkLater
from kinetics.media.convert import SOUND_CODECS, SoundFormat, write_frames, write_sound
from kinetics.records import Category, Clip, Outcome
from kinetics.storage.atomic import atomic_folder
from tests.support.dataset import (
    CLIP,
    PLAIN,
    ROTATED,
    SILENT,
    UPRIGHT,
    DatasetOnDisk,
    numbered,
    run_here,
    scratched,
    watched,
)
from tests.support.sound import heard, loudest_frequency
from tests.youtube.encoder import pitch_at
from tests.youtube.picture import read_counter
from tests.youtube.videos import Video

TEN = Video(duration_s=10, moving=False)
SLOW = Video(duration_s=4, moving=False, fps=Fraction(30_000, 1001), vfr=True)
WINDOW_S = 0.1


@pytest.fixture
def dataset(tmp_path: Path) -> DatasetOnDisk:
    return DatasetOnDisk(tmp_path)


def shown(folder: Path) -> list[NDArray[Any]]:
    """The pictures in a folder, in the order of their names."""
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"img_{number:05d}.jpg" for number in range(1, len(names) + 1)]
    pictures = list[NDArray[Any]]()
    for name in names:
        with av.open(str(folder / name)) as container:
            assert container.streams.video[0].codec_context.name == "mjpeg"
            pictures += [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == len(names)
    return pictures


# -- frames -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "video", [PLAIN, SLOW, UPRIGHT, ROTATED, SILENT], ids=["plain", "vfr", "tall", "turned", "mute"]
)
def test_all_frames_are_written_each_in_its_place_as_it_is_shown(video: Video, tmp_path: Path) -> None:
    assert write_frames(video.progressive.path, tmp_path, "all") == len(video.frame_times)
    pictures = shown(tmp_path)
    assert [read_counter(picture) for picture in pictures] == list(range(len(video.frame_times)))
    upright = video is UPRIGHT or video is ROTATED
    assert {picture.shape for picture in pictures} == {(640, 360, 3) if upright else (360, 640, 3)}


def test_so_many_a_second_are_evenly_spaced_and_none_is_out_of_its_turn(tmp_path: Path) -> None:
    assert write_frames(TEN.progressive.path, tmp_path, 5) == 50
    counters = [read_counter(picture) for picture in shown(tmp_path)]
    assert counters == list(range(counters[0], 300, 6))
    assert counters[0] < 6


@pytest.mark.parametrize(
    ("fps", "count"), [(1, 10), (2.5, 25), (7.5, 75), (0.5, 5), (0.1, 1), (0.05, 1), (0.01, 1), (1e-9, 1)]
)
def test_the_number_of_frames_is_what_the_length_makes_but_at_least_one(fps: float, count: int, tmp_path: Path) -> None:
    assert write_frames(TEN.progressive.path, tmp_path, fps, short_side=36) == count
    assert len(list(tmp_path.iterdir())) == count


def test_a_variable_frame_rate_is_sampled_by_time(tmp_path: Path) -> None:
    write_frames(SLOW.progressive.path, tmp_path, 5)
    for place, picture in enumerate(shown(tmp_path)):
        time = float(SLOW.frame_times[read_counter(picture)])
        assert place / 5 - 0.2 <= time <= place / 5 + 0.2


@pytest.mark.parametrize(
    ("video", "short_side", "size"),
    [(PLAIN, 256, (256, 456)), (PLAIN, 101, (101, 180)), (UPRIGHT, 256, (456, 256)), (ROTATED, 90, (160, 90))],
)
def test_the_short_side_is_as_asked_and_the_other_one_even(
    video: Video, short_side: int, size: tuple[int, int], tmp_path: Path
) -> None:
    write_frames(video.progressive.path, tmp_path, 2, short_side)
    pictures = shown(tmp_path)
    assert {picture.shape[:2] for picture in pictures} == {size}
    assert size[0] * size[1] // short_side % 2 == 0


def test_a_better_quality_takes_more_room_and_is_closer_to_the_clip(tmp_path: Path) -> None:
    sizes = []
    for quality in (100, 90, 50, 1):
        folder = tmp_path / str(quality)
        folder.mkdir()
        write_frames(PLAIN.progressive.path, folder, 1, quality=quality)
        sizes.append(sum(path.stat().st_size for path in folder.iterdir()))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[1] / 3


# -- a folder, whole or absent ----------------------------------------------------------------------------------------


def attempted(dataset: DatasetOnDisk, fps: float | Literal["all"] = 5) -> tuple[str, str, Path]:
    """What became of the frames of the one clip on the dataset."""
    target = dataset.layout.derived_layout("frames")
    outcome = ExtractFrames(dataset.layout, target, fps, None, 90).open()(CLIP, lambda: None)
    return outcome.status, outcome.reason, target.clip(CLIP, "")


def left_over(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix == ".part"]


def test_frames_lie_in_a_folder_named_as_the_clip(dataset: DatasetOnDisk) -> None:
    dataset.put(CLIP)
    status, _, folder = attempted(dataset)
    assert status == "done"
    assert folder == dataset.folder / "Kinetics700_frames/val/playing_harmonica/-_abcDEF012_000007_000011"
    assert len(shown(folder)) == 20
    assert not left_over(dataset.folder)


@pytest.mark.parametrize("damage", ["cut", "scratched", "text", "gone"])
def test_a_damaged_clip_makes_no_frames_and_no_sound(dataset: DatasetOnDisk, damage: str) -> None:
    path = dataset.put(CLIP)
    if damage == "cut":
        os.truncate(path, path.stat().st_size // 2)
    elif damage == "scratched":
        scratched(path, "video", 100)
        scratched(path, "audio", 60)
    elif damage == "text":
        path.write_text("404 not found")
    else:
        path.unlink()
    status, reason, folder = attempted(dataset)
    assert (status, bool(reason)) == ("failed", True)
    sound = ExtractSound(dataset.layout, dataset.layout.derived_layout("sound"), "wav").open()(CLIP, lambda: None)
    assert (sound.status, sound.category) == ("failed", Category.MEDIA_ERROR)
    assert not folder.exists()
    assert not [path for path in dataset.folder.rglob("*") if path.suffix in (".wav", ".jpg", ".part")]


def test_frames_that_find_no_room_end_the_run_and_leave_nothing(
    dataset: DatasetOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset.put(CLIP)
    write, written = Path.write_bytes, list[int]()

    def full(path: Path, content: bytes) -> int:
        written.append(len(content))
        if len(written) > 7:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(Fatal, match="the disk is full"):
        attempted(dataset)
    assert not [path for path in dataset.folder.rglob("*") if path.suffix in (".jpg", ".part")]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_after_an_exception_there_is_no_folder(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), atomic_folder(tmp_path / "final", tmp_path / "partial") as folder:
        (folder / "one").touch()
        raise error
    assert not (tmp_path / "final").exists()
    assert not list((tmp_path / "partial").iterdir())


def test_a_folder_appears_with_all_that_is_in_it(tmp_path: Path) -> None:
    final = tmp_path / "label" / "final"
    with atomic_folder(final, tmp_path / "partial") as folder:
        (folder / "one").touch()
        assert not final.parent.exists()
    assert [path.name for path in final.iterdir()] == ["one"]
    assert not list((tmp_path / "partial").iterdir())


def test_a_folder_on_another_disk_is_copied_there_and_then_moved(tmp_path: Path) -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other disk")
    final = shared / f"folder-{os.getpid()}" / "final"
    try:
        with atomic_folder(final, tmp_path / "partial") as folder:
            (folder / "one").write_text("1")
        assert [(path.name, path.read_text()) for path in final.iterdir()] == [("one", "1")]
        assert [path.name for path in final.parent.iterdir()] == ["final"]
        assert not list((tmp_path / "partial").iterdir())
    finally:
        shutil.rmtree(final.parent)


def test_a_folder_that_is_there_is_not_mixed_with_another(tmp_path: Path) -> None:
    (tmp_path / "final").mkdir()
    (tmp_path / "final" / "old").touch()
    with (
        pytest.raises(OSError, match="not empty"),
        atomic_folder(tmp_path / "final", tmp_path / "p") as folder,
    ):
        (folder / "new").touch()
    assert [path.name for path in (tmp_path / "final").iterdir()] == ["old"]


# -- sound ------------------------------------------------------------------------------------------------------------


def pitch(samples: NDArray[np.float32], rate: int, seconds: float) -> float:
    """The loudest frequency in a short stretch from there on; 0 where it is silent."""
    piece = samples[int(seconds * rate) : int((seconds + WINDOW_S) * rate)]
    if np.abs(piece).max() < 0.01:
        return 0.0
    return loudest_frequency(piece, rate)


def late(path: Path, by_s: Fraction) -> Path:
    """The clip with its sound so much later."""
    with av.open(str(PLAIN.progressive.path)) as given, av.open(str(path), "w", format="mp4") as out:
        copies = {stream.index: out.add_stream_from_template(stream) for stream in given.streams}
        for packet in given.demux():
            if packet.dts is None or packet.pts is None:
                continue
            if packet.stream.type == "audio":
                ticks = round(by_s / packet.time_base)
                packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
            packet.stream = copies[packet.stream.index]
            out.mux(packet)
    return path


FORMS: list[SoundFormat] = ["wav", "mp3", "flac"]


@pytest.mark.parametrize("form", FORMS)
def test_sound_is_as_long_as_the_clip_and_each_second_of_it_is_in_its_place(form: SoundFormat, tmp_path: Path) -> None:
    write_sound(PLAIN.progressive.path, tmp_path / "out", form)
    with av.open(str(tmp_path / "out")) as container:
        assert container.format.name == form
        assert container.streams.audio[0].codec_context.name in (SOUND_CODECS[form], "mp3float", "mp3")
        assert container.streams.audio[0].codec_context.layout.nb_channels == 2
    samples, rate = heard(tmp_path / "out")
    assert rate == PLAIN.sample_rate
    assert len(samples) / rate == pytest.approx(4, abs=0.1)
    for second in range(4):
        for begin in (second + 0.1, second + 0.8):
            assert pitch(samples, rate, begin) == pytest.approx(pitch_at(second), abs=5)


@pytest.mark.parametrize("form", FORMS)
def test_sound_that_begins_late_is_silent_until_then(form: SoundFormat, tmp_path: Path) -> None:
    write_sound(late(tmp_path / "late.mp4", Fraction(1, 2)), tmp_path / "out", form)
    samples, rate = heard(tmp_path / "out")
    assert pitch(samples, rate, 0.05) == pitch(samples, rate, 0.3) == 0
    for begin, second in ((0.6, 0), (1.3, 0), (1.6, 1), (2.3, 1), (2.6, 2)):
        assert pitch(samples, rate, begin) == pytest.approx(pitch_at(second), abs=5)
    assert len(samples) / rate == pytest.approx(4.5, abs=0.1)


def test_more_channels_and_a_higher_rate_than_mp3_knows_are_brought_down_to_it(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "rich.mp4"), "w", format="mp4") as rich:
        stream = rich.add_stream("aac", rate=96_000)
        stream.codec_context.layout = "5.1"
        for place in range(0, 96_000, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((6, 1024), np.float32), "fltp", "5.1")
            frame.sample_rate, frame.pts = 96_000, place
            rich.mux(stream.encode(frame))
        rich.mux(stream.encode(None))
    kinds = {}
    for form in FORMS:
        write_sound(tmp_path / "rich.mp4", tmp_path / form, form)
        with av.open(str(tmp_path / form)) as container:
            context = container.streams.audio[0].codec_context
            kinds[form] = context.layout.nb_channels, context.sample_rate
    assert kinds == {"wav": (6, 96_000), "mp3": (2, 48_000), "flac": (6, 96_000)}


def test_wav_and_flac_hold_the_very_same_samples(tmp_path: Path) -> None:
    for form in ("wav", "flac"):
        write_sound(PLAIN.progressive.path, tmp_path / form, form)
    assert np.array_equal(heard(tmp_path / "wav")[0], heard(tmp_path / "flac")[0])


@pytest.mark.parametrize("form", FORMS)
def test_sound_lies_beside_the_clips_and_one_without_any_makes_no_file(
    dataset: DatasetOnDisk, form: SoundFormat
) -> None:
    mute = replace(CLIP, time_end=9.0)
    dataset.put(CLIP)
    dataset.put(mute, SILENT)
    work = ExtractSound(dataset.layout, dataset.layout.derived_layout("sound"), form).open()
    assert [work(clip, lambda: None).sound for clip in (CLIP, mute)] == [True, False]
    files = [path for path in dataset.layout.derived_layout("sound").folder.rglob("*") if path.is_file()]
    assert files == [dataset.folder / f"Kinetics700_sound/val/playing_harmonica/-_abcDEF012_000007_000011.{form}"]


# -- results follow their clips --------------------------------------------------------------------------------------


def converted(
    dataset: DatasetOnDisk, *, kind: Literal["frames", "sound"] = "frames", noting: bool = True
) -> list[Clip]:
    """Do what --frames or --sound does; returns the clips that it worked on. Without `noting` it dies in between."""
    target, suffix = dataset.layout.derived_layout(kind), "" if kind == "frames" else ".wav"
    job = (
        ExtractFrames(dataset.layout, target, 1, 36, 50) if not suffix else ExtractSound(dataset.layout, target, "wav")
    )
    table = ResultTable(dataset.layout, target, "validate")
    table.remove_orphans()
    with table:
        on_disk = dataset.frame[[dataset.layout.clip(clip).exists() for clip in dataset.clips]]
        _, current = table.states(on_disk, suffix)
        seen = list[Clip]()
        run = watched(seen)(job, [*Annotations(on_disk[~current], ()).clips()])
        outcomes = (one for one in run if isinstance(one, Outcome))
        [*(table.noting(outcomes, suffix) if noting else outcomes)]
    return seen


def frame_count(dataset: DatasetOnDisk, clip: Clip) -> int:
    return len(list(dataset.layout.derived_layout("frames").clip(clip, "").glob("*.jpg")))


def fetched_again(path: Path, video: Video, mtime_ns: int | None = None) -> None:
    """Let another file take the place of a clip, by default one of this moment, and later than any result."""
    path.unlink(missing_ok=True)
    path.write_bytes(video.progressive.path.read_bytes())
    if mtime_ns is not None:
        os.utime(path, ns=(mtime_ns, mtime_ns))


@pytest.mark.parametrize("mtime_ns", [None, 10**18], ids=["new", "older than the result"])
def test_frames_of_a_clip_that_was_fetched_again_are_made_anew_and_the_others_stay(
    dataset: DatasetOnDisk, mtime_ns: int | None
) -> None:
    """As after a --verify that threw the clip out: 2 pictures of 4 do not pass for done."""
    clips = numbered(3)
    paths = [dataset.put(clip, video) for clip, video in zip(clips, (PLAIN, UPRIGHT, PLAIN), strict=True)]
    assert converted(dataset) == clips
    assert [frame_count(dataset, clip) for clip in clips] == [4, 2, 4]
    assert converted(dataset) == []
    fetched_again(paths[1], PLAIN, mtime_ns)
    assert converted(dataset) == clips[1:2]
    assert [frame_count(dataset, clip) for clip in clips] == [4, 4, 4]
    assert converted(dataset) == []
    assert not left_over(dataset.folder)


def test_sound_of_an_earlier_file_is_made_anew_or_goes_where_the_clip_is_silent_now(dataset: DatasetOnDisk) -> None:
    clips = numbered(2)
    paths = [dataset.put(clip) for clip in clips]
    assert converted(dataset, kind="sound") == clips
    fetched_again(paths[0], SILENT)
    fetched_again(paths[1], TEN)
    assert converted(dataset, kind="sound") == clips
    sounds = [dataset.layout.derived_layout("sound").clip(clip, ".wav") for clip in clips]
    assert not sounds[0].exists()
    samples, rate = heard(sounds[1])
    assert len(samples) / rate == pytest.approx(10, abs=0.1)


def test_a_result_whose_line_a_crash_has_cost_is_known_by_its_time_and_never_wrongly(dataset: DatasetOnDisk) -> None:
    clips = numbered(3)
    paths = [dataset.put(clip) for clip in clips]
    before_ns = time.time_ns() - 10**10
    for path in paths:
        os.utime(path, ns=(before_ns, before_ns))
    time.sleep(0.02)  # the clock of a file system ticks every few milliseconds
    converted(dataset, noting=False)
    (table,) = dataset.layout.derived_layout("frames").folder.glob("val_made.tsv")
    assert table.read_text().count("\n") == 1, "nothing was noted but the header"
    fetched_again(paths[1], UPRIGHT)
    fetched_again(paths[2], UPRIGHT, before_ns)  # put there later, though the file is old: the times cannot tell
    assert converted(dataset) == clips[1:]
    assert [frame_count(dataset, clip) for clip in clips] == [4, 2, 2]
    os.link(paths[0], dataset.folder / "another version")  # it looks as if it had just come
    assert converted(dataset) == [], "what was found once is known"


def test_a_table_that_was_cut_anywhere_never_says_anything_wrong(dataset: DatasetOnDisk) -> None:
    clips = numbered(2)
    paths = [dataset.put(clip) for clip in clips]
    converted(dataset)
    table = dataset.layout.derived_layout("frames").folder / "val_made.tsv"
    whole = table.read_bytes()
    for path in paths:
        fetched_again(path, UPRIGHT)
    for length in range(len(whole)):
        table.write_bytes(whole[:length])
        results = ResultTable(dataset.layout, dataset.layout.derived_layout("frames"), "validate")
        with results:
            there, current = results.states(dataset.frame, "")
        assert (there.tolist(), current.tolist()) == ([True, True], [False, False])
    table.write_bytes(whole[:-5])
    converted(dataset)
    lines = table.read_text().splitlines()
    assert [line.rpartition("/")[2] for line in lines[-2:]] == [path.stem for path in paths], "half a line spoils none"
    assert {line.count("\t") for line in lines} == {4}


def test_a_clock_that_is_ahead_does_not_let_results_of_an_earlier_file_pass(dataset: DatasetOnDisk) -> None:
    path = dataset.put(CLIP)
    converted(dataset)
    frames = dataset.layout.derived_layout("frames")
    made_ns, ahead_ns = frames.clip(CLIP, "").stat().st_mtime_ns, time.time_ns() + 10**13
    os.utime(frames.clip(CLIP, ""), ns=(ahead_ns, ahead_ns))
    table = frames.folder / "val_made.tsv"
    table.write_text(table.read_text().replace(str(made_ns), str(ahead_ns)))
    assert converted(dataset) == []
    fetched_again(path, UPRIGHT)
    assert converted(dataset) == [CLIP]


def test_results_of_clips_that_are_gone_are_removed_and_nothing_else_is(dataset: DatasetOnDisk) -> None:
    clips = [*numbered(3), *numbered(1, "abseiling")]
    paths = [dataset.put(clip) for clip in clips]
    converted(dataset)
    frames = dataset.layout.derived_layout("frames")
    changed, mine = frames.clip(clips[1], ""), frames.folder / "val/abseiling/of mine"
    (changed / "notes.txt").touch()
    mine.mkdir()
    for path in (paths[1], paths[3]):
        path.unlink()
    assert ResultTable(dataset.layout, frames, "validate").remove_orphans() == (1, True)
    assert not frames.clip(clips[3], "").exists()
    assert (changed / "notes.txt").exists(), "another has put something into it"
    assert mine.exists()
    mine.rmdir()
    paths[2].unlink()
    assert ResultTable(dataset.layout, frames, "validate").remove_orphans() == (1, True)
    assert not mine.parent.exists(), "a class without clips"
    assert not left_over(dataset.folder)


def test_where_most_clips_are_gone_their_results_are_left(dataset: DatasetOnDisk) -> None:
    """The clips may be on a disk that is not mounted."""
    clips = numbered(3)
    paths = [dataset.put(clip) for clip in clips]
    converted(dataset)
    frames = dataset.layout.derived_layout("frames")
    shutil.rmtree(paths[0].parent.parent)
    assert ResultTable(dataset.layout, frames, "validate").remove_orphans() == (3, False)
    assert [frame_count(dataset, clip) for clip in clips] == [4, 4, 4]


@pytest.mark.parametrize("path", ["val/../precious", "val/..", "../val/precious/x", "/val/precious/x", "train/a/b"])
def test_a_table_that_somebody_has_changed_removes_nothing_elsewhere(dataset: DatasetOnDisk, path: str) -> None:
    clips = numbered(1)
    dataset.put(clips[0])
    converted(dataset)
    frames = dataset.layout.derived_layout("frames")
    target = Path(os.path.normpath(frames.folder / path))
    target.mkdir(parents=True, exist_ok=True)
    with open(frames.folder / "val_made.tsv", "a") as table:
        table.write(f"made\t1\t1\t{target.stat().st_mtime_ns}\t{path}\n")
    ResultTable(dataset.layout, frames, "validate").remove_orphans()
    assert target.exists()


def test_a_shards_results_are_known_to_a_run_on_all_clips(dataset: DatasetOnDisk) -> None:
    clips = numbered(2)
    paths = [dataset.put(clip) for clip in clips]
    frames = dataset.layout.derived_layout("frames")
    shard = ResultTable(dataset.layout, replace(frames, shard="1of2"), "validate")
    with shard:
        job = ExtractFrames(dataset.layout, frames, 1, 36, 50)
        [*shard.noting((one for one in run_here(job, clips) if isinstance(one, Outcome)), "")]
    os.link(paths[0], dataset.folder / "another version")  # so the times tell nothing
    assert converted(dataset) == []
    fetched_again(paths[0], UPRIGHT, 10**18)
    assert converted(dataset) == clips[:1]
    paths[1].unlink()
    other, whole = replace(frames, shard="2of2"), frames
    assert ResultTable(dataset.layout, other, "validate").remove_orphans() == (0, True), "another shard is not its own"
    assert ResultTable(dataset.layout, whole, "validate").remove_orphans() == (1, True)


def test_a_folder_with_files_of_somebody_else_is_not_replaced(dataset: DatasetOnDisk) -> None:
    path = dataset.put(CLIP)
    converted(dataset)
    notes = dataset.layout.derived_layout("frames").clip(CLIP, "") / "notes.txt"
    notes.touch()
    fetched_again(path, UPRIGHT)
    with pytest.raises(Fatal, match=r"notes\.txt in it is none of them"):
        converted(dataset)
    assert notes.exists()


# -- the disk ---------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["/dev/full"])
def full(request: pytest.FixtureRequest) -> Iterator[Path]:
    if not Path(request.param).exists():
        pytest.skip("this system has no disk that is always full")
    yield Path(request.param)


@pytest.mark.parametrize("form", FORMS)
def test_a_full_disk_is_the_disks_fault_not_the_clips(full: Path, form: SoundFormat) -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        write_sound(PLAIN.progressive.path, full, form)
    assert not isinstance(caught.value, MayWorkLater)
