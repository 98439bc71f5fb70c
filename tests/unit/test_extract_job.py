"""Each good wanted clip of an archive is extracted once; a rejected one is remembered, and never moved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from kinetics.errors import Fatal
from kinetics.media import check
from kinetics.mirror import extract_job
from kinetics.mirror.extract_job import ExtractArchive
from kinetics.mirror.wanted_clips import write_wanted_clips
from kinetics.net import responses, stream
from kinetics.records import (
    ArchiveListing,
    ArchiveProgress,
    ArchiveRequest,
    ArchiveResult,
    Category,
    Clip,
    ClipKey,
    Outcome,
)
from kinetics.storage.layout import Layout, clip_name
from tests.support.network import go_through
from tests.youtube.mirror import BASE, Crate, MirrorFile, clip_of, stock, tarball
from tests.youtube.server import LoopbackYouTube
from tests.youtube.spoils import noise_for_samples
from tests.youtube.world import MediaFault, Row

ROWS = [Row("tai chi", f"-clip-{number:05}", number, number + 3) for number in range(40)]


@pytest.fixture
def youtube(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LoopbackYouTube]:
    monkeypatch.setattr(responses, "BACK_OFF_S", 0.01)
    monkeypatch.setattr(stream, "RESUME_PATIENCE_S", 0.0)
    monkeypatch.setattr(extract_job, "limit_memory", lambda: None)  # of this process
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with LoopbackYouTube() as running:
        go_through(running, monkeypatch)
        yield running


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path, "600")


def clips_of(*rows: Row) -> dict[ClipKey, Clip]:
    clips = [Clip(row.youtube_id, float(row.time_start), float(row.time_end), row.label, "train") for row in rows]
    return {clip.key: clip for clip in clips}


@dataclass
class Extracted:
    """What a worker told of an archive."""

    parts: list[Outcome | ArchiveProgress | None] = field(default_factory=list)
    result: ArchiveResult | None = None

    def say(self, part: Outcome | ArchiveProgress | None = None, *, calls: int = 0) -> None:
        self.parts.append(part)

    @property
    def outcomes(self) -> list[Outcome]:
        return [part for part in self.parts if isinstance(part, Outcome)]

    @property
    def listing(self) -> ArchiveListing:
        assert self.result
        assert self.result.listing
        return self.result.listing


def extract(layout: Layout, request: ArchiveRequest, *rows: Row, job: ExtractArchive | None = None) -> Extracted:
    """Let a worker go through an archive for these clips."""
    job = job or ExtractArchive(layout, layout.root / "wanted.sqlite")
    write_wanted_clips(job.wanted, clips_of(*rows).values())
    extracted = Extracted()
    extracted.result = job.open()(request, extracted.say)
    return extracted


def files(layout: Layout) -> set[str]:
    return {path.name for path in layout.folder.rglob("*") if path.is_file()}


def test_the_wanted_clips_of_an_archive_are_had_and_all_that_it_holds_is_known(
    youtube: LoopbackYouTube, layout: Layout
) -> None:
    (url,) = stock(youtube.world, "600", "train", [Crate("part_0.tar.gz", ROWS[:9])])
    extracted = extract(layout, ArchiveRequest(url), ROWS[1], ROWS[3], ROWS[20])
    assert [(outcome.clip.youtube_id, outcome.status, outcome.source) for outcome in extracted.outcomes] == [
        (row.youtube_id, "done", "mirror") for row in (ROWS[1], ROWS[3])
    ]
    assert files(layout) == {layout.clip(outcome.clip).name for outcome in extracted.outcomes}
    for outcome in extracted.outcomes:
        assert check.decode_fully(layout.clip(outcome.clip)).size == outcome.clip_bytes
    assert (len(extracted.listing.names), extracted.listing.complete) == (9, True)


def test_an_archive_is_read_no_further_than_to_the_last_clip_that_is_known_to_be_wanted(
    youtube: LoopbackYouTube, layout: Layout
) -> None:
    (url,) = stock(youtube.world, "600", "train", [Crate("part_0.tar", ROWS[:9], packed=False)])
    names = frozenset(clip_name(*key) for key in clips_of(ROWS[2], ROWS[1]))
    extracted = extract(layout, ArchiveRequest(url, names, all_known=True), *ROWS[:9])
    assert [outcome.clip.youtube_id for outcome in extracted.outcomes] == [row.youtube_id for row in ROWS[:3]]
    assert not extracted.listing.complete


def test_what_was_found_unfit_before_is_not_looked_at_again(youtube: LoopbackYouTube, layout: Layout) -> None:
    (url,) = stock(youtube.world, "600", "train", [Crate("part_0.tar", ROWS[:3], packed=False)])
    (rejected,) = (clip_name(*key) for key in clips_of(ROWS[1]))
    extracted = extract(layout, ArchiveRequest(url, rejected=frozenset({rejected})), *ROWS[:3])
    assert [outcome.clip.youtube_id for outcome in extracted.outcomes] == [ROWS[0].youtube_id, ROWS[2].youtube_id]


def test_the_rows_of_an_archive_count_its_bytes_and_each_of_them_once(youtube: LoopbackYouTube, layout: Layout) -> None:
    crate = Crate("part_0.tar", ROWS[:9], packed=False)
    (url,) = stock(youtube.world, "600", "train", [crate])
    extracted = extract(layout, ArchiveRequest(url), ROWS[1], ROWS[8])
    received = [outcome.bytes_received for outcome in extracted.outcomes]
    assert all(received)
    assert sum(received) <= len(crate.content)
    assert sum(received) > 0.9 * len(crate.content)
    assert [outcome.requests for outcome in extracted.outcomes] == [1, 0]


def test_the_server_s_answer_is_told_once_and_which_clip_is_looked_at_before_that_is_done(
    youtube: LoopbackYouTube, layout: Layout
) -> None:
    (url,) = stock(youtube.world, "600", "train", [Crate("part_0.tar", ROWS[:3], packed=False)])
    parts = extract(layout, ArchiveRequest(url), ROWS[1]).parts
    assert [part is None for part in parts].count(True) == 1
    assert parts[0] is None
    (done,) = (place for place, part in enumerate(parts) if isinstance(part, Outcome))
    before, last = parts[done - 1], parts[-1]
    assert isinstance(before, ArchiveProgress)
    assert before.name == clip_name(*next(iter(clips_of(ROWS[1]))))
    assert isinstance(last, ArchiveProgress)
    assert last.position == last.size


def test_a_clip_that_does_not_play_or_is_short_stays_wanted_and_is_known_as_unfit(
    youtube: LoopbackYouTube, layout: Layout
) -> None:
    corrupt, short, whole = ROWS[:3]
    crate = Crate(
        "part_0.tar.gz", ROWS[:3], corrupt=frozenset({corrupt.youtube_id}), short=frozenset({short.youtube_id})
    )
    (url,) = stock(youtube.world, "600", "train", [crate])
    extracted = extract(layout, ArchiveRequest(url), *ROWS[:3])
    assert [outcome.status for outcome in extracted.outcomes] == ["failed", "failed", "done"]
    assert all(outcome.category is Category.NOT_FOUND for outcome in extracted.outcomes[:2])
    assert all("the mirror's clip was rejected" in outcome.reason for outcome in extracted.outcomes[:2])
    assert files(layout) == {clip_name(*key) for key in clips_of(whole)}
    assert extracted.listing.rejected == {clip_name(*key) for key in clips_of(corrupt, short)}


@pytest.mark.parametrize("corrupt", [(False, True), (True, False), (False, False)])
def test_a_clip_that_is_in_an_archive_twice_is_had_once_and_is_fit_if_one_of_them_is(
    youtube: LoopbackYouTube, layout: Layout, corrupt: tuple[bool, bool]
) -> None:
    name, whole = clip_name(*next(iter(clips_of(ROWS[0])))), clip_of(3)
    members = [(f"{place}/{name}", noise_for_samples(whole) if bad else whole) for place, bad in enumerate(corrupt)]
    url = f"{BASE}/kinetics/600/train/part_0.tar"
    youtube.world.mirror[url.removeprefix(BASE)] = MirrorFile(tarball(members))
    extracted = extract(layout, ArchiveRequest(url), ROWS[0])
    assert [outcome.status for outcome in extracted.outcomes] == ["failed"] * corrupt[0] + ["done"]
    assert extracted.listing.rejected == frozenset()
    assert check.decode_fully(layout.folder / "train" / "tai_chi" / name)


def test_a_clip_whose_bytes_did_not_come_is_not_called_unfit(youtube: LoopbackYouTube, layout: Layout) -> None:
    crate = Crate("part_0.tar", ROWS[:3], packed=False, faults=(MediaFault("cut", at=100_000),))
    (url,) = stock(youtube.world, "600", "train", [crate])
    extracted = extract(layout, ArchiveRequest(url), *ROWS)
    assert extracted.result
    assert (extracted.result.status, extracted.result.category) == ("failed", Category.MEDIA_ERROR)
    assert "the connection broke" in extracted.result.reason
    assert (extracted.outcomes, extracted.listing.complete, files(layout)) == ([], False, set())


def test_a_mirror_that_refuses_everybody_postpones_the_archive(youtube: LoopbackYouTube, layout: Layout) -> None:
    crate = Crate("part_0.tar", ROWS[:3], faults=(MediaFault("status", status=429, retry_after="7"),))
    (url,) = stock(youtube.world, "600", "train", [crate])
    result = extract(layout, ArchiveRequest(url), *ROWS).result
    assert result
    assert (result.status, result.category, result.retry_after_s) == ("postponed", Category.THROTTLED, 7.0)


def test_what_is_behind_an_archive_s_damage_is_known_to_be_lost(youtube: LoopbackYouTube, layout: Layout) -> None:
    crate = Crate("part_0.tar", ROWS[:3], packed=False, damaged_at=len(clip_of(3)) * 2)
    (url,) = stock(youtube.world, "600", "train", [crate])
    extracted = extract(layout, ArchiveRequest(url), *ROWS)
    assert extracted.result
    assert (extracted.result.status, extracted.listing.complete) == ("done", True)
    assert "damaged" in extracted.result.reason


def test_an_archive_that_is_replaced_while_a_clip_comes_gives_all_the_same(
    youtube: LoopbackYouTube, layout: Layout
) -> None:
    (url,) = stock(youtube.world, "600", "train", [Crate("part_0.tar", ROWS[:3], packed=False)])
    path, clip = url.removeprefix(BASE), len(clip_of(3))
    other = MirrorFile(Crate("", ROWS[2::-1]).content)
    youtube.world.mirror[path] = replace(
        youtube.world.mirror[path], faults=(MediaFault("cut", at=clip * 3 // 2),), then=other
    )
    extracted = extract(layout, ArchiveRequest(url), *ROWS[:3])
    assert {outcome.clip.youtube_id for outcome in extracted.outcomes} == {row.youtube_id for row in ROWS[:3]}
    assert (extracted.listing.etag, extracted.listing.rejected) == (other.etag, frozenset())


def test_a_place_that_cannot_be_written_is_no_fault_of_the_clip(youtube: LoopbackYouTube, layout: Layout) -> None:
    (url,) = stock(youtube.world, "600", "train", [Crate("part_0.tar.gz", ROWS[:3])])
    layout.folder.write_text("in the way")
    with pytest.raises(Fatal, match=layout.folder.name):
        extract(layout, ArchiveRequest(url), *ROWS)


def test_workers_keep_to_the_rate_together(youtube: LoopbackYouTube, layout: Layout) -> None:
    (url,) = stock(youtube.world, "600", "train", [Crate("part_0.tar", ROWS[:3], packed=False)])
    job = ExtractArchive(layout, layout.root / "wanted.sqlite", limit_rate=1e7, shared=layout.root)
    extract(layout, ArchiveRequest(url), *ROWS[:3], job=job)
    assert (layout.root / "rate").exists()
