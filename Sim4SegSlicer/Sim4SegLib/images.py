"""Which volumes of a scene can be asked about. MRML, no Qt."""

from __future__ import annotations

from typing import Any

from .nodes import nodes_of_class

IMAGES = ("vtkMRMLScalarVolumeNode", "vtkMRMLVectorVolumeNode")
"""Grey and coloured ones; classes derived from them, such as label maps, are none."""
SIMILARITY = "Sim4Seg.Similarity"
"""Attribute of the module's own maps."""


def similarity_maps(scene: Any) -> list[Any]:
    """What the module itself laid over images."""
    nodes = nodes_of_class(scene, "vtkMRMLScalarVolumeNode")
    return [node for node in nodes if node.GetAttribute(SIMILARITY) is not None]


def image_looked_at(scene: Any) -> Any | None:
    """The volume that is active or behind the red slice; else the first one of the scene."""
    selections = nodes_of_class(scene, "vtkMRMLSelectionNode")
    looked_at = [selection.GetActiveVolumeID() for selection in selections]
    for composite in nodes_of_class(scene, "vtkMRMLSliceCompositeNode"):
        if composite.GetLayoutName() == "Red":
            looked_at.append(composite.GetBackgroundVolumeID())
    nodes = [scene.GetNodeByID(identity) for identity in looked_at if identity]
    nodes += nodes_of_class(scene, "vtkMRMLScalarVolumeNode")
    return next((node for node in nodes if _is_image(node)), None)


def _is_image(node: Any) -> bool:
    return (
        node is not None
        and node.GetClassName() in IMAGES
        and node.GetAttribute(SIMILARITY) is None
        and not node.GetHideFromEditors()
    )
