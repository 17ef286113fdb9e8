"""Masks and similarity maps on images, drawn with PIL at their final size.

A result is waited for: matplotlib takes seconds for what takes PIL a tenth of one.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .lettering import font

SIMILARITY_LABEL = "similarity to [SEG] (RVLS2M)"
DISCLAIMER = "Research tool. Not for diagnosis or treatment."
BACKGROUND = "#101214"
TEXT = "#e8eaed"
MUTED = "#9aa0a6"
# Told apart by colour-blind eyes, and rare in grey, pink and red tissue.
COLOURS = ("#00d5ff", "#ffb000", "#7dff6b", "#ff6ad5", "#b79cff", "#f4f46a")

SCALE_WIDTH = 16
_PNG_LEVEL = 3
"""Of zlib: half the time of its default for pictures that are a few percent larger."""
_COLOUR_MAP = "inferno"
_FILL = 0.24
_NETWORK_FILL = 0.75
_HALO = 0.35
_OPACITY = (0.2, 0.45)
"""Of the map where it is 0, and what is added where it is 1: low values must not hide anatomy."""


def colour_of(number: int) -> str:
    """Of the n-th finding."""
    return COLOURS[number % len(COLOURS)]


def fill_and_outline(image: Image.Image, mask: NDArray[np.bool_], colour: str) -> None:
    """Draw a mask (any size) over the whole of an image, its inside still to be seen."""
    inside = _inside(image, mask)
    _paste(image, inside, colour, _FILL)
    _draw_line(image, _border(inside, 2), colour)


def outline(image: Image.Image, mask: NDArray[np.bool_], colour: str, network: float) -> None:
    """Draw the border of a mask alone; vessels, which lines would double, are filled instead.

    Args:
        network: share of the image from which a thin mask is a network; below it is a small
            lesion.
    """
    inside = _inside(image, mask)
    line = _border(inside, 1)
    area = np.count_nonzero(inside)
    if area > network * inside.size and 2 * np.count_nonzero(line) > area:
        _paste(image, inside, colour, _NETWORK_FILL)
    else:
        _draw_line(image, line, colour)


def with_similarity(image: Image.Image, similarity: NDArray[np.float32]) -> Image.Image:
    """The grey image under the map (H, W), 0..1, of any size."""
    values = np.clip(np.nan_to_num(similarity), 0.0, 1.0).astype(np.float32)
    shown = np.asarray(Image.fromarray(values).resize(image.size, Image.Resampling.BILINEAR))
    base, slope = _OPACITY
    opacity = (base + slope * shown)[..., np.newaxis]
    grey = np.asarray(image.convert("L"), dtype=np.float32)[..., np.newaxis]
    colours = _colour_map()[np.rint(shown * 255).astype(np.uint8)]
    return Image.fromarray(np.rint(grey * (1 - opacity) + colours * opacity).astype(np.uint8))


def draw_scale(picture: Image.Image, place: tuple[int, int], height: int) -> None:
    """The colours of the map from 1 down to 0, with numbers beside them."""
    x, y = place
    ramp = np.linspace(255, 0, height).round().astype(np.uint8)
    colours = np.repeat(_colour_map()[ramp][:, np.newaxis], SCALE_WIDTH, axis=1)
    picture.paste(Image.fromarray(colours), place)
    draw = ImageDraw.Draw(picture)
    for value in (0.0, 0.5, 1.0):
        middle = y + round((1 - value) * (height - 1))
        draw.line((x + SCALE_WIDTH, middle, x + SCALE_WIDTH + 5, middle), fill=MUTED)
        draw.text((x + SCALE_WIDTH + 10, middle), f"{value:g}", MUTED, font(12), anchor="lm")


@functools.cache
def _colour_map() -> NDArray[np.uint8]:
    """(256, 3)."""
    from matplotlib import colormaps

    return np.asarray(colormaps[_COLOUR_MAP](np.arange(256), bytes=True))[:, :3]


def _inside(image: Image.Image, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask at twice the image's size, so that shrinking it smooths its border."""
    size = (2 * image.width, 2 * image.height)
    whole = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
    shrinks = size[0] < whole.width
    soft = whole.resize(size, Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR)
    # A third of a pixel's area counts, so that thin structures stay visible.
    return np.asarray(soft) > 85


def _border(inside: NDArray[np.bool_], inward: int) -> NDArray[np.bool_]:
    # A rim of background closes the border where a mask touches the image's edge.
    padded = np.pad(inside, 1)
    return (_grown(padded, 2) & _grown(~padded, inward))[1:-1, 1:-1]


def _draw_line(image: Image.Image, line: NDArray[np.bool_], colour: str) -> None:
    _paste(image, _grown(line, 2), "#000000", _HALO)
    _paste(image, line, colour, 1.0)


def _paste(image: Image.Image, layer: NDArray[np.bool_], ink: str, opacity: float) -> None:
    stencil = Image.fromarray(layer.astype(np.uint8) * np.uint8(round(255 * opacity)))
    image.paste(ink, mask=stencil.resize(image.size, Image.Resampling.BOX))


def _grown(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """Everything within that many steps along rows and columns."""
    grown = mask.copy()
    for _ in range(pixels):
        before = grown.copy()
        grown[1:] |= before[:-1]
        grown[:-1] |= before[1:]
        grown[:, 1:] |= before[:, :-1]
        grown[:, :-1] |= before[:, 1:]
    return grown


def save_png(picture: Image.Image, path: Path) -> None:
    """Write a picture.

    Raises:
        OSError: if the file cannot be written.
    """
    picture.save(path, format="PNG", compress_level=_PNG_LEVEL)
