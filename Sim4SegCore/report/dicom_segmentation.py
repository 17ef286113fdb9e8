"""The findings' masks as one DICOM segmentation."""

from __future__ import annotations

from collections.abc import Sequence

import highdicom
import numpy as np
from highdicom.seg import (
    SegmentAlgorithmTypeValues,
    SegmentationTypeValues,
    SegmentDescription,
)
from pydicom import Dataset
from pydicom.sr.coding import Code as DicomCode

from .. import __version__
from ..case import Result
from .terminology import Code, Terminology

MANUFACTURER = "Sim4Seg"
SERIES_DESCRIPTION = "Sim4Seg segmentation (research only)"
SERIES_NUMBER = 7401
UTF8 = "ISO_IR 192"
ARTIFICIAL_INTELLIGENCE = DicomCode("123110", "DCM", "Artificial Intelligence")
MAX_LABEL = 64


def make_segmentation(
    result: Result,
    source: Dataset,
    names: Sequence[str],
    tracking: Sequence[str],
    codes: Terminology,
) -> Dataset:
    """One segment for each finding, empty where it was not found.

    Args:
        source: header of the image, see `dicom_source.read_source`.
        names: of the findings.
        tracking: a UID for each finding, by which reports name it.

    Raises:
        ValueError, TypeError, AttributeError, LookupError: if the header is not that of a
            complete DICOM image.
    """
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=result.model.name[:MAX_LABEL],
        family=ARTIFICIAL_INTELLIGENCE,
        version=result.model.revision[:MAX_LABEL] or __version__,
        source=MANUFACTURER,
    )
    descriptions = []
    for number, finding in enumerate(result.findings, start=1):
        structure = codes.structure(finding.label)
        descriptions.append(
            SegmentDescription(
                segment_number=number,
                segment_label=names[number - 1][:MAX_LABEL],
                segmented_property_category=as_dicom(structure.category),
                segmented_property_type=as_dicom(structure.code),
                algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
                algorithm_identification=algorithm,
                tracking_uid=tracking[number - 1],
                tracking_id=names[number - 1][:MAX_LABEL],
                anatomic_regions=None if structure.region is None else [as_dicom(structure.region)],
            )
        )
    masks = np.stack([finding.mask for finding in result.findings], axis=-1)[np.newaxis]
    segmentation = highdicom.seg.Segmentation(
        source_images=[source],
        pixel_array=masks,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions,
        series_instance_uid=highdicom.UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=result.model.name[:MAX_LABEL],
        software_versions=__version__,
        device_serial_number=result.model.sha256[:MAX_LABEL],
        omit_empty_frames=False,
        content_label="SIM4SEG",
        series_description=SERIES_DESCRIPTION,
        specific_character_set=UTF8,
    )
    if result.case.dicom_frame is not None and "NumberOfFrames" in source:
        _refer_to_frame(segmentation, result.case.dicom_frame + 1)
    _correct_measures(segmentation, source, result)
    return segmentation


def as_dicom(code: Code) -> DicomCode:
    """For pydicom and highdicom."""
    return DicomCode(code.value, code.scheme, code.meaning)


def _refer_to_frame(segmentation: Dataset, number: int) -> None:
    """The header was cut down to one frame, which is another one in the file."""
    for groups in (
        *segmentation.SharedFunctionalGroupsSequence,
        *segmentation.PerFrameFunctionalGroupsSequence,
    ):
        for derivation in groups.get("DerivationImageSequence", []):
            for image in derivation.SourceImageSequence:
                image.ReferencedFrameNumber = number


def _correct_measures(segmentation: Dataset, source: Dataset, result: Result) -> None:
    """highdicom assumes 1 mm between slices, wants a thickness, and repeats empty measures."""
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    measures = (shared.get("PixelMeasuresSequence") or [Dataset()])[0]
    if not any(element.keyword == "SpacingBetweenSlices" for element in source.iterall()):
        measures.pop("SpacingBetweenSlices", None)
    if "PixelSpacing" not in measures or result.case.geometry is None:
        shared.pop("PixelMeasuresSequence", None)
    elif not measures.get("SliceThickness"):
        # As thick as the slice of the other mask files is, where the image does not tell.
        measures.SliceThickness = result.case.geometry.spacing[2]
