"""A report with the pixels and the masks as they are now, after corrections. MRML, no Qt."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Sim4SegCore.case import Case
from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.intensity import to_rgb8

from . import reports, segments, volumes
from .boxes import box_of_volume, digest
from .corrected import result_with_masks, slice_document, volume_document
from .planes import Plane, standard_plane

CORRECTED = (
    "the masks were corrected by a reader after the answer; measurements are of the corrected "
    "masks, statements of the reasoning were compared with the model's"
)
_AXES = "kji"


@dataclass(frozen=True)
class Reading:
    """An answer and its masks as they are now.

    Attributes:
        document: as in result.json; measured anew if the masks were corrected.
        plane: the slice that was asked about, None of a volume.
        masks: label -> bool (k, j, i) of the whole volume; segments of one label are united.
        colours: label -> red, green, blue, 0..255.
        is_corrected: whether a reader has changed the masks.
    """

    report_node: Any
    volume_node: Any
    document: dict[str, Any]
    plane: Plane | None
    masks: dict[str, NDArray[np.bool_]]
    colours: dict[str, tuple[int, int, int]]
    is_corrected: bool


@dataclass(frozen=True)
class Outcome:
    """One slice of a reading.

    Attributes:
        document: of the reading.
        pixels: uint8 (rows, columns) or (rows, columns, 3), as they are shown.
        masks: label -> bool (rows, columns).
        colours: label -> red, green, blue, 0..255.
        volume: voxels of the whole volume, to tell volumes apart.
    """

    document: dict[str, Any]
    pixels: NDArray[np.uint8]
    masks: dict[str, NDArray[np.bool_]]
    colours: dict[str, tuple[int, int, int]]
    volume: NDArray[Any]


def reading_of(report_node: Any) -> Reading:
    """
    Raises:
        Sim4SegError: if the volume is gone.
    """
    document = reports.document_of(report_node)
    volume_node = report_node.GetNodeReference(reports.VOLUME_ROLE)
    if document is None or volume_node is None:
        raise Sim4SegError("the volume of this answer is not in the scene any more; load it again")
    masks: dict[str, NDArray[np.bool_]] = {}
    colours: dict[str, tuple[int, int, int]] = {}
    digests = []
    for segment, mask in _segments(report_node, volume_node):
        label = segments.tag_of(segment, segments.LABEL_TAG) or segment.GetName()
        masks[label] = masks[label] | mask if label in masks else mask
        red, green, blue = (round(255 * part) for part in segment.GetColor())
        colours[label] = (red, green, blue)
        digests.append(digest(box_of_volume(mask)))
    is_corrected = sorted(digests) != sorted(reports.digests_of(report_node))
    reading = Reading(
        report_node,
        volume_node,
        document,
        reports.plane_of(report_node),
        masks,
        colours,
        is_corrected,
    )
    return _measured_anew(reading) if is_corrected else reading


def outcomes_of(reading: Reading) -> list[Outcome]:
    """The slice that was asked about; of a volume those that have a mask, the largest first.

    Where nothing was found in a volume, these are the slices that were answered.
    """
    if reading.plane is not None:
        return [_outcome(reading, reading.plane)]
    axis = _AXES.index(reading.document["volume"]["axis"])
    others = tuple(other for other in range(3) if other != axis)
    volume = volumes.voxels_of(reading.volume_node)
    areas = np.zeros(volume.shape[axis], np.int64)
    for mask in reading.masks.values():
        areas += np.count_nonzero(mask, axis=others)
    indices = [int(index) for index in np.argsort(-areas, kind="stable") if areas[index]]
    if not indices:
        indices = [row["index"] for row in reading.document["volume"]["key_slices"]]
    to_ras = volumes.ijk_to_ras_of(reading.volume_node)
    return [
        _outcome(reading, standard_plane(to_ras, volume.shape, axis, index)) for index in indices
    ]


def case_of(reading: Reading, plane: Plane) -> Case:
    """A slice of the reading's volume."""
    image = volumes.slice_at(reading.volume_node, plane)
    return Case(image.voxels[0], image.geometry, window=image.window)


def _outcome(reading: Reading, plane: Plane) -> Outcome:
    case = case_of(reading, plane)
    rgb = to_rgb8(case)
    return Outcome(
        reading.document,
        rgb if case.image.ndim == 3 else rgb[..., 0],
        {label: plane.take(mask) for label, mask in reading.masks.items()},
        reading.colours,
        volumes.voxels_of(reading.volume_node),
    )


def _measured_anew(reading: Reading) -> Reading:
    document, plane = reading.document, reading.plane
    labels = [finding["label"] for finding in document["findings"]]
    nothing = np.zeros(volumes.voxels_of(reading.volume_node).shape[:3], bool)
    masks = [reading.masks.get(label, nothing) for label in labels]
    if plane is not None:
        flat = [plane.take(mask) for mask in masks]
        result = result_with_masks(document, flat, None, case_of(reading, plane), CORRECTED)
        made = slice_document(result, document)
    else:
        image = volumes.whole(reading.volume_node)
        assert image.geometry is not None
        made = volume_document(document, masks, image.voxels, image.geometry, CORRECTED)
    return dataclasses.replace(reading, document=made)


def _segments(report_node: Any, volume_node: Any) -> list[tuple[Any, NDArray[np.bool_]]]:
    """The report's segments that are still there; a reader may have removed some."""
    node = report_node.GetNodeReference(reports.SEGMENTATION_ROLE)
    found = []
    for identity in () if node is None else reports.segments_of(report_node):
        segment = node.GetSegmentation().GetSegment(identity)
        if segment is not None:
            found.append((segment, segments.segment_mask(node, identity, volume_node)))
    return found
