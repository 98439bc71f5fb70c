"""Whatever a media host replies: each byte that is read is the file's, or the read says why not."""

from __future__ import annotations

import gzip
import random
import re
import socket
import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinetics.errors import ClipError, MayWorkLater
from kinetics.net import http as net_http
from kinetics.net import responses
from kinetics.net.http import READ_TIMEOUT_S, REDIRECTS, HttpSession
from kinetics.net.range_file import RangeFile
from kinetics.net.responses import BROKEN_TRIES, MIN_PROGRESS_BYTES, TRIES
from tests.support.network import go_through, media_url
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import ResetStage, World

URL = media_url(18, "-_loopback0")

CONTENT = random.Random(7).randbytes(30_000)
HOST = "r1---sn-x.googlevideo.com"
ELSEWHERE = (
    *(
        "https://example.org/v",
        "http://r1.googlevideo.com/v",
        "file:///etc/passwd",
        "//example.org/v",
        "https://127.0.0.1/v",
    ),
    *(
        "https://[::1]/v",
        "https://localhost/v",
        "https://googlevideo.com.example.org/v",
        "https://evilgooglevideo.com/v",
    ),
    *(
        "https://googlevideo.com@example.org/v",
        "https://example.org\\@r1.googlevideo.com/v",
        "ftp://r1.googlevideo.com/v",
    ),
    *("https://example.org\\.googlevideo.com/v", "https://googlevideo.com./v", "https://r1.googlevideo.com:8443/v"),
    *(
        "https://\uff47ooglevideo.com.example/v",
        "https://googlevideo\u3002com.example/v",
        "https://2130706433/v",
        "https:///v",
    ),
    *(
        "https://example.org%2f.googlevideo.com/v",
        "https://exa mple.googlevideo.com/v",
        "data:,x",
        "//[::1",
        "\\\\host\\v",
    ),
)
AMONG = (
    "/videoplayback",
    "https://rr9---sn-y.googlevideo.com/v?x=1",
    "HTTPS://RR9.GOOGLEVIDEO.COM/v",
    "https://www.youtube.com/v",
)


@dataclass(frozen=True)
class Reply:
    """How one request is answered. It brings the bytes that it says it brings: the framing is what lies."""

    status: str = "206 Partial Content"
    part: str = "bytes {first}-{last}/{size}"
    """Content-Range; empty for none."""
    moved: int = 0
    """How far the bytes that it brings lie from those asked for."""
    length: str = "right"
    """Content-Length: right, none, `+n` or `-n`, `chunked`, or whatever stands here."""
    cut: int | None = None
    """After this many bytes of the body the connection ends."""
    extra: bytes = b""
    """Behind the body."""
    headers: tuple[str, ...] = ()
    coding: str = ""
    interim: int = 0
    """This many `100 Continue` before it."""
    version: str = "HTTP/1.1"
    then: str = "keep"

    def packed(self, first: int, last: int) -> bytes:
        first, last = max(0, first + self.moved), max(0, min(last, len(CONTENT) - 1) + self.moved)
        part = self.part.format(first=first, last=last, size=len(CONTENT))
        claimed = re.match(r"bytes (\d+)-(\d+)/", part, re.ASCII)
        body = CONTENT[int(claimed[1]) : int(claimed[2]) + 1] if claimed else CONTENT[first : last + 1]
        head = [f"{self.version} {self.status}", *self.headers]
        if self.part:
            head.append(f"Content-Range: {part}")
        if self.coding:
            head.append(f"Content-Encoding: {self.coding}")
            body = gzip.compress(body) if "gzip" in self.coding else body
        if self.length == "chunked":
            head.append("Transfer-Encoding: chunked")
            body = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
        elif re.fullmatch(r"right|[+-]\d+", self.length):
            head.append(f"Content-Length: {max(0, len(body) + int(self.length.replace('right', '0')))}")
        elif self.length != "none":
            head.append(f"Content-Length: {self.length}")
        interim = b"HTTP/1.1 100 Continue\r\n\r\n" * self.interim
        # Behind a body that is cut short, more would be its next bytes, and wrong ones: that no reader can know.
        sent = body + self.extra if self.cut is None else body[: self.cut]
        return interim + "\r\n".join([*head, "", ""]).encode("latin-1", "replace") + sent


class Scripted(LoopbackYouTube):
    """Its media host follows a script, and answers as it should once that is at its end."""

    script: tuple[Reply, ...] = ()
    asked: list[tuple[str, int, int]]

    def serve(self, connection: Any, address: object, host: str, reset_stage: ResetStage | None = None) -> None:
        with self.tls.wrap_socket(connection, server_side=True) as inner, suppress(OSError):
            while request := self._request(inner):
                first, last = map(int, re.findall(rb"bytes=(\d+)-(\d+)", request)[0])
                reply = self.script[len(self.asked)] if len(self.asked) < len(self.script) else Reply()
                self.asked.append((host, first, last))
                inner.sendall(reply.packed(first, last))
                if reply.then == "reset":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                elif reply.then == "stall":
                    self.closing.wait(3 * READ_TIMEOUT_S)
                if reply.then != "keep" or reply.cut is not None:
                    return

    def _request(self, inner: Any) -> bytes:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            piece = inner.recv(1 << 16)
            if not piece:
                return b""
            request += piece
        return request


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    monkeypatch.setattr(responses, "BACK_OFF_S", 0.0)
    monkeypatch.setattr(net_http, "READ_TIMEOUT_S", 0.3)
    with Scripted(World()) as running:
        running.asked = []
        go_through(running, monkeypatch)
        yield running


parts = st.one_of(
    st.just("bytes {first}-{last}/{size}"),
    st.sampled_from(
        [
            *("", "bytes {first}-{last}/*", "bytes */{size}", "bytes {first}-{last}", "items {first}-{last}/{size}"),
            *("bytes -{first}-{last}/{size}", "bytes {first}--1/{size}", "bytes {last}-{first}/{size}", "bytes=0-1/2"),
            *("bytes {first}-{last}/0", "bytes {first}-{last}/9223372036854775808", "bytes {first}-{last}/999999999"),
            *(
                "bytes {first}-99999/{size}",
                "bytes 0-0/1",
                "BYTES {first}-{last}/{size}",
                "bytes  {first}-{last}/{size}",
            ),
            *(
                "bytes {first}-{last}/{size}, bytes 0-1/2",
                "bytes \u0661-{last}/{size}",
                "bytes {first}-{last}/" + "9" * 5000,
            ),
        ]
    ),
)
lengths = st.sampled_from(
    ["right", "right", "right", "none", "chunked", "+10", "-10", "-3", "+99999", "-1", "x", "9" * 30, "0"]
)
headers = st.lists(
    st.sampled_from(
        [
            *("Set-Cookie: id=1", "Connection: close", "Connection: upgrade", "Retry-After: 99999999999999999999999"),
            *(
                "Retry-After: x",
                "Content-Type: text/html",
                "X: " + "y" * 70_000,
                "X: " + "y" * 60_000,
                "no header",
                ": x",
            ),
            *(
                "Transfer-Encoding: gzip",
                "X:\n folded",
                "Content-Length: 5",
                "Content-Range: bytes 0-1/2",
                "\x00\x1b[31m: x",
            ),
            *(f"Location: {target}" for target in (*ELSEWHERE[:3], AMONG[0])),
            "\r\n".join(f"X{number}: y" for number in range(150)),
        ]
    ),
    max_size=2,
).map(tuple)
partial_replies = st.builds(
    Reply,
    part=parts,
    moved=st.sampled_from([0, 0, 0, 1, -1, 1000]),
    length=lengths,
    cut=st.one_of(st.none(), st.none(), st.integers(0, 20_000)),
    extra=st.sampled_from([b"", b"", b"more than was asked for", b"HTTP/1.1 206 OK\r\n\r\n"]),
    headers=headers,
    coding=st.sampled_from(["", "", "", "", "identity", "gzip", "x-gzip", "br", "deflate, gzip", "zstd"]),
    interim=st.sampled_from([0, 0, 0, 1, 50]),
    version=st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2", "ICY"]),
    then=st.sampled_from(["keep", "keep", "close", "reset"]),
)
STATUSES = (
    "200 OK",
    "204 No",
    "205 x",
    "301 x",
    "302 x",
    "304 x",
    "307 x",
    "403 x",
    "404 x",
    "416 x",
    "429 x",
    "500 x",
    "503 x",
)
other_replies = st.builds(
    Reply,
    status=st.sampled_from([*STATUSES, "102 Processing", "103 Early", "600 x", "99 x", "-206 x", "two x", "206", ""]),
    part=st.sampled_from(["", "bytes {first}-{last}/{size}"]),
    length=lengths,
    headers=headers,
    then=st.sampled_from(["keep", "close", "reset"]),
)
redirects = st.builds(
    lambda status, target: Reply(status, "", length="0", headers=(f"Location: {target}",), cut=0),
    st.sampled_from(["301 x", "302 x", "303 x", "307 x", "308 x"]),
    st.sampled_from([*AMONG * 5, *ELSEWHERE]),
)
scripts = st.lists(
    st.one_of(
        partial_replies, partial_replies, other_replies, redirects, st.just(Reply(length="-29000", then="stall"))
    ),
    max_size=8,
).map(tuple)
spans = st.lists(st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(1, 12_000)), min_size=1, max_size=3)


@pytest.mark.parametrize(
    "examples", [50, pytest.param(5000, marks=[pytest.mark.soak, pytest.mark.timeout(7200)])], ids=["some", "many"]
)
def test_each_byte_that_is_read_is_the_files_or_the_read_says_why_not(scripted: Scripted, examples: int) -> None:
    answered = refused = 0

    @settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(scripts, spans)
    def read_along(script: tuple[Reply, ...], spans: list[tuple[int, int]]) -> None:
        nonlocal answered, refused
        scripted.script, scripted.asked = script, []
        session = HttpSession()
        file = RangeFile(session, URL)
        for start, length in spans:
            before = session.requests
            try:
                file.prefetch(start, start + length)
                file.seek(start)
                while (place := file.tell()) < min(start + length, len(CONTENT)):
                    piece = file.read(start + length - place)
                    if not piece:
                        assert place >= file.size, "the end, though the host says that there is more"
                        break
                    assert piece == CONTENT[place : place + len(piece)]
                answered += 1
            except ClipError as error:
                refused += 1
                assert error.reason
            progress = len(CONTENT) // MIN_PROGRESS_BYTES + 2
            assert session.requests - before <= 4 * progress * TRIES * REDIRECTS
        assert sum(len(data) for _, data in file._spans) <= len(CONTENT)
        assert {host for host, _, _ in scripted.asked} <= {
            HOST,
            "rr9---sn-y.googlevideo.com",
            "rr9.googlevideo.com",
            "www.youtube.com",
        }

    read_along()
    assert scripted.requests == [], "somebody else was asked"
    assert answered
    assert refused
    print(f"{answered} reads answered, {refused} refused")


def test_a_host_that_sends_one_byte_at_a_time_is_not_asked_for_ever(scripted: Scripted) -> None:
    scripted.script = (Reply(cut=1),) * 1000
    with pytest.raises(MayWorkLater, match="broke at byte 5"):
        RangeFile(HttpSession(), URL).prefetch(0, 20_000)
    assert len(scripted.asked) == BROKEN_TRIES


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "x-unheard-of"])
def test_bytes_in_another_coding_are_refused_and_never_unpacked(scripted: Scripted, coding: str) -> None:
    """A range of something packed is no range of the file, and a packed body can be a bomb."""
    scripted.script = (Reply(coding=coding),)
    session = HttpSession()
    with pytest.raises(MayWorkLater, match=coding):
        RangeFile(session, URL).prefetch(0, 1000)
    assert session.bytes_received == 0


def test_a_host_that_claims_a_file_without_end_costs_no_memory(scripted: Scripted) -> None:
    scripted.script = (Reply(part="bytes {first}-{last}/999999999999999999"),) * 3
    file = RangeFile(HttpSession(), URL)
    tracemalloc.start()
    try:
        file.prefetch(0, 10_000)
        with pytest.raises(MayWorkLater, match="would need more than"):
            file.prefetch(20_000, 10**17)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert len(scripted.asked) == 1


@pytest.mark.parametrize("target", ELSEWHERE)
def test_no_address_outside_youtube_is_dialled_whoever_names_it(scripted: Scripted, target: str) -> None:
    """By a player reply, or by a redirect; urllib and urllib3 do not agree on where some of these lead."""
    with pytest.raises(MayWorkLater, match="outside YouTube"):
        RangeFile(HttpSession(), target).prefetch(0, 10)
    assert scripted.asked == []
    scripted.script = (Reply("302 Found", "", length="0", headers=(f"Location: {target}",)),)
    with suppress(ClipError):
        RangeFile(HttpSession(), URL).prefetch(0, 10)
    assert [host for host, _, _ in scripted.asked] in ([HOST], [HOST, HOST]), "a path alone stays on the host"
    assert scripted.requests == [], "the proxy was asked for another host"


@pytest.mark.parametrize("target", AMONG)
def test_youtubes_own_hosts_are_dialled_in_whatever_spelling(scripted: Scripted, target: str) -> None:
    scripted.script = (Reply("302 Found", "", length="0", headers=(f"Location: {target}",)),)
    file = RangeFile(HttpSession(), URL)
    file.prefetch(0, 10)
    assert file.read(10) == CONTENT[:10]
