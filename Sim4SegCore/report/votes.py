"""Which diagnosis the answers voted for."""

from __future__ import annotations

from dataclasses import dataclass

from ..case import Result
from .wording import LIKELY, one_line


@dataclass(frozen=True)
class Vote:
    """One diagnosis, or none.

    Attributes:
        label: None for answers that name no diagnosis.
        confidence: 0..1; None if the result states none.
        answers: how many of the sampled answers named it.
    """

    label: str | None
    confidence: float | None
    answers: int


def tally(result: Result) -> list[Vote]:
    """Diagnoses that are likely or were voted for, most confident first, unnamed ones last."""
    diagnosis = result.diagnosis
    ranked = [(diagnosis.label, diagnosis.confidence)] if diagnosis.label else []
    ranked += [(label, share) for label, share in diagnosis.alternatives if share >= LIKELY]
    confidences: dict[str, float] = {}
    for label, share in ranked:
        confidences.setdefault(one_line(label), float(share))
    votes: dict[str | None, int] = dict.fromkeys(confidences, 0)
    named = {label.lower(): label for label in confidences}
    for answer in result.samples.answers:
        said = one_line(answer.diagnosis or "") or None
        key = None if said is None else named.setdefault(said.lower(), said)
        votes[key] = votes.get(key, 0) + 1
    counted = [Vote(label, confidences.get(label or ""), n) for label, n in votes.items()]
    return sorted(counted, key=lambda v: (v.label is None, -(v.confidence or 0), -v.answers))
