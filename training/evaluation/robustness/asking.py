"""Asking for every finding of a split in images that were changed, against the mask it has there.

Every question is asked under every perturbation, so that what a perturbation costs is compared on
the same questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.intensity import to_rgb8
from Sim4SegCore.io import read_case

from ...records import Record
from ...text import canonical_query
from ..answering import Predictor
from ..overlap import iou
from ..rows import check_size, read_truth
from .perturbations import PERTURBATIONS, Mask, Perturbation, Pixels


@dataclass(frozen=True)
class PerturbedRow:
    """One question about one changed image.

    Attributes:
        cluster: what is resampled as one, see `Record.cluster`.
        iou: of the mask that the user is shown; None where the finding left the picture.
        mask_shown: that mask has a pixel.
        presence: the model's probability.
    """

    id: str
    dataset: str
    target: str
    cluster: str
    perturbation: str
    iou: float | None
    mask_shown: bool
    presence: float


def evaluate_robustness(
    predictor: Predictor,
    records: Sequence[Record],
    folder: Path,
    perturbations: Sequence[Perturbation] = PERTURBATIONS,
) -> list[PerturbedRow]:
    """Ask for every finding that has a mask, under every perturbation.

    Args:
        folder: holds the images and masks that the records name.

    Raises:
        Sim4SegError: if no record has a finding, or an image or mask cannot be read.
    """
    rows: list[PerturbedRow] = []
    found = [record for record in records if record.masks]
    for record in tqdm(found, unit="image", mininterval=5, dynamic_ncols=True):
        image = to_rgb8(read_case(folder / record.image))
        truths = _truths(record, folder, image.shape[:2])
        for perturbation in perturbations:
            rows += _ask(predictor, record, image, truths, perturbation)
    if not rows:
        raise Sim4SegError("no image has a finding with a mask; choose other sets")
    return rows


def _truths(record: Record, folder: Path, size: tuple[int, ...]) -> dict[str, Mask]:
    truths = {}
    for target in record.questions:
        truth = read_truth(record, target, folder)
        if truth is not None and truth.any():
            check_size(record, target, truth, size)
            truths[target] = truth
    return truths


def _ask(
    predictor: Predictor,
    record: Record,
    image: Pixels,
    truths: dict[str, Mask],
    perturbation: Perturbation,
) -> list[PerturbedRow]:
    predictor.set_image(perturbation.image(image))
    rows = []
    for target, original in truths.items():
        finding = predictor.ask(canonical_query(target, record.dataset)).findings[0]
        truth = perturbation.truth(original)
        drawn = perturbation.drawn(finding.mask, original.shape)
        rows.append(
            PerturbedRow(
                id=record.id,
                dataset=record.dataset,
                target=target,
                cluster=record.cluster,
                perturbation=perturbation.name,
                iou=iou(drawn, truth) if truth.any() else None,
                mask_shown=bool(drawn.any()),
                presence=finding.confidence,
            )
        )
    return rows
