"""What the classifier is taught: the diagnosis of images whose diagnosis is known."""

from __future__ import annotations

import dataclasses
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from Sim4SegCore.errors import Sim4SegError

from ..config import TrainingConfig
from ..mixture import Mixture, group_records
from ..records import Record
from ..sample_views import Variation, ViewMaker, rendered
from ..samples import IGNORED, stack_images
from ..views import ImageStore, Pixels


@dataclass(frozen=True)
class DiagnosisBatch:
    """B images.

    Attributes:
        images: uint8 (B, 3, S, S).
        diagnosis: (B,) index of the label, or IGNORED where a crop shows too little of the finding.
    """

    record_ids: list[str]
    images: Tensor
    diagnosis: Tensor

    def to(self, device: torch.device) -> DiagnosisBatch:
        """The same on another device."""
        return dataclasses.replace(
            self, images=self.images.to(device), diagnosis=self.diagnosis.to(device)
        )


def labels_by_set(records: Sequence[Record]) -> dict[str, frozenset[str]]:
    """The diagnoses that each set has in these records; sets without any are not listed."""
    found: dict[str, set[str]] = defaultdict(set)
    for record in records:
        if record.diagnosis is not None:
            found[record.dataset].add(record.diagnosis)
    return {name: frozenset(labels) for name, labels in found.items()}


def labels_of(records: Sequence[Record]) -> tuple[str, ...]:
    """The union of diagnoses.

    Raises:
        Sim4SegError: if none is known.
    """
    labels = frozenset[str]().union(*labels_by_set(records).values())
    if not labels:
        raise Sim4SegError("no training record has a diagnosis; the classifier has none to learn")
    return tuple(sorted(labels))


class DiagnosisBatches(Dataset[DiagnosisBatch]):
    """Item n is the batch of step n, a pure function of the seed and n.

    Views are those of the language model; nobody asks for another organ's target, of which there
    would be no diagnosis.
    """

    def __init__(
        self,
        config: TrainingConfig,
        records: Sequence[Record],
        labels: Sequence[str],
        store: ImageStore,
    ) -> None:
        self.config = config
        self.labels = {label: n for n, label in enumerate(labels)}
        sampling = dataclasses.replace(config.sampling, mismatched=0.0)
        known = [record for record in records if record.diagnosis is not None]
        self.mixture = Mixture(sampling, group_records(known))
        self.views = ViewMaker(sampling, config.model, store, Variation(sampling.geometry))

    def __len__(self) -> int:
        return self.config.steps

    def __getitem__(self, step: int) -> DiagnosisBatch:
        weights = self.mixture.weights(step)
        samples = [self._sample(step, n, weights) for n in range(self.config.batch_size)]
        return DiagnosisBatch(
            record_ids=[record.id for record, _, _ in samples],
            images=stack_images([image for _, image, _ in samples]),
            diagnosis=torch.tensor([diagnosis for _, _, diagnosis in samples]),
        )

    def _sample(
        self, step: int, number: int, weights: Sequence[float]
    ) -> tuple[Record, Pixels, int]:
        rng = random.Random(f"{self.config.seed}/{step}/{number}")
        asked = self.mixture.draw(weights, rng)
        record = asked.record
        views = self.views.draw(record, asked.target, False, rng)
        image = rendered(views.image, views.lvlm_frame, self.views.changes(record, rng))
        lost = record.is_present(asked.target) and not views.shows_finding()
        assert record.diagnosis is not None
        return record, image, IGNORED if lost else self.labels[record.diagnosis]


def diagnosis_loss(logits: Tensor, batch: DiagnosisBatch) -> dict[str, Tensor]:
    """Cross-entropy of logits (B, labels), as `total`."""
    summed = F.cross_entropy(logits.float(), batch.diagnosis, ignore_index=IGNORED, reduction="sum")
    return {"total": summed / (batch.diagnosis != IGNORED).sum().clamp_min(1)}
