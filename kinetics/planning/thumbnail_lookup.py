"""Asks for thumbnails ahead, in a thread beside the run."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from kinetics.records import Thumbnail

MOST_A_SECOND = 20
"""Most requests in any second; the first ones go out at once. More of them are of no use, as clips come more slowly; a
smaller number shows later which clips are worth a player call where these are not limited."""
RETRY_S = 600.0
"""Seconds after which a host that did not answer is asked again."""

Ask = Callable[[str], Thumbnail]
"""Asks for the thumbnail of a video, and waits for the answer."""


class RequestLimit:
    """Limits requests to MOST_A_SECOND in any second."""

    def __init__(self) -> None:
        self._sent = deque[float](maxlen=MOST_A_SECOND)

    def wait(self, now: float) -> float:
        """Return the seconds until the next request may go out."""
        return max(0.0, self._sent[0] + 1.0 - now) if len(self._sent) == MOST_A_SECOND else 0.0

    def sent(self, now: float) -> None:
        self._sent.append(now)


class ThumbnailLookup:
    """The requests for thumbnails of a run, and the answers that came. The caller is one thread.

    Two kinds of requests take turns: those for the clips that are about to go out, and the others. `start` begins;
    what happens in the thread never ends the run, nor keeps it from ending.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._queues = (deque[str](), deque[str]())
        self._answers = deque[tuple[str, Thumbnail]]()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="thumbnails", daemon=True)
        self.failures = 0
        """Requests in a row that the host did not answer; the next one goes out after RETRY_S."""

    @property
    def answering(self) -> bool:
        """Whether the host answered the last request, if there was one."""
        return not self.failures

    def start(self) -> None:
        """Begin to ask; where no more threads can be started, the host counts as one that does not answer."""
        try:
            self._thread.start()
        except RuntimeError:
            self.failures = sys.maxsize

    def close(self) -> None:
        """Ask nothing more. A request that is under way is not waited for."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def request(self, ids: Iterable[str], *, soon: bool = False) -> None:
        """Ask for the thumbnails of these videos; `soon`: of clips that are about to go out."""
        with self._changed:
            self._queues[not soon].extend(ids)
            self._changed.notify_all()

    def answers(self) -> list[tuple[str, Thumbnail]]:
        """Return the answers that came since the last call, each with its video."""
        return [self._answers.popleft() for _ in range(len(self._answers))]

    def wait(self, seconds: float) -> None:
        """Wait for an answer, or until the host turns out not to answer."""
        with self._changed:
            before = self.failures
            self._changed.wait_for(lambda: self._answers or self.failures != before, seconds)

    def _work(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are the main thread's
        limit, turn = RequestLimit(), 0
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or any(self._queues))
                    self._changed.wait_for(lambda: self._closed, limit.wait(time.monotonic()))
                    if self._closed:
                        return
                    turn = 1 - turn if self._queues[1 - turn] else turn
                    video_id = self._queues[turn].popleft()
                limit.sent(time.monotonic())
                found = self._ask(video_id)
                with self._changed:
                    if found == "no answer":
                        self.failures += 1
                        self._queues[turn].appendleft(video_id)
                    else:
                        self.failures = 0
                        self._answers.append((video_id, found))
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._closed or self.answering, RETRY_S)
        finally:
            with self._changed:
                self.failures = sys.maxsize
                self._changed.notify_all()
