"""Tells what YouTube's words mean, wherever they stand in a player reply.

One condition reaches an engine as different exceptions, or as none, so only the words are compared. The table
GONE_WORDS is where "private video" is told from "removed".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kinetics.errors import ClipError, Gone, MayWorkLater, StopEveryone
from kinetics.records import Category

STOP_WORDS = (
    "not a bot",
    "captcha",
    "try again later",
    "rate-limited by youtube",
    "too many requests",
    "http error 429",
    "all player responses are invalid",
)
"""YouTube refuses every request from this address for a while; "Video unavailable" may stand beside these words."""
CLIENT_WORDS = re.compile(
    r"on other websites|on this (app|device|website)|latest version of youtube|page needs to be reloaded"
    r"|video is restricted|video is not available\W*$"
)
"""YouTube refuses this client or network. The video exists, even if "Video unavailable" stands above these words."""
GONE_WORDS: tuple[tuple[Category, str], ...] = (
    (Category.PRIVATE, r"private video|video is private"),
    (Category.AGE_RESTRICTED, r"confirm your age|inappropriate for some users|content warning|age.restricted"),
    (Category.MEMBERS_ONLY, r"members.only|join this channel|premium members|requires (payment|purchase)"),
    (Category.REGION_BLOCKED, r"available in your (country|region|location)|blocked it in your country"),
    (Category.COPYRIGHT, r"copyright claim|on copyright grounds"),
    (Category.TERMS, r"violating youtube's|community guidelines|terms of service"),
    (Category.TERMINATED, r"account.{0,60}(terminated|closed)|closed their.{0,20}account"),
    (Category.COPYRIGHT, r"copyright infringement"),
    (Category.REMOVED, r"removed by the (uploader|user)"),
    (Category.LIVE, r"live ?stream|live event|premiere|recording is not available"),
    (
        Category.UNAVAILABLE,
        r"video unavailable|no longer (available|exists)|does not exist|isn't available any ?more"
        r"|video (is unavailable|has been (removed|deleted))",
    ),
)
"""YouTube's verdicts on a video. The first match decides, so the specific ones come before the general ones that often
stand beside them."""


def sort_reason(status: str, texts: Sequence[str]) -> ClipError:
    """Return the error that YouTube's words mean; its reason is the text that decided.

    `status` is the reply's playabilityStatus, empty where unknown. Unknown words are an engine error: a video is not
    called gone on a guess.
    """
    lowered = [(text, text.replace("\u2019", "'").lower()) for text in texts if text]
    for text, low in lowered:
        if any(words in low for words in STOP_WORDS):
            return StopEveryone(Category.THROTTLED, text)
    for text, low in lowered:
        if CLIENT_WORDS.search(low):
            return MayWorkLater(Category.ENGINE_ERROR, text)
    for category, pattern in GONE_WORDS:
        for text, low in lowered:
            if re.search(pattern, low):
                return Gone(category, text)
    reason = "; ".join(text for text, _ in lowered) or status or "no reason given"
    if status in ("AGE_CHECK_REQUIRED", "AGE_VERIFICATION_REQUIRED", "CONTENT_CHECK_REQUIRED"):
        return Gone(Category.AGE_RESTRICTED, reason)
    if status.startswith("LIVE_STREAM"):
        return Gone(Category.LIVE, reason)
    return MayWorkLater(Category.ENGINE_ERROR, reason)


def check_reply(reply: object, video_id: str) -> None:
    """Raise a ClipError unless a player reply brings the media of that video."""
    status, details = object_at(reply, "playabilityStatus"), object_at(reply, "videoDetails")
    if status.get("status") != "OK":
        raise status_error(status)
    if details.get("videoId") != video_id:
        raise StopEveryone(
            Category.THROTTLED,
            f"YouTube answered for another video ({str(details.get('videoId'))[:20]}): "
            "it is likely to be blocking this address",
        )
    if True in (details.get("isLive"), details.get("isUpcoming")):
        raise Gone(Category.LIVE, "This is a live stream or a premiere")
    if not object_at(reply, "streamingData"):
        raise MayWorkLater(Category.ENGINE_ERROR, "no streams in YouTube's reply")


def status_error(status: Mapping[str, object]) -> ClipError:
    """Return the error that a playabilityStatus other than OK means."""
    return sort_reason(_plain_text(status.get("status")), _texts(status))


def _texts(status: Mapping[str, object]) -> list[str]:
    """Return all texts of a playabilityStatus, the most specific first."""
    screen = object_at(status, "errorScreen", "playerErrorMessageRenderer")
    overlay = object_at(status, "errorScreen", "playerInterstitialRenderer", "content", "interstitialViewModel")
    messages = status.get("messages")
    found = [
        "YouTube asks for a captcha" if "playerCaptchaViewModel" in object_at(status, "errorScreen") else "",
        screen.get("subreason"),
        overlay.get("description"),
        status.get("reason"),
        *(messages if isinstance(messages, list) else ()),
        screen.get("reason"),
        overlay.get("title"),
    ]
    return [text for text in map(_plain_text, found) if text]


def _plain_text(node: object) -> str:
    """Return a text that YouTube writes as a string, as `simpleText`, as `content` or in `runs`; empty for others."""
    if isinstance(node, str):
        return node
    if isinstance(node, list):
        return "".join(map(_plain_text, node))
    if isinstance(node, dict):
        names = ("simpleText", "content", "text", "runs")
        return next(filter(None, (_plain_text(node.get(name)) for name in names)), "")
    return ""


def object_at(node: object, *path: str) -> dict[str, Any]:
    """Return the JSON object at a path in a reply, an empty one where there is none."""
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else {}
