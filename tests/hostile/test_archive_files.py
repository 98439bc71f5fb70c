"""Whatever stands in the mirror's archives: their clips, or one clear error, in little memory; nothing is written."""

from __future__ import annotations

import gzip
import io
import os
import random
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3

from kinetics.errors import ClipError
from kinetics.mirror import tar_stream as archives
from kinetics.mirror.tar_stream import MIRROR, Archive, Damaged
from kinetics.net.http import HttpSession
from kinetics.records import ClipKey
from tests.youtube.mirror import tarball

CLIP = "Cl1p-_hostl_000001_000011.mp4"
KEY = ("Cl1p-_hostl", 1.0, 11.0)
GOOD = tarball([(f"./{CLIP}", b"clip" * 1000)])[: 9 * 512]
"""A member without the archive's end."""
MEMORY = 8 << 20
GIGABYTE = 1 << 30


class Endless(io.RawIOBase):
    """A few bytes, then others over and over, up to a size that is never there at once."""

    def __init__(self, start: bytes, fill: bytes, size: int) -> None:
        self._start, self._fill, self.size, self._place = start, fill * (1 + (1 << 16) // len(fill)), size, 0
        self._period = len(fill)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        if self._place < len(self._start):
            piece = self._start[self._place : self._place + len(buffer)]
        else:
            phase = (self._place - len(self._start)) % self._period
            piece = self._fill[phase : phase + len(buffer)]
        piece = piece[: self.size - self._place]
        buffer[: len(piece)] = piece
        self._place += len(piece)
        return len(piece)


class From(HttpSession):
    """A mirror that has one file."""

    def __init__(self, file: io.RawIOBase, size: int) -> None:
        super().__init__(hosts=MIRROR)
        self._file, self._size = file, size

    def get(self, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        said = {"Content-Range": f"bytes 0-{self._size - 1}/{self._size}"}
        return urllib3.HTTPResponse(io.BufferedReader(self._file, 1 << 16), said, 206, preload_content=False)


def of(content: bytes) -> HttpSession:
    return From(Endless(content, b"\0", len(content)), len(content))


def endless(start: bytes, fill: bytes, size: int = 100 * GIGABYTE) -> HttpSession:
    return From(Endless(start, fill, size), size)


def head(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, *, link: str = "") -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = kind, size, link
    return member.tobuf(tarfile.GNU_FORMAT)


def block(data: bytes) -> bytes:
    return data.ljust(-(-len(data) // 512) * 512, b"\0")


def extension(kind: bytes, data: bytes) -> bytes:
    return head("x", kind, len(data)) + block(data)


def record(text: bytes) -> bytes:
    """A pax record, with the length in front that includes itself."""
    length = len(text) + 3
    while len(f"{length} ".encode() + text) + 1 != length:
        length += 1
    return f"{length} ".encode() + text + b"\n"


def pax(*texts: bytes) -> bytes:
    return extension(tarfile.XHDTYPE, b"".join(map(record, texts)))


def size_field(field: bytes) -> bytes:
    """A clip's header whose size is written like this."""
    data = bytearray(head(CLIP, size=5))
    data[124:136] = field
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data)
    return bytes(data)


@contextmanager
def in_little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


def keys(session: HttpSession, into: Path) -> list[ClipKey]:
    """The clips, each written to the same place as far as that goes."""
    found = []
    with in_little_memory(), Archive(session, "https://s3.amazonaws.com/kinetics/hostile.tar.gz") as archive:
        for member in archive.members():
            found.append(member.key)
            member.copy_to(into)
    assert archive.fully_read
    return found


HUGE = head("x", tarfile.XHDTYPE, GIGABYTE)
ZEROS = gzip.compress(bytes(1 << 24))
"""Of which many, one behind the other, are one packed file."""
REFUSED: dict[str, tuple[Callable[[], HttpSession], str]] = {
    "a pax header of a gigabyte": (lambda: endless(HUGE, b"a"), "claims to have"),
    "a long name of a gigabyte": (lambda: endless(head("x", b"L", GIGABYTE), b"a"), "claims to have"),
    "a long link of a gigabyte": (lambda: endless(head("x", b"K", GIGABYTE), b"a"), "claims to have"),
    "a global header of a gigabyte": (lambda: endless(head("x", b"g", GIGABYTE), b"a"), "claims to have"),
    "headers about headers without end": (lambda: endless(b"", pax(b"path=x")), "in a row"),
    "global headers without end": (lambda: endless(b"", extension(b"g", record(b"a=b"))), "in a row"),
    "long names without end": (lambda: endless(b"", extension(b"L", b"name")), "in a row"),
    "a pax header that makes no sense": (lambda: of(extension(b"x", b"9999 path=x\n")), "malformed"),
    "a pax header of zero length": (lambda: of(extension(b"x", b"0 path=x\n")), "malformed"),
    "a pax header without a record": (lambda: of(extension(b"x", b"\xff" * 100)), "malformed"),
    "a negative size by pax": (lambda: of(pax(b"size=-1") + GOOD), "invalid size"),
    "a size of many digits": (lambda: of(pax(b"size=" + b"9" * 5000) + GOOD), "invalid size"),
    "a sparse file by pax": (lambda: endless(pax(b"GNU.sparse.major=1", b"GNU.sparse.minor=0") + GOOD, b"1"), "sparse"),
    "a sparse file": (lambda: endless(head(CLIP, b"S", 512), b"\1"), "sparse"),
    "a negative size": (lambda: of(size_field(b"\xff" * 11 + b"\0")), "negative"),
    "a size that is no number": (lambda: of(size_field(b"a lot of it\0")), "not a tar archive"),
    "a clip of 100 GB": (lambda: of(size_field(b"\x80\0\0\0\0\0\0\x19\0\0\0\0") + bytes(5000)), "claims to have"),
    "a clip of 100 GB, packed": (
        lambda: endless(gzip.compress(size_field(b"\x80\0\0\0\0\0\0\x19\0\0\0\0")), ZEROS),
        "decompresses to far more",
    ),
    "zeros without end, packed": (
        lambda: endless(gzip.compress(head("x", size=1 << 40)), ZEROS),
        "decompresses to far more",
    ),
    "no end of clips": (lambda: endless(b"", head(CLIP)), "holds more than"),
    "a page": (lambda: of(b"<html>" + b"sorry " * 1000), "not a tar archive"),
    "a short page": (lambda: of(b"<html>"), "not a tar archive"),
    "noise": (lambda: of(random.Random(1).randbytes(10_000)), "not a tar archive"),
    "packed noise": (lambda: of(gzip.compress(random.Random(1).randbytes(10_000))), "not a tar archive"),
    "what only begins as gzip": (lambda: of(b"\x1f\x8b" + random.Random(1).randbytes(10_000)), "not a tar archive"),
    "two bytes": (lambda: of(b"\x1f\x8b"), "not a tar archive"),
    "half a header": (lambda: of(GOOD + head("x")[:300]), "damaged"),
    "a file that is cut off": (lambda: of(gzip.compress(GOOD[:1000])), "middle of a file"),
    "a packed file that is cut off": (lambda: of(gzip.compress(GOOD)[:-20]), "damaged|not a tar archive"),
}


def zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr(CLIP, b"clip" * 1000)
    return content.getvalue()


REFUSED["a zip"] = (lambda: of(zipped()), "not a tar archive")
PASSED_OVER: dict[str, bytes] = {
    "a hard link": head(CLIP, tarfile.LNKTYPE, link="/etc/passwd"),
    "a link": head(CLIP, tarfile.SYMTYPE, link="/etc/passwd"),
    "a link with a size": head(CLIP, tarfile.SYMTYPE, 1 << 40, link="../x"),
    "a device": head(CLIP, tarfile.CHRTYPE) + head(CLIP, tarfile.BLKTYPE),
    "a pipe": head(CLIP, tarfile.FIFOTYPE),
    "a folder": head(CLIP, tarfile.DIRTYPE) + head(f"{CLIP}/"),
    "an unknown kind": head(CLIP, b"?", 600) + bytes(1024),
    "a clip's name with something behind it": head(f"{CLIP}/../../x", size=600) + bytes(1024),
    "macOS's files beside each file": head(f"._{CLIP}", size=163) + bytes(512),
    "a global header": extension(b"g", record(b"path=" + CLIP.encode())),
    "a name that is no text": pax(b"path=\xff\xfe\0\n/") + head("x", size=3) + bytes(512),
    "a folder that is no text": head("\udce9t\udce9/x", size=3) + bytes(512),
    "a volume's label": head("label", b"V"),
    "a folder with a size": head("x/", tarfile.DIRTYPE, 4000),
    "a name of 60,000 bytes": extension(b"L", b"a/" * 30_000) + head("x"),
    "an empty file": head("x"),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a caller lets a clip be written, and nothing else is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(archives, "MAX_CLIPS", 100)
    into = tmp_path / "place"
    yield into
    assert set(tmp_path.rglob("*")) <= {into}
    assert not into.exists() or into.stat().st_size <= 1 << 28
    assert not into.is_symlink()


@pytest.mark.parametrize("case", REFUSED)
def test_an_archive_that_means_harm_is_one_clear_error(place: Path, case: str) -> None:
    open_session, says = REFUSED[case]
    with pytest.raises(Damaged, match=says):
        keys(open_session(), place)


@pytest.mark.parametrize("case", PASSED_OVER)
def test_what_is_no_clip_is_passed_over(place: Path, case: str) -> None:
    assert keys(of(PASSED_OVER[case] + GOOD), place) == [KEY]
    assert place.read_bytes() == b"clip" * 1000


@pytest.mark.parametrize(
    "name", [f"../../../{CLIP}", f"/etc/{CLIP}", f"a/../../{CLIP}", f"C:/{CLIP}", f"\x1b[2J/{CLIP}"]
)
def test_a_clip_is_written_where_the_caller_says_whatever_its_name_says(place: Path, name: str) -> None:
    assert keys(of(tarball([(name, b"clip")])), place) == [KEY]
    assert place.read_bytes() == b"clip"


def test_a_size_that_a_header_is_too_short_for_stands_in_the_one_before(place: Path) -> None:
    content = pax(b"size=4000") + head(CLIP) + block(b"clip" * 1000) + GOOD
    assert keys(of(content), place) == [KEY, KEY]
    assert place.read_bytes() == b"clip" * 1000


ENDED = GOOD + bytes(10_240)
BEHIND: dict[str, tuple[bytes, int]] = {
    "no end": (GOOD, 1),
    "half of one": (GOOD + bytes(512), 1),
    "zeros": (ENDED + bytes(100_000), 1),
    "another archive": (ENDED + ENDED, 2),
    "another archive, in a row with it": (GOOD + bytes(512) + GOOD, 2),
    "packed in pieces": (b"".join(gzip.compress(ENDED[at : at + 700]) for at in range(0, len(ENDED), 700)), 1),
    "packed, with empty pieces": (gzip.compress(GOOD) + gzip.compress(b"") + gzip.compress(GOOD), 2),
    "packed, and zeros": (gzip.compress(GOOD) + bytes(100_000), 1),
    "what is no archive": (ENDED + b"garbage" * 1000, 1),
    "what is no archive, packed": (gzip.compress(ENDED + b"garbage" * 1000), 1),
    "packed, and what is no archive": (gzip.compress(ENDED) + b"garbage" * 100_000, 1),
    "packed, and its end cut off": (gzip.compress(ENDED, 0)[:-5000], 1),
}


@pytest.mark.parametrize("case", BEHIND)
def test_the_clips_come_whatever_stands_behind_them(place: Path, case: str) -> None:
    content, clips = BEHIND[case]
    assert keys(of(content), place) == [KEY] * clips
    assert place.read_bytes() == b"clip" * 1000


@pytest.mark.parametrize("zeros", [0, 512, 10_240])
def test_an_empty_archive_has_no_clips(place: Path, zeros: int) -> None:
    for content in (bytes(zeros or 1), gzip.compress(bytes(zeros))):
        assert keys(of(content), place) == []


def test_a_header_of_the_oldest_kind_is_read(place: Path) -> None:
    old = bytearray(head(CLIP, tarfile.AREGTYPE, 4000))
    old[257:265] = bytes(8)  # no "ustar"
    old[148:156] = b" " * 8
    old[148:156] = b"%06o\0 " % sum(old)
    assert keys(of(bytes(old) + block(b"clip" * 1000) + GOOD), place) == [KEY, KEY]


def test_a_name_in_two_parts_is_put_together(place: Path) -> None:
    member = tarfile.TarInfo(f"{'x' * 150}/{CLIP}")
    member.size = 4000
    data = member.tobuf(tarfile.USTAR_FORMAT)
    assert len(data) == 512
    assert keys(of(data + GOOD[512:] + GOOD), place) == [KEY, KEY]


def test_records_that_end_in_zeros_are_read(place: Path) -> None:
    records = record(b"path=a/" + CLIP.encode())
    content = extension(tarfile.XHDTYPE, records + bytes(7)) + head("x", size=4000) + GOOD[512:] + GOOD
    assert keys(of(content), place) == [KEY, KEY]


def test_many_small_files_take_no_memory(place: Path) -> None:
    assert keys(endless(b"", head("x" * 90, size=0), 512 * 5000), place) == []


def test_any_damage_to_an_archive_is_a_clip_error_or_none(place: Path) -> None:
    chance = random.Random(4)
    plain = (
        pax(b"path=a/" + CLIP.encode(), b"size=4000")
        + head("x", size=4000)
        + GOOD[512:]
        + extension(b"L", b"x/" + CLIP.encode())
    )
    plain += GOOD + bytes(1024)
    for number in range(1500):
        damaged = bytearray(gzip.compress(plain, 1, mtime=0) if number % 3 == 0 else plain)
        for _ in range(chance.choice((1, 1, 2, 20))):
            damaged[chance.randrange(len(damaged))] = chance.choice((0, 255, 128, 48, chance.randrange(256)))
        if number % 5 == 0:
            del damaged[chance.randrange(len(damaged)) :]
        data = bytes(damaged)
        with Archive(of(data or b"\0"), "https://s3.amazonaws.com/x") as archive:
            try:
                for member in archive.members():
                    member.copy_to(place)
            except ClipError as error:
                assert isinstance(error, Damaged), error


def test_nothing_is_left_open(place: Path) -> None:
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    for _ in range(20):
        with Archive(of(GOOD), "https://s3.amazonaws.com/x") as archive:
            next(archive.members()).copy_to(place)
    assert not before or len(os.listdir("/proc/self/fd")) == before
