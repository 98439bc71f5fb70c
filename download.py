#!/usr/bin/env python3
"""Download the Kinetics data sets: annotation file in, folder of trimmed clips out. Run it again to go on."""

from __future__ import annotations

import os
import signal

if __name__ == "__main__":  # Ctrl-C while the imports below run is no reason for a traceback
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

import argparse
import io
import shlex
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from tqdm import tqdm

from kinetics.cli.options import parse
from kinetics.cli.run_counts import RunCounts
from kinetics.errors import Fatal
from kinetics.humanize import duration_text, one_line, percent, size, without_numbers, without_password
from kinetics.mirror.extract_job import ExtractArchive
from kinetics.mirror.tar_stream import MIRROR
from kinetics.net.http import YOUTUBE, use_proxy
from kinetics.planning.estimate import estimate
from kinetics.records import SPLIT_OF, ArchiveProgress, Category, Clip, ClipState, Outcome, Source, Split, Subset
from kinetics.scheduling.dispatch import Event
from kinetics.scheduling.events import GaveUp, Notice, Pause, SpacingChanged
from kinetics.scheduling.pool import run, warm_up
from kinetics.scheduling.throttle import RefusedItems, Throttle, Unthrottled
from kinetics.storage.atomic import cannot_write
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import Ledger
from kinetics.storage.locks import held, lock
from kinetics.storage.object_store import open_store
from kinetics.storage.table_sync import TableSync, readable_tables
from kinetics.youtube.download_job import Download

if TYPE_CHECKING:
    import pandas as pd
    from _typeshed import ReadableBuffer

    from kinetics.annotations.table import Annotations
    from kinetics.planning.estimate import Estimate
    from kinetics.planning.plan import Plan
    from kinetics.planning.reuse import ReuseCandidates
    from kinetics.planning.sources import Mirror, SourceRunner
    from kinetics.scheduling.worker import TravellingJob

DONE, MAY_WORK, FATAL, INTERRUPTED = 0, 1, 2, 130
INSTALL_DASK = "pip install distributed"
UPGRADE = "pip install --upgrade pytubefix yt-dlp"
BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {elapsed}<{remaining}{postfix}"
"""Short enough for 80 columns: the counts matter more than the bar."""
QUIET_S = 30.0
"""Between two lines of progress where there is no terminal."""
WORKERS = 8
PATIENCE_S = 300.0
"""For one clip."""
NAMES: Mapping[Source, str] = {"youtube": YOUTUBE.name, "mirror": MIRROR.name}
NAMED = 20
"""So many of the clips that fail are named."""
QUALITY = 90
"""Of JPEG files."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, 1, 2 or 130 (argparse exits with 2 by itself on bad usage)."""
    args = parse(argv)
    use_proxy(args.proxy)
    stop = _Stop()
    try:
        stop.listen()
        if args.url:
            open_store(args.url)
        chosen = next((do for name, do in INSTEAD.items() if getattr(args, name)), download)
        return chosen(args)
    except Fatal as error:
        print(f"error: {error}", file=sys.stderr)
        return FATAL
    except OSError as error:
        place, what = error.filename or args.output, error.strerror or error
        print(f"error: {place}: {what}. Mend that, and run the command again", file=sys.stderr)
        return FATAL
    except (KeyboardInterrupt, ImportError) as error:
        if isinstance(error, ImportError) and not stop.asked:
            raise  # compiled code that is just being imported makes one of an interrupt
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED


def download(args: argparse.Namespace) -> int:
    """Load clips, leave out what is on disk, try the rest; returns the exit code."""
    layout, subsets = _layout(args), _subsets(args)
    if not (args.dry_run or args.scheduler):
        warm_up(_modules(args, layout))
    from kinetics.planning import reuse  # pandas comes with it: meanwhile the workers' modules are imported, too
    from kinetics.planning.plan import make_plan
    from kinetics.planning.sources import run_sources

    annotations = _load(args)
    with ExitStack() as stack:
        copies = TableSync(layout, subsets)
        if args.dry_run:
            layout = stack.enter_context(readable_tables(layout, subsets))
        else:
            stack.enter_context(held(layout, subsets))
            stack.enter_context(copies)
        ledgers = {SPLIT_OF[subset]: Ledger(layout, subset) for subset in subsets}
        plan = make_plan(annotations, layout, ledgers, args.cut, args.retry, mirror_alone=args.source == "mirror")
        elsewhere = [] if args.no_reuse or layout.url else reuse.find_candidates(plan, layout)
        print(_announcement(args, layout, plan, reuse.count_candidates(elsewhere)), flush=True)
        mirror = _mirror(args) if args.source != "youtube" and plan.todo else None
        order = _foretell(args, layout, plan, mirror)
        if args.dry_run:
            return DONE
        plan = _reuse(args, layout, plan, elsewhere, ledgers)
        for ledger in ledgers.values():
            stack.enter_context(ledger) if plan.todo else ledger.compact()
        ways = _ways(args, layout, mirror)
        events = run_sources(plan, [ways[source] for source in order])
        stack.callback(events.close)
        tally = RunCounts()
        try:
            with _bar(f"{args.version} {args.subset}", plan.todo) as bar:
                to_read = mirror.size if mirror else 0
                progress = _Progress(bar, tally, provisional=args.source == "both", to_read=to_read)
                gave_up = _recorded(copies.syncing(events), ledgers, progress)
        finally:
            print(_summary(args, plan, tally.counts, ledgers.values()), flush=True)
    if gave_up:
        print(_why_stopped(gave_up), file=sys.stderr)
    tried_in_vain = any(category and not category.gone for category in +tally.counts)
    untried = tally.counts[None] < plan.todo if mirror and mirror.unread else tally.counts.total() < plan.todo
    return MAY_WORK if gave_up or tried_in_vain or untried or plan.may_work_left_out else DONE


def _recorded(events: Iterable[Event], ledgers: Mapping[Split, Ledger], progress: _Progress) -> GaveUp | None:
    """Take down what comes of the clips, and show it; returns why the run gave up, if it did."""
    gave_up: GaveUp | None = None
    for event in events:
        match event:
            case Outcome():
                ledgers[event.clip.split].record(event)
                progress.show(event)
            case ArchiveProgress():
                progress.reached(event)
            case Pause() | SpacingChanged():
                progress.say(_explained(event))
            case Notice():
                progress.say(one_line(event.text))
            case GaveUp():
                gave_up = event
            case _:
                progress.refresh()
    return gave_up


def report(args: argparse.Namespace) -> int:
    """Tell how the download has gone so far, in figures and as a page."""
    from kinetics.report import page
    from kinetics.report.collect import collect
    from kinetics.report.text import report_lines

    layout, frame = _layout(args), _load(args).frame
    for subset in _subsets(args):
        with readable_tables(layout, [subset]) as copies:
            found = collect(copies, subset, frame, args.cut)
        print(*report_lines(found), *page.write(found, layout, subset), sep="\n", flush=True)
    return DONE


def list_classes(args: argparse.Namespace) -> int:
    """Print each class with the number of its clips, and of those that are here."""
    from kinetics.planning.plan import on_disk

    frame = _load(args).frame
    here = frame["label"][on_disk(frame, _layout(args))].value_counts()
    counts = frame["label"].value_counts()
    print(f"{'clips':>8} {'here':>8}  class")
    for label in sorted(counts.index[counts > 0]):
        print(f"{counts[label]:8,} {here.get(label, 0):8,}  {label or '(no label)'}")
    print(f"{len(frame):8,} {here.sum():8,}  in {(counts > 0).sum():,} classes")
    return DONE


def verify(args: argparse.Namespace) -> int:
    """Look whether the clips that are here are as they should be; move away those that are not."""
    from kinetics.dataset.inventory import verify_clips

    layout, here, moved, kept = _layout(args), _clips_here(args), 0, 0
    with ExitStack() as stack:
        stack.enter_context(held(layout, _subsets(args)))
        for subset, frame in here.items():
            checks = verify_clips(_local_run(args), layout, subset, frame, quick=args.quick, cut=args.cut)
            unfit = [one for one in _shown(args, subset, len(frame), checks) if one.status == "failed"]
            fit = len(frame) - len(unfit)
            print(f"{_name(args, subset)}: {fit:,} of {len(frame):,} clips are as they should be")
            for reason, count in Counter(without_numbers(one.reason) for one in unfit).most_common():
                print(f"  {count:8,}  {reason}")
            moved += sum(one.category is Category.MEDIA_ERROR for one in unfit)
            kept += sum(one.category is not Category.MEDIA_ERROR for one in unfit)
    if moved:
        print(f"{moved:,} were moved to {layout.rejected_folder}; a run without --verify fetches them again")
    if kept:
        print(f"{kept:,} could not be looked at to the end, and stay")
    return MAY_WORK if moved or kept else DONE


def manifest(args: argparse.Namespace) -> int:
    """Write down what the clips that are here are like."""
    from kinetics.dataset.inventory import measure_clips
    from kinetics.dataset.manifest import write_manifest

    layout, here, unfit = _layout(args), _clips_here(args), 0
    with ExitStack() as stack:
        for subset, frame in here.items():
            stack.enter_context(lock(layout, subset, "manifest.lock"))
            outcomes = _shown(args, subset, len(frame), measure_clips(_local_run(args), layout, subset, frame))
            facts = {one.clip.key: one.facts for one in outcomes if one.facts}
            print(f"{write_manifest(layout, subset, frame, facts)}: {len(facts):,} clips")
            unfit += len(frame) - len(facts)
    return _left_over(unfit)


def frames(args: argparse.Namespace) -> int:
    """Write frames of the clips that are here."""
    from kinetics.dataset.clip_jobs import ExtractFrames

    target, quality = _layout(args).derived_layout("frames"), args.quality or QUALITY
    job = ExtractFrames(_layout(args), target, args.frames, args.short_side, quality)
    settings = {"frames": args.frames, "short_side": args.short_side, "quality": quality}
    converted = _converted(args, job, target, "", settings)
    return _left_over(sum(one.status == "failed" for _, outcomes in converted for one in outcomes))


def sound(args: argparse.Namespace) -> int:
    """Write the sound of the clips that are here, and which have none."""
    from kinetics.dataset.clip_jobs import ExtractSound
    from kinetics.dataset.lists import write_silent_list

    layout, unfit, suffix = _layout(args), 0, f".{args.sound}"
    target = layout.derived_layout("sound")
    for subset, outcomes in _converted(args, ExtractSound(layout, target, args.sound), target, suffix):
        silent = list[Clip]()
        for one in outcomes:
            unfit += one.status == "failed"
            silent += [one.clip] if one.sound is False else []
        print(f"{len(silent):,} without sound, listed in {write_silent_list(layout, subset, silent, suffix)}")
    return _left_over(unfit)


def shards(args: argparse.Namespace) -> int:
    """Pack the clips that are here into WebDataset shards."""
    from kinetics.annotations.load import classes_of
    from kinetics.annotations.select import in_random_order
    from kinetics.dataset.shards import WebDatasetShards, shard_samples

    layout, classes, here = _layout(args), classes_of(args.version, args.annotations), _clips_here(args)
    target = layout.derived_layout("shards")
    with ExitStack() as stack:
        stack.enter_context(held(target, _subsets(args)))
        for subset, frame in here.items():
            members = shard_samples(layout, frame.iloc[in_random_order(frame, args.seed)], classes)
            packed = WebDatasetShards(layout, subset, members, args.shards)
            free = shutil.disk_usage(target.folder).free
            if packed.bytes_to_write > free:
                raise Fatal(f"The shards take {packed.bytes_to_write:,} bytes, and {target.folder} has {free:,} free.")
            with _bar(f"{args.version} {subset}", packed.clips) as bar:
                for clips in packed.write():
                    bar.update(clips)
            print(f"{target.folder}: {packed.count:,} shards of {subset}, {packed.clips:,} clips")
    return DONE


def lists(args: argparse.Namespace) -> int:
    """Write list files of the clips that are here."""
    from kinetics.annotations.load import classes_of
    from kinetics.dataset.lists import write_lists

    classes = classes_of(args.version, args.annotations)
    for subset, frame in _clips_here(args).items():
        for path in write_lists(_layout(args), subset, frame, classes):
            print(path)
    return DONE


def compare(args: argparse.Namespace) -> int:
    """Say how two data sets differ."""
    from kinetics.dataset.compare import VERDICTS, compare

    found = compare(*args.compare)
    rows = [*found.classes(), ("all classes", found.counts)]
    print("".join(f"{verdict:>15}" for verdict in VERDICTS) + "  class")
    for label, counts in rows:
        print("".join(f"{counts[verdict]:15,}" for verdict in VERDICTS) + f"  {label or '(no label)'}")
    everything, common = found.write(args.output.absolute())
    print(f"every clip: {everything}\nwhat both have, for --only: {common}")
    return DONE


INSTEAD: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "report": report,
    "list_classes": list_classes,
    "verify": verify,
    "manifest": manifest,
    "frames": frames,
    "sound": sound,
    "shards": shards,
    "lists": lists,
    "compare": compare,
}
"""What is done where an option asks for it; a dry run is a download that stops early."""


def _converted(
    args: argparse.Namespace,
    job: TravellingJob,
    target: Layout,
    suffix: str,
    settings: Mapping[str, object] | None = None,
) -> Iterator[tuple[Subset, Iterator[Outcome]]]:
    """Convert what is not converted yet, all with the same settings: each subset's outcomes, as they are asked for."""
    from kinetics.annotations.table import Annotations
    from kinetics.dataset.settings import keep_settings
    from kinetics.planning.plan import on_disk

    here = _clips_here(args)
    with ExitStack() as stack:
        stack.enter_context(held(target, _subsets(args)))
        if settings:
            keep_settings(target.folder, settings)
        for subset, frame in here.items():
            left = frame[~on_disk(frame, target, suffix)]
            print(f"{target.folder}: {len(frame) - len(left):,} of them are there, {len(left):,} to do", flush=True)
            with closing(_local_run(args)(job, Annotations(left, ()).clips())) as events:
                yield subset, _shown(args, subset, len(left), events)


def _left_over(unfit: int) -> int:
    if not unfit:
        return DONE
    print(f"{unfit:,} clips are unfit: --verify moves them away, so that the next run fetches them")
    return MAY_WORK


def _layout(args: argparse.Namespace) -> Layout:
    return Layout(args.output.absolute(), args.version, shard=args.shard.name if args.shard else "", url=args.url)


def _name(args: argparse.Namespace, subset: str) -> str:
    """What the run is about."""
    return f"Kinetics{args.version} {subset}" + (f", shard {args.shard}" if args.shard else "")


def _subsets(args: argparse.Namespace) -> list[Subset]:
    return list(SPLIT_OF) if args.subset == "all" else [args.subset]


def _clips_here(args: argparse.Namespace) -> dict[Subset, pd.DataFrame]:
    """The chosen clips that are on disk, by subset."""
    from kinetics.planning.plan import on_disk

    frame = _load(args).frame
    here = frame[on_disk(frame, _layout(args))]
    print(f"{_name(args, args.subset)}: {len(here):,} of {len(frame):,} clips are here", flush=True)
    return {subset: here[here["split"] == SPLIT_OF[subset]] for subset in _subsets(args)}


def _job(args: argparse.Namespace, layout: Layout) -> Download:
    return Download(
        layout,
        args.cut,
        _with_cookies(args.engine, args.cookies),
        args.max_height,
        cookies=args.cookies and args.cookies.absolute(),
        limit_rate=args.limit_rate,
        shared=_own(args, layout),
        proxy=args.proxy,
    )


def _reap(args: argparse.Namespace, layout: Layout) -> ExtractArchive:
    own = _own(args, layout)
    return ExtractArchive(layout, own / "wanted.sqlite", args.limit_rate, own, args.proxy)


def _modules(args: argparse.Namespace, layout: Layout) -> Iterator[str]:
    """What the workers need."""
    if args.source != "mirror":
        yield from _job(args, layout).modules
    if args.source != "youtube":
        yield from _reap(args, layout).modules


def _mirror(args: argparse.Namespace) -> Mirror:
    from kinetics.planning.sources import Mirror

    return Mirror(args.version, _subsets(args))


def _ways(args: argparse.Namespace, layout: Layout, mirror: Mirror | None) -> Mapping[Source, SourceRunner]:
    """The ways to ask for clips. Archives are read by this machine, whoever else is at work."""
    workers, timeout_s = args.workers or WORKERS, args.timeout or _patience(args)
    pace = partial(Throttle, per_hour=args.rate, suspects=RefusedItems())
    job, reap = _job(args, layout), _reap(args, layout)

    def youtube(plan: Plan) -> Generator[Event, None, None]:
        return _run(args, job, plan.clips(), workers=workers, timeout_s=timeout_s, pace=pace)

    if not mirror:
        return {"youtube": youtube}
    read = partial(run, reap, workers=workers, timeout_s=timeout_s, pace=Throttle(workers))
    return {"youtube": youtube, "mirror": partial(mirror.ask, read, reap.wanted)}


def _own(args: argparse.Namespace, layout: Layout) -> Path:
    """A folder of this run's own."""
    return layout.partial(SPLIT_OF[_subsets(args)[0]])


def _run(
    args: argparse.Namespace,
    job: TravellingJob,
    clips: Iterable[Clip],
    *,
    workers: int,
    timeout_s: float,
    pace: Callable[[int], Throttle | Unthrottled],
) -> Generator[Event, None, None]:
    """Do a job to clips on so many processes of this machine, or on a cluster."""
    if not args.scheduler:
        return run(job, clips, workers=workers, timeout_s=timeout_s, pace=pace(workers))
    try:
        from kinetics.scheduling import dask_client as cluster
    except ModuleNotFoundError as error:
        raise Fatal(f"--scheduler needs Dask here, and on the workers: {INSTALL_DASK} ({error})") from error
    return cluster.run(
        job,
        clips,
        scheduler=args.scheduler,
        layout=_layout(args),
        own=_own(args, _layout(args)),
        timeout_s=timeout_s,
        pace=pace,
        most=args.workers,
        one_address=args.proxy is not None,
    )


def _local_run(args: argparse.Namespace) -> Callable[[TravellingJob, Iterable[Clip]], Generator[Event, None, None]]:
    """The way to do work on files, at which nobody has to be asked."""
    workers, timeout_s = args.workers or os.cpu_count() or 1, args.timeout or PATIENCE_S

    def attended(job: TravellingJob, clips: Iterable[Clip]) -> Generator[Event, None, None]:
        with closing(_run(args, job, clips, workers=workers, timeout_s=timeout_s, pace=Unthrottled)) as events:
            for event in events:
                if isinstance(event, GaveUp):
                    raise Fatal(_why_stopped(event))
                if isinstance(event, Notice):
                    tqdm.write(one_line(event.text), file=sys.stderr)
                yield event

    return attended


def _shown(args: argparse.Namespace, subset: Subset, total: int, outcomes: Iterable[Event]) -> Iterator[Outcome]:
    """The outcomes, counted on a bar as they come; the first failures are named."""
    failures = 0
    with _bar(f"{args.version} {subset}", total) as bar:
        progress = _Progress(bar, RunCounts())
        for outcome in outcomes:
            if not isinstance(outcome, Outcome):
                progress.refresh()
                continue
            progress.show(outcome)
            failures += outcome.status == "failed"
            if outcome.status == "failed" and failures <= NAMED:
                progress.say(f"{outcome.clip}: {one_line(outcome.reason)}")
            yield outcome


def _patience(args: argparse.Namespace) -> float:
    """Seconds for one clip: what it usually never takes, and its share of a limited line."""
    usual_s, most_bytes = (3600.0, 2e8) if args.cut == "none" else (PATIENCE_S, 5e6)
    return usual_s + ((args.workers or WORKERS) * most_bytes / args.limit_rate if args.limit_rate else 0.0)


class _Stop:
    """Lets Ctrl-C, a closed terminal and `kill` all end the run in the same orderly way, once."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.asked = False

    def listen(self) -> None:
        for each in self.SIGNALS:
            if signal.getsignal(each) is not signal.SIG_IGN:  # as nohup leaves it
                signal.signal(each, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        for each in self.SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        self.asked = True
        raise KeyboardInterrupt


def _with_cookies(engines: tuple[str, ...], cookies: Path | None) -> tuple[str, ...]:
    if cookies is None:
        return engines
    if not cookies.is_file() or not os.access(cookies, os.R_OK):
        raise Fatal(f"cannot read the cookies: {cookies}")
    if "yt-dlp" not in engines:
        raise Fatal("only yt-dlp can send cookies: leave out --cookies, or say --engine yt-dlp")
    return ("yt-dlp",)


def _load(args: argparse.Namespace) -> Annotations:
    from kinetics.annotations.load import load
    from kinetics.annotations.select import select

    with tqdm(desc="annotations", unit="B", unit_scale=True, delay=0.5, leave=False) as bar:

        def progress(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        annotations = load(args.version, args.subset, args.annotations, progress=progress)
    annotations = select(
        annotations,
        classes=args.classes,
        only=args.only,
        limit=args.limit,
        sample=args.sample,
        seed=args.seed,
        shard=args.shard,
    )
    for warning in annotations.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return annotations


def _reuse(
    args: argparse.Namespace,
    layout: Layout,
    plan: Plan,
    elsewhere: ReuseCandidates,
    ledgers: Mapping[Split, Ledger],
) -> Plan:
    """Link what other versions have, and return what is left to do."""
    from kinetics.planning import reuse

    found = reuse.count_candidates(elsewhere)
    if not found:
        return plan
    linked = []
    with _bar("reuse", found) as bar:
        for row, clip, folders in reuse.candidates_by_clip(plan, elsewhere):
            try:
                if reuse.link_clip(clip, folders, layout, args.cut, args.max_height):
                    ledgers[clip.split].mark_present(clip.key)
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
        (ClipState.NEVER_TRIED, "never tried"),
        (ClipState.MAY_WORK, "failed before but may work now"),
        (ClipState.WAS_GONE, "gone before"),
    )
    known = ", ".join(f"{plan.count(tier):,} {words}" for tier, words in kinds if plan.count(tier))
    left_out = plan.wanted - plan.count(ClipState.ON_DISK) - plan.todo
    return (
        f"{_name(args, args.subset)}: {plan.wanted:,} {what} wanted, {plan.count(ClipState.ON_DISK):,} on disk"
        + (f", {known}" if known else "")
        + (f"; {plan.todo:,} to do" if plan.todo else "; nothing to do")
        + (f", {elsewhere:,} perhaps by a link to another version's folder" if elsewhere else "")
        + (f" ({left_out:,} left out by --retry {args.retry})" if left_out else "")
        + f" -> {layout.display_path(layout.folder)}"
    )


def _foretell(args: argparse.Namespace, layout: Layout, plan: Plan, mirror: Mirror | None) -> Sequence[Source]:
    """Say about how much is to come, if anything, and whether there is room for it; returns whom to ask, in order."""
    if not plan.todo:
        return ()
    tables = [part.stats(subset) for subset in _subsets(args) for part in layout.parts(subset)]
    to_come = estimate(plan.todo, tables, whole=args.cut == "none", per_hour=args.rate)
    basis = f"the last {to_come.attempts:,} attempts here" if to_come.attempts else "published figures"
    order, seconds, share = _order(args, plan, mirror, to_come) if mirror else (("youtube",), to_come.seconds, 1.0)
    if not share:
        return order
    to_come_size = share * to_come.size
    foretold = f"about {size(to_come_size)} and {duration_text(seconds)} to come, by {basis}"
    if layout.url:
        print(foretold, flush=True)
        return order
    place = next(folder for folder in (layout.folder, *layout.folder.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    print(f"{foretold}; {size(free)} free", flush=True)
    if to_come_size > free:
        lack = f"{place} has {size(free)} free, which is less than the {size(to_come_size)} to come"
        print(f"warning: {lack}", file=sys.stderr)
    return order


def _order(
    args: argparse.Namespace, plan: Plan, mirror: Mirror, youtube: Estimate
) -> tuple[Sequence[Source], float, float]:
    """Say what the mirror would bring, and at which cost.

    Returns whom to ask, in order, how many seconds that may take, and which share of the clips may come.
    """
    from kinetics.planning.sources import weigh

    alone, offered = args.source == "mirror", mirror.offer(plan)
    if not offered.archives:
        print("the mirror holds none of the clips to do", flush=True)
        return (("mirror",), 0.0, 0.0) if alone else (("mirror", "youtube"), youtube.seconds, 1.0)
    archives = "1 archive" if len(offered.archives) == 1 else f"{len(offered.archives):,} archives"
    much = f"{'at least ' if offered.unsaid else ''}{size(offered.size)}"
    print(
        f"the mirror: {archives} of {much} to read, which should bring {percent(offered.share)} of the clips to do",
        flush=True,
    )
    weighed = weigh(offered, youtube, plan.count(ClipState.WAS_GONE))
    if alone:
        return ("mirror",), weighed.mirror_s, offered.share
    first, second = weighed.order
    print(
        f"{NAMES[first]} first, about {duration_text(weighed.seconds(first))} in all: "
        f"with {NAMES[second]} first it would be {duration_text(weighed.seconds(second))}",
        flush=True,
    )
    return weighed.order, weighed.seconds(first), 1.0


class _Progress:
    """The bar: clips done, gone and failed, speed and remaining time.

    `provisional`: what the mirror lacks is still to be asked for elsewhere. `to_read` is in bytes, of its archives.
    """

    def __init__(self, bar: tqdm[None], tally: RunCounts, *, provisional: bool = False, to_read: int = 0) -> None:
        self._bar = bar
        self._tally = tally
        self._provisional = provisional
        self._to_read = to_read
        self._began = time.monotonic()
        self._bytes = 0
        self._reached = dict[str, int]()
        self._read = 0

    def show(self, outcome: Outcome) -> None:
        """Count an attempt; a postponed clip is still to come."""
        self._bytes += outcome.bytes_received if outcome.source == "youtube" else 0
        self._tally.take(outcome)
        self._state()

    def reached(self, archive: ArchiveProgress) -> None:
        """Count what has come of an archive."""
        come = archive.position - self._reached.get(archive.url, 0)
        self._reached[archive.url] = archive.position
        self._read += come
        self._bytes += max(0, come)  # an archive may have been begun anew
        self._state()
        self.refresh()

    def _state(self) -> None:
        counts = self._tally.counts
        lacking = counts[Category.NOT_FOUND] if self._provisional else 0
        gone = sum(count for category, count in counts.items() if category and category.gone) - lacking
        failed = counts.total() - counts[None] - gone - lacking
        said = f"{counts[None]} done, {gone} gone, {failed} failed"
        speed = self._bytes / 1e6 / max(time.monotonic() - self._began, 1e-3)
        said += f", {speed:.1f} MB/s" if speed else ""
        if self._read:
            said += f", {size(self._read)} of {size(max(self._read, self._to_read))} read"
        self._bar.set_postfix_str(said, refresh=False)
        self._bar.update(counts.total() - lacking - self._bar.n)

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


def _explained(event: Pause | SpacingChanged) -> str:
    now, server = datetime.now(), event.server
    if isinstance(event, SpacingChanged):
        items, place = "archives" if server == NAMES["mirror"] else "clips", event.place and f" to {event.place}"
        if not event.seconds:
            return (
                f"{now:%H:%M:%S} spreading the {items} over time did not help: they go{place} as fast as they can again"
            )
        per_hour = f"{3600 / event.seconds:,.0f}"
        rate = f"{per_hour} {items} an hour go out{place} now, slowly more"
        return f"{now:%H:%M:%S} {server} refuses again and again: {rate}"
    who, what = event.place or "everybody", "archive" if server == NAMES["mirror"] else "clip"
    until = now + timedelta(seconds=event.seconds)
    form = "%H:%M:%S" if until.date() == now.date() else "%d %b %H:%M:%S"
    reason = one_line(event.reason)
    said = reason if event.category is Category.NETWORK else f"{server} says: {reason}"
    return f"{now:%H:%M:%S} {said} -- {who} waits until {until:{form}}, then one {what} asks"


def _summary(args: argparse.Namespace, plan: Plan, tally: Counter[Category | None], ledgers: Iterable[Ledger]) -> str:
    done, linked = tally[None], plan.count(ClipState.LINKED)
    there = plan.count(ClipState.ON_DISK) + linked + done
    new = f"{done:,} of them new" + (f", {linked:,} linked from other versions" if linked else "")
    lines = [f"{_name(args, args.subset)}: {there:,} of {plan.wanted:,} on disk, {new}"]
    failures = {category: count for category, count in (+tally).most_common() if category}
    lines += [
        f"  {count:8,}  {category:14}  {'gone' if category.gone else 'may work later'}"
        for category, count in failures.items()
    ]
    untried = plan.todo - tally.total()
    if untried:
        lines.append(f"  {untried:8,}  not tried yet")
    if failures:
        lines += [f"reasons: {_layout(args).display_path(ledger.errors_log)}" for ledger in ledgers]
    if untried or plan.may_work_left_out or any(not category.gone for category in failures):
        lines.append(f"to go on: {_this_command()}")
    return "\n".join(lines)


def _this_command() -> str:
    return without_password(shlex.join(["python", *sys.argv]))


def _why_stopped(gave_up: GaveUp) -> str:
    reason = one_line(gave_up.reason)
    if gave_up.category is Category.ENGINE_ERROR:
        return f"stopped: the engines no longer understand YouTube ({reason}). They may be out of date: {UPGRADE}"
    if gave_up.category is Category.NETWORK:
        return f"stopped: for too long there was no line to {gave_up.server} ({reason}). Run it again when there is one"
    if gave_up.category is Category.LOST_WORKER:
        return f"stopped: {gave_up.reason}. Run it again when there is one"
    return f"stopped: for too long {gave_up.server} refused everything ({reason}). Run it again in some hours"


if __name__ == "__main__":
    _speak_on()
    sys.exit(main())
