"""The embedded model tells what it was trained on from what it was not."""

import numpy as np
import pytest

from Sim4SegCore.cli import describe
from Sim4SegCore.examples import draw_phantom

PATTERN = np.indices((256, 256)).sum(0) // 16 % 2 * np.uint8(255)


def test_a_photograph_is_answered_with_a_warning(embedded):
    astronaut = pytest.importorskip("skimage.data").astronaut()
    result = embedded.segment(astronaut, "Is there a skin lesion? Segment it.")
    assert result.familiarity.is_outside
    printed = " ".join(describe(result).split())
    assert "This image is outside what the model was trained on" in printed
    assert result.diagnosis.uncertain or result.diagnosis.label is None


def test_a_checkerboard_is_outside(embedded):
    assert embedded.segment(PATTERN, "Is there a tumor?").familiarity.is_outside


def test_what_readers_are_shown_first_is_inside(embedded):
    retina = pytest.importorskip("skimage.data").retina()
    assert not embedded.segment(retina, "Segment the vessels.").familiarity.is_outside
    for seed in range(3):
        lesion, _ = draw_phantom(seed)
        assert not embedded.segment(lesion, "Is there a skin lesion?").familiarity.is_outside
