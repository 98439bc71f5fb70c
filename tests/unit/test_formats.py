"""What a reply says of a format's sound and of what YouTube altered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinetics.youtube.formats import SoundTrack, track_and_alteration

URL = "https://r1---sn-x.googlevideo.com/videoplayback?expire=1&itag=140"


@pytest.mark.parametrize(
    ("xtags", "name", "default", "track"),
    [
        ("", "", None, SoundTrack.UNSAID),
        ("", "360p", None, SoundTrack.UNSAID),
        ("acont=original:lang=en-US", "", None, SoundTrack.ORIGINAL),
        ("acont%3Doriginal%3Alang%3Den", "", None, SoundTrack.ORIGINAL),
        ("acont%253Ddubbed-auto%253Alang%253Dde", "", None, SoundTrack.DUBBED),
        ("acont%3Ddubbed%3Alang%3Dde", "German original", True, SoundTrack.DUBBED),
        ("acont%3Ddescriptive%3Alang%3Den", "English", True, SoundTrack.DESCRIPTIVE),
        ("acont%3Dsecondary%3Alang%3Den", "English original", True, SoundTrack.OTHER),
        ("lang%3Dde", "", None, SoundTrack.OTHER),
        ("lang%3Dde", "", True, SoundTrack.DEFAULT),
        ("drc%3D1", "", None, SoundTrack.UNSAID),
        ("", "Japanese original", False, SoundTrack.ORIGINAL),
        ("", "English (US) Original (default), medium", True, SoundTrack.ORIGINAL),
        ("", "Deutsch - dubbed-auto", True, SoundTrack.DUBBED),
        ("", "English descriptive", True, SoundTrack.DESCRIPTIVE),
        ("", "English", True, SoundTrack.DEFAULT),
        ("", "English", False, SoundTrack.OTHER),
        ("", "", False, SoundTrack.OTHER),
    ],
)
def test_the_address_says_which_sound_it_is_then_the_name_then_the_default(
    xtags: str, name: str, default: bool | None, track: SoundTrack
) -> None:
    url = f"{URL}&xtags={xtags}" if xtags else URL
    assert track_and_alteration(url, name=name, default=default) == (track, "drc" in xtags)
    assert track_and_alteration(f"{url}&sig=x", name=name, default=default)[0] is track


@pytest.mark.parametrize(
    ("xtags", "altered"),
    [
        *(("drc=1", True), ("acont=original:vb=1", True), ("sr=1", True), ("sr%3D1", True), ("lang=de:drc=1", True)),
        *(("drc=0", False), ("drc", False), ("xdrc=1", False), ("acont=original", False)),
    ],
)
def test_the_address_says_what_youtube_altered(xtags: str, altered: bool) -> None:
    assert track_and_alteration(f"{URL}&xtags={xtags}", name="", default=None)[1] is altered
    assert track_and_alteration(f"{URL}&yxtags={xtags}", name="", default=None)[1] is False


@given(st.text(), st.text())
def test_no_address_is_too_strange(xtags: str, name: str) -> None:
    track_and_alteration(f"{URL}&xtags={xtags}", name=name, default=None)
