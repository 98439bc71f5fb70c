"""What is heard in a clip."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


def heard(path: Path) -> tuple[NDArray[np.float32], int]:
    """One channel of a file, and how many samples a second has."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="fltp", layout="mono")
        frames = [piece for frame in container.decode(stream) for piece in resampler.resample(frame)]
        samples = np.concatenate([frame.to_ndarray()[0] for frame in frames])
        return samples, stream.codec_context.sample_rate


def loudest_frequency(samples: NDArray[np.float32], rate: int) -> float:
    """The frequency, in Hz, that is loudest in these samples."""
    points = 8 * len(samples)
    return float(np.argmax(np.abs(np.fft.rfft(samples * np.hanning(len(samples)), points)))) * rate / points
