"""What can be measured on a mask: place, size, parts, shape, border, contrast.

Numbers here, words from the same numbers beside them: the writer uses the words, the critic
compares what a text states with the numbers. Left and right are those of the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..regions import region_areas, signed_distance

Mask = NDArray[np.bool_]
Grey = NDArray[np.float32]

MIDDLE = (0.42, 0.58)
"""A centre of gravity between these fractions of the axis is on neither side."""
SIZE_LIMITS: tuple[tuple[float, str], ...] = ((0.01, "tiny"), (0.05, "small"), (0.2, "medium"))
"""Fraction of the image below which the word holds; above all of them it is large."""
OVAL, ELONGATED = 1.7, 4.0
"""Ratio of the two variances of the pixel positions from which a part is oval, elongated."""
BRANCHING_THICKNESS = 0.02
"""Mean thickness over the diagonal of the mask's box, below which it is a thin network."""
CONTRAST_LEVELS = 12.0
"""Difference of mean grey levels (0..255) from which a region is brighter or darker."""
BLURRED_BORDER, SHARP_BORDER = 0.6, 1.2
"""Step across the border over the spread beside it: below blurred, above sharp."""
SMALLEST_PART = 0.02
"""Share of the mask that a connected part needs to be counted."""
SURROUNDINGS, BORDER_BAND = 0.05, 0.008
"""Width of the surroundings and of the border's two sides, over the image's longest side."""

QUADRANTS = ("upper left", "upper right", "lower left", "lower right")


@dataclass(frozen=True)
class Place:
    """Where a mask lies.

    Attributes:
        row, column: centre of gravity as a fraction of the image's height and width.
        shares: of the mask in each of QUADRANTS, summing to 1.
    """

    row: float
    column: float
    shares: tuple[float, float, float, float]

    @property
    def words(self) -> str:
        """ "upper left", "left", …; "" in the centre."""
        vertical = _side(self.row, "upper", "lower")
        horizontal = _side(self.column, "left", "right")
        return " ".join(word for word in (vertical, horizontal) if word)


@dataclass(frozen=True)
class Shape:
    """Form of the largest part.

    Attributes:
        elongation: larger over smaller variance of its pixel positions, at least 1.
        thickness: mean thickness of the whole mask over the diagonal of its box.
    """

    elongation: float
    thickness: float

    @property
    def word(self) -> Literal["round", "oval", "elongated", "branching"]:
        """The form in a word."""
        if self.elongation > ELONGATED:
            return "elongated"
        if self.thickness < BRANCHING_THICKNESS:
            return "branching"
        return "oval" if self.elongation > OVAL else "round"


@dataclass(frozen=True)
class Surroundings:
    """A mask against what lies around it.

    Attributes:
        contrast: mean grey inside minus mean grey of the surroundings, in levels of 0..255.
        border: absolute step of the mean across the border over the spread beside it, >= 0.
    """

    contrast: float
    border: float

    @property
    def contrast_word(self) -> Literal["brighter", "darker", "similar"]:
        """How the inside compares."""
        if abs(self.contrast) < CONTRAST_LEVELS:
            return "similar"
        return "brighter" if self.contrast > 0 else "darker"

    @property
    def border_word(self) -> Literal["sharp", "partly", "blurred"]:
        """How clearly the border shows."""
        if self.border < BLURRED_BORDER:
            return "blurred"
        return "sharp" if self.border > SHARP_BORDER else "partly"


@dataclass(frozen=True)
class Facts:
    """All that is stated of a non-empty mask.

    Attributes:
        fraction: of the image's area, 0..1.
        parts: connected regions that are large enough to count, at least 1.
        surroundings: None if the mask fills the image.
    """

    fraction: float
    place: Place
    parts: int
    shape: Shape
    surroundings: Surroundings | None

    @property
    def size_word(self) -> str:
        """tiny, small, medium or large."""
        return next((word for limit, word in SIZE_LIMITS if self.fraction < limit), "large")

    @property
    def percent(self) -> str:
        """Share of the image in words of a reader: whole percent, multiples of 5 from 10 on."""
        if self.fraction < 0.01:
            return "less than 1"
        percent = 100 * self.fraction
        return str(round(percent) if percent < 10 else 5 * round(percent / 5))


def measure_facts(mask: Mask, grey: Grey) -> Facts | None:
    """Measure a mask.

    Args:
        mask: bool (H, W).
        grey: (H, W), 0..255, of the same pixels.

    Returns:
        None if the mask is empty.

    Raises:
        ValueError: if the two differ in size.
    """
    if mask.shape != grey.shape:
        raise ValueError(f"mask {mask.shape} does not fit the image {grey.shape}")
    if not mask.any():
        return None
    parts, largest = _parts(mask)
    return Facts(
        fraction=float(mask.mean()),
        place=place_of(mask),
        parts=parts,
        shape=Shape(_elongation(largest), _thickness(mask)),
        surroundings=None if mask.all() else _surroundings(mask, grey),
    )


def grey_levels(image: NDArray[np.uint8]) -> Grey:
    """(H, W) or (H, W, 3) in 0..255 as one grey channel."""
    return image.astype(np.float32) if image.ndim == 2 else image.mean(-1, dtype=np.float32)


def _side(position: float, low: str, high: str) -> str:
    return low if position < MIDDLE[0] else high if position > MIDDLE[1] else ""


def place_of(mask: Mask) -> Place:
    """Where a mask lies that is not empty."""
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    # Pixel centres, so that a mirrored mask has the mirrored place.
    row, column = (rows + 0.5) / height, (columns + 0.5) / width
    # A pixel on the middle line belongs to both of its sides by half.
    upper, left = ((axis < 0.5) + 0.5 * (axis == 0.5) for axis in (row, column))
    shares = (upper * left, upper * (1 - left), (1 - upper) * left, (1 - upper) * (1 - left))
    one, two, three, four = (float(share.mean()) for share in shares)
    return Place(float(row.mean()), float(column.mean()), (one, two, three, four))


def _parts(mask: Mask) -> tuple[int, Mask]:
    areas, largest = region_areas(mask)
    count = int((areas >= SMALLEST_PART * areas.sum()).sum())
    return max(count, 1), largest


def _elongation(part: Mask) -> float:
    rows, columns = np.nonzero(part)
    # A pixel is a square, not a point: 1/12 is the variance of its own width.
    spread = np.cov(np.stack([rows, columns]), bias=True) + np.eye(2) / 12
    low, high = (float(value) for value in np.linalg.eigvalsh(spread))
    return high / low


def _thickness(mask: Mask) -> float:
    rows, columns = np.nonzero(mask)
    diagonal = float(np.hypot(rows.max() - rows.min() + 1, columns.max() - columns.min() + 1))
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    # The outermost pixels of any mask are border, so there is at least one.
    border = int(np.count_nonzero(mask & ~inner))
    return 2 * int(np.count_nonzero(mask)) / border / diagonal


def _surroundings(mask: Mask, grey: Grey) -> Surroundings:
    longest = max(mask.shape)
    reach = max(SURROUNDINGS * longest, 3.0)
    band = max(BORDER_BAND * longest, 1.0)
    box = _box(mask, int(reach) + 1)
    inside, levels = mask[box], grey[box]
    distance = signed_distance(inside)
    around = levels[~inside & (distance <= reach)]
    # The map is 0 on the mask's own outermost pixels and 1 on the first ones outside.
    within, beyond = levels[inside & (distance > -band)], levels[~inside & (distance <= band)]
    step = abs(float(within.mean()) - float(beyond.mean()))
    spread = float(np.sqrt((within.var() + beyond.var()) / 2))
    contrast = float(levels[inside].mean()) - float(around.mean())
    return Surroundings(contrast, step / max(spread, 1.0))


def _box(mask: Mask, margin: int) -> tuple[slice, slice]:
    rows, columns = np.nonzero(mask)
    return (
        slice(max(int(rows.min()) - margin, 0), int(rows.max()) + margin + 1),
        slice(max(int(columns.min()) - margin, 0), int(columns.max()) + margin + 1),
    )
