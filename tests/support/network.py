"""What leads a test to its loopback YouTube, and to nobody else."""

from __future__ import annotations

import pytest
import urllib3

from tests.youtube.replies import MEDIA_HOST
from tests.youtube.server import LoopbackYouTube

PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")


def go_through(youtube: LoopbackYouTube, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lead this process's clients there."""
    for name in ("NO_PROXY", "no_proxy", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in (*PROXIES, "SSL_CERT_FILE"):
        monkeypatch.setenv(name, youtube.env[name])


def client_of(youtube: LoopbackYouTube) -> urllib3.ProxyManager:
    """A plain HTTP client that asks there."""
    return urllib3.ProxyManager(youtube.proxy_url, ca_certs=str(youtube.certificates), retries=False, timeout=5)


def media_url(itag: int, video_id: str) -> str:
    return f"https://{MEDIA_HOST}/videoplayback?id={video_id}&itag={itag}"
