"""Evaluation through the predictor that users run, so that its numbers are what they get.

One question per finding of a record (or the set's own where there is none), each with the one
canonical phrasing. Masks are scored before and after the presence score has its say.
"""

from __future__ import annotations

import csv
import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from Sim4SegCore import Sim4Seg

from .records import Record
from .text import canonical_query


@dataclass(frozen=True)
class Row:
    """One question, answered.

    Attributes:
        iou: of the mask before the presence score empties it; None without a true mask.
        presence: the model's probability.
    """

    id: str
    dataset: str
    target: str
    present: bool
    iou: float | None
    mask_drawn: bool
    presence: float
    diagnosis: str | None
    predicted: str | None
    confidence: float
    modality_right: bool


def ungated(predictor: Sim4Seg) -> Sim4Seg:
    """The same predictor with masks that the presence score never empties."""
    predictor.model.config = dataclasses.replace(predictor.model.config, presence_threshold=0.0)
    return predictor


def evaluate(predictor: Sim4Seg, records: Sequence[Record], folder: Path) -> list[Row]:
    """Ask every record's questions of an ungated predictor."""
    rows = []
    for record in tqdm(records, unit="image", mininterval=5, dynamic_ncols=True):
        predictor.set_image(folder / record.image)
        for target in record.questions:
            result = predictor.ask(canonical_query(target, record.dataset))
            truth = _truth(record, target, folder)
            mask = result.findings[0].mask
            rows.append(
                Row(
                    id=record.id,
                    dataset=record.dataset,
                    target=target,
                    present=record.is_present(target),
                    iou=None if truth is None else iou(mask, truth),
                    mask_drawn=bool(mask.any()),
                    presence=result.findings[0].confidence,
                    diagnosis=record.diagnosis,
                    predicted=result.diagnosis.label,
                    confidence=result.diagnosis.confidence,
                    modality_right=f"is {record.modality} of" in result.reasoning,
                )
            )
    return rows


def _truth(record: Record, target: str, folder: Path) -> NDArray[np.bool_] | None:
    if record.masks is None or target not in record.masks:
        return None
    with Image.open(folder / record.masks[target]) as mask:
        return np.asarray(mask.convert("L")) > 127


def iou(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Intersection over union; 1 if both are empty."""
    union = int((mask | truth).sum())
    return int((mask & truth).sum()) / union if union else 1.0


@dataclass(frozen=True)
class SetMetrics:
    """Metrics of one set (and target, where a set has several); None where nothing applies.

    Attributes:
        giou: mean IoU over questions whose target is there, masks gated by presence.
        false_masks: fraction of questions without the target that get a mask.
        majority: accuracy of always naming the most frequent diagnosis of these rows.
    """

    name: str
    questions: int
    giou: float | None
    giou_ungated: float | None
    false_masks: float | None
    presence_auroc: float | None
    accuracy: float | None
    balanced_accuracy: float | None
    majority: float | None
    modality: float


def presence_threshold(rows: Iterable[Row], false_mask_rate: float) -> float:
    """The lowest threshold at which at most this fraction of absent targets gets a mask."""
    absent = sorted((r.presence for r in rows if not r.present and r.mask_drawn), reverse=True)
    count = sum(1 for r in rows if not r.present)
    allowed = int(false_mask_rate * count)
    return float(np.nextafter(absent[allowed], 1.0)) if allowed < len(absent) else 0.05


def mean_over_sets(rows: Iterable[Row]) -> float:
    """Ungated IoU, averaged within each set and target and then over them.

    Left out are targets with fewer than 3 masks or a mean below 0.3: which threshold suits a
    target that the model has not learned says nothing. 0 if none is left.
    """
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        if row.iou is not None:
            groups[row.dataset, row.target].append(row.iou)
    means = [float(np.mean(values)) for values in groups.values() if len(values) >= 3]
    learned = [mean for mean in means if mean >= 0.3]
    return float(np.mean(learned)) if learned else 0.0


def summarise(rows: Sequence[Row], threshold: float) -> list[SetMetrics]:
    """Metrics per set, per chest target, and over everything."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        name = row.dataset
        groups[name if name != "COVID-CXR" else f"{name} {row.target}"].append(row)
    table = [_metrics(name, members, threshold) for name, members in sorted(groups.items())]
    return [*table, _metrics("all", list(rows), threshold)]


def _metrics(name: str, rows: list[Row], threshold: float) -> SetMetrics:
    masked = [(r, r.iou) for r in rows if r.iou is not None]
    gated = [value if r.presence >= threshold else 0.0 for r, value in masked]
    absent = [r for r in rows if not r.present]
    named = [r for r in rows if r.diagnosis is not None]
    right = [r.predicted == r.diagnosis for r in named]
    counts = Counter(r.diagnosis for r in named)
    by_label = [
        float(np.mean([r.predicted == label for r in named if r.diagnosis == label]))
        for label in counts
    ]
    return SetMetrics(
        name=name,
        questions=len(rows),
        giou=_mean(gated),
        giou_ungated=_mean([value for _, value in masked]),
        false_masks=_mean([r.presence >= threshold and r.mask_drawn for r in absent]),
        presence_auroc=auroc([r.presence for r in rows], [r.present for r in rows]),
        accuracy=_mean(right),
        balanced_accuracy=_mean(by_label),
        majority=max(counts.values()) / len(named) if named else None,
        modality=float(np.mean([r.modality_right for r in rows])),
    )


def auroc(scores: Sequence[float], truth: Sequence[bool]) -> float | None:
    """Probability that a present target scores above an absent one; ties count half."""
    positive = np.array([s for s, t in zip(scores, truth, strict=True) if t])
    negative = np.array([s for s, t in zip(scores, truth, strict=True) if not t])
    if not len(positive) or not len(negative):
        return None
    above = (positive[:, None] > negative).mean() + 0.5 * (positive[:, None] == negative).mean()
    return float(above)


def _mean(values: Sequence[float | bool]) -> float | None:
    return float(np.mean(values)) if len(values) else None


COLUMNS = {
    "name": "set",
    "questions": "n",
    "giou": "gIoU",
    "giou_ungated": "gIoU, ungated",
    "false_masks": "false masks",
    "presence_auroc": "presence AUROC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "majority": "majority",
    "modality": "modality",
}


def markdown(table: Sequence[SetMetrics]) -> str:
    """The table for people."""
    lines = ["| " + " | ".join(COLUMNS.values()) + " |", "|---" * len(COLUMNS) + "|"]
    for metrics in table:
        cells = [_cell(getattr(metrics, name)) for name in COLUMNS]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value: object) -> str:
    return "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def write_evaluation(
    folder: Path, rows: Sequence[Row], table: Sequence[SetMetrics], threshold: float
) -> None:
    """`table.md`, `metrics.json` and `rows.csv` in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text(markdown(table) + "\n", encoding="utf-8")
    metrics = {"presence_threshold": threshold, "sets": [dataclasses.asdict(m) for m in table]}
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [f.name for f in dataclasses.fields(Row)])
        writer.writeheader()
        writer.writerows(dataclasses.asdict(row) for row in rows)
