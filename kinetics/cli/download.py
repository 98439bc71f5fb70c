"""The download: load clips, leave out what is on disk, try the rest, record and show what becomes of them.

Heavy modules are imported here at once: by now those that the workers need are being imported beside this (`prepare`).
"""

from __future__ import annotations

import platform
import sys
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

from kinetics.cli.context import Context
from kinetics.cli.found_clips import look_for_clips, name_other_files, take_found
from kinetics.cli.jobs import FIRST_HOST, download_job, engines_with_cookies, extract_job
from kinetics.cli.messages import (
    announcement,
    another_kind,
    explanation,
    forecast,
    how_to_mix,
    mirror_hint,
    mirror_offer,
    source_order,
    summary,
    why_stopped,
)
from kinetics.cli.options import Options
from kinetics.cli.progress import ProgressBar, make_bar
from kinetics.cli.run_counts import RunCounts
from kinetics.cli.terminal import tell
from kinetics.errors import Fatal
from kinetics.humanize import one_line, size
from kinetics.mirror.catalog import Unreachable
from kinetics.net.proxy import proxy_for
from kinetics.planning.estimate import Estimate, estimate
from kinetics.planning.gone_videos import GoneVideos, RunEvent, StillGone
from kinetics.planning.kinds import ClipKind, other_kinds
from kinetics.planning.living_first import LivingFirst
from kinetics.planning.plan import Plan, make_plan
from kinetics.planning.sources import (
    MIRROR_PATIENCE_S,
    Mirror,
    SourceRunner,
    compare_orders,
    run_sources,
    usual_offer,
)
from kinetics.planning.thumbnail_lookup import ThumbnailLookup
from kinetics.records import SPLIT_OF, ArchiveProgress, Category, Clip, ClipState, Outcome, Source, Split, Subset, Video
from kinetics.scheduling.call_pace import CallPace
from kinetics.scheduling.control_calls import CONTROLS
from kinetics.scheduling.dispatch import Event
from kinetics.scheduling.events import GaveUp, Notice, Pause, SpacingChanged
from kinetics.scheduling.pool import run
from kinetics.scheduling.refusals import RefusedItems
from kinetics.scheduling.shared_pace import SharedPace, pace_file
from kinetics.scheduling.throttle import NETWORK_GIVE_UP_S, Throttle
from kinetics.scheduling.undecided import ThumbnailWitness
from kinetics.storage.layout import Layout, free_space
from kinetics.storage.ledger import Ledger
from kinetics.storage.locks import hold_subsets
from kinetics.storage.table_sync import TableSync, readable_tables
from kinetics.storage.thumbnail_log import ThumbnailLog
from kinetics.youtube.engines import engine_versions
from kinetics.youtube.thumbnails import ThumbnailHost

WORTH_A_HINT, WORTH_A_HINT_S = 2.0, 3600.0
"""How many times quicker the mirror has to be for a run without it to mention it, and how long that run has to be."""
LIVING_SAMPLE = 6
"""Videos of clips on disk whose thumbnails show whether their host can be believed. With fewer, some that were deleted
since would make it look wrong."""


def download(options: Options, context: Context) -> int:
    """Load clips, leave out what is on disk, try the rest; returns the exit code."""
    annotations, layout = context.annotations, context.layout
    with ExitStack() as stack:
        tables = TableSync(layout, context.subsets)
        if options.dry_run:
            layout = stack.enter_context(readable_tables(layout, context.subsets))
        else:
            stack.enter_context(hold_subsets(layout, context.subsets, tell))
            stack.enter_context(tables)
        ledgers = {SPLIT_OF[subset]: Ledger(layout, subset) for subset in context.subsets}
        thumbnails = thumbnail_logs(options, layout, context.subsets)
        plan = make_plan(
            annotations,
            layout,
            ledgers,
            options.cut,
            options.retry,
            source=options.source,
            engines=engine_versions(engines_with_cookies(options.engine, options.cookies)),
            thumbnails=thumbnails,
        )
        check_kinds(options, context, layout, plan)
        found = look_for_clips(options, plan, layout)
        tell(announcement(options, layout, plan, found))
        name_other_files(options, layout, plan, found)
        mirror = Mirror(options.version, context.subsets) if options.source != "youtube" and plan.todo else None
        order = print_forecast(options, context, layout, plan, mirror)
        if options.dry_run:
            return 0
        for ledger in ledgers.values():
            stack.enter_context(ledger) if plan.todo or found.any_clip else ledger.compact()
        for log in thumbnails.values():
            stack.enter_context(log)
        plan = take_found(context, plan, found, ledgers)
        runners = source_runners(options, context, mirror, thumbnails)
        events = run_sources(plan, order, runners)
        stack.callback(events.close)
        mirror_only = {clip.key for clip in plan.clips_in(plan.not_due_rows)} if mirror else ()
        counts, to_read = RunCounts(not_offered=mirror_only), mirror.size if mirror else 0
        try:
            with make_bar(f"{layout.short_name} {options.subset}", plan.todo) as bar:
                progress = ProgressBar(bar, counts, provisional=options.source == "both", to_read=to_read)
                gave_up = record_and_show(tables.syncing(events), ledgers, progress)
        finally:
            tell(summary(options, layout, plan, counts, ledgers.values()))
    if gave_up:
        tell(why_stopped(gave_up), file=sys.stderr)
    return exit_code(plan, counts.counts, gave_up, all_read=not (mirror and mirror.unread))


def check_kinds(options: Options, context: Context, layout: Layout, plan: Plan) -> None:
    """Raise Fatal if the run would add another kind of clips to those on disk; with --mix, only say so.

    Clips of the mirror are another source, not another kind.
    """
    if options.source == "mirror" or not plan.todo:
        return
    wanted = ClipKind(options.cut, options.max_height)
    found = other_kinds(layout, context.subsets, lambda subset: plan.on_disk_in(SPLIT_OF[subset]), wanted)
    if found and not options.mix:
        raise Fatal(f"{another_kind(found, wanted)}. {how_to_mix(found)}")
    if found:
        tell(f"warning: {another_kind(found, wanted)}", sys.stderr)


def record_and_show(
    events: Iterable[RunEvent], ledgers: Mapping[Split, Ledger], progress: ProgressBar
) -> GaveUp | None:
    """Record and show what becomes of the clips; returns why the run gave up, if it did."""
    gave_up: GaveUp | None = None
    said = {""}
    for event in events:
        match event:
            case Outcome():
                ledgers[event.clip.split].record(event)
                progress.show(event)
                if event.notice not in said:
                    said.add(event.notice)
                    progress.say(one_line(event.notice))
            case StillGone():
                progress.show_still_gone(event.outcome)
            case ArchiveProgress():
                progress.show_archive(event)
            case Pause():
                progress.say(explanation(event))
                progress.pause(event)
            case SpacingChanged():
                progress.say(explanation(event))
                progress.spread(event)
            case Notice():
                progress.say(one_line(event.text))
            case GaveUp():
                gave_up = event
            case _:
                progress.refresh()
    return gave_up


def exit_code(plan: Plan, counts: Counter[Category | None], gave_up: GaveUp | None, *, all_read: bool) -> int:
    """Return 1 if a re-run may get more clips, else 0: clips that are gone or not offered are settled.

    `all_read`: every archive of the mirror that may hold a missing clip was read to its end. Else a clip without a
    result may be in one of the others, though it has failed.
    """
    may_work_later = any(category and not category.settled for category in +counts)
    tried = counts.total() if all_read else counts[None]
    return int(bool(gave_up or may_work_later or tried < plan.todo or plan.may_work_left_out))


def thumbnail_logs(options: Options, layout: Layout, subsets: Iterable[Subset]) -> Mapping[Split, ThumbnailLog]:
    """Return what was seen of the thumbnails of each subset's gone videos; nothing where they are not asked for."""
    if options.no_thumbnails or options.source == "mirror":
        return {}
    return {SPLIT_OF[subset]: ThumbnailLog(layout, subset) for subset in subsets}


def in_order_of_thumbnails(plan: Plan, logs: Mapping[Split, ThumbnailLog]) -> LivingFirst:
    """Return the clips that YouTube is asked for, the living first, and those that were gone last."""
    living, looked_for, gone_before = plan.by_thumbnails()
    lookup = ThumbnailLookup(ThumbnailHost().ask)
    gone = GoneVideos(
        looked_for,
        gone_before.items(),
        lookup,
        lambda clip, thumbnail: logs[clip.split].note(clip.youtube_id, thumbnail),
        known=plan.known,
        stays_there=plan.looked_for.stays_there,
        living=[clip.youtube_id for clip in plan.sample_living(LIVING_SAMPLE, (ClipState.ON_DISK,))],
    )
    return LivingFirst(living.items(), gone, lookup)


def source_runners(
    options: Options, context: Context, mirror: Mirror | None, thumbnails: Mapping[Split, ThumbnailLog]
) -> Mapping[Source, SourceRunner]:
    """Return how each source is asked for clips. Archives are read by this machine, also where a cluster is used."""
    workers, timeout_s = context.workers, context.timeout_s
    youtube_job, mirror_job = download_job(options, context), extract_job(options, context)

    def youtube(plan: Plan) -> Generator[RunEvent, None, None]:
        new_throttle = partial(
            Throttle,
            per_hour=options.per_hour,
            refused_items=RefusedItems(),
            known=plan.known,
            witness=ThumbnailWitness(),
            controls=plan.sample_living(CONTROLS),
        )

        def throttle(workers: int, host: str) -> Throttle:
            proxy = proxy_for("https", FIRST_HOST["youtube"])  # of this machine; a cluster's hosts may have others
            address = host or (proxy.url if proxy else platform.node())
            pace = SharedPace(pace_file(), address, limited=not options.rate)
            return new_throttle(workers, pace=pace)

        def run_on(items: Iterable[Clip | Video]) -> Generator[Event, None, None]:
            return context.run(youtube_job, items, throttle, workers=workers, timeout_s=timeout_s)

        if not thumbnails:
            return run_on(plan.for_youtube().items())
        return in_order_of_thumbnails(plan, thumbnails).watching(run_on)

    if not mirror:
        return {"youtube": youtube}
    patience_s = MIRROR_PATIENCE_S if options.source == "both" else NETWORK_GIVE_UP_S
    throttle_mirror = Throttle(workers, pace=CallPace(limited=False), network_patience_s=patience_s)
    read = partial(run, mirror_job, workers=workers, timeout_s=timeout_s, throttle=throttle_mirror)
    return {"youtube": youtube, "mirror": partial(mirror.fetch, read, mirror_job.wanted)}


def print_forecast(
    options: Options, context: Context, layout: Layout, plan: Plan, mirror: Mirror | None
) -> Sequence[Source]:
    """Say how much is to come and whether there is room for it; returns the sources to ask, in order."""

    if not plan.todo:
        return ()
    tables = [part.stats(subset) for subset in context.subsets for part in layout.shard_layouts(subset)]
    whole = options.cut == "none"
    to_ask = plan.todo - len(plan.to_look_for)
    to_come = estimate(to_ask, tables, videos=plan.videos, whole=whole, per_hour=options.per_hour)
    order, seconds, share = (
        choose_source_order(options, plan, mirror, to_come) if mirror else (("youtube",), to_come.seconds, 1.0)
    )
    if not (share and to_ask):
        return order
    text = "  " + forecast(to_come, seconds=seconds, share=share)
    if layout.url:
        tell(text)
    else:
        free = free_space(layout.folder)
        tell(f"{text}; {size(free)} free")
        if share * to_come.size > free:
            lack = f"{layout.root} has {size(free)} free, less than the {size(share * to_come.size)} to come"
            tell(f"warning: {lack}", file=sys.stderr)
    if not mirror and options.whole_subset and seconds >= WORTH_A_HINT_S:
        offer = usual_offer(plan)
        if offer.seconds < seconds / WORTH_A_HINT:
            tell("  " + mirror_hint(offer))
    return order


def choose_source_order(
    options: Options, plan: Plan, mirror: Mirror, youtube: Estimate
) -> tuple[Sequence[Source], float, float]:
    """Say what the mirror would bring, and at what cost.

    Returns the sources to ask, in order, the seconds that this may take, and the share of the clips that may come.
    """

    alone = options.source == "mirror"
    try:
        offer = mirror.offer(plan, beside_youtube=not alone)
    except Unreachable as error:
        if alone:
            raise
        tell(f"  {error.what}: YouTube is asked first, and the mirror again after it")
        return ("youtube", "mirror"), youtube.seconds, 1.0
    if not offer.archives:
        tell("  the mirror holds none of the clips to do")
        return (("mirror",), 0.0, 0.0) if alone else (("mirror", "youtube"), youtube.seconds, 1.0)
    tell("  " + mirror_offer(offer))
    weighed = compare_orders(offer, youtube, plan.count(ClipState.NOT_OFFERED) + plan.count(ClipState.WAS_GONE))
    if alone:
        return ("mirror",), weighed.mirror_s, offer.share
    if offer.without_sizes:
        tell("  YouTube first, since nobody knows how long these would take")
        return ("youtube", "mirror"), youtube.seconds, 1.0
    tell("  " + source_order(weighed))
    return weighed.order, weighed.seconds(weighed.order[0]), 1.0
