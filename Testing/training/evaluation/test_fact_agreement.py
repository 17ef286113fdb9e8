import random

import numpy as np
import pytest

from training.evaluation.facts import (
    FACTS,
    MASK_FACTS,
    agreement,
    agrees,
    constant_agreement,
    stated_facts,
    true_facts,
)
from training.targets import SYNONYMS
from training.text import MaskFacts, write_answer

REASONING = (
    "Firstly, the modality of the image is dermoscopy of the skin. Secondly, I will start to "
    "analyze the image: the skin lesion is visible in the upper left part of the image, it is "
    "medium and covers about 15 percent of it. Thirdly, considering these observations, it is "
    "oval and darker than the surroundings. Finally, the diagnosis is melanoma."
)


def test_every_fact_is_read():
    assert stated_facts(REASONING) == {
        "presence": "present",
        "location": "in the upper left part",
        "size": "medium",
        "percent": "15",
        "shape": "oval",
        "contrast": "darker than",
    }


@pytest.mark.parametrize("target", sorted(SYNONYMS))
@pytest.mark.parametrize("location", ["in the centre", "in the lower part"])
def test_what_training_writes_is_read_back(target, location):
    facts = MaskFacts(location, "tiny", "less than 1", "brighter than", "elongated")
    written = {stated_text(target, facts, seed) for seed in range(20)}
    read = [stated_facts(text) for text in written]
    full = {kind: getattr(facts, kind) for kind in MASK_FACTS} | {"presence": "present"}
    assert full in read
    assert all(stated["presence"] == "present" for stated in read)
    assert all(stated in (full, {"presence": "present"}) for stated in read)


def stated_text(target, facts, seed):
    rng = random.Random(seed)
    return write_answer(target, True, facts, "MRI", "brain", None, rng).answer.reasoning


@pytest.mark.parametrize("target", ["tumor", "retinal vessels"])
def test_absence_is_read_and_nothing_else(target):
    answer = write_answer(target, False, None, "MRI", "brain", "no tumor", random.Random(0)).answer
    assert stated_facts(answer.reasoning) == {"presence": "absent"}


def test_gibberish_states_nothing():
    assert stated_facts("Firstly, the the the. Finally, the diagnosis is polyp.") == {}


def test_truth_is_measured_as_the_network_sees_it():
    truth = np.zeros((200, 400), bool)
    truth[10:66, 20:120] = True
    image = np.where(truth[..., None], 20, 120).astype(np.uint8).repeat(3, axis=2)
    facts = true_facts(True, truth, image, 64)
    assert facts == {
        "presence": "present",
        "location": "in the upper left part",
        "size": "medium",
        "percent": "7",
        "shape": "oval",
        "contrast": "darker than",
    }
    assert true_facts(False, None, image, 64) == {"presence": "absent"}
    assert true_facts(True, None, image, 64) == {"presence": "present"}


@pytest.mark.parametrize(
    ("stated", "true", "right"),
    [("15", "15", True), ("20", "25", True), ("15", "25", False), ("less than 1", "1", True),
     ("1", "2", True), ("3", "5", False), ("less than 1", "2", False)],
)  # fmt: skip
def test_percentages_may_be_near(stated, true, right):
    assert agrees("percent", stated, true) is right


def test_what_is_not_stated_or_not_known_is_not_judged():
    assert agreement({"size": "tiny"}, {"size": "tiny"}, "size") is True
    assert agreement({"size": "tiny"}, {"size": "large"}, "size") is False
    assert agreement({}, {"size": "tiny"}, "size") is None
    assert agreement({"size": "tiny"}, {"presence": "absent"}, "size") is None


def test_the_best_constant_is_among_the_candidates():
    table = constant_agreement("percent", ["10", "12", "50"])
    assert table.shape == (3, 3)
    assert table.mean(1).max() == pytest.approx(2 / 3)
    assert set(FACTS) == {"presence", *MASK_FACTS}
