"""An archive of the mirror gives its clips as they are, whatever becomes of the connection, and nothing else."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import urllib3

from kinetics.errors import ClipError, MayWorkLater, StopEveryone
from kinetics.mirror import tar_stream as archives
from kinetics.mirror.tar_stream import MIRROR, Archive, Damaged, clip_key
from kinetics.net import http as net_http
from kinetics.net import responses, stream
from kinetics.net.http import HttpSession
from kinetics.net.responses import BROKEN_TRIES, TRIES, Changed, MediaRefused
from kinetics.records import Category, ClipKey
from kinetics.storage.layout import clip_name
from tests.support.network import go_through
from tests.youtube.mirror import BASE, Crate, MirrorFile, Shape, clip_of, stock, tarball
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import MediaFault, Row

ROWS = [Row("massaging person's head", f"-clip_{number:05}", number, number + 10) for number in range(4)]
PATH = "/kinetics/600/train/washing feet.tar.gz"
URL = f"{BASE}{PATH}"
CLIPS = {
    ("-small_clip", float(number), number + 10.0): random.Random(number).randbytes(200_000 + number)
    for number in range(8)
}
NAMED = [(f"./{clip_name(*key)}", content) for key, content in CLIPS.items()]


@pytest.fixture
def youtube(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackYouTube]:
    monkeypatch.setattr(responses, "BACK_OFF_S", 0.01)
    monkeypatch.setattr(stream, "RESUME_PATIENCE_S", 0.0)
    monkeypatch.setattr(net_http, "READ_TIMEOUT_S", 0.5)
    with LoopbackYouTube() as running:
        go_through(running, monkeypatch)
        yield running


def put(youtube: LoopbackYouTube, content: bytes, *faults: MediaFault, then: MirrorFile | None = None) -> int:
    youtube.world.mirror[PATH] = MirrorFile(content, faults=faults, then=then)
    return len(content)


def taken(archive: Archive, folder: Path) -> dict[ClipKey, bytes]:
    """All clips, each written to a file of its own; one that cannot be is left for the next time that it comes."""
    found = {}
    for member in archive.members():
        path = folder / clip_name(*member.key)
        try:
            member.copy_to(path)
        except ClipError:
            continue
        assert path.stat().st_size == member.size
        found[member.key] = path.read_bytes()
    return found


def sent(youtube: LoopbackYouTube) -> int:
    return sum(request.bytes_sent for request in youtube.requests)


# -- what is in it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("shape", ["flat", "class", "home"])
def test_the_clips_come_from_an_archive_of_any_shape(
    youtube: LoopbackYouTube, tmp_path: Path, shape: Shape, packed: bool
) -> None:
    (url,) = stock(youtube.world, "600", "train", [Crate("massaging person's head.tar.gz", ROWS, shape, packed)])
    with Archive(HttpSession(hosts=MIRROR), url) as archive:
        found = taken(archive, tmp_path)
    assert found == {(row.youtube_id, float(row.time_start), float(row.time_end)): clip_of(10) for row in ROWS}
    assert {path.name for path in tmp_path.rglob("*")} == {clip_name(*key) for key in found}
    assert archive.fully_read


def test_a_member_is_a_clip_by_its_name_alone() -> None:
    for name in (
        "a1b2c3d4e5f_000010_000020.mp4",
        "./x/--________0_000010_000020.mp4",
        "/a b/\n/-_c4d5e6f7g_000010_000020.mp4",
    ):
        found = clip_key(name)
        assert found
        assert found[1:] == (10.0, 20.0)
    for name in (
        *("._a1b2c3d4e5f_000010_000020.mp4", "x/._a1b2c3d4e5f_000010_000020.mp4", "a1b2c3d4e5f_10_20.mp4"),
        *("a1b2c3d4e5f_000020_000010.mp4", "a1b2c3d4e5f_000010_000010.mp4", "xa1b2c3d4e5f_000010_000020.mp4"),
        *("a1b2c3d4e5f_000010_000020.mp4.part", "a1b2c3d4e5f_000010_000020.mp4/", "a1b2c3d4e5f_000010_000020.MP4"),
        *(
            "a1b2c3d4e5\u0661_000010_000020.mp4",
            "a1b2c3d4e5f_00001\u0661_000020.mp4",
            "a1b2c3d4e5f_000010_000020.mp4\n",
        ),
    ):
        assert clip_key(name) is None, name


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_a_long_way_to_a_clip_is_read_in_each_form_of_tar(youtube: LoopbackYouTube, tmp_path: Path, form: Any) -> None:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=form) as tar:
        for number, (name, content) in enumerate(NAMED):
            member = tarfile.TarInfo(f"home/{'directory/' * (8 + number)}{name[2:]}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    put(youtube, whole.getvalue())
    with Archive(HttpSession(hosts=MIRROR), URL) as archive:
        assert taken(archive, tmp_path) == CLIPS


def test_an_archive_that_is_said_to_be_coded_is_read_as_it_is(youtube: LoopbackYouTube, tmp_path: Path) -> None:
    packed = MirrorFile(tarball(NAMED, packed=True), coding="gzip", faults=(MediaFault("cut", at=700_001, times=1),))
    youtube.world.mirror[PATH] = packed
    with Archive(HttpSession(hosts=MIRROR), URL) as archive:
        assert taken(archive, tmp_path) == CLIPS


def test_a_clip_that_is_there_twice_comes_twice(youtube: LoopbackYouTube) -> None:
    put(youtube, tarball([*NAMED, NAMED[0]]))
    with Archive(HttpSession(hosts=MIRROR), URL) as archive:
        assert [member.key for member in archive.members()] == [*CLIPS, next(iter(CLIPS))]


def test_what_is_not_wanted_is_skipped(youtube: LoopbackYouTube, tmp_path: Path) -> None:
    put(youtube, tarball(NAMED, packed=True))
    wanted = [*CLIPS][2::3]
    with Archive(HttpSession(hosts=MIRROR), URL) as archive:
        for member in archive.members():
            if member.key in wanted:
                member.copy_to(tmp_path / clip_name(*member.key))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        clip_name(*key): CLIPS[key] for key in wanted
    }


def test_bytes_that_have_passed_are_never_taken_for_another_clips(youtube: LoopbackYouTube, tmp_path: Path) -> None:
    put(youtube, tarball(NAMED))
    with Archive(HttpSession(hosts=MIRROR), URL) as archive:
        members = archive.members()
        first, second = next(members), next(members)
        second.copy_to(tmp_path / "clip")
        for passed in (first, second):
            with pytest.raises(ValueError, match="read or skipped before"):
                passed.copy_to(tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["clip"]


def test_what_is_too_large_for_a_clip_is_none(youtube: LoopbackYouTube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_CLIP_BYTES", 200_003)
    put(youtube, tarball(NAMED))
    with Archive(HttpSession(hosts=MIRROR), URL) as archive:
        assert [member.key for member in archive.members()] == [*CLIPS][:4] == archive.clips_read


# -- the connection ----------------------------------------------------------------------------------------------------


def test_an_archive_takes_one_request_and_its_own_bytes(youtube: LoopbackYouTube, tmp_path: Path) -> None:
    size, session = put(youtube, tarball(NAMED)), HttpSession(hosts=MIRROR)
    with Archive(session, URL) as archive:
        assert archive.position == 0
        taken(archive, tmp_path)
        assert (archive.size, archive.etag) == (size, youtube.world.mirror[PATH].etag)
        assert 0.95 * size <= archive.position <= size
    assert (session.requests, session.bytes_received) == (1, archive.position)


@pytest.mark.parametrize("kind", ["cut", "reset", "stall"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_cut_connection_is_resumed_where_it_was_cut(
    youtube: LoopbackYouTube, tmp_path: Path, kind: Any, packed: bool
) -> None:
    size = put(youtube, tarball(NAMED, packed=packed), MediaFault(kind, at=700_001, times=1))
    with Archive(HttpSession(hosts=MIRROR), URL) as archive:
        assert taken(archive, tmp_path) == CLIPS
    first, again = [request.range for request in youtube.requests]
    assert first == (0, None)
    if kind != "reset":  # which takes along what was on its way
        assert again == (700_001, None)
        assert sent(youtube) <= size


def test_a_connection_that_is_cut_again_and_again_costs_no_byte_twice(youtube: LoopbackYouTube, tmp_path: Path) -> None:
    size = put(youtube, tarball(NAMED, packed=True), MediaFault("cut", after=50_000))
    with Archive(HttpSession(hosts=MIRROR), URL) as archive:
        assert taken(archive, tmp_path) == CLIPS
    assert len(youtube.requests) >= size // 50_000
    assert sent(youtube) <= 1.05 * size


@pytest.mark.parametrize("packed", [True, False])
def test_bytes_that_come_one_by_one_are_read_all_the_same(
    youtube: LoopbackYouTube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    monkeypatch.setattr(net_http, "CHUNK", 1)
    small = {key: content[:100] for key, content in CLIPS.items()}
    put(youtube, tarball(((clip_name(*key), content) for key, content in small.items()), packed=packed))
    with Archive(HttpSession(hosts=MIRROR), URL) as archive:
        assert taken(archive, tmp_path) == small


def test_a_connection_that_brings_nothing_more_is_given_up(youtube: LoopbackYouTube) -> None:
    put(youtube, tarball(NAMED), MediaFault("cut", at=700_001))
    with Archive(HttpSession(hosts=MIRROR), URL) as archive, pytest.raises(MayWorkLater, match="broke at byte 700001"):
        list(archive.members())
    assert not archive.fully_read, "another time it may be read on"
    assert len(youtube.requests) == TRIES


def test_a_line_that_is_down_for_a_while_costs_none_of_what_has_come(
    youtube: LoopbackYouTube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "RESUME_PATIENCE_S", 600.0)
    size = put(youtube, tarball(NAMED), MediaFault("cut", at=700_001, times=2 * TRIES))
    with Archive(HttpSession(hosts=MIRROR), URL) as archive:
        assert taken(archive, tmp_path) == CLIPS
    assert sent(youtube) <= 1.05 * size


def test_a_line_that_stays_down_is_waited_for_by_everybody(youtube: LoopbackYouTube) -> None:
    put(youtube, tarball(NAMED), MediaFault("cut", at=700_001))
    session = HttpSession(hosts=MIRROR)

    def heard() -> None:
        youtube.world.line_down = archive.position > 600_000

    with Archive(session, URL, heard) as archive, pytest.raises(StopEveryone):
        list(archive.members())
    assert session.requests == BROKEN_TRIES


def test_a_server_that_is_at_fault_for_a_moment_is_asked_again(youtube: LoopbackYouTube, tmp_path: Path) -> None:
    put(youtube, tarball(NAMED), MediaFault("status", status=503, times=2))
    with Archive(HttpSession(hosts=MIRROR), URL) as archive:
        assert taken(archive, tmp_path) == CLIPS


@pytest.mark.parametrize("packed", [True, False])
def test_an_archive_from_a_server_without_ranges_is_read_too(
    youtube: LoopbackYouTube, tmp_path: Path, packed: bool
) -> None:
    size = put(youtube, tarball(NAMED, packed=packed), MediaFault("whole_file"))
    with Archive(HttpSession(hosts=MIRROR), URL) as archive:
        assert taken(archive, tmp_path) == CLIPS
        assert (archive.size, archive.etag) == (size, youtube.world.mirror[PATH].etag)
    assert sent(youtube) <= size


@pytest.mark.parametrize("packed", [True, False])
def test_where_it_cannot_be_gone_on_with_it_is_begun_anew(
    youtube: LoopbackYouTube, tmp_path: Path, packed: bool
) -> None:
    size = put(youtube, tarball(NAMED, packed=packed), MediaFault("cut", at=700_001, times=1), MediaFault("whole_file"))
    with Archive(HttpSession(hosts=MIRROR), URL) as archive:
        assert taken(archive, tmp_path) == CLIPS
        assert archive.clips_read == [*CLIPS]
        assert archive.position <= size
    assert [request.range for request in youtube.requests] == [(0, None), (700_001, None), (0, None)]


def test_a_whole_file_of_no_known_length_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    reply = urllib3.HTTPResponse(io.BytesIO(tarball(NAMED)), {}, 200, preload_content=False)
    session = HttpSession(hosts=MIRROR)
    monkeypatch.setattr(session, "get", lambda *_: reply)
    with Archive(session, URL) as archive, pytest.raises(MayWorkLater, match="whole document"):
        list(archive.members())
    assert not archive.fully_read


def test_where_it_breaks_each_time_and_cannot_be_gone_on_with_it_is_given_up(youtube: LoopbackYouTube) -> None:
    faults = [MediaFault("cut", at=700_001, times=1), MediaFault("whole_file", times=1)] * (archives.MAX_RESTARTS + 1)
    put(youtube, tarball(NAMED), *faults)
    with Archive(HttpSession(hosts=MIRROR), URL) as archive, pytest.raises(Changed, match="from its beginning"):
        list(archive.members())
    assert not archive.fully_read
    assert len(youtube.requests) == 2 * (archives.MAX_RESTARTS + 1)


def test_whoever_stops_early_pays_for_no_more(youtube: LoopbackYouTube, tmp_path: Path) -> None:
    size = put(youtube, tarball([*NAMED, ("filler", bytes(60_000_000))]))
    with Archive(HttpSession(hosts=MIRROR), URL) as archive:
        members = archive.members()
        next(members).copy_to(tmp_path / "clip")
    with pytest.raises(ValueError, match="closed"):
        list(members)
    assert not archive.fully_read
    assert sent(youtube) < size / 2


def test_after_an_early_stop_the_next_archive_is_read_from_its_beginning(
    youtube: LoopbackYouTube, tmp_path: Path
) -> None:
    put(youtube, tarball([("filler", bytes(2_000_000)), *NAMED]))
    session, other = HttpSession(hosts=MIRROR), PATH.replace("feet", "hands")
    youtube.world.mirror[other] = MirrorFile(tarball(NAMED, packed=True))
    for _ in range(3):
        with Archive(session, URL) as archive:
            next(archive.members())
        with Archive(session, f"{BASE}{other}") as archive:
            assert taken(archive, tmp_path) == CLIPS


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (MediaFault("status", status=404), MediaRefused),
        (MediaFault("status", status=403), MediaRefused),
        (MediaFault("status", status=429), StopEveryone),
        (MediaFault("html"), MayWorkLater),
        (MediaFault("empty"), MayWorkLater),
        (MediaFault("wrong_range"), MayWorkLater),
    ],
)
def test_an_answer_that_brings_no_archive_says_why(
    youtube: LoopbackYouTube, fault: MediaFault, error: type[ClipError]
) -> None:
    put(youtube, tarball(NAMED), fault)
    with Archive(HttpSession(hosts=MIRROR), URL) as archive, pytest.raises(error):
        list(archive.members())
    assert not archive.fully_read


def test_a_mirror_that_cannot_be_reached_is_named(youtube: LoopbackYouTube) -> None:
    youtube.world.line_down = True
    with (
        Archive(HttpSession(hosts=MIRROR), URL) as archive,
        pytest.raises(StopEveryone, match="the mirror's") as caught,
    ):
        list(archive.members())
    assert caught.value.category is Category.NETWORK


def test_no_other_host_is_asked(youtube: LoopbackYouTube) -> None:
    session = HttpSession(hosts=MIRROR)
    for url in ("https://r1.googlevideo.com/x", "https://s3.amazonaws.com.example.org/x", "http://s3.amazonaws.com/x"):
        with Archive(session, url) as archive, pytest.raises(MayWorkLater, match="outside the mirror"):
            list(archive.members())
    assert session.requests == 0


# -- whoever waits for it ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [True, False])
def test_it_is_heard_of_whenever_bytes_come_wanted_or_not(youtube: LoopbackYouTube, packed: bool) -> None:
    filler = random.Random(7).randbytes(6_000_000)
    size, heard = put(youtube, tarball([("unwanted", filler), *NAMED], packed=packed)), list[int]()
    with Archive(HttpSession(hosts=MIRROR), URL, lambda: heard.append(archive.position)) as archive:
        list(archive.members())
        assert archive.size == size
    steps = [after - before for before, after in pairwise([0, *heard])]
    assert min(steps) > 0
    assert max(steps) <= 1 << 20, "also where one large file is skipped"
    assert heard[-1] == archive.position


@pytest.mark.parametrize("packed", [True, False])
def test_whoever_hears_of_it_can_stop_it(youtube: LoopbackYouTube, tmp_path: Path, packed: bool) -> None:
    class Stop(Exception):
        pass

    def stop() -> None:
        if archive.position > 700_000:
            raise Stop

    put(youtube, tarball(NAMED, packed=packed))
    with Archive(HttpSession(hosts=MIRROR), URL, stop) as archive, pytest.raises(Stop):
        for member in archive.members():
            member.copy_to(tmp_path / "clip")
    assert not archive.fully_read
    assert archive.clips_read == [*CLIPS][: len(archive.clips_read)] != [*CLIPS]


# -- another archive in its place --------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [True, False])
def test_an_archive_that_is_replaced_meanwhile_is_begun_anew(
    youtube: LoopbackYouTube, tmp_path: Path, packed: bool
) -> None:
    other = MirrorFile(tarball(reversed(NAMED), packed=packed))
    put(youtube, tarball(NAMED, packed=packed), MediaFault("cut", at=700_001), then=other)
    with Archive(HttpSession(hosts=MIRROR), URL) as archive:
        assert taken(archive, tmp_path) == CLIPS
        assert (archive.etag, archive.fully_read) == (other.etag, True)
        assert archive.clips_read == [*reversed(CLIPS)]


def test_without_a_tag_another_archive_is_told_by_its_size(youtube: LoopbackYouTube, tmp_path: Path) -> None:
    other = MirrorFile(tarball([*reversed(NAMED), ("more", bytes(20_000))]), tagged=False)
    fault = MediaFault("cut", at=700_001)
    youtube.world.mirror[PATH] = MirrorFile(tarball(NAMED), faults=(fault,), then=other, tagged=False)
    with Archive(HttpSession(hosts=MIRROR), URL) as archive:
        assert taken(archive, tmp_path) == CLIPS
        assert archive.clips_read == [*reversed(CLIPS)]


def test_an_archive_that_never_stays_the_same_is_given_up(youtube: LoopbackYouTube) -> None:
    last = MirrorFile(tarball(NAMED))
    for number in range(archives.MAX_RESTARTS + 2):
        last = MirrorFile(tarball([*NAMED, (f"{number}", b"")]), faults=(MediaFault("cut", at=700_001),), then=last)
    youtube.world.mirror[PATH] = last
    seen = set()
    with Archive(HttpSession(hosts=MIRROR), URL) as archive, pytest.raises(Changed):
        for _ in archive.members():
            seen.add(archive.etag)
    assert len(seen) == archives.MAX_RESTARTS + 1
    assert not archive.fully_read


# -- damage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("damage", [b"\0", b"\xff", b"ustar  \0" * 64])
def test_a_damaged_archive_gives_what_comes_behind_the_damage_too(
    youtube: LoopbackYouTube, tmp_path: Path, packed: bool, damage: bytes
) -> None:
    plain = bytearray(tarball(NAMED))
    first, second, *rest = CLIPS
    at = plain.index(clip_name(*second).encode()) // 512 * 512
    plain[at - 100 : at + 2000] = (damage * 2100)[:2100]
    put(youtube, gzip.compress(plain, 1, mtime=0) if packed else bytes(plain))
    found = dict[ClipKey, bytes]()
    second_archive = not any(damage)  # as which it looks behind zeros
    expected = nullcontext() if second_archive else pytest.raises(Damaged, match="damaged at byte")
    with Archive(HttpSession(hosts=MIRROR), URL) as archive, expected:
        for member in archive.members():
            member.copy_to(tmp_path / "clip")
            found[member.key] = (tmp_path / "clip").read_bytes()
    assert archive.fully_read
    assert [*found] == [first, *rest]
    assert all(found[key] == CLIPS[key] for key in rest)


@pytest.mark.parametrize("packed", [True, False])
def test_a_damaged_archive_gives_what_comes_before_and_says_where(
    youtube: LoopbackYouTube, tmp_path: Path, packed: bool
) -> None:
    crate = Crate("part_0.tar.gz", ROWS, packed=packed, damaged_at=2 * len(clip_of(10)))
    (url,) = stock(youtube.world, "400", "train", [crate])
    found = []
    with Archive(HttpSession(hosts=MIRROR), url) as archive, pytest.raises(Damaged, match="damaged at byte"):
        for member in archive.members():
            member.copy_to(tmp_path / "clip")
            found.append((tmp_path / "clip").read_bytes())
    assert found[0] == clip_of(10)
    assert len(found) < len(ROWS)
    assert [key[0] for key in archive.clips_read] == [row.youtube_id for row in ROWS[: len(found)]]
    assert archive.fully_read, "the mirror has no more of it"


@pytest.mark.parametrize("packed", [True, False])
def test_an_archive_that_was_never_finished_says_so(youtube: LoopbackYouTube, tmp_path: Path, packed: bool) -> None:
    content = tarball(NAMED, packed=packed)
    put(youtube, content[: len(content) * 5 // 8 + 5])
    with Archive(HttpSession(hosts=MIRROR), URL) as archive, pytest.raises(Damaged):
        for member in archive.members():
            member.copy_to(tmp_path / clip_name(*member.key))
    assert archive.fully_read
    whole = [path for path in tmp_path.iterdir() if path.read_bytes() in CLIPS.values()]
    assert len(whole) == 5
    assert archive.clips_read == [*CLIPS][:5]


@pytest.mark.parametrize("packed", [True, False])
def test_a_clip_that_is_skipped_has_passed_only_if_it_is_whole(youtube: LoopbackYouTube, packed: bool) -> None:
    whole = tarball(NAMED)
    ends = 512 + len(NAMED[0][1])
    for cut, passed in ((ends, 1), (ends - 1, 0)):
        put(youtube, gzip.compress(whole[:cut], 1) if packed else whole[:cut])
        with Archive(HttpSession(hosts=MIRROR), URL) as archive, suppress(Damaged):
            list(archive.members())
        assert (len(archive.clips_read), archive.fully_read) == (passed, True)


def test_what_kept_a_clip_from_being_read_comes_again(youtube: LoopbackYouTube, tmp_path: Path) -> None:
    content = tarball(NAMED, packed=True)
    put(youtube, content[:500_000] + bytes(200_000) + content[700_000:])
    with Archive(HttpSession(hosts=MIRROR), URL) as archive, pytest.raises(Damaged) as caught:
        taken(archive, tmp_path)
    assert caught.value.category is Category.MEDIA_ERROR


def test_after_bytes_were_lost_no_others_are_taken_for_them(youtube: LoopbackYouTube, tmp_path: Path) -> None:
    put(youtube, tarball(NAMED), MediaFault("cut", at=500_001))
    with Archive(HttpSession(hosts=MIRROR), URL) as archive, pytest.raises(MayWorkLater, match="broke at byte 500001"):
        for member in archive.members():
            try:
                member.copy_to(tmp_path / "clip")
            except MayWorkLater:
                put(youtube, tarball(NAMED))  # and the connection is as good as ever
    assert archive.clips_read == [*CLIPS][:2]


def test_a_place_that_cannot_be_written_is_no_fault_of_the_archive(youtube: LoopbackYouTube, tmp_path: Path) -> None:
    put(youtube, tarball(NAMED, packed=True))
    with Archive(HttpSession(hosts=MIRROR), URL) as archive, pytest.raises(FileNotFoundError):
        next(archive.members()).copy_to(tmp_path / "nowhere" / "clip")
