"""Volume nodes as what the service is asked about. MRML, no Qt; nothing in the scene is changed."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

from Sim4SegCore.case import Geometry
from Sim4SegCore.errors import Sim4SegError

from .nodes import nodes_of_class
from .planes import Matrix, Plane, View, array_of, geometry_of, plane_through
from .region import box_of, crop_of

_SENT_KINDS = "biuf"


@dataclass(frozen=True)
class SourceImage:
    """A volume node, or one slice of it, as it is sent.

    Attributes:
        voxels: (slices, rows, columns) or (slices, rows, columns, 3).
        geometry: of these voxels, in the volume's own space (without its transform); None of a
            picture, whose pixels Slicer calls 1 mm because it does not know.
        plane: which slice it is, or which part of one; None is a volume.
        shape: (k, j, i) of the whole volume.
        ijk_to_ras: (4, 4) of the whole volume, without its transform.
        window: (centre, width) that the volume is shown with, None if it has colours.
        offset: of a volume, (k, j, i) of the first voxel that is sent.
    """

    voxels: NDArray[Any]
    geometry: Geometry | None
    plane: Plane | None
    shape: tuple[int, int, int]
    ijk_to_ras: Matrix
    window: tuple[float, float] | None = None
    offset: tuple[int, int, int] = (0, 0, 0)

    def place_of(self, voxel: NDArray[Any]) -> tuple[int, int, int] | None:
        """(slice, row, column) of a voxel (k, j, i) in what is sent; None if it is not in there."""
        if self.plane is not None:
            pixel = self.plane.pixel_of(voxel, self.shape)
            return None if pixel is None else (0, *pixel)
        k, j, i = (int(index) for index in voxel - np.array(self.offset))
        is_inside = all(
            0 <= n < side for n, side in zip((k, j, i), self.voxels.shape, strict=False)
        )
        return (k, j, i) if is_inside else None


def voxels_of(volume_node: Any) -> NDArray[Any]:
    """The voxels of a volume node, (k, j, i) or (k, j, i, 3); grey ones are not copied.

    Raises:
        Sim4SegError: if the node has no voxels, is a segmentation, or has other than 1, 3 or 4
            components.
    """
    image = None if volume_node is None else volume_node.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None:
        raise Sim4SegError("no volume with voxels is chosen; load one and pick it as the input")
    if volume_node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise Sim4SegError("this volume is a label map, not an image; pick the image itself")
    columns, rows, slices = image.GetDimensions()
    components = image.GetNumberOfScalarComponents()
    array = vtk_to_numpy(image.GetPointData().GetScalars())
    if array.dtype.kind not in _SENT_KINDS:
        raise Sim4SegError(f"voxels of type {array.dtype} cannot be sent; convert the volume")
    if components == 1:
        return array.reshape(slices, rows, columns)
    if components in (3, 4):
        return array.reshape(slices, rows, columns, components)[..., :3]
    raise Sim4SegError(
        f"the volume has {components} components; grey and RGB volumes can be asked about"
    )


def modality_of(volume_node: Any) -> str | None:
    """DICOM's code (CT, MR, ...) of a volume that was loaded from DICOM, else None."""
    scene = volume_node.GetScene()
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = 0 if tree is None else tree.GetItemByDataNode(volume_node)
    code = tree.GetItemAttribute(item, "DICOM.Modality") if item else ""
    return code if re.fullmatch("[A-Z]{1,16}", code or "") else None


def slice_centre(volume_node: Any, axis: int, index: int) -> tuple[float, float, float]:
    """RAS, mm, of the middle of a slice, with the volume's transform.

    Args:
        axis: of the array, 0 is k.
    """
    columns, rows, slices = volume_node.GetImageData().GetDimensions()
    middle = [(side - 1) / 2 for side in (slices, rows, columns)]
    middle[axis] = index
    place = (ijk_to_ras_of(volume_node) @ np.array([*middle[::-1], 1.0]))[:3]
    in_world = [0.0, 0.0, 0.0]
    volume_node.TransformPointToWorld(place.tolist(), in_world)
    return _three(np.array(in_world))


def jump_to(scene: Any, point: tuple[float, float, float]) -> None:
    """Scroll all slice views to a place in RAS, mm."""
    for node in nodes_of_class(scene, "vtkMRMLSliceNode"):
        node.JumpSliceByOffsetting(*point)


def ijk_to_ras_of(volume_node: Any) -> Matrix:
    """(4, 4), mm, without the transform that the volume is under."""
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    return array_of(matrix)


def ijk_to_world_of(volume_node: Any) -> Matrix:
    """(4, 4), mm, with the volume's transform.

    Raises:
        Sim4SegError: if that transform bends the volume, which no matrix can say.
    """
    to_world = vtk.vtkMatrix4x4()
    transform = volume_node.GetParentTransformNode()
    if transform is not None:
        if not transform.IsTransformToWorldLinear():
            raise Sim4SegError(
                "the volume is under a transform that bends it, so what is shown cannot be found "
                "in it; harden the transform or remove it from the volume"
            )
        transform.GetMatrixTransformToWorld(to_world)
    return array_of(to_world) @ ijk_to_ras_of(volume_node)


def view_of(slice_node: Any) -> tuple[tuple[float, float, float], View]:
    """Centre (RAS, mm) and orientation of a slice view node."""
    matrix = array_of(slice_node.GetSliceToRAS())
    right, up = (matrix[:3, axis] / np.linalg.norm(matrix[:3, axis]) for axis in (0, 1))
    return _three(matrix[:3, 3]), View(_three(right), _three(up))


def slice_shown(
    volume_node: Any, slice_node: Any | None, region: NDArray[np.float64] | None = None
) -> SourceImage:
    """The slice of a volume that a slice view shows, turned as the view shows it.

    Args:
        slice_node: None takes the middle slice in the standard orientation.
        region: (8, 3) corners of a region of interest, see `region.corners_of`; None is all.

    Raises:
        Sim4SegError: if the volume cannot be asked about, is bent by a transform, or the view or
            the region does not cut through it.
    """
    voxels = voxels_of(volume_node)
    to_world = ijk_to_world_of(volume_node)
    point, view = (None, None) if slice_node is None else view_of(slice_node)
    plane = plane_through(to_world, voxels.shape, point, view)
    if region is not None:
        plane = dataclasses.replace(plane, crop=crop_of(region, plane, to_world, voxels.shape))
    return slice_at(volume_node, plane)


def slice_at(volume_node: Any, plane: Plane) -> SourceImage:
    """One slice of a volume.

    Raises:
        Sim4SegError: if the volume cannot be asked about.
    """
    voxels = voxels_of(volume_node)
    ijk_to_ras = ijk_to_ras_of(volume_node)
    image = np.ascontiguousarray(plane.take(voxels))
    return SourceImage(
        image[np.newaxis],
        _known_geometry(plane.ijk_to_ras(ijk_to_ras, voxels.shape), voxels.shape),
        plane,
        voxels.shape[:3],
        ijk_to_ras,
        _window(volume_node),
    )


def whole(volume_node: Any, region: NDArray[np.float64] | None = None) -> SourceImage:
    """All slices of a volume; voxels are neither copied nor looked at.

    Args:
        region: (8, 3) corners of a region of interest, see `region.corners_of`; None is all.

    Raises:
        Sim4SegError: if the volume cannot be asked about, or the region lies beside it.
    """
    voxels = voxels_of(volume_node)
    shape = voxels.shape[:3]
    ijk_to_ras = ijk_to_ras_of(volume_node)
    offset = np.zeros(3, int)
    if region is not None:
        box = box_of(region, ijk_to_world_of(volume_node), shape)
        voxels, offset = voxels[box], np.array([part.start for part in box])
    k, j, i = offset.tolist()
    return SourceImage(
        voxels,
        geometry_of(moved(ijk_to_ras, (k, j, i))),
        None,
        shape,
        ijk_to_ras,
        _window(volume_node),
        (k, j, i),
    )


def moved(ijk_to_ras: Matrix, offset: tuple[int, int, int]) -> Matrix:
    """The same for an array that begins at a voxel (k, j, i) of the first one."""
    matrix = ijk_to_ras.copy()
    matrix[:3, 3] += ijk_to_ras[:3, :3] @ np.array(offset[::-1])
    return matrix


def matrix_of(array: Matrix) -> Any:
    """A (4, 4) array as vtkMatrix4x4."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy([float(number) for number in array.reshape(-1)])
    return matrix


def _window(volume_node: Any) -> tuple[float, float] | None:
    display = volume_node.GetScalarVolumeDisplayNode()
    if display is None or volume_node.GetImageData().GetNumberOfScalarComponents() > 1:
        return None
    window = float(display.GetWindow())
    return (float(display.GetLevel()), window) if window > 0 else None


def _known_geometry(slice_to_ras: Matrix, shape: tuple[int, ...]) -> Geometry | None:
    geometry = geometry_of(slice_to_ras)
    is_picture = 1 in shape[:3] and geometry.spacing == (1.0, 1.0, 1.0)
    return None if is_picture else geometry


def _three(values: NDArray[Any]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
