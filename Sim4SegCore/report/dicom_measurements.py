"""A report as a DICOM structured report after TID 1500 (measurement report)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence

import highdicom
from highdicom import sr
from pydicom import Dataset
from pydicom.sr.coding import Code as DicomCode

from ..case import Result
from .dicom_segmentation import MANUFACTURER, MAX_LABEL, UTF8, as_dicom
from .structure import Candidate, Report, ReportedFinding, ReportedMeasurement
from .terminology import Terminology

SERIES_DESCRIPTION = "Sim4Seg report (research only)"
SERIES_NUMBER = 7402
PROCEDURES = {
    "CR": DicomCode("43468-8", "LN", "XR unspecified body region"),
    "CT": DicomCode("25045-6", "LN", "CT unspecified body region"),
    "DX": DicomCode("43468-8", "LN", "XR unspecified body region"),
    "MR": DicomCode("25056-3", "LN", "MRI unspecified body region"),
    "NM": DicomCode("49118-3", "LN", "NM unspecified body region"),
    "PT": DicomCode("44136-0", "LN", "PET unspecified body region"),
}
IMAGING_PROCEDURE = DicomCode("363679005", "SCT", "Imaging procedure")
UNITS = {
    "mm": DicomCode("mm", "UCUM", "millimeter"),
    "mm²": DicomCode("mm2", "UCUM", "square millimeter"),
    "px": DicomCode("{pixels}", "UCUM", "pixels"),
    "%": DicomCode("%", "UCUM", "percent"),
    "HU": DicomCode("[hnsf'U]", "UCUM", "Hounsfield unit"),
    "": DicomCode("1", "UCUM", "no units"),
}
PRESENCE = DicomCode("121052", "DCM", "Presence of property")
PRESENT, ABSENT = DicomCode("52101004", "SCT", "Present"), DicomCode("272519000", "SCT", "Absent")
CERTAINTY_OF_FINDING = DicomCode("111012", "DCM", "Certainty of Finding")
CERTAINTY_OF_IMPRESSION = DicomCode("111013", "DCM", "Certainty of Impression")
IMPRESSION = DicomCode("121073", "DCM", "Impression")
COMMENT = DicomCode("121106", "DCM", "Comment")
_DEVICES = uuid.UUID("9c6a3f1e-5f0c-4d57-9d0e-6d2f3f8f6b11")


def make_measurement_report(
    result: Result,
    report: Report,
    source: Dataset,
    segmentation: Dataset | None,
    tracking: Sequence[str],
    codes: Terminology,
) -> Dataset:
    """Measurements of each finding with its segment, and the diagnoses with their certainty.

    Args:
        source: header of the image, see `dicom_source.read_source`.
        segmentation: see `dicom_segmentation.make_segmentation`; None without findings.
        tracking: a UID for each finding, as in the segmentation.

    Raises:
        ValueError, TypeError, AttributeError, LookupError: if the header is not that of a
            complete DICOM image.
    """
    image = sr.SourceImageForMeasurementGroup(*_reference(result, source))
    groups = [
        _finding_group(result, finding, number, report, source, segmentation, tracking, codes)
        for number, finding in enumerate(report.findings, start=1)
    ]
    groups += [_diagnosis_group(c, n, image) for n, c in enumerate(_candidates(report, codes), 1)]
    content = sr.MeasurementReport(
        observation_context=_observer(result),
        procedure_reported=PROCEDURES.get(result.case.modality or "", IMAGING_PROCEDURE),
        imaging_measurements=groups,
    )
    content[0].ContentSequence.extend(
        sr.TextContentItem(COMMENT, text, sr.RelationshipTypeValues.CONTAINS)
        for text in (report.impression.text, *report.limitations)
    )
    return sr.Comprehensive3DSR(
        evidence=[source] if segmentation is None else [source, segmentation],
        content=content[0],
        series_instance_uid=highdicom.UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        series_description=SERIES_DESCRIPTION,
        specific_character_set=UTF8,
    )


def _reference(result: Result, source: Dataset) -> tuple[str, str, list[int] | None]:
    """SOP class, SOP instance and, of several frames, the frame."""
    frame = [result.case.dicom_frame + 1] if result.case.dicom_frame is not None else None
    return source.SOPClassUID, source.SOPInstanceUID, frame if "NumberOfFrames" in source else None


def _observer(result: Result) -> sr.ObservationContext:
    device = uuid.uuid5(_DEVICES, result.model.sha256)
    return sr.ObservationContext(
        observer_device_context=sr.ObserverContext(
            observer_type=DicomCode("121007", "DCM", "Device"),
            observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
                uid=f"2.25.{device.int}",
                name=MANUFACTURER,
                manufacturer_name=MANUFACTURER,
                model_name=result.model.name[:MAX_LABEL],
            ),
        )
    )


def _candidates(report: Report, codes: Terminology) -> Sequence[Candidate]:
    """TID 1500 wants at least one group."""
    if report.impression.candidates or report.findings:
        return report.impression.candidates
    return (Candidate("no finding", 0.0, codes.diagnosis("no finding")),)


def _finding_group(
    result: Result,
    finding: ReportedFinding,
    number: int,
    report: Report,
    source: Dataset,
    segmentation: Dataset | None,
    tracking: Sequence[str],
    codes: Terminology,
) -> sr.Template:
    identifier = sr.TrackingIdentifier(tracking[number - 1], finding.name[:MAX_LABEL])
    structure = codes.structure(result.findings[number - 1].label)
    certainty = _percent(CERTAINTY_OF_FINDING, finding.confidence)
    if not finding.present or segmentation is None:
        return sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=identifier,
            finding_type=as_dicom(structure.code),
            finding_category=as_dicom(structure.category),
            source_images=[sr.SourceImageForMeasurementGroup(*_reference(result, source))],
            measurements=certainty,
            qualitative_evaluations=[sr.QualitativeEvaluation(PRESENCE, ABSENT)],
        )
    rows = (row for row in report.measurements if row.finding == finding.name)
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=identifier,
        referenced_segment=sr.ReferencedSegmentationFrame(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            frame_number=_frame_of_segment(segmentation, number),
            segment_number=number,
            source_image=sr.SourceImageForSegmentation(*_reference(result, source)),
        ),
        finding_type=as_dicom(structure.code),
        finding_category=as_dicom(structure.category),
        finding_sites=None
        if structure.region is None
        else [sr.FindingSite(as_dicom(structure.region))],
        measurements=[*_measurements(rows, codes), *certainty],
        qualitative_evaluations=[sr.QualitativeEvaluation(PRESENCE, PRESENT)],
    )


def _frame_of_segment(segmentation: Dataset, number: int) -> int:
    if len(segmentation.PerFrameFunctionalGroupsSequence) == 1:
        return 1  # what identifies its segment may then stand among the shared groups
    for frame, groups in enumerate(segmentation.PerFrameFunctionalGroupsSequence, start=1):
        if groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number:
            return frame
    raise LookupError(f"no frame of segment {number}")


def _measurements(
    rows: Iterator[ReportedMeasurement], codes: Terminology
) -> Iterator[sr.Measurement]:
    for row in rows:
        quantity = codes.quantity(row.name)
        yield sr.Measurement(
            name=as_dicom(quantity.code),
            value=row.value,
            unit=UNITS[row.unit],
            derivation=None if quantity.derivation is None else as_dicom(quantity.derivation),
        )


def _diagnosis_group(
    candidate: Candidate, number: int, image: sr.SourceImageForMeasurementGroup
) -> sr.MeasurementsAndQualitativeEvaluations:
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(highdicom.UID(), f"impression {number}"),
        source_images=[image],
        measurements=_percent(CERTAINTY_OF_IMPRESSION, candidate.confidence),
        qualitative_evaluations=[sr.QualitativeEvaluation(IMPRESSION, as_dicom(candidate.code))],
    )


def _percent(name: DicomCode, share: float) -> list[sr.Measurement]:
    """None of a share that is no number."""
    if share != share:
        return []
    return [sr.Measurement(name, round(100 * share, 1), UNITS["%"])]
