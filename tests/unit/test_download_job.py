"""One clip, from YouTube to its final name or to a reason why not, as a worker process does it."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kinetics.errors import Fatal
from kinetics.records import Category, ControlCall, Cut, Outcome, PartialResult, VideoFacts
from kinetics.records import Video as Sections
from kinetics.scheduling.machine import MEMORY_LIMIT
from kinetics.youtube import download_job as jobs
from kinetics.youtube import fallback
from kinetics.youtube.download_job import DownloadClip
from kinetics.youtube.engines import open_engines
from kinetics.youtube.thumbnails import CONNECTIONS
from kinetics.youtube.visitor import visitor_file
from tests.support.download_job import CLIP, VIDEO, attempt, job_in, unheard, youtube_with_the_clip
from tests.support.sandbox import frames
from tests.youtube.server import LoopbackYouTube
from tests.youtube.videos import Video
from tests.youtube.world import FAILURES, PLAYER_FAULTS, MediaFault, Scenario, ThumbnailMode

PYTUBEFIX = ("pytubefix",)
"""Where the next engine would be asked, too: yt-dlp starts a process."""


@pytest.fixture
def youtube(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackYouTube]:
    with youtube_with_the_clip(monkeypatch) as running:
        yield running


@pytest.fixture
def job(tmp_path: Path) -> Iterator[DownloadClip]:
    with job_in(tmp_path) as job:
        yield job


# -- done -------------------------------------------------------------------------------------------------------------


def test_a_clip_that_is_done_says_all_about_itself(youtube: LoopbackYouTube, job: DownloadClip) -> None:
    outcome = attempt(job)
    path = job.layout.clip(CLIP)
    assert frames(path) == list(range(VIDEO.frame_at(4.0), VIDEO.frame_at(7.0)))
    assert (outcome.clip, outcome.status, outcome.category, outcome.reason) == (CLIP, "done", None, "")
    assert (outcome.engine, outcome.itag, outcome.height) == ("pytubefix", "134+140", 360)
    assert outcome.clip_bytes == path.stat().st_size
    assert outcome.offset_s == pytest.approx(0, abs=0.02)
    assert outcome.duration_s == pytest.approx(3, abs=0.1)
    assert outcome.host == socket.gethostname()
    assert (outcome.cut, outcome.max_height) == (job.cut, job.max_height)
    assert (outcome.resolve_s or 0) > 0
    assert (outcome.download_s or 0) > 0
    assert (outcome.cut_s or 0) > 0
    media = [request for request in youtube.requests if request.kind == "media"]
    assert outcome.requests == len(media)
    assert outcome.bytes_received == sum(request.bytes_sent for request in media)


def test_an_outcome_bears_what_is_known_of_the_video_once_a_split(youtube: LoopbackYouTube, job: DownloadClip) -> None:
    sections = [replace(CLIP, time_start=start, time_end=start + 2) for start in (1.0, 4.0)]
    elsewhere = replace(sections[1], split="val")
    outcomes = list[Outcome]()

    def heard(part: PartialResult | None = None, *, calls: int = 0) -> None:
        outcomes.extend([part] if isinstance(part, Outcome) else [])

    outcomes.append(job.open()(Sections((*sections, elsewhere)), heard))
    facts = VideoFacts(
        CLIP.youtube_id,
        title=f"Loopback video {CLIP.youtube_id}",
        channel_id="UCloopbackloopbackloopba",
        length_s=20.0,
        width=640,
        height=360,
        fps=30.0,
    )
    assert [outcome.video for outcome in outcomes] == [facts, None, facts]
    assert sum(outcome.calls for outcome in outcomes) == len(
        [request for request in youtube.requests if request.kind in ("player", "visitor")]
    )


def test_a_video_whose_media_fail_or_that_is_refused_is_known_as_well(
    youtube: LoopbackYouTube, job: DownloadClip
) -> None:
    youtube.world.media_status = 404
    youtube.world.scenarios["hidden-vid0"] = Scenario(failure=FAILURES["private"])
    for video_id, category in ((CLIP.youtube_id, Category.MEDIA_ERROR), ("hidden-vid0", Category.PRIVATE)):
        outcome = attempt(replace(job, engines=PYTUBEFIX), replace(CLIP, youtube_id=video_id))
        assert (outcome.status, outcome.category) == ("failed", category)
        assert outcome.video
        assert outcome.video.title == f"Loopback video {video_id}"


@pytest.mark.parametrize("cut", ["smart", "keyframe", "none"])
def test_the_other_cuts(youtube: LoopbackYouTube, job: DownloadClip, cut: Cut) -> None:
    job = replace(job, cut=cut)
    outcome = attempt(job)
    numbers = frames(job.layout.target(CLIP, cut))
    assert outcome.status == "done"
    if cut == "none":
        assert (numbers, outcome.offset_s) == (list(range(600)), None)
        assert outcome.duration_s == pytest.approx(20, abs=0.1)
    elif cut == "smart":
        assert numbers == list(range(VIDEO.frame_at(4.0), VIDEO.frame_at(CLIP.time_end)))
        assert outcome.offset_s == 0
    else:
        assert numbers[0] == max(frame for frame in VIDEO.keyframes if frame <= VIDEO.frame_at(4.0))
        assert outcome.offset_s == pytest.approx(numbers[0] / 30 - 4.0, abs=0.02)


def test_counts_are_those_of_one_clip_not_of_the_worker(youtube: LoopbackYouTube, job: DownloadClip) -> None:
    work = job.open()
    outcomes = [work(clip, unheard) for clip in (CLIP, replace(CLIP, time_start=2.0, time_end=5.0))]
    media = [request for request in youtube.requests if request.kind == "media"]
    assert sum(outcome.requests for outcome in outcomes) == len(media)
    assert sum(outcome.bytes_received for outcome in outcomes) == sum(request.bytes_sent for request in media)


def test_the_workers_of_all_runs_of_a_day_are_one_visitor_to_youtube(
    youtube: LoopbackYouTube, job: DownloadClip
) -> None:
    for name in ("first run", "second run"):
        workers = [replace(job, shared=job.layout.root / name).open() for _ in range(2)]
        assert [work(CLIP, unheard).status for work in workers] == ["done"] * 2
    assert [request.kind for request in youtube.requests].count("visitor") == 1


def test_what_an_engine_has_to_say_goes_out_with_one_outcome(
    youtube: LoopbackYouTube, job: DownloadClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*given: Any) -> Any:
        given[-1]("look at this")
        return open_engines(*given)

    monkeypatch.setattr(jobs, "open_engines", opened)
    worker = job.open()
    assert [worker(CLIP, unheard).notice for _ in range(2)] == ["look at this", ""]


def test_where_the_visitor_id_cannot_be_shared_each_worker_asks(youtube: LoopbackYouTube, job: DownloadClip) -> None:
    visitor_file().mkdir(parents=True)
    workers = [replace(job, shared=job.layout.root / "shared").open() for _ in range(2)]
    assert [work(CLIP, unheard).status for work in workers] == ["done"] * 2
    assert [request.kind for request in youtube.requests].count("visitor") == 2
    assert [*visitor_file().parent.iterdir()] == [visitor_file()], "what could not be written is removed"


def test_it_tells_when_youtube_has_answered_before_any_media_is_fetched(
    youtube: LoopbackYouTube, job: DownloadClip
) -> None:
    kinds: list[set[str]] = []
    work = job.open()
    work(CLIP, lambda *_, **__: kinds.append({request.kind for request in youtube.requests}))
    assert kinds == [{"visitor", "player"}]
    youtube.world.scenarios[CLIP.youtube_id] = Scenario(failure=FAILURES["private"])
    work(CLIP, lambda *_, **__: pytest.fail("a video that is gone has no media to wait for"))


# -- not done ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scenario", "status", "category"),
    [
        (Scenario(failure=FAILURES["removed"]), "failed", Category.REMOVED),
        (Scenario(failure=FAILURES["bot"]), "postponed", Category.THROTTLED),
        (Scenario(VIDEO, player_faults=(PLAYER_FAULTS["503"],)), "failed", Category.SERVER_ERROR),
        (Scenario(VIDEO, media_faults=(MediaFault("status", 429),)), "postponed", Category.THROTTLED),
        (Scenario(VIDEO, media_faults=(MediaFault("html"),)), "failed", Category.MEDIA_ERROR),
        (Scenario(Video(duration_s=3)), "failed", Category.PAST_END),
    ],
)
def test_a_clip_that_is_not_had_says_why(
    youtube: LoopbackYouTube, job: DownloadClip, scenario: Scenario, status: str, category: Category
) -> None:
    youtube.world.scenarios[CLIP.youtube_id] = scenario
    outcome = attempt(replace(job, engines=PYTUBEFIX))
    assert (outcome.status, outcome.category) == (status, category)
    assert outcome.reason
    assert outcome.requests == sum(request.kind == "media" for request in youtube.requests)
    resolved = scenario.failure is None and not scenario.player_faults
    assert (outcome.itag, outcome.download_s is None) == ("134+140" if resolved else "", not resolved)


@pytest.mark.parametrize("where", ["player", "media"])
def test_what_the_server_asks_for_is_passed_on(youtube: LoopbackYouTube, job: DownloadClip, where: str) -> None:
    fault = PLAYER_FAULTS["429 with Retry-After"]
    youtube.world.scenarios[CLIP.youtube_id] = (
        Scenario(VIDEO, player_faults=(fault,))
        if where == "player"
        else Scenario(VIDEO, media_faults=(MediaFault("status", 429, retry_after="2"),))
    )
    assert attempt(job).retry_after_s == 2.0


def test_without_a_line_the_clip_is_postponed(youtube: LoopbackYouTube, job: DownloadClip) -> None:
    youtube.world.line_down = True
    outcome = attempt(job)
    assert (outcome.status, outcome.category) == ("postponed", Category.NETWORK)


@pytest.mark.parametrize("blocked", ["train", ".partial"])
def test_a_folder_that_cannot_be_written_ends_the_run_and_is_named(
    youtube: LoopbackYouTube, job: DownloadClip, blocked: str
) -> None:
    job.layout.folder.mkdir()
    (job.layout.folder / blocked).write_text("a file where a folder should be")
    with pytest.raises(Fatal, match=str(job.layout.folder)):
        job.open()(CLIP, unheard)


def test_a_full_disk_ends_the_run_and_leaves_nothing(
    youtube: LoopbackYouTube, job: DownloadClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Fatal, match="the disk is full"):
        job.open()(CLIP, unheard)
    assert not [path for path in job.layout.folder.rglob("*") if path.is_file()]


def test_a_surprise_is_one_failed_clip(
    youtube: LoopbackYouTube, job: DownloadClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    def surprise(*_: object) -> None:
        raise ZeroDivisionError("nobody foresaw this")

    monkeypatch.setattr(fallback, "ranked_formats", surprise)
    outcome = attempt(job)
    assert (outcome.status, outcome.category) == ("failed", Category.MEDIA_ERROR)
    assert outcome.reason == "unexpected ZeroDivisionError: nobody foresaw this"


def test_a_clip_that_would_take_all_memory_fails_alone_and_says_so(
    youtube: LoopbackYouTube, job: DownloadClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = job.open()
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] == MEMORY_LIMIT
    with monkeypatch.context() as patch:
        patch.setattr("kinetics.media.cut.cut_exact", lambda *_: bytearray(2 * MEMORY_LIMIT))
        outcome = work(CLIP, unheard)
    assert (outcome.status, outcome.category) == ("failed", Category.MEDIA_ERROR)
    assert "2048 MiB" in outcome.reason
    assert work(CLIP, unheard).status == "done"


# -- thumbnails and control calls -------------------------------------------------------------------------------------

DEAD = replace(CLIP, youtube_id="-_deadvide0")


def asked_for(youtube: LoopbackYouTube) -> list[str]:
    """The videos whose thumbnails were asked for, in order."""
    return [request.video_id for request in youtube.requests if request.kind == "thumbnail"]


def test_of_a_video_called_unavailable_the_thumbnail_is_looked_for_and_those_of_videos_that_came(
    youtube: LoopbackYouTube, job: DownloadClip
) -> None:
    work = job.open()
    assert work(CLIP, unheard).status == "done"
    assert asked_for(youtube) == [], "only a doubt needs a witness"
    first, second = (work(DEAD, unheard) for _ in range(2))
    assert (first.category, first.thumbnail, first.living_thumbnails) == (Category.UNAVAILABLE, "missing", ("there",))
    assert (second.thumbnail, second.living_thumbnails) == ("missing", ()), "each living one is asked for once"
    assert asked_for(youtube) == [CLIP.youtube_id, DEAD.youtube_id], "and so is the same dead one at its next section"


@pytest.mark.parametrize("verdict", ["private", "terminated", "removed"])
def test_a_verdict_in_other_words_needs_no_thumbnail(youtube: LoopbackYouTube, job: DownloadClip, verdict: str) -> None:
    youtube.world.scenarios[CLIP.youtube_id] = Scenario(failure=FAILURES[verdict])
    assert attempt(job).thumbnail is None
    assert asked_for(youtube) == []


@pytest.mark.parametrize(("mode", "requests"), [("503", 1), ("hang up", CONNECTIONS)])
def test_a_thumbnail_host_that_does_not_answer_is_asked_about_one_video(
    youtube: LoopbackYouTube, job: DownloadClip, mode: ThumbnailMode, requests: int
) -> None:
    youtube.world.thumbnails = mode
    work = job.open()
    assert [work(DEAD, unheard).thumbnail for _ in range(2)] == ["no answer", None]
    assert len(asked_for(youtube)) == requests


def test_without_thumbnails_nobody_asks_their_host(youtube: LoopbackYouTube, job: DownloadClip) -> None:
    assert attempt(replace(job, thumbnails=False), DEAD).thumbnail is None
    assert asked_for(youtube) == []


def test_a_control_call_asks_for_the_video_and_its_media_and_writes_nothing(
    youtube: LoopbackYouTube, job: DownloadClip
) -> None:
    work, answers = job.open(), list[set[str]]()
    result = work(ControlCall(CLIP), lambda *_, **__: answers.append({request.kind for request in youtube.requests}))
    assert (result.status, result.item.clip) == ("done", CLIP)
    assert answers == [{"visitor", "player"}]
    assert "media" in {request.kind for request in youtube.requests}
    assert not [path for path in job.layout.root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("refused", ["the player", "the media", "the video"])
def test_a_control_call_fails_as_its_clip_would(youtube: LoopbackYouTube, job: DownloadClip, refused: str) -> None:
    if refused == "the media":
        youtube.world.media_status = 403
    else:
        name = {"the player": "bot", "the video": "unavailable"}[refused]
        youtube.world.scenarios[CLIP.youtube_id] = Scenario(failure=FAILURES[name])
    result = replace(job, engines=PYTUBEFIX).open()(ControlCall(CLIP), unheard)
    assert (result.status, result.category) == {
        "the player": ("postponed", Category.THROTTLED),
        "the media": ("failed", Category.MEDIA_ERROR),
        "the video": ("failed", Category.UNAVAILABLE),
    }[refused]
