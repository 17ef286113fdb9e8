"""Metrics for people (markdown) and for programs (CSV, JSON). Knows no files."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from typing import Any

from .facts import FACTS
from .rows import Row
from .summary import SetMetrics

COLUMNS = {
    "name": "set",
    "questions": "n",
    "giou": "gIoU",
    "dice": "Dice",
    "nsd": "NSD",
    "hd95": "HD95 %",
    "false_masks": "false masks",
    "presence_auroc": "presence AUROC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "majority": "majority",
    "fact_agreement": "facts",
    "fact_constant": "constant",
}
"""Of the table that is printed; the CSV has every metric."""

CONFIDENCE_COLUMNS = {
    "name": "set",
    "questions": "n",
    "ece": "diagnosis",
    "presence_ece": "presence",
    "mask_ece": "mask",
    "uncertain": "uncertain",
    "certain_accuracy": "accuracy of the others",
}

WITH_INTERVAL = frozenset({"giou", "accuracy"})
MISSING = "–"
NOTES = """\
gIoU: mean IoU where the target is there, after the presence score had its say, with its 95 %
interval over resampled patients. HD95 in percent of the image's diagonal; a missed target scores
IoU 0 and HD95 100. false masks: questions without the target that got a mask. majority: accuracy
of always naming the most frequent diagnosis. facts: how often the reasoning is right about
location, size, percent, shape and contrast; constant: what the best unchanging statements get.
macro: mean over sets (chest targets are one set); all: every question alike."""


def markdown(table: Sequence[SetMetrics]) -> str:
    """The table for people: the most telling metrics, a row a set."""
    rows = [[_cell(metrics, name) for name in COLUMNS] for metrics in table]
    return pipe_table(list(COLUMNS.values()), rows)


def facts_markdown(table: Sequence[SetMetrics]) -> str:
    """Agreement of the reasoning by kind of fact, with the best constant's in parentheses."""
    rows = [
        [metrics.name, *(_fact_cell(metrics, kind) for kind in FACTS)]
        for metrics in table
        if any(metrics.facts[kind].statements for kind in FACTS)
    ]
    return pipe_table(["set", *FACTS], rows)


def confidence_markdown(table: Sequence[SetMetrics]) -> str:
    """What confidences are worth, a row a set."""
    rows = [[_cell(metrics, name) for name in CONFIDENCE_COLUMNS] for metrics in table]
    return pipe_table(list(CONFIDENCE_COLUMNS.values()), rows)


def document(table: Sequence[SetMetrics], threshold: float) -> str:
    """Everything in one markdown file."""
    return "\n".join(
        [
            f"{NOTES}\nPresence threshold: {threshold:.4g}.\n",
            markdown(table),
            "\nAgreement of the reasoning with the true mask; in parentheses what the best",
            "unchanging statement would get:\n",
            facts_markdown(table),
            "\nConfidence: expected calibration errors of the diagnosis' probability, of presence",
            "and of the Dice that masks are expected to have; the fraction of diagnoses that are",
            "called uncertain, and the accuracy of the others:\n",
            confidence_markdown(table),
            "",
        ]
    )


def pipe_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def number(value: float | None, digits: int = 3) -> str:
    """A number for a table, or a dash."""
    return MISSING if value is None else f"{value:.{digits}f}"


def with_interval(value: float | None, bounds: tuple[float, float] | None) -> str:
    """A number and its interval, or what there is of them."""
    if value is None or bounds is None:
        return number(value)
    return f"{value:.3f} ({bounds[0]:.2f}–{bounds[1]:.2f})"


def _cell(metrics: SetMetrics, name: str) -> str:
    value = getattr(metrics, name)
    if name in WITH_INTERVAL:
        return with_interval(value, metrics.intervals.get(name))
    if name == "hd95":
        return number(value, 1)
    return value if isinstance(value, str) else str(value) if name == "questions" else number(value)


def _fact_cell(metrics: SetMetrics, kind: str) -> str:
    fact = metrics.facts[kind]
    if fact.agreement is None:
        return MISSING
    return f"{fact.agreement:.2f} ({number(fact.constant, 2)})"


def metrics_csv(table: Sequence[SetMetrics]) -> str:
    """Every metric, interval and fact, a row a set; empty where nothing applies."""
    rows = [_flat(metrics) for metrics in table]
    # Sets lack intervals; the last rows, over everything, have them all.
    names = list(dict.fromkeys(name for row in reversed(rows) for name in row))
    return _csv(names, rows)


def rows_csv(rows: Sequence[Row]) -> str:
    """Every question with its answer's measurements."""
    flat = [_flat_row(row) for row in rows]
    return _csv(list(dict.fromkeys(name for row in flat for name in row)), flat)


def metrics_json(table: Sequence[SetMetrics], threshold: float) -> str:
    """Everything, for programs; what does not apply is null."""
    values = {"presence_threshold": threshold, "sets": [dataclasses.asdict(m) for m in table]}
    return json.dumps(values, indent=2, allow_nan=False) + "\n"


def _flat(metrics: SetMetrics) -> dict[str, Any]:
    flat = {
        f.name: getattr(metrics, f.name)
        for f in dataclasses.fields(metrics)
        if f.name not in ("facts", "intervals")
    }
    for name, (low, high) in metrics.intervals.items():
        flat |= {f"{name}_low": low, f"{name}_high": high}
    for kind, fact in metrics.facts.items():
        flat |= {f"fact_{kind}_{name}": v for name, v in dataclasses.asdict(fact).items()}
    return flat


def _flat_row(row: Row) -> dict[str, Any]:
    nested = ("overlap", "stated", "true")
    flat = {f.name: getattr(row, f.name) for f in dataclasses.fields(row) if f.name not in nested}
    overlap = row.overlap
    measured = {} if overlap is None else dataclasses.asdict(overlap) | {"dice": overlap.dice}
    for name in ("intersection", "predicted", "truth", "dice", "nsd", "hd95", "diagonal"):
        flat[f"mask_{name}"] = measured.get(name)
    for kind in FACTS:
        flat |= {f"stated_{kind}": row.stated.get(kind), f"true_{kind}": row.true.get(kind)}
    return flat


def _csv(names: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
