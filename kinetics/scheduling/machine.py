"""Faults of this machine that fail every clip alike: no more threads, processes or memory. They end the run."""

from __future__ import annotations

import errno
import os
import resource
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from kinetics.errors import Fatal

PIDS_LIMITS = (Path("/sys/fs/cgroup/pids.max"), Path("/sys/fs/cgroup/pids/pids.max"))
"""Where Linux says how many processes and threads a container may have, in cgroups of version 2 and 1."""
MEMORY_LIMIT = 1 << 31
"""Memory of a worker in bytes: an input that needs more fails its clip instead of the machine. A clip of 4K video takes
1.3 GB, so a limit below that fails such clips."""
LEAST_MEMORY = {"v": 350 << 20, "d": 128 << 20}
"""Bytes of address space, and of data, below which the libraries do not load, by the option of ulimit."""
NOT_MAPPED = (
    *("failed to map segment", "cannot map zero-fill pages", "cannot change memory protections"),
    *("cannot create shared object descriptor", "annot allocate"),
)
"""What the system (glibc) says of a compiled module for which there is no memory."""
NOT_STARTED = (errno.EAGAIN, errno.ENOMEM)
"""What a system says that cannot start a process: a limit is reached, or its memory."""


def machine_fault(error: BaseException) -> Fatal | None:
    """Return the Fatal for an error that was raised because this machine lacks what every clip needs; else None.

    That is a thread, a process, or memory where less than MEMORY_LIMIT is allowed: with more, the clip takes too much.
    Engines wrap such errors in their own, in words that say something else.
    """
    for one in _causes(error):
        thread = isinstance(one, RuntimeError) and "can't start new thread" in str(one)
        if thread or (isinstance(one, OSError) and one.errno in NOT_STARTED and _is_of_a_start(one)):
            return no_more_processes()
        if isinstance(one, MemoryError) and _memory_limits():
            return no_more_memory()
        if isinstance(one, ImportError) and any(words in str(one) for words in NOT_MAPPED):
            return no_more_memory()
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


def check_memory() -> None:
    """Raise Fatal if a process may have too little memory to load the libraries, which would end it in their way."""
    if _memory_limits(LEAST_MEMORY):
        raise no_more_memory()


def no_more_memory() -> Fatal:
    """Return the error that names the limits of memory."""
    known = " and ".join(_memory_limits()) or "the system has no more"
    what = f"There is too little memory: {known}"
    return Fatal(f"{what}. Raise the limit, or end other programs, and run the command again.")


def _memory_limits(below: Mapping[str, int] = dict.fromkeys("vd", MEMORY_LIMIT)) -> list[str]:
    """Return the limits on a process's memory that are below these numbers of bytes, in words."""
    names = {"v": resource.RLIMIT_AS, "d": resource.RLIMIT_DATA}
    soft = {option: resource.getrlimit(limit)[0] for option, limit in names.items()}
    return [
        f"a process may have {most >> 20:,} MiB (ulimit -{option})"
        for option, most in soft.items()
        if most != resource.RLIM_INFINITY and most < below[option]
    ]


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
