"""The command line of the benchmarks, and the tables that they print."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

NAMES = (
    "peers",
    "bytes",
    "cost",
    "growth",
    "network",
    "start",
    "dispatch",
    "cluster",
    "convert",
    "resize",
    "readers",
    "page",
    "mirror",
)
CUTS = ("exact", "keyframe", "smart")
PACKAGES = ("av", "pytubefix", "yt-dlp", "urllib3", "pandas", "decord", "distributed")


@dataclass(frozen=True)
class Settings:
    """The options of a benchmark; None leaves a number to the benchmark."""

    cuts: tuple[str, ...] = CUTS
    quick: bool = False
    rounds: int | None = None
    clips: int | None = None

    def rounds_or(self, usual: int) -> int:
        """Return how many times each case is measured."""
        return self.rounds or (1 if self.quick else usual)

    def clips_or(self, usual: int, quick: int) -> int:
        """Return the number of clips, or other items, of each measurement."""
        return self.clips or (quick if self.quick else usual)


@dataclass(frozen=True)
class Table:
    """A table in Markdown; all columns but the first are aligned to the right."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.header, *self.rows, strict=True)]
        rule = ["-" * width if not place else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
        body = [
            [cell.ljust(widths[0]) if not place else cell.rjust(widths[place]) for place, cell in enumerate(row)]
            for row in (self.header, *self.rows)
        ]
        lines = [" | ".join(row) for row in (body[0], rule, *body[1:])]
        return "\n".join([f"### {self.title}", "", *(f"| {line} |" for line in lines), "", *self.notes])


def spread(values: Iterable[float], digits: int = 2) -> str:
    """Return the median, with minimum and maximum if there is more than one value."""
    values = sorted(values)
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({values[0]:.{digits}f}-{values[-1]:.{digits}f})"


def verdict(holds: bool) -> str:
    """Return the word for whether an accepted limit holds."""
    return "holds" if holds else "MISSES"


def log(text: str) -> None:
    """Print to standard error what is being measured; the tables go to standard output."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def ffmpeg() -> str:
    """Return the path of the installed ffmpeg, or of the one in imageio-ffmpeg."""
    return shutil.which("ffmpeg") or str(importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe())


def machine() -> str:
    """Return the machine and the versions of the packages, in one line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return f"{model}, {os.cpu_count()} cores (load {load}); " + ", ".join(_versions())


def _versions() -> Iterator[str]:
    yield f"Python {platform.python_version()}"
    for package in PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            yield f"no {package}"
    try:
        output = subprocess.run([ffmpeg(), "-version"], capture_output=True, text=True, check=True).stdout
        yield " ".join(output.split()[:3:2])
    except ModuleNotFoundError:
        yield "no ffmpeg"


def main(names: Sequence[str]) -> None:
    """Run the only benchmark of `names`, or those of them that the command line names."""
    options = _parser(names).parse_args()
    settings = Settings(options.cuts, options.quick, options.rounds, options.clips)
    print(machine(), flush=True)
    for name in getattr(options, "names", None) or names:
        began = time.monotonic()
        log(f"{name} ...")
        for table in importlib.import_module(f"benchmarks.{name}").measure(settings):
            print(f"\n{table}", flush=True)
        log(f"{name} took {time.monotonic() - began:.0f} s")


def _parser(names: Sequence[str]) -> argparse.ArgumentParser:
    one = len(names) == 1
    about = importlib.import_module(f"benchmarks.{names[0]}" if one else "benchmarks").__doc__
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks{'.' + names[0] if one else ''}", description=about)
    if not one:
        # argparse checks an empty list against the choices, too
        parser.add_argument(
            "names", nargs="*", metavar="NAME", type=_name, help=f"of {', '.join(NAMES)} (default: all)"
        )
    parser.add_argument("--quick", action="store_true", help="measure less, and only once")
    parser.add_argument("--cuts", type=_cuts, default=CUTS, metavar="LIST", help=f"(default: {','.join(CUTS)})")
    parser.add_argument("--rounds", type=int, metavar="N", help="how many times each case is measured")
    parser.add_argument("--clips", type=int, metavar="N", help="clips of each measurement")
    return parser


def _name(text: str) -> str:
    if text not in NAMES:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(NAMES)}")
    return text


def _cuts(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))
