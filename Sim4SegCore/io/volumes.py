"""Finds out what kind of volume a path is and hands it to that format's reader."""

from __future__ import annotations

from pathlib import Path

from ..volume.case import VolumeCase
from .problems import cannot_read
from .quiet import quiet_python
from .reading import first_bytes, may_be_bare_dicom
from .suffixes import METAIMAGE_SUFFIXES, NIFTI_SUFFIXES, NRRD_SUFFIXES

_SUPPORTED = "NIfTI (.nii, .nii.gz), NRRD, MetaImage (.mha, .mhd), DICOM files or folders"


def read_volume_case(path: str | Path, series: int | None = None) -> VolumeCase:
    """Read one volume.

    Args:
        path: a NIfTI, NRRD, MetaImage or multi-frame DICOM file, or a folder of DICOM files.
        series: which series of a folder, from 1 in the order in which the refusal lists them;
            may be left out where there is only one.

    Returns:
        The voxels as stored, (k, j, i), one channel of three equal ones; slices of DICOM are
        sorted along their normal, in the modality's units.

    Raises:
        Sim4SegError: if it cannot be read, or is no single grey volume on a regular grid with a
            known spacing: damaged, time series, colour, one slice, constant, NaN, missing
            slices, several series.
    """
    path = Path(path)
    head = first_bytes(path)
    is_dicom = head is None or head[128:] == b"DICM"
    name = path.name.lower()
    with quiet_python():
        if not is_dicom and name.endswith(NIFTI_SUFFIXES + NRRD_SUFFIXES + METAIMAGE_SUFFIXES):
            _refuse_series(path, series)
            from .itk_volume import read_itk_volume

            return read_itk_volume(path)
        if not is_dicom and not may_be_bare_dicom(path):
            raise cannot_read(path, f"it is no volume; give {_SUPPORTED}")
        from .dicom_volume import read_dicom_volume

        if head is not None:
            _refuse_series(path, series)
        return read_dicom_volume(path, series)


def _refuse_series(path: Path, series: int | None) -> None:
    if series is not None:
        raise cannot_read(path, "only DICOM folders have series; leave --series out")
