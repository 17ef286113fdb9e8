"""What calibration asks of answered questions."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from .rows import Row

SMALLEST_PROBABILITY = 1e-6
FEW = 20


def presence_threshold(rows: Iterable[Row], false_mask_rate: float) -> float:
    """The lowest threshold at which at most this fraction of absent targets gets a mask."""
    asked = list(rows)
    absent = sorted((r.presence for r in asked if not r.present and r.mask_drawn), reverse=True)
    count = sum(1 for r in asked if not r.present)
    allowed = int(false_mask_rate * count)
    return float(np.nextafter(absent[allowed], 1.0)) if allowed < len(absent) else 0.05


def presence_rule(rows: Iterable[Row], false_mask_rate: float) -> tuple[float, dict[str, float]]:
    """One threshold, and what has to be added to the logits of some targets for it to suit them.

    A target with at least FEW questions about images without it gets a threshold of its own, so
    that one that the model can hardly tell from nothing does not hide the others.

    Returns:
        threshold, and shift by target.
    """
    by_target: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_target[row.target].append(row)
    own = {target: group for target, group in by_target.items() if _absent(group) >= FEW}
    others = [row for target, group in by_target.items() if target not in own for row in group]
    common = presence_threshold(others, false_mask_rate) if _absent(others) >= FEW else 0.5
    shifts = {
        target: _rounded_down(_logit(common) - _logit(presence_threshold(group, false_mask_rate)))
        for target, group in sorted(own.items())
    }
    return common, shifts


def _absent(rows: Iterable[Row]) -> int:
    return sum(not row.present for row in rows)


def _rounded_down(shift: float) -> float:
    """To three digits, so that no rounding lets another mask of nothing through."""
    return math.floor(1000 * shift) / 1000


def _logit(probability: float) -> float:
    inside = min(max(probability, SMALLEST_PROBABILITY), 1 - SMALLEST_PROBABILITY)
    return math.log(inside / (1 - inside))


def mean_over_sets(rows: Iterable[Row]) -> float:
    """Ungated IoU, averaged within each set and target and then over them.

    Left out are targets with fewer than 3 masks or a mean below 0.3: which threshold suits a
    target that the model has not learned says nothing. 0 if none is left.
    """
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        if row.iou is not None:
            groups[row.dataset, row.target].append(row.iou)
    means = [float(np.mean(values)) for values in groups.values() if len(values) >= 3]
    learned = [mean for mean in means if mean >= 0.3]
    return float(np.mean(learned)) if learned else 0.0


def mean_accuracy(rows: Iterable[Row]) -> float:
    """Accuracy of the diagnosis, averaged within each set and then over them; 0 without any.

    Sets with fewer than FEW questions are left out, if that leaves any: chance would decide there.
    """
    groups: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        if row.diagnosis is not None:
            groups[row.dataset].append(row.predicted == row.diagnosis)
    counted = [right for right in groups.values() if len(right) >= FEW] or list(groups.values())
    return float(np.mean([np.mean(right) for right in counted])) if counted else 0.0


def surprise(rows: Iterable[Row]) -> float:
    """Mean of -log of the confidence that a diagnosis is right, or wrong, as it was.

    Lowest where confidence is the frequency of being right. 0 without any diagnosis.
    """
    values = []
    for row in rows:
        if row.diagnosis is not None and row.predicted is not None:
            right = row.predicted == row.diagnosis
            likely = row.confidence if right else 1 - row.confidence
            values.append(-math.log(max(likely, SMALLEST_PROBABILITY)))
    return float(np.mean(values)) if values else 0.0


def mask_confidence_error(rows: Iterable[Row]) -> float:
    """Mean squared difference of a mask's confidence and its Dice, as `mean_over_sets` averages."""
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        if row.overlap is not None and row.mask_confidence is not None:
            error = (row.mask_confidence - row.overlap.dice) ** 2
            groups[row.dataset, row.target].append(error)
    means = [float(np.mean(errors)) for errors in groups.values()]
    return float(np.mean(means)) if means else 0.0
