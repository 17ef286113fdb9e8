"""Statements of an answer against its mask."""

import numpy as np
import pytest
from drawn import disc

from Sim4SegCore.modeling.answer import Answer
from Sim4SegCore.reasoning.check import check_answer

SIZE = (100, 100)
LESION = disc(SIZE, (50, 20), 9)
IMAGE = np.where(LESION, 60, 160).astype(np.uint8)
NOTHING = np.zeros(SIZE, bool)


def answer(analysis: str, consideration: str = "it is round", modality: str = "dermoscopy"):
    return Answer(modality, analysis, consideration, "melanoma")


def verdicts(given: Answer, mask=LESION, modality=None) -> dict[str, str]:
    checked = check_answer(given, "skin lesion", mask, IMAGE, modality)
    return {claim.kind: claim.verdict for claim in checked}


def test_true_statements_are_supported():
    found = verdicts(
        answer(
            "the skin lesion is visible in the left part of the image, it is small and covers "
            "about 3 percent of it",
            "it is round and darker than the surroundings",
        )
    )
    assert found.pop("modality") == "not checkable"
    assert set(found) == {"presence", "place", "size", "percent", "shape", "contrast"}
    assert set(found.values()) == {"supported"}


@pytest.mark.parametrize(
    ("analysis", "kind"),
    [
        ("the skin lesion is visible in the right part of the image", "place"),
        ("the skin lesion is large", "size"),
        ("the skin lesion covers about 30 percent of it", "percent"),
        ("the skin lesion is brighter than the surroundings", "contrast"),
        ("the skin lesion is elongated", "shape"),
        ("no skin lesion is visible", "presence"),
    ],
)
def test_false_statements_are_contradicted_with_what_was_measured(analysis, kind):
    checked = check_answer(answer(analysis, "it stands out"), "skin lesion", LESION, IMAGE)
    [claim] = [c for c in checked if c.kind == kind]
    assert claim.verdict == "contradicted"
    assert claim.measured


def test_nothing_can_be_said_of_a_mask_that_is_not_there():
    found = verdicts(answer("the skin lesion is visible in the left part of the image"), NOTHING)
    assert found["presence"] == "contradicted"
    assert found["place"] == found["shape"] == "not checkable"
    assert verdicts(answer("no skin lesion is visible", "-"), NOTHING)["presence"] == "supported"


@pytest.mark.parametrize(
    ("said", "code", "verdict"),
    [
        ("MRI of the brain", "MR", "supported"),
        ("X-ray of the hand", "DX", "supported"),
        ("X-ray of the hand", "CT", "contradicted"),
        ("X-ray of the hand", "XX", "not checkable"),
        ("X-ray of the hand", None, "not checkable"),
    ],
)
def test_the_files_modality_is_compared(said, code, verdict):
    assert verdicts(answer("it is small", modality=said), modality=code)["modality"] == verdict


def test_an_answer_without_words_has_no_claims():
    assert check_answer(Answer("", "", "", "melanoma"), "skin lesion", LESION, IMAGE) == ()
