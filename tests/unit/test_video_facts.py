"""What is read of a video in a player reply, whatever form that has."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import date
from typing import Any

import pytest

from kinetics.records import StableFacts, VideoFacts
from kinetics.youtube.video_facts import DESCRIPTION_LIMIT, MAX_KEYWORDS, TEXT_LIMIT, facts_from_reply
from tests.support.player_replies import BASES, OK, PLAYABLE, mutated
from tests.youtube import replies

TITLE = 'a\nb\0c \u202edlrow\u2069 <script>alert("1")</script>'
DETAILS = {
    "videoId": OK,
    "title": TITLE,
    "author": "Someone",
    "channelId": "UC0123456789012345678901",
    "shortDescription": "first line\nhttps://example.com/?a=b",
    "keywords": ["harmonica", "blues, slow"],
    "viewCount": "12345",
    "lengthSeconds": "61",
}
MICROFORMAT = {
    "publishDate": "2011-03-04T05:06:07-08:00",
    "uploadDate": "2011-03-03",
    "category": "Music",
    "viewCount": "12344",
    "ownerChannelName": "Someone else",
}
FACTS = VideoFacts(
    OK,
    TITLE,
    "Someone",
    "UC0123456789012345678901",
    "first line\nhttps://example.com/?a=b",
    ("harmonica", "blues, slow"),
    12345,
    61.0,
    "Music",
    date(2011, 3, 4),
    "en",
)


def reply(
    details: Mapping[str, object] = DETAILS, microformat: object = MICROFORMAT, **more: object
) -> dict[str, object]:
    audio = {"itag": 140, "url": "https://x/", "audioTrack": {"id": "en.4", "displayName": "English original"}}
    return {
        "videoDetails": details,
        "microformat": {"playerMicroformatRenderer": microformat},
        "streamingData": {"adaptiveFormats": [audio]},
        **more,
    }


def test_a_reply_tells_all_of_the_video_and_its_texts_come_as_they_are() -> None:
    assert facts_from_reply(reply(), OK) == FACTS
    assert FACTS.stable == StableFacts(TITLE, "Someone", "en")


def test_the_microformat_stands_in_for_what_the_details_lack() -> None:
    microformat = MICROFORMAT | {"title": {"simpleText": "T"}, "description": {"simpleText": "D"}}
    found = facts_from_reply(reply({"videoId": OK}, microformat | {"externalChannelId": "UC1"}), OK)
    assert found == VideoFacts(
        OK, "T", "Someone else", "UC1", "D", views=12344, category="Music", published=date(2011, 3, 4), language="en"
    )


def test_a_reply_about_another_video_or_about_nothing_tells_nothing() -> None:
    assert facts_from_reply(reply(DETAILS | {"videoId": "another-one"}), OK) is None
    assert facts_from_reply({"videoDetails": {"videoId": OK}}, OK) is None
    assert facts_from_reply(None, OK) is None


WRONG: tuple[object, ...] = (None, True, -1, 1.5, 1e308, 10**30, "", [], [None], [[]], {}, {"simpleText": "T"}, b"T")
"""None of these is a text, a list of texts, a number, or a date."""


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_what_has_the_wrong_form_is_not_known_and_costs_nothing_else(value: object) -> None:
    odd = {name: value for name in DETAILS if name not in ("videoId", "lengthSeconds")}
    expected = replace(FACTS, category=None, published=None)
    only_length = VideoFacts(OK, length_s=61.0, language="en")
    assert facts_from_reply(reply(DETAILS | odd, {}), OK) == only_length
    microformat = dict.fromkeys(("publishDate", "uploadDate", "category"), value)
    assert facts_from_reply(reply(DETAILS, microformat), OK) == expected


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("title", "\ud800half", "title", "\ufffdhalf"),
        ("title", "\ud83d\ude00"[:1] + "x" * 600, "title", "\ufffd" + "x" * (TEXT_LIMIT - 1)),
        ("author", " ", "channel", " "),
        ("shortDescription", "d" * 10**6, "description", "d" * DESCRIPTION_LIMIT),
        ("keywords", ["a", None, 7, "", {"a": 1}, "b"], "keywords", ("a", "b")),
        ("keywords", "a,b", "keywords", ()),
        ("keywords", ["k"] * 10_000, "keywords", ("k",) * MAX_KEYWORDS),
        ("viewCount", 0, "views", 0),
        ("viewCount", "0", "views", 0),
        ("viewCount", "12,345", "views", None),
        ("viewCount", "9" * 5000, "views", None),
        ("viewCount", str(2**63), "views", None),
        ("lengthSeconds", "1e400", "length_s", None),
        ("lengthSeconds", "nan", "length_s", None),
        ("lengthSeconds", "61.5", "length_s", 61.5),
        ("lengthSeconds", None, "length_s", None),
    ],
)
def test_odd_values_are_cut_or_unknown(name: str, value: object, field: str, expected: object) -> None:
    found = facts_from_reply(reply(DETAILS | {name: value}, {}), OK)
    assert found
    assert getattr(found, field) == expected


@pytest.mark.parametrize("value", ["2011-13-01", "0000-00-00", "soon", "2011", "2011-03-04T"[:9], 20110304])
def test_what_is_no_date_is_none(value: object) -> None:
    found = facts_from_reply(reply(DETAILS, {"publishDate": value, "uploadDate": "2011-03-03"}), OK)
    assert found
    assert found.published == date(2011, 3, 3)


def track(track_id: object, name: str = "", *, default: bool = False, url: str = "https://x/") -> dict[str, object]:
    return {"url": url, "audioTrack": {"id": track_id, "displayName": name, "audioIsDefault": default}}


@pytest.mark.parametrize(
    ("tracks", "language"),
    [
        ([track("de.3", "German"), track("pt-BR.4", "Portuguese original")], "pt-BR"),
        ([track("de.3", "German", default=True), track("fr.3", "French")], "de"),
        ([track("de.3", url="https://x/?xtags=acont%3Ddubbed%3Alang%3Dde"), track("fr.3", default=True)], "fr"),
        ([track("de.3", url="https://x/?xtags=acont%3Ddubbed-auto%3Alang%3Dde")], None),
        ([track("en-desc.2", "English descriptive"), track("en.4", "English")], "en"),
        ([track("de.3"), track("fr.3")], None),
        ([track(None, "English original")], None),
        ([track("<b>", "original")], None),
        ([{"audioTrack": "en.4"}, 7, None], None),
    ],
)
def test_the_language_is_that_of_the_original_or_of_the_default_sound(tracks: list[Any], language: str | None) -> None:
    found = facts_from_reply(reply(streamingData={"adaptiveFormats": tracks}), OK)
    assert found
    assert found.language == language


def test_without_named_sounds_it_is_that_of_the_automatic_captions() -> None:
    captions = [{"languageCode": "fr"}, {"kind": "asr", "languageCode": "en"}, 7]
    heard = {"playerCaptionsTracklistRenderer": {"captionTracks": captions}}
    found = facts_from_reply(reply(streamingData={}, captions=heard), OK)
    assert found
    assert found.language == "en"


def test_a_later_answer_replaces_what_it_says_and_keeps_the_rest() -> None:
    later = VideoFacts(OK, title="New", views=0)
    assert later.completed_by(FACTS) == replace(FACTS, title="New", views=0)
    assert FACTS.completed_by(later) == FACTS
    assert FACTS.completed_by(None) is FACTS


def test_no_damage_to_a_reply_is_an_exception() -> None:
    bases = [*BASES, reply(), replies.player(OK, PLAYABLE["dubbed"], "VISIONOS") | reply()]
    for seed in range(3000):
        rng = random.Random(seed)
        found = facts_from_reply(mutated(rng.choice(bases), rng), OK)
        for value in (getattr(found, one.name) for one in fields(VideoFacts)) if found else ():
            assert value is None or isinstance(value, str | tuple | int | float | date)
            assert not isinstance(value, str) or len(value.encode()) <= 4 * DESCRIPTION_LIMIT
