"""An answer as files for people: report, picture with outlines, answer, segmentation, DICOM."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from PIL import Image

from Sim4SegCore.errors import Sim4SegError

from . import reports
from .dicom_files import write_dicom_objects
from .outcome import Outcome, Reading, outcomes_of, reading_of
from .planes import standard_plane
from .report_text import as_html, as_markdown
from .volumes import ijk_to_ras_of

REPORT_FILE = "report.md"
PDF_FILE = "report.pdf"
ANSWER_FILE = "answer.json"
PICTURE_FILE = "picture.png"
SEGMENTATION_FILE = "segmentation.seg.nrrd"
_AXES = "kji"
_FILLED = 0.25
_SMALLEST_SIDE = 512
_PRINTED_WIDTH = 420
WritePdf = Callable[[str, Path], None]
FileOf = Callable[[str], str]


@dataclass(frozen=True)
class Exported:
    """Where an answer was written.

    Attributes:
        without_dicom: why there are no DICOM objects; empty if there are.
    """

    folder: Path
    without_dicom: str


def export_report(
    report_node: Any, parent: Path, write_pdf: WritePdf | None, dicom_file_of: FileOf
) -> Exported:
    """Write everything about an answer into a new folder, completely or not at all.

    Masks that a reader corrected are exported as they are now, and measured anew.

    Args:
        parent: an existing folder.
        write_pdf: writes HTML as a PDF; None writes none.
        dicom_file_of: the file of a SOP instance UID, empty if there is none.

    Raises:
        Sim4SegError: if it cannot be written.
    """
    reading = reading_of(report_node)
    folder = _new_folder(parent, report_node.GetName())
    staging = parent / f".sim4seg-{uuid.uuid4().hex}"
    try:
        staging.mkdir()
        _write_report(reading, staging, write_pdf)
        _write_segmentation(report_node, staging / SEGMENTATION_FILE)
        without_dicom = _write_dicom(reading, staging, dicom_file_of)
        staging.rename(folder)
    except OSError as error:
        raise Sim4SegError(
            f"the answer cannot be exported ({error.strerror}); choose another folder"
        ) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Exported(folder, without_dicom)


def draw(outcome: Outcome) -> NDArray[np.uint8]:
    """The slice with its masks filled faintly and outlined, uint8 (rows, columns, 3).

    Small slices are enlarged, so that outlines stay fine.
    """
    pixels = outcome.pixels
    picture = pixels if pixels.ndim == 3 else np.repeat(pixels[..., np.newaxis], 3, axis=2)
    factor = max(1, -(-_SMALLEST_SIDE // min(picture.shape[:2])))
    picture = _enlarged(picture, factor).astype(np.float32)
    for label, mask in outcome.masks.items():
        large = _enlarged(mask, factor)
        colour = np.array(outcome.colours[label], np.float32)
        picture[large] = (1 - _FILLED) * picture[large] + _FILLED * colour
        picture[_outline(large, 2)] = colour
    return np.rint(picture).astype(np.uint8)


def _write_report(reading: Reading, folder: Path, write_pdf: WritePdf | None) -> None:
    document = reading.document
    (folder / REPORT_FILE).write_text(as_markdown(document), encoding="utf-8")
    answer = json.dumps(document, indent=2, ensure_ascii=False)
    (folder / ANSWER_FILE).write_text(answer + "\n", encoding="utf-8")
    picture = Image.fromarray(draw(_pictured(reading)))
    picture.save(folder / PICTURE_FILE)
    if write_pdf is not None:
        write_pdf(_printed(document, picture), folder / PDF_FILE)


def _pictured(reading: Reading) -> Outcome:
    """The slice that `outcomes_of` puts first; to make all of a volume's would take long."""
    masks = list(reading.masks.values())
    if reading.plane is None and any(mask.any() for mask in masks):
        axis = _AXES.index(reading.document["volume"]["axis"])
        others = tuple(other for other in range(3) if other != axis)
        areas = np.sum([np.count_nonzero(mask, axis=others) for mask in masks], axis=0)
        to_ras = ijk_to_ras_of(reading.volume_node)
        plane = standard_plane(to_ras, masks[0].shape, axis, int(areas.argmax()))
        reading = dataclasses.replace(reading, plane=plane)
    return outcomes_of(reading)[0]


def _printed(document: dict[str, Any], picture: Image.Image) -> str:
    """The report with its picture inside, as HTML."""
    file = io.BytesIO()
    picture.save(file, format="PNG")
    data = base64.b64encode(file.getvalue()).decode("ascii")
    image = f"<p><img src='data:image/png;base64,{data}' width='{_PRINTED_WIDTH}'></p>"
    return f"<html><body>{as_html(document, with_votes=True)}{image}</body></html>"


def _write_dicom(reading: Reading, folder: Path, dicom_file_of: FileOf) -> str:
    """Why there are no DICOM objects; empty if there are."""
    try:
        write_dicom_objects(reading, folder, dicom_file_of)
    except Sim4SegError as error:
        return str(error)
    return ""


def _enlarged(array: NDArray[Any], factor: int) -> NDArray[Any]:
    return array.repeat(factor, axis=0).repeat(factor, axis=1)


def _outline(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    inside = np.pad(mask, width)
    for _ in range(width):
        core = inside.copy()
        for axis in (0, 1):
            core &= np.roll(inside, 1, axis) & np.roll(inside, -1, axis)
        inside = core
    return np.asarray(mask & ~inside[width:-width, width:-width])


def _write_segmentation(report_node: Any, path: Path) -> None:
    segmentation = report_node.GetNodeReference(reports.SEGMENTATION_ROLE)
    if segmentation is None or segmentation.GetSegmentation().GetNumberOfSegments() == 0:
        return
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    if not storage.WriteData(segmentation):
        raise Sim4SegError("the segmentation cannot be written; choose another folder")


def _new_folder(parent: Path, name: str) -> Path:
    plain = re.sub(r"[^\w .-]+", "_", name).strip(" .") or "report"
    folder, number = parent / plain, 2
    while folder.exists():
        folder, number = parent / f"{plain} {number}", number + 1
    return folder
