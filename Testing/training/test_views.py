import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from Sim4SegCore.frame import Frame
from training.views import Colouring, Turn, crop, random_window, square_window


@given(
    height=st.integers(20, 300),
    width=st.integers(20, 300),
    seed=st.integers(0, 10_000),
    low=st.floats(0.1, 0.9),
)
def test_windows_lie_in_the_image(height, width, seed, low):
    mask = np.zeros((height, width), np.uint8)
    mask[height // 2, width // 3] = 255
    rng = random.Random(seed)
    for top, left, h, w in (
        random_window((height, width), mask, low, 1.0, rng),
        square_window((height, width), mask, low / 2, low, rng),
    ):
        assert h >= 1
        assert w >= 1
        assert 0 <= top <= height - h
        assert 0 <= left <= width - w


def test_image_and_mask_are_cut_alike():
    image = np.zeros((90, 200, 3), np.uint8)
    mask = np.zeros((90, 200), np.uint8)
    image[30:50, 120:150] = 255
    mask[30:50, 120:150] = 255
    frame = Frame.of_window((10, 80, 70, 100), 64)
    assert np.array_equal(crop(image, frame, 64)[..., 0], crop(mask, frame, 64))
    assert crop(mask, frame, 64).any()


def test_padding_stays_black_when_colours_change():
    frame = Frame.longest_side((30, 60), 64)
    shown = np.zeros((64, 64), bool)
    shown[:32] = True
    image = crop(np.full((30, 60, 3), 90, np.uint8), frame, 64)
    changed = Colouring.draw("dermoscopy", random.Random(3))(image, shown)
    assert not changed[32:].any()
    assert changed[:32].any()


@pytest.mark.parametrize(("body_part", "count"), [("chest", 1), ("breast", 2), ("skin", 8)])
def test_turns_respect_the_body_part(body_part, count):
    rng = random.Random(0)
    turns = {Turn.draw(body_part, 0.0, rng) for _ in range(200)}
    assert len(turns) == count


def test_a_tilt_moves_image_and_mask_alike():
    image = np.zeros((80, 120, 3), np.uint8)
    image[20:40, 70:100] = 255
    tilted = Turn(tilt=10.0)
    mask = tilted(image[..., 0])
    assert np.array_equal(tilted(image)[..., 0], mask)
    assert mask.shape == (80, 120)
    assert not np.array_equal(mask, image[..., 0])
    assert abs(int((mask > 127).sum()) - 600) < 30


def test_chest_films_are_tilted_less():
    rng = random.Random(0)
    chest = [abs(Turn.draw("chest", 12.0, rng).tilt) for _ in range(200)]
    skin = [abs(Turn.draw("skin", 12.0, rng).tilt) for _ in range(200)]
    assert max(chest) <= 4.0 < max(skin) <= 12.0
    assert min(chest) == min(skin) == 0.0
