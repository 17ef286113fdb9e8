"""What the U-Net is taught: the mask of the asked target, on that target's channel alone."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.frame import content_mask

from ..config import LossWeights, TrainingConfig
from ..losses import mask_losses
from ..mixture import Mixture, group_records
from ..records import Record
from ..sample_views import Variation, ViewMaker, rendered
from ..samples import stack_images
from ..views import ImageStore, Pixels
from .networks import OUTPUT_STRIDE


@dataclass(frozen=True)
class MaskBatch:
    """B questions.

    Attributes:
        images: uint8 (B, 3, S, S).
        channel: (B,) the asked target's.
        mask: (B, 1, P, P) in 0..1, P = S / OUTPUT_STRIDE; empty where the target is absent.
        valid: bool (B, 1, P, P), where the image is and not padding.
        known: bool (B,), whether `mask` is the truth.
    """

    record_ids: list[str]
    images: Tensor
    channel: Tensor
    mask: Tensor
    valid: Tensor
    known: Tensor

    def to(self, device: torch.device) -> MaskBatch:
        """The same on another device."""
        tensors = ("images", "channel", "mask", "valid", "known")
        return dataclasses.replace(self, **{n: getattr(self, n).to(device) for n in tensors})


def targets_of(records: Sequence[Record]) -> tuple[str, ...]:
    """Every target that these records are asked for, a channel each.

    Raises:
        Sim4SegError: if none of them has a mask.
    """
    if not any(record.masks for record in records):
        raise Sim4SegError("no training record has a mask; the U-Net has nothing to learn")
    return tuple(sorted({target for (_, target, _), _ in group_records(records)}))


class MaskBatches(Dataset[MaskBatch]):
    """Item n is the batch of step n, a pure function of the seed and n."""

    def __init__(
        self,
        config: TrainingConfig,
        records: Sequence[Record],
        targets: Sequence[str],
        store: ImageStore,
    ) -> None:
        self.config = config
        self.channels = {target: n for n, target in enumerate(targets)}
        self.mixture = Mixture(config.sampling, group_records(records), frozenset(targets))
        variation = Variation(config.sampling.geometry)
        self.views = ViewMaker(config.sampling, config.model, store, variation)

    def __len__(self) -> int:
        return self.config.steps

    def __getitem__(self, step: int) -> MaskBatch:
        weights = self.mixture.weights(step)
        samples = [self._sample(step, n, weights) for n in range(self.config.batch_size)]
        masks = np.stack([sample.mask for sample in samples])
        return MaskBatch(
            record_ids=[sample.record_id for sample in samples],
            images=stack_images([sample.image for sample in samples]),
            channel=torch.tensor([sample.channel for sample in samples]),
            mask=torch.from_numpy(masks)[:, None].float() / 255,
            valid=torch.stack([sample.valid for sample in samples])[:, None],
            known=torch.tensor([sample.known for sample in samples]),
        )

    def _sample(self, step: int, number: int, weights: Sequence[float]) -> _Sample:
        rng = random.Random(f"{self.config.seed}/{step}/{number}")
        asked = self.mixture.draw(weights, rng)
        record, target = asked.record, asked.target
        views = self.views.draw(record, target, asked.mismatched, rng)
        frame = views.sam_frame
        drawn = frame.side // OUTPUT_STRIDE
        return _Sample(
            record_id=record.id,
            image=rendered(views.image, frame, self.views.changes(record, rng)),
            channel=self.channels[target],
            mask=views.drawn_mask(drawn),
            valid=content_mask(frame, drawn),
            known=asked.mismatched or views.mask is not None or not record.is_present(target),
        )


@dataclass(frozen=True)
class _Sample:
    record_id: str
    image: Pixels
    channel: int
    mask: Pixels
    valid: Tensor
    known: bool


class MaskLoss:
    """BCE and Dice, weighted and averaged as the model's masks are."""

    def __init__(self, weights: LossWeights) -> None:
        self.weights = weights

    def __call__(self, logits: Tensor, batch: MaskBatch) -> dict[str, Tensor]:
        """Each term, and their weighted sum as `total`.

        BCE counts every mask that is known, Dice those with a finding in view.

        Args:
            logits: (B, targets, P, P).
        """
        rows = torch.arange(len(logits), device=logits.device)
        asked = logits[rows, batch.channel][:, None].float()
        bce, dice = mask_losses(asked, batch.mask, batch.valid.float())
        finding = batch.known & (batch.mask.flatten(1).amax(1) > 0.5)
        terms = {
            "mask_bce": _mean_over(bce[:, 0], batch.known),
            "mask_dice": _mean_over(dice[:, 0], finding),
        }
        total = self.weights.mask_bce * terms["mask_bce"]
        return terms | {"total": total + self.weights.mask_dice * terms["mask_dice"]}


def _mean_over(values: Tensor, counted: Tensor) -> Tensor:
    return (values * counted).sum() / counted.sum().clamp_min(1)
