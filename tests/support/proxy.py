"""A CONNECT proxy that asks for a login, to stand before the loopback YouTube."""

from __future__ import annotations

import base64
import socket
import threading
from contextlib import suppress
from socketserver import StreamRequestHandler, ThreadingTCPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

USER, PASSWORD = "me", "p@ss:w/rd"
LOGIN = "me:p%40ss%3Aw%2Frd"
"""The same, percent-encoded as a URL has it."""


class ForwardProxy(ThreadingTCPServer):
    """Passes CONNECT requests on to another proxy. With `login`, only those that carry the right one."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, upstream: str, *, login: bool = True, port: int = 0) -> None:
        self.upstream = urlsplit(upstream)
        self.login = login
        self.refusal = "407 Proxy Authentication Required"
        """The status that a request without the right login is answered with."""
        self.passed = list[str]()
        """The hosts of the requests that were passed on."""
        super().__init__(("127.0.0.1", port), _Connect)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{LOGIN}@{self.address}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None = None, error: BaseException | None = None, *_: TracebackType | None
    ) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves is no error."""


class _Connect(StreamRequestHandler):
    server: ForwardProxy

    def handle(self) -> None:
        head = [self.rfile.readline()]
        while head[-1].strip():
            head.append(self.rfile.readline())
        host = head[0].split()[1].decode()
        expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        given = [line.split()[-1].decode() for line in head if line.lower().startswith(b"proxy-authorization:")]
        if self.server.login and given != [expected]:
            status = self.server.refusal.encode()
            self.wfile.write(b"HTTP/1.1 " + status + b"\r\nProxy-Authenticate: Basic realm=x\r\n\r\n")
            return
        self.server.passed.append(host.partition(":")[0])
        upstream = (self.server.upstream.hostname or "", self.server.upstream.port or 0)
        with socket.create_connection(upstream) as onward:
            onward.sendall(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            back = threading.Thread(target=_copy, args=(onward, self.connection), daemon=True)
            back.start()
            _copy(self.connection, onward)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
