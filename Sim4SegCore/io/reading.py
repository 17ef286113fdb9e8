"""Finds out what a path is and hands it to that format's reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..case import Case
from .problems import cannot_read, explain_os_error
from .quiet import quiet_python
from .suffixes import (
    DICOM_SUFFIXES,
    METAIMAGE_SUFFIXES,
    NIFTI_SUFFIXES,
    NRRD_SUFFIXES,
    PICTURE_SUFFIXES,
    SUPPORTED,
)

_Reader = Callable[[Path, "int | None"], Case]


def read_case(path: str | Path, slice_index: int | None = None) -> Case:
    """Read one 2D image.

    Args:
        path: a PNG, JPEG, TIFF, BMP, DICOM, NIfTI, NRRD or MetaImage file, or a folder that
            holds DICOM.
        slice_index: which slice (k of an ITK volume, frame of a multi-frame DICOM file, page
            of a TIFF, slice along the normal of a DICOM folder) to take, from 0; may be left
            out where there is only one.

    Returns:
        The image as stored: (H, W) or (H, W, 3), rows j and columns i, unflipped. DICOM values
        are rescaled to the modality's units; pictures are turned upright by their EXIF tag.

    Raises:
        Sim4SegError: if the path cannot be read, is damaged, unsupported, not 2D, or if
            `slice_index` is missing or out of range.
    """
    path = Path(path)
    head = first_bytes(path)
    with quiet_python():
        if head is None:
            from .dicom_folder import read_dicom_folder

            return read_dicom_folder(path, slice_index)
        return _reader_for(path, head)(path, slice_index)


def first_bytes(path: Path) -> bytes | None:
    """The start of a file, long enough to hold DICOM's magic; None for a folder."""
    try:
        if path.is_dir():
            return None
        if path.exists() and not path.is_file():
            raise cannot_read(path, "it is not a regular file; give an image file")
        with path.open("rb") as stream:
            head = stream.read(132)
    except OSError as error:
        raise explain_os_error(error, path, "read") from None
    except ValueError:
        raise cannot_read(path, "this is not a valid file name; check the path") from None
    if not head:
        raise cannot_read(path, "the file is empty; copy or export it again")
    return head


def _reader_for(path: Path, head: bytes) -> _Reader:
    name = path.name.lower()
    if head[128:] != b"DICM":
        if name.endswith(PICTURE_SUFFIXES):
            from .pictures import read_picture

            return read_picture
        if name.endswith(NIFTI_SUFFIXES + NRRD_SUFFIXES + METAIMAGE_SUFFIXES):
            from .itk import read_volume

            return read_volume
        if not may_be_bare_dicom(path):
            raise cannot_read(path, f"unsupported file type; convert it to {SUPPORTED}")
    from .dicom import read_dicom

    return read_dicom


def may_be_bare_dicom(path: Path) -> bool:
    """Scanners name files without extension, or by a number or UID."""
    suffix = path.suffix.lower()
    return suffix in DICOM_SUFFIXES or suffix == "" or suffix[1:].isdigit()
