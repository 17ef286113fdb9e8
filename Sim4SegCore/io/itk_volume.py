"""A whole NIfTI, NRRD or MetaImage volume in its own geometry."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from ..case import Geometry
from ..volume.case import VolumeCase
from .byte_order import looks_swapped
from .checks import check_voxel_count, grey_plane, make_volume
from .itk import ITK_ERRORS, is_rgb, read_header
from .itk_headers import TextHeader, read_metaimage_header, read_nrrd_header
from .nifti import NIFTI_ERRORS, NiftiHeader, read_complete_header, volume_is_finite
from .problems import cannot_read, decoding
from .quiet import quiet_itk
from .suffixes import NIFTI_SUFFIXES, NRRD_SUFFIXES

_NO_SPACING = "it does not say how far its voxels are apart; add the spacing in mm"


def read_itk_volume(path: Path) -> VolumeCase:
    """Every voxel of the file."""
    name = path.name.lower()
    if name.endswith(NIFTI_SUFFIXES):
        return _read_nifti(path)
    kind, read = "MetaImage", read_metaimage_header
    if name.endswith(NRRD_SUFFIXES):
        kind, read = "NRRD", read_nrrd_header
    with decoding(path, kind, (OSError, ValueError)):
        header = read(path)
    return _read(path, kind, header)


def _read_nifti(path: Path) -> VolumeCase:
    with decoding(path, "NIfTI", NIFTI_ERRORS):
        header = read_complete_header(path)
    if not header.has_spacing:
        raise cannot_read(path, _NO_SPACING)
    case = _read(path, "NIfTI", header)
    with decoding(path, "NIfTI", NIFTI_ERRORS):
        is_finite = volume_is_finite(path, header)
    if not is_finite:
        raise cannot_read(path, "the volume has NaN or infinite voxels; replace them first")
    return case


def _read(path: Path, kind: str, header: TextHeader | NiftiHeader) -> VolumeCase:
    # MetaImage's own C++ prints its complaints instead of raising them.
    with quiet_itk(including_stderr=kind == "MetaImage"):
        reader = read_header(path, kind)
        _check_volume(path, reader)
        if isinstance(header, TextHeader):
            _check_data(path, reader, header)
        with decoding(path, kind, ITK_ERRORS):
            image = _three_dimensional(reader.Execute())
    voxels: NDArray[Any] = SimpleITK.GetArrayFromImage(image)
    if voxels.ndim == 4:
        voxels = np.stack([grey_plane(path, plane) for plane in voxels])
    if looks_swapped(voxels):
        raise cannot_read(
            path, "its voxels are noise unless their bytes are swapped; write it again"
        )
    return make_volume(
        path,
        voxels,
        geometry=_unit_geometry(path, image),
        mask_suffix=".nii.gz" if kind == "NIfTI" else ".nrrd",
    )


def _check_volume(path: Path, reader: Any) -> None:
    size = reader.GetSize()
    if math.prod(size[3:]) > 1:
        raise cannot_read(
            path, f"it has {len(size)} dimensions; time series are not supported, save one volume"
        )
    components = reader.GetNumberOfComponents()
    if components != 1 and not is_rgb(reader):
        raise cannot_read(
            path,
            f"it has {components} values per voxel; time series and vectors are not supported, "
            "save one grey volume",
        )
    if len(size) < 3 or min(size[:3]) < 2:
        raise cannot_read(path, "it holds a single slice; ask it as an image, without --mode")
    check_voxel_count(path, size[:3])


def _check_data(path: Path, reader: Any, header: TextHeader) -> None:
    one_value = SimpleITK.Image(1, 1, reader.GetPixelID()).GetSizeOfPixelComponent()
    values = math.prod(reader.GetSize()) * reader.GetNumberOfComponents()
    if not header.can_hold(values * one_value):
        raise cannot_read(
            path, "it holds less image data than its header promises; copy or export it again"
        )
    if not header.has_spacing:
        raise cannot_read(path, _NO_SPACING)


def _three_dimensional(image: Any) -> Any:
    while image.GetDimension() > 3:
        image = image[(*[slice(None)] * (image.GetDimension() - 1), 0)]
    return image


def _unit_geometry(path: Path, image: Any) -> Geometry:
    """Directions of length 1: what a file says by longer ones belongs to the spacing."""
    cosines = np.asarray(image.GetDirection()).reshape(3, 3)
    lengths = np.linalg.norm(cosines, axis=0)
    if lengths.min() < 1e-6:
        raise cannot_read(path, "its orientation is singular; resample it onto a regular grid")
    spacing = np.asarray(image.GetSpacing()) * lengths
    return Geometry(
        (float(spacing[0]), float(spacing[1]), float(spacing[2])),
        image.GetOrigin(),
        tuple((cosines / lengths).ravel().tolist()),
    )
