"""Many views of a few outside pictures, so that the judge learns the kind and not the picture."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from ..views import Pixels

SMALLEST_WINDOW, LARGEST_WINDOW = 0.15, 0.9
BLENDED, GREY, COLOURED, INVERTED = 0.35, 0.4, 0.4, 0.15
"""Shares of the views; blended ones are mixed with another window (mixup, arXiv 1710.09412)."""


def blended_views(pictures: Sequence[Pixels], count: int, seed: int) -> Iterator[Pixels]:
    """Windows of pictures (H, W, 3), turned, mirrored, blended and recoloured at random."""
    rng = random.Random(seed)
    for _ in range(count):
        view = np.rot90(_window(rng.choice(pictures), rng), rng.choice((0, 0, 1, 2, 3)))
        if rng.random() < BLENDED:
            view = _blend(view, _window(rng.choice(pictures), rng), rng.uniform(0.3, 0.7))
        yield _recoloured(view, rng)


def _window(picture: Pixels, rng: random.Random) -> Pixels:
    sides, starts = [], []
    for edge in picture.shape[:2]:
        sides.append(max(1, round(edge * rng.uniform(SMALLEST_WINDOW, LARGEST_WINDOW))))
        starts.append(rng.randint(0, edge - sides[-1]))
    window = picture[starts[0] : starts[0] + sides[0], starts[1] : starts[1] + sides[1]]
    return window[:, ::-1] if rng.random() < 0.5 else window


def _blend(view: Pixels, other: Pixels, share: float) -> Pixels:
    height, width = view.shape[:2]
    image = Image.fromarray(np.ascontiguousarray(view))
    return np.asarray(Image.blend(image, Image.fromarray(other).resize((width, height)), share))


def _recoloured(view: Pixels, rng: random.Random) -> Pixels:
    levels = 255 * (view / 255.0) ** rng.uniform(0.6, 1.7)
    drawn = rng.random()
    if drawn < GREY:
        levels = np.repeat(levels.mean(-1, keepdims=True), 3, axis=2)
    elif drawn < GREY + COLOURED:
        levels = levels * [rng.uniform(0.7, 1.3) for _ in range(3)]
    if rng.random() < INVERTED:
        levels = 255 - levels
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)
