"""One picture to judge a build by: examples of every set with their masks outlined."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from .convert import Built

CELL = 240
CAPTION = 74
GAP = 14
LABEL = 190
INSET = 0.42
"""Side of the magnified inset, as a fraction of the cell."""
TINY = 0.16
"""Targets whose bounding box is smaller than this part of the image get an inset."""
BACKGROUND = (24, 26, 30)
TEXT = (235, 235, 235)
FAINT = (150, 155, 165)
PALETTE = (
    (255, 209, 70), (72, 205, 255), (255, 112, 134), (130, 230, 130),
    (214, 150, 255), (255, 160, 80), (110, 240, 215), (245, 245, 245),
)  # fmt: skip
Box = tuple[int, int, int, int]
Colour = tuple[int, int, int]


def write_contact_sheet(built: Sequence[Built], folder: Path, examples: int) -> None:
    """`contact_sheet.png`: a row for each set; tiny targets are magnified in a corner."""
    sets: dict[str, list[Built]] = defaultdict(list)
    for item in built:
        sets[item.record["dataset"]].append(item)
    if not sets or examples < 1:
        return
    row_height = CELL + CAPTION + GAP
    size = (LABEL + examples * (CELL + GAP) + GAP, len(sets) * row_height + GAP)
    sheet = Image.new("RGB", size, BACKGROUND)
    for row, (name, items) in enumerate(sets.items()):
        top = GAP + row * row_height
        _label(sheet, name, items, top)
        colours = colours_of(items)
        for column, item in enumerate(choose(items, examples)):
            left = LABEL + column * (CELL + GAP)
            cell = _cell(item, colours, folder)
            sheet.paste(cell, (left + (CELL - cell.width) // 2, top))
            _caption(sheet, item, colours, (left, top + CELL + 4))
    sheet.save(folder / "contact_sheet.png")


def choose(items: Sequence[Built], count: int) -> list[Built]:
    """Examples that differ: what has been shown least, in diagnosis and targets, comes next.

    Of equals, the one with a mask comes first.
    """
    shown: Counter[str] = Counter()
    left = list(items)
    chosen: list[Built] = []
    while left and len(chosen) < count:
        best = min(left, key=lambda item: (_seen(item, shown), not item.areas))
        chosen.append(best)
        left.remove(best)
        shown.update(_what(best))
    return chosen


def colours_of(items: Sequence[Built]) -> dict[str, Colour]:
    """A colour for each target, the same in all examples of a set; frequent ones first."""
    counts = Counter(target for item in items for target in item.areas)
    targets = [target for target, _ in counts.most_common()]
    return {target: PALETTE[n % len(PALETTE)] for n, target in enumerate(targets)}


def _what(item: Built) -> list[str]:
    return [f"diagnosis {item.record['diagnosis']}", *(item.areas or ("nothing",))]


def _seen(item: Built, shown: Counter[str]) -> float:
    return sum(shown[what] for what in _what(item)) / len(_what(item))


def _cell(item: Built, colours: dict[str, Colour], folder: Path) -> Image.Image:
    with Image.open(folder / item.record["image"]) as file:
        image = file.convert("RGB")
    masks: list[tuple[Image.Image, Colour]] = []
    # Large targets first, so that the outlines of small ones inside them stay on top.
    for finding in sorted(item.record["findings"] or (), key=lambda f: -item.areas[f["target"]]):
        with Image.open(folder / finding["mask"]) as file:
            masks.append((file.convert("L"), colours[finding["target"]]))
    whole = (0, 0, *image.size)
    scale = CELL / max(image.size)
    cell = _view(image, masks, whole, (round(image.width * scale), round(image.height * scale)))
    tiny = _tiny_box(masks, image.size)
    if tiny is not None:
        _add_inset(cell, _view(image, masks, tiny, (int(CELL * INSET),) * 2), tiny, scale)
    return cell


def _view(
    image: Image.Image,
    masks: Sequence[tuple[Image.Image, Colour]],
    box: Box,
    size: tuple[int, int],
) -> Image.Image:
    """A part of the image with outlines drawn at the size in which it is shown."""
    size = (max(1, size[0]), max(1, size[1]))
    view = image.crop(box).resize(size, Image.Resampling.LANCZOS)
    for mask, colour in masks:
        shown = mask.crop(box).resize(size, Image.Resampling.BILINEAR)
        shown = shown.point([255 * (value > 80) for value in range(256)])
        view.paste(colour, mask=_outline(shown))
    return view


def _outline(mask: Image.Image) -> Image.Image:
    """Two pixels around what is compact; one around vessels, of which else nothing is seen."""
    thin = ImageChops.subtract(mask.filter(ImageFilter.MaxFilter(3)), mask)
    if 2 * thin.histogram()[255] > mask.histogram()[255]:
        return thin
    return ImageChops.subtract(mask.filter(ImageFilter.MaxFilter(5)), mask)


def _tiny_box(masks: Sequence[tuple[Image.Image, Colour]], size: tuple[int, int]) -> Box | None:
    """A square around the smallest target if it is hard to see, inside the image."""
    boxes = [box for mask, _ in masks if (box := mask.getbbox()) is not None]
    if not boxes:
        return None
    box = min(boxes, key=lambda b: max(b[2] - b[0], b[3] - b[1]))
    extent = max(box[2] - box[0], box[3] - box[1])
    if extent > TINY * max(size):
        return None
    side = min(min(size), max(2 * extent, 32))
    left = min(max(0, (box[0] + box[2] - side) // 2), size[0] - side)
    top = min(max(0, (box[1] + box[3] - side) // 2), size[1] - side)
    return (left, top, left + side, top + side)


def _add_inset(cell: Image.Image, inset: Image.Image, box: Box, scale: float) -> None:
    """Put the inset into the corner farthest from what it shows, and frame both."""
    draw = ImageDraw.Draw(cell)
    draw.rectangle([round(v * scale) for v in box], outline=TEXT)
    centre = ((box[0] + box[2]) / 2 * scale, (box[1] + box[3]) / 2 * scale)
    left = 0 if centre[0] > cell.width / 2 else cell.width - inset.width
    top = 0 if centre[1] > cell.height / 2 else cell.height - inset.height
    cell.paste(inset, (left, top))
    right, bottom = left + inset.width - 1, top + inset.height - 1
    draw.rectangle((left, top, right, bottom), outline=TEXT)


def _label(sheet: Image.Image, name: str, items: Sequence[Built], top: int) -> None:
    draw = ImageDraw.Draw(sheet)
    record = items[0].record
    _write(draw, (GAP, top), name, LABEL - 2 * GAP, (19, 16, 14))
    lines = (record["modality"], f"{len(items)} images", record["licence"])
    y = top + 28
    for line in lines:
        for part in _wrap(line, LABEL - 2 * GAP, 13):
            draw.text((GAP, y), part, FAINT, ImageFont.load_default(13))
            y += 17


def _caption(
    sheet: Image.Image,
    item: Built,
    colours: dict[str, Colour],
    place: tuple[int, int],
) -> None:
    draw = ImageDraw.Draw(sheet)
    x, y = place
    text = f"{item.record['diagnosis'] or 'diagnosis unknown'} ({item.record['split']})"
    _write(draw, place, text, CELL, (14, 13, 12, 11))
    font = ImageFont.load_default(12)
    y += 19
    if not item.areas:
        nothing = "mask unknown" if item.record["findings"] is None else "nothing to segment"
        draw.text((x, y), nothing, FAINT, font)
    for target in sorted(item.areas, key=list(colours).index):
        width = font.getlength(target)
        if x > place[0] and x + width > place[0] + CELL:
            x, y = place[0], y + 16
        draw.text((x, y), _fit(target, CELL, 12), colours[target], font)
        x += int(width) + 8


def _write(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, width: int, sizes: Sequence[int]
) -> None:
    """In the largest of the sizes in which it fits, else cut off in the smallest."""
    fitting = (n for n in sizes if ImageFont.load_default(n).getlength(text) <= width)
    size = next(fitting, sizes[-1])
    draw.text(place, _fit(text, width, size), TEXT, ImageFont.load_default(size))


def _fit(text: str, width: int, size: int) -> str:
    font = ImageFont.load_default(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


def _wrap(text: str, width: int, size: int) -> list[str]:
    font = ImageFont.load_default(size)
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines[:4]
