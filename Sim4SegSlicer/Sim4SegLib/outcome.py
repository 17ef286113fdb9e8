"""A report with the pixels and the masks as they are now, after corrections. MRML, no Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Sim4SegCore.case import Case
from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.intensity import to_rgb8

from . import reports, segments, volumes


@dataclass(frozen=True)
class Outcome:
    """What a reader has made of an answer about one slice.

    Attributes:
        document: as in result.json.
        pixels: uint8 (rows, columns) or (rows, columns, 3), as they are shown.
        masks: label -> bool (rows, columns); segments of one label are united.
        colours: label -> red, green, blue, 0..255.
        volume: voxels of the whole volume, to tell volumes apart.
    """

    document: dict[str, Any]
    pixels: NDArray[np.uint8]
    masks: dict[str, NDArray[np.bool_]]
    colours: dict[str, tuple[int, int, int]]
    volume: NDArray[Any]


def outcome_of(report_node: Any) -> Outcome:
    """
    Raises:
        Sim4SegError: if the volume is gone, or the answer is about more than one slice.
    """
    document = reports.document_of(report_node)
    volume_node = report_node.GetNodeReference(reports.VOLUME_ROLE)
    plane = reports.plane_of(report_node)
    if document is None or volume_node is None:
        raise Sim4SegError("the volume of this answer is not in the scene any more; load it again")
    if plane is None:
        raise Sim4SegError("this answer is about a whole volume; ask about one slice instead")
    image = volumes.slice_at(volume_node, plane)
    rgb = to_rgb8(Case(image.voxels[0], image.geometry, window=image.window))
    masks: dict[str, NDArray[np.bool_]] = {}
    colours: dict[str, tuple[int, int, int]] = {}
    for segment, whole_mask in _segments(report_node, volume_node):
        label = segments.tag_of(segment, segments.LABEL_TAG) or segment.GetName()
        mask = plane.take(whole_mask)
        masks[label] = masks.get(label, np.zeros_like(mask)) | mask
        red, green, blue = (round(255 * part) for part in segment.GetColor())
        colours[label] = (red, green, blue)
    pixels = rgb if image.voxels.ndim == 4 else rgb[..., 0]
    return Outcome(document, pixels, masks, colours, volumes.voxels_of(volume_node))


def _segments(report_node: Any, volume_node: Any) -> list[tuple[Any, NDArray[np.bool_]]]:
    """The report's segments that are still there; a reader may have removed some."""
    node = report_node.GetNodeReference(reports.SEGMENTATION_ROLE)
    found = []
    for identity in () if node is None else reports.segments_of(report_node):
        segment = node.GetSegmentation().GetSegment(identity)
        if segment is not None:
            found.append((segment, segments.segment_mask(node, identity, volume_node)))
    return found
