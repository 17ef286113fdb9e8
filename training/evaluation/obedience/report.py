"""An evaluation of obedience as a folder.

obedience.md   for people
*.csv          each of its tables
rows.json      every question
chest.png      chest films asked for one structure after another
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..saving import rows_json, save_evaluation
from .rows import ObedienceRows
from .sheet import ContactSheet
from .tables import (
    absent_markdown,
    cross_markdown,
    obedience_csvs,
    paraphrases_markdown,
    sentences_markdown,
    structures_markdown,
)

SHEET_FILE = "chest.png"
NOTES = """\
Masks are those that users are shown. Intervals are 95 % over resampled patients; where they close
on 1.000 although few patients were asked, n without a single exception still leaves room for about
3 in n. no mask: the share of queries with an empty one."""
STRUCTURES = """\
Structures, each asked for by name in images that have several of them: overlap with the structure
that was named."""
CROSS = """\
Mean IoU of the mask that was asked for (row) with every true mask (column), over images that have
both; bold is the structure that was named. In parentheses what an obedient mask would have: the
IoU of the two true masks."""
ABSENT = """\
Queries for what is not in the image: the share of empty masks, which should be 1, and the share of
the image that a mask covers where there is one. Another organ's target is drawn in other images; an
organ without any mask is drawn in none, but training asks for it too, so that it is no surprise."""
PARAPHRASES = """\
One query in several words: the mean Dice of every two masks of an image (two empty ones count 1),
the share of images in which it is at least 0.95, and the Dice with the true mask. Seen: sentences
that training draws from. Unseen: sentences that it does not use."""
SENTENCES = """\
The same by sentence. Each was asked of other images, so that only large differences count."""


def obedience_markdown(rows: ObedienceRows) -> str:
    """Every table that has a row, under a sentence that says what it tells."""
    blocks = [
        (STRUCTURES, structures_markdown(rows.structures), rows.structures),
        (CROSS, cross_markdown(rows.structures), rows.structures),
        (ABSENT, absent_markdown(rows.absent), rows.absent),
        (PARAPHRASES, paraphrases_markdown(rows.paraphrases), rows.paraphrases),
        (SENTENCES, sentences_markdown(rows.paraphrases), rows.paraphrases),
    ]
    return "\n\n".join(f"{words}\n\n{table}" for words, table, asked in blocks if asked)


def write_obedience(
    folder: Path, rows: ObedienceRows, sheet: ContactSheet, overwrite: bool
) -> None:
    """Write all of it; the sheet only if it has a film.

    Raises:
        Sim4SegError: if the folder is in use or cannot be written, or the disk is full.
    """
    kinds: dict[str, Sequence[Any]] = {
        "structures": rows.structures,
        "absent": rows.absent,
        "paraphrases": rows.paraphrases,
    }
    texts = obedience_csvs(rows) | {
        "rows.json": rows_json(kinds),
        "obedience.md": f"{NOTES}\n\n{obedience_markdown(rows)}\n",
    }
    figures = {} if sheet.is_empty else {SHEET_FILE: sheet.figure()}
    save_evaluation(folder, texts, figures, overwrite)
