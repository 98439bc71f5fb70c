"""Where a proxy is named, how, and what comes of one that cannot be used; its login is never shown."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from kinetics.errors import Fatal
from kinetics.humanize import without_password
from kinetics.net import proxy as net_proxy
from kinetics.net.proxy import VARIABLES, Proxy, check_proxy, parse_proxy, proxy_for, refused_login, use_proxy
from tests.support.proxy import LOGIN, PASSWORD, USER, ForwardProxy


@pytest.fixture(autouse=True)
def no_proxy_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "")  # so that it is restored, whatever a test leaves there
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://host:3128", Proxy("http://host:3128")),
        ("host:3128", Proxy("http://host:3128")),
        ("https://host", Proxy("https://host:443")),
        ("http://host/", Proxy("http://host:80")),
        (f"http://{LOGIN}@host:1", Proxy("http://host:1", f"{USER}:{PASSWORD}")),
        ("me:p%40ss@10.0.0.1:8080", Proxy("http://10.0.0.1:8080", "me:p@ss")),
        ("http://[::1]:3128", Proxy("http://[::1]:3128")),
    ],
)
def test_a_proxy_is_read_with_or_without_scheme_login_and_port(text: str, proxy: Proxy) -> None:
    assert parse_proxy(text) == proxy
    assert PASSWORD not in str(parse_proxy(text))


@pytest.mark.parametrize("text", ["socks5://host:1", "ftp://host", "http://", "http://me:secret@host:nine"])
def test_what_is_no_proxy_is_refused_without_its_password(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"not the address of an HTTP proxy|Failed to parse"):
        parse_proxy(text)
    monkeypatch.setenv("https_proxy", text)
    with pytest.raises(Fatal, match="https_proxy is no http") as error:
        use_proxy(None)
    assert "secret" not in str(error.value)


def test_the_environment_names_it_for_all_clients_with_its_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "host:3128")
    use_proxy(None)
    assert os.environ["HTTPS_PROXY"] == "http://host:3128"
    assert proxy_for("https", "www.youtube.com") == Proxy("http://host:3128")
    use_proxy(f"http://{LOGIN}@other:1")
    assert {os.environ[name] for name in VARIABLES} == {f"http://{LOGIN}@other:1"}
    assert proxy_for("https", "www.youtube.com") == Proxy("http://other:1", f"{USER}:{PASSWORD}")
    monkeypatch.setenv("no_proxy", "youtube.com")
    assert proxy_for("https", "www.youtube.com") is None


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_proxy_that_is_silent_is_named_after_a_while(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 2 * net_proxy.CHECK_TIMEOUT_S < 20, "one to connect and one for the answer: it is named within 20 s"
    monkeypatch.setattr(net_proxy, "CHECK_TIMEOUT_S", 0.2)
    monkeypatch.setenv("https_proxy", f"http://{LOGIN}@{silent}")
    assert check_proxy("www.youtube.com") == f"The proxy http://{silent} does not answer: timed out"


def test_the_check_says_nothing_of_a_proxy_that_works_or_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_proxy("www.youtube.com") == ""
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        port = upstream.getsockname()[1]
        with ForwardProxy(f"http://127.0.0.1:{port}") as proxy:
            monkeypatch.setenv("https_proxy", proxy.url)
            monkeypatch.setattr(net_proxy, "CHECK_TIMEOUT_S", 0.2)
            assert "does not answer" in check_proxy("www.youtube.com"), "the one behind it does not"
            assert proxy.passed == ["www.youtube.com"], "the login was accepted"
            monkeypatch.setenv("https_proxy", f"http://me:secret@{proxy.address}")
            with pytest.raises(Fatal, match="refuses the login") as error:
                check_proxy("www.youtube.com")
            proxy.refusal = "403 Forbidden"
            assert "does not connect to www.youtube.com: Tunnel" in check_proxy("www.youtube.com")
    assert "secret" not in str(error.value)


def test_only_a_407_is_a_refused_login() -> None:
    assert refused_login("Tunnel connection failed: 403 Forbidden") is None
    assert refused_login("HTTP Error 407: Proxy") is None, "YouTube could send that"
    refusal = refused_login("Cannot connect to proxy: OSError('Tunnel connection failed: 407 Proxy Authentication')")
    assert refusal
    assert "407" in str(refusal)


@pytest.mark.parametrize(
    "text", [f"python download.py --proxy {LOGIN}@host:1", f"--proxy=http://{LOGIN}@host:1", f"'{LOGIN}@host:1'"]
)
def test_a_command_is_shown_without_the_login(text: str) -> None:
    assert without_password(text) == text.replace(LOGIN, "me:***")
