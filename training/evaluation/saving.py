"""Texts and figures of an evaluation as a folder, written completely or not at all."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from Sim4SegCore.figures import save_figure
from Sim4SegCore.output import save_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_evaluation(
    folder: Path, texts: Mapping[str, str], figures: Mapping[str, Figure], overwrite: bool
) -> None:
    """Write files by name.

    Args:
        texts: the last one is put in place last: where it is new, so is the rest.
        overwrite: replace files of the same names; others in the folder stay.

    Raises:
        Sim4SegError: if the folder is in use or cannot be written, or the disk is full.
    """

    def write(place: Path) -> list[str]:
        place.mkdir(parents=True)
        for name, figure in figures.items():
            save_figure(figure, place / name)
        for name, text in texts.items():
            (place / name).write_text(text, encoding="utf-8")
        return [*figures, *texts]

    save_folder(folder, overwrite, write)


def rows_json(rows: Mapping[str, Sequence[Any]]) -> str:
    """Rows (dataclasses) by kind, for programs; what does not apply is null."""
    plain = {kind: [dataclasses.asdict(row) for row in some] for kind, some in rows.items()}
    return json.dumps(plain, indent=1, allow_nan=False) + "\n"


def table_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table for programs; empty where nothing applies.

    Args:
        rows: all with the same columns.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
