"""Reads a text file that a run may be writing to: each line once, however often one looks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

BLOCK_BYTES = 1 << 22
"""Bytes of a file that are read at once; more of them take more memory, and fewer take longer."""
COMPARED_BYTES = 1 << 12
"""Bytes before the place where reading goes on that must be as they were. With fewer, a file that was written anew
would more often be taken for one that grew."""
_State = tuple[int, int, int, int]


class GrowingFile:
    """A file of lines that grows while it is read, and where reading goes on.

    A file that became shorter, that another one replaced, or that was written anew in place is read from its beginning.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state: _State | None = None  # device, inode, size and time, when it was last read to its end
        self._offset = 0  # bytes up to the end of the last whole line that was read
        self._before = b""  # the last of those bytes

    def new_lines(self) -> tuple[bool, Iterator[bytes]]:
        """Return whether what was read before is void, and an iterator over blocks of the whole lines that follow it.

        The lines are those that are there now; half a line at the end is left for the next time. Read all blocks, or
        the next call begins anew. A file that is not there has no lines. Raises OSError if it cannot be read.
        """
        had_lines = self._offset > 0
        try:
            file = open(self.path, "rb")  # noqa: SIM115 - `_blocks` closes it
        except FileNotFoundError:
            self._forget()
            return had_lines, iter(())
        status = os.fstat(file.fileno())
        state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if state == self._state:
            file.close()
            return False, iter(())
        goes_on = self._goes_on(file, state)
        if not goes_on:
            self._forget()
        self._state = None
        return had_lines and not goes_on, self._blocks(file, state)

    def _forget(self) -> None:
        self._state, self._offset, self._before = None, 0, b""

    def _goes_on(self, file: BinaryIO, state: _State) -> bool:
        """Return whether a file begins with what was read of it, as far as can be seen at once."""
        if not self._state or state[:2] != self._state[:2] or state[2] < self._offset or state[2] == self._state[2]:
            return False  # of the same size with another time: it was written in place
        file.seek(self._offset - len(self._before))
        return file.read(len(self._before)) == self._before

    def _blocks(self, file: BinaryIO, state: _State) -> Iterator[bytes]:
        with file:
            file.seek(self._offset)
            at, skipping = self._offset, False
            while block := file.read(min(BLOCK_BYTES, state[2] - at)):
                at += len(block)
                begin = block.find(b"\n") + 1 if skipping else 0
                whole = block[begin : block.rfind(b"\n") + 1]
                if b"\n" in block:
                    at = self._offset = at - len(block) + block.rfind(b"\n") + 1
                    file.seek(at)
                    skipping = False
                else:
                    skipping = True  # a line longer than a block is none of ours, or it is half a line
                if whole:
                    yield whole
            file.seek(self._offset - min(self._offset, COMPARED_BYTES))
            self._before = file.read(min(self._offset, COMPARED_BYTES))
        self._state = state
