"""Known shapes, known sizes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from Sim4SegCore import Case
from Sim4SegCore.case import Geometry
from Sim4SegCore.measurements import measure

FLAT = (1, 0, 0, 0, 1, 0, 0, 0, 1)


def geometry(along_i: float, along_j: float) -> Geometry:
    return Geometry((along_i, along_j, 9.0), (0, 0, 0), FLAT)


def rectangle(height: int, width: int, top: int = 2, left: int = 3) -> np.ndarray:
    mask = np.zeros((60, 80), bool)
    mask[top : top + height, left : left + width] = True
    return mask


def blank(mask: np.ndarray, known: Geometry | None = None) -> Case:
    return Case(np.zeros((*mask.shape, 3), np.uint8), known)


def test_a_rectangle_in_pixels_and_millimetres() -> None:
    mask = rectangle(3, 4)
    plain = measure(mask, blank(mask))
    assert plain == {
        "area_px": 12.0,
        "image_fraction": 12 / 4800,
        "regions": 1.0,
        "longest_diameter_px": pytest.approx(5.0),
        "perpendicular_diameter_px": pytest.approx(2 * 3 * 4 / 5),
    }
    sized = measure(mask, blank(mask, geometry(1.5, 4.0)))
    assert sized["area_mm2"] == 72.0
    assert sized["longest_diameter_mm"] == pytest.approx(math.hypot(6, 12))
    assert sized["longest_diameter_px"] == pytest.approx(5.0)


def test_a_disc_is_as_wide_as_it_is_long() -> None:
    rows, columns = np.mgrid[:60, :80]
    mask = np.hypot(rows - 30, columns - 40) < 20
    found = measure(mask, blank(mask))
    assert found["longest_diameter_px"] == pytest.approx(40, abs=1.5)
    assert found["perpendicular_diameter_px"] == pytest.approx(40, abs=1.5)


def test_one_pixel_and_the_whole_image() -> None:
    dot = measure(rectangle(1, 1), blank(rectangle(1, 1)))
    assert dot["longest_diameter_px"] == pytest.approx(math.sqrt(2))
    full = np.ones((60, 80), bool)
    assert measure(full, blank(full))["longest_diameter_px"] == pytest.approx(100.0)
    assert "rim_contrast" not in measure(full, Case(np.ones((60, 80))))


def test_the_largest_region_is_measured_and_all_are_counted() -> None:
    mask = rectangle(3, 4) | rectangle(20, 21, 30, 40) | rectangle(1, 1, 50, 5)
    found = measure(mask, blank(mask))
    assert found["regions"] == 3
    assert found["longest_diameter_px"] == pytest.approx(29.0)


def test_touching_corners_are_one_region() -> None:
    mask = rectangle(2, 2, 10, 10) | rectangle(2, 2, 12, 12)
    assert measure(mask, blank(mask))["regions"] == 1


def test_intensities_are_the_files_own() -> None:
    mask = rectangle(10, 10, 20, 20)
    image = np.where(mask, -50, -900).astype(np.int16)
    found = measure(mask, Case(image))
    assert found["intensity_mean"] == -50
    assert found["intensity_sd"] == 0
    assert found["rim_contrast"] == 850


def test_an_empty_mask_has_no_diameter() -> None:
    empty = np.zeros((60, 80), bool)
    assert measure(empty, blank(empty)) == {"area_px": 0.0, "image_fraction": 0.0}


def test_a_mask_of_another_size_is_refused() -> None:
    mask = rectangle(3, 4)
    with pytest.raises(ValueError, match="does not fit"):
        measure(mask.T, blank(mask))


@given(
    seed=st.integers(0, 1000),
    along_i=st.floats(0.1, 5.0),
    along_j=st.floats(0.1, 5.0),
    turns=st.integers(0, 3),
)
def test_turning_the_image_turns_nothing_but_the_image(seed, along_i, along_j, turns) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((12, 17)) < 0.4
    mask[5, 5] = True
    before = measure(mask, blank(mask, geometry(along_i, along_j)))
    swapped = (along_j, along_i) if turns % 2 else (along_i, along_j)
    turned = np.ascontiguousarray(np.rot90(mask, turns))
    after = measure(turned, blank(turned, geometry(*swapped)))
    assert after["regions"] == before["regions"]
    assert after["area_mm2"] == pytest.approx(before["area_mm2"])
    assert before["longest_diameter_mm"] >= before["perpendicular_diameter_mm"] * 0.999
    # Of equally large regions either may be measured; the hull's area bounds both.
    if before["regions"] == 1:
        assert after["longest_diameter_mm"] == pytest.approx(before["longest_diameter_mm"])


@given(seed=st.integers(0, 1000), scale=st.floats(0.1, 10.0))
def test_diameters_scale_with_the_spacing(seed, scale) -> None:
    mask = np.random.default_rng(seed).random((9, 9)) < 0.5
    mask[4, 4] = True
    one = measure(mask, blank(mask, geometry(1.0, 1.0)))
    other = measure(mask, blank(mask, geometry(scale, scale)))
    for name in ("longest_diameter_mm", "perpendicular_diameter_mm"):
        assert other[name] == pytest.approx(scale * one[name])
