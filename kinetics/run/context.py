"""What the commands share: what is derived once from the options, and how their work is run."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from kinetics.errors import Fatal
from kinetics.humanize import counted, one_line
from kinetics.records import SPLIT_OF, Clip, Item, Subset
from kinetics.run.listener import Listener
from kinetics.run.messages import by_list, why_stopped
from kinetics.run.options import ON_CLIPS, Command, Options
from kinetics.scheduling.dispatch import Event
from kinetics.scheduling.events import GaveUp, Notice
from kinetics.scheduling.pool import run
from kinetics.scheduling.throttle import Throttle, Unthrottled
from kinetics.scheduling.worker import PortableJob
from kinetics.storage.layout import Layout, check_folder, require_data_set, require_no_obstacle

if TYPE_CHECKING:
    import pandas as pd

    from kinetics.annotations.table import Annotations

WORKERS = 8
"""Worker processes of a download, unless --workers says otherwise."""
CLIP_TIMEOUT_S, VIDEO_TIMEOUT_S = 300.0, 3600.0
"""Seconds that one clip, or one whole video, may take; it is given up then, and its worker replaced."""
CLIP_BYTES, VIDEO_BYTES = 5e6, 2e8
"""Bytes that hardly any clip, or whole video, exceeds: with --limit-rate its timeout grows by the time they take."""


@dataclass(frozen=True)
class Context:
    """What is derived from the options, each value once."""

    options: Options
    listener: Listener = field(default_factory=Listener)

    @cached_property
    def layout(self) -> Layout:
        """The paths of the data set. With `--annotations` these are loaded first: they may be another data set's."""
        options = self.options
        shard = options.shard.name if options.shard else ""
        if not options.url:
            require_no_obstacle(options.output.absolute())  # before a link is followed to a disk that is not mounted
        into_shards = options.into_shards is not None
        layout = Layout(
            Path(os.path.realpath(options.output)),
            options.version,
            shard=shard,
            url=options.url,
            into_shards=into_shards,
        )
        if not options.annotations or not self.annotations.data_set:
            return layout
        from kinetics.planning.data_set import is_kept_in, layout_of_list  # noqa: PLC0415 - pandas takes a while

        the_list = self.annotations, options.annotations, options.format
        own = layout_of_list(layout, *the_list)
        if own == layout or not is_kept_in(layout, own, *the_list):
            return own
        here, instead = (one.display_path(one.folder) for one in (layout, own))
        has = f"{here} has clips of this list of {own.name}"
        self.listener.notice(f"{has}, so it stays there unless {instead} exists")
        return layout

    def check_folder(self) -> None:
        """Raise Fatal if the folder cannot be written to, or lacks the data set that the command is for.

        Nothing is made, so that a mistyped name leaves no trace.
        """
        command = self.options.command
        if command in ON_CLIPS | {Command.REPORT}:
            require_data_set(self.layout, tables_suffice=command is Command.REPORT)
        if not self.options.url and command not in (Command.LIST_CLASSES, Command.COMPARE):
            check_folder(self.layout.folder)

    @cached_property
    def subsets(self) -> list[Subset]:
        return list(SPLIT_OF) if self.options.subset == "all" else [self.options.subset]

    @property
    def own_folder(self) -> Path:
        """A folder that belongs to this run alone."""
        return self.layout.partial(SPLIT_OF[self.subsets[0]])

    @property
    def workers(self) -> int:
        """Worker processes of a download."""
        return self.options.workers or WORKERS

    @property
    def timeout_s(self) -> float:
        """Seconds for one item of a download: the usual bound, and its share of a limited rate."""
        options = self.options
        if options.timeout:
            return options.timeout
        whole = options.cut == "none"
        usual_s, most_bytes = (VIDEO_TIMEOUT_S, VIDEO_BYTES) if whole else (CLIP_TIMEOUT_S, CLIP_BYTES)
        return usual_s + (self.workers * most_bytes / options.limit_rate if options.limit_rate else 0.0)

    @cached_property
    def annotations(self) -> Annotations:
        """The chosen clips. Says how many come from which list, and warns of each kind of row left out."""
        from kinetics.annotations.load import load  # noqa: PLC0415 - pandas takes a while
        from kinetics.annotations.select import select  # noqa: PLC0415

        options, listener = self.options, self.listener
        with listener.loading() as progress:
            loaded = load(
                options.version,
                options.subset,
                options.annotations,
                file_format=options.format,
                clip_list=options.clip_list,
                refresh=options.refresh,
                progress=progress,
                notify=listener.notice,
            )
        if "named_in" in loaded.frame and loaded.frame["named_in"].cat.categories.size > 1:
            listener.tell(by_list(Counter(loaded.frame["named_in"])))
        chosen = select(
            loaded,
            classes=options.classes,
            only=options.only,
            limit=options.limit,
            sample=options.sample,
            seed=options.seed,
            shard=options.shard,
        )
        for warning in chosen.warnings:
            listener.warn(warning)
        return chosen

    @cached_property
    def clips_on_disk(self) -> dict[Subset, pd.DataFrame]:
        """The chosen clips that are on disk, by subset, and where those in shards are. Says how many."""
        from kinetics.planning.plan import scan  # noqa: PLC0415
        from kinetics.storage.shards import with_places  # noqa: PLC0415

        frame = self.annotations.frame
        found = with_places(frame, self.layout, scan(frame, self.layout)[0])
        title, all_clips = self.layout.title(self.options.subset), counted(len(frame), "clip")
        self.listener.tell(f"{title}: {len(found):,} of {all_clips} on disk")
        return {subset: found[found["split"] == SPLIT_OF[subset]] for subset in self.subsets}

    def run(
        self,
        job: PortableJob,
        clips: Iterable[Item],
        throttle: Callable[[int, str], Throttle | Unthrottled],
        *,
        workers: int,
        timeout_s: float,
    ) -> Generator[Event, None, None]:
        """Do a job to clips with that many processes of this machine, or on a Dask cluster.

        `throttle` makes the throttle of one address, from the number of clips that can be at work there, and the host's
        name, which is empty where the address is this machine's or the proxy's.
        """
        options = self.options
        if not options.scheduler:
            return run(job, clips, workers=workers, timeout_s=timeout_s, throttle=throttle(workers, ""))
        from kinetics.scheduling import dask_client  # noqa: PLC0415 - an extra package

        return dask_client.run(
            job,
            clips,
            scheduler=options.scheduler,
            layout=self.layout,
            run_folder=self.own_folder,
            timeout_s=timeout_s,
            new_throttle=throttle,
            max_per_host=options.workers,
            one_address=options.proxy is not None,
        )

    def run_on_files(self, job: PortableJob, clips: Iterable[Clip]) -> Generator[Event, None, None]:
        """Do a job to files on disk, for which no server is asked. Raises Fatal if the run gives up."""

        def unthrottled(workers: int, host: str) -> Unthrottled:
            return Unthrottled(workers)

        workers, timeout_s = self.options.workers or os.cpu_count() or 1, self.options.timeout or CLIP_TIMEOUT_S
        with closing(self.run(job, clips, unthrottled, workers=workers, timeout_s=timeout_s)) as events:
            for event in events:
                if isinstance(event, GaveUp):
                    raise Fatal(why_stopped(event))
                if isinstance(event, Notice):
                    self.listener.notice(one_line(event.text))
                yield event
