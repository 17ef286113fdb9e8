"""Sizes of a mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .case import Case


def measure(mask: NDArray[np.bool_], case: Case) -> dict[str, float]:
    """Measure a mask.

    Args:
        mask: bool (H, W), in the pixels of `case.image`.

    Returns:
        `area_px` in pixels, `image_fraction` in 0..1, and `area_mm2` in mm² only if the case
        knows its spacing.

    Raises:
        ValueError: if mask and image differ in size.
    """
    if mask.shape != case.size:
        raise ValueError(f"mask {mask.shape} does not fit the image {case.size}")
    pixels = float(np.count_nonzero(mask))
    measurements = {"area_px": pixels, "image_fraction": pixels / mask.size}
    if case.geometry is not None:
        along_i, along_j, _ = case.geometry.spacing
        measurements["area_mm2"] = pixels * along_i * along_j
    return measurements
