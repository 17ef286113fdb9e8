"""Chest films, each asked for one structure after another: a glance shows whether masks obey.

Films are chosen before they are asked, evenly over those that have every column, so that the sheet
shows what is typical rather than what is best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from ...records import Record
from ..outlines import GROUND, MUTED, PREDICTED_COLOUR, TEXT, TRUE_COLOUR, outline
from ..overlap import dice
from .plan import Visit

COLUMNS = ("right lung", "left lung", "heart", "ground glass opacities")
"""In the order in which a film shows them: the patient's right is at the left."""
FILMS = 3
LONGEST_NAME = 28
"""Letters of a film's name that have room beside a cell's score."""
_SIDE, _CAPTION, _TOP, _GAP, _NAMES = 2.9, 0.3, 0.85, 0.06, 0.24


@dataclass(frozen=True)
class Shown:
    """One cell of the sheet: image uint8 (H, W, 3), masks bool (H, W)."""

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    truth: NDArray[np.bool_]


class ContactSheet:
    """Watches an evaluation and keeps the films that were chosen; see `asking.Watcher`."""

    def __init__(self, films: Sequence[str]) -> None:
        """
        Args:
            films: ids of the records to show.
        """
        self._films = tuple(films)
        self._kept: dict[tuple[str, str], Shown] = {}

    @classmethod
    def of(cls, visits: Sequence[Visit], count: int = FILMS) -> ContactSheet:
        """Of films that are asked for every column, spread evenly over the visits."""
        whole = [
            visit.record.id
            for visit in visits
            if set(COLUMNS) <= {question.asked for question in visit.structures}
        ]
        count = min(count, len(whole))
        return cls([whole[(2 * place + 1) * len(whole) // (2 * count)] for place in range(count)])

    def __call__(
        self,
        record: Record,
        image: NDArray[np.uint8],
        asked: str,
        mask: NDArray[np.bool_],
        truth: NDArray[np.bool_],
    ) -> None:
        """Look at one answer."""
        if record.id in self._films and asked in COLUMNS:
            self._kept[record.id, asked] = Shown(image, mask.copy(), truth)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not self._kept

    def figure(self) -> Figure:
        """A row a film, a column a query."""
        heights = [self._height(film) for film in self._films]
        width = len(COLUMNS) * (_SIDE + _GAP) + _GAP
        height = _TOP + sum(heights) + len(heights) * _CAPTION
        figure = Figure(figsize=(width, height), dpi=120, facecolor=GROUND)
        _headline(figure, width, height)
        top = _TOP
        for film, tall in zip(self._films, heights, strict=True):
            for place, asked in enumerate(COLUMNS):
                left = _GAP + place * (_SIDE + _GAP)
                box = (left / width, 1 - (top + tall) / height, _SIDE / width, tall / height)
                axes = figure.add_axes(box)
                _draw(axes, self._kept[film, asked])
            figure.text(
                1 - _GAP / width,
                1 - (top + tall + 0.08) / height,
                film.rpartition("/")[2][:LONGEST_NAME],
                color=MUTED,
                fontsize=8,
                ha="right",
                va="top",
            )
            top += tall + _CAPTION
        return figure

    def _height(self, film: str) -> float:
        """Inches that a film takes at a column's width."""
        rows, columns = self._kept[film, COLUMNS[0]].truth.shape
        return _SIDE * rows / columns


def _draw(axes: Axes, shown: Shown) -> None:
    axes.set_axis_off()
    axes.imshow(shown.image)
    outline(axes, shown.truth, TRUE_COLOUR)
    outline(axes, shown.mask, PREDICTED_COLOUR)
    overlap = f"Dice {dice(shown.mask, shown.truth):.2f}" if shown.mask.any() else "no mask"
    axes.text(
        0.0, -0.025, overlap, transform=axes.transAxes, va="top", fontsize=9, color=TEXT,
    )  # fmt: skip


def _headline(figure: Figure, width: float, height: float) -> None:
    line = 1 - 0.25 / height
    figure.text(
        _GAP / width,
        line,
        "One film, asked for one structure after another",
        color=TEXT,
        fontsize=12,
        va="center",
    )
    figure.legend(
        handles=[
            Line2D([], [], color=TRUE_COLOUR, label="true outline"),
            Line2D([], [], color=PREDICTED_COLOUR, label="model's outline"),
        ],
        loc="center right",
        bbox_to_anchor=(1 - _GAP / width, line),
        ncols=2,
        fontsize=9,
        labelcolor=TEXT,
        frameon=False,
    )
    for place, asked in enumerate(COLUMNS):
        middle = (_GAP + place * (_SIDE + _GAP) + _SIDE / 2) / width
        y = 1 - (_TOP - _NAMES / 2 - 0.02) / height
        figure.text(middle, y, f"“{asked}”", color=TEXT, ha="center", va="center")
