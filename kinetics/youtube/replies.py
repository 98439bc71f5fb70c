"""Tells what YouTube's words mean, wherever they stand in a player reply.

One condition reaches an engine as different exceptions, or as none, so only the words are compared. The table WORDINGS
says of each whom it is about: the video, the client that we pose as, our visitor id, or the address that we ask from.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

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


class About(Enum):
    """Whom YouTube's words are about, and so whom they stop."""

    VIDEO = "video"
    """YouTube's verdict on this video: it is gone."""
    CLIENT = "client"
    """YouTube refuses this client: the video lives, and another client may be served."""
    VISITOR = "visitor"
    """YouTube turns away the visitor id: the same client may be served with a new one."""
    ADDRESS = "address"
    """YouTube refuses this address or session: everybody waits."""


@dataclass(frozen=True, slots=True)
class Wording:
    """One row of the table: words of YouTube's, and what they mean."""

    pattern: str
    """A regular expression over the words in lower case, with straight apostrophes."""
    category: Category
    about: About
    general: bool = False
    """Whether the words say so little that they count only where no other sentence stands beside them.

    The pattern is then that of a whole sentence, without its full stop.
    """


WORDINGS: tuple[Wording, ...] = (
    # A bot check; "confirm you're not a robot" is its older form.
    Wording(r"not a (ro)?bot|captcha|unusual traffic", Category.THROTTLED, About.ADDRESS),
    Wording(r"try again later|rate-limited by youtube", Category.THROTTLED, About.ADDRESS),
    Wording(r"too many requests|http error 429", Category.THROTTLED, About.ADDRESS),
    # yt-dlp, of a reply for another video; its message goes on with "Your IP is likely being blocked by Youtube".
    Wording(r"all player responses are invalid", Category.THROTTLED, About.ADDRESS),
    # A block of the session, for every video after some hundreds: yt-dlp#12292, #14095, #17497, trailarr#129.
    Wording(r"this content (isn't|is not) available($|[.!]($| ))", Category.THROTTLED, About.ADDRESS),
    # "VPN/Proxy Detected", and "To continue, turn off your VPN/Proxy.": invidious#5525.
    Wording(r"vpn/proxy|(vpn|proxy) (is |was |has been )?detected", Category.THROTTLED, About.ADDRESS),
    # yt-dlp#16212, #17389.
    Wording(r"page needs to be reloaded", Category.ENGINE_ERROR, About.VISITOR),
    Wording(r"on other websites|on this (app|device|website)", Category.NOT_OFFERED, About.CLIENT),
    # Stands under "This video is unavailable": XCDYouTubeKit#560, yt-dlp#10108.
    Wording(r"latest version of youtube", Category.NOT_OFFERED, About.CLIENT),
    # Restricted Mode, which the network's administrator sets.
    Wording(r"video is restricted|restricted mode", Category.NOT_OFFERED, About.CLIENT),
    Wording(r"made for kids|youtube kids", Category.NOT_OFFERED, About.CLIENT),
    # Verdicts on the video. The specific ones come before the general ones that often stand beside them.
    Wording(r"private video|video is private", Category.PRIVATE, About.VIDEO),
    Wording(
        r"confirm your age|inappropriate for some users|content warning|age.restricted",
        Category.AGE_RESTRICTED,
        About.VIDEO,
    ),
    Wording(
        r"members.only|join this (youtube )?channel|channel's members|premium members|requires (payment|purchase)",
        Category.MEMBERS_ONLY,
        About.VIDEO,
    ),
    Wording(
        r"available in your (country|region|location)|blocked (it )?in your country|on this country domain",
        Category.REGION_BLOCKED,
        About.VIDEO,
    ),
    Wording(r"copyright claim|on copyright grounds", Category.COPYRIGHT, About.VIDEO),
    Wording(r"violating youtube's|community guidelines|terms of service", Category.TERMS, About.VIDEO),
    Wording(
        r"account.{0,60}(terminated|closed)|closed their.{0,20}account|channel has been terminated",
        Category.TERMINATED,
        About.VIDEO,
    ),
    Wording(r"copyright infringement", Category.COPYRIGHT, About.VIDEO),
    Wording(r"removed by the (uploader|user)", Category.REMOVED, About.VIDEO),
    Wording(r"live ?stream|live event|premiere|recording is not available", Category.LIVE, About.VIDEO),
    Wording(
        r"no longer (available|exists)|does not exist|isn't available any ?more|video has been (removed|deleted)",
        Category.UNAVAILABLE,
        About.VIDEO,
    ),
    # For videos made for kids (yt-dlp#15780), and for some that are not shown in this country (yt-dlp#17497).
    Wording(r"(this |the )?video (is not|isn't) available", Category.NOT_OFFERED, About.CLIENT, general=True),
    # The heading of many refusals, some of which are blocks: it is a verdict only where YouTube says nothing else.
    Wording(r"(this )?video (is )?unavailable", Category.UNAVAILABLE, About.VIDEO, general=True),
)
"""YouTube's words and their meaning. The first row that matches decides, so those about the address come before those
about the visitor id and the client, and these before the verdicts on the video: "Video unavailable" may stand above any
of them."""

NO_INFORMATION = re.compile(
    r"(learn|find out|read|show) more|more (info|information)|get (help|support)"
    r"|(watch|open|view|go to)( this| the)?( video)?( on| in)? youtube( app)?|watch (this |the )?video"
    r"|ok|okay|retry|reload|refresh|dismiss|close|cancel|back|go back|(go )?home"
)
"""Whole sentences beside a refusal that say nothing of it: labels of links and buttons."""
STRAIGHT = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\uff07", "'"))
"""Makes a straight apostrophe of every other one: YouTube writes both."""
MAX_MESSAGES = 20
"""Messages of a reply that are read: YouTube sends one or two, and each is compared with every row of the table."""
AGE_STATUSES = ("AGE_CHECK_REQUIRED", "AGE_VERIFICATION_REQUIRED", "CONTENT_CHECK_REQUIRED")
"""Values of a playabilityStatus that are verdicts whatever words stand beside them."""


def sort_reason(status: str, headings: Sequence[str], details: Sequence[str] = ()) -> ClipError:
    """Return the error that YouTube's words mean; its reason is all of the words.

    `status` is the reply's playabilityStatus, empty where unknown. Unknown words are an engine error: a video is not
    called gone on a guess, nor for a heading such as "Video unavailable" above a detail that no row of WORDINGS knows.
    """
    headings, details = ([text[:REASON_LIMIT] for text in texts] for texts in (headings, details))
    texts = [" ".join(_lowered(text).split()) for text in (*headings, *details)]
    reason = join_words(headings, details) or status or "no reason given"
    for row in WORDINGS:
        if not row.general and any(re.search(row.pattern, text) for text in texts):
            return _error(row, reason)
    if status in AGE_STATUSES:
        return Gone(Category.AGE_RESTRICTED, reason)
    if status.startswith("LIVE_STREAM"):
        return Gone(Category.LIVE, reason)
    sentences = [_bare(sentence) for text in texts for sentence in _sentences(text)]
    rows = [_general_row(sentence) for sentence in sentences if not NO_INFORMATION.fullmatch(sentence)]
    known = [row for row in rows if row]
    if known and len(known) == len(rows):
        return _error(min(known, key=WORDINGS.index), reason)
    return MayWorkLater(Category.ENGINE_ERROR, reason)


def _error(row: Wording, reason: str) -> ClipError:
    """Return the error for words that this row matches."""
    if row.about is About.ADDRESS:
        return StopEveryone(row.category, reason)
    if row.about is About.VIDEO:
        return (Unconfirmed if row.general else Gone)(row.category, reason)
    return VisitorRefused(row.category, reason) if row.about is About.VISITOR else NotOffered(reason)


def join_words(headings: Sequence[str], details: Sequence[str] = ()) -> str:
    """Return all words in YouTube's own spelling, each sentence once: `heading: detail; another detail`.

    A text may hold a heading and its detail: yt-dlp joins them with a full stop.
    """
    said: set[str] = set()
    found = [_new_sentences(text, said) for text in (*headings, *details)]
    parts = [" ".join(sentences) for sentences in found if sentences]
    if not any(found[: len(headings)]):
        return _listed(parts)
    first, *others = next(filter(None, found))
    if others and _general_row(_bare(first)):
        parts[:1] = [first, " ".join(others)]
    heading, detail = parts[0], _listed(parts[1:])
    return f"{heading.rstrip('.')}: {detail}" if detail else heading


def _listed(texts: Sequence[str]) -> str:
    *others, last = texts or [""]
    return "; ".join([*(text.rstrip(".") for text in others), last])


def _new_sentences(text: str, said: set[str]) -> list[str]:
    """Return the sentences of a text that are not in `said`, and add them to it."""
    found = []
    for sentence in _sentences(text):
        if (bare := _bare(sentence)) not in said:
            said.add(bare)
            found.append(sentence)
    return found


def _sentences(text: str) -> list[str]:
    """Return the sentences of a text that say anything at all, with single spaces."""
    return [sentence for sentence in re.split(r"(?<=[.!?])\s+", " ".join(text.split())) if _bare(sentence)]


def _bare(sentence: str) -> str:
    """Return a sentence in the form in which two are compared: in lower case, without punctuation at its ends."""
    return _lowered(sentence).strip(string.punctuation + string.whitespace + "\u2026")


def _lowered(text: str) -> str:
    return text.translate(STRAIGHT).lower()


def _general_row(sentence: str) -> Wording | None:
    """Return the general row of the table that a bare sentence matches, if one does."""
    return next((row for row in WORDINGS if row.general and re.fullmatch(row.pattern, sentence)), None)


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
    return sort_reason(_plain_text(status.get("status")), *_texts(status))


def _texts(status: Mapping[str, object]) -> tuple[list[str], list[str]]:
    """Return the headings and the details of a playabilityStatus. The same words may stand in several of its places."""
    screen = object_at(status, "errorScreen", "playerErrorMessageRenderer")
    overlay = object_at(status, "errorScreen", "playerInterstitialRenderer", "content", "interstitialViewModel")
    messages = status.get("messages")
    captcha = "playerCaptchaViewModel" in object_at(status, "errorScreen")
    headings = [status.get("reason"), screen.get("reason"), overlay.get("title")]
    details = [
        screen.get("subreason"),
        overlay.get("description"),
        *(messages[:MAX_MESSAGES] if isinstance(messages, list) else ()),
        "YouTube asks for a captcha" if captcha else "",
    ]
    return [*map(_plain_text, headings)], [*map(_plain_text, details)]


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


def offered_formats(reply: object) -> list[dict[str, Any]]:
    """Return what a player reply says of each format."""
    lists = (object_at(reply, "streamingData").get(name) for name in ("formats", "adaptiveFormats"))
    return [object_at(entry) for entries in lists if isinstance(entries, list) for entry in entries]


def object_at(node: object, *path: str) -> dict[str, Any]:
    """Return the JSON object at a path in a reply, an empty one where there is none."""
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else {}
