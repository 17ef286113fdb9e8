"""Several sampled answers to one query, decoded side by side.

All start from the cached image, query and [SEG]; nothing of these is computed again. A call of
the network feeds every answer as many tokens as are likely to be its next (the greedy answer and
earlier ones serve as drafts) and each keeps those that its own random numbers would have chosen,
so that an answer depends on its seed alone, never on the others beside it.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .answer import UNKNOWN_DIAGNOSIS, Answer
from .generation import MAX_STEP_TOKENS, AnswerDecoder, Generated, LabelTree, Opening
from .lvlm import LVLM, ancestors

CHUNK = 16
"""Tokens of one answer that one call verifies at most."""


@dataclass(frozen=True)
class SampledWords:
    """One answer.

    Attributes:
        diagnosis_probabilities: label -> probability, most likely first.
        log_probability: mean over the words' tokens before the diagnosis, untempered.
    """

    answer: Answer
    diagnosis_probabilities: dict[str, float]
    log_probability: float


class Branches:
    """Continuations of one context in one cache, each row with its own."""

    def __init__(self, lvlm: LVLM, cache: Any, count: int) -> None:
        """
        Args:
            cache: of the context, batch 1; left as it is.
        """
        self._lvlm = lvlm
        self._cache = copy.deepcopy(cache)
        self._cache.batch_repeat_interleave(count)
        self._context = cache.get_seq_length()
        self._own = torch.zeros(count, 0, dtype=torch.bool)

    def feed(self, chunks: Sequence[Sequence[int]]) -> Tensor:
        """Hidden states (rows, longest chunk, D) of each row's next tokens; some may have none."""
        longest = max(len(chunk) for chunk in chunks)
        tokens = torch.tensor([[*chunk, *[0] * (longest - len(chunk))] for chunk in chunks])
        places = torch.arange(longest)
        states = self._run(tokens, (places[:, None] >= places), places)
        lengths = torch.tensor([len(chunk) for chunk in chunks])
        self._own = torch.cat([self._own, places < lengths[:, None]], dim=1)
        self._fed = longest
        return states

    def keep(self, row: int, count: int) -> None:
        """Of the chunk that was fed last, a row takes only its first tokens."""
        begin = self._own.shape[1] - self._fed
        self._own[row, begin + count :] = False

    def tree(self, tokens: Sequence[int], parents: Sequence[int]) -> Tensor:
        """Hidden states (rows, T, D) of one tree of tokens after every row."""
        related = ancestors(parents)
        every_row = torch.tensor([list(tokens)]).expand(len(self._own), -1)
        return self._run(every_row, related, related.sum(1) - 1)

    def _run(self, tokens: Tensor, related: Tensor, depth: Tensor) -> Tensor:
        rows, length = tokens.shape
        context = torch.ones(rows, length, self._context, dtype=torch.bool)
        own = self._own[:, None].expand(-1, length, -1)
        visible = torch.cat([context, own, related.expand(rows, -1, -1)], dim=2)
        positions = self._context + self._own.sum(1, keepdim=True) + depth
        return self._lvlm.masked_states(tokens, positions, visible, self._cache)


@dataclass
class _Row:
    """One answer as it grows.

    Attributes:
        pending: tokens that are certain but were not fed yet; never empty before the end.
        lead: how many of the leads were said.
        log_probabilities: of the words of each step, their full stop's with them.
        last_state: that the diagnosis is predicted from.
    """

    numbers: random.Random
    pending: list[int]
    lead: int = 1
    steps: list[list[int]] = field(default_factory=lambda: [[]])
    log_probabilities: list[float] = field(default_factory=lambda: [0.0])
    last_state: Tensor | None = None


class AnswerSampler:
    """Draws answers that a decoder's greedy one could also have been."""

    def __init__(self, decoder: AnswerDecoder, temperature: float) -> None:
        self.decoder = decoder
        self.temperature = temperature

    @torch.inference_mode()
    def sample(
        self,
        opening: Opening,
        greedy: Generated,
        seeds: Sequence[str],
        diagnosis_logits: Tensor | None = None,
    ) -> list[SampledWords]:
        """One answer per seed.

        Args:
            opening: with a cache that was not used up; left as it is.
            greedy: the answer that serves as draft.
            diagnosis_logits: see `AnswerDecoder.complete`.
        """
        decoder = self.decoder
        branches = Branches(decoder.lvlm, opening.cache, len(seeds))
        rows = [_Row(random.Random(seed), []) for seed in seeds]
        for row in rows:
            self._choose(row, opening.states[0, -1])
        while any(row.pending for row in rows):
            chunks = [self._chunk(row, greedy) for row in rows]
            decoder.between_calls()
            states = branches.feed(chunks)
            for index, (row, chunk) in enumerate(zip(rows, chunks, strict=True)):
                if chunk:
                    branches.keep(index, self._walk(row, chunk, states[index]))
        chosen = self._diagnoses(rows, branches, diagnosis_logits)
        return [self._words(row, labels) for row, labels in zip(rows, chosen, strict=True)]

    def _is_complete(self, row: _Row) -> bool:
        return row.lead == len(self.decoder.leads) and bool(self.decoder.labels)

    def _chunk(self, row: _Row, greedy: Generated) -> list[int]:
        """Certain tokens, and those that are likely to follow."""
        if not row.pending or self._is_complete(row):
            return row.pending
        return [*row.pending, *self._draft(row, greedy)][: max(CHUNK, len(row.pending))]

    def _draft(self, row: _Row, greedy: Generated) -> list[int]:
        step, number = row.steps[-1], len(row.steps) - 1
        if number >= len(greedy.steps) or greedy.steps[number][: len(step)] != step:
            return self.decoder.draft(step)
        draft = greedy.steps[number][len(step) :]
        for lead, following in zip(
            self.decoder.leads[number + 1 :], greedy.steps[number + 1 :], strict=False
        ):
            draft = [*draft, self.decoder.end, *lead, *following]
        return draft

    def _walk(self, row: _Row, chunk: list[int], states: Tensor) -> int:
        """Choose tokens along a chunk as far as it holds; returns how many of it count."""
        kept = len(row.pending)
        row.pending = []
        while True:
            if self._is_complete(row):
                row.last_state = states[kept - 1]
                return kept
            self._choose(row, states[kept - 1])
            agreed = 0
            for token, drafted in zip(row.pending, chunk[kept:], strict=False):
                if token != drafted:
                    break
                agreed += 1
            kept += agreed
            row.pending = row.pending[agreed:]
            if row.pending or not agreed:
                return kept

    def _choose(self, row: _Row, state: Tensor) -> None:
        """Draw the next token; the lead that follows the end of a step is certain with it."""
        decoder, step = self.decoder, row.steps[-1]
        token = decoder.end
        if len(step) < MAX_STEP_TOKENS:
            log_probabilities = decoder.next_token_scores(state).double().cpu()
            tempered = (log_probabilities / self.temperature).softmax(0).cumsum(0)
            drawn = torch.tensor(row.numbers.random() * float(tempered[-1]), dtype=torch.float64)
            token = int(torch.searchsorted(tempered, drawn, right=True))
            row.log_probabilities[-1] += float(log_probabilities[token])
        if not decoder.ends_step(token):
            step.append(token)
            row.pending = [token]
            return
        row.lead += 1
        if row.lead <= len(decoder.leads):
            row.pending = [decoder.end, *decoder.leads[row.lead - 1]]
        if row.lead < len(decoder.leads) + (not decoder.labels):
            row.steps.append([])
            row.log_probabilities.append(0.0)

    def _diagnoses(
        self, rows: Sequence[_Row], branches: Branches, head_logits: Tensor | None
    ) -> list[dict[str, float]]:
        decoder = self.decoder
        if not decoder.labels:
            return [
                {
                    decoder.words(row.steps[-1]) or UNKNOWN_DIAGNOSIS: math.exp(
                        row.log_probabilities[-1]
                    )
                }
                for row in rows
            ]
        tree = LabelTree.of(list(decoder.labels.values()))
        states = torch.stack([_given(row.last_state) for row in rows])[:, None]
        if tree.tokens:
            states = torch.cat([states, branches.tree(tree.tokens, tree.parents)], dim=1)
        return [
            decoder.weigh(tree.scores(logits), head_logits)
            for logits in decoder.lvlm.logits(states)
        ]

    def _words(self, row: _Row, probabilities: dict[str, float]) -> SampledWords:
        before = len(self.decoder.leads) - 1
        steps = row.steps[:before]
        count = sum(len(step) + 1 for step in steps)
        return SampledWords(
            self.decoder.answer(steps, next(iter(probabilities))),
            probabilities,
            sum(row.log_probabilities[:before]) / max(1, count),
        )


def _given(state: Tensor | None) -> Tensor:
    assert state is not None
    return state
