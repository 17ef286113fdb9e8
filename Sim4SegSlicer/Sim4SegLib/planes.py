"""Slices along a volume's own axes, or a part of one: cut out as a reader sees them, and put back.

Knows numpy only. Volume arrays are (k, j, i) or (k, j, i, channels); `ijk_to_ras` is (4, 4), mm.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Sim4SegCore.case import Geometry
from Sim4SegCore.errors import Sim4SegError

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """How a slice view looks at the patient: unit vectors in RAS.

    Attributes:
        right: towards the right edge of the screen.
        up: towards its upper edge.
    """

    right: tuple[float, float, float]
    up: tuple[float, float, float]


AXIAL = View((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
CORONAL = View((-1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
SAGITTAL = View((0.0, -1.0, 0.0), (0.0, 0.0, 1.0))
_STANDARD_VIEWS = (SAGITTAL, CORONAL, AXIAL)


@dataclass(frozen=True)
class Crop:
    """A rectangle of a slice, in pixels of the slice as the reader sees it."""

    first_row: int
    first_column: int
    rows: int
    columns: int


@dataclass(frozen=True)
class Plane:
    """One slice of a volume array, and how it is turned for the reader.

    Attributes:
        axis: of the array that the slice is perpendicular to: 0 (k), 1 (j) or 2 (i).
        index: place along that axis.
        is_transposed: whether the first of the two remaining axes becomes the columns.
        flips_rows, flips_columns: after the transposition.
        crop: the part that is meant; None is all of it.
    """

    axis: int
    index: int
    is_transposed: bool = False
    flips_rows: bool = False
    flips_columns: bool = False
    crop: Crop | None = None

    def take(self, volume: NDArray[Any]) -> NDArray[Any]:
        """The pixels, (rows, columns) or (rows, columns, channels); a view of the volume."""
        place: list[Any] = [slice(None)] * 3
        place[self.axis] = self.index
        image = volume[tuple(place)]
        image = image.swapaxes(0, 1) if self.is_transposed else image
        rows = slice(None, None, -1 if self.flips_rows else 1)
        columns = slice(None, None, -1 if self.flips_columns else 1)
        image = image[rows, columns]
        if self.crop is None:
            return image
        top, left = self.crop.first_row, self.crop.first_column
        return image[top : top + self.crop.rows, left : left + self.crop.columns]

    def put(self, image: NDArray[Any], volume: NDArray[Any]) -> None:
        """Write pixels that `take` could have given back into their place."""
        self.take(volume)[...] = image

    def pixel_of(self, index: NDArray[Any], shape: tuple[int, ...]) -> tuple[int, int] | None:
        """(row, column) of a voxel (k, j, i) in what `take` gives; None if it is not in there."""
        if index[self.axis] != self.index:
            return None
        rows, columns = self._axes()
        row, column = int(index[rows]), int(index[columns])
        row = shape[rows] - 1 - row if self.flips_rows else row
        column = shape[columns] - 1 - column if self.flips_columns else column
        if self.crop is not None:
            row, column = row - self.crop.first_row, column - self.crop.first_column
        height, width = self.size(shape)
        return (row, column) if 0 <= row < height and 0 <= column < width else None

    def size(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """(rows, columns) of what `take` gives.

        Args:
            shape: (k, j, i) of the volume.
        """
        if self.crop is not None:
            return self.crop.rows, self.crop.columns
        rows, columns = self._axes()
        return shape[rows], shape[columns]

    def ijk_to_ras(self, volume_to_ras: Matrix, shape: tuple[int, ...]) -> Matrix:
        """Where the pixels lie: (column, row, 0, 1) to RAS.

        Args:
            shape: (k, j, i) of the volume.
        """
        rows, columns = self._axes()
        index: list[float] = [0.0, 0.0, 0.0]
        index[self.axis] = self.index
        index[rows] = shape[rows] - 1 if self.flips_rows else 0
        index[columns] = shape[columns] - 1 if self.flips_columns else 0
        matrix = np.eye(4)
        matrix[:3, 0] = _step(volume_to_ras, columns) * (-1 if self.flips_columns else 1)
        matrix[:3, 1] = _step(volume_to_ras, rows) * (-1 if self.flips_rows else 1)
        matrix[:3, 2] = _step(volume_to_ras, self.axis)
        matrix[:3, 3] = (volume_to_ras @ np.array([*reversed(index), 1.0]))[:3]
        if self.crop is not None:
            first = np.array([self.crop.first_column, self.crop.first_row])
            matrix[:3, 3] += matrix[:3, :2] @ first
        return matrix

    def _axes(self) -> tuple[int, int]:
        """Axes of the array that become (rows, columns)."""
        first, second = (axis for axis in range(3) if axis != self.axis)
        return (second, first) if self.is_transposed else (first, second)


def plane_through(
    ijk_to_ras: Matrix,
    shape: tuple[int, ...],
    point: tuple[float, float, float] | None = None,
    view: View | None = None,
) -> Plane:
    """The slice of a volume nearest to a point, along the axis and turned the way a view shows it.

    Args:
        ijk_to_ras: to the space of `point` and `view`, so with the volume's transform, if any.
        shape: (k, j, i).
        point: RAS, mm; None is the middle of the volume.
        view: None is the axial, coronal or sagittal view nearest to the k axis.

    Raises:
        Sim4SegError: if the point lies outside of the volume.
    """
    single = [axis for axis in range(3) if shape[axis] == 1]
    if view is None:
        view = _standard_view(ijk_to_ras, single[0] if single else 0)
    axis = single[0] if single else _most_parallel(ijk_to_ras, np.cross(view.right, view.up))
    remaining = [other for other in range(3) if other != axis]
    first, second = (_direction(ijk_to_ras, other) @ view.right for other in remaining)
    is_transposed = bool(abs(first) > abs(second))
    rows, columns = reversed(remaining) if is_transposed else remaining
    return Plane(
        axis,
        _index(ijk_to_ras, shape, axis, point),
        is_transposed,
        flips_rows=bool(_direction(ijk_to_ras, rows) @ view.up > 0),
        flips_columns=bool(_direction(ijk_to_ras, columns) @ view.right < 0),
    )


def standard_plane(ijk_to_ras: Matrix, shape: tuple[int, ...], axis: int, index: int) -> Plane:
    """A slice along an axis of the array (0 is k), turned as a reader expects it."""
    view = _standard_view(ijk_to_ras, axis)
    plane = plane_through(ijk_to_ras, shape, None, view)
    if plane.axis != axis:
        # An oblique volume has a better axis for this view; turned by what its own is nearest to.
        return Plane(axis, index)
    return dataclasses.replace(plane, index=index)


def array_of(matrix: Any) -> Matrix:
    """A vtkMatrix4x4 as (4, 4)."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def geometry_of(ijk_to_ras: Matrix) -> Geometry:
    """The same in ITK's conventions.

    Raises:
        Sim4SegError: if the axes have no extent or do not span the space.
    """
    axes = RAS_TO_LPS @ ijk_to_ras[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    if spacing.min() <= 0 or not np.isfinite(ijk_to_ras).all():
        raise Sim4SegError("the volume's axes have no extent; correct its spacing and directions")
    direction = axes / spacing
    if abs(np.linalg.det(direction)) < 1e-6:
        raise Sim4SegError("the volume's axes lie in one plane; correct its directions")
    along_i, along_j, along_k = (float(number) for number in spacing)
    x, y, z = (float(number) for number in RAS_TO_LPS @ ijk_to_ras[:3, 3])
    cosines = tuple(float(number) for number in direction.reshape(-1))
    return Geometry((along_i, along_j, along_k), (x, y, z), cosines)


def _step(ijk_to_ras: Matrix, axis: int) -> Matrix:
    """RAS vector of one step along an axis of the array, whose order is k, j, i."""
    return np.asarray(ijk_to_ras[:3, 2 - axis])


def _direction(ijk_to_ras: Matrix, axis: int) -> Matrix:
    step = _step(ijk_to_ras, axis)
    return np.asarray(step / np.linalg.norm(step))


def _most_parallel(ijk_to_ras: Matrix, normal: NDArray[Any]) -> int:
    return int(np.argmax([abs(_direction(ijk_to_ras, axis) @ normal) for axis in range(3)]))


def _standard_view(ijk_to_ras: Matrix, axis: int) -> View:
    return _STANDARD_VIEWS[int(np.argmax(np.abs(_direction(ijk_to_ras, axis))))]


def _index(
    ijk_to_ras: Matrix,
    shape: tuple[int, ...],
    axis: int,
    point: tuple[float, float, float] | None,
) -> int:
    if shape[axis] == 1:
        return 0
    if point is None:
        return shape[axis] // 2
    ijk = np.linalg.solve(ijk_to_ras, [*point, 1.0])[:3]
    index = int(np.floor(ijk[2 - axis] + 0.5))
    if not 0 <= index < shape[axis]:
        raise Sim4SegError(
            "the slice view does not cut through the volume; scroll until it shows the volume"
        )
    return index
