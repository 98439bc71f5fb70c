"""What exists in the loopback YouTube, and what goes wrong there: plain data, and the counters that scripts need."""

from __future__ import annotations

import math
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from kinetics.records import Category
from tests.youtube.videos import MediaFile, Spoil, Video

if TYPE_CHECKING:
    from tests.youtube.mirror import MirrorFile

Shape = Literal["dash", "progressive", "webm"]
AS_18: Mapping[str, tuple[Shape, ...]] = {"ANDROID": ("progressive",)}
"""What YouTube offers Android of most videos, as `clients` of a Scenario: itag 18, and nothing else without a token."""
Subset = Literal["train", "validate", "test"]
ListFault = Literal["missing", "busy", "silent", "reset", "html", "damaged", "cut"]
MediaFaultKind = Literal[
    "status",
    "redirect",
    "hang_up",
    "html",
    "empty",
    "whole_file",
    "wrong_range",
    "unsaid",
    "cut",
    "cut_unsaid",
    "reset",
    "stall",
    "drip",
]
ResetStage = Literal["connect", "handshake", "request", "reply"]
ThumbnailMode = Literal["as usual", "all 404", "all 200", "swapped", "503", "hang up", "silent"]


class Row(NamedTuple):
    """One line of an annotation file; times in whole seconds."""

    label: str
    youtube_id: str
    time_start: int
    time_end: int


@dataclass(frozen=True)
class CvdfList:
    """CVDF's list of a version: its rows, where they differ from the official archive's, and what goes wrong with it.

    `text` takes the place of all of its files.
    """

    rows: Mapping[Subset, Sequence[Row]] | None = None
    fault: ListFault | None = None
    text: str | None = None


@dataclass(frozen=True)
class Failure:
    """A player reply that says no, in YouTube's own words, and the category that the program should find for it."""

    category: Category
    status: str
    reason: str = ""
    subreason: str = ""
    messages: tuple[str, ...] = ()
    is_live: bool = False

    @property
    def words(self) -> str:
        """The part of the reply that tells why."""
        if self.reason == "Video unavailable":
            return self.subreason or self.reason
        return self.reason or self.messages[0]


@dataclass(frozen=True)
class PlayerFault:
    """A player call that is not answered as the protocol says.

    `times` is how many calls it spoils, None for every one; only calls for a video's formats count.
    """

    kind: Literal[
        "status", "html", "empty", "cut_json", "cut_body", "other_video", "no_streams", "sabr_only", "stall", "failure"
    ]
    status: int = 200
    retry_after: str | None = None
    failure: Failure | None = None
    """What the kind `failure` says: a failure that passes."""
    times: int | None = None


@dataclass(frozen=True)
class MediaFault:
    """Something wrong with requests for a video's media, or for an archive of the mirror.

    `cut`, `reset`, `stall` and `drip` strike at byte `at` of the file, or else after `after` bytes of the reply, and
    only replies that get so far; so does `cut_unsaid`, a cut in a reply that does not say how long it is. The other
    kinds take the place of the reply: `unsaid` is right but for its length, `hang_up` ends the connection instead. The
    first `skip` requests are spared, then `times` are struck (None: all of them). `itag` narrows the fault to one file.
    """

    kind: MediaFaultKind
    status: int = 403
    retry_after: str | None = None
    location: str = ""
    """Where the kind `redirect` leads to; `{path}` is what was asked for. A host that it names answers well."""
    at: int | None = None
    after: int = 0
    times: int | None = None
    skip: int = 0
    itag: int | None = None


@dataclass(frozen=True)
class Variant:
    """One of the files that share an itag: a language, another mix of the sound, or an upscaled picture.

    `xtags` stand in the file's address, as YouTube writes them: `acont=dubbed-auto:lang=de:drc=1`. With a `track_id`
    (`de.3`) the reply has an `audioTrack`, with the `name` if there is one.
    """

    xtags: str = ""
    track_id: str = ""
    name: str = ""
    default: bool = False
    """Whether YouTube plays it unless asked for another one."""
    drc: bool = False
    """Whether the reply says `isDrc`."""
    channels: int = 2
    """What the reply says; the file has two."""
    pitch: int = 0
    """Hz by which its tone is higher than that of the video's own sound, so that a clip tells which sound it has."""
    itags: tuple[int, ...] = (139, 140, 249, 250, 251)


SURROUND_ITAG = 258
"""Sound in 5.1, which a video has only as a variant; its file is that of a 140."""


@dataclass(frozen=True)
class ClientRefusal:
    """What YouTube refuses to one client, such as VISIONOS, whatever the video.

    Its calls are answered by the words of `failure` or by `status`, or, if these are None, as usual; requests for the
    media that it was told of by `media_status`. The first `after` videos of those that anybody asks for are spared.
    """

    client: str
    failure: Failure | None = None
    status: int | None = None
    media_status: int | None = None
    after: int = 0


@dataclass(frozen=True)
class Scenario:
    """One video id: its files and what is said about it; either a `video` or a `failure`.

    `clients` names other shapes for some clients (`AS_18`, say); `renditions` are further sizes of
    the same video. `variants` are offered in their order, each in place of the one file that its itags would have.
    `spoilt` says, by itag, what is done to a file before it is served (spoils.py); the player knows nothing of it.
    `said` is, by itag, what the player says of a format in addition, or against the truth:
    `{134: {"drmFamilies": ["WIDEVINE"]}}`. `about` is what a reply says beside that, by
    its objects: `{"videoDetails": {"author": "Someone"}}`. `thumbnail` says whether the id has one; None: yes, unless
    the category of its failure is gone. `ad_s` is how long an ad before the video is: for that time after each reply
    its media answer 403. The first `expired_replies` replies name addresses whose time is over.
    """

    video: Video | None = None
    shapes: tuple[Shape, ...] = ("dash",)
    clients: Mapping[str, tuple[Shape, ...]] = field(default_factory=dict)
    renditions: tuple[Video, ...] = ()
    variants: tuple[Variant, ...] = ()
    failure: Failure | None = None
    player_faults: tuple[PlayerFault, ...] = ()
    media_faults: tuple[MediaFault, ...] = ()
    spoilt: Mapping[int, Spoil] = field(default_factory=dict)
    said: Mapping[int, Mapping[str, object]] = field(default_factory=dict)
    about: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    thumbnail: bool | None = None
    ad_s: float = 0.0
    expired_replies: int = 0

    @property
    def has_thumbnail(self) -> bool:
        """Whether i.ytimg.com has a thumbnail of this id, as long as the world's `thumbnails` are as usual."""
        if self.thumbnail is not None:
            return self.thumbnail
        return self.failure is None or not self.failure.category.gone

    @property
    def videos(self) -> tuple[Video, ...]:
        """The video in all its sizes."""
        return (self.video, *self.renditions) if self.video else ()

    def files(self, client: str) -> list[MediaFile]:
        """What this client is offered; the sound is the same for every size."""
        shapes = self.clients.get(client, self.shapes)
        offered: dict[int, MediaFile] = {}
        for video in self.videos:
            for itag, file in video.files.items():
                if file.shape in shapes:
                    offered.setdefault(itag, file)
        return list(offered.values())

    def variants_of(self, itag: int) -> dict[int, Variant]:
        """The variants of an itag, by their numbers, which are in their addresses."""
        return {number: variant for number, variant in enumerate(self.variants) if itag in variant.itags}

    def file(self, itag: int, variant: int | None = None) -> MediaFile | None:
        """The file behind an itag, and a variant's number, as it is served, whichever client was told of it."""
        pitch = 0 if variant is None else self.variants[variant].pitch
        videos = [replace(video, pitch=pitch) for video in self.videos]
        stored = 140 if itag == SURROUND_ITAG else itag
        file = next((video.files[stored] for video in videos if stored in video.files), None)
        return replace(file, spoil=self.spoilt[itag]) if file and itag in self.spoilt else file


@dataclass(frozen=True)
class FakeThrottle:
    """After that many player calls the door closes for `for_s` seconds, then opens for good (`again`: counts anew).

    With `extend` each knock on the closed door keeps it closed for another `for_s`. `kind` says how calls are refused:
    "429" by that status, any other of `THROTTLE_KINDS` by the player's words.
    """

    after: int = 20
    for_s: float = 5.0
    kind: str = "429"
    retry_after: str | None = None
    extend: bool = False
    again: bool = False

    def __post_init__(self) -> None:
        if self.kind not in THROTTLE_KINDS:
            raise ValueError(f"no throttle of the kind {self.kind!r}; the kinds are {', '.join(THROTTLE_KINDS)}")

    @property
    def failure(self) -> Failure | None:
        """The words in which the player refuses; None for the kind "429"."""
        return None if self.kind == "429" else REFUSALS[self.kind]


@dataclass(frozen=True)
class BadLine:
    """A line that resets this share of all connections, each at one of these stages, drawn at random."""

    share: float
    stages: Sequence[ResetStage] = ("connect", "handshake", "request", "reply")
    seed: int = 0


class World:
    """Everything that the server looks up. Change the public attributes at any time, also while it serves.

    `clock` gives the seconds by which the throttle's door opens.
    """

    def __init__(
        self,
        scenarios: Mapping[str, Scenario] | None = None,
        throttle: FakeThrottle | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self.scenarios: dict[str, Scenario] = dict(scenarios or {})
        self.annotations: dict[str, dict[Subset, list[Row]]] = {}
        self.archive_faults: dict[str, ListFault] = {}
        self.cvdf: dict[str, CvdfList] = {}
        """CVDF's lists that differ from the official archives, by version."""
        self.mirror: dict[str, MirrorFile] = {}
        """What is at s3.amazonaws.com beside CVDF's lists, by its path, with spaces as they are."""
        self.media_status: int | None = None
        """While set, the status of the reply to every request for media, whatever the scenarios say."""
        self.thumbnails: ThumbnailMode = "as usual"
        """How i.ytimg.com answers; "swapped" says the opposite of what is so, "hang up" closes the connection, "silent"
        keeps it open and sends nothing."""
        self.client_refusals: tuple[ClientRefusal, ...] = ()
        self.visitor_id_calls: int | None = None
        """Player calls that are answered for one visitor id, before it is turned away; None: any number."""
        self.line_down = False
        self.hosts_down: dict[str, Literal["reset", "silent"]] = {}
        """Hosts whose connections are reset, or kept open without a word."""
        self.bad_line: BadLine | None = None
        self.latency_s = 0.0
        self.bandwidth_bit_s: float | None = None
        """Of each connection."""
        self.line_bit_s: float | None = None
        """Of all connections together."""
        self._line_free = 0.0
        self._lock = threading.Lock()
        self._connections = 0
        self._seen: Counter[tuple[str, str, int]] = Counter()
        self._order: dict[str, int] = {}
        self._ad_until: dict[str, float] = {}
        self.throttle = throttle

    @property
    def throttle(self) -> FakeThrottle | None:
        """Setting it opens the door and begins the count."""
        return self._throttle

    @throttle.setter
    def throttle(self, throttle: FakeThrottle | None) -> None:
        with self._lock:
            self._throttle, self._player_calls, self._closed_until = throttle, 0, -math.inf

    def annotate(self, version: str, subset: Subset, rows: Iterable[Row]) -> None:
        """Put rows into the official archive of a version (`400`, `600`, `700` or `700-2020`)."""
        self.annotations.setdefault(version, {}).setdefault(subset, []).extend(rows)

    def prepare(self) -> None:
        """Make the files of all videos now, so that no client waits for them; scenarios added later make their own."""
        for video in {video for scenario in self.scenarios.values() for video in scenario.videos}:
            _ = video.files

    def scenario(self, video_id: str) -> Scenario:
        """What is known of an id; an unknown one does not exist."""
        return self.scenarios.get(video_id, Scenario(failure=FAILURES["unavailable"]))

    def throttled(self, visitor: bool) -> FakeThrottle | None:
        """The throttle, where its door is closed for this call.

        A call for visitorData does not count, and only "429" refuses it.
        """
        with self._lock:
            throttle, now = self._throttle, self.clock()
            if throttle is None or (visitor and throttle.kind != "429"):
                return None
            if now < self._closed_until:
                if throttle.extend:
                    self._closed_until = now + throttle.for_s
                return throttle
            if visitor:
                return None
            self._player_calls += 1
            if self._player_calls <= throttle.after:
                return None
            self._closed_until = now + throttle.for_s
            self._player_calls = 0 if throttle.again else -sys.maxsize
            return throttle

    def client_refusal(self, client: str, video_id: str) -> ClientRefusal | None:
        """What this client is refused of a video, if anything is."""
        with self._lock:
            number = self._order.setdefault(video_id, len(self._order))
        return next((one for one in self.client_refusals if one.client == client and number >= one.after), None)

    def turns_away(self, visitor_id: object) -> bool:
        """Whether a player call comes with a visitor id that has served its time. Calls without one do not count."""
        limit = self.visitor_id_calls
        return bool(visitor_id) and limit is not None and not self._strikes((str(visitor_id), "visitor", 0), limit)

    def new_visitor_id(self) -> str:
        """An id that nobody had before."""
        with self._lock:
            self._seen["", "visitor", 0] += 1
            return f"CgtMb29wYmFja1lU{self._seen['', 'visitor', 0]:04}%3D%3D"

    def names_expired(self, video_id: str) -> bool:
        """Whether this reply about a video names addresses whose time is over."""
        replies = self.scenario(video_id).expired_replies
        return replies > 0 and self._strikes((video_id, "expired", 0), replies)

    def begin_ad(self, video_id: str) -> float:
        """The seconds of the ad before a video, which begins now."""
        ad_s = self.scenario(video_id).ad_s
        with self._lock:
            self._ad_until[video_id] = self.clock() + ad_s
        return ad_s

    def in_ad(self, video_id: str) -> bool:
        """Whether the ad before a video is not over."""
        return self.clock() < self._ad_until.get(video_id, -math.inf)

    def reset_stage(self) -> ResetStage | None:
        """At which stage a new connection will be reset; None for one that holds."""
        if self.bad_line is None:
            return None
        with self._lock:
            self._connections += 1
            chance = random.Random(self.bad_line.seed * 1_000_003 + self._connections)
        return chance.choice(self.bad_line.stages) if chance.random() < self.bad_line.share else None

    def time_on_line(self, size: int) -> float:
        """The seconds until some bytes have passed the line that all share, behind what is on it already."""
        if self.line_bit_s is None:
            return 0.0
        with self._lock:
            now = time.monotonic()
            self._line_free = max(self._line_free, now) + size * 8 / self.line_bit_s
            return self._line_free - now

    def player_fault(self, video_id: str) -> PlayerFault | None:
        """The fault that spoils this call, if one does."""
        for number, fault in enumerate(self.scenario(video_id).player_faults):
            if self._strikes((video_id, "player", number), fault.times):
                return fault
        return None

    def media_fault(self, video_id: str, host: str, itag: int, first: int, last: int) -> MediaFault | None:
        """The fault that spoils this request for the bytes first..last, if one does; its `at` is then set."""
        faults = {
            number: fault
            for number, fault in enumerate(self.scenario(video_id).media_faults)
            if fault.itag in (None, itag) and f"//{host}" not in fault.location
        }
        return self._fault(video_id, "media", faults, first, last)

    def mirror_fault(self, path: str, first: int, last: int) -> MediaFault | None:
        """The same for a request for bytes of a file of the mirror."""
        return self._fault(path, "mirror", dict(enumerate(self.mirror[path].faults)), first, last)

    def _fault(
        self, name: str, kind: str, faults: Mapping[int, MediaFault], first: int, last: int
    ) -> MediaFault | None:
        for number, fault in faults.items():
            at = first + fault.after if fault.at is None else fault.at
            if fault.kind in STRIKES_INSIDE and not first <= at <= last:
                continue
            if self._strikes((name, kind, number), fault.times, fault.skip):
                return replace(fault, at=at)
        return None

    def _strikes(self, key: tuple[str, str, int], times: int | None, skip: int = 0) -> bool:
        with self._lock:
            self._seen[key] += 1
            return skip < self._seen[key] and (times is None or self._seen[key] <= skip + times)


STRIKES_INSIDE = frozenset({"cut", "cut_unsaid", "reset", "stall", "drip"})

RELOAD = Failure(Category.ENGINE_ERROR, "UNPLAYABLE", "The page needs to be reloaded.")
"""What the player says to a visitor id that it turns away."""

FAILURES: dict[str, Failure] = {
    "private": Failure(
        Category.PRIVATE,
        "LOGIN_REQUIRED",
        "Private video",
        subreason="Sign in if you've been granted access to this video",
    ),
    "private, as a message": Failure(
        Category.PRIVATE,
        "LOGIN_REQUIRED",
        messages=("This is a private video. Please sign in to verify that you may see it.",),
    ),
    "private, as an error": Failure(Category.PRIVATE, "ERROR", "This video is private"),
    "age": Failure(
        Category.AGE_RESTRICTED,
        "LOGIN_REQUIRED",
        "Sign in to confirm your age",
        subreason="This video may be inappropriate for some users.",
    ),
    "age check": Failure(
        Category.AGE_RESTRICTED, "AGE_CHECK_REQUIRED", "This video may be inappropriate for some users."
    ),
    "age, account": Failure(
        Category.AGE_RESTRICTED,
        "UNPLAYABLE",
        "Sorry, something is wrong. This video may be inappropriate for some users. "
        "Sign in to your primary account to confirm your age.",
    ),
    "content warning": Failure(
        Category.AGE_RESTRICTED,
        "CONTENT_CHECK_REQUIRED",
        "Content Warning",
        subreason="The following content has been identified by the YouTube community as inappropriate or offensive "
        "to some audiences.",
    ),
    "members": Failure(
        Category.MEMBERS_ONLY,
        "UNPLAYABLE",
        "Join this channel to get access to members-only content like this video, and other exclusive perks.",
    ),
    "members, level": Failure(
        Category.MEMBERS_ONLY,
        "UNPLAYABLE",
        "This video is available to this channel's members on level: Gold (or any higher level). Join this channel to "
        "get access to members-only content and other exclusive perks.",
    ),
    "region": Failure(
        Category.REGION_BLOCKED,
        "UNPLAYABLE",
        "Video unavailable",
        subreason="The uploader has not made this video available in your country",
    ),
    "region, as a reason": Failure(
        Category.REGION_BLOCKED, "UNPLAYABLE", "The uploader has not made this video available in your country"
    ),
    "region, by an owner": Failure(
        Category.REGION_BLOCKED,
        "UNPLAYABLE",
        "Video unavailable",
        subreason="This video contains content from SME, who has blocked it in your country on copyright grounds",
    ),
    "copyright": Failure(
        Category.COPYRIGHT,
        "ERROR",
        "Video unavailable",
        subreason="This video is no longer available due to a copyright claim by Example Records",
    ),
    "copyright, blocked": Failure(
        Category.COPYRIGHT,
        "UNPLAYABLE",
        "Video unavailable",
        subreason="This video contains content from UMG, who has blocked it on copyright grounds",
    ),
    "terms": Failure(
        Category.TERMS, "ERROR", "This video has been removed for violating YouTube's Community Guidelines"
    ),
    "terms, of service": Failure(
        Category.TERMS,
        "ERROR",
        "Video unavailable",
        subreason="This video has been removed for violating YouTube’s Terms of Service",  # noqa: RUF001
    ),
    "terminated": Failure(
        Category.TERMINATED,
        "ERROR",
        "Video unavailable",
        subreason="This video is no longer available because the YouTube account associated with this video has been "
        "terminated.",
    ),
    "terminated, as a reason": Failure(
        Category.TERMINATED,
        "ERROR",
        "This video is no longer available because the YouTube account associated with this video has been terminated.",
    ),
    "account closed": Failure(
        Category.TERMINATED,
        "ERROR",
        "Video unavailable",
        subreason="This video is no longer available because the uploader has closed their YouTube account.",
    ),
    "removed": Failure(Category.REMOVED, "ERROR", "This video has been removed by the uploader"),
    "removed, as a subreason": Failure(
        Category.REMOVED, "ERROR", "Video unavailable", subreason="This video has been removed by the user"
    ),
    "live": Failure(Category.LIVE, "OK", is_live=True),
    "premiere": Failure(Category.LIVE, "LIVE_STREAM_OFFLINE", "Premieres in 3 hours"),
    "upcoming live event": Failure(Category.LIVE, "LIVE_STREAM_OFFLINE", "This live event will begin in 2 days."),
    "recording unavailable": Failure(Category.LIVE, "UNPLAYABLE", "This live stream recording is not available."),
    "unavailable": Failure(Category.UNAVAILABLE, "ERROR", "Video unavailable"),
    "unavailable, this video": Failure(Category.UNAVAILABLE, "ERROR", "This video is unavailable"),
    "no longer available": Failure(
        Category.UNAVAILABLE, "ERROR", "Video unavailable", subreason="This video is no longer available."
    ),
    "does not exist": Failure(
        Category.UNAVAILABLE, "ERROR", "Video unavailable", subreason="This video does not exist."
    ),
    "bot": Failure(
        Category.THROTTLED,
        "LOGIN_REQUIRED",
        "Sign in to confirm you’re not a bot",  # noqa: RUF001
        subreason="This helps protect our community. Learn more",
    ),
    "bot, straight apostrophe": Failure(Category.THROTTLED, "LOGIN_REQUIRED", "Sign in to confirm you're not a bot"),
    "later": Failure(Category.THROTTLED, "UNPLAYABLE", "This content isn't available, try again later."),
    "later, as a subreason": Failure(
        Category.THROTTLED,
        "ERROR",
        "Video unavailable",
        subreason="This content isn’t available, try again later.",  # noqa: RUF001
    ),
}
"""What YouTube's player says of a video that it refuses, by a name for tests; the program sorts all of these."""

NEWER_FAILURES: dict[str, Failure] = {
    "not offered": Failure(Category.NOT_OFFERED, "UNPLAYABLE", "This video is not available"),
    "not offered, under the heading": Failure(
        Category.NOT_OFFERED, "UNPLAYABLE", "Video unavailable", subreason="This video is not available"
    ),
    "members, on level": Failure(
        Category.MEMBERS_ONLY,
        "UNPLAYABLE",
        "This video is available to this channel's members on level: Silver (or any higher level).",
    ),
    "region, country domain and copyright": FAILURES["region, by an owner"],
    "unknown detail under the heading": Failure(
        Category.ENGINE_ERROR, "ERROR", "Video unavailable", subreason="Something that nobody has said before."
    ),
    "restricted mode": Failure(
        Category.NOT_OFFERED,
        "UNPLAYABLE",
        "This video is restricted. Please check the Google Workspace administrator and/or the network administrator "
        "restrictions.",
    ),
}
"""More of what the player says of one video. The program need not sort these yet, so they are not in `FAILURES`."""

BLOCKS: dict[str, Failure] = {
    "not available": NEWER_FAILURES["not offered, under the heading"],
    "content": Failure(
        Category.THROTTLED,
        "ERROR",
        "Video unavailable",
        subreason="This content isn’t available.",  # noqa: RUF001
    ),
    "content, straight apostrophe": Failure(
        Category.THROTTLED, "ERROR", "Video unavailable", subreason="This content isn't available."
    ),
    "bare": FAILURES["unavailable"],
    "something went wrong": Failure(
        Category.ENGINE_ERROR, "ERROR", "Video unavailable", subreason="Sorry, something went wrong"
    ),
    "vpn": Failure(
        Category.THROTTLED,
        "UNPLAYABLE",
        "VPN/Proxy Detected",
        subreason="Video playback is not available when a VPN or proxy is used",
    ),
    "sign in": Failure(Category.ENGINE_ERROR, "LOGIN_REQUIRED", "Please sign in"),
    "unknown sentence": Failure(
        Category.ENGINE_ERROR, "ERROR", "Video unavailable", subreason="The stars are not right for this request."
    ),
}
"""What the player says of every video while it blocks an address or a session: kinds of a `FakeThrottle`.

The category is what the words mean by themselves, when they are said of one video."""

REFUSALS = FAILURES | BLOCKS
"""The words in which a `FakeThrottle` can refuse everybody."""
THROTTLE_KINDS = ("429", *REFUSALS)

PLAYER_FAULTS: dict[str, PlayerFault] = {
    "429": PlayerFault("status", 429),
    "429 with Retry-After": PlayerFault("status", 429, retry_after="2"),
    "403": PlayerFault("status", 403),
    "404": PlayerFault("status", 404),
    "500": PlayerFault("status", 500),
    "503": PlayerFault("status", 503),
    "html": PlayerFault("html"),
    "cut JSON": PlayerFault("cut_json"),
    "cut body": PlayerFault("cut_body"),
    "empty reply": PlayerFault("empty"),
    "another video's reply": PlayerFault("other_video"),
    "no streams": PlayerFault("no_streams"),
    "SABR only": PlayerFault("sabr_only"),
    "stalled": PlayerFault("stall"),
}
"""Every way in which a player call itself goes wrong; none of them says anything about the video."""
