"""Asking what was planned."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from Sim4SegCore.intensity import to_rgb8
from Sim4SegCore.io import read_case

from ...records import Record
from ..answering import Predictor
from ..overlap import dice, iou
from ..rows import check_size, read_truth
from .phrasings import Phrasing
from .plan import Paraphrases, StructureQuestion, Visit
from .rows import AbsentRow, ObedienceRows, ParaphraseRow, StructureRow, Worded

Mask = NDArray[np.bool_]


class Watcher(Protocol):
    """Sees the masks of structures, which rows do not keep."""

    def __call__(
        self, record: Record, image: NDArray[np.uint8], asked: str, mask: Mask, truth: Mask
    ) -> None:
        """An image (H, W, 3), the name asked for, the mask that was drawn and the true one."""


def evaluate_obedience(
    predictor: Predictor,
    visits: Sequence[Visit],
    folder: Path,
    watch: Watcher | None = None,
) -> ObedienceRows:
    """Encode each image once and ask it everything that is planned.

    Args:
        folder: holds the images and masks that the records name.

    Raises:
        Sim4SegError: if an image or mask cannot be read.
    """
    rows = ObedienceRows()
    for visit in tqdm(visits, unit="image", mininterval=5, dynamic_ncols=True):
        image = to_rgb8(read_case(folder / visit.record.image))
        predictor.set_image(image)
        truths = _truths(visit, folder, image.shape[:2])
        for question in visit.structures:
            mask = predictor.ask(question.query).findings[0].mask
            rows.structures.extend(_structure_rows(visit.record, question, mask, truths))
            if watch is not None:
                watch(visit.record, image, question.asked, mask, truths[question.target])
        rows.absent.extend(_absent_rows(predictor, visit))
        if visit.paraphrases is not None:
            rows.paraphrases.extend(
                _paraphrase_rows(predictor, visit.record, visit.paraphrases, truths)
            )
    return rows


def _truths(visit: Visit, folder: Path, size: tuple[int, ...]) -> dict[str, Mask]:
    """True masks of the targets that the visit's answers are compared with."""
    targets = {question.target for question in visit.structures}
    if visit.paraphrases is not None:
        targets.add(visit.paraphrases.target)
    truths = {}
    for target in sorted(targets):
        truth = read_truth(visit.record, target, folder)
        assert truth is not None
        check_size(visit.record, target, truth, size)
        truths[target] = truth
    return truths


def _structure_rows(
    record: Record, question: StructureQuestion, mask: Mask, truths: dict[str, Mask]
) -> list[StructureRow]:
    return [
        StructureRow(
            id=record.id,
            dataset=record.dataset,
            cluster=record.cluster,
            asked=question.asked,
            target=question.target,
            truth=name,
            iou=iou(mask, truth),
            dice=dice(mask, truth),
            true_iou=iou(truths[question.target], truth),
            mask_shown=bool(mask.any()),
        )
        for name, truth in truths.items()
    ]


def _absent_rows(predictor: Predictor, visit: Visit) -> list[AbsentRow]:
    rows = []
    for question in visit.absent:
        finding = predictor.ask(question.query).findings[0]
        rows.append(
            AbsentRow(
                id=visit.record.id,
                dataset=visit.record.dataset,
                cluster=visit.record.cluster,
                kind=question.kind,
                target=question.target,
                presence=finding.confidence,
                mask_shown=bool(finding.mask.any()),
                covered=float(finding.mask.mean()),
            )
        )
    return rows


def _paraphrase_rows(
    predictor: Predictor, record: Record, wanted: Paraphrases, truths: dict[str, Mask]
) -> list[ParaphraseRow]:
    rows = []
    for seen, phrasings in ((True, wanted.seen), (False, wanted.unseen)):
        masks = [predictor.ask(phrasing.query).findings[0].mask for phrasing in phrasings]
        pairs = [dice(one, other) for one, other in combinations(masks, 2)]
        rows.append(
            ParaphraseRow(
                id=record.id,
                dataset=record.dataset,
                cluster=record.cluster,
                target=wanted.target,
                seen=seen,
                agreement=float(np.mean(pairs)),
                words=tuple(
                    _worded(phrasing, mask, truths[wanted.target])
                    for phrasing, mask in zip(phrasings, masks, strict=True)
                ),
            )
        )
    return rows


def _worded(phrasing: Phrasing, mask: Mask, truth: Mask) -> Worded:
    return Worded(phrasing.sentence, phrasing.query, bool(mask.any()), dice(mask, truth))
