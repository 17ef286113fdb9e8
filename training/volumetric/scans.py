"""Labelled volumes and pictures of other things, as the network sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.volume.network_grid import NetworkGrid
from Sim4SegCore.volume.windows import choose_window, volumetric_window

from ..labelled_volumes import labelled_volumes, read_labelled
from ..records import Record
from .config import TargetConfig

STRANGER_SIDE = 96


@dataclass(frozen=True)
class LabelledScan:
    """One volume on the network's grid.

    Attributes:
        name: of its file.
        grey: float32 (z, y, x), -1 to 1.
        shares: float32 (targets, z, y, x), how much of each voxel a target takes up.
    """

    name: str
    grey: Tensor
    shares: Tensor


def read_scans(
    folder: Path, targets: Sequence[TargetConfig], spacing_mm: float
) -> list[LabelledScan]:
    """Every volume of a folder with `images/` and `labels/`, in order of name.

    Raises:
        Sim4SegError: if there are none, or a label file is missing or lies elsewhere.
    """
    pairs = labelled_volumes(folder)
    return [_read(image, label, targets, spacing_mm) for image, label in pairs]


def _read(
    path: Path, label_path: Path, targets: Sequence[TargetConfig], spacing_mm: float
) -> LabelledScan:
    case, labels = read_labelled(path, label_path)
    grid = NetworkGrid(case.geometry, case.shape, spacing_mm)
    grey = grid.grey(
        case.voxels, volumetric_window(case, choose_window(case, "")), 0, grid.shape[0]
    )
    shares = [grid.share(np.isin(labels.voxels, target.labels)) for target in targets]
    return LabelledScan(path.name, torch.from_numpy(grey), torch.from_numpy(np.stack(shares)))


def read_strangers(
    folder: Path, records: Sequence[Record], body_part: str, count: int
) -> list[Tensor]:
    """Grey pictures of other body parts than this, float32 (side, side), -1 to 1.

    Raises:
        Sim4SegError: if there are none.
    """
    others = [record for record in records if record.body_part != body_part]
    if count and not others:
        raise Sim4SegError(f"{folder} has no pictures of other body parts; set strangers=0")
    chosen = others[:: max(1, len(others) // count)][:count] if count else []
    return [_stranger(folder / record.image) for record in chosen]


def _stranger(path: Path) -> Tensor:
    with Image.open(path) as picture:
        grey = torch.from_numpy(np.asarray(picture.convert("L"), dtype=np.float32).copy())
    side = (STRANGER_SIDE, STRANGER_SIDE)
    return F.interpolate(grey[None, None], side, mode="area")[0, 0] / 127.5 - 1
