"""mask.dcm and report.dcm: a result as DICOM objects that refer to the image's own.

Everything that a header can lack or get wrong ends here as one sentence without a value of it,
since headers identify patients.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..case import Result
from ..errors import Sim4SegError
from ..io.quiet import quiet_python

SEGMENTATION_FILE = "mask.dcm"
REPORT_FILE = "report.dcm"
_HEADER_ERRORS = (ValueError, TypeError, AttributeError, LookupError, OverflowError, struct.error)


def write_dicom(result: Result, folder: Path) -> list[str]:
    """Write a result about a DICOM image as DICOM SEG and SR.

    Returns:
        Names of the files.

    Raises:
        Sim4SegError: if the image's header does not allow it; nothing is then written.
        OSError: if a file cannot be written.
    """
    with quiet_python(), _quiet_highdicom():
        try:
            objects = _objects(result)
        except _HEADER_ERRORS as error:
            raise Sim4SegError(_reason(error)) from None
        for name, dataset in objects.items():
            dataset.save_as(folder / name)
    return list(objects)


def _objects(result: Result) -> dict[str, Any]:
    import highdicom

    from .build import build_report
    from .dicom_measurements import make_measurement_report
    from .dicom_segmentation import make_segmentation
    from .dicom_source import read_source
    from .terminology import terminology

    source, codes, report = read_source(result.case), terminology(), build_report(result)
    names = [finding.name for finding in report.findings]
    tracking = [str(highdicom.UID()) for _ in names]
    segmentation = None
    objects = {}
    if names:
        segmentation = make_segmentation(result, source, names, tracking, codes)
        objects[SEGMENTATION_FILE] = segmentation
    objects[REPORT_FILE] = make_measurement_report(
        result, report, source, segmentation, tracking, codes
    )
    return objects


def _reason(error: Exception) -> str:
    if "rame Of Reference" in str(error) or "rame of Reference" in str(error):
        return "the image has no frame of reference, which objects about its kind need"
    return "the image's header is incomplete or of a kind that such objects cannot refer to"


@contextmanager
def _quiet_highdicom() -> Iterator[None]:
    logger = logging.getLogger("highdicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
