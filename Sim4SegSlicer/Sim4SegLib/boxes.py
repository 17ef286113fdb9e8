"""Masks without the emptiness around them. Knows numpy only."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Sim4SegCore.volume.boxes import bounding_box

from .planes import Plane

Index = tuple[int, int, int]


@dataclass(frozen=True)
class MaskBox:
    """The part of a volume's mask that is marked.

    Attributes:
        voxels: uint8 (k, j, i), 1 inside.
        first: (k, j, i) of its first voxel in the volume.
    """

    voxels: NDArray[np.uint8]
    first: Index = (0, 0, 0)


def box_of_volume(mask: NDArray[Any], first: Index = (0, 0, 0)) -> MaskBox | None:
    """
    Args:
        mask: (k, j, i), nonzero inside.
        first: where the mask's first voxel lies in the volume.

    Returns:
        None of an empty mask.
    """
    is_inside = mask if mask.dtype == np.bool_ else mask > 0
    box = bounding_box(is_inside)
    if box is None:
        return None
    k, j, i = (at + part.start for at, part in zip(first, box, strict=True))
    return MaskBox(np.ascontiguousarray(is_inside[box]).view(np.uint8), (k, j, i))


def box_of_slice(mask: NDArray[np.bool_], plane: Plane, shape: tuple[int, ...]) -> MaskBox | None:
    """
    Args:
        mask: bool (rows, columns) as `Plane.take` gives it.
        shape: (k, j, i) of the volume.

    Returns:
        None of an empty mask.
    """
    sides, first = list(shape[:3]), [0, 0, 0]
    sides[plane.axis], first[plane.axis] = 1, plane.index
    slab = np.zeros(sides, np.bool_)
    dataclasses.replace(plane, index=0).put(mask, slab)
    k, j, i = first
    return box_of_volume(slab, (k, j, i))


def digest(box: MaskBox | None) -> str:
    """Tells masks apart; the same mask in the same place has the same one."""
    if box is None:
        return ""
    place = repr((box.first, box.voxels.shape)).encode()
    return hashlib.sha256(place + np.packbits(box.voxels).tobytes()).hexdigest()[:16]
