"""Packs the clips of a download into shards as they come (--into-shards)."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from typing import TypeVar

from kinetics.annotations.classes import classes_of
from kinetics.humanize import counted
from kinetics.planning.plan import Plan
from kinetics.records import SPLIT_OF, Outcome, Split, StableFacts
from kinetics.run.context import Context
from kinetics.storage.locks import hold_subsets
from kinetics.storage.shard_writer import ShardWriter
from kinetics.storage.shards import ShardFolder

PackedEventT = TypeVar("PackedEventT")
VIDEOS_IN_WORK = 10_000
"""Videos of which it is remembered what YouTube said: more than all workers of a cluster have at once."""


class Packing:
    """The shards of a run, by split; without any the clips stay files."""

    def __init__(self, writers: dict[Split, ShardWriter]) -> None:
        self._writers = writers

    def packing(self, events: Iterable[PackedEventT]) -> Generator[PackedEventT, None, None]:
        """Pass on the events of a run, and pack each clip that came once it was recorded."""
        known = dict[str, StableFacts]()
        for event in events:
            yield event
            if not (isinstance(event, Outcome) and self._writers):
                continue
            youtube_id = event.clip.youtube_id
            if event.video:  # the first section of a video has it for all of them, which come soon
                known[youtube_id] = event.video.stable
                if len(known) > VIDEOS_IN_WORK:
                    del known[next(iter(known))]
            if event.status == "done":
                self._writers[event.clip.split].add(event.clip, known.get(youtube_id))

    def take_waiting(self, plan: Plan) -> None:
        """Take the clips that an interrupted run left, and those that were linked or adopted for this one."""
        for split, writer in self._writers.items():
            writer.take_waiting(plan.for_split(split).clips_named)


@contextmanager
def pack_into_shards(context: Context) -> Iterator[Packing]:
    """Yield the shards of a run; at its end all that came is in whole shards, or waits for the next run if it failed.

    Raises Fatal if another command writes the same shards, or if they cannot be written.
    """
    options, layout = context.options, context.layout
    if not options.into_shards:
        yield Packing({})
        return
    shards = layout.derived_layout("shards")
    classes = cache(partial(classes_of, options.version, options.annotations, options.format))
    writers = {
        SPLIT_OF[subset]: ShardWriter(ShardFolder(layout, subset), options.into_shards, classes, options.seed)
        for subset in context.subsets
    }
    with ExitStack() as stack:
        stack.enter_context(hold_subsets(shards, context.subsets, context.listener.tell))
        for writer in writers.values():
            stack.enter_context(writer)
        yield Packing(writers)
    written = sum(len(writer.finished) for writer in writers.values())
    if written:
        context.listener.tell(f"{layout.display_path(shards.folder)}: {counted(written, 'new shard')}")
