"""The choice among formats, and the engines' names, versions and cookies."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinetics.errors import Fatal, MayWorkLater, retry_after
from kinetics.records import Category
from kinetics.youtube.engines import engine_versions, open_engines
from kinetics.youtube.formats import Format, SoundTrack, ranked_formats

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


# -- versions ---------------------------------------------------------------------------------------------------------


def test_the_versions_are_those_installed_and_an_unknown_engine_has_none() -> None:
    both = engine_versions(["pytubefix", "yt-dlp"])
    assert re.fullmatch(r"pytubefix \d+(\.\d+)+, yt-dlp \d{4}(\.\d+)+", both)
    assert engine_versions(["yt-dlp", "no such engine"]) == f"{both.split(', ')[1]}, no such engine"
    assert engine_versions([]) == ""
