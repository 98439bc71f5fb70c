"""What YouTube's words mean, wherever they stand in a player reply, and what is kept of them."""

from __future__ import annotations

import itertools
import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinetics.errors import (
    REASON_LIMIT,
    ClipError,
    Gone,
    MayWorkLater,
    NotOffered,
    StopEveryone,
    Unconfirmed,
    VisitorRefused,
)
from kinetics.records import Category
from kinetics.youtube.replies import WORDINGS, About, check_reply, join_words, sort_reason, status_error
from tests.support.player_replies import BASES, OK, mutated
from tests.youtube.world import FAILURES

UNAVAILABLE = "Video unavailable"
VISITOR = (VisitorRefused, Category.ENGINE_ERROR)
UNKNOWN = (MayWorkLater, "engine_error")
BLOCKED = (StopEveryone, "throttled")
REFUSED = (NotOffered, "not_offered")

MEANINGS: list[tuple[str, str, tuple[type[ClipError], str], str]] = [
    # YouTube refuses this address or session, whatever stands above its words.
    (UNAVAILABLE, "This content isn't available.", BLOCKED, "Video unavailable: This content isn't available."),
    (UNAVAILABLE, "This content isn’t available", BLOCKED, "Video unavailable: This content isn’t available"),  # noqa: RUF001
    ("This content isn't available.", "", BLOCKED, "This content isn't available."),
    ("This content is not available.", "Learn more", BLOCKED, "This content is not available: Learn more"),
    (
        UNAVAILABLE,
        "This content isn’t available, try again later.",  # noqa: RUF001
        BLOCKED,
        "Video unavailable: This content isn’t available, try again later.",  # noqa: RUF001
    ),
    ("An error occurred. Please try again later.", "", BLOCKED, "An error occurred. Please try again later."),
    ("VPN/Proxy Detected", "", BLOCKED, "VPN/Proxy Detected"),
    (
        UNAVAILABLE,
        "To continue, turn off your VPN/Proxy. This will allow YouTube to locate the best content.",
        BLOCKED,
        "Video unavailable: To continue, turn off your VPN/Proxy. This will allow YouTube to locate the best content.",
    ),
    (
        "Sign in to confirm you’re not a bot",  # noqa: RUF001
        "This helps protect our community. Learn more",
        BLOCKED,
        "Sign in to confirm you’re not a bot: This helps protect our community. Learn more",  # noqa: RUF001
    ),
    (
        "Video unavailable. YouTube is requiring a captcha challenge before playback",
        "",
        BLOCKED,
        "Video unavailable: YouTube is requiring a captcha challenge before playback",
    ),
    *(
        (words, "", BLOCKED, words)
        for words in (
            "The current session has been rate-limited by YouTube for up to an hour.",
            "Unable to download API page: HTTP Error 429: Too Many Requests",
            "All player responses are invalid. Your IP is likely being blocked by Youtube",
        )
    ),
    # YouTube refuses this client: the video lives.
    ("This video is not available", "", REFUSED, "This video is not available"),
    (UNAVAILABLE, "This video is not available.", REFUSED, "Video unavailable: This video is not available."),
    (UNAVAILABLE, "This video isn’t available", REFUSED, "Video unavailable: This video isn’t available"),  # noqa: RUF001
    (
        UNAVAILABLE,
        "Playback on other websites has been disabled by the video owner",
        REFUSED,
        "Video unavailable: Playback on other websites has been disabled by the video owner",
    ),
    (
        "Video unavailable. This video is not available on this device",
        "",
        REFUSED,
        "Video unavailable: This video is not available on this device",
    ),
    (
        "The following content is not available on this app.",
        "Watch on the latest version of YouTube.",
        REFUSED,
        "The following content is not available on this app: Watch on the latest version of YouTube.",
    ),
    (
        "This video is unavailable",
        "Watch on the latest version of YouTube.",
        REFUSED,
        "This video is unavailable: Watch on the latest version of YouTube.",
    ),
    (
        UNAVAILABLE,
        "It has content from SME, who has blocked it from display on this website",
        REFUSED,
        "Video unavailable: It has content from SME, who has blocked it from display on this website",
    ),
    (
        UNAVAILABLE,
        "This video is restricted. Check with your network administrator.",
        REFUSED,
        "Video unavailable: This video is restricted. Check with your network administrator.",
    ),
    (
        "This video is unavailable with Restricted Mode enabled.",
        "",
        REFUSED,
        "This video is unavailable with Restricted Mode enabled.",
    ),
    (UNAVAILABLE, "This video is made for kids", REFUSED, "Video unavailable: This video is made for kids"),
    # It is about the visitor id, and another one may be taken: no refusal of the client.
    (
        UNAVAILABLE,
        "The page needs to be reloaded.",
        VISITOR,
        "Video unavailable: The page needs to be reloaded.",
    ),
    # Nobody knows: no verdict on a guess, and a heading is no verdict on what stands below it.
    *(
        (words, "", UNKNOWN, words)
        for words in (
            "Please sign in",
            "This video is DRM protected",
            "Something else went wrong",
            "Vidéo non disponible",
            "이 동영상은 더 이상 볼 수 없습니다.",
        )
    ),
    *(
        (heading, detail, UNKNOWN, f"{heading}: {detail}")
        for heading, detail in itertools.product(
            (UNAVAILABLE, "This video is unavailable", "This video is not available"),
            ("Sorry, something went wrong", "Please sign in", "Error code: 152 - 18", "이 동영상은 비공개입니다."),
        )
    ),
    ("", "", UNKNOWN, "UNPLAYABLE"),
    # The heading alone, and with what says nothing of the refusal.
    (UNAVAILABLE, "", (Unconfirmed, "unavailable"), "Video unavailable"),
    ("This video is unavailable.", "", (Unconfirmed, "unavailable"), "This video is unavailable."),
    *(
        (UNAVAILABLE, label, (Unconfirmed, "unavailable"), f"Video unavailable: {label}")
        for label in (
            "Learn more",
            "Watch on YouTube",
            "Watch this video on YouTube",
            "This video is unavailable",
            "OK.",
        )
    ),
    *(
        (UNAVAILABLE, empty, (Unconfirmed, "unavailable"), "Video unavailable")
        for empty in (UNAVAILABLE, " ", "...", "\n\t")
    ),
    (UNAVAILABLE, "VIDEO UNAVAILABLE.", (Unconfirmed, "unavailable"), "Video unavailable"),
    # Verdicts on the video; the more telling words win.
    (
        "Private video",
        "Sign in if you've been granted access to this video",
        (Gone, "private"),
        "Private video: Sign in if you've been granted access to this video",
    ),
    (
        "This video is private",
        "Please sign in to verify that you may see it.",
        (Gone, "private"),
        "This video is private: Please sign in to verify that you may see it.",
    ),
    (
        "This video is available to this channel’s members on level: Gold (or any higher level).",  # noqa: RUF001
        "",
        (Gone, "members_only"),
        "This video is available to this channel’s members on level: Gold (or any higher level).",  # noqa: RUF001
    ),
    *(
        (words, "", (Gone, "members_only"), words)
        for words in (
            "Join this channel to get access to members-only content like this video",
            "This video requires payment to watch",
            "This video is only available to Music Premium members",
        )
    ),
    (
        UNAVAILABLE,
        "This video contains content from SME, who has blocked it in your country on copyright grounds",
        (Gone, "region_blocked"),
        "Video unavailable: This video contains content from SME, who has blocked it in your country on copyright "
        "grounds",
    ),
    *(
        (UNAVAILABLE, words, (Gone, "region_blocked"), f"Video unavailable: {words}")
        for words in (
            "The uploader has not made this video available in your country",
            "This video is not available in your country",
            "This video is unavailable in your location.",
            "This content is not available on this country domain due to a legal complaint from the government.",
        )
    ),
    (
        UNAVAILABLE,
        "This video contains content from UMG, who has blocked it on copyright grounds",
        (Gone, "copyright"),
        "Video unavailable: This video contains content from UMG, who has blocked it on copyright grounds",
    ),
    (
        "The YouTube account associated with this video has been terminated due to multiple third-party notifications "
        "of copyright infringement.",
        "",
        (Gone, "terminated"),
        "The YouTube account associated with this video has been terminated due to multiple third-party notifications "
        "of copyright infringement.",
    ),
    (
        UNAVAILABLE,
        "This video has been removed for violating YouTube’s policy on violent or graphic content",  # noqa: RUF001
        (Gone, "terms"),
        "Video unavailable: This video has been removed for violating YouTube’s policy on violent or graphic content",  # noqa: RUF001
    ),
    (
        "This video is not available",
        "This video has been removed by the uploader",
        (Gone, "removed"),
        "This video is not available: This video has been removed by the uploader",
    ),
    ("This video has been removed", "", (Gone, "unavailable"), "This video has been removed"),
    ("This video isn’t available anymore", "", (Gone, "unavailable"), "This video isn’t available anymore"),  # noqa: RUF001
    (
        UNAVAILABLE,
        "This video is no longer available.",
        (Gone, "unavailable"),
        "Video unavailable: This video is no longer available.",
    ),
]


@pytest.mark.parametrize(("heading", "detail", "means", "reason"), MEANINGS)
def test_youtubes_words_mean(heading: str, detail: str, means: tuple[type[ClipError], str], reason: str) -> None:
    found = sort_reason("UNPLAYABLE", [heading], [detail])
    assert (type(found), found.category, found.reason) == (*means, reason)


@pytest.mark.parametrize(("heading", "detail", "means", "reason"), MEANINGS)
def test_the_meaning_does_not_depend_on_where_the_words_stand(
    heading: str, detail: str, means: tuple[type[ClipError], str], reason: str
) -> None:
    joined = ". ".join(text.rstrip(".") for text in (heading, detail) if text)
    for headings, details in (([detail], [heading]), ([], [heading, detail]), ([joined], []), ([detail, heading], [])):
        found = sort_reason("UNPLAYABLE", headings, details)
        assert (type(found), found.category) == means


@pytest.mark.parametrize("name", FAILURES)
def test_all_of_youtubes_words_are_in_the_reason_each_once(name: str) -> None:
    said = FAILURES[name]
    texts = [text for text in (said.reason, said.subreason, *said.messages) if text]
    screen = {"reason": {"simpleText": said.reason}, "subreason": {"runs": [{"text": said.subreason}]}}
    status: dict[str, Any] = {
        "status": said.status,
        "reason": said.reason,
        "messages": [*said.messages, *said.messages],
    }
    found = status_error(status | {"errorScreen": {"playerErrorMessageRenderer": screen}})
    for text in texts:
        assert found.reason.count(text.rstrip(".")) == 1
    assert len(found.reason) <= sum(map(len, texts)) + 2 * len(texts) or not texts


def test_a_heading_and_its_detail_in_one_text_read_like_those_apart() -> None:
    together = "Video unavailable. This content isn't available. Learn more"
    assert join_words([together]) == "Video unavailable: This content isn't available. Learn more"
    assert join_words([UNAVAILABLE], [together]) == join_words([together])
    lists = (["Oh no.", "Oh dear."], ["One.", "Two", "", "one", "Three."])
    assert join_words(*lists) == "Oh no: Oh dear; One; Two; Three."
    assert join_words(["", " "], ["One.", "Two."]) == "One; Two."
    assert join_words([UNAVAILABLE, "Oh no."]) == "Video unavailable: Oh no."
    assert join_words([], []) == join_words([""], ["..."]) == ""


@pytest.mark.parametrize(
    ("status", "heading", "category"),
    [
        ("AGE_CHECK_REQUIRED", "", Category.AGE_RESTRICTED),
        ("AGE_VERIFICATION_REQUIRED", "Altersprüfung", Category.AGE_RESTRICTED),
        ("CONTENT_CHECK_REQUIRED", UNAVAILABLE, Category.AGE_RESTRICTED),
        ("LIVE_STREAM_OFFLINE", "In 3 Stunden", Category.LIVE),
    ],
)
def test_some_statuses_are_verdicts_themselves(status: str, heading: str, category: Category) -> None:
    found = sort_reason(status, [heading])
    assert (type(found), found.category, found.reason) == (Gone, category, heading or status)


def test_a_refusal_of_the_address_outweighs_one_of_the_client_and_this_a_verdict() -> None:
    says = {
        About.ADDRESS: "Sign in to confirm you're not a bot",
        About.VISITOR: "The page needs to be reloaded.",
        About.CLIENT: "Playback on other websites has been disabled by the video owner",
        About.VIDEO: "This video has been removed by the uploader",
    }
    for stronger, weaker in itertools.combinations(says, 2):
        for order in ([says[stronger], says[weaker]], [says[weaker], says[stronger]]):
            assert type(sort_reason("ERROR", order)) is type(sort_reason("ERROR", [says[stronger]]))


def test_the_table_is_in_the_order_that_its_docstring_tells() -> None:
    order = [About.ADDRESS, About.VISITOR, About.CLIENT, About.VIDEO]
    specific = [order.index(row.about) for row in WORDINGS if not row.general]
    assert specific == sorted(specific)
    assert [row.general for row in WORDINGS] == sorted(row.general for row in WORDINGS)
    for row in WORDINGS:
        assert row.pattern == row.pattern.lower()
        assert re.compile(row.pattern)
        assert row.category.gone == (row.about is About.VIDEO)
        assert (row.category is Category.THROTTLED) == (row.about is About.ADDRESS)


@pytest.mark.parametrize("said", ["Video unavailable", "Private video", "Premieres in 3 hours"])
def test_a_captcha_below_a_verdict_stops_everyone(said: str) -> None:
    screen: dict[str, Any] = {"playerCaptchaViewModel": {"skipButton": {}}}
    reply = {"playabilityStatus": {"status": "ERROR", "reason": said, "errorScreen": screen}}
    with pytest.raises(StopEveryone, match=f"{said}: YouTube asks for a captcha"):
        check_reply(reply, OK)


PRIVATE = "This video is private"
INTERSTITIAL = ("errorScreen", "playerInterstitialRenderer", "content", "interstitialViewModel")


def at(path: tuple[str, ...], node: Any) -> Any:
    """The node below these keys."""
    for name in reversed(path):
        node = {name: node}
    return node


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"reason": PRIVATE}, PRIVATE),
        ({"reason": {"runs": [{"text": "This video "}, {"text": "is private"}]}}, PRIVATE),
        ({"messages": [PRIVATE]}, PRIVATE),
        ({"messages": [{"simpleText": PRIVATE}]}, PRIVATE),
        (at(("errorScreen", "playerErrorMessageRenderer"), {"reason": {"simpleText": PRIVATE}}), PRIVATE),
        (
            {"reason": UNAVAILABLE}
            | at(("errorScreen", "playerErrorMessageRenderer"), {"subreason": {"runs": [{"text": PRIVATE}]}}),
            f"{UNAVAILABLE}: {PRIVATE}",
        ),
        (at(INTERSTITIAL, {"title": {"content": PRIVATE}}), PRIVATE),
        (at(INTERSTITIAL, {"title": {"content": UNAVAILABLE}, "description": {"content": PRIVATE}}), None),
        (
            {"reason": UNAVAILABLE, "messages": ["Sorry."]} | at(INTERSTITIAL, {"description": {"content": PRIVATE}}),
            f"{UNAVAILABLE}: {PRIVATE}; Sorry.",
        ),
    ],
)
def test_the_words_are_found_wherever_they_stand(said: dict[str, Any], reason: str | None) -> None:
    with pytest.raises(Gone) as caught:
        check_reply({"playabilityStatus": {"status": "ERROR"} | said}, OK)
    assert (caught.value.category, caught.value.reason) == (Category.PRIVATE, reason or f"{UNAVAILABLE}: {PRIVATE}")


def test_an_unknown_detail_in_any_place_leaves_the_heading_no_verdict() -> None:
    status: dict[str, Any] = {"status": "ERROR", "reason": UNAVAILABLE}
    screen = ("errorScreen", "playerErrorMessageRenderer")
    for said in (
        {"messages": ["Something new"]},
        at(screen, {"reason": {"simpleText": "Something new"}}),
        at(screen, {"subreason": {"simpleText": "Something new"}}),
        at(INTERSTITIAL, {"title": {"content": "Something new"}}),
        at(INTERSTITIAL, {"description": {"content": "Something new"}}),
    ):
        found = status_error(status | said)
        assert (type(found), found.category) == UNKNOWN
        assert found.reason == f"{UNAVAILABLE}: Something new"


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_any_words_at_all_are_an_error_with_a_reason(headings: list[str], details: list[str]) -> None:
    found = sort_reason("", headings, details)
    assert 0 < len(found.reason) <= REASON_LIMIT


@given(st.sampled_from(BASES), st.randoms(use_true_random=False))
def test_a_hostile_reply_is_accepted_or_refused_but_never_a_crash(reply: Any, rng: random.Random) -> None:
    try:
        check_reply(mutated(reply, rng), OK)
    except ClipError as error:
        assert isinstance(error.reason, str)
        assert error.reason
