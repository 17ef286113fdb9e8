"""The figure of an evaluation of scaling: quality against the number of masks and answers."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .plots import BLUE, DPI, GREEN, GREY, ORANGE, PURPLE
from .scaling import (
    AGREEMENT,
    ANSWER_WAYS,
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
    figure = Figure(figsize=(9.4, 4.2), dpi=DPI, layout="constrained")
    masks, answers = figure.subplots(1, 2)
    _draw(masks, rows, "masks", MASK_WAYS, CONSENSUS, "masks n", "mean IoU, ungated")
    _draw(answers, rows, "answers", ANSWER_WAYS, VOTE, "answers m", "accuracy of the diagnosis")
    return figure


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
