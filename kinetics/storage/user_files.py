"""Reads the files that a person names in an option: none is waited for without end, or larger than it may be."""

from __future__ import annotations

import errno
import io
import os
import select
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

from kinetics.errors import Fatal

MAX_SMALL_FILE = 1 << 24
"""Maximum size in bytes of a file that a person writes or exports by hand, such as a list of classes, or cookies."""
PIPE_WAIT_S = 30.0
"""Longest wait in seconds for the next bytes of a pipe, such as `<(zcat list.csv.gz)`; then nobody writes to it."""
BLOCK_BYTES = 1 << 20
"""Bytes that are read at once; memory for that many may be taken beyond what a file has."""


def read_limited(path: Path, limit: int) -> bytes:
    """Read a file of at most `limit` bytes, or a pipe. Raises Fatal if it is larger, OSError if it cannot be read."""
    with open(path, "rb", opener=_open_nonblocking) as file:
        state = os.fstat(file.fileno())
        if stat.S_ISCHR(state.st_mode) or stat.S_ISBLK(state.st_mode):
            raise OSError(errno.EINVAL, "it is a device, not a file", str(path))
        if state.st_size > limit:  # a file of holes takes no room on the disk, but would in memory
            raise too_large(str(path), limit)
        data = read_blocks(partial(_read_or_wait, path, file.fileno()), limit)
    if len(data) > limit:
        raise too_large(str(path), limit)
    return data


def too_large(name: str, limit: int) -> Fatal:
    """Return the error for a file of more than `limit` bytes."""
    return Fatal(f"{name} has more than {limit >> 20} MiB, too much for such a file. Name another file.")


def _open_nonblocking(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # opening a pipe would wait for its writer


def read_blocks(read: Callable[[int], bytes], limit: int) -> bytes:
    """Return all that `read` gives, or some bytes more than `limit`.

    A single call would take memory for `limit` bytes at once, however few there are.
    """
    content = io.BytesIO()
    while content.tell() <= limit and (block := read(BLOCK_BYTES)):
        content.write(block)
    return content.getvalue()


def _read_or_wait(path: Path, file: int, count: int) -> bytes:
    waiting = select.poll()
    waiting.register(file, select.POLLIN)
    if not waiting.poll(PIPE_WAIT_S * 1000):
        raise OSError(errno.ETIMEDOUT, f"it is a pipe, and nothing came for {PIPE_WAIT_S:g} seconds", str(path))
    return os.read(file, count)
