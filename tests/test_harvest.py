"""Of an archive each wanted clip that is whole is had, once; what is unfit is known from then on, and never moved."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kinetics import check, remote
from kinetics.archives import MIRROR, Archive
from kinetics.errors import MayWorkLater
from kinetics.harvest import harvest
from kinetics.layout import Layout, clip_name
from kinetics.mirror import Contents, Index, archives, needed
from kinetics.records import Clip, ClipKey, Outcome
from kinetics.remote import Line
from tests.test_remote import go_through
from tests.youtube.mirror import BASE, Crate, MirrorFile, clip_of, crates_of, stock
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import MediaFault, Row

ROWS = [Row("tai chi", f"-clip-{number:05}", number, number + 3) for number in range(40)]


@pytest.fixture
def youtube(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LoopbackYouTube]:
    monkeypatch.setattr(remote, "BACK_OFF_S", 0.01)
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


def gone_through(
    line: Line, url: str, wanted: dict[ClipKey, Clip], layout: Layout, most: int = 1000
) -> tuple[list[Outcome], Contents | None]:
    """The outcomes of an archive, and what is known of it: nothing, where it was stopped after so many clips."""
    outcomes = list[Outcome]()
    with Archive(line, url) as archive:
        events = harvest(archive, wanted, layout)
        for _ in range(most):
            try:
                event = next(events)
            except StopIteration as end:
                return outcomes, end.value
            outcomes += [event] if event else []
    return outcomes, None


def files(layout: Layout) -> set[str]:
    return {path.name for path in layout.root.rglob("*") if path.is_file() and path.suffix != ".txt"}


def test_only_what_is_wanted_is_had_and_the_archive_is_read_no_further(
    youtube: LoopbackYouTube, layout: Layout
) -> None:
    (url,) = stock(youtube.world, "600", "train", [Crate("part_0.tar.gz", ROWS[:9])])
    line, wanted = Line(hosts=MIRROR), clips_of(ROWS[1], ROWS[3], ROWS[20])
    outcomes, contents = gone_through(line, url, wanted, layout)
    assert [(outcome.clip.youtube_id, outcome.status) for outcome in outcomes] == [
        (row.youtube_id, "done") for row in (ROWS[1], ROWS[3])
    ]
    assert files(layout) == {layout.clip(outcome.clip).name for outcome in outcomes}
    assert all(check.play(layout.clip(outcome.clip)).size == outcome.clip_bytes for outcome in outcomes)
    assert [*wanted] == [*clips_of(ROWS[20])]
    assert contents
    assert (len(contents.names), contents.exhausted) == (9, True)

    _, contents = gone_through(line, url, clips_of(ROWS[0]), layout)
    assert contents
    assert not contents.exhausted, "nothing was wanted any more"


def test_a_clip_that_does_not_play_or_is_short_stays_wanted_and_is_known_as_unfit(
    youtube: LoopbackYouTube, layout: Layout
) -> None:
    corrupt, short, whole = ROWS[:3]
    crate = Crate(
        "part_0.tar.gz", ROWS[:3], corrupt=frozenset({corrupt.youtube_id}), short=frozenset({short.youtube_id})
    )
    (url,) = stock(youtube.world, "600", "train", [crate])
    wanted = clips_of(*ROWS[:3])
    outcomes, contents = gone_through(Line(hosts=MIRROR), url, wanted, layout)
    assert [outcome.status for outcome in outcomes] == ["failed", "failed", "done"]
    assert all("the mirror's clip is unfit" in outcome.reason for outcome in outcomes[:2])
    assert files(layout) == {clip_name(*key) for key in clips_of(whole)}
    assert [*wanted] == [*clips_of(corrupt, short)]
    assert contents
    assert contents.unfit == {clip_name(*key) for key in wanted}


def test_a_clip_whose_bytes_did_not_come_is_not_called_unfit(youtube: LoopbackYouTube, layout: Layout) -> None:
    crate = Crate("part_0.tar", ROWS[:3], packed=False, faults=(MediaFault("cut", at=100_000),))
    (url,) = stock(youtube.world, "600", "train", [crate])
    with pytest.raises(MayWorkLater, match="the connection broke"):
        gone_through(Line(hosts=MIRROR), url, clips_of(*ROWS), layout)
    assert files(layout) == set()


def test_an_archive_that_is_replaced_while_a_clip_comes_gives_all_the_same(
    youtube: LoopbackYouTube, layout: Layout
) -> None:
    (url,) = stock(youtube.world, "600", "train", [Crate("part_0.tar", ROWS[:3], packed=False)])
    path, clip = url.removeprefix(BASE), len(clip_of(3))
    other = MirrorFile(Crate("", ROWS[2::-1]).content)
    youtube.world.mirror[path] = replace(
        youtube.world.mirror[path], faults=(MediaFault("cut", at=clip * 3 // 2),), then=other
    )
    outcomes, contents = gone_through(Line(hosts=MIRROR), url, clips_of(*ROWS[:3]), layout)
    assert {outcome.clip.youtube_id for outcome in outcomes} == {row.youtube_id for row in ROWS[:3]}
    assert contents
    assert (contents.etag, contents.unfit) == (other.etag, frozenset())


def test_a_place_that_cannot_be_written_is_no_fault_of_the_clip(youtube: LoopbackYouTube, layout: Layout) -> None:
    (url,) = stock(youtube.world, "600", "train", [Crate("part_0.tar.gz", ROWS[:3])])
    layout.folder.write_text("in the way")
    with pytest.raises(OSError, match=layout.folder.name):
        gone_through(Line(hosts=MIRROR), url, clips_of(*ROWS), layout)


def test_wherever_runs_are_stopped_all_that_the_mirror_has_whole_is_had_once(
    youtube: LoopbackYouTube, layout: Layout
) -> None:
    crates, clips, line, chance = crates_of(ROWS, bad_share=0.1), clips_of(*ROWS), Line(hosts=MIRROR), random.Random(3)
    stock(youtube.world, "600", "train", crates)
    urls, index, had = archives(line, "600", "train"), Index(), list[str]()

    def run(most: int) -> int:
        wanted = {key: clip for key, clip in clips.items() if not layout.clip(clip).exists()}
        needs = needed(urls, index.find, {clip_name(*key) for key in wanted})
        for need in needs:
            outcomes, contents = gone_through(line, need.url, wanted, layout, most)
            had.extend(outcome.clip.youtube_id for outcome in outcomes if outcome.status == "done")
            if contents is None:
                break
            index.keep(need.url, contents)
        return len(needs)

    for _ in range(8):
        run(chance.randrange(1, 9))
    before = line.bytes_received
    assert run(1000)
    assert line.bytes_received - before <= 1.05 * sum(len(crate.content) for crate in crates)
    assert run(1000) == 0, "what is still missing, the mirror does not have"
    bad = crates[0].corrupt | crates[0].short
    good = [row.youtube_id for crate in crates[:-1] for row in crate.rows if row.youtube_id not in bad]
    assert len(had) == len({*had})
    assert {*good} <= {*had}
    assert not bad & {*had}
    assert len(had) > len(good), "before its damage the last archive has some"
    assert files(layout) == {layout.clip(clip).name for clip in clips.values() if clip.youtube_id in had}
