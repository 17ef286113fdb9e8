"""Convolutions over the image that the query steers.

SAM's decoder tells the image about its prompts by attention alone and draws at once: enough for
features of a very large encoder, too little for those of a small one, which has to decide what
"the mass" is after it was told to look for one. These blocks work between prompt and decoder.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .vision import NORM_GROUPS


class ConditionedBlock(nn.Module):
    """Residual block whose features the query scales and shifts (FiLM, arXiv 1709.07871).

    Leaves the image as it is until it was trained.
    """

    def __init__(self, channels: int, query_channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(NORM_GROUPS, channels)
        self.modulation = nn.Linear(query_channels, 2 * channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        for parameter in self.second.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor, query: Tensor) -> Tensor:
        """(B, C, h, w) and (B, Q) to (B, C, h, w)."""
        scale, shift = self.modulation(query)[..., None, None].chunk(2, dim=1)
        hidden = F.relu(self.norm(self.first(features)) * (1 + scale) + shift)
        changed: Tensor = features + self.second(hidden)
        return changed


class QueryConditioning(nn.Module):
    """Blocks at half and full resolution of SAM's image embedding, and one on its fine path."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.wide = ConditionedBlock(embed_dim, embed_dim)
        self.coarse = ConditionedBlock(embed_dim, embed_dim)
        self.fine = ConditionedBlock(embed_dim // 4, embed_dim)

    def steer(self, embedding: Tensor, context: tuple[Tensor, ...], query: Tensor) -> Tensor:
        """Image embedding with its dense prompt (B, C, h, w), query (B, C); the same shape.

        Args:
            context: empty, a shared encoder has merged its levels.
        """
        pooled = F.avg_pool2d(embedding, 2)
        learned = self.wide(pooled, query) - pooled
        wide = F.interpolate(learned, size=embedding.shape[-2:], mode="bilinear")
        steered: Tensor = self.coarse(embedding + wide, query)
        return steered


class ConditionedPyramid(nn.Module):
    """Feature pyramid (Lin et al., arXiv 1612.03144) that the query steers at every level."""

    def __init__(self, embed_dim: int, levels: int) -> None:
        """
        Args:
            embed_dim: channels of the image embedding and of the query.
            levels: of the embedding, from `coarse` to the deepest of `context`.
        """
        super().__init__()
        self.levels = nn.ModuleList(
            ConditionedBlock(embed_dim, embed_dim) for _ in range(levels - 1)
        )
        self.fine = ConditionedBlock(embed_dim // 4, embed_dim)

    def steer(self, embedding: Tensor, context: tuple[Tensor, ...], query: Tensor) -> Tensor:
        """Merge the levels downwards.

        Args:
            embedding: (B, C, h, w), with its dense prompt.
            context: the levels above, as in `ImageEmbedding`.
            query: (B, C).

        Returns:
            (B, C, h, w).
        """
        *between, merged = context
        for features, block in zip((*reversed(between), embedding), self.levels, strict=True):
            above = F.interpolate(merged, size=features.shape[-2:], mode="bilinear")
            merged = block(features + above, query)
        return merged
