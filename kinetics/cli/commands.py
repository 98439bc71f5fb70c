"""The commands besides the download: each is a function of the options and the context, and returns the exit code."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

from kinetics.annotations.classes import classes_of
from kinetics.cli.clip_commands import choice_name, count_unfit, exit_code_of, shown_of, tell_unread
from kinetics.cli.conversions import frames, lists, repack, resize, shards, sound
from kinetics.cli.reports import report
from kinetics.cli.terminal import tell
from kinetics.dataset.compare import VERDICTS
from kinetics.dataset.compare import compare as compare_manifests
from kinetics.dataset.describe import TableStates, table_states, write_card
from kinetics.dataset.inventory import (
    VIDEO_IS_GONE,
    RunJob,
    measure_clips,
    verify_clips,
)
from kinetics.dataset.manifest import manifest_rows, write_attempts, write_manifest
from kinetics.humanize import counted, without_numbers
from kinetics.planning.kinds import ClipKind, other_kinds
from kinetics.planning.plan import on_disk
from kinetics.records import Clip, ClipKey, Facts, Outcome, PackedClip, Subset
from kinetics.run.context import Context
from kinetics.run.listener import MAX_NAMED
from kinetics.run.messages import how_they_differ
from kinetics.run.options import Command, Options
from kinetics.storage.card_file import CardFile
from kinetics.storage.layout import Layout
from kinetics.storage.locks import hold_subsets, lock
from kinetics.storage.parquet import SUFFIX as PARQUET

DERIVED = ("frames", "sound", "shards", "lists")
"""The kinds of files made from the clips; each is the name of its option as well."""


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
            outcomes = shown_of(context, subset, len(frame), checks, done="fit")
            unfit = [one for one in outcomes if one.status == "failed"]
            fit = len(frame) - len(unfit)
            tell(f"{layout.title(subset)}: {counted(len(frame), 'clip')} checked, {fit:,} as they should be")
            for reason, count in Counter(without_numbers(one.reason) for one in unfit).most_common():
                tell(f"  {count:8,}  {reason}")
            _name_gone([one for one in unfit if VIDEO_IS_GONE in one.reason], layout, subset)
            failed += unfit
    if moved := count_unfit(failed):
        packed = count_unfit(one for one in failed if isinstance(one.clip, PackedClip))
        where = [f"moved to {layout.rejected_folder}"] if moved > packed else []
        where += [f"marked in the index of {layout.derived_layout('shards').folder}"] if packed else []
        clips_moved = counted(moved, "unfit clip")
        tell(f"{clips_moved} {' or '.join(where)}; a run without --verify fetches what is missing")
        made = [f"--{kind}" for kind in DERIVED if layout.derived_layout(kind).folder.is_dir()]
        if made:
            tell(f"after that, run {', '.join(made)} again: what was made of these clips stays until then")
    tell_unread(len(failed) - moved)
    return int(bool(failed))


def _name_gone(lost: Sequence[Outcome], layout: Layout, subset: Subset) -> None:
    """Name the clips that were moved although YouTube has called their videos gone, and say how to get them back."""
    lost = [one for one in lost if not isinstance(one.clip, PackedClip)]  # those stay in their shards
    if not lost:
        return
    tell(f"YouTube has called the video of {counted(len(lost), 'moved clip')} gone, so it may not come again:")
    for one in lost[:MAX_NAMED]:
        tell(f"  {one.clip} ({one.reason.rpartition(VIDEO_IS_GONE)[2]})")
    if len(lost) > MAX_NAMED:
        more, log = len(lost) - MAX_NAMED, layout.display_path(layout.errors_log(subset))
        tell(f"  and {more:,} more: see the reasons in {log}")
    copy = shlex.join(["cp", "-an", f"{layout.rejected_folder}/.", f"{layout.folder}/"])
    tell(f"to bring back what was moved and is not there again: {copy}")


def manifest(options: Options, context: Context) -> int:
    """Write a table of the clips on disk: one for each subset, or the file that --manifest names."""
    layout, failed = context.layout, list[Outcome]()
    before = {subset: table_states(layout, subset) for subset in context.subsets}
    clips, choice = context.clips_on_disk, choice_name(options)
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
    return exit_code_of(failed)


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
    for one in shown_of(context, subset, len(frame), measured):
        if one.facts:
            facts[one.clip.key] = one.facts
        else:
            failed.append(one)
    counts.update(there=len(facts), known=len(facts.keys() - read))
    yield from manifest_rows(context.layout, subset, frame, facts)


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


def _noting(run: RunJob, into: set[ClipKey]) -> RunJob:
    """Return what runs a job and notes the key of each clip that it takes."""

    def noting(clips: Iterable[Clip]) -> Iterator[Clip]:
        for clip in clips:
            into.add(clip.key)
            yield clip

    return lambda job, clips: run(job, noting(clips))
