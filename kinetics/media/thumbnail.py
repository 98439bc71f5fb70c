"""The first frame of a clip as a small picture, for a person to see that the clip is right."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import cast

import av
from av.video.frame import VideoFrame

from kinetics.errors import MayWorkLater
from kinetics.media.container import frames_of, translated
from kinetics.records import Category

SIZE = (256, 144)
"""At most, in pixels."""
QUALITY = 70


def thumbnail(clip: Path) -> str:
    """The address, beginning with `data:`, of a JPEG. Raises MayWorkLater where the clip cannot be decoded."""
    with translated(), av.open(str(clip), "r", format="mov") as container:
        frame = cast("VideoFrame | None", next(frames_of(container, *container.streams.video[:1]), None))
        if frame is None:
            raise MayWorkLater(Category.MEDIA_ERROR, "it has no picture")
        image = frame.to_image().rotate(frame.rotation, expand=True)
    image.thumbnail(SIZE)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
