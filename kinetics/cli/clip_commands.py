"""What the commands on clips have in common: names of choices, and what is said of clips that failed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from kinetics.annotations.archives import MAX_ARCHIVE
from kinetics.annotations.select import comparable_name, given_classes
from kinetics.cli.terminal import tell
from kinetics.humanize import counted
from kinetics.records import Category, Outcome, Subset
from kinetics.run.context import Context
from kinetics.run.listener import shown
from kinetics.run.options import Options
from kinetics.scheduling.dispatch import Event
from kinetics.storage.user_files import read_limited


def choice_name(options: Options) -> str:
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


def exit_code_of(failed: Sequence[Outcome]) -> int:
    """Say what can be done about the clips that failed, and return the exit code."""
    if unfit := count_unfit(failed):
        them = "it" if unfit == 1 else "them"
        tell(f"{counted(unfit, 'unfit clip')}: --verify moves {them} away, so that the next run fetches {them}")
    tell_unread(len(failed) - unfit)
    return int(bool(failed))


def count_unfit(failed: Iterable[Outcome]) -> int:
    """Return how many clips failed for their own fault: their content is known, and wrong."""
    return sum(one.category is Category.MEDIA_ERROR for one in failed)


def tell_unread(count: int) -> None:
    """Say that clips stay where they are since nothing is known of them: the machine failed them."""
    if count:
        clips = f"{counted(count, 'clip')} could not be read to the end, and left in place"
        tell(f"{clips}: fix what the lines above say, and run the command again")


def progress_title(context: Context, subset: Subset) -> str:
    """Return the text in front of a progress bar."""
    return f"{context.layout.short_name} {subset}"


def shown_of(
    context: Context, subset: Subset, total: int, events: Iterable[Event], *, done: str = "done"
) -> Iterator[Outcome]:
    """Yield the outcomes of a subset's clips, as `shown` does."""
    return shown(context.listener, progress_title(context, subset), total, events, done=done)
