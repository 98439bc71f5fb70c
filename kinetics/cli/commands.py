"""The commands besides the download: each is a function of the options and the context, and returns the exit code."""

from __future__ import annotations

import hashlib
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from kinetics.annotations.archives import MAX_ARCHIVE
from kinetics.annotations.classes import classes_of
from kinetics.annotations.select import comparable_name, given_classes, in_random_order
from kinetics.cli.context import Context
from kinetics.cli.messages import how_they_differ
from kinetics.cli.options import Command, Options
from kinetics.cli.progress import MAX_SHOWN, make_bar, shown
from kinetics.cli.terminal import tell
from kinetics.dataset.clip_jobs import ExtractFrames, ExtractSound, ResizeClip
from kinetics.dataset.compare import VERDICTS
from kinetics.dataset.compare import compare as compare_manifests
from kinetics.dataset.describe import TableStates, table_states, write_card
from kinetics.dataset.inventory import (
    VIDEO_IS_GONE,
    RunJob,
    measure_clips,
    read_headers,
    stored_clips,
    verify_clips,
)
from kinetics.dataset.lists import write_frame_list, write_lists, write_silent_list
from kinetics.dataset.manifest import manifest_rows, write_attempts, write_manifest
from kinetics.dataset.repack import require_copies, rows_to_pack, with_same_content
from kinetics.dataset.results import ResultTable
from kinetics.dataset.settings import keep_settings
from kinetics.dataset.shards import WebDatasetShards, shard_samples
from kinetics.errors import Fatal
from kinetics.humanize import counted, size, without_numbers
from kinetics.planning.kinds import ClipKind, other_kinds
from kinetics.planning.plan import on_disk
from kinetics.records import KEY, SPLIT_OF, Category, Clip, ClipKey, Facts, Outcome, PackedClip, Subset
from kinetics.report.collect import collect
from kinetics.report.text import report_lines
from kinetics.scheduling.worker import PortableJob
from kinetics.storage.card_file import CardFile
from kinetics.storage.layout import Layout, free_space
from kinetics.storage.locks import hold_subsets, lock
from kinetics.storage.parquet import SUFFIX as PARQUET
from kinetics.storage.table_sync import readable_tables
from kinetics.storage.user_files import read_limited

if TYPE_CHECKING:
    import pandas as pd

DERIVED = ("frames", "sound", "shards", "lists")
"""The kinds of files made from the clips; each is the name of its option as well."""
JPEG_QUALITY = 90
"""1 to 100, unless --quality says otherwise."""


def report(options: Options, context: Context) -> int:
    """Tell how the download has gone so far, in figures and as a page."""
    from kinetics.report import page  # noqa: PLC0415 - brings matplotlib and jinja2, which only this command needs

    frame = context.annotations.frame
    with readable_tables(context.layout, context.subsets) as layout:
        found = collect(layout, context.subsets, frame, options.cut)
    tell("\n".join([*report_lines(found), *map(str, page.write(found, context.layout))]))
    return 0


def list_classes(options: Options, context: Context) -> int:
    """Print each class with the number of its clips, and of those on disk."""
    frame = context.annotations.frame
    there = frame["label"][on_disk(frame, context.layout)].value_counts()
    counts = frame["label"].value_counts()
    print(f"{'clips':>8} {'on disk':>8}  class")
    for label in sorted(counts.index[counts > 0]):
        print(f"{counts[label]:8,} {there.get(label, 0):8,}  {label or '(no label)'}")
    print(f"{len(frame):8,} {there.sum():8,}  in {counted((counts > 0).sum(), 'class', 'classes')}")
    return 0


def verify(options: Options, context: Context) -> int:
    """Check the clips on disk; those that fail for their own fault are moved away."""
    clips, layout, failed = context.clips_on_disk, context.layout, list[Outcome]()
    with ExitStack() as stack:
        stack.enter_context(hold_subsets(layout, context.subsets, tell))
        wanted = ClipKind(options.cut, options.max_height)
        if found := other_kinds(layout, clips, clips.__getitem__, wanted):
            asked = f"--cut {wanted.cut} --max-height {wanted.max_height}"
            tell(f"of another kind than {asked}: {how_they_differ(found, wanted)}")
        for subset, frame in clips.items():
            checks = verify_clips(context.run_on_files, layout, subset, frame, quick=options.quick, cut=options.cut)
            outcomes = shown(_what(context, subset), len(frame), checks, done="fit")
            unfit = [one for one in outcomes if one.status == "failed"]
            fit = len(frame) - len(unfit)
            tell(f"{layout.title(subset)}: {counted(len(frame), 'clip')} checked, {fit:,} as they should be")
            for reason, count in Counter(without_numbers(one.reason) for one in unfit).most_common():
                tell(f"  {count:8,}  {reason}")
            _name_gone([one for one in unfit if VIDEO_IS_GONE in one.reason], layout, subset)
            failed += unfit
    if moved := _unfit(failed):
        packed = _unfit(one for one in failed if isinstance(one.clip, PackedClip))
        where = [f"moved to {layout.rejected_folder}"] if moved > packed else []
        where += [f"marked in the index of {layout.derived_layout('shards').folder}"] if packed else []
        clips_moved = counted(moved, "unfit clip")
        tell(f"{clips_moved} {' or '.join(where)}; a run without --verify fetches what is missing")
        made = [f"--{kind}" for kind in DERIVED if layout.derived_layout(kind).folder.is_dir()]
        if made:
            tell(f"after that, run {', '.join(made)} again: what was made of these clips stays until then")
    _tell_unread(len(failed) - moved)
    return int(bool(failed))


def _name_gone(lost: Sequence[Outcome], layout: Layout, subset: Subset) -> None:
    """Name the clips that were moved although YouTube has called their videos gone, and say how to get them back."""
    lost = [one for one in lost if not isinstance(one.clip, PackedClip)]  # those stay in their shards
    if not lost:
        return
    tell(f"YouTube has called the video of {counted(len(lost), 'moved clip')} gone, so it may not come again:")
    for one in lost[:MAX_SHOWN]:
        tell(f"  {one.clip} ({one.reason.rpartition(VIDEO_IS_GONE)[2]})")
    if len(lost) > MAX_SHOWN:
        more, log = len(lost) - MAX_SHOWN, layout.display_path(layout.errors_log(subset))
        tell(f"  and {more:,} more: see the reasons in {log}")
    copy = shlex.join(["cp", "-an", f"{layout.rejected_folder}/.", f"{layout.folder}/"])
    tell(f"to bring back what was moved and is not there again: {copy}")


def manifest(options: Options, context: Context) -> int:
    """Write a table of the clips on disk: one for each subset, or the file that --manifest names."""
    layout, failed = context.layout, list[Outcome]()
    before = {subset: table_states(layout, subset) for subset in context.subsets}
    clips, choice = context.clips_on_disk, _choice(options)
    name = f"{choice}_manifest.csv".removeprefix("_")
    if options.manifest:
        files = {options.manifest.absolute(): [*clips]}
    else:
        files = {layout.table(subset, name): [subset] for subset in clips}
    with ExitStack() as stack:
        for subset in clips:
            stack.enter_context(lock(layout, subset, "manifest.lock", tell))
        for path, subsets in files.items():
            counts = Counter[str]()
            write_manifest(path, chain.from_iterable(_measured(context, one, counts, failed) for one in subsets))
            tell(f"{path}: {counted(counts['there'], 'clip')}")
            if counts["known"]:
                tell(
                    f"  {counted(counts['known'], 'clip')} not read again, since size and time are as before; --verify "
                    "reads all and compares them with the manifest"
                )
            if path.suffix.lower() == PARQUET:
                attempts = path.with_name(f"{path.stem}_attempts{path.suffix}")
                write_attempts(attempts, layout, clips)
                tell(f"{attempts}: the attempts")
        if not (choice or options.shard):
            _describe(options, layout, files, before)
    return _exit_code(failed)


def _describe(
    options: Options, layout: Layout, manifests: Mapping[Path, Sequence[Subset]], before: Mapping[Subset, TableStates]
) -> None:
    """Write the card of the data set, unless somebody else's file is in its place."""
    classes, card = classes_of(options.version, options.annotations, options.format), CardFile(layout).path
    if write_card(layout, manifests, before, classes, options.annotations):
        tell(f"{card}: the card of the data set")
    else:
        tell(f"{card} was not written by this program, so it stays: move it away to have a card of the data set")


def _measured(
    context: Context, subset: Subset, counts: Counter[str], failed: list[Outcome]
) -> Iterator[Sequence[object]]:
    """Measure the clips of a subset, and yield the manifest's rows.

    Counts the clips that are `there`, and those of them that were `known` before; the others are added to `failed`.
    """
    frame, read, facts = context.clips_on_disk[subset], set[ClipKey](), dict[ClipKey, Facts]()
    measured = measure_clips(_noting(context.run_on_files, read), context.layout, subset, frame)
    for one in shown(_what(context, subset), len(frame), measured):
        if one.facts:
            facts[one.clip.key] = one.facts
        else:
            failed.append(one)
    counts.update(there=len(facts), known=len(facts.keys() - read))
    yield from manifest_rows(context.layout, subset, frame, facts)


def frames(options: Options, context: Context) -> int:
    """Write frames of the clips on disk."""
    assert options.frames
    target, quality = context.layout.derived_layout("frames"), options.quality or JPEG_QUALITY
    job = ExtractFrames(context.layout, target, options.frames, options.short_side, quality)
    settings = {"frames": options.frames, "short_side": options.short_side, "quality": quality}
    converted = _converted(context, job, target=target, suffix="", settings=settings)
    return _exit_code([one for _, outcomes in converted for one in outcomes if one.status == "failed"])


def resize(options: Options, context: Context) -> int:
    """Write copies of the clips on disk with another picture, each set of them into a folder of its own."""
    layout = context.layout
    target = layout.derived_layout(options.picture.name)
    job = ResizeClip(layout, target, options.picture)
    converted = _converted(context, job, target=target, suffix=".mp4")
    return _exit_code([one for _, outcomes in converted for one in outcomes if one.status == "failed"])


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
    return _exit_code(failed)


def shards(options: Options, context: Context) -> int:
    """Pack the clips on disk into WebDataset shards."""
    assert options.shards
    layout, classes = context.layout, classes_of(options.version, options.annotations, options.format)
    clips, failed = context.clips_on_disk, list[Outcome]()
    target = layout.derived_layout(f"shards{_choice(options)}")
    with ExitStack() as stack:
        stack.enter_context(hold_subsets(target, context.subsets, tell))
        for subset, frame in clips.items():
            fit = _with_header(context, subset, _as_files(frame, layout, "--repack packs them anew"), failed)
            require_copies(layout, subset, fit) if target.folder == layout.derived_layout("shards").folder else None
            samples = shard_samples(layout, fit.iloc[in_random_order(fit, options.seed)], classes)
            _write_shards(context, target, subset, WebDatasetShards(layout, target, subset, samples, options.shards))
    return _exit_code(failed)


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
            chosen = with_same_content(
                frame,
                wanted,
                shown(_what(context, subset), len(frame), measure_clips(context.run_on_files, layout, subset, frame)),
            )
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
    with make_bar(_what(context, subset), packed.clips) as bar:
        for count in packed.write():
            bar.update(count)
    tell(f"{target.folder}: {counted(packed.count, 'shard')} of {subset}, {counted(packed.clips, 'clip')}")


def lists(options: Options, context: Context) -> int:
    """Write list files of the clips on disk, and of their frames."""
    classes, failed = classes_of(options.version, options.annotations, options.format), list[Outcome]()
    clips, layout = context.clips_on_disk, context.layout
    target, frames = layout.derived_layout(f"lists{_choice(options)}"), layout.derived_layout("frames")
    for subset, frame in clips.items():
        fit = _with_header(context, subset, _as_files(frame, layout, "readers find them by the index there"), failed)
        _, with_frames = ResultTable(layout, frames, subset).states(fit, "")
        written = write_lists(layout, target, subset, fit, classes)
        for path in written + write_frame_list(frames, target, subset, fit[with_frames], classes):
            tell(str(path))
        if with_frames.any() and not with_frames.all():
            without = f"{counted(int((~with_frames).sum()), 'clip')} of {subset}"
            tell(f"warning: no frames of the present file of {without}: --frames makes them", sys.stderr)
    return _exit_code(failed)


def compare(options: Options, context: Context) -> int:
    """Say how two data sets differ."""
    assert options.compare
    found = compare_manifests(*options.compare)
    rows = [*found.classes(), ("all classes", found.counts)]
    print("".join(f"{verdict:>15}" for verdict in VERDICTS) + "  class")
    for label, counts in rows:
        print("".join(f"{counts[verdict]:15,}" for verdict in VERDICTS) + f"  {label or '(no label)'}")
    everything, common = found.write(options.output.absolute())
    tell(f"every clip: {everything}\nwhat both have, for --only: {common}")
    return 0


COMMANDS: Mapping[Command, Callable[[Options, Context], int]] = {
    Command.REPORT: report,
    Command.LIST_CLASSES: list_classes,
    Command.VERIFY: verify,
    Command.MANIFEST: manifest,
    Command.RESIZE: resize,
    Command.FRAMES: frames,
    Command.SOUND: sound,
    Command.SHARDS: shards,
    Command.REPACK: repack,
    Command.LISTS: lists,
    Command.COMPARE: compare,
}


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
                    yield subset, table.noting(shown(_what(context, subset), len(left), events), suffix)


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
        outcomes = shown(_what(context, subset), len(frame), events, done="fit")
        without = [one for one in outcomes if one.status == "failed"]
    failed += without
    unfit = {one.clip.key for one in without}
    keys = zip(*(frame[column].tolist() for column in KEY), strict=True)
    return frame[[key not in unfit for key in keys]] if unfit else frame


def _choice(options: Options) -> str:
    """Return what the name of files about a choice of the clips contains, so that those about all clips stay.

    The same choice has the same name each time; it is empty where all clips are chosen.
    """
    words = list[str]()
    if options.classes:
        names = sorted({*map(comparable_name, given_classes(options.classes))})
        words.append(f"_classes-{_digest(chr(10).join(names).encode())}")
    if options.only:
        words.append(f"_only-{_digest(read_limited(options.only, MAX_ARCHIVE))}")
    words += [f"_list-{options.clip_list}"] if options.clip_list != "all" else []
    words += [f"_limit-{options.limit}"] if options.limit else []
    words += [f"_sample-{options.sample}-seed-{options.seed}"] if options.sample else []
    return "".join(words)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]


def _noting(run: RunJob, into: set[ClipKey]) -> RunJob:
    """Return what runs a job and notes the key of each clip that it takes."""

    def noting(clips: Iterable[Clip]) -> Iterator[Clip]:
        for clip in clips:
            into.add(clip.key)
            yield clip

    return lambda job, clips: run(job, noting(clips))


def _exit_code(failed: Sequence[Outcome]) -> int:
    """Say what can be done about the clips that failed, and return the exit code."""
    if unfit := _unfit(failed):
        them = "it" if unfit == 1 else "them"
        tell(f"{counted(unfit, 'unfit clip')}: --verify moves {them} away, so that the next run fetches {them}")
    _tell_unread(len(failed) - unfit)
    return int(bool(failed))


def _unfit(failed: Iterable[Outcome]) -> int:
    """Return how many clips failed for their own fault: their content is known, and wrong."""
    return sum(one.category is Category.MEDIA_ERROR for one in failed)


def _tell_unread(count: int) -> None:
    """Say that clips stay where they are since nothing is known of them: the machine failed them."""
    if count:
        clips = f"{counted(count, 'clip')} could not be read to the end, and left in place"
        tell(f"{clips}: fix what the lines above say, and run the command again")


def _what(context: Context, subset: Subset) -> str:
    """Return the text in front of a progress bar."""
    return f"{context.layout.short_name} {subset}"
