"""A proxy on 127.0.0.1 that ends TLS itself and answers as YouTube; it never dials out."""

from __future__ import annotations

import os
import socket
import ssl
import sys
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import trustme

from tests.youtube.log import Request, RequestLog
from tests.youtube.visit import CLIENT_LEFT, HOSTS, MEDIA_DOMAIN, Visit, reset
from tests.youtube.world import ResetStage, World


class LoopbackYouTube:
    """The whole of YouTube on 127.0.0.1, as a context manager; `env` steers a subprocess to it.

    `log`, if given, is a file to which each request is appended as a line of JSON when it is over.
    """

    def __init__(self, world: World | None = None, log: Path | None = None) -> None:
        self.world = world or World()
        self.closing = threading.Event()
        self.log = RequestLog(log)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self.world.prepare()
        self._folder = tempfile.TemporaryDirectory(prefix="loopback-youtube-", ignore_cleanup_errors=True)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.certificates))
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*HOSTS, f"*{MEDIA_DOMAIN}").configure_cert(self.tls)
        self._proxy = Proxy(self)
        threading.Thread(target=self._proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._proxy.shutdown()
        self._proxy.server_close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._folder.cleanup()

    @property
    def certificates(self) -> Path:
        """The throwaway authority's certificate, as a bundle."""
        return Path(self._folder.name) / "ca.pem"

    @property
    def proxy_url(self) -> str:
        return f"http://127.0.0.1:{self._proxy.server_address[1]}"

    @property
    def env(self) -> dict[str, str]:
        """This process's environment, changed so that a subprocess meets the loopback YouTube and nothing else."""
        proxies = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), self.proxy_url)
        bundles = dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), str(self.certificates))
        cleared = {"SSL_CERT_DIR", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"}
        kept = {name: value for name, value in os.environ.items() if name not in cleared}
        return kept | proxies | bundles | {"XDG_CACHE_HOME": str(Path(self._folder.name) / "cache")}

    @property
    def requests(self) -> list[Request]:
        """Every request so far, in the order in which they came."""
        return self.log.copy()

    def serve(
        self, connection: socket.socket, address: object, host: str, reset_stage: ResetStage | None = None
    ) -> None:
        """Speak TLS and then HTTP as that host, until the client or we have enough."""
        inner = self.tls.wrap_socket(connection, server_side=True)
        with self._lock:
            self._open.add(inner)
        try:
            Visit(inner, address, self._proxy, host, reset_stage)
        finally:
            with self._lock:
                self._open.discard(inner)
            inner.close()


class Proxy(ThreadingTCPServer):
    """A thread for each connection."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, youtube: LoopbackYouTube) -> None:
        self.youtube = youtube
        super().__init__(("127.0.0.1", 0), _Connection)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away, or our own closing, is no error; anything else is shown."""
        if not isinstance(sys.exception(), CLIENT_LEFT) and not self.youtube.closing.is_set():
            traceback.print_exc()


class _Connection(BaseHTTPRequestHandler):
    """The outer, plain connection: CONNECT to one of YouTube's hosts, and nothing else."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Proxy

    def do_CONNECT(self) -> None:
        self.close_connection = True
        youtube, host = self.server.youtube, self.path.rpartition(":")[0]
        stage, down = youtube.world.reset_stage(), youtube.world.hosts_down.get(host)
        if youtube.world.line_down or stage == "connect" or down == "reset":
            reset(self.connection)
        elif down == "silent":
            youtube.closing.wait()
        elif host in HOSTS or host.endswith(MEDIA_DOMAIN):
            youtube.closing.wait(youtube.world.latency_s)
            self.send_response(200)
            self.end_headers()
            if stage == "handshake":
                reset(self.connection)
            else:
                youtube.serve(self.connection, self.client_address, host, stage)
        else:
            self._refuse(host)

    def do_GET(self) -> None:
        self._refuse(urlsplit(self.path).hostname or "")

    do_POST = do_HEAD = do_PUT = do_GET  # noqa: N815 (the names that http.server looks for)

    def _refuse(self, host: str) -> None:
        log, agent = self.server.youtube.log, self.headers.get("User-Agent", "")
        log.end(log.begin(Request(time.time(), host, self.command, self.path, "refused", status=403, user_agent=agent)))
        self.send_response(403, "This proxy leads to the loopback YouTube only")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the request log tells all."""
