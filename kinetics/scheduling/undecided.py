"""Holds failures back until it is known whether they are their clips' own, or have a common cause.

A failure that may have a common cause is recorded once a clip that went out after it has come, and put back in the
queue once ALIKE_LIMIT clips failed alike. That YouTube calls a video unavailable, and nothing more, is a doubt: in a
block it says so of living videos. The video's missing thumbnail confirms it, or an answer to a later call.

What a re-run would not try again is asked for once more if it may stem from a short block: if several videos were
refused shortly after one another, or if the thumbnail of one that is called unavailable is there. Such videos are asked
for one by one, and no longer once too many of them were unavailable again.

Pure decisions, like the throttle's: no I/O, and times come from the caller's clock.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto

from kinetics.records import ASKED_WITH, Category, ClipKey, Outcome
from kinetics.scheduling.events import Notice

ALIKE_LIMIT = 25
"""Videos whose clips fail alike, with no clip that came between them, before the cause is taken for a common one. A
larger limit costs more calls in a block; a smaller one stops for what a few clips have in common by chance."""
DOUBT_LIMIT = 5
"""The same for videos that are called unavailable although nothing confirms it. It is smaller, since a wrong verdict
costs the clip."""
GROUP_LIMIT, GROUP_WINDOW = 3, 5
"""Videos that are called unavailable or are not offered, and the number of outcomes among which they are counted, from
which each is asked for once more. A smaller limit spends more calls on videos that say the same again; a larger one
takes longer blocks for verdicts."""
TESTS_IN_VAIN = 0.015
"""Share of a run's outcomes that may be videos whose thumbnails are there, and that were called unavailable a second
time. Beyond it, a thumbnail that is there means nothing. With a larger share, a host that has thumbnails of dead videos
costs more player calls; with a smaller one, a block of one or two calls may look like a verdict."""
PROOF_OF_WITNESS = 3
"""Videos that came and whose thumbnails are there, from which a missing thumbnail confirms that a video is gone."""


class Meaning(Enum):
    """What an outcome of a clip says beyond the clip."""

    CAME = auto()
    VERDICT = auto()
    """YouTube answered about this video."""
    CONFIRMED = auto()
    """The video is gone, but in a block YouTube would have said the same."""
    KNOWN = auto()
    """It says nothing new, and nothing about others."""
    DOUBT = auto()
    """YouTube calls the video unavailable, and nothing confirms it."""
    FAILURE = auto()
    """It may have a common cause."""


class ThumbnailWitness:
    """Whether the thumbnail host can be believed, by what it says of videos that came. All hosts share one."""

    def __init__(self) -> None:
        self.dismissed = False
        self._living = 0
        self._missing: set[str] = set()

    @property
    def believed(self) -> bool:
        """Whether a missing thumbnail confirms that a video is gone."""
        return self._living >= PROOF_OF_WITNESS and not self.dismissed

    def take(self, outcome: Outcome) -> Notice | None:
        """Take in what an outcome tells about thumbnails; returns what to say if the host is dismissed for it."""
        said = (*outcome.living_thumbnails, outcome.thumbnail)
        self._living += outcome.living_thumbnails.count("there")
        if outcome.thumbnail == "missing":
            self._missing.add(outcome.clip.youtube_id)
        if self.dismissed:
            return None
        if "no answer" in said:
            why = "does not answer"
        elif "missing" in outcome.living_thumbnails:
            why = "has none of videos that came"
        elif outcome.status == "done" and outcome.clip.youtube_id in self._missing:
            why = "had none of a video that came now"
        else:
            return None
        self.dismissed = True
        return Notice(f"YouTube's thumbnail host {why}: it is not asked about unavailable videos in this run any more")

    def confirms(self, outcome: Outcome) -> bool:
        """Whether the missing thumbnail of a video proves that it is gone."""
        return self.believed and outcome.thumbnail == "missing"


@dataclass(frozen=True, slots=True)
class _Held:
    """An outcome that is held back."""

    outcome: Outcome
    since: float


@dataclass(frozen=True, slots=True)
class Decided:
    """Outcomes that were held back: those to record, and those whose clips are asked for once more."""

    recorded: list[Outcome]
    again: list[Outcome]


class UndecidedFailures:
    """The outcomes of one address that are held back.

    `known` is the category of clips that were gone or not offered before this run.
    """

    def __init__(self, known: Mapping[ClipKey, Category], witness: ThumbnailWitness) -> None:
        self._known = known
        self._witness = witness
        self._failures: list[_Held] = []
        self._doubts: list[_Held] = []
        self._recent: deque[Outcome] = deque(maxlen=GROUP_WINDOW)
        self._grouped: set[str] = set()  # videos that were refused shortly after one another
        self._asked_again: set[ClipKey] = set()
        self._test: ClipKey | None = None  # the clip asked for again to see whether a thumbnail that is there tells
        self._taken, self._tests_in_vain = 0, 0
        self._suspected: set[str] = set()  # causes that have paused everybody since the last clip that came

    @property
    def in_doubt(self) -> bool:
        """Whether YouTube may be calling every video unavailable."""
        return bool(self._doubts) or Category.UNAVAILABLE in self._suspected

    def take(self, outcome: Outcome) -> Meaning:
        """Take in the outcome of a clip, and return what it says beyond the clip."""
        meaning = self._meaning(outcome)
        video = outcome.clip.youtube_id
        self._taken += 1
        if outcome.clip.key == self._test:
            self._test = None
            self._tests_in_vain += outcome.unconfirmed
        if meaning not in (Meaning.KNOWN, Meaning.CONFIRMED):
            if self._recent and self._recent[-1].clip.youtube_id == video:
                self._recent.pop()  # an earlier section of it
            self._recent.append(outcome)
        refused = _videos(one for one in self._recent if one.unconfirmed or one.category is Category.NOT_OFFERED)
        self._grouped |= refused if len(refused) >= GROUP_LIMIT else set()
        return meaning

    def _meaning(self, outcome: Outcome) -> Meaning:
        category = outcome.category
        if outcome.status == "done" or category is None:
            return Meaning.CAME
        if category.gone and not outcome.unconfirmed:
            return Meaning.VERDICT
        if self._known.get(outcome.clip.key) is category or category is Category.THROTTLED:
            return Meaning.KNOWN
        if outcome.unconfirmed:
            return Meaning.CONFIRMED if self._witness.confirms(outcome) else Meaning.DOUBT
        return Meaning.FAILURE

    def hold(self, outcome: Outcome, now: float) -> bool:
        """Hold back a failure or a doubt, and return whether its cause is now taken for a common one."""
        if outcome.unconfirmed:
            self._doubts.append(_Held(replace(outcome, calls=0), now))  # its calls stand in the row of the doubt
            doubts = [held.outcome for held in self._doubts]
            weighty = _videos(one for one in doubts if not self._unproven_witness_confirms(one))
            return len(weighty) >= DOUBT_LIMIT or len(_videos(doubts)) >= ALIKE_LIMIT or self.suspects(outcome)
        self._failures.append(_Held(outcome, now))
        alike = _videos(held.outcome for held in self._failures if cause(held.outcome) == cause(outcome))
        return len(alike) >= ALIKE_LIMIT or self.suspects(outcome)

    def _unproven_witness_confirms(self, outcome: Outcome) -> bool:
        return outcome.thumbnail == "missing" and not self._witness.dismissed

    def suspects(self, outcome: Outcome) -> bool:
        """Whether this outcome's cause has paused everybody, and no clip has come since."""
        return cause(outcome) in self._suspected

    def came(self, sent: float) -> Decided:
        """Return what is decided by a clip that went out at `sent` and has come: failures before it are their own."""
        self._suspected.clear()
        if not self._failures:
            return self.answered(sent)
        earlier = [held.outcome for held in self._failures if held.since <= sent]
        self._failures = [held for held in self._failures if held.since > sent]
        again = self._to_ask_again(one for one in earlier if one.category is Category.NOT_OFFERED)
        doubts = self.answered(sent)
        return Decided([*(one for one in earlier if one not in again), *doubts.recorded], [*again, *doubts.again])

    def answered(self, sent: float) -> Decided:
        """Return which doubts are decided by an answer to a call made at `sent`: those videos are gone."""
        self._suspected.discard(Category.UNAVAILABLE)
        if not self._doubts:
            return Decided([], [])
        earlier = [held.outcome for held in self._doubts if held.since <= sent]
        again = self._to_ask_again(earlier)
        waiting = [one for one in earlier if one not in again and self._waits_for_test(one)]
        self._doubts = [held for held in self._doubts if held.since > sent or held.outcome in waiting]
        return Decided([_as_verdict(one) for one in earlier if one not in again and one not in waiting], again)

    def _to_ask_again(self, refused: Iterable[Outcome]) -> list[Outcome]:
        """Return those whose clips are to be asked for once more, and were not yet."""
        refused = [one for one in refused if one.clip.key not in self._asked_again]
        again = [*filter(self._in_group, refused)]
        alone = next((one for one in refused if one not in again and self._may_live(one)), None)
        if alone and self._test is None:
            self._test = alone.clip.key
            again.append(alone)
        self._asked_again |= {one.clip.key for one in again}
        return again

    def _in_group(self, refused: Outcome) -> bool:
        """Whether several videos were refused shortly before or after this one."""
        return refused.clip.youtube_id in self._grouped

    def _may_live(self, refused: Outcome) -> bool:
        """Whether a thumbnail says that the video lives, and thumbnails are not known to say so of dead videos."""
        tells = not self._witness.dismissed and self._tests_in_vain <= TESTS_IN_VAIN * self._taken
        return tells and refused.thumbnail == "there"

    def _waits_for_test(self, refused: Outcome) -> bool:
        """Whether what comes of another video shows first if this one's thumbnail means anything."""
        return self._test is not None and refused.clip.key not in self._asked_again and self._may_live(refused)

    def confirmed(self) -> Iterator[Outcome]:
        """Yield the doubts that the thumbnail host has come to confirm since they were held back."""
        decided = [held.outcome for held in self._doubts if self._witness.confirms(held.outcome)]
        self._doubts = [held for held in self._doubts if not self._witness.confirms(held.outcome)]
        yield from decided

    def put_back(self, because: Outcome) -> list[Outcome]:
        """Return everything that failed like `because`, to go back to the queue, and suspect that cause from now on."""
        self._suspected.add(cause(because))
        if because.unconfirmed:
            alike, self._doubts = self._doubts, []
        else:
            alike = [held for held in self._failures if cause(held.outcome) == cause(because)]
            self._failures = [held for held in self._failures if cause(held.outcome) != cause(because)]
        return [held.outcome for held in alike]

    def put_back_doubts(self) -> list[Outcome]:
        """Return all doubts, to go back to the queue: YouTube has begun to refuse everybody."""
        doubts, self._doubts = self._doubts, []
        return [held.outcome for held in doubts]

    @property
    def open_question(self) -> Outcome | None:
        """An outcome that a control call would decide; None if there is none."""
        refused = [held.outcome for held in self._failures if held.outcome.category is Category.NOT_OFFERED]
        grouped = [one for one in refused if self._in_group(one) and one.clip.key not in self._asked_again]
        questions = [*(held.outcome for held in self._doubts), *grouped]
        return questions[0] if questions else None

    def failures(self) -> Iterator[Outcome]:
        """Yield the failures that nothing will decide any more: they are recorded as what they are."""
        failures, self._failures = self._failures, []
        yield from (held.outcome for held in failures)

    def doubts(self) -> Iterator[Outcome]:
        """Yield the doubts that nothing will decide any more, as clips to try again."""
        for outcome in self.put_back_doubts():
            reason = f"{outcome.reason} (undecided: YouTube answered no later call, so it may refuse everybody)"
            yield replace(outcome, category=Category.THROTTLED, reason=reason, unconfirmed=False)


def _videos(outcomes: Iterable[Outcome]) -> set[str]:
    """Return the videos of some outcomes: several sections of one video tell no more than one."""
    return {outcome.clip.youtube_id for outcome in outcomes}


def cause(outcome: Outcome) -> str:
    """Return what outcomes of a common cause have in common: the category, and the reason without its numbers.

    Of several engines' reasons the first one counts: the other engines are not asked at every clip.
    """
    if outcome.unconfirmed:
        return Category.UNAVAILABLE
    words = outcome.reason.partition(ASKED_WITH)[0].partition("; ")[0].replace(outcome.clip.youtube_id, "")
    return f"{outcome.category}: {re.sub(r'[0-9]+', '', words)}"


def _as_verdict(outcome: Outcome) -> Outcome:
    """Return a doubt as the verdict that it has become; a video whose thumbnail is there may yet live."""
    if outcome.thumbnail != "there":
        return outcome
    return replace(outcome, reason=f"{outcome.reason} (its thumbnail is still there)")
