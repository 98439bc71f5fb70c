"""Common causes and doubts, driven by a fake clock: what fails many clips alike costs none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kinetics.records import Category, Clip, ClipKey, ControlCall, ControlResult, Outcome, Thumbnail
from kinetics.scheduling.call_pace import CallPace
from kinetics.scheduling.events import GaveUp
from kinetics.scheduling.throttle import CAUSE_GIVE_UP_S, CAUSE_PAUSES_S, Throttle
from kinetics.scheduling.undecided import ALIKE_LIMIT, DOUBT_LIMIT, ThumbnailWitness, cause
from tests.unit.test_throttle import Run, clip, done, failed, simulate

HOUR = 3600.0
GONE, OFFERED_TO_NOBODY, PRIVATE = "gone", "offered to nobody", "private"


def said(wanted: Clip, category: Category, reason: str) -> Outcome:
    return Outcome(wanted, "failed", category, reason)


BLOCKS: dict[str, Callable[[Clip], Outcome]] = {
    "not offered": lambda wanted: said(wanted, Category.NOT_OFFERED, "This video is not available"),
    "bare": lambda wanted: replace(said(wanted, Category.UNAVAILABLE, "Video unavailable"), unconfirmed=True),
    "unknown words": lambda wanted: said(
        wanted, Category.ENGINE_ERROR, f"Video unavailable: {wanted.youtube_id} is 17"
    ),
    "media": lambda wanted: said(wanted, Category.MEDIA_ERROR, "HTTP 403 from the media host"),
    "bot check": lambda wanted: Outcome(wanted, "postponed", Category.THROTTLED, "Sign in to confirm you're not a bot"),
}


@dataclass
class FakeYouTube:
    """A YouTube that answers by what is `odd` about a clip, and refuses everybody in some words while a block lasts."""

    odd: dict[int, str] = field(default_factory=dict)
    block: str = ""
    blocked: Callable[[int, float], bool] = lambda calls, now: False
    thumbnails: Callable[[bool], Thumbnail | None] = lambda lives: "there" if lives else "missing"
    calls: int = 0
    came: set[str] = field(default_factory=set)

    def __call__(self, wanted: Clip, now: float) -> Outcome:
        self.calls += 1
        outcome = self._answer(wanted, now)
        if outcome.status == "done":
            self.came.add(wanted.youtube_id)
        if outcome.category is not Category.UNAVAILABLE:
            return outcome
        lives = self.odd.get(int(wanted.youtube_id), "") not in (GONE, PRIVATE)
        living = [self.thumbnails(True)] * min(3, len(self.came))
        asked = tuple(found for found in living if found)
        return replace(outcome, thumbnail=self.thumbnails(lives), living_thumbnails=asked)

    def _answer(self, wanted: Clip, now: float) -> Outcome:
        if self.block and self.blocked(self.calls, now):
            return BLOCKS[self.block](wanted)
        match self.odd.get(int(wanted.youtube_id)):
            case "gone" | "gone, thumbnail there":
                return BLOCKS["bare"](wanted)
            case "offered to nobody":
                return BLOCKS["not offered"](wanted)
            case "private":
                return said(wanted, Category.PRIVATE, "Private video")
            case "broken":
                return said(wanted, Category.SERVER_ERROR, "HTTP Error 503")
            case _:
                return done(wanted)


def play(
    youtube: FakeYouTube,
    count: int,
    workers: int = 4,
    known: dict[ClipKey, Category] | None = None,
    controls: Sequence[Clip] = (),
) -> Run:
    throttle = Throttle(workers, known=known, controls=controls, pace=CallPace(limited=False))
    return simulate(throttle, map(clip, range(count)), youtube)


def ends(run: Run) -> dict[int, str]:
    """How each clip ended; none may end twice."""
    assert len({outcome.clip for _, outcome in run.outcomes}) == len(run.outcomes)
    return {int(outcome.clip.youtube_id): outcome.category or "done" for _, outcome in run.outcomes}


def blocked_for_15_s_after_12_calls(begins: list[float]) -> Callable[[int, float], bool]:
    def blocked(calls: int, now: float) -> bool:
        if calls > 12 and not begins:
            begins.append(now)
        return bool(begins) and now < begins[0] + 15.0

    return blocked


@pytest.mark.parametrize("words", BLOCKS)
def test_a_block_in_whatever_words_costs_no_clip(words: str) -> None:
    youtube = FakeYouTube(block=words, blocked=blocked_for_15_s_after_12_calls([]))
    run = play(youtube, 60)
    assert ends(run) == dict.fromkeys(range(60), "done")
    assert run.pauses
    assert run.gave_up is None


@pytest.mark.parametrize("words", [words for words in BLOCKS if words != "bot check"])
@pytest.mark.parametrize("before", [0, 12])
def test_a_block_that_does_not_end_ends_the_run_and_fails_no_clip(words: str, before: int) -> None:
    youtube = FakeYouTube(block=words, blocked=lambda calls, now: calls > before)
    run = play(youtube, 1000)
    assert isinstance(run.gave_up, GaveUp)
    assert run.gave_up.alike
    assert set(ends(run).values()) <= {"done"}
    tried_before_the_pause = [at for at, _ in run.sends if at <= run.pauses[0][0]]
    assert len(tried_before_the_pause) <= before + ALIKE_LIMIT + 4
    if before:
        assert len(run.sends) == len(tried_before_the_pause), "each pause is followed by a control call"
    if words != "bare":
        assert [pause.seconds for _, pause in run.pauses][: len(CAUSE_PAUSES_S)] == [*CAUSE_PAUSES_S]
        assert run.now <= CAUSE_GIVE_UP_S + 2 * HOUR


def test_other_failures_and_verdicts_between_do_not_hide_a_common_cause() -> None:
    youtube = FakeYouTube(
        {number: [PRIVATE, "broken", ""][number % 3] for number in range(400)},
        block="media",
        blocked=lambda calls, now: calls % 3 == 0,
    )
    assert play(youtube, 400).pauses
    assert youtube.calls


def test_what_youtube_does_not_offer_is_recorded_after_one_control_call_and_pauses_nobody() -> None:
    """20 that come, then 35 that are offered to nobody, then 5 more."""
    youtube = FakeYouTube(dict.fromkeys(range(20, 55), OFFERED_TO_NOBODY))
    run = play(youtube, 60)
    assert not run.pauses
    assert ends(run) == dict.fromkeys(range(60), "done") | dict.fromkeys(range(20, 55), "not_offered")
    assert youtube.calls == 60 + 35 + len(run.controls), "such a row may be a short block: each is asked for once more"
    assert len(run.controls) <= 2


def test_a_re_run_to_which_nothing_comes_takes_clips_on_disk_for_its_control_calls() -> None:
    """As after an upgrade: what earlier versions took for engine errors is not offered, clip after clip."""
    on_disk = [clip(number) for number in (1000, 1001, 1002)]
    run = play(FakeYouTube(dict.fromkeys(range(400), OFFERED_TO_NOBODY)), 400, controls=on_disk)
    assert {*ends(run).values()} == {Category.NOT_OFFERED}
    assert not run.pauses
    assert play(FakeYouTube(dict.fromkeys(range(400), OFFERED_TO_NOBODY)), 400).pauses, "without them it cannot know"


@pytest.mark.parametrize("words", BLOCKS)
def test_a_block_of_a_few_calls_makes_no_living_video_gone_or_not_offered(words: str) -> None:
    for length in range(3, 30):
        youtube = FakeYouTube(block=words, blocked=lambda calls, now, length=length: 12 < calls <= 12 + length)  # type: ignore[misc]
        run = play(youtube, 60)
        settled = [one for _, one in run.outcomes if one.category and one.category.settled]
        assert not settled, length


def test_one_video_that_is_not_offered_among_others_that_come_is_asked_for_once() -> None:
    youtube = FakeYouTube(dict.fromkeys(range(5, 100, 10), OFFERED_TO_NOBODY))
    run = play(youtube, 100)
    assert (youtube.calls, run.pauses) == (100, [])


def test_refusals_that_clips_are_known_for_count_for_nothing() -> None:
    """A re-run with nothing else left to try asks each once, and never waits."""
    known = {clip(number).key: Category.NOT_OFFERED for number in range(40)}
    known |= {clip(number).key: Category.UNAVAILABLE for number in range(40, 80)}
    youtube = FakeYouTube(dict.fromkeys(range(40), OFFERED_TO_NOBODY) | dict.fromkeys(range(40, 80), GONE))
    run = play(youtube, 80, known=known)
    assert (len(run.sends), run.pauses, run.controls) == (80, [], [])
    assert {*ends(run).values()} == {"not_offered", "unavailable"}


def test_dead_videos_in_a_row_whose_thumbnails_confirm_it_pause_nobody() -> None:
    youtube = FakeYouTube(dict.fromkeys(range(10, 410), GONE))
    run = play(youtube, 420, workers=16)
    assert not run.pauses
    assert ends(run) == dict.fromkeys(range(420), "done") | dict.fromkeys(range(10, 410), "unavailable")
    assert sum(one.status == "postponed" for one in run.rows) <= 2, "before the thumbnails of those that came are known"


def test_a_dead_video_whose_thumbnail_is_there_is_asked_for_twice_and_then_stands_and_says_so() -> None:
    youtube = FakeYouTube(dict.fromkeys(range(0, 600, 100), "gone, thumbnail there"))
    run = play(youtube, 600)
    assert not run.pauses
    gone = [outcome for _, outcome in run.outcomes if outcome.category is Category.UNAVAILABLE]
    assert sorted(int(outcome.clip.youtube_id) for outcome in gone) == [*range(0, 600, 100)]
    assert {outcome.reason for outcome in gone} == {"Video unavailable (its thumbnail is still there)"}
    assert youtube.calls == 600 + 6 + len(run.controls)


WITNESSES: dict[str, Callable[[bool], Thumbnail | None]] = {
    "404 to all": lambda lives: "missing",
    "200 to all": lambda lives: "there",
    "no answer": lambda lives: "no answer",
    "not asked": lambda lives: None,
}


@pytest.mark.parametrize("thumbnails", WITNESSES.values(), ids=WITNESSES)
def test_a_thumbnail_host_that_misleads_or_does_not_answer_makes_no_living_video_gone(
    thumbnails: Callable[[bool], Thumbnail | None],
) -> None:
    odd = dict.fromkeys(range(5, 200, 10), GONE)
    youtube = FakeYouTube(odd, "bare", blocked_for_15_s_after_12_calls([]), thumbnails)
    run = play(youtube, 200)
    assert ends(run) == dict.fromkeys(range(200), "done") | dict.fromkeys(odd, "unavailable")
    assert len(run.notices) <= 1


def test_a_doubt_is_postponed_until_a_later_call_is_answered() -> None:
    throttle = Throttle(4)
    first = throttle.settle(BLOCKS["bare"](clip(1)), sent=1.0, now=2.0)
    assert (first.outcome and first.outcome.status, first.decided, first.put_back) == ("postponed", (), ())
    assert throttle.answered(sent=1.5, now=3.0).decided == (), "this one was asked for before"
    (verdict,) = throttle.answered(sent=2.5, now=3.0).decided
    assert (verdict.status, verdict.category) == ("failed", Category.UNAVAILABLE)


def test_a_verdict_in_other_words_decides_a_doubt() -> None:
    throttle = Throttle(4)
    throttle.settle(BLOCKS["bare"](clip(1)), sent=1.0, now=2.0)
    decision = throttle.settle(failed(clip(2), Category.PRIVATE), sent=3.0, now=4.0)
    assert [(one.clip, one.category) for one in decision.decided] == [(clip(1), Category.UNAVAILABLE)]


def test_a_refusal_of_everybody_puts_doubts_back() -> None:
    throttle = Throttle(4)
    throttle.settle(BLOCKS["bare"](clip(1)), sent=1.0, now=2.0)
    assert throttle.settle(BLOCKS["bot check"](clip(2)), sent=3.0, now=4.0).put_back == (clip(1),)
    assert [*throttle.undecided(ended=True)] == []


def test_doubts_are_left_open_by_a_run_that_the_user_ends() -> None:
    throttle = Throttle(4)
    throttle.settle(BLOCKS["bare"](clip(1)), sent=1.0, now=2.0)
    assert [*throttle.undecided(ended=False)] == []


def test_a_missing_thumbnail_confirms_a_doubt_of_before_once_the_host_is_believed() -> None:
    throttle = Throttle(4)
    dead = [replace(BLOCKS["bare"](clip(number)), thumbnail="missing") for number in (1, 2)]
    assert throttle.settle(dead[0], sent=1.0, now=2.0).decided == ()
    proof = replace(dead[1], living_thumbnails=("there", "there", "there"))
    decision = throttle.settle(proof, sent=1.5, now=2.5)
    assert [one.clip for one in decision.decided] == [clip(1)]
    assert decision.outcome == proof


def test_25_dead_videos_at_the_very_beginning_pause_the_run_as_no_video_came_yet() -> None:
    """Their thumbnails are missing, but so they would be at a host that has none."""
    run = simulate(Throttle(4), map(clip, range(60)), FakeYouTube(dict.fromkeys(range(60), GONE)), until=12.0)
    assert ALIKE_LIMIT <= len([at for at, _ in run.sends if at <= run.pauses[0][0]]) <= ALIKE_LIMIT + 1


def test_after_a_common_cause_has_passed_a_single_failure_of_that_kind_pauses_nobody() -> None:
    begins: list[float] = []
    block = blocked_for_15_s_after_12_calls(begins)

    def media_refused(calls: int, now: float) -> bool:
        return block(calls, now) or calls == 100

    run = play(FakeYouTube(block="media", blocked=media_refused), 200)
    assert {number for number, end in ends(run).items() if end != "done"} != set()
    assert [at for at in [*run.controls, *(at for at, _ in run.pauses)] if at > begins[0] + 60.0] == []


def test_the_pauses_for_a_common_cause_begin_anew_after_a_clip_that_came() -> None:
    def twice(calls: int, now: float) -> bool:
        return 10.0 <= now < 40.0 or 1000.0 <= now < 1030.0

    run = play(FakeYouTube(block="media", blocked=twice), 2000, workers=2)
    firsts = [next(pause.seconds for at, pause in run.pauses if at > after) for after in (0.0, 1000.0)]
    assert firsts == [CAUSE_PAUSES_S[0]] * 2


def test_what_fails_alike_late_goes_back_to_the_queue_and_makes_no_pause_longer() -> None:
    throttle, refuse = Throttle(8), BLOCKS["media"]
    for number in range(ALIKE_LIMIT):
        decision = throttle.settle(refuse(clip(number)), sent=number + 0.1, now=number + 1.0)
    assert decision.pause
    late = throttle.settle(refuse(clip(99)), sent=0.5, now=30.0)
    assert (late.outcome and late.outcome.status, late.requeue, late.pause) == ("postponed", True, None)


def test_while_a_control_call_is_out_what_else_fails_waits_for_it() -> None:
    throttle, refuse = Throttle(8), BLOCKS["media"]
    throttle.settle(done(clip(100)), sent=0.0, now=0.05)
    for number in range(ALIKE_LIMIT):
        decision = throttle.settle(refuse(clip(number)), sent=number + 0.1, now=number + 1.0)
    assert decision.control == ControlCall(clip(100))
    assert throttle.wait(30.0, in_flight=1, in_player_call=0) == 0.0
    throttle.sent(30.0)
    assert throttle.wait(30.0, in_flight=2, in_player_call=0) is None
    late = throttle.settle(refuse(clip(99)), sent=0.5, now=30.5)
    assert (late.outcome, late.pause, late.control) == (None, None, None)
    answer = throttle.settle(ControlResult(decision.control, "done"), sent=30.0, now=31.0, answered=True)
    assert len(answer.decided) == ALIKE_LIMIT
    assert throttle.wait(31.0, in_flight=1, in_player_call=0) == 0.0


def test_a_control_call_for_a_video_that_was_removed_meanwhile_is_followed_by_one_for_another() -> None:
    throttle, refuse = Throttle(8), BLOCKS["media"]
    throttle.settle(done(clip(99)), sent=0.0, now=0.04)
    throttle.settle(done(clip(100)), sent=0.0, now=0.05)
    for number in range(ALIKE_LIMIT):
        decision = throttle.settle(refuse(clip(number)), sent=number + 0.1, now=number + 1.0)
    assert decision.control
    throttle.sent(30.0)
    removed = ControlResult(decision.control, "failed", Category.UNAVAILABLE)
    paused = throttle.settle(removed, sent=30.0, now=31.0)
    assert paused.pause and len(paused.put_back) == ALIKE_LIMIT
    assert paused.control == ControlCall(clip(99)), "another one that came"


def test_dead_videos_do_not_make_one_beside_them_that_is_not_offered_suspicious() -> None:
    odd = dict.fromkeys(range(20, 30), GONE) | {24: OFFERED_TO_NOBODY}
    youtube = FakeYouTube(odd)
    run = play(youtube, 60, workers=1)
    assert ends(run)[24] == Category.NOT_OFFERED
    assert youtube.calls == 60 + len(run.controls)


def test_a_dead_video_does_not_end_a_pause_for_which_every_video_was_called_unavailable() -> None:
    """Its missing thumbnail says that it is dead, but in a block YouTube would have said the same of it."""
    witness = ThumbnailWitness()
    throttle = Throttle(8, witness=witness)
    witness.take(replace(BLOCKS["bare"](clip(0)), living_thumbnails=("there", "there", "there")))  # at another host
    for number in range(1, 1 + DOUBT_LIMIT):
        doubt = replace(BLOCKS["bare"](clip(number)), thumbnail="there")
        decision = throttle.settle(doubt, sent=number + 0.1, now=number + 1.0)
    assert decision.pause
    throttle.sent(100.0)
    dead = throttle.settle(replace(BLOCKS["bare"](clip(9)), thumbnail="missing"), sent=100.0, now=101.0)
    assert dead.outcome and dead.outcome.status == "failed"
    throttle.sent(102.0)
    assert throttle.wait(102.0, in_flight=1, in_player_call=0) is None, "one alone, as before"


def test_failures_of_another_kind_that_come_late_make_no_pause_longer() -> None:
    throttle = Throttle(32)
    throttle.settle(BLOCKS["bot check"](clip(0)), sent=0.0, now=10.0)
    late = [throttle.settle(BLOCKS["media"](clip(n)), sent=5.0, now=11.0 + n) for n in range(1, 2 + ALIKE_LIMIT)]
    assert [decision.pause for decision in late if decision.pause] == []


def test_a_control_call_for_a_video_that_is_gone_is_followed_at_once_by_one_for_another() -> None:
    """35 that are offered to nobody come first of all; of the clips to ask for instead, two are private."""
    odd = dict.fromkeys(range(35), OFFERED_TO_NOBODY) | dict.fromkeys((58, 59), PRIVATE)
    run = play(FakeYouTube(odd), 60, controls=[clip(50), clip(58), clip(59)])
    assert not run.pauses
    assert {number for number, end in ends(run).items() if end == Category.NOT_OFFERED} == {*range(35)}


@pytest.mark.parametrize("fault", ["private", "broken"])
def test_a_control_call_for_a_video_that_fails_for_itself_makes_no_pause_longer(fault: str) -> None:
    """Nothing has come yet, so that one of any clips is asked for; the first two of these fail in another way."""
    odd = dict.fromkeys((58, 59), fault)
    youtube = FakeYouTube(odd, "media", lambda calls, now: calls <= ALIKE_LIMIT + 1)
    run = play(youtube, 60, controls=[clip(50), clip(58), clip(59)])
    assert [pause.seconds for _, pause in run.pauses] == [CAUSE_PAUSES_S[0]]
    assert {number for number, end in ends(run).items() if end == "done"} == {*range(58)}


def test_what_is_undecided_at_the_end_may_work_later() -> None:
    run = play(FakeYouTube({0: GONE, 1: GONE}), 2)
    assert ends(run) == {0: Category.THROTTLED, 1: Category.THROTTLED}
    assert {outcome.reason.partition(" (")[0] for _, outcome in run.outcomes} == {"Video unavailable"}


def test_a_control_call_for_a_clip_that_never_came_decides_nothing_at_the_end() -> None:
    run = play(FakeYouTube({0: GONE}), 1, controls=[clip(0)])
    assert (ends(run), run.pauses, run.controls) == ({0: Category.THROTTLED}, [], [])


def test_the_last_clip_of_a_run_is_decided_by_a_control_call() -> None:
    run = play(FakeYouTube({3: GONE}, thumbnails=lambda lives: None), 4)
    assert (ends(run)[3], len(run.controls)) == (Category.UNAVAILABLE, 1)


def test_a_failure_is_recorded_once_a_clip_that_went_out_later_has_come() -> None:
    throttle = Throttle(4)
    held = throttle.settle(failed(clip(1), Category.TIMEOUT), sent=1.0, now=2.0)
    assert (held.outcome, held.decided) == (None, ())
    assert throttle.settle(done(clip(2)), sent=1.5, now=3.0).decided == ()
    assert [one.clip for one in throttle.settle(done(clip(3)), sent=2.5, now=4.0).decided] == [clip(1)]


def test_at_the_end_failures_are_recorded_as_what_they_are() -> None:
    run = play(FakeYouTube({0: "broken", 1: "broken"}), 2)
    assert {*ends(run).values()} == {Category.SERVER_ERROR}


def test_reasons_are_alike_without_their_numbers_and_the_id_of_the_video() -> None:
    pairs = ((said(clip(n), Category.MEDIA_ERROR, f"broke at byte {n}00 of {clip(n).youtube_id}")) for n in (1, 22))
    assert len({*map(cause, pairs)}) == 1
    assert cause(said(clip(1), Category.MEDIA_ERROR, "x")) != cause(said(clip(1), Category.ENGINE_ERROR, "x"))


def test_the_witness_is_believed_after_three_videos_that_came_and_dismissed_with_one_line() -> None:
    witness = ThumbnailWitness()
    dead = replace(BLOCKS["bare"](clip(1)), thumbnail="missing")
    assert witness.take(replace(dead, living_thumbnails=("there", "there"))) is None
    assert not witness.confirms(dead)
    assert witness.take(replace(dead, living_thumbnails=("there",))) is None
    assert witness.confirms(dead)
    assert witness.take(done(clip(1))), "its thumbnail was missing"
    assert not witness.confirms(dead)
    assert witness.take(replace(dead, thumbnail="no answer")) is None, "said once"


def intervals(times: Iterable[tuple[float, float]]) -> Callable[[int, float], bool]:
    return lambda calls, now: any(begin <= now < begin + length for begin, length in times)


@example("bare", [(0.0, 5.0), (99.0, 5.0)], dict.fromkeys([0, 1, 23], GONE), 1)
@given(
    st.sampled_from(sorted(BLOCKS)),
    st.lists(st.tuples(st.floats(0, 300), st.floats(5, 400)), max_size=3),
    st.dictionaries(st.integers(0, 119), st.sampled_from([GONE, OFFERED_TO_NOBODY, PRIVATE, "gone, thumbnail there"])),
    st.sampled_from([1, 4, 16]),
)
def test_at_no_moment_is_a_living_video_called_gone_and_all_of_them_come(
    words: str, blocks: list[tuple[float, float]], odd: dict[int, str], workers: int
) -> None:
    """A block that begins and ends at any moment, among videos of all kinds; with thumbnails as they are."""
    run = play(FakeYouTube(odd, words, intervals(blocks)), 120, workers)
    gone = {one.clip.youtube_id for one in run.rows if one.status == "failed" and one.category and one.category.gone}
    assert {int(one) for one in gone} <= {number for number, what in odd.items() if what != OFFERED_TO_NOBODY}
    if not run.gave_up:
        came = {number for number, end in ends(run).items() if end == "done"}
        may_work = {number for number, end in ends(run).items() if end != "done" and Category(end) in MAY_WORK}
        assert came | may_work >= {*range(120)} - odd.keys()


MAY_WORK = {Category.THROTTLED, Category.ENGINE_ERROR, Category.MEDIA_ERROR, Category.NOT_OFFERED}


def test_five_doubts_are_enough_to_pause() -> None:
    youtube = FakeYouTube(block="bare", blocked=lambda calls, now: True)
    run = simulate(Throttle(4), map(clip, range(100)), youtube, until=10.0)
    assert len([at for at, _ in run.sends if at <= run.pauses[0][0]]) <= DOUBT_LIMIT + 1


def section(number: int, start: float) -> Clip:
    return replace(clip(number), time_start=start, time_end=start + 10)


@pytest.mark.parametrize(("words", "limit"), [("media", ALIKE_LIMIT), ("bare", DOUBT_LIMIT)])
def test_several_sections_of_a_video_tell_no_more_than_one(words: str, limit: int) -> None:
    throttle, refuse, at = Throttle(4), BLOCKS[words], 0.0
    videos = 0
    while True:
        for start in (0.0, 20.0, 40.0):
            at += 1.0
            decision = throttle.settle(refuse(section(videos, start)), sent=at - 0.5, now=at)
            if decision.pause:
                break
        else:
            videos += 1
            continue
        break
    assert videos + 1 == limit
    assert len(decision.put_back) == 3 * videos + 1


def test_one_video_with_many_sections_that_is_not_offered_is_no_group() -> None:
    throttle, refuse = Throttle(1), BLOCKS["not offered"]
    for start in range(5):
        throttle.settle(refuse(section(7, 20.0 * start)), sent=0.5, now=1.0 + start, answered=start > 0)
    came = throttle.settle(done(clip(8)), sent=10.0, now=11.0)
    assert [one.status for one in came.decided] == ["failed"] * 5
    assert came.put_back == ()


def test_a_doubt_s_calls_stand_in_one_row() -> None:
    throttle = Throttle(1)
    doubted = throttle.settle(replace(BLOCKS["bare"](clip(1)), calls=1), sent=0.0, now=1.0)
    decided = throttle.settle(done(clip(2)), sent=2.0, now=3.0).decided
    assert isinstance(doubted.outcome, Outcome)
    assert (doubted.outcome.calls, [(one.category, one.calls) for one in decided]) == (1, [(Category.UNAVAILABLE, 0)])
