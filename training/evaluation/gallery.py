"""Where a model fails: its worst cases of each set, drawn for people who read images.

Worst is what would mislead most: a target missed or drawn elsewhere, a mask of nothing, and,
where no mask is known, the wrong diagnosis that the model is surest of.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from Sim4SegCore.intensity import to_rgb8
from Sim4SegCore.io import read_case

from ..config import SamplingConfig
from ..records import Record
from .outlines import (
    BOTH_COLOUR,
    GROUND,
    MUTED,
    PREDICTED_COLOUR,
    TEXT,
    TRUE_COLOUR,
    outline,
)
from .rows import Row, read_truth
from .summary import listed_name

CASES_PER_SET = 8
THIN_TARGETS = frozenset(SamplingConfig().detail_targets)
_ACROSS, _FEWEST_ACROSS = 4, 3
_SIDE, _CAPTION, _TOP, _LINE = 3.3, 1.25, 0.62, 0.21

Severity = tuple[float, float]


@dataclass(frozen=True)
class Case:
    """One failure.

    Attributes:
        mask: bool (H, W), before the presence score empties it.
    """

    record: Record
    row: Row
    mask: NDArray[np.bool_]
    severity: Severity


def severity(row: Row, threshold: float) -> Severity:
    """How bad an answer is, larger is worse; the first number is 0 for a faultless one.

    Ties between targets that were missed altogether go to the larger target, as a share of the
    image; between masks of nothing to the one that the model was surest of.
    """
    shown = row.presence >= threshold and row.mask_drawn
    if row.overlap is not None:
        missed = (row.overlap.truth - row.overlap.intersection) / row.overlap.diagonal**2
        return 1.0 - (row.overlap.iou if shown else 0.0), missed
    if not row.present:
        return float(shown), row.presence
    wrong = row.diagnosis is not None and row.predicted != row.diagnosis
    return (row.confidence if wrong else 0.0), 0.0


class WorstCases:
    """Watches an evaluation and keeps the worst answer of each patient, of the worst patients."""

    def __init__(self, folder: Path, threshold: float, per_set: int = CASES_PER_SET) -> None:
        """
        Args:
            folder: holds the images and masks that records name.
            threshold: presence below it empties a mask.
        """
        self.folder = folder
        self.threshold = threshold
        self.per_set = per_set
        self._kept: dict[str, dict[str, Case]] = defaultdict(dict)

    def __call__(self, record: Record, row: Row, mask: NDArray[np.bool_]) -> None:
        """Look at one answer; see `rows.Watcher`."""
        found = severity(row, self.threshold)
        kept = self._kept[listed_name(row)]
        before = kept.get(row.cluster)
        if found[0] <= 0 or (before is not None and before.severity >= found):
            return
        kept[row.cluster] = Case(record, row, mask.copy(), found)
        if len(kept) > self.per_set:
            del kept[min(kept, key=lambda cluster: kept[cluster].severity)]

    def cases(self) -> dict[str, list[Case]]:
        """Cases by set, the worst first."""
        return {
            name: sorted(kept.values(), key=lambda case: case.severity, reverse=True)
            for name, kept in sorted(self._kept.items())
            if kept
        }

    def figure(self, name: str) -> Figure:
        """The worst cases of one set, row by row, the worst at the top left."""
        cases = self.cases()[name]
        down = -(-len(cases) // _ACROSS)
        across = min(_ACROSS, max(_FEWEST_ACROSS, len(cases)))
        height = down * (_SIDE + _CAPTION) + _TOP
        width = across * _SIDE
        figure = Figure(figsize=(width, height), dpi=110, facecolor=GROUND)
        for place, case in enumerate(cases):
            left = (place % _ACROSS) / across
            top = _TOP + (place // _ACROSS) * (_SIDE + _CAPTION)
            box = (left + 0.01, 1 - (top + _SIDE) / height, 1 / across - 0.02, _SIDE / height)
            self._draw(figure, box, place + 1, case)
        _headline(figure, name, height, cases[0].row.target in THIN_TARGETS)
        return figure

    def _draw(
        self, figure: Figure, box: tuple[float, float, float, float], place: int, case: Case
    ) -> None:
        axes = figure.add_axes(box)
        axes.set_axis_off()
        axes.set_anchor("S")
        axes.imshow(to_rgb8(read_case(self.folder / case.record.image)))
        truth = read_truth(case.record, case.row.target, self.folder)
        shown = case.row.presence >= self.threshold
        if truth is not None and case.row.target in THIN_TARGETS:
            _fill(axes, truth, case.mask if shown else np.zeros_like(truth))
        else:
            if truth is not None:
                outline(axes, truth, TRUE_COLOUR, "solid")
            outline(axes, case.mask, PREDICTED_COLOUR, "solid" if shown else "dotted")
        lines = _caption(place, case.row, self.threshold)
        for number, (line, colour) in enumerate(lines):
            figure.text(
                box[0],
                box[1] - (0.08 + _LINE * number) / figure.get_figheight(),
                line,
                color=colour,
                fontsize=9,
                va="top",
                parse_math=False,
            )


def _caption(place: int, row: Row, threshold: float) -> list[tuple[str, str]]:
    """Lines under a picture, each with its colour."""
    shown = row.presence >= threshold and row.mask_drawn
    if row.overlap is not None:
        iou = row.overlap.iou if shown else 0.0
        verdict = f"IoU {iou:.2f}"
        if not shown and row.overlap.iou > 0:
            verdict += f" (withheld mask {row.overlap.iou:.2f})"
    elif not row.present:
        verdict = "mask of nothing" if shown else "rightly no mask"
    else:
        verdict = "true mask unknown"
    share = f"presence {row.presence:.2f}, threshold {threshold:.2f}"
    known = row.diagnosis or "unknown"
    named = row.predicted or "none"
    return [
        (f"{place}.  {verdict}", TEXT),
        (f"true: {known}", TRUE_COLOUR),
        (f"model: {named} ({row.confidence:.0%})", PREDICTED_COLOUR),
        (share, MUTED),
        (row.id.rpartition("/")[2][:44], MUTED),
    ]


def _headline(figure: Figure, name: str, height: float, thin: bool) -> None:
    middle = 1 - 0.31 / height
    figure.text(0.012, middle, f"{name}: worst cases", color=TEXT, fontsize=13, va="center")
    marks = [
        Line2D([], [], color=TRUE_COLOUR, label="true outline"),
        Line2D([], [], color=PREDICTED_COLOUR, label="model's outline"),
        Line2D([], [], color=PREDICTED_COLOUR, ls=":", label="withheld: presence too low"),
    ]
    if thin:
        marks = [
            Line2D([], [], color=TRUE_COLOUR, lw=4, label="missed"),
            Line2D([], [], color=BOTH_COLOUR, lw=4, label="met"),
            Line2D([], [], color=PREDICTED_COLOUR, lw=4, label="drawn for nothing"),
        ]
    figure.legend(
        handles=marks,
        loc="center right",
        bbox_to_anchor=(0.995, middle),
        ncols=len(marks),
        fontsize=9,
        labelcolor=TEXT,
        frameon=False,
    )


def _fill(axes: Axes, truth: NDArray[np.bool_], mask: NDArray[np.bool_]) -> None:
    """Thin structures in flat colours: outlines would be thicker than they are."""
    parts = (
        (truth & ~mask, TRUE_COLOUR),
        (truth & mask, BOTH_COLOUR),
        (mask & ~truth, PREDICTED_COLOUR),
    )
    paint = np.zeros((*truth.shape, 4))
    for part, colour in parts:
        paint[part] = to_rgba(colour, 0.9)
    axes.imshow(paint, interpolation="nearest")
