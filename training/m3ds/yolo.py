"""Label files of YOLO segmentation sets: a class and a normalised outline a line."""

from __future__ import annotations

from pathlib import Path

import yaml

from Sim4SegCore.errors import Sim4SegError

from .masks import CaseError, Points, Polygon


def read_labels(path: Path) -> list[tuple[int, Polygon]]:
    """(class, outline) per line; lines with a box instead of an outline become rectangles.

    Raises:
        CaseError: if the file is missing or a line is neither.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise CaseError("no label file") from None
    except (OSError, UnicodeDecodeError):
        raise CaseError("label file cannot be read") from None
    return [_parse(line) for line in lines if line.strip()]


def format_labels(labels: list[tuple[int, Polygon]]) -> str:
    """Text that `read_labels` reads back; outlines must be normalised."""
    return "".join(
        " ".join([str(number), *(f"{v:.17g}" for point in outline.points for v in point)]) + "\n"
        for number, outline in labels
    )


def read_class_names(path: Path) -> dict[int, str]:
    """`names` of a data.yaml, a list or a mapping.

    Raises:
        Sim4SegError: if there are none.
    """
    try:
        names = yaml.safe_load(path.read_text(encoding="utf-8"))["names"]
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        return {int(number): str(name).strip() for number, name in pairs}
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        raise Sim4SegError(f"{path} does not list the classes under 'names'") from None


def _parse(line: str) -> tuple[int, Polygon]:
    try:
        number, *values = line.split()
        numbers = [float(value) for value in values]
        return int(number), Polygon(_points(numbers), normalised=True)
    except ValueError:
        raise CaseError("label line is neither outline nor box") from None


def _points(values: list[float]) -> Points:
    if len(values) == 4:
        x, y, width, height = values
        left, right, top, bottom = x - width / 2, x + width / 2, y - height / 2, y + height / 2
        return ((left, top), (right, top), (right, bottom), (left, bottom))
    if len(values) < 6 or len(values) % 2:
        raise ValueError
    return tuple(zip(values[::2], values[1::2], strict=True))
