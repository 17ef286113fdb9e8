"""Averages over runs that began with the same weights (model soups, arXiv 2203.05482)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from Sim4SegCore.errors import Sim4SegError

from .state import STATE_FILE, read

SEGMENTER = "segmenter."


def average_segmenters(average: Mapping[str, Tensor], runs: Sequence[Path]) -> dict[str, Tensor]:
    """A run's averaged weights, its segmenter averaged once more with those of other runs.

    Args:
        average: parameters by name.
        runs: folders of the other runs.

    Raises:
        Sim4SegError: if a run has no saved state, or its segmenter other parameters.
    """
    own = {name: value for name, value in average.items() if name.startswith(SEGMENTER)}
    gathered = {name: [value] for name, value in own.items()}
    for run in runs:
        others = read(run / STATE_FILE)["average"]
        for name, value in own.items():
            if name not in others or others[name].shape != value.shape:
                raise Sim4SegError(f"{run} has trained no segmenter like this one: {name} differs")
            gathered[name].append(others[name])
    return {**average, **{name: torch.stack(found).mean(0) for name, found in gathered.items()}}
