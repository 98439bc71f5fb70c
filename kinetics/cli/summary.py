"""What the command tells a person at the end of a run, with the command to type next."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from kinetics.cli.parser import INSTALLED_COMMAND, program_name
from kinetics.humanize import counted, player_calls, without_password
from kinetics.records import ClipState
from kinetics.storage.ledger import outlook

if TYPE_CHECKING:
    from kinetics.planning.plan import Plan
    from kinetics.run.counts import RunCounts
    from kinetics.run.options import Options
    from kinetics.storage.layout import Layout
    from kinetics.storage.ledger import Ledger

MIN_ABBREVIATION = len("--ret")
"""Characters of an option's name that argparse needs: --re may be --report as well."""
TAKEN_BEFORE: Mapping[ClipState, str] = {
    ClipState.MOVED: "moved to their places",
    ClipState.LINKED: "linked from other versions",
    ClipState.ADOPTED: "adopted from other tools",
}
"""What is said of the clips that were found on disk, by their state after that."""


def summary(options: Options, layout: Layout, plan: Plan, run: RunCounts, ledgers: Iterable[Ledger]) -> str:
    """Say what a run has done, what is missing and why, what it cost, and what to type next."""
    counts, done = run.counts, run.counts[None]
    taken = {words: plan.count(state) for state, words in TAKEN_BEFORE.items()}
    there = plan.count(ClipState.ON_DISK) + sum(taken.values()) + done
    new = ", ".join([f"{done:,} of them new", *(f"{count:,} {words}" for words, count in taken.items() if count)])
    lines = [f"{layout.title(options.subset)}: {there:,} of {plan.wanted:,} on disk, {new}"]
    failures = {category: count for category, count in (+counts).most_common() if category}
    lines += [f"  {count:8,}  {category:14}  {outlook(category)}" for category, count in failures.items()]
    if run.still_gone:
        lines.append(f"  {run.still_gone:8,}  of them not asked for: their thumbnails are still missing")
    untried = plan.todo - counts.total()
    if untried:
        lines.append(f"  {untried:8,}  not tried yet")
    if run.calls:
        lines.append(player_calls(run.calls, clips=run.from_youtube, for_gone=run.calls_for_gone))
    if failures:
        lines += [f"reasons: {layout.display_path(ledger.errors_log)}" for ledger in ledgers]
    if untried or any(not category.settled for category in failures):
        lines.append(f"to go on: {this_command()}")
    elif plan.may_work_left_out:
        left_out = counted(plan.may_work_left_out, "clip")
        lines.append(f"to try {left_out} that may work now: {this_command(leave_out='--retry')}")
    elif there < plan.wanted and options.source == "youtube" and _mirror_can_help(options, layout):
        lines.append(f"the mirror may have the rest: {this_command('--source', 'both')}")
    return "\n".join(lines)


def _mirror_can_help(options: Options, layout: Layout) -> bool:
    """Return whether the mirror may have missing clips: it has clips of Kinetics, and a shard cannot ask for them."""
    return options.cut != "none" and not options.shard and not layout.data_set


def this_command(*more: str, leave_out: str = "") -> str:
    """Return the command that was given, without passwords, with more options or without one that has a value."""
    given = _without_option(sys.argv[1:], leave_out) if leave_out else sys.argv[1:]
    return without_password(shlex.join([*_program(), *given, *more]))


def split_command(line: str) -> tuple[str, str]:
    """Return a line as what it says, and the command to type that it ends with, which has to stay as it is."""
    said, program, rest = line.partition(f": {shlex.join(_program())}")
    return (f"{said}:", program[2:] + rest) if program else (line, "")


def _program() -> list[str]:
    return [INSTALLED_COMMAND] if program_name() == INSTALLED_COMMAND else ["python", sys.argv[0]]


def _without_option(arguments: Iterable[str], option: str) -> Iterator[str]:
    """Yield the arguments without an option and its value; its name may be abbreviated, as argparse allows."""
    rest = iter(arguments)
    for argument in rest:
        name, _, value = argument.partition("=")
        if len(name) < MIN_ABBREVIATION or not option.startswith(name):
            yield argument
        elif not value:
            next(rest, None)
