"""Who goes into training, validation and test: whole groups, the same way every time."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from .source import SPLITS, RawCase, Skipped, Split


def assign_splits(
    cases: Mapping[str, Sequence[RawCase]], fractions: Mapping[Split, float], seed: int
) -> dict[str, Split]:
    """Split of every group.

    A group with an official split keeps it; standing in several, it goes to the most protected
    one. Free groups of a set are spread over the splits for which the set has no official part,
    diagnosis by diagnosis, so that rare ones are not lost to chance.

    Args:
        cases: cases by name of their set.
        fractions: share of the images for each split.
        seed: another seed gives another, equally good split.
    """
    splits: dict[str, Split] = {}
    for members in cases.values():
        for case in members:
            if case.split is not None:
                known = splits.get(case.group, "train")
                splits[case.group] = max(known, case.split, key=SPLITS.index)
    for name in sorted(cases):
        taken = {case.split for case in cases[name]} - {None, "train"}
        shares = {s: f for s, f in fractions.items() if s not in taken and f > 0}
        free: dict[str, list[RawCase]] = defaultdict(list)
        for case in cases[name]:
            if case.group not in splits:
                free[case.group].append(case)
        splits |= _spread(free, shares or {"train": 1.0}, seed)
    return splits


def leaks(cases: Iterable[RawCase], splits: Mapping[str, Split]) -> list[Skipped]:
    """Cases whose official split is not their group's: a patient or image that leaked."""
    return [
        Skipped(case.id, f"same patient or source image as in {splits[case.group]}")
        for case in cases
        if case.split is not None and case.split != splits[case.group]
    ]


def _spread(
    groups: Mapping[str, Sequence[RawCase]], shares: Mapping[Split, float], seed: int
) -> dict[str, Split]:
    """Each group goes where most images are missing; the order is shuffled by a hash."""

    def order(group: str) -> tuple[str, str]:
        shuffled = hashlib.sha256(f"{seed}/{group}".encode()).hexdigest()
        return str(groups[group][0].diagnosis), shuffled

    whole = sum(shares.values())
    counts: dict[Split, float] = dict.fromkeys(shares, 0.0)
    total = 0
    splits: dict[str, Split] = {}
    for group in sorted(groups, key=order):
        total += len(groups[group])
        wanted = {s: share / whole * total - counts[s] for s, share in shares.items()}
        splits[group] = max(wanted, key=wanted.__getitem__)
        counts[splits[group]] += len(groups[group])
    return splits
