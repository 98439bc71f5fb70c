"""H.264 inside mp4: parameter sets, and whether pictures of two encoders can stand in one stream (ISO/IEC 14496-15, 5).

A file has one `avcC` record of parameter sets, each with a number by which pictures refer to it. Sets of two encoders
can stand in it side by side as long as no two share a number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

IDR = 5
"""The type of a NAL unit that belongs to a picture before which nothing is needed."""
PARAMETER_SETS = frozenset({7, 8, 13, 15})
"""The types of those that are parameter sets."""
PROFILES = {66: "baseline", 77: "main", 100: "high"}
"""Those that have 8 bits and 4:2:0, by profile_idc, as x264 names them."""
_HIGH = frozenset({100, 110, 122, 144})
"""Profiles whose record goes on after the parameter sets."""


@dataclass(frozen=True, slots=True)
class Config:
    """An `avcC` record: the parameter sets are NAL units without a length in front."""

    profile: int
    compatibility: int
    level: int
    length_size: int
    """Of the length in front of each NAL unit, in bytes."""
    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]
    rest: bytes

    @classmethod
    def read(cls, record: bytes) -> Config:
        """Raises ValueError for what is no such record."""
        if len(record) < 7 or record[0] != 1:
            raise ValueError("no avcC record")
        sps, place = _sets(record, 6, record[5] & 31)
        if place == len(record):
            raise ValueError("an avcC record that is cut off")
        pps, place = _sets(record, place + 1, record[place])
        return cls(record[1], record[2], record[3], (record[4] & 3) + 1, sps, pps, record[place:])

    def written(self) -> bytes:
        head = bytes([1, self.profile, self.compatibility, self.level, 0xFC | self.length_size - 1])
        sps = b"".join(len(one).to_bytes(2, "big") + one for one in self.sps)
        pps = b"".join(len(one).to_bytes(2, "big") + one for one in self.pps)
        return head + bytes([0xE0 | len(self.sps)]) + sps + bytes([len(self.pps)]) + pps + self.rest

    def free_number(self) -> int | None:
        """A number for parameter sets that none of these has; None where all are taken."""
        taken = {_number(one, 4) for one in self.sps} | {_number(one, 1) for one in self.pps}
        return next((number for number in range(1, 32) if number not in taken), None)

    def merged_with(self, other: Config) -> Config:
        """A record with the parameter sets of both. Raises ValueError where they cannot stand side by side."""
        if self.length_size != other.length_size or (self.profile in _HIGH) != (other.profile in _HIGH):
            raise ValueError("records of different shapes")
        if {_number(one, 4) for one in self.sps} & {_number(one, 4) for one in other.sps}:
            raise ValueError("two sequence parameter sets of one number")
        if {_number(one, 1) for one in self.pps} & {_number(one, 1) for one in other.pps}:
            raise ValueError("two picture parameter sets of one number")
        return Config(
            max(self.profile, other.profile),
            self.compatibility & other.compatibility,
            max(self.level, other.level),
            self.length_size,
            self.sps + other.sps,
            self.pps + other.pps,
            self.rest,
        )

    def units(self, sample: bytes) -> Iterator[int]:
        """The types of the NAL units of a sample. Raises ValueError for a sample that is cut off."""
        place = 0
        while place < len(sample):
            length = int.from_bytes(sample[place : place + self.length_size], "big")
            place += self.length_size
            if not length or place + length > len(sample):
                raise ValueError("a sample that is cut off")
            yield sample[place] & 31
            place += length


def _sets(record: bytes, place: int, count: int) -> tuple[tuple[bytes, ...], int]:
    found = []
    for _ in range(count):
        length = int.from_bytes(record[place : place + 2], "big")
        place += 2 + length
        if not length or place > len(record):
            raise ValueError("an avcC record that is cut off")
        found.append(record[place - length : place])
    return tuple(found), place


def _number(unit: bytes, skip: int) -> int:
    """The first Exp-Golomb number after so many bytes of a NAL unit (ITU-T H.264, 9.1)."""
    bits = "".join(f"{byte:08b}" for byte in unit[skip : skip + 5])
    zeros = bits.find("1")
    if zeros < 0 or len(bits) < 2 * zeros + 1:
        raise ValueError("a parameter set without a number")
    return int(bits[zeros : 2 * zeros + 1], 2) - 1
