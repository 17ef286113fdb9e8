"""Pictures of a result for people to look at. Knows nothing of models or folders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from PIL import Image, ImageDraw

from .case import Case, Finding, Result
from .intensity import to_rgb8
from .lettering import fit, font, wrap
from .painting import (
    BACKGROUND,
    DISCLAIMER,
    MUTED,
    SIMILARITY_LABEL,
    TEXT,
    colour_of,
    draw_scale,
    fill_and_outline,
    with_similarity,
)
from .report.wording import OUTSIDE_CAPTION, diagnosis_words

MIN_SIDE = 512
MAX_SIDE = 1400

_MARGIN = 14
_LINE_HEIGHT = 22
_LETTERS, _SMALL_LETTERS = 14, 11
_SWATCH, _BESIDE_SWATCH = 12, 20
_MAX_CAPTION_LINES = 12
_SCALE_ROOM = 76


@dataclass(frozen=True)
class _Caption:
    """One line under the picture; a swatch stands before it if it has a colour."""

    text: str
    colour: str | None = None
    muted: bool = False

    @property
    def indent(self) -> int:
        return _BESIDE_SWATCH if self.colour else 0

    @property
    def size(self) -> int:
        return _SMALL_LETTERS if self.muted else _LETTERS


@dataclass(frozen=True)
class _Layout:
    """Pixels (width, height) of the finished picture and of the image at its top."""

    whole: tuple[int, int]
    image: tuple[int, int]
    left: int
    captions: list[_Caption]


def overlay(case: Case, result: Result) -> Image.Image:
    """The image with every finding filled and outlined, and a caption below it.

    Pixels are drawn in their physical proportions. If nothing was found, the image stays
    bare and the caption says so.

    Returns:
        RGB, 512 to 1400 px on its longest side.

    Raises:
        ValueError: if a mask and the image differ in size.
    """
    for finding in result.findings:
        if finding.mask.shape != case.size:
            raise ValueError(f"mask {finding.mask.shape} does not fit the image {case.size}")
    layout = _layout(case, _overlay_captions(result), beside=0)
    image = _scaled(case, layout)
    for number, finding in enumerate(result.findings):
        if finding.mask.any():
            fill_and_outline(image, finding.mask, colour_of(number))
    return _framed(image, layout)


def similarity_picture(result: Result) -> Image.Image:
    """RVLS2M's similarity map over the grey image, with its scale.

    Returns:
        RGB, 512 to 1400 px on its longest side.

    Raises:
        ValueError: if map and image differ in size.
    """
    case = result.case
    if result.similarity.shape != case.size:
        raise ValueError(f"map {result.similarity.shape} does not fit the image {case.size}")
    captions = [
        _Caption(f"Query: {_one_line(result.query.text)}"),
        _Caption(f"Colours: {SIMILARITY_LABEL}"),
        _Caption(DISCLAIMER, muted=True),
    ]
    layout = _layout(case, captions, beside=_SCALE_ROOM)
    picture = _framed(with_similarity(_scaled(case, layout), result.similarity), layout)
    left = layout.whole[0] - _SCALE_ROOM + _MARGIN
    draw_scale(picture, (left, _MARGIN), max(1, layout.image[1] - 2 * _MARGIN))
    return picture


# --------------------------------------------------------------------------- words


def _one_line(text: str, limit: int = 160) -> str:
    """Free text without control characters that would break the layout."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def _overlay_captions(result: Result) -> list[_Caption]:
    captions = [
        _Caption(_present_text(finding), colour_of(number))
        for number, finding in enumerate(result.findings)
        if finding.present
    ]
    absent = [_one_line(finding.label, 60) for finding in result.findings if not finding.present]
    if absent:
        captions.append(_Caption(f"Nothing found for: {', '.join(absent)}"))
    if not result.findings:
        captions.append(_Caption("Nothing found in this image"))
    if result.familiarity is not None and result.familiarity.is_outside:
        captions.append(_Caption(OUTSIDE_CAPTION))
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


def _image_size(case: Case, beside: int, below: int) -> tuple[int, int]:
    """(width, height) in px of the drawn image, so that the whole picture keeps its limits."""
    height, width = (float(side) for side in case.size)
    if case.geometry is not None:
        along_i, along_j, _ = case.geometry.spacing
        height *= along_j / along_i
    room_across, room_down = MAX_SIDE - beside, MAX_SIDE - below
    scale = min(max(1.0, MIN_SIDE / max(height, width)), room_across / width, room_down / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _layout(case: Case, captions: Iterable[_Caption], beside: int) -> _Layout:
    """Where the image goes, and its captions broken into lines.

    Args:
        beside: px kept free at the right of the image.
    """
    width, height = _image_size(case, beside, _caption_height(_MAX_CAPTION_LINES))
    whole = max(width + beside, MIN_SIDE)
    lines = _wrapped(captions, whole - 2 * _MARGIN)
    return _Layout(
        whole=(whole, height + _caption_height(len(lines))),
        image=(width, height),
        left=(whole - beside - width) // 2,
        captions=lines,
    )


def _caption_height(lines: int) -> int:
    return 2 * _MARGIN + lines * _LINE_HEIGHT


def _wrapped(captions: Iterable[_Caption], width: int) -> list[_Caption]:
    lines: list[_Caption] = []
    for caption in captions:
        room = width - caption.indent
        for number, text in enumerate(wrap(caption.text, room, caption.size)):
            shown = fit(text, room, caption.size)
            lines.append(_Caption(shown, None if number else caption.colour, caption.muted))
    if len(lines) > _MAX_CAPTION_LINES:
        kept = lines[: _MAX_CAPTION_LINES - 2]
        lines = [*kept, _Caption("… and more, see result.json", muted=True), lines[-1]]
    return lines


# --------------------------------------------------------------------------- drawing


def _scaled(case: Case, layout: _Layout) -> Image.Image:
    """Viewers smooth what they enlarge; what is shrunk must be averaged."""
    image = Image.fromarray(to_rgb8(case)).convert("RGB")
    enlarges = layout.image[1] > image.height
    filters = Image.Resampling
    return image.resize(layout.image, filters.BICUBIC if enlarges else filters.LANCZOS)


def _framed(image: Image.Image, layout: _Layout) -> Image.Image:
    """The image on the dark ground, its captions below it."""
    picture = Image.new("RGB", layout.whole, BACKGROUND)
    picture.paste(image, (layout.left, 0))
    draw = ImageDraw.Draw(picture)
    top = layout.image[1] + _MARGIN
    for number, line in enumerate(layout.captions):
        middle = top + number * _LINE_HEIGHT + _LINE_HEIGHT // 2
        if line.colour is not None:
            upper = middle - _SWATCH // 2
            draw.rectangle(
                (_MARGIN, upper, _MARGIN + _SWATCH - 1, upper + _SWATCH - 1), line.colour
            )
        draw.text(
            (_MARGIN + line.indent, middle),
            line.text,
            MUTED if line.muted else TEXT,
            font(line.size),
            anchor="lm",
        )
    return picture
