"""Locks against two runs on the same clips: a subset belongs to one run at a time, or to several with a shard each."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from kinetics.errors import Fatal
from kinetics.os_errors import NO_LOCKS
from kinetics.records import Subset
from kinetics.storage.atomic import cannot_write
from kinetics.storage.layout import Layout
from kinetics.storage.lease import LEASE_S, Held, hold_lease, other_holder

AT_WORK = "at_work.lock"
"""The name of the lock that shows that a run is at work."""
LOOK_TRIES, LOOK_S = 20, 0.01
"""How often a run tries to take that lock, and the seconds in between. Who looks holds it for some microseconds; with
fewer tries, a run that begins at that moment could stay unseen."""
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
                stack.enter_context(_seen_at_work(layout.without_shard, subset))
            stack.enter_context(_seen_at_work(layout, subset))
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
        with _acquiring(layout, subset):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not stack.enter_context(_flock(path, fcntl.LOCK_EX)):
                stack.enter_context(hold_lease(_lease(path)))
                tell(
                    f"{layout.folder}: this file system has no locks, so a file keeps other runs away. If this run is "
                    f"killed, one on another machine can go on after {LEASE_S / 60:g} minutes."
                )
        yield


@contextmanager
def share_subset(layout: Layout, subset: Subset) -> Iterator[None]:
    """Share the lock of a subset with the runs on its other shards; a run on the whole subset holds it exclusively.

    On a file system without locks nothing is held: at worst, a run on the whole subset that starts later fetches the
    same clips.
    """
    path = layout.state_file(subset, "lock")
    with ExitStack() as stack:
        with _acquiring(layout, subset):
            if not stack.enter_context(_flock(path, fcntl.LOCK_SH)) and (holder := other_holder(_lease(path))):
                raise Held(holder)
        yield


@contextmanager
def _acquiring(layout: Layout, subset: Subset) -> Iterator[None]:
    """Turn what keeps a run from a lock into Fatal: another run holds it, or its file cannot be made."""
    try:
        yield
    except (BlockingIOError, Held) as error:
        raise _busy(layout, subset, str(error) if isinstance(error, Held) else "") from None
    except OSError as error:
        raise cannot_write(error, layout.folder) from error


def is_at_work(layout: Layout, subsets: Sequence[Subset]) -> bool:
    """Return whether a run has one of these subsets, or a shard of one; False where that cannot be seen.

    The locks that runs hold against each other are not touched, so a run that starts meanwhile is never turned away.
    """
    return any(_is_at_work(layout, subset) for subset in subsets)


def _is_at_work(layout: Layout, subset: Subset) -> bool:
    """Return whether the lock that shows a run at work is held; on a file system without locks, a lease."""
    path = layout.state_file(subset, AT_WORK)
    try:
        file = os.open(path, os.O_RDWR if os.access(path, os.W_OK) else os.O_RDONLY)
    except OSError:
        return False  # no run has been here
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            return isinstance(error, BlockingIOError)
        leases = [_lease(layout.state_file(subset, "lock"))]
        leases += [] if layout.shard else [*path.parent.glob(f"shard*/{subset}.lock.held")]
        return any(map(other_holder, leases))
    finally:
        os.close(file)
    return False


@contextmanager
def _seen_at_work(layout: Layout, subset: Subset) -> Iterator[None]:
    """Hold the lock that shows others a run at work; it keeps nobody away, so runs on shards share that of the subset.

    Where it is not to be had, nobody sees the run, which goes on nevertheless.
    """
    with ExitStack() as stack:
        with suppress(OSError):  # somebody may be looking at this moment
            for _ in range(LOOK_TRIES):
                with suppress(BlockingIOError):
                    stack.enter_context(_flock(layout.state_file(subset, AT_WORK), fcntl.LOCK_SH))
                    break
                time.sleep(LOOK_S)
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
