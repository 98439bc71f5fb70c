"""Which client is asked when, what is tried after media failed, and what is remembered of refusals."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from kinetics.errors import (
    ClientRefused,
    ClientUnusable,
    ClipError,
    Gone,
    MayWorkLater,
    NotOffered,
    StopEveryone,
    Unconfirmed,
)
from kinetics.net.range_file import RangeFile
from kinetics.net.responses import ConnectionBroken, MediaExpired, MediaRefused
from kinetics.records import Category, Outcome, VideoFacts
from kinetics.youtube import download_job, fallback
from kinetics.youtube.ads import ads_s
from kinetics.youtube.client_record import ALIKE_CLIPS, ClientRecord
from kinetics.youtube.engines import engine_versions
from kinetics.youtube.fallback import LOOK_BACK_CLIPS, MAX_CALLS, MediaSearch, Resolver
from kinetics.youtube.formats import Format, MediaSource
from kinetics.youtube.video_facts import Learn, ignore
from kinetics.youtube.visitor import MAX_AGE_S, VisitorId, visitor_file
from tests.support.download_job import CLIP, job_in, unheard
from tests.youtube import replies

OK = "okay-video0"
P18 = Format("18", "https://x/18", "mp4", "avc1.42001E", "mp4a.40.2", 360)
Says = ClipError | list[Format] | Callable[[str], ClipError]
VERSIONS = engine_versions(["pytubefix", "yt-dlp"])
NOT_AVAILABLE = "Video unavailable: This video is not available"


class FakeEngine:
    """An engine whose clients offer or refuse every video alike: all of them, or each as `says` has it."""

    def __init__(self, name: str, says: Says | Mapping[str, Says], clients: tuple[str, ...] = ("",)) -> None:
        self.name, self.says = name, says
        self.clients = tuple(says) if isinstance(says, Mapping) else clients if clients != ("",) else (f"as {name}",)
        self.asked: list[str] = []

    def formats(self, video_id: str, client: str, learn: Learn = ignore) -> tuple[list[Format], float | None]:
        self.asked.append(client)
        learn(VideoFacts(video_id, title=f"asked as {client}"))
        says = self.says[client] if isinstance(self.says, Mapping) else self.says
        if isinstance(says, ClipError):
            raise says
        if not isinstance(says, list):
            raise says(video_id)
        return says, 7.0


def pair(first: Says, android: Says, second: Says | None = None) -> tuple[FakeEngine, FakeEngine]:
    """pytubefix, and yt-dlp with visionOS, which says the same unless `second` says otherwise, and Android."""
    return FakeEngine("pytubefix", {"visionos": first}), FakeEngine(
        "yt-dlp", {"visionos": second or first, "android": android}
    )


def engine_error(reason: str) -> MayWorkLater:
    return MayWorkLater(Category.ENGINE_ERROR, reason)


def refused_media(reason: str = "HTTP 403 from the media host") -> MediaRefused:
    return MediaRefused(Category.MEDIA_ERROR, reason)


def first_source(resolver: Resolver, video_id: str = OK) -> MediaSource:
    """What is found for a video whose media are then whole."""
    search = resolver.search(video_id, 360)
    source = search.next_source()
    search.came()
    return source


def failure_of(resolver: Resolver, video_id: str = OK) -> ClipError:
    with pytest.raises(ClipError) as caught:
        resolver.search(video_id, 360).next_source()
    return caught.value


def sources_after(search: MediaSearch, failure: Callable[[MediaSource], MayWorkLater]) -> Iterator[MediaSource]:
    """Every source of a search in which all media fail, until the search ends with an error."""
    source = search.next_source()
    while True:
        yield source
        source = search.after(source, failure(source))


# -- asking -----------------------------------------------------------------------------------------------------------


def test_only_an_engines_own_failure_and_a_refused_client_lead_to_the_next_engine() -> None:
    for category in Category:
        error = (
            NotOffered("so it is")
            if category is Category.NOT_OFFERED
            else Gone(category, "so it is")
            if category.gone
            else MayWorkLater(category, "so it is")
        )
        first, second = FakeEngine("first", error), FakeEngine("second", [P18])
        passed_on = category in (Category.ENGINE_ERROR, Category.NOT_OFFERED)
        if passed_on:
            assert first_source(Resolver([first, second])).engine == "second"
        else:
            assert failure_of(Resolver([first, second])).reason == "so it is"
        assert len(second.asked) == passed_on


def test_a_refusal_of_everybody_ends_the_asking() -> None:
    second = FakeEngine("second", [P18])
    first = FakeEngine("first", StopEveryone(Category.THROTTLED, "wait"))
    assert isinstance(failure_of(Resolver([first, second])), StopEveryone)
    assert not second.asked


@pytest.mark.parametrize("refusal", [NotOffered(NOT_AVAILABLE), ClientRefused(Category.ENGINE_ERROR, "Please sign in")])
def test_what_youtube_refuses_a_client_is_not_asked_of_it_by_another_engine(refusal: ClipError) -> None:
    pytubefix, yt_dlp = pair(refusal, [P18])
    assert first_source(Resolver([pytubefix, yt_dlp])).engine == "yt-dlp"
    assert (pytubefix.asked, yt_dlp.asked) == (["visionos"], ["android"])


def test_where_the_engine_itself_fails_the_next_one_poses_as_the_same_client() -> None:
    pytubefix, yt_dlp = pair(engine_error("pytubefix failed: KeyError"), [P18], second=[P18])
    assert first_source(Resolver([pytubefix, yt_dlp])).engine == "yt-dlp"
    assert yt_dlp.asked == ["visionos"]
    pytubefix, yt_dlp = pair([P18], [P18], second=engine_error("yt-dlp failed: KeyError"))
    assert first_source(Resolver([yt_dlp, pytubefix])).engine == "pytubefix", "the order of the engines is the user's"
    assert yt_dlp.asked == ["visionos"]


@pytest.mark.parametrize("says", [engine_error("no streams"), NotOffered("never")])
def test_a_clip_costs_three_calls_at_most(says: ClipError) -> None:
    engines = [FakeEngine(name, says, (f"{name} 1", f"{name} 2")) for name in ("one", "two", "three")]
    failure_of(Resolver(engines))
    assert sum(len(engine.asked) for engine in engines) == MAX_CALLS == 3


def test_a_broken_connection_is_asked_again_once_a_clip() -> None:
    broken = [MayWorkLater(Category.SERVER_ERROR, "cut"), NotOffered("no"), MayWorkLater(Category.SERVER_ERROR, "cut")]
    engine = FakeEngine("one", lambda _: broken.pop(0), ("a", "b"))
    assert failure_of(Resolver([engine])).category is Category.SERVER_ERROR
    assert engine.asked == ["a", "a", "b"]


def test_what_all_engines_are_refused_is_not_offered_and_names_those_that_asked() -> None:
    both = [FakeEngine(name, NotOffered(NOT_AVAILABLE)) for name in ("pytubefix", "yt-dlp")]
    found = failure_of(Resolver(both))
    assert (type(found), found.reason) == (NotOffered, f"{NOT_AVAILABLE} (asked with {VERSIONS})")
    found = failure_of(Resolver(both[1:]))
    assert found.reason == f"{NOT_AVAILABLE} (asked with {engine_versions(['yt-dlp'])})"
    both[1].says = NotOffered("It is not available on this app")
    found = failure_of(Resolver(both))
    assert found.reason == f"{NOT_AVAILABLE}; It is not available on this app (asked with {VERSIONS})"
    both[0].says = NotOffered("x" * 5000)
    assert failure_of(Resolver(both)).reason.endswith(f"x (asked with {VERSIONS})")


def test_a_client_that_lacks_what_it_needs_counts_for_nothing_and_is_asked_once() -> None:
    engine = FakeEngine(
        "yt-dlp",
        {"visionos": NotOffered("no"), "tv": ClientUnusable(Category.ENGINE_ERROR, "no Node"), "tv 2": [P18]},
    )
    resolver = Resolver([engine])
    assert first_source(resolver).engine == "yt-dlp"
    engine.says = {"visionos": NotOffered("no"), "tv 2": NotOffered("no")}
    assert isinstance(failure_of(resolver), NotOffered)
    assert engine.asked.count("tv") == 1


@pytest.mark.parametrize("order", [1, -1])
def test_one_engine_refused_and_one_that_failed_is_no_refusal(order: int) -> None:
    engines = [FakeEngine("one", NotOffered("not on this app")), FakeEngine("two", engine_error("no streams"))][::order]
    found = failure_of(Resolver(engines))
    assert (type(found), found.category) == (MayWorkLater, Category.ENGINE_ERROR)
    assert found.reason == "; ".join(["one: not on this app", "two: no streams"][::order])


# -- after media that failed ------------------------------------------------------------------------------------------


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> int:
    """Each reply has further formats that fit; returns how many."""
    formats = [(replace(P18, itag=str(number)),) for number in range(3)]
    monkeypatch.setattr(fallback, "ranked_formats", lambda offered, _: ((offered[0],), *formats))
    return len(formats)


def test_each_step_is_taken_once_the_formats_of_a_reply_before_the_next_client(others: int) -> None:
    pytubefix, yt_dlp = pair([P18], [P18])
    tried = []
    with pytest.raises(MediaRefused, match="visionos 18"):
        for source in sources_after(
            Resolver([pytubefix, yt_dlp]).search(OK, 360),
            lambda source: refused_media(f"{(pytubefix.asked + yt_dlp.asked)[-1]} {source.itag}"),
        ):
            tried.append((source.engine, source.itag))
    reply = ["18", *map(str, range(others))]
    assert tried == [("pytubefix", itag) for itag in reply] + [("yt-dlp", itag) for itag in reply]
    assert (pytubefix.asked, yt_dlp.asked) == (["visionos"], ["android"])


@pytest.mark.parametrize(
    "failure",
    [
        ConnectionBroken(Category.MEDIA_ERROR, "the connection broke at byte 7"),
        MayWorkLater(Category.SERVER_ERROR, "HTTP 503 from the media host"),
    ],
)
def test_a_broken_connection_and_a_failing_host_are_no_faults_of_the_file(failure: MayWorkLater) -> None:
    pytubefix, yt_dlp = pair([P18], [P18])
    with pytest.raises(MayWorkLater) as caught:
        list(sources_after(Resolver([pytubefix, yt_dlp]).search(OK, 360), lambda _: failure))
    assert caught.value is failure
    assert not yt_dlp.asked


def test_damaged_media_are_sought_from_the_next_client() -> None:
    pytubefix, yt_dlp = pair([P18], [P18])
    search = Resolver([pytubefix, yt_dlp]).search(OK, 360)
    damaged = MayWorkLater(Category.MEDIA_ERROR, "the file claims to be only 3.0 s long")
    assert search.after(search.next_source(), damaged).engine == "yt-dlp"


@pytest.mark.parametrize(
    "said",
    [
        MayWorkLater(Category.SERVER_ERROR, "503"),
        NotOffered("no"),
        engine_error("?"),
        Unconfirmed(Category.UNAVAILABLE, "Video unavailable"),
    ],
)
def test_media_that_failed_stay_the_reason_where_the_next_client_has_none(said: ClipError) -> None:
    search = Resolver([*pair([P18], said)]).search(OK, 360)
    with pytest.raises(MediaRefused):
        list(sources_after(search, lambda _: refused_media()))


PAST = replace(P18, url="https://x/18?expire=1700000000")


@pytest.mark.parametrize(
    ("offered", "failure"),
    [(PAST, refused_media()), (P18, MediaExpired(Category.MEDIA_ERROR, "HTTP 403 from the media host"))],
)
def test_an_expired_url_is_renewed_once_by_the_same_client(others: int, offered: Format, failure: MediaRefused) -> None:
    pytubefix, yt_dlp = pair([offered], [P18])
    search = Resolver([pytubefix, yt_dlp]).search(OK, 360)
    source = search.after(search.next_source(), failure)
    assert pytubefix.asked == ["visionos"] * 2
    for _ in range(others):
        source = search.after(source, failure)
        assert source.engine == "pytubefix"
    assert search.after(source, failure).engine == "yt-dlp"
    assert pytubefix.asked == ["visionos"] * 2


@pytest.mark.parametrize(("ad_s", "waited"), [(12.0, 1), (31.0, 0), (-1.0, 0)])
def test_an_announced_ad_is_waited_for_once_and_the_same_url_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, ad_s: float, waited: int
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    pytubefix, yt_dlp = pair([replace(P18, available_at=time.time() + ad_s)], [P18])
    search = Resolver([pytubefix, yt_dlp]).search(OK, 360)
    source = first = search.next_source()
    if waited:
        source = search.after(source, refused_media())
        assert source is first
    assert search.after(source, refused_media()).engine == "yt-dlp"
    assert len(waits) == waited
    assert all(ad_s - 5 < wait_s <= ad_s for wait_s in waits)
    assert pytubefix.asked == ["visionos"]


@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        (replies.with_ad({}, 10.0), 10.0),
        ({"adPlacements": replies.with_ad({}, 10.0)["adPlacements"]}, 5.0),
        ({"adSlots": replies.with_ad({}, 10.0)["adSlots"]}, 5.0),
        ({"adSlots": None, "adPlacements": [None, {}, {"adPlacementRenderer": []}]}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_ads_before_a_video_are_as_long_as_the_reply_says_or_until_they_can_be_skipped(
    reply: dict[str, object], seconds: float
) -> None:
    assert ads_s(reply) == seconds


# -- what is remembered -----------------------------------------------------------------------------------------------

REFUSALS: list[tuple[Says, Says]] = [
    (NotOffered(NOT_AVAILABLE), NotOffered(NOT_AVAILABLE)),
    (lambda video_id: engine_error(f"{video_id}: failed after {video_id[-2:]} s"), engine_error("no streams")),
    (NotOffered(NOT_AVAILABLE), engine_error("no streams")),
    (engine_error("no streams"), NotOffered(NOT_AVAILABLE)),
]
"""What the first and the second engine say of clip after clip."""


@pytest.mark.parametrize(("says", "second_says"), REFUSALS)
def test_after_five_clips_refused_alike_only_the_first_client_is_asked(says: Says, second_says: Says) -> None:
    first, second = FakeEngine("pytubefix", says), FakeEngine("yt-dlp", second_says)
    resolver = Resolver([first, second])
    failures = [failure_of(resolver, f"clip-{chr(97 + number)}{number:05}") for number in range(ALIKE_CLIPS + 20)]
    assert (len(first.asked), len(second.asked)) == (ALIKE_CLIPS + 20, ALIKE_CLIPS)
    assert len({(type(failure), failure.category) for failure in failures}) == 1
    if isinstance(failures[0], NotOffered):
        assert all(failure.reason.endswith(f" (asked with {VERSIONS})") for failure in failures[:ALIKE_CLIPS])
        assert {failure.reason for failure in failures[ALIKE_CLIPS:]} == {
            f"{NOT_AVAILABLE} (asked with {engine_versions(['pytubefix'])})"
        }
    else:
        assert all(failure.reason.startswith("pytubefix: ") for failure in failures)
        assert all("; yt-dlp: " in failure.reason for failure in failures[:ALIKE_CLIPS])
        assert not any("yt-dlp" in failure.reason for failure in failures[ALIKE_CLIPS:])


@pytest.mark.parametrize(
    ("between", "known"),
    [
        ([P18], False),
        (Gone(Category.PRIVATE, "Private video"), False),
        (NotOffered("not on this app"), False),
        (engine_error("no streams"), False),
        (engine_error(NOT_AVAILABLE), False),
        (StopEveryone(Category.THROTTLED, "wait"), True),
        (MayWorkLater(Category.SERVER_ERROR, "503"), True),
    ],
)
@pytest.mark.parametrize("before", [1, ALIKE_CLIPS - 1, ALIKE_CLIPS, 2 * ALIKE_CLIPS])
def test_all_are_asked_again_once_a_clip_is_not_refused_or_refused_in_other_words(
    before: int, between: Says, known: bool
) -> None:
    first, second = (FakeEngine(name, NotOffered(NOT_AVAILABLE)) for name in ("pytubefix", "yt-dlp"))
    resolver = Resolver([first, second])
    for _ in range(before):
        failure_of(resolver)
    first.says, second.says = between, between
    with suppress(ClipError):
        first_source(resolver)
    first.says, second.says = NotOffered(NOT_AVAILABLE), NotOffered(NOT_AVAILABLE)
    second.asked.clear()
    for _ in range(2 * ALIKE_CLIPS):
        failure_of(resolver)
    assert len(second.asked) == (max(0, ALIKE_CLIPS - before) if known else ALIKE_CLIPS)


def test_a_clip_that_the_first_client_gets_after_many_refusals_is_there() -> None:
    first, second = (FakeEngine(name, NotOffered(NOT_AVAILABLE)) for name in ("pytubefix", "yt-dlp"))
    resolver = Resolver([first, second])
    for _ in range(ALIKE_CLIPS + 1):
        failure_of(resolver)
    first.says = [P18]
    assert first_source(resolver).engine == "pytubefix"
    first.says, second.says = NotOffered(NOT_AVAILABLE), [P18]
    assert first_source(resolver).engine == "yt-dlp"


def test_what_is_asked_for_again_is_asked_of_every_client() -> None:
    first, second = (FakeEngine(name, NotOffered(NOT_AVAILABLE)) for name in ("pytubefix", "yt-dlp"))
    resolver = Resolver([first, second])
    for _ in range(ALIKE_CLIPS):
        failure_of(resolver)
    second.says = [P18]
    assert resolver.search(OK, 360, in_full=True).next_source().engine == "yt-dlp"


@pytest.mark.parametrize("refused", ["replies", "media"])
def test_a_client_that_is_refused_while_another_is_served_is_asked_last_and_looked_at_now_and_then(
    refused: str,
) -> None:
    pytubefix, yt_dlp = pair([P18] if refused == "media" else NotOffered(NOT_AVAILABLE), [P18])
    resolver = Resolver([pytubefix, yt_dlp])

    def fetch() -> str:
        search = resolver.search(OK, 360)
        source = search.next_source()
        if source.engine == "pytubefix" and refused == "media":
            source = search.after(source, refused_media())
        search.came()
        return source.engine

    assert {fetch() for _ in range(2 * LOOK_BACK_CLIPS)} == {"yt-dlp"}
    assert len(pytubefix.asked) == ALIKE_CLIPS + 2
    assert set(yt_dlp.asked) == {"android"}
    pytubefix.says, refused = {"visionos": [P18]}, ""
    assert [fetch() for _ in range(LOOK_BACK_CLIPS + 5)][-7:] == ["yt-dlp"] + ["pytubefix"] * 6


def test_a_client_that_is_asked_last_still_has_what_the_others_lack() -> None:
    pytubefix, yt_dlp = pair(NotOffered(NOT_AVAILABLE), [P18])
    resolver = Resolver([pytubefix, yt_dlp])
    for _ in range(ALIKE_CLIPS):
        first_source(resolver)
    pytubefix.says, yt_dlp.says = {"visionos": [P18]}, {"visionos": [P18], "android": NotOffered("not on this app")}
    assert first_source(resolver).engine == "pytubefix"


def test_an_answer_about_a_video_says_nothing_of_refused_media() -> None:
    pytubefix, yt_dlp = pair([P18], [P18])
    resolver = Resolver([pytubefix, yt_dlp])
    for _ in range(ALIKE_CLIPS):
        search = resolver.search(OK, 360)
        search.after(search.next_source(), refused_media())
        search.came()
        pytubefix.says = Gone(Category.PRIVATE, "Private video")
        with suppress(Gone):
            resolver.search(OK, 360).next_source()
        pytubefix.says = [P18]
    assert first_source(resolver).engine == "yt-dlp"


def test_the_workers_of_a_host_share_what_they_learn(tmp_path: Path) -> None:
    pytubefix, yt_dlp = pair(NotOffered(NOT_AVAILABLE), [P18])
    workers = [Resolver([pytubefix, yt_dlp], ClientRecord(tmp_path / "clients")) for _ in range(4)]
    for number in range(40):
        assert first_source(workers[number % 4]).engine == "yt-dlp"
    assert len(pytubefix.asked) == ALIKE_CLIPS


RECORDS = [b"", b"\xff", b"[]", b'{"yt-dlp android": 7}', b'{"yt-dlp android": {"clips": 7}}']


@pytest.mark.parametrize("content", RECORDS)
def test_a_record_that_makes_no_sense_is_none(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "clients"
    file.write_bytes(content)
    record = ClientRecord(file)
    assert not record.is_refused("yt-dlp android")
    record.refused(["yt-dlp android"], NotOffered("no"), OK)
    assert record.last_refusal("yt-dlp android") is Category.NOT_OFFERED
    assert json.loads(file.read_text())


def test_without_a_folder_to_share_each_worker_remembers_by_itself(tmp_path: Path) -> None:
    record = ClientRecord(tmp_path / "none" / "clients")
    for _ in range(ALIKE_CLIPS):
        record.refused(["a"], NotOffered("no"), OK)
    assert record.is_refused("a")


# -- the visitor id ---------------------------------------------------------------------------------------------------


def test_a_visitor_id_is_a_day_old_at_most_and_another_address_has_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("https_proxy", "http://one.invalid:3128")
    file = visitor_file()
    assert VisitorId(file).get(lambda: "first") == VisitorId(file).get(lambda: "second") == "first"
    yesterday = time.time() - MAX_AGE_S - 60
    os.utime(file, (yesterday, yesterday))
    assert VisitorId(file).get(lambda: "third") == "third"
    monkeypatch.setenv("https_proxy", "http://other.invalid:3128")
    assert VisitorId(visitor_file()).get(lambda: "fourth") == "fourth"


def test_a_refused_visitor_id_is_asked_anew_once_for_all_workers(tmp_path: Path) -> None:
    requested: list[str] = []

    def request() -> str:
        time.sleep(0.01)
        requested.append(f"id {len(requested)}")
        return requested[-1]

    workers = [VisitorId(tmp_path / "visitor") for _ in range(8)]
    assert {one.get(request) for one in workers} == {"id 0"}
    threads = [threading.Thread(target=partial(one.get, request, refused="id 0")) for one in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.get(request) for one in workers} == {"id 1"}
    assert requested == ["id 0", "id 1"]


# -- in a worker ------------------------------------------------------------------------------------------------------


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Outcome]]:
    """A function that gives one worker with these engines the same clip some times, and returns the last outcome."""
    with job_in(tmp_path) as job:

        def run(*engines: FakeEngine, clips: int = 1) -> Outcome:
            monkeypatch.setattr(download_job, "open_engines", lambda *_: [*engines])
            worker = job.open()
            return [worker(CLIP, unheard) for _ in range(clips)][-1]

        yield run


def test_a_worker_keeps_in_mind_how_its_clips_were_refused(work: Callable[..., Outcome]) -> None:
    first, second = (FakeEngine(name, NotOffered(NOT_AVAILABLE)) for name in ("pytubefix", "yt-dlp"))
    outcome = work(first, second, clips=ALIKE_CLIPS + 3)
    assert (outcome.status, outcome.category) == ("failed", Category.NOT_OFFERED)
    assert (len(first.asked), len(second.asked)) == (ALIKE_CLIPS + 3, ALIKE_CLIPS)


@pytest.mark.parametrize("second_says", [NotOffered(NOT_AVAILABLE), engine_error("no streams"), [P18]])
def test_media_refused_to_all_stay_the_reason_and_cost_one_call_after_some_clips(
    work: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, second_says: Says
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise refused_media()

    monkeypatch.setattr(RangeFile, "prefetch", refuse)
    first, second = FakeEngine("pytubefix", [P18]), FakeEngine("yt-dlp", second_says)
    outcome = work(first, second, clips=ALIKE_CLIPS + 3)
    assert (outcome.category, outcome.reason) == (Category.MEDIA_ERROR, "HTTP 403 from the media host")
    assert outcome.engine == "pytubefix"
    assert (len(first.asked), len(second.asked)) == (ALIKE_CLIPS + 3, ALIKE_CLIPS)
