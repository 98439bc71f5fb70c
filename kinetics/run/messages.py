"""What a run tells a person: before it begins, while it is at work, and why it stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from kinetics.humanize import counted, duration_text, one_line, percent, size
from kinetics.mirror.tar_stream import MIRROR
from kinetics.net.http import YOUTUBE
from kinetics.records import Category, ClipState, PictureSettings, Source
from kinetics.scheduling.call_budget import PUBLISHED_PER_HOUR
from kinetics.scheduling.events import GaveUp, Pause, SpacingChanged
from kinetics.youtube.engine_errors import UPGRADE

if TYPE_CHECKING:
    from kinetics.planning.estimate import Estimate
    from kinetics.planning.kinds import ClipKind, OtherKind
    from kinetics.planning.plan import Plan
    from kinetics.planning.reuse import FoundFiles
    from kinetics.planning.sources import MirrorOffer, SourceTimes
    from kinetics.run.options import Options
    from kinetics.storage.layout import Layout

RATE_LIMIT = " (rate limit; normal)"
CHECK_MACHINE = "look at this machine and its connection"
WHAT_MAY_HELP: Mapping[Category, str] = {
    Category.UNAVAILABLE: "YouTube may be refusing this address; waiting may help, or another network",
    Category.NOT_OFFERED: f"YouTube may be refusing the engines; waiting may help, another network, or {UPGRADE}",
    Category.ENGINE_ERROR: f"the engines may no longer understand YouTube; waiting may help, or {UPGRADE}",
    Category.MEDIA_ERROR: f"YouTube may be refusing all media; waiting may help, another network, or {UPGRADE}",
}
"""What a person can do about a cause that many clips have in common, by their category."""
NAMES: Mapping[Source, str] = {"youtube": YOUTUBE.name, "mirror": MIRROR.name}


def by_list(counts: Mapping[str, int]) -> str:
    """Say how many clips each of the published lists names, before any choice among them."""
    alone = f"{counts['official']:,} in the official one alone, {counts['cvdf']:,} in CVDF's alone"
    return f"lists: {counted(counts['both'], 'clip')} in both, {alone}"


def announcement(options: Options, layout: Layout, plan: Plan, found: FoundFiles) -> str:
    """Say what a run will do, and where; `found` are files that missing clips may have."""
    what = "video" if options.cut == "none" else "clip"
    on_disk, gone = plan.count(ClipState.ON_DISK), plan.count(ClipState.WAS_GONE)
    to_do = f"{plan.todo:,} to do" if plan.todo else "nothing to do"
    not_due = 0 if plan.source == "both" else len(plan.not_due_rows) + plan.confirmed
    lines = (
        (plan.count(ClipState.NEVER_TRIED), "never tried"),
        (plan.count(ClipState.MAY_WORK), "failed before but may work now"),
        (plan.count(ClipState.NOT_OFFERED), "not offered before" + _asked_again(plan)),
        (gone, "gone before" + _gone_asked_again(plan)),
        (plan.wanted - on_disk - plan.todo - not_due, f"left out by --retry {options.retry}"),
        (len(found.here), "perhaps elsewhere in this folder, to be moved to their places"),
        (len(found.beside), "perhaps by a link to another version's folder"),
        (len(found.elsewhere), "perhaps in files of other tools, to be checked and taken"),
    )
    return "\n".join(
        (
            f"{layout.title(options.subset)}: {counted(plan.wanted, what)} wanted, {on_disk:,} on disk; {to_do}",
            *(f"  {count:8,}  {words}" for count, words in lines if count),
            f"  folder: {layout.display_path(layout.results_folder)}",
        )
    )


def how_they_differ(found: Sequence[OtherKind], wanted: ClipKind) -> str:
    """Say how many clips on disk are of which other kind."""
    return "; ".join(_how_it_differs(kind, wanted) for kind in found)


def _how_it_differs(kind: OtherKind, wanted: ClipKind) -> str:
    what, one = _clips_of(wanted), kind.count == 1
    who = f"{kind.count:,} of " + (f"{kind.looked_at:,} {what} looked at" if kind.looked_at else f"the {what} on disk")
    if kind.sign == "taller":
        short_side = wanted.picture.short_side or wanted.max_height
        limit = "--short-side" if short_side < wanted.max_height else "--max-height"
        return f"{who} {'is' if one else 'are'} taller than {limit} {min(short_side, wanted.max_height)}"
    if kind.sign == "longer":
        longer = "is longer than its section" if one else "are longer than their sections"
        return f"{who} {longer}, as with --cut keyframe"
    made = _given(kind.cut, kind.max_height, kind.picture)
    return f"{who} {'was' if one else 'were'} {'cut' if kind.cut else 'made'} with {made}"


def another_kind(found: Sequence[OtherKind], wanted: ClipKind) -> str:
    """Say that a run would add clips of another kind than those on disk."""
    cut = wanted.cut if any(kind.cut or kind.sign == "longer" for kind in found) else ""
    height = wanted.max_height if any(kind.max_height or kind.sign == "taller" for kind in found) else 0
    picture = wanted.picture if any(kind.picture is not None for kind in found) else None
    given = _given(cut, height, picture)
    return f"{how_they_differ(found, wanted)}, and this run would add {_clips_of(wanted)} of {given}"


def how_to_mix(found: Sequence[OtherKind]) -> str:
    """Say what a person can do about clips of another kind."""
    cut = "keyframe" if found[0].sign == "longer" else found[0].cut
    same = _given(cut, found[0].max_height, found[0].picture or None) if len(found) == 1 else ""
    more, kinds = f"{same} to add more of them, " if same else "", "both kinds" if len(found) == 1 else "all of them"
    return f"Give {more}--mix to have {kinds}, or another folder with -o."


def _clips_of(kind: ClipKind) -> str:
    return "videos" if kind.cut == "none" else "clips"


def _given(cut: str, max_height: int, picture: PictureSettings | None) -> str:
    """Return the options that make such clips; `picture` is None where it says nothing."""
    options = [f"--cut {cut}"] if cut else []
    options += [f"--max-height {max_height}"] if max_height else []
    if picture is not None:
        names = zip(("--short-side", "--fps", "--keyframes"), picture.texts, strict=True)
        options += [f"{name} {text}" for name, text in names if text] or ["the picture as in the source"]
    return " ".join(options)


def _gone_asked_again(plan: Plan) -> str:
    """Say for how many of the clips that were gone YouTube is asked again, and what it would cost to ask for all."""
    if plan.retry not in ("due", "all"):
        return ""
    confirmed, looked_for = plan.confirmed, len(plan.to_look_for)
    asked = plan.count(ClipState.WAS_GONE) - confirmed - looked_for
    if not confirmed and not looked_for:
        return " (asked for again; --retry transient leaves them out)"
    parts = [
        f"{count:,} {words}"
        for count, words in (
            (confirmed, "still gone by their missing thumbnails"),
            (looked_for, "to look for by their thumbnails"),
            (asked, "to ask YouTube for"),
        )
        if count
    ]
    cost = duration_text(plan.videos_gone * 3600 / PUBLISHED_PER_HOUR)
    return f": {', '.join(parts)} (--retry all asks YouTube for all, in {cost})"


def _asked_again(plan: Plan) -> str:
    """Say when YouTube is asked again for the clips that it did not offer lately, and that are left out until then."""
    not_due = len(plan.not_due_rows)
    if not not_due:
        return ""
    which = "" if not_due == plan.count(ClipState.NOT_OFFERED) else f"{not_due:,} of them are "
    how = "asked for at the mirror alone now, at YouTube again" if plan.source == "both" else "asked again"
    return f" ({which}{how} after 30 days, with newer engines, or with --retry all)"


def forecast(to_come: Estimate, *, seconds: float, share: float) -> str:
    """Say how much is to come, and how long that may take; `share` is the share of the clips that will come.

    The player calls are named where that time is YouTube's alone.
    """
    calls = f" ({to_come.calls_text})" if seconds == to_come.seconds else ""
    return f"about {size(share * to_come.size)} and {duration_text(seconds)} to come{calls}, by {to_come.basis}"


def mirror_hint(offer: MirrorOffer) -> str:
    """Say what the mirror would bring, where only YouTube is asked."""
    clips = f"{round(offer.share * offer.missing):,}"
    return f"--source both would bring about {clips} of these from a mirror in {duration_text(offer.seconds)}"


def mirror_offer(offer: MirrorOffer) -> str:
    """Say what the mirror would bring, and how much of it has to be read for that."""
    archives = counted(len(offer.archives), "archive")
    much = "unknown size" if offer.without_sizes else f"{'about ' if offer.unknown_sizes else ''}{size(offer.size)}"
    return f"the mirror: {archives} of {much} to read, which should bring {percent(offer.share)} of the clips to do"


def source_order(weighed: SourceTimes) -> str:
    """Say which source is asked first, and why."""
    first, second = weighed.order
    return (
        f"{NAMES[first]} first, about {duration_text(weighed.seconds(first))} in all: "
        f"with {NAMES[second]} first it would be {duration_text(weighed.seconds(second))}"
    )


def explanation(event: Pause | SpacingChanged) -> str:
    """Say what the throttle has decided: a pause, or another spacing of the clips."""
    now = f"{datetime.now():%H:%M:%S}"
    items = "archive" if event.server == NAMES["mirror"] else "clip"
    if isinstance(event, SpacingChanged):
        to = f" to {event.host}" if event.host else ""
        at = f" at {event.host}" if event.host else ""
        if event.published:
            allowed = f"{event.server} is said to allow a guest about {3600 / event.seconds:,.0f} {items}s an hour{at}"
            return f"{now} {allowed}: they go out one by one now, slowly more; --rate none lifts this"
        if not event.seconds:
            return f"{now} spacing the {items}s out did not help: they go out{to} at full speed again"
        rate = f"{3600 / event.seconds:,.0f} {items}s an hour go out{to} now, slowly more"
        return f"{now} {event.server} refuses again and again: {rate}"
    until = _clock(datetime.now() + timedelta(seconds=event.seconds), "%H:%M:%S")
    also = " (--rate none asks at once)" if event.of_another_run else ""
    who = f"{event.host} is" if event.host else "all workers are"
    return f"{now} {_why_paused(event)} -- {who} paused until {until}; then one {items} is tried{also}"


def _why_paused(event: Pause) -> str:
    reason = one_line(event.reason)
    if event.category is Category.NETWORK:
        return reason
    if not event.alike:
        said = "said to another run" if event.of_another_run else "says"
        return f"{event.server} {said}: {reason}" + (RATE_LIMIT if event.category is Category.THROTTLED else "")
    advice = WHAT_MAY_HELP.get(event.category, CHECK_MACHINE)
    if event.alike == 1:
        return f"it still fails in the same way ({reason}): {advice}"
    return f"{event.alike} clips failed alike and none came between them ({reason}): {advice}"


def pause_in_short(event: Pause, until: datetime) -> str:
    """Say what everybody waits for, in the few words that fit beside a bar."""
    at = _clock(until, "%H:%M")
    if event.category is Category.NETWORK:
        return f"no connection; next try at {at}"
    if event.alike:
        return f"paused until {at} (clips failed alike)"
    return f"paused by {event.server} until {at}{RATE_LIMIT}"


def _clock(when: datetime, time_of_day: str) -> str:
    """Return a time, with its date if that is not today."""
    return f"{when:{time_of_day if when.date() == datetime.now().date() else f'%d %b {time_of_day}'}}"


def why_stopped(gave_up: GaveUp) -> str:
    """Say why a run ended before all clips were tried, and what to do."""
    reason = one_line(gave_up.reason)
    if gave_up.category is Category.ENGINE_ERROR:
        return f"stopped: the engines no longer understand YouTube ({reason}). They may be out of date: {UPGRADE}"
    if gave_up.alike:
        advice = WHAT_MAY_HELP.get(gave_up.category, CHECK_MACHINE)
        return f"stopped: for too long all clips failed alike ({reason}): {advice}. Then run the command again"
    if gave_up.category is Category.NETWORK:
        return (
            f"stopped: {gave_up.server} could not be reached for too long ({reason}). "
            "Run the command again when the connection works"
        )
    if gave_up.category is Category.LOST_WORKER:
        return f"stopped: {gave_up.reason}. Run the command again when there is one"
    return f"stopped: {gave_up.server} refused everything for too long ({reason}). Run the command again in some hours"
