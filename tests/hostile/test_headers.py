"""Whatever a media file's header claims: a clip that plays, or a reason; little memory, and no crash unaccounted for.

The files are read in processes of their own, with a worker's limits, so that a crash in FFmpeg is seen and counted.
"""

from __future__ import annotations

import json
import random
import resource
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import av
import pytest

from kinetics.errors import ClipError, MayWorkLater
from kinetics.media import container
from kinetics.media import cut as media
from kinetics.media import fragment_index as mp4
from kinetics.media.remote_media import RemoteMedia
from kinetics.net.range_file import RangeFile
from kinetics.scheduling.machine import MEMORY_LIMIT
from kinetics.scheduling.worker import limit_memory
from tests.hostile.boxes import Box, parsed, spoilt
from tests.support.commands import ROOT
from tests.support.cutting import Disk
from tests.youtube.videos import Video

SHORT = Video(duration_s=4, moving=False, fragment_s=(1.0, 1.4), shortest_gop_s=0.4)
SOURCES = (SHORT.progressive, SHORT.dash_video, SHORT.dash_audio)
MOST_CPU_S = 60
"""For one file: a tenth of a second is usual."""
WAYS = ("keyframe", "keyframe", "exact", "whole", "index")


def read(seed: int, sound: list[list[Box]], out: Path) -> str:
    """Read one spoilt file as a worker would, and say what came of it; anything but a ClipError is not caught."""
    rng = random.Random(seed)
    way, at = rng.choice(WAYS), rng.randrange(len(SOURCES))
    content = spoilt(sound[at], rng)
    session = Disk({"spoilt": content, "picture": SHORT.dash_video.path.read_bytes()})

    def item(url: str, progressive: bool = False) -> RemoteMedia:
        return RemoteMedia(RangeFile(session, url, streaming=way == "whole"), "mp4", 4.0, progressive=progressive)

    inputs = [item("picture"), item("spoilt")] if at == 2 else [item("spoilt", at == 0)]
    try:
        if way == "index":
            with container.ffmpeg_read_errors():
                mp4.fragment_index(inputs[-1].file, inputs[-1].header_guess)
            return "index"
        if way == "whole":
            made = media.copy_whole(inputs, out)
        else:
            cut = media.cut_keyframe if way == "keyframe" else media.cut_exact
            made = cut(inputs, 1.3, 2.1, out)
    except ClipError as error:
        return str(error.category)
    assert made.frames > 0
    assert media.probe(out, 0.0).frames == made.frames
    return "clip"


def main() -> None:
    """In a process of its own: read the files of these seeds, and say of each that it begins, and how it ended."""
    first, stop, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    av.logging.set_level(av.logging.PANIC)
    limit_memory()
    sound = [parsed(source.path.read_bytes()) for source in SOURCES]
    for seed in range(first, stop):
        print(json.dumps({"seed": seed}), flush=True)
        signal.setitimer(signal.ITIMER_VIRTUAL, MOST_CPU_S)  # its signal ends the process
        began = time.process_time()
        result = read(seed, sound, folder / "clip.mp4")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"result": result, "cpu_s": time.process_time() - began, "peak_kib": peak}), flush=True)


def read_all(first: int, stop: int, folder: Path) -> tuple[Counter[str], dict[int, str], list[dict[str, Any]]]:
    """What came of the files of these seeds, those that ended their process and how, and the cost of each other."""
    ended: dict[int, str] = {}
    results: list[dict[str, Any]] = []
    while first < stop:
        command = [sys.executable, "-m", "tests.hostile.test_headers", str(first), str(stop), str(folder)]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        said = [json.loads(line) for line in ran.stdout.splitlines()]
        results += [one for one in said if "result" in one]
        if ran.returncode == 0:
            break
        last = next(one["seed"] for one in reversed(said) if "seed" in one)
        ended[last] = f"{ran.returncode}: {ran.stderr[-500:]}"
        first = last + 1
    return Counter(one["result"] for one in results), ended, results


@pytest.mark.parametrize(
    ("first", "stop"),
    [(0, 40), *(pytest.param(at, at + 4000, marks=pytest.mark.soak) for at in range(1000, 25_000, 4000))],
)
@pytest.mark.timeout(7200)
def test_a_spoilt_header_gives_a_clip_or_a_reason_within_a_workers_memory(
    first: int, stop: int, tmp_path: Path
) -> None:
    counts, ended, results = read_all(first, stop, tmp_path)
    assert not ended
    assert set(counts) <= {"clip", "index", "media_error", "past_end"}
    assert counts["clip"] and counts["media_error"]
    peak_mib, slowest_s = max(one["peak_kib"] for one in results) >> 10, max(one["cpu_s"] for one in results)
    print(f"{counts.total()} files: {dict(counts)}, at most {peak_mib} MiB and {slowest_s:.1f} s of CPU")
    assert peak_mib < MEMORY_LIMIT >> 20


@pytest.mark.parametrize(
    "error", [IndexError("x"), KeyError("x"), OverflowError("x"), ZeroDivisionError("x"), struct.error("x")]
)
def test_what_pyav_stumbles_over_is_the_medias_fault(error: Exception) -> None:
    """In 22,000 spoilt files, one made it raise an IndexError of its own."""
    with pytest.raises(MayWorkLater, match="makes no sense"), container.ffmpeg_read_errors():
        raise error


if __name__ == "__main__":
    main()
