"""Figures of an evaluation of scaling: quality against numbers, and what confidences are worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .plots import (
    BLUE,
    DPI,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    Confidence,
    confidence_figure,
    mask_confidence,
)
from .scaling import (
    AGREEMENT,
    ANSWER_WAYS,
    CHOICES,
    CONSENSUS,
    COUNTS,
    ESTIMATE,
    EVERYTHING,
    MASK_WAYS,
    ORACLE,
    TEXT,
    VOTE,
    ScaledRow,
    summarise_scaling,
)

STYLES = {
    CONSENSUS: (BLUE, "-", "o"),
    VOTE: (BLUE, "-", "o"),
    ESTIMATE: (ORANGE, "--", "s"),
    AGREEMENT: (GREEN, "-.", "D"),
    TEXT: (PURPLE, ":", "^"),
    ORACLE: (GREY, "--", "x"),
}


def scaling_figure(rows: Sequence[ScaledRow]) -> Figure:
    """Mean over sets, with 95 % intervals of the way that is used."""
    figure = Figure(figsize=(13.4, 4.2), dpi=DPI, layout="constrained")
    masks, false_masks, answers = figure.subplots(1, 3)
    _draw(masks, rows, "masks", MASK_WAYS, CONSENSUS, "masks n", "mean IoU, ungated")
    _draw(false_masks, rows, "false_masks", CHOICES, CONSENSUS, "masks n", "masks of nothing")
    _draw(answers, rows, "answers", ANSWER_WAYS, VOTE, "answers m", "accuracy of the diagnosis")
    return figure


def trust_figure(rows: Sequence[ScaledRow]) -> Figure:
    """What is true at each confidence that all answers and masks together have."""
    trusts = [row.trust for row in rows if row.trust is not None]
    named = [trust for trust in trusts if trust.right is not None]
    right = np.array([trust.right for trust in named], dtype=float)
    drawn = [
        (trust.mask_confidence, trust.dice)
        for trust in trusts
        if trust.mask_confidence is not None and trust.dice is not None
    ]
    came = "fraction of diagnoses that are right"
    return confidence_figure(
        [
            Confidence(
                f"diagnosis, {COUNTS[-1]} answers",
                "fraction of answers that name it",
                came,
                np.array([trust.votes for trust in named]),
                right,
            ),
            Confidence(
                f"diagnosis, {COUNTS[-1]} answers",
                "calibrated probability",
                came,
                np.array([trust.confidence for trust in named]),
                right,
            ),
            mask_confidence([expected for expected, _ in drawn], [dice for _, dice in drawn]),
        ]
    )


def _draw(
    axes: Axes,
    rows: Sequence[ScaledRow],
    kind: str,
    ways: Sequence[str],
    used: str,
    along: str,
    up: str,
) -> None:
    means = summarise_scaling(rows, kind).get(EVERYTHING, {})
    axes.set(xlabel=along, ylabel=f"{up}, mean over sets", xscale="log")
    axes.set_xticks(COUNTS, [str(count) for count in COUNTS])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e6e6")
    if not means:
        axes.text(0.5, 0.5, "nothing to compare", transform=axes.transAxes, ha="center")
        return
    for way in ways:
        colour, line, marker = STYLES[way]
        values = [means[way, count].value for count in COUNTS]
        label = f"{way} (needs the truth)" if way == ORACLE else way
        axes.plot(COUNTS, values, line, marker=marker, color=colour, label=label, ms=5)
    bounds = [means[used, count].interval for count in COUNTS]
    if all(bounds):
        low, high = zip(*(bound for bound in bounds if bound), strict=True)
        axes.fill_between(COUNTS, low, high, color=BLUE, alpha=0.12, lw=0)
    axes.legend(frameon=False, fontsize=9)
