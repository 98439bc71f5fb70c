"""The entry: parses the options, runs the command, and turns errors into one line and an exit code."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from kinetics.cli.parser import parse
from kinetics.cli.progress import Terminal
from kinetics.cli.terminal import StopSignals, keep_stdio_alive, tell
from kinetics.errors import Fatal
from kinetics.net.proxy import use_proxy
from kinetics.run.context import Context
from kinetics.run.jobs import prepare
from kinetics.run.messages import why_stopped
from kinetics.run.options import Command, Options
from kinetics.run.packages import check_packages
from kinetics.scheduling.machine import check_memory, machine_fault, no_more_memory
from kinetics.storage.object_store import open_store

FATAL, INTERRUPTED = 2, 130
OBJECTS_PER_COLLECTION = 50_000
"""New objects after which the garbage collector looks for cycles. With Python's 700, it searches 650,000 clips
again and again while they are read, a tenth of the start; with more, cycles keep memory for longer."""


def entry() -> NoReturn:
    """Run the command and end the process: what download.py and the installed command call."""
    keep_stdio_alive()
    gc.set_threshold(OBJECTS_PER_COLLECTION)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # nothing multiplies matrices; where threads fail, it interrupts
    sys.exit(main())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, 1, 2 or 130 (argparse exits with 2 by itself on bad usage)."""
    options = parse(argv)
    stop = StopSignals()
    try:
        stop.listen()
        check_memory()
        check_packages(options)
        use_proxy(options.proxy)
        if options.url:
            open_store(options.url)
        terminal = Terminal(options)
        if options.command is Command.DOWNLOAD:
            prepare(options, terminal)
        context = Context(options, terminal)
        context.check_folder()
        return _run(options, context)
    except Fatal as error:
        tell(f"error: {error}", sys.stderr)
        return FATAL
    except OSError as error:
        path, what = error.filename or options.output, error.strerror or error
        tell(f"error: {path}: {what}. Fix that and run the command again.", sys.stderr)
        return FATAL
    except (KeyboardInterrupt, ImportError, MemoryError, RuntimeError) as error:
        if fault := no_more_memory() if isinstance(error, MemoryError) else machine_fault(error):
            tell(f"error: {fault}", sys.stderr)
            return FATAL
        # Compiled code that is just being imported makes an ImportError of an interrupt.
        if not (isinstance(error, KeyboardInterrupt) or (isinstance(error, ImportError) and stop.received)):
            raise
        tell("interrupted; run the same command to go on from here", sys.stderr)
        return INTERRUPTED


def _run(options: Options, context: Context) -> int:
    """Run the command; its module is imported now, since most of them bring pandas, which takes a while."""
    if options.command is Command.DOWNLOAD:
        from kinetics.run.download import download  # noqa: PLC0415

        result = download(context)
        if result.gave_up:
            tell(why_stopped(result.gave_up), sys.stderr)
        return 0 if options.dry_run else result.exit_code
    from kinetics.cli.commands import COMMANDS  # noqa: PLC0415

    return COMMANDS[options.command](options, context)
