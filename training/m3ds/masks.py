"""Masks as downloads store them, and how each becomes pixels of its image.

Every spec is a small picklable dataclass with `rasterise((width, height)) -> bool (H, W)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw

Mask = NDArray[np.bool_]
Points = tuple[tuple[float, float], ...]
FOREGROUND = 127
MAX_GREY_FRACTION = 0.1
"""JPEG masks have soft edges; with more pixels in between, the file is a picture, not a mask."""


class CaseError(Exception):
    """One case cannot be used; the message is the reason, the rest of the set goes on."""


class MaskSpec(Protocol):
    """Anything that can say which pixels of an image belong to a target."""

    def rasterise(self, size: tuple[int, int]) -> Mask:
        """Bool (H, W) for an image of `size` (width, height); CaseError if it does not fit."""


@dataclass(frozen=True)
class MaskFile:
    """A mask image of the same size as its image; any colour but black is foreground."""

    path: Path

    def rasterise(self, size: tuple[int, int]) -> Mask:
        """The file's foreground."""
        mask = _read_foreground(self.path)
        if mask.shape != (size[1], size[0]):
            raise CaseError("mask of another size than its image")
        return mask


@dataclass(frozen=True)
class CroppedMask:
    """A mask image of the target's bounding box only, with the box's corner in the image."""

    path: Path
    top: int
    left: int

    def rasterise(self, size: tuple[int, int]) -> Mask:
        """The crop's foreground at its place."""
        crop = _read_foreground(self.path)
        bottom, right = self.top + crop.shape[0], self.left + crop.shape[1]
        if min(self.top, self.left) < 0 or bottom > size[1] or right > size[0]:
            raise CaseError("cropped mask reaches beyond its image")
        mask = np.zeros((size[1], size[0]), np.bool_)
        mask[self.top : bottom, self.left : right] = crop
        return mask


@dataclass(frozen=True)
class Polygon:
    """An outline.

    Attributes:
        points: (x, y), the image's top left corner is (0, 0), the first pixel's centre (0.5, 0.5).
        normalised: whether points are fractions of width and height, as YOLO has them.
        drawn_on: (width, height) that the annotation gives for its image, if it does.
    """

    points: Points
    normalised: bool = False
    drawn_on: tuple[int, int] | None = None

    def rasterise(self, size: tuple[int, int]) -> Mask:
        """Pixels whose centre is inside."""
        if self.drawn_on is not None and self.drawn_on != size:
            raise CaseError("outline drawn on an image of another size")
        scale = np.array(size if self.normalised else (1, 1), np.float64)
        return fill_polygon(np.array(self.points, np.float64).reshape(-1, 2) * scale, size)

    @property
    def area(self) -> float:
        """Enclosed area in the points' own units."""
        x, y = np.array(self.points, np.float64).reshape(-1, 2).T
        return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


def unite(specs: Sequence[MaskSpec], size: tuple[int, int]) -> Mask:
    """Union of several masks of one target, bool (H, W)."""
    mask = np.zeros((size[1], size[0]), np.bool_)
    for spec in specs:
        mask |= spec.rasterise(size)
    return mask


def fill_polygon(points: NDArray[np.float64], size: tuple[int, int]) -> Mask:
    """Even-odd filling: bool (H, W) of pixels whose centre is inside.

    Pillow's and OpenCV's polygons include every touched pixel, which would thicken a hairline
    fracture to several times its width.

    Args:
        points: (N, 2) x and y.
        size: (width, height).

    Raises:
        CaseError: for fewer than three points, or points that are not finite or far outside.
    """
    width, height = size
    if len(points) < 3 or not np.isfinite(points).all():
        raise CaseError("outline of fewer than three usable points")
    margin = 0.02 * np.array(size) + 1
    if (points < -margin).any() or (points > np.array(size) + margin).any():
        raise CaseError("outline reaches beyond its image")
    toggles = np.zeros((height, width + 1), np.int32)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        (x0, y0), (x1, y1) = ((x0, y0), (x1, y1)) if y0 < y1 else ((x1, y1), (x0, y0))
        first, last = max(0, math.ceil(y0 - 0.5)), min(height, math.ceil(y1 - 0.5))
        rows = np.arange(first, last)
        if rows.size:
            x = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            np.add.at(toggles, (rows, np.clip(np.ceil(x - 0.5), 0, width).astype(int)), 1)
    mask = (np.cumsum(toggles[:, :width], axis=1) % 2).astype(np.bool_)
    return mask if mask.any() else _touched(points, size)


def _touched(points: NDArray[np.float64], size: tuple[int, int]) -> Mask:
    """A target thinner than a pixel is still a target: the pixels under its outline."""
    canvas = Image.new("1", size)
    corners = np.clip(np.floor(points), 0, np.array(size) - 1)
    ImageDraw.Draw(canvas).line([(float(x), float(y)) for x, y in corners], fill=1)
    return np.asarray(canvas)


def shrink_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """Resize to (width, height), keeping the area.

    Half coverage as the limit would erase vessels thinner than a pixel; instead the pixels that
    are covered most are taken, as many as the foreground fills.
    """
    if mask.shape == (size[1], size[0]):
        return mask
    grey = Image.fromarray(mask).convert("L").resize(size, Image.Resampling.BOX)
    coverage = np.asarray(grey)
    covered = coverage[coverage > 0]
    if not covered.size:
        return np.zeros(coverage.shape, np.bool_)
    count = min(covered.size, max(1, round(float(covered.sum(dtype=np.float64)) / 255)))
    limit = np.partition(covered, covered.size - count)[covered.size - count]
    return coverage >= limit


def _read_foreground(path: Path) -> Mask:
    try:
        with Image.open(path) as image:
            image.load()
            return _binarise(_brightest_channel(image))
    except FileNotFoundError:
        raise CaseError("mask file is missing") from None
    except (OSError, SyntaxError, ValueError):
        raise CaseError("mask file is truncated or no image") from None


def _brightest_channel(image: Image.Image) -> Image.Image:
    """Mode L: some sets draw their masks in colours."""
    if image.mode in ("1", "L"):
        return image.convert("L")
    if image.mode.startswith("I"):
        deep = np.asarray(image)
        return Image.fromarray((deep * (255.0 / max(1, deep.max()))).round().astype(np.uint8))
    red, green, blue = image.convert("RGB").split()
    return ImageChops.lighter(ImageChops.lighter(red, green), blue)


def _binarise(grey: Image.Image) -> Mask:
    """Black and one other value is a mask, as is black and white with soft edges; the rest is not.

    Refused are label numbers of several classes, and a photograph in the mask's place.
    """
    levels = np.array(grey.histogram())
    used = np.flatnonzero(levels)
    pixels = np.asarray(grey)
    if len(used) <= 2 and (used[0] == 0 or len(used) == 1):
        return pixels > 0
    between = levels[FOREGROUND // 2 : FOREGROUND * 3 // 2].sum() / levels.sum()
    if used[-1] <= FOREGROUND or between > MAX_GREY_FRACTION:
        raise CaseError("mask has several values; it must be black and white")
    return pixels > FOREGROUND
