"""An evaluation of robustness as a folder.

robustness.md    for people          robustness.csv   every set and perturbation
rows.json        every question      robustness.png   bars
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..saving import rows_json, save_evaluation
from .asking import PerturbedRow
from .plot import robustness_figure
from .tables import NOTES, robustness_csv, robustness_markdown


def write_robustness(folder: Path, rows: Sequence[PerturbedRow], overwrite: bool) -> None:
    """Write all of it.

    Raises:
        Sim4SegError: if the folder is in use or cannot be written, or the disk is full.
    """
    texts = {
        "robustness.csv": robustness_csv(rows),
        "rows.json": rows_json({"questions": rows}),
        "robustness.md": f"{NOTES}\n\n{robustness_markdown(rows)}\n",
    }
    save_evaluation(folder, texts, {"robustness.png": robustness_figure(rows)}, overwrite)
