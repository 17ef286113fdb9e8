"""Tells weights apart, in whatever precision they run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def fingerprint(weights: Mapping[str, Tensor], most: int | None = None) -> str:
    """Hash of names and values.

    Args:
        weights: by name, of any floating-point precision.
        most: how many values of each tensor count; None for all.
    """
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(name.encode())
        # As they are stored, then the coarsest that they are loaded in, so that all agree.
        coarse = value.flatten()[:most].cpu().half().to(torch.bfloat16).contiguous()
        digest.update(coarse.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()
