"""The terminal: signals that stop a run, output streams that outlive their reader, lines that fit."""

from __future__ import annotations

import io
import os
import signal
import sys
from textwrap import TextWrapper
from types import FrameType
from typing import TYPE_CHECKING, TextIO

from kinetics.cli.summary import split_command

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class StopSignals:
    """Makes Ctrl-C, a closed terminal and `kill` end the run in the same orderly way, once."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.received = False

    def listen(self) -> None:
        for each in self.SIGNALS:
            if signal.getsignal(each) is not signal.SIG_IGN:  # as nohup leaves it
                signal.signal(each, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        for each in self.SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        self.received = True
        raise KeyboardInterrupt


class LossyStream(io.FileIO):
    """Standard output or error. Where its pipe or terminal is gone, or the log's disk full, the download goes on."""

    def write(self, words: ReadableBuffer, /) -> int:
        try:
            return super().write(words)
        except OSError:
            return len(bytes(words))  # dropped


def keep_stdio_alive() -> None:
    """Make standard output and error outlive their reader, and print any character of any path in some form."""
    while (spare := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass  # the shell closed one (`>&-`): a table would take its number, and get what is printed
    os.close(spare)
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(
            io.BufferedWriter(LossyStream(number, "w", closefd=False)), errors="backslashreplace", line_buffering=True
        )
        for number in (1, 2)
    )


def columns(stream: TextIO) -> int | None:
    """Return the width of the terminal that a stream writes to; None where it writes to something else."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def tell(text: str, file: TextIO | None = None) -> None:
    """Print lines; on a terminal, long ones are broken between words, and before a command to type."""
    stream = file or sys.stdout
    width = columns(stream)
    print(text if width is None else wrapped(text, width), file=stream, flush=True)


def wrapped(text: str, width: int) -> str:
    """Return lines, each of at most `width` columns if its words allow it; a continued line is indented more."""
    wrapper = TextWrapper(width, break_long_words=False, break_on_hyphens=False, drop_whitespace=True)
    lines = list[str]()
    for line in text.splitlines():
        wrapper.initial_indent = line[: len(line) - len(line.lstrip())]
        wrapper.subsequent_indent = wrapper.initial_indent + "    "
        said, command = split_command(line)
        fits = len(line) <= width
        lines += [line] if fits else wrapper.wrap(said.lstrip())
        lines += [f"  {command}"] if command and not fits else []
    return "\n".join(lines)
