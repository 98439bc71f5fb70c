"""Reads and rewrites H.264 sequence parameter sets, so that two encodings promise a decoder the same picture buffer.

A decoder may drop the pictures that it has not shown yet where an IDR picture activates a set with another picture size
or another `max_dec_frame_buffering` (ITU-T H.264, C.4.4); OpenH264 does. Section numbers below are those of H.264.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

_SPS = 7
"""NAL unit type of a sequence parameter set."""
_WITH_CHROMA = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})
"""The values of profile_idc with which a set has chroma format, bit depths and scaling lists (7.3.2.1.1)."""
_EXTENDED_SAR = 255
"""The aspect_ratio_idc after which the aspect ratio itself follows (Table E-1)."""


class BitReader:
    """Reads numbers from bits, a string of "0" and "1". Raises ValueError at its end."""

    def __init__(self, bits: str) -> None:
        self.bits = bits
        self.position = 0

    def u(self, count: int) -> int:
        """Return an unsigned number of `count` bits."""
        begin, self.position = self.position, self.position + count
        if self.position > len(self.bits):
            raise ValueError("a parameter set that is cut off")
        return int(self.bits[begin : self.position], 2)

    def ue(self) -> int:
        """Return an unsigned Exp-Golomb number (9.1)."""
        zeros = 0
        while not self.u(1):
            zeros += 1
        self.position -= 1
        return self.u(zeros + 1) - 1

    def se(self) -> int:
        """Return a signed Exp-Golomb number (9.1.1)."""
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)

    def rest(self) -> str:
        return self.bits[self.position :]


def bits_of(data: bytes) -> str:
    """Return the bits of bytes, the most significant first."""
    return "".join(f"{byte:08b}" for byte in data)


@dataclass(frozen=True, slots=True)
class Sps:
    """A sequence parameter set of whole frames; none for fields can be read."""

    header: int
    """The first byte of its NAL unit."""
    body: str
    """The bits of its payload before the flag of the bitstream restriction; all of them if it has no VUI."""
    restriction: str
    """That flag and the bits behind it, but for those of `buffer`; empty without a VUI."""
    buffer: tuple[int, int] | None
    """max_num_reorder_frames and max_dec_frame_buffering; None without a bitstream restriction (E.2.1 then has them
    inferred from profile, level and size)."""
    references: int
    """max_num_ref_frames."""
    size: tuple[int, ...]
    """Width and height in macroblocks, and the cropping."""

    @classmethod
    def parse(cls, unit: bytes) -> Sps:
        """Read a NAL unit. Raises ValueError if it is no set of frames, or is not exactly as H.264 says."""
        if not unit or unit[0] & 31 != _SPS:
            raise ValueError("no sequence parameter set")
        bits, _, _ = bits_of(unit[1:].replace(b"\0\0\3", b"\0\0")).rpartition("1")  # the last 1 ends the payload
        reader = BitReader(bits)
        references, *size = _read_frame_facts(reader)
        has_vui = reader.u(1)
        if has_vui:
            _skip_vui(reader)
        begin = reader.position
        restricted = has_vui and reader.u(1)
        if restricted:
            reader.u(1)
            _skip_ue(reader, 4)
        end = reader.position
        buffer = (reader.ue(), reader.ue()) if restricted else None
        if reader.rest():
            raise ValueError("a sequence parameter set with more behind its end")
        return cls(unit[0], bits[:begin], bits[begin:end], buffer, references, tuple(size))

    def to_bytes(self) -> bytes:
        numbers = (f"{number + 1:b}" for number in self.buffer or ())
        bits = self.body + self.restriction + "".join("0" * (len(number) - 1) + number for number in numbers) + "1"
        bits += "0" * (-len(bits) % 8)
        payload = int(bits, 2).to_bytes(len(bits) // 8, "big")
        return bytes([self.header]) + re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", payload)

    @property
    def level(self) -> int:
        return int(self.body[16:24], 2)

    @property
    def is_special(self) -> bool:
        """Whether constraint_set3_flag is set: it makes level 11 level 1b, and a buffer that is inferred empty."""
        return self.body[11] == "1"

    def with_level(self, level: int) -> Sps:
        return replace(self, body=f"{self.body[:16]}{level:08b}{self.body[24:]}")

    def without_restriction(self) -> Sps:
        return replace(self, restriction=self.restriction and "0", buffer=None)


def with_one_promise(source: Sequence[bytes], ours: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return a source's sequence parameter sets, and those of our encoder, with one promise in all of them.

    It is the larger of both, so it stays true; without one in the source it is inferred from the level, which then has
    to be the same. Ours take the source's level unless it is lower. Raises ValueError if they cannot agree.
    """
    theirs, mine = [Sps.parse(unit) for unit in source], [Sps.parse(unit) for unit in ours]
    if len({sps.size for sps in theirs + mine}) != 1:
        raise ValueError("pictures of different sizes")
    if len({sps.references for sps in theirs + mine}) != 1:
        raise ValueError("different numbers of reference frames")
    if len({(sps.buffer, sps.level, sps.is_special) for sps in theirs}) != 1:
        raise ValueError("a source whose parameter sets promise different things")
    level = theirs[0].level
    mine = [sps.with_level(max(sps.level, level)) for sps in mine]
    buffers = {sps.buffer for sps in theirs + mine}
    if theirs[0].buffer is None:
        if any(sps.is_special or sps.level != level for sps in theirs + mine):
            raise ValueError("picture buffers that are inferred from different levels")
        mine = [sps.without_restriction() for sps in mine]
    elif None in buffers:
        raise ValueError("an encoder that promises nothing")
    else:
        reordered, buffered = zip(*filter(None, buffers), strict=True)
        promise = max(reordered), max(buffered)
        theirs, mine = ([replace(sps, buffer=promise) for sps in sets] for sets in (theirs, mine))
    return [sps.to_bytes() for sps in theirs], [sps.to_bytes() for sps in mine]


def _read_frame_facts(reader: BitReader) -> list[int]:
    """Return max_num_ref_frames, width, height and cropping, and read on to the flag of the VUI (7.3.2.1.1)."""
    profile, _, _ = reader.u(8), reader.u(8), reader.u(8)
    reader.ue()
    if profile in _WITH_CHROMA:
        _skip_chroma(reader)
    reader.ue()
    order_type = reader.ue()
    if order_type == 0:
        reader.ue()
    elif order_type == 1:
        reader.u(1)
        _skip_ue(reader, 2)
        _skip_ue(reader, reader.ue())
    references = reader.ue()
    reader.u(1)
    width, height = reader.ue() + 1, reader.ue() + 1
    if not reader.u(1):
        raise ValueError("a sequence parameter set with fields")
    reader.u(1)
    cropping = [reader.ue() for _ in range(4)] if reader.u(1) else [0, 0, 0, 0]
    return [references, width, height, *cropping]


def _skip_chroma(reader: BitReader) -> None:
    separate = 3
    chroma = reader.ue()
    if chroma == separate:
        reader.u(1)
    _skip_ue(reader, 2)
    reader.u(1)
    if reader.u(1):
        for index in range(12 if chroma == separate else 8):
            if reader.u(1):
                _skip_scaling_list(reader, 16 if index < 6 else 64)


def _skip_scaling_list(reader: BitReader, size: int) -> None:
    """Read a list up to the entry from which on the last scale is repeated (7.3.2.1.1.1)."""
    scale = 8
    for _ in range(size):
        scale = (scale + reader.se()) % 256
        if not scale:
            break


def _skip_vui(reader: BitReader) -> None:
    """Read a VUI up to the flag of the bitstream restriction (E.1.1)."""
    if reader.u(1) and reader.u(8) == _EXTENDED_SAR:
        reader.u(32)
    if reader.u(1):  # overscan
        reader.u(1)
    if reader.u(1):  # video signal
        reader.u(4)
        if reader.u(1):
            reader.u(24)
    if reader.u(1):  # where the chroma samples lie
        _skip_ue(reader, 2)
    if reader.u(1):  # timing
        reader.u(65)
    if any([_skip_hrd(reader), _skip_hrd(reader)]):  # of the NAL units, and of the slices alone
        reader.u(1)
    reader.u(1)


def _skip_hrd(reader: BitReader) -> bool:
    """Read the parameters of a hypothetical reference decoder, and return whether there are any (E.1.2)."""
    if not reader.u(1):
        return False
    count = reader.ue() + 1
    reader.u(8)
    for _ in range(count):
        _skip_ue(reader, 2)
        reader.u(1)
    reader.u(20)
    return True


def _skip_ue(reader: BitReader, count: int) -> None:
    for _ in range(count):
        reader.ue()
