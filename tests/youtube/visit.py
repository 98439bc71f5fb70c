"""One client's connection to one host: which service answers, and the means of answering well or badly."""

from __future__ import annotations

import json
import select
import socket
import ssl
import struct
import sys
import time
from collections.abc import Mapping
from http.client import responses
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qs, urlsplit

from tests.youtube import replies
from tests.youtube.archive import serve_archive
from tests.youtube.challenge import PLAYER_SCRIPT_PATH, serve_embedded_page, serve_iframe_script, serve_player_script
from tests.youtube.innertube import PLAYER_PATH, serve_player
from tests.youtube.log import Request
from tests.youtube.media import serve_media
from tests.youtube.mirror import serve_mirror
from tests.youtube.pages import SCRIPT_PATH, serve_manifest, serve_script, serve_thumbnail, serve_watch_page

if TYPE_CHECKING:
    from tests.youtube.server import Proxy
    from tests.youtube.world import ResetStage

YOUTUBE_HOSTS = frozenset({"www.youtube.com", "youtube.com", "m.youtube.com", "youtubei.googleapis.com"})
ARCHIVE_HOST = "storage.googleapis.com"
MIRROR_HOST = "s3.amazonaws.com"
THUMBNAIL_HOST = "i.ytimg.com"
MEDIA_DOMAIN = ".googlevideo.com"
HOSTS = YOUTUBE_HOSTS | {ARCHIVE_HOST, MIRROR_HOST, THUMBNAIL_HOST}
"""Every host that answers, except those of the media domain, where any name answers."""
CHUNK = 16 * 1024
PACE_S = 0.05
"""With a limited bandwidth, bytes are sent in portions that take this long."""
CLIENT_LEFT = (ConnectionError, ssl.SSLError, TimeoutError)


class Visit(BaseHTTPRequestHandler):
    """The requests of one client on one connection, one after another."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(
        self, connection: ssl.SSLSocket, address: Any, server: Proxy, host: str, reset_stage: ResetStage | None
    ) -> None:
        self._reset_stage = reset_stage
        self.host, self.youtube, self.world = host, server.youtube, server.youtube.world
        self.query: dict[str, str] = {}
        self.body = b""
        super().__init__(connection, address, server)

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except CLIENT_LEFT:
            self.close_connection = True

    def do_GET(self) -> None:
        if self.world.line_down:
            self.cut(with_reset=True)
        url = urlsplit(self.path)
        self.query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        self.body = self._read_body(int(self.headers.get("Content-Length", 0)))
        cookies = tuple(SimpleCookie(self.headers.get("Cookie", "")))
        agent = self.headers.get("User-Agent", "")
        asked = Request(time.time(), self.host, self.command, self.path, cookies=cookies, user_agent=agent)
        self._place = self.youtube.log.begin(asked)
        self.youtube.closing.wait(self.world.latency_s)
        try:
            if self._reset_stage == "request":
                self.cut(with_reset=True)
            self._route(url.path)
        finally:
            self.youtube.log.end(self._place)

    do_HEAD = do_POST = do_GET  # noqa: N815 (the names that http.server looks for)

    def _read_body(self, length: int) -> bytes:
        if length and sys.platform == "linux":
            # urllib3 leaves Nagle's algorithm on towards a proxy: its body waits 40 ms for our acknowledgement.
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionAbortedError
        return body

    def _route(self, path: str) -> None:
        match self.command, path:
            case _, "/videoplayback" if self.host.endswith(MEDIA_DOMAIN):
                serve_media(self)
            case _, _ if self.host == ARCHIVE_HOST:
                serve_archive(self, path)
            case _, _ if self.host == MIRROR_HOST:
                serve_mirror(self, path)
            case "GET" | "HEAD", _ if self.host == THUMBNAIL_HOST:
                serve_thumbnail(self, path)
            case _, replies.MANIFEST_PATH if self.host == replies.MANIFEST_HOST:
                serve_manifest(self)
            case "POST", _ if path == PLAYER_PATH and self.host in YOUTUBE_HOSTS:
                serve_player(self)
            case "GET", "/watch" if self.host in YOUTUBE_HOSTS:
                serve_watch_page(self)
            case "GET", _ if path == SCRIPT_PATH and self.host in YOUTUBE_HOSTS:
                serve_script(self)
            case "GET", _ if path == PLAYER_SCRIPT_PATH and self.host in YOUTUBE_HOSTS:
                serve_player_script(self)
            case "GET", "/iframe_api" if self.host in YOUTUBE_HOSTS:
                serve_iframe_script(self)
            case "GET", _ if path.startswith("/embed/") and self.host in YOUTUBE_HOSTS:
                serve_embedded_page(self, path)
            case _:
                self.reply(404, b"not found", "text/plain")

    def reply_json(self, body: Mapping[str, Any]) -> None:
        self.reply(200, json.dumps(body).encode(), "application/json; charset=UTF-8")

    def reply(self, status: int, body: bytes, content_type: str, *, retry_after: str | None = None) -> None:
        """A whole reply."""
        self.begin(status, content_type, len(body), {"Retry-After": retry_after} if retry_after else {})
        self.send(body)

    def begin(
        self, status: int, content_type: str, length: int | None, headers: Mapping[str, str] | None = None
    ) -> None:
        """The head of a reply. Without a `length` the end of the connection is the end of the body."""
        self.note(status=status)
        self.send_response(status, responses.get(status))
        self.send_header("Content-Type", content_type)
        if length is None:
            self.send_header("Connection", "close")  # which http.server also takes as an order
        else:
            self.send_header("Content-Length", str(length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()

    def send(self, body: bytes | memoryview, bit_s: float | None = None) -> None:
        """The body or a part of it, at `bit_s` or else the world's bandwidth; nothing for a HEAD request."""
        if self.command == "HEAD":
            return
        bit_s, due = bit_s or self.world.bandwidth_bit_s, time.monotonic()
        size = CHUNK if bit_s is None else max(1, min(CHUNK, int(bit_s / 8 * PACE_S)))
        for start in range(0, len(body), size):
            if self.world.line_down:
                self.cut(with_reset=True)
            chunk = body[start : start + size]
            if self._reset_stage == "reply":
                self._send_chunk(chunk[: len(chunk) // 2])
                self.cut(with_reset=True)
            self.youtube.closing.wait(self.world.time_on_line(len(chunk)))
            self._send_chunk(chunk)
            if bit_s is not None:
                due += len(chunk) * 8 / bit_s
                self.youtube.closing.wait(max(0.0, due - time.monotonic()))

    def _send_chunk(self, chunk: bytes | memoryview) -> None:
        # Noted before it is sent, so that a client that has it all finds it all in the list of requests.
        self.youtube.log.sent(self._place, len(chunk))
        try:
            self.wfile.write(chunk)
        except CLIENT_LEFT:
            self.youtube.log.sent(self._place, -len(chunk))
            raise

    def stall(self) -> NoReturn:
        """Say nothing more until the client gives up."""
        while not self.youtube.closing.is_set() and not select.select([self.connection], [], [], 0.2)[0]:
            pass
        self.cut()

    def cut(self, *, with_reset: bool = False) -> NoReturn:
        """End the connection in the middle of things."""
        if with_reset:
            reset(self.connection)
        raise ConnectionAbortedError

    def note(self, **changes: Any) -> None:
        """Add to what the log says of this request."""
        self.youtube.log.note(self._place, **changes)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the request log tells all."""


def reset(connection: socket.socket) -> None:
    """Close with a TCP reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
