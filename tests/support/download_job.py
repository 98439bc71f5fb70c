"""The job of a worker, in this process: one clip of a loopback YouTube."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import install_opener

import pytest

from kinetics.records import Clip, Outcome, PartialResult
from kinetics.storage.layout import Layout
from kinetics.youtube.download_job import DownloadClip
from tests.youtube.server import LoopbackYouTube
from tests.youtube.videos import Video
from tests.youtube.world import Scenario, World

VIDEO = Video(duration_s=20)
CLIP = Clip("-_loopback0", 4.0, 7.0, "playing harmonica", "train")
ENGINES = ("pytubefix", "yt-dlp")


@contextmanager
def youtube_with_the_clip(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackYouTube]:
    """A loopback YouTube that has the clip's video, and to which this process's clients go."""
    timeout_s = socket.getdefaulttimeout()
    with LoopbackYouTube(World({CLIP.youtube_id: Scenario(VIDEO)})) as running:
        for name in ("SSL_CERT_DIR", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        for name, value in running.env.items():
            monkeypatch.setenv(name, value)
        install_opener(None)  # the one that pytubefix shares knows the proxy of before
        yield running
    install_opener(None)
    socket.setdefaulttimeout(timeout_s)


@contextmanager
def job_in(folder: Path) -> Iterator[DownloadClip]:
    """A job that writes below a folder."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    yield DownloadClip(Layout(folder, "700"), "exact", ENGINES, 360)
    resource.setrlimit(resource.RLIMIT_DATA, before)  # what is a worker's for life is not this process's


def unheard(part: PartialResult | None = None, *, calls: int = 0) -> None:
    """A worker's way to report, where nobody listens."""


def attempt(job: DownloadClip, clip: Clip = CLIP) -> Outcome:
    """What comes of a clip; after it, whatever it is, no unfinished file is left."""
    outcome = job.open()(clip, unheard)
    assert not [path for path in job.layout.folder.glob(".partial/**/*") if path.is_file()]
    assert outcome.status == "done" or not job.layout.target(clip, job.cut).exists()
    return outcome
