"""H.264 inside mp4: parameter sets, and whether two encoders' pictures fit into one stream (ISO/IEC 14496-15, 5).

A track has one `avcC` record of parameter sets, each with an id by which pictures refer to it. Sets of two encoders can
share the record as long as no two have the same id.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kinetics.media.sps import BitReader, bits_of, with_one_promise

IDR = 5
"""NAL unit type of a slice of an IDR picture: a decoder can start there."""
PARAMETER_SETS = frozenset({7, 8, 13, 15})
"""NAL unit types of parameter sets."""
PROFILES = {66: "baseline", 77: "main", 100: "high"}
"""The profiles with 8 bits and 4:2:0, by profile_idc, under x264's names; only these are joined with x264's."""
_HIGH = frozenset({100, 110, 122, 144})
"""The profiles whose record goes on after the parameter sets."""


@dataclass(frozen=True, slots=True)
class AvcConfig:
    """An `avcC` record; its parameter sets are NAL units without the length prefix."""

    profile: int
    compatibility: int
    level: int
    length_size: int
    """Bytes of the length prefix of each NAL unit in a sample."""
    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]
    rest: bytes

    @classmethod
    def parse(cls, record: bytes) -> AvcConfig:
        """Read a record. Raises ValueError if it is none or cut off."""
        if len(record) < 7 or record[0] != 1:
            raise ValueError("no avcC record")
        sps, offset = _parameter_sets(record, 6, record[5] & 31)
        if offset == len(record):
            raise ValueError("an avcC record that is cut off")
        pps, offset = _parameter_sets(record, offset + 1, record[offset])
        return cls(record[1], record[2], record[3], (record[4] & 3) + 1, sps, pps, record[offset:])

    def to_bytes(self) -> bytes:
        start = bytes([1, self.profile, self.compatibility, self.level, 0xFC | self.length_size - 1])
        sps = b"".join(len(unit).to_bytes(2, "big") + unit for unit in self.sps)
        pps = b"".join(len(unit).to_bytes(2, "big") + unit for unit in self.pps)
        return start + bytes([0xE0 | len(self.sps)]) + sps + bytes([len(self.pps)]) + pps + self.rest

    def unused_id(self) -> int:
        """Return an id that no parameter set here has. Raises ValueError if 1 to 31 are all in use."""
        used = {_set_id(unit, 4) for unit in self.sps} | {_set_id(unit, 1) for unit in self.pps}
        if not (unused := set(range(1, 32)) - used):
            raise ValueError("no unused id")
        return min(unused)

    def merged_with(self, other: AvcConfig) -> AvcConfig:
        """Return a record with the parameter sets of both, which then promise the same picture buffer.

        `other` is our encoder's record. Raises ValueError if they do not fit into one.
        """
        if self.length_size != other.length_size or (self.profile in _HIGH) != (other.profile in _HIGH):
            raise ValueError("records of different shapes")
        if {_set_id(unit, 4) for unit in self.sps} & {_set_id(unit, 4) for unit in other.sps}:
            raise ValueError("two sequence parameter sets with the same id")
        if {_set_id(unit, 1) for unit in self.pps} & {_set_id(unit, 1) for unit in other.pps}:
            raise ValueError("two picture parameter sets with the same id")
        source, ours = with_one_promise(self.sps, other.sps)
        return AvcConfig(
            max(self.profile, other.profile),
            self.compatibility & other.compatibility,
            max(self.level, other.level),
            self.length_size,
            (*source, *ours),
            self.pps + other.pps,
            self.rest,
        )

    def nal_types(self, sample: bytes) -> Iterator[int]:
        """Yield the types of a sample's NAL units. Raises ValueError if the sample is cut off."""
        offset = 0
        while offset < len(sample):
            length = int.from_bytes(sample[offset : offset + self.length_size], "big")
            offset += self.length_size
            if not length or offset + length > len(sample):
                raise ValueError("a sample that is cut off")
            yield sample[offset] & 31
            offset += length


def _parameter_sets(record: bytes, offset: int, count: int) -> tuple[tuple[bytes, ...], int]:
    """Return the parameter sets that start at an offset of a record, and the offset behind them."""
    found = []
    for _ in range(count):
        length = int.from_bytes(record[offset : offset + 2], "big")
        offset += 2 + length
        if not length or offset > len(record):
            raise ValueError("an avcC record that is cut off")
        found.append(record[offset - length : offset])
    return tuple(found), offset


def _set_id(unit: bytes, skip: int) -> int:
    """Return a parameter set's id: the number after `skip` bytes of its NAL unit. Raises ValueError if it has none."""
    return BitReader(bits_of(unit[skip : skip + 5])).ue()
