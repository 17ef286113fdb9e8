"""The loss: text, masks (Sim4Seg, arXiv 2511.06665), and what an honest model needs beside.

The paper trains text cross-entropy, mask BCE and Dice. Added: presence (is the target there at
all), the decoder's estimate of its own IoU, SAM's best-of-three for its multimask outputs, and
BCE on the similarity map itself, so that [SEG] and the image tokens meet early in training; and
the diagnosis read linearly from the mean image token, which teaches the image encoder what the
language model has to tell long before its own attention does (the classifier is not kept).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from Sim4SegCore.modeling.sim4seg import TeacherForced

from .batches import IGNORED, Batch
from .config import LossWeights


def total_loss(
    output: TeacherForced, class_logits: Tensor, batch: Batch, weights: LossWeights
) -> tuple[Tensor, dict[str, float]]:
    """Weighted sum of all terms, and each term unweighted for the log.

    Args:
        class_logits: (B, labels) of the auxiliary classifier on the mean image token.
    """
    terms = _mask_terms(output, batch)
    if bool((batch.diagnosis != IGNORED).any()):
        terms["classification"] = F.cross_entropy(
            class_logits.float(), batch.diagnosis, ignore_index=IGNORED
        )
    terms["text"] = text_loss(output.token_logits, batch.text_ids, batch.token_weights)
    terms["presence"] = F.binary_cross_entropy_with_logits(
        output.grounding.presence_logits, batch.present
    )
    found = batch.present > 0
    terms["detail"] = _mean(
        F.binary_cross_entropy_with_logits(
            output.grounding.detail_logits, batch.detail, reduction="none"
        ),
        found,
    )
    total = sum(getattr(weights, name) * value for name, value in terms.items())
    assert isinstance(total, Tensor)
    return total, {name: float(value.detach()) for name, value in terms.items()}


def text_loss(token_logits: Tensor, text_ids: Tensor, token_weights: Tensor) -> Tensor:
    """Next-token cross-entropy, weighted by token; (B, T, V), (B, T), (B, T)."""
    weights = token_weights[:, 1:].flatten()
    taught = weights > 0
    losses = F.cross_entropy(
        token_logits[:, :-1].flatten(0, 1)[taught],
        text_ids[:, 1:].flatten()[taught],
        reduction="none",
    )
    return (losses * weights[taught]).sum() / weights.sum().clamp_min(1.0)


def _mask_terms(output: TeacherForced, batch: Batch) -> dict[str, Tensor]:
    grounding = output.grounding
    valid = batch.frames.sam_valid[:, None].float()
    logits = grounding.mask_logits.float()
    bce, dice = mask_losses(logits, batch.mask.expand_as(logits), valid)
    with_finding = batch.mask_known & (batch.mask.flatten(1).amax(1) > 0.5)
    similarity_bce, similarity_dice = mask_losses(
        grounding.prompt.similarity_logits.float(), batch.mask, valid
    )
    extra = bce[:, 1:] * 2 + dice[:, 1:] * 0.5
    terms = {
        "mask_bce": _mean(bce[:, 0], batch.mask_known),
        "mask_dice": _mean(dice[:, 0], with_finding),
        "similarity": _mean(similarity_bce[:, 0] + 0.25 * similarity_dice[:, 0], with_finding),
        "iou": _mean(_iou_error(grounding.iou.float(), logits, batch.mask, valid), with_finding),
    }
    if extra.shape[1]:
        terms["multimask"] = _mean(extra.amin(1), with_finding)
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


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    weight = chosen.to(values)
    return (values * weight).sum() / weight.sum().clamp_min(1.0)
