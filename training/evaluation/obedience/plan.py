"""Which image is asked what. Knows no model and no pixels; the same records give the same plan."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...records import NORMAL_DIAGNOSES, Record, known_targets
from ...targets import SYNONYMS, strangers_to
from ...text import canonical_query, plain_query
from .phrasings import Phrasing, seen_phrasings, unseen_phrasings

NOT_THERE = "annotated, not in this image"
NORMAL = "normal image"
TAUGHT_ELSEWHERE = "another organ's target"
NEVER_DRAWN = "organ without any mask"
ABSENT_KINDS = (NOT_THERE, NORMAL, TAUGHT_ELSEWHERE, NEVER_DRAWN)

OTHER_NAMES = {"cardiomediastinum": ("heart",)}
"""What people call a structure that a set calls otherwise; asked for besides."""

PARAPHRASED_PER_SET = 20
"""Images of a set, spread evenly, whose query is asked in other words."""


@dataclass(frozen=True)
class StructureQuestion:
    """A structure that the image has, by one of its names."""

    asked: str
    target: str
    query: str


@dataclass(frozen=True)
class AbsentQuestion:
    """Something that the image does not show; `kind` says how that is known."""

    kind: str
    target: str
    query: str


@dataclass(frozen=True)
class Paraphrases:
    """One finding, asked for in other words."""

    target: str
    seen: tuple[Phrasing, ...]
    unseen: tuple[Phrasing, ...]


@dataclass(frozen=True)
class Visit:
    """An image and everything that it is asked."""

    record: Record
    structures: tuple[StructureQuestion, ...] = ()
    absent: tuple[AbsentQuestion, ...] = ()
    paraphrases: Paraphrases | None = None


def plan_visits(records: Sequence[Record], annotated: Mapping[str, frozenset[str]]) -> list[Visit]:
    """A visit of every record, in the same order.

    Args:
        annotated: what each set has masks of, see `annotated_targets`.
    """
    taught = frozenset().union(*annotated.values())
    reworded = {record.id for record in _spread(records)}
    return [
        Visit(
            record,
            _structures(record),
            (
                *_missing(record, annotated.get(record.dataset, frozenset())),
                *_strange(record, taught),
            ),
            _paraphrases(record) if record.id in reworded else None,
        )
        for record in records
    ]


def _structures(record: Record) -> tuple[StructureQuestion, ...]:
    """Nothing unless the image has several: only then can a query choose."""
    if record.masks is None or len(record.masks) < 2:
        return ()
    return tuple(
        StructureQuestion(name, target, canonical_query(name, record.dataset))
        for target in record.masks
        for name in (target, *OTHER_NAMES.get(target, ()))
    )


def _missing(record: Record, annotated: frozenset[str]) -> list[AbsentQuestion]:
    normal = record.diagnosis in NORMAL_DIAGNOSES
    known = {record.asked} if record.masks is None else known_targets(record, annotated)
    return [
        AbsentQuestion(
            NORMAL if normal and target == record.asked else NOT_THERE,
            target,
            canonical_query(target, record.dataset),
        )
        for target in sorted(known)
        if not record.is_present(target)
    ]


def _strange(record: Record, taught: frozenset[str]) -> list[AbsentQuestion]:
    """One target whose masks are known from other images, and one that no image has a mask of."""
    rng = random.Random(record.id)
    strangers = strangers_to(record.body_part)
    drawn = [target for target in strangers if target in taught]
    # What has a name in training but no mask in this data is neither.
    never = [target for target in strangers if target not in SYNONYMS]
    picked = [
        (kind, rng.choice(choice))
        for kind, choice in ((TAUGHT_ELSEWHERE, drawn), (NEVER_DRAWN, never))
        if choice
    ]
    return [AbsentQuestion(kind, target, plain_query(target)) for kind, target in picked]


def _spread(records: Sequence[Record]) -> list[Record]:
    """Of each set, evenly spread images with a finding."""
    sets: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.masks:
            sets[record.dataset].append(record)
    spread = []
    for found in sets.values():
        count = min(PARAPHRASED_PER_SET, len(found))
        spread += [found[place * len(found) // count] for place in range(count)]
    return spread


def _paraphrases(record: Record) -> Paraphrases:
    rng = random.Random(record.id)
    target = rng.choice(sorted(record.masks or ()))
    words = (target, record.dataset, record.modality, rng)
    return Paraphrases(target, seen_phrasings(*words), unseen_phrasings(*words))
