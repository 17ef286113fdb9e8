"""Small volumetric networks: one with random weights, and one whose masks are known."""

from __future__ import annotations

import torch
from torch import Tensor

from Sim4SegCore.modeling.sim4seg import Sim4SegModel
from Sim4SegCore.modeling.volumetric import VolumeGrounding, VolumetricConfig, VolumetricNetwork

SIZES = {"channels": (8, 8, 16, 16), "window": (16, 24, 16), "targets": ("polyp",)}


class RandomNetwork(VolumetricNetwork):
    """Random weights, eager enough to find something."""

    def __init__(self, seg_width: int, **options) -> None:
        torch.manual_seed(3)
        eager = {"presence_threshold": 0.01, "mask_threshold": 0.5, "spacing_mm": 2.0}
        super().__init__(VolumetricConfig(seg_width=seg_width, **SIZES, **eager | options))
        self.eval().requires_grad_(False)


class BrightNetwork(RandomNetwork):
    """Marks whatever is brighter than the middle of its window; the target is in windows that
    have any of it.
    """

    shapes: list[tuple[int, ...]]

    def forward(self, windows: Tensor, query: Tensor) -> VolumeGrounding:
        self.__dict__.setdefault("shapes", []).append(tuple(windows.shape))
        logits = windows[:, 0].float() * 20
        presence = logits.flatten(1).amax(1)
        return VolumeGrounding(logits, logits[:, ::4, ::4, ::4], presence)


class Given:
    """Stands in the place of a `VolumetricSource`."""

    def __init__(self, network: VolumetricNetwork) -> None:
        self._network = network

    def network(self, model: Sim4SegModel) -> VolumetricNetwork:
        return self._network.to(model.device)
