"""What a clinic does to an image on its way to the model, as pure functions.

Images are uint8 (H, W, 3), masks bool (H, W). Where the image moves, the true mask moves with it
by the same interpolation; where it shrinks, the drawn mask is enlarged again, so that truth and
score stay those of the original size.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

JPEG_QUALITY = 50
BRIGHTER, DARKER = 1.1, 0.9
DEGREES = 5.0


def compressed(image: Pixels, quality: int = JPEG_QUALITY) -> Pixels:
    """The image after JPEG compression (1..95) with PIL's default chroma subsampling."""
    stored = io.BytesIO()
    Image.fromarray(image).save(stored, format="JPEG", quality=quality)
    return np.asarray(Image.open(stored).convert("RGB"))


def brightened(image: Pixels, factor: float) -> Pixels:
    """Every intensity times a factor, cut off at white."""
    return np.clip(np.rint(image * factor), 0, 255).astype(np.uint8)


def rotated(image: Pixels, degrees: float) -> Pixels:
    """Turned counterclockwise about the centre, of the same size; what comes in is black."""
    return np.asarray(Image.fromarray(image).rotate(degrees, Image.Resampling.BILINEAR))


def rotated_mask(mask: Mask, degrees: float) -> Mask:
    """A mask turned as `rotated` turns its image: what is more than half covered is inside."""
    return rotated(_as_pixels(mask), degrees) > 127


def halved(image: Pixels) -> Pixels:
    """Half as wide and high (rounded up), each pixel the average of the four that it replaces."""
    height, width = image.shape[:2]
    even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    fours = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2, 3)
    return np.rint(fours.mean(axis=(1, 3))).astype(np.uint8)


def doubled(mask: Mask, size: tuple[int, int]) -> Mask:
    """A mask of a `halved` image at the size (H, W) that the image had."""
    return mask.repeat(2, axis=0).repeat(2, axis=1)[: size[0], : size[1]]


def _as_pixels(mask: Mask) -> Pixels:
    return mask.astype(np.uint8) * np.uint8(255)


def _same_mask(mask: Mask) -> Mask:
    return mask


def _same_size(mask: Mask, size: tuple[int, int]) -> Mask:
    return mask


@dataclass(frozen=True)
class Perturbation:
    """One change of an image, and what it means for the masks.

    Attributes:
        image: what the model sees instead.
        truth: the true mask of the changed image, at the size at which masks are compared.
        drawn: brings a mask of the changed image to that size, the original's (H, W).
    """

    name: str
    image: Callable[[Pixels], Pixels]
    truth: Callable[[Mask], Mask] = _same_mask
    drawn: Callable[[Mask, tuple[int, int]], Mask] = _same_size


def _rotation(degrees: float) -> Perturbation:
    return Perturbation(
        f"rotated {degrees:+.0f}°".replace("-", "−"),
        lambda image: rotated(image, degrees),
        lambda mask: rotated_mask(mask, degrees),
    )


NONE = Perturbation("none", lambda image: image)
PERTURBATIONS = (
    NONE,
    Perturbation(f"JPEG quality {JPEG_QUALITY}", compressed),
    Perturbation("brightness +10 %", lambda image: brightened(image, BRIGHTER)),
    Perturbation("brightness −10 %", lambda image: brightened(image, DARKER)),
    _rotation(DEGREES),
    _rotation(-DEGREES),
    Perturbation("half resolution", halved, drawn=doubled),
)
