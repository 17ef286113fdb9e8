"""Features of many images, as the predictor would judge them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from Sim4SegCore.frame import Frame
from Sim4SegCore.modeling.familiarity import pooled_features
from Sim4SegCore.modeling.lvlm import LVLM

from ..views import Pixels

_TOGETHER = 16


class FeatureReader:
    """Runs a vision tower over images, a few at a time."""

    def __init__(self, lvlm: LVLM) -> None:
        self._lvlm = lvlm

    @torch.inference_mode()
    def read(self, images: Iterable[Pixels]) -> Tensor:
        """uint8 (H, W, 3) images to features (N, F)."""
        found: list[Tensor] = []
        waiting: list[Pixels] = []
        for image in images:
            waiting.append(image)
            if len(waiting) == _TOGETHER:
                found.append(self._read_batch(waiting))
                waiting = []
        if waiting:
            found.append(self._read_batch(waiting))
        return torch.cat(found)

    def _read_batch(self, images: list[Pixels]) -> Tensor:
        side = self._lvlm.config.image_size
        frames = [Frame.longest_side((i.shape[0], i.shape[1]), side) for i in images]
        framed = [
            frame.apply(torch.from_numpy(image.copy()).permute(2, 0, 1))
            for frame, image in zip(frames, images, strict=True)
        ]
        vision = self._lvlm.see(torch.stack(framed).to(self._lvlm.network.device))
        return pooled_features(vision, frames)
