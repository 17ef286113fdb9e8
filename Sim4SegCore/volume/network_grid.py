"""A scan as the volumetric network sees it: upright, in voxels of one size, black to white.

z runs to the head, y to the back, x to the left; axes are exchanged and reversed as for slices
(`slice_view`), so that an oblique scan stays as oblique as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..case import Geometry
from .resampling import Floats, Interpolation, interpolation, resized_size
from .slice_view import SliceView, view_slices
from .windows import Window


class NetworkGrid:
    """The grid of a scan; values are resampled when they are asked for, and not kept.

    Attributes:
        shape: voxels of the grid along z, y, x.
    """

    def __init__(self, geometry: Geometry, shape: tuple[int, int, int], spacing_mm: float) -> None:
        self._view = view_slices(geometry, shape, "axial")
        self._sizes = [shape[axis] for axis in self._view.axes]
        z, y, x = (
            resized_size(size, spacing, spacing_mm)
            for size, spacing in zip(self._sizes, self._view.spacing, strict=True)
        )
        self.shape: tuple[int, int, int] = (z, y, x)
        self._inward = [
            interpolation(self._sizes[n], self.shape[n], 0, self.shape[n]) for n in (1, 2)
        ]
        self._outward = [
            interpolation(self.shape[n], self._sizes[n], 0, self._sizes[n]) for n in (1, 2)
        ]

    @property
    def planes(self) -> int:
        """How many planes the scan has along z."""
        return self._sizes[0]

    def grey(self, voxels: NDArray[Any], window: Window, start: int, stop: int) -> Floats:
        """Planes `start` to `stop` of the grid, float32 (stop - start, y, x), -1 black to 1 white.

        Args:
            voxels: the scan's (k, j, i).
        """
        scale = 2.0 / max(window.high - window.low, 1e-12)

        def shown(plane: NDArray[Any]) -> Floats:
            light = plane.astype(np.float32)
            light -= np.float32(window.low)
            light *= np.float32(scale)
            light -= 1
            return np.clip(light, -1, 1, out=light)

        return self._planes(voxels, shown, start, stop)

    def share(self, mask: NDArray[np.bool_]) -> Floats:
        """How much of each voxel of the grid a mask (k, j, i) takes up, 0 to 1."""
        return self._planes(mask, lambda plane: plane.astype(np.float32), 0, self.shape[0])

    def _planes(
        self, voxels: NDArray[Any], shown: Callable[[NDArray[Any]], Floats], start: int, stop: int
    ) -> Floats:
        source = self._view.of(voxels)
        deep = interpolation(self._sizes[0], self.shape[0], start, stop)
        down, across = self._inward
        flat = [across.along(1, down.along(0, shown(plane))) for plane in source[deep.needed]]
        return deep.along(0, np.stack(flat))

    def needed(self, plane: int) -> Interpolation:
        """How a plane of the scan along z comes from planes of the grid."""
        return interpolation(self.shape[0], self._sizes[0], plane, plane + 1)

    def draw(self, mask: NDArray[np.bool_], plane: int, values: Floats, threshold: float) -> None:
        """Write a plane of the scan's mask.

        Args:
            mask: (k, j, i), written to.
            plane: of the scan along z.
            values: (y, x) on the grid, at the height of this plane.
            threshold: above which a voxel belongs to the mask.
        """
        if values.max() <= threshold:
            return
        down, across = self._outward
        self._view.of(mask)[plane] = across.along(1, down.along(0, values)) > threshold

    def onto(self, view: SliceView, along: tuple[Floats, Floats, Floats]) -> Floats:
        """Values along each axis of the grid, as values of the slices of a view of the scan."""
        axis = self._view.axes.index(view.axes[0])
        size = self._sizes[axis]
        places = ((np.arange(size) + 0.5) * self.shape[axis] / size).astype(int)
        values = along[axis][places]
        is_same_way = self._view.is_reversed[axis] == view.is_reversed[0]
        return values if is_same_way else values[::-1]
