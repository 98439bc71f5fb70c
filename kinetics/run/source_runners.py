"""How each source is asked for clips: in which order, by which job, and at what pace."""

from __future__ import annotations

import platform
from collections.abc import Generator, Iterable, Mapping, MutableMapping
from functools import partial

from kinetics.net.proxy import proxy_for
from kinetics.planning.gone_videos import GoneVideos, RunEvent
from kinetics.planning.living_first import LivingFirst
from kinetics.planning.plan import Plan
from kinetics.planning.sources import MIRROR_PATIENCE_S, Mirror, SourceRunner
from kinetics.planning.thumbnail_lookup import ThumbnailLookup
from kinetics.records import SPLIT_OF, Clip, ClipState, Source, Split, Subset, Video
from kinetics.run.context import Context
from kinetics.run.jobs import FIRST_HOST, download_job, extract_job
from kinetics.run.options import Options
from kinetics.scheduling.call_pace import CallPace, Pacing
from kinetics.scheduling.control_calls import CONTROLS
from kinetics.scheduling.dispatch import Event
from kinetics.scheduling.pool import run
from kinetics.scheduling.refusals import RefusedItems
from kinetics.scheduling.shared_pace import SharedPace, pace_file
from kinetics.scheduling.throttle import NETWORK_GIVE_UP_S, Throttle
from kinetics.scheduling.undecided import ThumbnailWitness
from kinetics.storage.layout import Layout
from kinetics.storage.thumbnail_log import ThumbnailLog
from kinetics.youtube.thumbnails import ThumbnailHost

LIVING_SAMPLE = 6
"""Videos of clips on disk whose thumbnails show whether their host can be believed. With fewer, some that were deleted
since would make it look wrong."""


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
    options: Options,
    context: Context,
    mirror: Mirror | None,
    thumbnails: Mapping[Split, ThumbnailLog],
    paces: MutableMapping[str, Pacing],
) -> Mapping[Source, SourceRunner]:
    """Return how each source is asked for clips. Archives are read by this machine, also where a cluster is used.

    While YouTube is asked, `paces` has what is known of the player calls of each address.
    """
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
            pace = paces[address] = SharedPace(pace_file(), address, limited=not options.rate)
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
