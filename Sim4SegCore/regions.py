"""Connected regions of a mask and distances to it, as SimpleITK computes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray


def region_areas(mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Regions that do not touch, corners included.

    Args:
        mask: bool (H, W), not empty.

    Returns:
        The pixels of each region, and the mask of the largest.
    """
    labels = SimpleITK.GetArrayFromImage(SimpleITK.ConnectedComponent(_to_itk(mask), True))
    areas = np.bincount(labels[mask])[1:]
    return areas, labels == 1 + int(areas.argmax())


def filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask (H, W) with the holes that it encloses."""
    holes_closed = SimpleITK.BinaryFillhole(_to_itk(mask))
    solid: NDArray[np.bool_] = SimpleITK.GetArrayFromImage(holes_closed) > 0
    return solid


def signed_distance(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(H, W) pixels to the outermost pixels of a mask: above 0 outside of it, below 0 inside."""
    distance: NDArray[np.float32] = SimpleITK.GetArrayFromImage(
        SimpleITK.SignedMaurerDistanceMap(
            _to_itk(mask), insideIsPositive=False, squaredDistance=False, useImageSpacing=False
        )
    )
    return distance


def _to_itk(mask: NDArray[np.bool_]) -> Any:
    return SimpleITK.GetImageFromArray(mask.astype(np.uint8))
