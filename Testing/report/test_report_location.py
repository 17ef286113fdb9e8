"""Where a mask is said to lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_made_up import AXIAL, CORONAL, FLAT, RADIOLOGICAL_SAGITTAL, box

from Sim4SegCore.case import Case, Geometry
from Sim4SegCore.report.location import Location, locate
from Sim4SegCore.report.orientation import axes_of

SIZE = (100, 140)
MIRRORED = {"upper": "lower", "lower": "upper", "left": "right", "right": "left"}


def where(mask: np.ndarray, geometry: Geometry | None = None) -> Location:
    found = locate(mask, Case(np.zeros(mask.shape, np.uint8), geometry))
    assert found is not None
    return found


def test_an_empty_mask_is_nowhere() -> None:
    assert locate(np.zeros(SIZE, bool), Case(np.zeros(SIZE, np.uint8))) is None


@pytest.mark.parametrize(
    ("mask", "words", "side"),
    [
        (box(SIZE, 5, 5, 20, 20), "in the upper left quadrant", "left"),
        (box(SIZE, 70, 100, 20, 20), "in the lower right quadrant", "right"),
        (box(SIZE, 40, 100, 20, 20), "in the right half", "right"),
        (box(SIZE, 5, 60, 20, 20), "in the upper half", None),
        (box(SIZE, 40, 60, 20, 20), "in the centre", None),
        (box(SIZE, 2, 2, 96, 136), "spread over all four quadrants", None),
        (box(SIZE, 5, 50, 20, 25), "mainly in the upper left quadrant", "left"),
        (box(SIZE, 40, 30, 20, 56), "off centre, towards the left", None),
    ],
)
def test_words_of_the_picture(mask: np.ndarray, words: str, side: str | None) -> None:
    found = where(mask)
    assert (found.words, found.side, found.directions) == (words, side, "image")
    assert found.centre_lps_mm is None


@pytest.mark.parametrize(
    ("geometry", "plane", "upper_left"),
    [
        (AXIAL, "axial", "right anterior"),
        (CORONAL, "coronal", "right superior"),
        (RADIOLOGICAL_SAGITTAL, "sagittal", "anterior superior"),
        # As NIfTI has it from nibabel: columns run to the right, rows to the front.
        (Geometry((1, 1, 1), (1, 2, 3), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0)), "axial",
         "left posterior"),
    ],
)  # fmt: skip
def test_words_of_the_patient(geometry: Geometry, plane: str, upper_left: str) -> None:
    found = where(box(SIZE, 5, 5, 20, 20), geometry)
    assert found.quadrant == upper_left
    assert found.directions == "patient"
    assert axes_of(geometry).plane == plane


def test_no_patient_directions_where_the_file_does_not_say() -> None:
    unplaced = Geometry((0.5, 0.5, 1.0), (0.0, 0.0, 0.0), FLAT)
    half_turned = Geometry((1, 1, 1), (1, 2, 3), (0.7071, -0.7071, 0, 0.7071, 0.7071, 0, 0, 0, 1.0))
    for geometry in (None, unplaced, half_turned):
        assert where(box(SIZE, 5, 5, 20, 20), geometry).quadrant == "upper left"
    assert where(box(SIZE, 5, 5, 20, 20), unplaced).centre_lps_mm is None


def test_the_centre_in_the_patient() -> None:
    found = where(box(SIZE, 10, 20, 3, 5), AXIAL)
    assert found.centre_px == pytest.approx((22, 11))
    assert found.centre_lps_mm == pytest.approx((-40 + 11, -60 + 5.5, 900))


def test_borders_that_are_reached() -> None:
    assert where(box(SIZE, 0, 0, 10, 10)).touches == ("upper", "left")
    assert where(box(SIZE, 90, 130, 10, 10)).touches == ("lower", "right")
    assert where(box(SIZE, 0, 0, 10, 10), AXIAL).touches == ("anterior", "right")
    assert where(box(SIZE, 1, 1, 10, 10)).touches == ()


@given(st.data())
def test_mirroring_the_mask_mirrors_the_words(data: st.DataObject) -> None:
    # Up to 24, since 42 and 58 % of the side, where words change, are then never met exactly.
    rows, columns = data.draw(st.integers(4, 24)), data.draw(st.integers(4, 24))
    top = data.draw(st.integers(0, rows - 1))
    left = data.draw(st.integers(0, columns - 1))
    height = data.draw(st.integers(1, rows - top))
    width = data.draw(st.integers(1, columns - left))
    mask = box((rows, columns), top, left, height, width)
    found, turned = where(mask), where(mask[::-1, ::-1])
    expected = " ".join(MIRRORED.get(word, word) for word in found.words.split())
    assert turned.words == expected
    assert {MIRRORED[border] for border in found.touches} == set(turned.touches)
