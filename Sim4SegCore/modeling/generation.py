"""Answers, token by token, in the paper's form, from a cached image prefix.

The form is constrained: the leads of the four steps and the one [SEG] are given, the words of
each step are the model's. So [SEG] neither disappears nor floods, whatever fine-tuning did. All
given tokens between two free ones go through the network in one call.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .answer import OPENING, SEG_TOKEN, STEP_END, UNKNOWN_DIAGNOSIS, Answer, step_leads
from .lvlm import LVLM
from .speech import Drafts, Form, Speech


@dataclass
class Opening:
    """An answer up to its first free word: [SEG] has been said.

    Attributes:
        seg_state: (D,) hidden state of [SEG].
        state: (D,) hidden state that the first word is predicted from.
        cache: keys and values of everything so far.
        text_ids: every token after the image prefix.
        reasoning: what was said before [SEG]; None if [SEG] came first.
    """

    seg_state: Tensor
    state: Tensor
    cache: Any
    text_ids: list[int]
    reasoning: Speech | None = None


@dataclass(frozen=True)
class Trail:
    """The tokens that were fed after an opening; other answers go along them as far as they agree.

    Attributes:
        tokens: T ids; their keys and values are in the opening's cache.
        states: (1 + T, D), the opening's own, then that after each token.
    """

    tokens: list[int]
    states: Tensor


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
        trail: how it was fed.
    """

    answer: Answer
    seg_state: Tensor
    text_ids: list[int]
    diagnosis_probabilities: dict[str, float]
    log_probability: float
    trail: Trail


class AnswerDecoder:
    """Greedy decoding of one answer for one query after one image's cached prefix.

    Earlier answers serve as drafts: many tokens are verified in one call, and only those that
    greedy decoding would have chosen are kept, so that later queries are faster and their answers
    the same.
    """

    def __init__(
        self,
        lvlm: LVLM,
        diagnoses: tuple[str, ...],
        chain_of_thought: bool = True,
        diagnosis_head_weight: float = 0.0,
        seg_after_reasoning: bool = False,
    ) -> None:
        """
        Args:
            lvlm: the network that speaks.
            diagnoses: labels that it chooses among; empty to decode the diagnosis freely.
            chain_of_thought: see `Sim4SegConfig`.
            diagnosis_head_weight: see `Sim4SegConfig`.
            seg_after_reasoning: see `Sim4SegConfig`; sampled answers then share the reasoning.
        """
        self.lvlm = lvlm
        self.diagnosis_head_weight = diagnosis_head_weight
        self.seg_id = int(lvlm.tokenizer.convert_tokens_to_ids(SEG_TOKEN))
        leads = [lvlm.encode(lead) for lead in step_leads(chain_of_thought)]
        self.chain_of_thought = chain_of_thought
        self.seg_after_reasoning = seg_after_reasoning
        self.opening = lvlm.encode(OPENING)
        self.end = lvlm.encode(f"a{STEP_END}")[-1]
        self.labels = {label: lvlm.encode(f" {label}{STEP_END}") for label in diagnoses}
        added = lvlm.tokenizer.get_added_vocab().values()
        ends = frozenset({self.end, lvlm.tokenizer.eos_token_id})
        self._barred = sorted({self.seg_id, lvlm.image_token_id, *added} - ends)
        self._reasoning_steps = len(leads) - 1
        first = self._reasoning_steps if seg_after_reasoning else 0
        self.leads = leads[first:]
        self.form = Form(self.leads, self.end, ends, len(self.leads) - bool(self.labels))
        self.drafts = Drafts(self.form)
        before_seg = [*leads[:first], self.opening + self.leads[0]]
        self._reasoning_drafts = Drafts(Form(before_seg, self.end, ends, first))
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
        form = self._reasoning_drafts.form
        text_ids = query_ids + form.leads[0]
        states = self._advance(text_ids, cache)[0]
        reasoning = None
        if form.free_steps:
            reasoning, trail = self._speak(states[-1], cache, self._reasoning_drafts)
            self._reasoning_drafts.remember(reasoning)
            text_ids = text_ids + trail.tokens
            states = torch.cat([states, trail.states[1:]])
        seg_state = states[text_ids.index(self.seg_id, len(query_ids))]
        return Opening(seg_state, states[-1], cache, text_ids, reasoning)

    @torch.inference_mode()
    def complete(self, opening: Opening, diagnosis_logits: Tensor | None = None) -> Generated:
        """Find the words of every step.

        Args:
            opening: its cache grows by the answer's trail.
            diagnosis_logits: (labels,) of the diagnosis head; None leaves the choice to the
                language model.
        """
        speech, trail = self._speak(opening.state, opening.cache, self.drafts)
        self.drafts.remember(speech)
        text_ids = opening.text_ids + speech.ids
        if self.labels:
            spoken = None
            if self.is_heard(diagnosis_logits):
                spoken = self._label_scores(trail.states[-1], opening.cache)
            probabilities = self.weigh(spoken, diagnosis_logits)
            text_ids = text_ids + self.labels[next(iter(probabilities))]
        else:
            probabilities = self.free_diagnosis(speech)
        return Generated(
            answer=self.answer(opening, speech, next(iter(probabilities))),
            seg_state=opening.seg_state,
            text_ids=text_ids,
            diagnosis_probabilities=probabilities,
            log_probability=self.fluency(opening, speech),
            trail=trail,
        )

    def answer(self, opening: Opening, speech: Speech, diagnosis: str) -> Answer:
        """What was said, as text."""
        words = [self.words(step) for step, _ in self._reasoning(opening, speech)]
        modality, analysis, consideration = words if self.chain_of_thought else ("", "", "")
        return Answer(
            modality,
            analysis,
            consideration,
            diagnosis,
            self.chain_of_thought,
            self.seg_after_reasoning,
        )

    def fluency(self, opening: Opening, speech: Speech) -> float:
        """Mean log-probability of the words before the diagnosis; 0 without any."""
        steps = self._reasoning(opening, speech)
        count = sum(len(step) + 1 for step, _ in steps)
        return sum(scores for _, scores in steps) / max(1, count)

    def _reasoning(self, opening: Opening, speech: Speech) -> list[tuple[list[int], float]]:
        """Words of each step before the diagnosis, and their log-probability."""
        said = opening.reasoning or speech
        steps = zip(said.words, said.log_probabilities, strict=False)
        return list(steps)[: self._reasoning_steps]

    def free_diagnosis(self, speech: Speech) -> dict[str, float]:
        """The last step's words with their probability."""
        label = self.words(speech.words[-1]) or UNKNOWN_DIAGNOSIS
        return {label: math.exp(speech.log_probabilities[len(speech.words) - 1])}

    def _advance(self, ids: list[int], cache: Any) -> Tensor:
        """Feed tokens; the cache grows by them."""
        self.between_calls()
        tokens = torch.tensor([ids], device=self.lvlm.network.device)
        states, _ = self.lvlm.hidden_states(tokens, cache=cache, use_cache=True)
        return states

    def _speak(self, state: Tensor, cache: Any, drafts: Drafts) -> tuple[Speech, Trail]:
        """All words after a state (D,) and its cache, which grows, and how they were fed."""
        speech = Speech(drafts.form)
        tokens, states = list[int](), [state[None]]
        if speech.is_spoken:
            return speech, Trail(tokens, states[0])
        speech.say(*self._greedy(states[0], speech)(0))
        while speech.pending:
            chunk = drafts.chunk(speech)
            fed = self._advance(chunk, cache)[0]
            kept = speech.follow(chunk, self._greedy(fed, speech))
            if kept < len(chunk):
                cache.crop(kept - len(chunk))
            tokens += chunk[:kept]
            states.append(fed[:kept])
        return speech, Trail(tokens, torch.cat(states))

    def _greedy(self, states: Tensor, speech: Speech) -> Callable[[int], tuple[int, float]]:
        """Best token after each of (T, D) states, and its log-probability."""
        scores = self.next_token_scores(states)
        best = scores.max(-1)
        tokens, values = best.indices.tolist(), best.values.tolist()

        def choose(place: int) -> tuple[int, float]:
            if speech.must_end or tokens[place] in self.form.ends:
                # Whatever ended the step, a full stop is written.
                return self.end, float(scores[place, self.end])
            return tokens[place], values[place]

        return choose

    def words(self, step: list[int]) -> str:
        """Text of a step; [SEG] spelt in letters loses its brackets, so that one stays unique."""
        text: str = self.lvlm.tokenizer.decode(step)
        return text.replace(SEG_TOKEN, SEG_TOKEN.strip("[]")).strip()

    def next_token_scores(self, states: Tensor) -> Tensor:
        """(..., D) to log-probabilities (..., vocabulary); special tokens are never chosen."""
        scores = self.lvlm.logits(states).log_softmax(-1)
        scores[..., self._barred] = -torch.inf
        return scores

    def is_heard(self, head_logits: Tensor | None) -> bool:
        """Whether the language model's choice of a label counts beside the diagnosis head's."""
        return head_logits is None or self.diagnosis_head_weight < 1

    def weigh(self, spoken: list[float] | None, head_logits: Tensor | None) -> dict[str, float]:
        """Probability by label, most likely first.

        Args:
            spoken: log-probability of each label's words; None if it is not heard.
            head_logits: (labels,) of the diagnosis head.
        """
        voices = [] if spoken is None else [torch.tensor(spoken).log_softmax(0)]
        if head_logits is not None:
            voices.append(head_logits.float().cpu().log_softmax(0))
        # The head's voice is last: it counts as much as it is worth where both are heard.
        scores = torch.lerp(voices[0], voices[-1], self.diagnosis_head_weight)
        pairs = zip(self.labels, scores.softmax(0).tolist(), strict=True)
        return dict(sorted(pairs, key=lambda pair: -pair[1]))

    def _label_scores(self, state: Tensor, cache: Any) -> list[float]:
        """Log-probability of each label's tokens, all in one call over their prefix tree."""
        tree = LabelTree.of(list(self.labels.values()))
        context = state[None]
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
