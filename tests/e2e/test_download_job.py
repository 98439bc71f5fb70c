"""A worker's job where it takes other processes: a fresh worker, and yt-dlp, which starts deno."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kinetics.records import Category, PartialResult
from kinetics.youtube.download_job import DownloadClip
from tests.support.commands import python
from tests.support.download_job import CLIP, VIDEO, attempt, job_in, youtube_with_the_clip
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import AS_18, FAILURES, PLAYER_FAULTS, MediaFault, Scenario


@pytest.fixture
def youtube(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackYouTube]:
    with youtube_with_the_clip(monkeypatch) as running:
        yield running


@pytest.fixture
def job(tmp_path: Path) -> Iterator[DownloadClip]:
    with job_in(tmp_path) as job:
        yield job


def test_a_refused_address_is_asked_of_the_next_engine_once(youtube: LoopbackYouTube, job: DownloadClip) -> None:
    refusal = Scenario(VIDEO, clients=AS_18, media_faults=(MediaFault("status", 403, times=1),))
    youtube.world.scenarios[CLIP.youtube_id] = refusal
    outcome = attempt(job)
    assert (outcome.status, outcome.engine, outcome.itag) == ("done", "yt-dlp", "18")
    youtube.world.scenarios["-_loopback1"] = replace(refusal, media_faults=(MediaFault("status", 403),))
    again = replace(CLIP, youtube_id="-_loopback1")
    outcome = attempt(job, again)
    assert (outcome.status, outcome.category) == ("failed", Category.MEDIA_ERROR)
    assert "403" in outcome.reason
    asked = [request.kind for request in youtube.requests if request.video_id == again.youtube_id]
    assert asked.count("player") == 3
    assert asked.count("media") <= 3 * 4 * 2, "four choices of each reply, of two files each"


def test_where_the_next_engine_fails_the_refusal_is_the_reason(youtube: LoopbackYouTube, job: DownloadClip) -> None:
    refusing = Scenario(VIDEO, media_faults=(MediaFault("status", 403),))
    youtube.world.scenarios[CLIP.youtube_id] = refusing

    def break_the_player(part: PartialResult | None = None, *, calls: int = 0) -> None:
        youtube.world.scenarios[CLIP.youtube_id] = replace(refusing, player_faults=(PLAYER_FAULTS["html"],))

    outcome = job.open()(CLIP, break_the_player)
    assert (outcome.category, outcome.engine) == (Category.MEDIA_ERROR, "pytubefix")
    assert "403" in outcome.reason


def test_a_refused_address_without_a_next_engine_is_a_media_error(youtube: LoopbackYouTube, job: DownloadClip) -> None:
    youtube.world.scenarios[CLIP.youtube_id] = Scenario(VIDEO, media_faults=(MediaFault("status", 403),))
    outcome = attempt(replace(job, engines=("yt-dlp",)))
    assert (outcome.status, outcome.category, outcome.engine) == ("failed", Category.MEDIA_ERROR, "yt-dlp")


def test_a_worker_does_its_clips_without_a_word(youtube: LoopbackYouTube, job: DownloadClip) -> None:
    youtube.world.scenarios["-_unknown-0"] = Scenario(
        failure=replace(FAILURES["removed"], reason="Who knows", status="?")
    )
    script = (
        "import sys, pathlib; from kinetics.youtube.download_job import *; from kinetics.records import Clip\n"
        "layout = Layout(pathlib.Path(sys.argv[1]), '700')\n"
        "job = DownloadClip(layout, 'exact', ('pytubefix', 'yt-dlp'), 360, None, 1e9)\n"
        "(job.layout.folder / '.partial').mkdir(parents=True)\n"
        "work = job.open()\n"
        "for name in sys.argv[2:]: work(Clip(name, 4.0, 7.0, 'label', 'train'), lambda part=None, *, calls=0: None)\n"
    )
    ran = python("-c", script, str(job.layout.root), CLIP.youtube_id, "-_unknown-0", env=youtube.env)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert job.layout.clip(replace(CLIP, label="label")).exists()


def test_the_modules_that_a_worker_needs_can_be_imported_and_hold_the_first_engine(job: DownloadClip) -> None:
    for names in (("pytubefix", "yt-dlp"), ("yt-dlp",), ("pytube",)):
        modules = replace(job, engines=names).modules
        script = f"import sys\nfor name in {modules!r}: __import__(name)\n"
        assert python("-c", script).returncode == 0
        assert modules[1].replace("_", "-") == names[0]
