"""The table of what the thumbnail host said of videos that YouTube called gone, which only the parent process writes.

A damaged line is left out: that costs one more request for a thumbnail.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TextIO

from kinetics.records import SPLIT_OF, Subset, Thumbnail
from kinetics.storage.atomic import atomic_write, cannot_write, require_plain
from kinetics.storage.layout import Layout

THUMBNAILS = "thumbnails.csv"
"""How the table's name ends."""
_HEADER = "youtube_id,thumbnail,time"
_SAID: Mapping[str, Thumbnail] = {"there": "there", "missing": "missing"}


class Sighting(NamedTuple):
    """Whether a video's thumbnail was there, and when that was seen."""

    thumbnail: Thumbnail
    time_s: float
    """Seconds since 1970."""


class ThumbnailLog:
    """Writes what is seen of one subset's thumbnails; reads that of every run on the subset, with whatever shard.

    Use it with `with` to write, and hold the subset's lock. Every row is flushed when it is written. Raises Fatal if
    the table cannot be read or written.
    """

    def __init__(self, layout: Layout, subset: Subset) -> None:
        self._path = layout.table(subset, THUMBNAILS)
        require_plain(self._path)
        self._partial = layout.partial(SPLIT_OF[subset])
        others = (part.table(subset, THUMBNAILS) for part in layout.without_shard.shard_layouts(subset))
        self._paths = [self._path, *(path for path in others if path != self._path)]
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the table, and write it anew with one line for each video."""
        if not self._file:
            return
        try:
            self._file.close()
            lines = [_HEADER, *(_line(video, seen) for video, seen in _last([self._path]).items())]
            with atomic_write(self._path, self._partial) as temporary:
                temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        except OSError as failure:
            raise cannot_write(failure, self._path) from failure

    def sightings(self) -> dict[str, Sighting]:
        """Return what was seen last of each video. It is read anew each time, and not kept."""
        return _last(self._paths)

    def note(self, youtube_id: str, thumbnail: Thumbnail) -> None:
        """Add what has just been seen."""
        row = _line(youtube_id, Sighting(thumbnail, datetime.now().timestamp()))
        try:
            if not self._file:
                half = self._path.exists() and not self._path.read_bytes().endswith(b"\n")
                self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115 - until the end of the run
                if not self._file.tell():
                    row = f"{_HEADER}\n{row}"
                elif half:
                    row = f"\n{row}"
            self._file.write(row + "\n")
            self._file.flush()
        except OSError as error:
            raise cannot_write(error, self._path) from error


def _line(youtube_id: str, seen: Sighting) -> str:
    time = datetime.fromtimestamp(seen.time_s).astimezone().isoformat(timespec="seconds")
    return f"{youtube_id},{seen.thumbnail},{time}"


def _last(paths: list[Path]) -> dict[str, Sighting]:
    """Return the latest sighting of each video in some tables."""
    found = dict[str, Sighting]()
    for path in paths:
        for youtube_id, seen in _rows(path):
            before = found.get(youtube_id)
            if before is None or before.time_s <= seen.time_s:
                found[youtube_id] = seen
    return found


def _rows(path: Path) -> Iterator[tuple[str, Sighting]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                youtube_id, _, rest = line.partition(",")
                said, _, time = rest.partition(",")
                if said in _SAID:
                    try:
                        yield youtube_id, Sighting(_SAID[said], datetime.fromisoformat(time.rstrip("\n")).timestamp())
                    except (ValueError, OverflowError):
                        continue
    except FileNotFoundError:
        return
    except OSError as error:
        raise cannot_write(error, path) from error
