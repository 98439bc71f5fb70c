"""Ranges of files, such as googlevideo.com's media, and what goes wrong with them."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tests.youtube.challenge import solved
from tests.youtube.pages import CONSENT_PAGE
from tests.youtube.world import MediaFault

if TYPE_CHECKING:
    from tests.youtube.visit import Visit

RANGE = re.compile(r"(?:bytes=)?(\d+)-(\d*)")
DRIP_BIT_S = 160.0


class Served(Protocol):
    """A file of which ranges are served."""

    @property
    def size(self) -> int: ...

    @property
    def mime_type(self) -> str: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def read(self, first: int, last: int) -> bytes | memoryview:
        """The bytes first..last."""


class Span(NamedTuple):
    """The bytes first..last of a file."""

    file: Served
    first: int
    last: int

    @property
    def content(self) -> bytes | memoryview:
        return self.file.read(self.first, self.last)


def serve_media(visit: Visit) -> None:
    """Answer one request for `/videoplayback?id=..&itag=..`, by a `Range:` header or a `range=` in the query."""
    video_id, itag = visit.query.get("id", ""), int(visit.query.get("itag", 0))
    in_header = RANGE.fullmatch(visit.headers.get("Range", ""))
    asked = _first_and_last(in_header or RANGE.fullmatch(visit.query.get("range", "")))
    visit.note(kind="media", video_id=video_id, itag=itag, range=asked)
    variant = visit.query.get("lmt")
    file = visit.world.scenario(video_id).file(itag, None if variant is None else int(variant))
    if (refused := visit.world.media_status) is not None:
        visit.reply(refused, b"", "text/plain")
        return
    if why := _why_refused(visit, video_id):
        visit.note(refused=why[0])
        visit.reply(why[1], b"", "text/plain")
        return
    if not solved(visit.query):
        visit.reply(403, b"", "text/plain")
        return
    if file is None:
        visit.reply(404, b"", "text/plain")
        return
    first, last = asked or (0, None)
    span = Span(file, first, file.size - 1 if last is None else min(last, file.size - 1))
    if span.first > span.last:
        visit.begin(416, "text/plain", 0, {"Content-Range": f"bytes */{file.size}"})
    else:
        fault = visit.world.media_fault(video_id, visit.host, itag, span.first, span.last)
        answer(visit, span, fault, partial=in_header is not None)


def _why_refused(visit: Visit, video_id: str) -> tuple[str, int] | None:
    """Why these media are refused, whatever the file, and the status that says so."""
    if float(visit.query.get("expire", "inf")) < time.time():
        return "expired", 403
    if visit.world.in_ad(video_id):
        return "ad", 403
    refusal = visit.world.client_refusal(visit.query.get("c", ""), video_id)
    return ("client", refusal.media_status) if refusal and refusal.media_status else None


def _first_and_last(asked: re.Match[str] | None) -> tuple[int, int | None] | None:
    return asked and (int(asked[1]), int(asked[2]) if asked[2] else None)


def answer(visit: Visit, span: Span, fault: MediaFault | None, *, partial: bool) -> None:
    """Send these bytes, or what a fault makes of that."""
    if fault:
        _answer_badly(visit, span, fault)
    else:
        _begin(visit, span, partial=partial)
        visit.send(span.content)


def _begin(visit: Visit, span: Span, partial: bool, moved: int = 0, unsaid: bool = False) -> None:
    headers = {"Accept-Ranges": "bytes", **span.file.headers}
    if partial:
        headers["Content-Range"] = f"bytes {span.first + moved}-{span.last + moved}/{span.file.size}"
    mime_type = span.file.mime_type.partition(";")[0]
    visit.begin(206 if partial else 200, mime_type, None if unsaid else span.last - span.first + 1, headers)


def _answer_badly(visit: Visit, span: Span, fault: MediaFault) -> None:
    match fault.kind:
        case "status":
            visit.reply(fault.status, b"", "text/plain", retry_after=fault.retry_after)
        case "redirect":
            visit.begin(302, "text/plain", 0, {"Location": fault.location.format(path=visit.path)})
        case "hang_up":
            visit.cut(with_reset=True)
        case "html":
            visit.reply(200, CONSENT_PAGE, "text/html")
        case "empty":
            visit.reply(200, b"", "video/mp4")
        case "whole_file":
            whole = Span(span.file, 0, span.file.size - 1)
            _begin(visit, whole, partial=False)
            visit.send(whole.content)
        case "wrong_range":
            _begin(visit, span, partial=True, moved=1000)
            visit.send(span.content)
        case "unsaid":
            _begin(visit, span, partial="Range" in visit.headers, unsaid=True)
            visit.send(span.content)
        case _:
            _stop_inside(visit, span, fault)


def _stop_inside(visit: Visit, span: Span, fault: MediaFault) -> None:
    assert fault.at is not None
    _begin(visit, span, partial="Range" in visit.headers, unsaid=fault.kind == "cut_unsaid")
    visit.send(span.file.read(span.first, fault.at - 1))
    match fault.kind:
        case "cut" | "cut_unsaid":
            visit.cut()
        case "reset":
            visit.cut(with_reset=True)
        case "stall":
            visit.stall()
        case "drip":
            visit.send(span.file.read(fault.at, span.last), bit_s=DRIP_BIT_S)
