"""Locks against two runs on the same clips: a subset belongs to one run at a time, or to several with a shard each."""

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
    """Hold the locks of these subsets, or of our shard of them. Unfinished files are removed before and after.

    Raises Fatal if another run holds one of them, or if a lock file cannot be written.
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
    """Hold one lock of a subset exclusively. Raises Fatal if another run holds it."""
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
    """Share the lock of a subset with the runs on its other shards; a run on the whole subset holds it exclusively.

    On a file system without such locks (ENOSYS) nothing is held: at worst, both runs fetch the same clips.
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
    comma = "," if layout.shard else ""
    return Fatal(
        f"another run is already working on {layout.title(subset)}{comma} in {layout.root}: "
        "wait for it to end, or choose another folder with -o"
    )
