"""Which queries are asked of a record: findings, absent targets, normality, several targets.

The phrasings of one target are those of `training.text`; this file adds the ones that need more
than one target, or none.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from Sim4SegCore.modeling.answer import UNKNOWN_DIAGNOSIS

from ..records import NORMAL_DIAGNOSES, Record
from ..targets import NORMAL_STRUCTURES, PLURAL_TARGETS, SYNONYMS, elsewhere, synonyms
from ..text import random_query
from .subject import PATHOLOGIES, Item, QueryKind

NORMAL_QUERIES = (
    "Is this image normal?",
    "Is there anything abnormal in this {modality}?",
    "Does this {modality} of the {body_part} look normal?",
    "Can you rule out a {target} in this {modality}?",
    "Is this a normal {modality} of the {body_part}, or do you see a {target}?",
)
MULTI_QUERIES = (
    "Segment the {targets}.",
    "Please outline the {targets} in this {modality}.",
    "Show me the {targets} and tell me what you see.",
    "Where are the {targets}? Segment each of them and suggest a diagnosis.",
    "Can you find the {targets} and give a diagnosis?",
)
MOST_TARGETS = 3
"""Of one query."""
TRIES = 20
"""Draws for a phrasing that the record does not have yet."""


@dataclass(frozen=True)
class QueryCounts:
    """Queries per record.

    Attributes:
        per_target: phrasings for each finding, or for the set's own target if there is none.
        normal: "is it normal?" where presence is known.
        absent: for targets that are not in the image, half of them from other organs.
        multi: for two or three targets, where the record has as many findings.
    """

    per_target: int = 2
    normal: int = 1
    absent: int = 1
    multi: int = 1


def make_items(
    records: Iterable[Record],
    counts: QueryCounts,
    seed: int,
    annotated: Mapping[str, frozenset[str]],
) -> Iterator[Item]:
    """Items of all records, record by record; the same for the same seed, in any order.

    Args:
        annotated: see `annotated_targets`: what was not drawn is absent only where it was looked
            for.
    """
    for record in records:
        rng = random.Random(f"{seed}/{record.id}")
        yield from _Asker(record, annotated.get(record.dataset, frozenset()), rng).ask(counts)


def wanted_diagnosis(record: Record, targets: Sequence[str]) -> str:
    """What an answer about these targets ends with: none about another organ's targets."""
    at_home = not all(elsewhere(target, record.body_part) for target in targets)
    return record.diagnosis if at_home and record.diagnosis else UNKNOWN_DIAGNOSIS


def neighbours(item: Item) -> tuple[str, ...]:
    """Targets that can be in the same body part but are not asked for."""
    possible = (t for t in SYNONYMS if not elsewhere(t, item.record.body_part))
    return tuple(target for target in possible if target not in item.targets)


class _Asker:
    """Draws the queries of one record."""

    def __init__(self, record: Record, annotated: frozenset[str], rng: random.Random) -> None:
        self._record = record
        self._annotated = annotated
        self._rng = rng
        self._items: dict[str, Item] = {}

    def ask(self, counts: QueryCounts) -> list[Item]:
        """All items, no query twice."""
        for target in self._record.questions:
            for _ in range(counts.per_target):
                self._add("finding", (target,))
        for _ in range(counts.normal):
            self._ask_normal()
        for n in range(counts.absent):
            self._ask_absent(other_organ=n % 2 == 0)
        for _ in range(counts.multi):
            self._ask_several()
        return list(self._items.values())

    def _ask_normal(self) -> None:
        present = tuple(t for t in self._record.masks or () if t in PATHOLOGIES)
        if present:
            self._add("normal", tuple(self._rng.sample(present, min(len(present), MOST_TARGETS))))
        elif self._record.diagnosis in NORMAL_DIAGNOSES or self._record.masks is None:
            self._add("normal", (self._record.asked,))

    def _ask_absent(self, other_organ: bool) -> None:
        others = [t for t in SYNONYMS if elsewhere(t, self._record.body_part)]
        missing = []
        if self._record.masks is not None:
            possible = self._annotated - NORMAL_STRUCTURES
            missing = sorted(t for t in possible if not self._record.is_present(t))
        self._add("absent", (self._rng.choice(others if other_organ or not missing else missing),))

    def _ask_several(self) -> None:
        found = tuple(self._record.masks or ())
        if len(found) > 1:
            most = min(len(found), MOST_TARGETS)
            self._add("multi", tuple(self._rng.sample(found, self._rng.randint(2, most))))

    def _add(self, kind: QueryKind, targets: tuple[str, ...]) -> None:
        for _ in range(TRIES):
            query = self._phrase(kind, targets)
            if query not in self._items:
                diagnosis = wanted_diagnosis(self._record, targets)
                self._items[query] = Item(self._record, kind, query, targets, diagnosis)
                return

    def _phrase(self, kind: QueryKind, targets: tuple[str, ...]) -> str:
        record, rng = self._record, self._rng
        if kind in ("finding", "absent"):
            at_home = not elsewhere(targets[0], record.body_part)
            dataset = record.dataset if kind == "finding" and at_home else None
            return random_query(targets[0], dataset, record.modality, rng)
        names = [rng.choice(synonyms(target)) for target in targets]
        templates: Sequence[str] = NORMAL_QUERIES if kind == "normal" else MULTI_QUERIES
        if kind == "normal" and (len(targets) > 1 or targets[0] in PLURAL_TARGETS):
            templates = [t for t in NORMAL_QUERIES if "{target}" not in t]
        return rng.choice(templates).format(
            target=names[0],
            targets=f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0],
            modality=record.modality,
            body_part=record.body_part,
        )
