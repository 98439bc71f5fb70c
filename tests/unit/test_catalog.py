"""The mirror is asked for what is lacking and for nothing else, and what was learnt of it is not asked for again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest

from kinetics.errors import Fatal
from kinetics.mirror import catalog as mirror
from kinetics.mirror.catalog import (
    ArchiveIndex,
    Labels,
    answers_now,
    archive_label,
    archive_sizes,
    archive_urls,
    archives_to_read,
)
from kinetics.mirror.tar_stream import MIRROR, Archive
from kinetics.net import responses
from kinetics.net.http import HttpSession
from kinetics.records import ArchiveListing, ArchiveRequest, Subset
from kinetics.storage.layout import clip_name
from tests.support.network import go_through
from tests.youtube.mirror import BASE, Crate, MirrorFile, replace_corrupt, stock
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import MediaFault, Row

NAMES = [clip_name(f"-clip-{number:05}", number, number + 10) for number in range(9)]
A, B, C = (f"{BASE}/kinetics/600/train/{label}.tar.gz" for label in ("abseiling", "tai chi", "washing feet"))
LIST = "/kinetics/600/train/k600_train_path.txt"


@pytest.fixture
def youtube(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LoopbackYouTube]:
    monkeypatch.setattr(responses, "BACK_OFF_S", 0.01)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with LoopbackYouTube() as running:
        go_through(running, monkeypatch)
        yield running


@pytest.fixture
def session() -> HttpSession:
    return HttpSession(hosts=MIRROR)


def known(**contents: ArchiveListing) -> Callable[[str], ArchiveListing | None]:
    return {{"a": A, "b": B, "c": C}[name]: one for name, one in contents.items()}.get


def whole(*names: str, rejected: tuple[str, ...] = ()) -> ArchiveListing:
    return ArchiveListing(1000, '"etag"', frozenset(names), frozenset(rejected), complete=True)


# -- the lists ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "subset", "path"),
    [
        ("400", "train", "400/train/k400_train_path.txt"),
        ("600", "validate", "600/val/k600_val_path.txt"),
        ("600", "test", "600/test/k600_test_path.txt"),
        ("700", "train", "700_2020/train/k700_2020_train_path.txt"),
        ("700-2020", "validate", "700_2020/val/k700_2020_val_path.txt"),
    ],
)
def test_each_subset_has_its_list_which_is_fetched_once(
    youtube: LoopbackYouTube, session: HttpSession, version: str, subset: Subset, path: str
) -> None:
    urls = stock(youtube.world, version, subset, [Crate("tai chi.tar.gz", []), Crate("part_1.tar.gz", [])])
    first = archive_urls(session, version, subset)
    assert archive_urls(session, version, subset) == first
    assert [one for one in first if one in urls] == urls
    assert [request.path for request in youtube.requests] == [f"/kinetics/{path}"]


def test_the_replacements_of_corrupt_clips_come_first(youtube: LoopbackYouTube, session: HttpSession) -> None:
    urls = stock(youtube.world, "400", "train", [Crate("part_0.tar.gz", [])])
    assert archive_urls(session, "400", "train") == [replace_corrupt(youtube.world, []), *urls]


def test_an_address_outside_the_mirror_is_left_out(youtube: LoopbackYouTube, session: HttpSession) -> None:
    others = ("https://example.org/kinetics/a.tar", "file:///etc/passwd", "https://s3.amazonaws.com/other/a.tar", "")
    youtube.world.mirror[LIST] = MirrorFile("\r\n".join([*others, A, A, f"{A}\x1b[2J"]).encode())
    assert archive_urls(session, "600", "train") == [A]


@pytest.mark.parametrize("content", [None, b"", b"<html>", b"\xff" * 100])
def test_a_list_that_cannot_be_had_is_a_clear_error_and_not_kept(
    youtube: LoopbackYouTube, session: HttpSession, content: bytes | None
) -> None:
    if content is not None:
        youtube.world.mirror[LIST] = MirrorFile(content)
    with pytest.raises(Fatal, match=LIST):
        archive_urls(session, "600", "train")
    youtube.world.mirror[LIST] = MirrorFile(A.encode())
    assert archive_urls(session, "600", "train") == [A]


def test_a_damaged_list_in_the_cache_is_fetched_anew(
    youtube: LoopbackYouTube, session: HttpSession, tmp_path: Path
) -> None:
    stock(youtube.world, "600", "train", [Crate("tai chi.tar.gz", [])])
    archive_urls(session, "600", "train")
    (kept,) = (tmp_path / "cache").rglob("k600_train_path.txt")
    kept.write_bytes(b"\0\xff")
    assert archive_urls(session, "600", "train") == [B]


# -- what is needed ----------------------------------------------------------------------------------------------------


def test_an_archive_of_which_nothing_is_known_may_hold_anything() -> None:
    assert archives_to_read([A, B], known(), NAMES[:1]) == [ArchiveRequest(A), ArchiveRequest(B)]


def test_nothing_is_needed_where_nothing_is_missing() -> None:
    assert archives_to_read([A, B], known(a=whole(*NAMES)), []) == []


def test_an_archive_that_holds_nothing_missing_is_left_out() -> None:
    find = known(a=whole(*NAMES[:3]), b=whole(*NAMES[3:6]), c=whole(*NAMES[6:]))
    found = archives_to_read([A, B, C], find, NAMES[4:5])
    assert found == [ArchiveRequest(B, frozenset(NAMES[4:5]), all_known=True)]


def test_archives_that_are_known_to_hold_all_spare_the_unknown_ones() -> None:
    assert [one.url for one in archives_to_read([A, B], known(b=whole(*NAMES)), NAMES[:2])] == [B]


def test_unknown_archives_come_behind_those_that_are_known_to_hold_something() -> None:
    assert [one.url for one in archives_to_read([A, B], known(b=whole(NAMES[0])), NAMES[:2])] == [B, A]


def test_a_clip_that_is_in_two_archives_is_wanted_of_the_first() -> None:
    found = archives_to_read([A, B], known(a=whole(*NAMES[:2]), b=whole(*NAMES[:3])), NAMES[:3])
    assert [(one.url, one.names) for one in found] == [(A, frozenset(NAMES[:2])), (B, frozenset(NAMES[2:3]))]
    found = archives_to_read([A, B], known(a=whole(*NAMES[:2]), b=whole(*NAMES[:2])), NAMES[:2])
    assert [one.url for one in found] == [A]


def test_a_clip_that_was_found_unfit_is_not_asked_for_again() -> None:
    assert archives_to_read([A], known(a=whole(*NAMES, rejected=(NAMES[3],))), [NAMES[3]]) == []


def test_an_archive_that_was_read_in_part_may_hold_more() -> None:
    part = ArchiveListing(1000, names=frozenset(NAMES[:2]))
    assert archives_to_read([A], known(a=part), NAMES[1:3]) == [ArchiveRequest(A, frozenset({NAMES[1]}))]
    assert archives_to_read([A], known(a=part), NAMES[4:]) == [ArchiveRequest(A)]


def test_an_archive_named_after_a_class_that_is_complete_is_left_out() -> None:
    urls = [A, B, f"{BASE}/kinetics/600/train/massaging%20person's%20head.tar.gz", f"{BASE}/kinetics/600/part_0.tar"]
    labels = Labels(missing=["tai chi", "tap dancing"], known=["abseiling", "massaging person's head", "tai chi"])
    assert [one.url for one in archives_to_read(urls, known(), NAMES, labels)] == [B, urls[3]]
    found = archives_to_read(urls, known(a=whole(NAMES[0])), NAMES[:1], labels)
    assert [one.url for one in found] == [A], "it is known to hold the clip"
    assert [archive_label(url) for url in urls[1:]] == ["tai chi", "massaging person's head", "part_0"]


def test_where_each_missing_class_has_an_archive_no_other_one_is_needed() -> None:
    urls = [A, B, f"{BASE}/kinetics/600/train/nobody knows.tar.gz"]

    def to_read(*missing: str) -> list[str]:
        return [one.url for one in archives_to_read(urls, known(), NAMES, Labels(missing=missing))]

    assert to_read("tai_chi") == [B]
    assert to_read("tai chi", "tap dancing") == urls
    assert to_read("") == urls, "a subset without labels"


def test_a_second_run_asks_for_nothing_that_the_first_has_learnt(
    youtube: LoopbackYouTube, session: HttpSession, tmp_path: Path
) -> None:
    rows = [Row("tai chi", f"-clip-{number:05}", number, number + 10) for number in range(4)]
    crates = [Crate("part_0.tar.gz", rows[:2], "class"), Crate("part_1.tar.gz", rows[2:], "home", packed=False)]
    urls = stock(youtube.world, "400", "train", crates)
    missing, index = {*NAMES[:4]}, ArchiveIndex(tmp_path / "index")
    for need in archives_to_read(urls, index.find, missing):
        with Archive(session, need.url) as archive:
            list(archive.members())
        names = frozenset(clip_name(*key) for key in archive.clips_read)
        assert archive.size
        index.update(need.url, ArchiveListing(archive.size, archive.etag, names, complete=archive.fully_read))
    assert archives_to_read(urls, ArchiveIndex(tmp_path / "index").find, {*NAMES[4:]}) == []
    again = archives_to_read(urls, ArchiveIndex(tmp_path / "index").find, {NAMES[3]})
    assert again == [ArchiveRequest(urls[1], frozenset({NAMES[3]}), all_known=True)]


# -- the index ---------------------------------------------------------------------------------------------------------


def test_what_is_kept_is_found(tmp_path: Path) -> None:
    kept = {
        A: whole(*NAMES, rejected=(NAMES[0], NAMES[8])),
        B: ArchiveListing(5, names=frozenset(NAMES[:1])),
        C: ArchiveListing(7),
    }
    for url, contents in kept.items():
        ArchiveIndex(tmp_path).update(url, contents)
    assert {url: ArchiveIndex(tmp_path).find(url) for url in kept} == kept
    assert ArchiveIndex(tmp_path).find(f"{A}x") is None
    ArchiveIndex(tmp_path).update(C, ArchiveListing(7, rejected=frozenset(NAMES[:1])))
    found = ArchiveIndex(tmp_path).find(C)
    assert found
    assert found.rejected == frozenset(NAMES[:1]), "also where it was the last that was looked at"
    ArchiveIndex(tmp_path).update(A, kept[B])
    assert ArchiveIndex(tmp_path).find(A) == kept[B]


def test_a_name_from_the_mirror_is_no_path(tmp_path: Path) -> None:
    for url in (f"{BASE}/kinetics/../../../etc/x", f"{BASE}/kinetics/{'x' * 5000}", "/etc/passwd", "..", ""):
        ArchiveIndex(tmp_path / "index").update(url, whole(*NAMES))
        assert ArchiveIndex(tmp_path / "index").find(url)
    assert {path.parent for path in tmp_path.rglob("*.txt")} == {tmp_path / "index"}


def test_what_is_damaged_is_as_if_it_was_never_known(tmp_path: Path) -> None:
    index, chance = ArchiveIndex(tmp_path), random.Random(8)
    index.update(A, whole(*NAMES, rejected=(NAMES[0],)))
    (path,) = tmp_path.iterdir()
    good = path.read_bytes()
    cut = [good[:length] for length in range(len(good))]
    noise = [good[:at] + chance.randbytes(5) + good[at + 5 :] for at in range(0, len(good), 7)]
    odd = [b"[]\n", b"null", b"3\n4", b'{"url": 1}', b"[" * 100_000, b"\0" * 1000, good * 2]
    for damaged in (*cut, *noise, *odd):
        path.write_bytes(damaged)
        assert index.find(A) is None, damaged
    path.unlink()
    path.mkdir()
    assert index.find(A) is None


def test_what_is_much_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ArchiveIndex(tmp_path).update(A, whole(*NAMES))
    monkeypatch.setattr(mirror, "MAX_INDEX_BYTES", 100)
    assert ArchiveIndex(tmp_path).find(A) is None


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "index").write_text("in the way")
    with pytest.raises(Fatal, match="XDG_CACHE_HOME"):
        ArchiveIndex(tmp_path / "index").update(A, whole(*NAMES))


# -- what it costs -----------------------------------------------------------------------------------------------------


def test_what_archives_cost_is_asked_once_and_without_reading_them(
    youtube: LoopbackYouTube, session: HttpSession, tmp_path: Path
) -> None:
    urls = [f"{BASE}/kinetics/600/train/{number} of them.tar.gz" for number in range(5)]
    for number, url in enumerate(urls[:4]):
        youtube.world.mirror[url.removeprefix(BASE)] = MirrorFile(bytes(1000 + number))
    index = ArchiveIndex(tmp_path)
    index.update(urls[0], whole(*NAMES))
    assert archive_sizes(session, index, urls) == [1000, 1001, 1002, 1003, None]
    assert archive_sizes(session, ArchiveIndex(tmp_path), urls[:4]) == [1000, 1001, 1002, 1003]
    assert sorted((request.method, request.bytes_sent) for request in youtube.requests) == [("HEAD", 0)] * 4
    assert index.find(urls[0]) == whole(*NAMES), "what was known of it is not forgotten"
    assert [one.url for one in archives_to_read(urls, index.find, NAMES[:1])] == urls[:1]


@pytest.mark.parametrize("how", ["reset", "silent"])
def test_whether_the_mirror_answers_is_known_within_a_bounded_time(
    youtube: LoopbackYouTube, session: HttpSession, monkeypatch: pytest.MonkeyPatch, how: Literal["reset", "silent"]
) -> None:
    assert answers_now(session)
    monkeypatch.setattr(mirror, "ANSWER_S", 0.3)
    youtube.world.hosts_down["s3.amazonaws.com"] = how
    assert not answers_now(session)


@pytest.mark.parametrize("refusal", ["no line", "too many requests"])
def test_a_mirror_that_refuses_everybody_is_not_asked_for_every_archive(
    youtube: LoopbackYouTube, session: HttpSession, tmp_path: Path, refusal: str
) -> None:
    youtube.world.line_down = refusal == "no line"
    faults = (MediaFault("status", status=429),)
    youtube.world.mirror[A.removeprefix(BASE)] = MirrorFile(b"", faults=faults)
    index = ArchiveIndex(tmp_path)
    index.update(B, whole(*NAMES))
    assert archive_sizes(session, index, [*[A] * 500, B]) == [*[None] * 500, 1000]
    assert session.requests < 50
