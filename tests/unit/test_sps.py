"""Sequence parameter sets are read to their last bit, and rewritten so that two encodings promise the same."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av
import pytest

from kinetics.media.avc import AvcConfig
from kinetics.media.sps import Sps, with_one_promise


def by_x264(params: str = "", *, profile: str = "high", size: tuple[int, int] = (640, 360)) -> bytes:
    """The set that x264 writes with these parameters."""
    encoder = av.VideoCodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    (encoder.width, encoder.height), encoder.pix_fmt = size, "yuv420p"
    encoder.framerate, encoder.time_base = Fraction(30), Fraction(1, 30)
    encoder.options = {"profile": profile, "x264-params": f"annexb=0:threads=1:{params}"}
    encoder.flags |= av.codec.context.Flags.global_header
    encoder.open()
    (unit,) = AvcConfig.parse(encoder.extradata or b"").sps
    return unit


def ue(number: int) -> str:
    return f"{number + 1:b}".zfill(2 * (number + 1).bit_length() - 1)


def unit_of(bits: str) -> bytes:
    """A NAL unit with these bits, escaped byte by byte."""
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    escaped = bytearray()
    for byte in int(bits, 2).to_bytes(len(bits) // 8, "big"):
        escaped += b"\3" if byte < 4 and escaped[-2:] == b"\0\0" else b""
        escaped.append(byte)
    return b"\x67" + escaped


PLAIN = f"{66:08b}{0:08b}{30:08b}" + ue(0) + ue(0)
"""A set's beginning: baseline, level 3, id 0."""
FRAMES = ue(1) + "0" + ue(39) + ue(22) + "1" + "1"
"""1 reference frame, 640x368, progressive."""
CASES = {
    "as usual": by_x264(),
    "baseline": by_x264(profile="baseline"),
    "an aspect ratio of its own": by_x264("sar=17/19"),
    "overscan": by_x264("overscan=crop"),
    "colours": by_x264("colorprim=bt709:transfer=bt709:colormatrix=bt709:fullrange=on:videoformat=pal"),
    "places of the chroma samples": by_x264("chromaloc=2"),
    "a reference decoder's parameters": by_x264("nal-hrd=vbr:vbv-maxrate=500:vbv-bufsize=500"),
    "scaling lists": by_x264("cqm=jvt"),
    "the largest id": by_x264("sps-id=31"),
    "no cropping": by_x264(size=(640, 368)),
    "cropping on two sides": by_x264(size=(426, 240)),
    "order of pictures by cycles": unit_of(PLAIN + ue(1) + "1" + ue(9) + ue(5) + ue(3) + ue(300) * 3 + FRAMES + "00"),
    "no VUI": unit_of(PLAIN + ue(2) + FRAMES + "00"),
    "zeros that are escaped": unit_of(
        PLAIN + ue(2) + FRAMES + "01" + "0000" + "1" + f"{1:032b}{60:032b}" + "1000" + "0"
    ),
}


@pytest.mark.parametrize("unit", CASES.values(), ids=CASES)
def test_a_set_is_read_to_its_last_bit(unit: bytes) -> None:
    assert Sps.parse(unit).to_bytes() == unit
    for length in range(len(unit)):
        with pytest.raises(ValueError):
            Sps.parse(unit[:length])
    with pytest.raises(ValueError):
        Sps.parse(unit[:-1] + b"\xff\xff\xff")


def test_a_scaling_list_ends_where_its_last_scale_is_repeated() -> None:
    beginning = f"{100:08b}{0:08b}{30:08b}" + ue(0) + ue(1) + ue(0) + ue(0) + "0" + "1"
    lists = "1" + ue(16) + "0" * 5 + "1" + ue(1) * 64 + "0"  # the first one is repeated at once, the next one is full
    unit = unit_of(beginning + lists + ue(0) + ue(2) + FRAMES + "00")
    assert Sps.parse(unit).size == (40, 23, 0, 0, 0, 0)


def test_fields_are_refused() -> None:
    with pytest.raises(ValueError, match="fields"):
        Sps.parse(by_x264("interlaced=1"))


def test_what_is_promised_is_read() -> None:
    sps = Sps.parse(by_x264("ref=3:bframes=2:b-pyramid=normal"))
    assert (sps.buffer, sps.references, sps.size) == ((2, 4), 4, (40, 23, 0, 0, 0, 4))
    assert Sps.parse(CASES["no VUI"]).buffer is None


OURS = by_x264("bframes=0:sps-id=7:dpb-size=4")


class TestWithOnePromise:
    def test_the_larger_promise_holds_for_both(self) -> None:
        source = by_x264("ref=3:bframes=2:b-pyramid=normal")
        (theirs,), (ours,) = with_one_promise([source], [OURS])
        assert theirs == source
        assert Sps.parse(ours).buffer == (2, 4)
        small = replace(Sps.parse(source), buffer=(0, 1)).to_bytes()
        (theirs,), (ours,) = with_one_promise([small], [OURS])
        assert Sps.parse(theirs).buffer == Sps.parse(ours).buffer == (0, 4)

    def test_a_source_that_promises_nothing_gets_company_at_its_level(self) -> None:
        source = Sps.parse(by_x264("ref=4:level=51")).without_restriction()
        (theirs,), (ours,) = with_one_promise([source.to_bytes()], [OURS])
        assert Sps.parse(theirs).buffer is Sps.parse(ours).buffer is None
        assert Sps.parse(theirs).level == Sps.parse(ours).level == 51

    def test_no_level_is_lowered(self) -> None:
        source = Sps.parse(by_x264("ref=4")).with_level(10)
        _, (ours,) = with_one_promise([source.to_bytes()], [OURS])
        assert Sps.parse(ours).level == Sps.parse(OURS).level > 10
        with pytest.raises(ValueError, match="level"):
            with_one_promise([source.without_restriction().to_bytes()], [OURS])

    @pytest.mark.parametrize(
        "source",
        [
            pytest.param(["ref=2:bframes=0"], id="other references"),
            pytest.param(["ref=4", "ref=4:bframes=2:b-pyramid=none:sps-id=1"], id="two that disagree"),
        ],
    )
    def test_what_cannot_agree_is_refused(self, source: list[str]) -> None:
        with pytest.raises(ValueError):
            with_one_promise(list(map(by_x264, source)), [OURS])

    @pytest.mark.parametrize("size", [(640, 352), (640, 368), (624, 360)])
    def test_another_size_is_refused(self, size: tuple[int, int]) -> None:
        with pytest.raises(ValueError, match="size"):
            with_one_promise([by_x264("ref=4", size=size)], [OURS])

    def test_level_1b_and_intra_profiles_are_not_guessed_at(self) -> None:
        """The constraint flag that marks them changes what is inferred."""
        sps = Sps.parse(by_x264("ref=4")).without_restriction()
        special = replace(sps, body=f"{sps.body[:11]}1{sps.body[12:]}")
        with pytest.raises(ValueError, match="inferred"):
            with_one_promise([special.to_bytes()], [OURS])
