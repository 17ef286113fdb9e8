"""Perturbations move image and mask alike, and change nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.overlap import dice
from training.evaluation.robustness.perturbations import (
    PERTURBATIONS,
    brightened,
    compressed,
    doubled,
    halved,
    rotated,
    rotated_mask,
)

sides = st.integers(24, 70)
angles = st.floats(-20, 20)


def disc(size, centre, radius):
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.hypot(rows - centre[0], columns - centre[1]) < radius


def painted(mask):
    return np.repeat(mask[..., None], 3, axis=-1).astype(np.uint8) * np.uint8(255)


@given(sides, sides, angles, st.floats(0.3, 0.7), st.floats(0.3, 0.7))
def test_rotation_moves_image_and_mask_alike(height, width, degrees, down, across):
    mask = disc((height, width), (down * height, across * width), 6)
    turned = rotated_mask(mask, degrees)
    assert turned.shape == mask.shape
    np.testing.assert_array_equal(rotated(painted(mask), degrees)[..., 0] > 127, turned)


@given(sides, sides, angles, st.floats(0.4, 0.6), st.floats(0.4, 0.6))
def test_rotation_is_counterclockwise_about_the_centre(height, width, degrees, down, across):
    mask = disc((height, width), (down * height, across * width), 5)
    turned = rotated_mask(mask, degrees)
    middle = np.array([height - 1, width - 1]) / 2
    before, after = (np.argwhere(m).mean(0) - middle for m in (mask, turned))
    angle = np.deg2rad(degrees)
    # Rows run downwards: counterclockwise lifts what lies to the right.
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert np.abs(after - turn @ before).max() < 0.5
    assert abs(int(turned.sum()) - int(mask.sum())) <= 0.15 * mask.sum()


def test_what_a_rotation_brings_in_is_black():
    turned = rotated(np.full((60, 60, 3), 200, np.uint8), 5.0)
    assert (turned[[0, 0, -1, -1], [0, -1, 0, -1]] == 0).all()
    assert (turned[20:40, 20:40] == 200).all()


@given(sides, sides)
def test_a_mask_of_the_halved_image_comes_back_to_its_place(height, width):
    coarse = disc(((height + 1) // 2, (width + 1) // 2), (height / 4, width / 4), 5)
    mask = doubled(coarse, (height, width))
    assert mask.shape == (height, width)
    small = halved(painted(mask))
    assert small.shape == (*coarse.shape, 3)
    np.testing.assert_array_equal(small[..., 0] > 127, coarse)
    fine = disc((height, width), (height / 2, width / 2), 9)
    restored = doubled(halved(painted(fine))[..., 0] > 127, (height, width))
    assert dice(restored, fine) > 0.93


def test_halving_averages_four_pixels():
    image = np.repeat(np.array([[0, 40, 8], [80, 120, 8]], np.uint8)[..., None], 3, axis=-1)
    assert halved(image)[..., 1].tolist() == [[60, 8]]


@given(st.integers(0, 255), st.sampled_from([0.9, 1.1]))
def test_brightness_multiplies_and_is_cut_off_at_white(level, factor):
    image = np.full((2, 2, 3), level, np.uint8)
    assert (brightened(image, factor) == min(255, round(level * factor))).all()


def test_compression_loses_detail_but_neither_place_nor_grey():
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    image = np.repeat(noise[..., None], 3, axis=-1)
    packed = compressed(image)
    assert packed.shape == image.shape
    assert (packed != image).any()
    assert (packed.max(-1) == packed.min(-1)).all()
    assert packed.mean() == pytest.approx(image.mean(), abs=2)
    loss = [np.abs(compressed(image, q).astype(int) - image).mean() for q in (20, 50, 90)]
    assert loss == sorted(loss, reverse=True)


@pytest.mark.parametrize("change", PERTURBATIONS, ids=lambda change: change.name)
def test_a_perfect_reader_stays_perfect(change):
    """One who draws exactly the bright disc of the changed image meets the changed truth."""
    mask = disc((61, 80), (30, 50), 14)
    image = painted(mask)
    before = image.copy()
    seen = change.image(image)
    drawn = change.drawn(seen[..., 0] > 110, mask.shape)
    assert dice(drawn, change.truth(mask)) > 0.93
    np.testing.assert_array_equal(image, before)
