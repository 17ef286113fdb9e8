"""Sampled answers: what one is depends on its seed alone, and each is what the network says."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from test_generation import assert_form
from tiny import DIAGNOSES, QUERY, compact_model, framed, picture

from Sim4SegCore.modeling.generation import AnswerDecoder, Generated, Opening
from Sim4SegCore.modeling.sampling import AnswerSampler, SampledWords
from Sim4SegCore.modeling.sim4seg import Sim4SegModel
from Sim4SegCore.modeling.speech import Drafts

SEEDS = [f"0/{number}" for number in range(5)]


@torch.no_grad()
def opened(model: Sim4SegModel, decoder: AnswerDecoder) -> Opening:
    vision = model.lvlm.see(framed(model, picture(0))[0])
    prefix = torch.tensor([model.lvlm.prefix_ids(vision)])
    _, cache = model.lvlm.hidden_states(prefix, vision, use_cache=True)
    return decoder.open(QUERY, cache)


def drawn(
    model: Sim4SegModel,
    seeds: list[str],
    diagnoses: tuple[str, ...] = DIAGNOSES,
    temperature: float = 1.0,
) -> tuple[Generated, list[SampledWords]]:
    decoder = AnswerDecoder(model.lvlm, diagnoses)
    opening = opened(model, decoder)
    greedy = decoder.complete(opening)
    return greedy, AnswerSampler(decoder, temperature).sample(opening, greedy.trail, seeds)


def test_every_answer_has_the_form(model: Sim4SegModel) -> None:
    greedy, answers = drawn(model, SEEDS[:3])
    for words in answers:
        assert_form(
            model.lvlm,
            dataclasses.replace(
                greedy, answer=words.answer, text_ids=model.lvlm.encode(words.answer.text)
            ),
        )
        assert sum(words.diagnosis_probabilities.values()) == pytest.approx(1)
        assert words.answer.diagnosis == next(iter(words.diagnosis_probabilities))


@pytest.mark.parametrize("diagnoses", [DIAGNOSES, ()], ids=["labels", "free"])
def test_an_answer_does_not_depend_on_those_beside_it(
    model: Sim4SegModel, diagnoses: tuple[str, ...]
) -> None:
    _, together = drawn(model, SEEDS, diagnoses)
    assert len({words.answer.text for words in together}) > 1
    for seed, beside in zip(SEEDS, together, strict=True):
        _, (alone,) = drawn(model, [seed], diagnoses)
        assert alone.answer == beside.answer
        assert alone.log_probability == pytest.approx(beside.log_probability, abs=1e-3)
        for label, probability in alone.diagnosis_probabilities.items():
            assert beside.diagnosis_probabilities[label] == pytest.approx(probability, abs=1e-3)


def test_drafts_change_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    compact = compact_model(seed=1)
    _, with_drafts = drawn(compact, SEEDS)
    monkeypatch.setattr(Drafts, "chunk", lambda self, speech, longest=0: speech.pending)
    _, without = drawn(compact, SEEDS)
    assert [w.answer for w in with_drafts] == [w.answer for w in without]


def test_next_to_no_temperature_gives_the_greedy_answer(model: Sim4SegModel) -> None:
    greedy, answers = drawn(model, SEEDS[:2], temperature=1e-7)
    for words in answers:
        assert words.answer == greedy.answer
        assert words.log_probability == pytest.approx(greedy.log_probability, abs=1e-3)
        for label, probability in greedy.diagnosis_probabilities.items():
            assert words.diagnosis_probabilities[label] == pytest.approx(probability, abs=1e-3)


def test_answers_that_stay_with_the_greedy_one_ask_the_network_for_no_word(
    model: Sim4SegModel,
) -> None:
    decoder = AnswerDecoder(model.lvlm, DIAGNOSES)
    opening = opened(model, decoder)
    greedy = decoder.complete(opening)
    calls: list[None] = []
    decoder.between_calls = lambda: calls.append(None)
    answers = AnswerSampler(decoder, 1e-7).sample(opening, greedy.trail, SEEDS)
    assert not calls
    assert {words.answer.text for words in answers} == {greedy.answer.text}
    AnswerSampler(decoder, 1.0).sample(opening, greedy.trail, SEEDS)
    assert calls


def test_draws_follow_the_networks_probabilities() -> None:
    """The first word's share among many draws is what a plain forward pass predicts."""
    compact = compact_model(seed=2)
    decoder = AnswerDecoder(compact.lvlm, DIAGNOSES)
    opening = opened(compact, decoder)
    expected = decoder.next_token_scores(opening.state).exp()
    trail = decoder.complete(opening).trail
    seeds = [f"9/{number}" for number in range(160)]
    answers = AnswerSampler(decoder, 1.0).sample(opening, trail, seeds)
    first = [compact.lvlm.encode(f"{words.answer.modality} ") for words in answers]
    likely = int(expected.argmax())
    share = sum(ids[:1] == [likely] for ids in first) / len(first)
    spread = float(expected[likely] * (1 - expected[likely]) / len(first)) ** 0.5
    assert abs(share - float(expected[likely])) < 4 * spread + 0.02


def test_sampling_leaves_the_opening_as_it_was(model: Sim4SegModel) -> None:
    decoder = AnswerDecoder(model.lvlm, DIAGNOSES)
    opening = opened(model, decoder)
    trail = decoder.complete(opening).trail
    sampler = AnswerSampler(decoder, 1.0)
    first = sampler.sample(opening, trail, SEEDS[:2])
    again = sampler.sample(opening, trail, SEEDS[:2])
    assert [words.answer for words in first] == [words.answer for words in again]


def test_a_head_that_decides_alone_is_not_asked_what_the_words_would_be() -> None:
    compact = compact_model(seed=3)
    head = torch.tensor([0.0, 2.0, 1.0])
    heard, alone = (AnswerDecoder(compact.lvlm, DIAGNOSES, True, w) for w in (1 - 1e-6, 1.0))
    for decoder in (heard, alone):
        assert decoder.is_heard(head) is (decoder is heard)
    answers = []
    for decoder in (heard, alone):
        opening = opened(compact, decoder)
        greedy = decoder.complete(opening, head)
        sampled = AnswerSampler(decoder, 1.0).sample(opening, greedy.trail, SEEDS[:2], head)
        answers.append(
            [greedy.diagnosis_probabilities, *(w.diagnosis_probabilities for w in sampled)]
        )
    for one, other in zip(*answers, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
        assert list(other) == [DIAGNOSES[1], DIAGNOSES[2], DIAGNOSES[0]]
