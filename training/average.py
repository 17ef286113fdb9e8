"""Exponential moving average of the weights that are trained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn


class WeightAverage:
    """Average of a model's trainable parameters, by name.

    Frozen weights are not kept twice, so that a large model's adapters cost little.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.values = {n: p.detach().clone() for n, p in self._parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after a step; early ones count less than the decay says."""
        decay = min(self.decay, (1 + step) / (10 + step))
        current = [p.detach() for p in self._parameters.values()]
        torch._foreach_lerp_(list(self.values.values()), current, 1 - decay)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """While open, the model has the averaged weights."""
        own = {n: p.detach().clone() for n, p in self._parameters.items()}
        self._copy(self.values)
        try:
            yield
        finally:
            self._copy(own)

    @torch.no_grad()
    def _copy(self, values: dict[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(values[name])
