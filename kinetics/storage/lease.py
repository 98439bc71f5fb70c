"""A lease: a lock for file systems that have none, a file that says who holds it and is touched while it is held.

The lease of a run that was killed ends at once for a run on the same machine, where the process is seen to be gone, and
elsewhere when the file has not been touched for LEASE_S.
"""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kinetics.storage.atomic import move

LEASE_S = 300.0
"""Seconds for which a lease counts after it was touched last. A shorter one is lost while its machine hangs."""
TOUCH_S = 30.0
"""Seconds between two touches."""


class Held(Exception):
    """Another run has the lease; the message says which."""


@contextmanager
def hold_lease(path: Path) -> Iterator[None]:
    """Hold the lease in this file. Raises Held if another run does, and OSError if the file cannot be written."""
    ours = f"{_this_process()} {uuid.uuid4().hex}\n"
    _take(path, ours)
    ended = threading.Event()
    threading.Thread(target=_keep_touching, args=(path, ours, ended), daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        if _content(path) == ours:
            path.unlink(missing_ok=True)


def other_holder(path: Path) -> str:
    """Return who holds the lease in this file, for a person; empty if nobody does any more."""
    held = _content(path)
    if held is None:
        return ""
    host, pid, start = (*held.split()[:3], "", "", "")[:3]
    if host == _host() and pid.isdecimal():
        return f"process {pid}" if _start_of(int(pid)) == start else ""
    if _age_s(path) >= LEASE_S:
        return ""
    return f"process {pid} on {host.partition('/')[0]}; if it was killed, within {LEASE_S / 60:g} minutes from then"


def _take(path: Path, ours: str) -> None:
    for _ in range(2):  # the second time, without the lease that has ended
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            before = _content(path)
            if holder := other_holder(path):
                raise Held(holder) from None
            _remove(path, before)
            continue
        with os.fdopen(file, "w", encoding="utf-8") as lease, _removed_on_error(path):
            lease.write(ours)
            lease.flush()
        return
    raise Held(other_holder(path) or "another run that has just started")


@contextmanager
def _removed_on_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _remove(path: Path, content: str | None) -> None:
    """Remove a lease that has ended; one with another content, which a run has taken meanwhile, is put back."""
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    with suppress(FileNotFoundError):  # another run has removed it
        move(path, aside)
        if _content(aside) != content:
            with suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()


def _keep_touching(path: Path, ours: str, ended: threading.Event) -> None:
    while not ended.wait(TOUCH_S):
        with suppress(OSError):  # it is tried again, several times before the lease ends
            if _content(path) == ours:
                os.utime(path)


def _content(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _age_s(path: Path) -> float:
    """Return the seconds since a lease was touched, by the clock of the file system: hosts' clocks may differ."""
    probe = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        probe.touch()
        return probe.stat().st_mtime - path.stat().st_mtime
    except FileNotFoundError:
        return LEASE_S
    finally:
        probe.unlink(missing_ok=True)


def _this_process() -> str:
    return f"{_host()} {os.getpid()} {_start_of(os.getpid())}"


def _host() -> str:
    """Return this machine's name, with what tells its present start, or container, from others of that name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        boot = space = ""
    return f"{socket.gethostname()}/{boot}/{space}".replace(" ", "")


def _start_of(pid: int) -> str:
    """Return when a process of this machine started, in the kernel's ticks; empty if there is no such process."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except OSError:
        return ""
    return status.rpartition(")")[2].split()[19]
