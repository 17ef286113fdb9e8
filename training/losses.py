"""The loss: text, masks (Sim4Seg, arXiv 2511.06665), and what an honest model needs beside.

The paper trains text cross-entropy, mask BCE and Dice. Added: presence (is the target there at
all), the decoder's estimate of its own IoU, SAM's best-of-three for its multimask outputs, and
BCE on the similarity map itself, so that [SEG] and the image tokens meet early in training; and
the diagnosis head's cross-entropy, which teaches the image encoder what the language model has
to tell long before its own attention does; and the direction of the [SEG] embedding, which
teaches it to mean the target that was asked for (see `target_directions`).

Every term is a sum over this micro-batch, divided by a count over the whole batch: added up over
micro-batches and processes, it is the mean over the batch, however that was cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from Sim4SegCore.modeling.sim4seg import TeacherForced

from .batches import Batch
from .config import LossWeights
from .samples import IGNORED
from .target_directions import direction_loss


@dataclass
class Counts:
    """What the terms of a batch are divided by; add those of its parts.

    Attributes:
        values: (6,) samples, masks known, masks with a finding, findings, diagnoses, and the
            sum of token weights.
    """

    values: Tensor

    @classmethod
    def of(cls, batches: Sequence[Batch]) -> Counts:
        """Counts over micro-batches."""
        return cls(torch.stack([_counts(batch) for batch in batches]).sum(0))

    def divisors(self) -> dict[str, Tensor]:
        """Count by name, at least 1."""
        names = ("samples", "masks", "with_finding", "findings", "diagnoses", "tokens")
        return dict(zip(names, self.values.clamp_min(1.0), strict=True))


def _counts(batch: Batch) -> Tensor:
    samples = torch.ones_like(batch.present)
    counted = (
        samples,
        batch.mask_known,
        _with_finding(batch),
        batch.present > 0,
        batch.diagnosis != IGNORED,
        batch.token_weights[:, 1:],
    )
    return torch.stack([values.float().sum() for values in counted])


def _with_finding(batch: Batch) -> Tensor:
    return batch.mask_known & (batch.mask.flatten(1).amax(1) > 0.5)


def total_loss(
    output: TeacherForced,
    batch: Batch,
    weights: LossWeights,
    counts: Counts,
    target_directions: Tensor,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum of all terms, and each term unweighted for the log.

    Args:
        counts: of the whole batch that this micro-batch belongs to.
        target_directions: (N, C) of the targets that are taught.
    """
    divisor = counts.divisors()
    terms = _mask_terms(output, batch, divisor)
    if output.grounding.diagnosis_logits.shape[1]:
        terms["diagnosis"] = (
            F.cross_entropy(
                output.grounding.diagnosis_logits,
                batch.diagnosis,
                ignore_index=IGNORED,
                reduction="sum",
            )
            / divisor["diagnoses"]
        )
    terms["text"] = (
        text_loss(output.token_logits, batch.text_ids, batch.token_weights) / divisor["tokens"]
    )
    embeddings = output.grounding.seg_embedding
    terms["target"] = (
        direction_loss(embeddings, batch.target, target_directions) / divisor["samples"]
    )
    presence = F.binary_cross_entropy_with_logits(
        output.grounding.presence_logits, batch.present, reduction="sum"
    )
    terms["presence"] = presence / divisor["samples"]
    detail = F.binary_cross_entropy_with_logits(
        output.grounding.detail_logits, batch.detail, reduction="none"
    )
    terms["detail"] = (detail * (batch.present > 0)).sum() / divisor["findings"]
    total = torch.stack([getattr(weights, name) * value for name, value in terms.items()]).sum()
    return total, {name: value.detach() for name, value in terms.items()}


def text_loss(token_logits: Tensor, text_ids: Tensor, token_weights: Tensor) -> Tensor:
    """Sum of next-token cross-entropies times weights; (B, T, V), (B, T), (B, T)."""
    weights = token_weights[:, 1:].flatten()
    taught = weights > 0
    losses = F.cross_entropy(
        token_logits[:, :-1].flatten(0, 1)[taught],
        text_ids[:, 1:].flatten()[taught],
        reduction="none",
    )
    return (losses * weights[taught]).sum()


def _mask_terms(
    output: TeacherForced, batch: Batch, divisor: dict[str, Tensor]
) -> dict[str, Tensor]:
    grounding = output.grounding
    valid = batch.frames.sam_valid[:, None].float()
    logits = grounding.mask_logits.float()
    bce, dice = mask_losses(logits, batch.mask.expand_as(logits), valid)
    with_finding = _with_finding(batch).to(bce)
    similarity_bce, similarity_dice = mask_losses(
        grounding.prompt.similarity_logits.float(), batch.mask, valid
    )
    extra = bce[:, 1:] * 2 + dice[:, 1:] * 0.5
    of_finding = {
        "mask_dice": dice[:, 0],
        "similarity": similarity_bce[:, 0] + 0.25 * similarity_dice[:, 0],
        "iou": _iou_error(grounding.iou.float(), logits, batch.mask, valid),
    }
    if extra.shape[1]:
        of_finding["multimask"] = extra.amin(1)
    terms = {
        name: (values * with_finding).sum() / divisor["with_finding"]
        for name, values in of_finding.items()
    }
    terms["mask_bce"] = (bce[:, 0] * batch.mask_known).sum() / divisor["masks"]
    return terms


def mask_losses(logits: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Per-mask BCE and soft Dice over the valid pixels.

    Args:
        logits: (B, M, P, P).
        target: (B, M, P, P) in 0..1.
        valid: (B, 1, P, P) ones where the frame shows the image.

    Returns:
        two (B, M).
    """
    target = target.expand_as(logits)
    losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none") * valid
    bce = losses.flatten(2).sum(-1) / valid.flatten(2).sum(-1).clamp_min(1.0)
    probability = logits.sigmoid() * valid
    overlap = (probability * target).flatten(2).sum(-1)
    size = probability.flatten(2).sum(-1) + (target * valid).flatten(2).sum(-1)
    return bce, 1 - (2 * overlap + 1) / (size + 1)


def _iou_error(estimate: Tensor, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    with torch.no_grad():
        predicted = (logits > 0) & (valid > 0)
        truth = ((target > 0.5) & (valid > 0)).expand_as(predicted)
        union = (predicted | truth).flatten(2).sum(-1).clamp_min(1)
        iou = (predicted & truth).flatten(2).sum(-1) / union
    return (estimate - iou).square().mean(1)
