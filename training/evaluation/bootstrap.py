"""Intervals by resampling patients.

Images of one patient, and questions about one image, are wrong together. Whole groups are drawn
with replacement, so that the interval does not take them for independent evidence. Of scores that
take a maximum or an absolute value (majority, best constant, calibration error), resampling is
biased upwards; of these the estimate counts, and the interval's width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

REPEATS = 1000
SEED = 0
COVERAGE = 0.95

Interval = tuple[float, float]


def resample(
    groups: Sequence[str], repeats: int = REPEATS, seed: int = SEED
) -> NDArray[np.float64]:
    """How often each question counts in each resample of the groups.

    The same groups and seed give the same resamples, so that two models that answered the same
    questions are compared pairwise.

    Args:
        groups: (N,) the group of each question.

    Returns:
        (repeats, N) counts; all questions of a group have the same.
    """
    _, place = np.unique(np.array(groups, dtype=str), return_inverse=True)
    count = int(place.max()) + 1 if len(place) else 0
    if count == 0:
        return np.zeros((repeats, 0))
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), repeats)
    return np.asarray(drawn[:, place], dtype=np.float64)


def interval(values: NDArray[np.float64]) -> Interval | None:
    """The central 95 % of resampled values; None if fewer than half of them are defined."""
    defined = values[~np.isnan(values)]
    if len(defined) < max(1, len(values) / 2):
        return None
    low, high = np.quantile(defined, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)
