"""The HTTP proxy that every request goes through, if one is set: its address and login, and what its refusals mean.

All clients of the program (ours, pytubefix, yt-dlp, fsspec) read the proxy from the environment, so it is written there
in the one form that all of them understand.
"""

from __future__ import annotations

import os
import re
import socket
import urllib.request
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from urllib.parse import unquote, urlsplit

from urllib3.util import make_headers, parse_url

from kinetics.errors import Fatal

CHECK_TIMEOUT_S = 8.0
"""Seconds that the check at the start waits for the proxy's connection, and again for its answer."""
VARIABLES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
_TUNNEL_REFUSED = "Tunnel connection failed"
_LOGIN_REFUSED = re.compile(rf"{_TUNNEL_REFUSED}: 407\b")
"""What http.client, which every client here builds on, raises for a CONNECT that the proxy answers with 407."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy; what is printed of it never holds the login."""

    url: str
    """Scheme, host and port, such as `http://host:3128`."""
    login: str = ""
    """`user:password`, percent-encoding removed."""

    def __str__(self) -> str:
        return self.url

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a request to the proxy: its login, if there is one."""
        return dict(make_headers(proxy_basic_auth=self.login)) if self.login else {}


def parse_proxy(text: str) -> Proxy:
    """Return the proxy that `http://user:password@host:port` names; scheme, login and port may be missing.

    Raises ValueError if it names none; the text is not repeated in it, since a password may stand there.
    """
    address = parse_url(text if "://" in text else f"http://{text}")
    if address.scheme not in ("http", "https") or not address.host:
        raise ValueError("not the address of an HTTP proxy such as http://host:3128")
    port = address.port or (443 if address.scheme == "https" else 80)
    return Proxy(f"{address.scheme}://{address.host}:{port}", unquote(address.auth or ""))


def use_proxy(url: str | None) -> None:
    """Make this process and its children use this proxy, or the environment's where `url` is None.

    The environment's variables are rewritten with a scheme, which not every client adds by itself. Raises Fatal if one
    of them is no address of an HTTP proxy.
    """
    if url:
        os.environ.update(dict.fromkeys(VARIABLES, url))
    for name in VARIABLES:
        if text := os.environ.get(name):
            _parsed(name, text)
            os.environ[name] = text if "://" in text else f"http://{text}"


def proxy_for(scheme: str, host: str) -> Proxy | None:
    """Return the proxy for requests to a host, by the environment's `<scheme>_proxy` and `no_proxy`, if any.

    Raises Fatal if the variable is no address of an HTTP proxy.
    """
    text = urllib.request.getproxies().get(scheme)
    if not text or urllib.request.proxy_bypass(host):
        return None
    return _parsed(f"{scheme}_proxy", text)


def refused_login(reason: str) -> Fatal | None:
    """Return the error to end the run with if a connection failed because the proxy refuses the login (HTTP 407)."""
    if not _LOGIN_REFUSED.search(reason):
        return None
    proxy = proxy_for("https", "")
    return Fatal(
        f"The proxy {proxy or ''} refuses the login (HTTP 407). Check user and password in --proxy or HTTPS_PROXY, "
        "with special characters percent-encoded (@ as %40), and run the command again."
    )


def check_proxy(host: str) -> str:
    """Ask the proxy, if one is set, for a connection to `host`; return why that failed, empty if it did not.

    Raises Fatal if waiting cannot help: the proxy's name is not found, or it refuses the login.
    """
    proxy = proxy_for("https", host)
    if proxy is None:
        return ""
    address = urlsplit(proxy.url)
    kind = HTTPSConnection if address.scheme == "https" else HTTPConnection
    connection = kind(address.hostname or "", address.port, timeout=CHECK_TIMEOUT_S)
    connection.set_tunnel(host, 443, {name.title(): value for name, value in proxy.headers.items()})
    try:
        connection.connect()
    except socket.gaierror as error:
        remedy = "Check --proxy or HTTPS_PROXY, and run the command again"
        raise Fatal(f"The proxy {proxy} is not found: {error.strerror}. {remedy}.") from error
    except OSError as error:
        if refusal := refused_login(str(error)):
            raise refusal from error
        failure = f"does not connect to {host}" if _TUNNEL_REFUSED in str(error) else "does not answer"
        return f"The proxy {proxy} {failure}: {error.strerror or error}"
    finally:
        connection.close()
    return ""


def _parsed(variable: str, text: str) -> Proxy:
    try:
        return parse_proxy(text)
    except ValueError:  # not chained: a password may stand in the address
        raise Fatal(f"The environment's {variable} is no http:// address. Fix it or unset it.") from None
