import random

import numpy as np
import pytest

from training.degrading import KINDS, Degradation


def textured():
    rng = np.random.default_rng(0)
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :40] = rng.integers(0, 256, (64, 40, 1))
    shown = np.zeros((64, 64), bool)
    shown[:, :40] = True
    return image, shown


def roughness(image):
    return np.abs(np.diff(image[:, :40].astype(float), axis=0)).mean()


@pytest.mark.parametrize("kind", ["shrunk", "blurred"])
def test_detail_is_lost_and_more_of_it_the_stronger(kind):
    image, shown = textured()
    weak, strong = (Degradation(kind, strength)(image, shown) for strength in (0.1, 1.0))
    assert roughness(strong) < roughness(weak) < roughness(image)


def test_compression_keeps_what_is_seen():
    image, shown = textured()
    smooth = np.repeat(np.linspace(40, 200, 64).astype(np.uint8)[:, None, None], 64, axis=1)
    smooth = np.repeat(smooth, 3, axis=2)
    changed = Degradation("compressed", 1.0)(smooth, np.ones((64, 64), bool))
    assert np.abs(changed.astype(int) - smooth).mean() < 4
    noisy = Degradation("compressed", 1.0)(image, shown)
    assert (noisy[shown] != image[shown]).mean() > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_padding_stays_black(kind):
    image, shown = textured()
    assert not Degradation(kind, 1.0)(image, shown)[~shown].any()


def test_the_same_randomness_draws_the_same():
    assert Degradation.draw(random.Random(4)) == Degradation.draw(random.Random(4))
    drawn = {Degradation.draw(random.Random(n)).kind for n in range(40)}
    assert drawn == set(KINDS)
