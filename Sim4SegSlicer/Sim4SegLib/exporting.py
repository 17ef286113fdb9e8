"""An answer as files for people: report, picture with outlines, answer and segmentation."""

from __future__ import annotations

import json
import re
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from PIL import Image

from Sim4SegCore.errors import Sim4SegError

from . import reports
from .outcome import Outcome, outcome_of

REPORT_FILE = "report.md"
ANSWER_FILE = "answer.json"
PICTURE_FILE = "picture.png"
SEGMENTATION_FILE = "segmentation.seg.nrrd"
_FILLED = 0.25
_SMALLEST_SIDE = 512


def export_report(report_node: Any, parent: Path) -> Path:
    """Write everything about an answer into a new folder, completely or not at all.

    Args:
        parent: an existing folder.

    Returns:
        The new folder, named after the report.

    Raises:
        Sim4SegError: if it cannot be written.
    """
    outcome = outcome_of(report_node)
    folder = _new_folder(parent, report_node.GetName())
    staging = parent / f".sim4seg-{uuid.uuid4().hex}"
    try:
        staging.mkdir()
        (staging / REPORT_FILE).write_text(report_node.GetText(), encoding="utf-8")
        answer = json.dumps(outcome.document, indent=2, ensure_ascii=False)
        (staging / ANSWER_FILE).write_text(answer + "\n", encoding="utf-8")
        Image.fromarray(draw(outcome)).save(staging / PICTURE_FILE)
        _write_segmentation(report_node, staging / SEGMENTATION_FILE)
        staging.rename(folder)
    except OSError as error:
        raise Sim4SegError(
            f"the answer cannot be exported ({error.strerror}); choose another folder"
        ) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


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
