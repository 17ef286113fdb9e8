import random

import numpy as np
import pytest

from Sim4SegCore.modeling.answer import Answer, named_target
from training.targets import SYNONYMS, strangers_to
from training.text import TaughtAnswer, measure_facts, random_query, write_answer


def disc(size, centre, radius):
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.hypot(rows - centre[0], columns - centre[1]) < radius


@pytest.mark.parametrize(
    ("centre", "words"),
    [
        ((20, 20), "in the upper left part"),
        ((20, 50), "in the upper part"),
        ((50, 80), "in the right part"),
        ((80, 80), "in the lower right part"),
        ((50, 50), "in the centre"),
    ],
)
def test_location_is_where_the_mask_is(centre, words):
    facts = measure_facts(disc((100, 100), centre, 8), np.zeros((100, 100), np.float32))
    assert facts.location == words


@pytest.mark.parametrize(
    ("radius", "size", "percent"),
    [(3, "tiny", "less than 1"), (10, "small", "3"), (21, "medium", "15"), (40, "large", "50")],
)
def test_size_follows_the_area(radius, size, percent):
    facts = measure_facts(disc((100, 100), (50, 50), radius), np.zeros((100, 100), np.float32))
    assert (facts.size, facts.percent) == (size, percent)


@pytest.mark.parametrize(
    ("level", "words"), [(200, "brighter than"), (20, "darker than"), (104, "similar to")]
)
def test_contrast_compares_with_the_surroundings(level, words):
    mask = disc((100, 100), (50, 50), 15)
    grey = np.where(mask, level, 100).astype(np.float32)
    assert measure_facts(mask, grey).contrast == words


def test_shape_tells_a_bar_from_a_disc():
    grey = np.zeros((100, 100), np.float32)
    bar = np.zeros((100, 100), bool)
    bar[48:52, 10:90] = True
    assert measure_facts(bar, grey).shape == "elongated"
    assert measure_facts(disc((100, 100), (50, 50), 20), grey).shape == "round"


def test_without_reasoning_the_diagnosis_is_taught_alone():
    taught = write_answer("polyp", False, None, "endoscopy", "colon", "polyp", random.Random(0))
    direct = taught.without_reasoning()
    assert "".join(piece for piece, _ in direct.segments).strip() == direct.answer.text
    assert direct.answer.text == "It is [SEG]. Finally, the diagnosis is polyp."
    assert [piece for piece, supervised in direct.segments if supervised] == [" polyp."]


def test_seg_is_taught_after_the_reasoning_where_that_is_asked_for():
    taught = write_answer("polyp", False, None, "endoscopy", "colon", "polyp", random.Random(0))
    later = taught.with_seg_after_reasoning()
    assert "".join(piece for piece, _ in later.segments).strip() == later.answer.text
    assert " points to it. It is [SEG]. Finally, the diagnosis is polyp." in later.answer.text
    assert sorted(later.segments) == sorted(taught.segments)


@pytest.mark.parametrize("target", sorted(SYNONYMS))
@pytest.mark.parametrize("present", [True, False])
def test_answers_name_their_target_and_keep_the_form(target, present):
    mask = disc((64, 64), (32, 32), 9)
    facts = measure_facts(mask, mask.astype(np.float32)) if present else None
    for seed in range(8):
        taught = write_answer(target, present, facts, "X-ray", "chest", None, random.Random(seed))
        assert named_target(taught.answer) == target
        assert taught.answer.text.startswith("It is [SEG]. Firstly, the modality of the image is")
        assert taught.answer.text.count(".") == 5


def test_unknown_facts_are_not_taught():
    taught = write_answer(
        "skin lesion", True, None, "dermoscopy", "skin", "melanoma", random.Random(0)
    )
    assert taught.supervised == (True, False, False, True)
    unknown = write_answer("polyp", False, None, "endoscopy", "colon", None, random.Random(0))
    assert unknown.supervised == (True, True, True, False)


def test_segments_join_to_the_answer():
    answer = Answer("MRI of the brain", "no tumor is visible", "nothing", "no tumor")
    taught = TaughtAnswer(answer, (True,) * 4)
    assert "".join(piece for piece, _ in taught.segments).strip() == answer.text


def test_queries_vary_and_name_the_target():
    queries = {random_query("polyp", None, "endoscopy", random.Random(n)) for n in range(60)}
    assert len(queries) > 15
    assert all("polyp" in query.lower() for query in queries)


@pytest.mark.parametrize(("body_part", "shown"), [("chest", "liver"), ("brain", "hippocampus")])
def test_what_an_image_may_show_is_not_asked_for_as_absent(body_part, shown):
    assert shown not in strangers_to(body_part)
    assert "kidney" in strangers_to(body_part)
    assert {"breast mass", "polyp"} <= set(strangers_to(body_part))
