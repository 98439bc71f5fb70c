"""Reads what YouTube says of a video beside its formats: its title, channel, description, and so on.

All of it is in the reply that a player call brings anyway. It is other people's text, in a form that may change without
notice: whatever is missing, odd or too long becomes None or is cut, and never costs the clip.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date

from kinetics.records import VideoFacts
from kinetics.youtube.formats import SoundTrack, positive_number, track_and_alteration, whole_number
from kinetics.youtube.replies import object_at, offered_formats

Learn = Callable[[VideoFacts | None], object]
"""Takes in what a reply says of a video, which may be nothing."""
DESCRIPTION_LIMIT = 10_000
"""Characters of a description; YouTube accepts 5,000. A larger limit lets a hostile reply fill the tables and the pipes
between the processes, a smaller one cuts what people wrote."""
TEXT_LIMIT = 500
"""Characters of any other text: YouTube accepts 100 for a title, and 500 for all keywords together."""
MAX_KEYWORDS = 250
"""Keywords of a video: as many as fit into 500 characters, with a comma between them."""
_HALF_CHARACTERS = re.compile("[\ud800-\udfff]")
"""Halves of a character, which JSON can name but no file can hold."""
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")
"""A language tag (BCP 47)."""


def ignore(facts: VideoFacts | None) -> None:
    """Take in nothing."""


def facts_from_reply(reply: object, video_id: str) -> VideoFacts | None:
    """Return what a player reply says of a video; None where it says nothing, or is about another one."""
    details, more = object_at(reply, "videoDetails"), object_at(reply, "microformat", "playerMicroformatRenderer")
    if details.get("videoId") != video_id:
        return None
    description = details.get("shortDescription"), object_at(more, "description").get("simpleText")
    facts = VideoFacts(
        video_id,
        title=_first_text(details.get("title"), object_at(more, "title").get("simpleText")),
        channel=_first_text(details.get("author"), more.get("ownerChannelName")),
        channel_id=_first_text(details.get("channelId"), more.get("externalChannelId")),
        description=_first_text(*description, limit=DESCRIPTION_LIMIT),
        keywords=_keywords(details.get("keywords")),
        views=_first_number(details.get("viewCount"), more.get("viewCount")),
        length_s=positive_number(details.get("lengthSeconds")),
        category=_first_text(more.get("category")),
        published=_date(more.get("publishDate")) or _date(more.get("uploadDate")),
        language=_language(_tracks(reply)) or _caption_language(reply),
    )
    return None if facts == VideoFacts(video_id) else facts


def _first_text(*values: object, limit: int = TEXT_LIMIT) -> str | None:
    """Return the first value that is a text and not empty, cut to `limit` characters."""
    found = next((value for value in values if isinstance(value, str) and value), None)
    return _HALF_CHARACTERS.sub("\ufffd", found[:limit]) if found else None


def _keywords(values: object) -> tuple[str, ...]:
    return tuple(filter(None, map(_first_text, values[:MAX_KEYWORDS]))) if isinstance(values, list) else ()


def _first_number(*values: object) -> int | None:
    return next((number for number in map(whole_number, values) if number is not None), None)


def _date(value: object) -> date | None:
    """Return the day of a date or time as ISO 8601 writes it, None where it is no such text."""
    try:
        return date.fromisoformat(value[:10]) if isinstance(value, str) else None
    except ValueError:
        return None


def _tracks(reply: object) -> Iterator[tuple[SoundTrack, object]]:
    """Yield which sound each format of a reply has, and its language."""
    for entry in offered_formats(reply):
        if track := object_at(entry, "audioTrack"):
            name, default = str(track.get("displayName")), bool(track.get("audioIsDefault"))
            kind, _ = track_and_alteration(str(entry.get("url")), name=name, default=default)
            yield kind, str(track.get("id")).partition(".")[0]


def _caption_language(reply: object) -> str | None:
    """Return the language that YouTube heard when it made the automatic captions."""
    tracks = object_at(reply, "captions", "playerCaptionsTracklistRenderer").get("captionTracks")
    entries = map(object_at, tracks) if isinstance(tracks, list) else ()
    heard = [(SoundTrack.UNSAID, entry.get("languageCode")) for entry in entries if entry.get("kind") == "asr"]
    return _language(heard)


def _language(tracks: Iterable[tuple[SoundTrack, object]]) -> str | None:
    """Return the language of the sound that is most likely the original; None where that is open, or only dubs are."""
    named = [(track, one) for track, one in tracks if isinstance(one, str) and _LANGUAGE.fullmatch(one[:TEXT_LIMIT])]
    best = max((track for track, _ in named), default=SoundTrack.DUBBED)
    languages = {language for track, language in named if track is best}
    return languages.pop() if best > SoundTrack.DUBBED and len(languages) == 1 else None
