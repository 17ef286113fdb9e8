"""A small picture of a result for contact sheets: the image with its findings outlined."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from ..case import Case, Result
from ..intensity import to_rgb8

SIDE = 336
"""Pixels of the longer side."""
COLOURS = ((0, 213, 255), (255, 176, 0), (125, 255, 107), (255, 106, 213))
_HALO = (0, 0, 0)


def draw_thumbnail(result: Result) -> Image.Image:
    """The image in its physical proportions, at most SIDE x SIDE, findings outlined."""
    case = result.case
    size = _shown_size(case)
    picture = Image.fromarray(to_rgb8(case)).resize(size, Image.Resampling.LANCZOS)
    for number, finding in enumerate(result.findings):
        if finding.mask.any():
            _outline(picture, _shrunk(finding.mask, size), COLOURS[number % len(COLOURS)])
    return picture


def save_thumbnail(result: Result, path: Path) -> None:
    """Write `draw_thumbnail` as PNG.

    Raises:
        OSError: if it cannot be written.
    """
    buffer = io.BytesIO()
    draw_thumbnail(result).save(buffer, format="PNG")
    path.write_bytes(buffer.getvalue())


def _shown_size(case: Case) -> tuple[int, int]:
    height, width = (float(side) for side in case.size)
    if case.geometry is not None:
        along_i, along_j, _ = case.geometry.spacing
        height *= along_j / along_i
    scale = SIDE / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _shrunk(mask: NDArray[np.bool_], size: tuple[int, int]) -> Image.Image:
    """Thin structures stay visible: a pixel counts from a third of its area on."""
    whole = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
    is_smaller = size[0] < whole.width
    soft = whole.resize(size, Image.Resampling.BOX if is_smaller else Image.Resampling.BILINEAR)
    return soft.point([255 * (value > 85) for value in range(256)])


def _outline(picture: Image.Image, mask: Image.Image, colour: tuple[int, int, int]) -> None:
    """A line with a dark halo; vessels, which lines would double, are filled instead."""
    grown = mask.filter(ImageFilter.MaxFilter(3))
    thin_line = ImageChops.subtract(grown, mask)
    if 2 * thin_line.histogram()[255] > mask.histogram()[255]:
        picture.paste(colour, mask=_faded(mask, 0.7))
        return
    wide = grown.filter(ImageFilter.MaxFilter(3))
    halo = ImageChops.subtract(wide.filter(ImageFilter.MaxFilter(3)), wide)
    picture.paste(_HALO, mask=_faded(halo, 0.5))
    picture.paste(colour, mask=ImageChops.subtract(wide, mask))


def _faded(mask: Image.Image, opacity: float) -> Image.Image:
    return mask.point([round(value * opacity) for value in range(256)])
