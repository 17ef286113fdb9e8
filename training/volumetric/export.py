"""From a run, or a network that is there already, to the folder `volumetric` of a checkpoint."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.sim4seg import Sim4SegModel
from Sim4SegCore.modeling.volumetric import STRIDE, VolumetricNetwork
from Sim4SegCore.modeling.volumetric_checkpoint import CARD_FILE, load_volumetric, save_volumetric
from Sim4SegCore.modeling.volumetric_source import projection_fingerprint

from .. import state
from ..environment import git_revision, timestamp
from ..records import data_folder
from .alignment import align
from .config import VolumetricTrainingConfig
from .loop import new_network, split_scans
from .scans import LabelledScan, read_scans

MASK_THRESHOLDS = (0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65)


def network_of_run(config: VolumetricTrainingConfig) -> tuple[VolumetricNetwork, dict[str, Any]]:
    """The averaged weights of a run with the mask threshold that fits held-out volumes best, and
    what its card says.

    Raises:
        Sim4SegError: if the run has no saved state, or one of another network.
    """
    saved = state.read(Path(config.output) / state.STATE_FILE)
    network = new_network(config)
    trained = {n: p for n, p in network.named_parameters() if not n.startswith("reader.")}
    state.fit(saved["average"], trained)
    network.load_state_dict(saved["average"], strict=False)
    network.eval().requires_grad_(False)
    dice, found = _calibrate(network, config)
    network.config = dataclasses.replace(network.config, mask_threshold=found)
    training = dataclasses.asdict(config)
    for name in ("output", "data"):  # paths of the machine that trained it
        del training[name]
    card = {
        "source": config.source,
        "licence": config.licence,
        "steps": saved["step"],
        "training": training,
        "held_out_dice": dice,
        "revision": git_revision(),
    }
    return network, card


def stored_network(folder: Path) -> tuple[VolumetricNetwork, dict[str, Any]]:
    """A network that was written before, and its card.

    Raises:
        Sim4SegError: if it is damaged.
    """
    network = load_volumetric(folder)
    path = folder / CARD_FILE
    card = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return network, card


def write_aligned(
    network: VolumetricNetwork,
    card: dict[str, Any],
    model: Sim4SegModel,
    config: VolumetricTrainingConfig,
    folder: Path,
) -> dict[str, Any]:
    """Align a network with a checkpoint and write it.

    Returns:
        What its card says of the alignment.

    Raises:
        Sim4SegError: if they do not fit each other, or it cannot be written.
    """
    if network.config.seg_width != model.lvlm.hidden_size:
        raise Sim4SegError(
            f"the volumetric network reads [SEG] states of width {network.config.seg_width}, the "
            f"model's have {model.lvlm.hidden_size}; train with seg_width={model.lvlm.hidden_size}"
        )
    if network.config.targets != tuple(config.targets):
        raise Sim4SegError("the volumetric network was taught other targets than configured")
    report = align(network, model, config)
    network.config = dataclasses.replace(network.config, aligned_with=projection_fingerprint(model))
    alignment = dataclasses.asdict(report) | {"aligned": timestamp()}
    save_volumetric(network, folder, card | {"alignment": alignment})
    return alignment


def _calibrate(
    network: VolumetricNetwork, config: VolumetricTrainingConfig
) -> tuple[dict[str, float], float]:
    """Mean Dice of each target at the threshold that is best for all of them together."""
    folder = data_folder(config.data).parent / config.volumes
    scans = read_scans(folder, list(config.targets.values()), config.spacing_mm)
    _, held_out = split_scans(scans, config.held_out)
    if not held_out:
        return {}, 0.5
    table = torch.stack([_dice_of_scan(network, scan) for scan in held_out]).mean(0)
    best = int(table.mean(0).argmax())
    names = network.config.targets
    return {name: float(row[best]) for name, row in zip(names, table, strict=True)}, (
        MASK_THRESHOLDS[best]
    )


@torch.inference_mode()
def _dice_of_scan(network: VolumetricNetwork, scan: LabelledScan) -> Tensor:
    """(targets, thresholds), with each target's own query."""
    size = scan.grey.shape
    margin = [side for n in reversed(size) for side in (0, -n % STRIDE)]
    window = F.pad(scan.grey, margin, value=-1.0)[None, None]
    features = network.encode(window)
    rows = []
    for number, share in enumerate(scan.shares):
        query = F.normalize(network.prototypes[number : number + 1], dim=1)
        logits = network.ground(features, query).mask_logits[0]
        probability = logits[: size[0], : size[1], : size[2]].sigmoid()
        rows.append(torch.stack([_dice(probability > t, share > 0.5) for t in MASK_THRESHOLDS]))
    return torch.stack(rows)


def _dice(mask: Tensor, truth: Tensor) -> Tensor:
    total = (mask.sum() + truth.sum()).clamp_min(1)
    return 2 * (mask & truth).sum() / total


def describe(alignment: dict[str, Any], targets: Sequence[str]) -> str:
    """The alignment's numbers for people."""
    return (
        f"of {alignment['queries']} queries with words, phrasings and volumes that were kept out: "
        f"{alignment['found']:.1%} of those for {', '.join(targets)} were understood "
        f"({alignment['exact']:.1%} the very target), {alignment['refused']:.1%} of all others "
        "refused"
    )
