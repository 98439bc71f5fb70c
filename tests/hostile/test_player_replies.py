"""Whatever the player replies: media of YouTube's, or a reason; a living video is not called gone by foreign words."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable
from typing import Any

import pytest

from kinetics.errors import ClipError, Gone, MayWorkLater
from kinetics.net.http import HttpSession
from kinetics.net.range_file import RangeFile
from kinetics.youtube.replies import WORDINGS, check_reply
from tests.support.engine_process import Answer, ask
from tests.support.player_replies import OK, PLAYABLE, mutated, places_in
from tests.youtube import replies, visit
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import FAILURES, Scenario, World

GONE_WORDS = (
    *("Private video", "Video unavailable", "This video has been removed by the uploader", "Premieres in 3 hours"),
    *("This video is no longer available because the YouTube account associated with this video has been terminated.",),
    *(
        "Sign in to confirm your age",
        "Join this channel to get access to members-only content",
        "ERROR",
        "LOGIN_REQUIRED",
    ),
    *("The uploader has not made this video available in your country", "AGE_CHECK_REQUIRED", "LIVE_STREAM_OFFLINE"),
)
FOREIGN: tuple[Any, ...] = (
    *GONE_WORDS,
    *(
        "https://example.org/v",
        "file:///etc/passwd",
        "https://example.org\\@r1.googlevideo.com/v",
        "http://r1.googlevideo.com",
    ),
    *(
        "https://r1.googlevideo.com/v\r\nHost: example.org",
        "https://r1.googlevideo.com/\x00\x1b",
        None,
        -1,
        1e308,
        [],
        {},
    ),
    *("999999999999999999999999", "-5", {"simpleText": "Private video"}, ["Video unavailable"], True, "x" * 100_000),
)
SOUND = [replies.player(OK, scenario, "VISIONOS") for scenario in PLAYABLE.values()]
VERDICT = {"playabilityStatus", "isLive", "isUpcoming", "isLiveContent", "isLiveNow", "videoId"}
"""Where YouTube says what it thinks of a video; everything else is the uploader's, or about formats."""


def garbled(reply: Any, rng: random.Random) -> Any:
    """A playable reply with words that sound like a verdict, and addresses elsewhere, in places that are none."""
    reply = json.loads(json.dumps(reply))
    streaming = reply["streamingData"]
    reply["videoDetails"] |= {"title": rng.choice(GONE_WORDS), "author": rng.choice(GONE_WORDS)}
    reply["microformat"] = {"playerMicroformatRenderer": {"description": {"simpleText": rng.choice(GONE_WORDS)}}}
    for key in ("hlsManifestUrl", "dashManifestUrl", "serverAbrStreamingUrl"):
        if rng.random() < 0.3:
            streaming[key] = rng.choice(("https://example.org/list", "file:///etc/passwd", "http://127.0.0.1/x"))
    for _ in range(rng.choice((0, 1, 3, 10))):
        holder, key = rng.choice([(holder, key) for holder, key in _outside_the_verdict(reply)])
        holder[key] = copy.deepcopy(rng.choice(FOREIGN))
    if rng.random() < 0.01 and isinstance(formats := streaming.get("adaptiveFormats"), list):
        streaming["adaptiveFormats"] = formats[:2] * 5000
    return reply


def _outside_the_verdict(node: Any) -> list[tuple[Any, Any]]:
    hidden = {id(value) for holder, key in places_in(node) if key in VERDICT for value in [holder[key]]}
    inside = {
        id(holder)
        for place in places_in(node)
        if id(place[0][place[1]]) in hidden
        for holder, _ in places_in(place[0][place[1]])
    }
    return [
        (holder, key)
        for holder, key in places_in(node)
        if key not in VERDICT | {"videoDetails", "streamingData"} and id(holder) not in hidden | inside
    ]


def answers_to(youtube: LoopbackYouTube, engine: str, count: int, make: Callable[[str], Any]) -> list[Answer]:
    """What an engine makes of some replies, in a process of its own."""
    made: dict[str, Any] = {}

    def serve(video_id: str, scenario: Scenario, client: str) -> Any:
        return made.setdefault(video_id, make(video_id))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replies, "player", serve)
        ids = [f"hostile{number:04}" for number in range(count)]
        return [
            answer
            for first in range(0, count, BATCH)
            for answer in ask(youtube.env, engine, ids[first : first + BATCH], timeout_s=5)
        ]


DEAD = ("Gone", "Unconfirmed")


def assert_only_youtubes_media_are_followed(answers: list[Answer]) -> None:
    for answer in answers:
        assert answer.kind in ("found", "MayWorkLater", "StopEveryone", "NotOffered", *DEAD)
        assert len(answer.reason) < 5000
        for url in answer.urls:
            if not url.startswith("https://r1---sn-x.googlevideo.com/"):
                session = HttpSession()
                if not url.startswith("https://r1.googlevideo.com/"):
                    with pytest.raises(MayWorkLater, match="outside YouTube"):
                        RangeFile(session, url).prefetch(0, 1)
                    assert session.requests == 0


def still_says(reply: Any, category: str) -> bool:
    """Whether the part of a reply that is YouTube's verdict holds words, or a status, of that category."""
    words = json.dumps(reply["playabilityStatus"], ensure_ascii=False).replace("\u2019", "'").lower()
    patterns = [row.pattern for row in WORDINGS if row.category == category]
    return any(re.search(pattern, words) for pattern in patterns) or bool(re.search(r'"(age|content)_check_', words))


BATCH = 250
"""Replies that one process is asked about, before another one goes on."""
COUNTS = [60, pytest.param(2500, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])]


@pytest.mark.parametrize("engine", ["pytubefix", "yt-dlp"])
@pytest.mark.parametrize("count", COUNTS, ids=["some", "many"])
def test_words_and_addresses_in_foreign_places_make_no_video_gone_and_lead_nowhere(engine: str, count: int) -> None:
    def make(video_id: str) -> Any:
        rng = random.Random(f"{video_id} {engine}")
        return garbled(json.loads(json.dumps(rng.choice(SOUND)).replace(OK, video_id)), rng)

    with LoopbackYouTube(World()) as youtube:
        answers = answers_to(youtube, engine, count, make)
        asked = {request.host for request in youtube.requests}
    assert [answer for answer in answers if answer.kind in DEAD] == []
    assert sum(answer.kind == "found" for answer in answers) > count // 4
    assert asked == {"www.youtube.com"}
    assert_only_youtubes_media_are_followed(answers)


@pytest.mark.parametrize("engine", ["pytubefix", "yt-dlp"])
@pytest.mark.parametrize("count", COUNTS, ids=["some", "many"])
def test_a_garbled_reply_is_gone_only_by_what_it_still_says_of_the_video(engine: str, count: int) -> None:
    said: dict[str, Any] = {}

    def make(video_id: str) -> Any:
        rng = random.Random(f"{video_id} {engine}")
        failure = rng.random() < 0.5
        base = replies.failure(OK, rng.choice([*FAILURES.values()])) if failure else SOUND[0]
        reply = mutated(json.loads(json.dumps(base).replace(OK, video_id)), rng)
        said[video_id] = reply
        return reply

    with LoopbackYouTube(World()) as youtube:
        answers = answers_to(youtube, engine, count, make)
        assert {request.host for request in youtube.requests} == {"www.youtube.com"}
    for number, answer in enumerate(answers):
        if answer.kind in DEAD and answer.category != "live":
            assert still_says(said[f"hostile{number:04}"], answer.category)
    assert {answer.kind for answer in answers} >= {"found", "Gone", "MayWorkLater"}
    assert_only_youtubes_media_are_followed(answers)


# -- by its size ------------------------------------------------------------------------------------------------------

ODD_BODIES: dict[str, Callable[[bytes], bytes]] = {
    "nested without end": lambda sound: b'{"a":' * 300_000,
    "an array nested within": lambda sound: sound[:-1] + b', "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "20 MB of description": lambda sound: sound[:-1] + b', "x": "' + b"y" * (20 << 20) + b'"}',
    "a number of 5,000 digits": lambda sound: sound[:-1] + b', "x": ' + b"9" * 5000 + b"}",
    "NULs": lambda sound: bytes(1000),
    "no UTF-8": lambda sound: sound.replace(b"Loopback", b"\xff\xfe\xfd"),
    "a list": lambda sound: b"[" + sound + b"]",
    "a text": lambda sound: json.dumps(sound.decode()).encode(),
    "twice": lambda sound: sound + sound,
}


@pytest.mark.parametrize("engine", ["pytubefix", "yt-dlp"])
def test_a_body_of_odd_size_or_depth_is_an_answer_or_an_engine_error(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"odd-{number:07}" for number in range(len(ODD_BODIES))]

    def serve(call: visit.Visit) -> None:
        asked = json.loads(call.body)
        if asked["context"]["client"]["clientName"] == "WEB":
            call.reply_json(replies.visitor(OK))
            return
        spoil = [*ODD_BODIES.values()][ids.index(asked["videoId"])]
        sound = json.dumps(replies.player(asked["videoId"], PLAYABLE["dash"], "VISIONOS")).encode()
        call.reply(200, spoil(sound), "application/json")

    monkeypatch.setattr(visit, "serve_player", serve)
    with LoopbackYouTube(World()) as youtube:
        answers = dict(zip(ODD_BODIES, ask(youtube.env, engine, ids), strict=True))
    assert answers["20 MB of description"].kind == "found"
    for answer in answers.values():
        assert (answer.kind, answer.category) in (("found", ""), ("MayWorkLater", "engine_error"))


def test_what_a_reply_says_at_length_is_cut() -> None:
    status = {"status": "ERROR", "reason": "This video is private" + "!" * 10_000_000}
    with pytest.raises(Gone) as caught:
        check_reply({"playabilityStatus": status}, OK)
    assert len(caught.value.reason) <= 2000
    assert len(str(caught.value)) <= 2000


def test_only_true_means_live() -> None:
    details = {"videoId": OK, "isLive": "no", "isUpcoming": {"runs": 3}}
    check_reply(
        {"playabilityStatus": {"status": "OK"}, "videoDetails": details, "streamingData": {"formats": []} | {"a": 1}},
        OK,
    )
    with pytest.raises(ClipError):
        check_reply({"playabilityStatus": {"status": "OK"}, "videoDetails": details | {"isLive": True}}, OK)
