"""Sizes and intensities of a mask, in millimetres where the case knows them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from .case import Case
from .regions import region_areas, signed_distance

RIM = 0.05
"""Width of the rim that a mask is compared with, over the image's longest side."""


def measure(mask: NDArray[np.bool_], case: Case) -> dict[str, float]:
    """Measure a mask.

    Args:
        mask: bool (H, W), in the pixels of `case.image`.

    Returns:
        Always `area_px` in pixels and `image_fraction` in 0..1. Of a mask that is not empty also

        - `regions`, how many parts it has that do not touch, corners included;
        - `longest_diameter_px` and `perpendicular_diameter_px` of the largest one: the greatest
          distance between two of its corners, and its extent at right angles to that;
        - of grey images `intensity_mean`, `intensity_sd` and `rim_contrast`, the mean minus that
          of a rim around the mask, in the file's own unit (HU in CT).

        With a known spacing the area comes in mm² and the diameters in mm as well (`area_mm2`,
        `longest_diameter_mm`, `perpendicular_diameter_mm`).

    Raises:
        ValueError: if mask and image differ in size.
    """
    if mask.shape != case.size:
        raise ValueError(f"mask {mask.shape} does not fit the image {case.size}")
    pixels = float(np.count_nonzero(mask))
    measurements = {"area_px": pixels, "image_fraction": pixels / mask.size}
    spacing = None if case.geometry is None else case.geometry.spacing[:2]
    if spacing is not None:
        measurements["area_mm2"] = pixels * spacing[0] * spacing[1]
    if not pixels:
        return measurements
    areas, largest = region_areas(mask)
    measurements["regions"] = float(len(areas))
    measurements |= _diameters(largest, (1.0, 1.0), "px")
    if spacing is not None:
        measurements |= _diameters(largest, spacing, "mm")
    if case.image.ndim == 2:
        measurements |= _intensities(mask, case.image)
    return measurements


def _diameters(
    region: NDArray[np.bool_], spacing: tuple[float, float], unit: str
) -> dict[str, float]:
    """Longest diameter and the extent across it.

    Args:
        spacing: of a pixel along columns and rows, in the unit.
    """
    corners = _outer_corners(region) * np.asarray(spacing)
    hull = corners[ConvexHull(corners).vertices]
    between = hull[:, None] - hull[None]
    distances = np.hypot(between[..., 0], between[..., 1])
    longest = float(distances.max())
    # Of diameters that are equally long the one with the greater extent across counts, so that
    # rounding does not decide.
    along = between[distances >= longest * (1 - 1e-9)] / longest
    across = hull @ np.stack([-along[:, 1], along[:, 0]])
    extents = across.max(0) - across.min(0)
    return {
        f"longest_diameter_{unit}": longest,
        f"perpendicular_diameter_{unit}": float(extents.max()),
    }


def _outer_corners(region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N, 2) corners (x, y) of each row's first and last pixel; they hold the convex hull."""
    rows = np.flatnonzero(region.any(1))
    first = region[rows].argmax(1)
    beyond = region.shape[1] - region[rows, ::-1].argmax(1)
    ends = [np.stack([x, y], 1) for x in (first, beyond) for y in (rows, rows + 1)]
    return np.concatenate(ends).astype(np.float64)


def _intensities(mask: NDArray[np.bool_], image: NDArray[np.generic]) -> dict[str, float]:
    inside = image[mask].astype(np.float64)
    found = {"intensity_mean": float(inside.mean()), "intensity_sd": float(inside.std())}
    reach = max(RIM * max(mask.shape), 2.0)
    distance = signed_distance(mask)
    rim = image[~mask & (distance <= reach)]
    if rim.size:
        found["rim_contrast"] = found["intensity_mean"] - float(rim.astype(np.float64).mean())
    return found
