"""The two networks. Both take pixels as they are stored, 0 to 255, and no words."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.nets import DynUNet
from torch import Tensor, nn

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.layers import lay_out_channels_last

MIDDLE = 127.5
OUTPUT_STRIDE = 2
"""Input pixels along a side to each pixel of the logits of `TargetUNet`."""


class TargetUNet(nn.Module):
    """A U-Net with a channel for each target, two convolutions a level (MONAI's DynUNet).

    Its finest level, and what it draws, have half the input's side: convolutions at full size would
    take most of the time, and the model's mask decoder draws as coarsely.
    """

    def __init__(self, targets: Sequence[str], filters: Sequence[int]) -> None:
        """
        Args:
            targets: names of the channels.
            filters: channels of each level, finest first.
        """
        super().__init__()
        self.targets = tuple(targets)
        levels = len(filters)
        self.stride = 2**levels
        self.network = DynUNet(
            spatial_dims=2,
            in_channels=3,
            out_channels=len(self.targets),
            kernel_size=[3] * levels,
            strides=[2] * levels,
            upsample_kernel_size=[2] * (levels - 1),
            filters=list(filters),
            norm_name="batch",
            act_name=("relu", {"inplace": True}),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in 0..255 to logits (B, targets, P, P), P = S / OUTPUT_STRIDE.

        S is a multiple of `stride`.
        """
        logits: Tensor = self.network(_centred(images))
        return logits


class Classifier(nn.Module):
    """A timm network from scratch over the union of diagnoses."""

    def __init__(self, labels: Sequence[str], architecture: str) -> None:
        """
        Raises:
            Sim4SegError: if timm is not there, or has no such network.
        """
        super().__init__()
        self.labels = tuple(labels)
        try:
            import timm
        except ImportError:
            raise Sim4SegError(
                "the diagnosis baseline needs timm: pip install 'sim4seg[training]'"
            ) from None
        if not timm.is_model(architecture):
            raise Sim4SegError(f"timm has no network '{architecture}'; timm.list_models() has all")
        self.network = timm.create_model(
            architecture, pretrained=False, num_classes=len(self.labels)
        )

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in 0..255 to logits (B, labels)."""
        logits: Tensor = self.network(_centred(images))
        return logits


def build_unet(targets: Sequence[str], filters: Sequence[int], side: int, seed: int) -> TargetUNet:
    """An untrained U-Net for inputs of `side` pixels.

    Raises:
        Sim4SegError: if its levels do not divide the input.
    """
    torch.manual_seed(seed)
    network = TargetUNet(targets, filters)
    if side % network.stride:
        raise Sim4SegError(
            f"{len(filters)} levels need an input that is a multiple of {network.stride}, "
            f"not {side}; shorten masks.filters"
        )
    lay_out_channels_last(network)
    return network


def build_classifier(labels: Sequence[str], architecture: str, seed: int) -> Classifier:
    """An untrained classifier.

    Raises:
        Sim4SegError: as `Classifier` does.
    """
    torch.manual_seed(seed)
    network = Classifier(labels, architecture)
    lay_out_channels_last(network)
    return network


def _centred(images: Tensor) -> Tensor:
    centred = (images.float() - MIDDLE) / MIDDLE
    return centred.contiguous(memory_format=torch.channels_last)
