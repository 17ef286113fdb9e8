"""Where a mask lies, in words and numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..case import Case, Geometry
from ..reasoning.facts import Place, place_of
from .orientation import Axes, axes_of, is_placed

MAINLY = 0.75
"""Share of a mask from which it is said to lie in a quadrant or half."""
SPREAD = 0.6
"""Share of both sides of the image from which a mask is said to spread over all of it."""
_ORDER = ("left", "right", "anterior", "posterior", "superior", "inferior")


@dataclass(frozen=True)
class Location:
    """Where a mask lies. Quadrants and halves are those of the image.

    Attributes:
        words: "in the upper left quadrant".
        side: "left" or "right" if it lies mainly on one.
        quadrant: such as "upper left", or in the patient's directions "left anterior".
        directions: whose the words are, "patient" or "image".
        centre_px: (column, row) of the centre of gravity, counted from 0.
        centre_lps_mm: the same in the patient, where that is known.
        touches: borders of the image that the mask reaches.
    """

    words: str
    side: str | None
    quadrant: str | None
    directions: str
    centre_px: tuple[float, float]
    centre_lps_mm: tuple[float, float, float] | None
    touches: tuple[str, ...]


def locate(mask: NDArray[np.bool_], case: Case) -> Location | None:
    """Where a mask lies in its case.

    Args:
        mask: bool (H, W), in the pixels of `case.image`.

    Returns:
        None if the mask is empty.
    """
    if not mask.any():
        return None
    axes, place = axes_of(case.geometry), place_of(mask)
    height, width = mask.shape
    centre = (place.column * width - 0.5, place.row * height - 0.5)
    words, quadrant = _area(mask, place, axes)
    return Location(
        words=words,
        side=_side(place, axes),
        quadrant=quadrant,
        directions="patient" if axes.of_patient else "image",
        centre_px=centre,
        centre_lps_mm=_in_patient(centre, case.geometry),
        touches=_touched(mask, axes),
    )


def _area(mask: NDArray[np.bool_], place: Place, axes: Axes) -> tuple[str, str | None]:
    """Words and, if it lies in one, the quadrant."""
    names = [_name(axes, row, column) for row in (0, 1) for column in (0, 1)]
    best = int(np.argmax(place.shares))
    if place.shares[best] >= MAINLY:
        mainly = "" if place.shares[best] > 0.99 else "mainly "
        return f"{mainly}in the {names[best]} quadrant", names[best]
    if _is_spread(mask):
        return "spread over all four quadrants", None
    half = _half(place, axes)
    if half is not None:
        return f"in the {half} half", None
    toward = place.words.split()
    row = next((n for n, word in enumerate(("upper", "lower")) if word in toward), None)
    column = next((n for n, word in enumerate(("left", "right")) if word in toward), None)
    if row is None and column is None:
        return "in the centre", None
    return f"off centre, towards the {_name(axes, row, column)}", None


def _name(axes: Axes, row: int | None, column: int | None) -> str:
    """Words of the ends (0 low, 1 high) of rows and columns in the order that readers expect."""
    words = [axes.rows[row]] if row is not None else []
    words += [axes.columns[column]] if column is not None else []
    return " ".join(sorted(words, key=_ORDER.index) if axes.of_patient else words)


def _half(place: Place, axes: Axes) -> str | None:
    one, two, three, four = place.shares
    halves = {
        axes.rows[0]: one + two,
        axes.rows[1]: three + four,
        axes.columns[0]: one + three,
        axes.columns[1]: two + four,
    }
    best = max(halves, key=lambda name: halves[name])
    return best if halves[best] >= MAINLY else None


def _side(place: Place, axes: Axes) -> str | None:
    one, two, three, _ = place.shares
    for (low, high), share in ((axes.rows, one + two), (axes.columns, one + three)):
        if {low, high} == {"left", "right"} and not 1 - MAINLY < share < MAINLY:
            return low if share >= MAINLY else high
    return None


def _is_spread(mask: NDArray[np.bool_]) -> bool:
    extents = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return all(
        np.ptp(found) + 1 >= SPREAD * size for found, size in zip(extents, mask.shape, strict=True)
    )


def _touched(mask: NDArray[np.bool_], axes: Axes) -> tuple[str, ...]:
    borders = ((axes.rows, mask[0], mask[-1]), (axes.columns, mask[:, 0], mask[:, -1]))
    return tuple(
        word
        for words, low, high in borders
        for word, border in zip(words, (low, high), strict=True)
        if border.any()
    )


def _in_patient(
    centre: tuple[float, float], geometry: Geometry | None
) -> tuple[float, float, float] | None:
    if geometry is None or not is_placed(geometry):
        return None
    direction = np.asarray(geometry.direction).reshape(3, 3)
    steps = np.array([*centre, 0.0]) * geometry.spacing
    x, y, z = np.asarray(geometry.origin) + direction @ steps
    return float(x), float(y), float(z)
