"""NIfTI, NRRD and MetaImage, which ITK reads."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from ..case import Case, Geometry
from .checks import ALL_SLICES, check_pixel_count, choose_slice, make_case
from .nifti import NIFTI_ERRORS, read_complete_header, slice_is_finite
from .problems import cannot_read, check_path_for_itk, decoding
from .quiet import quiet_itk
from .suffixes import NIFTI_SUFFIXES, NRRD_SUFFIXES

ITK_ERRORS = (RuntimeError,)  # all that SimpleITK makes of a C++ exception
_DIRECTION_TOLERANCE = 1e-3


def read_volume(path: Path, slice_index: int | None) -> Case:
    """Slice `slice_index` along k."""
    name = path.name.lower()
    if name.endswith(NIFTI_SUFFIXES):
        return _read_nifti(path, slice_index)
    kind = "NRRD" if name.endswith(NRRD_SUFFIXES) else "MetaImage"
    return _read(path, slice_index, kind, ".nrrd")


def _read_nifti(path: Path, slice_index: int | None) -> Case:
    with decoding(path, "NIfTI", NIFTI_ERRORS):
        header = read_complete_header(path)
    if 0 in header.spacing[:2]:
        # ITK would take it for 1 mm.
        raise cannot_read(
            path,
            "its pixel spacing is 0; correct the header, or save it as PNG to measure in pixels",
        )
    case = _read(path, slice_index, "NIfTI", ".nii.gz")
    with decoding(path, "NIfTI", NIFTI_ERRORS):
        is_finite = slice_is_finite(path, header, slice_index or 0)
    if not is_finite:
        raise cannot_read(path, "the image has NaN or infinite pixels; replace them first")
    return case


def _read(path: Path, slice_index: int | None, kind: str, mask_suffix: str) -> Case:
    # MetaImage's own C++ prints its complaints instead of raising them.
    with quiet_itk(including_stderr=kind == "MetaImage"):
        reader = read_header(path, kind)
        k = _choose_slice(path, reader.GetSize(), slice_index)
        _check_pixel_type(path, reader)
        _check_direction(path, reader.GetDimension(), reader.GetDirection())
        with decoding(path, kind, ITK_ERRORS):
            volume = reader.Execute()
    image = _one_slice(volume, k)
    pixels: NDArray[Any] = SimpleITK.GetArrayFromImage(image)[0]
    if pixels.ndim == 3:
        pixels = np.ascontiguousarray(pixels[..., :3])
    geometry = Geometry(image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    return make_case(path, pixels, geometry=geometry, mask_suffix=mask_suffix)


def read_header(path: Path, kind: str) -> Any:
    """SimpleITK's reader with the header read, and no voxels yet."""
    check_path_for_itk(path, "read")
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(os.fspath(path))
    with decoding(path, kind, ITK_ERRORS):
        try:
            reader.ReadImageInformation()
        except RuntimeError as error:
            if "orthonormal" not in str(error):
                raise
            raise cannot_read(
                path,
                "its orientation is sheared or singular; resample it onto a regular grid first",
            ) from None
    return reader


def is_rgb(reader: Any) -> bool:
    """Whether its header promises red, green, blue and perhaps alpha."""
    return reader.GetNumberOfComponents() in (3, 4) and reader.GetPixelID() in (
        SimpleITK.sitkVectorUInt8,
        SimpleITK.sitkVectorUInt16,
    )


def _choose_slice(path: Path, size: tuple[int, ...], slice_index: int | None) -> int:
    """Index of the slice along k; `size` is (i, j[, k[, t ...]])."""
    if math.prod(size[3:]) > 1:
        raise cannot_read(
            path, f"it has {len(size)} dimensions; time series are not supported, save one volume"
        )
    slices = size[2] if len(size) > 2 else 1
    if slices > 1 and min(size[:2]) == 1:
        raise cannot_read(
            path, "its only slice does not lie along the third axis; reorder its axes first"
        )
    check_pixel_count(path, size[0], size[1])
    return choose_slice(path, slices, slice_index, ALL_SLICES)


def _check_pixel_type(path: Path, reader: Any) -> None:
    components = reader.GetNumberOfComponents()
    if components != 1 and not is_rgb(reader):
        raise cannot_read(
            path, f"it has {components} values per pixel that are no colours; save it grey or RGB"
        )


def _check_direction(path: Path, dimension: int, direction: tuple[float, ...]) -> None:
    """A 2D file can only keep two rows of an oblique orientation; the rest cannot be guessed."""
    matrix = np.asarray(direction).reshape(dimension, dimension)
    if not np.allclose(matrix @ matrix.T, np.eye(dimension), atol=_DIRECTION_TOLERANCE):
        raise cannot_read(
            path, "its orientation does not fit its dimension; save it as 3D with one slice"
        )


def _one_slice(image: Any, k: int) -> Any:
    """Slice k of a 2D, 3D or (one time point) higher image, as a 3D image that knows its place."""
    while image.GetDimension() > 3:
        image = image[(*[slice(None)] * (image.GetDimension() - 1), 0)]
    if image.GetDimension() == 2:
        return SimpleITK.JoinSeries([image], 0.0, 1.0)
    return image[:, :, k : k + 1]
