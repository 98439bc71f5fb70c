"""s3.amazonaws.com: the CVDF mirror, with archives of clips in all the shapes that its real ones have."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from mmap import mmap
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

from tests.youtube.archive import LIST, as_cvdf_csv, serve_list
from tests.youtube.media import RANGE, Span, answer
from tests.youtube.spoils import noise_for_samples
from tests.youtube.videos import Video
from tests.youtube.world import MediaFault, Row, Subset, World

if TYPE_CHECKING:
    from tests.youtube.visit import Visit

BASE = "https://s3.amazonaws.com"
FOLDERS = {"400": "400", "600": "600", "700": "700_2020", "700-2020": "700_2020"}
SPLITS: Mapping[Subset, str] = {"train": "train", "validate": "val", "test": "test"}
REPLACEMENTS = "/kinetics/400/replacement_for_corrupted_k400.tgz"
CHUNK = 1 << 12
"""Packed bytes that are unpacked at once: what is damaged costs no more of what is not."""

Shape = Literal["flat", "class", "home"]
"""`./<clip>`; `<class>/<clip>` beside macOS's `<class>/._<clip>`; somebody's `home/<user>/.../<clip>`."""


@dataclass(frozen=True)
class MirrorFile:
    """A file as S3 serves it; `then` takes its place as soon as a fault has struck.

    `coding` is what whoever put it there said of it, which S3 repeats to everybody. Other servers do not say a tag.
    """

    content: bytes | mmap
    mime_type: str = "application/x-tar"
    coding: str = ""
    tagged: bool = True
    faults: tuple[MediaFault, ...] = ()
    then: MirrorFile | None = None

    @property
    def size(self) -> int:
        return len(self.content)

    @cached_property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.content).hexdigest()}"'

    @property
    def headers(self) -> Mapping[str, str]:
        said = {"ETag": self.etag if self.tagged else "", "Content-Encoding": self.coding}
        return {name: value for name, value in said.items() if value}

    def read(self, first: int, last: int) -> memoryview:
        """The bytes first..last."""
        return memoryview(self.content)[first : last + 1]


@dataclass(frozen=True)
class Crate:
    """An archive to be made, with a clip for each row.

    The ids in `corrupt` have clips that do not play, those in `short` clips that end halfway. From its byte
    `damaged_at` on the archive is noise.
    """

    name: str
    rows: Sequence[Row]
    shape: Shape = "flat"
    packed: bool = True
    corrupt: frozenset[str] = frozenset()
    short: frozenset[str] = frozenset()
    damaged_at: int | None = None
    faults: tuple[MediaFault, ...] = ()

    @cached_property
    def content(self) -> bytes:
        data = tarball(self._members(), packed=self.packed)
        if self.damaged_at is None:
            return data
        return data[: self.damaged_at] + random.Random(7).randbytes(len(data) - self.damaged_at)

    def _members(self) -> Iterator[tuple[str, bytes]]:
        for row in self.rows:
            name = f"{row.youtube_id}_{row.time_start:06d}_{row.time_end:06d}.mp4"
            folder = {"flat": ".", "class": row.label, "home": f"home/kinetics/data/{row.label}/trimmed"}[self.shape]
            if self.shape == "class":
                yield f"{folder}/._{name}", b"\0\5\x16\7\0\2\0\0Mac OS X".ljust(163, b"\0")
            duration_s = row.time_end - row.time_start
            clip = clip_of(duration_s // 2 if row.youtube_id in self.short else duration_s)
            yield f"{folder}/{name}", noise_for_samples(clip) if row.youtube_id in self.corrupt else clip


def serve_mirror(visit: Visit, path: str) -> None:
    """Answer one request for a path of s3.amazonaws.com."""
    path = unquote(path)
    file, is_list = visit.world.mirror.get(path), LIST.fullmatch(path) is not None
    visit.note(kind="list" if is_list else "mirror")
    if is_list and file is None:
        serve_list(visit, path)
        return
    if file is None:
        visit.reply(404, b"<Error><Code>NoSuchKey</Code></Error>", "application/xml")
        return
    if visit.headers.get("If-Match", file.etag) != file.etag:
        visit.reply(412, b"<Error><Code>PreconditionFailed</Code></Error>", "application/xml")
        return
    asked = RANGE.fullmatch(visit.headers.get("Range", ""))
    if visit.headers.get("If-Range", file.etag) != file.etag:
        asked = None
    first, last = (int(asked[1]), int(asked[2] or file.size)) if asked else (0, file.size)
    span = Span(file, first, min(last, file.size - 1))
    if asked:
        visit.note(range=(first, int(asked[2]) if asked[2] else None))
    if first >= file.size and asked:
        body = b"<Error><Code>InvalidRange</Code></Error>"
        visit.begin(416, "application/xml", len(body), {"Content-Range": f"bytes */{file.size}"})
        visit.send(body)
        return
    read = visit.command == "GET"
    fault = visit.world.mirror_fault(path, first, span.last if read else -1)
    if fault and file.then:
        visit.world.mirror[path] = file.then
    answer(visit, span, fault, partial=asked is not None)


def stock(world: World, version: str, subset: Subset, crates: Iterable[Crate]) -> list[str]:
    """Put archives on the mirror, with their list and the annotations beside it; returns their addresses."""
    crates, folder = list(crates), FOLDERS[version]
    paths = [f"/kinetics/{folder}/{SPLITS[subset]}/{crate.name}" for crate in crates]
    for path, crate in zip(paths, crates, strict=True):
        world.mirror[path] = MirrorFile(crate.content, faults=crate.faults)
    urls = [f"{BASE}{path}" for path in paths]
    listed = f"/kinetics/{folder}/{SPLITS[subset]}/k{folder}_{SPLITS[subset]}_path.txt"
    world.mirror[listed] = MirrorFile("".join(f"{url}\n" for url in urls).encode(), "text/plain")
    annotations = f"/kinetics/{folder}/annotations/{SPLITS[subset]}.csv"
    rows = (row for crate in crates for row in crate.rows)
    world.mirror[annotations] = MirrorFile(as_cvdf_csv(rows, SPLITS[subset]).encode(), "text/csv")
    return urls


def crates_of(rows: Sequence[Row], count: int = 4, bad_share: float = 0.05, *, damaged: bool = True) -> list[Crate]:
    """Archives with a clip for each row, in turns of each shape; the second one is plain, the last one damaged.

    Of the ids, `bad_share` have corrupt clips and as many short ones, always the same ones.
    """
    ids = sorted({row.youtube_id for row in rows})
    bad = random.Random(7).sample(ids, 2 * max(1, round(bad_share * len(ids))))
    corrupt, short = frozenset(bad[::2]), frozenset(bad[1::2])
    shapes: tuple[Shape, ...] = ("flat", "home", "class")
    crates = [
        Crate(f"part_{part}.tar.gz", rows[part::count], shapes[part % 3], part != 1, corrupt, short)
        for part in range(count)
    ]
    if damaged:
        crates[-1] = replace(crates[-1], damaged_at=len(crates[-1].content) * 2 // 3)
    return crates


def stock_all(world: World) -> None:
    """Put up archives of everything that is annotated; the same rows share theirs, whichever versions they are in.

    Kinetics-400's replacements have every other of its corrupt clips.
    """
    crates_for, corrupt = cache(partial(crates_of, damaged=False)), list[Row]()
    for version, subsets in world.annotations.items():
        for subset, rows in subsets.items():
            crates = crates_for(tuple(rows))
            stock(world, version, subset, crates)
            corrupt += [row for row in rows if version == "400" and row.youtube_id in crates[0].corrupt]
    replace_corrupt(world, corrupt[::2])


def replace_corrupt(world: World, rows: Sequence[Row]) -> str:
    """Put up the archive that has Kinetics-400's corrupt clips anew; returns its address."""
    world.mirror[REPLACEMENTS] = MirrorFile(Crate("", rows).content)
    return f"{BASE}{REPLACEMENTS}"


def clips_in(content: bytes | mmap) -> dict[str, bytes]:
    """The clips of an archive, by the names of their files, as far as it can be read."""
    plain, unpacker = bytearray(), zlib.decompressobj(wbits=31)
    if content[:2] != b"\x1f\x8b":
        plain += content
    else:
        with suppress(zlib.error):
            for start in range(0, len(content), CHUNK):
                plain += unpacker.decompress(content[start : start + CHUNK])
    clips = dict[str, bytes]()
    with suppress(tarfile.ReadError), tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as tar:
        for member in tar:
            name = PurePosixPath(member.name).name
            if name.endswith(".mp4") and not name.startswith("._"):
                clips[name] = bytes(plain[member.offset_data : member.offset_data + member.size])
    return clips


def length_of(name: str) -> int:
    """The seconds of a clip, by its file's name."""
    _, start, end = name.removesuffix(".mp4").rsplit("_", 2)
    return int(end) - int(start)


def tarball(members: Iterable[tuple[str, bytes]], *, packed: bool = False) -> bytes:
    """A tar archive of files, packed by gzip if wanted."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(whole.getvalue(), 1, mtime=0) if packed else whole.getvalue()


@cache
def clip_of(duration_s: int) -> bytes:
    """A clip of some seconds, its frames numbered from 0 on."""
    return Video(duration_s=duration_s).progressive.path.read_bytes()
