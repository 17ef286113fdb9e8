"""Test-time scaling: several answers and masks of one query, combined without labels.

The paper samples m answers with n masks each and reports the best by its Dice with the truth,
which nobody has. Here votes and averages decide. Knows nothing of how answers and masks are made.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from .case import Diagnosis, Familiarity
from .scaling_config import Calibration


def vote(
    answers: Sequence[Mapping[str, float]],
    log_probabilities: Sequence[float],
    calibration: Calibration,
) -> tuple[str, dict[str, float]]:
    """The label that most answers find most likely; a tie goes to the more fluent answers.

    Args:
        answers: per answer, label -> probability.
        log_probabilities: mean log-probability of each answer's words.

    Returns:
        the label, and label -> calibrated probability, the label first, then most likely first.
    """
    ballots = [max(answer, key=lambda label: answer[label]) for answer in answers]
    counts = Counter(ballots)
    fluency = {
        label: sum(
            value for value, ballot in zip(log_probabilities, ballots, strict=True)
            if ballot == label
        ) / count
        for label, count in counts.items()
    }  # fmt: skip
    winner = max(counts, key=lambda label: (counts[label], fluency[label]))
    sharpened = [_tempered(answer, calibration.diagnosis_temperature) for answer in answers]
    labels = dict.fromkeys(label for answer in answers for label in answer)
    mean = {
        label: sum(answer.get(label, 0.0) for answer in sharpened) / len(answers)
        for label in labels
    }
    ranked = sorted(mean, key=lambda label: (label != winner, -mean[label]))
    return winner, {label: mean[label] for label in ranked}


def unite(
    answers: Sequence[Mapping[str, float]], meaning: Callable[[str], str]
) -> list[dict[str, float]]:
    """The same answers with labels that mean the same under the first spelling that occurs.

    Args:
        answers: per answer, label -> probability.
        meaning: equal for labels that mean the same.
    """
    spelling: dict[str, str] = {}
    united = []
    for answer in answers:
        merged: dict[str, float] = {}
        for label, probability in answer.items():
            name = spelling.setdefault(meaning(label), label)
            merged[name] = merged.get(name, 0.0) + probability
        united.append(merged)
    return united


def is_decided(answers: Sequence[Mapping[str, float]], outstanding: int) -> bool:
    """Whether answers yet to come could not change the vote."""
    counts = Counter(max(answer, key=lambda label: answer[label]) for answer in answers)
    (_, first), *others = counts.most_common(2)
    return first - (others[0][1] if others else 0) > outstanding


def conclude(
    probabilities: Mapping[str, float], named: str | None, calibration: Calibration
) -> Diagnosis:
    """A diagnosis from label -> probability, the voted one first.

    Args:
        named: what the label says to people; None if it declines to name a diagnosis.
    """
    ranked = list(probabilities.items())
    confidence = ranked[0][1]
    return Diagnosis(
        label=named,
        confidence=confidence,
        alternatives=tuple(ranked[1:4]),
        uncertain=named is not None and confidence < calibration.abstain_below,
    )


def with_familiarity(diagnosis: Diagnosis, familiarity: Familiarity | None) -> Diagnosis:
    """The same, called uncertain if the image is outside what the model was trained on."""
    if familiarity is None or not familiarity.is_outside or diagnosis.label is None:
        return diagnosis
    return dataclasses.replace(diagnosis, uncertain=True)


def consensus(logits: Sequence[Tensor]) -> Tensor:
    """Mean of masks' logits (H, W)."""
    return torch.stack(list(logits)).mean(0)


def mean_agreement(masks: Sequence[Tensor]) -> list[float]:
    """Mean Dice of each bool (H, W) mask with the others; 1 of one alone."""
    flat = torch.stack([mask.flatten() for mask in masks]).float()
    sizes = flat.sum(1)
    total = sizes[:, None] + sizes
    dice = torch.where(total > 0, 2 * (flat @ flat.T) / total.clamp_min(1), torch.ones(()))
    others = len(masks) - 1
    if not others:
        return [1.0]
    agreement: list[float] = ((dice.sum(1) - 1) / others).tolist()
    return agreement


def expected_dice(logits: Tensor, mask: Tensor, calibration: Calibration) -> float | None:
    """Dice that a mask would have on average, if the logits' probabilities are right.

    Args:
        logits: float (H, W).
        mask: bool (H, W).

    Returns:
        0..1, or None of an empty mask.
    """
    if not mask.any():
        return None
    probability = (logits / calibration.mask_temperature).sigmoid()
    overlap = torch.where(mask, probability, 0.0).sum()
    return float(2 * overlap / (probability.sum() + mask.count_nonzero()))


def _tempered(probabilities: Mapping[str, float], temperature: float) -> dict[str, float]:
    if temperature == 1.0 or len(probabilities) == 1:
        return dict(probabilities)
    scores = torch.tensor(list(probabilities.values())).clamp_min(1e-12).log() / temperature
    return dict(zip(probabilities, scores.softmax(0).tolist(), strict=True))
