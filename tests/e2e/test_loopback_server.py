"""The loopback YouTube tells the truth: its files, its replies, its faults and its log are what they claim to be."""

from __future__ import annotations

import csv
import gzip
import io
import json
import operator
import random
import tarfile
import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import av
import numpy as np
import pytest
import urllib3

from kinetics.errors import MayWorkLater
from kinetics.media import check
from tests.support.network import client_of, media_url
from tests.youtube import replies, spoils
from tests.youtube.boxes import boxes, elements, segment_index
from tests.youtube.mirror import (
    Crate,
    MirrorFile,
    clip_of,
    crates_of,
    stock,
)
from tests.youtube.picture import read_counter, upright
from tests.youtube.replies import MEDIA_HOST
from tests.youtube.server import LoopbackYouTube
from tests.youtube.videos import MediaFile, Spoil, Video
from tests.youtube.world import (
    BLOCKS,
    FAILURES,
    NEWER_FAILURES,
    PLAYER_FAULTS,
    REFUSALS,
    FakeThrottle,
    MediaFault,
    PlayerFault,
    Row,
    Scenario,
    ThumbnailMode,
    World,
)

USUAL = Video(duration_s=20)
VARIANTS = {
    "usual": Video(duration_s=6),
    "no edit list": Video(duration_s=6, edit_list=False),
    "no B-frames": Video(duration_s=6, bframes=0),
    "variable frame rate": Video(duration_s=6, vfr=True),
    "29.97": Video(duration_s=6, fps=Fraction(30_000, 1001)),
    "rotated": Video(duration_s=6, rotation=90),
    "upright": Video(duration_s=6, width=360, height=640),
    "small": Video(duration_s=6, width=426, height=240),
    "silent": Video(duration_s=6, sound=False),
    "vp9": Video(duration_s=6, codec="vp9"),
}
ID = "-_loopback0"
PLAYER_URL = "https://www.youtube.com/youtubei/v1/player"


@pytest.fixture
def youtube() -> Iterator[LoopbackYouTube]:
    with LoopbackYouTube(World({ID: Scenario(USUAL, ("dash", "progressive"))})) as running:
        yield running


@pytest.fixture
def http(youtube: LoopbackYouTube) -> urllib3.ProxyManager:
    return client_of(youtube)


def call_player(http: urllib3.ProxyManager, video_id: str = ID, client: str = "VISIONOS") -> urllib3.BaseHTTPResponse:
    return http.request("POST", PLAYER_URL, json={"context": {"client": {"clientName": client}}, "videoId": video_id})


# -- the files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in ("usual", "rotated", "vp9") else pytest.mark.soak) for name in VARIANTS],
)
def test_every_frame_says_its_own_number_and_is_shown_when_the_recipe_says(name: str) -> None:
    video = VARIANTS[name]
    for file in (file for file in video.files.values() if file.has_picture):
        shown = list(pictures(file))
        assert [number for number, _, _ in shown] == list(range(len(video.frame_times)))
        assert [time for _, time, _ in shown] == pytest.approx([float(time) for time in video.frame_times], abs=0.002)
        assert [number for number, _, keyframe in shown if keyframe] == video.keyframes


def pictures(file: MediaFile) -> Iterator[tuple[int, float, bool]]:
    """Each frame's number, its time from the first one, and whether it is a keyframe."""
    with av.open(str(file.path)) as media:
        first = None
        for frame in media.decode(video=0):
            assert frame.time is not None
            first = frame.time if first is None else first
            number = read_counter(upright(frame.to_ndarray(format="gray"), frame.rotation))
            yield number, frame.time - first, bool(frame.key_frame)


def test_the_counter_survives_a_coarse_re_encode_at_half_the_size(tmp_path: Path) -> None:
    source = VARIANTS["no B-frames"].progressive.path
    coarse = tmp_path / "coarse.mp4"
    with av.open(str(source)) as given, av.open(str(coarse), "w") as out:
        stream = out.add_stream("libx264", rate=30, options={"crf": "38", "preset": "ultrafast"})
        stream.width, stream.height = 320, 180
        for frame in given.decode(video=0):
            out.mux(stream.encode(frame.reformat(320, 180)))
        out.mux(stream.encode(None))
    with av.open(str(coarse)) as media:
        numbers = [read_counter(frame.to_ndarray(format="rgb24")) for frame in media.decode(video=0)]
    assert numbers == list(range(180))


def test_a_picture_without_a_counter_is_refused_instead_of_misread() -> None:
    with pytest.raises(ValueError, match="no frame counter"):
        read_counter(np.full((360, 640), 128, dtype=np.uint8))


def test_dash_files_are_init_then_index_then_fragments_that_start_with_keyframes() -> None:
    for video, file, (shortest, longest) in (
        (USUAL, USUAL.dash_video, (4.5, 5.5)),
        (USUAL, USUAL.dash_audio, (9.6, 9.9)),
        (VARIANTS["no edit list"], VARIANTS["no edit list"].dash_video, (4.5, 5.5)),
    ):
        data = file.path.read_bytes()
        names, fragments = [box.name for box in boxes(data)], segment_index(data)
        assert names == ["ftyp", "moov", "sidx"] + ["moof", "mdat"] * len(fragments)
        assert file.init_range == (0, boxes(data)[1].end - 1)
        assert file.index_range == (boxes(data)[2].start, boxes(data)[2].end - 1)
        assert [fragment.start for fragment in fragments] == [box.start for box in boxes(data) if box.name == "moof"]
        assert fragments[-1].start + fragments[-1].size == len(data)
        assert all(fragment.starts_with_keyframe for fragment in fragments)
        assert all(shortest <= fragment.duration_s <= longest for fragment in fragments[:-1])
        assert sum(fragment.duration_s for fragment in fragments) == pytest.approx(video.duration_s, abs=0.05)


def test_without_an_edit_list_the_index_and_the_picture_begin_at_1024() -> None:
    file = VARIANTS["no edit list"].dash_video
    with av.open(str(file.path)) as media:
        assert media.streams.video[0].start_time == 1024
    assert segment_index(file.path.read_bytes())[0].time_s == pytest.approx(1024 / 15360)


def test_some_fragments_hold_a_second_keyframe() -> None:
    fragments = len(segment_index(USUAL.dash_video.path.read_bytes()))
    assert fragments < len(USUAL.keyframes) < 2 * fragments


def test_the_progressive_file_has_its_header_in_front_and_both_streams() -> None:
    names = [box.name for box in boxes(USUAL.progressive.path.read_bytes())]
    assert names.index("moov") < names.index("mdat")
    with av.open(str(USUAL.progressive.path)) as media:
        assert [stream.type for stream in media.streams] == ["video", "audio"]


def test_webm_files_have_their_cues_in_front_of_the_clusters() -> None:
    for file in VARIANTS["vp9"].files.values():
        assert file.index_range is not None
        names = [element.name for element in elements(file.path.read_bytes())]
        assert names.index("1c53bb6b") < names.index("1f43b675")


# -- the network ------------------------------------------------------------------------------------------------------


def test_a_range_is_answered_with_206_and_exactly_those_bytes(
    youtube: LoopbackYouTube, http: urllib3.ProxyManager
) -> None:
    content = USUAL.dash_video.path.read_bytes()
    first = random.Random(0).randrange(len(content) - 1000)
    part = http.request("GET", media_url(134, ID), headers={"Range": f"bytes={first}-{first + 999}"})
    assert (part.status, part.data) == (206, content[first : first + 1000])
    assert part.headers["Content-Range"] == f"bytes {first}-{first + 999}/{len(content)}"
    assert http.request("GET", media_url(134, ID) + "&range=5-9").data == content[5:10]
    assert http.request("GET", media_url(134, ID), headers={"Range": f"bytes={len(content) - 7}-"}).data == content[-7:]
    assert http.request("GET", media_url(134, ID)).data == content
    assert http.request("HEAD", media_url(134, ID)).headers["Content-Length"] == str(len(content))
    assert http.request("GET", media_url(134, ID), headers={"Range": f"bytes={len(content)}-"}).status == 416
    assert [(request.range, request.bytes_sent) for request in youtube.requests][:2] == [
        ((first, first + 999), 1000),
        ((5, 9), 5),
    ]


def test_a_format_that_is_listed_but_not_meant_to_be_chosen_is_404(http: urllib3.ProxyManager) -> None:
    formats = json.loads(call_player(http).data)["streamingData"]["adaptiveFormats"]
    assert {133, 134, 137, 140} <= {entry["itag"] for entry in formats}
    assert http.request("GET", next(entry["url"] for entry in formats if entry["itag"] == 137)).status == 404


def test_media_of_clients_that_run_javascript_are_403_until_both_challenges_are_solved(
    http: urllib3.ProxyManager,
) -> None:
    offered = json.loads(call_player(http, client="TVHTML5").data)["streamingData"]["adaptiveFormats"][0]
    assert "url" not in offered
    cipher = dict(parse_qsl(offered["signatureCipher"]))
    query = dict(parse_qsl(urlsplit(cipher["url"]).query))
    letters = [*cipher["s"][:2:-1]]
    letters[0], letters[5] = letters[5], letters[0]
    right = {"sig": "".join(letters), "n": "".join(f"{(int(digit, 16) + 7) % 16:x}" for digit in query["n"][::-1])}
    for solved, status in ((right, 206), ({"sig": right["sig"]}, 403), ({"n": right["n"]}, 403), ({}, 403)):
        url = f"https://{MEDIA_HOST}/videoplayback?{urlencode(query | solved)}"
        assert http.request("GET", url, headers={"Range": "bytes=0-9"}).status == status


def test_any_other_host_is_refused_and_recorded(youtube: LoopbackYouTube, http: urllib3.ProxyManager) -> None:
    for url in ("https://example.org/", "http://www.youtube.com/", "https://evilgooglevideo.com/videoplayback"):
        try:
            assert http.request("GET", url).status == 403
        except urllib3.exceptions.ProxyError as error:
            assert "403" in str(error)
    assert [(request.kind, request.host) for request in youtube.requests] == [
        ("refused", "example.org"),
        ("refused", "www.youtube.com"),
        ("refused", "evilgooglevideo.com"),
    ]


def test_with_the_line_down_nothing_answers(youtube: LoopbackYouTube, http: urllib3.ProxyManager) -> None:
    assert call_player(http).status == 200
    youtube.world.line_down = True
    for _ in range(2):  # once on the connection that is open, once on a new one
        with pytest.raises(urllib3.exceptions.HTTPError):
            call_player(http)
    youtube.world.line_down = False
    assert call_player(http).status == 200


# -- faults -----------------------------------------------------------------------------------------------------------


def test_a_cut_body_is_logged_with_the_bytes_that_were_sent_and_strikes_as_often_as_told(
    youtube: LoopbackYouTube, http: urllib3.ProxyManager
) -> None:
    youtube.world.scenarios[ID] = Scenario(USUAL, media_faults=(MediaFault("cut", at=5000, times=1, itag=134),))
    assert http.request("GET", media_url(134, ID), headers={"Range": "bytes=0-4999"}).status == 206
    with pytest.raises(urllib3.exceptions.ProtocolError, match="4000 bytes read, 5000 more expected"):
        http.request("GET", media_url(134, ID), headers={"Range": "bytes=1000-9999"})
    assert len(http.request("GET", media_url(134, ID), headers={"Range": "bytes=1000-9999"}).data) == 9000
    assert [request.bytes_sent for request in youtube.requests] == [5000, 4000, 9000]


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (MediaFault("status", 503, times=1), 503),
        (MediaFault("html"), 200),
        (MediaFault("empty"), 200),
        (MediaFault("whole_file"), 200),
        (MediaFault("wrong_range"), 206),
    ],
)
def test_faults_take_the_place_of_a_reply(
    youtube: LoopbackYouTube, http: urllib3.ProxyManager, fault: MediaFault, status: int
) -> None:
    youtube.world.scenarios[ID] = Scenario(USUAL, media_faults=(fault,))
    reply = http.request("GET", media_url(134, ID), headers={"Range": "bytes=10-19"})
    assert reply.status == status
    assert reply.headers.get("Content-Range", "").startswith("bytes 10-19/") is False


def test_a_reply_need_not_say_how_long_it_is_and_may_then_be_cut_unnoticed(
    youtube: LoopbackYouTube, http: urllib3.ProxyManager
) -> None:
    faults = MediaFault("cut_unsaid", at=5000, times=1), MediaFault("unsaid")
    youtube.world.scenarios[ID] = Scenario(USUAL, media_faults=faults)
    cut, whole = (http.request("GET", media_url(134, ID), headers={"Range": "bytes=1000-9999"}) for _ in range(2))
    content = USUAL.dash_video.path.read_bytes()
    assert (cut.status, cut.data) == (206, content[1000:5000])
    assert (whole.status, whole.data) == (206, content[1000:10_000])
    for reply in (cut, whole):
        assert "Content-Length" not in reply.headers
        assert reply.headers["Content-Range"] == f"bytes 1000-9999/{len(content)}"


def test_a_media_host_that_hangs_up_says_nothing_at_all(youtube: LoopbackYouTube, http: urllib3.ProxyManager) -> None:
    youtube.world.scenarios[ID] = Scenario(USUAL, media_faults=(MediaFault("hang_up", times=1),))
    with pytest.raises(urllib3.exceptions.HTTPError, match=r"reset|closed"):
        http.request("GET", media_url(134, ID))
    assert [(request.status, request.bytes_sent) for request in youtube.requests] == [(0, 0)]
    assert http.request("GET", media_url(134, ID)).status == 200


def test_a_redirect_leads_where_it_is_told_to_and_the_media_host_there_answers(
    youtube: LoopbackYouTube, http: urllib3.ProxyManager
) -> None:
    there = MEDIA_HOST.replace("r1", "r2")
    for location, leads_to in (
        (f"https://{there}{{path}}", media_url(134, ID).replace(MEDIA_HOST, there)),
        ("file:///etc/passwd", "file:///etc/passwd"),
    ):
        youtube.world.scenarios[ID] = Scenario(USUAL, media_faults=(MediaFault("redirect", location=location),))
        reply = http.request("GET", media_url(134, ID), redirect=False)
        assert (reply.status, reply.headers["Location"]) == (302, leads_to)
    youtube.world.scenarios[ID] = Scenario(
        USUAL, media_faults=(MediaFault("redirect", location=f"https://{there}{{path}}"),)
    )
    assert http.request("GET", media_url(134, ID), redirect=True, retries=1).data == USUAL.dash_video.path.read_bytes()


SPOILS: dict[str, tuple[Spoil, Callable[[bytes, bytes], bool]]] = {
    "first half": (spoils.first_half, lambda right, wrong: wrong == right[: len(right) // 2]),
    "noise": (spoils.noise, lambda right, wrong: len(wrong) == len(right) and wrong[:1000] != right[:1000]),
    "zeros": (spoils.zeros, lambda right, wrong: len(wrong) == len(right) and not any(wrong)),
    "noise behind the index": (
        spoils.noise_behind_the_index,
        lambda right, wrong: segment_index(wrong) == segment_index(right) and b"moof" not in wrong,
    ),
    "noise for samples": (
        spoils.noise_for_samples,
        lambda right, wrong: boxes(wrong) == boxes(right) and sum(map(operator.eq, right, wrong)) < len(right) / 10,
    ),
    "a playlist": (lambda data: spoils.playlist("file:///a"), lambda right, wrong: wrong.startswith(b"#EXTM3U")),
    "a long header": (
        spoils.long_header(1 << 20),
        lambda right, wrong: [box.end - box.start for box in boxes(wrong)][:2] == [boxes(right)[0].end, 1 << 20],
    ),
    "a header that claims too much": (
        spoils.header_that_claims(50 << 20),
        lambda right, wrong: len(wrong) == len(right) and boxes(wrong)[1].end > 50 << 20,
    ),
    "an index outside the file": (
        spoils.index_outside_the_file,
        lambda right, wrong: len(wrong) == len(right) and segment_index(wrong)[0].start > len(wrong),
    ),
}


@pytest.mark.parametrize("name", SPOILS)
def test_a_spoilt_file_is_served_as_if_it_were_the_video(
    youtube: LoopbackYouTube, http: urllib3.ProxyManager, name: str
) -> None:
    spoil, as_told = SPOILS[name]
    told = call_player(http).data
    youtube.world.scenarios[ID] = Scenario(USUAL, ("dash", "progressive"), spoilt={134: spoil})
    assert call_player(http).data == told, "the player knows nothing of it"
    served = http.request("GET", media_url(134, ID)).data
    assert as_told(USUAL.dash_video.path.read_bytes(), served)
    part = http.request("GET", media_url(134, ID), headers={"Range": "bytes=10-19"})
    assert (part.data, part.headers["Content-Range"]) == (served[10:20], f"bytes 10-19/{len(served)}")
    sound = http.request("GET", media_url(140, ID)).data
    assert sound == USUAL.dash_audio.path.read_bytes(), "the others are left alone"


def test_a_file_with_a_long_header_plays_all_the_same(tmp_path: Path) -> None:
    file = tmp_path / "long.mp4"
    file.write_bytes(spoils.long_header(1 << 20)(VARIANTS["usual"].dash_video.path.read_bytes()))
    with av.open(str(file)) as media:
        assert sum(1 for _ in media.decode(video=0)) == len(VARIANTS["usual"].frame_times)


def test_a_passing_fault_of_the_player_passes(youtube: LoopbackYouTube, http: urllib3.ProxyManager) -> None:
    later = PlayerFault("failure", failure=FAILURES["later"], times=1)
    youtube.world.scenarios[ID] = Scenario(USUAL, player_faults=(PlayerFault("status", 503, times=2), later))
    replies = [call_player(http) for _ in range(4)]
    assert [reply.status for reply in replies] == [503, 503, 200, 200]
    assert ["streamingData" in json.loads(reply.data) for reply in replies[2:]] == [False, True]


@pytest.mark.parametrize("name", [name for name in PLAYER_FAULTS if name not in ("stalled", "SABR only")])
def test_no_player_fault_gives_the_right_video(youtube: LoopbackYouTube, http: urllib3.ProxyManager, name: str) -> None:
    youtube.world.scenarios[ID] = Scenario(USUAL, player_faults=(PLAYER_FAULTS[name],))
    try:
        reply = call_player(http)
        body = json.loads(reply.data)
    except (ValueError, urllib3.exceptions.HTTPError):
        return
    assert reply.status >= 400 or body["videoDetails"]["videoId"] != ID or "streamingData" not in body


def test_the_throttle_closes_for_everybody_counts_only_player_calls_and_opens_again(
    youtube: LoopbackYouTube, http: urllib3.ProxyManager
) -> None:
    youtube.world.throttle, now = FakeThrottle(after=2, for_s=5, retry_after="1"), [0.0]
    youtube.world.clock = lambda: now[0]
    calls = [call_player(http, client=client) for client in ("WEB", "VISIONOS", "WEB", "ANDROID", "VISIONOS", "WEB")]
    assert [reply.status for reply in calls] == [200, 200, 200, 200, 429, 429]
    assert calls[-1].headers["Retry-After"] == "1"
    assert sum(request.throttled for request in youtube.requests) == 2
    now[0] = 5.1
    assert [call_player(http).status for _ in range(5)] == [200] * 5


def test_a_throttle_can_be_extended_by_knocking_and_come_again() -> None:
    now = [0.0]
    world = World(throttle=FakeThrottle(after=1, for_s=5, extend=True, again=True), clock=lambda: now[0])
    closed = []
    for now[0] in (0, 1, 5, 9, 13, 20, 21):
        closed.append(world.throttled(visitor=False) is not None)
    assert closed == [False, True, True, True, True, False, True]


# -- blocks of everybody ----------------------------------------------------------------------------------------------


def test_a_block_says_its_words_of_every_video_and_leaves_visitor_calls_alone(
    youtube: LoopbackYouTube, http: urllib3.ProxyManager
) -> None:
    youtube.world.scenarios["is-private1"] = Scenario(failure=FAILURES["private"])
    for kind, failure in REFUSALS.items():
        youtube.world.throttle = FakeThrottle(after=0, for_s=60, kind=kind)
        for video_id in (ID, "is-private1"):
            reply = call_player(http, video_id)
            assert (reply.status, json.loads(reply.data)) == (200, replies.failure(video_id, failure)), kind
        assert json.loads(call_player(http, client="WEB").data) == replies.visitor(ID)
    refused = {(request.kind, request.throttled) for request in youtube.requests}
    assert refused == {("player", True), ("visitor", False)}


@pytest.mark.parametrize(
    ("kind", "status", "texts"),
    [
        ("not available", "UNPLAYABLE", ["Video unavailable", "This video is not available"]),
        ("content", "ERROR", ["Video unavailable", "This content isn\u2019t available."]),
        ("content, straight apostrophe", "ERROR", ["Video unavailable", "This content isn't available."]),
        ("bare", "ERROR", ["Video unavailable"]),
        ("something went wrong", "ERROR", ["Video unavailable", "Sorry, something went wrong"]),
        ("sign in", "LOGIN_REQUIRED", ["Please sign in"]),
    ],
)
def test_a_block_puts_its_words_where_youtube_does(
    youtube: LoopbackYouTube, http: urllib3.ProxyManager, kind: str, status: str, texts: list[str]
) -> None:
    youtube.world.throttle = FakeThrottle(after=0, kind=kind)
    said = json.loads(call_player(http).data)["playabilityStatus"]
    screen = said["errorScreen"]["playerErrorMessageRenderer"]
    assert (said["status"], said["reason"]) == (status, texts[0])
    assert [text["simpleText"] for text in screen.values()] == texts


def test_a_throttle_of_no_known_kind_is_refused_at_once() -> None:
    assert not FAILURES.keys() & BLOCKS.keys(), "a name would mean two refusals"
    with pytest.raises(ValueError, match=r"no throttle of the kind 'nonsense'; the kinds are 429, .*, bot, .*, vpn"):
        FakeThrottle(kind="nonsense")


@pytest.mark.parametrize("name", NEWER_FAILURES)
def test_newer_failures_reach_the_client_in_youtubes_words(
    youtube: LoopbackYouTube, http: urllib3.ProxyManager, name: str
) -> None:
    youtube.world.scenarios["-refused-01"] = Scenario(failure=NEWER_FAILURES[name])
    said = json.loads(call_player(http, "-refused-01").data)["playabilityStatus"]
    assert said["status"] == NEWER_FAILURES[name].status
    assert NEWER_FAILURES[name].words in json.dumps(said)
    assert "streamingData" in json.loads(call_player(http).data), "the others are left alone"


def test_media_refused_for_everybody_come_before_faults_and_use_none_of_them_up(
    youtube: LoopbackYouTube, http: urllib3.ProxyManager
) -> None:
    youtube.world.scenarios[ID] = Scenario(USUAL, media_faults=(MediaFault("status", 503, times=1),))
    youtube.world.media_status = 403
    for video_id in (ID, "unknown-id1"):
        assert http.request("HEAD", media_url(134, video_id)).status == 403
        reply = http.request("GET", media_url(140, video_id), headers={"Range": "bytes=10-19"})
        assert (reply.status, reply.data) == (403, b"")
    assert [(request.kind, request.status, request.range) for request in youtube.requests] == [
        ("media", 403, None),
        ("media", 403, (10, 19)),
    ] * 2
    youtube.world.media_status = None
    assert [http.request("GET", media_url(134, ID)).status for _ in range(2)] == [503, 200]


# -- thumbnails -------------------------------------------------------------------------------------------------------


def thumbnail_url(video_id: str) -> str:
    return f"https://i.ytimg.com/vi/{video_id}/mqdefault.jpg"


THUMBNAIL_SCENARIOS = {
    ID: Scenario(USUAL),
    "is-private1": Scenario(failure=FAILURES["private"]),
    "not-offered": Scenario(failure=NEWER_FAILURES["not offered"]),
    "is-refused1": Scenario(failure=FAILURES["bot"]),
    "stays-there": Scenario(failure=FAILURES["terminated"], thumbnail=True),
    "has-no-pic1": Scenario(USUAL, thumbnail=False),
}


@pytest.mark.parametrize(
    ("mode", "statuses"),
    [
        ("as usual", [200, 404, 200, 200, 200, 404, 404]),
        ("all 404", [404] * 7),
        ("all 200", [200] * 7),
        ("swapped", [404, 200, 404, 404, 404, 200, 200]),
        ("503", [503] * 7),
    ],
)
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_thumbnails_tell_which_videos_exist_or_mislead_as_told(
    youtube: LoopbackYouTube, http: urllib3.ProxyManager, method: str, mode: ThumbnailMode, statuses: list[int]
) -> None:
    youtube.world.scenarios, youtube.world.thumbnails = {**THUMBNAIL_SCENARIOS}, mode
    names = [*THUMBNAIL_SCENARIOS, "unknown-id1"]
    answers = [http.request(method, thumbnail_url(name)) for name in names]
    assert [answer.status for answer in answers] == statuses
    for answer in answers:
        said = int(answer.headers["Content-Length"])
        assert len(answer.data) == (said if method == "GET" else 0)
        if answer.status != 503:
            assert (answer.headers["Content-Type"], said > 0) == ("image/jpeg", True)
            assert method == "HEAD" or answer.data.startswith(b"\xff\xd8\xff")
    assert [(request.kind, request.method, request.video_id, request.status) for request in youtube.requests] == [
        ("thumbnail", method, name, status) for name, status in zip(names, statuses, strict=True)
    ]
    assert [request.bytes_sent for request in youtube.requests] == [len(answer.data) for answer in answers]


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize(
    ("mode", "complaint"), [("hang up", "closed|EOF"), ("silent", "timed out")], ids=["hang up", "silent"]
)
def test_a_thumbnail_host_may_not_answer_at_all(
    youtube: LoopbackYouTube, http: urllib3.ProxyManager, method: str, mode: ThumbnailMode, complaint: str
) -> None:
    youtube.world.thumbnails = mode
    with pytest.raises(urllib3.exceptions.HTTPError, match=complaint):
        http.request(method, thumbnail_url(ID), timeout=0.5)
    assert [(request.kind, request.status, request.bytes_sent) for request in youtube.requests] == [("thumbnail", 0, 0)]
    youtube.world.thumbnails = "as usual"
    assert http.request(method, thumbnail_url(ID)).status == 200


def test_the_thumbnail_host_has_nothing_else(youtube: LoopbackYouTube, http: urllib3.ProxyManager) -> None:
    for method, url in (
        ("GET", thumbnail_url(ID).replace("mqdefault", "hqdefault")),
        ("POST", thumbnail_url(ID)),
        ("POST", PLAYER_URL.replace("www.youtube.com", "i.ytimg.com")),
        ("GET", thumbnail_url(ID).replace("i.ytimg.com", "www.youtube.com")),
    ):
        assert http.request(method, url).status == 404
    assert {request.kind for request in youtube.requests} == {"other"}


# -- the archives and the wrapper -------------------------------------------------------------------------------------


def test_the_archive_has_the_official_layout(youtube: LoopbackYouTube, http: urllib3.ProxyManager) -> None:
    row = Row("massaging person's head", ID, 1, 11)
    youtube.world.annotate("700-2020", "validate", [row])
    youtube.world.annotate("700-2020", "test", [row])
    url = "https://storage.googleapis.com/deepmind-media/Datasets/kinetics700_2020.tar.gz"
    with tarfile.open(fileobj=io.BytesIO(http.request("GET", url).data)) as tar:
        members = {member.name: tar.extractfile(member).read().decode() for member in tar}  # type: ignore[union-attr]
    stem, subsets = "kinetics700_2020", ("train", "validate", "test")
    assert set(members) == {f"{stem}/{subset}.{kind}" for subset in subsets for kind in ("csv", "json")}
    header, _ = csv.reader(members[f"{stem}/test.csv"].splitlines())
    assert header == [
        "youtube_id",
        "time_start",
        "time_end",
        "split",
    ]
    assert list(csv.reader(members[f"{stem}/validate.csv"].splitlines())) == [
        ["label", "youtube_id", "time_start", "time_end", "split"],
        ["massaging person's head", ID, "1", "11", "validate"],
    ]
    assert json.loads(members[f"{stem}/validate.json"])[ID]["annotations"]["segment"] == [1.0, 11.0]
    assert http.request("GET", url.replace("700_2020", "600")).status == 404
    youtube.world.archive_faults["700-2020"] = "missing"
    assert http.request("GET", url).status == 404


# -- the mirror --------------------------------------------------------------------------------------------------------

ARCHIVE_PATH = "/kinetics/600/train/washing feet.tar.gz"


@pytest.fixture
def content(youtube: LoopbackYouTube) -> bytes:
    content = random.Random(600).randbytes(300_000)
    youtube.world.mirror[ARCHIVE_PATH] = MirrorFile(content)
    return content


def ask_mirror(
    http: urllib3.ProxyManager, method: str = "GET", **headers: str
) -> tuple[int, urllib3.HTTPHeaderDict, bytes]:
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    reply = http.request(method, f"https://s3.amazonaws.com{ARCHIVE_PATH.replace(' ', '%20')}", headers=said)
    return reply.status, reply.headers, reply.data


def test_the_mirror_serves_ranges_of_one_state_of_a_file(http: urllib3.ProxyManager, content: bytes) -> None:
    status, headers, body = ask_mirror(http)
    assert (status, headers["Content-Length"], body) == (200, "300000", content)
    etag = headers["ETag"]
    status, headers, body = ask_mirror(http, "HEAD")
    assert (status, headers["Content-Length"], headers["ETag"], body) == (200, "300000", etag, b"")
    for right in ({}, {"If_Match": etag}, {"If_Range": etag}):
        status, headers, body = ask_mirror(http, Range="bytes=100-199", **right)
        assert (status, headers["Content-Range"], body) == (206, "bytes 100-199/300000", content[100:200])
    assert ask_mirror(http, Range="bytes=299990-")[::2] == (206, content[-10:])
    assert ask_mirror(http, Range="bytes=300000-")[0] == 416
    assert ask_mirror(http, Range="bytes=100-199", If_Match='"other"')[0] == 412
    assert ask_mirror(http, Range="bytes=100-199", If_Range='"other"')[::2] == (200, content)


def test_a_file_that_is_replaced_once_a_fault_has_struck_has_another_tag(
    youtube: LoopbackYouTube, http: urllib3.ProxyManager, content: bytes
) -> None:
    then = MirrorFile(b"another")
    youtube.world.mirror[ARCHIVE_PATH] = MirrorFile(content, faults=(MediaFault("cut", at=150_000),), then=then)
    with pytest.raises(urllib3.exceptions.ProtocolError):
        ask_mirror(http)
    status, headers, body = ask_mirror(http)
    assert (status, headers["ETag"], body) == (200, then.etag, b"another")


def test_what_is_not_on_the_mirror_is_not_found(http: urllib3.ProxyManager) -> None:
    assert ask_mirror(http)[0] == 404


def test_archives_have_the_shapes_of_the_real_ones(youtube: LoopbackYouTube, http: urllib3.ProxyManager) -> None:
    rows = [Row("tai chi", f"-clip-{number:05}", number, number + 6) for number in range(2)]
    crates = [
        Crate(
            "tai chi.tar.gz",
            rows,
            "class",
            short=frozenset({rows[0].youtube_id}),
            corrupt=frozenset({rows[1].youtube_id}),
        ),
        Crate("part 1.tar.gz", rows, "home", packed=False),
    ]
    urls = stock(youtube.world, "600", "train", crates)
    listed = http.request("GET", "https://s3.amazonaws.com/kinetics/600/train/k600_train_path.txt").data.decode()
    assert listed.split("\n") == [*urls, ""]
    assert " " in urls[0]
    packed, plain = (http.request("GET", url.replace(" ", "%20")).data for url in urls)
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        sizes = {member.name: member.size for member in tar}
    assert [*sizes] == [
        f"tai chi/{dots}{row.youtube_id}_{row.time_start:06}_{row.time_end:06}.mp4"
        for row in rows
        for dots in ("._", "")
    ]
    with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as tar:
        assert {member.name: member.size for member in tar} == {
            f"home/kinetics/data/tai chi/trimmed/{row.youtube_id}_{row.time_start:06}_{row.time_end:06}.mp4": len(
                clip_of(6)
            )
            for row in rows
        }
    table = http.request("GET", "https://s3.amazonaws.com/kinetics/600/annotations/train.csv").data.decode()
    assert table.splitlines()[:2] == [
        "label,youtube_id,time_start,time_end,split,is_cc",
        '"tai chi",-clip-00000,0,6,train,0',
    ]


def test_a_whole_mirror_has_each_shape_and_each_fault(youtube: LoopbackYouTube, http: urllib3.ProxyManager) -> None:
    rows = [Row("tai chi", f"-clip-{number:05}", number, number + 3) for number in range(40)]
    crates = crates_of(rows)
    assert sorted(row for crate in crates for row in crate.rows) == rows
    assert [crate.shape for crate in crates] == ["flat", "home", "class", "flat"]
    assert [crate.packed for crate in crates] == [True, False, True, True]
    assert (len(crates[0].corrupt), len(crates[0].short)) == (2, 2)
    assert not {*crates[0].corrupt} & {*crates[0].short}
    *whole, damaged = (http.request("GET", url).data for url in stock(youtube.world, "400", "train", crates))
    for data in whole:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:*") as tar:
            assert sum(member.name.endswith(".mp4") for member in tar) in (10, 20)
    with pytest.raises((zlib.error, gzip.BadGzipFile, EOFError)):
        gzip.decompress(damaged)


def test_clips_are_short_or_corrupt_where_that_was_ordered(tmp_path: Path) -> None:
    row = Row("tai chi", "-clip-00000", 0, 6)
    crates = {
        "whole": Crate("", [row]),
        "short": Crate("", [row], short=frozenset({row.youtube_id})),
        "corrupt": Crate("", [row], corrupt=frozenset({row.youtube_id})),
    }
    played = {}
    for name, crate in crates.items():
        with tarfile.open(fileobj=io.BytesIO(crate.content), mode="r:gz") as tar:
            (member,) = tar
            clip = tar.extractfile(member)
            assert clip
            (tmp_path / name).write_bytes(clip.read())
        try:
            played[name] = check.decode_fully(tmp_path / name).duration_s
        except MayWorkLater:
            played[name] = 0.0
    assert played == pytest.approx({"whole": 6, "short": 3, "corrupt": 0}, abs=0.1)
