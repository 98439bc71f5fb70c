"""The samples of WebDataset shards: a clip with its class and its metadata, in a tar archive.

An archive is written by appending samples, and read by its headers alone. It holds nothing of the machine or the time,
so that equal samples are equal bytes.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from kinetics.humanize import safe_cell, seconds_text
from kinetics.records import NO_CLASS, SPLIT_OF, Clip, StableFacts
from kinetics.storage.layout import clip_name

SHARD_LIMIT = 10**9
"""Maximum size of a shard, in bytes; only a single clip that is larger exceeds it."""
SAMPLE_OVERHEAD = 1 << 14
"""Upper bound, in bytes, for what a sample takes besides the clip: metadata, and the headers of three members."""
MAX_JSON = 1 << 20
"""Bytes of a sample's metadata; one that has more is not a sample of ours."""
MAX_SECONDS = 1e7
"""A clip's times are below this; it is beyond the longest video, and within what a clip's name can say."""


@dataclass(frozen=True, slots=True)
class PackedSample:
    """A sample in a shard: a clip, and where its file is in there."""

    clip: Clip
    class_number: int
    """NO_CLASS where it has none."""
    offset: int
    size: int

    @property
    def end(self) -> int:
        """Where the next member of the archive begins."""
        return self.offset + int(in_blocks(self.size))

    def row(self, shard: str, mtime_ns: str = "") -> list[object]:
        """Return the sample's row of the index."""
        clip = self.clip
        times = seconds_text(clip.time_start), seconds_text(clip.time_end)
        about = safe_cell(clip.label), self.class_number, self.size, mtime_ns, self.offset, ""
        return [shard, sample_key(clip), clip.youtube_id, *times, *about]


def sample_key(clip: Clip) -> str:
    """Return the name of a clip's sample: WebDataset ends it at the first dot."""
    return clip_name(*clip.key, suffix="").replace(".", "_")


def sample_metadata(clip: Clip, class_number: int, video: StableFacts | None = None) -> dict[str, bytes]:
    """Return the members of a sample besides the clip, by their extension; the json has what is known of the video."""
    known = {} if class_number == NO_CLASS else {"cls": str(class_number).encode()}
    about = {
        "youtube_id": clip.youtube_id,
        "time_start": clip.time_start,
        "time_end": clip.time_end,
        "label": clip.label,
        "split": clip.split,
        **({name: text for name, text in video._asdict().items() if text} if video else {}),
    }
    return {**known, "json": json.dumps(about).encode()}


def open_tar(file: IO[bytes]) -> tarfile.TarFile:
    """Return the archive to which samples are added from where the file stands; it has the plainest format of all."""
    return tarfile.TarFile(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)


def add_sample(
    tar: tarfile.TarFile, clip: Clip, path: Path, class_number: int, video: StableFacts | None = None
) -> PackedSample:
    """Append a clip's file, after its class and its metadata. Raises OSError if it cannot be read or written."""
    with open(path, "rb") as file:
        for extension, content in sample_metadata(clip, class_number, video).items():
            member = _member(f"{sample_key(clip)}.{extension}", len(content))
            tar.addfile(member, io.BytesIO(content))
        size = os.fstat(file.fileno()).st_size
        tar.addfile(_member(f"{sample_key(clip)}.mp4", size), file)
    return PackedSample(clip, class_number, tar.offset - in_blocks(size), size)


def tar_size(end: int) -> int:
    """Return the size of an archive whose last member ends there."""
    return -(-(end + 2 * tarfile.BLOCKSIZE) // tarfile.RECORDSIZE) * tarfile.RECORDSIZE


def read_samples(file: IO[bytes]) -> Iterator[PackedSample]:
    """Yield the samples of an archive that are whole, as far as it can be read; of other members nothing is said."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    key, about, number = "", dict[str, Any](), NO_CLASS
    with suppress(tarfile.TarError, OSError, ValueError), tarfile.open(fileobj=file, mode="r:") as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined] # which would keep every member of it
            name, _, extension = member.name.partition(".")
            if name != key:
                key, about, number = name, {}, NO_CLASS
            if not member.isreg() or member.offset_data + member.size > size:
                continue
            content = _content(tar, member) if extension in ("json", "cls") else b""
            if extension == "json":
                about = _fields(content)
            elif extension == "cls" and content.isdigit():
                number = int(content)
            elif extension == "mp4" and (clip := _clip(about)) and sample_key(clip) == key:
                yield PackedSample(clip, number, member.offset_data, member.size)


def in_blocks(size: Any) -> Any:
    """Return a size, or a column of sizes, rounded up to whole blocks of an archive."""
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _member(name: str, size: int) -> tarfile.TarInfo:
    """Return the header of a member; it says nothing of the machine or the time, so that equal samples are equal."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o444
    return member


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member) if member.size <= MAX_JSON else None
    return file.read() if file else b""


def _fields(content: bytes) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        found = json.loads(content)
        return found if isinstance(found, dict) else {}
    return {}


def _clip(about: Mapping[str, Any]) -> Clip | None:
    """Return the clip that a sample's metadata describe; None if they make no sense."""
    youtube_id, label, split = (about.get(name) for name in ("youtube_id", "label", "split"))
    times = about.get("time_start"), about.get("time_end")
    if not (isinstance(youtube_id, str) and isinstance(label, str) and split in SPLIT_OF.values()):
        return None
    if not all(isinstance(time, int | float) and 0 <= time < MAX_SECONDS for time in times):
        return None
    return Clip(youtube_id, float(times[0]), float(times[1]), label, split)  # type: ignore[arg-type]
