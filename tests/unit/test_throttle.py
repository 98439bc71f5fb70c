"""The throttle, driven by a fake clock: a run is a list of events, and hours of it take milliseconds."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kinetics.records import Category, Clip, ControlCall, ControlResult, Outcome, Result
from kinetics.scheduling.ban_learner import BAN_PAUSES_S
from kinetics.scheduling.call_pace import CallPace
from kinetics.scheduling.events import GaveUp, Pause, SpacingChanged
from kinetics.scheduling.refusals import BROKEN_CONNECTION_LIMIT, ITEM_BROKEN_LIMIT, ITEM_REFUSAL_LIMIT
from kinetics.scheduling.throttle import MAX_PLAYER_CALLS, Decision, Throttle
from tests.support.sweeps import first_of

HOUR = 3600.0
Answer = Callable[[Clip, float], Outcome]
"""What YouTube makes of a player call for this clip at this time."""


def clip(number: int) -> Clip:
    return Clip(f"{number:011d}", 0.0, 10.0, "juggling balls", "train")


def new_clips() -> Iterator[Clip]:
    return map(clip, itertools.count())


def done(wanted: Clip) -> Outcome:
    return Outcome(wanted, "done")


def failed(wanted: Clip, category: Category, reason: str = "") -> Outcome:
    return Outcome(wanted, "failed", category, reason)


def refused(
    wanted: Clip, category: Category = Category.THROTTLED, reason: str = "", retry_after_s: float | None = None
) -> Outcome:
    return Outcome(wanted, "postponed", category, reason, retry_after_s=retry_after_s)


@dataclass
class Run:
    """What happened, and when."""

    sends: list[tuple[float, Clip]] = field(default_factory=list)
    pauses: list[tuple[float, Pause]] = field(default_factory=list)
    outcomes: list[tuple[float, Outcome]] = field(default_factory=list)
    """The final ones."""
    rows: list[Outcome] = field(default_factory=list)
    """All that is recorded, postponed ones among them."""
    notices: list[str] = field(default_factory=list)
    controls: list[float] = field(default_factory=list)
    """When control calls went out."""
    spacings: list[tuple[float, SpacingChanged]] = field(default_factory=list)
    news: list[Pause | SpacingChanged] = field(default_factory=list)
    """What changed without an outcome."""
    gave_up: GaveUp | None = None
    now: float = 0.0
    most_out: int = 0
    most_in_player_call: int = 0

    def take(self, decision: Decision) -> list[Clip]:
        """Note what was decided; returns the clips that go back to the queue."""
        if decision.spacing:
            self.spacings.append((self.now, decision.spacing))
        if decision.pause:
            self.pauses.append((self.now, decision.pause))
        if decision.notice:
            self.notices.append(decision.notice.text)
        self.gave_up = decision.gave_up
        recorded = [*decision.decided, *([decision.outcome] if isinstance(decision.outcome, Outcome) else [])]
        self.outcomes += [(self.now, one) for one in recorded if one.status != "postponed"]
        self.rows += recorded
        again = [recorded[-1].clip] if decision.requeue else []
        return [*again, *decision.put_back]

    @property
    def pause_lengths(self) -> list[float]:
        return [pause.seconds for _, pause in self.pauses]


def simulate(
    throttle: Throttle,
    clips: Iterable[Clip],
    answer: Answer,
    *,
    start: float = 0.0,
    until: float = float("inf"),
    ask_s: Callable[[], float] = lambda: 0.25,
    work_s: Callable[[], float] = lambda: 4.0,
) -> Run:
    """Play a pool: hand out as the throttle says, `ask_s` for the player call, `work_s` for the rest if it was good."""
    run = Run(now=start)
    for _ in steps(run, throttle, clips, answer, until=until, ask_s=ask_s, work_s=work_s):
        pass
    return run


def simulate_together(throttles: Iterable[Throttle], clips: Iterable[Clip], answer: Answer, until: float) -> list[Run]:
    """Play several runs at once, which share the clips."""
    runs = [(Run(), throttle) for throttle in throttles]
    playing = {n: steps(run, throttle, clips, answer, until=until) for n, (run, throttle) in enumerate(runs)}
    while playing:
        first = min(playing, key=lambda n: runs[n][0].now)
        if next(playing[first], "over") == "over":
            del playing[first]
    return [run for run, _ in runs]


def steps(
    run: Run,
    throttle: Throttle,
    clips: Iterable[Clip],
    answer: Answer,
    *,
    until: float,
    ask_s: Callable[[], float] = lambda: 0.25,
    work_s: Callable[[], float] = lambda: 4.0,
) -> Iterator[None]:
    """Play a run up to a time, and yield between any two things that happen."""
    new = iter(clips)
    upcoming = next(new, None)
    again: deque[Clip] = deque()
    control: ControlCall | None = None
    events: list[tuple[float, int, float, Outcome | ControlResult]] = []
    order = itertools.count()
    in_player_call: dict[int, tuple[Clip | ControlCall, float]] = {}
    answered: set[int] = set()
    while run.now < until and not run.gave_up:
        yield
        run.news += throttle.news(run.now)
        control = control or (None if upcoming or again or events else throttle.last_control(run.now))
        if not (upcoming or again or events or control):
            break
        wait = throttle.wait(run.now, len(events), len(in_player_call)) if upcoming or again or control else None
        if wait is None:
            assert events, "nothing is out and nothing may go out: the run would stand still for ever"
        if wait == 0.0:
            chosen: Clip | ControlCall
            if control:
                chosen, control = control, None
                run.controls.append(run.now)
            elif again and not (throttle.unproven and upcoming):
                chosen = again.popleft()
            else:
                assert upcoming
                chosen, upcoming = upcoming, next(new, None)
            throttle.sent(run.now)
            if isinstance(chosen, Clip):
                run.sends.append((run.now, chosen))
            ticket = next(order)
            in_player_call[ticket] = chosen, run.now
            heapq.heappush(events, (run.now + ask_s(), ticket, run.now, result_of(chosen, done)))
            run.most_out = max(run.most_out, len(events))
            run.most_in_player_call = max(run.most_in_player_call, len(in_player_call))
            continue
        if wait is not None and not (events and events[0][0] <= run.now + wait):
            run.now += wait
            continue
        run.now, ticket, sent, outcome = heapq.heappop(events)
        if ticket in in_player_call:
            chosen, now = in_player_call.pop(ticket)[0], run.now
            outcome = result_of(chosen, lambda wanted, now=now: answer(wanted, now))  # type: ignore[misc]
            if outcome.status == "done":
                answered.add(ticket)
                again += run.take(throttle.answered(sent=sent, now=run.now))
                heapq.heappush(events, (run.now + work_s(), ticket, sent, outcome))
                continue
        decision = throttle.settle(outcome, sent=sent, now=run.now, answered=ticket in answered)
        again += run.take(decision)
        control = decision.control or control
    for left in throttle.undecided(ended=True):
        run.take(Decision(left, gave_up=run.gave_up))
    throttle.close(run.now)


def result_of(item: Clip | ControlCall, answer: Callable[[Clip], Outcome]) -> Outcome | ControlResult:
    """What comes of an item: a control call fares as its clip does."""
    if isinstance(item, Clip):
        return answer(item)
    outcome = answer(item.clip)
    return ControlResult(item, outcome.status, outcome.category, outcome.reason)


# --- one step at a time ---


def test_the_first_clip_goes_at_once_and_alone_and_every_answer_lets_twice_as_many_out() -> None:
    throttle = Throttle(workers=10)
    for allowed in (1, 2, 4, 8, 10, 10):
        assert throttle.wait(0.0, in_flight=allowed - 1, in_player_call=0) == 0.0
        assert throttle.wait(0.0, in_flight=allowed, in_player_call=0) is None
        throttle.settle(done(clip(allowed)), sent=0.0, now=1.0)


@pytest.mark.parametrize(
    ("category", "widens"),
    [
        (Category.PRIVATE, True),
        (Category.PAST_END, True),
        (Category.MEDIA_ERROR, False),
        (Category.SERVER_ERROR, False),
        (Category.ENGINE_ERROR, False),
        (Category.LOST_WORKER, False),
        (Category.TIMEOUT, False),
    ],
)
def test_only_youtubes_own_answers_let_more_out(category: Category, widens: bool) -> None:
    throttle = Throttle(workers=4)
    throttle.settle(failed(clip(1), category), sent=0.0, now=1.0)
    assert (throttle.wait(1.0, in_flight=1, in_player_call=0) == 0.0) is widens


def test_no_third_clip_goes_out_while_two_are_at_the_player_call() -> None:
    throttle = Throttle(workers=16)
    for number in range(16):
        throttle.settle(done(clip(number)), sent=0.0, now=1.0)
    assert throttle.wait(2.0, in_flight=9, in_player_call=MAX_PLAYER_CALLS - 1) == 0.0
    assert throttle.wait(2.0, in_flight=9, in_player_call=MAX_PLAYER_CALLS) is None


def test_a_refusal_opens_the_breaker_then_one_clip_is_the_probe_and_its_answer_starts_slowly_again() -> None:
    throttle = Throttle(workers=8)
    for number in range(8):
        throttle.settle(done(clip(number)), sent=0.0, now=1.0)
    settled = throttle.settle(refused(clip(9), reason="Try again later."), sent=2.0, now=3.0)
    assert settled.requeue
    assert settled.outcome and settled.outcome.status == "postponed"
    assert settled.pause == Pause(Category.THROTTLED, "Try again later.", 15.0)
    assert throttle.wait(3.0, in_flight=4, in_player_call=0) == 15.0
    assert throttle.wait(17.5, in_flight=0, in_player_call=0) == 0.5
    assert throttle.wait(18.0, in_flight=4, in_player_call=0) == 0.0
    throttle.sent(18.0)
    assert throttle.wait(18.0, in_flight=5, in_player_call=1) is None
    assert throttle.wait(900.0, in_flight=1, in_player_call=0) is None
    throttle.answered(sent=18.0, now=19.0)
    assert throttle.wait(19.0, in_flight=1, in_player_call=0) == 0.0
    assert throttle.wait(19.0, in_flight=2, in_player_call=0) is None


def test_answers_let_more_out_before_their_clips_are_fetched_and_count_once() -> None:
    throttle = Throttle(workers=4)
    throttle.answered(sent=0.0, now=0.2)
    assert throttle.wait(0.2, in_flight=1, in_player_call=0) == 0.0
    throttle.settle(done(clip(0)), sent=0.0, now=5.0, answered=True)
    assert throttle.wait(5.0, in_flight=2, in_player_call=0) is None


def test_where_the_media_are_refused_an_answer_to_the_player_call_does_not_close_the_breaker() -> None:
    throttle, now = Throttle(workers=4), 0.0
    lengths = []
    for number in range(3):
        throttle.sent(now)
        throttle.answered(sent=now, now=now + 1)
        if number:
            assert throttle.wait(now + 1, in_flight=1, in_player_call=0) is None
        settled = throttle.settle(refused(clip(number)), sent=now, now=now + 2, answered=True)
        assert settled.pause
        lengths.append(settled.pause.seconds)
        now += 2 + lengths[-1]
    assert lengths == [15.0, 60.0, HOUR]
    throttle.sent(now)
    throttle.answered(sent=now, now=now + 1)
    throttle.settle(done(clip(9)), sent=now, now=now + 2, answered=True)
    assert throttle.wait(now + 2, in_flight=1, in_player_call=0) == 0.0


def test_what_was_sent_before_the_breaker_opened_neither_lengthens_the_pause_nor_closes_the_breaker() -> None:
    throttle = Throttle(workers=8)
    throttle.settle(done(clip(0)), sent=0.0, now=1.0)
    throttle.settle(refused(clip(1)), sent=1.0, now=2.0)
    late = throttle.settle(refused(clip(2)), sent=1.5, now=5.0)
    assert (late.requeue, late.pause) == (True, None)
    throttle.settle(done(clip(3)), sent=1.0, now=6.0)
    throttle.answered(sent=1.5, now=6.0)
    assert throttle.wait(6.0, in_flight=0, in_player_call=0) == 11.0
    throttle.sent(17.0)
    throttle.settle(done(clip(4)), sent=1.0, now=18.0)
    assert throttle.wait(18.0, in_flight=1, in_player_call=0) is None


def test_a_probe_that_ends_without_an_answer_is_followed_by_one_other() -> None:
    throttle = Throttle(workers=8)
    throttle.settle(refused(clip(1)), sent=0.0, now=1.0)
    throttle.sent(16.0)
    throttle.settle(failed(clip(2), Category.LOST_WORKER), sent=16.0, now=17.0)
    assert throttle.wait(17.0, in_flight=0, in_player_call=0) == 0.0
    throttle.sent(17.0)
    assert throttle.wait(17.0, in_flight=1, in_player_call=0) is None


@pytest.mark.parametrize(
    ("category", "lengths"),
    [
        (Category.THROTTLED, [15, 60, HOUR, 2 * HOUR, 4 * HOUR, 6 * HOUR, 6 * HOUR]),
        (Category.NETWORK, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]),
    ],
)
def test_pauses_grow_while_probes_are_refused(category: Category, lengths: list[float]) -> None:
    run = simulate(Throttle(16), new_clips(), lambda wanted, now: refused(wanted, category))
    assert run.pause_lengths[: len(lengths)] == lengths


def test_after_an_answer_network_pauses_are_short_again() -> None:
    def outage(wanted: Clip, now: float) -> Outcome:
        return refused(wanted, Category.NETWORK) if 100 <= now % 1000 < 130 else done(wanted)

    run = simulate(Throttle(4, pace=CallPace(limited=False)), new_clips(), outage, until=4000)
    firsts = [next(pause.seconds for at, pause in run.pauses if at > 1000 * n) for n in range(4)]
    assert firsts == [2.0] * 4


@pytest.mark.parametrize(("asked", "waits"), [(300.0, 301.0), (5.0, 15.0), (90_000.0, 6 * HOUR), (-1.0, 15.0)])
def test_what_the_server_asks_for_is_the_least_pause_up_to_six_hours(asked: float, waits: float) -> None:
    settled = Throttle(4).settle(refused(clip(1), retry_after_s=asked), sent=0.0, now=1.0)
    assert settled.pause
    assert settled.pause.seconds == waits


def test_a_long_retry_after_is_not_taken_for_the_length_of_later_bans() -> None:
    throttle = Throttle(4)
    throttle.settle(refused(clip(1), retry_after_s=6 * HOUR), sent=0.0, now=1.0)
    throttle.settle(done(clip(2)), sent=6 * HOUR + 1, now=6 * HOUR + 2)
    run = simulate(throttle, new_clips(), lambda wanted, now: refused(wanted), until=10 * HOUR)
    assert run.pause_lengths[:3] == [15, 60, HOUR]


@pytest.mark.parametrize(("category", "hours"), [(Category.THROTTLED, 24), (Category.NETWORK, 2)])
def test_refused_for_too_long_ends_the_run_with_nothing_failed(category: Category, hours: int) -> None:
    run = simulate(Throttle(16), new_clips(), lambda wanted, now: refused(wanted, category, "Sorry."))
    assert run.gave_up == GaveUp(category, "Sorry.")
    assert hours * HOUR <= run.now <= (hours + 6) * HOUR
    assert not run.outcomes


def test_a_refusal_shows_that_the_network_works_so_two_blips_hours_apart_are_no_outage() -> None:
    def answer(wanted: Clip, now: float) -> Outcome:
        if now < 1 or 3 * HOUR < now < 4.5 * HOUR:
            return refused(wanted, Category.NETWORK)
        return refused(wanted) if now < 6 * HOUR else done(wanted)

    run = simulate(Throttle(4), map(clip, range(9)), answer)
    assert {pause.category for _, pause in run.pauses} == {Category.NETWORK, Category.THROTTLED}
    assert len(run.outcomes) == 9


@pytest.mark.soak
def test_one_answer_in_a_day_of_refusals_is_enough_to_go_on() -> None:
    def hardly_ever(wanted: Clip, now: float) -> Outcome:
        return done(wanted) if now % (20 * HOUR) < 7 * HOUR else refused(wanted)

    assert simulate(Throttle(4), new_clips(), hardly_ever, until=100 * HOUR).gave_up is None


# --- a line that resets connections ---


@pytest.mark.parametrize("workers", [1, 16])
@pytest.mark.parametrize("share", [0.1, 0.3])
def test_where_many_connections_are_reset_every_clip_comes_and_hardly_anybody_waits(share: float, workers: int) -> None:
    chance = random.Random(workers)

    def answer(wanted: Clip, now: float) -> Outcome:
        return refused(wanted, Category.NETWORK) if chance.random() < share else done(wanted)

    run = simulate(Throttle(workers), map(clip, range(600)), answer)
    assert {one.status for _, one in run.outcomes} == {"done"}
    assert len(run.outcomes) == 600
    assert len(run.sends) < 600 * 1.1 / (1 - share)
    assert len(run.pauses) <= 2 + 600 * 1.5 * share**BROKEN_CONNECTION_LIMIT


@pytest.mark.parametrize("answered", [False, True], ids=["call", "media"])
def test_everybody_waits_once_five_connections_in_a_row_have_failed(answered: bool) -> None:
    throttle = Throttle(16)
    for number in range(2 * BROKEN_CONNECTION_LIMIT - 1):
        if number == BROKEN_CONNECTION_LIMIT - 1:
            throttle.answered(sent=number, now=number + 0.2)
            settled = throttle.settle(done(clip(number)), sent=number, now=number + 0.5, answered=True)
        else:
            broken = refused(clip(number), Category.NETWORK)
            settled = throttle.settle(broken, sent=number, now=number + 0.5, answered=answered)
            assert settled.requeue
        assert settled.pause is None
    assert throttle.settle(refused(clip(99), Category.NETWORK), sent=20, now=21, answered=answered).pause


def test_an_answered_player_call_says_nothing_of_the_media_host() -> None:
    throttle = Throttle(16)
    for number in range(BROKEN_CONNECTION_LIMIT):
        throttle.answered(sent=number, now=number + 0.2)
        broken = refused(clip(number), Category.NETWORK)
        settled = throttle.settle(broken, sent=number, now=number + 0.5, answered=True)
    assert settled.pause


def test_a_line_that_answers_nothing_is_found_to_be_down_by_one_connection() -> None:
    settled = Throttle(16).settle(refused(clip(1), Category.NETWORK), sent=0.0, now=20.5)
    assert settled.pause == Pause(Category.NETWORK, "", 2.0)


def test_a_control_call_whose_connection_is_reset_is_made_again_and_nobody_waits() -> None:
    throttle = Throttle(4)
    throttle.settle(done(clip(0)), sent=0.0, now=1.0)
    control = None
    for number in range(1, 60):
        failure = failed(clip(number), Category.ENGINE_ERROR, "Sorry")
        control = throttle.settle(failure, sent=1.0 + number, now=1.5 + number).control
        if control:
            break
    assert control
    throttle.sent(100.0)
    broken = ControlResult(control, "postponed", Category.NETWORK, "reset")
    settled = throttle.settle(broken, sent=100.0, now=100.1)
    assert settled == Decision(requeue=True)
    assert throttle.wait(100.1, 0, 0) == 0.0


# --- a clip that alone is refused ---


@pytest.mark.parametrize(
    ("category", "tries", "pauses"), [(Category.THROTTLED, 3, 2), (Category.NETWORK, ITEM_BROKEN_LIMIT, 0)]
)
@pytest.mark.parametrize("workers", [1, 4])
def test_a_clip_that_alone_is_refused_fails_after_a_few_tries_and_holds_nobody_up_for_it(
    category: Category, tries: int, pauses: int, workers: int
) -> None:
    sick = clip(20)

    def answer(wanted: Clip, now: float) -> Outcome:
        return refused(wanted, category, "Sign in.") if wanted == sick else done(wanted)

    run = simulate(Throttle(workers), map(clip, range(60)), answer)
    verdicts = {outcome.clip: outcome for _, outcome in run.outcomes}
    assert len(run.outcomes) == len(verdicts) == 60
    assert verdicts.pop(sick) == failed(sick, category, "Sign in.")
    assert {outcome.status for outcome in verdicts.values()} == {"done"}
    assert sum(wanted == sick for _, wanted in run.sends) == tries
    assert len(run.pauses) == pauses


def test_while_everybody_is_refused_no_clip_fails_however_often_it_asks() -> None:
    run = simulate(
        Throttle(4), map(clip, range(3)), lambda wanted, now: done(wanted) if now > 10 * HOUR else refused(wanted)
    )
    assert len(run.sends) > ITEM_REFUSAL_LIMIT
    assert [outcome.status for _, outcome in run.outcomes] == ["done"] * 3


def test_where_youtube_lets_through_a_call_now_and_then_the_unlucky_clips_do_not_fail() -> None:
    last = [-HOUR]

    def one_call_in_ten_seconds(wanted: Clip, now: float) -> Outcome:
        if now < last[0] + 10:
            return refused(wanted)
        last[0] = now
        return done(wanted)

    throttle = Throttle(4, pace=CallPace(limited=False))
    run = simulate(throttle, new_clips(), one_call_in_ten_seconds, until=8 * HOUR)
    assert len(run.pauses) > 100
    assert {outcome.status for _, outcome in run.outcomes} == {"done"}


def test_a_clip_that_is_refused_for_itself_is_found_though_each_call_comes_closer_upon_the_last_one() -> None:
    """As where answers come faster and faster: then the pace may explain each of its refusals."""
    bad = clip(2).youtube_id
    seconds = (0.5 * 0.99**number for number in itertools.count())
    run = simulate(
        Throttle(2, pace=CallPace(limited=False)),
        itertools.islice(new_clips(), 60),
        lambda wanted, now: refused(wanted) if wanted.youtube_id == bad else done(wanted),
        ask_s=lambda: next(seconds),
        work_s=lambda: 0.3,
    )
    sends = [number for number, (_, clip) in enumerate(run.sends) if clip.youtube_id == bad]
    assert [outcome.clip.youtube_id for _, outcome in run.outcomes if outcome.status == "failed"] == [bad]
    assert len(sends) <= 16, len(sends)


def test_the_last_clip_that_was_refused_between_others_is_not_waited_for_again_and_again() -> None:
    bad, seconds = clip(2).youtube_id, (0.5 * 0.99**number for number in itertools.count())
    run = simulate(
        Throttle(2, pace=CallPace(limited=False)),
        itertools.islice(new_clips(), 8),
        lambda wanted, now: refused(wanted) if wanted.youtube_id == bad else done(wanted),
        ask_s=lambda: next(seconds),
        work_s=lambda: 0.3,
    )
    assert [outcome.status for _, outcome in run.outcomes].count("done") == 7
    assert max(run.pause_lengths) <= 60.0
    assert run.gave_up is None


def test_refused_clips_leave_nothing_behind_once_they_are_settled() -> None:
    def answer(wanted: Clip, now: float) -> Outcome:
        return refused(wanted) if now % 97 < 30 or int(wanted.youtube_id) % 50 == 7 else done(wanted)

    throttle = Throttle(4)
    run = simulate(throttle, map(clip, range(500)), answer)
    assert {outcome.status for _, outcome in run.outcomes} == {"done", "failed"}
    assert not throttle._refused_items


# --- the rate ---


def test_per_hour_spaces_the_clips_evenly_and_the_first_goes_at_once() -> None:
    run = simulate(Throttle(16, per_hour=600), map(clip, range(50)), lambda wanted, now: done(wanted))
    times = [at for at, _ in run.sends]
    assert times[0] == 0.0
    assert all(later - earlier >= 6.0 - 1e-9 for earlier, later in itertools.pairwise(times))
    assert sum(at < HOUR / 60 for at in times) == 10


def test_per_hour_lets_no_burst_follow_a_lull() -> None:
    throttle = Throttle(4, per_hour=3600)
    throttle.sent(0.0)
    throttle.settle(done(clip(1)), sent=0.0, now=500.0)
    assert throttle.wait(500.0, in_flight=0, in_player_call=0) == 0.0
    throttle.sent(500.0)
    assert throttle.wait(500.0, in_flight=0, in_player_call=0) == 1.0


# --- a rate limit: a number of calls in a window, then a ban that further calls extend ---

NATURAL = 16 / 4.25
"""Clips a second that 16 workers do when nobody stops them, a clip taking 0.25 + 4 s."""
Counting = Literal["sliding", "sliding, anew after a ban", "by the clock", "from ban to ban"]


@dataclass
class FakeLimit:
    """`calls` are answered within `window_s`; one more begins a ban of `ban_s` seconds since the last call in it."""

    calls: int
    window_s: float
    ban_s: float
    counting: Counting = "sliding"
    banned_until: float = -1.0
    calls_in_ban: list[int] = field(default_factory=list)
    """Calls during each ban; not the one that began it."""
    counted: deque[float] = field(default_factory=deque)

    def __call__(self, wanted: Clip, now: float) -> Outcome:
        if now < self.banned_until:
            self.calls_in_ban[-1] += 1
        elif self.lets_through(now):
            self.counted.append(now)
            return done(wanted)
        else:
            self.calls_in_ban.append(0)
            if self.counting in ("sliding, anew after a ban", "from ban to ban"):
                self.counted.clear()
        self.banned_until = now + self.ban_s
        return refused(wanted)

    def lets_through(self, now: float) -> bool:
        began = now - self.window_s
        if self.counting == "by the clock":
            began = now // self.window_s * self.window_s
        while self.counted and self.counted[0] <= began and self.counting != "from ban to ban":
            self.counted.popleft()
        return len(self.counted) < self.calls

    @property
    def best(self) -> float:
        """The most clips a second that anyone can get, who knows all this."""
        in_bursts = self.calls / (self.calls / NATURAL + self.ban_s)
        if self.counting == "from ban to ban":
            return in_bursts
        spread = min(NATURAL, self.calls / self.window_s)
        return max(in_bursts, spread) if self.counting == "sliding, anew after a ban" else spread


DAY = 24 * HOUR
LIMITS = [
    (FakeLimit(300, HOUR, HOUR), 3 * DAY),
    (FakeLimit(20, 10.0, 5.0), 2 * HOUR),
    (FakeLimit(20, 10.0, 5.0, "from ban to ban"), 2 * HOUR),
    *(
        pytest.param(throttle, seconds, marks=pytest.mark.soak)
        for throttle, seconds in [
            (FakeLimit(300, HOUR, HOUR), 7 * DAY),
            (FakeLimit(300, HOUR, HOUR, "from ban to ban"), 7 * DAY),
            (FakeLimit(300, HOUR, 5.0), 3 * DAY),
            (FakeLimit(300, HOUR, HOUR, "by the clock"), 7 * DAY),
            (FakeLimit(300, HOUR, 60.0), 7 * DAY),
            (FakeLimit(300, HOUR, 900.0), 7 * DAY),
            (FakeLimit(300, HOUR, HOUR, "sliding, anew after a ban"), 7 * DAY),
            (FakeLimit(300, HOUR, 600.0, "sliding, anew after a ban"), 7 * DAY),
            (FakeLimit(300, HOUR, 600.0, "by the clock"), 7 * DAY),
            (FakeLimit(300, 600.0, 1000.0), 7 * DAY),
            (FakeLimit(300, 600.0, HOUR), 21 * DAY),
            (FakeLimit(300, 600.0, HOUR, "sliding, anew after a ban"), 21 * DAY),
            (FakeLimit(60, 60.0, 60.0), 2 * DAY),
            (FakeLimit(60, 60.0, 300.0), 7 * DAY),
            (FakeLimit(1000, HOUR, HOUR, "from ban to ban"), 7 * DAY),
            (FakeLimit(20, 10.0, 30.0), 12 * HOUR),
        ]
    ),
]


def named(limit: object) -> str:
    if not isinstance(limit, FakeLimit):
        return ""
    return f"{limit.calls} in {limit.window_s:g} s, ban {limit.ban_s:g} s, counted {limit.counting}"


@pytest.mark.parametrize(("limit", "seconds"), LIMITS, ids=named)
def test_most_of_what_a_limit_allows_is_reached_and_at_most_three_calls_meet_a_ban(
    limit: FakeLimit, seconds: float
) -> None:
    limit = replace(limit, calls_in_ban=[], counted=deque())
    run = simulate(Throttle(16), new_clips(), limit, until=seconds)
    assert {outcome.status for _, outcome in run.outcomes} == {"done"}
    assert len(run.outcomes) >= 0.9 * limit.best * seconds
    assert max(limit.calls_in_ban) <= 3


TIGHT = [FakeLimit(1, 2.0, 0.0), FakeLimit(1, 2.0, 2.0), FakeLimit(2, 5.0, 5.0), FakeLimit(3, 10.0, 0.0)]


@pytest.mark.parametrize("limit", TIGHT, ids=named)
@pytest.mark.parametrize(("clips", "refusals"), [(10, 1.3), (600, 0.15)])
def test_a_tight_limit_slows_the_run_down_and_costs_no_clip(limit: FakeLimit, clips: int, refusals: float) -> None:
    limit = replace(limit, calls_in_ban=[], counted=deque())
    run = simulate(Throttle(4), map(clip, range(clips)), limit)
    assert [outcome.status for _, outcome in run.outcomes] == ["done"] * clips
    assert len(run.sends) <= (1 + refusals) * clips
    assert run.now <= 1.3 * clips * limit.window_s / limit.calls + 60


@pytest.mark.parametrize("days", first_of([4, 14]))
def test_where_bans_last_for_longer_than_an_hour_few_calls_meet_them_too(days: int) -> None:
    limit = FakeLimit(2000, DAY, 4 * HOUR)
    run = simulate(Throttle(16), new_clips(), limit, until=days * DAY)
    assert len(run.outcomes) >= 0.85 * limit.best * days * DAY
    assert max(limit.calls_in_ban) <= len(BAN_PAUSES_S)
    assert sum(limit.calls_in_ban) <= 3 * len(limit.calls_in_ban)


@pytest.mark.parametrize(
    ("before", "after", "days"),
    [
        (FakeLimit(300, HOUR, HOUR), FakeLimit(100, HOUR, HOUR), 2),
        *(
            pytest.param(*change, 7, marks=pytest.mark.soak)
            for change in (
                (FakeLimit(300, HOUR, HOUR), FakeLimit(100, HOUR, HOUR)),
                (FakeLimit(300, HOUR, HOUR), FakeLimit(900, HOUR, HOUR)),
                (FakeLimit(300, HOUR, HOUR), FakeLimit(300, 0.0, 600.0, "from ban to ban")),
                (FakeLimit(300, 0.0, 600.0, "from ban to ban"), FakeLimit(300, HOUR, HOUR)),
                (FakeLimit(300, 0.0, HOUR, "from ban to ban"), FakeLimit(300, 0.0, 600.0, "from ban to ban")),
            )
        ),
    ],
    ids=named,
)
def test_a_limit_that_changes_is_found_again(before: FakeLimit, after: FakeLimit, days: int) -> None:
    change, end = days * DAY, (days + max(days, 4)) * DAY
    limit = replace(before, calls_in_ban=[], counted=deque())

    def answer(wanted: Clip, now: float) -> Outcome:
        if now >= change:
            limit.calls, limit.window_s, limit.ban_s = after.calls, after.window_s, after.ban_s
            limit.counting = after.counting
        return limit(wanted, now)

    run = simulate(Throttle(16), new_clips(), answer, until=end)
    late = sum(at > end - 3 * DAY for at, _ in run.outcomes)
    assert late >= 0.9 * after.best * 3 * DAY
    assert max(limit.calls_in_ban) <= 3


def test_it_is_all_the_same_what_the_clock_shows_at_the_start() -> None:
    sends = []
    for start in (0.0, 2.0**20):
        run = simulate(Throttle(16), new_clips(), FakeLimit(300, HOUR, HOUR), start=start, until=start + DAY)
        sends.append([at - start for at, _ in run.sends])
    assert sends[0] == pytest.approx(sends[1], abs=0.01)


def test_it_is_told_when_clips_are_spread_and_that_they_are_not_where_it_is_in_vain() -> None:
    over_time = simulate(Throttle(16), new_clips(), FakeLimit(300, HOUR, HOUR), until=DAY)
    (at, spread), *rest = over_time.spacings
    assert not rest
    assert spread.seconds >= 12.0
    assert [later for later, _ in over_time.sends if at < later < at + 0.9 * spread.seconds] == []
    in_number = simulate(Throttle(16), new_clips(), FakeLimit(300, 0.0, HOUR, "from ban to ban"), until=12 * HOUR)
    assert [spread.seconds > 0 for _, spread in in_number.spacings] == [True, False]


@pytest.mark.parametrize(
    "unlucky",
    [lambda wanted, now: now < 300 < now + 200, lambda wanted, now: int(wanted.youtube_id) % 1000 == 500],
    ids=["one ban", "clips refused for themselves"],
)
def test_what_does_not_come_again_and_again_spreads_nothing(unlucky: Callable[[Clip, float], bool]) -> None:
    answer: Answer = lambda wanted, now: refused(wanted) if unlucky(wanted, now) else done(wanted)  # noqa: E731
    run = simulate(Throttle(16), map(clip, range(4000)), answer)
    assert len(run.outcomes) == 4000
    assert run.pauses
    assert not run.spacings


def test_a_run_that_starts_during_a_ban_asks_with_one_clip_at_a_time() -> None:
    limit = FakeLimit(300, HOUR, 100.0, banned_until=50.0, calls_in_ban=[0])
    run = simulate(Throttle(16), map(clip, range(100)), limit)
    assert len(run.outcomes) == 100
    assert limit.calls_in_ban == [len(run.pauses)]


def test_a_clip_whose_player_call_is_answered_but_not_yet_fetched_holds_up_nobody() -> None:
    run = simulate(Throttle(16), map(clip, range(17)), lambda wanted, now: done(wanted), work_s=lambda: 1000.0)
    assert sum(at < 10 for at, _ in run.sends) == 16


# --- whatever happens ---

KINDS: dict[str, Callable[[Clip], Outcome]] = {
    "done": done,
    "gone": lambda wanted: failed(wanted, Category.PRIVATE),
    "broken": lambda wanted: failed(wanted, Category.MEDIA_ERROR),
    "lost": lambda wanted: failed(wanted, Category.LOST_WORKER),
    "misread": lambda wanted: failed(wanted, Category.ENGINE_ERROR),
    "throttled": refused,
    "later": lambda wanted: refused(wanted, retry_after_s=77.0),
    "offline": lambda wanted: refused(wanted, Category.NETWORK),
}
SECONDS = st.floats(0.0, 90.0)


@given(
    workers=st.integers(1, 20),
    per_hour=st.none() | st.floats(60.0, 1e6),
    script=st.lists(st.sampled_from(sorted(KINDS)), max_size=60),
    afterwards=st.sampled_from(sorted(KINDS)),
    times=st.lists(SECONDS, min_size=1, max_size=20),
)
@example(workers=1, per_hour=None, script=["later"] * 7 + ["done"], afterwards="later", times=[0.0])
def test_whatever_youtube_answers_the_rules_hold_and_the_run_ends(
    workers: int, per_hour: float | None, script: list[str], afterwards: str, times: list[float]
) -> None:
    kinds = itertools.chain(script, itertools.repeat(afterwards))
    seconds = itertools.cycle(times)
    not_refused_at = [0.0]

    def answer(wanted: Clip, now: float) -> Outcome:
        outcome = KINDS[next(kinds)](wanted)
        if outcome.status != "postponed":
            not_refused_at.append(now)
        return outcome

    run = simulate(
        Throttle(workers, per_hour),
        map(clip, range(40)),
        answer,
        ask_s=lambda: next(seconds),
        work_s=lambda: next(seconds),
    )
    assert run.most_out <= workers
    assert run.most_in_player_call <= MAX_PLAYER_CALLS
    assert run.gave_up or len(run.outcomes) == len({outcome.clip for _, outcome in run.outcomes}) == 40
    without_answer = [b - a for a, b in itertools.pairwise(sorted([*not_refused_at, run.now]))]
    assert max(without_answer) < 31 * HOUR, "it gives up after the first pause that ends a day after the first refusal"
    assert all(0 < length <= 6 * HOUR for length in run.pause_lengths)
    for at, pause in run.pauses:
        assert not any(at < sent < at + pause.seconds for sent, _ in run.sends)
    if per_hour:
        times_sent = [at for at, _ in run.sends]
        assert all(b - a >= HOUR / per_hour - 1e-6 for a, b in itertools.pairwise(times_sent))


@given(
    workers=st.integers(1, 20),
    script=st.lists(st.sampled_from(["done", "gone", "lost", "throttled", "offline"]), min_size=5, max_size=60),
    times=st.lists(SECONDS, min_size=1, max_size=20),
)
def test_whatever_youtube_answers_one_clip_alone_goes_out_after_a_pause_until_one_is_answered(
    workers: int, script: list[str], times: list[float]
) -> None:
    kinds = itertools.chain(script, itertools.repeat("done"))
    seconds = itertools.cycle(times)

    class Watched(Throttle):
        breaker = "closed"

        def sent(self, now: float) -> None:
            assert self.breaker != "half-open", "a second clip went out before the probe came back"
            if self.breaker == "open":
                self.breaker, self.probed_at = "half-open", now
            super().sent(now)

        def answered(self, *, sent: float, now: float) -> Decision:
            if self.breaker == "half-open" and sent >= self.probed_at:
                self.breaker = "closed"
            return super().answered(sent=sent, now=now)

        def settle(
            self, outcome: Result, *, sent: float, now: float, answered: bool = False, last: bool = False
        ) -> Decision:
            settled = super().settle(outcome, sent=sent, now=now, answered=answered, last=last)
            if self.breaker == "half-open" and sent >= self.probed_at:
                answered = outcome.status == "done" or (outcome.category is not None and outcome.category.gone)
                self.breaker = "closed" if answered else "open"
            if settled.pause:
                self.breaker = "open"
            return settled

    run = simulate(
        Watched(workers),
        map(clip, range(40)),
        lambda wanted, now: KINDS[next(kinds)](wanted),
        ask_s=lambda: next(seconds),
        work_s=lambda: next(seconds),
    )
    assert len(run.outcomes) == 40


@pytest.mark.parametrize(("category", "again"), [(Category.THROTTLED, False), (Category.NETWORK, True)])
def test_the_last_clip_is_not_waited_for_all_day_but_the_network_is(category: Category, again: bool) -> None:
    throttle, now = Throttle(4), 0.0
    for _ in range(3):
        settled = throttle.settle(refused(clip(1), category), sent=now, now=now + 1, last=True)
        now += 1 + (settled.pause.seconds if settled.pause else 0.0)
    assert settled.requeue is again
    assert settled.outcome and settled.outcome.status == ("postponed" if again else "failed")
