"""Text in pictures that PIL draws."""

from __future__ import annotations

import functools
from pathlib import Path

from PIL import ImageFont


@functools.cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """matplotlib's own font: it has the alphabets that PIL's lacks."""
    from matplotlib import get_data_path

    return ImageFont.truetype(Path(get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size)


def fit(text: str, width: float, size: int) -> str:
    """Long names are cut in their middle: what tells them apart is often at the end."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    face = font(size)
    if face.getlength(text) <= width:
        return text
    kept = len(text) - 1
    while kept > 2 and face.getlength(_shortened(text, kept)) > width:
        kept -= 1
    return _shortened(text, kept)


def wrap(text: str, width: float, size: int) -> list[str]:
    """Lines of whole words; a word that is longer than a line stays on one of its own."""
    face = font(size)
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and face.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _shortened(text: str, kept: int) -> str:
    head = kept // 2
    return f"{text[:head]}…{text[len(text) - (kept - head) :]}"
