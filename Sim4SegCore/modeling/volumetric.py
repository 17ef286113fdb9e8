"""RVLS2M in three dimensions: the [SEG] state queries a feature volume.

The similarity of the query to every place of the feature volume becomes a soft 3D prompt; a
decoder that the query steers draws the mask. Unlike in two dimensions, similarity is a cosine and
is not standardised: a window of a large scan that lacks the target must not look for it in noise.
Knows nothing of files, scans or windows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .evidence import EvidenceHeads
from .query_reader import QueryReader
from .volumetric_layers import NORM_GROUPS, FeatureNeck, MaskHead, Rise, SteeredBlock, VolumeEncoder

STRIDE = 8
"""Windows have sides that are multiples of it."""


@dataclass(frozen=True)
class VolumetricConfig:
    """Everything that makes the network, and how scans are brought to it.

    Attributes:
        seg_width: width of the language model's [SEG] state.
        channels: features of the four levels; the third is the width of the feature volume and
            of the query.
        targets: names of the structures that it was taught.
        modality: DICOM modality code of the scans that it was taught; empty takes any.
        spacing_mm: of the voxels that it sees, along every axis.
        window: voxels of a window along z, y, x (cranial, posterior, left), multiples of STRIDE.
        overlap: fraction of a window that it shares with the next.
        presence_threshold: a target below this probability is not in the window.
        mask_threshold: voxels above this probability belong to the mask.
        aligned_with: fingerprint of the checkpoint whose [SEG] states it understands.
    """

    seg_width: int = 192
    channels: tuple[int, ...] = (16, 32, 48, 64)
    targets: tuple[str, ...] = ("hippocampus",)
    modality: str = "MR"
    spacing_mm: float = 1.0
    window: tuple[int, ...] = (48, 64, 48)
    overlap: float = 0.25
    presence_threshold: float = 0.5
    mask_threshold: float = 0.5
    aligned_with: str = ""

    def __post_init__(self) -> None:
        if len(self.channels) != 4 or any(width % NORM_GROUPS for width in self.channels):
            raise ValueError(f"channels must be four multiples of {NORM_GROUPS}")
        if len(self.window) != 3 or any(side <= 0 or side % STRIDE for side in self.window):
            raise ValueError(f"window must be three multiples of {STRIDE}")
        if not self.targets or self.spacing_mm <= 0 or not 0 <= self.overlap < 1:
            raise ValueError("targets, spacing_mm or overlap are out of range")

    @property
    def query_width(self) -> int:
        """Of the space that query and feature volume share."""
        return self.channels[2]


@dataclass
class VolumeFeatures:
    """What is the same for every query.

    Attributes:
        fine: (B, C, z, y, x) and (B, c, z/2, y/2, x/2).
        volume: (B, Q, z/4, y/4, x/4), the feature volume.
    """

    fine: tuple[Tensor, Tensor]
    volume: Tensor


@dataclass
class VolumeGrounding:
    """What the query means in windows of a scan.

    Attributes:
        mask_logits: (B, z, y, x).
        similarity_logits: (B, z/4, y/4, x/4), the soft prompt.
        presence_logits: (B,), any of the target is in the window.
    """

    mask_logits: Tensor
    similarity_logits: Tensor
    presence_logits: Tensor


class VolumetricNetwork(nn.Module):
    """The network. `prototypes` are the learned queries of its targets, and last, of none."""

    def __init__(self, config: VolumetricConfig) -> None:
        super().__init__()
        self.config = config
        first, second, width, coarsest = config.channels
        self.reader = QueryReader(config.seg_width, 2 * width, width)
        self.prototypes = nn.Parameter(torch.empty(len(config.targets) + 1, width))
        nn.init.orthogonal_(self.prototypes)
        self.encoder = VolumeEncoder(config.channels)
        self.neck = FeatureNeck(coarsest, width)
        self.place_embedding = nn.Conv3d(width, width, 1)
        self.scale = nn.Parameter(torch.tensor([10.0]))
        self.offset = nn.Parameter(torch.tensor([-4.0]))
        self.prompt_embedding = nn.Conv3d(1, width, 1)
        self.coarse = SteeredBlock(width, width)
        self.rise = Rise(width, second)
        self.middle = SteeredBlock(second, width)
        self.final_rise = Rise(second, first)
        self.head = MaskHead(first, width)
        self.evidence_heads = EvidenceHeads(width, width, 0)

    def meant(self, query: Tensor) -> tuple[str | None, Tensor]:
        """The target that a query (Q,) is nearest to, None for none of them, and the query (Q,)
        that was learned for it.
        """
        learned = F.normalize(self.prototypes, dim=1)
        nearest = int((learned @ query.to(learned)).argmax())
        targets = self.config.targets
        return targets[nearest] if nearest < len(targets) else None, learned[nearest]

    def encode(self, windows: Tensor) -> VolumeFeatures:
        """Grey windows (B, 1, z, y, x), -1 black to 1 white, sides multiples of STRIDE."""
        levels = self.encoder(windows)
        return VolumeFeatures((levels[0], levels[1]), self.neck(levels[3], levels[2]))

    def ground(self, features: VolumeFeatures, query: Tensor) -> VolumeGrounding:
        """From queries (B, Q) of unit length to masks."""
        volume = features.volume
        places = F.normalize(self.place_embedding(volume).float(), dim=1)
        similarity = torch.einsum("bq,bqzyx->bzyx", query.float(), places)
        prompt = self.scale * similarity + self.offset
        drawn = volume + self.prompt_embedding(prompt[:, None].to(volume.dtype))
        drawn = self.coarse(drawn, query)
        drawn = self.middle(self.rise(drawn, features.fine[1]), query)
        logits = self.head(self.final_rise(drawn, features.fine[0]), query)
        tokens, rows = volume.flatten(2).transpose(1, 2), similarity.flatten(1, 2)
        valid = torch.ones_like(rows, dtype=torch.bool)
        presence, _ = self.evidence_heads(query, tokens, rows, valid)
        return VolumeGrounding(logits, prompt, presence)

    def forward(self, windows: Tensor, query: Tensor) -> VolumeGrounding:
        """One query per window; see `encode` and `ground`."""
        return self.ground(self.encode(windows), query)
