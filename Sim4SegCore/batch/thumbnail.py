"""A small picture of a result for contact sheets: the image with its findings outlined."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from ..case import Result
from ..intensity import to_rgb8
from ..volume import VolumeResult

SIDE = 336
"""Pixels of the longer side."""
COLOURS = ((0, 213, 255), (255, 176, 0), (125, 255, 107), (255, 106, 213))
_HALO = (0, 0, 0)


@dataclass(frozen=True)
class _Shown:
    """One plane of a result.

    Attributes:
        pixels: uint8 (H, W) or (H, W, 3).
        proportion: height of a pixel in widths.
        masks: of the findings, bool (H, W).
    """

    pixels: NDArray[np.uint8]
    proportion: float
    masks: tuple[NDArray[np.bool_], ...]


def draw_thumbnail(result: Result | VolumeResult) -> Image.Image:
    """The image in its physical proportions, at most SIDE x SIDE, findings outlined.

    Of a volume it is the weightiest key slice.
    """
    shown = _key_slice(result) if isinstance(result, VolumeResult) else _image(result)
    size = _shown_size(shown)
    picture = Image.fromarray(shown.pixels).convert("RGB").resize(size, Image.Resampling.LANCZOS)
    for number, mask in enumerate(shown.masks):
        if mask.any():
            _outline(picture, _shrunk(mask, size), COLOURS[number % len(COLOURS)])
    return picture


def save_thumbnail(result: Result | VolumeResult, path: Path) -> None:
    """Write `draw_thumbnail` as PNG.

    Raises:
        OSError: if it cannot be written.
    """
    buffer = io.BytesIO()
    draw_thumbnail(result).save(buffer, format="PNG")
    path.write_bytes(buffer.getvalue())


def _image(result: Result) -> _Shown:
    proportion, geometry = 1.0, result.case.geometry
    if geometry is not None:
        proportion = geometry.spacing[1] / geometry.spacing[0]
    masks = tuple(finding.mask for finding in result.findings)
    return _Shown(to_rgb8(result.case), proportion, masks)


def _key_slice(result: VolumeResult) -> _Shown:
    view = result.view
    # Of a volume without anything to look at, the middle.
    index = result.key_slices[0].index if result.key_slices else view.count // 2
    number = view.index(index)  # its own inverse
    plane = view.of(result.case.voxels)[number]
    pixels = np.ascontiguousarray(plane) if result.case.is_colour else result.window.to_uint8(plane)
    _, down, across = view.spacing
    masks = tuple(view.of(finding.mask)[number] for finding in result.findings)
    return _Shown(pixels, down / across, masks)


def _shown_size(shown: _Shown) -> tuple[int, int]:
    height, width = (float(side) for side in shown.pixels.shape[:2])
    height *= shown.proportion
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
