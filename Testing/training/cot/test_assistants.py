"""What is asked of a model, and what is made of its replies."""

import json

import numpy as np
import pytest
from made_up import disc, make_record, make_subject

from Sim4SegCore.modeling.answer import Answer
from training.cot.assistants import (
    NO_VERDICT,
    CriticalAssistant,
    JointCritic,
    MedicalAssistant,
    parse_answer,
)
from training.cot.critic import GroundedCritic

ANSWER = Answer("dermoscopy of the skin", "the lesion is visible", "it is round", "melanoma")
SUBJECT = make_subject(disc((100, 120), (25, 30), 14))


class ScriptedChat:
    name = "scripted"

    def __init__(self, *replies):
        self.replies, self.prompts = list(replies), []

    def reply(self, prompt):
        self.prompts.append(prompt)
        return self.replies.pop(0)


@pytest.mark.parametrize(
    "text",
    [
        ANSWER.text,
        ANSWER.reasoning,
        ANSWER.reasoning.replace(". ", ".\n\n"),
        "Sure! " + ANSWER.reasoning + " I hope this helps.",
        "**Firstly**, " + ANSWER.reasoning.removeprefix("Firstly, "),
    ],
)
def test_answers_are_found_in_replies(text):
    assert parse_answer(text.replace("**Firstly**", "Firstly")) == ANSWER


def test_steps_left_out_are_empty_and_rejected():
    answer = parse_answer("Firstly, the modality of the image is dermoscopy. Finally, melanoma.")
    assert answer == Answer("dermoscopy", "", "", "melanoma")
    reasons = GroundedCritic().judge(SUBJECT, answer).reasons
    assert {"missing step: analysis", "missing step: consideration"} <= set(reasons)
    assert not GroundedCritic().judge(SUBJECT, parse_answer("I cannot help with that.")).accepted


def test_the_medical_assistant_is_told_what_is_known_and_what_was_objected_to():
    chat = ScriptedChat(ANSWER.text)
    assert MedicalAssistant(chat).write(SUBJECT, ("the place is wrong",), 2) == ANSWER
    (prompt,) = chat.prompts
    for said in ("What is it?", "“melanoma”", "upper left; medium", "- the place is wrong"):
        assert said in prompt.text
    assert prompt.picture.shape == (100, 120, 3)
    changed = (prompt.picture != SUBJECT.image[..., None]).any(-1)
    # Outlined just outside the mask, so that the lesion itself stays as it is.
    assert changed.any()
    assert not (changed & SUBJECT.masks["skin lesion"]).any()


def test_absent_targets_are_named_as_absent():
    record = make_record({}, "no tumor", dataset="LGG", modality="MRI", body_part="brain")
    subject = make_subject({"tumor": np.zeros((20, 20), bool)}, record=record, targets=("tumor",))
    chat = ScriptedChat(ANSWER.text)
    MedicalAssistant(chat).write(subject, (), 1)
    assert "There is no tumor in the image" in chat.prompts[0].text


def verdict(**said):
    return json.dumps({"complete": True, "logical": True, "reliable": True, "reasons": [], **said})


@pytest.mark.parametrize(
    ("reply", "reasons"),
    [
        (verdict(), ()),
        (f"Here you are:\n```json\n{verdict()}\n```", ()),
        (verdict(logical=False, reasons=["it does not follow"]), ("it does not follow",)),
        (verdict(reliable=False), ("not reliable",)),
    ],
)
def test_verdicts_are_read(reply, reasons):
    judged = CriticalAssistant(ScriptedChat(reply)).judge(SUBJECT, ANSWER)
    assert (judged.critic, judged.reasons) == ("scripted", reasons)


@pytest.mark.parametrize("nonsense", ["It is fine.", "{}", '{"complete": "yes"}', "[1]", "}{"])
def test_an_unreadable_verdict_is_asked_again_and_then_left_to_people(nonsense):
    chat = ScriptedChat(nonsense, verdict())
    assert CriticalAssistant(chat).judge(SUBJECT, ANSWER).accepted
    # The cache would give the same reply to the same question.
    assert chat.prompts[0].text != chat.prompts[1].text
    chat = ScriptedChat(nonsense, nonsense)
    assert CriticalAssistant(chat).judge(SUBJECT, ANSWER).reasons == (NO_VERDICT,)


def test_of_several_critics_the_first_that_rejects_ends_the_round():
    chat = ScriptedChat(verdict(complete=False))
    joint = JointCritic((GroundedCritic(), CriticalAssistant(chat)))
    assert joint.judge(SUBJECT, Answer("dermoscopy", "", "", "melanoma")).critic == "grounded"
    assert not chat.prompts
    assert joint.judge(SUBJECT, ANSWER).critic == "scripted"
    assert joint.name == "grounded+scripted"
