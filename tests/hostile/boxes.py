"""mp4 headers that claim what is not so: the boxes of a sound file, spoilt at random, the same for the same seed."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

FOLDERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"mvex", b"edts", b"dinf", b"moof", b"traf", b"udta")
KINDS = (*FOLDERS, b"sidx", b"mdat", b"stsz", b"stsc", b"stts", b"stco", b"co64", b"ctts", b"trun", b"tfhd", b"free")
EXTREMES = (0, 1, 2, 7, 8, 16, 255, 1 << 16, (1 << 24) + 1, 80_000_000, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)


@dataclass
class Box:
    """A box of an mp4 file: what is in it, and what it says of its own size, where that is a lie."""

    kind: bytes
    body: bytearray = field(default_factory=bytearray)
    inside: list[Box] = field(default_factory=list)
    claimed: int | None = None
    long: bool = False

    def packed(self) -> bytes:
        body = bytes(self.body) + b"".join(box.packed() for box in self.inside)
        size = len(body) + (16 if self.long else 8) if self.claimed is None else self.claimed
        if self.long:
            return struct.pack(">I4sQ", 1, self.kind, size & (1 << 64) - 1) + body
        return struct.pack(">I4s", size & 0xFFFFFFFF, self.kind) + body

    def copy(self) -> Box:
        inside = [box.copy() for box in self.inside]
        return Box(self.kind, bytearray(self.body), inside, self.claimed, self.long)


def parsed(data: bytes) -> list[Box]:
    """The boxes of a sound file."""
    found, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + size]
        found.append(Box(kind, inside=parsed(body)) if kind in FOLDERS else Box(kind, bytearray(body)))
        at += size
    return found


def spoilt(sound: list[Box], rng: random.Random) -> bytes:
    """The file with one to six things wrong with its boxes, and perhaps with its bytes as well."""
    root = Box(b"root", inside=[box.copy() for box in sound])
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        _spoil(rng.choice(list(_folders(root))), root, rng)
    data = bytearray(root.packed()[8:])
    if data and rng.random() < 0.2:
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(min(len(data), 6000))] = rng.randrange(256)
    if rng.random() < 0.1:
        del data[rng.randrange(len(data) + 1) :]
    return bytes(data)


def _folders(box: Box) -> Iterator[Box]:
    if box.inside:
        yield box
        for inner in box.inside:
            yield from _folders(inner)


def _spoil(folder: Box, root: Box, rng: random.Random) -> None:
    place = rng.randrange(len(folder.inside))
    box = folder.inside[place]
    match rng.randrange(12):
        case 0:
            box.claimed = rng.choice((*EXTREMES, len(box.packed()) + rng.choice((-8, -1, 1, 8, 1000))))
        case 1:
            box.long = True
            box.claimed = rng.choice((None, 0, 15, 16, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1))
        case 2:
            box.kind = rng.choice(KINDS)
        case 3:
            folder.inside.insert(place, rng.choice(rng.choice(list(_folders(root))).inside).copy())
        case 4:
            del folder.inside[place]
        case 5:
            folder.inside.extend(box.copy() for _ in range(rng.choice((1, 3, 200))))
        case 6:
            for _ in range(rng.choice((1, 10, 60))):
                box = Box(rng.choice((box.kind, b"moov", b"trak", b"udta")), inside=[box])
            folder.inside[place] = box
        case 7 if box.kind != b"mdat":
            del box.body[rng.randrange(len(box.body) + 1) :]
        case _ if box.body and box.kind != b"mdat":
            _overwrite(box.body, rng)


def _overwrite(body: bytearray, rng: random.Random) -> None:
    """A field of the box made extreme: counts and units stand in front, so rather there."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        reach = min(len(body), rng.choice((4, 16, 40, len(body))))
        at = rng.randrange(reach)
        if rng.random() < 0.7:
            at -= at % 4
            number = rng.choice((*EXTREMES, rng.getrandbits(32)))
            body[at : at + 4] = struct.pack(">I", number)
        else:
            body[at] = rng.choice((0, 1, 2, 127, 128, 255, rng.randrange(256)))
