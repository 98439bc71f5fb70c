"""A real S3 server on this machine: moto's, which keeps its objects while it is stopped."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection


class S3(logging.Handler):
    """Serves on a port of its own from `start` to `stop`. `requests` has a line for each, as the server logs it."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[str] = []
        self.port = 0
        logger = logging.getLogger("werkzeug")
        logger.addHandler(self)
        logger.propagate = False

    def start(self) -> None:
        from moto.server import ThreadedMotoServer  # noqa: PLC0415 - takes seconds

        self._server = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self._server.start()
        _, self.port = self._server.get_host_and_port()

    def stop(self) -> None:
        self._server.stop()

    def emit(self, record: logging.LogRecord) -> None:
        self.requests.append(record.getMessage())

    @property
    def env(self) -> dict[str, str]:
        """What leads S3's clients here, past the proxy that leads to the loopback YouTube, and nowhere else."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "hush-hush",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_CONFIG_FILE": os.devnull,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def put(self, path: str, content: bytes = b"") -> None:
        """Make an object, or a bucket, past any client's knowledge."""
        connection = HTTPConnection("127.0.0.1", self.port)
        connection.request("PUT", path, content)
        assert connection.getresponse().status == 200
        connection.close()


@contextmanager
def strangers_refused() -> Iterator[None]:
    """Nobody is known to the server meanwhile, as with credentials that are wrong or no longer valid."""
    from moto import settings  # noqa: PLC0415

    before, settings.INITIAL_NO_AUTH_ACTION_COUNT = settings.INITIAL_NO_AUTH_ACTION_COUNT, 0
    try:
        yield
    finally:
        settings.INITIAL_NO_AUTH_ACTION_COUNT = before
