"""Why the answer is what it is, in one picture: image, mask, similarity map and votes.

Drawn at its final size, since a result is waited for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from PIL import Image, ImageDraw

from ..case import Case, Finding, Result
from ..intensity import to_rgb8
from ..lettering import fit, font, wrap
from ..painting import (
    BACKGROUND,
    DISCLAIMER,
    MUTED,
    SIMILARITY_LABEL,
    TEXT,
    colour_of,
    draw_scale,
    outline,
    with_similarity,
)
from .build import finding_names
from .votes import Vote, tally
from .wording import OUTSIDE_CAPTION, diagnosis_words, length, one_line, percent, sentence

MARGIN, GAP = 24, 36
SIDE_BY_SIDE = (560, 560)
STACKED = (1156, 400)
WIDEST_SIDE_BY_SIDE = 1.5
"""Width over height from which the two pictures stand above each other."""
BAR = 84
"""Pixels at the right of the similarity map for its scale."""
SHORTEST_SCALE = 120
TITLE_WIDTH = 260
NETWORK = 0.01
"""Share of the image from which a thin mask is a network; below it is a small lesion."""
QUESTION_LINES = 3
MAX_VOTES, MAX_FINDINGS = 5, 6
LINE, ROW, SWATCH = 22, 30, 20
TRACK, FILL, ALARM = "#2a2e33", "#00a3c4", "#ffb000"


@dataclass(frozen=True)
class _Layout:
    """Pixels.

    Attributes:
        panel: (width, height) of each of the two pictures.
        left, right: (x, y) of their upper left corners.
        width: of the whole.
        bottom: y below both pictures.
    """

    panel: tuple[int, int]
    left: tuple[int, int]
    right: tuple[int, int]
    width: int
    bottom: int


@dataclass(frozen=True)
class _Line:
    text: str
    colour: str = TEXT
    swatch: str | None = None
    size: int = 14
    indent: int = 0


def explanation_picture(result: Result) -> Image.Image:
    """Image with mask, similarity map with its scale, findings, and diagnoses with their votes.

    Pixels are drawn in their physical proportions.

    Raises:
        ValueError: if map or mask and image differ in size.
    """
    case = result.case
    _check_sizes(result)
    question = _question_lines(result.query.text)
    layout = _layout(case, top=MARGIN + len(question) * 26 + 34)
    column = (layout.width - 2 * MARGIN - GAP) // 2
    findings = _wrapped(_finding_lines(result), column)
    diagnoses = _wrapped(_diagnosis_lines(result), column)
    votes = tally(result)[:MAX_VOTES]
    text_top = layout.bottom + 26
    votes_top = text_top + len(diagnoses) * LINE + 10
    bottom = max(text_top + len(findings) * LINE, votes_top + len(votes) * ROW)
    picture = Image.new("RGB", (layout.width, bottom + 52), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    _write(draw, question, (MARGIN, MARGIN - 6), step=26)
    _draw_panels(picture, draw, result, layout)
    _write(draw, findings, (MARGIN, text_top))
    right = MARGIN + column + GAP
    _write(draw, diagnoses, (right, text_top))
    for number, vote in enumerate(votes):
        place = (right, votes_top + number * ROW)
        _draw_vote(draw, vote, len(result.samples.answers), place, column)
    draw.text((MARGIN, bottom + 22), DISCLAIMER, MUTED, font(12))
    return picture


def _check_sizes(result: Result) -> None:
    masks = [("mask", finding.mask) for finding in result.findings]
    for name, array in [("map", result.similarity), *masks]:
        if array.shape != result.case.size:
            raise ValueError(f"{name} {array.shape} does not fit the image {result.case.size}")


# --------------------------------------------------------------------------- layout


def _layout(case: Case, top: int) -> _Layout:
    height, width = (float(side) for side in case.size)
    if case.geometry is not None:
        height *= case.geometry.spacing[1] / case.geometry.spacing[0]
    beside = width <= WIDEST_SIDE_BY_SIDE * height
    room = SIDE_BY_SIDE if beside else STACKED
    scale = min(room[0] / width, room[1] / height)
    panel = (max(1, round(width * scale)), max(1, round(height * scale)))
    total = 2 * MARGIN + 2 * SIDE_BY_SIDE[0] + GAP + BAR
    if beside:
        step = max(panel[0] + GAP, TITLE_WIDTH)
        start = (total - step - panel[0] - BAR) // 2
        left, right = (start, top), (start + step, top)
        bottom = top + panel[1]
    else:
        start = (total - panel[0] - BAR) // 2
        left, right = (start, top), (start, top + panel[1] + GAP)
        bottom = right[1] + max(panel[1], SHORTEST_SCALE)
    return _Layout(panel, left, right, total, bottom)


def _wrapped(lines: list[_Line], width: int) -> list[_Line]:
    wrapped = []
    for line in lines:
        indent = SWATCH if line.swatch else 0
        room = width - indent
        for number, text in enumerate(wrap(line.text, room, line.size)):
            shown = replace(line, text=fit(text, room, line.size))
            wrapped.append(shown if number == 0 else replace(shown, swatch=None, indent=indent))
    return wrapped


# --------------------------------------------------------------------------- words


def _question_lines(query: str) -> list[_Line]:
    lines = _wrapped([_Line(one_line(query), size=17)], 2 * SIDE_BY_SIDE[0])
    if len(lines) > QUESTION_LINES:
        last = lines[QUESTION_LINES - 1]
        return [*lines[: QUESTION_LINES - 1], replace(last, text=f"{last.text} …")]
    return lines


def _finding_lines(result: Result) -> list[_Line]:
    lines = [_Line("Findings", MUTED)]
    named = list(zip(finding_names(result), result.findings, strict=True))
    for number, (name, finding) in enumerate(named[:MAX_FINDINGS]):
        swatch = colour_of(number) if finding.mask.any() else None
        lines.append(_Line(f"{name}: {_finding_words(finding)}", swatch=swatch))
    if not named:
        lines.append(_Line("Nothing was found in this image"))
    if len(named) > MAX_FINDINGS:
        lines.append(_Line(f"… and {len(named) - MAX_FINDINGS} more, see report.md", MUTED))
    refuted = sum(claim.verdict == "contradicted" for claim in result.claims)
    if refuted:
        text = f"The mask contradicts {refuted} of {len(result.claims)} statements of the reasoning"
        lines.append(_Line(f"{text}; see report.md.", ALARM))
    return lines


def _finding_words(finding: Finding) -> str:
    presence = f"presence {percent(finding.confidence)}"
    if not finding.mask.any():
        return f"not found, {presence}"
    sizes = finding.measurements
    unit, word = ("mm", "mm") if "area_mm2" in sizes else ("px", "pixels")
    longest, across = (sizes[f"{side}_diameter_{unit}"] for side in ("longest", "perpendicular"))
    return f"{length(longest, unit)} × {length(across, unit)} {word}, {presence}"


def _diagnosis_lines(result: Result) -> list[_Line]:
    answers = len(result.samples.answers)
    heading = f"Diagnosis, from {answers} answers" if answers > 1 else "Diagnosis"
    colour = ALARM if result.diagnosis.uncertain else TEXT
    lines = [_Line(heading, MUTED), _Line(sentence(diagnosis_words(result.diagnosis)), colour)]
    if result.familiarity is not None and result.familiarity.is_outside:
        lines.append(_Line(f"{OUTSIDE_CAPTION}.", ALARM))
    return lines


# --------------------------------------------------------------------------- drawing


def _write(
    draw: ImageDraw.ImageDraw, lines: list[_Line], place: tuple[int, int], step: int = LINE
) -> None:
    left, top = place
    for number, line in enumerate(lines):
        y = top + number * step
        if line.swatch:
            draw.rectangle((left, y + 3, left + 11, y + 14), fill=line.swatch)
        indent = SWATCH if line.swatch else line.indent
        draw.text((left + indent, y), line.text, line.colour, font(line.size))


def _draw_panels(
    picture: Image.Image, draw: ImageDraw.ImageDraw, result: Result, layout: _Layout
) -> None:
    image = Image.fromarray(to_rgb8(result.case)).resize(layout.panel, Image.Resampling.LANCZOS)
    coloured = with_similarity(image, result.similarity)
    for number, finding in enumerate(result.findings):
        if finding.mask.any():
            outline(image, finding.mask, colour_of(number), NETWORK)
    picture.paste(image, layout.left)
    picture.paste(coloured, layout.right)
    for title, (x, y) in (("Image and mask", layout.left), (SIMILARITY_LABEL, layout.right)):
        draw.text((x, y - 24), title[:1].upper() + title[1:], MUTED, font(14))
    x, y = layout.right
    draw_scale(picture, (x + layout.panel[0] + 14, y), max(layout.panel[1], SHORTEST_SCALE))


def _draw_vote(
    draw: ImageDraw.ImageDraw, vote: Vote, answers: int, place: tuple[int, int], width: int
) -> None:
    """Name, bar and numbers of one diagnosis."""
    left, top = place
    name_width, numbers_width = round(0.44 * width), 168 if answers else 60
    bar = (left + name_width + 12, top + 7, left + width - numbers_width, top + 19)
    name = vote.label or "names no diagnosis"
    draw.text((left, top + 4), fit(name, name_width, 14), TEXT if vote.label else MUTED, font(14))
    draw.rectangle(bar, fill=TRACK)
    share = vote.confidence if vote.confidence is not None else vote.answers / max(answers, 1)
    share = min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0
    if share > 0:
        length = max(1, round(share * (bar[2] - bar[0])))
        shade = FILL if vote.confidence is not None else MUTED
        draw.rectangle((bar[0], bar[1], bar[0] + length, bar[3]), fill=shade)
    numbers = [percent(vote.confidence)] if vote.confidence is not None else []
    numbers += [f"{vote.answers} of {answers} votes"] if answers else []
    draw.text((bar[2] + 10, top + 4), " · ".join(numbers), TEXT, font(13))
