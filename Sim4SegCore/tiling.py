"""Tiles over an image for targets that are thin against it, and their blending."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .frame import Frame


def tile_frames(
    image_size: tuple[int, int], detail_side: int, tile: int, overlap: float
) -> list[Frame]:
    """Frames of overlapping square windows that cover an image.

    Args:
        image_size: (height, width).
        detail_side: the longest side of the image, had it been resized to the tiles' scale.
        tile: side of the model's input in pixels.
        overlap: fraction of a window shared with the next.

    Returns:
        one frame per window, in raster order; a window is at most as large as the image.
    """
    side = max(1, round(max(image_size) * tile / detail_side))
    rows = _starts(image_size[0], side, overlap)
    columns = _starts(image_size[1], side, overlap)
    height, width = min(side, image_size[0]), min(side, image_size[1])
    return [Frame.of_window((y, x, height, width), tile) for y in rows for x in columns]


def _starts(length: int, side: int, overlap: float) -> list[int]:
    if side >= length:
        return [0]
    count = math.ceil((length - side) / max(1.0, side * (1 - overlap))) + 1
    return [round(n * (length - side) / (count - 1)) for n in range(count)]


def blend(frames: list[Frame], maps: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Weighted mean of per-tile maps on the image's pixels, weights falling to the borders.

    Args:
        frames: of N tiles that together cover the image.
        maps: (N, 1, P, P) in each frame's coordinates.
        image_size: (height, width).

    Returns:
        float32 (height, width).
    """
    total = torch.zeros(image_size)
    weights = torch.zeros(image_size)
    for frame, values in zip(frames, maps.float().cpu(), strict=True):
        top, left, height, width = frame.window
        area = (slice(top, top + height), slice(left, left + width))
        weight = _ramp(height)[:, None] * _ramp(width)[None, :]
        total[area] += weight * frame.invert(values[None])[0, 0]
        weights[area] += weight
    return total / weights


def _ramp(length: int) -> Tensor:
    centres = torch.arange(length) + 0.5
    return torch.minimum(centres, length - centres) / length + 1e-3
