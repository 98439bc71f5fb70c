"""Checks what a command needs before any work is begun, and says which errors are a fault of the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinetics.errors import Fatal
from kinetics.net.proxy import use_proxy
from kinetics.run.context import Context
from kinetics.run.jobs import prepare
from kinetics.run.listener import Listener
from kinetics.run.options import Command, Options
from kinetics.run.packages import check_packages
from kinetics.scheduling.machine import check_memory, machine_fault, no_more_memory
from kinetics.storage.object_store import open_store

if TYPE_CHECKING:
    from kinetics.annotations.table import Annotations


def start(options: Options, listener: Listener, loaded: Annotations | None = None) -> Context:
    """Return what is derived from the options, once all that they need was found to be there.

    `loaded` are the annotations, if they were loaded before. For a download the workers' modules are being imported
    from now on. Raises Fatal for what is missing.
    """
    check_memory()
    check_packages(options)
    use_proxy(options.proxy)
    if options.url:
        open_store(options.url)
    if options.command is Command.DOWNLOAD:
        prepare(options, listener)
    context = Context(options, listener, loaded)
    context.check_folder()
    return context


def fatal_of(error: BaseException, options: Options) -> Fatal | None:
    """Return the error to end with if another one is a fault of the machine, or of one of its files; else None."""
    if isinstance(error, OSError):
        path, what = error.filename or options.output, error.strerror or error
        return Fatal(f"{path}: {what}. Fix that and run the command again.")
    return no_more_memory() if isinstance(error, MemoryError) else machine_fault(error)
