"""Intensities of any modality as 8-bit RGB, the same for the model and for the eye."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .case import Case

CT_SOFT_TISSUE = (40.0, 400.0)
"""(centre, width) in HU for a CT that proposes no window."""

PERCENTILES = (0.5, 99.5)


def to_rgb8(case: Case) -> NDArray[np.uint8]:
    """Map the case's intensities to what a reader would look at.

    8-bit images pass unchanged. Others are windowed: by the file's own window, else by the
    soft-tissue window for grey CT, else between the 0.5th and 99.5th percentile.

    Returns:
        uint8 (H, W, 3); a constant image without a window is black.
    """
    image = case.image
    if image.dtype == np.bool_:
        image = image.astype(np.uint8) * np.uint8(255)
    if image.dtype != np.uint8:
        low, high = _display_range(case)
        image = _stretch(image, low, high)
    if image.ndim == 2:
        return np.repeat(image[:, :, np.newaxis], 3, axis=2)
    return np.array(image, dtype=np.uint8)


def _display_range(case: Case) -> tuple[float, float]:
    """(low, high): the intensities that become black and white."""
    window = case.window
    if window is None and case.modality == "CT" and case.image.ndim == 2:
        window = CT_SOFT_TISSUE
    if window is not None:
        centre, width = window
        return centre - width / 2, centre + width / 2
    low, high = np.percentile(case.image, PERCENTILES)
    if low == high:
        # A few bright pixels on an even ground: percentiles would erase them.
        low, high = case.image.min(), case.image.max()
    return float(low), float(high)


def _stretch(image: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    if high <= low:
        return np.zeros(image.shape, dtype=np.uint8)
    scaled = (image.astype(np.float64) - low) * (255.0 / (high - low))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
