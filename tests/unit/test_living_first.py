"""The order by thumbnails: living videos first, a bounded wait, and no trust in a host that misleads."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from kinetics.planning.gone_videos import (
    GIVE_UP_BACK,
    GIVE_UP_FAILURES,
    UNDECIDED,
    GoneVideos,
    RunEvent,
    StillGone,
)
from kinetics.planning.living_first import LOOKAHEAD, LivingFirst
from kinetics.planning.thumbnail_lookup import MOST_A_SECOND, RETRY_S, RequestLimit, ThumbnailLookup
from kinetics.records import Category, Clip, Outcome, Thumbnail, Video
from kinetics.scheduling.dispatch import Event
from kinetics.scheduling.events import GaveUp, Notice

Item = Clip | Video
CALL_S = 0.5
"""How long a clip takes in these runs."""


def clip(name: str, start: float = 0.0) -> Clip:
    return Clip(f"{name:->11}", start, start + 10, "tai chi", "train")


def dead(name: str | int) -> Clip:
    return clip(f"dead-{name}")


def living(name: str | int) -> Clip:
    return clip(f"live-{name}")


def lives(one: Item) -> bool:
    return "live" in one.youtube_id


def right(video_id: str) -> Thumbnail:
    return "there" if "live" in video_id or "stays" in video_id else "missing"


def nothing(video_id: str) -> Thumbnail:
    return "missing"


def everything(video_id: str) -> Thumbnail:
    return "there"


def swapped(video_id: str) -> Thumbnail:
    return "missing" if "live" in video_id else "there"


def silent(video_id: str) -> Thumbnail:
    return "no answer"


class FakeLookup(ThumbnailLookup):
    """A host with an answer for each video, MOST_A_SECOND of them a second, by a clock of its own."""

    def __init__(self, says: Callable[[str], Thumbnail], each_s: float = 1 / MOST_A_SECOND) -> None:
        super().__init__(says)
        self.says, self.each_s = says, each_s
        self.now = 0.0
        self._free_at = 0.0
        self.asked: list[str] = []
        self.waits: list[float] = []

    def start(self) -> None:
        """Start no thread: what it would have done by now is done when somebody looks."""

    def close(self) -> None:
        self._closed = True

    def answers(self) -> list[tuple[str, Thumbnail]]:
        self._catch_up()
        return super().answers()

    def wait(self, seconds: float) -> None:
        self._catch_up()
        if not self._answers:
            waited = min(seconds, max(0.0, self._free_at - self.now)) if any(self._queues) else seconds
            self.waits.append(waited)
            self.now += waited + 1e-6
            self._catch_up()

    def _catch_up(self) -> None:
        self._free_at = max(self._free_at, self.now) if not any(self._queues) else self._free_at
        while any(self._queues) and self._free_at <= self.now and not self._closed:
            queue = self._queues[not self._queues[0] or (len(self.asked) % 2 == 1 and bool(self._queues[1]))]
            video_id = queue.popleft()
            self.asked.append(video_id)
            self._free_at += self.each_s
            found = self.says(video_id)
            if found == "no answer":
                self.failures += 1
                self._free_at += RETRY_S
                queue.appendleft(video_id)
            else:
                self.failures = 0
                self._answers.append((video_id, found))


@dataclass
class World:
    """A run over some items, what is known of gone ones, and what came of it."""

    items: Sequence[Item]
    says: Callable[[str], Thumbnail] = right
    looked_for: Sequence[Item] = ()
    last: Sequence[Item] = ()
    stays_there: frozenset[str] = frozenset()
    on_disk: Sequence[str] = ()
    each_s: float = 1 / MOST_A_SECOND
    call_s: float = CALL_S
    alive: Callable[[Item], bool] = lives
    why: Category = Category.PRIVATE
    most: int = 1_000_000
    tried: list[Item] = field(default_factory=list)
    notes: list[tuple[str, Thumbnail]] = field(default_factory=list)
    rounds: int = 0
    lookup: FakeLookup = field(init=False)

    def events(self) -> list[RunEvent]:
        self.lookup = FakeLookup(self.says, self.each_s)
        known = {one.key: Category.PRIVATE for item in (*self.looked_for, *self.last) for one in _clips(item)}
        gone = GoneVideos(
            self.looked_for,
            self.last,
            self.lookup,
            lambda clip, thumbnail: self.notes.append((clip.youtube_id, thumbnail)),
            known=known,
            stays_there=self.stays_there,
            living=self.on_disk,
        )
        order = LivingFirst(self.items, gone, self.lookup, lambda: self.lookup.now)
        return [*order.watching(self._run)]

    def _run(self, items: Iterator[Item]) -> Generator[Event, None, None]:
        self.rounds += 1
        for item in items:
            self.tried.append(item)
            self.lookup.now += self.call_s
            for one in _clips(item):
                category = None if self.alive(item) else self.why
                yield Outcome(one, "failed" if category else "done", category)
            if len(self.tried) >= self.most:
                yield GaveUp(Category.NETWORK, "no connection", server="YouTube")
                return


def _clips(item: Item) -> Sequence[Clip]:
    return item.clips if isinstance(item, Video) else [item]


def notices(events: list[RunEvent]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


def mixed(count: int) -> list[Clip]:
    """Two of five are dead."""
    return [dead(number) if number % 5 in (0, 3) else living(number) for number in range(count)]


# -- the living first -------------------------------------------------------------------------------------------------


def test_the_living_go_out_first_and_the_others_last_each_in_their_order() -> None:
    world = World(mixed(40))
    assert notices(world.events()) == []
    assert world.tried == [*filter(lives, mixed(40)), *(one for one in mixed(40) if not lives(one))]
    assert world.rounds == 1


def test_a_video_with_several_sections_is_one_item_and_one_request() -> None:
    videos: list[Item] = [Video((dead(0), clip("dead-0", 20.0))), Video((living(1), clip("live-1", 20.0))), living(2)]
    world = World(videos)
    world.events()
    assert world.tried == [videos[1], videos[2], videos[0]]
    assert len(world.lookup.asked) == 3


def test_a_window_ahead_is_asked_for_and_no_more_until_items_are_taken() -> None:
    world = World([living(number) for number in range(5 * LOOKAHEAD)], most=10, call_s=3600.0)
    world.events()
    assert LOOKAHEAD <= len(world.lookup.asked) <= LOOKAHEAD + 11


def test_dead_videos_do_not_fill_the_window() -> None:
    """After a row of dead ones longer than the window there is a living one."""
    items = [living("first"), *(dead(number) for number in range(2 * LOOKAHEAD)), living("after")]
    world = World(items, call_s=60.0)
    world.events()
    assert [*filter(lives, world.tried[:2])] == [living("first"), living("after")]


@pytest.mark.parametrize("call_s", [0.01, 0.5, 10.0])
def test_the_waits_for_a_slow_host_are_bounded(call_s: float) -> None:
    world = World([living(number) for number in range(200)], each_s=3.0, call_s=call_s)
    world.events()
    assert max(world.lookup.waits, default=0.0) <= 1.0
    assert sum(world.lookup.waits) <= 1.0 + 0.02 * world.lookup.now + 0.01
    assert world.tried == [*world.items]


def test_a_host_that_does_not_answer_changes_no_order_and_that_is_said_once() -> None:
    world = World(mixed(200), silent)
    (said,) = notices(world.events())
    assert "does not answer" in said
    assert world.tried == mixed(200)
    assert world.lookup.waits == []


@pytest.mark.parametrize("says", [nothing, swapped])
def test_a_host_that_misleads_is_found_out_after_a_few_clips_and_the_list_is_followed(
    says: Callable[[str], Thumbnail],
) -> None:
    world = World(mixed(1000), says)
    (said,) = notices(world.events())
    assert "the list's order" in said
    out = len([one for one, wanted in zip(world.tried, mixed(1000), strict=True) if one != wanted])
    assert len({*world.tried}) == 1000, "each once"
    first_wrong = next(number for number in range(1000) if world.tried[number:] == [*rest(world.tried[:number])])
    assert first_wrong <= 60, (first_wrong, out)


def rest(tried: list[Item]) -> Iterator[Item]:
    return (one for one in mixed(1000) if one not in {*tried})


def test_a_host_that_shows_everything_changes_nothing() -> None:
    world = World(mixed(300), everything)
    assert notices(world.events()) == []
    assert world.tried == mixed(300)


def test_probes_of_videos_without_thumbnail_are_rare_where_the_host_is_right() -> None:
    items = [dead(number) if number % 3 == 0 else living(number) for number in range(3000)]
    world = World(items)
    world.events()
    wasted = sum(not lives(one) for one in world.tried[:2000])
    assert 1 <= wasted <= 8, "each one in a row half as often as the one before"


def test_what_fails_for_another_reason_says_nothing_about_the_order() -> None:
    world = World([living(number) for number in range(3)], nothing)
    events = world.events()
    assert notices(events) != [], "all came without a thumbnail"
    world = World([living(number) for number in range(30)], nothing, why=Category.TIMEOUT, alive=lambda _: False)
    assert notices(world.events()) == []
    world = World(mixed(30), why=Category.TIMEOUT)
    world.events()
    assert world.notes == []


def test_the_thread_has_nothing_more_to_do_when_the_run_is_closed_early() -> None:
    world = World(mixed(500), most=3)
    world.events()
    assert world.lookup._closed


# -- those that were gone ---------------------------------------------------------------------------------------------

PROOF = ["live-disk-0", "live-disk-1", "live-disk-2"]


def test_what_is_still_missing_keeps_its_verdict_without_a_call_and_what_is_back_is_asked_for_first() -> None:
    gone = [dead(number) for number in range(250)]
    gone[60] = living("back")
    world = World(
        [living(number) for number in range(300)], looked_for=gone, last=[dead("last")], on_disk=PROOF, call_s=1.0
    )
    events = world.events()
    still = [event.outcome for event in events if isinstance(event, StillGone)]
    assert {one.clip for one in still} == {*gone} - {living("back")}
    assert {one.category for one in still} == {Category.PRIVATE}
    assert world.tried.index(living("back")) <= 10
    assert world.tried[-1] == dead("last")
    assert len(world.tried) == 302
    assert {*world.notes} == {(one.clip.youtube_id, "missing") for one in still}


def test_one_that_is_back_among_few_is_the_first_of_all() -> None:
    world = World([living(number) for number in range(9)], looked_for=[dead(0), living("back")], on_disk=PROOF)
    world.events()
    assert world.tried[0] == living("back")


def test_a_run_with_nothing_else_to_do_waits_for_the_thumbnails_and_starts_no_workers() -> None:
    world = World([], looked_for=[dead(number) for number in range(3 * UNDECIDED)], on_disk=PROOF)
    events = world.events()
    assert sum(isinstance(event, StillGone) for event in events) == 3 * UNDECIDED
    assert (world.rounds, world.tried) == (0, [])
    assert None in events, "so that the terminal's clock goes on"


def test_what_turns_up_after_all_others_is_asked_for_in_another_round() -> None:
    gone = [*(dead(number) for number in range(300)), living("back")]
    world = World([living(0)], looked_for=gone, on_disk=PROOF, call_s=0.1)
    world.events()
    assert (world.tried, world.rounds) == ([living(0), living("back")], 2)


def test_a_thumbnail_that_stays_whatever_becomes_of_the_video_is_asked_for_last_and_written_down() -> None:
    stays = clip("stays")
    world = World(
        [living(number) for number in range(30)],
        looked_for=[stays],
        on_disk=PROOF,
        stays_there=frozenset({stays.youtube_id}),
    )
    world.events()
    assert world.tried[-1] == stays
    assert world.notes == [(stays.youtube_id, "there")]


def test_after_some_that_were_not_back_after_all_the_others_are_asked_for_last() -> None:
    gone = [clip(f"stays-{number}") for number in range(50)]
    world = World([living(number) for number in range(300)], looked_for=gone, on_disk=PROOF, call_s=1.0)
    world.events()
    first = [one for one in world.tried[:300] if not lives(one)]
    assert len(first) == GIVE_UP_BACK
    assert len(world.tried) == 350


@pytest.mark.parametrize(
    ("says", "on_disk"),
    [(right, []), (right, PROOF[:2]), (nothing, PROOF), (silent, PROOF)],
    ids=["nothing on disk", "too little on disk", "a host without thumbnails", "a silent host"],
)
def test_a_host_that_is_not_believed_confirms_nothing_and_the_player_is_asked(
    says: Callable[[str], Thumbnail], on_disk: list[str]
) -> None:
    gone = [dead(number) for number in range(2 * UNDECIDED)]
    world = World([], says, looked_for=gone, last=[dead("last")], on_disk=on_disk)
    events = world.events()
    assert not any(isinstance(event, StillGone) for event in events)
    assert {*world.tried} == {*gone, dead("last")}
    assert world.notes == []


def test_videos_that_come_prove_the_host_where_nothing_is_on_disk() -> None:
    world = World([living(number) for number in range(9)], looked_for=[dead(number) for number in range(30)])
    events = world.events()
    assert sum(isinstance(event, StillGone) for event in events) == 30
    assert [*filter(lives, world.tried)] == world.tried


def test_one_living_video_in_three_may_lack_its_thumbnail() -> None:
    on_disk = [*PROOF, "dead-disk-0"]
    assert any(isinstance(event, StillGone) for event in World([], looked_for=[dead(0)], on_disk=on_disk).events())
    on_disk = [*PROOF, "dead-disk-0", "dead-disk-1"]
    assert not any(isinstance(event, StillGone) for event in World([], looked_for=[dead(0)], on_disk=on_disk).events())


def test_the_whole_sample_counts_in_whatever_order_the_answers_come() -> None:
    """Answers about gone videos come between them, and the first ones of the sample speak for the host."""
    on_disk = [*PROOF, "dead-disk-0", "dead-disk-1"]
    world = World([], looked_for=[dead(number) for number in range(30)], on_disk=on_disk)
    assert not any(isinstance(event, StillGone) for event in world.events())


def test_a_short_outage_of_a_host_that_was_believed_costs_no_player_call() -> None:
    fails = iter([False] * 20 + [True] * (GIVE_UP_FAILURES - 1))

    def with_an_outage(video_id: str) -> Thumbnail:
        return "no answer" if next(fails, False) else right(video_id)

    world = World([], with_an_outage, looked_for=[dead(number) for number in range(100)], on_disk=PROOF)
    world.events()
    assert world.tried == []


def test_what_the_host_and_the_player_agree_on_is_written_down_in_the_first_run() -> None:
    world = World([*mixed(20), clip("stays")])
    world.events()
    gone = {one.youtube_id for one in mixed(20) if not lives(one)}
    assert {*world.notes} == {*((one, "missing") for one in gone), (clip("stays").youtube_id, "there")}


def test_a_section_past_the_end_of_its_video_says_that_the_video_lives() -> None:
    world = World([living(number) for number in range(30)], nothing, why=Category.PAST_END, alive=lambda _: False)
    assert notices(world.events()) != []
    assert world.notes == []


# -- the requests -----------------------------------------------------------------------------------------------------


def test_at_most_20_requests_go_out_in_any_second_and_the_first_at_once() -> None:
    limit, now, sent = RequestLimit(), 100.0, list[float]()
    for _ in range(100):
        now += limit.wait(now)
        sent.append(now)
        limit.sent(now)
        now += 0.001
    assert sent[MOST_A_SECOND - 1] - sent[0] < 0.1
    assert all(later - one >= 1.0 - 1e-9 for one, later in zip(sent, sent[MOST_A_SECOND:], strict=False))


def test_both_kinds_of_requests_are_answered_in_turns_by_a_thread_that_ends_with_the_run() -> None:
    asked = list[str]()

    def ask(video_id: str) -> Thumbnail:
        asked.append(video_id)
        return right(video_id)

    lookup = ThumbnailLookup(ask)
    lookup.request(["live-1", "live-2", "live-3"], soon=True)
    lookup.request(["dead-1"])
    lookup.start()
    answers = dict[str, Thumbnail]()
    while len(answers) < 4:
        lookup.wait(5.0)
        answers |= dict(lookup.answers())
    assert asked.index("dead-1") <= 1
    assert answers == {one: right(one) for one in asked}
    assert lookup._thread.daemon
    lookup.close()
    lookup._thread.join(5.0)
    assert not lookup._thread.is_alive()


def test_where_no_thread_can_be_started_the_host_counts_as_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    lookup = ThumbnailLookup(right)

    def refuse() -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(lookup._thread, "start", refuse)
    lookup.start()
    assert not lookup.answering
    lookup.close()
