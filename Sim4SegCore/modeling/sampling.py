"""Several sampled answers to one query, decoded side by side.

All start from the cached image, query and [SEG], and go along the greedy answer, whose states are
known, until their own random numbers want another word: nothing of these is computed again. Then
a call of the network feeds every answer as many tokens as are likely to be its next (earlier
answers serve as drafts) and each keeps those that its own random numbers would have chosen, so
that an answer depends on its seed alone, never on the others beside it.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .answer import Answer
from .generation import AnswerDecoder, LabelTree, Opening, Trail
from .lvlm import LVLM, ancestors
from .speech import Speech

CHUNK = 16
"""Tokens of one answer that one call verifies; a sampled one leaves its draft soon."""


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

    def __init__(self, lvlm: LVLM, cache: Any, trail: int, shared: Sequence[int]) -> None:
        """
        Args:
            cache: of the context and a trail after it, batch 1; left as it is.
            trail: tokens of the trail.
            shared: per row, how many of them it begins with.
        """
        self._lvlm = lvlm
        self._cache = copy.deepcopy(cache)
        self._cache.crop(max(shared) - trail)
        self._cache.batch_repeat_interleave(len(shared))
        self._context = cache.get_seq_length() - trail
        self._own = torch.arange(max(shared)) < torch.tensor(shared)[:, None]

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
        last_state: (D,) after the last token that was fed.
    """

    speech: Speech
    numbers: random.Random
    last_state: Tensor


@dataclass(frozen=True)
class _Odds:
    """Of the token after each of T states.

    Attributes:
        scores: (T, vocabulary) log-probabilities.
        summed: (T, vocabulary) tempered probabilities, added up.
    """

    scores: Tensor
    summed: Tensor


class AnswerSampler:
    """Draws answers that a decoder's greedy one could also have been."""

    def __init__(self, decoder: AnswerDecoder, temperature: float) -> None:
        self.decoder = decoder
        self.temperature = temperature

    @torch.inference_mode()
    def sample(
        self,
        opening: Opening,
        trail: Trail,
        seeds: Sequence[str],
        diagnosis_logits: Tensor | None = None,
    ) -> list[SampledWords]:
        """One answer per seed.

        Args:
            opening: its cache holds the trail; left as it is.
            trail: of an answer after this opening.
            diagnosis_logits: see `AnswerDecoder.complete`.
        """
        decoder = self.decoder
        rows = [_Row(Speech(decoder.form), random.Random(seed), opening.state) for seed in seeds]
        along = self._odds(trail.states)
        shared = [self._follow(row, trail, along) for row in rows]
        branches = Branches(decoder.lvlm, opening.cache, len(trail.tokens), shared)
        while any(row.speech.pending for row in rows):
            chunks = [decoder.drafts.chunk(row.speech, CHUNK) for row in rows]
            decoder.between_calls()
            for index, states in enumerate(branches.feed(chunks)):
                row, chunk = rows[index], chunks[index]
                if chunk:
                    odds = self._odds(states[: len(chunk)])
                    kept = row.speech.follow(chunk, self._drawn(row, odds))
                    branches.keep(index, kept)
                    row.last_state = states[kept - 1]
        chosen = self._diagnoses(rows, branches, diagnosis_logits)
        return [
            SampledWords(
                decoder.answer(opening, row.speech, next(iter(probabilities))),
                probabilities,
                decoder.fluency(opening, row.speech),
            )
            for row, probabilities in zip(rows, chosen, strict=True)
        ]

    def _follow(self, row: _Row, trail: Trail, odds: _Odds) -> int:
        """Say what the row would, as far as that is the trail; how many of its tokens."""
        choose = self._drawn(row, odds)
        shared = row.speech.follow(trail.tokens, lambda place: choose(place + 1))
        row.last_state = trail.states[shared]
        return shared

    def _odds(self, states: Tensor) -> _Odds:
        """What may follow each of (T, D) states."""
        scores = self.decoder.next_token_scores(states).cpu().double()
        return _Odds(scores, (scores / self.temperature).softmax(-1).cumsum(-1))

    def _drawn(self, row: _Row, odds: _Odds) -> Callable[[int], tuple[int, float]]:
        """A token after one of the states by the row's own random numbers."""
        end = self.decoder.end

        def choose(place: int) -> tuple[int, float]:
            summed = odds.summed[place]
            drawn = row.numbers.random() * float(summed[-1])
            token = int(torch.searchsorted(summed, drawn, right=True))
            if row.speech.must_end or token in self.decoder.form.ends:
                token = end
            return token, float(odds.scores[place, token])

        return choose

    def _diagnoses(
        self, rows: Sequence[_Row], branches: Branches, head_logits: Tensor | None
    ) -> list[dict[str, float]]:
        decoder = self.decoder
        if not decoder.labels:
            return [decoder.free_diagnosis(row.speech) for row in rows]
        if not decoder.is_heard(head_logits):
            return [decoder.weigh(None, head_logits) for _ in rows]
        tree = LabelTree.of(list(decoder.labels.values()))
        states = torch.stack([row.last_state for row in rows])[:, None]
        if tree.tokens:
            states = torch.cat([states, branches.tree(tree.tokens, tree.parents)], dim=1)
        return [
            decoder.weigh(tree.scores(logits), head_logits)
            for logits in decoder.lvlm.logits(states)
        ]
