import numpy as np
import pytest
from drawn import disc

from Sim4SegCore.reasoning.facts import measure_facts
from training import text

GREY = np.full((100, 100), 100, np.float32)


@pytest.mark.parametrize(
    ("centre", "words", "quadrant"),
    [
        ((20, 20), "upper left", 0),
        ((20, 80), "upper right", 1),
        ((80, 20), "lower left", 2),
        ((80, 80), "lower right", 3),
        ((50, 80), "right", None),
        ((49.5, 49.5), "", None),
    ],
)
def test_place_is_where_the_mask_is(centre, words, quadrant):
    facts = measure_facts(disc((100, 100), centre, 8), GREY)
    assert facts.place.words == words
    assert sum(facts.place.shares) == pytest.approx(1)
    if quadrant is not None:
        assert facts.place.shares[quadrant] == 1


def test_mirrored_masks_have_mirrored_places():
    mask = disc((60, 90), (13, 22), 9)
    grey = np.zeros((60, 90), np.float32)
    one, other = measure_facts(mask, grey), measure_facts(mask[:, ::-1], grey)
    assert one.place.column == pytest.approx(1 - other.place.column)
    assert one.place.row == pytest.approx(other.place.row)


def test_parts_are_counted_without_specks():
    mask = disc((100, 100), (25, 25), 12) | disc((100, 100), (75, 75), 12)
    assert measure_facts(mask, GREY).parts == 2
    mask[2, 97] = True
    assert measure_facts(mask, GREY).parts == 2
    # Pixels that touch at a corner are one part.
    assert measure_facts(np.eye(100, dtype=bool), GREY).parts == 1


def test_shape_is_that_of_the_largest_part():
    bar, net = np.zeros((2, 200, 200), bool)
    bar[98:102, 20:180] = True
    net[::25, :] = net[:, ::25] = True
    grey = np.zeros((200, 200), np.float32)
    assert measure_facts(bar, grey).shape.word == "elongated"
    assert measure_facts(net, grey).shape.word == "branching"
    assert measure_facts(disc((200, 200), (50, 50), 20), grey).shape.word == "round"
    two = disc((200, 200), (30, 30), 15) | disc((200, 200), (170, 170), 16)
    assert measure_facts(two, grey).shape.word == "round"


@pytest.mark.parametrize(
    ("level", "word"), [(200, "brighter"), (20, "darker"), (105, "similar"), (89, "similar")]
)
def test_contrast_compares_with_the_surroundings(level, word):
    mask = disc((100, 100), (50, 50), 15)
    grey = np.where(mask, level, 100).astype(np.float32)
    assert measure_facts(mask, grey).surroundings.contrast_word == word


def test_border_is_sharp_at_a_step_and_blurred_on_a_slope():
    rows, columns = np.mgrid[:200, :200]
    distance = np.hypot(rows - 100, columns - 100)
    mask = distance < 40
    noise = np.random.default_rng(0).normal(0, 8, mask.shape)
    step = np.where(mask, 60, 160) + noise
    slope = np.clip(60 + distance / 2, 0, 255) + 3 * noise
    assert measure_facts(mask, step.astype(np.float32)).surroundings.border_word == "sharp"
    assert measure_facts(mask, slope.astype(np.float32)).surroundings.border_word == "blurred"


def test_empty_and_full_masks():
    assert measure_facts(np.zeros((9, 9), bool), GREY[:9, :9]) is None
    full = measure_facts(np.ones((9, 9), bool), GREY[:9, :9])
    assert (full.surroundings, full.fraction, full.percent) == (None, 1, "100")


def test_sizes_must_fit():
    with pytest.raises(ValueError, match="does not fit"):
        measure_facts(np.ones((9, 8), bool), GREY[:9, :9])


@pytest.mark.parametrize("radius", [3, 7, 12, 21, 30, 45])
@pytest.mark.parametrize("centre", [(20, 20), (50, 50), (75, 40)])
def test_words_are_those_of_the_training_text(radius, centre):
    """One blob is described in the words that the model is trained on elsewhere."""
    mask = disc((100, 100), centre, radius)
    grey = np.where(mask, 40, 140).astype(np.float32)
    facts, words = measure_facts(mask, grey), text.measure_facts(mask, grey)
    assert (facts.size_word, facts.percent) == (words.size, words.percent)
    assert facts.place.words in words.location or not facts.place.words
    assert f"{facts.surroundings.contrast_word} than" == words.contrast
