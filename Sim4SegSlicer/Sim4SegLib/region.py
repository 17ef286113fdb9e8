"""A region of interest of Markups as a crop: what lies outside of it is not shown to the model.

MRML, no Qt; nothing in the scene is changed.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Sim4SegCore.errors import Sim4SegError

from .planes import Crop, Matrix, Plane, array_of

SMALLEST_SIDE = 16
"""Pixels of a crop; the model sees less in an enlarged handful of pixels than in the whole."""
Box = tuple[slice, slice, slice]
_EDGES = [
    (a, b) for a, b in itertools.combinations(range(8), 2) if (a ^ b).bit_count() == 1
]  # corners are numbered by three bits


def corners_of(roi_node: Any) -> NDArray[np.float64]:
    """(8, 3) corners in RAS, mm, with the node's transform; they differ in one bit along an edge.

    Raises:
        Sim4SegError: if the region has not been drawn.
    """
    half = np.asarray(roi_node.GetSize(), float) / 2
    if not half.min() > 0:
        raise Sim4SegError("the region of interest has no extent; draw it, or choose none")
    signs = np.array([[1 if number >> bit & 1 else -1 for bit in range(3)] for number in range(8)])
    to_world = array_of(roi_node.GetObjectToWorldMatrix())
    return (np.c_[signs * half, np.ones(8)] @ to_world.T)[:, :3]


def crop_of(
    corners: NDArray[np.float64], plane: Plane, ijk_to_world: Matrix, shape: tuple[int, ...]
) -> Crop:
    """The smallest rectangle of a slice that holds what the region cuts out of it.

    Args:
        corners: see `corners_of`.
        plane: without a crop.
        shape: (k, j, i) of the volume.

    Raises:
        Sim4SegError: if the region does not cut the slice, or only a few pixels of it.
    """
    indices = _indices(corners, ijk_to_world)
    cut = _cut(indices, plane.axis, 0.5 if shape[plane.axis] == 1 else 0.0, plane.index)
    if not len(cut):
        raise Sim4SegError(
            "the region of interest does not cut the slice; scroll to it, or choose none"
        )
    first, last = (_within(function(cut, axis=0), shape) for function in (np.min, np.max))
    ends = []
    for corner in (first, last):
        corner[plane.axis] = plane.index
        place = plane.pixel_of(corner, shape)
        assert place is not None
        ends.append(place)
    (row, column), (other_row, other_column) = np.min(ends, 0).tolist(), np.max(ends, 0).tolist()
    crop = Crop(row, column, other_row - row + 1, other_column - column + 1)
    _check_size((crop.rows, crop.columns), plane.size(shape))
    return crop


def box_of(corners: NDArray[np.float64], ijk_to_world: Matrix, shape: tuple[int, ...]) -> Box:
    """The smallest box of voxels (k, j, i) around the region, as far as it is in the volume.

    Raises:
        Sim4SegError: if the region lies beside the volume, or holds only a few voxels.
    """
    indices = _indices(corners, ijk_to_world)
    lowest, highest = indices.min(0), indices.max(0)
    if (highest < -0.5).any() or (lowest > np.array(shape[:3]) - 0.5).any():
        raise Sim4SegError("the region of interest lies beside the volume; move it, or choose none")
    first, last = _within(lowest, shape), _within(highest, shape)
    k, j, i = (slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True))
    sides = last - first + 1
    _check_size(tuple(sorted(sides)[1:]), tuple(sorted(shape[:3])[1:]))
    return k, j, i


def _indices(points: NDArray[np.float64], ijk_to_world: Matrix) -> NDArray[np.float64]:
    """(N, 3) places in RAS as indices (k, j, i)."""
    homogeneous = np.c_[points, np.ones(len(points))]
    ijk: NDArray[np.float64] = np.linalg.solve(ijk_to_world, homogeneous.T)[:3].T
    return ijk[:, ::-1]


def _cut(
    corners: NDArray[np.float64], axis: int, tolerance: float, index: int
) -> NDArray[np.float64]:
    """(N, 3) corners of what a slice cuts out of a box; a picture has a pixel's thickness."""
    heights = corners[:, axis] - index
    places = [corners[number] for number in range(8) if abs(heights[number]) <= tolerance + 1e-6]
    for a, b in _EDGES:
        if heights[a] * heights[b] < 0:
            share = heights[a] / (heights[a] - heights[b])
            places.append(corners[a] + share * (corners[b] - corners[a]))
    return np.array(places).reshape(-1, 3)


def _within(index: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    nearest = np.floor(index + 0.5).astype(np.int64)
    return np.clip(nearest, 0, np.array(shape[:3]) - 1)


def _check_size(sides: tuple[int, ...], available: tuple[int, ...]) -> None:
    smallest = [min(SMALLEST_SIDE, side) for side in sorted(available)]
    if any(side < least for side, least in zip(sorted(sides), smallest, strict=True)):
        told = " x ".join(str(int(side)) for side in sides)
        raise Sim4SegError(
            f"the region of interest has {told} pixels here; make it at least {SMALLEST_SIDE} wide "
            "and high, or choose none"
        )
