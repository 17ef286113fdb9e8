"""Pages of small pictures, to see a whole cohort's answers at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from ..lettering import fit, font, wrap
from ..painting import DISCLAIMER
from .files import replace_file
from .layout import THUMBNAIL_FILE, Layout
from .manifest import DONE
from .thumbnail import COLOURS, SIDE

COLUMNS, ROWS = 4, 3
MAX_CELLS = 480
"""Larger cohorts are shown by a part that is spread evenly; the table has everything."""
GAP = 20
HEADER = 64
FOOTER = 40
LINE = 19
CAPTION_LINES = 6
CAPTION = CAPTION_LINES * LINE + 8
BACKGROUND, CELL_BACKGROUND = (16, 18, 20), (30, 33, 37)
TEXT, MUTED, ALARM = (232, 234, 237), (154, 160, 166), (255, 138, 128)
_MOST_LINES = (SIDE - 60) // LINE
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class _Line:
    text: str
    colour: Colour = TEXT
    size: int = 14


def write_pages(table: Sequence[dict[str, Any]], layout: Layout, model: str) -> list[Path]:
    """Write all pages, and remove those of an earlier, longer sheet.

    Args:
        table: from `table.rows`; pages follow its order.
        model: name for the heading.

    Raises:
        Sim4SegError: if a page cannot be written.
    """
    shown = _spread(table, MAX_CELLS)
    pages = [shown[at : at + COLUMNS * ROWS] for at in range(0, len(shown), COLUMNS * ROWS)]
    paths = []
    for number, cells in enumerate(pages, start=1):
        title = f"Page {number} of {len(pages)}  ·  {len(table)} answers of {model}"
        if len(shown) < len(table):
            title += f", {len(shown)} of them shown"
        page = draw_page(cells, layout.out, title)
        path = layout.page(number)
        replace_file(path, lambda temporary, page=page: page.save(temporary, format="PNG"))  # type: ignore[misc]
        paths.append(path)
    for path in set(layout.finished_files()) - set(paths):
        if path.suffix == ".png":
            path.unlink(missing_ok=True)
    return paths


def draw_page(cells: Sequence[dict[str, Any]], out: Path, title: str) -> Image.Image:
    """One page; its height follows the number of rows."""
    rows = -(-len(cells) // COLUMNS)
    width = GAP + COLUMNS * (SIDE + GAP)
    height = HEADER + rows * (SIDE + CAPTION + GAP) + FOOTER
    page = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(page)
    draw.text((GAP, 20), title, TEXT, font(19))
    draw.text((GAP, height - FOOTER + 8), DISCLAIMER, MUTED, font(14))
    for number, cell in enumerate(cells):
        left = GAP + number % COLUMNS * (SIDE + GAP)
        top = HEADER + number // COLUMNS * (SIDE + CAPTION + GAP)
        _draw_cell(page, cell, out, (left, top))
    return page


def _draw_cell(page: Image.Image, row: dict[str, Any], out: Path, place: tuple[int, int]) -> None:
    left, top = place
    draw = ImageDraw.Draw(page)
    draw.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), fill=CELL_BACKGROUND)
    picture = _picture(out / row["folder"]) if row["status"] == DONE else None
    if picture is not None:
        page.paste(
            picture, (left + (SIDE - picture.width) // 2, top + (SIDE - picture.height) // 2)
        )
    else:
        message = row["reason"] or "the picture is missing"
        _write(draw, (left + 14, top + 14), [_Line("No answer", ALARM, 16)], SIDE - 28)
        wrapped = [_Line(line, MUTED) for line in wrap(message, SIDE - 28, 14)[:_MOST_LINES]]
        _write(draw, (left + 14, top + 44), wrapped, SIDE - 28)
    _write(draw, (left, top + SIDE + 6), _caption(row), SIDE)


def _picture(folder: Path) -> Image.Image | None:
    try:
        with Image.open(folder / THUMBNAIL_FILE) as picture:
            return picture.convert("RGB")
    except (OSError, ValueError):
        return None


def _caption(row: dict[str, Any]) -> list[_Line]:
    lines = [_Line(row["id"], TEXT, 15), _Line(row["query_name"], MUTED, 13)]
    if row["status"] != DONE:
        return lines
    lines.append(_finding_line(row))
    if row["diagnosis"]:
        lines.append(_Line(f"{row['diagnosis']} ({_percent(row['confidence'])})"))
    else:
        lines.append(_Line("no diagnosis", MUTED))
    if row["warnings"]:
        wrapped = wrap(f"! {row['warnings']}", SIDE, 13)
        lines += [_Line(line, ALARM, 13) for line in wrapped[:2]]
    return lines


def _finding_line(row: dict[str, Any]) -> _Line:
    presence = _percent(row["presence_confidence"])
    if not row["present"]:
        return _Line(f"not found: {row['finding'] or 'anything'} (presence {presence})", MUTED)
    return _Line(f"{row['finding']}: {_size(row)} (presence {presence})", COLOURS[0])


def _size(row: dict[str, Any]) -> str:
    if row["volume_ml"] is not None:
        first, last = row["first_slice"], row["last_slice"]
        return f"{row['volume_ml']:.3g} ml, {row['slice_axis']} = {first} to {last}"
    if row["area_mm2"] is not None:
        return f"{row['area_mm2']:.4g} mm²"
    return f"{row['area_px']:.0f} px"


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0%}"


def _spread(table: Sequence[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    if len(table) <= most:
        return list(table)
    return [table[number * len(table) // most] for number in range(most)]


# --------------------------------------------------------------------------- text


def _write(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], lines: Sequence[_Line], width: int
) -> None:
    for number, line in enumerate(lines):
        text = fit(line.text, width, line.size)
        draw.text((place[0], place[1] + number * LINE), text, line.colour, font(line.size))
