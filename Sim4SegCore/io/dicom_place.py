"""Where a DICOM frame lies in the patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..case import Geometry
from .dicom_header import Header


@dataclass(frozen=True)
class PlaceKeywords:
    """Which attributes say where a frame lies."""

    position: str
    orientation: str


IN_PATIENT = PlaceKeywords("ImagePositionPatient", "ImageOrientationPatient")
IN_SWEEP = PlaceKeywords("ImagePositionVolume", "ImageOrientationVolume")
"""Of ultrasound volumes, in coordinates of their own that say nothing of the patient."""

_PLANES = ("sagittal", "coronal", "axial")
_CLEARLY_ALONG = 0.75
"""Cosine of the normal from which a plane is called by the patient's axis, as in reports."""
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def frame_geometry(header: Header, keywords: PlaceKeywords = IN_PATIENT) -> Geometry | None:
    """None without PixelSpacing; unplaced (origin 0, axes along LPS) without a valid position."""
    in_plane = header.numbers("PixelSpacing")
    if len(in_plane) != 2 or min(in_plane) <= 0:
        return None
    spacing = (in_plane[1], in_plane[0], _slice_distance(header))
    origin, direction = _origin(header, keywords), _direction(header, keywords)
    if origin is None or direction is None:
        return Geometry(spacing, (0.0, 0.0, 0.0), _IDENTITY)
    return Geometry(spacing, origin, tuple(direction.ravel().tolist()))


def place_along_normal(header: Header, keywords: PlaceKeywords = IN_PATIENT) -> float | None:
    """mm along the normal of the slice, as ITK and Slicer order k."""
    position, direction = header.numbers(keywords.position), _direction(header, keywords)
    if len(position) != 3 or direction is None:
        return None
    return round(float(direction[:, 2] @ np.asarray(position)), 3)


def plane_of(header: Header) -> str | None:
    """Axial, coronal, sagittal or oblique; None where the header does not say."""
    direction = _direction(header, IN_PATIENT)
    if direction is None:
        return None
    normal = np.abs(direction[:, 2])
    return _PLANES[int(normal.argmax())] if normal.max() >= _CLEARLY_ALONG else "oblique"


def _slice_distance(header: Header) -> float:
    """mm; the distance between slices lets a mask tile the series, thickness is second best."""
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        distance = header.number(keyword, default=0.0)
        if distance > 0:
            return distance
    return 1.0


def _origin(header: Header, keywords: PlaceKeywords) -> tuple[float, float, float] | None:
    position = header.numbers(keywords.position)
    if len(position) != 3:
        return None
    origin = np.asarray(position)
    if header.frame > 0 and "PerFrameFunctionalGroupsSequence" not in header.dataset:
        # One position for all frames: only dose grids say where the others lie.
        offsets = header.numbers("GridFrameOffsetVector")
        direction = _direction(header, keywords)
        if header.frame >= len(offsets) or direction is None:
            return None
        origin = origin + direction[:, 2] * (offsets[header.frame] - offsets[0])
    return float(origin[0]), float(origin[1]), float(origin[2])


def _direction(header: Header, keywords: PlaceKeywords) -> NDArray[np.float64] | None:
    """3x3 cosines, column n for index axis n; made orthonormal, as headers round to few digits."""
    cosines = header.numbers(keywords.orientation)
    if len(cosines) != 6:
        return None
    along_i, along_j = np.asarray(cosines[:3]), np.asarray(cosines[3:])
    if min(np.linalg.norm(along_i), np.linalg.norm(along_j)) < 0.5:
        return None
    along_i = along_i / np.linalg.norm(along_i)
    along_j = along_j / np.linalg.norm(along_j)
    if abs(along_i @ along_j) > 0.01:
        return None
    along_j = along_j - (along_j @ along_i) * along_i
    along_j = along_j / np.linalg.norm(along_j)
    return np.stack([along_i, along_j, np.cross(along_i, along_j)], axis=1)
