"""Parts of the volumetric network, from MONAI's blocks. Tensors are (B, C, z, y, x)."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from monai.networks.blocks.segresnet_block import ResBlock
from torch import Tensor, nn

NORM_GROUPS = 8


class VolumeEncoder(nn.Module):
    """Residual encoder; each level has half the resolution of the one before.

    The finest level is a single convolution: it costs most, and knows edges, not anatomy.
    """

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Conv3d(1, channels[0], 3, padding=1)
        self.down = nn.ModuleList(
            nn.Conv3d(fine, coarse, 3, stride=2, padding=1) for fine, coarse in pairwise(channels)
        )
        self.blocks = nn.ModuleList(_residual(width) for width in channels[1:])

    def forward(self, volumes: Tensor) -> list[Tensor]:
        """(B, 1, z, y, x) to features of every level, the finest first."""
        features = [self.stem(volumes)]
        for down, block in zip(self.down, self.blocks, strict=True):
            features.append(block(down(features[-1])))
        return features


class Rise(nn.Module):
    """Coarse features to twice the resolution, added to those of the finer level."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.raised = nn.ConvTranspose3d(coarse, fine, 2, stride=2)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """(B, C, z, y, x) and (B, c, 2z, 2y, 2x) to (B, c, 2z, 2y, 2x)."""
        summed: Tensor = self.raised(coarse) + fine
        return summed


class SteeredBlock(nn.Module):
    """Pre-activation residual block whose features the query scales and shifts (FiLM,
    arXiv 1709.07871).
    """

    def __init__(self, channels: int, query_channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(NORM_GROUPS, channels)
        self.first = nn.Conv3d(channels, channels, 3, padding=1, bias=False)
        self.steered_norm = nn.GroupNorm(NORM_GROUPS, channels)
        self.modulation = nn.Linear(query_channels, 2 * channels)
        self.second = nn.Conv3d(channels, channels, 3, padding=1, bias=False)

    def forward(self, features: Tensor, query: Tensor) -> Tensor:
        """(B, C, z, y, x) and (B, Q) to (B, C, z, y, x)."""
        hidden = self.first(F.relu(self.norm(features)))
        scale, shift = self.modulation(query)[..., None, None, None].chunk(2, dim=1)
        hidden = F.relu(self.steered_norm(hidden) * (1 + scale) + shift)
        changed: Tensor = features + self.second(hidden)
        return changed


def _residual(channels: int) -> nn.Module:
    block: nn.Module = ResBlock(3, channels, ("GROUP", {"num_groups": NORM_GROUPS}))
    return block


class FeatureNeck(nn.Module):
    """The feature volume: the coarsest level's context at the resolution of the level before."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.rise = Rise(coarse, fine)
        self.block = _residual(fine)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Features of two neighbouring levels to the finer one's shape."""
        mixed: Tensor = self.block(self.rise(coarse, fine))
        return mixed


class MaskHead(nn.Module):
    """Full-resolution features to mask logits, steered by the query."""

    def __init__(self, channels: int, query_channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(NORM_GROUPS, channels)
        self.modulation = nn.Linear(query_channels, 2 * channels)
        self.mix = nn.Conv3d(channels, channels, 3, padding=1)
        self.logit = nn.Conv3d(channels, 1, 1)

    def forward(self, features: Tensor, query: Tensor) -> Tensor:
        """(B, C, z, y, x) and (B, Q) to float32 (B, z, y, x)."""
        scale, shift = self.modulation(query)[..., None, None, None].chunk(2, dim=1)
        hidden = F.relu(self.norm(features) * (1 + scale) + shift)
        return self.logit(F.relu(self.mix(hidden)))[:, 0].float()
