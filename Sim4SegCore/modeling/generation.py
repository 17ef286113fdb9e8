"""Answers, token by token, in the paper's form, from a cached image prefix.

The form is constrained: the leads of the four steps and the one [SEG] are given, the words of
each step are the model's. So [SEG] neither disappears nor floods, whatever fine-tuning did. All
given tokens between two free ones go through the network in one call.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .answer import OPENING, SEG_TOKEN, STEP_END, UNKNOWN_DIAGNOSIS, Answer, step_leads
from .lvlm import LVLM

MAX_STEP_TOKENS = 64
MAX_DRAFTS = 24
MAX_DRAFT_MATCH = 4


@dataclass
class Opening:
    """An answer up to its first free word: [SEG] has been said.

    Attributes:
        seg_state: (D,) hidden state of [SEG].
        states: (1, T, D) hidden states of the last call.
        cache: keys and values of everything so far.
        text_ids: every token after the image prefix.
    """

    seg_state: Tensor
    states: Tensor
    cache: Any
    text_ids: list[int]


@dataclass(frozen=True)
class Generated:
    """A decoded answer.

    Attributes:
        answer: its four steps.
        seg_state: (D,) hidden state of [SEG].
        text_ids: every token after the image prefix: query, leads and free words.
        diagnosis_probabilities: label -> probability among the labels that were offered,
            most likely first; the freely decoded one alone where none were.
        log_probability: mean over the words' tokens before the diagnosis; 0 without any.
        steps: tokens of each step before the diagnosis.
    """

    answer: Answer
    seg_state: Tensor
    text_ids: list[int]
    diagnosis_probabilities: dict[str, float]
    log_probability: float
    steps: list[list[int]]


class AnswerDecoder:
    """Greedy decoding of one answer for one query after one image's cached prefix.

    Steps of earlier answers serve as drafts: several tokens are verified in one call, and only
    those that greedy decoding would have chosen are kept (prompt lookup decoding), so that
    later queries are faster and their answers the same.
    """

    def __init__(
        self,
        lvlm: LVLM,
        diagnoses: tuple[str, ...],
        chain_of_thought: bool = True,
        diagnosis_head_weight: float = 0.0,
    ) -> None:
        """
        Args:
            lvlm: the network that speaks.
            diagnoses: labels that it chooses among; empty to decode the diagnosis freely.
            chain_of_thought: see `Sim4SegConfig`.
            diagnosis_head_weight: see `Sim4SegConfig`.
        """
        self.lvlm = lvlm
        self.diagnosis_head_weight = diagnosis_head_weight
        self.seg_id = int(lvlm.tokenizer.convert_tokens_to_ids(SEG_TOKEN))
        self.leads = [lvlm.encode(lead) for lead in step_leads(chain_of_thought)]
        self.chain_of_thought = chain_of_thought
        self.opening = lvlm.encode(OPENING)
        self.end = lvlm.encode(f"a{STEP_END}")[-1]
        self.labels = {label: lvlm.encode(f" {label}{STEP_END}") for label in diagnoses}
        added = lvlm.tokenizer.get_added_vocab().values()
        ends = {self.end, lvlm.tokenizer.eos_token_id}
        self._barred = sorted({self.seg_id, lvlm.image_token_id, *added} - ends)
        self._drafts: deque[list[int]] = deque(maxlen=MAX_DRAFTS)
        self.between_calls: Callable[[], object] = lambda: None
        """Called before each call of the network; may raise to end the answer."""

    @torch.inference_mode()
    def open(self, query: str, prefix_cache: Any) -> Opening:
        """Read a query and say [SEG].

        Args:
            query: the user's text.
            prefix_cache: keys and values of the image prefix, batch 1; left as it is.
        """
        cache = copy.deepcopy(prefix_cache)
        query_ids = self.lvlm.query_ids(query)
        text_ids = query_ids + self.opening + self.leads[0]
        seg_position = len(query_ids) + self.opening.index(self.seg_id)
        states = self._advance(text_ids, cache)
        return Opening(states[0, seg_position], states, cache, text_ids)

    @torch.inference_mode()
    def complete(self, opening: Opening, diagnosis_logits: Tensor | None = None) -> Generated:
        """Find the words of every step.

        Args:
            opening: its cache is used up.
            diagnosis_logits: (labels,) of the diagnosis head; None leaves the choice to the
                language model.
        """
        states, cache, text_ids = opening.states, opening.cache, opening.text_ids
        steps, total = [], 0.0
        for lead in self.leads[1:]:
            step, log_probability = self._free_step(states, cache)
            total += log_probability
            given = [self.end, *lead]
            states = self._advance(given, cache)
            text_ids = text_ids + step + given
            steps.append(step)
        probabilities, diagnosis_ids = self._diagnose(states, cache, diagnosis_logits)
        diagnosis = next(iter(probabilities))
        text_ids = text_ids + diagnosis_ids
        self._drafts.extend(step for step in steps if step not in self._drafts)
        return Generated(
            answer=self.answer(steps, diagnosis),
            seg_state=opening.seg_state,
            text_ids=text_ids,
            diagnosis_probabilities=probabilities,
            log_probability=total / max(1, sum(len(step) + 1 for step in steps)),
            steps=steps,
        )

    def answer(self, steps: list[list[int]], diagnosis: str) -> Answer:
        """An answer from the tokens of its steps before the diagnosis."""
        words = [self.words(step) for step in steps]
        modality, analysis, consideration = words if self.chain_of_thought else ("", "", "")
        return Answer(modality, analysis, consideration, diagnosis, self.chain_of_thought)

    def _advance(self, ids: list[int], cache: Any) -> Tensor:
        """Feed tokens; the cache grows by them."""
        self.between_calls()
        tokens = torch.tensor([ids], device=self.lvlm.network.device)
        states, _ = self.lvlm.hidden_states(tokens, cache=cache, use_cache=True)
        return states

    def _free_step(self, states: Tensor, cache: Any) -> tuple[list[int], float]:
        """Words of one step, without the full stop that ends it; the cache grows by them.

        Returns:
            its tokens, and the sum of their log-probabilities, the full stop's with them.
        """
        step: list[int] = []
        chosen, scores = self._next_tokens(states[0, -1:])
        token, total = chosen[0], scores[0]
        while not self.ends_step(token):
            step.append(token)
            room = MAX_STEP_TOKENS - len(step)
            if room == 0:
                self._advance([token], cache)
                break
            draft = self.draft(step)[: room - 1]
            states = self._advance([token, *draft], cache)
            chosen, scores = self._next_tokens(states[0])
            kept = _agreement(draft, chosen)
            if kept < len(draft):
                cache.crop(kept - len(draft))
            step += draft[:kept]
            token = chosen[kept]
            total += sum(scores[: kept + 1])
        return step, total

    def ends_step(self, token: int) -> bool:
        """Whether a token ends the words of a step."""
        return token in (self.end, self.lvlm.tokenizer.eos_token_id)

    def words(self, step: list[int]) -> str:
        """Text of a step; [SEG] spelt in letters loses its brackets, so that one stays unique."""
        text: str = self.lvlm.tokenizer.decode(step)
        return text.replace(SEG_TOKEN, SEG_TOKEN.strip("[]")).strip()

    def _next_tokens(self, states: Tensor) -> tuple[list[int], list[float]]:
        """Greedy choice after each of (T, D) states, and its log-probability."""
        best = self.next_token_scores(states).max(-1)
        return best.indices.tolist(), best.values.tolist()

    def next_token_scores(self, states: Tensor) -> Tensor:
        """(..., D) to log-probabilities (..., vocabulary): no special token but the end."""
        scores = self.lvlm.logits(states)
        scores[..., self._barred] = -torch.inf
        return scores.log_softmax(-1)

    def draft(self, step: list[int]) -> list[int]:
        """What followed the longest ending of `step` in an earlier answer's step."""
        for length in range(min(len(step), MAX_DRAFT_MATCH), 0, -1):
            ending = step[-length:]
            for draft in reversed(self._drafts):
                for start in range(len(draft) - length):
                    if draft[start : start + length] == ending:
                        return draft[start + length :]
        return []

    def _diagnose(
        self, states: Tensor, cache: Any, head_logits: Tensor | None
    ) -> tuple[dict[str, float], list[int]]:
        """Probability by label, most likely first, and the tokens of that one."""
        if self.labels:
            spoken = self._label_scores(states, cache, list(self.labels.values()))
            ranked = self.weigh(spoken, head_logits)
            return ranked, self.labels[next(iter(ranked))]
        step, _ = self._free_step(states, copy.deepcopy(cache))
        ids = [*step, self.end]
        score = self._label_scores(states, cache, [ids])[0]
        return {self.words(step) or UNKNOWN_DIAGNOSIS: math.exp(score)}, ids

    def weigh(self, spoken: list[float], head_logits: Tensor | None) -> dict[str, float]:
        """Probability by label, most likely first.

        Args:
            spoken: log-probability of each label's words.
            head_logits: (labels,) of the diagnosis head.
        """
        scores = torch.tensor(spoken).log_softmax(0)
        if head_logits is not None:
            seen = head_logits.float().cpu().log_softmax(0)
            scores = torch.lerp(scores, seen, self.diagnosis_head_weight)
        pairs = zip(self.labels, scores.softmax(0).tolist(), strict=True)
        return dict(sorted(pairs, key=lambda pair: -pair[1]))

    def _label_scores(self, states: Tensor, cache: Any, labels: list[list[int]]) -> list[float]:
        """Log-probability of each label's tokens, all in one call over their prefix tree."""
        tree = LabelTree.of(labels)
        context = states[0, -1:]
        if tree.tokens:
            context = torch.cat([context, self.lvlm.tree_states(tree.tokens, tree.parents, cache)])
        return tree.scores(self.lvlm.logits(context))


@dataclass(frozen=True)
class LabelTree:
    """Labels that begin alike share their first tokens; last tokens are predicted, never read.

    Attributes:
        tokens: of the nodes; a token stands after its parent.
        parents: index of each node's parent, -1 after the context.
        steps: per label, its tokens, each with the node that predicts it (-1 the context).
    """

    tokens: list[int]
    parents: list[int]
    steps: list[list[tuple[int, int]]]

    @classmethod
    def of(cls, labels: list[list[int]]) -> LabelTree:
        """Build it from each label's tokens."""
        nodes: dict[tuple[int, ...], int] = {(): -1}
        for label in labels:
            for end in range(1, len(label)):
                nodes.setdefault(tuple(label[:end]), len(nodes) - 1)
        paths = [path for path in nodes if path]
        steps = [
            [(nodes[tuple(label[:end])], token) for end, token in enumerate(label)]
            for label in labels
        ]
        return cls([path[-1] for path in paths], [nodes[path[:-1]] for path in paths], steps)

    def scores(self, logits: Tensor) -> list[float]:
        """Log-probability of each label; (1 + nodes, vocabulary), the context's own first."""
        log_probabilities = logits.log_softmax(-1).cpu()
        return [
            sum(float(log_probabilities[node + 1, token]) for node, token in steps)
            for steps in self.steps
        ]


def _agreement(draft: list[int], chosen: list[int]) -> int:
    """How many leading tokens of a draft are the chosen ones."""
    return next((n for n, token in enumerate(draft) if token != chosen[n]), len(draft))
