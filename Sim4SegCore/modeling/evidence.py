"""What the image says besides the mask: is the target there, and which diagnosis fits.

Both are read from the [SEG] state, which knows the query, the mean of the image features, and
their mean where RVLS2M looks. A small language model learns to repeat the typical diagnosis of
a kind of image long before it learns to look; these heads look from the beginning.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .layers import two_layers
from .rvls2m import standardise


class EvidenceHeads(nn.Module):
    """Presence and diagnosis of one query."""

    def __init__(self, width: int, hidden: int, labels: int) -> None:
        """
        Args:
            width: of the LVLM's hidden states and of the image features it reads.
            hidden: width between the layers of each head.
            labels: how many diagnoses the model was taught; 0 for none.
        """
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.sharpness = nn.Parameter(torch.tensor([1.0]))
        self.presence = two_layers(3 * width, hidden, 1)
        self.diagnosis = two_layers(3 * width, 2 * hidden, labels) if labels else None

    def forward(
        self, seg_state: Tensor, image_features: Tensor, similarity: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Read both.

        Args:
            seg_state: (B, D).
            image_features: (B, gh * gw, D) as the language model gets them.
            similarity: (B, gh, gw) of RVLS2M.
            valid: bool (B, gh, gw), tokens that see the image.

        Returns:
            presence logits (B,) and diagnosis logits (B, labels), float32.
        """
        features = self.norm(image_features)
        shown = valid.flatten(1)
        everywhere = shown.to(features) / shown.sum(1, keepdim=True).clamp_min(1)
        # The similarity map is taught by the masks alone; where it looks is given here.
        interest = self.sharpness * standardise(similarity.detach().float(), valid).flatten(1)
        looked_at = interest.masked_fill(~shown, -torch.inf).softmax(1).to(features)
        pooled = torch.stack([everywhere, looked_at], dim=1) @ features
        evidence = torch.cat([seg_state, pooled.flatten(1)], dim=1)
        presence = self.presence(evidence)[:, 0].float()
        if self.diagnosis is None:
            return presence, presence.new_zeros(len(presence), 0)
        return presence, self.diagnosis(evidence).float()
