"""Batches of windows with a query each; batch n is a pure function of the seed and n."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset

from Sim4SegCore.modeling.volumetric import STRIDE

from .config import VolumetricTrainingConfig
from .scans import LabelledScan
from .variation import Draws, cut_out, shown_otherwise, stranger_window

NONE, ELSEWHERE = -1, -2
"""Instead of a target: the query of none, and one in a direction that means nothing."""
FEW_VOXELS = 30
"""Windows with less of a target than this teach neither its presence nor its absence."""


@dataclass
class WindowBatch:
    """B windows, a query each.

    Attributes:
        windows: (B, 1, z, y, x).
        asked: int64 (B,), a target or NONE or ELSEWHERE.
        moved: (B, Q) standard normal, to move queries off their places.
        distance: (B,), how far.
        shares: (B, z, y, x), 0 where nothing of the asked target is.
    """

    windows: Tensor
    asked: Tensor
    moved: Tensor
    distance: Tensor
    shares: Tensor

    def to(self, device: torch.device) -> WindowBatch:
        """The same on another device."""
        return WindowBatch(
            self.windows.to(device),
            self.asked.to(device),
            self.moved.to(device),
            self.distance.to(device),
            self.shares.to(device),
        )

    @property
    def voxels(self) -> Tensor:
        """(B,) of the asked target."""
        return self.shares.flatten(1).sum(1)

    @property
    def present(self) -> Tensor:
        """float32 (B,), 0 or 1."""
        return (self.voxels > 0).float()

    @property
    def is_clear(self) -> Tensor:
        """float32 (B,), 0 where so little is shown that presence is a matter of taste."""
        voxels = self.voxels
        return ((voxels == 0) | (voxels >= FEW_VOXELS)).float()


class WindowBatches(Dataset[WindowBatch]):
    """Makes batches."""

    def __init__(
        self,
        config: VolumetricTrainingConfig,
        scans: Sequence[LabelledScan],
        strangers: Sequence[Tensor],
    ) -> None:
        self._config = config
        self._scans = scans
        self._strangers = strangers
        self._weights = torch.tensor([target.weight for target in config.targets.values()])

    def __getitem__(self, step: int) -> WindowBatch:
        generator = Generator().manual_seed(self._config.seed * 1_000_003 + step)
        draws = Draws(generator)
        count, width = self._config.batch_size, self._config.channels[2]
        chosen = [self._scans[draws.choose(len(self._scans))] for _ in range(count)]
        size = self._size(chosen)
        asked = [self._question(draws) for _ in chosen]
        pairs = [
            self._window(scan, target, size, draws)
            for scan, target in zip(chosen, asked, strict=True)
        ]
        return WindowBatch(
            windows=torch.stack([grey for grey, _ in pairs])[:, None],
            asked=torch.tensor(asked),
            moved=draws.normal(count, width),
            distance=torch.rand(count, generator=generator) * self._config.query_noise,
            shares=torch.stack([share for _, share in pairs]),
        )

    def _size(self, scans: Sequence[LabelledScan]) -> tuple[int, ...]:
        """Of windows that hold the largest of these scans, or of the configured crop."""
        largest = [max(scan.grey.shape[axis] for scan in scans) for axis in range(3)]
        return tuple(
            min(side, -(-most // STRIDE) * STRIDE)
            for side, most in zip(self._config.crop, largest, strict=True)
        )

    def _window(
        self, scan: LabelledScan, target: int, size: tuple[int, ...], draws: Draws
    ) -> tuple[Tensor, Tensor]:
        config = self._config
        if self._strangers and draws.chance(config.stranger_share):
            picture = self._strangers[draws.choose(len(self._strangers))]
            grey = stranger_window(picture, size, draws)
            return shown_otherwise(grey, config.variation, draws), torch.zeros(size)
        share = scan.shares[target] if target >= 0 else torch.zeros_like(scan.grey)
        cut = cut_out(torch.stack([scan.grey + 1, share]), size, config.variation, draws)
        return shown_otherwise(cut[0] - 1, config.variation, draws), (cut[1] > 0.5).float()

    def _question(self, draws: Draws) -> int:
        if draws.chance(self._config.mismatched):
            return NONE if draws.chance(0.5) else ELSEWHERE
        return int(torch.multinomial(self._weights, 1, generator=draws.generator))
