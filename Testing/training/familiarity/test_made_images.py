"""What is shown while fitting: torn images, patterns, harmless changes, and what is kept apart."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.familiarity.blended import blended_views
from training.familiarity.made_patterns import SIZES, noise_patterns
from training.familiarity.outside_images import (
    exposed_images,
    exposed_noise,
    exposed_pictures,
    measured_images,
)
from training.familiarity.perturbations import PERTURBATIONS, varied
from training.familiarity.torn import torn
from training.records import Record

sides = st.integers(16, 70)
tiny_sides = st.integers(1, 70)


def noise(seed, height=48, width=60):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def grey(seed):
    return np.repeat(noise(seed)[..., :1], 3, axis=2)


# -------------------------------------------------------------------------------------- torn


@given(tiny_sides, tiny_sides, sides, sides, st.integers(0, 10**6))
def test_torn_images_are_images(height, width, other_height, other_width, seed):
    pixels, other = noise(0, height, width), noise(1, other_height, other_width)
    kept = pixels.copy(), other.copy()
    made = torn(pixels, other, random.Random(seed))
    assert made.dtype == np.uint8 and made.ndim == 3 and made.shape[2] == 3
    # Tiles that do not divide an image evenly leave its last rows and columns out.
    assert height - 6 < made.shape[0] <= height and width - 6 < made.shape[1] <= width
    assert np.array_equal(made, torn(pixels, other, random.Random(seed)))
    assert np.array_equal(pixels, kept[0]) and np.array_equal(other, kept[1])


@pytest.mark.parametrize("make", [noise, grey], ids=["colour", "grey"])
def test_torn_images_are_torn_in_several_ways(make):
    pixels, other = make(0), make(1)
    made = [torn(pixels, other, random.Random(seed)) for seed in range(60)]
    unchanged = sum(np.array_equal(each, pixels) for each in made)
    assert unchanged <= 1, "tiles may come back to their places"
    mixed = (pixels.astype(int) + other) // 2
    inverted = 255 - pixels
    halves = [
        each
        for each in made
        if each.shape == pixels.shape
        and (each == pixels).mean() > 0.45
        and ((each == pixels) | (each == other)).all()
        and (each == other).mean() > 0.45
    ]
    assert any(np.array_equal(each, mixed) for each in made)
    assert halves
    assert any(np.array_equal(each, inverted) for each in made) == (make is grey)
    sorted_values = np.sort(pixels, axis=None)
    shuffled = [each for each in made if np.array_equal(np.sort(each, axis=None), sorted_values)]
    assert len(shuffled) > 5


# ---------------------------------------------------------------------------------- patterns


def test_patterns_are_repeatable_and_their_noise_is_the_seeds():
    first, again, other = (dict(noise_patterns(seed)) for seed in (0, 0, 1))
    assert list(first) == list(again) == list(other)
    assert len(first) == len(list(noise_patterns())), "no two have one name"
    for name, pixels in first.items():
        assert np.array_equal(pixels, again[name])
        is_drawn = "noise" in name or "salt" in name or "constant colour" in name
        assert np.array_equal(pixels, other[name]) != is_drawn, name


def test_every_pattern_comes_in_every_size_and_is_an_image():
    sizes = {}
    for name, pixels in noise_patterns():
        assert pixels.dtype == np.uint8 and pixels.shape[2:] in ((), (3,))
        kind, size = name.rsplit(" ", 1)
        assert size == f"{pixels.shape[1]}x{pixels.shape[0]}"
        sizes.setdefault(kind, []).append(pixels.shape[:2])
        assert (pixels == pixels[0, 0]).all() == kind.startswith("constant"), name
    assert all(tuple(found) == SIZES for found in sizes.values())
    assert {"checkerboard 8", "gaussian noise 40", "fractal noise colour"} < set(sizes)


def test_a_checkerboard_has_the_cells_of_its_name():
    board = dict(noise_patterns())["checkerboard 32 256x256"]
    assert (board[:32, :32] == 0).all() and (board[:32, 32:64] == 255).all()
    assert (board[32:64, 32:64] == 0).all()


# ----------------------------------------------------------------------------- perturbations


@given(sides, sides, st.integers(0, 1000))
def test_harmless_changes_keep_the_image(height, width, seed):
    pixels = noise(seed, height, width) // 2 + 60
    kept = pixels.copy()
    for name, change in PERTURBATIONS.items():
        made = change(pixels)
        assert made.dtype == np.uint8 and made.shape[2] == 3
        half = (-(-height // 2), -(-width // 2))
        expected = half if name == "half resolution" else (height, width)
        assert made.shape[:2] == expected
        factor = {"10 % brighter": 1.1, "10 % darker": 0.9}.get(name, 1.0)
        assert made.mean() == pytest.approx(factor * pixels.mean(), rel=0.05), name
    assert np.array_equal(pixels, kept)


def test_bright_pixels_do_not_turn_dark():
    white = np.full((20, 20, 3), 250, np.uint8)
    assert (PERTURBATIONS["10 % brighter"](white) == 255).all()


def record(body_part="skin", modality="dermoscopy"):
    return Record(
        id="a",
        dataset="PH2",
        image="a.png",
        masks={},
        modality=modality,
        body_part=body_part,
        diagnosis=None,
        group="a",
        licence="made up",
    )


def test_views_are_repeatable_and_differ():
    pixels = noise(0)
    made = [varied(pixels, record(), random.Random(seed)) for seed in range(12)]
    for seed, each in enumerate(made):
        assert each.dtype == np.uint8 and each.shape[2] == 3
        assert min(each.shape[:2]) >= 0.25 * min(pixels.shape[:2])
        assert np.array_equal(each, varied(pixels, record(), random.Random(seed)))
    assert len({each.tobytes() for each in made}) == len(made)


def test_chest_films_keep_their_sides():
    film = np.full((60, 60, 3), 40, np.uint8)
    film[:, :25] = 200
    for seed in range(20):
        view = varied(film, record("chest", "X-ray"), random.Random(seed)).astype(float)
        assert view[:, 0].mean() > view[:, -1].mean() + 30


# ----------------------------------------------------------------------------- outside images


def test_nothing_that_was_shown_is_measured_on():
    pytest.importorskip("skimage")
    shown = [*exposed_images(), *exposed_noise()]
    measured = list(measured_images())
    assert {each.kind for each in measured} == {each.kind for each in shown} | {"foreign DICOM"}
    regular = ("gradient", "checkerboard", "stripes", "rings", "constant")
    drawn = {each.case.image.tobytes() for each in shown if not each.name.startswith(regular)}
    assert not [each.name for each in measured if each.case.image.tobytes() in drawn]
    again = [*exposed_images(), *exposed_noise()]
    assert [each.name for each in again] == [each.name for each in shown]
    for first, second in zip(shown, again, strict=True):
        assert np.array_equal(first.case.image, second.case.image)


# ----------------------------------------------------------------------------------- blended


@given(st.lists(st.tuples(tiny_sides, tiny_sides), min_size=1, max_size=3), st.integers(0, 10**6))
def test_blended_views_are_pictures_and_always_the_same(sizes, seed):
    pictures = [noise(n, *size) for n, size in enumerate(sizes)]
    made = list(blended_views(pictures, 5, seed))
    assert len(made) == 5
    for view, again in zip(made, blended_views(pictures, 5, seed), strict=True):
        assert view.dtype == np.uint8 and view.ndim == 3 and view.shape[2] == 3
        assert np.array_equal(view, again)


def test_blended_views_of_real_pictures_differ():
    pytest.importorskip("skimage")
    pictures = exposed_pictures()
    assert all(each.dtype == np.uint8 and each.shape[2] == 3 for each in pictures)
    made = list(blended_views(pictures, 40, 0))
    assert len({each.tobytes() for each in made}) == 40
    grey = [bool(np.ptp(each.astype(int), axis=2).max() <= 1) for each in made]
    assert 5 < sum(grey) < 35
