"""Keeps two runs off the same clips: one run at a time has a subset, or several, each on a part of it."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from filelock import FileLock, Timeout

from kinetics.errors import Fatal
from kinetics.records import Subset
from kinetics.storage.atomic import cannot_write
from kinetics.storage.layout import Layout


@contextmanager
def hold_subsets(layout: Layout, subsets: Sequence[Subset]) -> Iterator[None]:
    """Have these subsets to ourselves. What a killed run left unfinished is cleared away, and our own in the end.

    Raises Fatal where another run has one, or none can be had.
    """
    with ExitStack() as stack:
        for subset in subsets:
            stack.enter_context(lock(layout, subset, "lock"))
            if layout.shard:
                stack.enter_context(share_subset(layout.without_shard, subset))
            layout.discard_partial(subset)
            stack.callback(layout.discard_partial, subset)
        yield


@contextmanager
def lock(layout: Layout, subset: Subset, name: str) -> Iterator[None]:
    """Have a lock of a subset's alone. Raises Fatal where another run has it."""
    path = layout.state_file(subset, name)
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(path, timeout=0))
        except Timeout:
            raise _busy(layout, subset) from None
        except OSError as error:
            raise cannot_write(error, layout.folder) from error
        yield


@contextmanager
def share_subset(layout: Layout, subset: Subset) -> Iterator[None]:
    """Let runs on parts of a subset share its lock, and keep them apart from one on all of it, which has it alone.

    Not where the file system knows no such locks: there both could fetch the same clips, and no worse.
    """
    with ExitStack() as stack:
        try:
            file = os.open(layout.state_file(subset, "lock"), os.O_RDWR | os.O_CREAT, 0o666)
            stack.callback(os.close, file)
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _busy(layout, subset) from None
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise cannot_write(error, layout.folder) from error
        yield


def _busy(layout: Layout, subset: Subset) -> Fatal:
    shard = f", shard {layout.shard}," if layout.shard else ""
    return Fatal(
        f"another run is already working on Kinetics{layout.version} {subset}{shard} in {layout.root}: "
        "wait for it to end, or choose another folder with -o"
    )
