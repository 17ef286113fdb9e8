"""gIoU under each perturbation and its change, by set. Knows no files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..means import OVER_SETS, Mean, Measured, means_by_set
from ..saving import table_csv
from ..tables import MISSING, number, pipe_table, with_interval
from .asking import PerturbedRow
from .perturbations import NONE

FEWEST_GROUPS = 5
"""Patients below which an interval is no evidence: resampling two of them knows three means."""
NOTES = """\
gIoU: mean IoU over findings that are there, of the mask that users are shown (a missed target
scores 0); in parentheses its change against the image as it is, on the same questions: negative is
a drop. Bold: the 95 % interval of the change over resampled patients leaves out zero, and there
are at least five of them. no mask: findings whose mask is empty. Masks are compared at the original
size: of half resolution, the drawn mask is enlarged. Rotation takes image and true mask along, the
border that comes in is black; a finding that leaves the picture is not counted. Brightness
multiplies intensities. Every set has the same weight in the mean over sets, and chest targets are
one set; sets of few patients make the interval of that mean narrower than it ought to be."""


@dataclass(frozen=True)
class Change:
    """Quality under a perturbation.

    Attributes:
        change: of gIoU, on the same questions.
        withheld: share of findings that get no mask at all.
    """

    giou: Mean
    change: Mean
    withheld: Mean

    @property
    def is_more_than_chance(self) -> bool:
        """The interval of the change leaves out zero, and there are patients enough to say so."""
        bounds = self.change.interval
        enough = self.change.groups >= FEWEST_GROUPS
        return bounds is not None and enough and not bounds[0] <= 0 <= bounds[1]


def summarise_robustness(rows: Sequence[PerturbedRow]) -> dict[str, dict[str, Change]]:
    """By set (and `OVER_SETS`), by perturbation, in the order in which it was asked."""
    by_perturbation: dict[str, list[PerturbedRow]] = defaultdict(list)
    for row in rows:
        by_perturbation[row.perturbation].append(row)
    before = {(row.id, row.target): row.iou for row in by_perturbation[NONE.name]}
    table: dict[str, dict[str, Change]] = defaultdict(dict)
    for name, members in by_perturbation.items():
        gious = means_by_set([Measured(r.dataset, r.cluster, r.iou) for r in members])
        changes = means_by_set([_change(row, before[row.id, row.target]) for row in members])
        withheld = means_by_set([_withheld(row) for row in members])
        for dataset, giou in gious.items():
            table[dataset][name] = Change(giou, changes[dataset], withheld[dataset])
    return dict(table)


def _change(row: PerturbedRow, before: float | None) -> Measured:
    value = None if row.iou is None or before is None else row.iou - before
    return Measured(row.dataset, row.cluster, value)


def _withheld(row: PerturbedRow) -> Measured:
    value = None if row.iou is None else float(not row.mask_shown)
    return Measured(row.dataset, row.cluster, value)


def robustness_markdown(rows: Sequence[PerturbedRow]) -> str:
    """A table by set, and one of the mean over sets with its intervals."""
    table = summarise_robustness(rows)
    names = list(next(iter(table.values())))
    by_set = [
        [dataset, str(changes[NONE.name].giou.count)] + [_cell(changes, name) for name in names]
        for dataset, changes in table.items()
    ]
    overall = table.get(OVER_SETS) or next(iter(table.values()))
    means = [
        [
            name,
            with_interval(c.giou.value, c.giou.interval),
            *_change_cells(name, c),
            number(c.withheld.value),
        ]
        for name, c in overall.items()
    ]
    title = OVER_SETS if OVER_SETS in table else next(iter(table))
    return "\n\n".join(
        [
            pipe_table(["set", "n", *names], by_set),
            f"{title[0].upper()}{title[1:]}, with paired intervals of the change:",
            pipe_table(["perturbation", "gIoU", "change", "95 % interval", "no mask"], means),
        ]
    )


def _cell(changes: dict[str, Change], name: str) -> str:
    if name not in changes or changes[name].giou.value is None:
        return MISSING
    shown = changes[name]
    text = f"{shown.giou.value:.3f}"
    if name == NONE.name:
        return text
    text = f"{text} ({_signed(shown.change.value)})"
    return f"**{text}**" if shown.is_more_than_chance else text


def _change_cells(name: str, shown: Change) -> list[str]:
    if name == NONE.name:
        return [MISSING, MISSING]
    bounds = shown.change.interval
    between = MISSING if bounds is None else f"{_signed(bounds[0])} to {_signed(bounds[1])}"
    change = _signed(shown.change.value)
    return [f"**{change}**" if shown.is_more_than_chance else change, between]


def _signed(value: float | None) -> str:
    return MISSING if value is None else f"{value:+.3f}".replace("-", "−")


def robustness_csv(rows: Sequence[PerturbedRow]) -> str:
    """A line for each set and perturbation."""
    lines: list[dict[str, Any]] = []
    for dataset, changes in summarise_robustness(rows).items():
        for name, shown in changes.items():
            low, high = shown.giou.interval or (None, None)
            change_low, change_high = shown.change.interval or (None, None)
            lines.append(
                {
                    "set": dataset,
                    "perturbation": name,
                    "questions": shown.giou.count,
                    "groups": shown.giou.groups,
                    "giou": shown.giou.value,
                    "giou_low": low,
                    "giou_high": high,
                    "change": shown.change.value,
                    "change_low": change_low,
                    "change_high": change_high,
                    "no_mask": shown.withheld.value,
                }
            )
    return table_csv(lines)
