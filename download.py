#!/usr/bin/env python3
"""Download the Kinetics data sets: annotation file in, folder of trimmed clips out. Run it again to go on."""

from __future__ import annotations

import os
import signal

if __name__ == "__main__":  # Ctrl-C while the imports below run is no reason for a traceback
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

import argparse
import io
import re
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filelock import FileLock, Timeout
from tqdm import tqdm

from kinetics.engines import NAMES
from kinetics.errors import Fatal
from kinetics.jobs import Download
from kinetics.layout import Layout, cannot_write
from kinetics.ledger import Ledger, one_line
from kinetics.pace import GaveUp, Pace, Pause, Spread
from kinetics.pool import run, warm_up
from kinetics.records import SPLIT_OF, Category, Outcome, Split, Subset, Tier

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from kinetics.annotations import Annotations
    from kinetics.plan import Plan
    from kinetics.reuse import Elsewhere

DONE, MAY_WORK, FATAL, INTERRUPTED = 0, 1, 2, 130
UPGRADE = "pip install --upgrade pytubefix yt-dlp"
BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {elapsed}<{remaining}{postfix}"
"""Short enough for 80 columns: the counts matter more than the bar."""
QUIET_S = 30.0
"""Between two lines of progress where there is no terminal."""

EXAMPLES = """\
examples:
  python download.py -v 700 -s train -w 16         the training set of Kinetics-700, with 16 workers
  python download.py -v 400 -s validate --dry-run  what would be done, without doing it
  python download.py --annotations few_shot.csv -s test -o data --cut keyframe
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, 1, 2 or 130 (argparse exits with 2 by itself on bad usage)."""
    args = make_parser().parse_args(argv)
    try:
        _stop_on_signals()
        return download(args)
    except Fatal as error:
        print(f"error: {error}", file=sys.stderr)
        return FATAL
    except OSError as error:
        place, what = error.filename or args.output, error.strerror or error
        print(f"error: {place}: {what}. Mend that, and run the command again", file=sys.stderr)
        return FATAL
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED


def download(args: argparse.Namespace) -> int:
    """Load clips, leave out what is on disk, try the rest; returns the exit code."""
    layout = Layout(args.output.absolute(), args.version)
    subsets: list[Subset] = list(SPLIT_OF) if args.subset == "all" else [args.subset]
    engines = _with_cookies(args.engine, args.cookies)
    shared = layout.partial(SPLIT_OF[subsets[0]])
    job = Download(layout, args.cut, engines, args.max_height, args.cookies, args.limit_rate, shared)
    if args.proxy:  # where every client looks, here and in the workers
        os.environ.update(dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), args.proxy))
    if not args.dry_run:
        warm_up(job)
    from kinetics import reuse  # pandas comes with it: meanwhile the workers' modules are imported, too
    from kinetics.plan import make_plan

    annotations = _load(args)
    with ExitStack() as stack:
        if not args.dry_run:
            _lock(stack, layout, subsets)
        ledgers = {SPLIT_OF[subset]: Ledger(layout, subset) for subset in subsets}
        plan = make_plan(annotations, layout, ledgers, args.cut, args.retry)
        elsewhere = [] if args.no_reuse else reuse.find(plan, layout)
        print(_announcement(args, layout, plan, reuse.count(elsewhere)), flush=True)
        if args.dry_run:
            return DONE
        plan = _reuse(args, layout, plan, elsewhere, ledgers)
        for ledger in ledgers.values():
            stack.enter_context(ledger) if plan.todo else ledger.compact()
        events = run(
            job,
            plan.clips(),
            workers=args.workers,
            timeout_s=args.timeout or _patience(args),
            pace=Pace(args.workers, args.rate),
        )
        stack.callback(events.close)
        tally: Counter[Category | None] = Counter()
        gave_up: GaveUp | None = None
        try:
            with _progress(args, plan) as progress:
                for event in events:
                    if isinstance(event, Outcome):
                        ledgers[event.clip.split].record(event)
                        progress.show(event)
                        tally.update([event.category] if event.status != "postponed" else [])
                    elif isinstance(event, Pause | Spread):
                        progress.say(_explained(event))
                    elif isinstance(event, GaveUp):
                        gave_up = event
                    else:
                        progress.refresh()
        finally:
            print(_summary(args, plan, tally, ledgers.values()), flush=True)
    if gave_up:
        print(_why_stopped(gave_up), file=sys.stderr)
    unfinished = gave_up or plan.may_work_left_out or any(category and not category.gone for category in tally)
    return MAY_WORK if unfinished else DONE


def make_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="download.py",
        description="Download the clips of a Kinetics data set from YouTube, trimmed to their annotated sections.\n"
        "Run it again to go on where it stopped, and to retry what failed.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("What to fetch")
    what.add_argument(
        "-v", "--version", choices=("400", "600", "700", "700-2020"), default="700", help="(default: 700)"
    )
    what.add_argument(
        "-s", "--subset", choices=("train", "test", "validate", "all"), default="train", help="subset (default: train)"
    )
    what.add_argument(
        "--annotations",
        type=Path,
        metavar="PATH",
        help="CSV, JSON, folder or tar.gz to use instead of the official archive, which is fetched once and kept",
    )
    what.add_argument(
        "--cut",
        choices=("smart", "exact", "keyframe", "none"),
        default="smart",
        help="smart: begins at the very frame, re-encoded up to the first keyframe, copied from there; exact: the same "
        "frames, all re-encoded; keyframe: copied, begins up to some seconds early; none: the whole video "
        "(default: smart)",
    )
    what.add_argument(
        "--max-height",
        type=_positive(int),
        default=360,
        metavar="LINES",
        help="tallest picture; the smallest is taken where none is that small (default: 360)",
    )
    what.add_argument(
        "--retry",
        choices=("all", "transient", "none"),
        default="all",
        help="earlier failures to try again: all of them, those that may work now, or none (default: all)",
    )
    where = parser.add_argument_group("Where")
    where.add_argument(
        "-o", "--output", type=_folder, default=Path(), metavar="DIR", help="folder for the data set (default: here)"
    )
    how = parser.add_argument_group("How")
    how.add_argument(
        "-w", "--workers", type=_positive(int), default=8, metavar="WORKERS", help="processes at work (default: 8)"
    )
    how.add_argument(
        "--engine",
        type=_engines,
        default=("pytubefix", "yt-dlp"),
        metavar="LIST",
        help="who asks YouTube, the next one where the one before fails: pytubefix, yt-dlp, pytube "
        "(default: pytubefix,yt-dlp)",
    )
    how.add_argument(
        "--timeout",
        type=_positive(float),
        metavar="SECONDS",
        help="most time for one clip (default: 300, with --cut none 3600; longer where --limit-rate needs it)",
    )
    how.add_argument("--rate", type=_positive(float), metavar="PER_HOUR", help="most clips an hour (default: no limit)")
    how.add_argument(
        "--limit-rate",
        type=_rate,
        metavar="BYTES",
        help="most bytes a second, all workers together, such as 500K or 5M (default: no limit)",
    )
    how.add_argument(
        "--no-reuse",
        action="store_true",
        help="fetch what another version's folder beside this one already has, too, instead of linking it",
    )
    how.add_argument(
        "--cookies", type=Path, metavar="FILE", help="cookies.txt of your own login; only yt-dlp can send it"
    )
    how.add_argument(
        "--proxy", type=_proxy, metavar="URL", help="HTTP proxy (default: the environment's HTTPS_PROXY, if set)"
    )
    instead = parser.add_argument_group("Instead of downloading")
    instead.add_argument("--dry-run", action="store_true", help="say what would be done, and stop")
    return parser


def _positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def convert(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text!r} is not a number above zero")
        return value

    return convert


def _rate(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]?)B?", text.strip(), re.IGNORECASE)
    if not match or not float(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes such as 500K or 5M")
    return float(match[1]) * {"": 1, "K": 1e3, "M": 1e6, "G": 1e9}[match[2].upper()]


def _patience(args: argparse.Namespace) -> float:
    """Seconds for one clip: what it usually never takes, and its share of a limited line."""
    usual_s, most_bytes = (3600.0, 2e8) if args.cut == "none" else (300.0, 5e6)
    return usual_s + (args.workers * most_bytes / args.limit_rate if args.limit_rate else 0.0)


def _folder(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"there is no home folder for {text!r}") from None


def _engines(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if not set(names) <= set(NAMES):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of {', '.join(NAMES)}")
    return names


def _proxy(text: str) -> str:
    parts = urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{text!r} is not the address of an HTTP proxy such as http://host:3128")
    return parts.geturl()


def _stop_on_signals() -> None:
    """Let Ctrl-C, a closed terminal and `kill` all end the run in the same orderly way, once."""

    def stop(number: int, frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(each) is not signal.SIG_IGN:  # as nohup leaves it
            signal.signal(each, stop)


def _with_cookies(engines: tuple[str, ...], cookies: Path | None) -> tuple[str, ...]:
    if cookies is None:
        return engines
    if not cookies.is_file() or not os.access(cookies, os.R_OK):
        raise Fatal(f"cannot read the cookies: {cookies}")
    if "yt-dlp" not in engines:
        raise Fatal("only yt-dlp can send cookies: leave out --cookies, or say --engine yt-dlp")
    return ("yt-dlp",)


def _load(args: argparse.Namespace) -> Annotations:
    from kinetics.annotations import load

    with tqdm(desc="annotations", unit="B", unit_scale=True, delay=0.5, leave=False) as bar:

        def progress(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        annotations = load(args.version, args.subset, args.annotations, progress=progress)
    for warning in annotations.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return annotations


def _lock(stack: ExitStack, layout: Layout, subsets: Sequence[Subset]) -> None:
    """Keep a second run off these subsets, and clear away what a killed one left."""
    for subset in subsets:
        path = layout.lock(subset)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(path, timeout=0))
        except Timeout:
            raise Fatal(
                f"another run is already working on Kinetics{layout.version} {subset} in {layout.root}: "
                "wait for it to end, or choose another folder with -o"
            ) from None
        except OSError as error:
            raise cannot_write(error, layout.folder) from error
        layout.discard_partial(subset)
        stack.callback(layout.discard_partial, subset)


def _reuse(
    args: argparse.Namespace,
    layout: Layout,
    plan: Plan,
    elsewhere: Elsewhere,
    ledgers: Mapping[Split, Ledger],
) -> Plan:
    """Link what other versions have, and return what is left to do."""
    from kinetics import reuse

    found = reuse.count(elsewhere)
    if not found:
        return plan
    linked = []
    with _bar("reuse", found) as bar:
        for row, clip, folders in reuse.candidates(plan, elsewhere):
            try:
                if reuse.take(clip, folders, layout, args.cut, args.max_height):
                    ledgers[clip.split].forget(clip.key)
                    linked.append(row)
            except OSError as error:
                raise cannot_write(error, layout.folder) from error
            bar.update()
    plan = plan.linked(linked)
    print(f"{len(linked):,} linked from other versions' folders; {plan.todo:,} to do", flush=True)
    return plan


def _announcement(args: argparse.Namespace, layout: Layout, plan: Plan, elsewhere: int) -> str:
    what = "videos" if args.cut == "none" else "clips"
    kinds = (
        (Tier.NEVER_TRIED, "never tried"),
        (Tier.MAY_WORK, "failed before but may work now"),
        (Tier.WAS_GONE, "gone before"),
    )
    known = ", ".join(f"{plan.count(tier):,} {words}" for tier, words in kinds if plan.count(tier))
    left_out = plan.wanted - plan.count(Tier.ON_DISK) - plan.todo
    return (
        f"Kinetics{args.version} {args.subset}: {plan.wanted:,} {what} wanted, {plan.count(Tier.ON_DISK):,} on disk"
        + (f", {known}" if known else "")
        + (f"; {plan.todo:,} to do" if plan.todo else "; nothing to do")
        + (f", {elsewhere:,} perhaps by a link to another version's folder" if elsewhere else "")
        + (f" ({left_out:,} left out by --retry {args.retry})" if left_out else "")
        + f" -> {layout.folder}"
    )


class _Progress:
    """The bar: clips done, gone and failed, speed and remaining time."""

    def __init__(self, bar: tqdm[None]) -> None:
        self._bar = bar
        self._began = time.monotonic()
        self._bytes = 0
        self._counts = Counter(done=0, gone=0, failed=0)

    def show(self, outcome: Outcome) -> None:
        """Count an attempt; a postponed clip is still to come."""
        self._bytes += outcome.bytes_received
        if outcome.status == "postponed":
            return
        gone = outcome.category is not None and outcome.category.gone
        self._counts["gone" if gone else outcome.status] += 1
        counts = ", ".join(f"{count} {what}" for what, count in self._counts.items())
        speed = self._bytes / 1e6 / max(time.monotonic() - self._began, 1e-3)
        self._bar.set_postfix_str(f"{counts}, {speed:.1f} MB/s", refresh=False)
        self._bar.update()

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.write(text, file=sys.stderr)

    def refresh(self) -> None:
        """Move the clock on while nothing happens."""
        if sys.stderr.isatty():
            self._bar.refresh()


class _Voice(io.FileIO):
    """Standard output or error. Where its pipe or terminal is gone, or the log's disk full, the download goes on."""

    def write(self, words: ReadableBuffer, /) -> int:
        try:
            return super().write(words)
        except OSError:
            return len(bytes(words))  # dropped


def _speak_on() -> None:
    """Make standard output and error outlive their reader, and print any character of any path somehow."""
    while (spare := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass  # the shell closed one (`>&-`): a table would take its place, and get what is printed
    os.close(spare)
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(
            io.BufferedWriter(_Voice(number, "w", closefd=False)), errors="backslashreplace", line_buffering=True
        )
        for number in (1, 2)
    )


class _Lines:
    """Standard error where it is no terminal: each state of the bar becomes a line of its own."""

    def write(self, text: str) -> None:
        if line := text.strip("\r\n "):
            sys.stderr.write(line + "\n")

    def flush(self) -> None:
        sys.stderr.flush()


@contextmanager
def _progress(args: argparse.Namespace, plan: Plan) -> Iterator[_Progress]:
    with _bar(f"{args.version} {args.subset}", plan.todo) as bar:
        yield _Progress(bar)


def _bar(what: str, total: int) -> tqdm[None]:
    terminal = sys.stderr.isatty()
    tqdm.monitor_interval = 0  # its thread would take signals, and `refresh` does its work
    return tqdm(
        total=total,
        desc=what,
        bar_format=BAR,
        smoothing=0,  # pauses belong to the speed: an estimate without them would promise too much
        file=sys.stderr if terminal else _Lines(),
        dynamic_ncols=terminal,
        mininterval=0.1 if terminal else QUIET_S,
        miniters=1,
        disable=not total,
    )


def _explained(event: Pause | Spread) -> str:
    now = datetime.now()
    if isinstance(event, Spread):
        if not event.seconds:
            return f"{now:%H:%M:%S} spreading the clips over time did not help: they go out as fast as they can again"
        per_hour = f"{3600 / event.seconds:,.0f}"
        return f"{now:%H:%M:%S} YouTube refuses again and again: {per_hour} clips an hour go out now, slowly more"
    until = now + timedelta(seconds=event.seconds)
    form = "%H:%M:%S" if until.date() == now.date() else "%d %b %H:%M:%S"
    reason = one_line(event.reason)
    said = reason if event.category is Category.NETWORK else f"YouTube says: {reason}"
    return f"{now:%H:%M:%S} {said} -- everybody waits until {until:{form}}, then one clip asks"


def _summary(args: argparse.Namespace, plan: Plan, tally: Counter[Category | None], ledgers: Iterable[Ledger]) -> str:
    done, linked = tally[None], plan.count(Tier.LINKED)
    there = plan.count(Tier.ON_DISK) + linked + done
    new = f"{done:,} of them new" + (f", {linked:,} linked from other versions" if linked else "")
    lines = [f"Kinetics{args.version} {args.subset}: {there:,} of {plan.wanted:,} on disk, {new}"]
    failures = {category: count for category, count in tally.most_common() if category}
    lines += [
        f"  {count:8,}  {category:14}  {'gone' if category.gone else 'may work later'}"
        for category, count in failures.items()
    ]
    untried = plan.todo - tally.total()
    if untried:
        lines.append(f"  {untried:8,}  not tried yet")
    if failures:
        lines += [f"reasons: {ledger.errors_log}" for ledger in ledgers]
    if untried or plan.may_work_left_out or any(not category.gone for category in failures):
        lines.append(f"to go on: {_this_command()}")
    return "\n".join(lines)


def _this_command() -> str:
    return shlex.join(["python", *sys.argv])


def _why_stopped(gave_up: GaveUp) -> str:
    reason = one_line(gave_up.reason)
    if gave_up.category is Category.ENGINE_ERROR:
        return f"stopped: the engines no longer understand YouTube ({reason}). They may be out of date: {UPGRADE}"
    if gave_up.category is Category.NETWORK:
        return f"stopped: for too long there was no line to YouTube ({reason}). Run it again when there is one"
    return f"stopped: for too long YouTube refused every clip ({reason}). Run it again in some hours"


if __name__ == "__main__":
    _speak_on()
    sys.exit(main())
