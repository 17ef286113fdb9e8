"""Answers, token by token, in the paper's form, from a cached image prefix.

The form is constrained: the leads of the four steps and the one [SEG] are given, the words of
each step are the model's. So [SEG] neither disappears nor floods, whatever fine-tuning did. All
given tokens between two free ones go through the network in one call.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .answer import OPENING, SEG_TOKEN, STEP_END, STEP_LEADS, UNKNOWN_DIAGNOSIS, Answer
from .lvlm import LVLM

MAX_STEP_TOKENS = 64


@dataclass(frozen=True)
class Generated:
    """A decoded answer.

    Attributes:
        answer: its four steps.
        seg_state: (D,) hidden state of [SEG].
        text_ids: every token after the image prefix: query, leads and free words.
        diagnosis_probabilities: label -> probability among the labels that were offered,
            most likely first; the freely decoded one alone where none were.
    """

    answer: Answer
    seg_state: Tensor
    text_ids: list[int]
    diagnosis_probabilities: dict[str, float]


class AnswerDecoder:
    """Greedy decoding of one answer for one query after one image's cached prefix."""

    def __init__(self, lvlm: LVLM, diagnoses: tuple[str, ...]) -> None:
        self.lvlm = lvlm
        self.seg_id = int(lvlm.tokenizer.convert_tokens_to_ids(SEG_TOKEN))
        self.leads = [lvlm.encode(lead) for lead in STEP_LEADS]
        self.opening = lvlm.encode(OPENING)
        self.end = lvlm.encode(f"a{STEP_END}")[-1]
        self.labels = {label: lvlm.encode(f" {label}{STEP_END}") for label in diagnoses}

    @torch.inference_mode()
    def decode(self, query: str, prefix_cache: Any) -> Generated:
        """Answer a query.

        Args:
            query: the user's text.
            prefix_cache: keys and values of the image prefix, batch 1; left as it is.
        """
        cache = copy.deepcopy(prefix_cache)
        query_ids = self.lvlm.query_ids(query)
        pending = query_ids + self.opening + self.leads[0]
        seg_position = len(query_ids) + self.opening.index(self.seg_id)
        text_ids = list(pending)
        states, cache = self._advance(pending, cache)
        seg_state = states[0, seg_position]
        steps = []
        for index in range(len(STEP_LEADS) - 1):
            step, cache = self._free_step(states, cache)
            given = [self.end, *self.leads[index + 1]]
            states, cache = self._advance(given, cache)
            text_ids += step + given
            steps.append(self.lvlm.tokenizer.decode(step).strip())
        probabilities = self._diagnose(states, cache)
        diagnosis = next(iter(probabilities))
        text_ids += self.labels.get(diagnosis) or self.lvlm.encode(f" {diagnosis}{STEP_END}")
        answer = Answer(steps[0], steps[1], steps[2], diagnosis)
        return Generated(answer, seg_state, text_ids, probabilities)

    def _advance(self, ids: list[int], cache: Any) -> tuple[Tensor, Any]:
        tokens = torch.tensor([ids], device=self.lvlm.network.device)
        return self.lvlm.hidden_states(tokens, cache=cache, use_cache=True)

    def _free_step(self, states: Tensor, cache: Any) -> tuple[list[int], Any]:
        """Words of one step, without the full stop that ends it."""
        step: list[int] = []
        while len(step) < MAX_STEP_TOKENS:
            token = self._next_token(states)
            if token in (self.end, self.lvlm.tokenizer.eos_token_id):
                break
            step.append(token)
            states, cache = self._advance([token], cache)
        return step, cache

    def _next_token(self, states: Tensor) -> int:
        scores = self.lvlm.logits(states[0, -1])
        scores[[self.seg_id, self.lvlm.image_token_id]] = -torch.inf
        return int(scores.argmax())

    def _diagnose(self, states: Tensor, cache: Any) -> dict[str, float]:
        if self.labels:
            scores = self._label_scores(states, cache, list(self.labels.values()))
            probabilities = torch.tensor(scores).softmax(0).tolist()
            pairs = zip(self.labels, probabilities, strict=True)
            return dict(sorted(pairs, key=lambda pair: -pair[1]))
        step, _ = self._free_step(states, copy.deepcopy(cache))
        label = self.lvlm.tokenizer.decode(step).strip() or UNKNOWN_DIAGNOSIS
        score = self._label_scores(states, cache, [[*step, self.end]])[0]
        return {label: math.exp(score)}

    def _label_scores(self, states: Tensor, cache: Any, labels: list[list[int]]) -> list[float]:
        """Log-probability of each label's tokens, all in one batched pass."""
        longest = max(map(len, labels))
        device = states.device
        ids = torch.tensor(
            [label + [self.end] * (longest - len(label)) for label in labels], device=device
        )
        repeated = copy.deepcopy(cache)
        repeated.batch_repeat_interleave(len(labels))
        following, _ = self.lvlm.hidden_states(ids[:, :-1], cache=repeated, use_cache=True)
        first = states[:, -1:].expand(len(labels), -1, -1)
        scores = self.lvlm.logits(torch.cat([first, following], dim=1)).log_softmax(-1)
        chosen = scores.gather(2, ids[..., None])[..., 0]
        real = torch.arange(longest, device=device) < torch.tensor(
            [len(label) for label in labels], device=device
        ).unsqueeze(1)
        return [float(value) for value in (chosen * real).sum(1)]
