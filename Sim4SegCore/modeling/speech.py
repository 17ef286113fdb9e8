"""An answer while it is said: free words, and the given leads between its steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

MAX_STEP_TOKENS = 64
CHUNK = 32
"""Tokens that one call of the network verifies at most."""
MAX_EARLIER = 24
MAX_MATCH = 4
MAX_OTHER = 3
"""Tokens of a word that stands where earlier answers have another."""


@dataclass(frozen=True)
class Form:
    """What is given in every answer.

    Attributes:
        leads: tokens before each step; the first was said with [SEG].
        end: token that is written after a step.
        ends: tokens with which the network may end one.
        free_steps: how many steps have words of their own; without the last one, the diagnosis
            is chosen among labels.
    """

    leads: list[list[int]]
    end: int
    ends: frozenset[int]
    free_steps: int


class Speech:
    """One answer after its first lead.

    Attributes:
        steps: tokens of each step's words, the last one still growing.
        log_probabilities: of each step's words, with that of its end.
        pending: tokens that are certain but were not fed to the network yet.
    """

    def __init__(self, form: Form) -> None:
        self.form = form
        self.steps: list[list[int]] = [[]]
        self.log_probabilities = [0.0]
        self.pending: list[int] = []

    @property
    def is_spoken(self) -> bool:
        """Every step has its words."""
        return len(self.steps) > self.form.free_steps

    @property
    def must_end(self) -> bool:
        """The step is as long as a step may be."""
        return len(self.steps[-1]) >= MAX_STEP_TOKENS

    @property
    def words(self) -> list[list[int]]:
        """Tokens of the steps that have their words."""
        return self.steps[: self.form.free_steps]

    @property
    def ids(self) -> list[int]:
        """Every token after the first lead."""
        leads = [*self.form.leads[1:], []]
        return [
            token
            for step, lead in zip(self.words, leads, strict=False)
            for token in (*step, self.form.end, *lead)
        ]

    def say(self, token: int, log_probability: float) -> None:
        """Take the next word; the lead that follows the end of a step is certain with it."""
        form = self.form
        self.log_probabilities[-1] += log_probability
        if token not in form.ends:
            self.steps[-1].append(token)
            self.pending = [token]
            return
        said = len(self.steps)
        self.pending = [form.end, *form.leads[said]] if said < len(form.leads) else []
        self.steps.append([])
        self.log_probabilities.append(0.0)

    def follow(self, chunk: Sequence[int], choose: Callable[[int], tuple[int, float]]) -> int:
        """Say what the network chooses along a chunk that was fed to it, as far as that holds.

        Args:
            chunk: `pending`, and a draft of what may follow.
            choose: from a place in the chunk to the token after it and its log-probability.

        Returns:
            how many tokens of the chunk count.
        """
        kept = len(self.pending)
        self.pending = []
        while not self.is_spoken:
            self.say(*choose(kept - 1))
            agreed = agreement(self.pending, chunk[kept:])
            kept += agreed
            self.pending = self.pending[agreed:]
            if self.pending or not agreed:
                break
        return kept


class Drafts:
    """Earlier answers, as guesses of how an answer goes on (prompt lookup decoding)."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self._earlier: deque[list[list[int]]] = deque(maxlen=MAX_EARLIER)

    def remember(self, speech: Speech) -> None:
        """Keep an answer's words."""
        if speech.words not in self._earlier:
            self._earlier.append(speech.words)

    def chunk(self, speech: Speech, longest: int = CHUNK) -> list[int]:
        """What to feed next: certain tokens, and a draft while words are wanted."""
        if speech.is_spoken:
            return speech.pending
        draft = self._draft(len(speech.steps) - 1, speech.steps[-1])
        return [*speech.pending, *draft][: max(longest, len(speech.pending))]

    def _draft(self, number: int, step: list[int]) -> list[int]:
        for earlier in reversed(self._earlier):
            if earlier[number][: len(step)] == step:
                return self._rest(earlier, number, len(step))
        for length in range(min(len(step), MAX_MATCH), 0, -1):
            ending = step[-length:]
            for earlier in reversed(self._earlier):
                words = earlier[number]
                for start in range(len(words) - length):
                    if words[start : start + length] == ending:
                        return self._rest(earlier, number, start + length)
        # Another word was said: what came after the old one may follow all the same.
        for said in range(1, min(len(step), MAX_OTHER) + 1):
            known = len(step) - said
            for earlier in reversed(self._earlier):
                if earlier[number][:known] == step[:known]:
                    return self._rest(earlier, number, known + 1)
        return []

    def _rest(self, earlier: list[list[int]], number: int, start: int) -> list[int]:
        """An earlier answer from a place in one of its steps."""
        rest = earlier[number][start:]
        for lead, words in zip(
            self.form.leads[number + 1 :], [*earlier[number + 1 :], []], strict=False
        ):
            rest = [*rest, self.form.end, *lead, *words]
        return rest


def agreement(wanted: Sequence[int], found: Sequence[int]) -> int:
    """How many leading tokens two sequences share."""
    pairs = zip(wanted, found, strict=False)
    return next(
        (n for n, (one, other) in enumerate(pairs) if one != other), min(len(wanted), len(found))
    )
