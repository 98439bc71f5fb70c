"""Verifies the clips of a subset that are on disk, or measures them for a manifest.

Every result is written to a journal at once, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pandas as pd

from kinetics.annotations.table import Annotations
from kinetics.dataset.clip_jobs import Measure, Verify
from kinetics.dataset.manifest import manifest_sums
from kinetics.errors import Fatal
from kinetics.media.check import Expected, mismatch
from kinetics.records import KEY, SPLIT_OF, Category, Clip, ClipKey, Cut, Outcome, PackedClip, Subset
from kinetics.scheduling.dispatch import Event
from kinetics.scheduling.worker import PortableJob
from kinetics.storage import attempts
from kinetics.storage.atomic import cannot_write, move, remove_empty_folders
from kinetics.storage.journal import Journal
from kinetics.storage.layout import Layout, clip_name
from kinetics.storage.ledger import Ledger
from kinetics.storage.shards import ShardFolder, packed_clips

MAX_UNREAD = 25
"""Clips in a row that could not be read, for whatever reason, before --verify stops: the disk or the memory is at
fault."""
VIDEO_IS_GONE = "; YouTube has called its video "
"""Stands before the category in the reason of a clip that was moved and that YouTube will hardly bring again."""
RunJob = Callable[[PortableJob, Iterable[Clip]], Generator[Event, None, None]]
"""Runs a job on clips with the workers of this machine or of a cluster, and yields the events."""


def verify_clips(
    run: RunJob, layout: Layout, subset: Subset, frame: pd.DataFrame, *, quick: bool, cut: Cut
) -> Iterator[Outcome | None]:
    """Check that these clips are as they should be; yields the outcome of each, and None for every other event.

    A clip that was read to its end and found bad, twice, is moved to `.partial/rejected` and recorded as missing, so
    that the next run fetches it; its reason says if YouTube has called its video gone. Folders without any clip are
    removed at the end, since some readers refuse them. The caller must hold the subset's lock. Raises Fatal if clips
    cannot be read, or something cannot be moved or written.
    """
    task = "verify-quick" if quick else "verify"
    expected, unread = dict[ClipKey, Expected](), 0
    with ExitStack() as stack:
        stack.callback(_remove_emptied_folders, layout, subset)
        ledger = stack.enter_context(Ledger(layout, subset))
        gone = attempts.gone_videos(layout, subset, ledger)
        journal = stack.enter_context(Journal(layout.state_file(subset, task)))
        left = yield from _from_journal(journal, layout, frame)
        left = left.merge(attempts.last_successes(layout, subset), "left", on=KEY)
        sums = None if quick else manifest_sums(layout, subset)
        if sums is not None:
            left = left.merge(sums, "left", on=KEY)
        job = Verify(layout, quick, sums=sums is not None)
        events = stack.enter_context(closing(run(job, _with_expectations(left, layout, expected))))
        for found in _outcomes(events):
            outcome = found and _compared(found, expected.pop(found.clip.key), cut, job)
            if outcome:
                unread = unread + 1 if outcome.category is Category.LOST_WORKER else 0
            if outcome and unread == MAX_UNREAD:
                cause = f"{unread} clips in a row could not be read, the last one {_place(outcome.clip, layout)}"
                raise Fatal(f"{cause}: {outcome.reason}. None of them was moved. Fix that and run the command again.")
            if outcome and outcome.facts:
                journal.add(outcome.clip, outcome.facts)
            elif outcome and outcome.category is Category.MEDIA_ERROR:
                _reject(outcome.clip, layout, subset)
                if category := gone.get(outcome.clip.youtube_id):
                    outcome = replace(outcome, reason=f"{outcome.reason}{VIDEO_IS_GONE}{category}")
                ledger.record(outcome)
                ledger.clips_changed()
            yield outcome
        journal.remove({clip_name(*clip.key) for clip in Annotations(frame, ()).clips()})


def measure_clips(run: RunJob, layout: Layout, subset: Subset, frame: pd.DataFrame) -> Iterator[Outcome | None]:
    """Find out what a manifest says about these clips; yields the outcome of each, and None for every other event.

    The journal's facts about a file are used until the file changes. A run without a shard also uses the facts that the
    shards' runs have found.
    """
    journals = [one.state_file(subset, "manifest") for one in layout.shard_layouts(subset)]
    yield from _with_journal(run, Measure(layout), layout, frame, journals)


def read_headers(run: RunJob, layout: Layout, subset: Subset, frame: pd.DataFrame) -> Iterator[Outcome | None]:
    """Read the headers of these clips; yields the outcome of each, and None for every other event.

    A header that was read before, also for a manifest, is read again when the file has changed.
    """
    journals = [one.state_file(subset, "manifest") for one in layout.shard_layouts(subset)]
    yield from _with_journal(
        run, Verify(layout, quick=True), layout, frame, [layout.state_file(subset, "headers"), *journals]
    )


def _with_journal(
    run: RunJob, job: Verify | Measure, layout: Layout, frame: pd.DataFrame, journals: Sequence[Path]
) -> Iterator[Outcome | None]:
    """Do the job to the clips that no journal knows; the facts are added to the first journal."""
    with Journal(*journals) as journal:
        left = yield from _from_journal(journal, layout, frame)
        if left.empty:
            return
        with closing(run(job, stored_clips(left, layout))) as events:
            for outcome in _outcomes(events):
                if outcome and outcome.facts:
                    journal.add(outcome.clip, outcome.facts)
                yield outcome


def _from_journal(journal: Journal, layout: Layout, frame: pd.DataFrame) -> Generator[Outcome, None, pd.DataFrame]:
    """Yield the outcomes of the clips that the journal knows, and return the rows of all others."""
    if not journal.facts:
        return frame
    left = list[int]()
    for row, clip in enumerate(stored_clips(frame, layout)):
        if facts := journal.find(clip, layout):
            yield Outcome(clip, "done", facts=facts)
        else:
            left.append(row)
    return frame.iloc[left]


def stored_clips(frame: pd.DataFrame, layout: Layout) -> Iterator[Clip]:
    """Return the clips of a frame of `with_places`, those in shards as PackedClip."""
    return packed_clips(Annotations(frame, ()).clips(), frame, layout)


def _with_expectations(frame: pd.DataFrame, layout: Layout, expected: dict[ClipKey, Expected]) -> Iterator[Clip]:
    """Yield the clips; before each one, put what it should be like into `expected`."""
    sums = frame["sha256"].fillna("").tolist() if "sha256" in frame else [""] * len(frame)
    summed_ns = int(frame["summed_ns"].max()) if "summed_ns" in frame and frame["summed_ns"].notna().any() else 0
    for clip, duration_s, sound, sha256 in zip(
        stored_clips(frame, layout), frame["duration_s"].tolist(), frame["sound"].tolist(), sums, strict=True
    ):
        expected[clip.key] = Expected(
            duration_s=None if math.isnan(duration_s) else duration_s,
            sound=None if math.isnan(sound) else bool(sound),
            sha256=sha256,
            summed_ns=summed_ns,
        )
        yield clip


def _outcomes(events: Iterable[Event]) -> Iterator[Outcome | None]:
    return (event if isinstance(event, Outcome) else None for event in events)


def _compared(outcome: Outcome, expected: Expected, cut: Cut, job: Verify) -> Outcome:
    """Return the outcome, failed if the file is not what is expected, which is looked at twice."""
    reason = mismatch(outcome.facts, outcome.clip, expected, cut) if outcome.facts else outcome.reason
    if outcome.facts and reason:
        outcome = replace(job, quick=True).attempt(outcome.clip, lambda: None)
        reason = mismatch(outcome.facts, outcome.clip, expected, cut) if outcome.facts else outcome.reason
    if not reason:
        return outcome
    category = outcome.category or Category.MEDIA_ERROR
    return replace(outcome, status="failed", category=category, reason=f"found by --verify: {reason}", facts=None)


def _place(clip: Clip, layout: Layout) -> str:
    """Return where a clip is, for a person."""
    return f"{clip} in {clip.shard}" if isinstance(clip, PackedClip) else str(layout.clip(clip))


def _reject(clip: Clip, layout: Layout, subset: Subset) -> None:
    """Move a clip away; one in a shard, which never changes, is named in the index instead."""
    if isinstance(clip, PackedClip):
        ShardFolder(layout, subset).reject(clip)
        return
    rejected = layout.rejected(clip)
    try:
        move(layout.clip(clip), rejected)
    except FileNotFoundError:
        return  # another process has moved or removed it
    except OSError as error:
        raise cannot_write(error, rejected) from error


def _remove_emptied_folders(layout: Layout, subset: Subset) -> None:
    folder = layout.folder / SPLIT_OF[subset]
    try:
        remove_empty_folders(folder)
    except OSError as error:
        raise cannot_write(error, folder) from error
