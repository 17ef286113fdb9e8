"""Which segmentation takes an answer. MRML, no Qt."""

from __future__ import annotations

from typing import Any

from Sim4SegCore.errors import Sim4SegError

from . import reports


def output_for(scene: Any, volume_node: Any, chosen: Any | None) -> Any | None:
    """The segmentation that takes an answer about a volume; None if a new one is to be made.

    Args:
        chosen: by the user; one that has been removed meanwhile counts as none.

    Raises:
        Sim4SegError: if the chosen one does not move with the volume.
    """
    if chosen is None or chosen.GetScene() is not scene:
        return _filled_before(scene, volume_node)
    if not _moves_with(chosen, volume_node):
        raise Sim4SegError(
            "the chosen segmentation is not under the transform of the volume, so masks would lie "
            "in the wrong place; put it under that transform, or choose none"
        )
    return chosen


def _filled_before(scene: Any, volume_node: Any) -> Any | None:
    """The segmentation that earlier queries about a volume filled, if it is still there."""
    for report in reversed(reports.reports_about(scene, volume_node)):
        node = report.GetNodeReference(reports.SEGMENTATION_ROLE)
        if node is not None and _moves_with(node, volume_node):
            return node
    return None


def _moves_with(segmentation_node: Any, volume_node: Any) -> bool:
    return bool(segmentation_node.GetTransformNodeID() == volume_node.GetTransformNodeID())
