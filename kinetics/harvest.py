"""What a worker does with an archive of the mirror: the wanted clips taken out, checked, and moved to their names."""

from __future__ import annotations

import socket
import time
from collections.abc import Generator
from pathlib import Path

from kinetics import check
from kinetics.archives import Archive, Damaged, Member
from kinetics.errors import ClipError, MayWorkLater
from kinetics.layout import Layout, clip_name
from kinetics.mirror import Contents
from kinetics.records import Category, Clip, ClipKey, Facts, Outcome

ENGINE = "mirror"
"""What the attempts table calls it."""


class UnfitError(MayWorkLater):
    """A clip of the mirror that has come is not as it should be; it never will be."""


def harvest(
    archive: Archive, wanted: dict[ClipKey, Clip], layout: Layout
) -> Generator[Outcome | None, None, Contents | None]:
    """Yield an outcome for each clip in the archive that is wanted, None for any other, and return what it holds.

    What was had is taken out of `wanted`; where nothing is left there, the rest of the archive is not read. A clip that
    is not as it should be has failed and stays wanted: another archive may have it whole. Raises what kept the archive
    from being read on, except its own damage, and OSError where a clip cannot be written.
    """
    unfit = set[str]()
    try:
        for member in archive.members():
            clip = wanted.get(member.key)
            outcome = _taken(member, clip, layout) if clip else None
            if outcome and outcome.status == "done":
                del wanted[member.key]
            elif outcome:
                unfit.add(clip_name(*member.key))
            yield outcome
            if not wanted:
                break
    except Damaged:
        pass  # nobody can have what is behind that
    if archive.size is None:
        return None
    held = (clip_name(*key) for key in archive.passed)
    return Contents(archive.size, archive.etag, frozenset(held), frozenset(unfit), archive.exhausted)


def _taken(member: Member, clip: Clip, layout: Layout) -> Outcome | None:
    """What came of one clip; nothing where its bytes did not come, for that the archive will say."""
    outcome, began = Outcome(clip, "failed", engine=ENGINE, host=socket.gethostname()), time.monotonic()
    try:
        with layout.arriving(clip, "exact") as temporary:
            member.copy_to(temporary)
            copied = time.monotonic()
            facts = _fit(temporary, clip)
    except UnfitError as error:
        return outcome.but(category=error.category, reason=error.reason)
    except ClipError:
        return None
    return outcome.but(
        status="done",
        height=facts.height,
        download_s=copied - began,
        clip_bytes=facts.size,
        duration_s=facts.duration_s,
        sound=facts.sound,
    )


def _fit(path: Path, clip: Clip) -> Facts:
    """What a clip is like that plays, and is as long as it should be."""
    try:
        facts = check.play(path)
    except MayWorkLater as error:
        raise UnfitError(error.category, f"the mirror's clip is unfit: {error.reason}") from error
    # A little more than the section does no harm, and whether the mirror's clips are cut that exactly is not known.
    if reason := check.fault(facts, clip, check.Made(), "keyframe"):
        raise UnfitError(Category.MEDIA_ERROR, f"the mirror's clip is unfit: {reason}")
    return facts
