"""Unmodified clients against the loopback YouTube: what they find, and how their failures are sorted."""

from __future__ import annotations

import copy
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinetics.errors import ClipError, Fatal, Gone, MayWorkLater, StopEveryone, retry_after
from kinetics.records import Category
from kinetics.youtube.engines import ENGINE_NAMES, open_engines, resolve
from kinetics.youtube.formats import Format, choose_formats
from kinetics.youtube.replies import check_reply, sort_reason
from tests.youtube import replies
from tests.youtube.server import LoopbackYouTube
from tests.youtube.videos import Video
from tests.youtube.world import FAILURES, PLAYER_FAULTS, Failure, FakeThrottle, Scenario, World

ROOT = Path(__file__).resolve().parents[2]
VIDEO = Video(duration_s=20)
WEBM = Video(duration_s=20, codec="vp9")
SILENT = Video(duration_s=6, sound=False)
UPRIGHT = Video(duration_s=6, width=360, height=640)
PLAYABLE = {
    "dash": Scenario(VIDEO),
    "progressive": Scenario(VIDEO, ("progressive",)),
    "both": Scenario(VIDEO, ("dash", "progressive")),
    "mp4 and webm": Scenario(VIDEO, ("dash",), renditions=(WEBM,)),
    "webm": Scenario(WEBM, ("webm",)),
    "dubbed": Scenario(VIDEO, dubbed=True),
    "upright": Scenario(UPRIGHT),
    "silent": Scenario(SILENT),
}
FOUND = {
    "dash": "134+140",
    "progressive": "18",
    "both": "134+140",
    "mp4 and webm": "134+140",
    "webm": "243+251",
    "dubbed": "134+140",
    "upright": "134+140",
    "silent": "134",
}
OK = "okay-video0"


@dataclass(frozen=True)
class Answer:
    """What an engine made of a video, in its own process."""

    kind: str
    category: str = ""
    reason: str = ""
    retry_after_s: float | None = None
    engine: str = ""
    itag: str = ""
    duration_s: float | None = None
    urls: tuple[str, ...] = ()


SCRIPT = dedent("""
    import json, sys
    from pathlib import Path
    from kinetics.youtube import engine_errors, engines, ytdlp_engine
    from kinetics.errors import ClipError
    names, cookies, timeout_s, max_height, *ids = sys.argv[1:]
    engine_errors.TIMEOUT_S = engines.TIMEOUT_S = ytdlp_engine.TIMEOUT_S = float(timeout_s)
    opened = engines.open_engines(names.split(","), Path(cookies) if cookies else None)
    for video_id in ids or map(str.strip, sys.stdin):
        try:
            found = engines.resolve(opened, video_id, int(max_height))
            answer = {"kind": "found", "engine": found.engine, "itag": found.itag, "duration_s": found.duration_s,
                      "urls": [one.url for one in found.formats]}
        except ClipError as error:
            answer = {"kind": type(error).__name__, "category": error.category, "reason": error.reason,
                      "retry_after_s": getattr(error, "retry_after_s", None)}
        print(json.dumps(answer), flush=True)
""")


def ask(
    env: Mapping[str, str],
    names: str,
    video_ids: Sequence[str],
    *,
    cookies: Path | str = "",
    timeout_s: float = 20,
    max_height: int = 360,
) -> list[Answer]:
    """Resolve videos in a process of its own, as a worker does; whatever it prints besides answers is an error."""
    command = [sys.executable, "-c", SCRIPT, names, str(cookies), str(timeout_s), str(max_height)]
    given = "".join(f"{video_id}\n" for video_id in video_ids)
    ran = subprocess.run(
        command, env=env, cwd=ROOT, input=given, capture_output=True, text=True, timeout=250, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    answers = [Answer(**json.loads(line)) for line in ran.stdout.splitlines()]
    assert len(answers) == len(video_ids)
    return answers


@pytest.fixture
def youtube() -> Iterator[LoopbackYouTube]:
    with LoopbackYouTube(World({OK: Scenario(VIDEO)})) as running:
        yield running


@cache
def answers_to_everything(engine: str) -> dict[tuple[str, str], tuple[Answer, tuple[str, ...]]]:
    """All that the loopback YouTube knows, asked once: the answer, and which clients' calls it took."""
    told = {("failure", name): Scenario(failure=failure) for name, failure in FAILURES.items()}
    told |= {("fault", name): Scenario(VIDEO, player_faults=(fault,)) for name, fault in PLAYER_FAULTS.items()}
    told |= {("playable", name): scenario for name, scenario in PLAYABLE.items()}
    ids = {f"-asked{number:05}": what for number, what in enumerate(told)}
    with LoopbackYouTube(World({video_id: told[what] for video_id, what in ids.items()})) as running:
        answers = ask(running.env, engine, list(ids), timeout_s=1.5)
        calls = {video_id: tuple(r.client for r in running.requests if r.video_id == video_id) for video_id in ids}
        assert not [request for request in running.requests if request.kind in ("refused", "media")]
    return {what: (answer, calls[video_id]) for (video_id, what), answer in zip(ids.items(), answers, strict=True)}


# -- sorting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("engine", ENGINE_NAMES)
def test_each_failure_lands_in_its_category_with_youtubes_words(engine: str, name: str) -> None:
    failure = FAILURES[name]
    answer, _ = answers_to_everything(engine)["failure", name]
    if engine == "yt-dlp" and name == "private, as a message":  # which yt-dlp does not pass on
        assert (answer.kind, answer.category) == ("MayWorkLater", Category.ENGINE_ERROR)
        return
    assert answer.kind == ("StopEveryone" if failure.category is Category.THROTTLED else "Gone")
    assert answer.category == failure.category
    said = (failure.reason, failure.subreason, *failure.messages) if not failure.is_live else ("live stream",)
    assert any(text.rstrip(".") in answer.reason for text in said if text)
    assert not any(advice in answer.reason for advice in ("--cookies", "yt-dlp", "[youtube]", "\x1b", "https://"))


PLAYER_FAULT_MEANS = {
    "429": ("StopEveryone", Category.THROTTLED),
    "429 with Retry-After": ("StopEveryone", Category.THROTTLED),
    "403": ("MayWorkLater", Category.ENGINE_ERROR),
    "404": ("MayWorkLater", Category.ENGINE_ERROR),
    "500": ("MayWorkLater", Category.SERVER_ERROR),
    "503": ("MayWorkLater", Category.SERVER_ERROR),
    "html": ("MayWorkLater", Category.ENGINE_ERROR),
    "cut JSON": ("MayWorkLater", Category.ENGINE_ERROR),
    "cut body": ("MayWorkLater", Category.SERVER_ERROR),
    "empty reply": ("MayWorkLater", Category.ENGINE_ERROR),
    "another video's reply": ("StopEveryone", Category.THROTTLED),
    "no streams": ("MayWorkLater", Category.ENGINE_ERROR),
    "SABR only": ("MayWorkLater", Category.ENGINE_ERROR),
    "stalled": ("MayWorkLater", Category.TIMEOUT),
}


@pytest.mark.parametrize("name", PLAYER_FAULTS)
@pytest.mark.parametrize("engine", ENGINE_NAMES)
def test_a_fault_of_the_player_is_never_taken_for_a_word_about_the_video(engine: str, name: str) -> None:
    answer, calls = answers_to_everything(engine)["fault", name]
    assert (answer.kind, answer.category) == PLAYER_FAULT_MEANS[name]
    assert answer.reason
    no_reply = answer.category in (Category.SERVER_ERROR, Category.TIMEOUT)
    assert Counter(calls).most_common(1)[0][1] == (2 if no_reply else 1), "asked again at once, or more than once"
    if name == "429 with Retry-After" and engine != "yt-dlp":  # which does not pass the header on
        assert answer.retry_after_s == 2.0


@pytest.mark.parametrize(
    ("texts", "kind", "category"),
    [
        # It is YouTube's refusal of us, whatever stands beside it.
        (["Video unavailable", "This content isn’t available, try again later."], StopEveryone, "throttled"),  # noqa: RUF001
        (["Video unavailable. YouTube is requiring a captcha challenge before playback"], StopEveryone, "throttled"),
        (["The current session has been rate-limited by YouTube for up to an hour."], StopEveryone, "throttled"),
        # It is about the client or the network: the video lives.
        (["Playback on other websites has been disabled by the video owner", "Video unavailable"], MayWorkLater, None),
        (["Video unavailable. This video is not available on this device"], MayWorkLater, None),
        (["The following content is not available on this app.", "Video unavailable"], MayWorkLater, None),
        (["Video unavailable. The page needs to be reloaded."], MayWorkLater, None),
        (
            ["Video unavailable", "It has content from SME, who has blocked it from display on this website"],
            MayWorkLater,
            None,
        ),
        (["Video unavailable. This video is restricted. Check with your network administrator."], MayWorkLater, None),
        (["This video is not available"], MayWorkLater, None),
        (["Video unavailable", "This video is not available."], MayWorkLater, None),
        # Nobody knows: no verdict on a guess.
        (["Please sign in"], MayWorkLater, None),
        (["This video is DRM protected"], MayWorkLater, None),
        (["Something else went wrong"], MayWorkLater, None),
        ([], MayWorkLater, None),
        # The more telling words win.
        (["This video is private", "Please sign in to verify that you may see it."], Gone, "private"),
        (["This video requires payment to watch"], Gone, "members_only"),
        (["This video is only available to Music Premium members"], Gone, "members_only"),
        (["This video is not available in your country"], Gone, "region_blocked"),
        (
            [
                "The YouTube account associated with this video has been terminated due to multiple third-party "
                "notifications of copyright infringement."
            ],
            Gone,
            "terminated",
        ),
        (["This video has been removed"], Gone, "unavailable"),
        (["This video isn't available anymore"], Gone, "unavailable"),
    ],
)
def test_youtubes_words_mean(texts: list[str], kind: type[ClipError], category: str | None) -> None:
    for order in (texts, texts[::-1]):
        found = sort_reason("UNPLAYABLE", order)
        assert (type(found), found.category) == (kind, category or Category.ENGINE_ERROR)
        assert found.reason


@pytest.mark.parametrize(
    "said",
    [
        {"reason": "This video is private"},
        {"reason": {"runs": [{"text": "This video "}, {"text": "is private"}]}},
        {"messages": ["This video is private"]},
        {"messages": [{"simpleText": "This video is private"}]},
        {"errorScreen": {"playerErrorMessageRenderer": {"reason": {"simpleText": "This video is private"}}}},
        {
            "reason": "Video unavailable",
            "errorScreen": {"playerErrorMessageRenderer": {"subreason": {"runs": [{"text": "This video is private"}]}}},
        },
        {
            "errorScreen": {
                "playerInterstitialRenderer": {
                    "content": {"interstitialViewModel": {"title": {"content": "This video is private"}}}
                }
            }
        },
    ],
)
def test_the_words_are_found_wherever_they_stand(said: dict[str, Any]) -> None:
    with pytest.raises(Gone, match="This video is private") as caught:
        check_reply({"playabilityStatus": {"status": "ERROR"} | said}, OK)
    assert caught.value.category is Category.PRIVATE


def test_a_captcha_above_an_unavailable_video_stops_everyone() -> None:
    screen: dict[str, Any] = {"playerCaptchaViewModel": {"skipButton": {}}}
    reply = {"playabilityStatus": {"status": "ERROR", "reason": "Video unavailable", "errorScreen": screen}}
    with pytest.raises(StopEveryone):
        check_reply(reply, OK)


def test_retry_after_is_understood_in_both_forms_and_nonsense_is_none() -> None:
    assert retry_after(" 120 ") == 120.0
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert (retry_after("Fri, 31 Dec 2999 23:59:59 GMT") or 0) > 1e9
    assert [retry_after(value) for value in (None, "", "soon", "-3", "²")] == [None] * 5


# -- choosing ---------------------------------------------------------------------------------------------------------


def video(itag: str, height: int, codec: str = "avc1.4d401e", sound: str = "", **more: Any) -> Format:
    container = more.pop("container", "mp4" if codec.startswith(("avc1", "av01")) else "webm")
    return Format(itag, f"https://x/{itag}", container, codec, sound, height, **more)


def sound(itag: str, codec: str, bitrate: float, *, original: bool = True) -> Format:
    container = "mp4" if codec.startswith("mp4a") else "webm"
    return Format(itag, f"https://x/{itag}", container, "", codec, None, bitrate, original)  # type: ignore[arg-type]


V134, V133, V160 = video("134", 360), video("133", 240), video("160", 144)
V135, V136 = video("135", 480), video("136", 720)
W243 = video("243", 360, "vp9")
AV1 = video("396", 360, "av01.0.01M.08")
P18, P22 = video("18", 360, sound="mp4a.40.2"), video("22", 720, sound="mp4a.40.2")
A140, A139, OPUS = sound("140", "mp4a.40.2", 128), sound("139", "mp4a.40.5", 48), sound("251", "opus", 160)


@pytest.mark.parametrize(
    ("offered", "max_height", "chosen"),
    [
        ([P18, W243, OPUS, V134, A140], 360, "134+140"),
        ([P18, W243, OPUS, A140], 360, "18"),
        ([W243, OPUS, A140], 360, "243+140"),
        ([AV1, OPUS, A140], 360, "396+140"),
        ([V160, V133, V134, V135, V136, A140], 360, "134+140"),
        ([V160, V133, V134, V135, V136, A140], 479, "134+140"),
        ([V160, V133, V134, V135, V136, A140], 480, "135+140"),
        ([V160, V133, V134, A140], 100, "160+140"),
        ([V136, V135, A140], 360, "135+140"),
        ([V134, P18], 360, "18"),
        ([V134, P22], 360, "134"),
        ([V134], 360, "134"),
        ([V134, OPUS, A139, A140], 360, "134+140"),
        ([V134, OPUS, A139], 360, "134+139"),
        ([V134, OPUS], 360, "134+251"),
        ([V134, A140, replace(A140, itag="dub", bitrate=129, original=False)], 360, "134+140"),
        ([V134, OPUS, replace(A140, itag="dub", original=False)], 360, "134+251"),
        ([V134, replace(V134, itag="upscaled", bitrate=-1, original=False), A140], 360, "134+140"),
        ([replace(V134, url=""), V133, A140], 360, "133+140"),
        ([V134, P18, replace(A140, url="")], 360, "18"),
    ],
)
def test_choose(offered: list[Format], max_height: int, chosen: str) -> None:
    for order in (offered, offered[::-1]):
        assert "+".join(one.itag for one in choose_formats(order, max_height)) == chosen


@pytest.mark.parametrize("offered", [[], [A140], [replace(V134, url="")]])
def test_nothing_to_see_is_an_engine_error(offered: list[Format]) -> None:
    with pytest.raises(MayWorkLater) as caught:
        choose_formats(offered, 360)
    assert caught.value.category is Category.ENGINE_ERROR


@given(st.lists(st.sampled_from([V134, V133, V160, V135, V136, W243, AV1, P18, P22, A140, A139, OPUS])))
def test_whatever_is_offered_the_choice_fits_if_anything_does_and_has_sound_if_it_can(offered: list[Format]) -> None:
    pictures = [one for one in offered if one.video_codec]
    if not pictures:
        return
    chosen = choose_formats(offered, 360)
    assert all(one in offered for one in chosen)
    fitting = [one for one in pictures if (one.height or 0) <= 360]
    assert bool(fitting) == ((chosen[0].height or 0) <= 360)
    heard = [one for one in offered if one.audio_codec and (one in fitting or not fitting or not one.video_codec)]
    assert any(one.audio_codec for one in chosen) == bool(heard)


@pytest.mark.parametrize("name", PLAYABLE)
@pytest.mark.parametrize("engine", ENGINE_NAMES)
def test_each_engine_finds_the_right_formats(engine: str, name: str) -> None:
    answer, _ = answers_to_everything(engine)["playable", name]
    assert (answer.kind, answer.engine, answer.itag) == ("found", engine, FOUND[name])
    assert answer.duration_s == pytest.approx(20 if PLAYABLE[name].video in (VIDEO, WEBM) else 6)
    if engine != "pytube":  # which came before YouTube's dubs and cannot tell
        assert not any("xtags" in url for url in answer.urls)


def test_what_an_engine_logs_is_not_printed(youtube: LoopbackYouTube, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = replies.player(OK, PLAYABLE["dash"], "VISIONOS")
    reply["playabilityStatus"]["reason"] = "Enjoy"
    monkeypatch.setattr(replies, "player", lambda *_: reply)
    [answer] = ask(youtube.env, "pytubefix", [OK])  # which raises and logs an UnknownVideoError
    assert answer.category == Category.ENGINE_ERROR
    assert "UnknownVideoError" in answer.reason


def test_encrypted_formats_are_no_formats(youtube: LoopbackYouTube, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = replies.player(OK, PLAYABLE["both"], "VISIONOS")
    for entry in reply["streamingData"]["adaptiveFormats"]:
        entry["drmFamilies"] = ["WIDEVINE"]
    monkeypatch.setattr(replies, "player", lambda *_: reply)
    [answer] = ask(youtube.env, "yt-dlp", [OK])
    assert answer.itag == "18"


@pytest.mark.parametrize("engine", ENGINE_NAMES)
def test_the_smallest_is_taken_where_none_is_small_enough(youtube: LoopbackYouTube, engine: str) -> None:
    [answer] = ask(youtube.env, engine, [OK], max_height=100)
    assert answer.itag.startswith("160+")


# -- manners ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("engine", "client"), [("pytubefix", "VISIONOS"), ("yt-dlp", "VISIONOS")])
def test_a_video_costs_one_call(youtube: LoopbackYouTube, engine: str, client: str) -> None:
    ids = [f"frequent{number:03}" for number in range(5)]
    youtube.world.scenarios |= dict.fromkeys(ids, Scenario(VIDEO))
    assert {answer.kind for answer in ask(youtube.env, engine, ids)} == {"found"}
    calls = Counter((request.kind, request.client) for request in youtube.requests)
    assert calls.pop(("player", client)) == 5
    assert calls == ({("visitor", "WEB"): 1} if engine == "pytubefix" else {})


def test_pytubefix_does_not_turn_to_clients_that_run_node(youtube: LoopbackYouTube) -> None:
    refused = Failure(Category.ENGINE_ERROR, "UNPLAYABLE", "This video is not available")
    [answer] = ask(youtube.env, "pytubefix", failing(youtube, refused))
    assert answer.category == Category.ENGINE_ERROR
    assert [request.client for request in youtube.requests] == ["WEB", "VISIONOS"]


def test_an_answer_about_the_video_costs_one_call_and_asks_no_second_engine(youtube: LoopbackYouTube) -> None:
    for names in ("pytubefix,yt-dlp", "yt-dlp,pytubefix"):
        [visited, gone, later] = ask(
            youtube.env, names, [OK, *failing(youtube, FAILURES["removed"], FAILURES["later"])]
        )
        assert (visited.kind, gone.kind, later.kind) == ("found", "Gone", "StopEveryone")
    calls = Counter(request.video_id for request in youtube.requests if request.kind == "player")
    assert calls == {OK: 2, "failing-000": 2, "failing-001": 2}


def failing(youtube: LoopbackYouTube, *failures: Any) -> list[str]:
    ids = {f"failing-{number:03}": Scenario(failure=failure) for number, failure in enumerate(failures)}
    youtube.world.scenarios |= ids
    return list(ids)


def test_the_next_engine_is_asked_only_where_an_engine_failed(youtube: LoopbackYouTube) -> None:
    once = {
        f"fault-{number:05}": Scenario(VIDEO, player_faults=(replace(PLAYER_FAULTS[name], times=1),))
        for number, name in enumerate(("html", "no streams", "503", "429", "cut body"))
    }
    youtube.world.scenarios |= once
    answers = ask(youtube.env, "pytubefix,yt-dlp", list(once))
    assert [answer.engine or answer.category for answer in answers] == [
        *("yt-dlp", "yt-dlp"),
        *("pytubefix", Category.THROTTLED, "pytubefix"),
    ]


def test_a_reply_that_breaks_off_because_the_line_goes_down_is_taken_for_a_dead_line(youtube: LoopbackYouTube) -> None:
    class GoesDown(dict[str, Scenario]):
        """Whoever asks for a video's formats takes the line down with it, in the middle of the reply."""

        def get(self, key: str, default: Any = None) -> Any:
            youtube.world.line_down = True
            return super().get(key, default)

    youtube.world.scenarios = GoesDown({OK: Scenario(VIDEO)})
    [answer] = ask(youtube.env, "pytubefix", [OK])
    assert (answer.kind, answer.category) == ("StopEveryone", Category.NETWORK)


def test_where_all_engines_fail_each_one_says_why(youtube: LoopbackYouTube) -> None:
    youtube.world.scenarios[OK] = Scenario(VIDEO, player_faults=(PLAYER_FAULTS["html"],))
    [answer] = ask(youtube.env, "pytubefix,yt-dlp", [OK])
    assert answer.category == Category.ENGINE_ERROR
    assert answer.reason.startswith("pytubefix: ")
    assert "; yt-dlp: " in answer.reason


@pytest.mark.parametrize("kind", ["429", "bot"])
def test_a_refused_visitor_call_stops_everyone_and_is_not_repeated(
    youtube: LoopbackYouTube, monkeypatch: pytest.MonkeyPatch, kind: Literal["429", "bot"]
) -> None:
    youtube.world.throttle = FakeThrottle(after=0, for_s=3600, kind="429", retry_after="7")
    ask(youtube.env, "yt-dlp", [OK])  # closes the door
    if kind == "bot":
        youtube.world.throttle = None
        monkeypatch.setattr(replies, "visitor", lambda video_id: replies.failure(video_id, FAILURES["bot"]))
    before = len(youtube.requests)
    [answer] = ask(youtube.env, "pytubefix,yt-dlp", [OK])
    assert (answer.kind, answer.category) == ("StopEveryone", Category.THROTTLED)
    assert answer.retry_after_s == (7.0 if kind == "429" else None)
    assert [request.kind for request in youtube.requests[before:]] == ["visitor"]


@pytest.mark.parametrize("engine", ENGINE_NAMES)
def test_without_a_line_everyone_stops(youtube: LoopbackYouTube, engine: str) -> None:
    youtube.world.line_down = True
    nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")
    untrusted = {"SSL_CERT_FILE": "/dev/null", "REQUESTS_CA_BUNDLE": "/dev/null", "CURL_CA_BUNDLE": "/dev/null"}
    [reset] = ask(youtube.env, engine, [OK])
    [closed] = ask(youtube.env | nowhere, engine, [OK])
    youtube.world.line_down = False
    [stranger] = ask(youtube.env | untrusted, engine, [OK])
    for answer in (reset, closed, stranger):
        assert (answer.kind, answer.category) == ("StopEveryone", Category.NETWORK)
    assert "CERTIFICATE" in stranger.reason.upper()


# -- cookies ----------------------------------------------------------------------------------------------------------

COOKIES = (
    "# Netscape HTTP Cookie File\n"
    ".youtube.com\tTRUE\t/\tTRUE\t4102444800\tPREF\thl=en\n"
    "#HttpOnly_.youtube.com\tTRUE\t/\tTRUE\t4102444800\tMY_OWN\tsecret\n"
    "this line is none, which yt-dlp would print\n"
)


def test_yt_dlp_sends_the_cookies_and_leaves_their_file_alone(youtube: LoopbackYouTube, tmp_path: Path) -> None:
    file = tmp_path / "cookies.txt"
    file.write_text(COOKIES)
    before = file.stat().st_mtime_ns
    [answer] = ask(youtube.env, "yt-dlp", [OK], cookies=file)
    assert answer.kind == "found"
    assert all("MY_OWN" in request.cookies for request in youtube.requests if request.kind == "player")
    assert (file.read_text(), file.stat().st_mtime_ns) == (COOKIES, before)
    assert list(tmp_path.iterdir()) == [file]


def test_with_a_login_the_web_client_asks_since_only_it_can_carry_one(youtube: LoopbackYouTube, tmp_path: Path) -> None:
    file = tmp_path / "cookies.txt"
    login = (COOKIES.splitlines()[1].replace("PREF", name) for name in ("LOGIN_INFO", "SAPISID", "__Secure-3PAPISID"))
    file.write_text("\n".join(login))
    ask(youtube.env, "yt-dlp", [OK], cookies=file)
    assert youtube.requests[0].kind == "page"
    assert {"LOGIN_INFO", "SAPISID"} <= set(youtube.requests[0].cookies)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00", b'[{"name": "LOGIN_INFO"}]\n', b"secret\n"])
def test_a_file_without_cookies_ends_the_run_with_a_word(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "cookies.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Fatal, match=r"cookies\.txt") as caught:
        open_engines(["yt-dlp"], file)
    assert "secret" not in str(caught.value)


# -- hostile replies --------------------------------------------------------------------------------------------------

NONSENSE: tuple[Any, ...] = (
    *(None, True, 0, -1, 1e308, "", "OK", "\ud800", "a\tb\nc\x1b[31m", "x" * 10_000, [], [[]], [None], {}),
    *({"runs": 3}, {"simpleText": []}, {"runs": [None, {"text": {}}]}),
)
BASES = [
    *(replies.failure(OK, failure) for failure in FAILURES.values()),
    *(replies.player(OK, scenario, "VISIONOS") for scenario in PLAYABLE.values()),
]


def mutated(reply: Any, rng: random.Random) -> Any:
    """The reply with some of its nodes, at any depth, put in another one's place, dropped, or made nonsense."""
    reply = copy.deepcopy(reply)
    for _ in range(rng.choice((1, 1, 2, 5))):
        places = list(_places(reply))
        if not places:
            return _nonsense(rng)
        holder, key = rng.choice(places)
        if rng.random() < 0.2:
            del holder[key]
        elif rng.random() < 0.2:
            other, there = rng.choice(places)
            holder[key] = copy.deepcopy(other[there]) if other is not holder else _nonsense(rng)
        else:
            holder[key] = _nonsense(rng)
    return reply if rng.random() < 0.98 else _nonsense(rng)


def _nonsense(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(NONSENSE))


def _places(node: Any) -> Iterable[tuple[Any, Any]]:
    for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield node, key
        yield from _places(node[key])


@given(st.sampled_from(BASES), st.randoms(use_true_random=False))
def test_a_hostile_reply_is_accepted_or_refused_but_never_a_crash(reply: Any, rng: random.Random) -> None:
    try:
        check_reply(mutated(reply, rng), OK)
    except ClipError as error:
        assert isinstance(error.reason, str)
        assert error.reason


@pytest.mark.parametrize(
    ("engine", "replies_served"),
    [
        *((engine, 150) for engine in ENGINE_NAMES),
        *(pytest.param(engine, 5000, marks=pytest.mark.soak) for engine in ("pytubefix", "yt-dlp")),
    ],
)
def test_hostile_replies_pass_through_the_clients_as_answers(
    youtube: LoopbackYouTube, monkeypatch: pytest.MonkeyPatch, engine: str, replies_served: int
) -> None:
    ids = [f"hostile{number:04}" for number in range(replies_served)]

    def serve(video_id: str, scenario: Scenario, client: str) -> Any:
        rng = random.Random(f"{video_id} {engine}")
        base = rng.choice(BASES[-len(PLAYABLE) :] if rng.random() < 0.8 else BASES)
        return mutated(json.loads(json.dumps(base).replace(OK, video_id)), rng)

    monkeypatch.setattr(replies, "player", serve)
    answers = ask(youtube.env, engine, ids, timeout_s=5)
    assert {answer.kind for answer in answers} > {"found", "MayWorkLater"}
    for answer in answers:
        if answer.kind == "found":
            assert answer.duration_s is None or 0 < answer.duration_s < float("inf")
            assert all(isinstance(url, str) for url in answer.urls)


def test_no_engine_is_a_class_of_its_own_for_the_failure_of_another() -> None:
    """`resolve` itself, with engines that fail in every way: only an engine_error moves on."""

    class Fake:
        def __init__(self, name: str, does: ClipError | list[Format]) -> None:
            self.name, self.does, self.asked = name, does, 0

        def formats(self, video_id: str) -> tuple[list[Format], float | None]:
            self.asked += 1
            if isinstance(self.does, ClipError):
                raise self.does
            return self.does, 7.0

    second = Fake("second", [P18])
    for category in Category:
        error = Gone(category, "so it is") if category.gone else MayWorkLater(category, "so it is")
        first = Fake("first", error)
        before = second.asked
        if category is Category.ENGINE_ERROR:
            assert resolve([first, second], OK, 360).engine == "second"
        else:
            with pytest.raises(ClipError, match="so it is"):
                resolve([first, second], OK, 360)
        assert second.asked - before == (category is Category.ENGINE_ERROR)
    assert resolve([Fake("first", [A140]), second], OK, 360).engine == "second"
