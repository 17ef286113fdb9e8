"""Size and intensities of a mask in a volume, in millimetres."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from ..case import Finding
from .boxes import bounding_box
from .case import VolumeCase

_DIRECTIONS = 1024
_AT_ONCE = 32


def measure_volume(mask: NDArray[np.bool_], case: VolumeCase, parts: int) -> dict[str, float]:
    """Measure a mask.

    Args:
        mask: bool (k, j, i) of the case's shape.
        parts: how many regions it has that do not touch.

    Returns:
        `volume_mm3`, `volume_ml`, `voxels`, `image_fraction` (0..1); of a mask that is not empty
        also `regions`, `longest_diameter_mm` (between outer corners of voxels, in any direction,
        at most 0.1 % too short), and `intensity_mean` and `intensity_sd` of grey volumes in the
        file's own unit.

    Raises:
        ValueError: if mask and volume differ in shape.
    """
    if mask.shape != case.shape:
        raise ValueError(f"mask {mask.shape} does not fit the volume {case.shape}")
    voxels = int(np.count_nonzero(mask))
    cubic_mm = voxels * float(np.prod(case.geometry.spacing))
    measurements = {
        "volume_mm3": cubic_mm,
        "volume_ml": cubic_mm / 1000,
        "voxels": float(voxels),
        "image_fraction": voxels / mask.size,
    }
    box = bounding_box(mask)
    if box is None:
        return measurements
    measurements["regions"] = float(parts)
    measurements["longest_diameter_mm"] = _longest_diameter(mask[box], case.geometry.spacing)
    if not case.is_colour:
        inside = case.voxels[box][mask[box]].astype(np.float64)
        measurements["intensity_mean"] = float(inside.mean())
        measurements["intensity_sd"] = float(inside.std())
    return measurements


def millilitres(finding: Finding) -> str:
    """The volume of a finding in three digits or whole numbers, for people."""
    volume = finding.measurements["volume_ml"]
    return f"{volume:.0f} ml" if volume >= 100 else f"{volume:.3g} ml"


def _longest_diameter(mask: NDArray[np.bool_], spacing: tuple[float, float, float]) -> float:
    """Greatest distance between the outermost corners in any of many directions."""
    corners = _outer_corners(mask) * np.asarray(spacing, dtype=np.float64)
    corners = corners[ConvexHull(corners).vertices]
    farthest: set[int] = set()
    directions = _half_sphere(_DIRECTIONS)
    for start in range(0, len(directions), _AT_ONCE):
        along = corners @ directions[start : start + _AT_ONCE].T
        farthest.update(along.argmax(0).tolist(), along.argmin(0).tolist())
    ends = corners[sorted(farthest)]
    return float(max(np.linalg.norm(ends - end, axis=1).max() for end in ends))


def _outer_corners(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N, 3) corners (i, j, k) of the first and last voxel of every row along i."""
    k, j = np.nonzero(mask.any(2))
    rows = mask[k, j]
    first, beyond = rows.argmax(1), mask.shape[2] - rows[:, ::-1].argmax(1)
    corners = [
        np.stack([i, j + down, k + deep], 1)
        for i in (first, beyond)
        for down in (0, 1)
        for deep in (0, 1)
    ]
    return np.concatenate(corners).astype(np.float64)


def _half_sphere(count: int) -> NDArray[np.float64]:
    """(count, 3) unit vectors, evenly spread (Fibonacci's spiral)."""
    numbers = np.arange(count) + 0.5
    height = numbers / count
    turn = numbers * np.pi * (1 + 5**0.5)
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), height], 1)
