"""The similarity map as a volume of one slice that is laid over the image. MRML, no Qt."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk

from .nodes import add_display, new_node, put_beside
from .planes import Matrix
from .volumes import SourceImage, matrix_of, moved

COLOURS = "vtkMRMLColorTableNodeFileInferno.txt"
_FAINT = 0.05
_MARK = "Sim4Seg.Similarity"


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
    node.SetAttribute(_MARK, "1")
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
    """Lay a map over the slice views, or take it away.

    Args:
        similarity_node: None, like an opacity of 0, shows no map.
        opacity: 0..1.
    """
    for composite in scene.GetNodesByClass("vtkMRMLSliceCompositeNode"):
        if similarity_node is not None and opacity > 0:
            composite.SetForegroundVolumeID(similarity_node.GetID())
            composite.SetForegroundOpacity(opacity)
        elif _is_ours(scene.GetNodeByID(composite.GetForegroundVolumeID() or "")):
            composite.SetForegroundVolumeID(None)


def _is_ours(node: Any) -> bool:
    return node is not None and node.GetAttribute(_MARK) is not None


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
