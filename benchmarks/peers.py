"""The usual ways to download Kinetics and this program, with the same clips from the same loopback YouTube.

Videos as long as YouTube's (median 4 min), 30 ms a request, 8 Mbit/s a connection, 8 clips at a time. The ways
alternate, in several rounds.
"""

from __future__ import annotations

import importlib
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import av

from benchmarks.harness import Usage, YouTube, download, run, youtube_process
from benchmarks.report import Settings, Table, ffmpeg, log, main, spread, verdict
from benchmarks.workload import clips
from tests.youtube.picture import read_counter
from tests.youtube.videos import Video
from tests.youtube.world import Row, Scenario

CONCURRENCY = 8
FORMAT = "b[height<=360][ext=mp4][vcodec^=avc1]/bv[height<=360][ext=mp4][vcodec^=avc1]+ba[ext=m4a]"
"""The best mp4 up to 360p, as Kinetics downloaders select it; the loopback YouTube has no files of other codecs."""
FRUGAL = "youtube:player_client=visionos;player_skip=webpage,js,configs,initial_data"
"""One player call and no page, which is yt-dlp's fastest setting."""
WHOLE, SECTIONS, FORCED = "a: whole file, ffmpeg", "b: sections", "c: sections, keyframes forced"
SHARDED = ", into shards"
MIN_RATIOS = (("exact", 10.0, WHOLE), ("exact", 3.0, FORCED), ("keyframe", 2.0, SECTIONS), ("smart", 1.5, SECTIONS))

Runner = Callable[[YouTube, Sequence[Row], Mapping[str, Scenario], Path], "Round"]


@dataclass(frozen=True)
class Round:
    """The result of one way for all clips."""

    files: Mapping[Row, Path]
    wall_s: float
    cpu_s: float
    requests: int
    media_bytes: int
    server_cpu_s: float

    @property
    def clips_s(self) -> float:
        return len(self.files) / self.wall_s


def yt_dlp(youtube_id: str, out: Path, *more: str) -> list[str]:
    """Return a command of the yt-dlp program with the options that the loopback YouTube needs."""
    return [
        *(sys.executable, "-m", "yt_dlp", "--ignore-config", "--no-cache-dir", "--quiet", "--no-progress"),
        *("--compat-options", "no-certifi", "--extractor-args", FRUGAL, "--ffmpeg-location", ffmpeg()),
        *("-f", FORMAT, "--merge-output-format", "mp4", "-o", str(out), *more),
        *("--", f"https://www.youtube.com/watch?v={youtube_id}"),
    ]


def whole_file(row: Row, out: Path) -> list[list[str]]:
    """Return the commands that the existing Kinetics downloaders run."""
    whole = out.with_suffix(".whole.mp4")
    section = ["-ss", str(row.time_start), "-t", str(row.time_end - row.time_start)]
    encode = ["-c:v", "libx264", "-c:a", "copy", "-threads", "1", "-loglevel", "error"]
    return [yt_dlp(row.youtube_id, whole), [ffmpeg(), "-i", str(whole), *section, *encode, str(out)]]


def sections(row: Row, out: Path, more: Sequence[str] = ()) -> list[list[str]]:
    """Return yt-dlp's command for a part of a video, which makes ffmpeg read from the media's address."""
    times = f"*{row.time_start}-{row.time_end}"
    return [yt_dlp(row.youtube_id, out, "--download-sections", times, *more)]


def by_commands(
    commands: Callable[[Row, Path], list[list[str]]],
    youtube: YouTube,
    rows: Sequence[Row],
    scenarios: Mapping[str, Scenario],
    folder: Path,
) -> Round:
    """Run the commands of each clip one after another, for 8 clips at a time."""
    env, before, server_cpu_s = youtube.env(), len(youtube.requests()), youtube.cpu_s()
    files = {row: folder / f"{row.youtube_id}.mp4" for row in rows}

    def one(row: Row) -> list[Usage]:
        used = [run(command, env) for command in commands(row, files[row])]
        for each in used:
            if each.code:
                raise SystemExit(f"a peer failed on {row}:\n{each.output[-2000:]}")
        return used

    began = time.monotonic()
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        used = [each for several in pool.map(one, rows) for each in several]
    wall_s = time.monotonic() - began
    requests = youtube.requests(before)
    sent = sum(request.bytes_sent for request in requests if request.kind == "media")
    server_cpu_s = youtube.cpu_s() - server_cpu_s
    return Round(files, wall_s, sum(each.cpu_s for each in used), len(requests), sent, server_cpu_s)


def into_shards(
    cut: str, youtube: YouTube, rows: Sequence[Row], scenarios: Mapping[str, Scenario], folder: Path
) -> Round:
    """Run download.py with --into-shards; the clips are taken out of the shards afterwards."""
    ran = download(youtube, rows, scenarios, folder, cut, "-w", str(CONCURRENCY), "--into-shards", "1000")
    for shard in (folder / "Kinetics700_shards").glob("*.tar"):
        with tarfile.open(shard) as tar:
            tar.extractall(folder, filter="data")
    files = {row: folder / ran.bench.path(row).name for row in rows}
    return Round(files, ran.used.wall_s, ran.used.cpu_s, len(ran.requests), ran.media_bytes, ran.server_cpu_s)


def ours(cut: str, youtube: YouTube, rows: Sequence[Row], scenarios: Mapping[str, Scenario], folder: Path) -> Round:
    """Run download.py."""
    ran = download(youtube, rows, scenarios, folder, cut, "-w", str(CONCURRENCY))
    files = {row: ran.bench.path(row) for row in rows}
    return Round(files, ran.used.wall_s, ran.used.cpu_s, len(ran.requests), ran.media_bytes, ran.server_cpu_s)


def measure(settings: Settings) -> Iterator[Table]:
    """Yield a table of the ways, and one of the ratios that are accepted."""
    ways: dict[str, Runner] = {
        WHOLE: partial(by_commands, whole_file),
        SECTIONS: partial(by_commands, sections),
        FORCED: partial(by_commands, partial(sections, more=("--force-keyframes-at-cuts",))),
        **{cut: partial(ours, cut) for cut in settings.cuts},
        **{f"{cut}{SHARDED}": partial(into_shards, cut) for cut in settings.cuts if cut != "none"},
    }
    rows, scenarios = clips(settings.clips_or(40, quick=16))
    rounds: dict[str, list[Round]] = {name: [] for name in ways}
    with youtube_process() as youtube, tempfile.TemporaryDirectory() as scratch:
        youtube.serve(scenarios)
        for number in range(settings.rounds_or(3)):
            for name, way in ways.items():
                folder = Path(scratch, f"{number} {name}")
                folder.mkdir()
                rounds[name].append(way(youtube, rows, scenarios, folder))
                log(f"round {number + 1}: {name}: {rounds[name][-1].clips_s:.2f} clips/s")
        seen = {name: [*_readings(ones[-1], scenarios)] for name, ones in rounds.items()}
    yield Table(
        f"Peers: {len(rows)} clips, {CONCURRENCY} at a time, {settings.rounds_or(3)} rounds; median (minimum-maximum)",
        [
            "way",
            "clips/s",
            "MB a clip",
            "requests",
            "CPU s a clip",
            "server's",
            *(f"{figure} in {reader}" for reader in _readers() for figure in ("first right", "all right", "frames")),
        ],
        [[name, *_figures(ones, len(rows)), *seen[name]] for name, ones in rounds.items()],
        [
            "The same clips each round, from the start of the program (or of each clip's programs) to its end. "
            "MB are of media, as the server sent them. A frame is right if its burnt-in number is the annotated one."
        ],
    )
    yield Table(
        "Peers: ratios of clips/s, round by round",
        ["ours", "against", "wanted", "measured", "verdict"],
        [
            *(_ratio_row(rounds, *accepted) for accepted in MIN_RATIOS if accepted[0] in rounds),
            *(_ratio_row(rounds, name, 0.97, name.removesuffix(SHARDED)) for name in rounds if name.endswith(SHARDED)),
        ],
    )


def _figures(ones: Sequence[Round], clips: int) -> list[str]:
    return [
        spread(one.clips_s for one in ones),
        spread(one.media_bytes / clips / 1e6 for one in ones),
        spread(one.requests / clips for one in ones),
        spread(one.cpu_s / clips for one in ones),
        spread(one.server_cpu_s / clips for one in ones),
    ]


def _ratio_row(rounds: Mapping[str, Sequence[Round]], cut: str, wanted: float, peer: str) -> list[str]:
    ratios = [mine.clips_s / theirs.clips_s for mine, theirs in zip(rounds[cut], rounds[peer], strict=True)]
    return [cut, peer, f">= {wanted:g} x", spread(ratios), verdict(statistics.median(ratios) >= wanted)]


@dataclass(frozen=True)
class Seen:
    """The number of frames that a reader finds in a clip, and the numbers burnt into those that were read."""

    frames: int
    numbers: Mapping[int, int]

    def right(self, wanted: Sequence[int], *, only_first: bool = False) -> bool:
        """Return whether the frames are the annotated ones; frames after the section's end do not matter."""
        asked = {index: number for index, number in self.numbers.items() if index < (1 if only_first else len(wanted))}
        return all(wanted[index] == number for index, number in asked.items())


def _see_with_pyav(path: Path) -> Seen:
    with av.open(str(path)) as container:
        numbers = [read_counter(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    return Seen(len(numbers), dict(enumerate(numbers)))


def _see_with_decord(path: Path) -> Seen:
    """Read some frames, the last one first, so that the reader has to seek as a sampler of training clips does."""
    reader = importlib.import_module("decord").VideoReader(str(path), num_threads=1)
    return Seen(len(reader), {index: read_counter(reader[index].asnumpy()) for index in (200, 100, 0)})


READERS = {"av": _see_with_pyav, "decord": _see_with_decord}


def _readings(made: Round, scenarios: Mapping[str, Scenario]) -> Iterator[str]:
    """Yield for each reader the clips whose first frame is right, those with all frames right, and the frame counts."""
    wanted = [_wanted(row, scenarios[row.youtube_id].video) for row in made.files]
    for look in _readers().values():
        seen = [look(path) for path in made.files.values()]
        for only_first in (True, False):
            right = [one.right(frames, only_first=only_first) for one, frames in zip(seen, wanted, strict=True)]
            yield f"{sum(right)}/{len(right)}"
        yield f"{min(one.frames for one in seen)}-{max(one.frames for one in seen)}"


def _readers() -> Mapping[str, Callable[[Path], Seen]]:
    """Return the readers that are installed."""
    return {name: look for name, look in READERS.items() if find_spec(name)}


def _wanted(row: Row, video: Video | None) -> list[int]:
    assert video
    return [video.counter(index) for index in range(video.frame_at(row.time_start), video.frame_at(row.time_end))]


if __name__ == "__main__":
    main(["peers"])
