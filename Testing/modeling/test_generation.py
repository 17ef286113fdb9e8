"""Whatever the network wants, an answer has the paper's form."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from tiny import DIAGNOSES, QUERY, answer, compact_model, decode, framed, picture
from torch import Tensor

from Sim4SegCore.modeling.answer import (
    OPENING,
    SEG_TOKEN,
    STEP_LEADS,
    UNKNOWN_DIAGNOSIS,
    Answer,
    named_target,
)
from Sim4SegCore.modeling.generation import AnswerDecoder, Generated
from Sim4SegCore.modeling.lvlm import LVLM
from Sim4SegCore.modeling.sim4seg import Sim4SegModel
from Sim4SegCore.modeling.speech import MAX_STEP_TOKENS


def assert_form(lvlm: LVLM, generated: Generated) -> None:
    text = generated.answer.text
    assert text.startswith(OPENING.strip())
    assert text.count(SEG_TOKEN) == 1
    starts = [text.index(lead) for lead in STEP_LEADS]
    assert starts == sorted(starts)
    assert text.endswith(f"{generated.answer.diagnosis}.")
    seg_id = lvlm.tokenizer.convert_tokens_to_ids(SEG_TOKEN)
    assert generated.text_ids.count(seg_id) == 1
    assert lvlm.image_token_id not in generated.text_ids
    for lead in STEP_LEADS:
        assert lead in lvlm.tokenizer.decode(generated.text_ids)


@pytest.fixture
def force(
    compact: Sim4SegModel, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[Tensor], None]], LVLM]:
    """Let a function rewrite every next-token score in place."""

    def rewrite(change: Callable[[Tensor], None]) -> LVLM:
        lvlm = compact.lvlm
        honest = lvlm.logits

        def logits(states: Tensor) -> Tensor:
            scores = honest(states)
            change(scores)
            return scores

        monkeypatch.setattr(lvlm, "logits", logits)
        return lvlm

    return rewrite


def steps(generated: Generated) -> tuple[str, str, str]:
    return generated.answer.steps[:3]


@pytest.mark.parametrize("seed", range(4))
def test_random_networks_answer_in_form(seed: int) -> None:
    random = compact_model(seed=seed)
    generated = answer(random, picture(seed))
    assert_form(random.lvlm, generated)
    assert generated.answer.diagnosis in DIAGNOSES


def test_every_family_answers_in_form(model: Sim4SegModel) -> None:
    assert_form(model.lvlm, answer(model, picture(0)))


def test_a_query_that_names_special_tokens_is_answered_in_form(model: Sim4SegModel) -> None:
    image_token = model.lvlm.tokenizer.convert_ids_to_tokens(model.lvlm.image_token_id)
    query = f"Where is {SEG_TOKEN} in {image_token}?"
    assert_form(model.lvlm, answer(model, picture(0), query))


@pytest.mark.parametrize("special", [SEG_TOKEN, "<image>", "<pad>", "<s>"])
def test_a_network_that_always_wants_a_special_token_gets_none(
    special: str,
    compact: Sim4SegModel,
    force: Callable[[Callable[[Tensor], None]], LVLM],
) -> None:
    wanted = compact.lvlm.tokenizer.convert_tokens_to_ids(special)
    lvlm = force(lambda scores: scores[..., wanted].add_(1e4))
    generated = answer(compact, picture(0))
    assert_form(lvlm, generated)
    assert special not in generated.answer.reasoning


def test_a_network_that_spells_the_seg_token_in_letters_gets_none(
    compact: Sim4SegModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    lvlm = compact.lvlm
    letters = lvlm.tokenizer.convert_tokens_to_ids(list(SEG_TOKEN))
    after = dict(itertools.pairwise(letters))
    honest = lvlm.hidden_states

    def marked(input_ids: Tensor, *rest: object, **options: object) -> tuple[Tensor, object]:
        states, cache = honest(input_ids, *rest, **options)
        states[..., 0] = input_ids
        return states, cache

    def next_letter(states: Tensor) -> Tensor:
        scores = torch.zeros(*states.shape[:-1], len(lvlm.tokenizer))
        for index in np.ndindex(*states.shape[:-1]):
            scores[(*index, after.get(int(states[(*index, 0)]), letters[0]))] = 1
        return scores

    monkeypatch.setattr(lvlm, "hidden_states", marked)
    monkeypatch.setattr(lvlm, "logits", next_letter)
    generated = answer(compact, picture(0))
    assert "SEGSEG" in generated.answer.modality
    assert generated.answer.text.count(SEG_TOKEN) == 1


def test_a_network_that_never_ends_a_step_is_cut(
    compact: Sim4SegModel, force: Callable[[Callable[[Tensor], None]], LVLM]
) -> None:
    decoder = AnswerDecoder(compact.lvlm, ())
    ends = [decoder.end, compact.lvlm.tokenizer.eos_token_id]

    def never(scores: Tensor) -> None:
        scores[..., ends] = -1e4

    lvlm = force(never)
    generated = answer(compact, picture(0))
    assert_form(lvlm, generated)
    given = len(lvlm.query_ids(QUERY)) + len(decoder.opening) + sum(map(len, decoder.leads)) + 3
    diagnosis = len(lvlm.encode(f" {generated.answer.diagnosis}."))
    assert len(generated.text_ids) == given + 3 * MAX_STEP_TOKENS + diagnosis


@pytest.mark.parametrize("diagnoses", [DIAGNOSES, ()], ids=["offered", "free"])
@pytest.mark.parametrize("token", [".", "</s>"])
def test_a_network_that_ends_every_step_at_once_gives_empty_steps(
    diagnoses: tuple[str, ...],
    token: str,
    compact: Sim4SegModel,
    force: Callable[[Callable[[Tensor], None]], LVLM],
) -> None:
    wanted = compact.lvlm.tokenizer.convert_tokens_to_ids(token)
    lvlm = force(lambda scores: scores[..., wanted].add_(1e4))
    generated = decode_among(compact, diagnoses)
    assert_form(lvlm, generated)
    assert steps(generated) == ("", "", "")
    if not diagnoses:
        assert generated.answer.diagnosis == UNKNOWN_DIAGNOSIS
        assert generated.answer.diagnosis_label is None


@torch.no_grad()
def decode_among(
    model: Sim4SegModel,
    diagnoses: tuple[str, ...],
    chain_of_thought: bool = True,
    seg_after_reasoning: bool = False,
) -> Generated:
    vision = model.lvlm.see(framed(model, picture(0))[0])
    prefix = torch.tensor([model.lvlm.prefix_ids(vision)])
    _, cache = model.lvlm.hidden_states(prefix, vision, use_cache=True)
    decoder = AnswerDecoder(
        model.lvlm, diagnoses, chain_of_thought, seg_after_reasoning=seg_after_reasoning
    )
    return decode(decoder, QUERY, cache)


@torch.no_grad()
def sequence_log_probability(model: Sim4SegModel, text: list[int], label: list[int]) -> float:
    """Of a label after image and text, in a pass of its own without cache or batch."""
    vision = model.lvlm.see(framed(model, picture(0))[0])
    ids = model.lvlm.prefix_ids(vision) + text + label
    states, _ = model.lvlm.hidden_states(torch.tensor([ids]), vision)
    scores = model.lvlm.logits(states[0]).log_softmax(-1)
    first = len(ids) - len(label)
    return sum(float(scores[first + n - 1, token]) for n, token in enumerate(label))


def test_drafts_from_earlier_answers_change_no_answer(model: Sim4SegModel) -> None:
    with torch.no_grad():
        images = [framed(model, picture(n))[0] for n in (0, 1, 0)]
        caches = []
        for image in images:
            vision = model.lvlm.see(image)
            prefix = torch.tensor([model.lvlm.prefix_ids(vision)])
            caches.append(model.lvlm.hidden_states(prefix, vision, use_cache=True)[1])
    queries = (QUERY, QUERY, "Is there a mass? Segment it.")
    experienced = AnswerDecoder(model.lvlm, DIAGNOSES)
    for query, cache in zip(queries, caches, strict=True):
        found = decode(experienced, query, cache)
        again = decode(experienced, query, cache)
        fresh = decode(AnswerDecoder(model.lvlm, DIAGNOSES), query, cache)
        assert found.text_ids == again.text_ids == fresh.text_ids
        assert again.diagnosis_probabilities == pytest.approx(
            fresh.diagnosis_probabilities, rel=1e-3, abs=1e-9
        )


def test_labels_that_begin_alike_are_told_apart(compact: Sim4SegModel) -> None:
    """Their shared tokens are computed once; one is the whole beginning of another."""
    names = ("polyp", "polyp of the colon", "polyp of the breast", "p")
    check_label_probabilities(compact, names)


def test_label_probabilities_are_the_softmax_of_their_sequences(model: Sim4SegModel) -> None:
    check_label_probabilities(model, DIAGNOSES)


@pytest.mark.parametrize("form", [(False, False), (True, True)])
def test_label_probabilities_hold_in_other_forms(
    compact: Sim4SegModel, form: tuple[bool, bool]
) -> None:
    check_label_probabilities(compact, DIAGNOSES, *form)


def check_label_probabilities(
    model: Sim4SegModel,
    names: tuple[str, ...],
    chain_of_thought: bool = True,
    seg_after_reasoning: bool = False,
) -> None:
    generated = decode_among(model, names, chain_of_thought, seg_after_reasoning)
    labels = {name: model.lvlm.encode(f" {name}.") for name in names}
    text = generated.text_ids[: -len(labels[generated.answer.diagnosis])]
    scores = [sequence_log_probability(model, text, ids) for ids in labels.values()]
    expected = dict(zip(labels, torch.tensor(scores).softmax(0).tolist(), strict=True))
    found = generated.diagnosis_probabilities
    assert sum(found.values()) == pytest.approx(1, abs=1e-5)
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-9)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert generated.answer.diagnosis == next(iter(found))


def test_a_free_diagnosis_has_the_probability_of_its_own_tokens(compact: Sim4SegModel) -> None:
    generated = decode_among(compact, ())
    decoder = AnswerDecoder(compact.lvlm, ())
    lead = decoder.leads[-1]
    ids = generated.text_ids
    start = max(n for n in range(len(ids)) if ids[n : n + len(lead)] == lead) + len(lead)
    assert ids[-1] == decoder.end
    assert compact.lvlm.tokenizer.decode(ids[start:-1]).strip() == generated.answer.diagnosis
    score = sequence_log_probability(compact, ids[:start], ids[start:])
    assert generated.diagnosis_probabilities == {
        generated.answer.diagnosis: pytest.approx(math.exp(score), rel=1e-3, abs=1e-30)
    }


def test_without_chain_of_thought_only_the_diagnosis_is_said(compact: Sim4SegModel) -> None:
    generated = decode_among(compact, DIAGNOSES, chain_of_thought=False)
    answer = generated.answer
    assert answer.text == f"It is [SEG]. Finally, the diagnosis is {answer.diagnosis}."
    assert answer.diagnosis in DIAGNOSES
    # [SEG] comes before the reasoning, so that the mask does not depend on it.
    reasoned = decode_among(compact, DIAGNOSES)
    assert torch.allclose(generated.seg_state, reasoned.seg_state, atol=1e-5)


@pytest.mark.parametrize("diagnoses", [DIAGNOSES, ()])
def test_seg_can_be_said_after_the_reasoning(
    compact: Sim4SegModel, diagnoses: tuple[str, ...]
) -> None:
    generated = decode_among(compact, diagnoses, seg_after_reasoning=True)
    first = decode_among(compact, diagnoses)
    text = generated.answer.text
    assert text.startswith("Firstly, the modality of the image is")
    assert text.index(STEP_LEADS[2]) < text.index(f". {OPENING.strip()} Finally, the diagnosis is")
    assert "  " not in generated.answer.reasoning
    assert SEG_TOKEN not in generated.answer.reasoning
    spoken = compact.lvlm.tokenizer.decode(generated.text_ids)
    assert "".join(spoken.split()).endswith("".join(text.split()))
    assert not torch.allclose(generated.seg_state, first.seg_state, atol=1e-3)
    assert generated.log_probability < 0
    with torch.no_grad():
        vision = compact.lvlm.see(framed(compact, picture(0))[0])
        ids = compact.lvlm.prefix_ids(vision) + generated.text_ids
        states, _ = compact.lvlm.hidden_states(torch.tensor([ids]), vision)
    seg_id = compact.lvlm.tokenizer.convert_tokens_to_ids(SEG_TOKEN)
    torch.testing.assert_close(
        generated.seg_state, states[0, ids.index(seg_id)], atol=1e-4, rtol=1e-4
    )


def test_reasoning_is_the_answer_without_the_seg_sentence() -> None:
    given = Answer("X-ray", "the mass is visible", "it looks benign", "benign breast mass")
    assert given.text.startswith("It is [SEG]. Firstly, the modality of the image is X-ray.")
    assert given.reasoning == given.text.removeprefix("It is [SEG]. ")
    assert given.diagnosis_label == "benign breast mass"
    assert Answer("", "", "", UNKNOWN_DIAGNOSIS).diagnosis_label is None


@pytest.mark.parametrize(
    ("analysis", "target"),
    [
        ("the breast mass is visible in the centre", "breast mass"),
        ("no polyp is visible", "polyp"),
        ("the retinal vessels are seen", "retinal vessels"),
        ("nothing of note", None),
    ],
)
def test_the_target_is_read_from_the_analysis(analysis: str, target: str | None) -> None:
    assert named_target(Answer("", analysis, "", "")) == target
