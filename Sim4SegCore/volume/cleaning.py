"""Islands and holes of a mask in three dimensions; whatever is changed is counted."""

from __future__ import annotations

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from .boxes import bounding_box
from .result import Cleaning

SMALLEST_ISLAND = 0.05
"""Parts smaller than this share of the largest are taken for noise."""


def clean(mask: NDArray[np.bool_]) -> Cleaning:
    """Remove small islands and fill enclosed holes of a mask (k, j, i), in place."""
    box = bounding_box(mask)
    if box is None:
        return Cleaning()
    labels = _components(np.pad(mask[box], 1), touching_at_corners=True)
    sizes = _sizes(labels)
    sizes[0] = 0
    is_island = (sizes > 0) & (sizes < SMALLEST_ISLAND * sizes.max())
    kept_labels = ~is_island
    kept_labels[0] = False
    kept = kept_labels[labels] if is_island.any() else labels > 0
    outside = _components(~kept, touching_at_corners=False)
    cleaned = outside != outside[0, 0, 0]  # a corner of what was padded
    mask[box] = cleaned[1:-1, 1:-1, 1:-1]
    return Cleaning(
        islands_removed=int(is_island.sum()),
        island_voxels=int(sizes[is_island].sum()),
        hole_voxels=int(np.count_nonzero(cleaned) - np.count_nonzero(kept)),
        parts=int(kept_labels[sizes > 0].sum()),
    )


def _components(mask: NDArray[np.bool_], touching_at_corners: bool) -> NDArray[np.uint32]:
    """Number of the connected part of each voxel, from 1; 0 outside of the mask."""
    image = SimpleITK.GetImageFromArray(mask.view(np.uint8))
    labels: NDArray[np.uint32] = SimpleITK.GetArrayFromImage(
        SimpleITK.ConnectedComponent(image, touching_at_corners)
    )
    return labels


def _sizes(labels: NDArray[np.uint32]) -> NDArray[np.intp]:
    """Voxels of each label, plane by plane: numpy counts in eight bytes a voxel."""
    count = int(labels.max()) + 1
    sizes = np.zeros(count, np.intp)
    for plane in labels:
        sizes += np.bincount(plane.ravel(), minlength=count)
    return sizes
