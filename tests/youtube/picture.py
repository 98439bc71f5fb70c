"""A frame that carries its own number, readable after any sensible re-encode.

The number stands at the top as two rows of blocks: its 20 bits, the most significant first, and below them the same
bits inverted. A bit is read by comparing the two rows, so brightness, range and compression do not matter.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

BITS = 20
ROW_SHARE = 20
"""Each of the two rows takes this part of the height."""
BLACK, WHITE = 16, 235
SMALLEST_CONTRAST = 60

Picture = NDArray[np.uint8]


def draw(index: int, width: int, height: int, moving: bool = True) -> Picture:
    """The luma of frame `index`, shape (height, width): the number over a texture of which one part moves."""
    texture = _texture(width, height)
    picture = texture[:, :width].copy()
    if moving:
        shift = 2 * index % width
        top, left = height // 4, width // 4
        picture[top : 3 * top, left : 3 * left] = texture[top : 3 * top, left + shift : 3 * left + shift]
    bits = (index >> np.arange(BITS - 1, -1, -1)) & 1
    row = np.where(bits, WHITE, BLACK)[np.arange(width) * BITS // width]
    thickness = height // ROW_SHARE
    picture[:thickness] = row
    picture[thickness : 2 * thickness] = BLACK + WHITE - row
    return picture


def read_counter(picture: NDArray[Any]) -> int:
    """The frame's number, from a grey (height, width) or colour (height, width, 3) picture that stands upright.

    Raises ValueError where no number can be read with certainty.
    """
    contrast = _blocks(picture, row=0) - _blocks(picture, row=1)
    if np.abs(contrast).min() < SMALLEST_CONTRAST:
        raise ValueError(f"no frame counter: contrasts are {contrast.round().tolist()}")
    return int(sum(1 << (BITS - 1 - place) for place in np.flatnonzero(contrast > 0)))


def _blocks(picture: NDArray[Any], row: int) -> NDArray[np.float64]:
    """The brightness in the middle of each block of one row."""
    height, width = picture.shape[:2]
    y = int((row + 0.5) * height / ROW_SHARE)
    line = picture[y - 1 : y + 2].reshape(3, width, -1).mean(axis=(0, 2))
    columns = ((np.arange(BITS) + 0.5) * width / BITS).astype(int)
    return np.asarray(line[columns[:, np.newaxis] + np.arange(-2, 3)].mean(axis=1))


def upright(stored: NDArray[Any], rotation: int) -> NDArray[Any]:
    """The picture as a player shows it; `rotation` is the display rotation, counter-clockwise in degrees."""
    return np.rot90(stored, rotation // 90)


def as_stored(shown: Picture, rotation: int) -> Picture:
    """The reverse of `upright`: what the encoder must be given."""
    return np.ascontiguousarray(np.rot90(shown, -(rotation // 90)))


@cache
def _texture(width: int, height: int) -> Picture:
    """Smoothed noise, twice as wide as the picture and repeating, so that a part of it can scroll for ever."""
    noise = np.random.default_rng(1).normal(size=(height, width))
    smooth = sum(np.roll(noise, (dy, dx), axis=(0, 1)) for dy in range(-4, 5) for dx in range(-4, 5)) / 9
    grey = np.clip(128 + 12 * smooth, BLACK, WHITE).astype(np.uint8)
    return np.tile(grey, 2)
