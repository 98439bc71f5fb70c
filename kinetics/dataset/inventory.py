"""The clips of a subset that are on disk, gone through one by one: verified, or measured for a manifest.

What was found out is written down as it comes, so that both go on where they were stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace

import pandas as pd

from kinetics.annotations.table import Annotations
from kinetics.dataset.clip_jobs import Measure, Verify
from kinetics.media.check import Expected, mismatch
from kinetics.records import KEY, Category, Clip, ClipKey, Cut, Outcome, Subset
from kinetics.scheduling.dispatch import Event
from kinetics.scheduling.worker import PortableJob
from kinetics.storage import attempts
from kinetics.storage.atomic import cannot_write
from kinetics.storage.journal import Journal
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import Ledger

RunJob = Callable[[PortableJob, Iterable[Clip]], Generator[Event, None, None]]
"""The pool, or a cluster, with as many workers as there are to be."""


def verified(
    run: RunJob, layout: Layout, subset: Subset, frame: pd.DataFrame, *, quick: bool, cut: Cut
) -> Iterator[Outcome | None]:
    """Look whether these clips are as they should be; yields the outcome of each, and None while there is none.

    A clip that is not is moved to `.partial/rejected` and recorded as missing, so that the next run fetches it. Only
    for the holder of the subset's lock. Raises Fatal where something cannot be moved or written.
    """
    task = "verify-quick" if quick else "verify"
    expected = dict[ClipKey, Expected]()
    with Ledger(layout, subset) as ledger, Journal(layout.state_file(subset, task)) as journal:
        left = yield from _known(journal, layout, frame)
        left = left.merge(attempts.last_successes(layout, subset), "left", on=KEY)
        with closing(run(Verify(layout, quick), _handed_out(left, expected))) as events:
            for found in _outcomes(events):
                outcome = found and _judged(found, expected.pop(found.clip.key), cut)
                if outcome and outcome.facts:
                    journal.add(layout.clip(outcome.clip), outcome.facts)
                elif outcome and outcome.category is Category.MEDIA_ERROR:
                    _reject(outcome.clip, layout)
                    ledger.record(outcome)
                yield outcome
        journal.remove({layout.clip(clip).name for clip in Annotations(frame, ()).clips()})


def measured(run: RunJob, layout: Layout, subset: Subset, frame: pd.DataFrame) -> Iterator[Outcome | None]:
    """Find out what a manifest says of these clips. What is known of a file is kept until the file changes.

    Without a shard, what the shards' runs found out is known as well.
    """
    with Journal(*(part.state_file(subset, "manifest") for part in layout.shard_layouts(subset))) as journal:
        left = yield from _known(journal, layout, frame)
        with closing(run(Measure(layout), Annotations(left, ()).clips())) as events:
            for outcome in _outcomes(events):
                if outcome and outcome.facts:
                    journal.add(layout.clip(outcome.clip), outcome.facts)
                yield outcome


def _known(journal: Journal, layout: Layout, frame: pd.DataFrame) -> Generator[Outcome, None, pd.DataFrame]:
    """Yield what the journal knows, and return the rows of which it knows nothing."""
    if not journal.facts:
        return frame
    left = list[int]()
    for row, clip in enumerate(Annotations(frame, ()).clips()):
        if facts := journal.find(layout.clip(clip)):
            yield Outcome(clip, "done", facts=facts)
        else:
            left.append(row)
    return frame.iloc[left]


def _handed_out(frame: pd.DataFrame, expected: dict[ClipKey, Expected]) -> Iterator[Clip]:
    """The clips; of each one that is out, what it should be like is in `expected`."""
    for clip, duration_s, sound in zip(
        Annotations(frame, ()).clips(), frame["duration_s"].tolist(), frame["sound"].tolist(), strict=True
    ):
        expected[clip.key] = Expected(
            duration_s=None if math.isnan(duration_s) else duration_s, sound=None if math.isnan(sound) else bool(sound)
        )
        yield clip


def _outcomes(events: Iterable[Event]) -> Iterator[Outcome | None]:
    return (event if isinstance(event, Outcome) else None for event in events)


def _judged(outcome: Outcome, made: Expected, cut: Cut) -> Outcome:
    """The outcome, once what the file is like was held against what it should be like."""
    reason = mismatch(outcome.facts, outcome.clip, made, cut) if outcome.facts else outcome.reason
    if not reason:
        return outcome
    category = outcome.category or Category.MEDIA_ERROR
    return replace(outcome, status="failed", category=category, reason=f"found by --verify: {reason}", facts=None)


def _reject(clip: Clip, layout: Layout) -> None:
    rejected = layout.rejected(clip)
    try:
        rejected.parent.mkdir(parents=True, exist_ok=True)
        layout.clip(clip).replace(rejected)
    except FileNotFoundError:
        return  # somebody was quicker
    except OSError as error:
        raise cannot_write(error, rejected) from error
