"""Asking a predictor every question of a split, and what is kept of each answer.

The predictor is the one that users run, so that the numbers are what they get. One question per
finding of a record (or the set's own where there is none), each with the one canonical phrasing.
Masks are asked for without the presence score's say; tables put it back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from Sim4SegCore import Result, Sim4Seg
from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.intensity import to_rgb8

from ..records import Record
from ..text import canonical_query
from .facts import stated_facts, true_facts
from .overlap import Overlap, measure_overlap


@dataclass(frozen=True)
class Row:
    """One question, answered.

    Attributes:
        iou: of the mask before the presence score empties it; None without a true mask.
        mask_drawn: that mask has a pixel.
        presence: the model's probability.
        predicted: the diagnosis that was named; None if the answer names none.
        confidence: of the diagnosis.
        uncertain: the diagnosis is called so.
        modality_right: None if the answer names no modality.
        group: patient or source image; empty if the record stands for itself.
        overlap: everything that is measured of mask and true mask; None without a true mask.
        mask_confidence: Dice that the model expects of that mask; None of an empty one.
        stated: facts that the reasoning states.
        true: facts that hold.
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
    modality_right: bool | None
    uncertain: bool = False
    group: str = ""
    overlap: Overlap | None = None
    mask_confidence: float | None = None
    stated: dict[str, str] = field(default_factory=dict)
    true: dict[str, str] = field(default_factory=dict)

    @property
    def cluster(self) -> str:
        """What is resampled as one: the group, unique over sets."""
        return f"{self.dataset}/{self.group or self.id}"


Watcher = Callable[[Record, Row, NDArray[np.bool_]], None]
"""Called with each record, its row and the mask (H, W) before the presence score empties it."""


def ungated(predictor: Sim4Seg) -> Sim4Seg:
    """The same predictor with masks that the presence score never empties."""
    predictor.model.config = dataclasses.replace(predictor.model.config, presence_threshold=0.0)
    return predictor


def evaluate(
    predictor: Sim4Seg,
    records: Sequence[Record],
    folder: Path,
    watch: Watcher | None = None,
) -> list[Row]:
    """Ask every record's questions of an ungated predictor.

    Args:
        folder: holds the images and masks that the records name.
        watch: sees every mask, which rows do not keep.

    Raises:
        Sim4SegError: if an image or mask cannot be read.
    """
    rows = []
    for record in tqdm(records, unit="image", mininterval=5, dynamic_ncols=True):
        predictor.set_image(folder / record.image)
        for target in record.questions:
            result = predictor.ask(canonical_query(target, record.dataset))
            truth = read_truth(record, target, folder)
            row = _row(record, target, result, truth, predictor.model.config.lvlm.image_size)
            rows.append(row)
            if watch is not None:
                watch(record, row, result.findings[0].mask)
    return rows


def check_records(predictor: Sim4Seg, records: Sequence[Record]) -> None:
    """Refuse what would give a table without meaning.

    Raises:
        Sim4SegError: if there is no record, or the model knows none of the diagnoses.
    """
    if not records:
        raise Sim4SegError("there is no record to evaluate; choose another split")
    asked = {record.diagnosis for record in records if record.diagnosis}
    taught = set(predictor.model.config.diagnoses)
    if asked and taught and not asked & taught:
        raise Sim4SegError(
            f"the model was taught none of these records' diagnoses ({', '.join(sorted(asked))}); "
            "it belongs to another configuration"
        )


def read_truth(record: Record, target: str, folder: Path) -> NDArray[np.bool_] | None:
    """The true mask, bool (H, W); None if the target is absent or its mask unknown.

    Raises:
        Sim4SegError: if the file is missing or damaged.
    """
    if record.masks is None or target not in record.masks:
        return None
    path = folder / record.masks[target]
    try:
        with Image.open(path) as mask:
            return np.asarray(mask.convert("L")) > 127
    except (OSError, UnidentifiedImageError, SyntaxError):
        raise Sim4SegError(
            f"the mask {record.masks[target]} of record {record.id} is missing or damaged"
        ) from None


def check_size(
    record: Record, target: str, truth: NDArray[np.bool_], size: tuple[int, ...]
) -> None:
    """Refuse a true mask (H, W) that belongs to another image.

    Raises:
        Sim4SegError: if it is not of the image's size (H, W).
    """
    if truth.shape != size:
        raise Sim4SegError(f"the mask of {target} of record {record.id} is not of its image's size")


def _row(
    record: Record, target: str, result: Result, truth: NDArray[np.bool_] | None, side: int
) -> Row:
    finding = result.findings[0]
    if truth is not None:
        check_size(record, target, truth, finding.mask.shape)
    overlap = None if truth is None else measure_overlap(finding.mask, truth)
    present = record.is_present(target)
    return Row(
        id=record.id,
        dataset=record.dataset,
        target=target,
        present=present,
        iou=None if overlap is None else overlap.iou,
        mask_drawn=bool(finding.mask.any()),
        presence=finding.confidence,
        diagnosis=record.diagnosis,
        predicted=result.diagnosis.label,
        confidence=result.diagnosis.confidence,
        uncertain=result.diagnosis.uncertain,
        modality_right=_modality_right(result.reasoning, record.modality),
        group=record.group,
        overlap=overlap,
        mask_confidence=finding.mask_confidence,
        stated=stated_facts(result.reasoning),
        true=true_facts(present, truth, to_rgb8(result.case), side),
    )


def _modality_right(reasoning: str, modality: str) -> bool | None:
    if "the modality of the image is" not in reasoning:
        return None
    return f"is {modality} of" in reasoning
