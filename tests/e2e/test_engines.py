"""Unmodified clients, each in a process of its own: what they find, and what their failures become."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest

from kinetics.records import Category
from kinetics.youtube.engines import ENGINE_NAMES, engine_versions
from kinetics.youtube.fallback import BROKEN_REPLIES
from tests.support.engine_process import Answer, ask
from tests.support.player_replies import BASES, OK, PLAYABLE, VIDEO, WEBM, mutated
from tests.youtube import replies, visit
from tests.youtube.innertube import serve_player
from tests.youtube.server import LoopbackYouTube
from tests.youtube.world import FAILURES, PLAYER_FAULTS, Failure, FakeThrottle, Scenario, World

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


NOTHING_ELSE_SAID = ("unavailable", "unavailable, this video")


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("engine", ENGINE_NAMES)
def test_each_failure_lands_in_its_category_with_youtubes_words(engine: str, name: str) -> None:
    failure = FAILURES[name]
    answer, _ = answers_to_everything(engine)["failure", name]
    if engine == "yt-dlp" and name == "private, as a message":  # which yt-dlp does not pass on
        assert (answer.kind, answer.category) == ("MayWorkLater", Category.ENGINE_ERROR)
        return
    kind = "Unconfirmed" if name in NOTHING_ELSE_SAID else kind_of(failure.category)
    assert (answer.kind, answer.category) == (kind, failure.category)
    said = (failure.reason, failure.subreason, *failure.messages) if not failure.is_live else ("live stream",)
    kept = [text.rstrip(".") in answer.reason for text in said if text]
    assert any(kept) if engine == "yt-dlp" else all(kept)  # yt-dlp drops some headings
    assert not any(advice in answer.reason for advice in ("--cookies", "yt-dlp", "[youtube]", "\x1b", "https://"))


def kind_of(category: Category) -> str:
    """The class of the error with this category, for what YouTube says in a reply."""
    if category is Category.THROTTLED:
        return "StopEveryone"
    if category is Category.NOT_OFFERED:
        return "NotOffered"
    return "Gone" if category.gone else "MayWorkLater"


BLOCK = Failure(Category.THROTTLED, "ERROR", "Video unavailable", "This content isn’t available.")  # noqa: RUF001
OLD_APP = Failure(
    Category.NOT_OFFERED,
    "ERROR",
    "The following content is not available on this app.",
    "Watch on the latest version of YouTube.",
)
NEWS = Failure(Category.ENGINE_ERROR, "ERROR", "Video unavailable", "Something that nobody has seen yet")


@pytest.mark.parametrize("engine", ENGINE_NAMES)
def test_the_heading_and_the_detail_are_kept_and_the_detail_decides(youtube: LoopbackYouTube, engine: str) -> None:
    block, old_app, news = ask(youtube.env, engine, failing(youtube, BLOCK, OLD_APP, NEWS))
    for answer, said in ((block, BLOCK), (old_app, OLD_APP), (news, NEWS)):
        assert (answer.kind, answer.category) == (kind_of(said.category), said.category)
    assert block.reason.rstrip(".") == "Video unavailable: This content isn’t available"  # noqa: RUF001
    assert news.reason == f"{engine}: Video unavailable: Something that nobody has seen yet"
    assert re.match(
        r"The following content is not available on this app[.:] Watch on the latest version of YouTube\. \(asked with",
        old_app.reason,
    )


PLAYER_FAULT_MEANS = {
    "429": ("StopEveryone", Category.THROTTLED),
    "429 with Retry-After": ("StopEveryone", Category.THROTTLED),
    "403": ("MayWorkLater", Category.ENGINE_ERROR),
    "404": ("MayWorkLater", Category.ENGINE_ERROR),
    "500": ("MayWorkLater", Category.SERVER_ERROR),
    "503": ("MayWorkLater", Category.SERVER_ERROR),
    "html": ("MayWorkLater", Category.ENGINE_ERROR),
    "cut JSON": ("MayWorkLater", Category.ENGINE_ERROR),
    "cut body": ("ConnectionBroken", Category.SERVER_ERROR),
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
    times = BROKEN_REPLIES if name == "cut body" else 2 if no_reply else 1
    assert Counter(calls).most_common(1)[0][1] == times, "asked again at once, or more than once"
    if name == "429 with Retry-After" and engine != "yt-dlp":  # which does not pass the header on
        assert answer.retry_after_s == 2.0


@pytest.mark.parametrize("name", PLAYABLE)
@pytest.mark.parametrize("engine", ENGINE_NAMES)
def test_each_engine_finds_the_right_formats(engine: str, name: str) -> None:
    answer, _ = answers_to_everything(engine)["playable", name]
    assert (answer.kind, answer.engine, answer.itag) == ("found", engine, FOUND[name])
    assert answer.duration_s == pytest.approx(20 if PLAYABLE[name].video in (VIDEO, WEBM) else 6)
    assert not any("dubbed" in url for url in answer.urls)


TITLE = 'a\nb\0c \u202edlrow\u2069 <script>alert("1")</script>'
ABOUT: Mapping[str, Mapping[str, object]] = {
    "videoDetails": {
        "title": TITLE,
        "author": "Someone",
        "channelId": "UC0123456789012345678901",
        "shortDescription": TITLE,
        "keywords": ["harmonica", "blues, slow"],
        "viewCount": "12345",
    },
    "microformat": {"playerMicroformatRenderer": {"uploadDate": "2011-03-04T05:06:07+00:00", "category": "Music"}},
}


@pytest.mark.parametrize("engine", ENGINE_NAMES)
def test_each_engine_passes_on_what_the_reply_says_of_the_video(youtube: LoopbackYouTube, engine: str) -> None:
    youtube.world.scenarios["told-video0"] = replace(PLAYABLE["dubbed"], about=ABOUT)
    before = len(youtube.requests)
    [told] = ask(youtube.env, engine, ["told-video0"])
    assert told.facts == {
        **{"youtube_id": "told-video0", "title": TITLE, "channel": "Someone", "description": TITLE, "views": 12345},
        **{"channel_id": "UC0123456789012345678901", "keywords": ["harmonica", "blues, slow"], "length_s": 20.0},
        **{"category": "Music", "published": "2011-03-04", "language": "en"},
        **{"width": None, "height": None, "fps": None},
    }
    calls = [request.client for request in youtube.requests[before:] if request.kind == "player"]
    assert len(calls) == 1, "what is known of a video costs no call of its own"


@pytest.mark.parametrize("engine", ENGINE_NAMES)
def test_a_refusal_about_the_video_tells_of_it_too(youtube: LoopbackYouTube, engine: str) -> None:
    youtube.world.scenarios["hidden-vid0"] = Scenario(failure=FAILURES["private"], about=ABOUT)
    [hidden] = ask(youtube.env, engine, ["hidden-vid0"])
    assert (hidden.kind, hidden.category) == ("Gone", Category.PRIVATE)
    assert hidden.facts
    assert (hidden.facts["title"], hidden.facts["channel"]) == (TITLE, "Someone")


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


@pytest.mark.parametrize(("engine", "client"), [("pytubefix", "VISIONOS"), ("yt-dlp", "VISIONOS")])
def test_a_video_costs_one_call(youtube: LoopbackYouTube, engine: str, client: str) -> None:
    ids = [f"frequent{number:03}" for number in range(5)]
    youtube.world.scenarios |= dict.fromkeys(ids, Scenario(VIDEO))
    assert {answer.kind for answer in ask(youtube.env, engine, ids)} == {"found"}
    calls = Counter((request.kind, request.client) for request in youtube.requests)
    assert calls.pop(("player", client)) == 5
    assert calls == ({("visitor", "WEB"): 1} if engine == "pytubefix" else {})


KIDS = Failure(Category.NOT_OFFERED, "UNPLAYABLE", "This video is not available")


def test_pytubefix_does_not_turn_to_clients_that_run_node(youtube: LoopbackYouTube) -> None:
    [answer] = ask(youtube.env, "pytubefix", failing(youtube, KIDS))
    assert (answer.kind, answer.category) == ("NotOffered", Category.NOT_OFFERED)
    assert [request.client for request in youtube.requests] == ["WEB", "VISIONOS"]


def test_what_the_first_client_is_refused_the_next_one_may_have(
    youtube: LoopbackYouTube, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made_for_kids(video_id: str, scenario: Scenario, client: str) -> Any:
        served = client == "ANDROID" or scenario.failure is not None
        return player(video_id, scenario, client) if served else replies.failure(video_id, KIDS)

    player = replies.player
    monkeypatch.setattr(replies, "player", made_for_kids)
    youtube.world.scenarios[OK] = PLAYABLE["progressive"]
    [kids] = ask(youtube.env, "pytubefix,yt-dlp", [OK])
    assert (kids.engine, kids.itag) == ("yt-dlp", "18")
    assert [request.client for request in youtube.requests] == ["WEB", "VISIONOS", "ANDROID"]
    [nobody] = ask(youtube.env, "pytubefix,yt-dlp", failing(youtube, KIDS))
    assert nobody.kind == "NotOffered"
    assert nobody.reason == f"{KIDS.reason} (asked with {engine_versions(['pytubefix', 'yt-dlp'])})"


@pytest.mark.parametrize("fault", ["no streams", "503"])
def test_a_client_refused_and_another_that_failed_is_no_refusal(
    youtube: LoopbackYouTube, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    def refuse_visionos(video_id: str, scenario: Scenario, client: str) -> Any:
        return replies.failure(video_id, KIDS) if client == "VISIONOS" else player(video_id, scenario, client)

    def spoil_others(call: visit.Visit) -> None:
        other = json.loads(call.body)["context"]["client"]["clientName"] != "VISIONOS"
        youtube.world.scenarios[OK] = Scenario(VIDEO, player_faults=(PLAYER_FAULTS[fault],) if other else ())
        serve_player(call)

    player = replies.player
    monkeypatch.setattr(replies, "player", refuse_visionos)
    monkeypatch.setattr(visit, "serve_player", spoil_others)
    [answer] = ask(youtube.env, "yt-dlp", [OK])
    assert answer.kind == "MayWorkLater"
    assert answer.category == (Category.SERVER_ERROR if fault == "503" else Category.ENGINE_ERROR)
    assert (KIDS.reason in answer.reason) == (fault != "503")


@pytest.mark.parametrize("engine", ENGINE_NAMES)
def test_every_player_call_asks_for_english(
    youtube: LoopbackYouTube, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    def note_language(call: visit.Visit) -> None:
        client = json.loads(call.body)["context"]["client"]
        languages.append((client["clientName"], client.get("hl")))
        serve_player(call)

    languages: list[tuple[str, str | None]] = []
    monkeypatch.setattr(visit, "serve_player", note_language)
    ask(youtube.env, engine, [OK, *failing(youtube, KIDS)])
    guests = ("VISIONOS", "ANDROID", "TVHTML5")
    clients = {"pytubefix": ["WEB", "VISIONOS"], "yt-dlp": [*guests], "pytube": ["ANDROID_MUSIC"]}
    assert {name for name, _ in languages} == {*clients[engine]}
    assert {language for _, language in languages} == {"en"}


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


@pytest.mark.parametrize(
    ("engine", "replies_served"),
    [
        *((engine, 20) for engine in ENGINE_NAMES),
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
