"""How well a drawn mask meets the true one: IoU, Dice, surfaces (MONAI).

What an empty mask scores where something was to be found: IoU, Dice and NSD 0, and as HD95 the
image's diagonal, the largest distance that the image holds. A missed target is so never better
than any drawn mask, and no mean becomes infinite. Both empty: IoU, Dice and NSD 1, HD95 0.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from numpy.typing import NDArray

NSD_TOLERANCE = 2.0
"""Pixels of the stored image by which a surface may be off and still count as met."""

HD_PERCENTILE = 95.0

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Overlap:
    """A mask against the truth.

    Attributes:
        intersection: pixels in both.
        predicted: pixels in the mask.
        truth: pixels in the true mask.
        nsd: normalised surface distance at `NSD_TOLERANCE`, 0..1: the fraction of both outlines
            that lies within the tolerance of the other.
        hd95: 95th percentile of the surface distances in pixels, the larger of both directions.
        diagonal: of the image in pixels.
    """

    intersection: int
    predicted: int
    truth: int
    nsd: float
    hd95: float
    diagonal: float

    @property
    def union(self) -> int:
        """Pixels in either."""
        return self.predicted + self.truth - self.intersection

    @property
    def iou(self) -> float:
        """Intersection over union; 1 if both are empty."""
        return self.intersection / self.union if self.union else 1.0

    @property
    def dice(self) -> float:
        """Twice the intersection over the sum of both; 1 if both are empty."""
        total = self.predicted + self.truth
        return 2 * self.intersection / total if total else 1.0


def iou(mask: Mask, truth: Mask) -> float:
    """Intersection over union; 1 if both are empty."""
    union = int((mask | truth).sum())
    return int((mask & truth).sum()) / union if union else 1.0


def dice(mask: Mask, truth: Mask) -> float:
    """Twice the intersection over the sum of both; 1 if both are empty."""
    total = int(mask.sum()) + int(truth.sum())
    return 2 * int((mask & truth).sum()) / total if total else 1.0


def measure_overlap(mask: Mask, truth: Mask) -> Overlap:
    """Compare a mask with the truth, both bool (H, W).

    Raises:
        ValueError: if they differ in size.
    """
    if mask.shape != truth.shape:
        raise ValueError(f"mask {mask.shape} and truth {truth.shape} differ in size")
    diagonal = math.hypot(*mask.shape)
    if mask.any() and truth.any():
        nsd, hd95 = _surfaces(mask, truth)
    else:
        both_empty = not mask.any() and not truth.any()
        nsd, hd95 = (1.0, 0.0) if both_empty else (0.0, diagonal)
    return Overlap(
        intersection=int((mask & truth).sum()),
        predicted=int(mask.sum()),
        truth=int(truth.sum()),
        nsd=nsd,
        hd95=hd95,
        diagonal=diagonal,
    )


def _surfaces(mask: Mask, truth: Mask) -> tuple[float, float]:
    """(NSD, HD95) of two masks that are not empty.

    Only the box around both is looked at. That is exact: beyond it nothing has an outline, and
    MONAI takes what lies outside of an array for background, as it does at the image's edge.
    """
    box = _box(mask | truth)
    pair = [torch.from_numpy(np.ascontiguousarray(m[box]))[None, None] for m in (mask, truth)]
    with warnings.catch_warnings():
        # MONAI 1.5 and 1.6 warn about an argument that they themselves pass on.
        warnings.filterwarnings("ignore", ".*always_return_as_numpy", FutureWarning)
        # Else the first channel, our only one, would pass for the background.
        nsd = compute_surface_dice(*pair, [NSD_TOLERANCE], include_background=True)
        hd95 = compute_hausdorff_distance(*pair, include_background=True, percentile=HD_PERCENTILE)
    return float(nsd), float(hd95)


def _box(mask: Mask) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
