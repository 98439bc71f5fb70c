"""Frames of clips read with torchcodec on the CPU: what its settings cost, and whether they give the same frames."""

from __future__ import annotations

import importlib
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import Settings, Table, log, main
from benchmarks.resize import DENSE, SMALL
from kinetics.media.cut import cut_exact, cut_smart
from kinetics.records import AS_IN_SOURCE
from tests.support.cutting import VARIANTS, Disk, inputs_of
from tests.youtube.videos import Video

COUNT, STEP = 16, 4
"""Frames read of each clip, and the distance between them: half of a clip of 4 s."""
SECTION_S = (3.3, 7.3)
TRIALS = 20
"""Frames compared of each clip."""

Read = Callable[[Path], object]


def measure(settings: Settings) -> Iterator[Table]:
    """Yield tables of what torchcodec's settings cost, and of the frames that an approximate seek misses."""
    with tempfile.TemporaryDirectory() as scratch:
        yield _costs(settings, Path(scratch))
        yield _misses(Path(scratch))


def _costs(settings: Settings, folder: Path) -> Table:
    video = Video(duration_s=20)
    pictures = {"--cut smart": AS_IN_SOURCE, "--short-side 256": SMALL, "... --keyframes 16": DENSE}
    clips = {}
    for name, picture in pictures.items():
        clips[name] = folder / f"{picture.name or 'as-in-source'}.mp4"
        cut_smart(inputs_of(video, "dash", Disk()), *SECTION_S, clips[name], picture)
    header, title = ["", *clips], f"Processor ms a clip of 4 s, {COUNT} frames of it, with torchcodec on the CPU"
    try:
        ways = _ways()
    except (ImportError, RuntimeError, OSError):
        return Table(title, header, [["torchcodec", *["not installed" for _ in clips]]])
    lines = []
    for name, read in ways.items():
        log(f"torchcodec: {name}")
        spent = [_processor_s(read, clip, settings.rounds_or(9)) for clip in clips.values()]
        lines.append([name, *[f"{1000 * seconds:.1f}" for seconds in spent]])
    return Table(title, header, lines, ["The median of the rounds; opening the clip is counted."])


def _ways() -> Mapping[str, Read]:
    """Return the ways to read a clip."""
    _torch().set_num_threads(1)  # else its threads wait for one another, which counts as processor time
    places = list(range(0, COUNT * STEP, STEP))

    def one_by_one(path: Path) -> list[object]:
        clip = _opened(path)
        return [clip.get_frame_at(place) for place in places]

    return {
        "opened only": _opened,
        "opened only, approximate": lambda path: _opened(path, seek_mode="approximate"),
        "get_frames_at": lambda path: _opened(path).get_frames_at(places),
        "get_frame_at for each": one_by_one,
        "get_frames_at, 2 threads": lambda path: _opened(path, num_ffmpeg_threads=2).get_frames_at(places),
    }


def _opened(path: Path, *, num_ffmpeg_threads: int = 1, seek_mode: str = "exact") -> Any:
    from torchcodec.decoders import VideoDecoder  # noqa: PLC0415 - not everywhere

    return VideoDecoder(str(path), num_ffmpeg_threads=num_ffmpeg_threads, seek_mode=seek_mode)


def _torch() -> Any:
    return importlib.import_module("torch")


def _processor_s(read: Read, clip: Path, rounds: int) -> float:
    spent = []
    for _ in range(rounds + 1):
        began = time.process_time()
        read(clip)
        spent.append(time.process_time() - began)
    return statistics.median(spent[1:])


def _misses(folder: Path) -> Table:
    title = f'Frames of {TRIALS} read at random that are others with seek_mode="approximate" than with "exact"'
    cells = []
    for name, video in VARIANTS.items():
        clip = folder / f"{name}.mp4"
        cut_exact(inputs_of(video, "dash", Disk()), *SECTION_S, clip)
        cells.append(_missed(clip))
    return Table(title, ["", *VARIANTS], [["others", *cells]])


def _missed(clip: Path) -> str:
    try:
        torch = _torch()
        exact, approximate = (_opened(clip, seek_mode=mode) for mode in ("exact", "approximate"))
    except (ImportError, RuntimeError, OSError):
        return "not installed"
    places: Sequence[int] = random.Random(1).sample(range(len(exact)), TRIALS)
    return str(sum(not torch.equal(exact[place], approximate[place]) for place in places))


if __name__ == "__main__":
    main(["readers"])
