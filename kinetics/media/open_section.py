"""Finds a section in a remote file and opens the file there, fetching no more than that takes.

Times are seconds from the first frame of the video (some files begin at another timestamp than zero).
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction

from av.container import InputContainer
from av.stream import Stream

from kinetics.errors import Gone, MayWorkLater
from kinetics.media.container import RemoteView, demuxer, view_errors
from kinetics.media.fragment_index import Fragment, FragmentIndex
from kinetics.media.remote_media import RemoteMedia
from kinetics.media.section import EndsEarly, Section
from kinetics.media.times import Times, duration_of, tick_of, to_fraction, track_duration
from kinetics.records import Category

KEYFRAME_SHARE = 0.25
"""Share of a fragment's bytes that its keyframe takes at most; it estimates how much of the last fragment to fetch. Too
low costs a request, too high costs bytes."""
SOUND_SHARE = 0.02
"""The same for sound, which has no keyframes."""


@dataclass(frozen=True, slots=True)
class Fragments:
    """The fragments that a section overlaps. Times are in seconds on the file's own clock, as in a Section."""

    media: RemoteMedia
    index: FragmentIndex
    needed: tuple[Fragment, ...]
    zero_s: Fraction
    section_s: tuple[Fraction, Fraction]
    total_s: Fraction
    promised_s: Fraction

    @property
    def begins_s(self) -> Fraction:
        """When the first of the fragments begins, in seconds from the first frame of the video."""
        return self.needed[0].time_s - self.zero_s

    def fetch(self, keyframe_share: float) -> None:
        """Fetch the fragments, the last one up to about where the section ends."""
        first, last = self.needed[0], self.needed[-1]
        self.media.file.prefetch(first.offset, last.offset + last.bytes_until(self.section_s[1], keyframe_share))


def find_fragments(media: RemoteMedia, wanted_s: Times, zero_s: Fraction | None = None) -> Fragments | None:
    """Fetch a file's header and return the fragments that hold a section; None if the file does not list fragments.

    `zero_s` is the time of the video's first frame, given for a file of sound. Raises Gone if the video ends before
    the section.
    """
    index = media.index
    if index is None or not index.fragments:
        return None
    first, last = index.fragments[0], index.fragments[-1]
    begins_s = first.time_s if zero_s is None else zero_s
    total_s = promised_s = last.time_s + last.duration_s - begins_s
    if zero_s is None:
        promised_s = media.lasts(total_s, total_s)
        _raise_if_past_end(wanted_s[0], total_s, promised_s)
    start_s, stop_s = begins_s + wanted_s[0], begins_s + wanted_s[1]
    needed = [one for one in index.fragments if one.time_s < stop_s and start_s < one.time_s + one.duration_s] or [last]
    if not index.stop <= needed[0].offset < needed[-1].offset + needed[-1].size <= media.file.size:
        raise MayWorkLater(Category.MEDIA_ERROR, "the fragment index points outside the file")
    return Fragments(media, index, tuple(needed), begins_s, (start_s, stop_s), total_s, promised_s)


def prefetch_sound(media: RemoteMedia, wanted_s: Times, zero_s: Fraction) -> None:
    """Fetch the sound of a section, if its file lists fragments; to be run in a thread while the picture is fetched."""
    if fragments := find_fragments(media, wanted_s, zero_s):
        fragments.fetch(SOUND_SHARE)


def open_section(
    stack: ExitStack,
    media: RemoteMedia,
    wanted_s: Times,
    zero_s: Fraction | None = None,
    *,
    cached_only_probe: bool = True,
) -> Section:
    """Open a file at a section, with the fewest requests. `zero_s` as in `find_fragments`."""
    if fragments := find_fragments(media, wanted_s, zero_s):
        return _open_fragments(stack, fragments, SOUND_SHARE if zero_s is not None else KEYFRAME_SHARE)
    if media.index and media.index.init:
        return _find_by_reading(stack, media, wanted_s, zero_s)
    return _find_samples(stack, media, wanted_s, zero_s, cached_only_probe=cached_only_probe)


def _open_fragments(stack: ExitStack, fragments: Fragments, keyframe_share: float) -> Section:
    """Open a fragmented file (DASH): its header and the fragments of the section look like a file of their own."""
    fragments.fetch(keyframe_share)
    media, first, last = fragments.media, fragments.needed[0], fragments.needed[-1]
    view = RemoteView(media.file, fragments.index.init, first.offset, last.offset + last.size)
    container = stack.enter_context(demuxer(stack.enter_context(view_errors(view)), media.container))
    return Section(
        container,
        fragments.zero_s,
        *fragments.section_s,
        fragments.total_s,
        fragments.promised_s,
        read_s=(first.time_s, last.time_s + last.duration_s),
        fragments=tuple(len(fragments.index.init) + one.offset - first.offset for one in fragments.needed),
    )


def _find_samples(
    stack: ExitStack, media: RemoteMedia, wanted_s: Times, zero_s: Fraction | None, *, cached_only_probe: bool
) -> Section:
    """Open a progressive file, or a webm: the demuxer's own index tells where in the file the section lies.

    The file is opened twice: first for the index, and again when the section is cached, because a demuxer that has
    missed data at the front of a file does not always read it later.
    """
    with (
        view_errors(RemoteView(media.file)) as view,
        demuxer(view, media.container, cached_only_probe=True) as container,
    ):
        main = _main_stream(container)
        total_s = promised_s = duration_of(container)
        if zero_s is None:
            zero_s = (main.start_time or 0) * tick_of(main)
            promised_s = media.lasts(total_s, max(map(track_duration, container.streams), default=total_s))
            _raise_if_past_end(wanted_s[0], total_s, promised_s)
        section_s = (zero_s + wanted_s[0], zero_s + wanted_s[1])
        decode_at, show_at = _keyframe_before(main, section_s[0])
        streams = [*container.streams.video[:1], *container.streams.audio[:1]]
        is_first = len(main.index_entries) and decode_at == main.index_entries[0].timestamp
        begin_s = Fraction(0) if is_first else decode_at * tick_of(main)  # sound may be stored before the first picture
        spans = [_sample_span(stream, begin_s, section_s[1]) for stream in streams]
    media.file.prefetch(min(first for first, _ in spans), max(stop for _, stop in spans))
    again = stack.enter_context(view_errors(RemoteView(media.file)))
    container = stack.enter_context(demuxer(again, media.container, cached_only_probe=cached_only_probe))
    container.seek(show_at, stream=_main_stream(container))
    return Section(container, zero_s, *section_s, total_s, promised_s, read_s=(section_s[0], zero_s + total_s))


def _find_by_reading(stack: ExitStack, media: RemoteMedia, wanted_s: Times, zero_s: Fraction | None) -> Section:
    """Open a fragmented file that does not list its fragments: it is read from the front. YouTube has no such files."""
    container = stack.enter_context(demuxer(stack.enter_context(view_errors(RemoteView(media.file))), media.container))
    main = _main_stream(container)
    total_s = duration_of(container)
    if zero_s is None:
        total_s = max(total_s, to_fraction(media.duration_s or 0))
        zero_s = (main.start_time or 0) * tick_of(main)
        _raise_if_past_end(wanted_s[0], total_s, media.lasts(total_s, total_s))
    section_s, all_s = (zero_s + wanted_s[0], zero_s + wanted_s[1]), (zero_s, zero_s + total_s)
    return Section(container, zero_s, *section_s, total_s, total_s, read_s=all_s, has_index=False)


def _main_stream(container: InputContainer) -> Stream:
    main = next(iter(container.streams.video or container.streams.audio), None)
    if main is None:
        raise MayWorkLater(Category.MEDIA_ERROR, "the media has neither picture nor sound")
    return main


def _keyframe_before(stream: Stream, time_s: Fraction) -> tuple[int, int]:
    """Return the decoding and the presentation timestamp of the keyframe that shows at or before a time.

    The demuxer's index has decoding times; every frame is taken to show as much later as the first one does.
    """
    entries = stream.index_entries
    wanted = math.floor(time_s / tick_of(stream))
    if not len(entries):
        return wanted, wanted
    delay = max(0, (stream.start_time or 0) - entries[0].timestamp)
    decode_at = entries[max(entries.search_timestamp(wanted - delay), 0)].timestamp
    return decode_at, decode_at + delay


def _sample_span(stream: Stream, start_s: Fraction, stop_s: Fraction) -> tuple[int, int]:
    """Return the byte range of a stream's samples from a keyframe to the section's end; (0, 0) without an index."""
    entries = stream.index_entries
    if not len(entries):
        return 0, 0
    first = max(entries.search_timestamp(math.floor(start_s / tick_of(stream))), 0)
    if stream.type == "audio":
        first = max(first - 1, 0)  # the demuxer seeks to the sample before the picture's decoding time
    after = entries.search_timestamp(math.ceil(stop_s / tick_of(stream)), backward=False, any_frame=True)
    inside = entries[first : after if after >= 0 else len(entries)] or entries[first : first + 1]
    stop = max(entry.pos + entry.size for entry in inside)
    if after >= 0 and inside[-1].size == 0:  # a webm's index has where clusters begin, not their size
        stop = entries[after].pos
    return inside[0].pos, stop


def _raise_if_past_end(start_s: Fraction, total_s: Fraction, promised_s: Fraction) -> None:
    """Raise Gone if the video ends before the section starts.

    Player and file must agree on that, as a header may be damaged; otherwise raises EndsEarly.
    """
    if start_s >= total_s:
        if total_s <= 0 or start_s < promised_s:
            raise EndsEarly(f"the file claims to be only {float(total_s):.1f} s long", total_s)
        raise Gone(
            Category.PAST_END, f"the video is {float(total_s):.1f} s long, the clip starts at {float(start_s):g} s"
        )
