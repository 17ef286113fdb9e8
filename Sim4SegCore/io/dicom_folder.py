"""A folder of DICOM files: its only image, or a slice of its only series."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.misc import is_dicom

from ..case import Case
from .checks import ALL_SLICES, choose_slice
from .dicom import read_dicom
from .dicom_header import DICOM_ERRORS, Header
from .dicom_place import place_along_normal
from .problems import cannot_read, explain_os_error
from .suffixes import DICOM_SUFFIXES

_HEADER_KEYWORDS = [
    "Rows",
    "Columns",
    "NumberOfFrames",
    "Modality",
    "BodyPartExamined",
    "SeriesNumber",
    "SeriesInstanceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SpacingBetweenSlices",
    "SliceThickness",
]


def read_dicom_folder(folder: Path, slice_index: int | None) -> Case:
    """The only DICOM image of a folder, or slice `slice_index` of its only series."""
    return read_slice(folder, image_headers(folder), slice_index)


def read_slice(folder: Path, headers: Sequence[Header], slice_index: int | None) -> Case:
    """The only one of these DICOM images, or slice `slice_index` of their only series.

    Args:
        folder: for messages.
    """
    if not headers:
        raise cannot_read(folder, "the folder holds no DICOM image; give an image file")
    if len(headers) == 1:
        return read_dicom(headers[0].path, slice_index)
    if slice_index is None:
        raise cannot_read(
            folder,
            f"it holds {len(headers)} DICOM files; choose one, "
            f"or use --slice K (0 to {len(headers) - 1}), or {ALL_SLICES}",
        )
    places, files = _order_series(folder, headers)
    case = read_dicom(files[choose_slice(folder, len(files), slice_index)], None)
    if case.geometry is None:
        return case
    # Measured between neighbours: a header's thickness says nothing of gaps and overlaps.
    spacing = (*case.geometry.spacing[:2], float(np.median(np.diff(places))))
    return replace(case, geometry=replace(case.geometry, spacing=spacing))


def image_headers(folder: Path) -> list[Header]:
    """Headers, without pixels, of every DICOM image that lies in the folder."""
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        raise explain_os_error(error, folder, "read") from None
    return headers_of(files)


def headers_of(files: Iterable[Path]) -> list[Header]:
    """Headers, without pixels, of those files that are DICOM images."""
    return [header for file in files if (header := _image_header(file)) is not None]


def _image_header(path: Path) -> Header | None:
    """None for anything but a DICOM image: a damaged neighbour must not hide the others."""
    with contextlib.suppress(MemoryError, *DICOM_ERRORS):
        if path.is_file() and (path.suffix.lower() in DICOM_SUFFIXES or is_dicom(path)):
            dataset = dcmread(
                path, force=True, stop_before_pixels=True, specific_tags=_HEADER_KEYWORDS
            )
            if "Rows" in dataset:
                return Header(path, dataset)
    return None


def _order_series(folder: Path, headers: Sequence[Header]) -> tuple[list[float], list[Path]]:
    """Sort one series along the normal of its slices.

    Returns:
        Places in mm along the normal, ascending, and their files.
    """
    count = len(headers)
    series = len({header.text("SeriesInstanceUID") for header in headers})
    if series > 1:
        raise cannot_read(
            folder, f"it holds {count} DICOM files of {series} series; choose one file"
        )
    placed = [
        (place, header.path)
        for header in headers
        if (place := place_along_normal(header)) is not None
    ]
    if len(placed) < count:
        raise cannot_read(
            folder, f"its {count} DICOM files do not say where they lie; choose one file"
        )
    files = dict(placed)
    if len(files) < count:
        raise cannot_read(
            folder,
            "several of its DICOM files lie at the same place (time series?); choose one file",
        )
    places = sorted(files)
    return places, [files[place] for place in places]
