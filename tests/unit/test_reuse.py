"""What is on disk elsewhere gets its place if it is the clip, and is left alone if it is not, whatever it is."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinetics.annotations.table import Annotations
from kinetics.errors import MayWorkLater
from kinetics.planning.plan import Plan, make_plan
from kinetics.planning.reuse import found_clips, link_clip, move_clip, search, why_unnamed
from kinetics.records import Clip, ClipState, Cut, FoundClip
from kinetics.storage.atomic import remove_emptied
from kinetics.storage.layout import Layout, clip_name, label_folder
from kinetics.storage.moves import note_move
from tests.support.dataset import as_found
from tests.support.documents import marked_blocks

CLIP = Clip("-_abcDEF012", 7.0, 17.0, "playing harmonica", "train")
PICTURE, SOUND = (640, 360), (0, 0)


def box(kind: bytes, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack(">I4s", 8 + len(data), kind) + data


def header(
    duration_s: float, tracks: Sequence[tuple[int, int]] = (PICTURE, SOUND), *, long: bool = False, frames: int = 0
) -> bytes:
    ticks = round(duration_s * 1000)
    length = struct.pack(">IQ" if long else ">II", 1000, ticks)
    mvhd = box(b"mvhd", bytes([long, 0, 0, 0]) + bytes(16 if long else 8) + length + bytes(80))
    sizes = [struct.pack(">II", width << 16, height << 16) for width, height in tracks]
    tkhd = bytes(20) + struct.pack(">I", ticks) + bytes(52)
    samples = box(b"minf", box(b"stbl", box(b"stsz", struct.pack(">III", 0, 0, frames)))) if frames else b""
    return box(b"moov", mvhd, *(box(b"trak", box(b"tkhd", tkhd, size), box(b"mdia", samples)) for size in sizes))


def film(duration_s: float = 10.0, *tracks: tuple[int, int], long: bool = False) -> bytes:
    """An mp4 file with what a header says of it, and nothing to play."""
    return box(b"ftyp", b"isom") + header(duration_s, tracks or (SOUND, PICTURE), long=long) + box(b"mdat", bytes(1000))


def clip_file(duration_s: float = 10.0, picture: tuple[int, int] = PICTURE) -> bytes:
    """The same with frames, as its header says."""
    return box(b"ftyp", b"isom") + header(duration_s, [SOUND, picture], frames=250) + box(b"mdat", bytes(1000))


@pytest.fixture
def here(tmp_path: Path) -> Layout:
    return Layout(tmp_path, "700")


@pytest.fixture
def there(tmp_path: Path) -> Layout:
    return Layout(tmp_path, "600")


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def planned(layout: Layout, *clips: Clip, cut: Cut = "exact") -> Plan:
    rows = [(one.youtube_id, one.time_start, one.time_end, one.label, one.split) for one in clips]
    frame = pd.DataFrame(rows, columns=["youtube_id", "time_start", "time_end", "label", "split"])
    return make_plan(Annotations(frame, ()), layout, {}, cut, "all")


def taken(layout: Layout, clip: Clip = CLIP, cut: Cut = "exact", max_height: int = 360) -> bool:
    """Whether the clip was found and given its place."""
    plan = planned(layout, clip)
    return any(link_clip(found, layout, cut, max_height) for found in beside(plan, layout).values())


def beside(plan: Plan, layout: Layout) -> dict[int, FoundClip]:
    """The missing clips that other versions may have, by their rows."""
    return dict(found_clips(plan, search(plan, layout).beside))


def untouched(layout: Layout) -> bool:
    return not any(path.is_file() for path in layout.folder.rglob("*"))


# -- what is elsewhere in the data set's own folder -------------------------------------------------------------------

CLIPS = [replace(CLIP, youtube_id=f"-_abcDEF0{number:02}", time_start=float(number)) for number in range(3, 11)]
"""Eight clips; the last two are nowhere."""


def tool_name(clip: Clip, form: str) -> str:
    """The path below the data set's folder that a tool, or another annotation file, gives a clip."""
    padded = clip_name(*clip.key)
    unpadded = f"{clip.youtube_id}_{clip.time_start:g}_{clip.time_end:g}.mp4"
    return {
        "ActivityNet's crawler": f"train/{clip.label}/{padded}",
        "CVDF's archives": padded,
        "CVDF's archives, by split": f"train/{padded}",
        "CVDF's archives, with folders": f"k700_train/part_0/{padded}",
        "torchvision's": f"train/{clip.label.replace(' ', '_').replace('(', '')}s/{padded}",
        "no split": f"{label_folder(clip.label)}/{padded}",
        "unpadded": f"train/{label_folder(clip.label)}/{unpadded}",
        "unpadded, with a fraction": f"train/{label_folder(clip.label)}/{unpadded.replace('_17', '_17.0')}",
        "a label of an older list": f"train/playing_a_harmonica/{padded}",
        "another split": f"val/{label_folder(clip.label)}/{padded}",
        "not labelled yet": f"test/_unlabeled/{padded}",
    }[form]


def put_as(layout: Layout, clip: Clip, form: str) -> Path:
    """Put a clip where a tool has it; returns its place."""
    return put(layout.folder / tool_name(clip, form), clip_file(clip.time_end - clip.time_start))


FORMS = (
    *("ActivityNet's crawler", "CVDF's archives", "CVDF's archives, by split", "CVDF's archives, with folders"),
    *("torchvision's", "no split", "unpadded", "unpadded, with a fraction", "a label of an older list"),
    *("another split", "not labelled yet"),
)


def moved(plan: Plan, layout: Layout, recorded_s: Callable[[Clip], float | None] = lambda _: None) -> list[Path | str]:
    """Where each clip was before it was moved, or why it was not."""

    def place(clip: FoundClip) -> Path | str:
        try:
            return move_clip(clip, layout, recorded_s, partial(note_move, layout.root / "moves.csv"))[0]
        except MayWorkLater as error:
            return error.reason

    places = [place(clip) for _, clip in found_clips(plan, search(plan, layout).here)]
    remove_emptied({place.parent for place in places if isinstance(place, Path)}, layout.folder)
    return places


@pytest.mark.parametrize("form", FORMS)
def test_a_clip_elsewhere_in_the_folder_is_moved_to_its_place_and_nothing_else_stays(here: Layout, form: str) -> None:
    sources = [
        put(here.folder / tool_name(clip, form), clip_file(clip.time_end - clip.time_start)) for clip in CLIPS[:6]
    ]
    assert {*moved(planned(here, *CLIPS), here)} == {*sources}
    assert {path for path in here.folder.rglob("*") if path.is_file()} == {here.clip(clip) for clip in CLIPS[:6]}
    assert [path for path in here.folder.rglob("*") if path.is_dir() and not any(path.iterdir())] == []
    assert planned(here, *CLIPS).todo == 2


def test_the_moves_are_listed_so_that_they_can_be_undone(here: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {put_as(here, clip, form) for clip, form in zip(CLIPS, FORMS, strict=False)}
    moved(planned(here, *CLIPS), here)
    assert not any(path.exists() for path in before)
    (block,) = marked_blocks("runs: tests/unit/test_reuse.py::test_the_moves_are_listed_so_that_they_can_be_undone")
    (command,) = block.commands
    script = command.split("\n", 1)[1].rsplit("\nEND", 1)[0]
    monkeypatch.chdir(here.root)
    monkeypatch.setattr("sys.argv", ["-", "moves.csv"])
    exec(script, {})
    assert {path for path in here.folder.rglob("*") if path.is_file()} == before


def test_a_move_that_a_crash_cut_short_can_be_undone_or_made_again(here: Layout) -> None:
    """The line is written first, so there is never a move without one; half a line hides no other."""
    source = put(here.folder / tool_name(CLIPS[0], "no split"), clip_file(14.0))
    table = here.root / "moves.csv"
    note_move(table, source, here.clip(CLIPS[0]))
    table.write_text(table.read_text()[:-9])
    assert moved(planned(here, CLIPS[0]), here) == [source]
    assert (
        table.read_text().splitlines()[-1]
        == f"{source.relative_to(here.root)},{here.clip(CLIPS[0]).relative_to(here.root)}"
    )


@pytest.mark.parametrize(
    ("content", "recorded_s", "fits"),
    [
        (clip_file(10.0), None, True),
        (clip_file(14.2), None, True),
        (clip_file(6.0), None, False),
        (clip_file(6.0), 6.02, True),
        (clip_file(6.0), 9.5, False),
        (box(b"ftyp") + box(b"mdat", bytes(99)) + header(10.0, frames=9), None, True),
        (clip_file(10.0, (1280, 720)), None, True),
        (clip_file()[:-1], None, False),
        (b"", None, False),
    ],
    ids=["whole", "from a keyframe", "short", "as short as made", "shorter", "header behind", "tall", "cut", "empty"],
)
def test_only_a_whole_clip_is_moved_and_what_is_none_stays(
    here: Layout, content: bytes, recorded_s: float | None, fits: bool
) -> None:
    source = put(here.folder / clip_name(*CLIP.key), content)
    (place,) = moved(planned(here, CLIP), here, lambda _: recorded_s)
    assert (place == source, here.clip(CLIP).exists(), source.exists()) == (fits, fits, not fits)


def test_of_several_files_the_first_whole_one_is_moved_and_the_others_stay(here: Layout) -> None:
    put(here.folder / "train" / "a" / clip_name(*CLIP.key), b"")
    copies = {put(here.folder / "train" / label / clip_name(*CLIP.key), clip_file()) for label in ("b", "c")}
    (place,) = moved(planned(here, CLIP), here)
    assert place in copies
    assert here.clip(CLIP).is_file()
    assert len([*here.folder.rglob("*.mp4")]) == 3


def test_a_link_is_moved_so_that_it_leads_to_the_same_file(here: Layout, tmp_path: Path) -> None:
    file = put(tmp_path / "other disk" / "a.mp4", clip_file())
    link = here.folder / "train" / "another label" / clip_name(*CLIP.key)
    link.parent.mkdir(parents=True)
    link.symlink_to(os.path.relpath(file, link.parent))
    assert moved(planned(here, CLIP), here) == [link]
    assert here.clip(CLIP).samefile(file)
    assert not link.is_symlink()


def test_what_was_found_unfit_is_not_moved_back_nor_is_another_file_of_it(here: Layout) -> None:
    rejected = put(here.rejected(CLIP), clip_file())
    other = put(here.folder / clip_name(*CLIP.key), clip_file())
    assert moved(planned(here, CLIP), here) == ["another file of this clip was found unfit"]
    assert rejected.exists()
    assert other.exists()


def test_links_in_circles_and_folders_that_cannot_be_read_end_no_search(here: Layout) -> None:
    put(here.folder / "train" / "x" / clip_name(*CLIP.key), clip_file())
    (here.folder / "train" / "x" / "round").symlink_to(here.folder)
    (here.folder / "nowhere").symlink_to(here.folder / "nothing")
    found = search(planned(here, CLIP), here)
    assert [path.name for paths in found.here.values() for path in paths] == [clip_name(*CLIP.key)]


def test_files_that_no_annotated_clip_has_are_counted_with_the_reason_and_left(here: Layout) -> None:
    there = put(here.clip(CLIP), clip_file())
    annotated_otherwise = "the video is annotated with other times"
    expected = {
        put(there.parent / "notes.txt", b""): "not the name of a clip",
        put(here.folder / "train" / clip_name(*CLIP.key), clip_file()): "a file of a clip that has its place elsewhere",
        put(here.folder / "train" / "old" / clip_name(CLIP.youtube_id, 1, 11), clip_file()): annotated_otherwise,
        put(there.parent / clip_name("00000000000", 1, 11), clip_file()): "not annotated",
        put(there.parent / f"{CLIP.youtube_id}.mp4", clip_file()): "named by the video's id alone",
    }
    put(there.parent / ".DS_Store", b"")
    put(here.folder / "val" / "old" / clip_name("00000000001", 1, 11), clip_file())  # of a split that is not loaded
    plan = planned(here, CLIP)
    found = search(plan, here)
    assert dict(why_unnamed(found.others(), plan)) == expected
    assert not found.here


def test_a_name_without_times_is_left_and_said(here: Layout) -> None:
    files = [
        put(
            here.folder / tool_name(clip, "no split").replace(clip_name(*clip.key), f"{clip.youtube_id}.mp4"),
            clip_file(),
        )
        for clip in CLIPS[:6]
    ]
    put(here.folder / "whole" / f"{CLIP.youtube_id}.mp4", clip_file())
    put(here.folder / "other" / "00000000000.mp4", clip_file())
    found = search(planned(here, *CLIPS), here)
    assert {*found.ids_alone} == {*files}
    assert not (found.here or found.elsewhere)


def test_each_file_is_looked_at_once_and_only_for_what_is_missing(here: Layout, there: Layout, tmp_path: Path) -> None:
    put(here.clip(CLIP), clip_file())
    put(there.clip(CLIP), clip_file())
    put(tmp_path / "unpacked" / clip_name(*CLIP.key), clip_file())
    found = search(planned(here, CLIP), here, adopt=tmp_path / "unpacked")
    assert (found.here, found.beside, found.elsewhere) == ({}, {}, {})


def test_another_tools_folder_is_searched_in_all_its_forms_and_containers(here: Layout, tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    names = [tool_name(clip, form) for clip, form in zip(CLIPS, FORMS, strict=False)]
    names[0], names[1] = names[0].replace(".mp4", ".mkv"), names[1].replace(".mp4", ".webm")
    files = [put(folder / name, b"") for name in names]
    found = search(planned(here, *CLIPS), here, adopt=folder)
    assert {row: [*paths] for row, paths in found.elsewhere.items()} == {row: [file] for row, file in enumerate(files)}


# -- what is found ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["400", "600", "700-2020"])
@pytest.mark.parametrize("place", [CLIP, replace(CLIP, label="harmonica"), replace(CLIP, split="val", label="")])
def test_a_clip_is_found_in_every_other_version_under_any_label_and_split(
    here: Layout, version: str, place: Clip
) -> None:
    source = put(Layout(here.root, version).clip(place), film())
    assert beside(planned(here, CLIP), here)[0].files == (source,)


def test_other_times_or_ids_are_other_clips_and_what_is_here_is_not_looked_for(here: Layout, there: Layout) -> None:
    put(there.clip(replace(CLIP, time_end=18.0)), film())
    put(there.clip(replace(CLIP, youtube_id="-_abcDEF013")), film())
    put(there.clip(replace(CLIP, time_start=1.0)), film())
    put(here.clip(replace(CLIP, time_start=1.0)), film())
    assert not beside(planned(here, CLIP, replace(CLIP, time_start=1.0)), here)


def test_whole_videos_are_found_where_whole_videos_are_wanted(here: Layout, there: Layout) -> None:
    put(there.clip(CLIP), film())
    whole = put(there.whole(CLIP.youtube_id), film(300.0))
    plan = planned(here, CLIP, replace(CLIP, time_start=8.0), cut="none")
    found = beside(plan, here)
    assert {row: one.files for row, one in found.items()} == {0: (whole,)}
    assert link_clip(found[0], here, "none", 360)
    assert here.whole(CLIP.youtube_id).samefile(whole)


def test_a_clip_that_stands_in_two_splits_is_found_for_both(here: Layout, there: Layout) -> None:
    source = put(there.clip(CLIP), film())
    plan = planned(here, CLIP, replace(CLIP, split="test"))
    found = beside(plan, here)
    assert [*found] == [0, 1]
    assert all(link_clip(clip, here, "exact", 360) for clip in found.values())
    assert source.stat().st_nlink == 3


def test_what_several_versions_have_counts_once(here: Layout, there: Layout) -> None:
    for layout in (there, Layout(here.root, "400")):
        put(layout.clip(CLIP), film())
    put(there.clip(replace(CLIP, time_start=1.0)), film())
    found = beside(planned(here, CLIP, replace(CLIP, time_start=1.0), replace(CLIP, time_start=2.0)), here)
    assert [len(one.files) for one in found.values()] == [2, 1]


def test_the_plan_knows_what_was_linked(here: Layout, there: Layout) -> None:
    put(there.clip(CLIP), film())
    plan = planned(here, CLIP, replace(CLIP, time_start=1.0))
    linked = plan.with_state([*beside(plan, here)], ClipState.LINKED)
    assert (plan.todo, linked.todo, linked.count(ClipState.LINKED), linked.count(ClipState.ON_DISK)) == (2, 1, 1, 0)
    assert [clip.time_start for clip in linked.clips()] == [1.0]


def test_a_version_that_cannot_be_read_has_nothing(here: Layout, there: Layout) -> None:
    there.folder.parent.mkdir(exist_ok=True)
    there.folder.symlink_to(there.folder)
    (there.root / "Kinetics400").touch()
    assert not beside(planned(here, CLIP), here)


# -- what is taken ----------------------------------------------------------------------------------------------------


def test_a_file_that_is_the_same_is_linked(here: Layout, there: Layout) -> None:
    source = put(there.clip(replace(CLIP, label="harmonica")), film())
    assert taken(here)
    assert here.clip(CLIP).samefile(source)
    assert source.stat().st_nlink == 2


def test_of_several_the_first_that_will_do_is_taken(here: Layout, there: Layout) -> None:
    put(Layout(here.root, "400").clip(CLIP), film(12.5))
    source = put(there.clip(CLIP), film())
    assert taken(here)
    assert here.clip(CLIP).samefile(source)


FILES: dict[str, tuple[bytes, tuple[Cut, ...]]] = {
    "exact": (film(10.024), ("exact", "keyframe")),
    "exact, with a long header": (film(10.0, long=True), ("exact", "keyframe")),
    "exact, with a long box": (film() + struct.pack(">I4sQ", 1, b"free", 16), ("exact", "keyframe")),
    "exact, with a box to the end": (film() + struct.pack(">I4s", 0, b"free") + bytes(99), ("exact", "keyframe")),
    "begun early, at a keyframe": (film(12.9), ("keyframe",)),
    "begun a frame early": (film(10.033), ("keyframe",)),
    "cut short by the video's end, who knows how": (film(6.0), ("keyframe",)),
    "as tall as may be": (film(10.0, (360, 640)), ("exact", "keyframe")),
    "taller": (film(10.0, (854, 480)), ()),
    "taller, beside a small picture": (film(10.0, PICTURE, (854, 480)), ()),
    "without a picture": (film(10.0, SOUND), ()),
    "fragmented": (film(0.0), ()),
    "the header behind": (box(b"ftyp") + box(b"mdat", bytes(99)) + header(10.0), ("exact", "keyframe")),
    "only a header": (header(10.0), ()),
    "cut": (film()[:-1], ()),
    "longer than it says": (film() + b"\0", ()),
    "a box that reaches beyond": (film().replace(box(b"mdia"), struct.pack(">I4s", 99_999, b"mdia")), ()),
    "a box that ends before it begins": (film() + struct.pack(">I4s", 4, b"free"), ()),
    "boxes without end": (film() + box(b"free") * 1000, ()),
    "no clock": (film().replace(struct.pack(">II", 1000, 10_000), bytes(8)), ()),
    "empty": (b"", ()),
    "a page": (b"<html>Not found</html>" * 100, ()),
}
"""Each with the cuts that it will do for."""


@pytest.mark.parametrize(("content", "cuts"), FILES.values(), ids=FILES)
def test_only_a_whole_file_cut_as_it_is_wanted_is_taken(
    here: Layout, there: Layout, content: bytes, cuts: Sequence[Cut]
) -> None:
    put(there.clip(CLIP), content)
    for cut in ("exact", "keyframe"):
        assert taken(here, cut=cut) == (cut in cuts)
        assert untouched(here) == (cut not in cuts)
        here.clip(CLIP).unlink(missing_ok=True)


def nothing_there(source: Path) -> None:
    source.unlink()


def a_folder(source: Path) -> None:
    source.unlink()
    source.mkdir()


def a_pipe(source: Path) -> None:
    source.unlink()
    os.mkfifo(source)


def a_link_to_itself(source: Path) -> None:
    source.unlink()
    source.symlink_to(source)


@pytest.mark.parametrize("change", [nothing_there, a_folder, a_pipe, a_link_to_itself])
def test_what_has_become_something_else_since_it_was_found_is_left_alone(
    here: Layout, there: Layout, change: Callable[[Path], None]
) -> None:
    source = put(there.clip(CLIP), film())
    change(source)
    assert not link_clip(as_found(CLIP, source), here, "exact", 360)
    assert untouched(here)


def test_a_file_that_goes_just_before_it_is_linked_is_left_alone(
    here: Layout, there: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def late(source: Path, target: Path) -> None:
        source.unlink()
        link(source, target)

    put(there.clip(CLIP), film())
    monkeypatch.setattr(os, "link", late)
    assert not taken(here)
    assert untouched(here)


def test_a_link_is_followed_to_the_file(here: Layout, there: Layout, tmp_path: Path) -> None:
    source = put(tmp_path / "elsewhere.mp4", film())
    there.clip(CLIP).parent.mkdir(parents=True)
    there.clip(CLIP).symlink_to(source)
    assert taken(here)
    assert here.clip(CLIP).samefile(source)
    assert not here.clip(CLIP).is_symlink()


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP])
def test_where_no_link_can_be_it_is_copied_whole(
    here: Layout, there: Layout, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    source = put(there.clip(CLIP), film())
    monkeypatch.setattr(os, "link", refuse)
    assert taken(here)
    assert here.clip(CLIP).read_bytes() == film()
    assert not here.clip(CLIP).samefile(source)
    assert list(here.partial("train").iterdir()) == []


@pytest.mark.parametrize("where", ["here", "there"])
def test_a_version_on_another_disk_is_copied(here: Layout, there: Layout, where: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", "/dev/shm")
        other = Path(f"/dev/shm/reuse-{os.getpid()}-{where}")
        other.mkdir()
        try:
            if os.stat(other).st_dev == os.stat(here.root).st_dev:
                pytest.skip("there is no other disk")
            (here if where == "here" else there).folder.symlink_to(other)
            put(there.clip(CLIP), film())
            assert taken(here)
            assert here.clip(CLIP).read_bytes() == film()
        finally:
            for path in sorted(other.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            other.rmdir()


def test_a_place_that_cannot_be_written_is_an_error_not_a_reason_to_fetch(here: Layout, there: Layout) -> None:
    put(there.clip(CLIP), film())
    put(here.clip(CLIP).parent, b"in the way")
    with pytest.raises(OSError, match=r"File exists|Not a directory"):
        link_clip(as_found(CLIP, there.clip(CLIP)), here, "exact", 360)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_damage_to_a_header_raises_or_leaves_anything_but_the_very_file(
    here: Layout, there: Layout, data: st.DataObject
) -> None:
    content = bytearray(film(10.0, PICTURE, SOUND, long=data.draw(st.booleans())))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, 400))] = data.draw(st.integers(0, 255))
    source = put(there.clip(CLIP), bytes(content[: data.draw(st.integers(0, 2 * len(content)))]))
    if taken(here, cut="keyframe"):
        assert here.clip(CLIP).samefile(source)
        here.clip(CLIP).unlink()
    assert untouched(here)
