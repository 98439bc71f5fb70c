"""Reading an archive of the mirror: clips extracted, checked or skipped, compared with the tar program on a file."""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import urllib3

from benchmarks.harness import YouTube, in_worker, run, youtube_process
from benchmarks.report import Settings, Table, log, main, spread, verdict
from kinetics.media import check
from kinetics.mirror.catalog import ArchiveIndex, archives_to_read
from kinetics.mirror.tar_stream import MIRROR, Archive
from kinetics.net.http import HttpSession
from kinetics.net.stream import HttpStream
from kinetics.records import ArchiveListing
from kinetics.storage.layout import clip_name
from tests.youtube.mirror import clip_of
from tests.youtube.picture import draw

CLIPS, QUICK_CLIPS = 300, 30
SIZES_MB = (0.4, 1.0, 2.0)
"""Sizes of the clips, in turn."""
CONCURRENCY = (1, 2)
"""Archives read at the same time, each in a process of its own."""
BYTES_S, MEMORY_MB = 200e6, 100.0
"""Accepted: bytes of archives a second, and the peak memory of a process."""
INDEXED, ARCHIVED = 600_000, 1_500
"""Clips and archives of a complete index."""
INDEX_S = 10.0
"""Accepted: seconds to find the archives of missing clips."""


@dataclass(frozen=True)
class Taken:
    """The time and memory that it took to read an archive."""

    wall_s: float
    cpu_s: float
    peak_mb: float = 0.0
    """0 if it is not known."""


def measure(settings: Settings) -> Iterator[Table]:
    """Yield a table of checks, one for each kind of archive, and one of the index."""
    count, rounds = settings.clips_or(CLIPS, QUICK_CLIPS), settings.rounds_or(3)
    log(f"clips of {', '.join(f'{size:g}' for size in SIZES_MB)} MB")
    clips = [_clip(size) for size in SIZES_MB]
    with youtube_process() as youtube, tempfile.TemporaryDirectory() as scratch:
        yield _checks(clips, rounds, Path(scratch))
        youtube.serve({}, latency_s=0, connection_bit_s=None)
        for packed in (False, True):
            archive = Path(scratch, "part.tar.gz" if packed else "part.tar")
            log(f"an archive of {count} clips, {'gzip -6' if packed else 'plain'}")
            _make(archive, clips, count, packed)
            yield _archive(youtube, archive, rounds, Path(scratch, "clips"))
            archive.unlink()
        yield _index(settings, Path(scratch))


def _clip(size_mb: float) -> bytes:
    """Return a clip of 10 s like those of the mirror: 340x256, encoded by x264 with its defaults, and AAC."""
    into, noise = io.BytesIO(), np.random.default_rng(7)
    with av.open(io.BytesIO(clip_of(10)), "r") as given, av.open(into, "w", format="mp4") as out:
        picture = out.add_stream("libx264", rate=30, options={"preset": "medium"})
        assert isinstance(picture, av.VideoStream)
        picture.width, picture.height, picture.pix_fmt = 340, 256, "yuv420p"
        (sound_in,) = given.streams.audio
        sound = out.add_stream_from_template(sound_in)
        picture.codec_context.bit_rate = int(size_mb * 8e5) - (sound_in.codec_context.bit_rate or 128_000)
        for index in range(300):
            luma = draw(index, 340, 256) + noise.normal(0, 3, (256, 340))
            colours = np.full((128, 340), 128)
            whole = np.concatenate([luma, colours]).clip(0, 255).astype(np.uint8)
            out.mux(picture.encode(av.VideoFrame.from_ndarray(whole, format="yuv420p")))
        out.mux(picture.encode(None))
        for packet in given.demux(sound_in):
            if packet.dts is not None:
                packet.stream = sound
                out.mux(packet)
    return into.getvalue()


def _checks(clips: Sequence[bytes], rounds: int, folder: Path) -> Table:
    rows = []
    for clip in clips:
        path, took = folder / "clip.mp4", []
        path.write_bytes(clip)
        for _ in range(5 * rounds):
            before_s = time.process_time()
            check.decode_fully(path)
            took.append((time.process_time() - before_s) * 1e3)
        megabytes = len(clip) / 1e6
        rows.append([f"{megabytes:.2f}", spread(took, 0), f"{statistics.median(took) / megabytes:.0f}"])
    return Table("Checking a clip by decoding it", ["MB", "CPU ms", "CPU ms a MB"], rows)


def _make(archive: Path, clips: Sequence[bytes], count: int, packed: bool) -> None:
    with (
        open(archive, "wb") as file,
        gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6) if packed else file as into,
        tarfile.open(fileobj=into, mode="w|", bufsize=1 << 20) as tar,
    ):
        for number in range(count):
            clip = clips[number % len(clips)]
            member = tarfile.TarInfo(f"./{number:011}_000000_000010.mp4")
            member.size = len(clip)
            tar.addfile(member, io.BytesIO(clip))


def _archive(youtube: YouTube, archive: Path, rounds: int, folder: Path) -> Table:
    size, env = archive.stat().st_size, youtube.env()
    url = youtube.add_to_mirror(f"/kinetics/400/train/{archive.name}", archive)
    tar = "`tar x` from a file"
    ways: Mapping[str, Callable[[Path], Taken]] = {
        tar: lambda into: _tar(archive, into),
        "ours, all clips, from a file": lambda into: in_worker(env, _ours, url, archive, into),
        "ours, each clip checked, from a file": lambda into: in_worker(env, _ours, url, archive, into, checked=True),
        "ours, all skipped, from a file": lambda _: in_worker(env, _ours, url, archive, None),
        "only received from the loopback": lambda _: in_worker(env, _received, url),
        "ours, all clips, from the loopback": lambda into: in_worker(env, _ours, url, None, into),
        "ours, all skipped, from the loopback": lambda _: in_worker(env, _ours, url, None, None),
    }
    taken: dict[tuple[str, int], list[Taken]] = {(way, count): [] for count in CONCURRENCY for way in ways}
    for number in range(rounds):
        for (way, count), so_far in taken.items():
            log(f"{way}, {count} at once, round {number + 1}")
            so_far.append(_in_parallel(count, ways[way], folder))
    rows = []
    for (way, count), of in taken.items():
        fastest = count * size / statistics.median(one.wall_s for one in taken[tar, count])
        rows.append(_row(way, count, size, of, min(BYTES_S, fastest)))
    return Table(
        f"{archive.name}: {size / 1e6:.0f} MB",
        ["way", "at once", "MB/s of archives", "CPU s a GB", "peak MB", "wanted", ""],
        rows,
        [
            "The peak of a process includes its imports. Wanted is 200 MB/s of extracting clips, or tar's speed if "
            "that is less; a check decodes every frame, which tar does not do."
        ],
    )


def _in_parallel(count: int, take: Callable[[Path], Taken], folder: Path) -> Taken:
    """Read an archive in each of `count` processes at the same time; the time is that of the slowest one."""
    folders = [folder / f"{number}" for number in range(count)]
    for into in folders:
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir(parents=True)
    with ThreadPoolExecutor(count) as waiting:
        taken = list(waiting.map(take, folders))
    return Taken(max(one.wall_s for one in taken), sum(one.cpu_s for one in taken), max(one.peak_mb for one in taken))


def _row(way: str, count: int, size: int, taken: list[Taken], wanted: float) -> list[str]:
    rate = statistics.median(count * size / one.wall_s for one in taken)
    peak = max(one.peak_mb for one in taken)
    promised = way.startswith("ours") and "checked" not in way
    return [
        way,
        f"{count}",
        spread((count * size / one.wall_s / 1e6 for one in taken), 0),
        spread(one.cpu_s * 1e9 / size / count for one in taken),
        f"{peak:.0f}" if peak else "",
        f">= {wanted / 1e6:.0f}, < {MEMORY_MB:.0f}" if promised else "",
        verdict(rate >= wanted and peak < MEMORY_MB) if promised else "",
    ]


def _tar(archive: Path, folder: Path) -> Taken:
    used = run(["tar", "xf", str(archive), "-C", str(folder)], os.environ)
    return Taken(used.wall_s, used.cpu_s)


def _ours(url: str, archive: Path | None, folder: Path | None, checked: bool = False) -> Taken:
    session = _FromFile(archive) if archive else HttpSession(hosts=MIRROR)

    def take() -> None:
        with Archive(session, url) as reader:
            for member in reader.members():
                if folder:
                    path = folder / clip_name(*member.key)
                    member.copy_to(path)
                    if checked:
                        check.decode_fully(path)

    return _timed(take)


def _received(url: str) -> Taken:
    def take() -> None:
        with closing(HttpStream(HttpSession(hosts=MIRROR), url)) as stream:
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


class _FromFile(HttpSession):
    """Returns the contents of a file instead of the mirror's replies."""

    def __init__(self, archive: Path) -> None:
        super().__init__(hosts=MIRROR)
        self._archive = archive

    def get(self, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        size = self._archive.stat().st_size
        reply_headers = {"Content-Range": f"bytes 0-{size - 1}/{size}"}
        return urllib3.HTTPResponse(open(self._archive, "rb"), reply_headers, 206, preload_content=False)


def _index(settings: Settings, scratch: Path) -> Table:
    share = INDEXED // ARCHIVED
    index, urls = ArchiveIndex(scratch / "index"), [f"{part}" for part in range(ARCHIVED)]
    names = [clip_name(f"{number:011}", number % 300, number % 300 + 10) for number in range(INDEXED)]
    began = time.monotonic()
    for number, url in enumerate(urls):
        members = frozenset(names[number * share : (number + 1) * share])
        index.update(url, ArchiveListing(1 << 30, '"etag"', members, complete=True))
    written_s = time.monotonic() - began
    took = []
    for _ in range(settings.rounds_or(3)):
        began = time.monotonic()
        found = archives_to_read(urls, index.find, names[::1000])
        took.append(time.monotonic() - began)
        assert sum(len(one.names) for one in found) == INDEXED // 1000
    size = sum(path.stat().st_size for path in (scratch / "index").iterdir())
    return Table(
        f"The index of {INDEXED:,} clips in {ARCHIVED:,} archives",
        ["MB", "written, s", "find archives, s", "wanted", ""],
        [
            [
                f"{size / 1e6:.1f}",
                f"{written_s:.1f}",
                spread(took),
                f"<= {INDEX_S:g}",
                verdict(statistics.median(took) <= INDEX_S),
            ]
        ],
        ["For 600 missing clips; each archive's part of the index is read, and nothing is cached."],
    )


if __name__ == "__main__":
    main(["mirror"])
