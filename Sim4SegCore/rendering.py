"""Pictures of a result for people to look at. Knows nothing of models or folders.

matplotlib is imported inside the functions and never through pyplot, whose global state is
neither cheap nor safe in threads.
"""

from __future__ import annotations

import textwrap
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .case import Case, Finding, Result
from .intensity import to_rgb8
from .report.wording import diagnosis_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MIN_SIDE = 512
MAX_SIDE = 1400
SIMILARITY_LABEL = "similarity to [SEG] (RVLS2M)"
PNG_LEVEL = 3
"""Of zlib: half the time of its default for pictures that are a few percent larger."""
DISCLAIMER = "Research tool. Not for diagnosis or treatment."

_DPI = 100
_MARGIN = 14
_LINE_HEIGHT = 22
_MAX_CAPTION_LINES = 12
_COLOUR_BAR_WIDTH = 96
COLOUR_MAP = "inferno"
BACKGROUND = "#101214"
TEXT = "#e8eaed"
MUTED = "#9aa0a6"
# Told apart by colour-blind eyes, and rare in grey, pink and red tissue.
COLOURS = ("#00d5ff", "#ffb000", "#7dff6b", "#ff6ad5", "#b79cff", "#f4f46a")


@dataclass(frozen=True)
class _Caption:
    """One line under the picture; a swatch stands before it if it has a colour."""

    text: str
    colour: str | None = None
    muted: bool = False


@dataclass(frozen=True)
class _Layout:
    """Pixels (width, height) of the finished figure and of the picture at its top."""

    figure: tuple[int, int]
    picture: tuple[int, int]
    left: int


def overlay(case: Case, result: Result) -> Figure:
    """The image with every finding filled and outlined, and a caption below it.

    Pixels are drawn in their physical proportions. If nothing was found, the image stays
    bare and the caption says so.

    Returns:
        A figure of 512 to 1400 px on its longest side; see `to_rgb` and `save_png`.

    Raises:
        ValueError: if a mask and the image differ in size.
    """
    for finding in result.findings:
        if finding.mask.shape != case.size:
            raise ValueError(f"mask {finding.mask.shape} does not fit the image {case.size}")
    figure, picture, below = _frame(case, _overlay_captions(result), beside=0)
    axes = _add_image(figure, case, picture)
    for finding, colour in zip(result.findings, _colours(result), strict=True):
        if finding.mask.any():
            _draw_mask(axes, finding.mask, colour, picture)
    _draw_captions(figure, below)
    return figure


def similarity_figure(result: Result) -> Figure:
    """RVLS2M's similarity map over the grey image, with its scale.

    Returns:
        A figure of 512 to 1400 px on its longest side; see `to_rgb` and `save_png`.

    Raises:
        ValueError: if map and image differ in size.
    """
    case = result.case
    if result.similarity.shape != case.size:
        raise ValueError(f"map {result.similarity.shape} does not fit the image {case.size}")
    captions = [
        _Caption(f"Query: {_one_line(result.query.text)}"),
        _Caption(DISCLAIMER, muted=True),
    ]
    figure, picture, below = _frame(case, captions, beside=_COLOUR_BAR_WIDTH)
    axes = _add_image(figure, case, picture, grey=True)
    values = np.clip(np.nan_to_num(result.similarity), 0.0, 1.0)
    axes.imshow(
        values,
        cmap=COLOUR_MAP,
        vmin=0.0,
        vmax=1.0,
        alpha=0.2 + 0.45 * values,  # low similarity must not hide the anatomy
        interpolation="bilinear",
        aspect="auto",
    )
    _add_colour_bar(figure, picture)
    _draw_captions(figure, below)
    return figure


def to_rgb(figure: Figure) -> NDArray[np.uint8]:
    """Draw a figure made here into uint8 (H, W, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # Labels may be in a script that the font lacks; boxes are shown, which says enough.
        warnings.filterwarnings("ignore", message="Glyph")
        canvas.draw()
    return np.array(canvas.buffer_rgba(), dtype=np.uint8)[..., :3].copy()


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure made here.

    Raises:
        OSError: if the file cannot be written.
    """
    from PIL import Image

    Image.fromarray(to_rgb(figure)).save(path, format="PNG", compress_level=PNG_LEVEL)


# --------------------------------------------------------------------------- words


def _colours(result: Result) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(len(result.findings))]


def _one_line(text: str, limit: int = 160) -> str:
    """Free text without control characters that would break the layout."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def _overlay_captions(result: Result) -> list[_Caption]:
    captions = [
        _Caption(_present_text(finding), colour)
        for finding, colour in zip(result.findings, _colours(result), strict=True)
        if finding.present
    ]
    absent = [_one_line(finding.label, 60) for finding in result.findings if not finding.present]
    if absent:
        captions.append(_Caption(f"Nothing found for: {', '.join(absent)}"))
    if not result.findings:
        captions.append(_Caption("Nothing found in this image"))
    if result.diagnosis.uncertain:
        captions.append(_Caption(f"Diagnosis {diagnosis_words(result.diagnosis)}"))
    elif result.diagnosis.label:
        diagnosis = _one_line(result.diagnosis.label, 80)
        captions.append(_Caption(f"Diagnosis: {diagnosis} ({result.diagnosis.confidence:.0%})"))
    return [*captions, _Caption(DISCLAIMER, muted=True)]


def _present_text(finding: Finding) -> str:
    sizes = finding.measurements
    size = f"{sizes['area_mm2']:.4g} mm²" if "area_mm2" in sizes else f"{sizes['area_px']:.0f} px"
    return f"{_one_line(finding.label, 80)}: {size}, confidence {finding.confidence:.0%}"


# --------------------------------------------------------------------------- layout


def _picture_size(case: Case, beside: int, below: int) -> tuple[int, int]:
    """(width, height) in px of the drawn image, so that the whole figure keeps its limits."""
    height, width = (float(side) for side in case.size)
    if case.geometry is not None:
        along_i, along_j, _ = case.geometry.spacing
        height *= along_j / along_i
    room_across, room_down = MAX_SIDE - beside, MAX_SIDE - below
    scale = min(max(1.0, MIN_SIDE / max(height, width)), room_across / width, room_down / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _frame(
    case: Case, captions: list[_Caption], beside: int
) -> tuple[Figure, _Layout, list[_Caption]]:
    """An empty dark figure with room for the picture and its caption.

    Args:
        beside: px kept free at the right of the picture.

    Returns:
        The figure, where the picture goes, and the caption broken into lines.
    """
    from matplotlib.figure import Figure

    most_below = _caption_height(_MAX_CAPTION_LINES)
    width, height = _picture_size(case, beside, most_below)
    total_width = max(width + beside, MIN_SIDE)
    lines = _wrap(captions, total_width)
    total = (total_width, height + _caption_height(len(lines)))
    figure = Figure(figsize=(total[0] / _DPI, total[1] / _DPI), dpi=_DPI, facecolor=BACKGROUND)
    left = (total_width - beside - width) // 2
    return figure, _Layout(total, (width, height), left), lines


def _caption_height(lines: int) -> int:
    return 2 * _MARGIN + lines * _LINE_HEIGHT


def _wrap(captions: list[_Caption], width: int) -> list[_Caption]:
    # 9 px is a wide letter of the caption's font; the swatch takes three.
    letters = max(20, (width - 2 * _MARGIN) // 9 - 3)
    lines: list[_Caption] = []
    for caption in captions:
        for index, text in enumerate(textwrap.wrap(caption.text, letters) or [""]):
            lines.append(_Caption(text, caption.colour if index == 0 else None, caption.muted))
    if len(lines) > _MAX_CAPTION_LINES:
        kept = lines[: _MAX_CAPTION_LINES - 2]
        lines = [*kept, _Caption("… and more, see result.json", muted=True), lines[-1]]
    return lines


def _rectangle(layout: _Layout, left: float, top: float, width: float, height: float) -> Any:
    """Pixels from the top left corner as the fractions that matplotlib wants."""
    across, down = layout.figure
    return (left / across, 1 - (top + height) / down, width / across, height / down)


# --------------------------------------------------------------------------- drawing


def _add_image(figure: Figure, case: Case, layout: _Layout, grey: bool = False) -> Axes:
    width, height = layout.picture
    axes = figure.add_axes(_rectangle(layout, layout.left, 0, width, height))
    axes.set_axis_off()
    image = to_rgb8(case)
    if grey:
        luminance = image @ np.array([0.299, 0.587, 0.114])
        image = np.repeat(np.rint(luminance).astype(np.uint8)[:, :, np.newaxis], 3, axis=2)
    axes.imshow(image, aspect="auto", interpolation=_interpolation(case, height))
    return axes


def _interpolation(case: Case, drawn_height: int) -> str:
    """Viewers smooth what they enlarge; what is shrunk must be averaged."""
    return "bicubic" if drawn_height > case.size[0] else "antialiased"


def _draw_mask(axes: Axes, mask: NDArray[np.bool_], colour: str, layout: _Layout) -> None:
    from matplotlib.colors import to_rgb as parse_colour
    from matplotlib.patheffects import Normal, Stroke

    fill = np.zeros((*mask.shape, 4), dtype=np.float32)
    fill[..., :3] = parse_colour(colour)
    fill[..., 3] = mask * 0.24
    axes.imshow(fill, aspect="auto", interpolation="nearest")
    # A rim of background lets contours close where a mask touches the image's edge.
    padded = np.pad(mask, 1).astype(np.float32)
    rows, columns = mask.shape
    contour = axes.contour(
        np.arange(-1, columns + 1),
        np.arange(-1, rows + 1),
        padded,
        levels=[0.5],
        colors=[colour],
        linewidths=1.44,
    )
    contour.set_path_effects([Stroke(linewidth=2.88, foreground="#000000", alpha=0.6), Normal()])
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)


def _add_colour_bar(figure: Figure, layout: _Layout) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    left = layout.figure[0] - _COLOUR_BAR_WIDTH + _MARGIN
    height = max(1, layout.picture[1] - 2 * _MARGIN)
    axes = figure.add_axes(_rectangle(layout, left, _MARGIN, 18, height))
    scale = ScalarMappable(Normalize(0.0, 1.0), cmap=COLOUR_MAP)
    bar: Any = figure.colorbar(scale, cax=axes)
    bar.set_label(SIMILARITY_LABEL, color=TEXT, fontsize=9)
    bar.ax.tick_params(colors=TEXT, labelsize=8)
    bar.outline.set_edgecolor(MUTED)


def _draw_captions(figure: Figure, lines: list[_Caption]) -> None:
    from matplotlib.patches import Rectangle

    width, height = figure.get_size_inches() * _DPI
    bottom = _caption_height(len(lines))
    for index, line in enumerate(lines):
        centre = (bottom - _MARGIN - (index + 0.5) * _LINE_HEIGHT) / height
        if line.colour is not None:
            figure.add_artist(
                Rectangle(
                    (_MARGIN / width, centre - 6 / height),
                    12 / width,
                    12 / height,
                    facecolor=line.colour,
                    transform=figure.transFigure,
                )
            )
        figure.text(
            (_MARGIN + (20 if line.colour else 0)) / width,
            centre,
            line.text,
            color=MUTED if line.muted else TEXT,
            fontsize=8 if line.muted else 10,
            verticalalignment="center_baseline",
            parse_math=False,
        )
