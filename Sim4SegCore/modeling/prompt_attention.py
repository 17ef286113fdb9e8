"""SAM's attention between an image and its few prompts, laid out for the CPU."""

from __future__ import annotations

import math

from segment_anything.modeling.transformer import Attention
from torch import Tensor, nn


class PromptAttention(Attention):
    """segment-anything's attention, its weights normalised along the outer of two dimensions where
    keys are few: a softmax over a handful of neighbouring numbers leaves vector units idle.

    Parameters and results are the original's (a test compares them).
    """

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Queries (B, N, C), keys and values (B, M, C) to (B, N, C)."""
        queries = self._separate_heads(self.q_proj(q), self.num_heads)
        keys = self._separate_heads(self.k_proj(k), self.num_heads)
        values = self._separate_heads(self.v_proj(v), self.num_heads)
        scale = 1 / math.sqrt(queries.shape[-1])
        if keys.shape[2] < queries.shape[2]:
            scores = (keys * scale) @ queries.transpose(2, 3)
            weights = scores.softmax(2).transpose(2, 3)
        else:
            weights = ((queries * scale) @ keys.transpose(2, 3)).softmax(3)
        attended: Tensor = self.out_proj(self._recombine_heads(weights @ values))
        return attended


def lay_out_attention(transformer: nn.Module) -> nn.Module:
    """Let every attention of one of the library's transformers compute like this, in place."""
    for module in transformer.modules():
        if type(module) is Attention:
            module.__class__ = PromptAttention
    return transformer
