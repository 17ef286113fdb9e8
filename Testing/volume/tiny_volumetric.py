"""Small volumetric networks: one with random weights, and one whose masks are known."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from Sim4SegCore.modeling.sim4seg import Sim4SegModel
from Sim4SegCore.modeling.volumetric import VolumeGrounding, VolumetricConfig, VolumetricNetwork

SIZES = {
    "channels": (8, 8, 16, 16),
    "window": (16, 24, 16),
    "targets": ("polyp",),
    "modality": "",
    "spacing_mm": 2.0,
}


class RandomNetwork(VolumetricNetwork):
    """Random weights; about half of all voxels belong to its masks."""

    def __init__(self, seg_width: int) -> None:
        torch.manual_seed(3)
        super().__init__(VolumetricConfig(seg_width=seg_width, presence_threshold=0.01, **SIZES))
        self.eval().requires_grad_(False)
        noise = torch.randn(4, 1, 16, 24, 16).clamp(-1, 1)
        query = torch.eye(16)[:4]
        for factor in (1.0, 20.0):
            self.head.logit.weight *= factor
            self.head.logit.bias -= VolumetricNetwork.forward(
                self, noise, query
            ).mask_logits.median()


class Hears(nn.Module):
    """Takes every query for the same."""

    def __init__(self, query: Tensor) -> None:
        super().__init__()
        self.heard = query

    def forward(self, seg_state: Tensor, words: Tensor) -> Tensor:
        return self.heard.expand(len(seg_state), -1)


class BrightNetwork(RandomNetwork):
    """Marks whatever is brighter than the middle of its window; the target is in windows that
    have any light above `least_light`. Takes every query for its target.
    """

    least_light = 0.0

    def __init__(self, seg_width: int) -> None:
        super().__init__(seg_width)
        self.shapes: list[tuple[int, ...]] = []
        self.reader = Hears(self.prototypes[0])

    def forward(self, windows: Tensor, query: Tensor) -> VolumeGrounding:
        self.shapes.append(tuple(windows.shape))
        light = windows[:, 0].float()
        is_target = torch.isclose(query, self.meant(self.prototypes[0])[1], atol=1e-4).all(-1)
        presence = 20 * (light.flatten(1).amax(1) - self.least_light)
        presence = torch.where(is_target, presence, torch.full_like(presence, -20.0))
        return VolumeGrounding(20 * light, light[:, ::4, ::4, ::4], presence)


class Given:
    """Stands in the place of a `VolumetricSource`."""

    def __init__(self, network: VolumetricNetwork) -> None:
        self._network = network

    def network(self, model: Sim4SegModel) -> VolumetricNetwork:
        return self._network.to(model.device)
