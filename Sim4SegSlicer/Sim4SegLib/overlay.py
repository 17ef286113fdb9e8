"""The similarity map as a volume of one slice that is laid over the image. MRML, no Qt."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk

from .images import SIMILARITY
from .nodes import add_display, new_node, nodes_of_class, put_beside
from .planes import Matrix
from .volumes import SourceImage, matrix_of, moved

COLOURS = "vtkMRMLColorTableNodeFileInferno.txt"
_FAINT = 0.05
_BEFORE_ROLE = "Sim4Seg.ForegroundBefore"
_OPACITY_BEFORE = "Sim4Seg.ForegroundOpacityBefore"


def add_similarity(
    scene: Any, volume_node: Any, image: SourceImage, similarity: NDArray[np.float32], first: int
) -> Any:
    """A new volume node with the map; only its slices are kept, not a volume full of zeros.

    Args:
        similarity: (slices, rows, columns), 0..1, in the pixels of the sent image.
        first: index of its first slice in the sent image.

    Returns:
        vtkMRMLScalarVolumeNode, not shown yet; see `show_similarity`.
    """
    node = new_node(scene, "vtkMRMLScalarVolumeNode", f"{volume_node.GetName()} similarity")
    node.SetAttribute(SIMILARITY, "1")
    node.SetAndObserveImageData(_image(similarity))
    node.SetIJKToRASMatrix(matrix_of(_place(image, first)))
    node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
    add_display(node)
    display = node.GetScalarVolumeDisplayNode()
    display.SetAutoWindowLevel(False)
    # As bright as it gets: the values say little beside each other, their places much.
    display.SetWindowLevelMinMax(0.0, max(_FAINT, float(similarity.max())))
    display.SetApplyThreshold(True)
    display.SetLowerThreshold(_FAINT)
    display.SetUpperThreshold(1.0)
    if scene.GetNodeByID(COLOURS) is not None:
        display.SetAndObserveColorNodeID(COLOURS)
    put_beside(scene, node, volume_node)
    return node


def show_similarity(scene: Any, similarity_node: Any | None, opacity: float) -> None:
    """Lay a map over the slice views, or give them back what lay there before.

    Args:
        similarity_node: None, like an opacity of 0, shows no map.
        opacity: 0..1.
    """
    for composite in nodes_of_class(scene, "vtkMRMLSliceCompositeNode"):
        if similarity_node is not None and opacity > 0:
            if not _is_laid_over(scene, composite):
                _remember_foreground(composite)
            composite.SetForegroundVolumeID(similarity_node.GetID())
            composite.SetForegroundOpacity(opacity)
        else:
            if _is_laid_over(scene, composite):
                _restore_foreground(composite)
            _forget_foreground(composite)


def _is_laid_over(scene: Any, composite: Any) -> bool:
    """Whether a view shows a map, or one that was removed from the scene."""
    shown = scene.GetNodeByID(composite.GetForegroundVolumeID() or "")
    if shown is None:
        return composite.GetAttribute(_OPACITY_BEFORE) is not None
    return shown.GetAttribute(SIMILARITY) is not None


def _remember_foreground(composite: Any) -> None:
    composite.SetNodeReferenceID(_BEFORE_ROLE, composite.GetForegroundVolumeID())
    composite.SetAttribute(_OPACITY_BEFORE, repr(composite.GetForegroundOpacity()))


def _restore_foreground(composite: Any) -> None:
    composite.SetForegroundVolumeID(composite.GetNodeReferenceID(_BEFORE_ROLE))
    opacity = composite.GetAttribute(_OPACITY_BEFORE)
    if opacity is not None:
        composite.SetForegroundOpacity(float(opacity))


def _forget_foreground(composite: Any) -> None:
    composite.SetNodeReferenceID(_BEFORE_ROLE, None)
    composite.SetAttribute(_OPACITY_BEFORE, None)


def _place(image: SourceImage, first: int) -> Matrix:
    if image.plane is not None:
        return image.plane.ijk_to_ras(image.ijk_to_ras, image.shape)
    k, j, i = image.offset
    return moved(image.ijk_to_ras, (k + first, j, i))


def _image(values: NDArray[np.float32]) -> Any:
    slices, rows, columns = values.shape
    image = vtk.vtkImageData()
    image.SetDimensions(columns, rows, slices)
    scalars = numpy_to_vtk(np.ascontiguousarray(values).reshape(-1), deep=True)
    scalars.SetName("similarity")
    image.GetPointData().SetScalars(scalars)
    return image
