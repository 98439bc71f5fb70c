"""The download: load clips, leave out what is on disk, try the rest, record and show what becomes of them.

Heavy modules are imported here at once: by now those that the workers need are being imported beside this (`prepare`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from kinetics.errors import Fatal
from kinetics.humanize import one_line, size
from kinetics.mirror.catalog import Unreachable
from kinetics.planning.estimate import Estimate, estimate
from kinetics.planning.gone_videos import RunEvent
from kinetics.planning.kinds import ClipKind, other_kinds
from kinetics.planning.plan import Plan, make_plan
from kinetics.planning.sources import (
    Mirror,
    compare_orders,
    run_sources,
    usual_offer,
)
from kinetics.records import SPLIT_OF, ClipState, Outcome, Source, Split
from kinetics.run.context import Context
from kinetics.run.counts import RunCounts
from kinetics.run.found_clips import look_for_clips, name_other_files, take_found
from kinetics.run.jobs import engines_with_cookies
from kinetics.run.listener import Listener, ShowProgress
from kinetics.run.messages import (
    announcement,
    another_kind,
    explanation,
    forecast,
    how_to_mix,
    mirror_hint,
    mirror_offer,
    source_order,
)
from kinetics.run.options import Options
from kinetics.run.packing import pack_into_shards
from kinetics.run.progress import ProgressTracker
from kinetics.run.result import RunResult
from kinetics.run.source_runners import source_runners, thumbnail_logs
from kinetics.run.status import StatusWriter
from kinetics.scheduling.call_pace import Pacing
from kinetics.scheduling.events import GaveUp, Notice, Pause, SpacingChanged
from kinetics.storage.layout import Layout, free_space
from kinetics.storage.ledger import Ledger
from kinetics.storage.locks import hold_subsets
from kinetics.storage.table_sync import TableSync, readable_tables
from kinetics.storage.video_table import VideoTable
from kinetics.youtube.engines import engine_versions

WORTH_A_HINT, WORTH_A_HINT_S = 2.0, 3600.0
"""How many times quicker the mirror has to be for a run without it to mention it, and how long that run has to be."""


def download(context: Context) -> RunResult:
    """Load clips, leave out what is on disk, try the rest; returns what has come of it."""
    options, listener, annotations, layout = context.options, context.listener, context.annotations, context.layout
    with ExitStack() as stack:
        status = StatusWriter(context)
        tables = TableSync(layout, context.subsets, status.path)
        if options.dry_run:
            layout = stack.enter_context(readable_tables(layout, context.subsets))
        else:
            stack.enter_context(hold_subsets(layout, context.subsets, listener.tell))
            stack.push(status.ended)  # what goes wrong at the end changes what it says
            stack.enter_context(tables)
            stack.push(status.ended)
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
        check_kinds(context, layout, plan)
        found = look_for_clips(options, plan, layout)
        listener.tell(announcement(options, layout, plan, found))
        name_other_files(context, layout, plan, found)
        mirror = Mirror(options.version, context.subsets) if options.source != "youtube" and plan.todo else None
        expected = tell_forecast(context, layout, plan, mirror)
        result = RunResult(layout, plan, RunCounts(), ledgers)
        if options.dry_run:
            return result
        for ledger in ledgers.values():
            stack.enter_context(ledger) if plan.todo or found.any_clip else ledger.compact()
        for log in thumbnails.values():
            stack.enter_context(log)
        videos = {SPLIT_OF[subset]: stack.enter_context(VideoTable(layout, subset)) for subset in context.subsets}
        plan = take_found(context, plan, found, ledgers)
        packing = stack.enter_context(pack_into_shards(context))
        packing.take_waiting(plan)
        paces = dict[str, Pacing]()
        runners = source_runners(options, context, mirror, thumbnails, paces)
        events = run_sources(plan, expected.order, runners)
        stack.callback(events.close)
        tracker = track(options, plan, expected, mirror)
        result = replace(result, plan=plan, counts=tracker.counts)
        status.begin(tracker, paces)
        try:
            with listener.showing(f"{layout.short_name} {options.subset}", plan.todo) as show:
                packed = tables.syncing(packing.packing(events))
                recorder = Recorder(ledgers, videos, tracker, status)
                gave_up = record_and_show(packed, recorder, listener, show)
        finally:
            tell_if_videos_wait(videos.values(), listener)
            listener.ended(result)
        result = status.result = replace(result, gave_up=gave_up, all_read=not (mirror and mirror.unread))
    return result


def check_kinds(context: Context, layout: Layout, plan: Plan) -> None:
    """Raise Fatal if the run would add another kind of clips to those on disk; with --mix, only say so.

    Clips of the mirror are another source, not another kind, unless their pictures were to be like others.
    """
    options = context.options
    if not plan.todo:
        return
    wanted = ClipKind(options.cut, options.max_height, options.picture)
    found = other_kinds(layout, context.subsets, lambda subset: plan.on_disk_in(SPLIT_OF[subset]), wanted)
    if options.source == "mirror":
        found = [one for one in found if one.picture is not None]
    if found and not options.mix:
        raise Fatal(f"{another_kind(found, wanted)}. {how_to_mix(found)}")
    if found:
        context.listener.warn(another_kind(found, wanted))


def track(options: Options, plan: Plan, expected: Forecast, mirror: Mirror | None) -> ProgressTracker:
    """Return what takes in the events of the run, and knows its progress."""
    mirror_only = {clip.key for clip in plan.clips_in(plan.not_due_rows)} if mirror else ()
    return ProgressTracker(
        plan.todo,
        RunCounts(not_offered=mirror_only),
        wanted=plan.wanted,
        on_disk=plan.there,
        expected_s=expected.seconds,
        basis=expected.basis,
        provisional=options.source == "both",
        to_read=mirror.size if mirror else 0,
    )


@dataclass(frozen=True, slots=True)
class Recorder:
    """Everything that takes down what becomes of the clips."""

    ledgers: Mapping[Split, Ledger]
    videos: Mapping[Split, VideoTable]
    tracker: ProgressTracker
    status: StatusWriter

    def record(self, event: RunEvent) -> None:
        """Take down an event."""
        if isinstance(event, Outcome):
            self.ledgers[event.clip.split].record(event)
            self.videos[event.clip.split].record(event)
        self.tracker.take(event)
        if isinstance(event, Pause):
            self.status.write()
        else:
            self.status.write_if_due()


def record_and_show(
    events: Iterable[RunEvent], recorder: Recorder, listener: Listener, show: ShowProgress
) -> GaveUp | None:
    """Record and show what becomes of the clips; returns why the run gave up, if it did."""
    gave_up: GaveUp | None = None
    said = {""}
    for event in events:
        recorder.record(event)
        show(recorder.tracker.progress)
        match event:
            case Outcome():
                if event.notice not in said:
                    said.add(event.notice)
                    listener.notice(one_line(event.notice))
            case Pause() | SpacingChanged():
                listener.notice(explanation(event))
            case Notice():
                listener.notice(one_line(event.text))
            case GaveUp():
                gave_up = event
    return gave_up


def tell_if_videos_wait(videos: Iterable[VideoTable], listener: Listener) -> None:
    """Say what is to be installed where what YouTube says of the videos cannot be written to their tables."""
    if waiting := [one.display_path for one in videos if one.lacks_package]:
        listener.tell(
            f"pyarrow is not installed, so {' and '.join(waiting)} cannot be written: pip install pyarrow. "
            "What YouTube says of the videos is kept until a run can write it"
        )


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected of a run before it begins."""

    order: Sequence[Source] = ()
    """The sources to ask, in order."""
    seconds: float = 0.0
    basis: str = ""
    """What the seconds are based on, for a person."""


def tell_forecast(context: Context, layout: Layout, plan: Plan, mirror: Mirror | None) -> Forecast:
    """Say how much is to come and whether there is room for it; returns what is expected."""
    if not plan.todo:
        return Forecast()
    options, listener = context.options, context.listener
    tables = [part.stats(subset) for subset in context.subsets for part in layout.shard_layouts(subset)]
    whole = options.cut == "none"
    to_ask = plan.todo - len(plan.to_look_for)
    to_come = estimate(to_ask, tables, videos=plan.videos, whole=whole, per_hour=options.per_hour)
    order, seconds, share = (
        choose_source_order(context, plan, mirror, to_come) if mirror else (("youtube",), to_come.seconds, 1.0)
    )
    expected = Forecast(order, seconds, to_come.basis)
    if not (share and to_ask):
        return expected
    text = "  " + forecast(to_come, seconds=seconds, share=share)
    if layout.url:
        listener.tell(text)
    else:
        free = free_space(layout.folder)
        listener.tell(f"{text}; {size(free)} free")
        if share * to_come.size > free:
            listener.warn(f"{layout.root} has {size(free)} free, less than the {size(share * to_come.size)} to come")
    if not mirror and options.whole_subset and seconds >= WORTH_A_HINT_S:
        offer = usual_offer(plan)
        if offer.seconds < seconds / WORTH_A_HINT:
            listener.tell("  " + mirror_hint(offer))
    return expected


def choose_source_order(
    context: Context, plan: Plan, mirror: Mirror, youtube: Estimate
) -> tuple[Sequence[Source], float, float]:
    """Say what the mirror would bring, and at what cost.

    Returns the sources to ask, in order, the seconds that this may take, and the share of the clips that may come.
    """
    alone, tell = context.options.source == "mirror", context.listener.tell
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
