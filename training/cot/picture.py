"""Pictures for assistants and people: an image with its masks outlined."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from Sim4SegCore.reasoning.facts import Mask

from .subject import Subject

COLOURS = ((64, 196, 255), (255, 167, 38), (186, 104, 200))
"""Of the first, second, third target: told apart by colour-blind readers, seldom in tissue."""
FILL_OPACITY = 38
"""Of 255, inside the outline."""
OUTLINE = 0.003
"""Thickness over the image's longest side."""


def rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) or (H, W, 3) as (H, W, 3)."""
    return np.repeat(image[..., None], 3, axis=-1) if image.ndim == 2 else image


def outlined(subject: Subject) -> NDArray[np.uint8]:
    """The image, (H, W, 3), with the outline of every mask."""
    picture = rgb(subject.image).copy()
    for colour, mask in zip(COLOURS, subject.masks.values(), strict=False):
        picture[outline(mask)] = colour
    return picture


def overlay(masks: dict[str, Mask], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A transparent layer (H, W, 4): masks filled faintly, outlined fully."""
    layer = np.zeros((*size, 4), np.uint8)
    for colour, mask in zip(COLOURS, masks.values(), strict=False):
        layer[mask] = (*colour, FILL_OPACITY)
        layer[outline(mask)] = (*colour, 255)
    return layer


def outline(mask: Mask) -> Mask:
    """A line just outside the mask, so that what it encloses stays to be seen."""
    grown = mask
    for _ in range(max(1, round(OUTLINE * max(mask.shape)))):
        padded = np.pad(grown, 1)
        grown = (
            grown
            | padded[:-2, 1:-1]
            | padded[2:, 1:-1]
            | padded[1:-1, :-2]
            | padded[1:-1, 2:]
        )  # fmt: skip
    return grown & ~mask
