"""Made-up volumes for the tests of this folder, and the ways of storing one anew."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

from Sim4SegCore.case import Geometry
from Sim4SegCore.volume import VolumeCase

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
STORED = tuple(product(permutations(range(3)), product((False, True), repeat=3)))
"""Every order of the array's axes with every choice of reversed ones: 48."""


def noise_volume(
    shape: tuple[int, int, int] = (6, 40, 50),
    spacing: tuple[float, float, float] = (1.0, 1.5, 6.0),
    direction: tuple[float, ...] = IDENTITY,
) -> VolumeCase:
    """Blobs and noise without any symmetry, int16."""
    k, j, i = np.meshgrid(*map(np.arange, shape), indexing="ij")
    blobs = 400 * np.sin(k / 2 + 1) + 300 * np.cos(j / 7) + 200 * np.sin(i / 5 + j / 9)
    noise = np.random.default_rng(0).normal(0, 60, shape)
    geometry = Geometry(spacing, (12.0, -34.0, 56.0), direction)
    return VolumeCase((blobs + noise).astype(np.int16), geometry)


def stored_anew(
    case: VolumeCase, order: tuple[int, ...], is_reversed: tuple[bool, ...]
) -> VolumeCase:
    """The same anatomy at the same places, with axes of the array exchanged and reversed.

    Args:
        order: axis n of the new array is axis order[n] of the old one, in (k, j, i).
        is_reversed: which axes of the new array run backwards.
    """
    steps = tuple(slice(None, None, -1 if back else 1) for back in is_reversed)
    voxels = np.ascontiguousarray(case.voxels.transpose(order)[steps])
    cosines = np.asarray(case.geometry.direction).reshape(3, 3)
    corner = [0.0, 0.0, 0.0]
    columns, spacing = [], []
    for new_index in range(3):  # i, j, k
        new_axis = 2 - new_index
        old_axis = order[new_axis]
        old_index = 2 - old_axis
        if is_reversed[new_axis]:
            corner[old_index] = case.voxels.shape[old_axis] - 1
        columns.append(cosines[:, old_index] * (-1 if is_reversed[new_axis] else 1))
        spacing.append(case.geometry.spacing[old_index])
    origin = places(case.geometry, np.array([corner]))[0]
    geometry = Geometry(
        (spacing[0], spacing[1], spacing[2]),
        (float(origin[0]), float(origin[1]), float(origin[2])),
        tuple(np.stack(columns, axis=1).ravel().tolist()),
    )
    return VolumeCase(voxels, geometry, case.source, case.modality)


def places(geometry: Geometry, indices: NDArray[np.floating]) -> NDArray[np.float64]:
    """Indices (N, 3) as (i, j, k) to LPS positions (N, 3) in mm."""
    cosines = np.asarray(geometry.direction).reshape(3, 3)
    offsets = (indices * np.asarray(geometry.spacing)) @ cosines.T
    return np.asarray(geometry.origin) + offsets


def marked_places(mask: NDArray[np.bool_], geometry: Geometry) -> NDArray[np.float64]:
    """LPS positions of a mask's voxels, sorted, rounded to a micrometre."""
    k, j, i = np.nonzero(mask)
    found = np.round(places(geometry, np.stack([i, j, k], 1)), 3) + 0.0
    return found[np.lexsort(found.T)]
