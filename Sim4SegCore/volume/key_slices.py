"""Which slices the language model speaks about, and how their diagnoses become one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..case import Diagnosis
from ..modeling.answer import UNKNOWN_DIAGNOSIS
from .result import KeySlice

MAX_ALTERNATIVES = 3


@dataclass(frozen=True)
class Chosen:
    """A slice of the view, why it was chosen, and what it counts before weights are shared."""

    number: int
    reason: str
    weight: float


def scout_numbers(worth_looking: Sequence[int], count: int) -> list[int]:
    """Up to `count` slices, evenly spread over those worth looking at."""
    if not worth_looking:
        return []
    places = (np.arange(count) + 0.5) * len(worth_looking) / count
    return sorted({worth_looking[int(place)] for place in places})


def choose_key_slices(
    presence: NDArray[np.float64], areas: NDArray[np.float64], seen: Sequence[int], count: int
) -> list[Chosen]:
    """Where something was found: the slice on which presence times area is largest, then the
    next largest at some distance from those before, so that they show different parts.
    Where nothing was found: the slice with the highest presence, and the middle one.

    Args:
        presence: (N,) probabilities.
        areas: (N,) of the mask on each slice, in any unit.
        seen: slices that were looked at, ascending.
        count: at most so many.
    """
    weights = presence * areas
    if not weights.any():
        return _without_a_mask(presence, seen, count)
    marked = np.flatnonzero(areas)
    apart = max(1, len(marked) // (count + 1))
    chosen: list[Chosen] = []
    for number in sorted(marked.tolist(), key=lambda n: -weights[n]):
        if len(chosen) == count:
            break
        if all(abs(number - other.number) >= apart for other in chosen):
            reason = "next largest mask elsewhere" if chosen else "largest mask, seen most surely"
            chosen.append(Chosen(number, reason, float(weights[number])))
    return chosen


def _without_a_mask(presence: NDArray[np.float64], seen: Sequence[int], count: int) -> list[Chosen]:
    if not seen:
        return []
    likeliest = max(seen, key=lambda number: presence[number])
    chosen = [Chosen(likeliest, "highest presence, though nothing was found", 1.0)]
    middle = seen[len(seen) // 2]
    if count > 1 and middle != likeliest:
        chosen.append(Chosen(middle, "middle of the stack, as nothing was found", 1.0))
    return chosen


def shared_diagnosis(key_slices: Sequence[KeySlice], abstain_below: float) -> tuple[Diagnosis, str]:
    """One diagnosis: each label's probability, weighted over the key slices.

    Args:
        abstain_below: a less likely diagnosis is called uncertain, as in `Calibration`.

    Returns:
        The diagnosis, and the reasoning of the weightiest key slice that names it.
    """
    if not key_slices:
        return Diagnosis(label=None, confidence=0.0), ""
    shares: dict[str | None, float] = defaultdict(float)
    for key in key_slices:
        shares[key.diagnosis.label] += key.weight * key.diagnosis.confidence
        for label, share in key.diagnosis.alternatives:
            shares[None if label == UNKNOWN_DIAGNOSIS else label] += key.weight * share
    named = {key.diagnosis.label for key in key_slices}
    best = max(named, key=lambda name: shares[name])
    speaker = next(key for key in key_slices if key.diagnosis.label == best)
    others = [(name or UNKNOWN_DIAGNOSIS, share) for name, share in shares.items() if name != best]
    others.sort(key=lambda pair: -pair[1])
    diagnosis = Diagnosis(
        label=best,
        confidence=shares[best],
        alternatives=tuple(others[:MAX_ALTERNATIVES]),
        uncertain=best is not None and shares[best] < abstain_below,
    )
    return diagnosis, speaker.reasoning
