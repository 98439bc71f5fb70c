"""Clips are held against what they should be: what is damaged goes, what is good stays, and a stop costs little."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kinetics.cli.main import main
from kinetics.dataset.inventory import MAX_UNREAD, VIDEO_IS_GONE, measure_clips, verify_clips
from kinetics.dataset.manifest import manifest_rows, write_manifest
from kinetics.errors import Fatal, MayWorkLater
from kinetics.media import check
from kinetics.media.check import ANNOTATED_LEEWAY_S, LEEWAY_S, Expected, decode_fully, mismatch, read_facts
from kinetics.media.clip_header import read_header
from kinetics.planning.reuse import link_clip
from kinetics.records import Category, Clip, Cut, Facts, Outcome
from kinetics.run.context import Context
from kinetics.storage.atomic import atomic_write, remove_empty_folders
from kinetics.storage.journal import Journal
from kinetics.storage.layout import clip_name
from kinetics.storage.ledger import Ledger
from tests.support.dataset import (
    CLIP,
    PLAIN,
    ROTATED,
    SILENT,
    UPRIGHT,
    DatasetOnDisk,
    as_found,
    numbered,
    run_here,
    scratched,
    watched,
)
from tests.youtube.videos import Video

FACTS = Facts(1000, 1, 300, 10.0, 640, 360, sound=True)
WANTED = Clip("-_abcDEF012", 7.0, 17.0, "playing harmonica", "val")


@pytest.fixture
def dataset(tmp_path: Path) -> DatasetOnDisk:
    return DatasetOnDisk(tmp_path)


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system."""
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other disk")
    folder = Path(tempfile.mkdtemp(dir=shared))
    yield folder
    shutil.rmtree(folder)


def verify(
    dataset: DatasetOnDisk, *, quick: bool = False, cut: Cut = "smart", seen: list[Clip] | None = None
) -> list[Outcome]:
    run = run_here if seen is None else watched(seen)
    checks = verify_clips(run, dataset.layout, "validate", dataset.frame, quick=quick, cut=cut)
    return [outcome for outcome in checks if outcome]


def measure(dataset: DatasetOnDisk, seen: list[Clip] | None = None) -> dict[str, Facts]:
    outcomes = measure_clips(run_here if seen is None else watched(seen), dataset.layout, "validate", dataset.frame)
    return {one.clip.youtube_id: one.facts for one in outcomes if one and one.facts}


def keep_manifest(dataset: DatasetOnDisk) -> None:
    outcomes = measure_clips(run_here, dataset.layout, "validate", dataset.frame)
    facts = {one.clip.key: one.facts for one in outcomes if one and one.facts}
    rows = manifest_rows(dataset.layout, "validate", dataset.frame, facts)
    write_manifest(dataset.layout.table("validate", "manifest.csv"), rows)


def swapped(path: Path, content: bytes) -> None:
    """Another content of the same size, behind the back of whoever goes by size and time."""
    status = path.stat()
    assert len(content) == status.st_size
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


# -- one file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("video", [PLAIN, SILENT, UPRIGHT, ROTATED, Video(duration_s=2, moving=False, vfr=True)])
def test_a_good_clip_plays_and_its_facts_are_those_of_its_header(video: Video) -> None:
    path = video.progressive.path
    assert decode_fully(path) == read_facts(path)
    assert (decode_fully(path).frames, decode_fully(path).sound) == (len(video.frame_times), video.sound)


@pytest.mark.parametrize("kind", ["video", "audio"])
@pytest.mark.parametrize("place", [1, 20, 40, 60, 100])
def test_changed_bytes_are_found_by_playing_and_not_in_the_header(
    dataset: DatasetOnDisk, kind: str, place: int
) -> None:
    path = dataset.put(CLIP)
    before = read_facts(path)
    scratched(path, kind, place)
    assert replace(read_facts(path), mtime_ns=0) == replace(before, mtime_ns=0)
    with pytest.raises(MayWorkLater) as caught:
        decode_fully(path)
    assert caught.value.category is Category.MEDIA_ERROR


def test_a_picture_or_sound_of_zeros_does_not_play(dataset: DatasetOnDisk) -> None:
    content = bytearray(PLAIN.progressive.path.read_bytes())
    media = content.index(b"mdat") + 4
    content[media:] = bytes(len(content) - media)
    path = dataset.put(CLIP, bytes(content))
    with pytest.raises(MayWorkLater):
        decode_fully(path)


@pytest.mark.parametrize("kind", [b"mjpg", b"png ", b"cvid", b"SVQ3", b"none"])
def test_a_clip_from_elsewhere_does_not_choose_what_decodes_it(dataset: DatasetOnDisk, kind: bytes) -> None:
    path = dataset.put(CLIP, PLAIN.progressive.path.read_bytes().replace(b"avc1", kind))
    assert read_facts(path).frames == 120
    with pytest.raises(MayWorkLater, match="unknown codec"):
        decode_fully(path)


@pytest.mark.parametrize(("place", "words"), [(0, "0 of its 120 frames play"), (1, "its sound does not play")])
def test_a_track_whose_header_counts_samples_that_are_nowhere_does_not_play(
    dataset: DatasetOnDisk, place: int, words: str
) -> None:
    pieces = PLAIN.progressive.path.read_bytes().split(b"stsc")
    assert len(pieces) == 3, "one table of samples in chunks for the picture, then one for the sound"
    content = (
        b"stsc".join(pieces[:2]) + b"free" + pieces[2] if place else pieces[0] + b"free" + b"stsc".join(pieces[1:])
    )
    path = dataset.put(CLIP, content)
    assert read_facts(path).sound
    with pytest.raises(MayWorkLater, match=words):
        decode_fully(path)


# -- what it should be like -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "made", "cut", "words"),
    [
        (FACTS, Expected(), "smart", ""),
        (FACTS, Expected(10.0, True), "smart", ""),
        (replace(FACTS, duration_s=4.2), Expected(4.2, True), "smart", ""),
        (replace(FACTS, duration_s=13.1), Expected(13.1, True), "keyframe", ""),
        (replace(FACTS, duration_s=13.1), Expected(13.1, True), "smart", ""),
        (replace(FACTS, duration_s=10.0 + 0.9 * LEEWAY_S), Expected(10.0), "smart", ""),
        (
            replace(FACTS, duration_s=10.0 + 1.1 * LEEWAY_S),
            Expected(10.0),
            "smart",
            "10.1 s, and 10.0 s when it was made",
        ),
        (
            replace(FACTS, duration_s=10.0 - 1.1 * LEEWAY_S),
            Expected(10.0),
            "smart",
            "9.9 s, and 10.0 s when it was made",
        ),
        (FACTS, Expected(4.2), "smart", "10.0 s, and 4.2 s when it was made"),
        (replace(FACTS, sound=False), Expected(10.0, True), "smart", "lost its sound"),
        (replace(FACTS, sound=False), Expected(None, True), "smart", "lost its sound"),
        (replace(FACTS, sound=False), Expected(10.0, False), "smart", ""),
        (replace(FACTS, sound=False), Expected(), "smart", ""),
        (replace(FACTS, duration_s=10.0 - 0.9 * ANNOTATED_LEEWAY_S), Expected(), "smart", ""),
        (replace(FACTS, duration_s=10.0 - 1.1 * ANNOTATED_LEEWAY_S), Expected(), "smart", "9.7 of 10 s"),
        (replace(FACTS, duration_s=10.0 + 1.1 * ANNOTATED_LEEWAY_S), Expected(), "smart", "10.3 s instead of 10"),
        (replace(FACTS, duration_s=14.0), Expected(), "keyframe", ""),
        (replace(FACTS, duration_s=9.0), Expected(), "keyframe", "9.0 of 10 s"),
    ],
)
def test_a_clip_is_held_against_the_table_and_without_a_row_against_its_annotation(
    facts: Facts, made: Expected, cut: Cut, words: str
) -> None:
    said = mismatch(facts, WANTED, made, cut)
    assert words in said
    assert bool(words) == bool(said)


# -- a subset ---------------------------------------------------------------------------------------------------------


def test_good_clips_are_left_as_they_are_and_nothing_is_noted_of_them(dataset: DatasetOnDisk) -> None:
    paths = [dataset.put(clip) for clip in numbered(3)]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in paths]
    assert [one.status for one in verify(dataset)] == ["done"] * 3
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in paths] == before
    assert not dataset.layout.rejected_folder.exists()
    assert dataset.layout.stats("validate").read_text().count("\n") == 1
    assert dataset.layout.errors_log("validate").read_text() == ""


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


SPOILS: dict[str, Callable[[Path], object]] = {
    "emptied": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("404 not found"),
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "picture": lambda path: scratched(path, "video", 30),
    "sound": lambda path: scratched(path, "audio", 30),
    "silent": lambda path: path.write_bytes(SILENT.progressive.path.read_bytes()),
    "too long": lambda path: path.write_bytes(Video(duration_s=6, moving=False).progressive.path.read_bytes()),
    "a folder": a_folder,
}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
def test_what_is_unfit_is_moved_away_and_recorded_as_missing(
    dataset: DatasetOnDisk, spoil: Callable[[Path], object]
) -> None:
    good, bad = numbered(2)
    kept, path = dataset.put(good), dataset.put(bad)
    dataset.record(*(Outcome(clip, "done", duration_s=4.0, sound=True) for clip in (good, bad)))
    spoil(path)
    outcomes = {one.clip: one for one in verify(dataset)}
    assert outcomes[good].status == "done"
    assert outcomes[bad].status == "failed"
    assert outcomes[bad].category is Category.MEDIA_ERROR
    assert outcomes[bad].reason.startswith("found by --verify: ")
    assert kept.exists()
    assert not path.exists()
    assert (dataset.layout.folder / ".partial/rejected/val/tai_chi" / path.name).exists()
    assert Ledger(dataset.layout, "validate").missing == {bad.key}
    assert dataset.layout.stats("validate").read_text().count("found by --verify") == 1


def test_a_clip_that_has_just_gone_is_recorded_as_missing(dataset: DatasetOnDisk) -> None:
    dataset.put(CLIP).unlink()
    (outcome,) = verify(dataset)
    assert (outcome.status, outcome.category) == ("failed", Category.MEDIA_ERROR)
    assert Ledger(dataset.layout, "validate").missing == {CLIP.key}


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.ESTALE])
def test_what_is_unreadable_through_no_fault_of_its_own_ends_the_run_and_stays(
    dataset: DatasetOnDisk, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one wrong `chmod` would move a whole data set away."""
    path = dataset.put(CLIP)
    really_open = os.open

    def refuse(name: str, flags: int, *rest: int) -> int:
        if str(name).endswith(".mp4"):
            raise OSError(number, os.strerror(number), name)
        return really_open(name, flags, *rest)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(Fatal, match="Cannot read") as caught:
        verify(dataset)
    assert str(path) in str(caught.value)
    monkeypatch.undo()
    assert path.exists()
    assert not Ledger(dataset.layout, "validate").missing


def unreadable(number: int) -> Callable[[object], None]:
    def read(path: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    return read


@pytest.mark.parametrize("number", [errno.EIO, errno.EUCLEAN, errno.EBADMSG])
def test_a_clip_that_the_disk_cannot_read_is_named_and_stays_where_it_is(
    dataset: DatasetOnDisk, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = dataset.put(CLIP)
    monkeypatch.setattr(check, "read_header", unreadable(number))
    (outcome,) = verify(dataset)
    assert os.strerror(number) in outcome.reason
    assert (outcome.category, path.exists()) == (Category.LOST_WORKER, True)
    assert not Ledger(dataset.layout, "validate").missing


def test_a_disk_that_reads_nothing_any_more_ends_the_run(
    dataset: DatasetOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [dataset.put(clip) for clip in numbered(MAX_UNREAD + 5)]
    monkeypatch.setattr(check, "read_header", unreadable(errno.EIO))
    with pytest.raises(Fatal, match=rf"{MAX_UNREAD} clips in a row could not be read.*Input/output error"):
        verify(dataset)
    assert all(path.exists() for path in paths)


def test_a_clip_that_is_found_wrong_once_and_right_the_second_time_stays(
    dataset: DatasetOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, seen = [dataset.put(clip, PLAIN) for clip in numbered(2)], set[Path]()
    dataset.record(*(Outcome(clip, "done", duration_s=4.0, sound=True) for clip in dataset.clips))
    decode, damage = check.decode_fully, MayWorkLater(Category.MEDIA_ERROR, "its video is damaged")

    def wrong_at_first(path: Path) -> Facts:
        if path not in seen:
            seen.add(path)
            if path == paths[0]:
                raise damage
            return replace(decode(path), duration_s=1.0)
        return decode(path)

    monkeypatch.setattr(check, "decode_fully", wrong_at_first)
    assert [one.status for one in verify(dataset)] == ["done", "done"]
    assert all(path.exists() for path in paths)


@pytest.mark.parametrize("call", ["read_to_end", "require_memory"])
def test_what_looks_damaged_stays_if_it_cannot_be_read_to_its_end_or_memory_is_short(
    dataset: DatasetOnDisk, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = dataset.put(CLIP)
    scratched(path, "video", 30)

    def fail(*_: object) -> None:
        raise MemoryError if call == "require_memory" else OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(check, call, fail)
    (outcome,) = verify(dataset)
    assert outcome.category is Category.LOST_WORKER
    assert path.exists()
    monkeypatch.undo()
    (outcome,) = verify(dataset)
    assert (outcome.category, path.exists()) == (Category.MEDIA_ERROR, False)


def test_a_class_or_split_without_clips_is_removed_as_readers_refuse_it(dataset: DatasetOnDisk) -> None:
    bad, good = numbered(1, "abseiling")[0], numbered(1)[0]
    bad_path, good_path = dataset.put(bad, b""), dataset.put(good)
    verify(dataset)
    assert [path.name for path in (dataset.layout.folder / "val").iterdir()] == ["tai_chi"]
    bad_path.parent.mkdir()  # as a run leaves it that was killed in between
    good_path.write_bytes(b"")
    verify(dataset)
    assert not (dataset.layout.folder / "val").exists()


def test_a_run_that_was_interrupted_leaves_no_class_without_clips(dataset: DatasetOnDisk) -> None:
    path = dataset.put(CLIP, b"")
    dataset.put(numbered(1)[0])
    checks = verify_clips(run_here, dataset.layout, "validate", dataset.frame, quick=False, cut="smart")
    next(checks)
    checks.close()  # type: ignore[attr-defined]
    assert not path.parent.exists()


def test_a_clip_lands_in_a_class_that_the_verify_of_another_shard_removes_at_that_moment(
    dataset: DatasetOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    final, moves, really_replace = dataset.layout.clip(CLIP), list[Path](), os.replace

    def replace_later(source: Path, target: Path) -> None:
        if not moves:
            remove_empty_folders(dataset.layout.folder / "val")
        moves.append(target)
        really_replace(source, target)

    monkeypatch.setattr(os, "replace", replace_later)
    with atomic_write(final, dataset.layout.partial("val")) as temporary:
        temporary.write_text("whole")
    assert (final.read_text(), moves) == ("whole", [final, final])


@pytest.mark.parametrize("spoil", ["a file", "a folder"])
@pytest.mark.parametrize("linked", ["val", "val/tai_chi"])
def test_what_is_unfit_is_moved_away_whole_from_a_split_or_class_on_another_disk(
    dataset: DatasetOnDisk, other_disk: Path, linked: str, spoil: str
) -> None:
    (bad, good) = numbered(2)
    link = dataset.layout.folder / linked
    link.parent.mkdir(parents=True)
    link.symlink_to(other_disk)
    path, kept = dataset.put(bad, b"404 not found"), dataset.put(good)
    if spoil == "a folder":
        a_folder(path)
        (path / "within").write_bytes(b"404 not found")
    assert [one.status for one in verify(dataset)] == ["failed", "done"]
    rejected = dataset.layout.rejected(bad)
    assert (rejected / "within" if spoil == "a folder" else rejected).read_bytes() == b"404 not found"
    assert [*path.parent.iterdir()] == [kept]
    assert link.is_symlink()
    assert not [one for one in rejected.parent.iterdir() if one != rejected]


def test_a_move_to_another_disk_that_is_full_leaves_the_clip_where_it_is(
    dataset: DatasetOnDisk, other_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = dataset.layout.folder / "val"
    link.parent.mkdir(parents=True)
    link.symlink_to(other_disk)
    path = dataset.put(CLIP, b"404 not found")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(Fatal, match="the disk is full"):
        verify(dataset)
    assert path.read_bytes() == b"404 not found"
    assert not [*dataset.layout.rejected(CLIP).parent.iterdir()]


@pytest.mark.parametrize("split", ["val", "train"])
def test_what_was_found_unfit_is_not_linked_again_from_another_version(dataset: DatasetOnDisk, split: str) -> None:
    """It was a link to the very file, perhaps: the damage would come back for ever."""
    path = dataset.put(CLIP)
    other = replace(dataset.layout, version="600")
    there = other.clip(replace(CLIP, split=split))  # type: ignore[arg-type]
    there.parent.mkdir(parents=True)
    os.link(path, there)
    scratched(path, "video", 30)
    assert [one.status for one in verify(dataset)] == ["failed"]
    assert not link_clip(as_found(CLIP, there), dataset.layout, "keyframe", 360)
    assert there.exists()


def test_one_clip_that_is_annotated_under_times_with_fractions_finds_its_row(dataset: DatasetOnDisk) -> None:
    clip = Clip("-_abcDEF012", 7.001, 17.1, "tai chi", "val")
    dataset.put(clip)
    dataset.record(Outcome(clip, "done", duration_s=4.0, sound=True))
    assert [one.status for one in verify(dataset)] == ["done"]


def test_the_last_time_that_a_clip_was_made_counts(dataset: DatasetOnDisk) -> None:
    """A video that ends before the section, and is asked for once more after its clip was moved away."""
    dataset.put(CLIP, SILENT)
    late = Outcome(CLIP, "done", duration_s=2.0, sound=False)
    dataset.record(replace(late, duration_s=4.0, sound=True), late, Outcome(CLIP, "failed", Category.NETWORK))
    assert [one.status for one in verify(dataset)] == ["done"]


# -- going on ---------------------------------------------------------------------------------------------------------


def stopped(dataset: DatasetOnDisk, after: int, *, manifest: bool = False) -> None:
    """A run that ends after some clips."""
    layout, frame = dataset.layout, dataset.frame
    if manifest:
        outcomes = measure_clips(run_here, layout, "validate", frame)
    else:
        outcomes = verify_clips(run_here, layout, "validate", frame, quick=False, cut="smart")
    for _ in range(after):
        next(outcomes)
    del outcomes


def test_a_verify_that_was_stopped_looks_only_at_the_rest_and_the_next_one_at_everything(
    dataset: DatasetOnDisk,
) -> None:
    clips = numbered(6)
    for clip in clips:
        dataset.put(clip)
    stopped(dataset, after=4)
    seen = list[Clip]()
    assert len(verify(dataset, seen=seen)) == 6, "all are counted"
    assert seen == clips[4:]
    seen.clear()
    verify(dataset, seen=seen)
    assert seen == clips


def test_a_verify_of_some_clips_forgets_nothing_of_one_that_was_stopped_over_all(dataset: DatasetOnDisk) -> None:
    clips = numbered(6)
    for clip in clips:
        dataset.put(clip)
    stopped(dataset, after=5)
    some = dataset.frame.iloc[:2]
    assert len([*filter(None, verify_clips(run_here, dataset.layout, "validate", some, quick=False, cut="smart"))]) == 2
    seen = list[Clip]()
    verify(dataset, seen=seen)
    assert seen == [*clips[:2], clips[5]]


def test_quick_and_full_do_not_take_each_others_word(dataset: DatasetOnDisk) -> None:
    scratched(dataset.put(CLIP), "video", 30)
    assert [one.status for one in verify(dataset, quick=True)] == ["done"]
    next(verify_clips(run_here, dataset.layout, "validate", dataset.frame, quick=True, cut="smart"))
    assert [one.status for one in verify(dataset)] == ["failed"]


def test_a_file_that_has_changed_since_it_was_noted_is_looked_at_again(dataset: DatasetOnDisk) -> None:
    clips = numbered(4)
    paths = [dataset.put(clip) for clip in clips]
    stopped(dataset, after=4)
    scratched(paths[1], "video", 30)
    os.truncate(paths[2], 99)
    paths[3].unlink()
    outcomes = {one.clip: one.status for one in verify(dataset)}
    assert outcomes == dict(zip(clips, ["done", "failed", "failed", "failed"], strict=True))


def test_what_was_found_unfit_before_the_stop_is_not_forgotten(dataset: DatasetOnDisk) -> None:
    clips = numbered(2)
    scratched(dataset.put(clips[0]), "video", 30)
    dataset.put(clips[1])
    stopped(dataset, after=1)
    assert Ledger(dataset.layout, "validate").missing == {clips[0].key}


def test_a_journal_that_was_cut_anywhere_never_says_anything_wrong(dataset: DatasetOnDisk) -> None:
    facts = [replace(FACTS, size=number, sha256=f"{number:064x}") for number in range(10, 13)]
    clips = numbered(3)
    file = dataset.folder / "journal"
    with Journal(file) as journal:
        for clip, one in zip(clips, facts, strict=True):
            journal.add(clip, one)
    whole, right = file.read_bytes(), dict(zip((clip_name(*clip.key) for clip in clips), facts, strict=True))
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with Journal(file) as journal:
            assert all(journal.facts.get(name) in (one, None) for name, one in right.items())
            journal.add(clips[0], facts[0])
        known = Journal(file).facts
        assert known[clip_name(*clips[0].key)] == facts[0], "half a line takes no other one along"
    file.write_bytes(b"\xff\0,,,,,,,,\n" + whole)
    assert Journal(file).facts == right


def test_a_manifest_keeps_what_it_knows_and_hashes_only_what_is_new_or_changed(dataset: DatasetOnDisk) -> None:
    clips = numbered(3)
    paths = [dataset.put(clip) for clip in clips]
    first = measure(dataset)
    assert {clip: facts.sha256 for clip, facts in first.items()} == {
        clip.youtube_id: hashlib.sha256(path.read_bytes()).hexdigest() for clip, path in zip(clips, paths, strict=True)
    }
    scratched(paths[1], "video", 30)
    dataset.put(CLIP, UPRIGHT)
    seen = list[Clip]()
    second = measure(dataset, seen)
    assert seen == [clips[1], CLIP]
    assert second[clips[1].youtube_id].sha256 == hashlib.sha256(paths[1].read_bytes()).hexdigest()
    assert second[clips[0].youtube_id] == first[clips[0].youtube_id]
    assert (second[CLIP.youtube_id].width, second[CLIP.youtube_id].height) == (360, 640)


def test_a_manifest_that_was_stopped_goes_on_and_what_is_unfit_is_not_in_it(dataset: DatasetOnDisk) -> None:
    clips = numbered(4)
    paths = [dataset.put(clip) for clip in clips]
    os.truncate(paths[3], 999)
    stopped(dataset, after=2, manifest=True)
    seen = list[Clip]()
    assert measure(dataset, seen).keys() == {clip.youtube_id for clip in clips[:3]}
    assert seen == clips[2:]
    assert paths[3].exists(), "a manifest moves nothing"


@pytest.mark.parametrize("task", ["verify", "manifest"])
def test_a_journal_that_cannot_be_written_is_named(dataset: DatasetOnDisk, task: str) -> None:
    dataset.put(CLIP)
    journal = dataset.layout.state_file("validate", task)
    journal.mkdir(parents=True)
    with pytest.raises(Fatal, match="Cannot write") as caught:
        verify(dataset) if task == "verify" else measure(dataset)
    assert str(journal) in str(caught.value)


def test_rot_that_leaves_size_and_time_as_they_are_is_found_by_the_manifest_s_sums(dataset: DatasetOnDisk) -> None:
    rotten, good, newer = (dataset.put(clip) for clip in numbered(3))
    keep_manifest(dataset)
    content = rotten.read_bytes()
    place = content.index(b"isom")
    swapped(rotten, content[:place] + b"iso2" + content[place + 4 :])
    newer.write_bytes(rotten.read_bytes())
    os.utime(newer, (time.time() + 10,) * 2)
    outcomes = verify(dataset)
    assert [one.status for one in outcomes] == ["failed", "done", "done"]
    assert "not what the manifest says" in outcomes[0].reason
    assert (rotten.exists(), good.exists(), newer.exists()) == (False, True, True)


@pytest.mark.parametrize("count", [4, pytest.param(40, marks=pytest.mark.soak)])
def test_verify_with_a_manifest_finds_each_clip_of_which_one_bit_has_turned_over(
    dataset: DatasetOnDisk, count: int
) -> None:
    """Decoding alone finds 30 of 40."""
    chance, paths = random.Random(20), [dataset.put(clip) for clip in numbered(count + 1)]
    keep_manifest(dataset)
    for path in paths[1:]:
        content = bytearray(path.read_bytes())
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        swapped(path, bytes(content))
    assert [one.status for one in verify(dataset)] == ["done"] + ["failed"] * count
    assert [path.exists() for path in paths] == [True] + [False] * count
    assert Ledger(dataset.layout, "validate").missing == {clip.key for clip in dataset.clips[1:]}


# -- clips of videos that are gone ------------------------------------------------------------------------------------

LATER, ANOTHER = Clip(CLIP.youtube_id, 20.0, 24.0, CLIP.label, "val"), Outcome(numbered(1)[0], "failed", Category.LIVE)
SAID = Outcome(LATER, "failed", Category.PRIVATE, "This video is private")
SHOWN = Outcome(LATER, "done", duration_s=4.0)


@pytest.mark.parametrize(
    ("rows", "gone"),
    [
        ([SAID], Category.PRIVATE),
        ([SHOWN, SAID, replace(SAID, category=Category.TIMEOUT)], Category.PRIVATE),
        ([SAID, replace(SHOWN, source="mirror"), replace(SHOWN, source="folder")], Category.PRIVATE),
        ([SAID, replace(SAID, category=Category.REMOVED)], Category.REMOVED),
        ([], None),
        ([SAID, SHOWN], None),
        ([SAID, replace(SAID, category=Category.NOT_OFFERED)], None),
        ([replace(SAID, category=Category.PAST_END)], None),
        ([replace(SAID, category=Category.NOT_FOUND, source="mirror")], None),
    ],
)
@pytest.mark.parametrize("shard", ["", "1of2"])
def test_a_clip_that_is_moved_says_so_if_youtube_has_called_its_video_gone_last(
    dataset: DatasetOnDisk, rows: list[Outcome], gone: Category | None, shard: str
) -> None:
    dataset.record(ANOTHER, *rows)
    dataset.layout.errors_log("validate").unlink()
    dataset.layout.stats("validate").rename(replace(dataset.layout, shard=shard).stats("validate"))
    dataset.put(CLIP, b"")
    (outcome,) = verify(dataset)
    assert outcome.reason.partition(VIDEO_IS_GONE)[2] == (gone or ""), outcome.reason


@pytest.mark.parametrize("said", [SAID, replace(SAID, clip=CLIP)])
def test_an_error_log_without_its_table_tells_that_a_video_is_gone_and_goes_on_to_tell_it(
    dataset: DatasetOnDisk, said: Outcome
) -> None:
    dataset.record(ANOTHER, said)
    dataset.layout.stats("validate").unlink()
    dataset.put(CLIP, b"")
    (outcome,) = verify(dataset)
    missing = Ledger(dataset.layout, "validate").missing_clip(CLIP.key)
    assert missing
    assert (missing.category, missing.reason) == (Category.MEDIA_ERROR, outcome.reason)
    assert outcome.reason.endswith(f"{VIDEO_IS_GONE}private")


# -- what a person is told --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", [("--frames", "1"), ("--sound", "wav"), ("--lists",), ("--manifest",)], ids=" ".join)
@pytest.mark.parametrize("unread", [0, 1, 2])
def test_a_clip_that_could_not_be_read_is_not_said_to_be_moved_by_verify(
    dataset: DatasetOnDisk,
    option: tuple[str, ...],
    unread: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damaged, *others = numbered(1 + unread)
    dataset.put(damaged, b"404 not found")
    paths, read = [dataset.put(clip) for clip in others], read_header
    rows, fail = dataset.folder / "rows.csv", unreadable(errno.EIO)
    dataset.frame.to_csv(rows, index=False)
    monkeypatch.setattr(check, "read_header", lambda path: fail(path) if path in paths else read(path))
    monkeypatch.setattr(Context, "run_on_files", lambda self, job, clips: run_here(job, clips))
    subset = ("-s", "validate", "-o", str(dataset.folder), "--annotations", str(rows))
    assert main([*subset, *option]) == 1
    told = capsys.readouterr().out
    assert "1 unfit clip: --verify moves it away, so that the next run fetches it\n" in told
    kept = {0: "", 1: "1 clip could not be read to the end, and", 2: "2 clips could not be read to the end, and"}[
        unread
    ]
    assert kept in told
    assert ("left in place: fix what the lines above say" in told) == bool(unread)
