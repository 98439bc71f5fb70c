"""Unmodified clients against the loopback YouTube: what they find, and how their failures are sorted."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinetics.errors import ClipError, Fatal, Gone, MayWorkLater, StopEveryone, retry_after
from kinetics.records import Category
from kinetics.youtube.engines import open_engines, resolve
from kinetics.youtube.formats import Format, choose_formats
from kinetics.youtube.replies import check_reply, sort_reason
from tests.support.player_replies import BASES, OK, mutated

# -- sorting ----------------------------------------------------------------------------------------------------------


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


# -- manners ----------------------------------------------------------------------------------------------------------


# -- cookies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00", b'[{"name": "LOGIN_INFO"}]\n', b"secret\n"])
def test_a_file_without_cookies_ends_the_run_with_a_word(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "cookies.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Fatal, match=r"cookies\.txt") as caught:
        open_engines(["yt-dlp"], file)
    assert "secret" not in str(caught.value)


# -- hostile replies --------------------------------------------------------------------------------------------------


@given(st.sampled_from(BASES), st.randoms(use_true_random=False))
def test_a_hostile_reply_is_accepted_or_refused_but_never_a_crash(reply: Any, rng: random.Random) -> None:
    try:
        check_reply(mutated(reply, rng), OK)
    except ClipError as error:
        assert isinstance(error.reason, str)
        assert error.reason


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
