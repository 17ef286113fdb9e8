"""Rows of a split from the plain networks, in the form in which the model's are scored.

A row of the U-Net has no diagnosis and one of the classifier no mask: what a network does not say
is scored as unknown, never as wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import torch
from torch import Tensor
from tqdm import tqdm

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.intensity import to_rgb8
from Sim4SegCore.io import read_case

from ..ablation.stored import Answers, read_answers, write_answers
from ..evaluation import Row
from ..evaluation.overlap import measure_overlap
from ..evaluation.rows import read_truth
from ..records import Record
from .predicting import DiagnosisPredictor, MaskPredictor

Ask = Callable[[Sequence[Record]], list[Row]]
"""Asks every question of some records, in their order."""


@dataclass(frozen=True)
class MaskAsker:
    """Asks the U-Net.

    Attributes:
        folder: holds the images and masks that records name.
    """

    predict: MaskPredictor
    folder: Path

    def __call__(self, records: Sequence[Record]) -> list[Row]:
        """Rows with masks and without diagnoses.

        Raises:
            Sim4SegError: if an image or mask cannot be read, or they differ in size.
        """
        rows = []
        for record in _watched(records, "U-Net"):
            pixels = read_pixels(self.folder / record.image)
            rows += [self._row(record, target, pixels) for target in record.questions]
        return rows

    def _row(self, record: Record, target: str, pixels: Tensor) -> Row:
        drawn = self.predict(pixels, target)
        truth = read_truth(record, target, self.folder)
        if truth is not None and truth.shape != drawn.mask.shape:
            raise Sim4SegError(
                f"the mask of {target} of record {record.id} is not of its image's size"
            )
        overlap = None if truth is None else measure_overlap(drawn.mask, truth)
        return replace(
            _unanswered(record, target),
            iou=None if overlap is None else overlap.iou,
            mask_drawn=bool(drawn.mask.any()),
            presence=drawn.presence,
            overlap=overlap,
        )


@dataclass(frozen=True)
class DiagnosisAsker:
    """Asks the classifier.

    Attributes:
        labels: diagnoses that each set has in training; a set that is not listed may have any.
        folder: holds the images that records name.
    """

    predict: DiagnosisPredictor
    labels: Mapping[str, frozenset[str]]
    folder: Path

    def __call__(self, records: Sequence[Record]) -> list[Row]:
        """Rows with diagnoses and without masks, the same for each question of a record.

        Raises:
            Sim4SegError: if an image cannot be read.
        """
        rows = []
        for record in _watched(records, "classifier"):
            among = self.labels.get(record.dataset, frozenset())
            label, confidence = self.predict(read_pixels(self.folder / record.image), among)
            rows += [
                replace(
                    _unanswered(record, target),
                    diagnosis=record.diagnosis,
                    predicted=label,
                    confidence=confidence,
                )
                for target in record.questions
            ]
        return rows


def read_pixels(path: Path) -> Tensor:
    """An image as the model sees it, uint8 (3, H, W).

    Raises:
        Sim4SegError: if it cannot be read.
    """
    return torch.from_numpy(to_rgb8(read_case(path)).copy()).permute(2, 0, 1)


def answers_by_set(folder: Path, records: Sequence[Record], ask: Ask, threshold: float) -> Answers:
    """Answers to all questions, each set's kept in the folder as soon as it is done.

    Args:
        threshold: of the presence score, under which a mask is emptied.

    Raises:
        Sim4SegError: if kept answers are damaged or answer other questions.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for name in sorted({record.dataset for record in records}):
        members = [record for record in records if record.dataset == name]
        path = folder / f"{quote(name, safe='')}.json"
        if not path.is_file():
            write_answers(path, Answers(tuple(ask(members)), threshold))
        kept = read_answers(path)
        if [(row.id, row.target) for row in kept.rows] != questions(members):
            raise Sim4SegError(
                f"{path} answers other questions than the split asks now; delete it and run again"
            )
        rows += kept.rows
    return Answers(tuple(rows), threshold)


def select_answers(rows: Sequence[Row], records: Sequence[Record], threshold: float) -> Answers:
    """Of an earlier evaluation, the answers to these records' questions, ordered by set.

    Raises:
        Sim4SegError: if one of them was not asked, or is about another truth.
    """
    asked = {(row.id, row.target): row for row in rows}
    chosen = []
    for record in sorted(records, key=lambda record: record.dataset):
        for target in record.questions:
            row = asked.get((record.id, target))
            if row is None or row.diagnosis != record.diagnosis:
                raise Sim4SegError(
                    f"the evaluation does not answer what the split asks of {record.id} "
                    f"({target}); evaluate the same split again"
                )
            chosen.append(row)
    return Answers(tuple(chosen), threshold)


def questions(records: Sequence[Record]) -> list[tuple[str, str]]:
    """(id, target) of every question."""
    return [(record.id, target) for record in records for target in record.questions]


def _unanswered(record: Record, target: str) -> Row:
    return Row(
        id=record.id,
        dataset=record.dataset,
        target=target,
        present=record.is_present(target),
        iou=None,
        mask_drawn=False,
        presence=0.0,
        diagnosis=None,
        predicted=None,
        confidence=0.0,
        modality_right=None,
        group=record.group,
    )


def _watched(records: Sequence[Record], name: str) -> tqdm[Record]:
    return tqdm(records, unit="image", desc=name, mininterval=5, dynamic_ncols=True)
