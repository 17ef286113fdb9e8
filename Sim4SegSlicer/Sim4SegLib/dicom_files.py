"""A reading as DICOM objects that refer to the files that its volume came from.

An answer about a slice of a series becomes a segmentation and a structured report about that image;
what runs across several images (volumes, slices across the series) becomes a segmentation of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from Sim4SegCore.errors import Sim4SegError

from .planes import RAS_TO_LPS, Matrix
from .volumes import ijk_to_ras_of

if TYPE_CHECKING:
    from .outcome import Reading

INSTANCES_ATTRIBUTE = "DICOM.instanceUIDs"
_TOLERANCE = 0.05
"""Of a voxel; positions in headers are rounded."""


def write_dicom_objects(reading: Reading, folder: Path, file_of: Callable[[str], str]) -> list[str]:
    """Write `mask.dcm`, and `report.dcm` of an answer about one image.

    Args:
        file_of: the file of a SOP instance UID, empty if there is none.

    Returns:
        Names of the files.

    Raises:
        Sim4SegError: if the volume did not come from DICOM files that are still there, was changed
            since, or their headers do not allow it; nothing is then written.
        OSError: if a file cannot be written.
    """
    uids = (reading.volume_node.GetAttribute(INSTANCES_ATTRIBUTE) or "").split()
    files = [file_of(uid) for uid in uids]
    if not files:
        raise Sim4SegError("the volume was not loaded from DICOM files")
    if not all(file and Path(file).is_file() for file in files):
        raise Sim4SegError("the DICOM files of the volume are not in the DICOM database any more")
    try:
        import highdicom  # noqa: F401
        import pydicom
    except ImportError:
        raise Sim4SegError("the Python packages pydicom and highdicom are missing") from None
    headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in files]
    masks = _masks(reading)
    frames = [[_frame(mask, header, reading) for mask in masks] for header in headers]
    marked = [number for number, each in enumerate(frames) if any(mask.any() for mask in each)]
    asked = _asked_image(reading, headers)
    if asked is not None:
        return _write_image(reading, files[asked], frames[asked], folder)
    if not marked:
        raise Sim4SegError("nothing was found that a segmentation could hold")
    from .dicom_segmentation import write_segmentation

    stacked = np.stack([np.stack(each, axis=-1) for each in frames])
    return [write_segmentation(reading.document, headers, stacked, reading.is_corrected, folder)]


def _masks(reading: Reading) -> list[NDArray[np.bool_]]:
    """Of each finding, (k, j, i)."""
    shape = reading.volume_node.GetImageData().GetDimensions()[::-1]
    nothing = np.zeros(shape, bool)
    labels = [finding["label"] for finding in reading.document["findings"]]
    return [reading.masks.get(label, nothing) for label in labels]


def _write_image(
    reading: Reading, file: str, masks: Sequence[NDArray[np.bool_]], folder: Path
) -> list[str]:
    from Sim4SegCore.io import read_case
    from Sim4SegCore.report.dicom import write_dicom

    from .corrected import result_with_masks

    case = read_case(Path(file))
    result = result_with_masks(reading.document, masks, None, case, "")
    return write_dicom(result, folder)


def _asked_image(reading: Reading, headers: Sequence[Any]) -> int | None:
    """Which file the slice is that was asked about; None if it runs across several."""
    if reading.plane is None:
        return None
    if len(headers) == 1 and not _has_place(headers[0]):
        return 0
    volume = np.zeros(reading.volume_node.GetImageData().GetDimensions()[::-1], bool)
    reading.plane.put(np.ones(reading.plane.size(volume.shape), bool), volume)
    covered = [bool(_frame(volume, header, reading).any()) for header in headers]
    return covered.index(True) if sum(covered) == 1 else None


def _has_place(header: Any) -> bool:
    return bool(header.get("ImagePositionPatient") and header.get("ImageOrientationPatient"))


def _frame(mask: NDArray[np.bool_], header: Any, reading: Reading) -> NDArray[np.bool_]:
    """What a file's image shows of a volume's mask, bool (rows, columns).

    Raises:
        Sim4SegError: if its pixels are not voxels of the volume.
    """
    size = (int(header.Rows), int(header.Columns))
    if int(header.get("NumberOfFrames") or 1) > 1:
        raise Sim4SegError("DICOM files with several frames cannot be referred to from here")
    if not _has_place(header):
        if mask.shape == (1, *size):
            return mask[0]
        raise Sim4SegError("the DICOM files do not say where their images lie")
    origin, down, across = _steps(header, ijk_to_ras_of(reading.volume_node))
    rows, columns = np.arange(size[0])[:, None], np.arange(size[1])[None]
    index = [origin[axis] + rows * down[axis] + columns * across[axis] for axis in range(3)]
    is_there = np.ones(size, bool)
    for axis in range(3):
        is_there &= (index[axis] >= 0) & (index[axis] < mask.shape[axis])
    clipped = [np.clip(index[axis], 0, mask.shape[axis] - 1) for axis in range(3)]
    return np.asarray(mask[tuple(clipped)] & is_there)


def _steps(header: Any, ijk_to_ras: Matrix) -> tuple[NDArray[np.int64], ...]:
    """Voxel (k, j, i) of the first pixel, and the steps of a row and of a column."""
    cosines = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
    down_mm, across_mm = (float(distance) for distance in header.PixelSpacing)
    to_ijk = np.linalg.inv(ijk_to_ras)
    place = np.append(RAS_TO_LPS @ np.array(header.ImagePositionPatient, float), 1.0)
    vectors = RAS_TO_LPS @ np.stack([cosines[1] * down_mm, cosines[0] * across_mm], axis=1)
    exact = [(to_ijk @ place)[:3], *(to_ijk[:3, :3] @ vectors).T]
    rounded = [np.rint(each).astype(np.int64) for each in exact]
    if any(
        np.abs(each - near).max() > _TOLERANCE for each, near in zip(exact, rounded, strict=True)
    ):
        raise Sim4SegError("the volume does not lie on the voxels of its DICOM files any more")
    first, down, across = (each[::-1] for each in rounded)
    return first, down, across
