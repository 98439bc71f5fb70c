"""The pace of an address in a small file, which all runs of a user on this host share, at once and one after another.

A restart is no new burst then, and neither is a second run. Deleting the file costs nothing but a burst.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import platformdirs

from kinetics.errors import Fatal
from kinetics.scheduling.ban_learner import HOUR_S
from kinetics.scheduling.call_pace import CallCount, CallPace, Pacing
from kinetics.scheduling.events import SpacingChanged
from kinetics.storage.atomic import atomic_write
from kinetics.storage.user_files import read_limited

KEPT_S = 48 * HOUR_S
"""Seconds after its last call for which an address is kept. After a longer time, YouTube's limit may be another."""
WRITE_EVERY_S = 1.0
"""Shortest time in seconds between two writes that only count calls. A run that is killed forgets the calls since."""
CLAIM_FROM_S = 1.0
"""Seconds between two clips from which a run claims its turn in the file, so that no other takes the same one."""
YIELD_S = 0.6
"""Seconds for which a run that sent the last clip leaves the next turn to another, if one is at work. More than the
time between two looks at the file (TICK_S), or the other would not see its turn."""
YIELDS = 3
"""Turns that are left to another run after it last wrote the file. If it takes none of them, it counts as ended."""
MAX_UNWRITTEN = 1000
"""Calls that are kept for a file that cannot be written; without a limit, a long run would keep them all."""
LOCK_PATIENCE_S = 0.5
"""Seconds to wait for the lock. A run that was stopped while it held it costs the others that much, and no more."""
CLOCK_SKEW_S = 60.0
"""Seconds that a time in the file may lie in the future; what is later was written before the clock was set back."""
MAX_BYTES = 1 << 20
"""Bytes of the largest file that is read; it has some 10 kB for each address."""
FORMAT = 1
"""Of the file; one of another format is taken for none."""
_T = TypeVar("_T")


def pace_file() -> Path:
    """Return the path of the file for this user and host. A cache folder may be shared by several hosts."""
    return platformdirs.user_cache_path("kinetics-downloader") / f"player_calls_{platform.node()}.json"


class SharedPace(Pacing):
    """The pace of one address that stands in a file, as its last reader or writer left it.

    With `limited` off, this run keeps a pace of its own, and only notes its calls and its pauses for others. A file
    that cannot be read counts as empty, and one that cannot be written is done without.
    """

    def __init__(self, file: Path, address: str, *, limited: bool = True) -> None:
        self._file = file
        self._address = address
        self._own = None if limited else CallPace(limited=False)
        self._shared = CallPace()
        self._version: tuple[int, ...] | None = None  # of the file that `_shared` is from
        self._unwritten: list[Callable[[CallPace], None]] = []  # what this run did that is not in the file
        self._written_at = -math.inf
        self._claimed_at = -math.inf  # the turn that this run has taken, and not used yet
        self._sent_at = -math.inf
        self._yields_left = 0
        self._due_at = math.inf  # since when this run could have taken its next turn

    @property
    def interval_s(self) -> float:
        """Seconds between two clips; 0 while they go out as fast as the workers can."""
        return (self._own or self._shared).interval_s

    @property
    def published(self) -> bool:
        """Whether clips are spread over time by what YouTube is said to allow."""
        return not self._own and self._shared.published

    def pause(self, now: float) -> tuple[float, str]:
        """Return for how many seconds all runs wait after a refusal, and YouTube's words for it."""
        if self._own:
            return 0.0, ""
        self._refresh(now)
        return self._shared.pause(now)

    def calls(self, now: float) -> CallCount:
        """Return the calls of the last hour, those of other runs included, and those that are left for all of them."""
        self._refresh(now)
        counted = self._shared.calls(now)
        return counted._replace(left=None) if self._own else counted

    def wait(self, now: float) -> float:
        """Return the seconds until the next clip may go out; 0 once this run has claimed its turn."""
        self._flush(now)
        if self._own:
            return self._own.wait(now)
        self._refresh(now)
        if self._claimed_at == self._shared.last_call_at:
            return 0.0
        if wait := self._shared.wait(now):
            return wait
        if not self._shared.in_ban and self._shared.interval_s < CLAIM_FROM_S:
            return 0.0
        if self._yields_left and self._sent_at == self._shared.last_call_at:
            self._due_at = min(self._due_at, now)
            if now < self._due_at + YIELD_S:
                return self._due_at + YIELD_S - now
            self._yields_left -= 1
        return self._change(now, lambda pace: self._claim(pace, now))

    def sent(self, now: float) -> None:
        """Take in that a clip has gone out."""
        if self._own:
            self._own.sent(now)
        self._note(partial(CallPace.note, now=now) if self._own else partial(CallPace.sent, now=now))
        self._claimed_at, self._sent_at, self._due_at = -math.inf, now, math.inf
        self._flush(now)

    def spend(self, calls: int, now: float) -> None:
        """Take in that a clip cost this many player calls more than the one that was counted when it went out."""
        self._note(partial(CallPace.spend, calls=calls, now=now))

    def refused(self, now: float, at_least: float, reason: str) -> float:
        """Take in that YouTube refused everybody; returns the seconds to pause, at least `at_least`."""
        if self._own:
            pause_s = self._own.refused(now, at_least, reason)
            self._change(now, lambda pace: pace.begin_pause(now + pause_s, reason))
            return pause_s
        return self._change(now, lambda pace: pace.refused(now, at_least, reason))

    def answered(self, now: float) -> SpacingChanged | None:
        """Take in an answer; the first one after a ban may change the spacing, and the change is returned."""
        if self._own:
            if self._own.in_ban:
                self._change(now, CallPace.end_pause)
            return self._own.answered(now)
        self._refresh(now)
        return self._change(now, lambda pace: pace.answered(now)) if self._shared.in_ban else None

    def close(self, now: float) -> None:
        """Write the calls that were not written yet."""
        if self._unwritten:
            self._change(now, lambda pace: None)

    def _claim(self, pace: CallPace, now: float) -> float:
        """Take the turn, unless another run has just done so."""
        if wait := pace.wait(now):
            return wait
        self._claimed_at = pace.last_call_at = now
        if pace.in_ban:
            pace.begin_probe(now)
        return 0.0

    def _note(self, call: Callable[[CallPace], None]) -> None:
        call(self._shared)
        self._unwritten = [*self._unwritten[-MAX_UNWRITTEN:], call]

    def _flush(self, now: float) -> None:
        if self._unwritten and abs(now - self._written_at) >= WRITE_EVERY_S:
            self.close(now)

    # --- the file ---

    def _change(self, now: float, change: Callable[[CallPace], _T]) -> _T:
        """Make a change to the newest state under the lock, and write it."""
        with self._locked():
            self._refresh(now)
            result = change(self._shared)
            self._written_at = now
            with suppress(OSError, Fatal):
                self._write(now)
                self._unwritten.clear()
        return result

    def _refresh(self, now: float) -> None:
        """Read the file if it has changed, and add what this run has not written yet."""
        version = self._file_version()
        if version is None or version == self._version:
            return
        self._version = version
        if not (found := self._read(now).get(self._address)):
            return  # another program's fault, or it was deleted: what this run knows is right
        self._shared, self._yields_left = found, YIELDS
        for call in self._unwritten:
            call(self._shared)

    def _file_version(self) -> tuple[int, ...] | None:
        with suppress(OSError):
            state = self._file.stat()
            return state.st_mtime_ns, state.st_size, state.st_ino
        return None

    def _read(self, now: float) -> dict[str, CallPace]:
        """Return the paces in the file by their addresses; those that are damaged, or in the future, are left out."""
        try:
            found = json.loads(read_limited(self._file, MAX_BYTES))
            addresses = found["addresses"] if found["format"] == FORMAT else {}
        except (OSError, ValueError, LookupError, TypeError, RecursionError, Fatal):
            return {}
        paces = dict[str, CallPace]()
        for address, state in addresses.items() if isinstance(addresses, dict) else ():
            with suppress(ValueError, TypeError, LookupError, OverflowError):
                pace = restored(state, now)
                if pace.last_call_at > now - KEPT_S:
                    paces[address] = pace
        return paces

    def _write(self, now: float) -> None:
        paces = self._read(now) | {self._address: self._shared}
        text = json.dumps({"format": FORMAT, "addresses": {key: asdict(one) for key, one in paces.items()}})
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(self._file) as temporary:
            temporary.write_text(text, "utf-8")
        self._version = self._file_version()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock, if there is one to be had; the system releases it when the process dies."""
        lock = None
        try:
            with suppress(OSError):
                self._file.parent.mkdir(parents=True, exist_ok=True)
                lock = os.open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                _lock(lock)
            yield
        finally:
            if lock is not None:
                os.close(lock)


def _lock(file: int) -> None:
    """Lock a file. Raises OSError if it has no locks, or somebody holds it for too long."""
    patience_ends = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > patience_ends:
                raise
            time.sleep(0.005)
        else:
            return


def restored(state: Mapping[str, Any], now: float) -> CallPace:
    """Return the pace that `asdict` made `state` of, without what is in the future: the clock was set back since.

    Raises ValueError or TypeError if it is none.
    """
    pace, latest = _restored(CallPace, state), now + CLOCK_SKEW_S
    calls = sorted(one for one in pace.budget.calls if one[0] <= latest)
    times = [
        *(pace.last_call_at, pace.paused_until - 6 * HOUR_S, pace.bans.first_refusal_at, pace.spacing.spaced_at),
        *(pace.spacing.last_refusal_at, pace.spacing.first_refusal_at, pace.spacing.burst_began_at),
        *(pace.budget.step_began_at, pace.budget.refused_at, pace.spacing.hold_until - 24 * HOUR_S),
    ]
    impossible = pace.budget.per_hour < 1 or pace.spacing.seconds > KEPT_S
    if impossible or any(one is not None and one > latest for one in times):
        pace = CallPace(last_call_at=calls[-1][0] if calls else 0.0)
    pace.budget.calls = calls
    return pace


def _restored(kind: type[_T], found: Mapping[str, Any]) -> _T:
    """Return the dataclass that `asdict` made `found` of. Raises ValueError or TypeError if it is none."""
    if not is_dataclass(kind) or not isinstance(found, dict) or found.keys() != {one.name for one in fields(kind)}:
        raise ValueError(f"not a {kind.__name__}")
    hints = _hints(kind)
    values: dict[str, object] = {name: _value(hints[name], value) for name, value in found.items()}
    return kind(**values)


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _value(hint: Any, found: Any) -> object:
    """Return a field's value if it has the type that it should, and is neither negative nor endless."""
    if is_dataclass(hint):
        return _restored(hint, found)  # type: ignore[arg-type]
    if hint == list[list[float]]:
        return [[_number(begin), _number(count)] for begin, count in found]
    if hint in (bool, str):
        if type(found) is not hint:
            raise ValueError(f"not a {hint.__name__}")
        return found
    return None if found is None and hint not in (float, int) else _number(found)


def _number(found: object) -> float:
    if type(found) not in (int, float) or not 0 <= found < math.inf:  # type: ignore[operator]
        raise ValueError("not a number from zero on")
    return found  # type: ignore[return-value]
