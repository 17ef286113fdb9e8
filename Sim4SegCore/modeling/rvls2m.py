"""Region-aware vision-language similarity to mask (RVLS2M), from Sim4Seg (arXiv 2511.06665).

The similarity between the [SEG] state and every image token of the LVLM says where the model
looks; as a mask prompt it tells SAM. Two readings of one similarity:

- `soft` (default): standardised, then a learned affine gives logits, as SAM's prompt encoder
  expects them; differentiable, and as large as the target is.
- `hard`: the paper's, for reproduction: min-max, regions of 16 x 16, the mean of each, the
  top 36 become ones on the prompt grid. No gradient passes.

Both are resampled from the LVLM's frame into SAM's padded frame by one explicit affine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PADDING_LOGIT = -4.0
"""Prompt logit where SAM's frame shows no image: background, within the usual range of logits."""


@dataclass(frozen=True)
class RVLS2MConfig:
    """How similarity becomes a prompt.

    Attributes:
        mode: `soft`, `hard`, or `none` to ablate it (SAM then sees no mask prompt).
        regions: the hard mode's regions along each axis.
        top_regions: how many regions the hard mode keeps.
    """

    mode: Literal["soft", "hard", "none"] = "soft"
    regions: int = 16
    top_regions: int = 36


@dataclass
class MaskPrompt:
    """What RVLS2M hands on.

    Attributes:
        logits: (B, 1, P, P) on SAM's prompt grid; zeros and ones in the hard mode.
        similarity_logits: (B, 1, P, P), the soft reading; what is shown to the user.
    """

    logits: Tensor
    similarity_logits: Tensor


class RVLS2M(nn.Module):
    """Similarity of [SEG] to image tokens, as a mask prompt for SAM."""

    def __init__(self, config: RVLS2MConfig) -> None:
        super().__init__()
        self.config = config
        self.scale = nn.Parameter(torch.tensor([2.0]))
        self.offset = nn.Parameter(torch.tensor([-1.0]))

    @staticmethod
    def similarity(seg_embedding: Tensor, image_token_embeddings: Tensor) -> Tensor:
        """Dot products of (B, D) with (B, gh, gw, D), divided by sqrt(D): (B, gh, gw)."""
        # In float32: only the pattern is taught, so nothing keeps the sums within half precision.
        with torch.autocast(seg_embedding.device.type, enabled=False):
            scaled = seg_embedding.float() / seg_embedding.shape[-1] ** 0.5
            return torch.einsum("bd,bhwd->bhw", scaled, image_token_embeddings.float())

    def forward(
        self, similarity: Tensor, valid: Tensor, theta: Tensor, sam_valid: Tensor
    ) -> MaskPrompt:
        """Turn a similarity into prompts.

        Args:
            similarity: (B, gh, gw) on the LVLM's token grid.
            valid: bool (B, gh, gw), False for tokens that see only padding.
            theta: (B, 2, 3) affine from SAM's frame to the LVLM's, see `relative_affine`.
            sam_valid: bool (B, P, P), False where SAM's frame is padding.
        """
        soft = self.scale * standardise(similarity.float(), valid) + self.offset
        similarity_logits = self._to_sam_frame(soft, theta, sam_valid, "bilinear", PADDING_LOGIT)
        if self.config.mode == "hard":
            chosen = self._top_regions(similarity.detach().float(), valid)
            logits = self._to_sam_frame(chosen, theta, sam_valid, "nearest", 0.0)
        else:
            logits = similarity_logits
        return MaskPrompt(logits, similarity_logits)

    def _top_regions(self, similarity: Tensor, valid: Tensor) -> Tensor:
        """(B, gh, gw) to {0, 1} (B, regions, regions): the top regions that show the image."""
        low, high = similarity.amin((1, 2), keepdim=True), similarity.amax((1, 2), keepdim=True)
        scaled = (similarity - low) / (high - low).clamp_min(1e-6)
        regions = self.config.regions
        means = F.adaptive_avg_pool2d(scaled[:, None], regions).flatten(1)
        shown = F.adaptive_max_pool2d(valid[:, None].float(), regions).flatten(1) > 0
        means = means.masked_fill(~shown, -1.0)
        top = means.topk(min(self.config.top_regions, means.shape[1]), dim=1).indices
        chosen = torch.zeros_like(means).scatter_(1, top, 1.0) * shown
        return chosen.view(-1, regions, regions)

    @staticmethod
    def _to_sam_frame(
        values: Tensor, theta: Tensor, sam_valid: Tensor, mode: str, padding: float
    ) -> Tensor:
        grid = F.affine_grid(
            theta.to(values), [len(values), 1, *sam_valid.shape[-2:]], align_corners=False
        )
        # Up to the border's centres, by hand: Apple's GPUs know no other padding than zeros.
        height, width = values.shape[-2:]
        inside = 1 - 1 / torch.tensor([width, height], device=grid.device, dtype=grid.dtype)
        grid = torch.minimum(torch.maximum(grid, -inside), inside)
        moved = F.grid_sample(values[:, None], grid, mode=mode, align_corners=False)
        return torch.where(sam_valid[:, None], moved, moved.new_tensor(padding))


def standardise(similarity: Tensor, valid: Tensor) -> Tensor:
    """Zero mean and unit deviation over the valid tokens of each (gh, gw) map."""
    weight = valid.to(similarity)
    count = weight.sum((1, 2), keepdim=True).clamp_min(1.0)
    mean = (similarity * weight).sum((1, 2), keepdim=True) / count
    centred = similarity - mean
    variance = (centred.square() * weight).sum((1, 2), keepdim=True) / count
    return centred / (variance + 1e-6).sqrt()
