"""Locks against two runs on the same clips: a subset belongs to one run at a time, or to several with a shard each."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from kinetics.errors import Fatal
from kinetics.os_errors import NO_LOCKS
from kinetics.records import Subset
from kinetics.storage.atomic import cannot_write
from kinetics.storage.layout import Layout
from kinetics.storage.lease import LEASE_S, Held, hold_lease, other_holder

Tell = Callable[[str], object]
"""Says something to the person at the terminal."""


@contextmanager
def hold_subsets(layout: Layout, subsets: Sequence[Subset], tell: Tell) -> Iterator[None]:
    """Hold the locks of these subsets, or of our shard of them. Unfinished files are removed before and after.

    Raises Fatal if another run holds one of them, or if a lock file cannot be written.
    """
    with ExitStack() as stack:
        for subset in subsets:
            stack.enter_context(lock(layout, subset, "lock", tell if subset == subsets[0] else _say_nothing))
            if layout.shard:
                stack.enter_context(share_subset(layout.without_shard, subset))
            layout.discard_partial(subset)
            stack.callback(layout.discard_partial, subset)
        yield


@contextmanager
def lock(layout: Layout, subset: Subset, name: str, tell: Tell) -> Iterator[None]:
    """Hold one lock of a subset exclusively, or a lease where the file system has no locks.

    Raises Fatal if another run holds it.
    """
    path = layout.state_file(subset, name)
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not stack.enter_context(_flock(path, fcntl.LOCK_EX)):
                stack.enter_context(hold_lease(_lease(path)))
                tell(
                    f"{layout.folder}: this file system has no locks, so a file keeps other runs away. If this run is "
                    f"killed, one on another machine can go on after {LEASE_S / 60:g} minutes."
                )
        except (BlockingIOError, Held) as error:
            raise _busy(layout, subset, str(error) if isinstance(error, Held) else "") from None
        except OSError as error:
            raise cannot_write(error, layout.folder) from error
        yield


@contextmanager
def share_subset(layout: Layout, subset: Subset) -> Iterator[None]:
    """Share the lock of a subset with the runs on its other shards; a run on the whole subset holds it exclusively.

    On a file system without locks nothing is held: at worst, a run on the whole subset that starts later fetches the
    same clips.
    """
    path = layout.state_file(subset, "lock")
    with ExitStack() as stack:
        try:
            if not stack.enter_context(_flock(path, fcntl.LOCK_SH)) and (holder := other_holder(_lease(path))):
                raise Held(holder)
        except (BlockingIOError, Held) as error:
            raise _busy(layout, subset, str(error) if isinstance(error, Held) else "") from None
        except OSError as error:
            raise cannot_write(error, layout.folder) from error
        yield


@contextmanager
def _flock(path: Path, kind: int) -> Iterator[bool]:
    """Lock a file, and yield whether the file system can do that. Raises BlockingIOError if another run has locked it.

    The file stays, since another run may have it open.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        if error.errno not in NO_LOCKS:
            raise
        yield False
        return
    try:
        yield True
    finally:
        os.close(file)


def _lease(lock: Path) -> Path:
    return lock.with_name(f"{lock.name}.held")


def _say_nothing(_: str) -> None:
    pass


def _busy(layout: Layout, subset: Subset, holder: str) -> Fatal:
    comma = "," if layout.shard else ""
    return Fatal(
        f"another run is already working on {layout.title(subset)}{comma} in {layout.root}: "
        f"wait for it to end{holder and f' ({holder})'}, or choose another folder with -o"
    )
