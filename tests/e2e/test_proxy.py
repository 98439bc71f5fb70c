"""A proxy with a login is used by whatever goes out; one that cannot be used is named, and no clip pays for it."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.support.commands import PATIENCE_S
from tests.support.proxy import LOGIN, PASSWORD, ForwardProxy
from tests.support.sandbox import ROWS, MirrorSandbox, Sandbox
from tests.youtube.mirror import Crate
from tests.youtube.server import LoopbackYouTube

MakeSandbox = Callable[..., Sandbox]
PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
WAYS: dict[str, Callable[[ForwardProxy], tuple[list[str], dict[str, str]]]] = {
    "HTTPS_PROXY with a login": lambda proxy: ([], {"HTTPS_PROXY": proxy.url}),
    "--proxy with a login": lambda proxy: (["--proxy", proxy.url], {}),
    "--proxy with a login and no scheme": lambda proxy: (["--proxy", f"{LOGIN}@{proxy.address}"], {}),
    "HTTPS_PROXY without a scheme": lambda proxy: ([], {"HTTPS_PROXY": proxy.address}),
}
FEW = ROWS[:2]


def through(
    sandbox: Sandbox, way: str, *more: str, seconds: float = PATIENCE_S
) -> tuple[subprocess.CompletedProcess[str], ForwardProxy]:
    """Run the command through a proxy that is named in this way; it knows of no other proxy."""
    login = "login" in way
    with LoopbackYouTube(sandbox.world) as youtube, ForwardProxy(youtube.proxy_url, login=login) as proxy:
        options, env = WAYS[way](proxy)
        kept = {name: value for name, value in youtube.env.items() if name not in PROXIES}
        ran = subprocess.run(
            sandbox.command("-w", "1", *options, *more),
            env=kept | sandbox.env | env,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        return ran, proxy


@pytest.mark.parametrize(
    ("way", "engine"),
    [
        ("HTTPS_PROXY with a login", "pytubefix"),
        ("--proxy with a login", "yt-dlp"),
        pytest.param("HTTPS_PROXY without a scheme", "yt-dlp", marks=pytest.mark.soak),
        pytest.param("HTTPS_PROXY with a login", "yt-dlp", marks=pytest.mark.soak),
        pytest.param("--proxy with a login", "pytubefix", marks=pytest.mark.soak),
        pytest.param("HTTPS_PROXY without a scheme", "pytubefix", marks=pytest.mark.soak),
        pytest.param("--proxy with a login and no scheme", "pytubefix", marks=pytest.mark.soak),
    ],
)
def test_all_clips_come_through_the_proxy(make_sandbox: MakeSandbox, way: str, engine: str) -> None:
    sandbox = make_sandbox(FEW, official=True)
    ran, proxy = through(sandbox, way, "--engine", engine, "--cut", "keyframe")
    assert ran.returncode == 0, ran.stderr
    assert sandbox.files() == sorted(sandbox.path(row) for row in FEW)
    assert {row["engine"] for row in sandbox.attempts()} == {engine}
    assert {"storage.googleapis.com", "www.youtube.com"} <= {*proxy.passed}, "annotations and player"
    assert any(host.endswith("googlevideo.com") for host in proxy.passed), "media"
    assert PASSWORD not in ran.stdout + ran.stderr
    assert LOGIN not in ran.stdout + ran.stderr


def test_the_mirror_is_read_through_the_proxy(tmp_path: Path) -> None:
    sandbox = MirrorSandbox(tmp_path, FEW, crates=[Crate("part_0.tar.gz", FEW)])
    ran, proxy = through(sandbox, "--proxy with a login", "--source", "mirror")
    assert ran.returncode == 0, ran.stderr
    assert sandbox.files() == sorted(sandbox.path(row) for row in FEW)
    assert "s3.amazonaws.com" in proxy.passed


def assert_refused(sandbox: Sandbox, ran: subprocess.CompletedProcess[str], *words: str) -> None:
    """The run ended at once with one line that has these words, the login is kept, and no clip has failed."""
    assert ran.returncode == 2, ran.stderr
    (line,) = ran.stderr.splitlines()
    assert line.startswith("error: The proxy http://")
    assert all(word in line for word in words), line
    assert "secret" not in ran.stdout + ran.stderr
    assert sandbox.errors() == {}
    assert not sandbox.stats.exists() or sandbox.attempts() == []


def test_a_refused_login_ends_the_run_in_one_line(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(FEW)
    with LoopbackYouTube(sandbox.world) as youtube, ForwardProxy(youtube.proxy_url) as proxy:
        command = sandbox.command("--proxy", f"http://me:secret@{proxy.address}")
        ran = subprocess.run(command, env=youtube.env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert_refused(sandbox, ran, proxy.address, "407", "login")
        assert proxy.passed == []


def test_a_login_that_is_refused_during_the_run_ends_it_and_fails_no_clip(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(FEW)

    class Changing(ForwardProxy):
        """Lets one request through, the check at the start, as if the password were changed then."""

        def verify_request(self, request: object, client_address: object) -> bool:
            self.login = bool(self.passed)
            return True

    with LoopbackYouTube(sandbox.world) as youtube, Changing(youtube.proxy_url) as proxy:
        for engine in ("pytubefix", "yt-dlp"):
            proxy.passed.clear()
            command = sandbox.command("--proxy", f"http://me:secret@{proxy.address}", "--engine", engine)
            ran = subprocess.run(
                command, env=youtube.env, capture_output=True, text=True, timeout=PATIENCE_S, check=False
            )
            assert ran.returncode == 2, ran.stderr
            assert f"The proxy http://{proxy.address} refuses the login (HTTP 407)" in ran.stderr
            assert "secret" not in ran.stdout + ran.stderr
            assert sandbox.errors() == {}


def test_a_proxy_whose_name_is_not_found_ends_the_run_in_one_line(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(FEW)
    ran = sandbox.run("--proxy", "http://me:secret@no-such-proxy.invalid:3128")
    assert_refused(
        sandbox,
        subprocess.CompletedProcess([], ran.code, ran.out, ran.err),
        "no-such-proxy.invalid:3128",
        "not found",
    )


def test_a_proxy_that_does_not_answer_is_named_and_waited_for(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(FEW)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with LoopbackYouTube(sandbox.world) as youtube:
        env: Mapping[str, str] = youtube.env
        command = sandbox.command("--proxy", f"http://{LOGIN}@127.0.0.1:{port}", "--cut", "keyframe")
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            assert process.stdout
            seen = list[str]()
            for line in process.stdout:
                seen.append(line)
                if "paused until" in line:
                    break
            assert any(f"The proxy http://127.0.0.1:{port} does not answer" in line for line in seen), seen
            with ForwardProxy(youtube.proxy_url, port=port):
                rest = process.stdout.read()
                assert process.wait(PATIENCE_S) == 0, rest
    assert sandbox.files() == sorted(sandbox.path(row) for row in FEW)
    assert sandbox.errors() == {}


def test_ctrl_c_ends_the_wait_for_a_proxy(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox(FEW)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with LoopbackYouTube(sandbox.world) as youtube, sandbox.start(youtube, "--proxy", f"127.0.0.1:{port}") as process:
        assert process.stdout
        assert any("paused until" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130
    assert sandbox.errors() == {}
