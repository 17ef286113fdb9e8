"""What every format has in common once its header is known: slice, size and the Case."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..case import Case
from ..errors import Sim4SegError
from ..volume.case import VolumeCase
from .problems import cannot_read

MAX_PIXELS = 89_478_485
"""Largest accepted height x width; the size from which PIL suspects a decompression bomb."""

MAX_VOXELS = 2**31
"""Largest accepted volume; 4 GiB of 16-bit voxels."""


ALL_SLICES = "ask all of them with segment --mode slices"


def choose_slice(path: Path, count: int, slice_index: int | None, or_else: str = "") -> int:
    """The index asked for, checked; 0 where there is only one slice.

    Args:
        or_else: what else can be done with several, for people.
    """
    if slice_index is None and count != 1:
        raise cannot_read(
            path,
            f"it holds {count} slices; choose one with --slice K (0 to {count - 1})"
            + (f", or {or_else}" if or_else else ""),
        )
    chosen = slice_index or 0
    if not 0 <= chosen < count:
        valid = f"--slice must be 0 to {count - 1}" if count > 1 else "leave --slice out"
        raise cannot_read(path, f"there is no slice {chosen}, it holds {count}; {valid}")
    return chosen


def check_pixel_count(path: Path, width: int, height: int) -> None:
    """To be called before pixels are unpacked."""
    if width * height > MAX_PIXELS:
        raise cannot_read(
            path,
            f"{width}x{height} pixels are more than the {MAX_PIXELS} allowed; "
            "crop or downsample it",
        )


def check_voxel_count(path: Path, size: Sequence[int]) -> None:
    """To be called before memory is taken for them."""
    if math.prod(size) > MAX_VOXELS:
        raise cannot_read(
            path,
            f"{' x '.join(map(str, size))} voxels are more than the {MAX_VOXELS} allowed; "
            "crop or downsample it",
        )


def grey_plane(path: Path, plane: NDArray[Any]) -> NDArray[Any]:
    """One slice of a volume without its channels, which exported sweeps often have all alike.

    Args:
        plane: (H, W), or (H, W, 3 or more) with red, green and blue first.

    Raises:
        Sim4SegError: if it is in colour.
    """
    if plane.ndim == 2:
        return plane
    red, green, blue = plane[..., 0], plane[..., 1], plane[..., 2]
    if (red != green).any() or (red != blue).any():
        raise cannot_read(path, "colour volumes are not supported; save it as one grey volume")
    return red


def make_case(path: Path, image: NDArray[Any], **fields: Any) -> Case:
    """The Case, in this machine's byte order, which torch insists on."""
    image = image.astype(image.dtype.newbyteorder("="), copy=False)
    try:
        return Case(image=image, source=path, **fields)
    except Sim4SegError as error:
        raise cannot_read(path, str(error)) from None


def make_volume(path: Path, voxels: NDArray[Any], **fields: Any) -> VolumeCase:
    """The VolumeCase, in this machine's byte order."""
    voxels = voxels.astype(voxels.dtype.newbyteorder("="), copy=False)
    try:
        return VolumeCase(voxels=voxels, source=path, **fields)
    except Sim4SegError as error:
        raise cannot_read(path, str(error)) from None
