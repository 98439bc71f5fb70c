"""Reads a tar archive of clips from the mirror as a stream: which clips it holds, and each one's bytes as they arrive.

The archive is not trusted. Nothing of it is written except where the caller says, and every size it claims is bounded.
Of the standard library's tarfile only the parser of a single header is used: the rest of it reads as much into memory
as a header asks for, follows extension headers recursively, and takes a damaged archive for one that ends there.
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
from kinetics.net.http import AllowedHosts, HttpSession
from kinetics.net.responses import Changed
from kinetics.net.stream import HttpStream
from kinetics.records import Category, ClipKey

MIRROR = AllowedHosts("the mirror", re.compile(r"s3\.amazonaws\.com"))
CLIP_NAME = re.compile(r"(?:.*/)?([A-Za-z0-9_-]{11})_(\d{6})_(\d{6})\.mp4", re.DOTALL | re.ASCII)
"""A clip's name, in any folder of the archive. The `._<name>` that macOS adds for each file does not match."""
MAX_CLIP_BYTES = 1 << 28
"""A larger member is not taken for a clip; ten seconds of 1080p video take a tenth of that."""
MAX_CLIPS = 1 << 17
"""Clips in an archive, after which it counts as damaged; the mirror's largest has a few thousand."""
MAX_EXTENSION_BYTES = 1 << 16
"""Content of one extension header, which is a long name or a few records; a larger one counts as damage."""
MAX_EXTENSION_HEADERS = 8
"""Extension headers in front of one member; more of them count as damage."""
MAX_BAD_HEADERS = 100
"""Damaged headers that are skipped before the rest of the archive is given up."""
MAX_SKIPPED_BYTES = 1 << 26
"""Bytes searched for the next header after a damaged one, before the rest of the archive is given up."""
MAX_EXPANSION = 20
"""Decompressed bytes for each byte received. Video does not compress like that, so more count as damage."""
MIN_EXPANDED_BYTES = 1 << 26
"""Decompressed bytes up to which MAX_EXPANSION does not apply, as headers and padding do compress."""
MAX_RESTARTS = 2
"""Restarts from byte 0 allowed after an ETag change or a refused Range."""
CHUNK_BYTES = 1 << 18
"""Bytes read at once; with it grows the memory that a worker takes."""
BLOCK_BYTES = tarfile.BLOCKSIZE
PAX_TYPES = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
EXTENSION_HEADER_TYPES = (*PAX_TYPES, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
"""Types of headers that describe the next member, or all that follow: POSIX pax and GNU tar."""
GZIP_MAGIC = b"\x1f\x8b"
USTAR_MAGIC, USTAR_OFFSET = b"ustar", 257
"""What all but the oldest programs write into a header, and at which byte of it (POSIX.1-2017, ustar format)."""
_PAX_RECORD = re.compile(rb"(\d{1,6}) ([^=\n]+)=", re.ASCII)
_PAX_SIZE = re.compile(rb"\d{1,18}", re.ASCII)


class Damaged(MayWorkLater):
    """The archive on the mirror cannot be read completely, although its bytes arrived as they are there."""


class _BadHeader(Exception):
    """A block is not a valid header, or the header makes an impossible claim."""


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """A clip in the archive, to be read at most once, and before the next member is asked for."""

    key: ClipKey
    size: int
    """Bytes of the clip."""
    _content: _TarContent = field(repr=False)
    _start: int = field(repr=False)

    def copy_to(self, path: Path) -> None:
        """Write the clip to a file. Raises what Archive.members raises, and OSError if the file cannot be written."""
        if self._content.offset != self._start:
            raise ValueError(f"the bytes of {self.key} were read or skipped before")
        with open(path, "wb", buffering=0) as file:
            for chunk in self._content.chunks(self.size):
                file.write(chunk)


class Archive:
    """A tar archive at a URL, plain or compressed by gzip, whatever its name says. To be used in a `with` statement.

    A caller may stop at any member. What fails to be read in `ArchiveMember.copy_to` raises a ClipError there, and
    again in `members`. If the archive was replaced meanwhile, or the server cannot resume, `members` starts again from
    byte 0 instead, and yields the clips again.

    `on_data` is called whenever bytes arrive, whether they are used or not; what it raises is raised by the read.
    """

    def __init__(self, session: HttpSession, url: str, on_data: Callable[[], None] = lambda: None) -> None:
        self.url = url
        self.clips_read: list[ClipKey] = []
        """Clips that were read or skipped to their last byte since the last start, in order."""
        self._session = session
        self._on_data = on_data
        self._stream = HttpStream(session, url, on_data)
        self._content: _TarContent | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    @property
    def position(self) -> int:
        """Bytes of the archive that have arrived since the last start."""
        return self._stream.position

    @property
    def size(self) -> int | None:
        """Bytes of the archive, None before the first of them arrive."""
        return self._stream.size

    @property
    def etag(self) -> str:
        """The server's entity tag for this state of the archive, empty if it sends none."""
        return self._stream.etag

    @property
    def fully_read(self) -> bool:
        """Whether reading on would bring nothing: it was read to its end, or to damage that cannot be skipped."""
        return self._content is not None and self._content.fully_read

    def members(self) -> Iterator[ArchiveMember]:
        """Yield the clips in their order. A clip may come twice: it is there twice, or reading restarted.

        Clips after damage come, too, if the next header can be found; Damaged is raised after the last of them. Raises
        also what HttpStream raises.
        """
        for restarts_left in reversed(range(MAX_RESTARTS + 1)):
            try:
                yield from self._members_from_start()
                return
            except Changed:
                if not restarts_left:
                    raise
                self._stream = HttpStream(self._session, self.url, self._on_data)

    def _members_from_start(self) -> Iterator[ArchiveMember]:
        with closing(self._stream) as stream:
            self._content = content = _TarContent(stream)
            self.clips_read = []
            while found := _next_member(content):
                header, end = found
                key = clip_key(header.name) if header.isreg() and header.size <= MAX_CLIP_BYTES else None
                if key:
                    yield ArchiveMember(key, header.size, content, content.offset)
                content.skip_to(end)
                if key:
                    self.clips_read.append(key)
                if len(self.clips_read) > MAX_CLIPS:
                    raise content.give_up(f"it holds more than {MAX_CLIPS} clips")
            content.fully_read = True
            if content.skipped_damage:
                raise content.skipped_damage


def clip_key(name: str) -> ClipKey | None:
    """Return the clip that a member's name stands for, None if it is not a clip's name."""
    match = CLIP_NAME.fullmatch(name)
    if match is None or match[2] >= match[3]:
        return None
    return match[1], float(match[2]), float(match[3])


class _TarContent:
    """The decompressed content of an archive, read from front to end. An error is raised again by every later read."""

    def __init__(self, stream: HttpStream) -> None:
        self.offset = 0
        """Decompressed bytes that were read."""
        self.fully_read = False
        self.skipped_damage: Damaged | None = None
        """The first damage that was skipped."""
        self._stream = stream
        self._compressed = stream.peek(len(GZIP_MAGIC)) == GZIP_MAGIC
        buffered = io.BufferedReader(stream, CHUNK_BYTES)
        self._file = gzip.GzipFile(fileobj=buffered) if self._compressed else buffered
        self._bad_headers = 0
        self._error: ClipError | None = None

    def read(self, count: int) -> bytes:
        """Return `count` bytes, fewer at the end."""
        if self._error:
            raise self._error
        try:
            data = self._file.read(count)
        except ClipError as error:
            self._error = error
            raise
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise self.give_up(str(error)) from error
        self.offset += len(data)
        if self.offset > max(MIN_EXPANDED_BYTES, MAX_EXPANSION * self._stream.position):
            raise self.give_up("it decompresses to far more data than clips would")
        return data

    def chunks(self, count: int) -> Iterator[bytes]:
        """Yield the next `count` bytes in chunks. Raises Damaged if there are fewer."""
        while count:
            chunk = self.read(min(CHUNK_BYTES, count))
            if not chunk:
                raise self.give_up("it ends in the middle of a file")
            count -= len(chunk)
            yield chunk

    def end_of(self, size: int) -> int:
        """Return the offset where a member of that size ends. Raises _BadHeader if the archive is too short for it."""
        if not self._compressed and size > (self._stream.size or 0) - self.offset:
            raise _BadHeader(f"a file in it claims to have {size} bytes")
        return self.offset + size

    def skip_to(self, end: int) -> None:
        """Skip the rest of a member that ends at that offset, and the padding of its last block."""
        for _ in self.chunks(end - self.offset):
            pass
        self.read(-end % BLOCK_BYTES)  # some archives end without it

    def give_up(self, cause: str) -> Damaged:
        """Return the error of an archive that cannot be read on; every later read raises it, too.

        It is the first damage, if some was skipped before.
        """
        self.fully_read = True
        self._error = self.skipped_damage or self._damaged(cause)
        return self._error

    def skip_bad_header(self, cause: str) -> None:
        """Note a bad header that is skipped. Raises Damaged if it is the archive's first one, or one too many."""
        self._bad_headers += 1
        if self.offset <= BLOCK_BYTES or self._bad_headers > MAX_BAD_HEADERS:
            raise self.give_up(cause)
        self.skipped_damage = self.skipped_damage or self._damaged(cause)

    def _damaged(self, cause: str) -> Damaged:
        damaged = f"the archive is damaged at byte {self.offset}"
        return Damaged(
            Category.MEDIA_ERROR, f"{damaged if self.offset > BLOCK_BYTES else 'it is not a tar archive'}: {cause}"
        )


def _next_member(content: _TarContent) -> tuple[tarfile.TarInfo, int] | None:
    """Return the header of the next member and the offset where the member ends, None after the last one.

    Where a header is bad, everything up to the next valid one is skipped.
    """
    block = _next_header_block(content)
    while block:
        try:
            header = _read_header(block, content)
            return header, content.end_of(_data_bytes(header))
        except _BadHeader as error:
            content.skip_bad_header(str(error))
            block = _find_ustar_block(content)
    return None


def _next_header_block(content: _TarContent) -> bytes:
    """Return the block of the next header, empty at the end.

    Another archive may follow an archive's end, so it is searched for; other bytes there are ignored.
    """
    block = content.read(BLOCK_BYTES)
    if any(block):
        return block
    with suppress(Damaged):
        return _find_ustar_block(content)
    return b""


def _find_ustar_block(content: _TarContent) -> bytes:
    """Return the next block that looks like a header, empty if there is none within MAX_SKIPPED_BYTES."""
    for _ in range(0, MAX_SKIPPED_BYTES, BLOCK_BYTES):
        block = content.read(BLOCK_BYTES)
        if not block or block.startswith(USTAR_MAGIC, USTAR_OFFSET):
            return block
    return b""


def _read_header(block: bytes, content: _TarContent) -> tarfile.TarInfo:
    """Return the header of a member, with the name and size that its extension headers give it. Raises _BadHeader.

    `block` is the first block of the member or of its extension headers.
    """
    name, size = b"", b""
    for _ in range(MAX_EXTENSION_HEADERS):
        header = _parse_block(block)
        if header.type not in EXTENSION_HEADER_TYPES:
            header.name = name.decode(errors="replace") or header.name
            header.size = int(size or header.size)
            return header
        extension = _read_extension(header, content)
        if header.type == tarfile.GNUTYPE_LONGNAME:
            name = extension
        elif header.type in PAX_TYPES:
            records = dict(_pax_records(extension))
            name, size = records.get(b"path", name), records.get(b"size", size)
        block = content.read(BLOCK_BYTES)
    raise _BadHeader(f"it has {MAX_EXTENSION_HEADERS} extension headers in a row")


def _parse_block(block: bytes) -> tarfile.TarInfo:
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise _BadHeader(str(error)) from error
    if header.size < 0 or header.type == tarfile.GNUTYPE_SPARSE:  # a sparse file has more header blocks
        raise _BadHeader("a file in it has a negative size, or is sparse")
    return header


def _read_extension(header: tarfile.TarInfo, content: _TarContent) -> bytes:
    """Return the content of an extension header, without the zeros that some programs end it with."""
    if header.size > MAX_EXTENSION_BYTES:
        raise _BadHeader(f"an extension header claims to have {header.size} bytes")
    end = content.end_of(header.size)
    extension = b"".join(content.chunks(header.size))
    content.skip_to(end)
    return extension.rstrip(b"\0")


def _pax_records(extension: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a pax header, whose records are `<length> <key>=<value>` and a line feed."""
    start = 0
    while start < len(extension):
        match = _PAX_RECORD.match(extension, start)
        stop = start + int(match[1]) if match else 0
        if match is None or not match.end() < stop <= len(extension):
            raise _BadHeader("a pax header in it is malformed")
        value = extension[match.end() : stop - 1]
        if match[2].startswith(b"GNU.sparse") or (match[2] == b"size" and not _PAX_SIZE.fullmatch(value)):
            raise _BadHeader("a file in it has an invalid size, or is sparse")
        yield match[2], value
        start = stop


def _data_bytes(header: tarfile.TarInfo) -> int:
    """Return the size of the data after a header: a link, a device or a folder has none, whatever size it claims."""
    return header.size if header.isreg() or header.type not in tarfile.SUPPORTED_TYPES else 0
