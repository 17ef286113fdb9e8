"""The one place where pixels of the image, of the LVLM and of SAM are related.

A Frame says how a window of the image lies inside a model's square input. Everything that
crosses from one pixel grid to another (image to model, similarity to mask prompt, mask to
image) goes through it, whatever the aspect ratio. The paper's code cuts its regions over the
original height and width and paints them on a full square, which is wrong for every image
that is not square; see `RVLS2M` for what uses this instead.

Coordinates are continuous with pixel centres at integers: pixel n covers [n - 0.5, n + 0.5].
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Frame:
    """A window of an image, resized and placed at the top left of a padded square.

    Attributes:
        window: (top, left, height, width) of the window in image pixels.
        content: (height, width) in model pixels that the window is resized to.
        side: height and width of the model's input; the rest is padding, right and below.
        mirrored: whether the model sees the window upside down, and left and right swapped.
    """

    window: tuple[int, int, int, int]
    content: tuple[int, int]
    side: int
    mirrored: tuple[bool, bool] = (False, False)

    @classmethod
    def longest_side(cls, image_size: tuple[int, int], side: int) -> Frame:
        """The whole image with its longest side scaled to `side`: SAM's ResizeLongestSide.

        Args:
            image_size: (height, width).
            side: side of the model's square input in pixels.
        """
        return cls.of_window((0, 0, *image_size), side)

    @classmethod
    def of_window(cls, window: tuple[int, int, int, int], side: int) -> Frame:
        """A window (top, left, height, width) of the image, its longest side scaled to `side`."""
        _, _, height, width = window
        scale = side / max(height, width)
        content = (max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5)))
        return cls(window, content, side)

    def mirror(self, rows: bool = False, columns: bool = False) -> Frame:
        """The same window, its rows in reverse order, or its columns."""
        return dataclasses.replace(
            self, mirrored=(self.mirrored[0] ^ rows, self.mirrored[1] ^ columns)
        )

    @property
    def _mirrored_axes(self) -> list[int]:
        """Axes of a tensor (..., H, W) that the model sees in reverse."""
        return [axis for axis, mirrored in zip((-2, -1), self.mirrored, strict=True) if mirrored]

    def _reflected(self, model_yx: NDArray[np.float64]) -> NDArray[np.float64]:
        """Model points as they lie without mirroring, or the other way round."""
        last = np.asarray(self.content, dtype=float) - 1
        return np.where(self.mirrored, last - model_yx, model_yx)

    @property
    def _scale(self) -> NDArray[np.float64]:
        """Model pixels per image pixel along (y, x)."""
        return np.asarray(self.content, dtype=float) / np.asarray(self.window[2:], dtype=float)

    def to_model(self, points_yx: NDArray[np.floating]) -> NDArray[np.float64]:
        """Image points (..., 2) as (y, x) to model points (..., 2)."""
        origin = np.asarray(self.window[:2], dtype=float)
        upright = (np.asarray(points_yx, dtype=float) - origin + 0.5) * self._scale - 0.5
        return self._reflected(upright)

    def to_image(self, points_yx: NDArray[np.floating]) -> NDArray[np.float64]:
        """Model points (..., 2) as (y, x) to image points (..., 2); inverse of `to_model`."""
        origin = np.asarray(self.window[:2], dtype=float)
        upright = self._reflected(np.asarray(points_yx, dtype=float))
        return (upright + 0.5) / self._scale - 0.5 + origin

    def apply(self, image: Tensor) -> Tensor:
        """Cut, resize (antialiased) and pad an image with zeros.

        Args:
            image: (C, H, W), float or uint8.

        Returns:
            (C, side, side) of the same dtype.
        """
        top, left, height, width = self.window
        cut = image[None, :, top : top + height, left : left + width]
        if (height, width) != self.content:
            cut = F.interpolate(
                cut, size=self.content, mode="bilinear", align_corners=False, antialias=True
            )
        padding = (0, self.side - self.content[1], 0, self.side - self.content[0])
        if self._mirrored_axes:
            cut = cut.flip(self._mirrored_axes)
        return F.pad(cut, padding)[0]

    def invert(self, values: Tensor) -> Tensor:
        """Bring a map in model coordinates back onto the window's own pixels.

        Args:
            values: (B, C, h, w) float at any resolution that spans the whole model input.

        Returns:
            (B, C, window height, window width), bilinear; padding never leaks in.
        """
        rows, columns = (self._weights_of_cells(axis, values) for axis in (0, 1))
        # The axes apart: two small products instead of four neighbours looked up for every pixel.
        upright = rows @ values @ columns.T
        return upright.flip(axes) if (axes := self._mirrored_axes) else upright

    def invert_above(self, values: Tensor, least: float) -> Tensor:
        """Where `invert` gives more than a level, computed only around cells that do.

        Args:
            values: as of `invert`.

        Returns:
            bool (B, C, window height, window width).
        """
        is_above = (values > least).flatten(0, 1).any(0)
        found = torch.zeros(*values.shape[:2], *self.window[2:], dtype=torch.bool)
        near, parts = values, []
        for axis, cells in enumerate((is_above.any(1), is_above.any(0))):
            weights = self._weights_of_cells(axis, values)
            # The mean of cells that are not above the level is not above it either.
            reached = (weights[:, cells] > 0).any(1)
            if not reached.any():
                return found
            pixels = _stretch(reached)
            read = _stretch((weights[pixels] > 0).any(0))
            parts.append((pixels, weights[pixels, read]))
            near = near.narrow(2 + axis, read.start, read.stop - read.start)
        (rows, down), (columns, across) = parts
        found[..., rows, columns] = down @ near @ across.T > least
        return found.flip(axes) if (axes := self._mirrored_axes) else found

    def _weights_of_cells(self, axis: int, values: Tensor) -> Tensor:
        """What each cell of a map counts in each pixel of the window, along one axis.

        Returns:
            (pixels, cells); every row adds up to 1.
        """
        cells = values.shape[axis - 2]
        pixels, content = self.window[2 + axis], self.content[axis]
        centres = (torch.arange(pixels) + 0.5) * (content / pixels * cells / self.side) - 0.5
        places = centres.clamp(0, _cells_shown(content, self.side, cells) - 1)
        return (1 - (places[:, None] - torch.arange(cells)).abs()).clamp_min(0).to(values)


def _stretch(is_one: Tensor) -> slice:
    """From the first to the last of some places (N,), of which there is at least one."""
    places = is_one.nonzero()[:, 0]
    return slice(int(places[0]), int(places[-1]) + 1)


def relative_affine(source: Frame, target: Frame) -> Tensor:
    """The affine map that resamples a map in `source` coordinates into `target` coordinates.

    Both frames must belong to one image.

    Returns:
        (2, 3) float32 for `torch.nn.functional.affine_grid(..., align_corners=False)`: takes
        normalised target coordinates (x, y) to normalised source coordinates.
    """
    theta = torch.zeros(2, 3)
    for row, axis in ((0, 1), (1, 0)):
        target_scale = target.content[axis] / target.window[2 + axis]
        source_scale = source.content[axis] / source.window[2 + axis]
        ratio = source_scale / target_scale
        shift = (target.window[axis] - source.window[axis]) * source_scale
        if target.mirrored[axis]:
            ratio, shift = -ratio, shift + ratio * target.content[axis]
        if source.mirrored[axis]:
            ratio, shift = -ratio, source.content[axis] - shift
        theta[row, row] = ratio * target.side / source.side
        theta[row, 2] = (ratio * target.side + 2 * shift) / source.side - 1
    return theta


def content_mask(frame: Frame, size: int) -> Tensor:
    """Which cells of a size x size grid over the frame's input show the image.

    Returns:
        bool (size, size): True where the cell's centre lies on the image, not on padding; the
        first row and column always count, for images thinner than half a cell.
    """
    rows, columns = (
        torch.arange(size) < _cells_shown(edge, frame.side, size) for edge in frame.content
    )
    return rows[:, None] & columns[None, :]


def _cells_shown(edge: int, side: int, cells: int) -> int:
    """How many of `cells` cells over `side` pixels have their centre before `edge`; at least 1."""
    return max(1, -((side - 2 * edge * cells) // (2 * side)))
