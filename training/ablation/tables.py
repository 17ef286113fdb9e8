"""Variants against the reference: means over sets, and intervals of paired differences."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..evaluation.bootstrap import Interval, interval
from ..evaluation.summary import Scores, score_over_sets
from ..evaluation.tables import MISSING, number, pipe_table
from .stored import Answers

COMPARED = {
    "giou": "gIoU",
    "ciou": "cIoU",
    "dice": "Dice",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "presence_auroc": "presence AUROC",
}


@dataclass(frozen=True)
class Difference:
    """One metric of one variant.

    Attributes:
        value: mean over sets.
        difference: to the reference; None for the reference itself.
        bounds: 95 % interval of the difference, both answering the same resampled patients.
    """

    value: float | None
    difference: float | None
    bounds: Interval | None


def compare(answers: Mapping[str, Answers], reference: str) -> dict[str, dict[str, Difference]]:
    """By variant and metric; all variants must have answered the same questions."""
    scores = {name: score_over_sets(a.rows, a.threshold) for name, a in answers.items()}
    return {
        name: {metric: _difference(own, scores[reference], metric) for metric in COMPARED}
        for name, own in scores.items()
    }


def _difference(own: Scores, reference: Scores, metric: str) -> Difference:
    value = float(own.estimate[metric][0])
    if np.isnan(value):
        return Difference(None, None, None)
    if own is reference:
        return Difference(value, None, None)
    difference = value - float(reference.estimate[metric][0])
    # Both were resampled with the same seed over the same patients, so that draws pair up.
    bounds = interval(own.resampled[metric] - reference.resampled[metric])
    return Difference(value, difference, bounds)


def comparison_markdown(answers: Mapping[str, Answers], reference: str) -> str:
    """The table for people."""
    compared = compare(answers, reference)
    rows = [[name, *(_cell(row[metric]) for metric in COMPARED)] for name, row in compared.items()]
    return "\n".join(
        [
            f"Means over sets; in parentheses the difference to '{reference}' with its 95 %",
            "interval over resampled patients. One seed: the interval does not hold what",
            "another training run would change.",
            "",
            pipe_table(["variant", *COMPARED.values()], rows),
        ]
    )


def _cell(difference: Difference) -> str:
    if difference.difference is None:
        return number(difference.value)
    bounds = difference.bounds
    spread = MISSING if bounds is None else f"{bounds[0]:+.3f} to {bounds[1]:+.3f}"
    return f"{number(difference.value)} ({difference.difference:+.3f}; {spread})"


def comparison_csv(answers: Mapping[str, Answers], reference: str) -> str:
    """The same for programs, a row a variant and metric; empty where nothing applies."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["variant", "metric", "value", "difference", "low", "high"])
    for name, row in compare(answers, reference).items():
        for metric, found in row.items():
            low, high = found.bounds or (None, None)
            writer.writerow([name, metric, found.value, found.difference, low, high])
    return text.getvalue()
