"""Bars of what each perturbation leaves and what it takes. Knows no files."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..means import OVER_SETS, Mean
from ..plots import BLUE, DPI, GREY, ORANGE
from .asking import PerturbedRow
from .perturbations import NONE
from .tables import Change, summarise_robustness

MUCH = 0.02
"""Drop of gIoU from which the set that loses most is named."""
_LIGHT = "#b9d6e8"


def robustness_figure(rows: Sequence[PerturbedRow]) -> Figure:
    """Left gIoU under each perturbation, right its change with the change of every set."""
    table = summarise_robustness(rows)
    overall = table.get(OVER_SETS) or next(iter(table.values()))
    sets = {name: changes for name, changes in table.items() if name != OVER_SETS}
    names = list(overall)
    figure = Figure(figsize=(10.4, 1.5 + 0.42 * len(names)), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _draw_quality(left, overall, names)
    _draw_changes(right, overall, sets, names)
    title = f"{OVER_SETS} ({len(sets)} sets)" if OVER_SETS in table else next(iter(sets))
    figure.suptitle(f"Masks of changed images, {title}", fontsize=11)
    return figure


def _draw_quality(axes: Axes, overall: dict[str, Change], names: Sequence[str]) -> None:
    for place, name in enumerate(names):
        giou = overall[name].giou
        axes.barh(place, giou.value or 0.0, 0.62, color=GREY if name == NONE.name else BLUE)
        _whisker(axes, giou, place)
        axes.text(0.012, place, f"{giou.value or 0:.3f}", va="center", color="white", fontsize=9)
    axes.axvline(overall[NONE.name].giou.value or 0.0, color=GREY, lw=1, ls=(0, (2, 3)), zorder=0)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set(xlim=(0, 1), xlabel="gIoU, 95 % interval")
    axes.invert_yaxis()
    _plain(axes)


def _draw_changes(
    axes: Axes, overall: dict[str, Change], sets: dict[str, dict[str, Change]], names: Sequence[str]
) -> None:
    axes.axvline(0, color=GREY, lw=1, ls=(0, (2, 3)), zorder=0)
    for place, name in enumerate(names):
        if name == NONE.name:
            continue
        shown = overall[name]
        colour = ORANGE if shown.is_more_than_chance else _LIGHT
        axes.barh(place, shown.change.value or 0.0, 0.62, color=colour, zorder=1)
        _whisker(axes, shown.change, place)
        _draw_sets(axes, {s: c[name] for s, c in sets.items() if name in c}, place)
    axes.plot([], [], "o", color=BLUE, ms=4, mfc="white", label="a set (findings)")
    axes.margins(x=0.1)
    axes.barh([0], [0], color=ORANGE, label="interval leaves out zero")
    axes.barh([0], [0], color=_LIGHT, label="may be chance")
    assert isinstance(axes.figure, Figure)
    axes.figure.legend(loc="outside lower right", ncols=3, fontsize=8, frameon=False)
    axes.set(xlabel="change of gIoU against the image as it is, paired 95 % interval")
    _plain(axes)


def _draw_sets(axes: Axes, sets: dict[str, Change], place: int) -> None:
    """A point a set; the one that loses most is named, if it loses much."""
    points = {s: c.change.value for s, c in sets.items() if c.change.value is not None}
    axes.plot(
        list(points.values()), [place] * len(points), "o", color=BLUE, ms=4, mfc="white", zorder=3
    )
    worst = min(points, key=lambda name: points[name], default=None)
    if worst is not None and points[worst] <= -MUCH:
        label = f"{worst} ({sets[worst].change.count})"
        axes.annotate(
            label, (points[worst], place), (0, 5), textcoords="offset points", fontsize=8,
            ha="center", va="bottom", color=BLUE,
        )  # fmt: skip


def _whisker(axes: Axes, mean: Mean, place: int) -> None:
    if mean.interval is not None:
        axes.plot(mean.interval, [place] * 2, color="black", lw=1.4, zorder=2)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    axes.tick_params(axis="y", length=0)
