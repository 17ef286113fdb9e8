"""Layers that several parts share."""

from __future__ import annotations

import torch
from torch import nn


def two_layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Linear, ReLU, Linear: the paper's projection."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def lay_out_channels_last(model: nn.Module) -> None:
    """Kernels of 2D convolutions as they compute fastest; values and shapes stay."""
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
