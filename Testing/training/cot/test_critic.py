"""The grounded critic against texts that are right, and texts that are wrong in one point."""

import random
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import disc, make_record, make_subject

from Sim4SegCore.modeling.answer import UNKNOWN_DIAGNOSIS, Answer, named_target
from training.cot.critic import GroundedCritic
from training.cot.subject import Item, Subject
from training.cot.writer import GroundedWriter
from training.targets import PLURAL_TARGETS, SYNONYMS

LESION = make_subject(disc((100, 120), (25, 30), 14))
"""Dark, round, sharp, one region, 5 percent, in the upper left."""
RIGHT = Answer(
    modality="dermoscopy of the skin",
    analysis="the skin lesion is visible in the upper left part of the image, it is a single "
    "small region and covers about 5 percent of the image",
    consideration="it is round, darker than the surroundings and its border is well defined",
    diagnosis="melanoma",
)


def judge(subject=LESION, answer=RIGHT, **changed):
    return GroundedCritic().judge(subject, Answer(**{**vars(answer), **changed}))


def test_a_true_text_is_accepted():
    assert judge().reasons == ()


@pytest.mark.parametrize(
    "analysis",
    [
        "the lesion is seen in the left upper quadrant and is about 5% of the image",
        "a mole is visible at the top left of the image, it is not large",
        "the skin lesion is visible, it is not in the right half of the image",
        "there is a small skin lesion, less than 10 percent of the image, with a clear margin",
    ],
)
def test_other_true_wordings_are_accepted(analysis):
    assert judge(analysis=analysis).reasons == ()


@pytest.mark.parametrize(
    ("right", "wrong", "reason"),
    [
        ("upper left", "upper right", "place of the skin lesion.*upper right.*upper left"),
        ("upper left", "lower left", "place of the skin lesion"),
        ("in the upper left part", "in the centre", "place of the skin lesion"),
        ("in the upper left part", "in the lower right quadrant", "quadrant of the skin lesion"),
        ("about 5 percent", "about 40 percent", "percent of the skin lesion.*40.*5.1 percent"),
        ("about 5 percent", "less than 1 percent", "percent of the skin lesion"),
        ("single small region", "single large region", "size of the skin lesion.*large.*medium"),
        ("a single small region", "three small regions", "parts of the skin lesion.*1 part"),
        ("the skin lesion is visible", "no skin lesion is visible", "denies the skin lesion"),
        ("it is a single", "it is not a single", "parts of the skin lesion.*not"),
    ],
)
def test_a_wrong_analysis_is_rejected_with_the_reason(right, wrong, reason):
    assert right in RIGHT.analysis
    reasons = judge(analysis=RIGHT.analysis.replace(right, wrong)).reasons
    assert any(re.search(reason, said) for said in reasons), reasons


@pytest.mark.parametrize(
    ("right", "wrong", "reason"),
    [
        ("round", "elongated", "shape of the skin lesion"),
        ("darker than", "brighter than", "contrast of the skin lesion.*measured it is darker"),
        ("well defined", "ill-defined", "border of the skin lesion"),
        ("it is round", "it is in the lower part of the image", "contradiction.*upper left"),
        ("well defined", "well defined, this is a common nevus", "speaks of “common nevus”"),
    ],
)
def test_a_wrong_consideration_is_rejected_with_the_reason(right, wrong, reason):
    assert right in RIGHT.consideration
    reasons = judge(consideration=RIGHT.consideration.replace(right, wrong)).reasons
    assert any(re.search(reason, said) for said in reasons), reasons


@pytest.mark.parametrize("step", ["modality", "analysis", "consideration", "diagnosis"])
def test_a_missing_step_is_named(step):
    assert f"missing step: {step}" in judge(**{step: " . "}).reasons


def test_another_modality_or_diagnosis_is_rejected():
    assert "but the image is dermoscopy" in judge(modality="MRI of the brain").reasons[0]
    assert "known as “melanoma”" in judge(diagnosis="common nevus").reasons[0]
    assert judge(consideration=RIGHT.consideration + ", not a common nevus").accepted


def test_a_diagnosis_may_not_contradict_the_finding():
    mask = disc((80, 80), (40, 40), 9)
    record = make_record(
        {"fracture": "f.png"}, "fracture", dataset="FracAtlas", modality="X-ray", body_part="leg"
    )
    subject = make_subject(mask, record=record, targets=("fracture",), labels=("no fracture",))
    answer = Answer(
        "X-ray of the leg", "the fracture is visible", "it is round", diagnosis="no fracture"
    )
    reasons = judge(subject, answer).reasons
    assert any("contradiction: the diagnosis is “no fracture”" in reason for reason in reasons)


def test_absent_targets_may_not_be_described():
    record = make_record({}, "no tumor", dataset="LGG", modality="MRI", body_part="brain")
    image = np.zeros((20, 20), np.uint8)
    subject = make_subject({"tumor": np.zeros((20, 20), bool)}, image, record, ("tumor",))
    absent = Answer("MRI of the brain", "no tumor is seen", "nothing points to it", "no tumor")
    assert judge(subject, absent).accepted
    described = judge(subject, absent, analysis="the tumor is seen", consideration="it is round")
    assert described.reasons == (
        "presence: the text describes the tumor, but it is not in the image",
    )
    torn = judge(subject, absent, analysis="the tumor is visible in the left part")
    assert torn.reasons[0].startswith("contradiction: the tumor is said to be there and not")
    silent = judge(subject, absent, analysis="all structures look fine", consideration="good")
    assert silent.reasons == ("the text does not say whether the tumor is there",)


def test_names_of_organs_are_no_places():
    """The left lung lies on the right of the image; the limb is upper wherever the bone is."""
    mask = disc((100, 100), (50, 80), 12)
    record = make_record(
        {"left lung": "l.png"}, None, dataset="COVID-CXR", modality="X-ray", body_part="chest"
    )
    subject = make_subject(mask, record=record, targets=("left lung",), labels=())
    answer = Answer(
        "X-ray of the chest",
        "the left lung is visible in the right part of the image, beside the left heart border, "
        "in the left half of the chest",
        "the left lung of this patient with a fractured upper limb is round",
        UNKNOWN_DIAGNOSIS,
    )
    assert judge(subject, answer).accepted
    assert not judge(subject, answer, analysis="the left lung is seen in the left area").accepted


def test_each_target_is_checked_against_its_own_mask():
    masks = {
        "left lung": disc((100, 100), (50, 80), 14),
        "right lung": disc((100, 100), (50, 20), 5),
    }
    record = make_record(masks, None, dataset="COVID-CXR", modality="X-ray", body_part="chest")
    subject = make_subject(masks, record=record, targets=("left lung", "right lung"), labels=())
    answer = Answer(
        "X-ray of the chest",
        "the left lung is seen in the right part, the right lung is tiny, in the left part",
        "both are round",
        UNKNOWN_DIAGNOSIS,
    )
    assert judge(subject, answer).accepted
    swapped = answer.analysis.replace("the left lung", "@").replace(
        "the right lung", "the left lung"
    )
    reasons = judge(subject, answer, analysis=swapped.replace("@", "the right lung")).reasons
    assert {reason.partition(":")[0] for reason in reasons} >= {
        "place of the left lung",
        "place of the right lung",
        "size of the left lung",
    }


def test_statements_about_a_neighbour_are_not_taken_for_the_targets_own():
    record = make_record(
        {"tubings": "t.png"}, None, dataset="COVID-CXR", modality="X-ray", body_part="chest"
    )
    mask = disc((100, 100), (20, 80), 4)
    subject = make_subject(mask, record=record, targets=("tubings",), labels=())
    answer = Answer(
        "X-ray of the chest",
        "the tubings are seen in the upper right part; the right lung is large, in the left part",
        "the tubings are round",
        UNKNOWN_DIAGNOSIS,
    )
    verdict = judge(subject, answer)
    assert verdict.accepted
    assert "size of the right lung: “large” (not asked for)" in verdict.unchecked
    wrong = answer.analysis.replace("the right lung is", "the tubings are")
    assert not judge(subject, answer, analysis=wrong).accepted


def test_without_a_mask_claims_are_left_open_but_may_not_contradict_each_other():
    record = replace(make_record(dataset="ISIC2017-256"), masks=None)
    item = Item(record, "finding", "What is it?", ("skin lesion",), "melanoma")
    subject = Subject(item, np.zeros((9, 9), np.uint8), {}, frozenset())
    verdict = judge(subject)
    assert verdict.accepted
    assert any("place of the skin lesion" in open_ for open_ in verdict.unchecked)
    both = RIGHT.consideration + ", in the right half of the image"
    assert "contradiction" in judge(subject, consideration=both).reasons[0]


@st.composite
def random_masks(draw):
    """Blobs, bars, specks and noise on images of any form, at any contrast."""
    height, width = draw(st.integers(4, 90)), draw(st.integers(4, 90))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, columns = np.mgrid[:height, :width]
    mask = np.zeros((height, width), bool)
    for _ in range(draw(st.integers(0, 6))):
        y, x = rng.uniform(0, height), rng.uniform(0, width)
        a, b = rng.uniform(0.5, 30, 2)
        mask |= ((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 < 1
    if draw(st.booleans()):
        mask ^= rng.random(mask.shape) < draw(st.sampled_from([0.01, 0.1, 0.5]))
    level = draw(st.integers(-90, 90))
    image = 128 + level * mask + rng.normal(0, draw(st.sampled_from([0, 5, 40])), mask.shape)
    return mask, np.clip(image, 0, 255).astype(np.uint8)


@settings(max_examples=300, deadline=None)
@given(random_masks(), st.sampled_from(sorted(SYNONYMS)), st.integers(1, 50), st.data())
def test_the_critic_accepts_whatever_the_writer_writes(drawn, target, attempt, data):
    mask, image = drawn
    other = data.draw(st.sampled_from([None, *sorted(set(SYNONYMS) - {target})]))
    targets = (target,) if other is None else (target, other)
    second, _ = drawn if other is None else data.draw(random_masks())
    masks = {target: mask}
    if other is not None and second.shape == mask.shape:
        masks[other] = second
    record = make_record(dict.fromkeys(masks, "m.png"), modality="X-ray", body_part="chest")
    subject = make_subject(masks, image, record, targets)
    answer = GroundedWriter(0).write(subject, (), attempt)
    verdict = GroundedCritic().judge(subject, answer)
    assert verdict.accepted, (answer.text, verdict.reasons)
    assert named_target(answer) == target
    assert all("." not in step for step in answer.steps)


@pytest.mark.parametrize("target", ["skin lesion", "retinal vessels"])
def test_phrasing_varies_and_stays_the_same_for_the_same_attempt(target):
    subject = make_subject(disc((100, 120), (25, 30), 14), targets=(target,))
    texts = [GroundedWriter(0).write(subject, (), attempt).text for attempt in range(1, 31)]
    assert len(set(texts)) > 15
    assert texts[3] == GroundedWriter(0).write(subject, (), 4).text
    verb = "are" if target in PLURAL_TARGETS else "is"
    assert all(f"the {target} {verb}" in text for text in texts)


def test_swapping_any_fact_of_the_writer_is_noticed():
    """Mirror the image behind a written text: whatever names a side must then be rejected."""
    rng = random.Random(0)
    rejected = 0
    for attempt in range(1, 41):
        centre = (rng.uniform(15, 85), rng.choice((18, 82)))
        mask = disc((100, 100), centre, 10)
        answer = GroundedWriter(0).write(make_subject(mask), (), attempt)
        rejected += not judge(make_subject(mask[:, ::-1]), answer).accepted
    assert rejected == 40
