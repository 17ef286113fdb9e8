"""The same query in many words: those that training draws from, and `UNSEEN`, which it never uses.

Only the sentence differs between the two: names of the target, the set's own question and small
letters are drawn alike for both.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from ...targets import PLURAL_TARGETS, questions_about, synonyms
from ...text import PLURAL_QUERIES, QUERIES

UNSEEN = (
    "Trace the contour of the {target}.",
    "Mark every pixel that belongs to the {target}.",
    "I need a mask of the {target}.",
    "Draw the border of the {target}, please.",
    "Colour the {target} on this {modality}.",
    "Which region of the {modality} shows the {target}?",
    "What is the extent of the {target}?",
)
"""Sentences that no training query has; they fit one and many."""

PHRASINGS = 5
"""Of each kind, of one query."""


@dataclass(frozen=True)
class Phrasing:
    """A query and the sentence that it was made of."""

    sentence: str
    query: str


def seen_phrasings(
    target: str, dataset: str, modality: str, rng: random.Random, count: int = PHRASINGS
) -> tuple[Phrasing, ...]:
    """Different sentences out of those that training draws from."""
    sentences = PLURAL_QUERIES if target in PLURAL_TARGETS else QUERIES
    return _phrased(sentences, target, dataset, modality, rng, count)


def unseen_phrasings(
    target: str, dataset: str, modality: str, rng: random.Random, count: int = PHRASINGS
) -> tuple[Phrasing, ...]:
    """Different sentences out of `UNSEEN`."""
    return _phrased(UNSEEN, target, dataset, modality, rng, count)


def _phrased(
    sentences: Sequence[str],
    target: str,
    dataset: str,
    modality: str,
    rng: random.Random,
    count: int,
) -> tuple[Phrasing, ...]:
    phrasings = []
    for sentence in rng.sample(sentences, min(count, len(sentences))):
        query = sentence.format(target=rng.choice(synonyms(target)), modality=modality)
        if rng.random() < 0.5:
            # After a bare name a question would run on without a stop.
            stop = "" if query[-1] in ".?" else "."
            query = f"{query}{stop} {rng.choice(questions_about(dataset))}"
        phrasings.append(Phrasing(sentence, query.lower() if rng.random() < 0.2 else query))
    return tuple(phrasings)
