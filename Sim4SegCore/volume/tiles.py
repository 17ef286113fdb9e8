"""Overlapping windows along the axes of a grid, and how they are blended."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..modeling.volumetric import STRIDE
from .resampling import Floats

SHARPNESS = 0.125
"""Standard deviation of a window's weights as a fraction of its side, as in nnU-Net and MONAI."""


@dataclass(frozen=True)
class AxisTiles:
    """Windows along one axis.

    Attributes:
        size: places of the grid.
        side: of a window, a multiple of the network's stride; larger than `size` in small scans.
        starts: where windows begin, ascending.
        weights: float32 (windows, side); at each place of the grid, those of all windows sum to 1.
    """

    size: int
    side: int
    starts: tuple[int, ...]
    weights: Floats

    @classmethod
    def of(cls, size: int, largest: int, overlap: float) -> AxisTiles:
        """As few windows as cover the axis with at least this overlap, evenly spread."""
        side = min(largest, -(-size // STRIDE) * STRIDE)
        free = max(0, size - side)
        count = math.ceil(free / max(1.0, side * (1 - overlap))) + 1
        starts = tuple(round(free * n / max(1, count - 1)) for n in range(count))
        places = np.arange(side) - (side - 1) / 2
        bell = np.exp(-0.5 * (places / (SHARPNESS * side)) ** 2)
        total = np.zeros(max(size, side))
        for start in starts:
            total[start : start + side] += bell
        weights = np.stack([bell / total[start : start + side] for start in starts])
        return cls(size, side, starts, weights.astype(np.float32))

    def inside(self, number: int) -> slice:
        """The part of the grid that a window covers."""
        start = self.starts[number]
        return slice(start, min(start + self.side, self.size))
