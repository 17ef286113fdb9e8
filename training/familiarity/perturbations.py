"""What may happen to a familiar image on its way without making it another one."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np

from ..evaluation.robustness.perturbations import BRIGHTER, DARKER, brightened, compressed, halved
from ..records import Record
from ..views import Colouring, Pixels, Turn, random_window

Perturbation = Callable[[Pixels], Pixels]
MOST_TILT = 15.0


def brighter(pixels: Pixels) -> Pixels:
    """By 10 %."""
    return brightened(pixels, BRIGHTER)


def darker(pixels: Pixels) -> Pixels:
    """By 10 %."""
    return brightened(pixels, DARKER)


PERTURBATIONS: dict[str, Perturbation] = {
    "JPEG quality 50": compressed,
    "10 % brighter": brighter,
    "10 % darker": darker,
    "half resolution": halved,
}


def varied(pixels: Pixels, record: Record, rng: random.Random) -> Pixels:
    """A view as training draws it, on top of it perhaps compressed or of half the resolution."""
    turned = np.ascontiguousarray(Turn.draw(record.body_part, MOST_TILT, rng)(pixels))
    if rng.random() < 0.5:
        top, left, height, width = random_window(turned.shape, None, 0.6, 1.0, rng)
        turned = np.ascontiguousarray(turned[top : top + height, left : left + width])
    shown = np.ones(turned.shape[:2], dtype=bool)
    changed = Colouring.draw(record.modality, rng)(turned, shown)
    if rng.random() < 0.3:
        changed = compressed(changed)
    return halved(changed) if rng.random() < 0.3 else changed
