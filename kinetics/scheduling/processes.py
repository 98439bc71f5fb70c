"""Starts the processes of workers: all are forked from a server that has imported what they need."""

from __future__ import annotations

import multiprocessing
import multiprocessing.util
import os
import signal
import sys
import tempfile
import threading
import types
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext, SpawnContext

from kinetics.errors import Fatal
from kinetics.scheduling.machine import NOT_STARTED, check_room, no_more_processes

QUIET = "kinetics.scheduling.fork_server"
"""The module that keeps the fork server from printing a traceback."""
MAX_SOCKET_FOLDER = 70
"""Characters of a folder in which multiprocessing can make a socket: a socket's path has at most 103 on every system,
and it appends 32. A longer TMPDIR is passed over."""
SHORT_FOLDERS = ("/tmp", "/var/tmp")
"""Where sockets go if TMPDIR is too long for them."""
_starting = threading.Lock()
"""Held while a process starts, as a Dask worker starts them from several threads."""
PROCESSES: ForkServerContext | SpawnContext = (
    multiprocessing.get_context("forkserver")
    if "forkserver" in multiprocessing.get_all_start_methods()
    else multiprocessing.get_context("spawn")
)


def preload(modules: Iterable[str]) -> None:
    """Have the fork server import these modules; once it runs, this has no effect."""
    PROCESSES.set_forkserver_preload([QUIET, *modules])


def warm_up(modules: Iterable[str]) -> None:
    """Start to import these modules, which the workers need, while the caller does other things until `run`.

    The fork server imports them, and every worker is forked from it, so set the environment that they need before.
    Without a `run` the fork server ends with this process.
    """
    preload(modules)
    if isinstance(PROCESSES, ForkServerContext):
        with bare_start():
            forkserver.ensure_running()


@contextmanager
def ctrl_c_deferred() -> Iterator[None]:
    """Put a KeyboardInterrupt off until the block ends. Processes started in it never see Ctrl-C at all."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _choose_socket_folder() -> None:
    """Have multiprocessing keep its sockets where their paths are short enough, whatever TMPDIR is; it asks only once.

    Raises Fatal if there is no such folder.
    """
    with suppress(OSError):
        if len(os.fsencode(tempfile.gettempdir())) <= MAX_SOCKET_FOLDER:
            multiprocessing.util.get_temp_dir()
            return
    usual = tempfile.tempdir
    for folder in SHORT_FOLDERS:
        try:
            tempfile.tempdir = folder
            multiprocessing.util.get_temp_dir()
            return
        except OSError:
            continue
        finally:
            tempfile.tempdir = usual
    what = f"No folder for temporary files can be written, or its path has more than {MAX_SOCKET_FOLDER} characters"
    raise Fatal(f"{what}: set TMPDIR to one such as /tmp.")


@contextmanager
def _start_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise (no_more_processes() if error.errno in NOT_STARTED else error) from None


@contextmanager
def bare_start() -> Iterator[None]:
    """Keep what belongs to this process alone from the processes that the block starts.

    - Its script would be run again in every worker, importing pandas and all. So `__main__` is blank meanwhile.
    - Ctrl-C is for the parent to handle, and a half-started worker would answer it with a traceback.
    - Warnings: a killed resource tracker is replaced with a warning, which would break the progress bar.

    The search path is passed on: workers inherit it, but the fork server, whose preloads need it, does not.

    Raises Fatal if no process can be started; the fork server would die of that with a traceback.
    """
    with _starting, warnings.catch_warnings():
        _choose_socket_folder()
        script, search_path = sys.modules["__main__"], os.environ.get("PYTHONPATH")
        warnings.simplefilter("ignore", UserWarning)
        check_room()
        with _start_errors():
            resource_tracker.ensure_running()  # it unblocks Ctrl-C, so it has to come first
        with ctrl_c_deferred(), _start_errors():
            try:
                sys.modules["__main__"] = types.ModuleType("__main__")
                os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
                yield
            finally:
                sys.modules["__main__"] = script
                if search_path is None:
                    del os.environ["PYTHONPATH"]
                else:
                    os.environ["PYTHONPATH"] = search_path
