"""A volume as a stack of slices that lie as a reader is used to see them, without a copy.

Axes are exchanged and reversed, never resampled: the same anatomy gives the same slices however
the file stores it, and what is written into a view of a mask lands on the volume's own voxels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..case import Geometry
from ..errors import Sim4SegError

PLANES = ("axial", "coronal", "sagittal")
INDEX_AXES = ("i", "j", "k")
ALL_PLANES = "all"
AXIS_CHOICES = ("auto", ALL_PLANES, *PLANES, *INDEX_AXES)

_SAME_SPACING = 1.01
# For slices, rows and columns: the patient's axis (0 left, 1 posterior, 2 superior), and +1 where
# it runs that way. Radiological: the patient's right and front are at the left and top.
_ARRANGEMENT = {
    "axial": ((2, 1), (1, 1), (0, 1)),
    "coronal": ((1, 1), (2, -1), (0, 1)),
    "sagittal": ((0, 1), (2, -1), (1, 1)),
}


@dataclass(frozen=True)
class SliceView:
    """How the slices lie in the array.

    Attributes:
        plane: axial, coronal or sagittal, whichever is nearest.
        axes: array axes, of (k, j, i), along which slices, rows and columns follow each other.
        is_reversed: which of them run against the array.
        spacing: mm between slices, rows and columns.
        count: how many slices there are.
    """

    plane: str
    axes: tuple[int, int, int]
    is_reversed: tuple[bool, bool, bool]
    spacing: tuple[float, float, float]
    count: int

    @property
    def index_axis(self) -> str:
        """Name of the volume's index axis that runs through the slices: i, j or k."""
        return INDEX_AXES[2 - self.axes[0]]

    def of(self, array: NDArray[Any]) -> NDArray[Any]:
        """The array (k, j, i, ...) seen as (slices, rows, columns, ...); shares its memory."""
        moved = array.transpose(*self.axes, *range(3, array.ndim))
        steps = tuple(slice(None, None, -1 if back else 1) for back in self.is_reversed)
        return moved[steps]

    def index(self, number: int) -> int:
        """Slice `number` of the view as an index along the volume's own axis."""
        return self.count - 1 - number if self.is_reversed[0] else number


def view_slices(geometry: Geometry, shape: tuple[int, int, int], axis: str = "auto") -> SliceView:
    """Arrange a volume's slices.

    Args:
        geometry: of the volume.
        shape: voxels along k, j, i.
        axis: a plane, the index axis that runs through the slices (i, j or k), or `auto`: the
            axis with the coarsest spacing, along which the scan was acquired; of equal ones axial
            before coronal before sagittal. `all`, which looks along every plane, is counted alike.

    Raises:
        Sim4SegError: if there is no such axis.
    """
    owners, signs = _patient_axes(geometry)
    plane = _plane(axis, owners, geometry.spacing)
    arrangement = _ARRANGEMENT[plane]
    index_axes = [owners[patient] for patient, _ in arrangement]
    first, rows, columns = (2 - index for index in index_axes)
    back = [signs[patient] * wanted < 0 for patient, wanted in arrangement]
    between, down, across = (geometry.spacing[index] for index in index_axes)
    return SliceView(
        plane=plane,
        axes=(first, rows, columns),
        is_reversed=(back[0], back[1], back[2]),
        spacing=(between, down, across),
        count=shape[first],
    )


def _patient_axes(geometry: Geometry) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """For left, posterior and superior: the index axis nearest to it, and along which sign."""
    cosines = np.asarray(geometry.direction, dtype=float).reshape(3, 3)
    owners = max(
        permutations(range(3)), key=lambda order: float(abs(cosines[range(3), order]).sum())
    )
    return owners, tuple(float(np.sign(cosines[n, owner])) for n, owner in enumerate(owners))


def _plane(axis: str, owners: tuple[int, ...], spacing: tuple[float, float, float]) -> str:
    if axis in PLANES:
        return axis
    across = {_ARRANGEMENT[plane][0][0]: plane for plane in PLANES}
    if axis in INDEX_AXES:
        return across[owners.index(INDEX_AXES.index(axis))]
    if axis not in ("auto", ALL_PLANES):
        raise Sim4SegError(f"unknown axis '{axis}'; use {', '.join(AXIS_CHOICES)}")
    coarsest = max(spacing) / _SAME_SPACING
    is_coarse = {
        across[patient]: spacing[owner] >= coarsest for patient, owner in enumerate(owners)
    }
    return next(plane for plane in PLANES if is_coarse[plane])
