"""The ways in which people download Kinetics today, and ours, over the same clips of the same loopback YouTube.

Videos as long as YouTube's (median 4 min), 30 ms a request, 8 Mbit/s a connection, 8 clips at a time. The ways take
turns, in several rounds.
"""

from __future__ import annotations

import importlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import av

from benchmarks.report import Settings, Table, ffmpeg, main, say, spread, verdict
from benchmarks.rig import Used, YouTube, download, run, youtube_apart
from benchmarks.worlds import clips
from tests.youtube.picture import read_counter
from tests.youtube.videos import Video
from tests.youtube.world import Row, Scenario

AT_A_TIME = 8
FORMAT = "b[height<=360][ext=mp4][vcodec^=avc1]/bv[height<=360][ext=mp4][vcodec^=avc1]+ba[ext=m4a]"
"""The best mp4 of 360p, as Kinetics downloaders ask for it; other codecs have no files in the loopback YouTube."""
FRUGAL = "youtube:player_client=visionos;player_skip=webpage,js,configs,initial_data"
"""One call to the player and no page: yt-dlp at its fastest."""
WHOLE, SECTIONS, FORCED = "a: whole file, ffmpeg", "b: sections", "c: sections, keyframes forced"
PROMISES = (("exact", 10.0, WHOLE), ("exact", 3.0, FORCED), ("keyframe", 2.0, SECTIONS), ("smart", 1.5, SECTIONS))

SourceRunner = Callable[[YouTube, Sequence[Row], Mapping[str, Scenario], Path], "Round"]


@dataclass(frozen=True)
class Round:
    """All clips, once, by one way."""

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
    """yt-dlp as a program, with what the loopback YouTube asks of it."""
    return [
        *(sys.executable, "-m", "yt_dlp", "--ignore-config", "--no-cache-dir", "--quiet", "--no-progress"),
        *("--compat-options", "no-certifi", "--extractor-args", FRUGAL, "--ffmpeg-location", ffmpeg()),
        *("-f", FORMAT, "--merge-output-format", "mp4", "-o", str(out), *more),
        *("--", f"https://www.youtube.com/watch?v={youtube_id}"),
    ]


def whole_file(row: Row, out: Path) -> list[list[str]]:
    """The commands of the existing Kinetics downloaders."""
    whole = out.with_suffix(".whole.mp4")
    section = ["-ss", str(row.time_start), "-t", str(row.time_end - row.time_start)]
    encode = ["-c:v", "libx264", "-c:a", "copy", "-threads", "1", "-loglevel", "error"]
    return [yt_dlp(row.youtube_id, whole), [ffmpeg(), "-i", str(whole), *section, *encode, str(out)]]


def sections(row: Row, out: Path, more: Sequence[str] = ()) -> list[list[str]]:
    """yt-dlp's own way of fetching a part: it lets ffmpeg read the address."""
    times = f"*{row.time_start}-{row.time_end}"
    return [yt_dlp(row.youtube_id, out, "--download-sections", times, *more)]


def by_commands(
    commands: Callable[[Row, Path], list[list[str]]],
    youtube: YouTube,
    rows: Sequence[Row],
    scenarios: Mapping[str, Scenario],
    folder: Path,
) -> Round:
    """Give each clip its commands, one after another, and 8 clips at a time."""
    env, before, server_cpu_s = youtube.env(), len(youtube.requests()), youtube.cpu_s()
    files = {row: folder / f"{row.youtube_id}.mp4" for row in rows}

    def one(row: Row) -> list[Used]:
        used = [run(command, env) for command in commands(row, files[row])]
        for each in used:
            if each.code:
                raise SystemExit(f"a peer failed on {row}:\n{each.output[-2000:]}")
        return used

    began = time.monotonic()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        used = [each for several in pool.map(one, rows) for each in several]
    wall_s = time.monotonic() - began
    requests = youtube.requests(before)
    sent = sum(request.bytes_sent for request in requests if request.kind == "media")
    server_cpu_s = youtube.cpu_s() - server_cpu_s
    return Round(files, wall_s, sum(each.cpu_s for each in used), len(requests), sent, server_cpu_s)


def ours(cut: str, youtube: YouTube, rows: Sequence[Row], scenarios: Mapping[str, Scenario], folder: Path) -> Round:
    """download.py, from its start to its end."""
    ran = download(youtube, rows, scenarios, folder, cut, "-w", str(AT_A_TIME))
    files = {row: ran.bench.path(row) for row in rows}
    return Round(files, ran.used.wall_s, ran.used.cpu_s, len(ran.requests), ran.media_bytes, ran.server_cpu_s)


def measure(settings: Settings) -> Iterator[Table]:
    """A table of the ways, and one of what was promised."""
    ways: dict[str, SourceRunner] = {
        WHOLE: partial(by_commands, whole_file),
        SECTIONS: partial(by_commands, sections),
        FORCED: partial(by_commands, partial(sections, more=("--force-keyframes-at-cuts",))),
        **{cut: partial(ours, cut) for cut in settings.cuts},
    }
    rows, scenarios = clips(settings.clips_or(40, quick=16))
    rounds: dict[str, list[Round]] = {name: [] for name in ways}
    with youtube_apart() as youtube, tempfile.TemporaryDirectory() as scratch:
        youtube.serve(scenarios)
        for number in range(settings.rounds_or(3)):
            for name, way in ways.items():
                folder = Path(scratch, f"{number} {name}")
                folder.mkdir()
                rounds[name].append(way(youtube, rows, scenarios, folder))
                say(f"round {number + 1}: {name}: {rounds[name][-1].clips_s:.2f} clips/s")
        seen = {name: [*_readings(ones[-1], scenarios)] for name, ones in rounds.items()}
    yield Table(
        f"Peers: {len(rows)} clips, {AT_A_TIME} at a time, {settings.rounds_or(3)} rounds; the median, and least-most",
        [
            "way",
            "clips/s",
            "MB a clip",
            "requests",
            "CPU s a clip",
            "server's",
            *(f"{what} in {reader}" for reader in _readers() for what in ("first right", "all right", "frames")),
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
        [_promise(rounds, *promise) for promise in PROMISES if promise[0] in rounds],
    )


def _figures(ones: Sequence[Round], clips: int) -> list[str]:
    return [
        spread(one.clips_s for one in ones),
        spread(one.media_bytes / clips / 1e6 for one in ones),
        spread(one.requests / clips for one in ones),
        spread(one.cpu_s / clips for one in ones),
        spread(one.server_cpu_s / clips for one in ones),
    ]


def _promise(rounds: Mapping[str, Sequence[Round]], cut: str, wanted: float, peer: str) -> list[str]:
    ratios = [mine.clips_s / theirs.clips_s for mine, theirs in zip(rounds[cut], rounds[peer], strict=True)]
    return [cut, peer, f">= {wanted:g} x", spread(ratios), verdict(statistics.median(ratios) >= wanted)]


@dataclass(frozen=True)
class Seen:
    """How many frames a reader counts in a clip, and the numbers burnt into those that it was asked for."""

    frames: int
    numbers: Mapping[int, int]

    def right(self, wanted: Sequence[int], *, only_first: bool = False) -> bool:
        """Whether the frames are the annotated ones; what follows behind the section's end does not matter."""
        asked = {index: number for index, number in self.numbers.items() if index < (1 if only_first else len(wanted))}
        return all(wanted[index] == number for index, number in asked.items())


def _see_with_pyav(path: Path) -> Seen:
    with av.open(str(path)) as container:
        numbers = [read_counter(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    return Seen(len(numbers), dict(enumerate(numbers)))


def _see_with_decord(path: Path) -> Seen:
    """Some frames, the last one first: as samplers of training clips do, and unlike a player, it has to seek."""
    reader = importlib.import_module("decord").VideoReader(str(path), num_threads=1)
    return Seen(len(reader), {index: read_counter(reader[index].asnumpy()) for index in (200, 100, 0)})


READERS = {"av": _see_with_pyav, "decord": _see_with_decord}


def _readings(made: Round, scenarios: Mapping[str, Scenario]) -> Iterator[str]:
    """For each reader: of how many clips the first frame is right, and all frames are; and how many it counts."""
    wanted = [_wanted(row, scenarios[row.youtube_id].video) for row in made.files]
    for look in _readers().values():
        seen = [look(path) for path in made.files.values()]
        for only_first in (True, False):
            right = [one.right(frames, only_first=only_first) for one, frames in zip(seen, wanted, strict=True)]
            yield f"{sum(right)}/{len(right)}"
        yield f"{min(one.frames for one in seen)}-{max(one.frames for one in seen)}"


def _readers() -> Mapping[str, Callable[[Path], Seen]]:
    """Those that are installed."""
    return {name: look for name, look in READERS.items() if find_spec(name)}


def _wanted(row: Row, video: Video | None) -> list[int]:
    assert video
    return [video.counter(index) for index in range(video.frame_at(row.time_start), video.frame_at(row.time_end))]


if __name__ == "__main__":
    main(["peers"])
