"""Clips made smaller and with more keyframes: what that costs, how fast, and how quickly frames are read at random."""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.error import BlockingIOError as NothingYet
from av.filter import Graph
from av.video.frame import VideoFrame

from benchmarks.harness import download, run, youtube_process
from benchmarks.report import Settings, Table, ffmpeg, log, main, spread, verdict
from benchmarks.workload import clips
from kinetics.media.cut import cut_exact
from kinetics.media.resize import resize
from kinetics.records import AS_IN_SOURCE, PictureSettings
from tests.support.cutting import Disk, inputs_of
from tests.support.sandbox import Sandbox
from tests.youtube.world import Scenario

CONCURRENCY = 2
SMALL, DENSE = PictureSettings(short_side=256), PictureSettings(short_side=256, keyframes=16)
COST_SHARE, LEAST_SSIM, SPEED_SHARE = 0.85, 0.97, 0.9
ONE_FRAME, ROW_OF_FRAMES = 3.0, 1.8
"""Accepted: how many times as fast single frames, and 16 in a row, are read at random."""
IN_A_ROW, PLACES = 16, 12
FFMPEG = ("-vf", "scale='trunc(iw*256/ih/2)*2':256", "-c:v", "libx264", "-preset", "superfast", "-crf", "22")


def measure(settings: Settings) -> Iterator[Table]:
    """Yield tables of the cost, of the speed beside ffmpeg's, and of reading frames at random."""
    rounds = settings.rounds_or(3)
    with youtube_process() as youtube, tempfile.TemporaryDirectory() as scratch:
        rows, scenarios = clips(settings.clips_or(60, quick=8))
        log(f"{len(rows)} clips to work on")
        youtube.serve(scenarios, latency_s=0, connection_bit_s=None)
        bench = download(youtube, rows, scenarios, Path(scratch, "clips"), "smart").bench
        yield _cost(bench, scenarios, rounds, Path(scratch))
        yield _speed(bench, rounds, Path(scratch))
        yield _access(bench, Path(scratch))


def _cost(bench: Sandbox, scenarios: Mapping[str, Scenario], rounds: int, folder: Path) -> Table:
    videos = [(scenarios[row.youtube_id].video, row) for row in bench.rows[:20]]
    made = {"--cut exact": AS_IN_SOURCE, "--short-side 256": SMALL, "--short-side 256 --keyframes 16": DENSE}
    spent: dict[str, list[float]] = {name: [] for name in made}
    sizes = dict.fromkeys(made, 0)
    for number in range(rounds):
        for name, picture in made.items():
            log(f"cost of {name}, round {number + 1}")
            began = time.process_time()
            for video, row in videos:
                assert video
                media = inputs_of(video, "dash", Disk())
                cut_exact(media, row.time_start, row.time_end, folder / f"{name}.mp4", picture)
            spent[name].append((time.process_time() - began) / len(videos))
            sizes[name] = (folder / f"{name}.mp4").stat().st_size
    original = bench.path(bench.rows[0])
    resize(original, folder / "small.mp4", SMALL)
    likeness = ssim(folder / "small.mp4", original)
    lines = []
    for name, seconds in spent.items():
        ratio = statistics.median(seconds) / statistics.median(spent["--cut exact"])
        wanted = name == "--short-side 256"
        holds = verdict(ratio <= COST_SHARE and likeness >= LEAST_SSIM) if wanted else ""
        shown = [f"{likeness:.3f}", f"<= {COST_SHARE:g}, >= {LEAST_SSIM:g}"] if wanted else ["", ""]
        lines.append([name, spread(seconds), f"{sizes[name] / 1000:.0f}", f"{ratio:.2f}", *shown, holds])
    return Table(
        "What a clip of 10 s costs to encode anew",
        ["", "processor s a clip", "kB", "ratio", "SSIM", "wanted", ""],
        lines,
        ["All with `--cut exact`, from a file on disk. SSIM is against the original, scaled as FFmpeg usually does."],
    )


def ssim(made: Path, original: Path) -> float:
    """Return the structural similarity of a smaller clip and its original, scaled to the same size."""
    with av.open(str(made)) as one, av.open(str(original)) as other:
        width, height = one.streams.video[0].width, one.streams.video[0].height
        graph, values = Graph(), list[float]()
        size = {"width": width, "height": height, "format": "yuv420p", "time_base": Fraction(1, 30)}
        sources = [graph.add_buffer(**size) for _ in range(2)]  # type: ignore[arg-type]
        compare, sink = graph.add("ssim"), graph.add("buffersink")
        for place, source in enumerate(sources):
            source.link_to(compare, 0, place)
        compare.link_to(sink)
        graph.configure()
        for number, pair in enumerate(zip(one.decode(video=0), other.decode(video=0), strict=True)):
            for source, frame in zip(sources, pair, strict=True):
                picture = frame.reformat(width, height, "yuv420p", interpolation="BICUBIC")
                picture.pts, picture.time_base = number, Fraction(1, 30)
                source.push(picture)
            try:
                result = sink.pull()
                assert isinstance(result, VideoFrame)
                values.append(float(result.metadata["lavfi.ssim.All"]))
            except NothingYet:
                continue
    return statistics.mean(values)


def _speed(bench: Sandbox, rounds: int, scratch: Path) -> Table:
    ours, theirs = list[float](), list[float]()
    made = bench.folder / f"Kinetics700_{SMALL.name}"
    for number in range(rounds):
        log(f"--resize, round {number + 1}")
        used = run(bench.command("--resize", "--short-side", "256", "-w", str(CONCURRENCY)), os.environ)
        if used.code:
            raise SystemExit(used.output)
        ours.append(len(bench.rows) / used.wall_s)
        shutil.rmtree(made)
        theirs.append(len(bench.rows) / _ffmpeg_s([bench.path(row) for row in bench.rows], scratch / f"t{number}"))
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    holds = verdict(statistics.median(ratios) >= SPEED_SHARE)
    return Table(
        f"--resize of {len(bench.rows)} clips, the shorter side 256, {CONCURRENCY} at a time",
        ["clips/s", "ffmpeg's", "ratio", "wanted", ""],
        [[spread(ours), spread(theirs), spread(ratios), f">= {SPEED_SHARE:g}", holds]],
        [
            "Ours from the start of the program to its end; the ffmpeg program with one thread, once for every clip, "
            "with the same encoder settings, and the sound copied."
        ],
    )


def _ffmpeg_s(paths: Sequence[Path], folder: Path) -> float:
    """Return the seconds that the ffmpeg program takes for all clips."""
    folder.mkdir()

    def one(path: Path) -> None:
        command = [ffmpeg(), "-v", "error", "-threads", "1", "-filter_threads", "1", "-i", str(path), *FFMPEG]
        more = ["-threads", "1", "-c:a", "copy", "-movflags", "+faststart", str(folder / path.name)]
        subprocess.run([*command, *more], check=True)

    began = time.monotonic()
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        list(pool.map(one, paths))
    return time.monotonic() - began


def _access(bench: Sandbox, folder: Path) -> Table:
    clips = [bench.path(row) for row in bench.rows[:20]]
    usual, dense = ([folder / f"{picture.name}-{path.name}" for path in clips] for picture in (SMALL, DENSE))
    for path, small, with_keyframes in zip(clips, usual, dense, strict=True):
        resize(path, small, SMALL)
        resize(path, with_keyframes, DENSE)
    lines = []
    for name, opened in READERS.items():
        log(f"frames at random with {name}")
        for what, count, wanted in (("one frame", 1, ONE_FRAME), (f"{IN_A_ROW} in a row", IN_A_ROW, ROW_OF_FRAMES)):
            try:
                without, with_them = (_reading_s(opened, paths, count) for paths in (usual, dense))
            except (ImportError, RuntimeError, OSError):
                lines.append([f"{name}, {what}", "", "", "", f">= {wanted:g}", "not installed"])
                continue
            ratio = without / with_them
            milliseconds = [f"{1000 * seconds:.1f}" for seconds in (without, with_them)]
            lines.append([f"{name}, {what}", *milliseconds, f"{ratio:.1f}", f">= {wanted:g}", verdict(ratio >= wanted)])
    return Table(
        "Frames read from random places of a clip of 10 s and --short-side 256",
        ["", "ms", "with --keyframes 16", "times as fast", "wanted", ""],
        lines,
        ["One thread; a reader is opened once for each clip, and opening it is not counted."],
    )


def _reading_s(opened: Callable[[Path], Callable[[int, int], object]], paths: Sequence[Path], count: int) -> float:
    """Return the seconds for reading `count` frames from a place drawn at random."""
    places, spent = random.Random(1), 0.0
    for path in paths:
        read = opened(path)
        for _ in range(PLACES):
            place = places.randrange(290 - count)
            began = time.perf_counter()
            read(place, count)
            spent += time.perf_counter() - began
    return spent / (len(paths) * PLACES)


def _decord(path: Path) -> Callable[[int, int], object]:
    import decord  # noqa: PLC0415 - not everywhere

    reader: Any = decord.VideoReader(str(path), num_threads=1)
    return lambda place, count: reader.get_batch(range(place, place + count)).asnumpy()


def _torchcodec(path: Path) -> Callable[[int, int], object]:
    from torchcodec.decoders import VideoDecoder  # noqa: PLC0415 - not everywhere

    reader: Any = VideoDecoder(str(path), num_ffmpeg_threads=1)
    return lambda place, count: reader.get_frames_in_range(place, place + count)


READERS = {"decord": _decord, "torchcodec": _torchcodec}

if __name__ == "__main__":
    main(["resize"])
