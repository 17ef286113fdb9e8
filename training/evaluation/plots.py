"""Figures of an evaluation: overlap, diagnoses, calibration, presence. Knows no files.

Colours are Okabe and Ito's, told apart by colour-blind eyes; what matters is also told by shape.
matplotlib is used without pyplot, whose global state is neither cheap nor safe in threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .classification import CALIBRATION_BINS, Values, auroc, calibration_bins, calibration_error
from .rows import Row
from .summary import ALL, MACRO, SetMetrics

BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, YELLOW, GREY = "#56B4E9", "#E69F00", "#767676"
CURVES = (
    (BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), (PURPLE, ":"), (SKY, "-"), (YELLOW, "--"),
)  # fmt: skip
DPI = 150
MIN_COUNT = 5
"""Questions below which a rate is drawn hollow, or a set's curve not at all."""


def overlap_figure(table: Sequence[SetMetrics]) -> Figure:
    """gIoU of each set with its 95 % interval, beside Dice and NSD; the mean over sets last."""
    sets = [m for m in table if m.giou is not None and m.name != ALL]
    axes, figure = _set_axes([_name(m) for m in sets], "overlap with the true mask")
    for place, metrics in enumerate(sets):
        strong = metrics.name == MACRO
        _point(axes, metrics, "giou", place, "o", BLUE, strong)
        for name, marker, colour in (("dice", "D", ORANGE), ("nsd", "s", GREEN)):
            _mark(axes, getattr(metrics, name), place, marker, colour)
    _legend(axes, [("o", BLUE, "gIoU, 95 % interval"), ("D", ORANGE, "Dice"), ("s", GREEN, "NSD")])
    _separate_macro(axes, sets)
    return figure


def diagnosis_figure(table: Sequence[SetMetrics]) -> Figure:
    """Accuracy of each set with its 95 % interval, beside what naming the commonest gets."""
    sets = [m for m in table if m.accuracy is not None and m.name != ALL]
    axes, figure = _set_axes([_name(m) for m in sets], "fraction of diagnoses that are right")
    for place, metrics in enumerate(sets):
        if metrics.majority is not None:
            axes.vlines(metrics.majority, place - 0.3, place + 0.3, color=ORANGE, lw=2.2)
        _mark(axes, metrics.balanced_accuracy, place, "D", GREEN)
        _point(axes, metrics, "accuracy", place, "o", BLUE, metrics.name == MACRO)
    marks = [
        ("o", BLUE, "accuracy, 95 % interval"),
        ("|", ORANGE, "always the most frequent"),
        ("D", GREEN, "balanced accuracy"),
    ]
    _legend(axes, marks)
    _separate_macro(axes, sets)
    return figure


@dataclass(frozen=True)
class Confidence:
    """Probabilities that the model states, and what came of each.

    Attributes:
        outcome: (N,) 0 or 1, or a share in 0..1 where a share was foretold.
    """

    title: str
    foretold: str
    came: str
    stated: Values
    outcome: Values


def reliability_figure(rows: Sequence[Row]) -> Figure:
    """What is true at each confidence: of the diagnosis, of presence and of the mask."""
    named = [row for row in rows if row.diagnosis is not None]
    drawn = [row for row in rows if row.overlap is not None and row.mask_confidence is not None]
    return confidence_figure(
        [
            Confidence(
                "diagnosis",
                "the model's probability",
                "fraction of diagnoses that are right",
                np.array([row.confidence for row in named]),
                np.array([float(row.predicted == row.diagnosis) for row in named]),
            ),
            Confidence(
                "presence of the target",
                "the model's probability",
                "fraction of targets that are there",
                np.array([row.presence for row in rows]),
                np.array([float(row.present) for row in rows]),
            ),
            mask_confidence(
                [row.mask_confidence for row in drawn if row.mask_confidence is not None],
                [row.overlap.dice for row in drawn if row.overlap is not None],
            ),
        ]
    )


def mask_confidence(expected: Sequence[float], dice: Sequence[float]) -> Confidence:
    """Expected against true Dice of masks that were drawn."""
    return Confidence(
        "mask", "Dice that the model expects", "mean true Dice", np.array(expected), np.array(dice)
    )


def confidence_figure(confidences: Sequence[Confidence]) -> Figure:
    """Calibration curves side by side, each above the number of questions in its bins."""
    count = len(confidences)
    figure = Figure(figsize=(4.5 * count, 4.9), dpi=DPI, layout="constrained")
    grid = figure.subplots(2, count, sharex=True, squeeze=False, height_ratios=(3, 1))
    for pair, confidence in zip(grid.T, confidences, strict=True):
        _reliability(pair, confidence)
    return figure


def roc_figure(rows: Sequence[Row], threshold: float) -> Figure:
    """Presence: true against false findings, over all questions and for sets with both kinds."""
    figure = Figure(figsize=(5.4, 6.9), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls=(0, (2, 3)))
    for name, members, (colour, style) in _curves(rows):
        scores = np.array([row.presence for row in members])
        present = np.array([row.present for row in members])
        strong = name == ALL
        label = f"{name}, {auroc(scores.tolist(), present.tolist()):.2f}"
        fall, rise = roc_points(scores, present)
        axes.plot(fall, rise, color=colour, ls=style, lw=2.4 if strong else 1.3, label=label)
        shown = scores >= threshold
        axes.plot(shown[~present].mean(), shown[present].mean(), "o", color=colour, ms=6, mec="w")
    axes.plot([], [], "o", color=GREY, ms=6, label=f"at the threshold, {threshold:.2f}")
    axes.set(xlabel="false findings where it is absent", ylabel="findings where it is there")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set_title("Is the target there? (AUROC)", fontsize=11)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    _plain(axes)
    return figure


def roc_points(scores: Values, present: NDArray[np.bool_]) -> tuple[Values, Values]:
    """False and true positive rates from the strictest threshold to the loosest, ties at once."""
    order = np.argsort(-scores, kind="stable")
    hit, ends = present[order], np.append(np.diff(scores[order]) != 0, True)
    rise = np.cumsum(hit)[ends] / max(1, int(present.sum()))
    fall = np.cumsum(~hit)[ends] / max(1, int((~present).sum()))
    return np.insert(fall, 0, 0.0), np.insert(rise, 0, 0.0)


def _curves(rows: Sequence[Row]) -> list[tuple[str, list[Row], tuple[str, str]]]:
    """Name, rows and style of each curve; everything together first, in black."""
    curves: list[tuple[str, list[Row], tuple[str, str]]] = []
    for name in sorted({row.dataset for row in rows}):
        members = [row for row in rows if row.dataset == name]
        if min(sum(r.present for r in members), sum(not r.present for r in members)) >= MIN_COUNT:
            curves.append((name, members, CURVES[len(curves) % len(CURVES)]))
    both = {row.present for row in rows} == {True, False}
    return ([(ALL, list(rows), ("black", "-"))] if both else []) + curves


def _reliability(pair: NDArray[np.object_], shown: Confidence) -> None:
    """A calibration curve above the number of questions in each bin."""
    above, below = pair
    confidence, right = shown.stated, shown.outcome
    above.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls=(0, (2, 3)))
    bins = calibration_bins(confidence)
    occupied = np.unique(bins)
    counts = np.array([int((bins == b).sum()) for b in occupied])
    means = np.array([confidence[bins == b].mean() for b in occupied])
    rates = np.array([right[bins == b].mean() for b in occupied])
    if len(confidence):
        above.vlines(means, means, rates, color=ORANGE, lw=1.6, alpha=0.75)
        # A rate of three questions must not catch the eye like one of three hundred.
        sizes = 18 + 180 * counts / counts.max()
        faces = [BLUE if count >= MIN_COUNT else "white" for count in counts]
        above.scatter(means, rates, sizes, color=faces, edgecolors=BLUE, zorder=3, clip_on=False)
        error = calibration_error(confidence, right, np.ones((1, len(right))))[0]
        above.text(0.03, 0.96, f"ECE {error:.3f}\nn = {len(right)}", va="top", fontsize=9)
    above.set(ylim=(-0.02, 1.02), ylabel=shown.came)
    above.set_title(shown.title, fontsize=11)
    below.bar((occupied + 0.5) / CALIBRATION_BINS, counts, 0.9 / CALIBRATION_BINS, color=SKY)
    below.set(xlabel=shown.foretold, ylabel="questions", xlim=(-0.02, 1.02))
    _plain(above)
    _plain(below)


def _set_axes(names: list[str], xlabel: str) -> tuple[Axes, Figure]:
    """Axes with a line a set, the first on top."""
    figure = Figure(figsize=(7.2, 1.3 + 0.3 * max(1, len(names))), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set(xlim=(-0.02, 1.02), ylim=(len(names) - 0.4, -0.6), xlabel=xlabel)
    axes.grid(axis="x", color="#e4e4e4", lw=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    _plain(axes)
    return axes, figure


def _point(
    axes: Axes, metrics: SetMetrics, name: str, place: int, marker: str, colour: str, strong: bool
) -> None:
    if name in metrics.intervals:
        axes.plot(metrics.intervals[name], [place] * 2, color=colour, lw=3 if strong else 1.8)
    axes.plot(getattr(metrics, name), place, marker, color=colour, ms=9 if strong else 6)


def _mark(axes: Axes, value: float | None, place: int, marker: str, colour: str) -> None:
    if value is not None:
        axes.plot(value, place, marker, color=colour, ms=4, mfc="white")


def _separate_macro(axes: Axes, sets: Sequence[SetMetrics]) -> None:
    if sets and sets[-1].name == MACRO:
        axes.axhline(len(sets) - 1.5, color=GREY, lw=0.8)


def _name(metrics: SetMetrics) -> str:
    if metrics.name == MACRO:
        return "mean over sets"
    return f"{metrics.name}  ({metrics.questions})"


def _legend(axes: Axes, marks: Sequence[tuple[str, str, str]]) -> None:
    """Above the figure, where no point can hide under it."""
    for marker, colour, label in marks:
        filled = colour if marker == "o" else "white"
        axes.plot([], [], marker, color=colour, mfc=filled, ms=6, mew=2, label=label)
    assert axes.figure is not None
    axes.figure.legend(loc="outside upper center", ncols=len(marks), fontsize=9, frameon=False)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
