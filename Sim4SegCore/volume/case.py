"""A scan as it was read. Knows nothing of torch, files or models."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..case import Geometry
from ..errors import Sim4SegError
from ..modalities import apparent_code

_DIRECTION_TOLERANCE = 1e-3


@dataclass(frozen=True)
class VolumeCase:
    """One volume, before any windowing; never resampled or reordered.

    Attributes:
        voxels: (k, j, i) grey or (k, j, i, 3) uint8 RGB, in the file's own intensities.
        geometry: where the voxels lie; direction is orthonormal, of either handedness.
        source: the file or folder it came from, if any.
        modality: DICOM modality code (CT, MR, ...) if the file says so.
        body_part: DICOM's body part in lower case, if the file says so.
        window: (centre, width) in the volume's intensities, if the file proposes one.
        mask_suffix: extension of a mask file, `.nii.gz` or `.nrrd`.
        warnings: what was odd about the file and had to be put right.

    Raises:
        Sim4SegError: on construction, if this is no volume that can be looked at slice by slice.
    """

    voxels: NDArray[Any]
    geometry: Geometry
    source: Path | None = None
    modality: str | None = None
    body_part: str | None = None
    window: tuple[float, float] | None = None
    mask_suffix: str = ".nii.gz"
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_shape(self.voxels)
        _check_geometry(self.geometry)
        _check_values(self.voxels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along k, j and i."""
        k, j, i = self.voxels.shape[:3]
        return k, j, i

    @property
    def is_colour(self) -> bool:
        """RGB rather than grey."""
        return self.voxels.ndim == 4

    @cached_property
    def apparent_modality(self) -> str | None:
        """DICOM code as the file states it, else CT by every other of its layers; None if neither
        tells.
        """
        return apparent_code(self.modality, None if self.is_colour else self.voxels[::2])


def _check_shape(voxels: NDArray[Any]) -> None:
    is_rgb = voxels.ndim == 4 and voxels.shape[-1] == 3 and voxels.dtype == np.uint8
    if not (voxels.ndim == 3 or is_rgb):
        raise Sim4SegError(
            f"expected a grey (k, j, i) or 8-bit RGB (k, j, i, 3) volume, got shape {voxels.shape}"
        )
    if min(voxels.shape[:3]) < 2:
        raise Sim4SegError(
            f"{' x '.join(map(str, voxels.shape[2::-1]))} voxels are one slice, no volume; "
            "ask it as an image"
        )
    if voxels.dtype.kind not in "buif":
        raise Sim4SegError("its voxels are no real numbers; convert them first")


def _check_geometry(geometry: Geometry) -> None:
    numbers = np.asarray([*geometry.spacing, *geometry.origin, *geometry.direction], dtype=float)
    if not np.isfinite(numbers).all() or min(geometry.spacing) <= 0:
        raise Sim4SegError("the volume has no usable spacing; give it in mm along every axis")
    cosines = np.asarray(geometry.direction, dtype=float).reshape(3, 3)
    if not np.allclose(cosines.T @ cosines, np.eye(3), atol=_DIRECTION_TOLERANCE):
        raise Sim4SegError(
            "its orientation is sheared or singular; resample it onto a regular grid first"
        )


def _check_values(voxels: NDArray[Any]) -> None:
    """Slice by slice, so that no second volume is ever in memory."""
    lowest, highest = voxels[0].min(), voxels[0].max()
    for plane in voxels:
        # NaN survives both of these, infinity one of them.
        lowest, highest = np.minimum(lowest, plane.min()), np.maximum(highest, plane.max())
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise Sim4SegError("the volume has NaN or infinite voxels; replace them first")
    if lowest == highest:
        raise Sim4SegError(
            "every voxel of the volume has the same value; export it again with its image data"
        )
