"""The commands that make something of the clips on disk: frames, sound, smaller copies, shards and lists."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from kinetics.annotations.classes import classes_of
from kinetics.annotations.select import in_random_order
from kinetics.cli.clip_commands import choice_name, exit_code_of, progress_title, shown_of
from kinetics.cli.progress import make_bar
from kinetics.cli.terminal import tell
from kinetics.dataset.clip_jobs import ExtractFrames, ExtractSound, ResizeClip
from kinetics.dataset.inventory import (
    measure_clips,
    read_headers,
    stored_clips,
)
from kinetics.dataset.lists import write_frame_list, write_lists, write_silent_list
from kinetics.dataset.repack import require_copies, rows_to_pack, with_same_content
from kinetics.dataset.results import ResultTable
from kinetics.dataset.settings import keep_settings
from kinetics.dataset.shards import WebDatasetShards, shard_samples
from kinetics.errors import Fatal
from kinetics.humanize import counted, size
from kinetics.records import KEY, SPLIT_OF, Clip, Outcome, Subset
from kinetics.run.context import Context
from kinetics.run.options import Options
from kinetics.scheduling.worker import PortableJob
from kinetics.storage.layout import Layout, free_space
from kinetics.storage.locks import hold_subsets, lock

if TYPE_CHECKING:
    import pandas as pd


JPEG_QUALITY = 90
"""1 to 100, unless --quality says otherwise."""


def frames(options: Options, context: Context) -> int:
    """Write frames of the clips on disk."""
    assert options.frames
    target, quality = context.layout.derived_layout("frames"), options.quality or JPEG_QUALITY
    job = ExtractFrames(context.layout, target, options.frames, options.short_side, quality)
    settings = {"frames": options.frames, "short_side": options.short_side, "quality": quality}
    converted = _converted(context, job, target=target, suffix="", settings=settings)
    return exit_code_of([one for _, outcomes in converted for one in outcomes if one.status == "failed"])


def resize(options: Options, context: Context) -> int:
    """Write copies of the clips on disk with another picture, each set of them into a folder of its own."""
    layout = context.layout
    target = layout.derived_layout(options.picture.name)
    job = ResizeClip(layout, target, options.picture)
    converted = _converted(context, job, target=target, suffix=".mp4")
    return exit_code_of([one for _, outcomes in converted for one in outcomes if one.status == "failed"])


def sound(options: Options, context: Context) -> int:
    """Write the sound of the clips on disk, and a list of those without any."""
    assert options.sound
    layout, failed, suffix = context.layout, list[Outcome](), f".{options.sound}"
    target = layout.derived_layout("sound")
    job = ExtractSound(layout, target, options.sound)
    for subset, outcomes in _converted(context, job, target=target, suffix=suffix):
        silent = list[Clip]()
        for one in outcomes:
            failed += [one] if one.status == "failed" else []
            silent += [one.clip] if one.sound is False else []
        tell(f"{len(silent):,} without sound, listed in {write_silent_list(layout, subset, silent, suffix)}")
    return exit_code_of(failed)


def shards(options: Options, context: Context) -> int:
    """Pack the clips on disk into WebDataset shards."""
    assert options.shards
    layout, classes = context.layout, classes_of(options.version, options.annotations, options.format)
    clips, failed = context.clips_on_disk, list[Outcome]()
    target = layout.derived_layout(f"shards{choice_name(options)}")
    with ExitStack() as stack:
        stack.enter_context(hold_subsets(target, context.subsets, tell))
        for subset, frame in clips.items():
            fit = _with_header(context, subset, _as_files(frame, layout, "--repack packs them anew"), failed)
            require_copies(layout, subset, fit) if target.folder == layout.derived_layout("shards").folder else None
            samples = shard_samples(layout, fit.iloc[in_random_order(fit, options.seed)], classes)
            _write_shards(context, target, subset, WebDatasetShards(layout, target, subset, samples, options.shards))
    return exit_code_of(failed)


def repack(options: Options, context: Context) -> int:
    """Pack the clips of the manifest into shards, from files and from shards; the result depends on nothing else."""
    assert options.repack
    layout, classes = context.layout, classes_of(options.version, options.annotations, options.format)
    clips, lacking = context.clips_on_disk, 0
    target = layout.derived_layout("repacked")
    with ExitStack() as stack:
        stack.enter_context(hold_subsets(target, context.subsets, tell))
        for subset, frame in clips.items():
            wanted = rows_to_pack(options.only or layout.table(subset, "manifest.csv"), subset)
            stack.enter_context(lock(layout, subset, "manifest.lock", tell))
            measured = measure_clips(context.run_on_files, layout, subset, frame)
            chosen = with_same_content(frame, wanted, shown_of(context, subset, len(frame), measured))
            lacking += len(wanted) - len(chosen)
            samples = shard_samples(
                layout, chosen.iloc[in_random_order(chosen, options.seed)], classes, with_videos=False
            )
            _write_shards(context, target, subset, WebDatasetShards(layout, target, subset, samples, options.repack))
    if lacking:
        tell(f"{counted(lacking, 'clip')} of the manifest left out: missing here, or with another content")
    return int(bool(lacking))


def _write_shards(context: Context, target: Layout, subset: Subset, packed: WebDatasetShards) -> None:
    """Write shards, and say so. Raises Fatal if there is no room for them."""
    free = free_space(target.folder)
    if packed.bytes_to_write > free:
        needed = f"The shards take {size(packed.bytes_to_write)}, and {target.folder} has {size(free)} free."
        raise Fatal(f"{needed} Make room, or choose fewer clips.")
    with make_bar(progress_title(context, subset), packed.clips) as bar:
        for count in packed.write():
            bar.update(count)
    tell(f"{target.folder}: {counted(packed.count, 'shard')} of {subset}, {counted(packed.clips, 'clip')}")


def lists(options: Options, context: Context) -> int:
    """Write list files of the clips on disk, and of their frames."""
    classes, failed = classes_of(options.version, options.annotations, options.format), list[Outcome]()
    clips, layout = context.clips_on_disk, context.layout
    target, frames = layout.derived_layout(f"lists{choice_name(options)}"), layout.derived_layout("frames")
    for subset, frame in clips.items():
        fit = _with_header(context, subset, _as_files(frame, layout, "readers find them by the index there"), failed)
        _, with_frames = ResultTable(layout, frames, subset).states(fit, "")
        written = write_lists(layout, target, subset, fit, classes)
        for path in written + write_frame_list(frames, target, subset, fit[with_frames], classes):
            tell(str(path))
        if with_frames.any() and not with_frames.all():
            without = f"{counted(int((~with_frames).sum()), 'clip')} of {subset}"
            tell(f"warning: no frames of the present file of {without}: --frames makes them", sys.stderr)
    return exit_code_of(failed)


def _converted(
    context: Context,
    job: PortableJob,
    *,
    target: Layout,
    suffix: str,
    settings: Mapping[str, object] | None = None,
) -> Iterator[tuple[Subset, Iterator[Outcome]]]:
    """Convert what was not made of the clips' present files, all with the same settings; yields each subset's outcomes.

    Results whose clips are gone are removed.
    """
    clips = context.clips_on_disk
    with ExitStack() as stack:
        stack.enter_context(hold_subsets(target, context.subsets, tell))
        if settings:
            keep_settings(target.folder, settings)
        for subset, frame in clips.items():
            table = ResultTable(context.layout, target, subset)
            _remove_orphans(table, target, subset)
            with table:
                there, current = table.states(frame, suffix)
                left = frame[~current]
                stale = int((there & ~current).sum())
                anew = f" ({stale:,} of them again: their clips have changed)" if stale else ""
                tell(f"{target.folder}: {int(current.sum()):,} there, {len(left):,} to do{anew}")
                with closing(context.run_on_files(job, stored_clips(left, context.layout))) as events:
                    yield (
                        subset,
                        table.noting(shown_of(context, subset, len(left), events), suffix),
                    )


def _remove_orphans(table: ResultTable, target: Layout, subset: Subset) -> None:
    """Remove the results whose clips are gone, and say so."""
    count, removed = table.remove_orphans()
    if not count:
        return
    results = f"{counted(count, 'result')} of clips that are gone"
    if removed:
        tell(f"{target.folder}: {results} removed")
    else:
        where, subset_folder = "more than of clips that are there", target.folder / SPLIT_OF[subset]
        tell(
            f"warning: {subset_folder} holds {results}, {where}: they are left. Is a disk not mounted? If not, remove "
            "what you do not need.",
            sys.stderr,
        )


def _as_files(frame: pd.DataFrame, layout: Layout, instead: str) -> pd.DataFrame:
    """Return the clips that are files of their own; how many are in shards is said, with what to do about it."""
    if "shard" not in frame:
        return frame
    files = frame[frame["shard"].isna()]
    tell(f"{counted(len(frame) - len(files), 'clip')} in {layout.derived_layout('shards').folder} left out: {instead}")
    return files


def _with_header(context: Context, subset: Subset, frame: pd.DataFrame, failed: list[Outcome]) -> pd.DataFrame:
    """Return the clips whose headers can be read; the others are added to `failed`, and the first ones named."""
    layout = context.layout
    with lock(layout, subset, "headers.lock", tell):
        events = read_headers(context.run_on_files, layout, subset, frame)
        outcomes = shown_of(context, subset, len(frame), events, done="fit")
        without = [one for one in outcomes if one.status == "failed"]
    failed += without
    unfit = {one.clip.key for one in without}
    keys = zip(*(frame[column].tolist() for column in KEY), strict=True)
    return frame[[key not in unfit for key in keys]] if unfit else frame
