"""Reading back the questions of an evaluation that was written to a folder."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from Sim4SegCore.errors import Sim4SegError

from .facts import FACTS
from .overlap import Overlap
from .rows import Row

ROWS_FILE, METRICS_FILE = "rows.csv", "metrics.json"
_TRUTH = {"True": True, "False": False}


def read_evaluation(folder: Path) -> tuple[list[Row], float]:
    """What `run.py evaluate --to` wrote.

    Returns:
        the rows, in the order in which they were asked, and the presence threshold.

    Raises:
        Sim4SegError: if there is no such evaluation, or it is damaged or from another version.
    """
    try:
        with (folder / ROWS_FILE).open(newline="", encoding="utf-8") as file:
            rows = [_row(fields) for fields in csv.DictReader(file)]
        metrics = json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))
        return rows, float(metrics["presence_threshold"])
    except OSError as error:
        raise Sim4SegError(
            f"no evaluation in {folder}: {error.strerror}; `run.py evaluate --to` writes one"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise Sim4SegError(f"the evaluation in {folder} is damaged; evaluate again") from None


def _row(fields: dict[str, str]) -> Row:
    return Row(
        id=fields["id"],
        dataset=fields["dataset"],
        target=fields["target"],
        present=_TRUTH[fields["present"]],
        iou=_number(fields["iou"]),
        mask_drawn=_TRUTH[fields["mask_drawn"]],
        presence=float(fields["presence"]),
        diagnosis=fields["diagnosis"] or None,
        predicted=fields["predicted"] or None,
        confidence=float(fields["confidence"]),
        modality_right=_TRUTH[fields["modality_right"]] if fields["modality_right"] else None,
        uncertain=_TRUTH[fields["uncertain"]],
        group=fields["group"],
        overlap=_overlap(fields),
        mask_confidence=_number(fields["mask_confidence"]),
        stated=_facts(fields, "stated"),
        true=_facts(fields, "true"),
    )


def _overlap(fields: dict[str, str]) -> Overlap | None:
    if not fields["mask_truth"]:
        return None
    return Overlap(
        intersection=int(fields["mask_intersection"]),
        predicted=int(fields["mask_predicted"]),
        truth=int(fields["mask_truth"]),
        nsd=float(fields["mask_nsd"]),
        hd95=float(fields["mask_hd95"]),
        diagonal=float(fields["mask_diagonal"]),
    )


def _facts(fields: dict[str, str], prefix: str) -> dict[str, str]:
    return {kind: fields[f"{prefix}_{kind}"] for kind in FACTS if fields[f"{prefix}_{kind}"]}


def _number(text: str) -> float | None:
    return float(text) if text else None
