"""Opening and writing media with PyAV: hostile files are read with few formats, codecs and threads.

FFmpeg's errors end here: what was read badly is the media's fault, what could not be written is the disk's.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import av
from av.container import InputContainer, OutputContainer
from av.frame import Frame
from av.packet import Packet
from av.stream import Stream

from kinetics.errors import ClipError, MayWorkLater
from kinetics.net.range_file import RangeFile, Seekable
from kinetics.records import Category

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

ContainerFormat = Literal["mp4", "webm"]
DECODERS = (
    *("h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg4", "aac", "opus", "libopus", "vorbis"),
    *("mp3", "mp3float", "ac3", "eac3"),
)
"""For what YouTube may come to serve. FFmpeg has 500 more, and it is the header that picks the one to run."""
FEW_CODECS = {"codec_whitelist": ",".join(DECODERS)}
"""As an option of `av.open`, which looks at the first frames."""
_WRITE_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO, errno.ENOENT}


class View(Seekable):
    """What the demuxer sees of a remote file: `head`, then the file's bytes from `start` to `stop`.

    A failed read looks like the end of the file to it, since FFmpeg cannot carry our errors; `error` keeps the first.
    """

    def __init__(self, file: RangeFile, head: bytes = b"", start: int = 0, stop: int | None = None) -> None:
        super().__init__()
        self.error: ClipError | None = None
        self.cached_only = False
        self._file = file
        self._head = head
        self._start = start
        self._stop = stop

    def readinto(self, buffer: WriteableBuffer) -> int:
        if self.error:
            return 0
        view = memoryview(buffer).cast("B")
        if self._position < len(self._head):
            piece = self._head[self._position : self._position + len(view)]
            view[: len(piece)] = piece
            self._position += len(piece)
            return len(piece)
        place = self._start + self._position - len(self._head)
        if self._stop is not None:
            view = view[: max(0, self._stop - place)]
        if self.cached_only and not self._file.is_cached(place):
            return 0
        try:
            self._file.seek(place)
            count = self._file.readinto(view)
        except ClipError as error:
            self.error = error
            return 0
        self._position += count
        return count

    @property
    def size(self) -> int:
        try:
            stop = self._file.size if self._stop is None else self._stop
        except ClipError as error:
            self.error = self.error or error
            stop = self._start
        return len(self._head) + stop - self._start


@contextmanager
def guarded(view: View) -> Iterator[View]:
    """Raise what stopped the view from reading, rather than what the demuxer made of it."""
    try:
        with translated():
            yield view
    except ClipError as error:
        raise view.error or error from None
    if view.error:
        raise view.error


@contextmanager
def translated() -> Iterator[None]:
    """FFmpeg's errors end here, about what was read; about what is written, in `written`."""
    try:
        yield
    except av.error.FFmpegError as error:
        raise MayWorkLater(Category.MEDIA_ERROR, f"the media cannot be read: {error.strerror}") from error
    except (ValueError, ArithmeticError, LookupError, struct.error) as error:  # PyAV's and ours, over a header's claims
        raise MayWorkLater(Category.MEDIA_ERROR, f"the media makes no sense: {error}") from error


@contextmanager
def written() -> Iterator[None]:
    """A full disk stays an OSError; that FFmpeg does not want to write something is the media's fault."""
    try:
        yield
    except av.error.FFmpegError as error:
        if error.errno in _WRITE_FAULTS:
            raise OSError(error.errno, error.strerror) from error
        raise MayWorkLater(Category.MEDIA_ERROR, f"the media does not fit into its file: {error.strerror}") from error


@contextmanager
def demuxer(view: View, kind: ContainerFormat, *, frugal: bool = False) -> Iterator[InputContainer]:
    """Open hostile data: one format, few codecs, no address inside it followed, one thread.

    `frugal`: FFmpeg looks at the first frames when it opens a file, though an mp4's header says all; where they are not
    at hand, that look finds nothing.
    """
    form = "mov" if kind == "mp4" else "matroska"
    options = {"format_whitelist": "mov" if form == "mov" else "matroska,webm", "protocol_whitelist": "none"}
    view.cached_only = frugal and form == "mov"
    with av.open(view, "r", format=form, options=options | FEW_CODECS, buffer_size=1 << 14) as container:
        view.cached_only = False
        _limit(*container.streams.video, *container.streams.audio)
        yield container


def _limit(*streams: Stream) -> None:
    for stream in streams:
        # whatever PyAV's types say, there is no context where FFmpeg knows no decoder
        if stream.codec_context is None or stream.codec_context.codec.name not in DECODERS:
            raise MayWorkLater(Category.MEDIA_ERROR, f"the {stream.type} is of an unknown kind")
        stream.codec_context.thread_count = 1


@contextmanager
def muxer(path: Path, form: str = "mp4") -> Iterator[OutputContainer]:
    """Open a new file, an mp4's header in front. Raises OSError where it cannot be written, else MayWorkLater."""
    with written():
        container = av.open(str(path), "w", format=form, options={"movflags": "+faststart"} if form == "mp4" else {})
    try:
        yield container
    except BaseException:
        with suppress(av.error.FFmpegError):
            container.close()
        raise
    with written():
        container.close()


def mux(target: OutputContainer, packets: Iterable[Packet[Any]]) -> None:
    """Write packets, each to the stream that it is addressed to."""
    for packet in packets:
        with written():
            target.mux(packet)


def demuxed(container: InputContainer, *streams: Stream) -> Generator[Packet[Any], None, None]:
    """The packets of some streams. PyAV's own iterator leaks if it is dropped before its end; this way it is closed."""
    yield from container.demux(*streams)


def frames_of(container: InputContainer, *streams: Stream) -> Iterator[Frame]:
    """The frames of some streams of a file of ours, or of what is to become one.

    Raises MayWorkLater at damage, which else would be painted over, and where there is no decoder that is let run.
    """
    _limit(*streams)
    with closing(demuxed(container, *streams)) as packets:
        for packet in packets:
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise MayWorkLater(Category.MEDIA_ERROR, f"its {packet.stream.type} is damaged")
                yield frame
