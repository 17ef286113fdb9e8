"""Rows as arrays, with the presence threshold applied: what scores are computed from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .classification import Values
from .facts import FACTS, agreement, constant_agreement
from .rows import Row


@dataclass(frozen=True)
class FactColumns:
    """One kind of fact.

    Attributes:
        right: (N,) 0 or 1; NaN where it is not stated or not known.
        constant: (C, K) agreement of C constant statements with the K questions that `right`
            knows.
    """

    right: Values
    constant: Values


@dataclass(frozen=True)
class Columns:
    """N questions. Values are NaN where a question has none.

    Attributes:
        drawn: 1 where the user is shown a mask.
        iou, dice, nsd: of the mask that the user is shown.
        hd95: of the same mask, in percent of the image's diagonal.
        iou_ungated: of the mask before the presence score empties it.
        dice_ungated: likewise, of masks that state a confidence.
        mask_confidence: Dice that the model expects of the same mask.
        uncertain: 1 where the diagnosis is called uncertain; NaN where none is known.
        intersection, union: in pixels, of the mask that the user is shown.
        right: the diagnosis is right.
        labels: index of the true diagnosis among those that occur.
    """

    drawn: Values
    iou: Values
    iou_ungated: Values
    dice_ungated: Values
    mask_confidence: Values
    dice: Values
    nsd: Values
    hd95: Values
    intersection: Values
    union: Values
    present: NDArray[np.bool_]
    presence: Values
    right: Values
    uncertain: Values
    labels: NDArray[np.intp]
    confidence: Values
    modality: Values
    facts: dict[str, FactColumns]

    @classmethod
    def of(cls, rows: Sequence[Row], threshold: float) -> Columns:
        """Rows with masks below the presence threshold emptied; `overlap` says what they score."""
        presence = np.array([row.presence for row in rows], dtype=float)
        shown = presence >= threshold
        overlap = {name: _column(rows, read) for name, read in _OVERLAP.items()}
        diagnoses = sorted({row.diagnosis for row in rows if row.diagnosis is not None})
        ungated = _column(rows, lambda row: row.iou)
        expected = np.where(
            np.isnan(overlap["dice"]), np.nan, _column(rows, lambda row: row.mask_confidence)
        )
        return cls(
            drawn=np.array([row.mask_drawn for row in rows], dtype=float) * shown,
            iou=ungated * shown,
            iou_ungated=ungated,
            dice_ungated=np.where(np.isnan(expected), np.nan, overlap["dice"]),
            mask_confidence=np.nan_to_num(expected),
            dice=overlap["dice"] * shown,
            nsd=overlap["nsd"] * shown,
            hd95=np.where(shown | np.isnan(overlap["hd95"]), overlap["hd95"], 100.0),
            intersection=overlap["intersection"] * shown,
            union=np.where(shown, overlap["union"], overlap["truth"]),
            present=np.array([row.present for row in rows], dtype=bool),
            presence=presence,
            right=_column(rows, _is_right),
            uncertain=_column(
                rows, lambda row: None if row.diagnosis is None else float(row.uncertain)
            ),
            labels=np.array([_index(diagnoses, row.diagnosis) for row in rows], dtype=np.intp),
            confidence=np.array([row.confidence for row in rows], dtype=float),
            modality=_column(rows, lambda row: row.modality_right),
            facts={kind: _fact(rows, kind) for kind in FACTS},
        )


_OVERLAP: dict[str, Callable[[Row], float | None]] = {
    "dice": lambda row: None if row.overlap is None else row.overlap.dice,
    "nsd": lambda row: None if row.overlap is None else row.overlap.nsd,
    "hd95": lambda row: (
        None if row.overlap is None else 100 * row.overlap.hd95 / row.overlap.diagonal
    ),
    "intersection": lambda row: None if row.overlap is None else row.overlap.intersection,
    "union": lambda row: None if row.overlap is None else row.overlap.union,
    "truth": lambda row: None if row.overlap is None else row.overlap.truth,
}


def _column(rows: Sequence[Row], read: Callable[[Row], float | None]) -> Values:
    values = [read(row) for row in rows]
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _is_right(row: Row) -> float | None:
    return None if row.diagnosis is None else float(row.predicted == row.diagnosis)


def _index(diagnoses: list[str], diagnosis: str | None) -> int:
    return -1 if diagnosis is None else diagnoses.index(diagnosis)


def _fact(rows: Sequence[Row], kind: str) -> FactColumns:
    judged = [agreement(row.stated, row.true, kind) for row in rows]
    right = np.array([np.nan if value is None else float(value) for value in judged])
    true = [row.true[kind] for row, value in zip(rows, judged, strict=True) if value is not None]
    return FactColumns(right.astype(float), constant_agreement(kind, true))
