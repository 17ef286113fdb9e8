"""What the volumetric network is taught."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from Sim4SegCore.modeling.volumetric import VolumeGrounding

from .batches import WindowBatch

SIMILARITY, PRESENCE = 0.5, 0.3


def volumetric_loss(output: VolumeGrounding, batch: WindowBatch) -> dict[str, Tensor]:
    """Terms of the loss, weighted; `total` is their sum.

    Mask: BCE over all queries, Dice over those whose target is in the window. Similarity: BCE on
    the shares of the target in the cells of the feature volume. Presence: BCE.
    """
    shares, present = batch.shares, batch.present
    probability = output.mask_logits.sigmoid()
    overlap = (probability * shares).flatten(1).sum(1)
    total = probability.flatten(1).sum(1) + batch.voxels
    dice = 1 - (2 * overlap + 1) / (total + 1)
    depth, height, width = output.similarity_logits.shape[1:]
    cells = F.adaptive_avg_pool3d(shares[:, None], (depth, height, width))[:, 0]
    presence = F.binary_cross_entropy_with_logits(
        output.presence_logits, present, weight=batch.is_clear
    )
    terms = {
        "mask_bce": F.binary_cross_entropy_with_logits(output.mask_logits, shares),
        "mask_dice": (dice * present).sum() / present.sum().clamp_min(1),
        "similarity": SIMILARITY
        * F.binary_cross_entropy_with_logits(output.similarity_logits, cells),
        "presence": PRESENCE * presence,
    }
    return terms | {"total": torch.stack(list(terms.values())).sum()}
