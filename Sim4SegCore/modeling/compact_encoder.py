"""A small image encoder of the segmenter's own, for models without the weights of a large ViT.

Sharing the LVLM's tower is cheaper by one pass, but then text and masks pull at one set of
features. This encoder learns from masks alone. Query-independent, so that an image is encoded
once; the query enters in `conditioning.ConditionedPyramid`, which reads every level.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .image_embedding import ImageEmbedding
from .vision import STRIDES, ConvNorm, maps_of_stages, residual_stages


class CompactEncoder(nn.Module):
    """Residual stages at strides 4, 8, 16 and 32, each brought to the decoder's channels."""

    def __init__(
        self, channels: Sequence[int], depths: Sequence[int], embed_dim: int, stride: int
    ) -> None:
        """
        Args:
            channels: of the stages.
            depths: residual blocks per stage.
            embed_dim: channels of SAM's image embedding.
            stride: pixels per cell of it, one of STRIDES but not the last.
        """
        super().__init__()
        self.level = STRIDES.index(stride)
        self.stem = nn.Sequential(
            ConvNorm(3, channels[0] // 2, 3, 2),
            nn.ReLU(),
            ConvNorm(channels[0] // 2, channels[0], 3, 2),
        )
        self.stages = residual_stages(channels, depths)
        self.laterals = nn.ModuleList(
            nn.Conv2d(width, embed_dim, 1) for width in channels[self.level :]
        )
        self.fine = nn.Conv2d(channels[self.level - 1], embed_dim // 4, 1) if self.level else None

    def forward(self, pixels: Tensor) -> ImageEmbedding:
        """(B, 3, S, S) normalised pixels to the embedding of every level."""
        maps = maps_of_stages(self.stages, F.relu(self.stem(pixels)))
        coarse, *context = (
            lateral(features)
            for lateral, features in zip(self.laterals, maps[self.level :], strict=True)
        )
        fine = None if self.fine is None else self.fine(maps[self.level - 1])
        return ImageEmbedding(coarse, fine, tuple(context))
