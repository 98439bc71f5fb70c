"""The loopback YouTube as other processes see it: unmodified clients, and the command that wraps a command."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.commands import python
from tests.support.network import client_of, media_url
from tests.youtube.mirror import (
    REPLACEMENTS,
    clip_of,
    clips_in,
    length_of,
    stock_all,
)
from tests.youtube.replies import MEDIA_HOST
from tests.youtube.samples import sample_world
from tests.youtube.server import LoopbackYouTube
from tests.youtube.videos import Video
from tests.youtube.world import NEWER_FAILURES, REFUSALS, THROTTLE_KINDS, Scenario, World

USUAL = Video(duration_s=20)
ID = "-_loopback0"


@pytest.fixture
def youtube() -> Iterator[LoopbackYouTube]:
    with LoopbackYouTube(World({ID: Scenario(USUAL, ("dash", "progressive"))})) as running:
        yield running


RESOLVE = {
    "pytubefix": """
        from pytubefix import YouTube
        def resolve(video_id):
            video = YouTube("https://www.youtube.com/watch?v=" + video_id)
            try:
                return [[str(stream.itag), stream.url] for stream in video.streams], ""
            except Exception as error:
                return [], f"{error} {video._vid_info}"
    """,
    "yt-dlp": """
        import yt_dlp
        skip = ["webpage", "js", "configs", "initial_data"]
        youtube = {"player_client": ["visionos", "android"], "player_skip": skip}
        options = {"quiet": True, "no_warnings": True, "compat_opts": ["no-certifi"], "noprogress": True,
                   "extractor_args": {"youtube": youtube}}
        client = yt_dlp.YoutubeDL(options)
        def resolve(video_id):
            try:
                info = client.extract_info("https://www.youtube.com/watch?v=" + video_id, download=False)
                return [[found["format_id"], found["url"]] for found in info["formats"]], ""
            except yt_dlp.utils.DownloadError as error:
                return [], str(error)
    """,
    "pytube": """
        from pytube import YouTube
        def resolve(video_id):
            streams = YouTube("https://www.youtube.com/watch?v=" + video_id).streams
            return [[str(stream.itag), stream.url] for stream in streams], ""
    """,
}


def resolve(youtube: LoopbackYouTube, engine: str, *video_ids: str) -> list[tuple[dict[str, str], str]]:
    """What an unmodified client in a process of its own makes of the videos: their URLs by itag, or its complaint."""
    script = dedent(RESOLVE[engine]) + "import json, sys\nprint(json.dumps([resolve(name) for name in sys.argv[1:]]))"
    ran = python("-c", script, *video_ids, env=youtube.env)
    assert ran.returncode == 0, ran.stderr
    return [(dict(streams), complaint) for streams, complaint in json.loads(ran.stdout.splitlines()[-1])]


@pytest.mark.parametrize("engine", RESOLVE)
def test_unmodified_clients_resolve_a_video(youtube: LoopbackYouTube, engine: str) -> None:
    http = client_of(youtube)
    [(urls, _)] = resolve(youtube, engine, ID)
    for itag, file in USUAL.files.items():
        assert int(http.request("HEAD", urls[str(itag)]).headers["Content-Length"]) == file.size
    assert {request.host for request in youtube.requests} <= {"www.youtube.com", "youtube.com", MEDIA_HOST}


@pytest.mark.parametrize("engine", ["pytubefix", "yt-dlp"])
def test_unmodified_clients_hear_each_failure_in_youtubes_words(youtube: LoopbackYouTube, engine: str) -> None:
    # At "not offered" pytubefix drops the words and asks as its fallback clients; yt-dlp drops `messages`.
    untold = {"live", "not offered" if engine == "pytubefix" else "private, as a message"}
    failures = [failure for name, failure in (REFUSALS | NEWER_FAILURES).items() if name not in untold]
    told = {f"-failure{number:03}": failure for number, failure in enumerate(failures)}
    youtube.world.scenarios |= {video_id: Scenario(failure=failure) for video_id, failure in told.items()}
    heard = resolve(youtube, engine, *told)
    for failure, (streams, complaint) in zip(failures, heard, strict=True):
        assert not streams
        assert failure.words.rstrip(".") in complaint


def test_the_wrapper_runs_a_command_passes_its_exit_code_on_and_writes_the_log(tmp_path: Path) -> None:
    log, rows = tmp_path / "log.jsonl", tmp_path / "rows.csv"
    rows.write_text(f"label,youtube_id,time_start,time_end,split\nabseiling,{ID},5,15,val\n")
    script = (
        "import os, sys, urllib.request\n"
        f"body = urllib.request.urlopen({media_url(134, ID)!r}).read()\n"
        f"sys.exit(7 if len(body) == {USUAL.dash_video.size} else 1)"
    )
    around = ("-m", "tests.youtube", "--annotations", str(rows), "--log", str(log), "--")
    ran = python(*around, sys.executable, "-c", script)
    assert ran.returncode == 7, ran.stderr
    assert ran.stderr.startswith("Loopback YouTube on http://127.0.0.1:")
    [line] = log.read_text().splitlines()
    assert (json.loads(line)["kind"], json.loads(line)["bytes_sent"]) == ("media", USUAL.dash_video.size)


def test_the_wrapper_acts_out_a_block_media_that_are_refused_and_thumbnails() -> None:
    name = "--ta1Ch1-01"
    script = dedent(f"""
        import json, urllib.error, urllib.request
        def ask(url, body=None):
            try:
                reply = urllib.request.urlopen(url, body)
            except urllib.error.HTTPError as error:
                reply = error
            return reply.getcode(), reply.read()
        call = {{"context": {{"client": {{"clientName": "VISIONOS"}}}}, "videoId": "{name}"}}
        said = json.loads(ask("https://www.youtube.com/youtubei/v1/player", json.dumps(call).encode())[1])
        media, thumbnail = ask("{media_url(134, name)}"), ask("https://i.ytimg.com/vi/{name}/mqdefault.jpg")
        print(json.dumps([said["playabilityStatus"]["reason"], media[0], thumbnail[0]]))
    """)
    block = ("--throttle-after", "0", "--throttle-kind", "vpn", "--media-status", "403", "--thumbnails", "all 404")
    ran = python("-m", "tests.youtube", *block, "--", sys.executable, "-c", script)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == ["VPN/Proxy Detected", 403, 404]


def test_the_wrapper_names_the_kinds_of_throttles_that_there_are() -> None:
    ran = python("-m", "tests.youtube", "--throttle-after", "0", "--throttle-kind", "nonsense", "--", "true")
    assert ran.returncode == 2
    assert all(kind in ran.stderr for kind in THROTTLE_KINDS)


def test_the_wrapper_puts_the_clips_of_what_is_annotated_on_a_mirror_if_wanted(tmp_path: Path) -> None:
    world = sample_world()
    stock_all(world)
    for subset, rows in world.annotations["400"].items():
        split = "val" if subset == "validate" else subset
        archives = [
            file.content for path, file in world.mirror.items() if path.startswith(f"/kinetics/400/{split}/part")
        ]
        clips = {name: clip for content in archives for name, clip in clips_in(content).items()}
        assert clips.keys() == {f"{row.youtube_id}_{row.time_start:06}_{row.time_end:06}.mp4" for row in rows}
        spoilt = [name for name, clip in clips.items() if clip != clip_of(length_of(name))]
        assert len(spoilt) == (4 if subset == "validate" else 2), "as many are corrupt as are short"
    assert clips_in(world.mirror[REPLACEMENTS].content)

    script = (
        "import sys, urllib.request\n"
        "listed = urllib.request.urlopen('https://s3.amazonaws.com/kinetics/400/val/k400_val_path.txt').read().split()\n"
        "sys.exit(len([urllib.request.urlopen(url.decode()).read() for url in listed]))"
    )
    ran = python("-m", "tests.youtube", "--mirror", "--", sys.executable, "-c", script)
    assert ran.returncode == 4, ran.stderr
    assert "and a mirror of their clips" in ran.stderr
