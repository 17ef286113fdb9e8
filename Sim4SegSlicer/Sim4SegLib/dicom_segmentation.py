"""The findings' masks on several images of a series as one DICOM segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues, SegmentDescription
from numpy.typing import NDArray

from Sim4SegCore import __version__
from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.report.dicom import SEGMENTATION_FILE
from Sim4SegCore.report.dicom_segmentation import (
    ARTIFICIAL_INTELLIGENCE,
    MANUFACTURER,
    MAX_LABEL,
    SERIES_DESCRIPTION,
    SERIES_NUMBER,
    UTF8,
    as_dicom,
)
from Sim4SegCore.report.dicom_source import complete
from Sim4SegCore.report.terminology import terminology

_HEADER_ERRORS = (ValueError, TypeError, AttributeError, LookupError)


def write_segmentation(
    document: dict[str, Any],
    headers: Sequence[Any],
    masks: NDArray[np.bool_],
    is_corrected: bool,
    folder: Path,
) -> str:
    """Write `mask.dcm`; images without any mask are left out of it.

    Args:
        document: as in result.json.
        headers: of the images.
        masks: bool (images, rows, columns, findings).
        is_corrected: whether a reader has changed them.

    Returns:
        The file's name.

    Raises:
        Sim4SegError: if the headers do not allow it.
        OSError: if it cannot be written.
    """
    for header in headers:
        complete(header)
    model = document["model"]
    try:
        segmentation = highdicom.seg.Segmentation(
            source_images=list(headers),
            pixel_array=masks,
            segmentation_type=SegmentationTypeValues.BINARY,
            segment_descriptions=_descriptions(document, is_corrected),
            series_instance_uid=highdicom.UID(),
            series_number=SERIES_NUMBER,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=model["name"][:MAX_LABEL],
            software_versions=__version__,
            device_serial_number=model["sha256"][:MAX_LABEL],
            omit_empty_frames=True,
            content_label="SIM4SEG",
            series_description=SERIES_DESCRIPTION,
            specific_character_set=UTF8,
        )
    except _HEADER_ERRORS:
        # Without what the exception says: it may name values of a header.
        raise Sim4SegError(
            "the headers of the DICOM files are incomplete or do not belong together"
        ) from None
    segmentation.save_as(folder / SEGMENTATION_FILE)
    return SEGMENTATION_FILE


def _descriptions(document: dict[str, Any], is_corrected: bool) -> list[SegmentDescription]:
    model = document["model"]
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=model["name"][:MAX_LABEL],
        family=ARTIFICIAL_INTELLIGENCE,
        version=model["revision"][:MAX_LABEL] or __version__,
        source=MANUFACTURER,
    )
    kinds = SegmentAlgorithmTypeValues
    descriptions = []
    for number, finding in enumerate(document["findings"], start=1):
        structure = terminology().structure(finding["label"])
        region = structure.region
        descriptions.append(
            SegmentDescription(
                segment_number=number,
                segment_label=finding["label"][:MAX_LABEL],
                segmented_property_category=as_dicom(structure.category),
                segmented_property_type=as_dicom(structure.code),
                algorithm_type=kinds.SEMIAUTOMATIC if is_corrected else kinds.AUTOMATIC,
                algorithm_identification=algorithm,
                tracking_uid=highdicom.UID(),
                tracking_id=finding["label"][:MAX_LABEL],
                anatomic_regions=None if region is None else [as_dicom(region)],
            )
        )
    return descriptions
