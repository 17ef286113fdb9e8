"""Answers as text nodes, which are saved with the scene and found again in it. MRML, no Qt."""

from __future__ import annotations

import dataclasses
import json
from typing import Any
from urllib.parse import quote, unquote

import vtk

from .nodes import new_node, nodes_of_class, put_beside, remove_nodes
from .planes import Crop, Plane
from .report_text import as_markdown
from .segments import MADE_ATTRIBUTE

DOCUMENT_ATTRIBUTE = "Sim4Seg.Document"
PLANE_ATTRIBUTE = "Sim4Seg.Plane"
SEGMENTS_ATTRIBUTE = "Sim4Seg.Segments"
DIGESTS_ATTRIBUTE = "Sim4Seg.Digests"
SEGMENTATION_ROLE = "Sim4Seg.Segmentation"
VOLUME_ROLE = "Sim4Seg.Volume"
SIMILARITY_ROLE = "Sim4Seg.SimilarityMap"


def add_report(scene: Any, volume_node: Any, document: dict[str, Any], plane: Plane | None) -> Any:
    """A new text node with the report as Markdown; the whole answer is kept as an attribute.

    Args:
        plane: the slice that was asked about, None if it was the whole volume.

    Returns:
        vtkMRMLTextNode.
    """
    node = new_node(scene, "vtkMRMLTextNode", f"{volume_node.GetName()} report")
    node.SetEncoding(vtk.VTK_ENCODING_UTF_8)
    node.SetText(as_markdown(document))
    node.SetForceCreateStorageNode(node.CreateStorageNodeAlways)
    # Quoted, since an attribute in a scene file is not safe for every character.
    node.SetAttribute(DOCUMENT_ATTRIBUTE, quote(json.dumps(document)))
    if plane is not None:
        node.SetAttribute(PLANE_ATTRIBUTE, quote(json.dumps(dataclasses.asdict(plane))))
    node.SetNodeReferenceID(VOLUME_ROLE, volume_node.GetID())
    put_beside(scene, node, volume_node)
    return node


def link(
    report_node: Any,
    segmentation_node: Any,
    segments: tuple[str, ...],
    digests: tuple[str, ...] = (),
) -> None:
    """Note which segments a report is about.

    Args:
        digests: of their masks as they were answered, see `boxes.digest`.
    """
    report_node.SetNodeReferenceID(SEGMENTATION_ROLE, segmentation_node.GetID())
    report_node.SetAttribute(SEGMENTS_ATTRIBUTE, quote(json.dumps(list(segments))))
    report_node.SetAttribute(DIGESTS_ATTRIBUTE, quote(json.dumps(list(digests))))


def document_of(report_node: Any) -> dict[str, Any] | None:
    """The answer that a text node was made from; None if it is somebody else's."""
    text = report_node.GetAttribute(DOCUMENT_ATTRIBUTE)
    return None if text is None else dict(json.loads(unquote(text)))


def plane_of(report_node: Any) -> Plane | None:
    """The slice that a report is about, None if it is about the whole volume."""
    text = report_node.GetAttribute(PLANE_ATTRIBUTE)
    if text is None:
        return None
    values = json.loads(unquote(text))
    crop = values.pop("crop", None)
    return Plane(**values, crop=None if crop is None else Crop(**crop))


def segments_of(report_node: Any) -> tuple[str, ...]:
    """Ids of the segments that a report is about."""
    text = report_node.GetAttribute(SEGMENTS_ATTRIBUTE)
    return () if text is None else tuple(json.loads(unquote(text)))


def digests_of(report_node: Any) -> tuple[str, ...]:
    """Of the masks as they were answered, in no order; see `boxes.digest`."""
    text = report_node.GetAttribute(DIGESTS_ATTRIBUTE)
    return () if text is None else tuple(json.loads(unquote(text)))


def reports_about(scene: Any, volume_node: Any) -> list[Any]:
    """The text nodes about a volume, oldest first."""
    return [
        node
        for node in nodes_of_class(scene, "vtkMRMLTextNode")
        if node.GetAttribute(DOCUMENT_ATTRIBUTE) is not None
        and node.GetNodeReferenceID(VOLUME_ROLE) == volume_node.GetID()
    ]


def remove_answer(scene: Any, report_node: Any) -> None:
    """Remove a report with its segments and its similarity map; other segments stay.

    A segmentation that was made for answers goes with the last of them, if nothing else is in it.
    """
    segmentation = report_node.GetNodeReference(SEGMENTATION_ROLE)
    if segmentation is not None:
        for identity in segments_of(report_node):
            segmentation.GetSegmentation().RemoveSegment(identity)
    similarity = report_node.GetNodeReference(SIMILARITY_ROLE)
    remove_nodes(scene, [similarity, report_node])
    if segmentation is not None and _is_left_over(scene, segmentation):
        remove_nodes(scene, [segmentation])


def _is_left_over(scene: Any, segmentation_node: Any) -> bool:
    if segmentation_node.GetAttribute(MADE_ATTRIBUTE) is None:
        return False
    if segmentation_node.GetSegmentation().GetNumberOfSegments():
        return False
    return all(
        node.GetNodeReference(SEGMENTATION_ROLE) is not segmentation_node
        for node in nodes_of_class(scene, "vtkMRMLTextNode")
    )
