"""Decides when the next clip may go out: pure decisions from outcomes and a clock, without I/O and without sleeping.

The throttle of an address is a circuit breaker. While it is closed, clips go out, one at a time at first and twice as
many at once after every answer of YouTube. A refusal ("too many requests", the bot check) opens it, and so do several
connections that fail one after the other: nothing goes out until a pause is over. Then it is half-open, and one clip is
the probe: an answer closes the breaker again, a refusal makes the next pause longer. Where it opens again and again,
clips are spread over time instead, as densely as YouTube allows. docs/throttling.md has the states as a diagram.

Clips that fail alike, in whatever words, open it too (undecided.py). First a control call asks for a video that came in
this run, if one did: if YouTube offers it again, nobody has to wait.

All times are seconds of one clock that never goes back, such as time.monotonic().
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from kinetics.records import ArchiveResult, Category, Clip, ClipKey, ControlCall, ControlResult, Outcome, Result
from kinetics.scheduling.ban_learner import HOUR_S, Backoff
from kinetics.scheduling.breaker import Breaker
from kinetics.scheduling.call_pace import CallPace, Pacing
from kinetics.scheduling.control_calls import ControlCalls
from kinetics.scheduling.events import GaveUp, Notice, Pause, SpacingChanged
from kinetics.scheduling.refusals import (
    ITEM_BROKEN_LIMIT,
    ITEM_REFUSAL_LIMIT,
    AnsweredCalls,
    BrokenConnections,
    RefusedItems,
)
from kinetics.scheduling.undecided import Decided, Meaning, ThumbnailWitness, UndecidedFailures

MAX_PLAYER_CALLS = 2
"""Clips that may wait for the answer to their player call at once, however many workers there are. A larger value lets
more calls meet a ban that is just beginning; a smaller one lets a slow answer hold up the other clips."""
ANSWERS_UNTIL_PROVEN = 3
"""Answers since the last refusal or failed connection until clips that met one are tried before new ones again. With
fewer, more clips would be refused during a ban in which YouTube answers a call now and then, and be blamed for it."""
RETRY_AFTER_CAP_S = 6 * HOUR_S
"""Longest pause in seconds that a server's Retry-After can ask for."""
NETWORK_PAUSES_S = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0)
"""Seconds to pause after the first, second, ... network error in a row; the last one repeats. A longer last one goes on
later once the network is back."""
NETWORK_GIVE_UP_S = 2 * HOUR_S
"""Seconds of nothing but network errors after which the run ends."""
BAN_GIVE_UP_S = 24 * HOUR_S
"""Seconds of nothing but refusals after which the run ends. Four times the longest pause, so that each is tried."""
CAUSE_PAUSES_S = (15.0, 60.0, 300.0, 900.0, HOUR_S)
"""Seconds to pause after the first, second, ... time that clips failed alike; the last one repeats."""
CAUSE_GIVE_UP_S = 6 * HOUR_S
"""Seconds in which no clip came, and the cause was the same, after which the run ends. What lasts for longer needs a
person: newer engines, or another network."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from an outcome, or from YouTube's answer to a player call."""

    outcome: Result | None = None
    """The outcome to record. A `postponed` one has become `failed` if this clip alone is refused, and a `failed` one
    `postponed` or None while it is undecided."""
    requeue: bool = False
    """Whether the clip goes back to the queue."""
    decided: tuple[Outcome, ...] = ()
    """Earlier outcomes to record that were undecided until now."""
    put_back: tuple[Clip, ...] = ()
    """The clips among them that go back to the queue."""
    control: ControlCall | None = None
    """What this address is to be asked for next."""
    notice: Notice | None = None
    pause: Pause | None = None
    spacing: SpacingChanged | None = None
    gave_up: GaveUp | None = None


class Unthrottled:
    """The throttle of work that asks no server: clips go out as fast as there are workers for them."""

    unproven = False

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def wait(self, now: float, in_flight: int, in_player_call: int) -> float | None:
        return 0.0 if in_flight < self.workers else None

    def news(self, now: float) -> Iterable[Pause | SpacingChanged]:
        """Return nothing: no server is asked."""
        return ()

    def close(self, now: float) -> None:
        """Do nothing: no server is asked."""

    def sent(self, now: float) -> None:
        """Do nothing: no server is asked."""

    def answered(self, *, sent: float, now: float) -> Decision:
        """Decide nothing: no server is asked."""
        return Decision()

    def returned(self, *, sent: float) -> None:
        """Do nothing: no server is asked."""

    def undecided(self, *, ended: bool) -> Iterable[Outcome]:
        """Return nothing: every outcome is decided at once."""
        return ()

    def last_control(self, now: float) -> ControlCall | None:
        """Return None: nothing is ever in doubt."""

    def settle(
        self, outcome: Result, *, sent: float, now: float, answered: bool = False, last: bool = False
    ) -> Decision:
        return Decision(outcome)


class Throttle:
    """Decides when a clip may go out from one address, and what each answer and outcome means for all the others.

    `workers` is how many there can be at once at present; `per_hour` is the most clips to send in an hour. Where there
    are several addresses, they share `refused_items` and `witness`. `known` is the category of clips that were gone or
    not offered before this run: that they are so again says nothing about others. `controls` are clips that
    are likely to be offered, for control calls until one has come in this run. `pace` is what is known of the address's
    player calls; without `per_hour` it keeps what YouTube is said to allow, unless told otherwise.
    `network_patience_s` is how long nothing but failed connections is waited for.
    """

    def __init__(
        self,
        workers: int,
        per_hour: float | None = None,
        refused_items: RefusedItems | None = None,
        *,
        known: Mapping[ClipKey, Category] | None = None,
        witness: ThumbnailWitness | None = None,
        controls: Iterable[Clip] = (),
        pace: Pacing | None = None,
        network_patience_s: float = NETWORK_GIVE_UP_S,
    ) -> None:
        self.workers = workers
        self._min_spacing_s = HOUR_S / per_hour if per_hour else 0.0
        self._pace = CallPace(limited=not per_hour) if pace is None else pace
        self._breaker = Breaker()
        self._network_backoff = Backoff(NETWORK_PAUSES_S, network_patience_s)
        self._broken_calls = BrokenConnections()
        self._broken_media = BrokenConnections()  # apart, as answered player calls say nothing of the media host
        self._ban_backoff = Backoff((0.0,), BAN_GIVE_UP_S)  # of its pauses, the pace knows the length
        self._cause_backoff = Backoff(CAUSE_PAUSES_S, CAUSE_GIVE_UP_S)
        self._told_published = False
        self._answers_in_a_row = 0
        self._until_proven = ANSWERS_UNTIL_PROVEN
        self._answered_calls = AnsweredCalls()
        self._refused_items = RefusedItems() if refused_items is None else refused_items
        self._witness = ThumbnailWitness() if witness is None else witness
        self._undecided = UndecidedFailures(known or {}, self._witness)
        self._controls = ControlCalls(controls)

    @property
    def unproven(self) -> bool:
        """Whether the next clip should be one that was never refused, as too few answers came since the last refusal.

        Until then a video that is refused for itself would open the breaker again for all. And where YouTube answers a
        call now and then during a ban, a clip that is only unlucky would be blamed for its refusals.
        """
        return self._answers_in_a_row < self._until_proven

    def wait(self, now: float, in_flight: int, in_player_call: int) -> float | None:
        """Return the seconds until the next clip may go out; None if an outcome or an answer has to come first.

        `in_flight` clips are out, `in_player_call` of which have not had YouTube's answer to the player call yet.
        """
        if in_player_call >= MAX_PLAYER_CALLS or not self._breaker.lets_out(in_flight, self.workers):
            return None
        return max(self._breaker.wait(now), self._pace.wait(now))

    def news(self, now: float) -> Iterator[Pause | SpacingChanged]:
        """Yield what has changed without an outcome: a pause that another run met, or the end of the first burst."""
        pause_s, reason = self._pace.pause(now)
        if pause_s and not self._breaker.waits_until(now + pause_s - 1.0):
            self._breaker.wait_until(now + pause_s, now)
            yield Pause(Category.THROTTLED, reason, pause_s, of_another_run=True)
        if self._pace.published and not self._told_published:
            self._told_published = True
            yield SpacingChanged(self._pace.interval_s, published=True)

    def close(self, now: float) -> None:
        """Take in that the run ends."""
        self._pace.close(now)

    def sent(self, now: float) -> None:
        """Take in that a clip has gone out: the probe, if the breaker is open."""
        self._pace.sent(now)
        self._breaker.sent(not_before=now + self._min_spacing_s)

    def answered(self, *, sent: float, now: float) -> Decision:
        """Take in that YouTube has answered the player call of a clip that went out at `sent`.

        Where the media are refused, such an answer does not close the breaker: only a clip that is fetched does.
        """
        held = self._undecided.answered(sent)
        self._broken_calls.answered()
        if self._breaker.opened_since(sent) or self._breaker.media_refused:
            return _decision(held)
        return _decision(held, spacing=self._proceed(sent, now))

    def returned(self, *, sent: float) -> None:
        """Take in that no outcome will ever come of a clip that went out at `sent`; after a probe comes another."""
        if self._breaker.is_probe(sent):
            self._breaker.probe_ended()

    def undecided(self, *, ended: bool) -> Iterable[Outcome]:
        """Yield the outcomes that nothing will decide any more; doubts only if the run has come to its own end."""
        yield from self._undecided.failures()
        if ended:
            yield from self._undecided.doubts()

    def settle(
        self, outcome: Result, *, sent: float, now: float, answered: bool = False, last: bool = False
    ) -> Decision:
        """Take in the outcome of a clip that went out at `sent`, and return what follows.

        `answered`: YouTube's answer to its player call was reported before. `last`: there is no other clip to do, so
        nothing can show whether all are refused or only this one.
        """
        before_opening, is_probe = self._breaker.opened_since(sent), self._breaker.is_probe(sent)
        if is_probe:
            self._breaker.probe_ended()
        if (more := getattr(outcome, "calls", 0) - 1) > 0:
            self._pace.spend(more, now)
        if outcome.status == "done":
            self._broken_media.answered()
        if isinstance(outcome, ControlResult):
            return self._settle_control(outcome, sent, now, answered)
        if outcome.status == "postponed":
            if before_opening:
                return Decision(outcome, requeue=True)
            return self._refused(outcome, sent, now, answered, last)
        self._refused_items.clear(outcome.item)
        closes = is_probe or not (answered or before_opening)
        if not isinstance(outcome, Outcome):
            is_answer = outcome.status == "done" or bool(outcome.category and outcome.category.gone)
            return Decision(outcome, spacing=self._proceed(sent, now) if is_answer and closes else None)
        notice = self._witness.take(outcome)
        decision = self._meant(outcome, sent, now, closes) or self._hold(outcome, now, before_opening, answered)
        confirmed = tuple(self._undecided.confirmed())
        if not (confirmed or notice):
            return decision
        return replace(decision, decided=(*confirmed, *decision.decided), notice=notice)

    def _meant(self, outcome: Outcome, sent: float, now: float, closes: bool) -> Decision | None:
        """Take in what an outcome means beyond the clip; None if that is still open.

        `closes`: an answer closes the breaker.
        """
        match self._undecided.take(outcome):
            case Meaning.CAME:
                self._controls.came(outcome.clip)
                spacing = self._proceed(sent, now) if closes else None
                return _decision(self._came(sent), outcome=outcome, spacing=spacing)
            case Meaning.VERDICT:
                spacing = self._proceed(sent, now) if closes else None
                return _decision(self._undecided.answered(sent), outcome=outcome, spacing=spacing)
            case Meaning.CONFIRMED:
                is_answer = closes and not self._undecided.in_doubt
                return Decision(outcome, spacing=self._proceed(sent, now) if is_answer else None)
            case Meaning.KNOWN:
                self._breaker.widen(self.workers)
                return Decision(outcome)
            case _:
                return None

    def _hold(self, outcome: Outcome, now: float, before_opening: bool, answered: bool) -> Decision:
        """Hold back an outcome that may have a common cause; if it has, find out or open the breaker."""
        if before_opening and self._undecided.suspects(outcome):
            return Decision(replace(outcome, status="postponed"), requeue=True)
        is_common = self._undecided.hold(outcome, now)
        recorded = Decision(replace(outcome, status="postponed") if outcome.unconfirmed else None)
        if not is_common or before_opening or self._controls.alike:
            return recorded
        if self._breaker.closed and (control := self._call_control(outcome, now, answered)):
            return replace(recorded, control=control)
        opened = self._open_for(outcome, now, answered)
        return replace(opened, outcome=recorded.outcome)

    def last_control(self, now: float) -> ControlCall | None:
        """Return what to ask for before the run ends, to decide what is in doubt; None if nothing can or need be."""
        question = self._undecided.open_question if self._controls.any_came else None
        return self._call_control(question, now, answered=False) if question else None

    def _call_control(self, alike: Outcome, now: float, answered: bool) -> ControlCall | None:
        """Let nothing but a control call go out next, if there is a video to ask for; `alike` is why."""
        control = self._controls.begin(alike)
        if control:
            self._breaker.open(now, by_media=answered)
        return control

    def _came(self, sent: float) -> Decided:
        """Take in that a clip came: what failed before it went out has failed for itself."""
        self._cause_backoff.answered()
        return self._undecided.came(sent)

    def _settle_control(self, result: ControlResult, sent: float, now: float, answered: bool) -> Decision:
        """Take in whether a video that came before is offered again."""
        self._breaker.probe_ended()
        is_network = result.status == "postponed" and result.category is Category.NETWORK
        if is_network and not self._line_may_be_down(sent, now, answered):
            return Decision(requeue=True)
        alike = self._controls.alike
        if another := self._controls.end(result):
            return Decision(control=another)
        if result.status == "done":
            return _decision(self._came(sent), spacing=self._proceed(sent, now))
        if result.status == "postponed":
            return self._open(result, now, answered, put_back=self._undecided.put_back_doubts())
        return self._open_for(alike, now, answered) if alike else Decision()

    def _proceed(self, sent: float, now: float) -> SpacingChanged | None:
        """Close the breaker, and let twice as many clips out at once as before."""
        self._breaker.close(self.workers)
        self._refused_items.answered()
        self._answered_calls.add(sent)
        self._answers_in_a_row += 1
        self._ban_backoff.answered()
        self._network_backoff.answered()
        self._broken_calls.answered()
        return self._pace.answered(now)

    def _refused(
        self, outcome: Outcome | ArchiveResult, sent: float, now: float, answered: bool, last: bool
    ) -> Decision:
        """Open the breaker for a pause, unless this clip alone is refused or it is time to give up.

        A connection that broke is tried again at once, unless several in a row did. To the media host the worker has
        tried more than one before it says so.
        """
        is_network = outcome.category is Category.NETWORK
        limit = ITEM_BROKEN_LIMIT if is_network and not answered else ITEM_REFUSAL_LIMIT
        is_the_pace = not (is_network or answered) and self._answered_calls.none_was_closer(sent)
        if not is_the_pace and self._refused_items.refused(outcome.item, last and not is_network, limit):
            self._refused_items.clear(outcome.item)
            return Decision(replace(outcome, status="failed"))
        if is_network and not self._line_may_be_down(sent, now, answered):
            self._answers_in_a_row = 0  # so that the next connection is for another clip
            return Decision(outcome, requeue=True)
        put_back = [] if is_network else self._undecided.put_back_doubts()
        decision = self._open(outcome, now, answered, put_back=put_back)
        if is_the_pace and self._refused_items.refused_at_pace(outcome.item):
            self._until_proven = 0
        return replace(decision, outcome=outcome, requeue=not decision.gave_up)

    def _line_may_be_down(self, sent: float, now: float, answered: bool) -> bool:
        """Count a connection that failed, and return whether everybody should pause for those in a row."""
        return self._broken_media.add(0.0) if answered else self._broken_calls.add(now - sent)

    def _open_for(self, outcome: Outcome, now: float, answered: bool) -> Decision:
        """Open the breaker because clips failed alike; `outcome` is the last of them. They go back to the queue."""
        put_back = self._undecided.put_back(outcome)
        return self._open(outcome, now, answered, put_back=put_back, alike=max(1, len(put_back)))

    def _open(
        self, outcome: Result, now: float, answered: bool, *, put_back: list[Outcome], alike: int = 0
    ) -> Decision:
        """Open the breaker for a pause, or give up if it has been open for too long.

        `alike` is how many clips failed alike; 0 for a refusal of everybody in known words.
        """
        decision = _decision(Decided([], put_back))
        category, backoff = self._backoff_for(outcome, now, alike)
        if backoff.exhausted(now):
            return replace(decision, gave_up=GaveUp(category, outcome.reason, alike=alike))
        asked_for = getattr(outcome, "retry_after_s", None)
        at_least = 0.0 if asked_for is None else min(asked_for + 1.0, RETRY_AFTER_CAP_S)
        if backoff is self._ban_backoff:
            at_least = self._pace.refused(now, at_least, outcome.reason)
        pause_s = backoff.refused(now, at_least)
        self._breaker.open(now, pause_s, by_media=answered)
        # Where only few are let through between two pauses, the next time a clip that was refused is among them.
        few = self._answers_in_a_row <= ANSWERS_UNTIL_PROVEN
        self._until_proven = max(1, self._answers_in_a_row - 1) if few else ANSWERS_UNTIL_PROVEN
        self._answers_in_a_row = 0
        pause = Pause(category, outcome.reason, pause_s, alike=alike)
        control = self._controls.begin(outcome) if alike and isinstance(outcome, Outcome) else None
        return replace(decision, pause=pause, control=control)

    def _backoff_for(self, outcome: Result, now: float, alike: int) -> tuple[Category, Backoff]:
        """Return the category of a pause, and how its length grows from one to the next."""
        if outcome.category is Category.NETWORK:
            return Category.NETWORK, self._network_backoff
        self._network_backoff.answered()  # a refusal is a reply, so the network works
        is_doubt = isinstance(outcome, Outcome) and outcome.unconfirmed
        if alike and outcome.category and not is_doubt:
            return outcome.category, self._cause_backoff
        return Category.UNAVAILABLE if is_doubt else Category.THROTTLED, self._ban_backoff


def _decision(held: Decided, outcome: Outcome | None = None, spacing: SpacingChanged | None = None) -> Decision:
    """Return what follows for outcomes that were held back; a doubt that goes back to the queue has its row already."""
    rows = (replace(one, status="postponed") for one in held.again if not one.unconfirmed)
    clips = (replace(one.clip, again=True) for one in held.again)
    return Decision(outcome, decided=(*rows, *held.recorded), put_back=tuple(clips), spacing=spacing)
