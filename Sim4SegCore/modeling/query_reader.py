"""From what the language model made of a query to a place among learned queries."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import two_layers


class QueryReader(nn.Module):
    """Reads the [SEG] state, and the query's words beside it: a small language model forgets words
    that it was never taught, and [SEG] with them. Which words matter is learned.
    """

    def __init__(self, width: int, hidden: int, outputs: int) -> None:
        """
        Args:
            width: D of [SEG] states and word embeddings.
            hidden: width between the layers.
            outputs: Q of the queries.
        """
        super().__init__()
        self.interest = nn.Linear(width, 1)
        self.layers = two_layers(2 * width, hidden, outputs)

    def forward(self, seg_state: Tensor, words: Tensor) -> Tensor:
        """(B, D) and (B, T, D), zeros after the last word, to unit vectors (B, Q)."""
        size = words.shape[-1:]
        is_word = words.any(-1)
        words = F.layer_norm(words, size)
        interest = self.interest(words)[..., 0].masked_fill(~is_word, -torch.inf)
        heard = (interest.softmax(-1)[:, None] @ words)[:, 0]
        read = torch.cat([F.layer_norm(seg_state, size), heard], -1)
        return F.normalize(self.layers(read), dim=-1)
