"""A picture of a volume's result: slices through the finding in rows, and presence below.

matplotlib is imported inside the functions and never through pyplot, whose global state is
neither cheap nor safe in threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..painting import BACKGROUND, DISCLAIMER, MUTED, TEXT, colour_of
from ..report.wording import diagnosis_words
from .measuring import millilitres
from .result import VolumeResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS, ROWS = 4, 3

_DPI = 100
_WIDTH = 1200
_CURVE_HEIGHT = 150
_HEADER_HEIGHT = 74
_FOOTER_HEIGHT = 30
_TILE_SIDE = _WIDTH // COLUMNS
_MASK, _KEY = colour_of(0), colour_of(1)


def montage(result: VolumeResult) -> Figure:
    """Up to twelve slices in the order of the stack, outlined where something was found.

    Slices through the finding where there is one, else over the whole stack; key slices have
    an orange label. Below, the presence of every slice.

    Returns:
        A figure 1200 px wide; see `figures.to_rgb` and `figures.save_figure`.
    """
    from matplotlib.figure import Figure

    numbers = shown_slices(result)
    rows = -(-len(numbers) // COLUMNS)
    tile_height = _tile_height(result)
    height = _HEADER_HEIGHT + rows * tile_height + _CURVE_HEIGHT + _FOOTER_HEIGHT
    figure = Figure(figsize=(_WIDTH / _DPI, height / _DPI), dpi=_DPI, facecolor=BACKGROUND)
    _write_header(figure, result, height)
    for place, number in enumerate(numbers):
        row, column = divmod(place, COLUMNS)
        top = _HEADER_HEIGHT + row * tile_height
        axes = figure.add_axes(
            (
                column / COLUMNS,
                1 - (top + tile_height) / height,
                1 / COLUMNS,
                tile_height / height,
            )
        )
        _draw_slice(axes, result, number)
    _draw_presence(figure, result, height)
    return figure


def shown_slices(result: VolumeResult) -> list[int]:
    """Which slices of the view the montage shows, ascending: a full row wherever there is
    one, key slices among them."""
    marked = [n for n, plane in enumerate(result.view.of(result.mask)) if plane.any()]
    first, last = (marked[0], marked[-1]) if marked else (0, result.view.count - 1)
    missing = max(0, COLUMNS - (last - first + 1))
    first = max(0, min(first - missing // 2, result.view.count - COLUMNS))
    last = min(result.view.count - 1, max(last, first + COLUMNS - 1))
    count = min(COLUMNS * ROWS, last - first + 1)
    shown = {round(float(number)) for number in np.linspace(first, last, count)}
    for key in result.key_slices:
        number = result.view.index(key.index)  # its own inverse
        if first <= number <= last and number not in shown:
            shown.remove(min(shown, key=lambda other: abs(other - number)))
            shown.add(number)
    return sorted(shown)


def _tile_height(result: VolumeResult) -> int:
    """px of a tile in the slices' physical proportions, within reason."""
    _, down, across = result.view.spacing
    stack = result.view.of(result.case.voxels)
    proportion = stack.shape[1] * down / (stack.shape[2] * across)
    return round(_TILE_SIDE * min(max(proportion, 0.4), 1.25))


def _draw_slice(axes: Axes, result: VolumeResult, number: int) -> None:
    _, down, across = result.view.spacing
    plane = result.view.of(result.case.voxels)[number]
    shown = plane if result.case.is_colour else result.window.to_uint8(plane)
    axes.set_axis_off()
    axes.imshow(
        shown, cmap="gray", vmin=0, vmax=255, aspect=down / across, interpolation="antialiased"
    )
    mask = result.view.of(result.mask)[number]
    if mask.any():
        _draw_mask(axes, mask)
    index = result.view.index(number)
    is_key = index in {key.index for key in result.key_slices}
    axes.text(
        0.03,
        0.97,
        f"{result.view.index_axis} = {index}{' (key)' if is_key else ''}",
        transform=axes.transAxes,
        color=_KEY if is_key else TEXT,
        fontsize=9,
        verticalalignment="top",
        bbox={"facecolor": "#000000", "alpha": 0.55, "edgecolor": "none", "pad": 2},
    )


def _draw_mask(axes: Axes, mask: NDArray[np.bool_]) -> None:
    # A rim of background lets contours close where a mask touches the slice's edge.
    rows, columns = mask.shape
    axes.contour(
        np.arange(-1, columns + 1),
        np.arange(-1, rows + 1),
        np.pad(mask, 1).astype(np.float32),
        levels=[0.5],
        colors=[_MASK],
        linewidths=1.3,
    )
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)


def _draw_presence(figure: Figure, result: VolumeResult, height: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes = figure.add_axes(
        (0.06, (_FOOTER_HEIGHT + 34) / height, 0.91, (_CURVE_HEIGHT - 48) / height),
        facecolor=BACKGROUND,
    )
    seen = [score for score in result.slices if score.presence is not None]
    presence = np.array([score.presence for score in seen], dtype=float)
    axes.plot([score.index for score in seen], presence, color=TEXT, linewidth=1.2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if result.slice_range is not None:
        first, last = result.slice_range
        axes.axvspan(first - 0.5, last + 0.5, color=_MASK, alpha=0.2, linewidth=0)
    for key in result.key_slices:
        axes.axvline(key.index, color=_KEY, linewidth=1)
    axes.set_ylim(0, 1)
    axes.set_xlim(-0.5, result.view.count - 0.5)
    axes.set_ylabel("presence", color=MUTED, fontsize=8)
    axes.set_xlabel(f"slice along {result.view.index_axis}", color=MUTED, fontsize=8)
    axes.tick_params(colors=MUTED, labelsize=7)
    for spine in axes.spines.values():
        spine.set_color(MUTED)


def _write_header(figure: Figure, result: VolumeResult, height: int) -> None:
    finding = result.findings[0]
    if finding.present:
        found = f"{finding.label}: {millilitres(finding)}"
    else:
        found = f"Nothing found for: {finding.label}"
    known = result.diagnosis.label is not None
    diagnosis = f"Diagnosis: {diagnosis_words(result.diagnosis)}" if known else ""
    for line, (text, colour) in enumerate(
        [
            (f"{found}, presence {finding.confidence:.0%}", _MASK if finding.present else TEXT),
            (f"{diagnosis}   {result.view.plane} slices, {result.window.name}".strip(), TEXT),
        ]
    ):
        figure.text(0.012, 1 - (24 + 26 * line) / height, text, color=colour, fontsize=11)
    figure.text(0.012, 10 / height, DISCLAIMER, color=MUTED, fontsize=8)
