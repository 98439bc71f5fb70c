"""The connection to a Dask scheduler."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from distributed import Client, Future

from kinetics.scheduling import dask_worker
from kinetics.scheduling.dask_worker import TOPIC

DASK_CALL_TIMEOUT_S = 10.0
"""Seconds for a call that the scheduler or a worker answers at once; after it, the connection counts as lost."""
CLOSE_TIMEOUT_S = 10.0
"""Seconds to wait at the end of a run for its tasks to be cancelled, and again for the connection to close."""


class SchedulerConnection:
    """The connection to a Dask scheduler; all calls to Dask go through it. Raises OSError when there is none."""

    def __init__(self, scheduler: str, on_event: Callable[[tuple[float, Any]], None]) -> None:
        for name in ("distributed", "distributed.client", "distributed.batched", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # the run reports what matters itself
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._client = Client(scheduler, timeout=DASK_CALL_TIMEOUT_S, set_as_default=False)
        self._client.subscribe_topic(TOPIC, on_event)

    def workers(self) -> Mapping[str, int]:
        """Return the workers, each with its number of threads."""
        if self._client.status != "running":
            raise ConnectionError(self._client.status)
        assert self._client.scheduler
        threads: Mapping[str, int] = self._client.sync(
            self._client.scheduler.ncores, callback_timeout=DASK_CALL_TIMEOUT_S
        )
        return threads

    def submit(self, worker: str, key: str, task: Callable[..., object], *args: object) -> Future[Any]:
        """Have a task done by this worker."""
        return self._client.submit(task, *args, key=key, workers=[worker], allow_other_workers=False, pure=False)

    def end_run(self, run: str, workers: Sequence[str], futures: Sequence[Future[Any]]) -> None:
        """End all that these workers still do for the run, as far as they can be reached, and close the connection."""

        def end_run() -> None:
            with suppress(OSError):
                self._client.cancel(futures)
                self._client.run(dask_worker.end_run, run, workers=[*workers], on_error="ignore")

        thread = threading.Thread(target=end_run, daemon=True)
        thread.start()
        thread.join(CLOSE_TIMEOUT_S)
        self.close().join(CLOSE_TIMEOUT_S)

    def close(self) -> threading.Thread:
        """Close the connection in a thread, which is returned, so that nobody has to wait for it."""

        def close() -> None:
            with suppress(OSError):
                self._client.close(timeout=CLOSE_TIMEOUT_S)

        thread = threading.Thread(target=close, daemon=True)
        thread.start()
        return thread
