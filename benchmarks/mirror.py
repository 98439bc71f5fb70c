"""An archive of the mirror: its clips taken out, or skipped, beside the tar program doing the same from a file."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import urllib3

from benchmarks.report import Settings, Table, main, say, spread, verdict
from benchmarks.rig import YouTube, in_worker, run, youtube_apart
from kinetics.archives import MIRROR, Archive
from kinetics.layout import clip_name
from kinetics.mirror import Index, needed
from kinetics.records import Contents
from kinetics.remote import Line, Stream
from tests.youtube.mirror import clip_of
from tests.youtube.videos import Video

CLIPS, QUICK_CLIPS = 1_500, 150
"""Of 10 s, which makes about a gigabyte."""
BYTES_S, MEMORY_MB = 200e6, 100.0
INDEXED, ARCHIVED = 600_000, 1_500
"""Clips and archives of a whole index."""
INDEX_S = 10.0


@dataclass(frozen=True)
class Taken:
    """What it took to go through an archive."""

    wall_s: float
    cpu_s: float
    peak_mb: float = 0.0
    """Where it is known."""


def measure(settings: Settings) -> Iterator[Table]:
    """A table of archives, and one of the index."""
    count, rounds = settings.clips_or(CLIPS, QUICK_CLIPS), settings.rounds_or(3)
    with youtube_apart() as youtube, tempfile.TemporaryDirectory() as scratch:
        youtube.serve({}, latency_s=0, connection_bit_s=None)
        for packed in (False, True):
            archive = Path(scratch, "part.tar.gz" if packed else "part.tar")
            say(f"an archive of {count} clips, {'gzip -6' if packed else 'plain'}")
            _make(archive, count, packed)
            yield _archive(youtube, archive, rounds, Path(scratch, "clips"))
            archive.unlink()
        yield _index(settings, Path(scratch))


def _make(archive: Path, count: int, packed: bool) -> None:
    clips = [clip_of(10), *(Video(duration_s=10, seed=seed, crf=24).progressive.path.read_bytes() for seed in (1, 2))]
    with (
        open(archive, "wb") as file,
        gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6) if packed else file as into,
        tarfile.open(fileobj=into, mode="w|", bufsize=1 << 20) as tar,
    ):
        for number in range(count):
            clip = clips[number % len(clips)]
            member = tarfile.TarInfo(f"./{number:011}_000000_000010.mp4")
            member.size = len(clip)
            tar.addfile(member, _Repeated(clip))


class _Repeated:
    """A file of which tarfile reads all."""

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)

    def read(self, count: int = -1) -> bytes:
        piece, self._content = self._content[:count], self._content[count:]
        return bytes(piece)


def _archive(youtube: YouTube, archive: Path, rounds: int, folder: Path) -> Table:
    size, env = archive.stat().st_size, youtube.env()
    url = youtube.shelve(f"/kinetics/400/train/{archive.name}", archive)
    ways: Mapping[str, Callable[[], Taken]] = {
        "`tar x` from a file": lambda: _tar(archive, folder),
        "ours, all clips, from the loopback": lambda: in_worker(env, _ours, url, None, folder),
        "ours, all skipped, from the loopback": lambda: in_worker(env, _ours, url, None, None),
        "only received from the loopback": lambda: in_worker(env, _received, url),
        "ours, all clips, from a file": lambda: in_worker(env, _ours, url, archive, folder),
        "ours, all skipped, from a file": lambda: in_worker(env, _ours, url, archive, None),
    }
    taken: dict[str, list[Taken]] = {way: [] for way in ways}
    for number in range(rounds):
        for way, take in ways.items():
            say(f"{way}, round {number + 1}")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            taken[way].append(take())
    wanted = min(BYTES_S, size / statistics.median(one.wall_s for one in taken["`tar x` from a file"]))
    return Table(
        f"{archive.name}: {size / 1e6:.0f} MB",
        ["way", "MB/s of archive", "CPU s a GB", "peak MB", "wanted", ""],
        [_line(way, size, of, wanted) for way, of in taken.items()],
        ["Peak of the process, with all that it has imported. Wanted is 200 MB/s, or tar's speed where that is less."],
    )


def _line(way: str, size: int, taken: list[Taken], wanted: float) -> list[str]:
    rate = statistics.median(size / one.wall_s for one in taken)
    peak = max(one.peak_mb for one in taken)
    ours = way.startswith("ours")
    return [
        way,
        spread((size / one.wall_s / 1e6 for one in taken), 0),
        spread(one.cpu_s * 1e9 / size for one in taken),
        f"{peak:.0f}" if peak else "",
        f">= {wanted / 1e6:.0f}, < {MEMORY_MB:.0f}" if ours else "",
        verdict(rate >= wanted and peak < MEMORY_MB) if ours else "",
    ]


def _tar(archive: Path, folder: Path) -> Taken:
    used = run(["tar", "xf", str(archive), "-C", str(folder)], os.environ)
    return Taken(used.wall_s, used.cpu_s)


def _ours(url: str, archive: Path | None, folder: Path | None) -> Taken:
    line = _FromFile(archive) if archive else Line(hosts=MIRROR)

    def take() -> None:
        with Archive(line, url) as whole:
            for member in whole.members():
                if folder:
                    member.copy_to(folder / clip_name(*member.key))

    return _timed(take)


def _received(url: str) -> Taken:
    def take() -> None:
        with closing(Stream(Line(hosts=MIRROR), url)) as stream:
            buffer = bytearray(1 << 18)
            while stream.readinto(buffer):
                pass

    return _timed(take)


def _timed(take: Callable[[], None]) -> Taken:
    began, before_s = time.monotonic(), time.process_time()
    take()
    wall_s, cpu_s = time.monotonic() - began, time.process_time() - before_s
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return Taken(wall_s, cpu_s, int(peak[1]) / 1024 if peak else 0.0)


class _FromFile(Line):
    """Answers with a file instead of the mirror."""

    def __init__(self, archive: Path) -> None:
        super().__init__(hosts=MIRROR)
        self._archive = archive

    def get(self, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        size = self._archive.stat().st_size
        said = {"Content-Range": f"bytes 0-{size - 1}/{size}"}
        return urllib3.HTTPResponse(open(self._archive, "rb"), said, 206, preload_content=False)


def _index(settings: Settings, scratch: Path) -> Table:
    share = INDEXED // ARCHIVED
    index, urls = Index(scratch / "index"), [f"{part}" for part in range(ARCHIVED)]
    names = [clip_name(f"{number:011}", number % 300, number % 300 + 10) for number in range(INDEXED)]
    began = time.monotonic()
    for number, url in enumerate(urls):
        held = frozenset(names[number * share : (number + 1) * share])
        index.keep(url, Contents(1 << 30, '"etag"', held, exhausted=True))
    written_s = time.monotonic() - began
    took = []
    for _ in range(settings.rounds_or(3)):
        began = time.monotonic()
        found = needed(urls, index.find, names[::1000])
        took.append(time.monotonic() - began)
        assert sum(len(one.names) for one in found) == INDEXED // 1000
    size = sum(path.stat().st_size for path in (scratch / "index").iterdir())
    return Table(
        f"The index of {INDEXED:,} clips in {ARCHIVED:,} archives",
        ["MB", "written, s", "what is needed, s", "wanted", ""],
        [
            [
                f"{size / 1e6:.1f}",
                f"{written_s:.1f}",
                spread(took),
                f"<= {INDEX_S:g}",
                verdict(statistics.median(took) <= INDEX_S),
            ]
        ],
        ["For 600 clips that are missing; each archive's part is read, and none of it kept."],
    )


if __name__ == "__main__":
    main(["mirror"])
