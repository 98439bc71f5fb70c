"""A file over ranges is like one on disk: whatever the media host does, what is read is right, or it says why not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinetics.errors import ClipError, MayWorkLater, StopEveryone
from kinetics.net import http as net_http
from kinetics.net import range_file, responses
from kinetics.net import rate_limit as remote
from kinetics.net.http import REDIRECTS, HttpSession
from kinetics.net.range_file import RangeFile
from kinetics.net.rate_limit import RateLimiter
from kinetics.net.responses import BROKEN_TRIES, TRIES, MediaRefused
from kinetics.records import Category
from tests.support.cutting import LONG
from tests.support.network import PROXIES, go_through, media_url
from tests.youtube.log import Request
from tests.youtube.replies import MEDIA_HOST
from tests.youtube.server import LoopbackYouTube
from tests.youtube.videos import Video
from tests.youtube.world import MediaFault, ResetStage, Scenario, World

USUAL = Video(duration_s=20)
CONTENT = USUAL.progressive.path.read_bytes()
ID = "-_loopback0"
URL = media_url(18, ID)


@pytest.fixture
def youtube(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackYouTube]:
    with LoopbackYouTube(World({ID: Scenario(USUAL, ("progressive",))})) as running:
        go_through(running, monkeypatch)
        yield running


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "BACK_OFF_S", 0.01)
    monkeypatch.setattr(net_http, "READ_TIMEOUT_S", 0.5)


def break_media(youtube: LoopbackYouTube, *faults: MediaFault) -> None:
    youtube.world.scenarios[ID] = Scenario(USUAL, ("progressive",), media_faults=faults)


def ranges(youtube: LoopbackYouTube) -> list[tuple[int, int]]:
    """What was asked for, as first byte and end."""
    return [(one.range[0], (one.range[1] or 0) + 1) for one in youtube.requests if one.range]


def media(youtube: LoopbackYouTube) -> list[Request]:
    return [one for one in youtube.requests if one.kind == "media"]


def read(file: RangeFile, start: int, stop: int) -> bytes:
    file.prefetch(start, stop)
    file.seek(start)
    return b"".join(iter(lambda: file.read(stop - file.tell()), b""))


# -- when all is well --------------------------------------------------------------------------------------------------


def test_a_range_is_fetched_with_one_request_for_exactly_its_bytes(youtube: LoopbackYouTube) -> None:
    session = HttpSession()
    file = RangeFile(session, URL)
    assert read(file, 1000, 200_000) == CONTENT[1000:200_000]
    assert ranges(youtube) == [(1000, 200_000)]
    assert (session.requests, session.bytes_received) == (1, 199_000)
    assert file.size == len(CONTENT)


def test_what_is_at_hand_is_not_asked_for_again(youtube: LoopbackYouTube) -> None:
    file = RangeFile(HttpSession(), URL)
    file.prefetch(1000, 2000)
    file.prefetch(3000, 4000)
    file.prefetch(500, 1500)
    file.prefetch(1200, 1800)
    assert read(file, 500, 2000) == CONTENT[500:2000]
    assert ranges(youtube) == [(1000, 2000), (3000, 4000), (500, 1000)]


def test_the_end_of_the_file_is_the_end_of_reading(youtube: LoopbackYouTube) -> None:
    file = RangeFile(HttpSession(), URL)
    assert read(file, len(CONTENT) - 10, len(CONTENT) + 10) == CONTENT[-10:]
    assert file.read(10) == b""
    assert file.seek(-4, 2) == len(CONTENT) - 4
    assert file.read(100) == CONTENT[-4:]
    assert len(media(youtube)) == 1


def test_reading_from_end_to_end_takes_ever_longer_strides_and_little_memory(youtube: LoopbackYouTube) -> None:
    youtube.world.scenarios[ID] = Scenario(LONG, ("progressive",))
    file = RangeFile(HttpSession(), URL, streaming=True)
    most = 0
    with open(LONG.progressive.path, "rb") as content:
        while piece := file.read(100_000):
            most = max(most, sum(len(span[1]) for span in file._spans))
            assert piece == content.read(len(piece))
        assert content.read() == b""
    assert len(media(youtube)) <= 8
    assert sum(one.bytes_sent for one in media(youtube)) == LONG.progressive.size
    assert most <= 2 * range_file.READ_AHEAD_LIMIT


def test_connections_are_kept_from_file_to_file(youtube: LoopbackYouTube, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    serve = LoopbackYouTube.serve

    def count(self: LoopbackYouTube, connection: Any, address: object, host: str, reset_stage: None = None) -> None:
        opened.append(host)
        serve(self, connection, address, host, reset_stage)

    monkeypatch.setattr(LoopbackYouTube, "serve", count)
    session = HttpSession()
    for start in (0, 5000, 70_000):
        read(RangeFile(session, URL), start, start + 1000)
    assert opened == [MEDIA_HOST]


def test_headers_of_the_engine_are_sent(youtube: LoopbackYouTube) -> None:
    read(RangeFile(HttpSession(), URL, {"User-Agent": "vision/1"}), 0, 10)
    assert media(youtube)[0].user_agent == "vision/1"


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("prefetch"), st.integers(0, len(CONTENT) + 5000), st.integers(0, 300_000)),
        st.tuples(st.just("seek"), st.integers(0, len(CONTENT) + 5000), st.just(0)),
        st.tuples(st.just("end"), st.integers(-len(CONTENT), 0), st.just(0)),
        st.tuples(st.just("read"), st.integers(0, 100_000), st.just(0)),
    ),
    max_size=12,
)


def test_any_order_of_reading_gives_the_bytes_of_the_file_and_fetches_none_twice(youtube: LoopbackYouTube) -> None:
    session = HttpSession()

    @settings(deadline=None, derandomize=True)
    @given(STEPS)
    def read_both(steps: list[tuple[str, int, int]]) -> None:
        before = len(youtube.requests)
        file = RangeFile(session, URL)
        with open(USUAL.progressive.path, "rb") as content:
            for step, first, second in steps:
                if step == "prefetch":
                    if first < len(CONTENT):  # the size is not known yet, and none asks past the end knowingly
                        file.prefetch(first, first + second)
                elif step == "seek":
                    assert file.seek(first) == content.seek(first)
                elif step == "end":
                    assert file.seek(first, 2) == content.seek(first, 2)
                elif first and content.tell() < len(CONTENT):
                    piece = file.read(first)
                    assert piece
                    assert piece == content.read(len(piece))
                assert file.tell() == content.tell()
        asked = sorted(ranges(youtube)[before:])
        assert all(one[1] <= other[0] for one, other in pairwise(asked))

    read_both()


# -- when the media host refuses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_refusal_of_this_address_is_told_from_others_and_not_repeated(youtube: LoopbackYouTube, status: int) -> None:
    break_media(youtube, MediaFault("status", status))
    with pytest.raises(MediaRefused, match=f"HTTP {status}") as caught:
        read(RangeFile(HttpSession(), URL), 0, 1000)
    assert caught.value.category is Category.MEDIA_ERROR
    assert len(media(youtube)) == 1


def test_a_range_past_the_end_is_a_media_error(youtube: LoopbackYouTube) -> None:
    with pytest.raises(MayWorkLater, match="HTTP 416") as caught:
        read(RangeFile(HttpSession(), URL), len(CONTENT) + 10, len(CONTENT) + 20)
    assert caught.value.category is Category.MEDIA_ERROR
    assert len(media(youtube)) == 1


def test_429_stops_everyone_for_the_seconds_that_the_host_asks(youtube: LoopbackYouTube) -> None:
    break_media(youtube, MediaFault("status", 429, retry_after="7"))
    with pytest.raises(StopEveryone, match="429") as caught:
        read(RangeFile(HttpSession(), URL), 0, 1000)
    assert (caught.value.category, caught.value.retry_after_s) == (Category.THROTTLED, 7.0)
    assert len(media(youtube)) == 1


def test_429_stops_everyone_until_the_date_that_the_host_names(youtube: LoopbackYouTube) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    break_media(youtube, MediaFault("status", 429, retry_after=date))
    with pytest.raises(StopEveryone) as caught:
        read(RangeFile(HttpSession(), URL), 0, 1000)
    assert caught.value.retry_after_s == pytest.approx(3600, abs=60)


@pytest.mark.parametrize("value", [None, "soon"])
def test_429_without_a_sensible_time_stops_everyone_too(youtube: LoopbackYouTube, value: str | None) -> None:
    break_media(youtube, MediaFault("status", 429, retry_after=value))
    with pytest.raises(StopEveryone) as caught:
        read(RangeFile(HttpSession(), URL), 0, 1000)
    assert caught.value.retry_after_s is None


def test_a_server_error_that_passes_is_asked_again(youtube: LoopbackYouTube) -> None:
    break_media(youtube, MediaFault("status", 503, times=1))
    assert read(RangeFile(HttpSession(), URL), 0, 1000) == CONTENT[:1000]
    assert [one.status for one in media(youtube)] == [503, 206]


def test_a_server_error_that_stays_is_one(youtube: LoopbackYouTube) -> None:
    break_media(youtube, MediaFault("status", 503))
    with pytest.raises(MayWorkLater, match="HTTP 503") as caught:
        read(RangeFile(HttpSession(), URL), 0, 1000)
    assert caught.value.category is Category.SERVER_ERROR
    assert len(media(youtube)) == TRIES


@pytest.mark.parametrize("kind", ["whole_file", "html", "empty"])
def test_200_is_no_part_of_a_file_and_nothing_of_it_is_kept(youtube: LoopbackYouTube, kind: Any) -> None:
    break_media(youtube, MediaFault(kind, times=1))
    session = HttpSession()
    file = RangeFile(session, URL)
    with pytest.raises(MayWorkLater, match="whole document") as caught:
        read(file, 0, 1000)
    assert caught.value.category is Category.MEDIA_ERROR
    assert (session.requests, session.bytes_received) == (1, 0)
    assert not file.is_cached(0)
    assert read(RangeFile(session, URL), 0, 1000) == CONTENT[:1000]


def test_another_range_than_asked_for_is_refused(youtube: LoopbackYouTube) -> None:
    break_media(youtube, MediaFault("wrong_range"))
    session = HttpSession()
    file = RangeFile(session, URL)
    with pytest.raises(MayWorkLater, match="asked for bytes 0-999, was sent 'bytes 1000-1999/") as caught:
        read(file, 0, 1000)
    assert caught.value.category is Category.MEDIA_ERROR
    assert session.bytes_received == 0
    assert not file.is_cached(0)


# -- when the connection breaks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cut", "reset", "stall"])
def test_a_broken_body_is_resumed_where_it_broke(youtube: LoopbackYouTube, kind: Any) -> None:
    break_media(youtube, MediaFault(kind, at=200_000, times=1))
    session = HttpSession()
    assert read(RangeFile(session, URL), 1000, 300_000) == CONTENT[1000:300_000]
    (_, _), (resumed, stop) = ranges(youtube)
    assert 1000 < resumed <= 200_000, "a reset may lose what was under way"
    assert stop == 300_000
    assert session.bytes_received == 299_000, "no byte was taken twice"
    if kind != "reset":
        assert resumed == 200_000


def test_a_body_that_breaks_at_ever_new_places_arrives(youtube: LoopbackYouTube) -> None:
    breaks = [50_000 * (number + 1) for number in range(2 * TRIES)]
    break_media(youtube, *(MediaFault("cut", at=at, times=1) for at in breaks))
    assert read(RangeFile(HttpSession(), URL), 0, 400_000) == CONTENT[:400_000]
    assert [first for first, _ in ranges(youtube)] == [0, *breaks]


@pytest.mark.parametrize("kind", ["cut", "reset"])
def test_a_body_that_always_breaks_at_one_place_is_given_up(youtube: LoopbackYouTube, kind: Any) -> None:
    break_media(youtube, MediaFault(kind, at=100))
    with pytest.raises(MayWorkLater, match="connection broke at byte 100: ") as caught:
        read(RangeFile(HttpSession(), URL), 100, 1000)
    assert caught.value.category is Category.MEDIA_ERROR
    assert ranges(youtube) == [(100, 1000)] * BROKEN_TRIES


def test_after_a_broken_body_the_next_file_is_read_on_a_sound_connection(youtube: LoopbackYouTube) -> None:
    break_media(youtube, MediaFault("cut", at=100))
    session = HttpSession()
    with pytest.raises(MayWorkLater):
        read(RangeFile(session, URL), 0, 1000)
    break_media(youtube)
    assert read(RangeFile(session, URL), 0, 1000) == CONTENT[:1000]


def test_a_line_that_is_down_stops_everyone(youtube: LoopbackYouTube) -> None:
    session = HttpSession()
    read(RangeFile(session, URL), 0, 10)
    youtube.world.line_down = True
    for _ in range(2):  # once on the connection that is open, once on a new one
        with pytest.raises(StopEveryone, match=r"no (line|answer)") as caught:
            read(RangeFile(session, URL), 0, 1000)
        assert caught.value.category is Category.NETWORK
    youtube.world.line_down = False
    assert read(RangeFile(session, URL), 0, 1000) == CONTENT[:1000]


def test_a_proxy_that_is_not_there_stops_everyone(youtube: LoopbackYouTube, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(StopEveryone) as caught:
        read(RangeFile(HttpSession(), URL), 0, 1000)
    assert caught.value.category is Category.NETWORK


def test_an_untrusted_certificate_stops_everyone_and_names_the_setting(
    youtube: LoopbackYouTube, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(StopEveryone, match="SSL_CERT_FILE") as caught:
        read(RangeFile(HttpSession(), URL), 0, 1000)
    assert caught.value.category is Category.NETWORK
    assert youtube.requests == []


# -- where it may go ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/videoplayback",
        "https://evilgooglevideo.com/videoplayback",
        "https://rr1.googlevideo.com.example.org/videoplayback",
        "https://rr1.googlevideo.com@example.org/videoplayback",
        "http://rr1.googlevideo.com/videoplayback",
        "file:///etc/passwd",
        "https://127.0.0.1/",
        "https:///",
        "https://[::1",
        "",
    ],
)
def test_an_address_outside_youtube_is_never_asked(youtube: LoopbackYouTube, url: str) -> None:
    session = HttpSession()
    with pytest.raises(MayWorkLater, match="outside YouTube") as caught:
        read(RangeFile(session, url), 0, 1000)
    assert caught.value.category is Category.MEDIA_ERROR
    assert session.requests == 0
    assert youtube.requests == []


class Redirecting(LoopbackYouTube):
    """Its media host sends every visitor on, from each address in `hops` to the next."""

    hops: tuple[str, ...] = ()
    visits = 0

    def serve(self, connection: Any, address: object, host: str, reset_stage: ResetStage | None = None) -> None:
        if self.visits >= len(self.hops):
            super().serve(connection, address, host, reset_stage)
            return
        with self.tls.wrap_socket(connection, server_side=True) as inner:
            inner.recv(1 << 16)
            head = f"HTTP/1.1 302 Found\r\nLocation: {self.hops[self.visits]}\r\n"
            self.visits += 1
            inner.sendall(f"{head}Connection: close\r\nContent-Length: 0\r\n\r\n".encode())


@pytest.fixture
def redirecting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Redirecting]:
    with Redirecting(World({ID: Scenario(USUAL, ("progressive",))})) as running:
        go_through(running, monkeypatch)
        yield running


def test_a_redirect_among_the_media_hosts_is_followed(redirecting: Redirecting) -> None:
    redirecting.hops = (URL.replace("https://r1", "https://rr9"), f"/videoplayback?id={ID}&itag=18")
    session = HttpSession()
    assert read(RangeFile(session, URL), 0, 1000) == CONTENT[:1000]
    assert session.requests == 3


@pytest.mark.parametrize("target", ["https://example.org/v", URL.replace("https", "http"), "file:///etc/passwd"])
def test_a_redirect_out_of_youtube_is_refused_without_a_connection(redirecting: Redirecting, target: str) -> None:
    redirecting.hops = (target,)
    with pytest.raises(MayWorkLater, match="outside YouTube"):
        read(RangeFile(HttpSession(), URL), 0, 1000)
    assert redirecting.visits == 1
    assert redirecting.requests == [], "the foreign host's refusal would stand here"


def test_redirects_without_end_are_given_up(redirecting: Redirecting) -> None:
    redirecting.hops = (URL,) * 50
    with pytest.raises(MayWorkLater, match="redirected more than"):
        read(RangeFile(HttpSession(), URL), 0, 1000)
    assert redirecting.visits == REDIRECTS


def test_more_than_a_section_can_need_is_not_fetched(youtube: LoopbackYouTube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(range_file, "KEPT_LIMIT", 100_000)
    file = RangeFile(HttpSession(), URL)
    with pytest.raises(MayWorkLater, match="would need more than"):
        file.prefetch(0, 200_000)
    assert media(youtube) == []
    file.prefetch(0, 60_000)
    with pytest.raises(MayWorkLater, match="would need more than"):
        file.prefetch(60_000, 120_000)
    assert sum(one.bytes_sent for one in media(youtube)) <= 100_000


# -- the limit ---------------------------------------------------------------------------------------------------------


class Clock:
    """Stands in for the `time` module: sleeping is what makes time pass."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def time(self) -> float:
        return self.now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(remote, "time", clock)
    return clock


def test_a_limit_spreads_bytes_over_the_time_that_they_are_worth(clock: Clock, tmp_path: Path) -> None:
    limit = RateLimiter(tmp_path / "rate", 1000)
    for _ in range(11):
        limit.acquire(500)
    assert clock.now == pytest.approx(1005), "the first goes at once, the last after ten halves of a second"


def test_all_workers_share_one_limit(clock: Clock, tmp_path: Path) -> None:
    limits = [RateLimiter(tmp_path / "rate", 1000) for _ in range(2)]
    for _ in range(5):
        for limit in limits:
            limit.acquire(500)
    assert clock.now == pytest.approx(1004.5)


def test_time_in_which_nothing_was_read_is_not_saved_up(clock: Clock, tmp_path: Path) -> None:
    limit = RateLimiter(tmp_path / "rate", 1000)
    limit.acquire(500)
    clock.now += 3600
    limit.acquire(500)
    limit.acquire(500)
    assert clock.slept == [0, 0, 0.5]


def test_what_an_earlier_run_left_behind_delays_nobody(clock: Clock, tmp_path: Path) -> None:
    clock.now = 1e6
    RateLimiter(tmp_path / "rate", 1000).acquire(500)
    clock.now = 10.0  # the machine's clock was set back
    RateLimiter(tmp_path / "rate", 1000).acquire(500)
    assert clock.slept == [0, 0]


def test_a_damaged_limit_file_delays_nobody(clock: Clock, tmp_path: Path) -> None:
    for content in (b"abc", b"\xff" * 8, b"\x7f" * 8, b"x" * 100):
        (tmp_path / "rate").write_bytes(content)
        RateLimiter(tmp_path / "rate", 1000).acquire(500)
    assert clock.slept == [0] * 4


def test_what_is_read_through_a_line_is_spent(youtube: LoopbackYouTube, tmp_path: Path, clock: Clock) -> None:
    session = HttpSession(RateLimiter(tmp_path / "rate", 100_000))
    assert read(RangeFile(session, URL), 0, 300_000) == CONTENT[:300_000]
    assert 2.0 <= clock.now - 1000 <= 3.0


def test_the_time_of_two_threads_at_once_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((10.0, 15.0, 20.0, 21.0))
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    session = HttpSession()
    with session.busy(), session.busy():
        pass
    with session.busy():
        pass
    assert session.busy_s == 6.0


def test_no_error_of_the_network_is_an_oserror(youtube: LoopbackYouTube) -> None:
    """One that was would be taken for a full disk."""
    kinds: tuple[Any, ...] = ("cut", "reset", "stall", "wrong_range", "html", "empty", "whole_file")
    for kind in kinds:
        break_media(youtube, MediaFault(kind))
        with pytest.raises(ClipError) as caught:
            read(RangeFile(HttpSession(), URL), 0, 1000)
        assert not isinstance(caught.value, OSError)
