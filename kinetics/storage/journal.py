"""The journal of a long task over the clips on disk (--verify, --manifest), from which an interrupted task resumes.

It has one line for each clip, written as soon as the clip was examined. A line counts as long as the size and time of
the clip's file have not changed. The file's name comes last, so that half a line names no file.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import astuple
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from kinetics.records import Clip, Facts
from kinetics.storage.atomic import cannot_write, write_text
from kinetics.storage.layout import Layout, clip_name


class Journal:
    """The facts known of clips, by the names of their files. Use it with `with`; only one process may.

    `others` are journals that are read as well, but not written. Raises Fatal if a journal cannot be read or written.
    """

    def __init__(self, path: Path, *others: Path) -> None:
        self._path = path
        self.facts: Mapping[str, Facts] = dict(chain.from_iterable(map(_entries, (*others, path))))

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file: TextIO = open(self._path, "a", encoding="utf-8", newline="")
            self._file.write("\n")  # ends half a line that a crash left
        except OSError as error:
            raise cannot_write(error, self._path) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # clips whose lines are lost are examined again
            self._file.close()

    def find(self, clip: Clip, layout: Layout) -> Facts | None:
        """Return what is known of a clip's file; None if nothing is, or if the file has changed since."""
        facts = self.facts.get(clip_name(*clip.key))
        return facts if facts and (facts.size, facts.mtime_ns) == layout.clip_state(clip) else None

    def add(self, clip: Clip, facts: Facts) -> None:
        """Write down the facts of a clip's file."""
        try:
            self._file.write(_line(clip_name(*clip.key), facts))
            self._file.flush()
        except OSError as error:
            raise cannot_write(error, self._path) from error

    def remove(self, names: Container[str]) -> None:
        """Close the journal and drop the lines of these files, so that the next task examines them again."""
        self._file.close()
        kept = {name: facts for name, facts in self.facts.items() if name not in names}
        write_text(self._path, (_line(name, facts) for name, facts in kept.items()))


def _line(name: str, facts: Facts) -> str:
    return ",".join(map(str, (*astuple(facts), name))) + "\n"


def _entries(path: Path) -> Iterator[tuple[str, Facts]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        raise cannot_write(error, path) from error
    for line in lines:
        with suppress(ValueError):  # half a line
            size, mtime_ns, frames, duration_s, width, height, sound, digest, keyframes, name = line.split(",")
            numbers = int(size), int(mtime_ns), int(frames), float(duration_s), int(width), int(height)
            yield name, Facts(*numbers, sound == "True", digest, int(keyframes))
