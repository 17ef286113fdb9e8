"""An evaluation as a folder that is written completely or not at all.

table.md      for people            table.csv    every metric and interval
metrics.json  for programs          rows.csv     every question
*.png         overlap, diagnoses, reliability, presence
worst/*.png   the worst cases of each set
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from Sim4SegCore.figures import save_figure
from Sim4SegCore.io import explain_os_error
from Sim4SegCore.output import check_output_folder

from .gallery import WorstCases
from .plots import diagnosis_figure, overlap_figure, reliability_figure, roc_figure
from .rows import Row
from .summary import SetMetrics
from .tables import document, metrics_csv, metrics_json, rows_csv

WORST_FOLDER = "worst"


def write_evaluation(
    folder: Path,
    rows: Sequence[Row],
    table: Sequence[SetMetrics],
    threshold: float,
    worst: WorstCases | None = None,
    overwrite: bool = False,
) -> None:
    """Write everything that there is to read about an evaluation.

    All files are finished before the first takes its place: a full disk leaves the folder as it
    was.

    Args:
        worst: watched the evaluation; None leaves out the gallery.
        overwrite: replace an earlier evaluation in the folder; other files in it stay.

    Raises:
        Sim4SegError: if the folder is in use or cannot be written, or the disk is full.
    """
    check_output_folder(folder, overwrite)
    # Inside a folder that exists: its parent may be read-only or another disk (a mount).
    home = folder if folder.is_dir() else folder.absolute().parent
    staging = home / f".{folder.absolute().name}.partial"
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        _write_tables(staging, rows, table, threshold)
        _write_figures(staging, rows, table, threshold)
        if worst is not None:
            _write_gallery(staging / WORST_FOLDER, worst)
        _move(staging, folder)
    except OSError as error:
        raise explain_os_error(error, folder, "write") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write_tables(
    folder: Path, rows: Sequence[Row], table: Sequence[SetMetrics], threshold: float
) -> None:
    texts = {
        "table.md": document(table, threshold),
        "table.csv": metrics_csv(table),
        "metrics.json": metrics_json(table, threshold),
        "rows.csv": rows_csv(rows),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def _write_figures(
    folder: Path, rows: Sequence[Row], table: Sequence[SetMetrics], threshold: float
) -> None:
    save_figure(overlap_figure(table), folder / "overlap.png")
    save_figure(diagnosis_figure(table), folder / "diagnoses.png")
    save_figure(reliability_figure(rows), folder / "reliability.png")
    save_figure(roc_figure(rows, threshold), folder / "presence.png")


def _write_gallery(folder: Path, worst: WorstCases) -> None:
    folder.mkdir()
    for name in worst.cases():
        save_figure(worst.figure(name), folder / f"{re.sub(r'[^A-Za-z0-9-]+', '_', name)}.png")


def _move(staging: Path, folder: Path) -> None:
    """Put finished files in place; on one disk, so that only names change."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / WORST_FOLDER, ignore_errors=True)
    # The table last: where it is new, so is the rest.
    for path in sorted(staging.iterdir(), key=lambda path: (path.suffix == ".md", path.name)):
        path.replace(folder / path.name)
