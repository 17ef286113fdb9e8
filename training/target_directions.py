"""A fixed direction for every target, which the [SEG] embedding of a query for it is taught.

The masks alone tell a small language model too little of what the query asked for: in most
images there is one thing to find, so that [SEG] comes to mean "what there is". Directions that
are drawn once and stay are as good as learned ones (Hoffer et al., arXiv 1801.04540), and need
no parameters that a finished model would carry along.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from .records import Record
from .targets import STRANGERS, SYNONYMS

SHARPNESS = 10.0
"""Cosines times this are logits."""


def taught_targets(records: Iterable[Record]) -> tuple[str, ...]:
    """Every target that a query of training may ask for."""
    asked = {target for record in records for target in (record.asked, *(record.masks or ()))}
    return tuple(sorted(asked | set(SYNONYMS) | set(STRANGERS)))


def directions(targets: Iterable[str], width: int) -> Tensor:
    """Unit vectors (N, width), each a function of the target's name alone."""
    drawn = [
        torch.randn(width, generator=torch.Generator().manual_seed(zlib.crc32(target.encode())))
        for target in targets
    ]
    return F.normalize(torch.stack(drawn), dim=-1)


def direction_loss(embeddings: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    """Sum of cross-entropies of which direction an embedding points to.

    Args:
        embeddings: (B, C).
        targets: (B,) rows of `known`.
        known: (N, C) from `directions`.
    """
    cosines = F.normalize(embeddings.float(), dim=-1) @ known.T
    return F.cross_entropy(SHARPNESS * cosines, targets, reduction="sum")
