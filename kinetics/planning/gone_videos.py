"""Looks for the videos that YouTube called gone by their thumbnails, before it is asked for them again.

One whose thumbnail is still missing keeps its verdict, and costs no player call. One whose thumbnail is there again may
be back, so the player is asked for it before all others; for those whose thumbnails never vanish it is asked last.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from kinetics.planning.thumbnail_lookup import ThumbnailLookup
from kinetics.records import Category, Clip, ClipKey, Outcome, Thumbnail, Video
from kinetics.scheduling.dispatch import Event
from kinetics.scheduling.undecided import PROOF_OF_WITNESS

UNDECIDED = 100
"""Videos whose thumbnails are asked for or wait for the host to be believed, at once. More of them take memory; fewer
let the requests wait for the next event of the run."""
GIVE_UP_BACK = 5
"""Videos whose thumbnails were there again, all of them still gone, after which such videos are asked for last. Each
costs a player call before living videos get one."""
GIVE_UP_FAILURES = 4
"""Requests in a row without an answer, RETRY_S apart, after which the player is asked instead. With fewer, a short
outage of a host that was believed would cost a player call for every gone video."""

Note = Callable[[Clip, Thumbnail], object]
"""Writes down what is seen of the thumbnail of a clip's video."""


def sections(item: Clip | Video) -> Sequence[Clip]:
    """Return the clips of an item."""
    return item.clips if isinstance(item, Video) else (item,)


@dataclass(frozen=True, slots=True)
class StillGone:
    """A clip that keeps its verdict, since the thumbnail of its video is still missing."""

    outcome: Outcome
    """Its last one, without the words."""


RunEvent = Event | StillGone
"""What a run on a source yields."""


class HostRecord:
    """Whether the thumbnail host can be believed, by what it says of videos that are known to live."""

    def __init__(self) -> None:
        self._said = dict[Thumbnail, int]()

    def take(self, thumbnail: Thumbnail) -> None:
        """Take in what it says of a living video."""
        self._said[thumbnail] = self._said.get(thumbnail, 0) + 1

    @property
    def misleads(self) -> bool:
        """Whether more than 1 in 3 of them lack a thumbnail."""
        return self._said.get("missing", 0) * 3 > max(PROOF_OF_WITNESS, sum(self._said.values()))

    @property
    def believed(self) -> bool:
        """Whether a missing thumbnail confirms that a video is gone."""
        return self._said.get("there", 0) >= PROOF_OF_WITNESS and not self.misleads


class GoneVideos:
    """The gone videos of a run, by what is to be done with each.

    `looked_for` are asked for their thumbnails, `last` are asked for at YouTube after all others. `known` has the
    categories of their clips. `stays_there`: videos of which it says nothing new that their thumbnails are there.
    `living` are the ids of some videos that live: their thumbnails show whether the host can be believed.
    """

    def __init__(
        self,
        looked_for: Iterable[Clip | Video],
        last: Iterable[Clip | Video],
        lookup: ThumbnailLookup,
        note: Note,
        *,
        known: Mapping[ClipKey, Category],
        stays_there: Container[str] = (),
        living: Iterable[str] = (),
    ) -> None:
        self._looked_for: Iterator[Clip | Video] = iter(looked_for)
        self._last: Iterator[Clip | Video] = iter(last)
        self._lookup, self._note = lookup, note
        self._known, self._stays_there = known, stays_there
        self._open = dict[str, list[Clip | Video]]()
        self._seen = dict[str, Thumbnail]()  # answers about those that wait for the host to be believed
        self._back = deque[Clip | Video]()
        self._there = deque[Clip | Video]()
        self._confirmed = deque[StillGone]()
        self._unwritten = dict[Clip, Thumbnail]()
        self._asked = dict[str, bool]()  # videos that are out and have a thumbnail: whether before all others
        self._back_gone, self._any_came_back = 0, False
        self._host = HostRecord()
        self._living = set[str]()
        if first := next(self._looked_for, None):
            sample = [*living]
            self._living |= {*sample}
            self._open[first.youtube_id] = [first]
            self._lookup.request([*sample, first.youtube_id], soon=True)
        self._pull()

    @property
    def looking(self) -> bool:
        """Whether the thumbnail of a gone video is still asked for, or has no meaning yet."""
        return bool(self._open)

    def take_answer(self, youtube_id: str, thumbnail: Thumbnail) -> None:
        """Take in what the host says of a video."""
        if youtube_id in self._living:
            self._living.remove(youtube_id)
            self._host.take(thumbnail)
        if youtube_id in self._open:
            self._seen[youtube_id] = thumbnail

    def take_verdict(self, outcome: Outcome, thumbnail: Thumbnail | None, *, came: bool) -> None:
        """Take in that YouTube was asked for a clip's video, which came or is gone, and its thumbnail, if it is known.

        That the host agreed with the verdict is written down, for the next run.
        """
        asked_as_back = self._asked.pop(outcome.clip.youtube_id, None)
        if asked_as_back is not None:
            thumbnail = "there"
            self._any_came_back |= came and asked_as_back
            self._back_gone += asked_as_back and not came
        if thumbnail and came:
            self._host.take(thumbnail)
        elif thumbnail:
            self._unwritten[outcome.clip] = thumbnail

    def advance(self) -> None:
        """Decide what the answers decide."""
        if self._host.misleads:
            self.give_up()
        if self._living or not self._host.believed:
            return  # the whole sample counts, in whatever order the answers come
        for clip, thumbnail in self._unwritten.items():
            self._note(clip, thumbnail)
        self._unwritten.clear()
        for youtube_id, thumbnail in self._seen.items():
            for item in self._open.pop(youtube_id):
                if thumbnail == "missing":
                    self._confirm(item)
                elif youtube_id in self._stays_there:
                    self._there.append(item)
                else:
                    self._back.append(item)
        self._seen.clear()
        self._pull()

    def _confirm(self, item: Clip | Video) -> None:
        clips = sections(item)
        self._note(clips[0], "missing")
        self._confirmed.extend(StillGone(clip.failed(self._known[clip.key], "")) for clip in clips)

    def _pull(self) -> None:
        """Ask for the thumbnails of some more videos."""
        more = [*islice(self._looked_for, max(0, UNDECIDED - len(self._open)))]
        new = dict.fromkeys(item.youtube_id for item in more if item.youtube_id not in self._open)
        for item in more:
            self._open.setdefault(item.youtube_id, []).append(item)
        self._lookup.request(new)

    def give_up(self) -> None:
        """Leave those that are still looked for to the player: the host does not answer, or cannot be believed."""
        self._last = chain(self._last, *self._open.values(), self._looked_for)
        self._looked_for = iter(())
        self._open, self._seen, self._unwritten = {}, {}, {}

    def give_up_in_vain(self) -> None:
        """Give up if nothing is to come that would make the host believed, or if it does not answer any more."""
        failures, believed = self._lookup.failures, self._host.believed and not self._living
        if failures >= GIVE_UP_FAILURES or not (believed or (self._living and not failures)):
            self.give_up()

    def confirmed(self) -> Iterator[StillGone]:
        """Yield the clips that were found to be still gone."""
        while self._confirmed:
            yield self._confirmed.popleft()

    @property
    def any_back(self) -> bool:
        """Whether the player is to be asked for a video at once; never after those before it were all still gone."""
        return bool(self._back) and (self._any_came_back or self._back_gone < GIVE_UP_BACK)

    def take_back(self) -> Clip | Video | None:
        """Return a video to ask the player for at once."""
        return self._take(self._back, as_back=True) if self.any_back else None

    def take_last(self) -> Clip | Video | None:
        """Return the next video to ask the player for after all others."""
        for waiting in (self._back, self._there):
            if waiting:
                return self._take(waiting, as_back=False)
        return next(self._last, None)

    def _take(self, waiting: deque[Clip | Video], *, as_back: bool) -> Clip | Video:
        item = waiting.popleft()
        self._asked[item.youtube_id] = as_back
        return item
