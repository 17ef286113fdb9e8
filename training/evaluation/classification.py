"""Scores of labels and probabilities, for one weighting of the questions or many at once.

Every function takes weights (B, N), how often each of N questions counts in each of B
resamples, and returns (B,) values, NaN where a score is not defined. A single evaluation is
B = 1 with ones; the bootstrap hands in its counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Weights = NDArray[np.float64]

CALIBRATION_BINS = 10


def weighted_mean(values: Values, weights: Weights) -> Values:
    """Mean of (N,) values; NaN values do not count."""
    known = ~np.isnan(values)
    return ratio(weights[:, known] @ values[known], weights[:, known].sum(1))


def ratio(numerator: Values, denominator: Values) -> Values:
    """Quotient, NaN where the denominator is 0."""
    defined = denominator > 0
    return np.where(defined, numerator / np.where(defined, denominator, 1.0), np.nan)


def balanced_accuracy(right: Values, labels: NDArray[np.intp], weights: Weights) -> Values:
    """Recall of each label, averaged over the labels that occur.

    Args:
        right: (N,) 0 or 1, NaN where the diagnosis is unknown.
        labels: (N,) index of the true diagnosis.
    """
    known = ~np.isnan(right)
    if not known.any():
        return np.full(len(weights), np.nan)
    kinds = np.unique(labels[known])
    recalls = [weighted_mean(right[labels == k], weights[:, labels == k]) for k in kinds]
    return mean_of_defined(np.stack(recalls))


def majority(labels: NDArray[np.intp], known: NDArray[np.bool_], weights: Weights) -> Values:
    """Accuracy of always naming the most frequent diagnosis of these very questions."""
    if not known.any():
        return np.full(len(weights), np.nan)
    counts = np.stack([weights[:, known & (labels == k)].sum(1) for k in np.unique(labels[known])])
    return ratio(counts.max(0), counts.sum(0))


def weighted_auroc(scores: Values, positive: NDArray[np.bool_], weights: Weights) -> Values:
    """Probability that a positive scores above a negative; ties count half."""
    _, place = np.unique(scores, return_inverse=True)
    levels = int(place.max()) + 1 if len(place) else 0
    # Weight of each side at each distinct score, lowest first.
    sides = [_gathered(weights[:, side], place[side], levels) for side in (positive, ~positive)]
    ours, theirs = sides
    below = np.cumsum(theirs, axis=1) - theirs
    won = (ours * (below + 0.5 * theirs)).sum(1)
    return ratio(won, ours.sum(1) * theirs.sum(1))


def _gathered(weights: Weights, places: NDArray[np.intp], count: int) -> Values:
    """Sum the columns of (B, N) weights by place to (B, count)."""
    gathered = np.zeros((count, len(weights)))
    np.add.at(gathered, places, weights.T)
    return gathered.T


def auroc(scores: Sequence[float], truth: Sequence[bool]) -> float | None:
    """Probability that a present target scores above an absent one; ties count half.

    None if one of the two does not occur.
    """
    positive = np.array(truth, dtype=bool)
    value = weighted_auroc(np.array(scores, dtype=float), positive, np.ones((1, len(positive))))[0]
    return None if np.isnan(value) else float(value)


def calibration_bins(confidence: Values) -> NDArray[np.intp]:
    """Which of `CALIBRATION_BINS` bins of equal width each confidence (0..1) falls into."""
    return np.clip((confidence * CALIBRATION_BINS).astype(np.intp), 0, CALIBRATION_BINS - 1)


def calibration_error(confidence: Values, right: Values, weights: Weights) -> Values:
    """Expected calibration error: |accuracy - mean confidence| of each bin, averaged by size.

    Args:
        confidence: (N,) in 0..1.
        right: (N,) 0 or 1, NaN where unknown.
    """
    known = ~np.isnan(right)
    gap, bins = (right - confidence)[known], calibration_bins(confidence)[known]
    counted = weights[:, known]
    gaps = [np.abs(counted[:, bins == b] @ gap[bins == b]) for b in np.unique(bins)]
    return ratio(np.sum(gaps, axis=0) if gaps else np.zeros(len(weights)), counted.sum(1))


def mean_of_defined(values: Values) -> Values:
    """Mean over the first axis of (K, B), leaving out NaN; NaN where all are."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(0), defined.sum(0).astype(float))
