"""The scores of an evaluation by name, each a function of columns and weights.

Weights are (B, N) as in `classification`; values are (B,), NaN where nothing applies.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .classification import (
    Values,
    Weights,
    balanced_accuracy,
    calibration_error,
    majority,
    mean_of_defined,
    ratio,
    weighted_auroc,
    weighted_mean,
)
from .columns import Columns, FactColumns
from .facts import MASK_FACTS

Metric = Callable[[Columns, Weights], Values]


def _summed_iou(columns: Columns, weights: Weights) -> Values:
    known = ~np.isnan(columns.union)
    counted = weights[:, known]
    return ratio(counted @ columns.intersection[known], counted @ columns.union[known])


def _false_masks(columns: Columns, weights: Weights) -> Values:
    return weighted_mean(np.where(columns.present, np.nan, columns.drawn), weights)


def _calibration(columns: Columns, weights: Weights) -> Values:
    return calibration_error(columns.confidence, columns.right, weights)


def _presence_calibration(columns: Columns, weights: Weights) -> Values:
    return calibration_error(columns.presence, columns.present.astype(float), weights)


def _mask_calibration(columns: Columns, weights: Weights) -> Values:
    return calibration_error(columns.mask_confidence, columns.dice_ungated, weights)


def stated(fact: FactColumns, weights: Weights) -> Values:
    """Agreement of one kind of fact, where it is stated and known."""
    return weighted_mean(fact.right, weights)


def constant(fact: FactColumns, weights: Weights) -> Values:
    """What the best constant statement would get on the same questions."""
    known = ~np.isnan(fact.right)
    counted = weights[:, known]
    if not len(fact.constant):
        return np.full(len(weights), np.nan)
    return ratio((counted @ fact.constant.T).max(1), counted.sum(1))


def _facts(columns: Columns, weights: Weights) -> Values:
    return mean_of_defined(np.stack([stated(columns.facts[k], weights) for k in MASK_FACTS]))


def _facts_constant(columns: Columns, weights: Weights) -> Values:
    return mean_of_defined(np.stack([constant(columns.facts[k], weights) for k in MASK_FACTS]))


METRICS: dict[str, Metric] = {
    "giou": lambda c, w: weighted_mean(c.iou, w),
    "giou_ungated": lambda c, w: weighted_mean(c.iou_ungated, w),
    "ciou": _summed_iou,
    "dice": lambda c, w: weighted_mean(c.dice, w),
    "nsd": lambda c, w: weighted_mean(c.nsd, w),
    "hd95": lambda c, w: weighted_mean(c.hd95, w),
    "false_masks": _false_masks,
    "presence_auroc": lambda c, w: weighted_auroc(c.presence, c.present, w),
    "presence_ece": _presence_calibration,
    "accuracy": lambda c, w: weighted_mean(c.right, w),
    "balanced_accuracy": lambda c, w: balanced_accuracy(c.right, c.labels, w),
    "majority": lambda c, w: majority(c.labels, c.labels >= 0, w),
    "ece": _calibration,
    "uncertain": lambda c, w: weighted_mean(c.uncertain, w),
    "certain_accuracy": lambda c, w: weighted_mean(np.where(c.uncertain == 0, c.right, np.nan), w),
    "mask_ece": _mask_calibration,
    "modality": lambda c, w: weighted_mean(c.modality, w),
    "fact_agreement": _facts,
    "fact_constant": _facts_constant,
}
