"""What the model and the reader see of an image's intensities."""

from __future__ import annotations

import numpy as np
import pytest

from Sim4SegCore.case import Case
from Sim4SegCore.intensity import to_rgb8

RAMP = np.linspace(-1000, 3000, 64 * 64).reshape(64, 64)


def test_8_bit_images_pass_unchanged() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    assert np.array_equal(to_rgb8(Case(rgb)), rgb)
    grey = to_rgb8(Case(rgb[..., 0], window=(10.0, 5.0)))
    assert grey.shape == (5, 6, 3) and np.array_equal(grey[..., 2], rgb[..., 0])


def test_result_does_not_share_memory_with_the_case() -> None:
    rgb = np.zeros((5, 6, 3), np.uint8)
    to_rgb8(Case(rgb))[:] = 255
    assert rgb.max() == 0


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_window_maps_its_ends_to_black_and_white(dtype: type) -> None:
    image = np.array([[-500, -50, 0], [50, 100, 900]], dtype=dtype)
    shown = to_rgb8(Case(image, window=(25.0, 150.0), modality="CT"))[..., 0]
    assert shown.tolist() == [[0, 0, 85], [170, 255, 255]]


def test_ct_without_window_shows_soft_tissue() -> None:
    shown = to_rgb8(Case(RAMP, modality="CT"))[..., 0]
    assert (shown[RAMP <= -160] == 0).all() and (shown[RAMP >= 240] == 255).all()
    assert 120 < shown[np.abs(RAMP - 40) < 5].mean() < 135


def test_other_modalities_ignore_outliers() -> None:
    image = RAMP.copy()
    image[0, 0] = 1e9
    shown = to_rgb8(Case(image, modality="MR"))[..., 0]
    assert shown.min() == 0 and shown.max() == 255
    assert 110 < np.median(shown) < 145


def test_few_bright_pixels_on_an_even_ground_stay_visible() -> None:
    image = np.zeros((100, 100), np.uint16)
    image[4, 4] = 7
    shown = to_rgb8(Case(image))
    assert shown[4, 4].tolist() == [255, 255, 255] and shown[0, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("value", [0, 7, -1000])
def test_constant_image_is_black(value: int) -> None:
    assert to_rgb8(Case(np.full((4, 4), value, np.int16))).max() == 0


def test_16_bit_rgb_keeps_hue() -> None:
    image = np.zeros((10, 10, 3), np.uint16)
    image[:, 5:, 0] = 60000
    shown = to_rgb8(Case(image))
    assert shown[0, 9].tolist() == [255, 0, 0] and shown[0, 0].tolist() == [0, 0, 0]


def test_extreme_integers_do_not_wrap() -> None:
    image = np.array([[-(2**31), 0], [0, 2**31 - 1]], np.int32)
    shown = to_rgb8(Case(image))[..., 0]
    assert shown[0, 0] < 5 and shown[1, 1] > 250 and 120 < shown[0, 1] < 135


def test_bilevel_image_is_black_and_white() -> None:
    assert set(np.unique(to_rgb8(Case(RAMP > 0)))) == {0, 255}
