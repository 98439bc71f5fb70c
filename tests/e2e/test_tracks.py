"""Which of a video's files a clip is made from, where a reply offers several: dubs, other mixes, upscaled, damaged.

Which sound was taken is told by its pitch in the finished clip.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.download_job import CLIP, job_in, unheard, youtube_with_the_clip
from tests.support.sound import heard, loudest_frequency
from tests.youtube.server import LoopbackYouTube
from tests.youtube.spoils import another_file
from tests.youtube.videos import Video
from tests.youtube.world import SURROUND_ITAG, Scenario, Variant

VIDEO = Video(duration_s=6, moving=False)
SHORT = Video(duration_s=2, moving=False)
RIGHT, WRONG = 1000, 2000
"""Hz by which the tones of the sound that should be taken, and of all others, are higher than usual."""
ORIGINAL = Variant("acont=original:lang=en-US", "en-US.4", "English (US) original", pitch=RIGHT)
DUB = Variant("acont=dubbed-auto:lang=de-DE", "de-DE.10", "German (DE)", default=True, pitch=WRONG)
HUMAN_DUB = replace(DUB, xtags="acont=dubbed:lang=de", track_id="de.3")
DESCRIPTIVE = Variant("acont=descriptive:lang=en-US", "en-US.2", "English (US) descriptive", default=True, pitch=WRONG)
PLAIN = Variant(pitch=RIGHT)
ALTERED = Variant(pitch=WRONG)
PICTURES = (133, 134, 135, 136, 137, 160, 242, 243, 244, 247, 248, 396)
UPSCALED = Variant("sr=1", itags=PICTURES)
ENCRYPTED = {"drmFamilies": ["WIDEVINE"]}
SENT_AS_MADE = {"type": "FORMAT_STREAM_TYPE_OTF"}
BRIEF = {"approxDurationMs": "2000"}


def progressive(variant: Variant) -> Variant:
    return replace(variant, itags=(18,))


def without_xtags(variant: Variant, name: str | None = None, *, default: bool | None = None) -> Variant:
    default = variant.default if default is None else default
    return replace(variant, xtags="", name=variant.name if name is None else name, default=default)


class Case(NamedTuple):
    """A video, and what its clip should be made from; `pitch` is that of the sound above the usual tone."""

    scenario: Scenario
    itag: str = "134+140"
    pitch: int = RIGHT


def dash(*variants: Variant, itag: str = "134+140", pitch: int = RIGHT, **more: object) -> Case:
    return Case(Scenario(VIDEO, ("dash",), variants=variants, **more), itag, pitch)  # type: ignore[arg-type]


def both(*variants: Variant, itag: str = "134+140", pitch: int = RIGHT, **more: object) -> Case:
    shapes = ("dash", "progressive")
    return Case(Scenario(VIDEO, shapes, variants=variants, **more), itag, pitch)  # type: ignore[arg-type]


CASES = {
    "one sound, of which nothing is said": both(pitch=0),
    # the sound: what the address says decides
    "the default is an automatic dub": dash(DUB, ORIGINAL),
    "the default is a dub": dash(HUMAN_DUB, ORIGINAL),
    "a dub that nothing but its address tells": dash(Variant("acont=dubbed-auto:lang=de", pitch=WRONG), ORIGINAL),
    "no audioTrack anywhere": dash(
        Variant("acont=dubbed-auto:lang=de", pitch=WRONG),
        Variant("acont=dubbed:lang=fr", pitch=WRONG),
        Variant("acont=original:lang=en", pitch=RIGHT),
    ),
    "a dub whose name says original": dash(replace(DUB, name="German original"), ORIGINAL),
    "a description of what is seen": dash(DESCRIPTIVE, ORIGINAL),
    "a kind of sound that nobody knows": dash(replace(DUB, xtags="acont=secondary:lang=de"), ORIGINAL),
    # ... then what its audioTrack says
    "only the name says original, and the dub is the default": dash(
        without_xtags(DUB, "English (United States)"), without_xtags(ORIGINAL, "Japanese original")
    ),
    "only the name says descriptive": dash(without_xtags(DESCRIPTIVE), without_xtags(ORIGINAL, "English")),
    "a reply of 2022, where the default is just English": dash(
        without_xtags(DUB, "German", default=False), without_xtags(ORIGINAL, "English", default=True)
    ),
    "a nameless track beside the default": dash(
        without_xtags(DUB, "", default=False), without_xtags(ORIGINAL, "", default=True)
    ),
    # ... and one file or two
    "itag 18 is a dub": both(ORIGINAL, progressive(DUB)),
    "itag 18 is a dub that only its name tells": both(ORIGINAL, progressive(without_xtags(DUB))),
    "140 is a dub, and itag 18 is the original": both(DUB, progressive(ORIGINAL), itag="18"),
    "140 is a dub, and nothing is said of itag 18": both(DUB, progressive(PLAIN), itag="18"),
    "140 is a dub, and itag 18 has a track without a name": both(
        DUB, progressive(Variant("acont=original:lang=hi", "hi.4", pitch=RIGHT)), itag="18"
    ),
    "140 is described, and itag 18 is not": both(DESCRIPTIVE, progressive(PLAIN), itag="18"),
    "140 is neither original nor default, and nothing is said of itag 18": both(
        without_xtags(DUB, "German", default=False), progressive(PLAIN), itag="18"
    ),
    "there is only a dub": dash(replace(DUB, pitch=RIGHT)),
    # the mix
    "loudness that the reply calls changed": dash(replace(ALTERED, drc=True), PLAIN),
    "loudness that the address calls changed": dash(replace(ALTERED, xtags="drc=1"), PLAIN),
    "an original with loudness changed, and a dub without": dash(
        replace(ORIGINAL, xtags="acont=original:drc=1:lang=en", drc=True), replace(DUB, default=False)
    ),
    "a boosted voice in the same track": dash(
        replace(ORIGINAL, xtags="acont=original:lang=en-US:vb=1", pitch=WRONG, default=True), ORIGINAL
    ),
    "a boosted voice without a track": dash(replace(ALTERED, xtags="vb=1"), PLAIN),
    "140 has its loudness changed, and itag 18 has not": both(
        replace(ALTERED, drc=True), progressive(PLAIN), itag="18"
    ),
    "5.1 beside stereo": dash(replace(ALTERED, channels=6, itags=(SURROUND_ITAG,)), PLAIN),
    # the picture
    "the upscaled picture comes first": dash(UPSCALED, Variant(itags=PICTURES), PLAIN),
    "all pictures but itag 18 are upscaled": both(UPSCALED, ALTERED, progressive(PLAIN), itag="18"),
    "134 is encrypted": both(ALTERED, progressive(PLAIN), itag="18", said=dict.fromkeys((134, 133, 160), ENCRYPTED)),
    "the first 140 is encrypted": both(
        ALTERED, progressive(PLAIN), itag="18", said=dict.fromkeys((139, 140, 249, 250, 251), ENCRYPTED)
    ),
    "all pictures but itag 18 are made while they are sent": both(
        ALTERED, progressive(PLAIN), itag="18", said=dict.fromkeys(PICTURES, SENT_AS_MADE)
    ),
    "134 is 2 s long": Case(
        Scenario(
            VIDEO,
            ("dash", "progressive"),
            variants=(ALTERED, progressive(PLAIN)),
            said=dict.fromkeys(PICTURES, BRIEF),
            spoilt={134: another_file(SHORT.dash_video)},
        ),
        "18",
    ),
    "every format is said to be 2 s long, and the file is whole": dash(
        pitch=0, said=dict.fromkeys((*PICTURES, 139, 140, 249, 250, 251), BRIEF)
    ),
}
IDS = {name: f"-_tracks-{number:02}" for number, name in enumerate(CASES)}


@pytest.fixture(scope="module")
def youtube() -> Iterator[LoopbackYouTube]:
    with pytest.MonkeyPatch.context() as patch, youtube_with_the_clip(patch) as running:
        running.world.scenarios |= {IDS[name]: case.scenario for name, case in CASES.items()}
        yield running


@pytest.mark.parametrize("engine", ["pytubefix", "yt-dlp"])
def test_the_clip_has_the_sound_and_the_picture_that_the_video_was_made_with(
    youtube: LoopbackYouTube, tmp_path: Path, engine: str
) -> None:
    found, wanted = {}, {}
    with job_in(tmp_path) as usual:
        job = replace(usual, cut="keyframe", engines=(engine,))
        work = job.open()
        for name, case in CASES.items():
            clip = replace(CLIP, youtube_id=IDS[name], time_start=0.0, time_end=1.0)
            outcome = work(clip, unheard)
            assert outcome.status == "done", (name, outcome.reason)
            samples, rate = heard(job.layout.target(clip, job.cut))
            found[name] = outcome.itag, round(loudest_frequency(samples[rate // 4 : rate // 2], rate), -3)
            wanted[name] = case.itag, case.pitch
    assert found == wanted
    assert not [request.path for request in youtube.requests if request.kind == "media" and "sr%3D1" in request.path]
