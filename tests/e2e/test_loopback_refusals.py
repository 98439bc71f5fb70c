"""What the loopback YouTube refuses to one client, visitor or address, as it is on the wire and in the log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3

from tests.support.network import client_of
from tests.youtube import replies
from tests.youtube.server import LoopbackYouTube
from tests.youtube.videos import Video
from tests.youtube.world import AS_18, NEWER_FAILURES, RELOAD, ClientRefusal, Scenario, World

PLAYER_URL = "https://www.youtube.com/youtubei/v1/player"
IDS = [f"refused-{number:03}" for number in range(4)]
USUAL = Scenario(Video(duration_s=6), clients=AS_18)
KIDS = NEWER_FAILURES["not offered"]


@pytest.fixture
def youtube() -> Iterator[LoopbackYouTube]:
    with LoopbackYouTube(World(dict.fromkeys(IDS, USUAL))) as running:
        yield running


@pytest.fixture
def http(youtube: LoopbackYouTube) -> urllib3.ProxyManager:
    return client_of(youtube)


def call(http: urllib3.ProxyManager, video_id: str, client: str = "VISIONOS", visitor: str = "") -> Any:
    context = {"client": {"clientName": client, **({"visitorData": visitor} if visitor else {})}}
    reply = http.request("POST", PLAYER_URL, json={"context": context, "videoId": video_id})
    return json.loads(reply.data) if reply.status == 200 else reply.status


def media_status(http: urllib3.ProxyManager, reply: Any) -> int:
    """The status with which the first file of a reply is served."""
    streaming = reply["streamingData"]
    return http.request("GET", (streaming["adaptiveFormats"] or streaming["formats"])[0]["url"]).status


def refused(youtube: LoopbackYouTube) -> list[str]:
    return [request.refused for request in youtube.requests]


def test_a_clients_replies_are_refused_by_words_or_status_from_some_video_on(
    youtube: LoopbackYouTube, http: urllib3.ProxyManager
) -> None:
    youtube.world.client_refusals = (
        ClientRefusal("VISIONOS", failure=KIDS, after=2),
        ClientRefusal("ANDROID", status=400, after=3),
    )
    assert ["streamingData" in call(http, video_id) for video_id in IDS] == [True, True, False, False]
    assert call(http, IDS[2]) == replies.failure(IDS[2], KIDS)
    assert "streamingData" in call(http, IDS[0]), "the order in which videos are first asked for counts"
    assert [call(http, video_id, "ANDROID") == 400 for video_id in IDS] == [False, False, False, True]
    assert refused(youtube) == ["", "", "client", "client", "client", "", "", "", "", "client"]


def test_the_media_of_a_client_are_refused_and_those_of_another_are_not(
    youtube: LoopbackYouTube, http: urllib3.ProxyManager
) -> None:
    youtube.world.client_refusals = (ClientRefusal("VISIONOS", media_status=410, after=1),)
    told = [call(http, video_id, client) for client in ("VISIONOS", "ANDROID") for video_id in IDS[:2]]
    assert [media_status(http, reply) for reply in told] == [200, 410, 200, 200]
    assert refused(youtube)[4:] == ["", "client", "", ""]


def test_a_visitor_id_is_turned_away_after_some_calls_and_each_visitor_call_brings_a_new_one(
    youtube: LoopbackYouTube, http: urllib3.ProxyManager
) -> None:
    youtube.world.visitor_id_calls = 2
    first, second = (call(http, IDS[0], "WEB")["responseContext"]["visitorData"] for _ in range(2))
    assert first != second
    assert [call(http, IDS[0], visitor=first) == replies.failure(IDS[0], RELOAD) for _ in range(4)] == [
        *(False, False),
        *(True, True),
    ]
    assert "streamingData" in call(http, IDS[0], visitor=second)
    assert "streamingData" in call(http, IDS[0], "ANDROID"), "it sends none"
    assert refused(youtube) == ["", "", "", "", "visitor id", "visitor id", "", ""]


def test_the_first_replies_name_addresses_whose_time_is_over(
    youtube: LoopbackYouTube, http: urllib3.ProxyManager
) -> None:
    youtube.world.scenarios[IDS[0]] = Scenario(USUAL.video, expired_replies=1)
    old, new = call(http, IDS[0]), call(http, IDS[0])
    expires = [
        parse_qs(urlsplit(reply["streamingData"]["adaptiveFormats"][0]["url"]).query)["expire"] for reply in (old, new)
    ]
    assert expires == [["1700000000"], ["4102444800"]]
    assert [media_status(http, reply) for reply in (old, new, old)] == [403, 200, 403]
    assert refused(youtube)[2:] == ["expired", "", "expired"]


def test_until_an_announced_ad_is_over_the_media_are_refused(
    youtube: LoopbackYouTube, http: urllib3.ProxyManager
) -> None:
    now = 1000.0
    youtube.world.clock = lambda: now
    youtube.world.scenarios[IDS[0]] = Scenario(USUAL.video, ad_s=15)
    reply = call(http, IDS[0])
    assert {"adSlots", "adPlacements"} <= reply.keys()
    assert media_status(http, reply) == 403
    now += 15
    assert media_status(http, reply) == 200
    assert refused(youtube) == ["", "ad", ""]
