"""Faults of this machine that fail every clip alike, since no thread or process can be started: they end the run."""

from __future__ import annotations

import errno
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from kinetics.errors import Fatal

PIDS_LIMITS = (Path("/sys/fs/cgroup/pids.max"), Path("/sys/fs/cgroup/pids/pids.max"))
"""Where Linux says how many processes and threads a container may have, in cgroups of version 2 and 1."""
NOT_STARTED = (errno.EAGAIN, errno.ENOMEM)
"""What a system says that cannot start a process: a limit is reached, or its memory."""


def machine_fault(error: BaseException) -> Fatal | None:
    """Return the Fatal for an error that says, or was raised because, no thread or process can be started; else None.

    Engines wrap such errors in their own, in words that say something else.
    """
    for one in _causes(error):
        thread = isinstance(one, RuntimeError) and "can't start new thread" in str(one)
        if thread or (isinstance(one, OSError) and one.errno in NOT_STARTED and _is_of_a_start(one)):
            return no_more_processes()
    return None


def check_room() -> None:
    """Raise Fatal if no process can be started. A thread counts as one, and is the quickest to try."""
    try:
        thread = threading.Thread(target=lambda: None, daemon=True)
        thread.start()
    except RuntimeError as error:
        raise no_more_processes() from error
    thread.join()


def no_more_processes() -> Fatal:
    """Return the error that names the limits of processes and threads."""
    limits = list[str]()
    most, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if most != resource.RLIM_INFINITY and os.geteuid() != 0:  # it does not hold for root
        limits.append(f"this user may have {most:,} (ulimit -u)")
    for file in PIDS_LIMITS:
        with suppress(OSError, ValueError):
            limits.append(f"this container may have {int(file.read_text('ascii')):,} (pids limit)")
    known = " and ".join(limits) or "no limit is set, so the system has no room for more"
    what = f"No more processes or threads can be started here: {known}"
    return Fatal(f"{what}. Raise the limit, end other programs, or use fewer workers (-w), and run the command again.")


def _causes(error: BaseException) -> Iterator[BaseException]:
    one: BaseException | None = error
    seen = set[int]()
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def _is_of_a_start(error: BaseException) -> bool:
    """Whether the error was raised where subprocess starts a process: files and locks can fail in the same words."""
    at = error.__traceback__
    while at and at.tb_next:
        at = at.tb_next
    return at is not None and at.tb_frame.f_code.co_name == "_execute_child"
