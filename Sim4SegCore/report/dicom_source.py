"""The header of the image that a result is about, as other DICOM objects refer to it."""

from __future__ import annotations

import re
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.valuerep import PersonName

from ..case import Case
from ..errors import Sim4SegError
from ..io.dicom_header import DICOM_ERRORS

_IDENTITY = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID",
    "StudyDate", "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
"""What every DICOM object has, though it may be unknown; old files leave it out."""
_FORMS = {
    "PatientBirthDate": re.compile(r"\d{8}"),
    "StudyDate": re.compile(r"\d{8}"),
    "StudyTime": re.compile(r"\d\d(\d\d(\d\d(\.\d{1,6})?)?)?"),
}
"""Older forms are no longer allowed, and count as unknown."""
UNKNOWN_MODALITY = "OT"


def read_source(case: Case) -> Dataset:
    """The header of a case's file, with the gaps closed that are allowed to be empty.

    Of several frames it describes the case's own alone.

    Raises:
        Sim4SegError: if the file is gone or another one, or does not say what it is.
    """
    assert case.source is not None and case.dicom_frame is not None
    try:
        header = dcmread(case.source, force=True, stop_before_pixels=True)
        found = (int(header.get("Rows", 0)), int(header.get("Columns", 0)))
        missing = [keyword for keyword in _IDENTITY if not header.get(keyword)]
        complete(header)
        frames = int(header.get("NumberOfFrames") or 1)
    except DICOM_ERRORS:
        raise Sim4SegError("the image can no longer be read") from None
    if found != case.size or case.dicom_frame >= frames:
        raise Sim4SegError("the file is no longer the image that was looked at")
    if missing:
        raise Sim4SegError(f"the image has no {missing[0]} to refer to")
    return only_frame(header, case.dicom_frame) if frames > 1 else header


def complete(header: Dataset) -> None:
    """Close gaps, and decode names so that they can be written in another character set."""
    for keyword in _MAY_BE_EMPTY:
        value: Any = header.get(keyword)
        form = _FORMS.get(keyword)
        if value is None or (form is not None and not form.fullmatch(str(value).strip())):
            setattr(header, keyword, "")
        elif isinstance(value, PersonName):
            setattr(header, keyword, str(value))
    if not header.get("Modality"):
        header.Modality = UNKNOWN_MODALITY
    if "SliceThickness" not in header:
        header.SliceThickness = None


def only_frame(header: Dataset, frame: int) -> Dataset:
    """The header as if that frame were the only one: what belongs to it counts for all."""
    header.NumberOfFrames = 1
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    for groups in (header.get("PerFrameFunctionalGroupsSequence") or [])[frame : frame + 1]:
        header.PerFrameFunctionalGroupsSequence = [groups]
        for keyword in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
            if keyword in groups:
                setattr(shared, keyword, groups[keyword].value)
    if "PixelMeasuresSequence" not in shared:
        shared.PixelMeasuresSequence = _measures(header)
    header.SharedFunctionalGroupsSequence = [shared]
    return header


def _measures(header: Dataset) -> list[Dataset]:
    """Objects older than the functional groups keep the spacing at their top, if they have it."""
    measures = Dataset()
    if header.get("PixelSpacing"):
        measures.PixelSpacing = header.PixelSpacing
    return [measures]
