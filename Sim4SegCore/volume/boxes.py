"""The part of a volume that a mask takes up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, slice, slice] | None:
    """The smallest box that holds the mask; None of an empty one."""
    planes = np.array([plane.any() for plane in mask])
    if not planes.any():
        return None
    shadow = np.logical_or.reduce(mask, axis=0)
    k, j, i = (_extent(line) for line in (planes, shadow.any(1), shadow.any(0)))
    return k, j, i


def _extent(line: NDArray[np.bool_]) -> slice:
    places = np.flatnonzero(line)
    return slice(int(places[0]), int(places[-1]) + 1)
