"""The image's axes in the patient's terms, where the geometry tells them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..case import Geometry

CLEARLY_ALONG = 0.75
"""Cosine from which an axis is called by the patient's direction that it is nearest to."""
_LPS = (("right", "left"), ("anterior", "posterior"), ("inferior", "superior"))
_NORMALS = ("sagittal", "coronal", "axial")
_UNPLACED = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Axes:
    """What lies where in the picture.

    Attributes:
        of_patient: whether the words are the patient's directions or the picture's.
        rows, columns: words for the low and the high end of each.
        plane: "axial", "coronal", "sagittal", "oblique", or None if unknown.
    """

    of_patient: bool
    rows: tuple[str, str]
    columns: tuple[str, str]
    plane: str | None


PICTURE = Axes(False, ("upper", "lower"), ("left", "right"), None)


def axes_of(geometry: Geometry | None) -> Axes:
    """The patient's directions along rows and columns, or the picture's where those are unknown.

    Readers give an image that does not say how it lies the identity at the origin, which
    therefore counts as unknown; so does an image that is turned by about 45 degrees.
    """
    if geometry is None or _is_unplaced(geometry):
        return PICTURE
    direction = np.asarray(geometry.direction).reshape(3, 3)
    columns, rows = _words(direction[:, 0]), _words(direction[:, 1])
    if columns is None or rows is None:
        return PICTURE
    normal = np.abs(direction[:, 2])
    plane = _NORMALS[int(normal.argmax())] if normal.max() >= CLEARLY_ALONG else "oblique"
    return Axes(True, rows, columns, plane)


def is_placed(geometry: Geometry | None) -> bool:
    """Whether positions in the patient are known."""
    return geometry is not None and not _is_unplaced(geometry)


def _is_unplaced(geometry: Geometry) -> bool:
    return geometry.direction == _UNPLACED and not any(geometry.origin)


def _words(axis: np.ndarray) -> tuple[str, str] | None:
    """(low end, high end) of an index axis."""
    nearest = int(np.abs(axis).argmax())
    if abs(axis[nearest]) < CLEARLY_ALONG:
        return None
    low, high = _LPS[nearest]
    return (low, high) if axis[nearest] > 0 else (high, low)
