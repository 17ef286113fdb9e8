"""Training images made into what they are not: torn apart, mixed with another, miscoloured."""

from __future__ import annotations

import random

import numpy as np
from PIL import Image

from ..views import Pixels

_COLOURED = 8
"""Difference of channels from which exchanging them shows."""


def torn(pixels: Pixels, other: Pixels, rng: random.Random) -> Pixels:
    """One of these at random.

    Args:
        pixels: uint8 (H, W, 3).
        other: the same of another image, of any size.

    Returns:
        uint8 (H', W', 3).
    """
    fitted = np.asarray(Image.fromarray(other).resize(pixels.shape[1::-1]))
    way = rng.randrange(4)
    if way == 0:
        return _shuffled(pixels, rng.choice((2, 3, 4, 6)), rng)
    if way == 1:
        return _miscoloured(pixels, rng)
    if way == 2:
        return ((pixels.astype(np.uint16) + fitted) // 2).astype(np.uint8)
    return _halves(pixels, fitted, rng)


def _shuffled(pixels: Pixels, count: int, rng: random.Random) -> Pixels:
    """Tiles in another order; of a small image fewer of them."""
    count = min(count, *pixels.shape[:2])
    height, width = (edge // count for edge in pixels.shape[:2])
    tiles = [
        pixels[row * height : (row + 1) * height, column * width : (column + 1) * width]
        for row in range(count)
        for column in range(count)
    ]
    rng.shuffle(tiles)
    rows = [np.concatenate(tiles[n : n + count], axis=1) for n in range(0, count**2, count)]
    return np.concatenate(rows)


def _miscoloured(pixels: Pixels, rng: random.Random) -> Pixels:
    """Channels exchanged, or of grey images black and white."""
    if np.ptp(pixels.astype(np.int16), axis=2).max() <= _COLOURED:
        return 255 - pixels
    return np.ascontiguousarray(pixels[..., rng.choice(((2, 1, 0), (1, 2, 0), (1, 0, 2)))])


def _halves(pixels: Pixels, fitted: Pixels, rng: random.Random) -> Pixels:
    made = pixels.copy()
    height, width = made.shape[:2]
    if rng.random() < 0.5:
        made[: height // 2] = fitted[: height // 2]
    else:
        made[:, : width // 2] = fitted[:, : width // 2]
    return made
