"""Clips on disk with their annotations, and no network: what is done with clips that are here needs no more."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import av
import pandas as pd

from kinetics.records import Clip, FoundClip, Outcome, Split
from kinetics.scheduling.dispatch import Event
from kinetics.scheduling.worker import Job
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import Ledger
from tests.youtube.videos import Video

PLAIN = Video(duration_s=4, moving=False)
SILENT = Video(duration_s=2, moving=False, sound=False)
UPRIGHT = Video(duration_s=2, moving=False, width=360, height=640)
ROTATED = Video(duration_s=2, moving=False, rotation=90)
CLIP = Clip("-_abcDEF012", 7.0, 11.0, "playing harmonica", "val")


@dataclass
class DatasetOnDisk:
    """The clips of one subset, `validate`: what is annotated, and what lies on disk for it."""

    folder: Path
    clips: list[Clip] = field(default_factory=list)

    @property
    def layout(self) -> Layout:
        return Layout(self.folder, "700")

    @property
    def frame(self) -> pd.DataFrame:
        rows = [(clip.youtube_id, clip.time_start, clip.time_end, clip.label, clip.split) for clip in self.clips]
        return pd.DataFrame(rows, columns=["youtube_id", "time_start", "time_end", "label", "split"])

    def put(self, clip: Clip, content: Video | bytes = PLAIN) -> Path:
        """Annotate a clip, and give it its file."""
        path = self.layout.clip(clip)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.progressive.path.read_bytes())
        self.clips.append(clip)
        return path

    def record(self, *outcomes: Outcome) -> None:
        """Let the attempts table say how clips were made."""
        with Ledger(self.layout, "validate") as ledger:
            for outcome in outcomes:
                ledger.record(outcome)


def as_found(clip: Clip, *files: Path) -> FoundClip:
    """The clip with the files that may be it."""
    return FoundClip(*clip.key, clip.label, clip.split, files=files)


def numbered(count: int, label: str = "tai chi", split: Split = "val") -> list[Clip]:
    """Clips of the length of `PLAIN`."""
    return [Clip(f"clip-{number:06d}", number, number + 4, label, split) for number in range(count)]


def run_here(job: Job, clips: Iterable[Clip]) -> Generator[Event, None, None]:
    """What the pool does, in this process."""
    work = job.open()
    for clip in clips:
        yield work(clip, lambda part=None, *, calls=0: None)


def watched(seen: list[Clip]) -> Callable[[Job, Iterable[Clip]], Generator[Event, None, None]]:
    """The same, and each clip that is looked at is noted."""

    def run(job: Job, clips: Iterable[Clip]) -> Generator[Event, None, None]:
        for event in run_here(job, clips):
            assert isinstance(event, Outcome)
            seen.append(event.clip)
            yield event

    return run


def packets(path: Path, kind: str) -> list[tuple[int, int]]:
    """Where the packets of the picture ("video") or of the sound ("audio") lie in a file, and how long they are."""
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [
            (packet.pos, packet.size) for packet in container.demux(stream) if packet.pos is not None and packet.size
        ]


def scratched(path: Path, kind: str, place: int, count: int = 16) -> None:
    """Change some bytes in the middle of a packet, and nothing else."""
    content = bytearray(path.read_bytes())
    pos, size = packets(path, kind)[place]
    middle = pos + size // 2
    for at in range(middle, min(middle + count, pos + size)):
        content[at] ^= 0x5A
    path.write_bytes(content)
