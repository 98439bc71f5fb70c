"""The choice among formats, and which engine is asked when."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinetics.errors import ClipError, Fatal, Gone, MayWorkLater, NotOffered, StopEveryone, retry_after
from kinetics.net.responses import MediaRefused
from kinetics.records import Category, Outcome
from kinetics.youtube import download_job
from kinetics.youtube.engines import ALIKE_CLIPS, Resolver, engine_versions, open_engines, resolve
from kinetics.youtube.formats import Format, MediaSource, SoundTrack, ranked_formats
from tests.support.download_job import CLIP, job_in
from tests.support.player_replies import OK

# -- waiting ----------------------------------------------------------------------------------------------------------


def test_retry_after_is_understood_in_both_forms_and_nonsense_is_none() -> None:
    assert retry_after(" 120 ") == 120.0
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert (retry_after("Fri, 31 Dec 2999 23:59:59 GMT") or 0) > 1e9
    assert [retry_after(value) for value in (None, "", "soon", "-3", "²")] == [None] * 5


# -- choosing ---------------------------------------------------------------------------------------------------------


def video(itag: str, height: int, codec: str = "avc1.4d401e", sound: str = "", **more: Any) -> Format:
    container = more.pop("container", "mp4" if codec.startswith(("avc1", "av01")) else "webm")
    return Format(itag, f"https://x/{itag}", container, codec, sound, height, **more)


def sound(itag: str, codec: str, bitrate: float) -> Format:
    container = "mp4" if codec.startswith("mp4a") else "webm"
    return Format(itag, f"https://x/{itag}", container, "", codec, None, bitrate)  # type: ignore[arg-type]


V134, V133, V160 = video("134", 360), video("133", 240), video("160", 144)
V135, V136 = video("135", 480), video("136", 720)
W243 = video("243", 360, "vp9")
AV1 = video("396", 360, "av01.0.01M.08")
P18, P22 = video("18", 360, sound="mp4a.40.2"), video("22", 720, sound="mp4a.40.2")
A140, A139, OPUS = sound("140", "mp4a.40.2", 128), sound("139", "mp4a.40.5", 48), sound("251", "opus", 160)
A258 = replace(sound("258", "mp4a.40.2", 384), surround=True)


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
        ([V134, A140, replace(A140, itag="dub", bitrate=129, track=SoundTrack.DUBBED)], 360, "134+140"),
        ([V134, OPUS, replace(A140, itag="dub", track=SoundTrack.DUBBED)], 360, "134+251"),
        ([V134, P18, replace(A140, track=SoundTrack.DUBBED)], 360, "18"),
        ([V134, replace(P18, track=SoundTrack.DUBBED), A140], 360, "134+140"),
        ([V134, P18, replace(A140, track=SoundTrack.DESCRIPTIVE), replace(OPUS, track=SoundTrack.DUBBED)], 360, "18"),
        ([V134, replace(A140, track=SoundTrack.DUBBED)], 360, "134+140"),
        ([V134, A140, replace(OPUS, track=SoundTrack.ORIGINAL)], 360, "134+251"),
        ([V134, replace(V134, itag="upscaled", bitrate=-1, altered=True), A140], 360, "134+140"),
        ([replace(V134, altered=True), V135, V133, A140], 480, "135+140"),
        ([replace(V134, altered=True), W243, A140], 360, "243+140"),
        ([replace(V134, altered=True), A140], 360, "134+140"),
        ([V134, replace(A140, altered=True), A139], 360, "134+139"),
        ([V134, replace(A140, altered=True), P18], 360, "18"),
        ([V134, replace(A140, altered=True, track=SoundTrack.ORIGINAL), P18], 360, "134+140"),
        ([V134, A258, A140], 360, "134+140"),
        ([V134, A258, OPUS], 360, "134+251"),
        ([V134, A258, P18], 360, "18"),
        ([V134, A258], 360, "134+258"),
        ([replace(V134, duration_s=3), replace(P18, duration_s=20), A140], 360, "18"),
        ([replace(V134, duration_s=3), replace(V133, duration_s=20), A140], 360, "133+140"),
        ([replace(V134, duration_s=3), replace(V135, duration_s=20), A140], 360, "135+140"),
        ([replace(V134, duration_s=20), replace(A140, duration_s=3), replace(OPUS, duration_s=20)], 360, "134+251"),
        ([replace(V134, duration_s=19), replace(P18, duration_s=20), A140], 360, "134+140"),
        ([replace(V134, duration_s=3), replace(V133, duration_s=3), A140], 360, "134+140"),
        ([replace(V134, duration_s=3), P18, A140], 360, "134+140"),
        ([replace(V134, url=""), V133, A140], 360, "133+140"),
        ([V134, P18, replace(A140, url="")], 360, "18"),
    ],
)
def test_choose(offered: list[Format], max_height: int, chosen: str) -> None:
    for order in (offered, offered[::-1]):
        assert itags(ranked_formats(order, max_height)[0]) == chosen


DUB = replace(A140, itag="dub", url="https://x/dub", track=SoundTrack.DUBBED)
DRC = replace(A140, itag="drc", url="https://x/drc", altered=True)


@pytest.mark.parametrize(
    ("offered", "ranked"),
    [
        ([V134, V133, P18, A140, OPUS], ["134+140", "18", "134+251"]),
        ([V134, V133, V160, A140, A139, OPUS], ["134+140", "133+140", "134+139", "160+251"]),
        ([V134, W243, A140, OPUS], ["134+140", "243+140", "134+251"]),
        ([V134, P18, A140], ["134+140", "18"]),
        ([V134, A140, A139], ["134+140", "134+139"]),
        ([P18], ["18"]),
        ([P18, V133, A140], ["18", "133+140"]),
        ([V134, V133], ["134", "133"]),
        ([V134, A140, V135], ["134+140"]),
        ([V134, A140, V135, V136], ["134+140"]),
        ([V135, V136, P22, A140], ["135+140", "136+140", "22"]),
        ([V134, A140, DUB], ["134+140"]),
        ([V134, A140, replace(P18, track=SoundTrack.OTHER)], ["134+140"]),
        ([V134, replace(A140, track=SoundTrack.ORIGINAL), P18], ["134+140", "18"]),
        (
            [V134, DUB, replace(A139, track=SoundTrack.DESCRIPTIVE), replace(OPUS, track=SoundTrack.DUBBED)],
            ["134+dub", "134+251"],
        ),
        ([V134, A140, DRC], ["134+140", "134+drc"]),
        ([V134, A140, DRC, OPUS], ["134+140", "134+251"]),
        ([replace(V134, duration_s=3), replace(P18, duration_s=20), A140], ["18", "134+140"]),
    ],
)
def test_what_else_fits_follows_best_first_and_one_bad_file_never_spoils_all(
    offered: list[Format], ranked: list[str]
) -> None:
    assert [itags(choice) for choice in ranked_formats(offered, 360)] == ranked


def itags(choice: tuple[Format, ...]) -> str:
    return "+".join(one.itag for one in choice)


@pytest.mark.parametrize("offered", [[], [A140], [replace(V134, url="")]])
def test_nothing_to_see_is_an_engine_error(offered: list[Format]) -> None:
    with pytest.raises(MayWorkLater) as caught:
        ranked_formats(offered, 360)
    assert caught.value.category is Category.ENGINE_ERROR


@given(st.lists(st.sampled_from([V134, V133, V160, V135, V136, W243, AV1, P18, P22, A140, A139, OPUS])))
def test_whatever_is_offered_the_choice_fits_if_anything_does_and_has_sound_if_it_can(offered: list[Format]) -> None:
    pictures = [one for one in offered if one.video_codec]
    if not pictures:
        return
    chosen, *others = ranked_formats(offered, 360)
    assert all(one in offered for choice in (chosen, *others) for one in choice)
    assert len(others) == len({*map(itags, others)} - {itags(chosen)}) <= 3
    fitting = [one for one in pictures if (one.height or 0) <= 360]
    assert bool(fitting) == ((chosen[0].height or 0) <= 360)
    heard = [one for one in offered if one.audio_codec and (one in fitting or not fitting or not one.video_codec)]
    assert any(one.audio_codec for one in chosen) == bool(heard)


# -- cookies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00", b'[{"name": "LOGIN_INFO"}]\n', b"secret\n"])
def test_a_file_without_cookies_ends_the_run_with_a_word(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "cookies.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Fatal, match=r"cookies\.txt") as caught:
        open_engines(["yt-dlp"], file)
    assert "secret" not in str(caught.value)


# -- asking -----------------------------------------------------------------------------------------------------------

Said = ClipError | list[Format] | Callable[[str], ClipError]


class FakeEngine:
    """An engine that offers or refuses every video alike; `first_client` is what its first client says alone."""

    def __init__(self, name: str, says: Said, first_client: Said | None = None) -> None:
        self.name, self.says, self.first_client = name, says, first_client
        self.asked: list[bool] = []
        """Of each call, whether only the first client was to be asked."""

    def formats(self, video_id: str, first_client_only: bool = False) -> tuple[list[Format], float | None]:
        self.asked.append(first_client_only)
        says = self.first_client if first_client_only and self.first_client else self.says
        if isinstance(says, ClipError):
            raise says
        if not isinstance(says, list):
            raise says(video_id)
        return says, 7.0


def engine_error(reason: str) -> MayWorkLater:
    return MayWorkLater(Category.ENGINE_ERROR, reason)


def failure_of(resolve_one: Callable[[str, int], MediaSource], video_id: str = OK) -> ClipError:
    with pytest.raises(ClipError) as caught:
        resolve_one(video_id, 360)
    return caught.value


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
            assert resolve([first, second], OK, 360).engine == "second"
        else:
            assert failure_of(partial(resolve, [first, second])).reason == "so it is"
        assert len(second.asked) == passed_on
    assert resolve([FakeEngine("first", [A140]), FakeEngine("second", [P18])], OK, 360).engine == "second"


def test_a_refusal_of_everybody_ends_the_asking() -> None:
    second = FakeEngine("second", [P18])
    assert isinstance(
        failure_of(partial(resolve, [FakeEngine("first", StopEveryone(Category.THROTTLED, "wait")), second])),
        StopEveryone,
    )
    assert not second.asked


NOT_AVAILABLE = "Video unavailable: This video is not available"
VERSIONS = engine_versions(["pytubefix", "yt-dlp"])


def test_the_versions_are_those_installed_and_an_unknown_engine_has_none() -> None:
    assert re.fullmatch(r"pytubefix \d+(\.\d+)+, yt-dlp \d{4}(\.\d+)+", VERSIONS)
    assert engine_versions(["yt-dlp", "no such engine"]) == f"{VERSIONS.split(', ')[1]}, no such engine"
    assert engine_versions([]) == ""


def test_what_all_engines_are_refused_is_not_offered_and_names_those_that_asked() -> None:
    both = [FakeEngine(name, NotOffered(NOT_AVAILABLE)) for name in ("pytubefix", "yt-dlp")]
    found = failure_of(partial(resolve, both))
    assert (type(found), found.reason) == (NotOffered, f"{NOT_AVAILABLE} (asked with {VERSIONS})")
    found = failure_of(partial(resolve, both[1:]))
    assert found.reason == f"{NOT_AVAILABLE} (asked with {engine_versions(['yt-dlp'])})"
    both[1].says = NotOffered("It is not available on this app")
    found = failure_of(partial(resolve, both))
    assert found.reason == f"{NOT_AVAILABLE}; It is not available on this app (asked with {VERSIONS})"
    both[0].says = NotOffered("x" * 5000)
    assert failure_of(partial(resolve, both)).reason.endswith(f"x (asked with {VERSIONS})")


@pytest.mark.parametrize("order", [1, -1])
def test_one_engine_refused_and_one_that_failed_is_no_refusal(order: int) -> None:
    engines = [FakeEngine("one", NotOffered("not on this app")), FakeEngine("two", engine_error("no streams"))][::order]
    found = failure_of(partial(resolve, engines))
    assert (type(found), found.category) == (MayWorkLater, Category.ENGINE_ERROR)
    assert found.reason == "; ".join(["one: not on this app", "two: no streams"][::order])


# -- asking less where the answer is known ----------------------------------------------------------------------------

REFUSALS: list[tuple[Said, Said, Said | None]] = [
    (NotOffered(NOT_AVAILABLE), NotOffered(NOT_AVAILABLE), None),
    (lambda video_id: engine_error(f"{video_id}: failed after {video_id[-2:]} s"), engine_error("no streams"), None),
    (NotOffered(NOT_AVAILABLE), engine_error("no streams"), None),
    (engine_error("no streams"), NotOffered(NOT_AVAILABLE), None),
    (NotOffered(f"{NOT_AVAILABLE}; not on this app"), NotOffered("never"), NotOffered(NOT_AVAILABLE)),
    (engine_error(f"{NOT_AVAILABLE}; no streams"), NotOffered("never"), NotOffered(NOT_AVAILABLE)),
]
"""What the first and the second engine say of clip after clip, and what the first engine's first client says alone."""


@pytest.mark.parametrize(("says", "second_says", "first_client"), REFUSALS)
def test_after_five_clips_refused_alike_only_the_first_client_is_asked(
    says: Said, second_says: Said, first_client: Said | None
) -> None:
    first = FakeEngine("pytubefix", says, first_client)
    second = FakeEngine("yt-dlp", second_says)
    resolver = Resolver([first, second])
    failures = [
        failure_of(resolver.resolve, f"clip-{chr(97 + number)}{number:05}") for number in range(ALIKE_CLIPS + 20)
    ]
    assert first.asked == [False] * ALIKE_CLIPS + [True] * 20
    assert len(second.asked) == ALIKE_CLIPS
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
    before: int, between: Said, known: bool
) -> None:
    first, second = (FakeEngine(name, NotOffered(NOT_AVAILABLE)) for name in ("pytubefix", "yt-dlp"))
    resolver = Resolver([first, second])
    for _ in range(before):
        failure_of(resolver.resolve)
    first.says, second.says = between, between
    with suppress(ClipError):
        resolver.resolve(OK, 360)
    first.says, second.says = NotOffered(NOT_AVAILABLE), NotOffered(NOT_AVAILABLE)
    second.asked.clear()
    for _ in range(2 * ALIKE_CLIPS):
        failure_of(resolver.resolve)
    assert len(second.asked) == (max(0, ALIKE_CLIPS - before) if known else ALIKE_CLIPS)


def test_a_clip_that_the_first_client_gets_after_many_refusals_is_there() -> None:
    first, second = (FakeEngine(name, NotOffered(NOT_AVAILABLE)) for name in ("pytubefix", "yt-dlp"))
    resolver = Resolver([first, second])
    for _ in range(ALIKE_CLIPS + 1):
        failure_of(resolver.resolve)
    first.says = [P18]
    assert resolver.resolve(OK, 360).engine == "pytubefix"
    first.says, second.says = NotOffered(NOT_AVAILABLE), [P18]
    assert resolver.resolve(OK, 360).engine == "yt-dlp"


# -- in a worker ------------------------------------------------------------------------------------------------------


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Outcome]]:
    """A function that gives one worker with these engines the same clip some times, and returns the last outcome."""
    with job_in(tmp_path) as job:

        def run(*engines: FakeEngine, clips: int = 1) -> Outcome:
            monkeypatch.setattr(download_job, "open_engines", lambda *_: [*engines])
            worker = job.open()
            return [worker(CLIP, lambda: None) for _ in range(clips)][-1]

        yield run


def test_a_worker_keeps_in_mind_how_its_clips_were_refused(work: Callable[..., Outcome]) -> None:
    first, second = (FakeEngine(name, NotOffered(NOT_AVAILABLE)) for name in ("pytubefix", "yt-dlp"))
    outcome = work(first, second, clips=ALIKE_CLIPS + 3)
    assert (outcome.status, outcome.category) == ("failed", Category.NOT_OFFERED)
    assert (len(first.asked), len(second.asked)) == (ALIKE_CLIPS + 3, ALIKE_CLIPS)


@pytest.mark.parametrize("second_says", [NotOffered(NOT_AVAILABLE), engine_error("no streams")])
def test_refused_media_stay_refused_media_where_the_next_engine_has_none(
    work: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, second_says: ClipError
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MediaRefused(Category.MEDIA_ERROR, "HTTP 403 from the media host")

    monkeypatch.setattr(download_job, "RangeFile", refuse)
    outcome = work(FakeEngine("pytubefix", [P18]), second := FakeEngine("yt-dlp", second_says))
    assert (outcome.category, outcome.reason) == (Category.MEDIA_ERROR, "HTTP 403 from the media host")
    assert len(second.asked) == 1
