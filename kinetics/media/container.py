"""Opens and writes media with PyAV: hostile files are read with few formats, few codecs and one thread.

FFmpeg's errors end here: what is wrong with media becomes MayWorkLater, a fault of the machine an OSError.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import av
from av.container import InputContainer, OutputContainer
from av.frame import Frame
from av.packet import Packet
from av.stream import Stream

from kinetics.errors import ClipError, MayWorkLater
from kinetics.net.range_file import MediaFile, Seekable
from kinetics.os_errors import Blame, blame_for
from kinetics.records import Category

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

ContainerFormat = Literal["mp4", "webm"]
StreamT = TypeVar("StreamT", bound=Stream)
DECODERS = (
    *("h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg4", "aac", "opus", "libopus", "vorbis"),
    *("mp3", "mp3float", "ac3", "eac3"),
)
"""FFmpeg's decoders for what YouTube serves or may serve. Other codecs are refused: FFmpeg has 500 more, and a hostile
header would choose which one runs."""
CODEC_OPTIONS = {"codec_whitelist": ",".join(DECODERS)}
"""Options of `av.open`, which decodes the first frames itself."""


class RemoteView(Seekable):
    """A remote file as the demuxer sees it: `prefix`, then the file's bytes from `start` to `stop`.

    A failed read looks like the end of the file to the demuxer, since FFmpeg cannot carry our errors; `error` keeps the
    first one. While `cached_only` is set, what would need a request looks like the end of the file, too.
    """

    def __init__(self, file: MediaFile, prefix: bytes = b"", start: int = 0, stop: int | None = None) -> None:
        super().__init__()
        self.error: ClipError | None = None
        self.cached_only = False
        self._file = file
        self._prefix = prefix
        self._start = start
        self._stop = stop

    def readinto(self, buffer: WriteableBuffer) -> int:
        if self.error:
            return 0
        view = memoryview(buffer).cast("B")
        if self._position < len(self._prefix):
            piece = self._prefix[self._position : self._position + len(view)]
            view[: len(piece)] = piece
            self._position += len(piece)
            return len(piece)
        offset = self._start + self._position - len(self._prefix)
        if self._stop is not None:
            view = view[: max(0, self._stop - offset)]
        if self.cached_only and not self._file.is_cached(offset):
            return 0
        try:
            self._file.seek(offset)
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
        return len(self._prefix) + stop - self._start


@contextmanager
def view_errors(view: RemoteView) -> Iterator[RemoteView]:
    """Raise the error that stopped the view from reading, rather than the one that FFmpeg made of it."""
    try:
        with ffmpeg_read_errors():
            yield view
    except ClipError as error:
        raise view.error or error from None
    if view.error:
        raise view.error


@contextmanager
def ffmpeg_read_errors() -> Iterator[None]:
    """Raise MayWorkLater for FFmpeg's and PyAV's errors about media that is read."""
    try:
        yield
    except av.error.FFmpegError as error:
        raise MayWorkLater(Category.MEDIA_ERROR, f"the media cannot be read: {error.strerror}") from error
    except (
        ValueError,
        ArithmeticError,
        LookupError,
        struct.error,
    ) as error:  # PyAV's and ours, because of what a header claims
        raise MayWorkLater(Category.MEDIA_ERROR, f"the media makes no sense: {error}") from error


@contextmanager
def open_file(path: Path, **options: Any) -> Iterator[InputContainer]:
    """Open an mp4 on this machine's disk.

    Raises MayWorkLater if the media is at fault, and if it is not, OSError with the path as its `filename`, or
    MemoryError.
    """
    with ffmpeg_read_errors():
        try:
            with av.open(str(path), "r", format="mov", **options) as container:
                yield container
        except av.error.FFmpegError as error:
            if error.errno == errno.ENOMEM:
                raise MemoryError(error.strerror) from error
            if blame_for(error.errno) is not Blame.MEDIA:
                raise OSError(error.errno, error.strerror, str(path)) from error
            raise


@contextmanager
def ffmpeg_write_errors() -> Iterator[None]:
    """Raise OSError for what is not the media's fault, MayWorkLater if FFmpeg refuses to write this media."""
    try:
        yield
    except av.error.FFmpegError as error:
        if blame_for(error.errno) is not Blame.MEDIA:
            raise OSError(error.errno, error.strerror) from error
        raise MayWorkLater(Category.MEDIA_ERROR, f"the media does not fit into its file: {error.strerror}") from error


@contextmanager
def demuxer(view: RemoteView, kind: ContainerFormat, *, cached_only_probe: bool = False) -> Iterator[InputContainer]:
    """Open hostile data: one format, few codecs, one thread, and no address inside it is followed.

    `cached_only_probe`: FFmpeg reads the first frames when it opens a file, though an mp4's header says everything.
    With this, it reads of them only what is cached, so that opening costs no request.
    """
    file_format = "mov" if kind == "mp4" else "matroska"
    options = {"format_whitelist": "mov" if file_format == "mov" else "matroska,webm", "protocol_whitelist": "none"}
    view.cached_only = cached_only_probe and file_format == "mov"
    with av.open(view, "r", format=file_format, options=options | CODEC_OPTIONS, buffer_size=1 << 14) as container:
        view.cached_only = False
        _restrict_decoders(*container.streams.video, *container.streams.audio)
        yield container


def _restrict_decoders(*streams: Stream) -> None:
    for stream in streams:
        # unlike PyAV's types say, there is no context if FFmpeg knows no decoder
        if stream.codec_context is None or stream.codec_context.codec.name not in DECODERS:
            raise MayWorkLater(Category.MEDIA_ERROR, f"the {stream.type} has an unknown codec")
        stream.codec_context.thread_count = 1


@contextmanager
def muxer(path: Path, file_format: str = "mp4") -> Iterator[OutputContainer]:
    """Open a new file; an mp4 gets its header in front of the media. Raises as `ffmpeg_write_errors` does."""
    with ffmpeg_write_errors():
        options = {"movflags": "+faststart"} if file_format == "mp4" else {}
        container = av.open(str(path), "w", format=file_format, options=options)
    try:
        yield container
    except BaseException:
        with suppress(av.error.FFmpegError):
            container.close()
        raise
    with ffmpeg_write_errors():
        container.close()


def add_copy(target: OutputContainer, stream: StreamT) -> StreamT:
    """Add a stream to a new file for packets that are copied from another one.

    The copy is set up as a decoder is: FFmpeg has no encoder for some codecs, and none is needed.
    """
    return target.add_stream_from_template(stream, opaque=True)


def mux(target: OutputContainer, packets: Iterable[Packet[Any]]) -> None:
    """Write packets, each to its stream. Raises as `ffmpeg_write_errors` does."""
    for packet in packets:
        with ffmpeg_write_errors():
            target.mux(packet)


def demux(container: InputContainer, *streams: Stream) -> Generator[Packet[Any], None, None]:
    """Yield the packets of some streams. PyAV's own iterator leaks if dropped before its end; this one is closed."""
    yield from container.demux(*streams)


def frames_of(container: InputContainer, *streams: Stream) -> Iterator[Frame]:
    """Yield the decoded frames of some streams of a clip.

    Raises MayWorkLater at damage, which FFmpeg would conceal, and for a codec that is not in DECODERS.
    """
    _restrict_decoders(*streams)
    with closing(demux(container, *streams)) as packets:
        for packet in packets:
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise MayWorkLater(Category.MEDIA_ERROR, f"its {packet.stream.type} is damaged")
                yield frame
