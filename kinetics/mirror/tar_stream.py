"""A tar archive of clips on a mirror, read as a stream: which clips it holds, and each one's bytes as they come.

It may be anything. Nothing of it is written but where a caller says, and what it claims is not believed: tarfile reads
as much into memory as a header asks for, follows headers about headers until Python's stack is full, and takes an
archive that is damaged for one that ends there. So only its parser of a single header is used.
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from kinetics.errors import ClipError, MayWorkLater
from kinetics.net.http import AllowedHosts, Changed, HttpSession
from kinetics.net.stream import HttpStream
from kinetics.records import Category, ClipKey

MIRROR = AllowedHosts("the mirror", re.compile(r"s3\.amazonaws\.com"))
CLIP_NAME = re.compile(r"(?:.*/)?([A-Za-z0-9_-]{11})_(\d{6})_(\d{6})\.mp4", re.DOTALL | re.ASCII)
"""Wherever in the archive; macOS puts a `._<name>` beside each file, which is no clip."""
CLIP_LIMIT = 1 << 28
"""Bytes of a clip; ten seconds of 1080p have a tenth of that."""
CLIPS_LIMIT = 1 << 17
"""Clips of an archive; the largest of the mirror's have some thousands."""
REMARK_LIMIT = 1 << 16
"""Bytes of a header that is about the next one: a long name, or a few records."""
REMARKS_LIMIT = 8
"""So many of them in a row, each about the next."""
BAD_HEADERS_LIMIT, PASSED_OVER_LIMIT = 100, 1 << 26
"""More of them, or more bytes from one to the next good one, are no accident."""
PACKED_LIMIT, PACKED_FROM = 20, 1 << 26
"""A packed archive of more than so many bytes that unpacks to so many times its size holds no video."""
BEGINNINGS = 3
"""So often an archive is begun, if it is another one each time, or cannot be gone on with."""
PIECE = 1 << 18
BLOCK = tarfile.BLOCKSIZE
PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
REMARKS = (*PAX, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
"""The kinds of headers that are about the next one, or about all that follow."""
GZIP = b"\x1f\x8b"
USTAR, USTAR_AT = b"ustar", 257
"""What a header has at that place."""
_PAX_RECORD = re.compile(rb"(\d{1,6}) ([^=\n]+)=", re.ASCII)
_PAX_SIZE = re.compile(rb"\d{1,18}", re.ASCII)


class Damaged(MayWorkLater):
    """What has come of the archive is what the mirror has, and not all of it can be read."""


class _BadHeader(Exception):
    """What should be a header is none, or says what cannot be."""


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """A clip in the archive, whose bytes are about to come: once, and before the next member is asked for."""

    key: ClipKey
    size: int
    """In bytes."""
    _content: _Content = field(repr=False)
    _start: int = field(repr=False)

    def copy_to(self, path: Path) -> None:
        """Write the clip to a file. Raises what the archive's members raise, and OSError where it cannot be written."""
        if self._content.offset != self._start:
            raise ValueError(f"the bytes of {self.key} have passed")
        with open(path, "wb", buffering=0) as file:
            for piece in self._content.pieces(self.size):
                file.write(piece)


class Archive:
    """An archive at a URL, plain or packed by gzip, whatever it is called. Open it with `with`.

    A caller may stop at any moment. What keeps a member from being read keeps the archive from being read on, so a
    ClipError from `ArchiveMember.copy_to` is raised again by `members`, unless the archive can be read on: it restarts
    from byte 0 if it was replaced meanwhile, or if the server cannot resume.

    `on_data` is called whenever bytes arrive, wanted or not; what it raises is raised where they are read.
    """

    def __init__(self, line: HttpSession, url: str, on_data: Callable[[], None] = lambda: None) -> None:
        self.url = url
        self.passed: list[ClipKey] = []
        """The clips of which all bytes have come, whether they were wanted or not."""
        self._line = line
        self._on_data = on_data
        self._stream = HttpStream(line, url, on_data)
        self._content: _Content | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    @property
    def position(self) -> int:
        """How many of its bytes have come."""
        return self._stream.position

    @property
    def size(self) -> int | None:
        """In bytes, once some have come."""
        return self._stream.size

    @property
    def etag(self) -> str:
        """What the server calls this state of it; empty if it does not say."""
        return self._stream.etag

    @property
    def exhausted(self) -> bool:
        """Nothing more is to be had from it: it was read to its end, or to where it is damaged."""
        return self._content is not None and self._content.exhausted

    def members(self) -> Iterator[ArchiveMember]:
        """The clips, in their order; some may come twice, as they are in the archive or as it was begun anew.

        Where it is damaged, what is behind the damage comes too, if it can be found. Raises Damaged then, at last, and
        what a Stream raises.
        """
        for left in reversed(range(BEGINNINGS)):
            try:
                yield from self._members()
                return
            except Changed:
                if not left:
                    raise
                self._stream = HttpStream(self._line, self.url, self._on_data)

    def _members(self) -> Iterator[ArchiveMember]:
        with closing(self._stream) as stream:
            self._content = content = _Content(stream)
            self.passed = []
            while found := _next_member(content):
                header, end = found
                key = clip_key(header.name) if header.isreg() and header.size <= CLIP_LIMIT else None
                if key:
                    yield ArchiveMember(key, header.size, content, content.offset)
                content.skip_to(end)
                if key:
                    self.passed.append(key)
                if len(self.passed) > CLIPS_LIMIT:
                    raise content.damaged(f"it holds more than {CLIPS_LIMIT} clips")
            content.exhausted = True
            if content.damage:
                raise content.damage


def clip_key(name: str) -> ClipKey | None:
    """The clip that a member's name names, if it does."""
    match = CLIP_NAME.fullmatch(name)
    if match is None or match[2] >= match[3]:
        return None
    return match[1], float(match[2]), float(match[3])


class _Content:
    """What an archive unpacks to, from front to end. What once kept it from being read does so from then on."""

    def __init__(self, stream: HttpStream) -> None:
        self.offset = 0
        self.exhausted = False
        self._stream = stream
        self._packed = stream.peek(len(GZIP)) == GZIP
        buffered = io.BufferedReader(stream, PIECE)
        self._file = gzip.GzipFile(fileobj=buffered) if self._packed else buffered
        self.damage: Damaged | None = None
        """The first that was passed over."""
        self._bad_headers = 0
        self._trouble: ClipError | None = None

    def read(self, count: int) -> bytes:
        """So many bytes, or what is left."""
        if self._trouble:
            raise self._trouble
        try:
            data = self._file.read(count)
        except ClipError as error:
            self._trouble = error
            raise
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise self.damaged(str(error)) from error
        self.offset += len(data)
        if self.offset > max(PACKED_FROM, PACKED_LIMIT * self._stream.position):
            raise self.damaged("it unpacks to more than videos do")
        return data

    def pieces(self, count: int) -> Iterator[bytes]:
        """The next bytes, exactly so many."""
        while count:
            piece = self.read(min(PIECE, count))
            if not piece:
                raise self.damaged("it ends in the midst of a file")
            count -= len(piece)
            yield piece

    def claim(self, count: int) -> int:
        """Where a member of so many bytes ends. Raises _BadHeader where there are not so many."""
        if not self._packed and count > (self._stream.size or 0) - self.offset:
            raise _BadHeader(f"a file in it claims to have {count} bytes")
        return self.offset + count

    def skip_to(self, end: int) -> None:
        """Pass over the rest of a member that ends there, and of the block that it does not fill."""
        for _ in self.pieces(end - self.offset):
            pass
        self.read(-end % BLOCK)  # fewer at the end of some archives

    def damaged(self, how: str) -> Damaged:
        """What to raise where the archive cannot be read on, now and from now on."""
        self.exhausted = True
        self._trouble = self.damage or self._damaged(how)
        return self._trouble

    def pass_over(self, how: str) -> None:
        """Note that a header is bad, and go on behind it. Raises Damaged if it is the first one, or one of many."""
        self._bad_headers += 1
        if self.offset <= BLOCK or self._bad_headers > BAD_HEADERS_LIMIT:
            raise self.damaged(how)
        self.damage = self.damage or self._damaged(how)

    def _damaged(self, how: str) -> Damaged:
        what = f"the archive is damaged at byte {self.offset}" if self.offset > BLOCK else "it is no tar archive"
        return Damaged(Category.MEDIA_ERROR, f"{what}: {how}")


def _next_member(content: _Content) -> tuple[tarfile.TarInfo, int] | None:
    """The header of the next member, and where that ends; None where there is none left.

    A header that is bad is passed over, with all up to the next one that a member can have.
    """
    block = _next_block(content)
    while block:
        try:
            header = _header(block, content)
            return header, content.claim(_bytes_behind(header))
        except _BadHeader as error:
            content.pass_over(str(error))
            block = _next_ustar(content)
    return None


def _header(block: bytes, content: _Content) -> tarfile.TarInfo:
    """The header that begins with this block, with what the headers before it say about it. Raises _BadHeader."""
    name, size = b"", b""
    for _ in range(REMARKS_LIMIT):
        header = _parsed(block)
        if header.type not in REMARKS:
            header.name = name.decode(errors="replace") or header.name
            header.size = int(size or header.size)
            return header
        remark = _remark(header, content)
        if header.type == tarfile.GNUTYPE_LONGNAME:
            name = remark
        elif header.type in PAX:
            records = dict(_records(remark))
            name, size = records.get(b"path", name), records.get(b"size", size)
        block = content.read(BLOCK)
    raise _BadHeader(f"{REMARKS_LIMIT} headers in a row are about the next one")


def _next_block(content: _Content) -> bytes:
    """The next header's, or nothing: behind an archive's end another one may stand, and anything else is no loss."""
    block = content.read(BLOCK)
    if any(block):
        return block
    with suppress(Damaged):
        return _next_ustar(content)
    return b""


def _next_ustar(content: _Content) -> bytes:
    """The next block that looks like a header, as all but the oldest programs write them; nothing if there is none."""
    for _ in range(0, PASSED_OVER_LIMIT, BLOCK):
        block = content.read(BLOCK)
        if not block or block.startswith(USTAR, USTAR_AT):
            return block
    return b""


def _parsed(block: bytes) -> tarfile.TarInfo:
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise _BadHeader(str(error)) from error
    if header.size < 0 or header.type == tarfile.GNUTYPE_SPARSE:  # which has more headers behind it
        raise _BadHeader("a file in it has a negative size, or is sparse")
    return header


def _remark(header: tarfile.TarInfo, content: _Content) -> bytes:
    """What a header says about the next one, without the zeros that some end it with."""
    if header.size > REMARK_LIMIT:
        raise _BadHeader(f"a header claims to have {header.size} bytes")
    end = content.claim(header.size)
    remark = b"".join(content.pieces(header.size))
    content.skip_to(end)
    return remark.rstrip(b"\0")


def _records(remark: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The records of a pax header: `<length> <key>=<value>` and a line end."""
    place = 0
    while place < len(remark):
        match = _PAX_RECORD.match(remark, place)
        stop = place + int(match[1]) if match else 0
        if match is None or not match.end() < stop <= len(remark):
            raise _BadHeader("a header that makes no sense")
        value = remark[match.end() : stop - 1]
        if match[2].startswith(b"GNU.sparse") or (match[2] == b"size" and not _PAX_SIZE.fullmatch(value)):
            raise _BadHeader("a file in it has no plain size, or is sparse")
        yield match[2], value
        place = stop


def _bytes_behind(header: tarfile.TarInfo) -> int:
    """A link, a device or a folder may have a size, but nothing behind its header."""
    return header.size if header.isreg() or header.type not in tarfile.SUPPORTED_TYPES else 0
