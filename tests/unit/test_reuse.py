"""What another version's folder has is taken over if it is the same, and left alone if it is not, whatever it is."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinetics.annotations.table import Annotations
from kinetics.planning.plan import Plan, make_plan
from kinetics.planning.reuse import candidates_by_clip, count_candidates, find_candidates, link_clip
from kinetics.records import Clip, ClipState, Cut
from kinetics.storage.layout import Layout

CLIP = Clip("-_abcDEF012", 7.0, 17.0, "playing harmonica", "train")
PICTURE, SOUND = (640, 360), (0, 0)


def box(kind: bytes, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack(">I4s", 8 + len(data), kind) + data


def header(duration_s: float, tracks: Sequence[tuple[int, int]] = (PICTURE, SOUND), *, long: bool = False) -> bytes:
    length = struct.pack(">IQ" if long else ">II", 1000, round(duration_s * 1000))
    mvhd = box(b"mvhd", bytes([long, 0, 0, 0]) + bytes(16 if long else 8) + length + bytes(80))
    sizes = [struct.pack(">II", width << 16, height << 16) for width, height in tracks]
    return box(b"moov", mvhd, *(box(b"trak", box(b"tkhd", bytes(76), size), box(b"mdia")) for size in sizes))


def film(duration_s: float = 10.0, *tracks: tuple[int, int], long: bool = False) -> bytes:
    """An mp4 file with what a header says of it, and nothing to play."""
    return box(b"ftyp", b"isom") + header(duration_s, tracks or (SOUND, PICTURE), long=long) + box(b"mdat", bytes(1000))


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
    return any(
        link_clip(one, folders, layout, cut, max_height)
        for _, one, folders in candidates_by_clip(plan, find_candidates(plan, layout))
    )


def untouched(layout: Layout) -> bool:
    return not any(path.is_file() for path in layout.folder.rglob("*"))


# -- what is found ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["400", "600", "700-2020"])
@pytest.mark.parametrize("place", [CLIP, replace(CLIP, label="harmonica"), replace(CLIP, split="val", label="")])
def test_a_clip_is_found_in_every_other_version_under_any_label_and_split(
    here: Layout, version: str, place: Clip
) -> None:
    source = put(Layout(here.root, version).clip(place), film())
    plan = planned(here, CLIP)
    assert list(candidates_by_clip(plan, find_candidates(plan, here))) == [(0, CLIP, [source.parent])]


def test_other_times_or_ids_are_other_clips_and_what_is_here_is_not_looked_for(here: Layout, there: Layout) -> None:
    put(there.clip(replace(CLIP, time_end=18.0)), film())
    put(there.clip(replace(CLIP, youtube_id="-_abcDEF013")), film())
    put(there.clip(replace(CLIP, time_start=1.0)), film())
    put(here.clip(replace(CLIP, time_start=1.0)), film())
    put(here.clip(replace(CLIP, label="another label of this version")), film())
    assert count_candidates(find_candidates(planned(here, CLIP, replace(CLIP, time_start=1.0)), here)) == 0


def test_whole_videos_are_found_where_whole_videos_are_wanted(here: Layout, there: Layout) -> None:
    put(there.clip(CLIP), film())
    whole = put(there.whole(CLIP.youtube_id), film(300.0))
    plan = planned(here, CLIP, replace(CLIP, time_start=8.0), cut="none")
    assert list(candidates_by_clip(plan, find_candidates(plan, here))) == [(0, CLIP, [whole.parent])]
    assert link_clip(CLIP, [whole.parent], here, "none", 360)
    assert here.whole(CLIP.youtube_id).samefile(whole)


def test_a_clip_that_stands_in_two_splits_is_found_for_both(here: Layout, there: Layout) -> None:
    source = put(there.clip(CLIP), film())
    plan = planned(here, CLIP, replace(CLIP, split="test"))
    found = list(candidates_by_clip(plan, find_candidates(plan, here)))
    assert [row for row, _, _ in found] == [0, 1]
    assert all(link_clip(clip, folders, here, "exact", 360) for _, clip, folders in found)
    assert source.stat().st_nlink == 3


def test_what_several_versions_have_counts_once(here: Layout, there: Layout) -> None:
    for layout in (there, Layout(here.root, "400")):
        put(layout.clip(CLIP), film())
    put(there.clip(replace(CLIP, time_start=1.0)), film())
    found = find_candidates(planned(here, CLIP, replace(CLIP, time_start=1.0), replace(CLIP, time_start=2.0)), here)
    assert count_candidates(found) == 2


def test_the_plan_knows_what_was_linked(here: Layout, there: Layout) -> None:
    put(there.clip(CLIP), film())
    plan = planned(here, CLIP, replace(CLIP, time_start=1.0))
    linked = plan.with_linked([row for row, _, _ in candidates_by_clip(plan, find_candidates(plan, here))])
    assert (plan.todo, linked.todo, linked.count(ClipState.LINKED), linked.count(ClipState.ON_DISK)) == (2, 1, 1, 0)
    assert [clip.time_start for clip in linked.clips()] == [1.0]


def test_a_version_that_cannot_be_read_has_nothing(here: Layout, there: Layout) -> None:
    there.folder.parent.mkdir(exist_ok=True)
    there.folder.symlink_to(there.folder)
    (there.root / "Kinetics400").touch()
    assert count_candidates(find_candidates(planned(here, CLIP), here)) == 0


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
    "the header behind": (box(b"ftyp") + box(b"mdat", bytes(99)) + header(10.0), ()),
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
    assert not link_clip(CLIP, [source.parent], here, "exact", 360)
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
        link_clip(CLIP, [there.clip(CLIP).parent], here, "exact", 360)


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
