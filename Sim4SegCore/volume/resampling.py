"""Linear resampling along axes, any part of a grid at a time, without a second volume in memory.

Two grids cover the same extent: voxels of n places are as many times as wide as those of m as
m / n says. Where voxels become fewer, those in between are averaged, so that thin structures do
not depend on which of them are hit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Interpolation:
    """Weights of some places of a grid.

    Attributes:
        needed: places of the source that they depend on.
        weights: float32 (places, needed places), whose rows sum to 1; None where both grids are
            the same.
    """

    needed: slice
    weights: Floats | None

    def along(self, axis: int, values: Floats) -> Floats:
        """Needed places along an axis to places of the grid."""
        if self.weights is None:
            return values
        moved = np.tensordot(self.weights, values, (1, axis))
        return np.moveaxis(moved, 0, axis)


def interpolation(source: int, target: int, start: int, stop: int) -> Interpolation:
    """How places `start` to `stop` of a grid with `target` places come from `source` places."""
    if source == target:
        return Interpolation(slice(start, stop), None)
    step = source / target
    reach = max(step, 1.0)
    centres = (np.arange(start, stop) + 0.5) * step - 0.5
    first = int(max(0, np.floor(centres[0] - reach) + 1))
    beyond = int(min(source, np.ceil(centres[-1] + reach)))
    places = np.arange(first, max(beyond, first + 1))
    weights = np.clip(1 - np.abs(places - centres[:, None]) / reach, 0, None)
    weights /= weights.sum(1, keepdims=True)
    return Interpolation(slice(first, int(places[-1]) + 1), weights.astype(np.float32))


def resized_size(size: int, spacing: float, wanted: float) -> int:
    """How many places of about `wanted` mm cover `size` places of `spacing` mm; at least one."""
    return max(1, round(size * spacing / wanted))
