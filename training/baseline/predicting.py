"""What the trained networks say of an image: a mask for a target, a diagnosis among labels."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from monai.inferers import SlidingWindowInferer
from numpy.typing import NDArray
from torch import Tensor

from Sim4SegCore.frame import Frame
from Sim4SegCore.modeling.sim4seg import DetailConfig

from .networks import Classifier, TargetUNet

MASK_THRESHOLD = 0.5
TILE_BATCH = 8


@dataclass(frozen=True)
class PredictedMask:
    """What the U-Net draws.

    Attributes:
        mask: bool (H, W) in the image's pixels.
        presence: the highest probability of any pixel; the mask is empty below the threshold.
    """

    mask: NDArray[np.bool_]
    presence: float


class MaskPredictor:
    """Masks from the whole image, of thin targets from tiles, in the scales of the model's."""

    def __init__(
        self,
        network: TargetUNet,
        side: int,
        detail: DetailConfig,
        detail_targets: Collection[str],
    ) -> None:
        """
        Args:
            network: in evaluation mode.
            side: of its input, in pixels.
            detail: the tiles' scale and overlap; a side of 0 never tiles.
            detail_targets: those that are drawn in tiles.
        """
        self.network = network
        self.side = side
        self.detail = detail
        self.detail_targets = frozenset(detail_targets)
        self._tiles = SlidingWindowInferer(
            roi_size=(side, side),
            sw_batch_size=TILE_BATCH,
            overlap=detail.overlap,
            mode="gaussian",
        )

    @torch.inference_mode()
    def __call__(self, pixels: Tensor, target: str) -> PredictedMask:
        """Draw a target; one that was never taught is not found.

        Args:
            pixels: uint8 (3, H, W).
        """
        size = (pixels.shape[1], pixels.shape[2])
        if target not in self.network.targets:
            return PredictedMask(np.zeros(size, dtype=bool), 0.0)
        channel = self.network.targets.index(target)
        if self.detail.side > 0 and target in self.detail_targets:
            logits = self._tiled(pixels, channel)
        else:
            frame = Frame.longest_side(size, self.side)
            logits = frame.invert(self._drawn(frame.apply(pixels)[None], channel).cpu())
        probability = logits[0, 0].float().sigmoid()
        return PredictedMask((probability > MASK_THRESHOLD).numpy(), float(probability.max()))

    def _drawn(self, images: Tensor, channel: int) -> Tensor:
        """Logits (B, 1, P, P) of one target, of images (B, 3, S, S)."""
        device = next(self.network.parameters()).device
        logits: Tensor = self.network(images.to(device))[:, channel, None].float()
        return logits

    def _tiled(self, pixels: Tensor, channel: int) -> Tensor:
        """Logits (1, 1, H, W), drawn as if the image's longest side were `detail.side`."""
        size = (pixels.shape[1], pixels.shape[2])
        frame = Frame.longest_side(size, self.detail.side)
        rows, columns = frame.content
        enlarged = frame.apply(pixels)[None, :, :rows, :columns].float()

        def draw(tiles: Tensor) -> Tensor:
            drawn = self._drawn(tiles, channel)
            return F.interpolate(drawn, size=tiles.shape[-2:], mode="bilinear", align_corners=False)

        logits: Tensor = self._tiles(enlarged, draw)
        return F.interpolate(logits.cpu(), size=size, mode="bilinear", align_corners=False)


class DiagnosisPredictor:
    """Names the likeliest of the diagnoses that an image can have."""

    def __init__(self, network: Classifier, side: int) -> None:
        """
        Args:
            network: in evaluation mode.
            side: of its input, in pixels.
        """
        self.network = network
        self.side = side

    @torch.inference_mode()
    def __call__(self, pixels: Tensor, among: Collection[str]) -> tuple[str, float]:
        """The diagnosis and its probability.

        Args:
            pixels: uint8 (3, H, W).
            among: the labels to choose from; none is all that were taught.
        """
        labels = self.network.labels
        allowed = [n for n, label in enumerate(labels) if label in among] or range(len(labels))
        frame = Frame.longest_side((pixels.shape[1], pixels.shape[2]), self.side)
        device = next(self.network.parameters()).device
        logits = self.network(frame.apply(pixels)[None].to(device))[0].float().cpu()
        probabilities = logits[list(allowed)].softmax(0)
        best = int(probabilities.argmax())
        return labels[list(allowed)[best]], float(probabilities[best])
