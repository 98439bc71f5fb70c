"""Gives the clips that were found elsewhere on disk their place before a download, and says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import cache, partial
from pathlib import Path

from kinetics.errors import Fatal, MayWorkLater
from kinetics.humanize import counted
from kinetics.planning.adopt_job import AdoptClip, taken_over
from kinetics.planning.plan import Plan
from kinetics.planning.reuse import FoundFiles, found_clips, link_clip, move_clip, search, why_unnamed
from kinetics.records import SPLIT_OF, Clip, ClipKey, ClipState, FoundClip, Outcome, Split, Subset
from kinetics.run.context import Context
from kinetics.run.listener import shown
from kinetics.run.options import Options
from kinetics.storage import attempts
from kinetics.storage.atomic import cannot_write, remove_emptied, write_csv
from kinetics.storage.layout import Layout
from kinetics.storage.ledger import Ledger
from kinetics.storage.moves import note_move

SUBSET_OF: Mapping[Split, Subset] = {split: subset for subset, split in SPLIT_OF.items()}
TAKEN: Mapping[ClipState, str] = {
    ClipState.MOVED: "moved to their places",
    ClipState.LINKED: "linked from other versions' folders",
    ClipState.ADOPTED: "adopted from files of other tools",
}
"""What a message says of the clips that were taken, by their state after that."""


def look_for_clips(options: Options, plan: Plan, layout: Layout) -> FoundFiles:
    """Look for the missing clips in other places. Raises Fatal if the folder of --adopt is not there."""
    if options.adopt and not options.adopt.is_dir():
        raise Fatal(f"--adopt {options.adopt}: there is no such folder. Check the path.")
    if layout.url and not options.adopt:
        return FoundFiles({}, {}, {}, {}, ())
    return search(plan, layout, beside=not (options.no_reuse or layout.url), adopt=options.adopt)


def take_found(context: Context, plan: Plan, found: FoundFiles, ledgers: Mapping[Split, Ledger]) -> Plan:
    """Move, link and adopt what was found, say what came of it, and return the plan for the rest."""
    said = list[str]()
    steps = {
        ClipState.MOVED: (found.here, _move),
        ClipState.LINKED: (found.beside, _link),
        ClipState.ADOPTED: (found.elsewhere, _adopt),
    }
    for state, (files, take) in steps.items():
        row_of = {clip: row for row, clip in found_clips(plan, files)}
        taken = list[int]()
        for outcome in take(context, [*row_of]):
            assert isinstance(outcome.clip, FoundClip)
            ledger = ledgers[outcome.clip.split]
            ledger.record(outcome) if outcome.source == "folder" else ledger.mark_present(outcome.clip.key)
            ledger.clips_changed()
            taken.append(row_of[outcome.clip])
        plan = plan.with_state(taken, state)
        said += [f"{len(taken):,} {TAKEN[state]}"] if row_of else []
        if state is ClipState.MOVED and taken:
            subsets = (subset for subset in context.subsets if _moves(context.layout, SPLIT_OF[subset]).exists())
            tables = ", ".join(_moves(context.layout, SPLIT_OF[subset]).name for subset in subsets)
            said[-1] += f" (listed in {tables})"
    if said:
        context.listener.tell(f"{', '.join(said)}; {plan.todo:,} to do")
    return plan


def _move(context: Context, clips: list[FoundClip]) -> Iterator[Outcome]:
    """Move clips to their places; yields those that were moved, and names the others."""
    layout, left = context.layout, set[Path]()
    recorded_s = partial(_recorded_s, layout)

    def outcomes() -> Iterator[Outcome]:
        for clip in clips:
            note = partial(note_move, _moves(layout, clip.split))
            try:
                path, facts = move_clip(clip, layout, recorded_s, note)
            except MayWorkLater as error:
                yield Outcome(clip, "failed", error.category, error.reason)
            except OSError as error:
                raise cannot_write(error, layout.folder) from error
            else:
                left.add(path.parent)
                yield taken_over(clip, facts) if recorded_s(clip) is None else Outcome(clip, "done")

    moved = shown(context.listener, "move", len(clips), outcomes(), failed="unfit")
    yield from (one for one in moved if one.status == "done")
    remove_emptied(left, layout.folder)


def _moves(layout: Layout, split: Split) -> Path:
    """Return the path of the table of moves."""
    return layout.table(SUBSET_OF[split], "moves.csv")


def _recorded_s(layout: Layout, clip: Clip) -> float | None:
    """Return the duration of a clip that the attempts table has, in seconds; None if it has none."""
    return _recorded_durations(layout, SUBSET_OF[clip.split]).get(clip.key)


@cache
def _recorded_durations(layout: Layout, subset: Subset) -> Mapping[ClipKey, float]:
    table = attempts.last_successes(layout, subset).dropna(subset="duration_s")
    columns = (table[name].tolist() for name in ("youtube_id", "time_start", "time_end", "duration_s"))
    return {(one, start, end): length for one, start, end, length in zip(*columns, strict=True)}


def _link(context: Context, clips: list[FoundClip]) -> Iterator[Outcome]:
    """Link the clips that other versions have as this run wants them, and yield those."""
    layout, options = context.layout, context.options

    def outcomes() -> Iterator[Outcome | None]:
        for clip in clips:
            try:
                linked = link_clip(clip, layout, options.cut, options.max_height, options.picture)
            except OSError as error:
                raise cannot_write(error, layout.folder) from error
            yield Outcome(clip, "done") if linked else None

    yield from shown(context.listener, "link", len(clips), outcomes(), done="linked")


def _adopt(context: Context, clips: list[FoundClip]) -> Iterator[Outcome]:
    """Adopt the clips whose files are whole; yields those, and names the others."""
    if clips:
        with closing(context.run_on_files(AdoptClip(context.layout, context.options.picture), clips)) as events:
            outcomes = shown(context.listener, "adopt", len(clips), events, done="adopted", failed="unfit")
            yield from (one for one in outcomes if one.status == "done")


def name_other_files(context: Context, layout: Layout, plan: Plan, found: FoundFiles) -> None:
    """Say how many files in the folders of the clips are no clips of the annotations, and list them in a table."""
    options, listener = context.options, context.listener
    if found.ids_alone:
        count = counted(len(found.ids_alone), "file")
        what = f"{count} named by a video's id alone, such as {found.ids_alone[0]}"
        listener.tell(f"  {what}: left as it is, because the segment cannot be told without times")
    others = () if options.narrowed else [path for path in found.others() if options.dry_run or path.exists()]
    folder, table = layout.folder, layout.table(options.subset, "other_files.csv")
    if not others:
        if not (options.dry_run or options.narrowed or layout.url):
            table.unlink(missing_ok=True)
        return
    what = f"{counted(len(others), 'other file')} in the folders of the clips, such as {others[0].relative_to(folder)}"
    listener.tell(f"  {what}: not deleted{'' if options.dry_run else f', listed in {table}'}")
    if not options.dry_run:
        rows = ((path.relative_to(folder), why) for path, why in why_unnamed(others, plan))
        write_csv(table, ("file", "why"), rows)
