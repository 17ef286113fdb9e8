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
from Sim4SegCore.io import read_volume_case
from Sim4SegCore.volume.case import VolumeCase
from Sim4SegCore.volume.network_grid import NetworkGrid
from Sim4SegCore.volume.windows import volumetric_window

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
    paths = sorted(path for path in (folder / "images").glob("*") if path.is_file())
    if not paths:
        raise Sim4SegError(f"no volumes in {folder / 'images'}")
    return [_read(path, folder / "labels" / path.name, targets, spacing_mm) for path in paths]


def _read(
    path: Path, label_path: Path, targets: Sequence[TargetConfig], spacing_mm: float
) -> LabelledScan:
    if not label_path.is_file():
        raise Sim4SegError(f"{path.name} has no label file {label_path}")
    case, labels = read_volume_case(path), read_volume_case(label_path)
    check_same_place(case, labels, path.name)
    grid = NetworkGrid(case.geometry, case.shape, spacing_mm)
    grey = grid.grey(case.voxels, volumetric_window(case, ""), 0, grid.shape[0])
    shares = [grid.share(np.isin(labels.voxels, target.labels)) for target in targets]
    return LabelledScan(path.name, torch.from_numpy(grey), torch.from_numpy(np.stack(shares)))


def check_same_place(case: VolumeCase, labels: VolumeCase, name: str) -> None:
    """Refuse labels that do not lie on the voxels of their scan.

    Raises:
        Sim4SegError: naming the scan.
    """
    same = all(
        np.allclose(a, b, atol=1e-3)
        for a, b in (
            (case.geometry.spacing, labels.geometry.spacing),
            (case.geometry.origin, labels.geometry.origin),
            (case.geometry.direction, labels.geometry.direction),
        )
    )
    if case.shape != labels.shape or not same:
        raise Sim4SegError(f"the labels of {name} do not lie on its voxels")


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
