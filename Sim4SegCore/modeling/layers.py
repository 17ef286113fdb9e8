"""Layers that several parts share."""

from __future__ import annotations

from torch import nn


def two_layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Linear, ReLU, Linear: the paper's projection."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
