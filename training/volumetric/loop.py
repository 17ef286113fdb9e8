"""Training of the volumetric network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.volumetric import VolumeGrounding, VolumetricConfig, VolumetricNetwork

from ..network_trainer import NetworkTrainer
from ..records import data_folder, read_records
from .batches import ELSEWHERE, WindowBatch, WindowBatches
from .config import VolumetricTrainingConfig
from .losses import volumetric_loss
from .scans import LabelledScan, read_scans, read_strangers


def new_network(config: VolumetricTrainingConfig) -> VolumetricNetwork:
    """An untrained network.

    Raises:
        Sim4SegError: if its sizes do not go together.
    """
    if not config.targets:
        raise Sim4SegError("the configuration names no targets")
    torch.manual_seed(config.seed)
    try:
        return VolumetricNetwork(
            VolumetricConfig(
                seg_width=config.seg_width,
                channels=config.channels,
                targets=tuple(config.targets),
                modality=config.modality,
                spacing_mm=config.spacing_mm,
                window=config.window,
                overlap=config.overlap,
            )
        )
    except ValueError as error:
        raise Sim4SegError(f"the configuration does not fit: {error}") from None


def split_scans(
    scans: Sequence[LabelledScan], every: int
) -> tuple[list[LabelledScan], list[LabelledScan]]:
    """Those to train on, and every so-many-th, to find thresholds with."""
    if not every:
        return list(scans), []
    held_out = [scan for number, scan in enumerate(scans) if number % every == every - 1]
    return [scan for number, scan in enumerate(scans) if number % every != every - 1], held_out


VolumetricTrainer = NetworkTrainer[
    VolumetricTrainingConfig, VolumetricNetwork, WindowBatch, VolumeGrounding
]


def volumetric_trainer(config: VolumetricTrainingConfig) -> VolumetricTrainer:
    """The run of a configuration; its batches are made in this process.

    Raises:
        Sim4SegError: if data or configuration cannot be used, or the folder holds another run.
    """
    network = new_network(config)
    # The reader is fitted to a checkpoint afterwards.
    network.reader.requires_grad_(False)
    folder = data_folder(config.data)
    targets = list(config.targets.values())
    scans, _ = split_scans(
        read_scans(folder.parent / config.volumes, targets, config.spacing_mm), config.held_out
    )
    pictures = read_records(folder, "train") if config.strangers else []
    strangers = read_strangers(folder, pictures, config.body_part, config.strangers)
    return NetworkTrainer(
        config,
        network,
        WindowBatches(config, scans, strangers),
        _predict,
        volumetric_loss,
        undecayed=[network.prototypes],
    )


def _predict(network: VolumetricNetwork, batch: WindowBatch) -> VolumeGrounding:
    output: VolumeGrounding = network(batch.windows, _queries(network, batch))
    return output


def _queries(network: VolumetricNetwork, batch: WindowBatch) -> Tensor:
    """Unit vectors (N, Q): near the learned queries, or anywhere."""
    moved = F.normalize(batch.moved, dim=1)
    near = F.normalize(network.prototypes, dim=1)[batch.asked.clamp_min(-1)]
    queries = F.normalize(near + batch.distance[:, None] * moved, dim=1)
    return torch.where((batch.asked == ELSEWHERE)[:, None], moved, queries)
