"""A mask goes back in its image's geometry."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..case import Case, Geometry
from ..errors import Sim4SegError
from .nifti import NIFTI_ERRORS, holds
from .problems import check_path_for_itk, explain_os_error, quoted
from .quiet import quiet_itk
from .suffixes import MASK_SUFFIXES, NIFTI_SUFFIXES, VOLUME_MASK_SUFFIXES


def write_mask(mask: NDArray[np.bool_], case: Case, path: str | Path) -> None:
    """Write a mask so that it lies on the case's image.

    PNG holds 0 and 255; NIfTI and NRRD hold 0 and 1 in a volume of one slice with the case's
    origin, spacing and direction. The file appears complete or not at all.

    Args:
        mask: bool (H, W), in the pixels of `case.image`.
        case: the image that the mask belongs to.
        path: ends in .png, .nii, .nii.gz or .nrrd; an existing file is replaced.

    Raises:
        Sim4SegError: if the extension is unknown or the file cannot be written.
        ValueError: if mask and image differ in size.
    """
    path = Path(path)
    if mask.shape != case.size:
        raise ValueError(f"mask {mask.shape} does not fit the image {case.size}")
    suffix = next((s for s in MASK_SUFFIXES if path.name.lower().endswith(s)), None)
    if suffix is None:
        raise Sim4SegError(
            f"cannot write {quoted(path)}: a mask is saved as {', '.join(MASK_SUFFIXES)}"
        )
    if suffix == ".png":
        _write_complete(path, suffix, lambda place: _write_png_mask(mask, place))
    else:
        check_path_for_itk(path, "write")
        _write_complete(
            path, suffix, lambda place: _write_itk_mask(mask[np.newaxis], case.geometry, place)
        )


def write_volume_mask(mask: NDArray[np.bool_], geometry: Geometry, path: str | Path) -> None:
    """Write the mask of a volume, 0 and 1, so that it lies on the volume voxel for voxel.

    The file appears complete or not at all.

    Args:
        mask: bool (k, j, i).
        geometry: of the volume.
        path: ends in .nii, .nii.gz or .nrrd; an existing file is replaced.

    Raises:
        Sim4SegError: if the extension is another or the file cannot be written.
    """
    path = Path(path)
    suffix = next((s for s in VOLUME_MASK_SUFFIXES if path.name.lower().endswith(s)), None)
    if suffix is None:
        raise Sim4SegError(
            f"cannot write {quoted(path)}: the mask of a volume is saved as "
            f"{', '.join(VOLUME_MASK_SUFFIXES)}"
        )
    check_path_for_itk(path, "write")
    _write_complete(path, suffix, lambda place: _write_itk_mask(mask, geometry, place))


def _write_complete(path: Path, suffix: str, write: Callable[[Path], None]) -> None:
    """Write under a temporary name and rename."""
    temporary = path.with_name(f".sim4seg-{uuid.uuid4().hex}{suffix}")
    try:
        write(temporary)
        temporary.replace(path)
    except OSError as error:
        raise explain_os_error(error, path, "write") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _write_png_mask(mask: NDArray[np.bool_], path: Path) -> None:
    from PIL import Image

    Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).save(path, format="PNG")


def _write_itk_mask(mask: NDArray[np.bool_], geometry: Geometry | None, path: Path) -> None:
    import SimpleITK

    volume = mask.astype(np.uint8)
    image = SimpleITK.GetImageFromArray(volume)
    if geometry is not None:
        image.SetSpacing(geometry.spacing)
        image.SetOrigin(geometry.origin)
        image.SetDirection(geometry.direction)
    path.touch()  # tells apart what ITK does not: missing folder, no permission, read-only disk
    is_complete = False
    with (
        contextlib.suppress(RuntimeError, *NIFTI_ERRORS),
        quiet_itk(including_stderr=True),
    ):
        SimpleITK.WriteImage(image, os.fspath(path), useCompression=True)
        # NIfTI's writer reports success on a full disk, and what is missing reads back as zeros.
        if path.name.endswith(NIFTI_SUFFIXES):
            is_complete = holds(path, volume)
        else:
            written = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(os.fspath(path)))
            is_complete = np.array_equal(written, volume)
    if not is_complete:
        raise OSError(
            errno.EIO, "the file came out incomplete, the disk may be full; free some space"
        )
